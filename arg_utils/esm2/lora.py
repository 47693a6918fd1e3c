"""Low-rank adaptation (LoRA, arXiv:2106.09685) with loralib: inject, train, multiply, save."""

from collections.abc import Collection, Iterable, Sequence
from ctypes import c_int64
from pathlib import Path
from typing import Any

import loralib
import torch
from torch import nn

from arg_utils.esm2.attention import Matrix
from arg_utils.esm2.kernel import Kernel
from arg_utils.files import load_arrays, save_arrays

Factors = tuple[torch.Tensor, torch.Tensor]  # of an update, float32 [r, in] and [out, r]
KERNEL_WIDTH = 32  # the kernel takes layers whose width, in and out, is a multiple of it


def to_lora(linear: nn.Linear, r: int, alpha: int, dropout: float = 0.0) -> loralib.Linear:
    """A ``loralib.Linear`` that holds the trained weights of ``linear`` and computes the same.

    ``merge_weights`` is off: loralib otherwise adds the update into the weight in ``eval()``, and a
    state saved then and loaded into a fresh module applies it twice.
    """
    adapted = loralib.Linear(
        linear.in_features, linear.out_features, r=r, lora_alpha=alpha, lora_dropout=dropout,
        merge_weights=False, bias=linear.bias is not None,
    )  # fmt: skip
    with torch.no_grad():
        adapted.weight.copy_(linear.weight)
        if linear.bias is not None:
            adapted.bias.copy_(linear.bias)
    adapted.train(linear.training)  # loralib's train() returns None: not to be chained
    return adapted.to(linear.weight.device)


@torch.no_grad()
def merged_linear(layer: nn.Linear) -> nn.Linear:
    """A plain linear layer that computes what ``layer``, LoRA or not, computes."""
    plain = nn.utils.skip_init(nn.Linear, layer.in_features, layer.out_features)
    plain.weight.copy_(layer.weight)
    plain.bias.copy_(layer.bias)
    if isinstance(layer, loralib.Linear):
        plain.weight.add_(layer.lora_B @ layer.lora_A, alpha=layer.scaling)
    return plain


def inject(
    layers: Iterable[nn.Module], modules: Collection[str], r: int, alpha: int, dropout: float = 0.0
) -> None:
    """Replace the linear layers called ``modules`` in every block of ``layers`` by LoRA ones.

    A name in ``modules`` that does not occur in a block is a ValueError.
    """
    for number, layer in enumerate(layers):
        linears = {n: m for n, m in layer.named_modules() if isinstance(m, nn.Linear)}
        chosen = {n: m for n, m in linears.items() if n.rpartition(".")[2] in modules}
        absent = set(modules) - {n.rpartition(".")[2] for n in chosen}
        if absent:
            raise ValueError(f"block {number} has no linear layer called {sorted(absent)}")
        for name, linear in chosen.items():
            parent, _, leaf = name.rpartition(".")
            setattr(layer.get_submodule(parent), leaf, to_lora(linear, r, alpha, dropout))


def count_trainable(model: nn.Module) -> int:
    """How many numbers receive gradients."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def trainable_state(model: nn.Module) -> dict[str, torch.Tensor]:
    """Copies of the trainable parameters, on the CPU."""
    return {
        name: parameter.detach().cpu().clone()
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    }


def save_state(state: dict[str, torch.Tensor], path: Path | str, **metadata: str) -> None:
    """Write tensors to a safetensors file, whole or not at all."""
    save_arrays(path, {name: tensor.numpy() for name, tensor in state.items()}, **metadata)


def load_state(model: nn.Module, path: Path | str) -> None:
    """Put what `save_state` wrote into the trainable parameters of ``model``.

    A UserError says that the file is missing or damaged, or holds other parameters than these.
    """
    shapes = {n: tuple(p.shape) for n, p in model.named_parameters() if p.requires_grad}
    state = {name: torch.from_numpy(array) for name, array in load_arrays(path, shapes).items()}
    model.load_state_dict(state, strict=False)


def is_adapted(module: nn.Linear) -> bool:
    """Whether a LoRA update has to be added to what ``module.weight`` gives."""
    return isinstance(module, loralib.Linear) and module.r > 0 and not module.merged


def lora_factors(modules: Sequence[Any]) -> list[Factors]:
    """Factors of the update of each layer, scaling included; r is 0 where there is no update."""
    return [
        (m.lora_A, m.lora_B * m.scaling)
        if is_adapted(m)
        else (m.weight.new_zeros(0, m.in_features), m.weight.new_zeros(m.out_features, 0))
        for m in modules
    ]


def merged_product(
    x: torch.Tensor, factors: Sequence[Factors], merged: Matrix, kernel: Kernel | None = None
) -> torch.Tensor:
    """``x @ weight.T + bias`` [N, out], where ``merged`` holds the updates ``up @ down`` of layers.

    Without factors it is the product with a frozen matrix.

    ``x W^T + (x A^T) B^T`` takes three products forward and six backward, and the small ones move
    as much memory as the large. While nothing drops out, ``x (W + B A)^T`` is the same: the update
    is merged into a fresh copy of the matrix in float32, rounded once, and only the gradients of A
    and B still need thin products. The kernel computes those of a layer in one pass over memory.

    Parameters
    ----------
    x : [N, in]. factors : of each of the layers side by side.
    merged : [out, in], of the type of ``x``; gets no gradient.
    """
    if not torch.is_grad_enabled():
        return merged.multiply(x)
    return _MergedProduct.apply(x, merged, kernel, *(f for pair in factors for f in pair))


class _MergedProduct(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, merged: Matrix, kernel: Kernel | None, *factors: torch.Tensor
    ) -> torch.Tensor:
        ctx.save_for_backward(x, *factors)
        ctx.merged, ctx.kernel = merged, kernel
        return merged.multiply(x)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, *factors = ctx.saved_tensors
        grad_x = grad @ ctx.merged.weight if ctx.needs_input_grad[0] else None
        pairs = list(zip(factors[::2], factors[1::2], strict=True))
        parts = grad.split([len(up) for _, up in pairs], dim=1) if pairs else ()
        slopes = [s for pair, own in zip(pairs, parts, strict=True)
                  for s in _factor_gradients(x, own, *pair, ctx.kernel)]  # fmt: skip
        return grad_x, None, None, *slopes


def _factor_gradients(
    x: torch.Tensor, grad: torch.Tensor, down: torch.Tensor, up: torch.Tensor, kernel: Kernel | None
) -> Factors:
    if kernel is None or not len(down) or len(up) % KERNEL_WIDTH or x.shape[1] % KERNEL_WIDTH:
        grad_down = (grad @ up.to(x.dtype)).T @ x
        grad_up = ((x @ down.to(x.dtype).T).T @ grad).T
        return grad_down.to(down.dtype), grad_up.to(up.dtype)
    x, down, up = x.contiguous(), down.contiguous(), up.contiguous()
    slopes = torch.empty_like(down), torch.empty_like(up)
    if kernel.call("lora_gradients", x, grad, down, up, *slopes, c_int64(len(x)),
                   c_int64(grad.stride(0)), x.shape[1], *up.shape, x.dtype):  # fmt: skip
        raise MemoryError(f"lora_gradients: no memory for factors of rank {len(down)}")
    return slopes
