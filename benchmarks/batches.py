"""Batches as users of fair-esm and transformers make them: in file order, or padded by length."""

from collections.abc import Iterator, Sequence

import esm
import numpy as np
import torch
from torch import nn

from arg_utils.esm2.batches import encode

NAIVE_BATCH, HF_BATCH = 4, 8
PADDING = esm.Alphabet.from_architecture("ESM-1b").padding_idx


def file_order(lengths: Sequence[int]) -> Iterator[np.ndarray]:
    """Batches of 4 as they come."""
    for start in range(0, len(lengths), NAIVE_BATCH):
        yield np.arange(start, min(start + NAIVE_BATCH, len(lengths)))


def by_length(lengths: Sequence[int]) -> Iterator[np.ndarray]:
    """Batches of 8, longest first."""
    order = np.argsort(-np.asarray(lengths), kind="stable")
    yield from (order[start : start + HF_BATCH] for start in range(0, len(order), HF_BATCH))


def mean_residue(hidden: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """Mean over residues [B, 320] of padded states [B, T, 320]; ``lengths`` in tokens, [B]."""
    place = torch.arange(hidden.shape[1], device=hidden.device)[None]
    inside = (place > 0) & (place < lengths[:, None] - 1)
    return (hidden * inside[..., None]).sum(1) / (lengths - 2)[:, None]


def padded(sequences: Sequence[str], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens int64 [B, T] and their number in each sequence, int64 [B]."""
    tokens = [torch.from_numpy(encode(sequence)) for sequence in sequences]
    lengths = torch.tensor([len(t) for t in tokens])
    rows = nn.utils.rnn.pad_sequence(tokens, batch_first=True, padding_value=PADDING)
    return rows.to(device), lengths.to(device)
