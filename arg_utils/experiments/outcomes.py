"""Methods on splits: each fitted once, its predictions kept, scored in one table."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch

from arg_utils.data.proteins import Proteins, cap_per_class, proteins, subset
from arg_utils.esm2.model import best_device, best_precision
from arg_utils.experiments.workspace import Workspace
from arg_utils.files import fingerprint, load_checkpoint, save_checkpoint
from arg_utils.fingerprint import modules_fingerprint
from arg_utils.homology.splits import FoldParts, homology_fold
from arg_utils.labels import NONARG, NUM_CLASSES
from arg_utils.methods.base import Method
from arg_utils.methods.baselines import BestHit
from arg_utils.methods.block_methods import AttentionPooling, FullFinetuning, LoraInBlocks
from arg_utils.methods.frozen import LayersLinear, NearestNeighbour
from arg_utils.methods.hybrid import Hybrid
from arg_utils.methods.imbalance import IMBALANCE
from arg_utils.methods.nonlinear import NONLINEAR
from arg_utils.methods.phmmer import PhmmerHit
from arg_utils.methods.registry import METHODS
from arg_utils.metrics.intervals import bootstrap_ci
from arg_utils.metrics.scores import accuracy, macro_f1

RANDOM, HOMOLOGY = "random", "homology"
# What a fit depends on besides data, weights and settings: a change of these makes it anew.
FITTING_CODE = (
    "data/proteins", "esm2/batches", "esm2/embeddings", "esm2/lora", "esm2/lora_product",
    "esm2/model", "esm2/pooling", "homology/mmseqs", "methods/base", "methods/baselines",
    "methods/classifier", "methods/course", "methods/finetuning", "methods/sampling",
    "methods/training",
)  # fmt: skip
OWN_CODE = {
    AttentionPooling.name: ("methods/block_methods",),
    LoraInBlocks.name: ("methods/block_methods",),
    FullFinetuning.name: ("methods/block_methods",),
    LayersLinear.name: ("methods/frozen",),
    NearestNeighbour.name: ("methods/frozen",),
    PhmmerHit.name: ("homology/splits", "methods/phmmer"),
    **{method.name: ("methods/frozen", "methods/imbalance") for method in IMBALANCE},
    **{
        method.name: ("methods/frozen", "methods/nonlinear", "metrics/calibration")
        for method in NONLINEAR
    },
    Hybrid.name: (
        "homology/profiles", "homology/splits", "methods/evidence", "methods/frozen",
        "methods/hybrid", "methods/stacking", "metrics/calibration",
    ),
}  # fmt: skip


def fitting_code(method: str) -> str:
    """16 hex digits over the code that a fit of this method depends on."""
    return modules_fingerprint((*FITTING_CODE, *OWN_CODE.get(method, ())))


@dataclass(frozen=True)
class Outcome:
    """What fitting one method gave.

    Attributes
    ----------
    probabilities : float32 [n, 15] for each part predicted.
    labels : classes int64 [n] of the same parts.
    history : one row an epoch; empty where nothing is trained.
    seconds : of training, features not counted.
    """

    method: str
    probabilities: dict[str, np.ndarray]
    labels: dict[str, np.ndarray]
    history: pd.DataFrame
    trainable_parameters: int
    seconds: float

    def predictions(self, part: str) -> np.ndarray:
        """Class indices int64 [n]."""
        return self.probabilities[part].argmax(axis=1)

    def macro_f1(self, part: str) -> float:
        """Macro-F1 over all 15 classes."""
        return macro_f1(self.labels[part], self.predictions(part))


def fit_random(work: Workspace, method: str) -> Outcome:
    """Fit on the data's own train part; predict validation, and test where its labels are known."""
    parts = {"val": work.val} | ({} if work.test is None else {"test": work.test})
    return _remembered(work, method, RANDOM, work.train, work.val, parts)


def fit_fold(work: Workspace, method: str, fold: int) -> tuple[Outcome, FoldParts]:
    """Fit on one homology fold's training part; predict ``test``, its test part.

    In profiles that only try things out all parts are capped a class, as is the random split.
    """
    records, table = work.labelled
    parts, data = homology_fold(records, table, fold, work.profile.seed), proteins(records)
    parts = replace(parts, **{
        part: positions[cap_per_class(data.labels[positions], work.profile.max_records, fold)]
        for part, positions in (("train", parts.train), ("val", parts.val), ("test", parts.test))
    })  # fmt: skip
    train, val, test = (subset(data, p) for p in (parts.train, parts.val, parts.test))
    if method == BestHit.name:
        return _looked_up(parts, data, test), parts
    return _remembered(work, method, f"{HOMOLOGY}-{fold}", train, val, {"test": test}), parts


def _looked_up(parts: FoldParts, data: Proteins, test: Proteins) -> Outcome:
    """`BestHit` without a search of its own: the one that set proteins aside found all hits."""
    hits = parts.hits[parts.hits["target"].isin(parts.train)].drop_duplicates("query")
    best = hits.set_index("query")["target"].reindex(parts.test)
    found = np.full(len(parts.test), NONARG)
    found[best.notna()] = data.labels[best.dropna().astype(int)]
    probabilities = np.eye(NUM_CLASSES, dtype=np.float32)[found]
    return Outcome(
        BestHit.name, {"test": probabilities}, {"test": test.labels}, pd.DataFrame(), 0, 0.0
    )


