"""What does each part of the hybrid bring on families not seen? Asked of training data only.

The training part of the random split is split by homology into five folds, several times. The
evidence on a fold comes from the four others: hits in them, and a head fitted on their features.
The weights of the evidence are learned on four folds and judged on the fifth. No validation or test
protein is used. ``false_args`` is the share taken for ARGs of the negatives without a hit: letting
rare classes and small families weigh more finds more of their ARGs, and more of these.
"""

from collections.abc import Callable, Mapping
from statistics import fmean

import numpy as np
import torch
import torch.nn.functional as F

from arg_utils.experiments.workspace import Workspace
from arg_utils.homology.mmseqs import profile_search, search
from arg_utils.homology.splits import homology_clusters, homology_folds, representatives
from arg_utils.labels import NONARG, NUM_CLASSES
from arg_utils.methods.evidence import (
    SEARCH,
    Unseen,
    assemble,
    balance,
    draw,
    hit_evidence,
    profiled,
    stacking_weights,
    strongest_first,
)
from arg_utils.methods.frozen import Standardiser, frozen_features, inverse_size
from arg_utils.metrics.calibration import expected_calibration_error
from arg_utils.metrics.scores import accuracy, bootstrap_gain, macro_f1
from benchmarks.ablations.treatments import Head, linear, nearest, perceptron

SCORES = ("macro_f1", "accuracy", "ece", "false_args", "gain")
CHOSEN = "all hits, linear layer"  # as the hybrid has it
SHARPNESS = 10.0  # of the nearest neighbour's cosines as logits; the weights rescale it
SEEDS = (1, 2, 3)  # of the partitions
# Which hits, and which heads, whose log-probabilities are averaged.
VARIANTS: dict[str, tuple[str, tuple[str, ...]]] = {
    CHOSEN: ("all", ("linear",)),
    "all hits, no model": ("all", ()),
    "no hits, linear layer": ("none", ("linear",)),
    "hits of proteins, linear layer": ("proteins", ("linear",)),
    "hits of profiles, linear layer": ("profiles", ("linear",)),
    "all hits, perceptron": ("all", ("perceptron",)),
    "all hits, nearest neighbour": ("all", ("nearest",)),
    "all hits, mean of the three": ("all", ("linear", "perceptron", "nearest")),
}
# How the weights' sample is counted: families, then classes, as their size to 1 minus these powers.
COUNTED = {
    f"{CHOSEN}, family^{1 - family:g}, class^{1 - kind:g}": (family, kind)
    for family, kind in ((0.0, 0.0), (0.0, 0.25), (0.25, 0.0), (0.5, 0.25), (0.25, 0.5))
}


def heads() -> dict[str, Head]:
    """Heads by name, whose scores serve as logits."""

    def sharpened(x, y, asked):
        return SHARPNESS * nearest(x, y, asked)

    return {"linear": linear(), "perceptron": perceptron, "nearest": sharpened}


def hits_apart(sequences: list[str], labels: np.ndarray, fold: np.ndarray) -> dict[str, np.ndarray]:
    """`hit_evidence` of each protein from other folds, by kind of hit."""
    first = representatives(sequences)[0]
    single = search(sequences, [sequences[i] for i in first], **SEARCH)
    single = single.assign(target=first[single["target"]])
    family = profile_search(sequences, sequences, profiled(sequences, labels))
    single, family = (
        hits[fold[hits["query"]] != fold[hits["target"]]] for hits in (single, family)
    )
    kinds = {"all": [single, family], "proteins": [single], "profiles": [family], "none": []}
    empty = single.iloc[:0]
    return {
        kind: hit_evidence(strongest_first(tables or [empty]), labels, len(labels))
        for kind, tables in kinds.items()
    }


