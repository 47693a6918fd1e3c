"""Work on all cores without waiting: whole batches side by side, each computed by one thread.

Threads inside a product wait for each other after each product, and what lies between products
runs on one of them. Here every thread takes the next batch when it is done with its own, so that
all cores are busy, also where another program slows one of them down. And since a product in one
thread gives a row the same numbers whatever rows stand beside it (see `attention.Packing`),
neighbours change no result.
"""

import functools
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch
from tqdm import tqdm

from arg_utils.files import cores

Item = TypeVar("Item")
Result = TypeVar("Result")
WAITING = 4  # items in progress or waiting for the first of them, per thread
MEASURED_SECONDS, LONG_SECONDS = 5.0, 600.0
EVEN_LENGTH = 900  # residues at which attention takes as long as the products (about, with AVX2)


def worker_count(device: torch.device | str = "cpu") -> int:
    """Threads that compute batches: as many as PyTorch and the machine allow, one on a GPU."""
    return min(torch.get_num_threads(), cores()) if torch.device(device).type == "cpu" else 1


def in_parallel(
    work: Callable[[Item], Result], items: Iterable[Item], device: torch.device | str = "cpu"
) -> Iterator[Result]:
    """``work`` of each item, in order, each item by one thread and one thread of PyTorch.

    Grad mode is a thread's own: ``work`` has to set it. ``items`` are drawn as they are needed.
    An exception of ``work`` is raised here, after what has begun is finished.
    """
    if torch.device(device).type != "cpu":
        yield from map(work, items)
        return
    threads = worker_count(device)
    pool = ThreadPoolExecutor(threads, "batch", torch.set_num_threads, (1,))
    pending: deque[Future[Result]] = deque()
    try:
        for item in items:
            pending.append(pool.submit(work, item))
            if len(pending) >= WAITING * threads:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


@functools.cache
def _helpers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(os.cpu_count() or 1, "kernel")


def share(work: Callable[[], int]) -> list[int]:
    """Call ``work`` in as many threads as PyTorch uses here; they take parts off a counter."""
    others = [_helpers().submit(work) for _ in range(torch.get_num_threads() - 1)]
    return [work(), *(other.result() for other in others)]


class ResidueBar(tqdm):
    """A progress bar in residues that says so, once, where work will take more than ten minutes.

    The estimate comes from the rate of the first seconds. Attention makes residues of long proteins
    cost more, and those come first, which is allowed for.

    Parameters
    ----------
    lengths : residues of every protein, as often as it is computed.
    """

    def __init__(self, description: str, lengths: Iterable[int], shown: bool = True) -> None:
        counts = list(lengths)
        self._cost, self._done, self._said = sum(map(_cost, counts)), 0.0, False
        self._begun = time.monotonic()
        super().__init__(
            total=sum(counts), desc=description, unit="residue", unit_scale=True, disable=not shown
        )

    def advance(self, lengths: Iterable[int]) -> None:
        """Count proteins of these lengths as done."""
        counts = list(lengths)
        self.update(sum(counts))
        self._done += sum(map(_cost, counts))
        spent = time.monotonic() - self._begun
        if not self._said and spent > MEASURED_SECONDS:
            self._said = True
            seconds = spent * self._cost / self._done
            if seconds > LONG_SECONDS and not self.disable:
                self.write(long_step(self.desc, self.total, seconds), file=sys.stderr)


def _cost(length: int) -> float:
    return length * (1 + length / EVEN_LENGTH)


def long_step(name: str, residues: int, seconds: float) -> str:
    """What a user is told of a long step: its size, its rate, and its time."""
    size = f"{residues / 1e6:.1f} M" if residues >= 1e6 else f"{residues:,}"
    rate = f"{residues / seconds:,.0f}"
    return f"{name}: {size} residues at about {rate} a second: {seconds / 60:.0f} minutes"
