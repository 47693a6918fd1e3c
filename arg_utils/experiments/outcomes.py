"""Methods on splits: each fitted once, its predictions cached, scored in one table.

The ladder is the table of all methods on both splits. Rows that its file holds of other methods
stay, as long as they are of the same data, weights, profile and code.
"""

import json
import math
import os
from collections.abc import Iterable, Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from arg_utils.data.fasta import Proteins, Record, cap_per_class, proteins, subset
from arg_utils.errors import UserError
from arg_utils.esm2.model import best_device, best_precision
from arg_utils.experiments.workspace import Workspace, open_workspace
from arg_utils.files import (
    RESULTS,
    closure_fingerprint,
    cores,
    fingerprint,
    load_checkpoint,
    save_checkpoint,
    write_text,
)
from arg_utils.homology.mmseqs import best_hits
from arg_utils.homology.splits import FoldParts, homology_fold
from arg_utils.methods import METHODS
from arg_utils.methods.base import TRAIN, Method
from arg_utils.methods.baselines import BestHit
from arg_utils.metrics.calibration import error_if_calibrated, reliability, table_error
from arg_utils.metrics.scores import (
    accuracy,
    bootstrap_ci,
    bootstrap_gain,
    identity_bins,
    macro_f1,
    per_class_table,
)

RANDOM, HOMOLOGY = "random", "homology"


def fitting_code(method: str) -> str:
    """16 hex digits over the code that a fit of this method depends on, imports included."""
    module = METHODS[method].__module__.removeprefix("arg_utils.")
    return closure_fingerprint(f"{module.replace('.', '/')}.py")


@dataclass(frozen=True)
class Outcome:
    """What fitting one method gave."""

    method: str
    probabilities: dict[str, np.ndarray]  # float32 [n, 15] of each part predicted
    labels: dict[str, np.ndarray]  # classes int64 [n] of the same parts
    history: pd.DataFrame  # one row per epoch; empty where nothing is trained
    trainable_parameters: int
    seconds: float  # of training, features not counted

    def predictions(self, part: str) -> np.ndarray:
        """Class indices int64 [n]."""
        return self.probabilities[part].argmax(axis=1)

    def macro_f1(self, part: str) -> float:
        """Macro-F1 over all 15 classes."""
        return macro_f1(self.labels[part], self.predictions(part))


def fit_random(work: Workspace, method: str) -> Outcome:
    """Fit on the data's own train part; predict validation, and test where its labels are known."""
    parts = {"val": work.val} | ({} if work.test is None else {"test": work.test})
    return _cached(work, method, RANDOM, work.train, work.val, parts)


def fit_fold(work: Workspace, method: str, fold: int) -> tuple[Outcome, FoldParts]:
    """Fit on one homology fold's training and validation parts; predict ``test``, its test part.

    In profiles that only try things out all parts are capped per class, as is the random split.
    """
    records, table = work.labelled
    parts, data = homology_fold(records, table, fold, work.profile.seed), proteins(records)
    parts = replace(parts, **{
        part: positions[cap_per_class(data.labels[positions], work.profile.max_records, fold)]
        for part, positions in (("train", parts.train), ("val", parts.val), ("test", parts.test))
    })  # fmt: skip
    train, val, test = (subset(data, p) for p in (parts.train, parts.val, parts.test))
    return _cached(work, method, f"{HOMOLOGY}-{fold}", train, val, {"test": test}), parts


def fit_folds(
    work: Workspace, method: str, folds: Sequence[int]
) -> list[tuple[Outcome, FoldParts]]:
    """`fit_fold` of several folds, side by side where one fit keeps one core busy.

    Not in profiles that only try things out: there, starting processes takes longer than a fit.
    """
    one_core = METHODS[method].trains_on_one_core and work.profile.max_records is None
    workers = min(cores(), len(folds)) if one_core else 1
    if workers < 2:
        return [fit_fold(work, method, fold) for fold in folds]
    calls = (joblib.delayed(_fit_fold_without_bars)(work, method, fold) for fold in folds)
    fitted = joblib.Parallel(workers, return_as="generator")(calls)
    return list(tqdm(fitted, f"{method}, {workers} at a time", len(folds), unit="fold"))


