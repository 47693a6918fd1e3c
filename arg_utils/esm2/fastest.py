"""Whether the kernel, and bfloat16, are used on this machine: only where they prove faster.

At first use the kernel's numbers are compared with PyTorch's on a small batch, forward and
backward, and so is its time. A kernel with a wrong number is never used. What was measured lies in
the cache beside the compiled file, and ``python -m arg_utils doctor`` shows it.
"""

import functools
import hashlib
import json
import math
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import nn

from arg_utils.esm2.attention import LEAST, Matrix, Packing, add_norm, attention, gelu
from arg_utils.esm2.batches import one_thread
from arg_utils.esm2.kernel import Kernel, chosen_form, load_kernel, processor
from arg_utils.esm2.lora import merged_product
from arg_utils.esm2.weights import HEADS, WIDTH
from arg_utils.files import cache_dir, locked, write_text

LENGTHS = (402, 286, 173, 98, 47, 16, 1)  # residues of proteins, short and long, and odd ones
BOUNDS = {torch.float32: 1e-5, torch.bfloat16: 0.02}  # of relative differences
RANK = 8  # of the update to a layer
REPEATS = 5
ROWS, CLEARLY = 2048, 1.3  # of a product; how much faster it must be in bfloat16
# What libraries use at most, where a user has limited it.
LIMITS = ("ONEDNN_MAX_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS", "ATEN_CPU_CAPABILITY")
Tensors = Sequence[torch.Tensor]
_first_use = threading.Lock()


def kernel_for(device: torch.device, dtype: torch.dtype) -> Kernel | None:
    """The kernel, if it computes with numbers of this type and place, and is right and faster."""
    with _first_use:  # one thread compiles and measures; the others wait
        return _proven(dtype) if device.type == "cpu" and dtype in BOUNDS else None


@functools.cache
def _proven(dtype: torch.dtype) -> Kernel | None:
    kernel = load_kernel()
    return kernel if kernel and proof(kernel, dtype)["used"] else None


def proof(kernel: Kernel, dtype: torch.dtype) -> dict:
    """What `measure` gives for this form and number type, from the cache if it is there."""
    place = kernel.path.with_name(f"{kernel.path.stem}-{str(dtype).removeprefix('torch.')}")
    return once(place, partial(measure, kernel, dtype, forced=chosen_form() is not None))


@functools.cache
def bfloat16_pays() -> bool:
    """Whether products in bfloat16 are clearly faster here than in float32.

    Some processors have instructions for them that are no faster, or libraries that do not use
    them. One protein must get the same vector every day: hence what was measured is kept.
    """
    return once(cache_dir("kernels") / "products", measure_products)["used"]


def measure_products() -> dict:
    """How many times as fast a feed-forward layer's product is; ``used``, and ``sentence``."""
    spent = {}
    for dtype in (torch.bfloat16, torch.float32):
        weight = torch.ones(4 * WIDTH, WIDTH, dtype=dtype)
        matrix = Matrix.new(weight, weight[:, 0].clone())
        spent[dtype] = _least(partial(matrix.multiply, torch.ones(ROWS, WIDTH, dtype=dtype)))
    ratio = spent[torch.float32] / spent[torch.bfloat16]
    verdict = "used" if ratio > CLEARLY else "not used"
    sentence = f"products in bfloat16: {ratio:.1f} times as fast as in float32; they are {verdict}"
    return {"ratio": ratio, "used": ratio > CLEARLY, "sentence": sentence}


def _least(work: Callable[[], object]) -> float:
    """Milliseconds in one thread, the least of some repeats."""
    spent = []
    with one_thread(), torch.inference_mode(False):
        for _ in range(REPEATS + 1):  # the first prepares
            begun = time.perf_counter()
            work()
            spent.append(1000 * (time.perf_counter() - begun))
    return min(spent)


def once(place: Path, work: Callable[[], dict]) -> dict:
    """What ``work`` gives, kept at ``place`` for this processor, and said when it is new.

    ``work`` gives a verdict, whether something is ``used``, and the ``sentence`` that says so. It
    is done by one thread of one process: two that measure at once slow each other down.
    """
    setting = [processor(), torch.__version__, chosen_form(), *map(os.environ.get, LIMITS)]
    key = hashlib.sha256(repr(setting).encode()).hexdigest()
    path = place.with_name(f"{place.name}-{key[:8]}.json")
    if verdict := _kept(path):
        return verdict
    with locked(path.with_suffix(".lock")):
        if verdict := _kept(path):  # by another, meanwhile
            return verdict
        verdict = work()
        write_text(path, json.dumps(verdict, indent=1))
    print(verdict["sentence"], file=sys.stderr)
    return verdict


def _kept(path: Path) -> dict | None:
    """The verdict in a file, None where it is not there or damaged."""
    try:
        verdict = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    whole = isinstance(verdict, dict) and {"used", "sentence"} <= verdict.keys()
    return verdict if whole else None


