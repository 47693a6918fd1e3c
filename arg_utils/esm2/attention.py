"""Self-attention over packed sequences: the compiled kernel for 16-wide heads, else PyTorch's own.

Sequences lie end to end: row ``starts[b]`` to ``starts[b + 1]`` of a tensor is sequence ``b``. Rows
after the last belong to none; they only round the number of rows up, see `Packing`. Which of the
two ways is taken, `fastest` decides.
"""

import functools
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from arg_utils.esm2.kernel import Kernel
from arg_utils.esm2.threads import share

KERNEL_DIM = 16
ROUND, LEAST = 128, 512


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


def kernel_attention(kernel: Kernel, qkv: torch.Tensor, packing: Packing) -> torch.Tensor:
    """`padded_attention` by the kernel, for heads 16 wide, in as many threads as PyTorch uses."""
    if torch.is_grad_enabled() and qkv.requires_grad:
        return _KernelAttention.apply(qkv.contiguous(), packing, kernel)
    return _forward(kernel, qkv.contiguous(), packing, None)


def _forward(kernel: Kernel, qkv, packing: Packing, lse: torch.Tensor | None) -> torch.Tensor:
    out = qkv.new_empty(len(qkv), *qkv.shape[2:])
    out[packing.used :] = 0
    _call(kernel, "attention_forward", (qkv, out, lse), qkv, packing)
    return out


def padded_attention(qkv: torch.Tensor, packing: Packing) -> torch.Tensor:
    """Softmax attention with rotary embedding inside each sequence, by PyTorch on padded rows.

    Parameters
    ----------
    qkv : [packing.rows, 3, heads, dim], floating point; queries are scaled in here.

    Returns
    -------
    [packing.rows, heads, dim], of the same type; zero in rows of no sequence.
    """
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
    query, key, value = padded.permute(2, 0, 3, 1, 4)
    mixed = F.scaled_dot_product_attention(
        query, key, value, attn_mask=None if mask is None else mask[:, None, None]
    )
    mixed = mixed.transpose(1, 2)[packing.sequence, packing.positions]
    return F.pad(mixed, (0, 0, 0, 0, 0, spare))


class _KernelAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx, qkv, packing, kernel):
        lse = qkv.new_empty(len(qkv), qkv.shape[2], dtype=torch.float32)
        out = _forward(kernel, qkv, packing, lse)
        ctx.save_for_backward(qkv, out, lse)
        ctx.packing, ctx.kernel = packing, kernel
        return out

    @staticmethod
    def backward(ctx, grad_out):
        qkv, out, lse = ctx.saved_tensors
        grad_qkv = torch.empty_like(qkv)
        grad_qkv[ctx.packing.used :] = 0
        tensors = (qkv, out, grad_out.to(qkv.dtype).contiguous(), lse, grad_qkv)
        _call(ctx.kernel, "attention_backward", tensors, qkv, ctx.packing)
        return grad_qkv, None, None


def _call(kernel: Kernel, name: str, tensors, qkv: torch.Tensor, packing: Packing) -> None:
    heads, dim = qkv.shape[2:]
    next_task = torch.zeros(1, dtype=torch.int64)  # shared by all threads
    arguments = (*tensors, *rotary_tables(packing.longest, dim), packing.starts, next_task,
                 len(packing.starts) - 1, heads, dim**-0.5, packing.longest,
                 int(qkv.dtype == torch.bfloat16))  # fmt: skip
    if any(share(lambda: kernel.call(name, *arguments))):
        raise MemoryError(f"{name}: no memory for a sequence of {packing.longest} tokens")
