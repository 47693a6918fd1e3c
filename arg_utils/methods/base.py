"""The methods compared here, each with the same three verbs: fit, predict, and save or load."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

from arg_utils.classifier import adapt_head, logits, merged_head, new_head, softmax
from arg_utils.config import Profile
from arg_utils.embeddings import embed
from arg_utils.fasta import Record, read_fasta, write_fasta
from arg_utils.finetuning import Proteins
from arg_utils.homology import best_hits
from arg_utils.labels import CLASSES, NONARG, NUM_CLASSES
from arg_utils.lora import count_trainable, load_state, save_state, trainable_state
from arg_utils.training import Examples, cap_per_class, train_staged
from arg_utils.weights import WIDTH


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


class Majority(Method):
    """Always the training set's most frequent class: what knowing nothing scores."""

    name, title, uses_esm2 = "majority", "majority class", False

    def fit(self, train, val, profile, seed=0, folder=None):
        counts = np.bincount(train.labels, minlength=NUM_CLASSES)
        self.shares = (counts / counts.sum()).astype(np.float32)
        return self

    def probabilities(self, sequences):
        return np.tile(self.shares, (len(sequences), 1))

    def save(self, folder):
        save_state({"shares": torch.from_numpy(self.shares)}, folder / "model.safetensors")

    @classmethod
    def load(cls, folder):
        method = cls()
        holder = nn.ParameterDict({"shares": nn.Parameter(torch.zeros(NUM_CLASSES))})
        load_state(holder, folder / "model.safetensors")
        method.shares = holder["shares"].detach().numpy()
        return method


class BestHit(Method):
    """The class of the training protein MMseqs2 hits with most bits; no hit: not an ARG."""

    name, title, uses_esm2 = "best_hit", "best hit (MMseqs2)", False

    def fit(self, train, val, profile, seed=0, folder=None):
        self.train = train
        return self

    def probabilities(self, sequences):
        hits = best_hits(list(sequences), self.train.sequences)
        found = np.full(len(sequences), NONARG)
        found[hits["query"]] = self.train.labels[hits["target"]]
        return np.eye(NUM_CLASSES, dtype=np.float32)[found]

    def save(self, folder):
        headers = [
            f"sp|{i}|train" if label == NONARG else f"{i}|FEATURES|TRAIN|{CLASSES[label]}|train"
            for i, label in enumerate(self.train.labels)
        ]
        rows = zip(headers, self.train.sequences, self.train.labels.tolist(), strict=True)
        write_fasta(folder / "train.fasta", [Record(h, h, s, y) for h, s, y in rows])

    @classmethod
    def load(cls, folder):
        method, records = cls(), read_fasta(folder / "train.fasta", labelled=True)
        method.train = Proteins(
            [r.sequence for r in records], np.array([r.label for r in records], dtype=np.int64)
        )
        return method


class FrozenLinear(Method):
    """The course's model: frozen ESM-2, mean of the last layer, one linear layer, staged Adam."""

    name, title = "frozen_linear", "frozen ESM-2 + linear"

    def fit(self, train, val, profile, seed=0, folder=None):
        kept = cap_per_class(train.labels, profile.staged.max_per_class, seed)
        examples = Examples(embed([train.sequences[i] for i in kept]), train.labels[kept])
        watched = Examples(embed(val.sequences), val.labels)
        self.head = new_head(WIDTH, seed)
        self.trainable_parameters = count_trainable(self.head)
        self._train(examples, watched, profile, seed, folder)
        return self

    def _train(self, examples, watched, profile, seed, folder):
        place = folder / f"{FrozenLinear.name}.pt" if folder else None
        done = train_staged(self.head, examples, watched, profile.staged, seed, checkpoint=place)
        self.history = done.table()

    def probabilities(self, sequences):
        return softmax(logits(self.head, embed(sequences)))

    def save(self, folder):
        plain = merged_head(self.head)
        save_state(trainable_state(plain), folder / "model.safetensors")

    @classmethod
    def load(cls, folder):
        method = cls()
        method.head = new_head(WIDTH, 0)
        load_state(method.head, folder / "model.safetensors")
        return method


class LoraOnClassifier(FrozenLinear):
    """The course's LoRA: on the trained linear layer, only the factors train, staged again."""

    name, title = "lora_classifier", "+ LoRA on the classifier"

    def _train(self, examples, watched, profile, seed, folder):
        super()._train(examples, watched, profile, seed, folder)
        self.head = adapt_head(self.head, profile.lora_classifier, seed)
        self.trainable_parameters = count_trainable(self.head)
        place = folder / f"{self.name}.pt" if folder else None
        first = len(profile.staged.learning_rates) + 1
        done = train_staged(
            self.head, examples, watched, profile.staged, seed, first, checkpoint=place
        )
        self.history = pd.concat([self.history, done.table()], ignore_index=True)
