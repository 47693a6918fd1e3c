"""Several processes that train one model: each computes its share, and all hold the same numbers.

`torchrun` starts them, one a GPU or a machine. They add up tables in which each row is one
process's and zero with the others, so that the sum is exact; whoever then sums rows does so in the
same order however many processes there are.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist

Value = TypeVar("Value")


@contextmanager
def joined() -> Iterator[int]:
    """Join the processes that torchrun started, if it did; gives this one's rank, alone 0."""
    if not dist.is_torchelastic_launched():
        yield 0
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    # Gloo for tensors on the CPU, NCCL for those on a GPU. Who has features in a cache waits for
    # who computes them; if a process ends early, torchrun ends the others.
    dist.init_process_group(timeout=timedelta(days=1))
    try:
        yield dist.get_rank()
    finally:
        dist.destroy_process_group()


def place() -> tuple[int, int]:
    """This process's rank and how many there are; 0 and 1 where it is alone."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


def add_up(values: torch.Tensor) -> torch.Tensor:
    """The sum over all processes, in place."""
    if dist.is_initialized():
        dist.all_reduce(values)
    return values


def from_first(value: Value) -> Value:
    """What ``value`` is in the process of rank 0."""
    values = [value]
    if dist.is_initialized():
        dist.broadcast_object_list(values)
    return values[0]
