"""Ways to treat rare classes, compared on one logistic regression on the same frozen features."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from arg_utils.heads import LayersLinear, minimise
from arg_utils.labels import NUM_CLASSES

GAMMA = 2.0  # of the focal loss, its paper's choice
OBJECTIVES = ("plain", "sqrt", "weighted", "focal", "adjusted", "balanced")


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
    if objective not in OBJECTIVES:
        raise ValueError(f"objective is {objective!r}; choose one of {', '.join(OBJECTIVES)}")
    if objective == "balanced":
        features, labels = _resampled(features, labels, seed)
    layer = nn.Linear(features.shape[1], NUM_CLASSES)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    x, y = torch.from_numpy(features), torch.from_numpy(labels)
    counts = np.maximum(np.bincount(labels, minlength=NUM_CLASSES), 1)
    power = {"weighted": 1.0, "sqrt": 0.5}.get(objective, 0.0)
    weights = torch.from_numpy(counts[labels] ** -power).float()
    weights = weights / weights.mean()
    shares = torch.from_numpy(counts / counts.sum()).float().log()
    shift = shares if objective == "adjusted" else torch.zeros(NUM_CLASSES)

    def loss() -> torch.Tensor:
        each = F.cross_entropy(layer(x) + shift, y, reduction="none")
        if objective == "focal":
            each = (1 - torch.exp(-each)) ** GAMMA * each
        return (each * weights).mean() + penalty * (layer.weight**2).sum()

    minimise(loss, list(layer.parameters()), 60)
    return layer.requires_grad_(False)


def _resampled(
    features: np.ndarray, labels: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    chance = 1.0 / np.bincount(labels, minlength=NUM_CLASSES)[labels]
    drawn = np.random.default_rng(seed).choice(len(labels), len(labels), p=chance / chance.sum())
    return features[drawn], labels[drawn]


class PlainLinear(LayersLinear):
    """`LayersLinear` without class weights."""

    name, title = "layers_plain", "2 layers + linear, plain"
    objective = "plain"

    @classmethod
    def fit_layer(cls, features, labels):
        return fit_objective(features, labels, cls.objective)


class SqrtLinear(PlainLinear):
    """`LayersLinear`, a class weighted to the root of its size."""

    name, title, objective = "layers_sqrt", "2 layers + linear, root of size", "sqrt"


class WeightedLinear(PlainLinear):
    """`LayersLinear`, all classes weighted alike."""

    name, title, objective = "layers_weighted", "2 layers + linear, class-weighted", "weighted"


class FocalLinear(PlainLinear):
    """`LayersLinear` with the focal loss."""

    name, title, objective = "layers_focal", "2 layers + linear, focal", "focal"


class AdjustedLinear(PlainLinear):
    """`LayersLinear` with the logit-adjusted loss."""

    name, title, objective = "layers_adjusted", "2 layers + linear, logit-adjusted", "adjusted"


class BalancedLinear(PlainLinear):
    """`LayersLinear` on a sample with all classes equally often."""

    name, title, objective = "layers_balanced", "2 layers + linear, balanced sample", "balanced"


IMBALANCE = (PlainLinear, SqrtLinear, WeightedLinear, FocalLinear, AdjustedLinear, BalancedLinear)
