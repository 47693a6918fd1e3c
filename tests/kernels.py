"""Attention by its definition, examples of it, and the kernel in each of its forms."""

from collections.abc import Callable
from functools import cache

import pytest
import torch

from arg_utils.esm2 import fastest, kernel
from arg_utils.esm2.attention import Packing

DTYPES = (torch.float32, torch.bfloat16)
LOG2_E = 1 / torch.log(torch.tensor(2.0)).item()


def built(name: str) -> kernel.Kernel:
    """The kernel in the form of this name; skips the test where that cannot be."""
    if name not in [form.name for form in kernel.supported_forms()]:
        pytest.skip(f"this processor has no {kernel.FORMS[name].instructions}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ARG_ATTENTION", name)
        found = kernel.load_kernel.__wrapped__()
    if found is None:
        pytest.skip("no C++ compiler: there is no kernel to test")
    return found


def use(patch: pytest.MonkeyPatch, chosen: kernel.Kernel | None) -> None:
    """Have the model compute with this kernel, or with PyTorch alone, whichever is faster."""
    patch.setattr(fastest, "_proven", lambda dtype: chosen)


def plain_attention(qkv: torch.Tensor, lengths: list[int], rounded: bool = False) -> torch.Tensor:
    """Rotary embedding and softmax by their definitions: [used, heads, dim].

    ``rounded``: what enters the product of queries and keys is rounded to bfloat16, as matrix tiles
    need it; gradients pass as if it were not.
    """
    dim = qkv.shape[-1]
    frequency = 10000 ** (-torch.arange(0, dim, 2, dtype=qkv.dtype) / dim)
    out = []
    for part in qkv[: sum(lengths)].split(lengths):
        angle = torch.arange(len(part), dtype=qkv.dtype)[:, None] * frequency
        turn = torch.polar(torch.ones_like(angle), angle)[:, None]
        pairs = [torch.complex(part[:, i, :, : dim // 2], part[:, i, :, dim // 2 :]) * turn
                 for i in (0, 1)]  # fmt: skip
        query, key = (torch.cat([p.real, p.imag], dim=-1) for p in pairs)
        query = query * (LOG2_E / dim**0.5)
        if rounded:
            query, key = (x + (x.bfloat16().to(x.dtype) - x).detach() for x in (query, key))
        scores = torch.einsum("ihd,jhd->hij", query, key) / LOG2_E
        out.append(torch.einsum("hij,jhd->ihd", scores.softmax(-1), part[:, 2]))
    return torch.cat(out)


def example(
    lengths: list[int], dtype: torch.dtype = torch.float32, scale: float = 1.0, dim: int = 16
) -> tuple[torch.Tensor, torch.Tensor, Packing]:
    """Queries, keys and values in all rows, spare ones too; a gradient for the output; places."""
    packing = Packing.from_lengths(lengths)
    generator = torch.Generator().manual_seed(sum(lengths))
    qkv = torch.randn(packing.rows, 3, 3, dim, generator=generator)
    qkv[:, :2] *= scale
    grad = torch.randn(packing.rows, 3, dim, generator=generator)
    return qkv.to(dtype), grad.to(dtype), packing


def run(function: Callable, qkv: torch.Tensor, grad: torch.Tensor, *arguments: object):
    """Output and gradient of ``function``."""
    qkv = qkv.clone().requires_grad_()
    out = function(qkv, *arguments)
    out.backward(grad[: len(out)])
    return out.detach(), qkv.grad


@cache
def expected(lengths: tuple[int, ...], dtype: torch.dtype, scale: float, rounded: bool = False):
    """Output and gradient of `example` by definition, in float64."""
    qkv, grad, _ = example(list(lengths), dtype, scale)
    return run(plain_attention, qkv.double(), grad.double(), list(lengths), rounded)


def distance(found: torch.Tensor, wanted: torch.Tensor) -> float:
    """Norm of the difference over the norm of what is wanted."""
    found, wanted = found.detach().double(), wanted.detach().double()
    return float((found - wanted).norm() / wanted.norm())
