"""Attention, normalisation and GELU by the faster of kernel and PyTorch, measured on this machine.

At first use the kernel's numbers are compared with PyTorch's on a small batch, forward and
backward, and so is its time. A kernel with a wrong number is never used. What was measured lies in
the cache beside the compiled file, and ``python -m arg_utils doctor`` shows it.
"""

import functools
import hashlib
import json
import math
import sys
import time
from collections.abc import Callable, Iterable

import torch
import torch.nn.functional as F
from torch import nn

from arg_utils.esm2.attention import KERNEL_DIM, Packing, kernel_attention, padded_attention
from arg_utils.esm2.kernel import Kernel, chosen_form, load_kernel, processor
from arg_utils.esm2.pointwise import kernel_add_norm, kernel_gelu, torch_add_norm
from arg_utils.esm2.weights import HEADS, WIDTH
from arg_utils.files import atomic_path

LENGTHS = (402, 286, 173, 98, 47, 16, 1)  # residues of proteins, short and long, and odd ones
BOUNDS = {
    torch.float32: 1e-5,
    torch.bfloat16: 0.02,
}  # of relative differences, forward and backward
REPEATS = 5


def attention(qkv: torch.Tensor, packing: Packing) -> torch.Tensor:
    """Softmax attention with rotary embedding inside each sequence: see `padded_attention`."""
    kernel = kernel_for(qkv) if qkv.shape[-1] == KERNEL_DIM else None
    return (
        padded_attention(qkv, packing) if kernel is None else kernel_attention(kernel, qkv, packing)
    )


def add_norm(
    hidden: torch.Tensor, update: torch.Tensor | None, norm: nn.LayerNorm, precision: torch.dtype
) -> tuple[torch.Tensor, torch.Tensor]:
    """The residual stream after ``update``, and its normalisation.

    Parameters
    ----------
    hidden : float32 [N, width]. Where no gradients are needed the sum may be written into it.
    update : ``precision`` [N, width], or None where there is nothing to add.

    Returns
    -------
    sum float32 [N, width], normalised ``precision`` [N, width].
    """
    trained = any(parameter.requires_grad for parameter in norm.parameters())
    if update is None or update.dtype != precision or hidden.dtype != torch.float32 or trained:
        return torch_add_norm(hidden, update, norm, precision)
    kernel = kernel_for(update)
    if kernel is None:
        return torch_add_norm(hidden, update, norm, precision)
    return kernel_add_norm(kernel, hidden, update, norm)


def gelu(x: torch.Tensor) -> torch.Tensor:
    """Exact GELU; where no gradients are needed it may be written into ``x``."""
    kernel = None if x.numel() % 16 else kernel_for(x)
    return F.gelu(x) if kernel is None else kernel_gelu(kernel, x)


def kernel_for(tensor: torch.Tensor) -> Kernel | None:
    """The kernel, if it computes with tensors of this type and place, and is right and faster."""
    if tensor.device.type != "cpu" or tensor.dtype not in BOUNDS:
        return None
    return _proven(tensor.dtype)


@functools.cache
def _proven(dtype: torch.dtype) -> Kernel | None:
    kernel = load_kernel()
    return kernel if kernel and proof(kernel, dtype)["used"] else None


def proof(kernel: Kernel, dtype: torch.dtype) -> dict:
    """What `measure` gives for this form and number type, from the cache if it is there."""
    number = str(dtype).removeprefix("torch.")
    key = hashlib.sha256(f"{processor()} {torch.__version__} {chosen_form()}".encode())
    path = kernel.path.with_name(f"{kernel.path.stem}-{number}-{key.hexdigest()[:8]}.json")
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # not there, or damaged
        kept = None
    if isinstance(kept, dict) and {"used", "sentence"} <= kept.keys():
        return kept
    result = measure(kernel, dtype, forced=chosen_form() is not None)
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(result, indent=1), encoding="utf-8")
    print(result["sentence"], file=sys.stderr)
    return result


