"""Proteins as the library works on them: records of a file, and sequences with their classes."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import ArrayLike

from arg_utils.errors import counted
from arg_utils.labels import NUM_CLASSES
from arg_utils.settings import Profile


@dataclass(frozen=True)
class Record:
    """One protein."""

    id: str  # the accession (labelled) or the header's first word (unlabelled)
    header: str  # without ``>``
    sequence: str  # in ESM's alphabet: upper-case letters without J
    label: int | None = None  # class index 0-14
    line: int = field(default=0, compare=False, repr=False)  # of the header in its file, from 1


@dataclass(frozen=True)
class Proteins:
    """Sequences, their classes, int64 [n], and the headers that state these, where known."""

    sequences: list[str]
    labels: np.ndarray
    headers: list[str] | None = None

    def __repr__(self) -> str:  # what a notebook shows of it
        return f"Proteins({counted(len(self.sequences), 'sequence')})"


def proteins(records: Sequence[Record], labels: np.ndarray | None = None) -> Proteins:
    """Labelled records as sequences and classes, with their headers unless ``labels`` are given."""
    sequences = [record.sequence for record in records]
    if labels is not None:
        return Proteins(sequences, labels)
    labels = np.array([record.label for record in records], dtype=np.int64)
    return Proteins(sequences, labels, [record.header for record in records])


def subset(data: Proteins, positions: Sequence[int] | np.ndarray) -> Proteins:
    """The proteins at ``positions``."""
    positions = np.asarray(positions, dtype=np.int64)
    sequences = [data.sequences[i] for i in positions]
    headers = data.headers and [data.headers[i] for i in positions]
    return Proteins(sequences, data.labels[positions], headers)


def capped(data: Proteins, profile: Profile) -> Proteins:
    """At most ``profile.max_records`` per class: everything, except to try things out."""
    return subset(data, cap_per_class(data.labels, profile.max_records, profile.seed))


def cap_per_class(labels: ArrayLike, most: int | None, seed: int = 0) -> np.ndarray:
    """Positions of at most ``most`` examples per class, drawn at random, in ascending order."""
    classes = np.asarray(labels)
    if most is None:
        return np.arange(len(classes))
    order = np.random.default_rng(seed).permutation(len(classes))
    chosen = [order[classes[order] == index][:most] for index in range(NUM_CLASSES)]
    return np.sort(np.concatenate(chosen))


def with_unique_ids(records: Sequence[Record]) -> list[Record]:
    """The records under their `unique_ids`."""
    ids = unique_ids(record.id for record in records)
    return [replace(record, id=name) for record, name in zip(records, ids, strict=True)]


def unique_ids(ids: Iterable[str]) -> list[str]:
    """The ids in order, the second and later of the same name marked ``#2``, ``#3``, ..."""
    taken = list(ids)
    used, counts = set(taken), Counter[str]()
    for position, name in enumerate(taken):
        counts[name] += 1
        if counts[name] > 1:
            while (marked := f"{name}#{counts[name]}") in used:
                counts[name] += 1
            used.add(marked)
            taken[position] = marked
    return taken