def held_out(head: Head, x: np.ndarray, labels: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Log-probabilities float32 [n, 15] of each fold by a head fitted on the others."""
    out = np.empty((len(labels), NUM_CLASSES), np.float32)
    for number in np.unique(fold):
        rest = fold != number
        scores = torch.from_numpy(np.asarray(head(x[rest], labels[rest], x[~rest]), np.float32))
        out[~rest] = F.log_softmax(scores, dim=1).numpy()
    return out


def powers(family: float, kind: float) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """`stacking.balance` with other powers of the sizes of families and classes."""

    def count(labels: np.ndarray, families: np.ndarray) -> np.ndarray:
        share = inverse_size(families, family)
        return share * inverse_size(labels, kind, share)

    return count


def crossed(
    evidence: np.ndarray, labels: np.ndarray, families: np.ndarray, fold: np.ndarray, count=balance
) -> np.ndarray:
    """Probabilities [n, 15] of each fold, by weights learned on the evidence of the others.

    ``count`` says how much each protein counts there, as `stacking.balance` does.
    """
    out = np.empty((len(labels), NUM_CLASSES), np.float32)
    for number in np.unique(fold):
        rest = np.flatnonzero(fold != number)
        rest = rest[draw(labels[rest], families[rest], 0)]
        ones = np.ones(len(rest))
        counted = count(labels[rest], families[rest])
        unseen = Unseen(evidence[rest], labels[rest], ones.astype(bool), counted, ones)
        scores = torch.from_numpy(evidence[fold == number]) @ stacking_weights(unseen, 1.0)
        out[fold == number] = F.softmax(scores, dim=1).numpy()
    return out


def compare(
    hits: Mapping[str, np.ndarray],
    log_p: Mapping[str, np.ndarray],
    labels: np.ndarray,
    families: np.ndarray,
    fold: np.ndarray,
) -> list[dict]:
    """One row per variant: scores, and what it gains on `CHOSEN` (paired 95 % interval)."""
    nothing = np.full((len(labels), NUM_CLASSES), -np.log(NUM_CLASSES), np.float32)
    probabilities = {}
    for name, (kind, used) in VARIANTS.items():
        mean = np.mean([log_p[each] for each in used], axis=0) if used else nothing
        probabilities[name] = crossed(assemble(hits[kind], mean), labels, families, fold)
    evidence = assemble(hits["all"], log_p["linear"])
    for name, pair in COUNTED.items():
        probabilities[name] = crossed(evidence, labels, families, fold, powers(*pair))
    base, rows = probabilities[CHOSEN].argmax(axis=1), []
    alone = (labels == NONARG) & ~hits["all"].any(axis=(1, 2))
    for name, each in probabilities.items():
        predicted = each.argmax(axis=1)
        gain = bootstrap_gain(labels, predicted, base, families)
        rows.append({
            "evidence": name, "macro_f1": macro_f1(labels, predicted),
            "accuracy": accuracy(labels, predicted),
            "ece": expected_calibration_error(each, labels),
            "false_args": float((predicted[alone] != NONARG).mean()) if alone.any() else 0.0,
            "gain": gain.value, "gain_low": gain.low, "gain_high": gain.high,
        })  # fmt: skip
    return rows


def averaged(partitions: list[list[dict]]) -> list[dict]:
    """One row per variant: the means over partitions, and ``gains``: [gain, low, high] of each."""
    rows = []
    for same in zip(*partitions, strict=True):
        means = {name: fmean(row[name] for row in same) for name in SCORES}
        gains = [[row["gain"], row["gain_low"], row["gain_high"]] for row in same]
        rows.append({"evidence": same[0]["evidence"], **means, "gains": gains})
    return rows


def evaluate(work: Workspace) -> list[dict]:
    """One row per variant, averaged over partitions."""
    sequences, labels = work.train.sequences, work.train.labels
    families = homology_clusters(sequences)
    raw, partitions = frozen_features(sequences), []
    x = Standardiser.learn(raw)(raw)
    for seed in SEEDS:
        fold = homology_folds(labels, families, seed)
        log_p = {name: held_out(head, x, labels, fold) for name, head in heads().items()}
        hits = hits_apart(sequences, labels, fold)
        partitions.append(compare(hits, log_p, labels, families, fold))
    return averaged(partitions)