def measure(kernel: Kernel, dtype: torch.dtype, forced: bool = False) -> dict:
    """Compare ``kernel`` with PyTorch on one small batch, in one thread.

    Parameters
    ----------
    forced : whether the user asked for this form, so that its speed does not matter.

    Returns
    -------
    ``error_forward``, ``error_backward`` (largest of attention, normalisation and GELU; norm of the
    difference over norm of PyTorch's float32 result), ``bound``, ``right``, ``kernel_ms`` and
    ``torch_ms`` (attention forward, and with backward: the least of some repeats), ``used``, and
    ``sentence``, which says it all.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode(False), torch.enable_grad():
            errors = [_errors(*case) for case in _cases(kernel, dtype)]
            times = _times(kernel, dtype)
    finally:
        torch.set_num_threads(threads)
    forward, backward = (_worst(values) for values in zip(*errors, strict=True))
    right = forward <= BOUNDS[dtype] and backward <= BOUNDS[dtype]
    faster = all(own <= other for own, other in zip(times["kernel"], times["torch"], strict=True))
    number = str(dtype).removeprefix("torch.")
    verdict = (
        "is used" if right and (faster or forced) else
        "is slower than PyTorch's, which is used" if right else
        f"gives wrong numbers (off by {max(forward, backward):.1e}) and is not used"
    )  # fmt: skip
    return {
        "form": kernel.form.name, "instructions": kernel.form.instructions, "number": number,
        "processor": processor(), "torch": torch.__version__,
        "error_forward": forward, "error_backward": backward, "bound": BOUNDS[dtype],
        "right": right, "kernel_ms": times["kernel"], "torch_ms": times["torch"],
        "used": right and (faster or forced),
        "sentence": f"attention kernel {kernel.form.name} ({kernel.form.instructions}), {number}: "
        f"{times['torch'][0] / times['kernel'][0]:.1f} times as fast as PyTorch's forward, "
        f"{times['torch'][1] / times['kernel'][1]:.1f} times with backward; it {verdict}",
    }  # fmt: skip


def _batch(dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor, Packing]:
    packing = Packing.from_lengths(list(LENGTHS))
    generator = torch.Generator().manual_seed(0)
    qkv = torch.randn(packing.rows, 3, HEADS, WIDTH // HEADS, generator=generator)
    grad = torch.randn(packing.rows, HEADS, WIDTH // HEADS, generator=generator)
    return qkv.to(dtype), grad.to(dtype), packing


def _cases(kernel: Kernel, dtype: torch.dtype):
    """The kernel's functions and PyTorch's in float32, each with inputs and output gradients."""
    qkv, grad, packing = _batch(dtype)
    yield (lambda x: kernel_attention(kernel, x, packing),
           lambda x: padded_attention(x, packing), (qkv,), (grad,))  # fmt: skip
    generator = torch.Generator().manual_seed(1)
    x, gx = (torch.randn(96, WIDTH, generator=generator) for _ in range(2))
    y, gy = (torch.randn(96, WIDTH, generator=generator).to(dtype) for _ in range(2))
    norm = nn.LayerNorm(WIDTH)
    yield (lambda h, u: kernel_add_norm(kernel, h, u, norm),
           lambda h, u: torch_add_norm(h, u, norm, torch.float32), (x, y), (gx, gy))  # fmt: skip
    yield lambda u: kernel_gelu(kernel, u), F.gelu, (3 * y,), (gy,)


def _errors(ours: Callable, theirs: Callable, inputs, grads) -> tuple[float, float]:
    found = _run(ours, inputs, grads)
    expected = _run(theirs, [x.float() for x in inputs], [g.float() for g in grads])
    forward, backward = (
        _worst(float((a.float() - b).norm() / b.norm()) for a, b in zip(*part, strict=True))
        for part in zip(found, expected, strict=True)
    )
    return forward, backward


def _worst(errors: Iterable[float]) -> float:
    """The largest error; what is no number is infinitely wrong, wherever it stands."""
    return max(math.inf if math.isnan(error) else error for error in errors)


def _run(function: Callable, inputs, grads) -> tuple[tuple, tuple]:
    """Outputs and gradients of the inputs."""
    leaves = [x.clone().requires_grad_() for x in inputs]
    out = function(*leaves)
    out = out if isinstance(out, tuple) else (out,)
    slopes = torch.autograd.grad(out, leaves, grads)
    return tuple(x.detach() for x in out), slopes


def _times(kernel: Kernel, dtype: torch.dtype) -> dict[str, tuple[float, float]]:
    """Milliseconds forward, and forward and backward, of both; the least of some repeats."""
    qkv, grad, packing = _batch(dtype)
    ways = {"kernel": lambda x: kernel_attention(kernel, x, packing),
            "torch": lambda x: padded_attention(x, packing)}  # fmt: skip
    spent: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(REPEATS):
        for name, way in ways.items():
            begun = time.perf_counter()
            with torch.no_grad():
                way(qkv)
            middle = time.perf_counter()
            _run(way, (qkv,), (grad,))
            spent[name].append((middle - begun, time.perf_counter() - middle))
    return {name: tuple(1000 * min(column) for column in zip(*rows, strict=True))
            for name, rows in spent.items()}  # fmt: skip
