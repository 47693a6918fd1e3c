"""A fitted method in a folder: fit one on a data folder, load it, predict a test file with it."""

import json
import sys
import time
from pathlib import Path

import numpy as np

from arg_utils.data.folders import KEY, DataSet, leakage_warnings, load_dataset
from arg_utils.data.proteins import Proteins, capped, proteins
from arg_utils.data.submission import write_answers, write_submission
from arg_utils.errors import UserError, counted
from arg_utils.esm2.batches import MAX_RESIDUES
from arg_utils.esm2.weights import load_weights
from arg_utils.experiments.workspace import suitable_profile
from arg_utils.files import (
    atomic_path,
    check_not_read,
    check_writable,
    file_sha256,
    write_text,
)
from arg_utils.homology.splits import PARTS
from arg_utils.labels import CLASSES
from arg_utils.methods import DEFAULT_METHOD, METHODS, method_class
from arg_utils.methods.base import Method
from arg_utils.methods.finetuning import LoraInBlocks
from arg_utils.metrics.calibration import answered
from arg_utils.metrics.scores import accuracy, macro_f1, per_class_table
from arg_utils.settings import Profile, load_profile

RUN_FILE, METRICS, HISTORY = "run.json", "metrics.json", "history.csv"


def fit_run(
    data: DataSet | Path | str,
    out: Path | str,
    method: str = DEFAULT_METHOD,
    profile: Profile | None = None,
    seed: int | None = None,
) -> dict:
    """Fit ``method`` on a data folder and write the run into ``out``.

    Files: those the method saves (``model.safetensors``, ``references.fasta``), ``history.csv``,
    ``metrics.json``, whose content is returned, and, last, the manifest ``run.json`` with the
    SHA-256 of all of them. An interrupted call goes on where it was when repeated. `UserError` if
    the data are at fault or there is no such method; nothing is written then.
    """
    kind = method_class(method)
    trains_blocks = issubclass(kind, LoraInBlocks)
    profile = profile or (suitable_profile() if trains_blocks else load_profile())
    seed, out = profile.seed if seed is None else seed, Path(out)
    if not 0 <= seed < 2**32:
        raise UserError(f"The seed is {seed}; choose one from 0 to {2**32 - 1}.")
    dataset = data if isinstance(data, DataSet) else _load_for_fit(Path(data))
    _require_examples(dataset)
    check_writable(out / RUN_FILE)
    weights = load_weights() if kind.uses_esm2 else None
    begun = time.perf_counter()
    train, val = capped(proteins(dataset.train), profile), capped(proteins(dataset.val), profile)
    fitted = kind().fit(train, val, profile, seed, out / "checkpoints")
    metrics = {
        "method": method, "profile": profile.name, "seed": seed,
        "data": {"name": dataset.name, "sha256": dataset.identity},
        "weights": weights.name if weights else "none", "given": kind.reference,
        "trainable_parameters": fitted.trainable_parameters,
        "training_seconds": round(fitted.training_seconds, 2),
        "warnings": leakage_warnings(dataset),
        **_scores("val", val, fitted.held_out(val)),
    }  # fmt: skip
    if dataset.test_labels is not None:
        test = proteins(dataset.test, dataset.test_labels)
        metrics |= _scores("test", test, fitted.probabilities(test.sequences))
    metrics["seconds"] = round(time.perf_counter() - begun, 2)
    fitted.save(out)
    with atomic_path(out / HISTORY) as temporary:
        fitted.history.to_csv(temporary, index=False)
    write_text(out / METRICS, json.dumps(metrics, indent=1) + "\n")
    manifest = {
        "method": method,
        "weights": {"name": weights.name, "sha256": weights.sha256} if weights else None,
        "files": {name: file_sha256(out / name) for name in (*kind.files, HISTORY, METRICS)},
    }
    write_text(out / RUN_FILE, json.dumps(manifest, indent=1) + "\n")
    return metrics