def _fit_fold_without_bars(work: Workspace, method: str, fold: int) -> tuple[Outcome, FoldParts]:
    with redirect_stderr(StringIO()):  # bars of several processes would overwrite each other
        return fit_fold(work, method, fold)


def load_fitted(work: Workspace, method: str) -> Method:
    """The method as `fit_random` left it, to predict anything with."""
    return METHODS[method].load(work.folder / "fits" / RANDOM / method)


def score_random(work: Workspace, methods: Iterable[str]) -> list[dict]:
    """One row per method on the data's own split, with a 95 % interval over homology clusters."""
    clusters = scored_clusters(work)
    rows = []
    for method in methods:
        outcome = fit_random(work, method)
        true, predicted = outcome.labels[work.scored_part], outcome.predictions(work.scored_part)
        rows.append(_row(work, RANDOM, [outcome], true, predicted, clusters, 0))
    return rows


def score_homology(
    work: Workspace, methods: Iterable[str], folds: Sequence[int] | None = None
) -> tuple[list[dict], pd.DataFrame]:
    """One row per method, its predictions pooled over homology folds, and those predictions.

    ``folds`` are the profile's unless given. Rows are as of `score_random`; their ``folds`` says
    which were pooled, ``set_aside`` how many proteins were excluded because a training or
    validation protein resembles them. Predictions have one row per test protein: fold, position (in
    the labelled records), true, identity to the best hit in training and validation (0-1, NaN
    without one), and a column per method.
    """
    records, table = work.labelled
    clusters, rows, predictions = table["cluster"].to_numpy(), [], pd.DataFrame()
    existing = set(table["fold"])
    folds = work.tested_folds if folds is None else [fold for fold in folds if fold in existing]
    for method in methods:
        fitted = fit_folds(work, method, folds)
        if predictions.empty:
            predictions = pd.concat([_fold_frame(parts, records) for _, parts in fitted])
        predictions[method] = np.concatenate([o.predictions("test") for o, _ in fitted])
        set_aside = sum(len(parts.set_aside) for _, parts in fitted)
        groups = clusters[predictions["position"]]
        true, predicted = predictions["true"].to_numpy(), predictions[method].to_numpy()
        row = _row(work, HOMOLOGY, [o for o, _ in fitted], true, predicted, groups, set_aside)
        rows.append(row | {"folds": list(folds)})
    return rows, predictions.reset_index(drop=True)


def _fold_frame(parts: FoldParts, records: Sequence[Record]) -> pd.DataFrame:
    frame = pd.DataFrame({"fold": parts.fold, "position": parts.test})
    frame["true"] = [records[i].label for i in parts.test]
    best = parts.best_hits.set_index("query")["identity"]
    return frame.assign(identity=best.reindex(parts.test).to_numpy())


def _row(
    work: Workspace, split: str, outcomes: Sequence[Outcome], true: np.ndarray,
    predicted: np.ndarray, groups: np.ndarray, set_aside: int,
) -> dict:  # fmt: skip
    interval = bootstrap_ci(true, predicted, groups, seed=work.profile.seed)
    method, scored = outcomes[0].method, work.scored_part if split == RANDOM else "test"
    return {
        "split": split, "method": method, "title": METHODS[method].title,
        "given": METHODS[method].reference if scored == "test" else TRAIN,
        "macro_f1": macro_f1(true, predicted), "ci_low": interval.low, "ci_high": interval.high,
        "accuracy": accuracy(true, predicted), "proteins": len(true), "set_aside": set_aside,
        "trainable_parameters": outcomes[0].trainable_parameters,
        "minutes": sum(o.seconds for o in outcomes) / 60, "seed": work.profile.seed,
        "scored": scored, **work.source,
    }  # fmt: skip


def scored_clusters(work: Workspace) -> np.ndarray:
    """Homology cluster of each scored protein, looked up by its sequence."""
    records, table = work.labelled
    cluster_of = dict(zip((r.sequence for r in records), table["cluster"], strict=True))
    return np.array([cluster_of[sequence] for sequence in work.scored.sequences])


