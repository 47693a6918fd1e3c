"""How sure a score is: intervals that resample whole clusters of proteins, not single ones.

Homologues succeed or fail together, so proteins are not independent draws; clusters are nearer to
that (cluster bootstrap: Field & Welsh 2007, doi:10.1111/j.1467-9868.2007.00593.x; percentile
interval: Efron 1979, doi:10.1214/aos/1176344552). Labels and errors as in `metrics.scores`.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from arg_utils.labels import NUM_CLASSES
from arg_utils.metrics.scores import check_labels, check_same_length, f1_from_confusion, macro_f1


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
    """Macro-F1 and its 95 % interval.

    A class of few clusters is missing from some resamples: it is left out of their mean instead of
    counting as 0, which would pull the interval below the score.

    Parameters
    ----------
    groups : the cluster of each protein, shape (n,), any sortable values.
    n : number of resamples.
    present_only : as in `macro_f1`; otherwise a class without any true protein counts as 0.
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


def _draws(y_true, y_pred, groups, n: int, seed: int, present_only: bool) -> NDArray[np.float64]:
    """Macro-F1 of ``n`` resamples of clusters, the same clusters for the same seed."""
    true, pred = check_labels(y_true, "y_true"), check_labels(y_pred, "y_pred")
    check_same_length(y_true=true, y_pred=pred, groups=groups)
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
