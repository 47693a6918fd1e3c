"""Can the probabilities be believed? Calibration error, abstention, prediction sets.

Probabilities have shape (n, 15), rows summing to 1; true classes shape (n,), 0-14. What is no such
thing, or of another length, is a `ValueError`.
"""

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp

from arg_utils.labels import NUM_CLASSES
from arg_utils.metrics.scores import Interval, check_labels, check_same_length


def reliability(probabilities: ArrayLike, y_true: ArrayLike, bins: int = 15) -> pd.DataFrame:
    """Confidence against accuracy in ``bins`` equally wide bins of the top probability.

    One row per bin: low, high (its edges; the upper one belongs to it), n, confidence (mean top
    probability) and accuracy, both 0-1 and NaN where n is 0.
    """
    confidence, right = _confidence(probabilities, y_true)
    edges, which = np.linspace(0, 1, bins + 1), _bin_of(confidence, bins)
    n = np.bincount(which, minlength=bins)
    total = np.where(n > 0, n, np.nan)
    columns = {
        "low": edges[:-1],
        "high": edges[1:],
        "n": n,
        "confidence": np.bincount(which, weights=confidence, minlength=bins) / total,
        "accuracy": np.bincount(which, weights=right, minlength=bins) / total,
    }
    return pd.DataFrame(columns)


def table_error(table: pd.DataFrame) -> float:
    """The expected calibration error (0-1) that a table of `reliability` shows.

    The mean gap between confidence and accuracy, weighted by the bins' sizes: Guo et al. 2017, "On
    Calibration of Modern Neural Networks" (arXiv:1706.04599), equation 3.
    """
    gap = (table["confidence"] - table["accuracy"]).abs().fillna(0)
    return float((gap * table["n"]).sum() / table["n"].sum())


def error_if_calibrated(
    probabilities: ArrayLike, groups: ArrayLike, n: int = 1000, bins: int = 15, seed: int = 0
) -> Interval:
    """The calibration error that perfect probabilities would show, were families right as one.

    In each of ``n`` draws a family is given one uniform number, and those of its proteins are right
    whose confidence exceeds it: each with its own probability, all of them together. Were families
    right as one, what a model shows within this interval would be no evidence against its
    probabilities; where their proteins are more independent, the interval is too wide.

    ``groups`` are the families (n,), any sortable values. The mean of the draws and the bounds of
    95 % of them are returned.
    """
    confidence = np.asarray(probabilities, dtype=float).max(axis=1)
    check_same_length(probabilities=confidence, groups=groups)
    families, family = np.unique(np.asarray(groups), return_inverse=True)
    which, rng, errors = _bin_of(confidence, bins), np.random.default_rng(seed), []
    for _ in range(n):
        right = rng.random(len(families))[family.ravel()] < confidence
        errors.append(np.abs(np.bincount(which, right - confidence, bins)).sum())
    shares = np.array(errors) / len(confidence)
    low, high = np.quantile(shares, [0.025, 0.975])
    return Interval(float(shares.mean()), float(low), float(high))


def risk_coverage(
    probabilities: ArrayLike, y_true: ArrayLike, weights: ArrayLike | None = None
) -> pd.DataFrame:
    """The error rate among the proteins answered, when the least confident are left unanswered.

    Geifman & El-Yaniv 2017, "Selective Classification for Deep Neural Networks"
    (arXiv:1705.08500). One row per distinct confidence, falling: threshold (answer at or above it),
    coverage (share answered) and risk (share of those that are wrong), all 0-1; each protein counts
    ``weights`` (n,) times, once unless given. The last row answers all.
    """
    confidence, right = _confidence(probabilities, y_true)
    each = np.ones(len(right)) if weights is None else np.asarray(weights, dtype=float)
    order = np.argsort(-confidence, kind="stable")
    confidence, each, answered = confidence[order], each[order], np.cumsum(each[order])
    columns = {
        "threshold": confidence,
        "coverage": answered / answered[-1],
        "risk": np.cumsum(each * ~right[order]) / answered,
    }
    last = np.append(confidence[1:] != confidence[:-1], True)  # equal confidences go together
    return pd.DataFrame(columns)[last].reset_index(drop=True)


