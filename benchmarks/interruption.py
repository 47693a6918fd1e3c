"""Work killed at random moments, and done twice at once: is what comes out in the end the same?

    python -m benchmarks.interruption                  # minutes; writes results/interruption.json
    python -m benchmarks.interruption --work training --seed 2  # one kind; other rows stay

Each kind of work is done once undisturbed, on little data. Then, each time from nothing, it is
killed (SIGKILL, its children too) at a moment drawn evenly over that run, and the same command is
given again: results must be equal, bit for bit, times aside. Two at once share a cache, and a
folder of results unless it is a prediction, which has a file of its own.
"""

import argparse
import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
KILLS, SEED = 5, 1  # kills a kind of work
TIMES = ("seconds", "training_seconds", "minutes")


def build(folder: Path, _: str) -> None:
    """The open data set, of a few made-up proteins."""
    from arg_utils.data.open_data import Sources, read_report

    names = ("args.fasta", "types.txt", "genome.fasta", "markers.fasta", "families.txt")
    (folder / "begun").touch()
    read_report(folder / "open", Sources(*(folder / "data" / name for name in names)))


def embedding(folder: Path, _: str) -> None:
    """Vectors of proteins, each batch kept as soon as it is there."""
    from arg_utils.data.fasta import read_fasta
    from arg_utils.esm2 import embeddings

    embeddings.FLUSH_SECONDS = 0.0
    records = read_fasta(folder / "data" / "train.fasta", labelled=True)
    (folder / "begun").touch()
    vectors = embeddings.embed([r.sequence for r in records], embeddings.FEATURES, progress=False)
    np.save(folder / "vectors.npy", vectors)


def training(folder: Path, _: str) -> None:
    """LoRA in ESM-2's blocks."""
    from arg_utils.experiments.runs import fit_run

    (folder / "begun").touch()
    fit_run(folder / "data", folder / "run", "lora_blocks")


def prediction(folder: Path, name: str) -> None:
    """Rows of proteins, a few at a time; what was interrupted is resumed."""
    from arg_utils.experiments.runs import load_run
    from arg_utils.prediction import model
    from arg_utils.prediction.engine import predict_files
    from arg_utils.prediction.reading import ReadingOptions

    model.BLOCK_PROTEINS = 4
    out = folder / f"rows{name}.tsv"
    (folder / "begun").touch()
    predictor = model.model_of(load_run(folder / "run"), "mine")
    resume = all(out.with_name(f"{out.name}{end}").exists() for end in (".part", ".part.json"))
    inputs = [str(folder / "data" / "test.fasta")]
    predict_files(predictor, inputs, ReadingOptions(), out=out, resume=resume)


def ladder(folder: Path, _: str) -> None:
    """Two methods on both splits."""
    from arg_utils.experiments.ladder import run_ladder

    (folder / "begun").touch()
    run_ladder(["best_hit", "frozen_linear"], folder / "ladder.json")


# Each kind of work, and the files whose bytes it is judged by.
WORKS: dict[str, tuple[Callable[[Path, str], None], str]] = {
    "data building": (build, "open/*"),
    "embedding": (embedding, "vectors.npy"),
    "training": (training, "run/*.*"),
    "prediction": (prediction, "rows*.tsv"),
    "ladder": (ladder, "ladder.json"),
}


def begin(folder: Path, *arguments: str) -> subprocess.Popen:
    """A command in a process group of its own, with a cache below ``folder``."""
    changes = {
        "ARG_CACHE": folder / "cache", "ARG_DATA": folder / "data", "ARG_OUTPUT": folder / "out",
        "ARG_PROFILE": "smoke", "PYTHONPATH": ROOT,
    }  # fmt: skip
    environment = {**os.environ, **{name: str(value) for name, value in changes.items()}}
    with open(folder / "said", "ab") as said:
        return subprocess.Popen(
            [sys.executable, "-m", *arguments], cwd=ROOT, stdout=said, stderr=said,
            env=environment, start_new_session=True,
        )  # fmt: skip


def begin_work(work: str, folder: Path, name: str = "") -> subprocess.Popen:
    """One kind of work; ``name`` tells two at once apart."""
    options = ("--work", work, "--folder", str(folder), "--name", name)
    return begin(folder, "benchmarks.interruption", *options)


def finish(process: subprocess.Popen, folder: Path) -> None:
    """Wait for work that must come to its end."""
    if process.wait():
        raise SystemExit((folder / "said").read_text(errors="replace")[-3000:])


def results(folder: Path, pattern: str) -> dict[str, bytes]:
    """What the work made, without times, what holds hashes of them, and the folder's own name."""
    made = {}
    for path in sorted(folder.glob(pattern)):
        if path.name == "run.json":
            continue
        content = path.read_bytes().replace(bytes(folder), b"FOLDER")
        if path.suffix == ".json":
            content = json.dumps(_timeless(json.loads(content))).encode()
        elif path.suffix == ".csv":
            rows = csv.DictReader(content.decode().splitlines())
            content = json.dumps([_timeless(row) for row in rows]).encode()
        made[path.name] = content
    return made


