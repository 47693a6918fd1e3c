"""Ways to treat rare classes, compared on one logistic regression on the same frozen features."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from arg_utils.labels import NUM_CLASSES
from arg_utils.methods.frozen import LayersLinear, fit_linear

GAMMA = 2.0  # of the focal loss, its paper's choice
POWERS = {"plain": 0.0, "sqrt": 0.5, "weighted": 1.0}  # see `frozen.inverse_size`
TITLES = {
    "plain": "plain",
    "sqrt": "root of size",
    "weighted": "class-weighted",
    "focal": "focal",
    "adjusted": "logit-adjusted",
    "balanced": "balanced sample",
}


def fit_objective(
    features: np.ndarray, labels: np.ndarray, objective: str, penalty: float = 1e-3, seed: int = 0
) -> nn.Linear:
    """Logistic regression [n, width] -> 15 by L-BFGS, rare classes treated by ``objective``.

    - ``plain``: every protein counts the same;
    - ``weighted``, ``sqrt``: a class counts the same as any other, or as the root of its size;
    - ``focal``: clear cases count less, (1 - p)^2 (Lin et al. 2017, arXiv:1708.02002);
    - ``adjusted``: the logarithm of a class's share is added in the loss (Menon et al. 2021,
      arXiv:2007.07314);
    - ``balanced``: as many proteins as there are, drawn with each class equally often.

    Raises
    ------
    ValueError
        If there is no such objective.
    """
    if objective not in TITLES:
        raise ValueError(f"objective is {objective!r}; choose one of {', '.join(TITLES)}")
    if objective == "balanced":
        features, labels = _resampled(features, labels, seed)
    lost = {"focal": _focal, "adjusted": _adjusted(labels)}.get(objective)
    return fit_linear(features, labels, penalty, POWERS.get(objective, 0.0), lost)


def _focal(scores: torch.Tensor, true: torch.Tensor) -> torch.Tensor:
    each = F.cross_entropy(scores, true, reduction="none")
    return (1 - torch.exp(-each)) ** GAMMA * each


def _adjusted(labels: np.ndarray):
    counts = np.maximum(np.bincount(labels, minlength=NUM_CLASSES), 1)
    shares = torch.from_numpy(counts / counts.sum()).float().log()
    return lambda scores, true: F.cross_entropy(scores + shares, true, reduction="none")


def _resampled(
    features: np.ndarray, labels: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    chance = 1.0 / np.bincount(labels, minlength=NUM_CLASSES)[labels]
    drawn = np.random.default_rng(seed).choice(len(labels), len(labels), p=chance / chance.sum())
    return features[drawn], labels[drawn]


class _Treated(LayersLinear):
    """`LayersLinear` with another treatment of rare classes."""

    objective: str

    @classmethod
    def fit_layer(cls, features, labels):
        return fit_objective(features, labels, cls.objective)


def _method(objective: str) -> type[_Treated]:
    names = {
        "name": f"layers_{objective}",
        "title": f"2 layers + linear, {TITLES[objective]}",
        "objective": objective,
    }
    return type(f"{objective.title()}Linear", (_Treated,), names)


IMBALANCE = tuple(_method(objective) for objective in TITLES)
