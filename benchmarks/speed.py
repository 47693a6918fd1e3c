"""The benchmark: features and LoRA training against fair-esm and against transformers with PEFT.

    make bench                            # everything, a few minutes on two quiet cores
    make bench OPTIONS=--quick            # a look, within minutes, into runs/speed
    make bench OPTIONS=--forms            # the forms of the kernel alone, into results/speed.json

One process, the same real proteins and weights for every contender (`contenders`), interleaved
repeats, medians. Writes speed.json and speed.png, and prints a table.
"""

import argparse
import json
import os
import sys
from pathlib import Path

from benchmarks import forms, memory

ROOT = Path(__file__).resolve().parent.parent
FULL = {"features": 200, "training": 64, "protocol": 1000, "naive_epoch": 40,
        "counts": (25, 50, 100, 200), "lengths": (64, 128, 256, 512, 1022),
        "streams": (2000, 8000)}  # fmt: skip
QUICK = {"features": 10, "training": 4, "protocol": 40, "naive_epoch": 5,
         "counts": (2, 4, 8), "lengths": (64, 256), "streams": (100, 400)}  # fmt: skip
REMEMBERED = ("features:naive", "features:hf", "features:ours", "training:naive", "training:hf",
              "training:ours", "training:ours_top3")  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark, or with ``--child`` the part of it whose memory is measured."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few proteins, into runs/speed")
    parser.add_argument("--repeats", type=int, help="interleaved repeats (3; quick: 2)")
    parser.add_argument("--output", type=Path, help="folder for speed.json and speed.png")
    parser.add_argument("--forms", nargs="*", choices=forms.LIMITS, metavar="FORM",
                        help="forms alone; all, unless named")  # fmt: skip
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--form", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.child:
        return child(options.child, options.quick)
    sizes = QUICK if options.quick else FULL
    repeats = options.repeats
    if repeats is None:
        repeats = 2 if options.quick else 3
    if repeats < 1:
        parser.error("--repeats must be 1 or more")
    if options.form:
        print(json.dumps(forms.form_row(options.form, options.quick, repeats)))
        return 0
    folder = options.output or ROOT / ("runs/speed" if options.quick else "results")
    path = folder / "speed.json"
    before = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    load = os.getloadavg()[0]
    if load > 0.5:
        say(f"other programs keep {load:.1f} cores busy: these figures will be too low. Started")
    measured = forms.with_earlier(
        forms.measure_forms(options.quick, repeats, options.forms), before
    )
    if options.forms is not None:
        write(path, before | measured)
        print(forms.text(measured["forms"]))
        return 0
    say("memory, each contender in a process of its own")
    chosen = [job for job in REMEMBERED if not (options.quick and job.startswith("training"))]
    jobs = [*chosen, *(f"stream:{count}" for count in sizes["streams"])]
    held = memory.measure(jobs, ["--quick"] if options.quick else [])
    command = " ".join(["python -m benchmarks.speed", *(arguments or sys.argv[1:])])
    result = {
        "command": command, "quick": options.quick, "load_before": load, **measured,
        **times(sizes, repeats, held),
    }  # fmt: skip

    from arg_utils.reporting.figures import save_figure
    from benchmarks import report

    write(path, result)
    save_figure(report.scaling_figure(result["scaling"]), "speed", folder)
    print(report.text(result))
    print(forms.text(measured["forms"]))
    return 0


def write(path: Path, result: dict) -> None:
    """Keep what was measured."""
    from arg_utils.files import write_text

    write_text(path, json.dumps(result, indent=1) + "\n")


def child(job: str, quick: bool) -> int:
    """Run one job and print the most memory held, MB, after the imports and in all."""
    from benchmarks import scenarios

    if job.split(":")[1].startswith("hf"):
        import peft  # noqa: F401
        import transformers  # noqa: F401
    imported = memory.peak_rss_mb()
    scenarios.remembered(job, quick)
    print(json.dumps({"import_rss_mb": imported, "peak_rss_mb": memory.peak_rss_mb()}))
    return 0


def times(sizes: dict, repeats: int, held: dict[str, dict[str, float]]) -> dict:
    """Everything that is timed, and the ratios."""
    import peft
    import transformers

    from arg_utils.esm2.model import best_device
    from arg_utils.esm2.weights import load_weights
    from benchmarks import measure, report, scenarios

    transformers.logging.set_verbosity_error()
    weights, everything = load_weights(), scenarios.records()
    samples = {
        task: measure.representative(everything, sizes[task])
        for task in ("features", "training", "protocol")
    }
    say("features")
    forward, training = measure.forward_flops, measure.training_flops
    made = scenarios.make("features", weights)
    apart = scenarios.differences(made, samples["features"][:4])
    tasks = {"features": scenarios.timed(made, samples["features"], repeats, forward)}
    say("scaling")
    scaled = scenarios.scaling(made, everything, sizes["counts"], sizes["lengths"])
    say("training")
    trainers = scenarios.make("training", weights)
    tasks["training"] = scenarios.timed(trainers, samples["training"], repeats, training)
    say("the course's whole protocol")
    few = measure.representative(samples["protocol"], sizes["naive_epoch"])
    course = scenarios.protocol(samples["protocol"], few, weights)
    return {
        **report.ratios(tasks),
        "protocol_vs_naive": course["ratio"],
        **report.product_fraction(tasks["features"]),
        "residues_per_second": {
            task: measure.rates(found["residues"], found["seconds"])
            for task, found in tasks.items()
        },
        "peak_rss_mb": {job: found["peak_rss_mb"] for job, found in held.items()},
        "import_rss_mb": {job: found["import_rss_mb"] for job, found in held.items()},
        "features_peak_rss_mb": {
            str(count): held[f"stream:{count}"]["peak_rss_mb"] for count in sizes["streams"]
        },
        "precision": {
            task: {c.name: c.precision for c in group}
            for task, group in (("features", made), ("training", trainers))
        },
        "feature_difference": apart,
        "labels": {c.name: c.label for c in (*made, *trainers)},
        "weights": weights.name,
        "weights_sha256": weights.sha256,
        "device": str(best_device()),
        **measure.machine(),
        "transformers": transformers.__version__,
        "peft": peft.__version__,
        "repeats": repeats,
        "tasks": tasks,
        "protocol": course,
        "scaling": scaled,
    }


def say(what: str) -> None:
    """What is being measured now, for whoever waits."""
    print(f"benchmark: {what} …", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
