"""Classifiers on frozen features of several layers: logistic regression, and nearest neighbour."""

import time
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from arg_utils.esm2.embeddings import FEATURES, embed
from arg_utils.esm2.lora import load_state, save_state
from arg_utils.esm2.weights import WIDTH
from arg_utils.labels import NUM_CLASSES
from arg_utils.methods.base import Method
from arg_utils.methods.baselines import BestHit


class Standardised(nn.Module):
    """Frozen features of `FEATURES`, on a scale learned from some proteins."""

    def __init__(self) -> None:
        super().__init__()
        width = WIDTH * len(FEATURES)
        self.mean = nn.Parameter(torch.zeros(width), requires_grad=False)
        self.scale = nn.Parameter(torch.ones(width), requires_grad=False)

    def learn_scale(self, sequences: Sequence[str]) -> np.ndarray:
        """Take mean and deviation of these proteins; return their features, float32 [n, 960]."""
        raw = torch.from_numpy(embed(sequences, FEATURES))
        self.mean.copy_(raw.mean(dim=0))
        self.scale.copy_(raw.std(dim=0, unbiased=False) + 1e-6)
        return ((raw - self.mean) / self.scale).numpy()

    def standardised(self, sequences: Sequence[str]) -> np.ndarray:
        """Features float32 [n, 960] on the scale learned."""
        return ((torch.from_numpy(embed(sequences, FEATURES)) - self.mean) / self.scale).numpy()


class LayersHead(Standardised):
    """A linear layer on standardised features."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(self.mean.numel(), NUM_CLASSES).requires_grad_(False)

    def learn(
        self,
        sequences: Sequence[str],
        labels: np.ndarray,
        fit: Callable[[np.ndarray, np.ndarray], nn.Linear] | None = None,
    ) -> np.ndarray:
        """Fit scale and layer (by `fit_linear`, or ``fit`` of features and labels); return the
        standardised features, float32 [n, 960]."""
        features = self.learn_scale(sequences)
        self.linear.load_state_dict((fit or fit_linear)(features, labels).state_dict())
        return features

    def log_chances(self, sequences: Sequence[str]) -> np.ndarray:
        """Log-probability of each class, float32 [n, 15]."""
        return log_chances(self.linear, self.standardised(sequences))


def inverse_size(groups: np.ndarray, power: float, counts: np.ndarray | None = None) -> np.ndarray:
    """How much each member counts, float64 [n], for a group to count as its size to 1 - ``power``.

    ``counts`` is what each member adds to its group's size, one unless given.
    """
    return np.bincount(groups, weights=counts)[groups].astype(float) ** -power


def fit_linear(
    features: np.ndarray,
    labels: np.ndarray,
    penalty: float = 1e-3,
    power: float = 0.75,
    lost: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None = None,
) -> nn.Linear:
    """Multinomial logistic regression [n, width] -> 15, by L-BFGS, the loss weighted by class.

    A class counts as its size to 1 - ``power``: by default the fourth root, nearly one each, as in
    macro-F1. ``penalty`` is on the squared weights. Both were chosen by benchmarks/heads.py.
    ``lost`` gives the loss [n] of scores [n, 15] and classes [n], cross-entropy unless given.
    """
    layer = nn.Linear(features.shape[1], NUM_CLASSES)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    lost = lost or partial(F.cross_entropy, reduction="none")
    x, y = torch.from_numpy(features), torch.from_numpy(labels)
    weights = torch.from_numpy(inverse_size(labels, power)).float()
    weights = weights / weights.mean()

    def loss() -> torch.Tensor:
        return (lost(layer(x), y) * weights).mean() + penalty * (layer.weight**2).sum()

    minimise(loss, list(layer.parameters()), 60)
    return layer.requires_grad_(False)


def minimise(loss: Callable[[], torch.Tensor], parameters: list[nn.Parameter], steps: int) -> None:
    """Bring the convex function ``loss`` of ``parameters`` to its minimum by L-BFGS."""
    optimizer = torch.optim.LBFGS(
        parameters, max_iter=steps, history_size=10, line_search_fn="strong_wolfe"
    )

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        value = loss()
        value.backward()
        return value

    optimizer.step(closure)


@torch.no_grad()
def log_chances(linear: nn.Linear, features: np.ndarray) -> np.ndarray:
    """Log-probability of each class by the linear layer, float32 [n, 15]."""
    return F.log_softmax(linear(torch.from_numpy(features)), dim=1).numpy()


class LayersLinear(Method):
    """Frozen ESM-2, three pooled vectors a protein, logistic regression weighted by class."""

    name, title = "layers_linear", "frozen ESM-2, 2 layers + linear"
    head_kind: type[Standardised] = LayersHead

    @classmethod
    def fit_layer(cls, features: np.ndarray, labels: np.ndarray) -> nn.Linear:
        """The layer [n, width] -> 15 that this method fits."""
        return fit_linear(features, labels)

    def fit(self, train, val, profile, seed=0, folder=None):
        embed(train.sequences, FEATURES)  # into the cache: not part of the training time
        begun = time.perf_counter()
        self.head = self.head_kind()
        self._learn(train, seed)
        self.fit_seconds = time.perf_counter() - begun
        scale = self.head.mean.numel() + self.head.scale.numel()
        self.trainable_parameters = sum(p.numel() for p in self.head.parameters()) - scale
        return self

    def _learn(self, train, seed: int) -> None:
        self.head.learn(train.sequences, train.labels, self.fit_layer)

    def probabilities(self, sequences):
        if not len(sequences):
            return np.zeros((0, NUM_CLASSES), np.float32)
        return np.exp(self.head.log_chances(list(sequences)))

    def save(self, folder):
        state = {name: tensor.detach() for name, tensor in self.head.named_parameters()}
        save_state(state, folder / "model.safetensors")

    @classmethod
    def load(cls, folder):
        method = cls()
        method.head = cls.head_kind()
        load_state(method.head, folder / "model.safetensors")
        return method


class NearestNeighbour(BestHit):
    """The class of the training protein with the most similar frozen features (cosine)."""

    name, title, uses_esm2 = "nearest_neighbour", "nearest neighbour (ESM-2)", True

    def probabilities(self, sequences):
        if not len(sequences):
            return np.zeros((0, NUM_CLASSES), np.float32)
        scale = Standardised()
        known = F.normalize(torch.from_numpy(scale.learn_scale(self.train.sequences)), dim=1)
        asked = F.normalize(torch.from_numpy(scale.standardised(sequences)), dim=1)
        nearest = [(rows @ known.T).argmax(dim=1) for rows in asked.split(1024)]
        return np.eye(NUM_CLASSES, dtype=np.float32)[self.train.labels[torch.cat(nearest)]]