def load_fitted(work: Workspace, method: str) -> Method:
    """The method as `fit_random` left it, to predict anything with."""
    return METHODS[method].load(work.folder / "fits" / RANDOM / method)


def score_random(work: Workspace, methods: Iterable[str]) -> list[dict]:
    """One row a method on the data's own split, with a 95 % interval over homology clusters."""
    clusters = scored_clusters(work)
    rows = []
    for method in methods:
        outcome = fit_random(work, method)
        true, found = outcome.labels[work.scored_part], outcome.predictions(work.scored_part)
        rows.append(_row(work, RANDOM, [outcome], true, found, clusters, 0))
    return rows


def score_homology(
    work: Workspace, methods: Iterable[str], folds: Sequence[int] | None = None
) -> tuple[list[dict], pd.DataFrame]:
    """One row a method, its predictions pooled over homology folds, and those predictions.

    ``folds`` are the profile's unless given.

    Returns
    -------
    rows : as of `score_random`; ``folds`` says which were pooled, ``set_aside`` how many test
        proteins were left out because a training protein resembles them.
    predictions : one row a test protein: fold, position (in the labelled records), true, identity
        to the best hit in the training part (0-1, NaN without one), and a column a method.
    """
    records, table = work.labelled
    clusters, rows, predictions = table["cluster"].to_numpy(), [], pd.DataFrame()
    made = set(table["fold"])
    folds = work.tested_folds if folds is None else [fold for fold in folds if fold in made]
    for method in methods:
        fitted = [fit_fold(work, method, fold) for fold in folds]
        if predictions.empty:
            predictions = pd.concat([_fold_frame(parts, records) for _, parts in fitted])
        predictions[method] = np.concatenate([o.predictions("test") for o, _ in fitted])
        set_aside = sum(len(parts.set_aside) for _, parts in fitted)
        groups = clusters[predictions["position"]]
        true, found = predictions["true"].to_numpy(), predictions[method].to_numpy()
        row = _row(work, HOMOLOGY, [o for o, _ in fitted], true, found, groups, set_aside)
        rows.append(row | {"folds": list(folds)})
    return rows, predictions.reset_index(drop=True)


def _fold_frame(parts: FoldParts, records) -> pd.DataFrame:
    frame = pd.DataFrame({"fold": parts.fold, "position": parts.test})
    frame["true"] = [records[i].label for i in parts.test]
    best = parts.best_hits.set_index("query")["identity"]
    return frame.assign(identity=best.reindex(parts.test).to_numpy())


def _row(work: Workspace, split, outcomes, true, found, groups, set_aside: int) -> dict:
    interval = bootstrap_ci(true, found, groups, seed=work.profile.seed)
    return {
        "split": split, "method": outcomes[0].method, "title": METHODS[outcomes[0].method].title,
        "macro_f1": macro_f1(true, found), "ci_low": interval.low, "ci_high": interval.high,
        "accuracy": accuracy(true, found), "proteins": len(true), "set_aside": set_aside,
        "trainable_parameters": outcomes[0].trainable_parameters,
        "minutes": sum(o.seconds for o in outcomes) / 60, "seed": work.profile.seed,
        "profile": work.profile.name, "weights": work.weights.name,
        "data": f"{work.data.name} [{work.data.identity[:8]}]",
        "scored": work.scored_part if split == RANDOM else "test",
    }  # fmt: skip


def scored_clusters(work: Workspace) -> np.ndarray:
    """Homology clusters of the scored proteins (found by sequence)."""
    records, table = work.labelled
    cluster_of = dict(zip((r.sequence for r in records), table["cluster"], strict=True))
    return np.array([cluster_of[sequence] for sequence in work.scored.sequences])


def _remembered(
    work: Workspace, method: str, split: str, train: Proteins, val: Proteins,
    parts: dict[str, Proteins],
) -> Outcome:  # fmt: skip
    """Fit and predict, or find both done before with the same data, weights, settings and code."""
    folder = work.folder / "fits" / split
    key = fingerprint(
        fitting_code(method),
        work.data.identity, work.weights.sha256, best_precision(best_device()), work.profile,
        method, split, train.sequences, {name: part.sequences for name, part in parts.items()},
    )  # fmt: skip
    place = folder / method / "outcome.pt"
    kept = load_checkpoint(place, key)
    if kept is None:
        fitted = METHODS[method]().fit(train, val, work.profile, work.profile.seed, folder)
        kept = {
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
        save_checkpoint(place, key, kept)
    return Outcome(
        method,
        {name: tensor.numpy() for name, tensor in kept["probabilities"].items()},
        {name: part.labels for name, part in parts.items()},
        pd.DataFrame(kept["history"]),
        kept["trainable_parameters"],
        kept["seconds"],
    )
