"""What any method must beat: the most frequent class, and the best hit among known proteins."""

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np

from arg_utils.data.proteins import Proteins
from arg_utils.files import load_arrays, save_arrays
from arg_utils.homology.mmseqs import best_hits
from arg_utils.labels import NONARG, NUM_CLASSES
from arg_utils.methods.base import MODEL, ReferenceProteins, Refitted


class Majority(Refitted):
    """Always the most frequent class: what knowing nothing scores."""

    name, title, uses_esm2 = "majority", "majority class", False

    def learn(self, proteins: Proteins) -> None:
        counts = np.bincount(proteins.labels, minlength=NUM_CLASSES)
        self.shares = (counts / counts.sum()).astype(np.float32)

    def probabilities(self, sequences: Sequence[str]) -> np.ndarray:
        return np.tile(self.shares, (len(sequences), 1))

    def save(self, folder: Path) -> None:
        save_arrays(folder / MODEL, {"shares": self.shares})

    @classmethod
    def load(cls, folder: Path) -> Self:
        method = cls()
        method.shares = load_arrays(folder / MODEL, {"shares": (NUM_CLASSES,)})["shares"]
        return method


class BestHit(ReferenceProteins, Refitted):
    """The class of the reference protein that MMseqs2 aligns with most bits; no hit: not an ARG.

    The search is `mmseqs.best_hits` with its default options, on every split.
    """

    name, title, uses_esm2 = "best_hit", "best hit (MMseqs2)", False

    def learn(self, proteins: Proteins) -> None:
        self.references = proteins

    def probabilities(self, sequences: Sequence[str]) -> np.ndarray:
        hits = best_hits(list(sequences), self.references.sequences)
        classes = np.full(len(sequences), NONARG)
        classes[hits["query"]] = self.references.labels[hits["target"]]
        return np.eye(NUM_CLASSES, dtype=np.float32)[classes]
