"""Proteins as tokens of ESM's alphabet, as a PyTorch data set, and in batches on all cores.

Threads inside a product wait for each other after each product, and what lies between products
runs on one of them. Here every thread takes the next batch when it is done with its own, so that
all cores are busy, also where another program slows one of them down. And since a product in one
thread gives a row the same numbers whatever rows stand beside it (see `attention.Packing`),
neighbours change no result.
"""

import ctypes
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from typing import TypeVar

import esm
import numpy as np
import torch
from numpy.typing import ArrayLike
from torch.utils.data import Dataset
from tqdm import tqdm

from arg_utils.data.proteins import Record, cap_per_class
from arg_utils.files import cores

MAX_RESIDUES = 1022  # ESM-2 was trained on 1,024 tokens: these and the two at the ends
BATCH_TOKENS = 2048  # per thread: larger batches leave the caches, smaller ones cost calls
ALPHABET = esm.Alphabet.from_architecture("ESM-1b")
WAITING = 4  # items in progress or waiting for the first of them, per thread
MEASURED_SECONDS, LONG_SECONDS = 5.0, 600.0
EVEN_LENGTH = 900  # residues at which attention takes as long as the products (about, with AVX2)
Item = TypeVar("Item")
Result = TypeVar("Result")


@cache
def _token_table() -> np.ndarray:
    table = np.full(256, ALPHABET.unk_idx, dtype=np.int64)
    for token, index in ALPHABET.to_dict().items():
        if len(token) == 1:
            table[ord(token)] = index
    return table


def encode(sequence: str, max_residues: int = MAX_RESIDUES) -> np.ndarray:
    """Token ids int64 [n + 2]: ``<cls>``, n residues (at most ``max_residues``), ``<eos>``.

    A letter outside ESM's alphabet becomes ``<unk>``.
    """
    residues = np.frombuffer(sequence[:max_residues].encode("ascii", "replace"), dtype=np.uint8)
    return np.concatenate([[ALPHABET.cls_idx], _token_table()[residues], [ALPHABET.eos_idx]])


class ProteinSequenceDataset(Dataset):
    """Labelled proteins, grouped by label, at most ``max_per_class`` of each (``None``: all).

    Which ones are kept depends on ``seed`` alone.

    Examples
    --------
    >>> data = ProteinSequenceDataset([Record("a", "a", "MKV", 11), Record("b", "b", "MA", 0)])
    >>> data.labels.tolist(), data[0]
    ([0, 11], (tensor([ 0, 20,  5,  2]), 0))
    """

    def __init__(
        self, records: Sequence[Record], max_per_class: int | None = None, seed: int = 0
    ) -> None:
        labels = np.array([record.label for record in records], dtype=np.int64)
        chosen = cap_per_class(labels, max_per_class, seed)
        chosen = chosen[np.argsort(labels[chosen], kind="stable")]
        self.records = [records[i] for i in chosen]
        self.labels = labels[chosen]

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        """Token ids int64 [residues + 2] of one protein, and its class (0-14)."""
        return torch.from_numpy(encode(self.records[index].sequence)), int(self.labels[index])

    @property
    def sequences(self) -> list[str]:
        """The residues of every protein, in the data set's order."""
        return [record.sequence for record in self.records]


def token_batches(lengths: Sequence[int], budget: int = BATCH_TOKENS) -> Iterator[np.ndarray]:
    """Indices of sequences, longest first, in batches of at most ``budget`` tokens (at least one).

    ``lengths`` are in tokens. Longest first: if memory runs out, it does so at once.
    """
    batch: list[int] = []
    tokens = 0
    for index in np.argsort(-np.asarray(lengths), kind="stable"):
        if batch and tokens + lengths[index] > budget:
            yield np.array(batch)
            batch, tokens = [], 0
        batch.append(int(index))
        tokens += int(lengths[index])
    if batch:
        yield np.array(batch)