def measure(kernel: Kernel, dtype: torch.dtype, forced: bool = False) -> dict:
    """Compare ``kernel`` with PyTorch on one small batch, in one thread.

    ``forced``: the user asked for this form, so that its speed does not matter. Errors are norms of
    the difference over the norm of PyTorch's float32 result, the largest of attention,
    normalisation, GELU and the gradients of LoRA; times are of attention, forward, and forward and
    backward. ``used`` is the verdict, and ``sentence`` says it all.
    """
    with one_thread(), torch.inference_mode(False), torch.enable_grad():
        errors = [_errors(kernel, *case) for case in _cases(dtype)]
        own, other = (_times(way, *next(_cases(dtype))) for way in (kernel, None))
    forward, backward = (_worst(values) for values in zip(*errors, strict=True))
    right = max(forward, backward) <= BOUNDS[dtype]
    used = right and (forced or (own[0] <= other[0] and own[1] <= other[1]))
    verdict = (
        "is used" if used else
        "is slower than PyTorch's, which is used" if right else
        f"gives wrong numbers (off by {max(forward, backward):.1e}) and is not used"
    )  # fmt: skip
    return {
        "error_forward": forward, "error_backward": backward, "bound": BOUNDS[dtype],
        "kernel_ms": own, "torch_ms": other, "used": used,
        "sentence": f"attention kernel {kernel.form.name} ({kernel.form.instructions}), "
        f"{str(dtype).removeprefix('torch.')}: {other[0] / own[0]:.1f} times as fast as PyTorch's "
        f"forward, {other[1] / own[1]:.1f} times with backward; it {verdict}",
    }  # fmt: skip


def _cases(dtype: torch.dtype) -> Iterator[tuple[Callable, Tensors, Tensors]]:
    """What the kernel computes, each with inputs and gradients of outputs."""
    packing = Packing.from_lengths(list(LENGTHS))
    random = partial(torch.randn, generator=torch.Generator().manual_seed(0))
    qkv = random(packing.rows, 3, HEADS, WIDTH // HEADS).to(dtype)
    grad = random(packing.rows, HEADS, WIDTH // HEADS).to(dtype)
    yield lambda kernel, x: attention(x, packing, kernel), [qkv], [grad]
    (x, y), (gx, gy) = ((random(96, WIDTH), random(96, WIDTH).to(dtype)) for _ in range(2))
    norm = nn.LayerNorm(WIDTH).requires_grad_(False)
    yield lambda kernel, x, y: add_norm(x, y, norm, y.dtype, kernel), [x, y], [gx, gy]
    yield lambda kernel, x: gelu(x, kernel), [3 * y], [gy]
    x, down, up = random(LEAST, WIDTH).to(dtype), random(RANK, WIDTH), random(WIDTH, RANK)
    grad = random(LEAST, WIDTH).to(dtype)
    yield _adapted, [x, down, up], [grad]


def _adapted(
    kernel: Kernel | None, x: torch.Tensor, down: torch.Tensor, up: torch.Tensor
) -> torch.Tensor:
    """A layer that consists of a low-rank update alone."""
    merged = (up @ down).detach().to(x.dtype)
    return merged_product(x, [(down, up)], Matrix.new(merged, merged.new_zeros(len(up))), kernel)


def _errors(kernel: Kernel, function: Callable, inputs: Tensors, grads: Tensors) -> list[float]:
    """Largest relative difference of outputs, and of gradients."""
    own = _run(partial(function, kernel), inputs, grads)
    exact = _run(partial(function, None), [x.float() for x in inputs], [g.float() for g in grads])
    return [
        _worst(float((a.float() - b).norm() / b.norm()) for a, b in zip(*part, strict=True))
        for part in zip(own, exact, strict=True)
    ]


def _worst(errors: Iterable[float]) -> float:
    """The largest error; what is no number is infinitely wrong, wherever it stands."""
    return max(math.inf if math.isnan(error) else error for error in errors)


def _run(function: Callable, inputs: Tensors, grads: Tensors) -> tuple[Tensors, Tensors]:
    """Outputs and gradients of the inputs."""
    leaves = [x.clone().requires_grad_() for x in inputs]
    out = function(*leaves)
    out = out if isinstance(out, tuple) else (out,)
    slopes = torch.autograd.grad(out, leaves, grads)
    return [x.detach() for x in out], slopes


def _times(
    kernel: Kernel | None, function: Callable, inputs: Tensors, grads: Tensors
) -> list[float]:
    """Milliseconds forward, and forward and backward."""
    with torch.no_grad():
        forward = _least(partial(function, kernel, *inputs))
    return [forward, _least(partial(_run, partial(function, kernel), inputs, grads))]
