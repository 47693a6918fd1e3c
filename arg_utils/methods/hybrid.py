"""Homology and ESM-2 together: evidence of both, combined by weights that all classes share.

The stacking weights are learned on evidence from training proteins that the evidence has not seen,
in two situations: *near* (every other protein is a reference, relatives too) and *far* (no protein
of the same homology fold is one). So they know what a strong hit is worth, and what to trust
without one. All classes share them, and none has a bias of its own: how frequent a class is among
known families says nothing of how frequent it is among new ones.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
import torch.nn.functional as F
from scipy.special import softmax

from arg_utils.data.proteins import Proteins
from arg_utils.files import load_arrays, save_arrays
from arg_utils.labels import NONARG
from arg_utils.methods.base import (
    MODEL,
    REFERENCES,
    TRAIN_AND_VALIDATION,
    ReferenceProteins,
    joined,
)
from arg_utils.methods.evidence import (
    Column,
    References,
    Unseen,
    assemble,
    find_hits,
    hit_evidence,
    stacking_weights,
    unseen_evidence,
)
from arg_utils.methods.frozen import SHAPES, LinearHead, frozen_features
from arg_utils.metrics.calibration import conformal_threshold
from arg_utils.settings import Profile

FAR = (0.1, 0.3, 1.0)  # how much far evidence may count relative to near evidence
COVERAGE = 0.9  # of prediction sets, on families far from all references
ARRAYS: dict[str, tuple[int, ...]] = SHAPES | {"weights": (len(Column),), "threshold": (1,)}


class Hybrid(ReferenceProteins):
    """Best hits and a linear layer on ESM-2, stacked.

    The weights are learned on the training part; the validation part chooses how much the far
    situation counts in them. Once validation has been predicted, both parts are the references that
    anything else is compared with, and the linear layer is fitted on both. ``background`` are
    further proteins that are no ARGs: the linear layer learns from them too, but nothing is
    compared with them, so that they cost nothing afterwards.
    """

    name, title = "hybrid", "hybrid: homology and ESM-2"
    reference = TRAIN_AND_VALIDATION
    files = (MODEL, REFERENCES)

    def __init__(self, background: Sequence[str] = ()) -> None:
        super().__init__()
        self.background = list(background)

    @classmethod
    def settings(cls, profile: Profile) -> tuple[Any, ...]:
        return (profile.seed,)

    def fit(
        self, train: Proteins, val: Proteins, profile: Profile, seed: int = 0,
        folder: Path | None = None,
    ) -> Self:  # fmt: skip
        frozen_features(
            [*train.sequences, *val.sequences, *self.background]
        )  # cached: not part of the fit's time
        begun = time.perf_counter()
        unseen = unseen_evidence(self._learn_references(train), seed)
        validation = torch.from_numpy(self._evidence(val.sequences))
        true = torch.from_numpy(val.labels)
        candidates = [stacking_weights(unseen, far) for far in FAR]
        self.weights = min(
            candidates, key=lambda weights: float(F.cross_entropy(validation @ weights, true))
        )
        self.validation = F.softmax(validation @ self.weights, dim=1).numpy()
        self.threshold = _threshold(unseen, self.weights)
        self._learn_references(joined(train, val))
        self.fit_seconds = time.perf_counter() - begun
        trained = (*self.head.linear.parameters(), self.weights)
        self.trainable_parameters = sum(tensor.numel() for tensor in trained)
        return self

    def _learn_references(self, proteins: Proteins) -> References:
        """Fit the linear layer on these proteins, and compare with them from now on."""
        self.references, count = proteins, len(proteins.labels)
        nonarg = np.full(len(self.background), NONARG)
        self.head, features = LinearHead.fit(
            [*proteins.sequences, *self.background], np.concatenate([proteins.labels, nonarg])
        )
        return References(
            list(proteins.sequences), features[:count], proteins.labels, features[count:]
        )

    def _evidence(self, sequences: Sequence[str]) -> np.ndarray:
        log_p, references = self.head.log_probabilities(sequences), self.references
        hits = find_hits(sequences, references.sequences, references.labels)
        return assemble(hit_evidence(hits, references.labels, len(sequences)), log_p)

    def probabilities(self, sequences: Sequence[str]) -> np.ndarray:
        return self.combined(self._evidence(sequences)).astype(np.float32)

    def combined(self, evidence: np.ndarray) -> np.ndarray:
        """Probabilities float64 [n, 15] of `assemble`'s evidence [n, 15, columns].

        A matrix product may sum in another order when it has other rows; these sums do not.
        """
        weights = self.weights.double().numpy()
        return softmax(np.einsum("nce,e->nc", evidence.astype(np.float64), weights), axis=1)

    def held_out(self, val: Proteins) -> np.ndarray:
        return self.validation

    def save(self, folder: Path) -> None:
        super().save(folder)
        save_arrays(folder / MODEL, self.arrays())

    def arrays(self) -> dict[str, np.ndarray]:
        """All numbers it has learned, of the shapes that `ARRAYS` gives."""
        threshold = np.array([self.threshold], np.float32)
        return {**self.head.arrays(), "weights": self.weights.numpy(), "threshold": threshold}

    @classmethod
    def load(cls, folder: Path) -> Self:
        return super().load(folder).with_arrays(load_arrays(folder / MODEL, ARRAYS))

    def with_arrays(self, arrays: dict[str, np.ndarray]) -> Self:
        """This method with what `arrays` gave."""
        self.head = LinearHead.from_arrays(arrays)
        self.weights = torch.from_numpy(arrays["weights"])
        self.threshold = float(arrays["threshold"][0])
        return self


def _threshold(unseen: Unseen, weights: torch.Tensor) -> float:
    """Of prediction sets that cover `COVERAGE` of far families; rounded as it is saved."""
    far = unseen.far if unseen.far.any() else ~unseen.far
    probabilities = F.softmax(torch.from_numpy(unseen.evidence[far]) @ weights, dim=1).numpy()
    return float(
        np.float32(
            conformal_threshold(probabilities, unseen.labels[far], unseen.families[far], COVERAGE)
        )
    )
