"""Methods on splits: each fitted once, its predictions cached, then scored."""

from collections.abc import Iterable, Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass, replace
from io import StringIO

import joblib
import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from arg_utils.data.proteins import Proteins, Record, cap_per_class, proteins, subset
from arg_utils.esm2.model import best_device, best_precision
from arg_utils.experiments.workspace import Workspace
from arg_utils.files import cores, load_checkpoint, save_checkpoint
from arg_utils.fingerprint import closure_fingerprint, fingerprint
from arg_utils.homology.splits import FoldParts, homology_fold
from arg_utils.methods import METHODS
from arg_utils.methods.base import TRAIN, Method
from arg_utils.metrics.scores import accuracy, bootstrap_ci, macro_f1

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
    which were pooled, ``excluded`` how many proteins were excluded because a training or
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
        excluded = sum(len(parts.excluded) for _, parts in fitted)
        groups = clusters[predictions["position"]]
        true, predicted = predictions["true"].to_numpy(), predictions[method].to_numpy()
        row = _row(work, HOMOLOGY, [o for o, _ in fitted], true, predicted, groups, excluded)
        rows.append(row | {"folds": list(folds)})
    return rows, predictions.reset_index(drop=True)


def _fold_frame(parts: FoldParts, records: Sequence[Record]) -> pd.DataFrame:
    frame = pd.DataFrame({"fold": parts.fold, "position": parts.test})
    frame["true"] = [records[i].label for i in parts.test]
    best = parts.best_hits.set_index("query")["identity"]
    return frame.assign(identity=best.reindex(parts.test).to_numpy())


def _row(
    work: Workspace, split: str, outcomes: Sequence[Outcome], true: np.ndarray,
    predicted: np.ndarray, groups: np.ndarray, excluded: int,
) -> dict:  # fmt: skip
    interval = bootstrap_ci(true, predicted, groups, seed=work.profile.seed)
    method, scored = outcomes[0].method, work.scored_part if split == RANDOM else "test"
    return {
        "split": split, "method": method, "title": METHODS[method].title,
        "given": METHODS[method].reference if scored == "test" else TRAIN,
        "macro_f1": macro_f1(true, predicted), "ci_low": interval.low, "ci_high": interval.high,
        "accuracy": accuracy(true, predicted), "proteins": len(true), "excluded": excluded,
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
