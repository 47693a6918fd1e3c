"""From a state a residue to one vector a protein, over packed sequences."""

import torch
from torch import nn

from arg_utils.esm2.attention import Packing
from arg_utils.esm2.weights import WIDTH


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


class AttentionPool(nn.Module):
    """A mean weighted by how well each residue's state answers one learned query.

    Weights are the softmax over a protein's residues of the product of state and query (Lin et al.
    2017, arXiv:1703.03130, with one head and no hidden layer). The query starts at zero, where all
    residues weigh the same: training starts from the plain mean.
    """

    def __init__(self) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.zeros(WIDTH))

    def forward(self, hidden: torch.Tensor, packing: Packing) -> torch.Tensor:
        """Packed states [N, 320] to one vector a sequence [B, 320]."""
        states, sequence, lengths = residues(hidden, packing)
        scores = states @ self.query / WIDTH**0.5
        with torch.no_grad():  # subtracted for the exponential's sake, without effect on weights
            top = torch.segment_reduce(scores, "max", lengths=lengths)
        weights = torch.exp(scores - top[sequence])
        total = weights.new_zeros(len(lengths)).index_add(0, sequence, weights)
        share = (weights / total[sequence])[:, None]
        out = states.new_zeros(len(lengths), states.shape[1])
        return out.index_add(0, sequence, states * share)
