"""One product for a frozen matrix and the LoRA update on it.

``x W^T + (x A^T) B^T`` takes three products forward and six backward, and the small ones move as
much memory as the large. While nothing drops out, ``x (W + B A)^T`` is the same: the update is
merged into a fresh copy of the matrix in float32, rounded once, and only the gradients of A and B
still need thin products.
"""

from collections.abc import Sequence
from typing import Any

import loralib as lora
import torch
import torch.nn.functional as F
from torch import nn


def is_adapted(module: nn.Linear) -> bool:
    """Whether a LoRA update has to be added to what ``module.weight`` gives."""
    return isinstance(module, lora.Linear) and module.r > 0 and not module.merged


def lora_factors(modules: Sequence[Any]) -> tuple[torch.Tensor, torch.Tensor]:
    """Factors of the update of layers side by side, float32 [R, in] and [sum of out, R].

    R is the sum of the adapted layers' ranks; the second factor holds the scaling, and is zero
    between different layers.
    """
    down = [m.lora_A for m in modules if is_adapted(m)]
    up = [
        m.lora_B * m.scaling
        if is_adapted(m)
        else m.weight.new_zeros(m.out_features, 0, dtype=torch.float32)
        for m in modules
    ]
    return torch.cat(down), torch.block_diag(*up) if len(up) > 1 else up[0]


def merged_product(
    x: torch.Tensor, down: torch.Tensor, up: torch.Tensor, merged: torch.Tensor, bias: torch.Tensor
) -> torch.Tensor:
    """``x @ merged.T + bias``, where ``merged`` is a frozen matrix plus ``up @ down``.

    Parameters
    ----------
    x : [N, in]. down : float32 [R, in]. up : float32 [out, R].
    merged : [out, in], of the type of ``x``; gets no gradient, and ``bias`` [out] neither.

    Returns
    -------
    [N, out]; gradients go to ``x``, ``down`` and ``up``.
    """
    return _MergedProduct.apply(x, down, up, merged, bias)


class _MergedProduct(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, down, up, merged, bias):
        ctx.save_for_backward(x, down, up, merged)
        return F.linear(x, merged, bias)

    @staticmethod
    def backward(ctx, grad):
        x, down, up, merged = ctx.saved_tensors
        grad_x = grad @ merged if ctx.needs_input_grad[0] else None
        grad_down = (grad @ up.to(x.dtype)).T @ x
        grad_up = ((x @ down.to(x.dtype).T).T @ grad).T
        return grad_x, grad_down.to(down.dtype), grad_up.to(up.dtype), None, None
