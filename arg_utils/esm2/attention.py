"""The parts of a transformer block: products, and what lies between them.

Products are oneDNN's where it can be. The rest is by the compiled kernel, which makes one pass over
memory and takes heads 16 wide (`fastest` says whether it is used), or by PyTorch. Sequences lie end
to end: row ``starts[b]`` to ``starts[b + 1]`` of a tensor is sequence ``b``. Rows after the last
belong to none; they only round the number of rows up, see `Packing`.
"""

import functools
from ctypes import c_int64
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from arg_utils.esm2.kernel import Kernel

KERNEL_DIM = 16
ROUND, LEAST = 128, 512
ORDERED_FOR = 2048  # rows: matrices are ordered for about so many


@dataclass(frozen=True)
class Packing:
    """Where each of B sequences lies among N packed rows.

    Rows are rounded up to a multiple of ``ROUND``, and are at least ``LEAST``. Products are
    prepared anew, at some cost in time and memory, for each number of rows not met before, and so
    there are few numbers. And libraries sum otherwise where rows are few: from ``LEAST`` on, in one
    thread, a row gets the same result bit for bit, whatever rows stand beside it.
    """

    starts: torch.Tensor  # int64 [B + 1], on the CPU
    longest: int
    positions: torch.Tensor  # int64 [starts[B]]: place of each row within its sequence
    sequence: torch.Tensor  # int64 [starts[B]]: which sequence each row belongs to

    @property
    def used(self) -> int:
        """Rows that belong to a sequence."""
        return len(self.positions)

    @property
    def rows(self) -> int:
        """Rows of a packed tensor, N."""
        return max(LEAST, -(-self.used // ROUND) * ROUND)

    @classmethod
    def from_lengths(cls, lengths: list[int], device: torch.device | str = "cpu") -> "Packing":
        counts = torch.tensor(lengths)
        starts = torch.cat([torch.zeros(1, dtype=torch.int64), counts.cumsum(0)])
        sequence = torch.repeat_interleave(torch.arange(len(lengths)), counts)
        positions = torch.arange(int(starts[-1])) - starts[sequence]
        return cls(starts, max(lengths), positions.to(device), sequence.to(device))


@functools.lru_cache(maxsize=4)
def rotary_tables(longest: int, dim: int, device: str = "cpu") -> tuple[torch.Tensor, torch.Tensor]:
    """Cosine and sine, each float32 [longest, dim / 2], of rotary embedding (arXiv:2104.09864)."""
    with torch.inference_mode(False):
        frequency = 1.0 / (10000 ** (torch.arange(0, dim, 2).float() / dim))
        angle = torch.outer(torch.arange(longest).float(), frequency)
        return angle.cos().to(device).contiguous(), angle.sin().to(device).contiguous()


@dataclass(frozen=True)
class Matrix:
    """A linear layer that is not trained: weight [out, in], bias [out].

    ``ordered`` is the weight as oneDNN reads it, where it multiplies. PyTorch's own product writes
    the bias first, adds to it, and in bfloat16 orders the weight anew each time: a tenth to a third
    slower for matrices of this size.
    """

    weight: torch.Tensor
    bias: torch.Tensor
    ordered: torch.Tensor | None

    @classmethod
    def new(cls, weight: torch.Tensor, bias: torch.Tensor) -> "Matrix":
        if not _by_onednn(weight):
            return cls(weight, bias, None)
        order = torch.ops.mkldnn._reorder_linear_weight
        return cls(weight, bias, order(weight.contiguous(), ORDERED_FOR))

    def multiply(self, x: torch.Tensor) -> torch.Tensor:
        """``x @ weight.T + bias`` [N, out], without gradients."""
        if self.ordered is None:
            return F.linear(x, self.weight, self.bias)
        return torch.ops.mkldnn._linear_pointwise(x, self.ordered, self.bias, "none", [], "")


def _by_onednn(x: torch.Tensor) -> bool:
    """Whether oneDNN has this product, and is known to be fast: not on processors before AVX2."""
    if x.device.type != "cpu" or not torch.backends.cpu.get_cpu_capability().startswith("AVX"):
        return False
    half = x.dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return (half or x.dtype == torch.float32) and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def attention(qkv: torch.Tensor, packing: Packing, kernel: Kernel | None = None) -> torch.Tensor:
    """Softmax attention with rotary embedding inside each sequence.

    Parameters
    ----------
    qkv : [packing.rows, 3, heads, dim], floating point; queries are scaled in here.
    kernel : computes it, in as many threads as PyTorch uses; without one, PyTorch does.

    Returns
    -------
    [packing.rows, heads, dim], of the same type; zero in rows of no sequence.
    """
    if kernel is None or qkv.shape[-1] != KERNEL_DIM:
        return _padded_attention(qkv, packing)
    if torch.is_grad_enabled() and qkv.requires_grad:
        return _Attention.apply(qkv.contiguous(), packing, kernel)
    return _attend(kernel, qkv.contiguous(), packing, None)


def _padded_attention(qkv: torch.Tensor, packing: Packing) -> torch.Tensor:
    spare = len(qkv) - packing.used
    qkv, (_, _, heads, dim) = qkv[: packing.used], qkv.shape
    cosine, sine = rotary_tables(packing.longest, dim, str(qkv.device))
    cosine, sine = cosine[packing.positions, None, None], sine[packing.positions, None, None]
    first, second = qkv[:, :2].float().chunk(2, dim=-1)
    rotated = torch.cat([first * cosine - second * sine, second * cosine + first * sine], dim=-1)
    rows = torch.cat([rotated.to(qkv.dtype), qkv[:, 2:]], dim=1)
    sequences = len(packing.starts) - 1
    if packing.used == sequences * packing.longest:
        padded, mask = rows.view(sequences, packing.longest, 3, heads, dim), None
    else:
        padded = rows.new_zeros(sequences, packing.longest, 3, heads, dim)
        padded = padded.index_put((packing.sequence, packing.positions), rows)
        mask = torch.zeros(sequences, packing.longest, dtype=torch.bool, device=qkv.device)
        mask[packing.sequence, packing.positions] = True
        mask = mask[:, None, None]
    query, key, value = padded.permute(2, 0, 3, 1, 4)
    mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    mixed = mixed.transpose(1, 2)[packing.sequence, packing.positions]
    return F.pad(mixed, (0, 0, 0, 0, 0, spare))


def _attend(
    kernel: Kernel, qkv: torch.Tensor, packing: Packing, lse: torch.Tensor | None
) -> torch.Tensor:
    out = qkv.new_empty(len(qkv), *qkv.shape[2:])
    out[packing.used :] = 0
    _share(kernel, "attention_forward", packing, qkv, out, lse)
    return out


def _share(
    kernel: Kernel, name: str, packing: Packing, qkv: torch.Tensor, *tensors: torch.Tensor | None
) -> None:
    heads, dim = qkv.shape[2:]
    next_task = torch.zeros(1, dtype=torch.int64)  # shared by all threads
    status = kernel.share(
        name, qkv, *tensors, *rotary_tables(packing.longest, dim), packing.starts, next_task,
        len(packing.starts) - 1, heads, dim**-0.5, packing.longest, qkv.dtype,
    )  # fmt: skip
    if status:
        raise MemoryError(f"{name}: no memory for a sequence of {packing.longest} tokens")


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, qkv: torch.Tensor, packing: Packing, kernel: Kernel) -> torch.Tensor:
        lse = qkv.new_empty(len(qkv), qkv.shape[2], dtype=torch.float32)
        out = _attend(kernel, qkv, packing, lse)
        ctx.save_for_backward(qkv, out, lse)
        ctx.packing, ctx.kernel = packing, kernel
        return out

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        qkv, out, lse = ctx.saved_tensors
        grad, grad_qkv = grad.to(qkv.dtype).contiguous(), torch.empty_like(qkv)
        grad_qkv[ctx.packing.used :] = 0
        _share(ctx.kernel, "attention_backward", ctx.packing, qkv, out, grad, lse, grad_qkv)
        return grad_qkv, None, None


def add_norm(
    hidden: torch.Tensor, update: torch.Tensor | None, norm: nn.LayerNorm, precision: torch.dtype,
    kernel: Kernel | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
    """The residual stream after ``update``, and its normalisation.

    Parameters
    ----------
    hidden : float32 [N, width]. Where no gradients are needed the sum may be written into it.
    update : ``precision`` [N, width], or None where there is nothing to add.

    Returns
    -------
    sum float32 [N, width], normalised ``precision`` [N, width].
    """
    if kernel is None or update is None or any(p.requires_grad for p in norm.parameters()):
        after = hidden if update is None else hidden + update
        normed = F.layer_norm(after, norm.normalized_shape, norm.weight, norm.bias, norm.eps)
        return after, normed.to(precision)
    hidden, update = hidden.contiguous(), update.contiguous()
    if torch.is_grad_enabled() and (hidden.requires_grad or update.requires_grad):
        return _AddNorm.apply(hidden, update, norm, kernel)
    return hidden, _add_norm(kernel, hidden, update, norm, hidden, None)


def _add_norm(
    kernel: Kernel, hidden: torch.Tensor, update: torch.Tensor, norm: nn.LayerNorm,
    after: torch.Tensor, moments: torch.Tensor | None,
) -> torch.Tensor:  # fmt: skip
    """The normalised rows; the sum goes into ``after``, what backward needs into ``moments``."""
    normed = torch.empty_like(update)
    kernel.call("add_norm_forward", hidden, update, norm.weight, norm.bias, after, normed, moments,
                c_int64(len(hidden)), hidden.shape[1], norm.eps, update.dtype)  # fmt: skip
    return normed


class _AddNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: torch.Tensor, update: torch.Tensor, norm: nn.LayerNorm, kernel: Kernel
    ) -> tuple[torch.Tensor, torch.Tensor]:
        after, moments = torch.empty_like(hidden), hidden.new_empty(len(hidden), 2)
        normed = _add_norm(kernel, hidden, update, norm, after, moments)
        ctx.save_for_backward(after, moments, norm.weight.detach())
        ctx.kernel = kernel
        return after, normed

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        after, moments, gain = ctx.saved_tensors
        grad_after, grad_normed = (grad.contiguous() for grad in grads)
        grad_hidden, grad_update = torch.empty_like(after), torch.empty_like(grad_normed)
        ctx.kernel.call("add_norm_backward", after, moments, gain, grad_after, grad_normed,
                        grad_hidden, grad_update, c_int64(len(after)), after.shape[1],
                        grad_normed.dtype)  # fmt: skip
        return grad_hidden, grad_update, None, None


def gelu(x: torch.Tensor, kernel: Kernel | None = None) -> torch.Tensor:
    """Exact GELU, x times the normal distribution function; the kernel takes 16 numbers at a time.

    Where no gradients are needed it may be written into ``x``.
    """
    if kernel is None or x.numel() % 16:
        return F.gelu(x)
    x = x.contiguous()
    if torch.is_grad_enabled() and x.requires_grad:
        return _Gelu.apply(x, kernel)
    return _gelu(kernel, "gelu_forward", x, x)


def _gelu(kernel: Kernel, name: str, *tensors: torch.Tensor) -> torch.Tensor:
    kernel.call(name, *tensors, c_int64(tensors[0].numel()), tensors[0].dtype)
    return tensors[-1]


class _Gelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, kernel: Kernel) -> torch.Tensor:
        ctx.save_for_backward(x)
        ctx.kernel = kernel
        return _gelu(kernel, "gelu_forward", x, torch.empty_like(x))

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None]:
        (x,) = ctx.saved_tensors
        return _gelu(ctx.kernel, "gelu_backward", x, grad.contiguous(), torch.empty_like(x)), None