def shuffled_batches(
    lengths: ArrayLike, budget: int, rng: np.random.Generator, window: int = 8
) -> Iterator[np.ndarray]:
    """Indices in random batches of at most ``budget`` tokens, alike in length within a batch.

    Shuffled first, then sorted inside stretches of about ``window`` batches, so that batches stay
    random while little would be lost to padding where sequences must be padded.
    """
    lengths = np.asarray(lengths)
    order = rng.permutation(len(lengths))
    stretch = np.cumsum(lengths[order]) // (budget * window)
    batches = []
    for number in np.unique(stretch):
        members = order[stretch == number]
        batches += [members[batch] for batch in token_batches(lengths[members], budget)]
    for place in rng.permutation(len(batches)):
        yield batches[place]


def even_parts(indices: np.ndarray, lengths: Sequence[int], tokens: int) -> list[np.ndarray]:
    """``indices`` [n] in parts of about equal length, as many as ``tokens`` each would fill.

    ``lengths`` [n] are in tokens. The longest go first, each to the part that has fewest tokens.
    """
    count = min(len(indices), -(-sum(lengths) // tokens))
    parts: list[list[int]] = [[] for _ in range(count)]
    filled = [0] * count
    for place in np.argsort(-np.asarray(lengths), kind="stable"):
        least = filled.index(min(filled))
        parts[least].append(int(indices[place]))
        filled[least] += lengths[place]
    return [np.array(part) for part in parts]


def in_parallel(
    work: Callable[[Item], Result], items: Iterable[Item], device: torch.device | str = "cpu"
) -> Iterator[Result]:
    """``work`` of each item, in order, each item by one thread and one thread of PyTorch.

    There are as many threads as PyTorch and the machine allow; on a GPU, only the caller's. Grad
    mode is a thread's own: ``work`` has to set it. ``items`` are drawn as they are needed. An
    exception of ``work`` is raised here, after what has begun is finished.
    """
    if torch.device(device).type != "cpu":
        yield from map(work, items)
        return
    threads = min(torch.get_num_threads(), cores())
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


@cache
def keep_freed_memory() -> None:
    """Let the C library keep what threads free, if it is glibc; once for the whole process.

    It otherwise gives the activations of each training step back to the system, and the next step
    waits for as many fresh pages.
    """
    if mallopt := getattr(_c_library(), "mallopt", None):
        trim_threshold, top_pad, mmap_threshold = -1, -2, -3  # malloc.h
        mallopt(trim_threshold, 1 << 30)
        mallopt(top_pad, 1 << 26)
        mallopt(mmap_threshold, 1 << 25)


def release_freed_memory() -> None:
    """Give back to the system what the C library keeps for later, if it is glibc."""
    if trim := getattr(_c_library(), "malloc_trim", None):
        trim(0)


def _c_library() -> ctypes.CDLL | None:
    return ctypes.CDLL(None) if sys.platform == "linux" else None


@contextmanager
def one_thread() -> Iterator[None]:
    """PyTorch on one thread: to wake a second one costs more than a small product."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


class ResidueBar(tqdm):
    """A progress bar in residues that says so, once, where work will take more than ten minutes.

    The estimate comes from the rate of the first seconds after the first batch, which waits for the
    kernel to be compiled and checked. Attention makes residues of long proteins cost more, which is
    allowed for. ``lengths`` are the residues of every protein, as often as it is computed.
    """

    def __init__(self, description: str, lengths: Iterable[int], shown: bool = True) -> None:
        counts = list(lengths)
        self._cost, self._done, self._said = sum(map(_cost, counts)), 0.0, False
        self._begun: float | None = None
        super().__init__(
            total=sum(counts), desc=description, unit="residue", unit_scale=True, disable=not shown
        )

    def advance(self, lengths: Iterable[int]) -> None:
        """Count proteins of these lengths as done."""
        counts = list(lengths)
        self.update(sum(counts))
        if self._begun is None:
            self._begun = time.monotonic()
            return
        self._done += sum(map(_cost, counts))
        spent = time.monotonic() - self._begun
        if not self._said and spent > MEASURED_SECONDS:
            self._said = True
            seconds = spent * self._cost / self._done
            if seconds > LONG_SECONDS and not self.disable:
                size = f"{self.total / 1e6:.1f} M" if self.total >= 1e6 else f"{self.total:,}"
                rate = f"{size} residues at about {self.total / seconds:,.0f} a second"
                self.write(f"{self.desc}: {rate}: {seconds / 60:.0f} minutes", file=sys.stderr)


def _cost(length: int) -> float:
    return length * (1 + length / EVEN_LENGTH)
