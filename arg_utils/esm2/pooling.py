"""From a state a residue to one vector a protein, over packed sequences."""

import torch

from arg_utils.esm2.attention import Packing


def pool(hidden: torch.Tensor, packing: Packing, pooling: str) -> torch.Tensor:
    """Pool packed hidden states [N, width] to one vector a sequence [B, width].

    The tokens at both ends are left out of ``mean`` and ``max``.

    Raises
    ------
    ValueError
        If ``pooling`` is not one of ``mean``, ``max``, ``bos``.
    """
    if pooling == "bos":
        return hidden[packing.starts.to(hidden.device)[:-1]]
    states, sequence, lengths = residues(hidden, packing)
    if pooling == "mean":
        total = states.new_zeros(len(lengths), states.shape[1])
        return total.index_add(0, sequence, states) / lengths[:, None]
    if pooling == "max":
        return torch.segment_reduce(states, "max", lengths=lengths)
    raise ValueError(f"pooling is {pooling!r}; choose mean, max or bos")


def residues(
    hidden: torch.Tensor, packing: Packing
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """States of the residues alone [R, width], the sequence of each [R], and lengths [B]."""
    hidden, starts = hidden[: packing.used], packing.starts.to(hidden.device)
    lengths = starts.diff()
    inside = (packing.positions > 0) & (packing.positions < lengths[packing.sequence] - 1)
    return hidden[inside], packing.sequence[inside], lengths - 2
