"""Every form of the kernel that this machine can run, each against the same contenders.

A form stands for a class of processors. It runs in a process of its own in which PyTorch's
libraries are limited to that class's instructions too, for every contender: what is compared is
what a machine of that class would run, at this machine's clock and caches.
"""

import datetime
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# What ATen, MKL, oneDNN and esm.cpp may use at most; see their documentation of these variables.
LIMITS = {
    "amx": {},
    "avx512_bf16": {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_BF16"},
    "avx512": {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE", "MKL_ENABLE_INSTRUCTIONS": "AVX512"},
    "avx2": {"ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2",
             "ATEN_CPU_CAPABILITY": "avx2", "ESM_FORCE_ISA": "avx2"},
    "portable": {"ONEDNN_MAX_CPU_ISA": "SSE41", "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
                 "ATEN_CPU_CAPABILITY": "default"},
    "neon": {},
}  # fmt: skip
SIZES = {"features": 64, "training": 64}
QUICK = {"features": 8, "training": 4}
SLOW = ("naive", "esm_cpp")  # and they prepare nothing
ANOTHER_PROGRAM = (
    "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\nwhile 1: pass"
)


def measure_forms(quick: bool, repeats: int, names: Iterable[str] | None = None) -> dict[str, dict]:
    """A row per form, or form named, best first, each from a process of its own."""
    from arg_utils.esm2.kernel import supported_forms

    rows = {}
    for form in supported_forms():
        if names and form.name not in names:
            continue
        print(f"benchmark: form {form.name} ({form.instructions}) …", file=sys.stderr, flush=True)
        command = [sys.executable, "-m", "benchmarks.speed", "--form", form.name]
        command += ["--repeats", str(repeats), *(["--quick"] if quick else [])]
        limits = {**LIMITS[form.name], "ARG_ATTENTION": form.name}
        settings = {k: v for k, v in os.environ.items() if k != "ARG_PRECISION"} | limits
        done = subprocess.run(command, cwd=ROOT, env=settings, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"form {form.name} failed: {done.stderr[-1000:]}")
        rows[form.name] = json.loads(done.stdout.splitlines()[-1]) | {"limits": limits}
    if not rows:
        sys.exit("This machine can run none of these forms; `make doctor` names its own.")
    return rows


def form_row(name: str, quick: bool, repeats: int) -> dict:
    """The figures of one form, measured in this process."""
    from arg_utils.esm2.kernel import FORMS
    from arg_utils.esm2.model import best_precision
    from arg_utils.esm2.weights import load_weights
    from benchmarks import contenders, measure, report, scenarios

    weights, everything = load_weights(), scenarios.records()
    sizes = QUICK if quick or name == "portable" else SIZES  # minutes per repeat without vectors
    chosen = {"features": ["naive", "hf", "esm_cpp", "ours", "ours_sdpa"],
              "training": ["naive", "hf", "ours", "ours_sdpa"]}  # fmt: skip
    tasks = {}
    for task, names in chosen.items():
        sample = measure.representative(everything, sizes[task])
        available = contenders.names(task, native=False)
        if name == "portable":  # esm.cpp's plain loops are many times slower than any contender
            available = [other for other in available if other != "esm_cpp"]
        maker = getattr(contenders, f"{task}_contender")
        made = [maker(name, weights) for name in names if name in available]
        for contender in made:  # what is prepared for each number of rows, and memory
            if contender.name not in SLOW:
                contender.run(*scenarios.columns(sample))
        flops = measure.forward_flops if task == "features" else measure.training_flops
        tasks[task] = scenarios.timed(made, sample, repeats, flops, once=("esm_cpp",))
    spent = {task: found["seconds"] for task, found in tasks.items()}
    against = {
        f"{prefix}_vs_{label}": measure.ratio(spent[task]["ours"], spent[task][other])
        for prefix, task in (("features", "features"), ("lora", "training"))
        for label, other in (("naive", "naive"), ("hf", "hf"), ("esm_cpp", "esm_cpp"),
                             ("torch_attention", "ours_sdpa"))
        if other in spent[task]
    }  # fmt: skip
    rates = {task: measure.rates(t["residues"], t["seconds"])["ours"] for task, t in tasks.items()}
    ours = contenders.features_contender("ours", weights)
    data = scenarios.columns(measure.representative(everything, sizes["features"]))
    loaded = under_load(lambda: ours.run(*data), repeats + 1)  # the first prepares
    machine = measure.machine()
    return {
        "form": name, "instructions": FORMS[name].instructions, "cpu": machine["cpu"],
        "cpu_flags": machine["cpu_flags"], "cores": machine["cores"],
        "precision": str(best_precision()).removeprefix("torch."),
        "date": datetime.date.today().isoformat(), **against,
        "gemm_fraction": report.product_fraction(tasks["features"])["gemm_fraction"],
        "lora_gemm_fraction": report.product_fraction(tasks["training"])["gemm_fraction"],
        "residues_per_second": rates, "kept_under_load": loaded, "repeats": repeats,
        "proteins": sizes, "torch": machine["torch"], "weights": weights.name,
    }  # fmt: skip


def under_load(work, repeats: int) -> float:
    """Rate with another program busy on one core, over the rate without: the best of repeats."""
    quiet = min(_seconds(work) for _ in range(repeats))
    with another_program():
        return quiet / min(_seconds(work) for _ in range(repeats))


@contextmanager
def another_program() -> Iterator[None]:
    """A process that keeps the first core busy."""
    process = subprocess.Popen([sys.executable, "-c", ANOTHER_PROGRAM])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def _seconds(work) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def with_earlier(rows: dict[str, dict], before: Mapping) -> dict:
    """``forms`` and ``forms_earlier`` of speed.json: this processor's rows, and those of others.

    A form of this processor that was not measured now keeps its row, which has its own date.

    Parameters
    ----------
    rows : measured now, by form.
    before : what speed.json held.
    """
    old = [*before.get("forms", {}).values(), *before.get("forms_earlier", [])]
    here = {_processor(row) for row in rows.values()}
    same = {row["form"]: row for row in old if _processor(row) in here}
    forms = same | rows
    return {
        "forms": {name: forms[name] for name in LIMITS if name in forms},
        "forms_earlier": [row for row in old if _processor(row) not in here],
    }


def _processor(row: Mapping) -> tuple:
    return row["cpu"], tuple(row["cpu_flags"])


def text(rows: Mapping[str, Mapping]) -> str:
    """The forms as a table for the terminal."""
    heads = {"features_vs_naive": "naive", "features_vs_hf": "hf", "features_vs_esm_cpp": "esm-cpp",
             "features_vs_torch_attention": "torch", "lora_vs_naive": "naive", "lora_vs_hf": "hf",
             "lora_vs_torch_attention": "torch"}  # fmt: skip
    lines = [f"{'form':<14}{'precision':<10}" + "".join(f"{head:>9}" for head in heads.values())
             + f"{'of product':>12}{'under load':>12}"]  # fmt: skip
    for name, row in rows.items():
        cells = "".join(f"{row[k]:>8.1f}x" if k in row else f"{'–':>9}" for k in heads)
        lines.append(f"{name:<14}{row['precision']:<10}{cells}{row['gemm_fraction']:>12.0%}"
                     f"{row['kept_under_load']:>12.0%}")  # fmt: skip
    return "\n".join(["features against four, LoRA training against three:", *lines])
