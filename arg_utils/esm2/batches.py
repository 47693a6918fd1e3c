"""Proteins as tokens of ESM's alphabet, in batches, and as a PyTorch data set.

The data set is grouped by label and capped a class.
"""

from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import esm
import numpy as np
import torch
from numpy.typing import ArrayLike
from torch.utils.data import Dataset

from arg_utils.data.fasta import Record, cap_per_class, read_fasta

MAX_RESIDUES = 1022  # ESM-2 was trained on 1,024 tokens: these and the two at the ends
BATCH_TOKENS = 2048  # per thread: larger batches leave the caches, smaller ones cost calls
ALPHABET = esm.Alphabet.from_architecture("ESM-1b")


@cache
def _token_table() -> np.ndarray:
    table = np.full(256, ALPHABET.unk_idx, dtype=np.int64)
    for token, index in ALPHABET.to_dict().items():
        if len(token) == 1:
            table[ord(token)] = index
    return table


def encode(sequence: str, max_residues: int = MAX_RESIDUES) -> np.ndarray:
    """Token ids in ESM's alphabet: ``<cls>``, up to ``max_residues`` residues, ``<eos>``.

    Returns
    -------
    int64 [min(len(sequence), max_residues) + 2]. A letter outside the alphabet becomes ``<unk>``.
    """
    residues = np.frombuffer(sequence[:max_residues].encode("ascii", "replace"), dtype=np.uint8)
    tokens = np.empty(len(residues) + 2, dtype=np.int64)
    tokens[0], tokens[-1] = ALPHABET.cls_idx, ALPHABET.eos_idx
    tokens[1:-1] = _token_table()[residues]
    return tokens


def token_batches(lengths: Sequence[int], budget: int = BATCH_TOKENS) -> Iterator[np.ndarray]:
    """Indices of sequences, longest first, in batches of at most ``budget`` tokens (at least one).

    ``lengths`` are in tokens. Longest first: if memory runs out, it does so at once.
    """
    order = np.argsort(-np.asarray(lengths), kind="stable")
    batch: list[int] = []
    tokens = 0
    for index in order:
        if batch and tokens + lengths[index] > budget:
            yield np.array(batch)
            batch, tokens = [], 0
        batch.append(int(index))
        tokens += int(lengths[index])
    if batch:
        yield np.array(batch)


def even_parts(indices: np.ndarray, lengths: Sequence[int], tokens: int) -> list[np.ndarray]:
    """``indices`` [n] in parts of about equal length, as many as ``tokens`` each would fill.

    ``lengths`` [n] are in tokens. The longest go first, each to the part that has fewest tokens.
    """
    count = min(len(indices), -(-sum(lengths) // tokens))
    parts: list[list[int]] = [[] for _ in range(count)]
    filled = [0] * count
    for place in np.argsort(-np.asarray(lengths), kind="stable"):
        least = filled.index(min(filled))
        parts[least].append(int(indices[place]))
        filled[least] += lengths[place]
    return [np.array(part) for part in parts]


class ProteinSequenceDataset(Dataset):
    """Labelled proteins, grouped by label, at most ``max_per_class`` of each.

    Parameters
    ----------
    records : labelled records, for example of `read_fasta`.
    max_per_class : the cap; ``None`` keeps all. Which ones are kept depends on ``seed`` alone.

    Examples
    --------
    >>> data = ProteinSequenceDataset([Record("a", "a", "MKV", 11), Record("b", "b", "MA", 0)])
    >>> data.labels.tolist(), data[0]
    ([0, 11], (tensor([ 0, 20,  5,  2]), 0))
    """

    def __init__(
        self, records: Sequence[Record], max_per_class: int | None = None, seed: int = 0
    ) -> None:
        labels = np.array([record.label for record in records], dtype=np.int64)
        kept = cap_per_class(labels, max_per_class, seed)
        kept = kept[np.argsort(labels[kept], kind="stable")]
        self.records = [records[i] for i in kept]
        self.labels = labels[kept]

    @classmethod
    def from_fasta(
        cls, path: Path | str, max_per_class: int | None = None, seed: int = 0
    ) -> "ProteinSequenceDataset":
        """Read a labelled FASTA file in the competition's format; raises as `read_fasta`."""
        return cls(read_fasta(path, labelled=True), max_per_class, seed)

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        """Token ids int64 [residues + 2] of one protein, and its class (0-14)."""
        return torch.from_numpy(encode(self.records[index].sequence)), int(self.labels[index])

    @property
    def sequences(self) -> list[str]:
        """The residues of every protein, in the data set's order."""
        return [record.sequence for record in self.records]


def shuffled_batches(
    lengths: ArrayLike, budget: int, rng: np.random.Generator, window: int = 8
) -> Iterator[np.ndarray]:
    """Indices in random batches of at most ``budget`` tokens, alike in length within a batch.

    Shuffled first, then sorted inside stretches of about ``window`` batches, so that batches stay
    random while little would be lost to padding where sequences must be padded.
    """
    lengths = np.asarray(lengths)
    order = rng.permutation(len(lengths))
    stretch = np.cumsum(lengths[order]) // (budget * window)
    batches = []
    for number in np.unique(stretch):
        members = order[stretch == number]
        batches += [members[batch] for batch in token_batches(lengths[members], budget)]
    for place in rng.permutation(len(batches)):
        yield batches[place]
