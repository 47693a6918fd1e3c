"""Scores: macro-F1 over all 15 classes, where it comes from, and how sure it is.

Labels are integers 0-14 in the order of `arg_utils.labels.CLASSES`. Every function raises
`ValueError` for arrays of different lengths, for empty input and for labels outside 0-14.

Intervals resample whole clusters of proteins: homologues succeed or fail together, so proteins are
not independent draws; clusters are nearer to that (cluster bootstrap: Field & Welsh 2007,
doi:10.1111/j.1467-9868.2007.00593.x; percentile interval: Efron 1979, doi:10.1214/aos/1176344552).
"""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from arg_utils.labels import DISPLAY_NAMES, NUM_CLASSES

IDENTITY_EDGES = (0.0, 0.30, 0.40, 0.60, 0.90)
IDENTITY_BINS = ("no hit", "<30 %", "30–40 %", "40–60 %", "60–90 %", "≥90 %")


def check_labels(labels: ArrayLike, name: str = "labels") -> NDArray[np.int64]:
    """``labels`` as a 1-D integer array, or `ValueError` if one of them is no class index."""
    array = np.asarray(labels)
    if array.ndim != 1 or array.size == 0:
        raise ValueError(f"{name} must be a non-empty 1-D array, not one of shape {array.shape}")
    if not np.issubdtype(array.dtype, np.integer):
        raise ValueError(f"{name} must hold integers, not {array.dtype}")
    wrong = array[(array < 0) | (array >= NUM_CLASSES)]
    if wrong.size:
        raise ValueError(f"{name} holds {wrong[0]}, but labels are 0-{NUM_CLASSES - 1}")
    return array.astype(np.int64)


def check_same_length(**arrays: Any) -> None:
    """`ValueError` naming the arrays and their lengths unless all lengths agree."""
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{name} has {length}" for name, length in lengths.items())
        raise ValueError(f"one entry per protein is needed in each: {listed}")


def confusion(y_true: ArrayLike, y_pred: ArrayLike) -> NDArray[np.int64]:
    """The 15x15 confusion matrix of counts: rows are true classes, columns predicted ones."""
    true, pred = check_labels(y_true, "y_true"), check_labels(y_pred, "y_pred")
    check_same_length(y_true=true, y_pred=pred)
    cells = np.bincount(true * NUM_CLASSES + pred, minlength=NUM_CLASSES**2)
    return cells.reshape(NUM_CLASSES, NUM_CLASSES)


def f1_from_confusion(counts: NDArray) -> NDArray[np.float64]:
    """F1 of each class, shape (..., 15), from confusion matrices of shape (..., 15, 15).

    F1 = 2 TP / (2 TP + FP + FN). A class that is neither present nor predicted gets 0.
    """
    hits = np.diagonal(counts, axis1=-2, axis2=-1).astype(float)
    both = counts.sum(axis=-1) + counts.sum(axis=-2)
    return np.divide(2 * hits, both, out=np.zeros_like(hits), where=both > 0)


def macro_f1(y_true: ArrayLike, y_pred: ArrayLike, present_only: bool = False) -> float:
    """The mean F1 of all 15 classes (0-1), the competition's score.

    Equal to scikit-learn's ``f1_score(..., labels=range(15), average="macro",
    zero_division=0)``. A class without a true protein counts as 0 whatever is predicted, so a
    set that lacks a class cannot score 1. With ``present_only`` the mean is over the classes that
    have a true protein.
    """
    scores = f1_from_confusion(confusion(y_true, y_pred))
    return float(scores[np.unique(y_true)].mean() if present_only else scores.mean())


def accuracy(y_true: ArrayLike, y_pred: ArrayLike) -> float:
    """The share of proteins with the right class (0-1)."""
    counts = confusion(y_true, y_pred)
    return float(np.trace(counts) / counts.sum())


def per_class_table(y_true: ArrayLike, y_pred: ArrayLike) -> pd.DataFrame:
    """One row per class, in index order: class, precision, recall, f1 (0-1) and support.

    ``support`` is the number of true proteins. A ratio with nothing below the line is 0.
    """
    counts = confusion(y_true, y_pred)
    hits = np.diag(counts)
    support, predicted = counts.sum(axis=1), counts.sum(axis=0)
    columns = {
        "class": DISPLAY_NAMES,
        "precision": hits / np.maximum(predicted, 1),
        "recall": hits / np.maximum(support, 1),
        "f1": f1_from_confusion(counts),
        "support": support,
    }
    return pd.DataFrame(columns)