def _fit_key(
    work: Workspace, method: str, train: Proteins, val: Proteins, parts: dict[str, Proteins]
) -> str:
    """Changes with whatever a fit and its predictions depend on, and with nothing else."""
    kind = METHODS[method]
    backbone = (work.weights.sha256, best_precision(best_device())) if kind.uses_esm2 else None
    learned = [(data.sequences, data.labels.tolist()) for data in (train, val)]
    asked = {name: part.sequences for name, part in parts.items()}
    return fingerprint(fitting_code(method), kind.settings(work.profile), backbone, learned, asked)


def _cached(
    work: Workspace, method: str, split: str, train: Proteins, val: Proteins,
    parts: dict[str, Proteins],
) -> Outcome:  # fmt: skip
    """Fit and predict, or read both from the cache."""
    folder = work.folder / "fits" / split
    key, place = _fit_key(work, method, train, val, parts), folder / method / "outcome.pt"
    content = load_checkpoint(place, key)
    if content is None:
        fitted = METHODS[method]().fit(train, val, work.profile, work.profile.seed, folder)
        content = {
            "probabilities": {
                name: torch.from_numpy(
                    fitted.held_out(val) if part is val else fitted.probabilities(part.sequences)
                )
                for name, part in parts.items()
            },
            "history": fitted.history.to_dict("list"),
            "trainable_parameters": fitted.trainable_parameters,
            "seconds": fitted.training_seconds,
        }
        fitted.save(folder / method)
        save_checkpoint(place, key, content)
    return Outcome(
        method,
        {name: tensor.numpy() for name, tensor in content["probabilities"].items()},
        {name: part.labels for name, part in parts.items()},
        pd.DataFrame(content["history"]),
        content["trainable_parameters"],
        content["seconds"],
    )


def run_ladder(methods: Sequence[str] | None = None, out: Path | str | None = None) -> list[dict]:
    """Fit and score what is not cached yet, and write the ladder; its rows are returned.

    ``methods`` are names in `METHODS`, all of them unless given; ``out`` is the JSON file, by
    default ``results/ladder.json``. Raises `UserError` before anything is fitted, if there is no
    such method or the file cannot serve.
    """
    methods, place = list(methods or METHODS), Path(out or RESULTS / "ladder.json")
    if unknown := [name for name in methods if name not in METHODS]:
        raise UserError(f"There is no method {unknown[0]!r}; choose from {', '.join(METHODS)}.")
    old = _old_rows(place)
    work = open_workspace()
    rows = ladder(work, methods)
    rows = sorted([*rows, *still_valid(work, rows, old)], key=_place)
    names = " ".join(dict.fromkeys(row["method"] for row in rows))
    command = f"python -m arg_utils ladder --methods {names}" + (f" --out {out}" if out else "")
    content = {**work.provenance(command), "rows": rows}
    write_text(place, json.dumps(content, indent=1) + "\n")
    return rows


def random_row(work: Workspace, method: str) -> dict:
    """One method on the data's own split; columns as in `ladder`."""
    (row,) = score_random(work, [method])
    outcome = fit_random(work, method)
    hits = best_hits(work.scored.sequences, work.references.sequences).set_index("query")
    identity = hits["identity"].reindex(range(len(work.scored.labels))).to_numpy()
    part, groups = work.scored_part, scored_clusters(work)
    simple = fit_random(work, BestHit.name).predictions(part)
    return row | _details(work, [outcome], part, simple, identity, groups)


def homology_row(work: Workspace, method: str) -> dict:
    """One method on the tested homology folds, pooled; columns as in `ladder`."""
    affordable = METHODS[method].homology_folds(work.profile)
    folds = [fold for fold in work.tested_folds if fold in affordable]
    (row,), predictions = score_homology(work, [method], folds)
    outcomes = [fit_fold(work, method, fold)[0] for fold in folds]
    simple = [fit_fold(work, BestHit.name, fold)[0].predictions("test") for fold in folds]
    groups = work.labelled[1]["cluster"].to_numpy()[predictions["position"]]
    identity = predictions["identity"].to_numpy()
    return row | _details(work, outcomes, "test", np.concatenate(simple), identity, groups)


def of_seed(work: Workspace, seed: int) -> Workspace:
    """The workspace with another seed, and a folder of its own for what is fitted with it."""
    if seed == work.profile.seed:
        return work
    return replace(work, profile=replace(work.profile, seed=seed), folder=work.folder / f"{seed}")


