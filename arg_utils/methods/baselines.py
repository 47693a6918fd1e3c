"""What any method must beat: the most frequent class, and the best hit among known proteins."""

import numpy as np
import torch
from torch import nn

from arg_utils.data.fasta import Record, read_fasta, write_fasta
from arg_utils.data.proteins import Proteins
from arg_utils.esm2.lora import load_state, save_state
from arg_utils.homology.mmseqs import best_hits
from arg_utils.labels import CLASSES, NONARG, NUM_CLASSES
from arg_utils.methods.base import Method


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