def conformal_threshold(
    probabilities: ArrayLike, y_true: ArrayLike, groups: ArrayLike, coverage: float
) -> float:
    """The least probability (0-1) of a class that belongs to a protein's prediction set.

    Hierarchical conformal prediction (Lee, Barber & Willett 2023, arXiv:2306.06342): proteins of
    one family are right or wrong together, so families are what is exchangeable, and each weighs
    the same. The sets of classes at or above the threshold hold the true class of a protein of a
    new family with probability ``coverage`` (0-1) at least, on average over families like these; 0,
    and so all classes, where the families are too few to promise that. ``groups`` are the families
    (n,), any sortable values.
    """
    p, true = _checked(probabilities, y_true)
    check_same_length(y_true=true, groups=groups)
    families, family, size = np.unique(np.asarray(groups), return_inverse=True, return_counts=True)
    of_true = p[np.arange(len(true)), true]
    order = np.argsort(of_true, kind="stable")
    weight = 1 / ((len(families) + 1) * size[family.ravel()[order]])
    below = 1 / (len(families) + 1) + np.concatenate([[0.0], np.cumsum(weight)[:-1]])
    allowed = of_true[order][below <= 1 - coverage + 1e-12]
    return float(allowed.max()) if len(allowed) else 0.0


def answered(probabilities: ArrayLike, threshold: float | None) -> NDArray:
    """Which proteins get an answer, bool (n,): their prediction set holds one class.

    Without a threshold (see `conformal_threshold`), all do.
    """
    p = np.asarray(probabilities)
    if threshold is None:
        return np.ones(len(p), dtype=bool)
    return (p >= threshold).sum(axis=1) == 1


def fit_temperature(
    scores: ArrayLike, y_true: ArrayLike, weights: ArrayLike | None = None
) -> float:
    """What to divide scores (logits, (n, 15)) by so that their softmax is right on average.

    Temperature scaling, Guo et al. 2017 (arXiv:1706.04599): the least negative log-likelihood, each
    protein counting ``weights`` (n,) times, once unless given. Between 0.05 and 20.
    """
    logits, true = np.asarray(scores, dtype=float), check_labels(y_true, "y_true")
    check_same_length(scores=logits, y_true=true)
    each = np.ones(len(true)) if weights is None else np.asarray(weights, dtype=float)

    def loss(log_temperature: float) -> float:
        scaled = logits / np.exp(log_temperature)
        lost = logsumexp(scaled, axis=1) - scaled[np.arange(len(true)), true]
        return float((each * lost).sum() / each.sum())

    bounds = np.log([0.05, 20])
    return float(np.exp(minimize_scalar(loss, bounds=bounds, method="bounded").x))


def _bin_of(confidence: NDArray, bins: int) -> NDArray:
    """Which of ``bins`` equally wide bins of 0-1 each confidence lies in."""
    edges = np.linspace(0, 1, bins + 1)
    return np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, bins - 1)


def _confidence(probabilities: ArrayLike, y_true: ArrayLike) -> tuple[NDArray, NDArray]:
    """The top probability, shape (n,), and whether it is on the true class, shape (n,)."""
    p, true = _checked(probabilities, y_true)
    return p.max(axis=1), p.argmax(axis=1) == true


def _checked(probabilities: ArrayLike, y_true: ArrayLike) -> tuple[NDArray, NDArray]:
    """Both as arrays, of shapes (n, 15) and (n,)."""
    p, true = np.asarray(probabilities, dtype=float), check_labels(y_true, "y_true")
    if p.ndim != 2 or p.shape[1] != NUM_CLASSES:
        raise ValueError(f"probabilities must have shape (n, {NUM_CLASSES}), not {p.shape}")
    check_same_length(probabilities=p, y_true=true)
    if not (np.all(p >= 0) and np.allclose(p.sum(axis=1), 1, atol=1e-3)):
        raise ValueError("each row of probabilities must be non-negative and sum to 1")
    return p, true
