"""Samples, clocks, counts of floating-point operations, and ratios."""

import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median

import numpy as np
import torch

from arg_utils.data.proteins import Record
from arg_utils.esm2.batches import MAX_RESIDUES
from arg_utils.esm2.weights import LAYERS, WIDTH

FORMULA = (
    "a token's forward pass: 6 layers x (24 x width^2 + 4 x tokens x width) operations, a "
    "multiplication and an addition counted as two, width 320; 24 width^2: q, k, v, out (8) and "
    "the feed-forward layers (16); 4 tokens width: scores and their products with the values, "
    "with the tokens of the token's own sequence; normalisation, softmax, GELU are not counted"
)
SIDE = 4096
CPU_FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "bf16", "sve", "sve2")


def forward_flops(tokens: Sequence[int], layers: int = LAYERS, width: int = WIDTH) -> int:
    """Floating-point operations of a forward pass over sequences of so many tokens."""
    return sum(n * layers * (24 * width**2 + 4 * n * width) for n in tokens)


def training_flops(tokens: Sequence[int], layers: int = LAYERS, width: int = WIDTH) -> int:
    """The same of a training step with LoRA in all blocks: forward, and gradients of activations.

    Gradients through the frozen layers (none into the first block's q, k and v) cost what the
    layers do, those of attention five products where forward has two. LoRA's own products, a few
    per cent, are not counted.
    """
    passed = sum(n * (layers * (24 * width**2 + 10 * n * width) - 6 * width**2) for n in tokens)
    return forward_flops(tokens, layers, width) + passed


def representative(records: Sequence[Record], count: int, seed: int = 0) -> list[Record]:
    """``count`` records, one from each of as many equal shares of the lengths, in random order.

    Sequences are cut to 1,022 residues. The sample's lengths are distributed as the data set's.
    """
    rng = np.random.default_rng(seed)
    windows = [Record(r.id, r.header, r.sequence[:MAX_RESIDUES], r.label) for r in records]
    order = np.argsort([len(r.sequence) for r in windows], kind="stable")
    places = ((np.arange(count) + rng.random(count)) * len(order) / count).astype(int)
    chosen = order[np.minimum(places, len(order) - 1)]
    return [windows[i] for i in rng.permutation(chosen)]


def synchronise() -> None:
    """Wait for what a CUDA device still has to do."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def seconds(work: Callable[[], object]) -> float:
    """How long ``work()`` takes."""
    synchronise()
    begun = time.perf_counter()
    work()
    synchronise()
    return time.perf_counter() - begun


def product_rate(precision: torch.dtype, device: torch.device, side: int = SIDE) -> float:
    """Operations a second of a product of two square matrices, the best of three."""
    a, b = (torch.randn(side, side, device=device).to(precision) for _ in range(2))
    times = 20 if device.type == "cuda" else 1
    a[:256] @ b
    spent = min(seconds(lambda: [a @ b for _ in range(times)]) for _ in range(3))
    return 2 * side**3 * times / spent


def ratio(ours: Sequence[float], others: Sequence[float]) -> float:
    """How many times as fast: the median of each repeat's ratio of seconds for the same work.

    Where one of the two has fewer repeats, the first ones are compared.
    """
    return median(other / own for own, other in zip(ours, others, strict=False))


def rates(residues: Sequence[int], spent: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Residues a second of every contender, the median of the repeats."""
    return {
        name: median(n / s for n, s in zip(residues, values, strict=False))
        for name, values in spent.items()
    }


def machine() -> dict:
    """What the figures depend on besides the code."""
    found = {"cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else
             os.cpu_count(), "threads": torch.get_num_threads(), "cpu": _cpu("model name"),
             "cpu_flags": [f for f in CPU_FLAGS if f in _cpu("flags", "Features").split()],
             "python": platform.python_version(), "torch": torch.__version__,
             "system": f"{platform.system()} {platform.machine()}"}  # fmt: skip
    if torch.cuda.is_available():
        found["gpu"] = torch.cuda.get_device_name()
    return found


def _cpu(*fields: str) -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    found = (line.partition(":")[2].strip() for line in lines if line.startswith(fields))
    return next(found, "")
