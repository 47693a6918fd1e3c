"""What every method compared here is: fit, predict, save and load, with what it was given said."""

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd

from arg_utils.data.fasta import read_fasta, write_fasta
from arg_utils.data.proteins import Proteins, Record, proteins
from arg_utils.labels import CLASSES, NONARG
from arg_utils.settings import Profile

MODEL, REFERENCES = "model.safetensors", "references.fasta"  # the files of a fitted method
TRAIN, TRAIN_AND_VALIDATION = "train", "train + validation"


class Method(ABC):
    """One way to tell a protein's class."""

    name: str  # in files and tables
    title: str  # in tables and figures
    uses_esm2: bool = True  # whether its results depend on the backbone's weights
    trains_on_one_core: bool = False  # so that several fits may run side by side
    # Which labelled proteins it has learned from, or compares with, when it is tested. Whatever
    # chooses nothing on validation is given both parts.
    reference: str = TRAIN
    files: tuple[str, ...] = (MODEL,)  # that ``save`` writes
    threshold: float | None = None  # of prediction sets: `calibration.answered`

    def __init__(self) -> None:
        self.trainable_parameters = 0  # how many numbers the last training step could change
        self.fit_seconds = 0.0  # of a fit without epochs
        self.history = pd.DataFrame()  # one row per epoch of training

    @classmethod
    def settings(cls, profile: Profile) -> tuple[Any, ...]:
        """What of the profile a fit depends on: no other setting makes a cached fit invalid."""
        return ()

    @classmethod
    def homology_folds(cls, profile: Profile) -> tuple[int, ...]:
        """The homology folds it is tested on: expensive methods name fewer than the profile."""
        return profile.homology_folds

    @abstractmethod
    def fit(
        self, train: Proteins, val: Proteins, profile: Profile, seed: int = 0,
        folder: Path | None = None,
    ) -> Self:  # fmt: skip
        """Learn from ``train``, choose by ``val``; checkpoints of what is done go to ``folder``."""

    @abstractmethod
    def probabilities(self, sequences: Sequence[str]) -> np.ndarray:
        """Probability of each class, float32 [n, 15]."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write what ``load`` needs: the files that ``files`` names."""

    @classmethod
    @abstractmethod
    def load(cls, folder: Path) -> Self:
        """Read what ``save`` wrote; `UserError` if it is missing, damaged or of another method."""

    def predict(self, sequences: Sequence[str]) -> np.ndarray:
        """Class indices, int64 [n]."""
        return self.probabilities(sequences).argmax(axis=1)

    def held_out(self, val: Proteins) -> np.ndarray:
        """Probabilities [n, 15] of the validation proteins that ``fit`` got, from a model that has
        not learned from them."""
        return self.probabilities(val.sequences)

    @property
    def training_seconds(self) -> float:
        """Time spent in training epochs, else in the fit; features and pauses not counted."""
        return float(self.history["seconds"].sum()) if len(self.history) else self.fit_seconds


class Refitted(Method):
    """A method that chooses nothing on validation, so that it is given training and validation.

    `held_out` is answered by a second fit, on the training part alone, made when it is asked for.
    """

    reference = TRAIN_AND_VALIDATION

    @abstractmethod
    def learn(self, proteins: Proteins) -> None:
        """Learn from labelled proteins; deterministic."""

    def prepare(self, proteins: Proteins) -> None:
        """Compute what `learn` finds in caches then: no part of the fit's time."""

    def fit(
        self, train: Proteins, val: Proteins, profile: Profile, seed: int = 0,
        folder: Path | None = None,
    ) -> Self:  # fmt: skip
        self.train = train
        self.prepare(joined(train, val))
        begun = time.perf_counter()
        self.learn(joined(train, val))
        self.fit_seconds = time.perf_counter() - begun
        return self

    def held_out(self, val: Proteins) -> np.ndarray:
        alone = type(self)()
        alone.learn(self.train)
        return alone.probabilities(val.sequences)


class ReferenceProteins(Method):
    """A method that compares with labelled proteins, which it saves as a FASTA file."""

    files: tuple[str, ...] = (REFERENCES,)
    references: Proteins

    def save(self, folder: Path) -> None:
        """Write the reference proteins, under their own headers where known.

        Where not, they get numbers for ids, in the competition's format.
        """
        references = self.references
        headers = references.headers or [
            f"sp|{number}|reference"
            if label == NONARG
            else f"{number}|FEATURES|REFERENCE|{CLASSES[label]}|reference"
            for number, label in enumerate(references.labels.tolist())
        ]
        pairs = zip(headers, references.sequences, strict=True)
        write_fasta(folder / REFERENCES, (Record(h, h, sequence) for h, sequence in pairs))

    @classmethod
    def load(cls, folder: Path) -> Self:
        method = cls()
        method.references = proteins(read_fasta(folder / REFERENCES, labelled=True))
        return method


def joined(train: Proteins, val: Proteins) -> Proteins:
    """The proteins of both parts, those of ``train`` first; headers where both have them."""
    return Proteins(
        [*train.sequences, *val.sequences],
        np.concatenate([train.labels, val.labels]),
        [*train.headers, *val.headers] if train.headers and val.headers else None,
    )
