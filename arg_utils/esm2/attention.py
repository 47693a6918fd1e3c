"""Self-attention over packed sequences: a compiled kernel for 16-wide heads, else PyTorch's own.

Sequences lie end to end: row ``starts[b]`` to ``starts[b + 1]`` of a tensor is sequence ``b``. Rows
after the last belong to none; they only round the number of rows up, see `Packing`. The kernel
(``csrc/attention.cpp``) is compiled once with the machine's C++ compiler and kept in the cache;
without a compiler, on a GPU, for other head widths or number types the same function runs through
``scaled_dot_product_attention`` on padded rows. ``ARG_ATTENTION=torch`` forces the latter.
"""

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import warnings
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F

from arg_utils.files import atomic_path, cache_dir

SOURCE = Path(__file__).parent / "csrc" / "attention.cpp"
SOURCES = (SOURCE, *(SOURCE.with_name(f"attention_{kind}.h") for kind in ("bf16", "amx")))
FLAGS = ("-std=c++17", "-O3", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast")
KERNEL_DIM, KERNEL_TYPES = 16, (torch.float32, torch.bfloat16)
ROUND = 128


@dataclass(frozen=True)
class Packing:
    """Where each of B sequences lies among N packed rows.

    Rows are rounded up to a multiple of ``ROUND``: matrix products are prepared anew, at some cost
    in time and memory, for each number of rows not met before, and so there are few.
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
        return -(-self.used // ROUND) * ROUND

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


def attention(qkv: torch.Tensor, packing: Packing) -> torch.Tensor:
    """Softmax attention with rotary embedding inside each sequence.

    Parameters
    ----------
    qkv : [packing.rows, 3, heads, dim], floating point; queries are scaled in here.

    Returns
    -------
    [packing.rows, heads, dim], of the same type; zero in rows of no sequence.
    """
    fits = qkv.device.type == "cpu" and qkv.dtype in KERNEL_TYPES and qkv.shape[-1] == KERNEL_DIM
    if fits and load_kernel() is not None:
        return _KernelAttention.apply(qkv.contiguous(), packing)
    return padded_attention(qkv, packing)


def padded_attention(qkv: torch.Tensor, packing: Packing) -> torch.Tensor:
    """The same by PyTorch's scaled dot-product attention, on rows padded to the longest."""
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
    def forward(ctx, qkv, packing):
        tokens, _, heads, dim = qkv.shape
        out = qkv.new_empty(tokens, heads, dim)
        out[packing.used :] = 0
        lse = qkv.new_empty(tokens, heads, dtype=torch.float32)
        _call("attention_forward", (qkv, out, lse), qkv, packing)
        ctx.save_for_backward(qkv, out, lse)
        ctx.packing = packing
        return out

    @staticmethod
    def backward(ctx, grad_out):
        qkv, out, lse = ctx.saved_tensors
        grad_qkv = torch.empty_like(qkv)
        grad_qkv[ctx.packing.used :] = 0
        grad_out = grad_out.to(qkv.dtype).contiguous()
        _call("attention_backward", (qkv, out, grad_out, lse, grad_qkv), qkv, ctx.packing)
        return grad_qkv, None


def _call(name: str, tensors: tuple[torch.Tensor, ...], qkv: torch.Tensor, packing: Packing):
    heads, dim = qkv.shape[2:]
    tables = rotary_tables(packing.longest, dim)
    pointers = [ctypes.c_void_p(t.data_ptr()) for t in (*tensors, *tables, packing.starts)]
    failed = getattr(load_kernel(), name)(
        *pointers,
        ctypes.c_int(len(packing.starts) - 1),
        ctypes.c_int(heads),
        ctypes.c_float(dim**-0.5),
        ctypes.c_int(packing.longest),
        ctypes.c_int(qkv.dtype == torch.bfloat16),
    )
    if failed:
        raise MemoryError(f"{name}: no memory for a sequence of {packing.longest} tokens")


@functools.cache
def load_kernel() -> ctypes.CDLL | None:
    """The compiled kernel, built on first use; ``None`` where it cannot be, with a warning why."""
    if os.environ.get("ARG_ATTENTION", "").lower() == "torch":
        return None
    compiler = shutil.which(os.environ.get("CXX", "c++"))
    if compiler is None:
        warnings.warn("no C++ compiler found: attention runs through PyTorch, slower", stacklevel=2)
        return None
    try:
        library = _build(compiler)
        try:
            return ctypes.CDLL(str(library))
        except OSError:  # damaged in the cache: build it once more
            library.unlink()
            return ctypes.CDLL(str(_build(compiler)))
    except (OSError, subprocess.SubprocessError) as error:
        reason = getattr(error, "stderr", None) or str(error)
        warnings.warn(
            f"the attention kernel was not built, PyTorch's attention is used: {reason[-500:]}",
            stacklevel=2,
        )
        return None


def _build(compiler: str) -> Path:
    native = "-mcpu=native" if platform.machine() in ("arm64", "aarch64") else "-march=native"
    openmp = () if platform.system() == "Darwin" else ("-fopenmp",)  # Apple's clang ships none
    command = [compiler, *FLAGS, native, *openmp, "-shared", "-fPIC", str(SOURCE)]
    key = hashlib.sha256(b"".join(source.read_bytes() for source in SOURCES))
    key.update("\0".join(command[:-1]).encode())
    key.update(_cpu_flags().encode())  # a home folder may be shared by unlike machines
    library = cache_dir("kernels") / f"attention-{key.hexdigest()[:16]}.so"
    if not library.exists():
        with atomic_path(library) as temporary:
            command += ["-o", str(temporary)]
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
    return library


def _cpu_flags() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith(("flags", "Features"))), "")
