"""What every method compared here is: three verbs, to fit, to predict, and to save or load."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from arg_utils.data.proteins import Proteins
from arg_utils.settings import Profile


class Method(ABC):
    """One way to tell a protein's class.

    Attributes
    ----------
    name, title : how files and tables call it.
    uses_esm2 : whether its results depend on the backbone's weights.
    trainable_parameters : how many numbers the last training step of ``fit`` could change.
    history : one row an epoch of training; empty where there is none.
    threshold : the probability below which an answer is better called uncertain; 0: never.
    """

    name: str
    title: str
    uses_esm2 = True
    threshold: float = 0.0

    def __init__(self) -> None:
        self.trainable_parameters = 0
        self.fit_seconds = 0.0  # of a fit without epochs
        self.history = pd.DataFrame()

    @abstractmethod
    def fit(
        self, train: Proteins, val: Proteins, profile: Profile, seed: int = 0,
        folder: Path | None = None,
    ) -> "Method":  # fmt: skip
        """Learn from ``train``, choose by ``val``; finished steps are kept in ``folder``."""

    @abstractmethod
    def probabilities(self, sequences: Sequence[str]) -> np.ndarray:
        """Probability of each class, float32 [n, 15]."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write what ``load`` needs."""

    @classmethod
    @abstractmethod
    def load(cls, folder: Path) -> "Method":
        """Read what ``save`` wrote."""

    def predict(self, sequences: Sequence[str]) -> np.ndarray:
        """Class indices, int64 [n]."""
        return self.probabilities(sequences).argmax(axis=1)

    def held_out(self, val: Proteins) -> np.ndarray:
        """Probabilities [n, 15] of validation proteins that ``fit`` got, as a model gives them
        that has not learned from them."""
        return self.probabilities(val.sequences)

    @property
    def training_seconds(self) -> float:
        """Time spent in training epochs, else in the fit; features and pauses not counted."""
        return float(self.history["seconds"].sum()) if len(self.history) else self.fit_seconds