def _scores(part: str, data: Proteins, probabilities: np.ndarray) -> dict:
    predicted = probabilities.argmax(axis=1)
    table = per_class_table(data.labels, predicted)
    return {
        f"{part}_macro_f1": macro_f1(data.labels, predicted),
        f"{part}_accuracy": accuracy(data.labels, predicted),
        f"{part}_f1_by_class": dict(zip(CLASSES, table["f1"].tolist(), strict=True)),
        f"{part}_proteins": len(data.labels),
    }


def load_run(run: Path | str) -> Method:
    """The fitted method of a run.

    `UserError` if the folder holds no finished run, one of its files is missing, changed or of
    another run, or it was fitted on other ESM-2 weights than are in use.
    """
    run = Path(run)
    again = f"make one with: python -m arg_utils fit --data DIR --out {run}"
    try:
        manifest = json.loads((run / RUN_FILE).read_text(encoding="utf-8"))
        kind, files = METHODS[manifest["method"]], dict(manifest["files"])
        fitted_on = manifest["weights"] and (
            manifest["weights"]["name"], manifest["weights"]["sha256"]
        )  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{run} holds no finished run ({RUN_FILE} is missing or damaged); {again}"
        ) from error
    for path, name in ((run / name, name) for name in {**dict.fromkeys(kind.files), **files}):
        if not path.is_file():
            raise UserError(f"{path} is missing, so this run cannot be used; {again}")
        if file_sha256(path) != files.get(name):
            raise UserError(
                f"{path} has changed, or belongs to another run than {RUN_FILE}; {again}"
            )
    if fitted_on and (now := load_weights()).sha256 != fitted_on[1]:
        raise UserError(
            f"{run} was fitted on the ESM-2 weights {fitted_on[0]}, but {now.name} were found; "
            f"name the former in ARG_ESM2_WEIGHTS, or fit again."
        )
    return kind.load(run)


def submit_run(
    data: Path | str, run: Path | str, out: Path | str, answers: Path | str | None = None
) -> tuple[np.ndarray, int]:
    """Predict ``test.fasta`` of a data folder with a run, and write the checked submission.

    ``answers`` is a further file, of classes and probabilities (`submission.write_answers`).
    Returned are class indices int64 [n], in the test file's order, and how many are better called
    uncertain. `UserError` if data or run are at fault, or both files are to be the same; nothing is
    written then.
    """
    files = [Path(out), *([] if answers is None else [Path(answers)])]
    if len({file.resolve() for file in files}) < len(files):
        raise UserError(f"{out} is named for submission and answers; name two files.")
    names = {RUN_FILE, METRICS, HISTORY}.union(*(kind.files for kind in METHODS.values()))
    read = [Path(run, name) for name in names]
    read += [Path(data, name) for name in (*(f"{part}.fasta" for part in PARTS), KEY)]
    for file in files:
        if str(file) == "-":
            raise UserError("- is no file to write; give a name.")
        check_writable(file)
        check_not_read(file, read)
    dataset, method = load_dataset(Path(data), parts=("test",)), load_run(run)
    ids = [record.id for record in dataset.test]
    long = sum(len(record.sequence) > MAX_RESIDUES for record in dataset.test)
    if long and method.uses_esm2:
        seen = f"ESM-2 sees the first {MAX_RESIDUES:,} residues alone"
        print(f"note: of {counted(long, 'long protein')} {seen}", file=sys.stderr)
    probabilities = method.probabilities([record.sequence for record in dataset.test])
    predicted, sure = probabilities.argmax(axis=1), answered(probabilities, method.threshold)
    write_submission(ids, predicted.tolist(), out)
    if answers is not None:
        write_answers(ids, probabilities, sure, answers)
    return predicted, int((~sure).sum())


def _load_for_fit(folder: Path) -> DataSet:
    """Train and validation are needed; the test file is read where there is one."""
    parts = ("train", "val", "test") if (folder / "test.fasta").is_file() else ("train", "val")
    return load_dataset(folder, parts)


def _require_examples(dataset: DataSet) -> None:
    for part in ("train", "val"):
        if not getattr(dataset, part):
            raise UserError(f"{dataset.folder / part}.fasta has no records; a fit needs some.")
    if len({record.label for record in dataset.train}) < 2:
        raise UserError(f"{dataset.folder / 'train.fasta'} holds one class only; give two or more.")