def hardest_confusions(y_true: ArrayLike, y_pred: ArrayLike, top: int = 10) -> pd.DataFrame:
    """The ``top`` most frequent mistakes: true, predicted, count, share of the true class (0-1).

    Sorted by count, then share. Fewer rows when there are fewer kinds of mistake.
    """
    counts = confusion(y_true, y_pred)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    true, pred = np.nonzero(counts * (1 - np.eye(NUM_CLASSES, dtype=int)))
    columns = {
        "true": np.take(DISPLAY_NAMES, true),
        "predicted": np.take(DISPLAY_NAMES, pred),
        "count": counts[true, pred],
        "share": shares[true, pred],
    }
    table = pd.DataFrame(columns).sort_values(["count", "share"], ascending=False, kind="stable")
    return table.head(top).reset_index(drop=True)


def identity_bins(y_true: ArrayLike, y_pred: ArrayLike, identity: ArrayLike) -> pd.DataFrame:
    """Scores by identity (n,), 0-1, to the best hit among the reference proteins; NaN: no hit.

    One row per bin of `IDENTITY_BINS` (lower edge included): bin, n, classes (true classes there),
    macro_f1 over those classes, since few bins hold all 15, and accuracy; NaN scores where n is 0.
    """
    true, pred = check_labels(y_true, "y_true"), check_labels(y_pred, "y_pred")
    near = np.asarray(identity, dtype=float)
    check_same_length(y_true=true, y_pred=pred, identity=near)
    if np.any((near < 0) | (near > 1)):
        raise ValueError("identity must lie between 0 and 1 (NaN: no hit), not in per cent")
    which = np.where(np.isnan(near), 0, np.searchsorted(IDENTITY_EDGES, near, side="right"))
    rows = []
    for number, name in enumerate(IDENTITY_BINS):
        t, p = true[which == number], pred[which == number]
        scores = (macro_f1(t, p, present_only=True), accuracy(t, p)) if t.size else (np.nan, np.nan)
        rows.append((name, t.size, len(np.unique(t)), *scores))
    return pd.DataFrame(rows, columns=["bin", "n", "classes", "macro_f1", "accuracy"])


class Interval(NamedTuple):
    """A score with the ends of its 95 % confidence interval."""

    value: float
    low: float
    high: float


def bootstrap_ci(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    groups: ArrayLike,
    n: int = 1000,
    seed: int = 0,
    present_only: bool = False,
) -> Interval:
    """Macro-F1 and its 95 % interval, from ``n`` resamples of clusters.

    ``groups`` names the cluster of each protein (n,), by any sortable values. A class of few
    clusters is missing from some resamples: it is left out of their mean instead of counting as 0,
    which would pull the interval below the score. One without any true protein counts as 0, unless
    ``present_only`` as in `macro_f1`.
    """
    draws = _draws(y_true, y_pred, groups, n, seed, present_only)
    low, high = np.quantile(draws, [0.025, 0.975])
    return Interval(macro_f1(y_true, y_pred, present_only), float(low), float(high))


def bootstrap_gain(
    y_true: ArrayLike,
    y_new: ArrayLike,
    y_old: ArrayLike,
    groups: ArrayLike,
    n: int = 1000,
    seed: int = 0,
    present_only: bool = False,
) -> Interval:
    """How much macro-F1 one set of answers gains on another, with its 95 % interval.

    Paired: both are scored on the same resamples of clusters, otherwise as in `bootstrap_ci`.
    """
    new, old = (_draws(y_true, pred, groups, n, seed, present_only) for pred in (y_new, y_old))
    low, high = np.quantile(new - old, [0.025, 0.975])
    scores = [macro_f1(y_true, pred, present_only) for pred in (y_new, y_old)]
    return Interval(scores[0] - scores[1], float(low), float(high))


def _draws(
    y_true: ArrayLike, y_pred: ArrayLike, groups: ArrayLike, n: int, seed: int, present_only: bool
) -> NDArray[np.float64]:
    """Macro-F1 of ``n`` resamples of clusters, the same clusters for the same seed."""
    true, pred = check_labels(y_true, "y_true"), check_labels(y_pred, "y_pred")
    check_same_length(y_true=true, y_pred=pred, groups=np.asarray(groups))
    clusters, cluster = np.unique(np.asarray(groups), return_inverse=True)
    size = len(clusters)
    matrices = np.zeros((size, NUM_CLASSES**2))
    np.add.at(matrices, (cluster.ravel(), true * NUM_CLASSES + pred), 1)
    weights = np.random.default_rng(seed).multinomial(size, np.full(size, 1 / size), size=n)
    counts = (weights.astype(float) @ matrices).reshape(n, NUM_CLASSES, NUM_CLASSES)
    counted = counts.sum(axis=2) > 0
    if not present_only:  # absent from all the data: a 0, as in macro_f1
        counted |= np.bincount(true, minlength=NUM_CLASSES) == 0
    return (f1_from_confusion(counts) * counted).sum(axis=1) / counted.sum(axis=1)
