"""Classifiers on frozen features of several layers: logistic regression, and nearest neighbour."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from scipy.special import log_softmax
from torch import nn

from arg_utils.data.proteins import Proteins
from arg_utils.esm2.embeddings import FEATURES, embed
from arg_utils.esm2.weights import WIDTH
from arg_utils.files import load_arrays, save_arrays
from arg_utils.labels import NUM_CLASSES
from arg_utils.methods.base import MODEL, ReferenceProteins, Refitted

FEATURE_WIDTH = WIDTH * len(FEATURES)


def frozen_features(sequences: Sequence[str]) -> np.ndarray:
    """The pooled vectors of `FEATURES` side by side, float32 [n, 960]."""
    return embed(sequences, FEATURES)


@dataclass(frozen=True)
class Standardiser:
    """Mean and standard deviation of each feature, float32 [width], learned from some proteins."""

    mean: torch.Tensor
    scale: torch.Tensor

    @classmethod
    def learn(cls, features: np.ndarray) -> Self:
        """Of features float32 [n, width]."""
        raw = torch.from_numpy(features)
        return cls(raw.mean(dim=0), raw.std(dim=0, unbiased=False) + 1e-6)

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Features [n, width] with these means taken off, in units of these deviations."""
        return ((torch.from_numpy(features) - self.mean) / self.scale).numpy()


@dataclass(frozen=True)
class LinearHead:
    """Multinomial logistic regression on standardised frozen features."""

    standardise: Standardiser
    linear: nn.Linear

    @classmethod
    def fit(cls, sequences: Sequence[str], labels: np.ndarray) -> tuple[Self, np.ndarray]:
        """Learn scale and layer; the head, and the standardised features float32 [n, 960]."""
        raw = frozen_features(sequences)
        standardise = Standardiser.learn(raw)
        features = standardise(raw)
        return cls(standardise, fit_linear(features, labels)), features

    def log_probabilities(self, sequences: Sequence[str]) -> np.ndarray:
        """Natural logarithm of each class's probability, float32 [n, 15]."""
        return self.of_features(frozen_features(sequences)).astype(np.float32)

    def of_features(self, features: np.ndarray) -> np.ndarray:
        """The same of features [n, 960], float64, in sums that no other row can change."""
        weight, bias = (p.double().numpy() for p in (self.linear.weight, self.linear.bias))
        scaled = self.standardise(features).astype(np.float64)
        return log_softmax(np.einsum("nf,cf->nc", scaled, weight) + bias, axis=1)

    def arrays(self) -> dict[str, np.ndarray]:
        """All its numbers by name, of the shapes that `SHAPES` gives."""
        parts = self.standardise.mean, self.standardise.scale, self.linear.weight, self.linear.bias
        return {name: part.numpy() for name, part in zip(SHAPES, parts, strict=True)}

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> Self:
        """What `arrays` gave."""
        mean, scale, weight, bias = (torch.from_numpy(arrays[name]) for name in SHAPES)
        linear = nn.Linear(FEATURE_WIDTH, NUM_CLASSES).requires_grad_(False)
        linear.load_state_dict({"weight": weight, "bias": bias})
        return cls(Standardiser(mean, scale), linear)


SHAPES: dict[str, tuple[int, ...]] = {
    "mean": (FEATURE_WIDTH,), "scale": (FEATURE_WIDTH,),
    "weight": (NUM_CLASSES, FEATURE_WIDTH), "bias": (NUM_CLASSES,),
}  # fmt: skip


def inverse_size(groups: np.ndarray, power: float, counts: np.ndarray | None = None) -> np.ndarray:
    """Weight of each member, float64 [n], such that a group weighs its size to 1 - ``power``.

    ``counts`` is what each member adds to its group's size, one unless given.
    """
    return np.bincount(groups, weights=counts)[groups].astype(float) ** -power


def fit_linear(
    features: np.ndarray,
    labels: np.ndarray,
    penalty: float = 1e-3,
    power: float = 0.75,
    loss_per_protein: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None = None,
) -> nn.Linear:
    """Multinomial logistic regression [n, width] -> 15, by L-BFGS, the loss weighted by class.

    A class weighs its size to 1 - ``power``: by default the fourth root, nearly one each, as in
    macro-F1. ``penalty`` is on the squared weights. Both were chosen on training proteins alone
    (benchmarks/ablations). ``loss_per_protein`` gives the loss [n] of scores [n, 15] and classes
    [n], cross-entropy unless given.
    """
    layer = nn.Linear(features.shape[1], NUM_CLASSES)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    loss_per_protein = loss_per_protein or partial(F.cross_entropy, reduction="none")
    x, y = torch.from_numpy(features), torch.from_numpy(labels)
    weights = torch.from_numpy(inverse_size(labels, power)).float()
    weights = weights / weights.mean()

    def loss() -> torch.Tensor:
        return (loss_per_protein(layer(x), y) * weights).mean() + penalty * (layer.weight**2).sum()

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
def linear_log_probabilities(linear: nn.Linear, features: np.ndarray) -> np.ndarray:
    """Log-probability of each class by a linear layer, float32 [n, 15], of features [n, width]."""
    return F.log_softmax(linear(torch.from_numpy(features)), dim=1).numpy()


class LayersLinear(Refitted):
    """Frozen ESM-2, three pooled vectors per protein, logistic regression weighted by class."""

    name, title = "layers_linear", "frozen ESM-2, 2 layers + linear"

    def prepare(self, proteins: Proteins) -> None:
        frozen_features(proteins.sequences)

    def learn(self, proteins: Proteins) -> None:
        self.head, _ = LinearHead.fit(proteins.sequences, proteins.labels)
        self.trainable_parameters = sum(p.numel() for p in self.head.linear.parameters())

    def probabilities(self, sequences: Sequence[str]) -> np.ndarray:
        return np.exp(self.head.log_probabilities(sequences))

    def save(self, folder: Path) -> None:
        save_arrays(folder / MODEL, self.head.arrays())

    @classmethod
    def load(cls, folder: Path) -> Self:
        method = cls()
        method.head = LinearHead.from_arrays(load_arrays(folder / MODEL, SHAPES))
        return method


class NearestNeighbour(ReferenceProteins, Refitted):
    """The class of the reference protein with the most similar frozen features (cosine)."""

    name, title = "nearest_neighbour", "nearest neighbour (ESM-2)"

    def learn(self, proteins: Proteins) -> None:
        self.references = proteins

    def probabilities(self, sequences: Sequence[str]) -> np.ndarray:
        if not len(sequences):
            return np.zeros((0, NUM_CLASSES), np.float32)
        raw = frozen_features(self.references.sequences)
        standardise = Standardiser.learn(raw)
        references = F.normalize(torch.from_numpy(standardise(raw)), dim=1)
        queries = standardise(frozen_features(sequences))
        batches = F.normalize(torch.from_numpy(queries), dim=1).split(1024)
        nearest = torch.cat([(batch @ references.T).argmax(dim=1) for batch in batches]).numpy()
        return np.eye(NUM_CLASSES, dtype=np.float32)[self.references.labels[nearest]]