def ladder(work: Workspace, methods: Sequence[str]) -> list[dict]:
    """One row per seed of the profile, split and method.

    Each holds what `score_random` and `score_homology` give, and: ``ece`` (expected calibration
    error), ``reliability`` (the table behind it), ``ece_calibrated`` with ``…_low`` and ``…_high``
    (see `error_if_calibrated`), ``gain`` with ``gain_low`` and ``gain_high`` (in macro-F1 on the
    best hit, paired 95 % interval), ``per_class`` (class, precision, recall, f1, support), ``code``
    (that fits depend on), ``bins`` (one per range of identity to the best hit among the reference
    proteins: bin, n, classes, macro_f1, accuracy; null where there is none) and ``seconds`` (of
    training).
    """
    return [
        row_of(of_seed(work, seed), method)
        for seed in dict.fromkeys((work.profile.seed, *work.profile.seeds))
        for row_of in (random_row, homology_row)
        for method in methods
    ]


def read_ladder(path: Path | str = RESULTS / "ladder.json") -> dict:
    """The ladder: ``command``, ``profile``, ``weights``, ``data`` and ``rows``.

    `UserError` if the file is missing or is no ladder.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        rows = content["rows"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} cannot be read ({error}); `make ladder` writes it.") from None
    if not rows:
        raise UserError(f"{path} has no rows; `make ladder` writes it.")
    return content


def still_valid(work: Workspace, new: Sequence[dict], old: Sequence[dict]) -> list[dict]:
    """Those of the ``old`` rows that still hold and that ``new`` has not measured again."""
    measured = {_place(row) for row in new}
    return [
        row
        for row in old
        if row["method"] in METHODS
        and _place(row) not in measured
        and {name: row[name] for name in work.source} == work.source
        and row.get("code") == fitting_code(row["method"])
    ]


def _old_rows(place: Path) -> list[dict]:
    """The rows that ``place`` holds, none if there is no such file; fails where it cannot serve."""
    if place.is_dir():
        raise UserError(f"{place} is a folder; name a file.")
    if place.parent.is_file():
        raise UserError(f"{place.parent} is a file; name one in a folder.")
    rows = read_ladder(place)["rows"] if place.exists() else []
    needed = {"split", "method", "seed", "data", "weights", "profile"}
    if not all(needed <= row.keys() for row in rows):
        raise UserError(f"{place} holds something else than a ladder; name another file.")
    place.parent.mkdir(parents=True, exist_ok=True)
    if not os.access(place.parent, os.W_OK):
        raise UserError(f"{place.parent} may not be written to; name another file.")
    return rows


def _place(row: dict) -> tuple:
    """Of a row in the order of the ladder; no two rows share one."""
    return row["seed"], (RANDOM, HOMOLOGY).index(row["split"]), list(METHODS).index(row["method"])


def _details(
    work: Workspace, outcomes: Sequence[Outcome], part: str, simple: np.ndarray,
    identity: np.ndarray, groups: np.ndarray,
) -> dict:  # fmt: skip
    """What `ladder` adds to a row; ``simple`` are the best hit's predictions."""
    true = np.concatenate([outcome.labels[part] for outcome in outcomes])
    probabilities = np.concatenate([outcome.probabilities[part] for outcome in outcomes])
    predicted = probabilities.argmax(axis=1)
    gain = bootstrap_gain(true, predicted, simple, groups, seed=work.profile.seed)
    table, perfect = reliability(probabilities, true), error_if_calibrated(probabilities, groups)
    return {
        "gain": gain.value, "gain_low": gain.low, "gain_high": gain.high,
        "code": fitting_code(outcomes[0].method),
        "ece": table_error(table), "reliability": _records(table),
        "ece_calibrated": perfect.value,
        "ece_calibrated_low": perfect.low, "ece_calibrated_high": perfect.high,
        "per_class": _records(per_class_table(true, predicted)),
        "bins": _records(identity_bins(true, predicted, identity)),
        "seconds": sum(outcome.seconds for outcome in outcomes),
    }  # fmt: skip


def _records(table: pd.DataFrame) -> list[dict]:
    """Rows of a table, NaN as None: JSON has no NaN."""

    def plain(value: object) -> object:
        return None if isinstance(value, float) and math.isnan(value) else value

    rows = table.to_dict("records")
    return [{name: plain(value) for name, value in row.items()} for row in rows]