def _timeless(value: object) -> object:
    if isinstance(value, dict):
        return {key: _timeless(v) for key, v in value.items() if key not in TIMES}
    return [_timeless(entry) for entry in value] if isinstance(value, list) else value


def new_folder(template: Path | None = None) -> Path:
    """A folder with little data, and a cache with weights and the compiled kernel."""
    folder = Path(tempfile.mkdtemp(prefix="arg-interrupted-"))
    if template:
        return Path(shutil.copytree(template, folder, dirs_exist_ok=True))
    from arg_utils.files import cache_dir

    sys.path.append(str(ROOT / "tests"))  # small data are made there
    import synthetic
    import workspaces

    data, rng = workspaces.write_folder(folder / "data"), np.random.default_rng(3)
    kinds = [kind for kind in ("beta_lactam", "vancomycin", "rifamycin") for _ in range(12)]
    args = synthetic.families(rng, 12, 3)
    genes, markers = ([synthetic.protein(rng) for _ in range(20)] for _ in range(2))
    for name, text in {
        "args.fasta": "".join(f">gi|1|ref|A{i}|\n{s}\n" for i, s in enumerate(args)),
        "types.txt": "ARG\tType\tSubtype\tMechanism.group\tMechanism.subgroup\n"
        + "".join(f"gi|1|ref|A{i}|\t{kind}\tx\ty\tz\n" for i, kind in enumerate(kinds)),
        "genome.fasta": f">c\n{synthetic.assembly(rng, genes)}\n",
        "markers.fasta": "".join(f">m{i} [G{i} x]\n{s}\n" for i, s in enumerate(markers)),
        "families.txt": "".join(f"m{i}\tF{i % 3}\n" for i in range(20)),
    }.items():
        (data / name).write_text(text)
    for name in ("weights", "kernels"):
        shutil.copytree(cache_dir(name), folder / "cache" / name)
    return folder


def killed(work: str, folder: Path, delay: float) -> bool:
    """Whether the work was still at it so many seconds after its beginning, when it was killed."""
    process = begin_work(work, folder)
    while process.poll() is None and not (folder / "begun").exists():
        time.sleep(0.01)
    time.sleep(delay)
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    return process.wait() == -signal.SIGKILL


def measure(work: str, kills: int, seed: int) -> dict:
    """Kill and repeat one kind of work; its row."""
    rng, pattern, template = np.random.default_rng(seed), WORKS[work][1], new_folder()
    if work == "prediction":
        options = ("--data", str(template / "data"), "--out", str(template / "run"))
        finish(begin(template, "arg_utils", "fit", *options), template)
    folders = [new_folder(template)]
    finish(begin_work(work, folders[0]), folders[0])
    wanted = results(folders[0], pattern)
    files, begun = folders[0].glob(pattern), (folders[0] / "begun").stat().st_mtime
    length = max(path.stat().st_mtime for path in files) - begun
    moments, equal = [], 0
    while len(moments) < kills:
        folders.append(new_folder(template))
        delay = rng.uniform(0, length)
        if killed(work, folders[-1], delay):
            finish(begin_work(work, folders[-1]), folders[-1])
            moments.append(round(delay, 2))
            equal += results(folders[-1], pattern) == wanted
    folders.append(new_folder(template))
    for process in [begin_work(work, folders[-1], name) for name in ("", "-2")]:
        finish(process, folders[-1])
    together = results(folders[-1], pattern)
    for folder in (template, *folders):
        shutil.rmtree(folder)
    same = all(content == wanted[name.replace("-2", "")] for name, content in together.items())
    return {
        "work": work, "seed": seed, "undisturbed_seconds": round(length, 1),
        "killed_after_seconds": moments, "kills": kills, "equal_afterwards": equal,
        "two_at_once_equal": same and len(together) > 0,
    }  # fmt: skip


def main() -> int:
    """Measure, print and write; exit code 1 if anything differs."""
    parser = argparse.ArgumentParser(description="Work killed at random moments.")
    parser.add_argument("--work", choices=WORKS, help="all, unless named")
    parser.add_argument("--kills", type=int, default=KILLS, help="of each kind of work")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--name", default="", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.folder:
        from arg_utils.data import folders

        folders.DATA = given.folder / "derived"
        WORKS[given.work][0](given.folder, given.name)
        return 0
    from arg_utils.files import RESULTS, write_text

    path = RESULTS / "interruption.json"
    rows = json.loads(path.read_text())["works"] if path.exists() else []
    for work in [given.work] if given.work else WORKS:
        options = f"--work '{work}' --kills {given.kills} --seed {given.seed}"
        command = {"command": f"python -m benchmarks.interruption {options}"}
        row = command | measure(work, given.kills, given.seed)
        print(json.dumps(row), flush=True)
        same = (work, given.seed)
        rows = [r for r in rows if (r["work"], r.get("seed")) != same] + [row]
        total = {key: sum(r[key] for r in rows) for key in ("kills", "equal_afterwards")}
        result = {**total, "works": rows}
        write_text(path, json.dumps(result, indent=1) + "\n")
    return int(any(r["kills"] > r["equal_afterwards"] or not r["two_at_once_equal"] for r in rows))


if __name__ == "__main__":
    sys.exit(main())
