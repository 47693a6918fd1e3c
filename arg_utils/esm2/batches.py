"""Proteins as a PyTorch data set: encoded with ESM's alphabet, grouped by label, capped a class."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset

from arg_utils.esm2 import encode, token_batches
from arg_utils.fasta import Record, read_fasta
from arg_utils.training import cap_per_class


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
    lengths: Sequence[int], budget: int, rng: np.random.Generator, window: int = 8
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
