"""Tables of hits, and what MMseqs2 has answered, kept in the cache."""

import hashlib
import json
from collections.abc import Callable, Sequence
from typing import Any
from zipfile import BadZipFile

import numpy as np
import pandas as pd

from arg_utils.files import atomic_path, cache_dir
from arg_utils.homology.databases import mmseqs_version

COLUMNS = {
    "query": np.int64,
    "target": np.int64,
    "identity": np.float64,
    "bits": np.float64,
    "evalue": np.float64,
    "query_coverage": np.float64,
    "target_coverage": np.float64,
}


def hit_table(hits: Any = ()) -> pd.DataFrame:
    """Hits [n, 7] as a table with the types of `COLUMNS`."""
    table = np.asarray(hits, dtype=np.float64).reshape(-1, len(COLUMNS))
    return pd.DataFrame(table, columns=list(COLUMNS)).astype(COLUMNS)


def best_first(hits: pd.DataFrame) -> pd.DataFrame:
    """Hits by query, then by bits, expectation value and target."""
    order = {"query": True, "bits": False, "evalue": True, "target": True}  # ascending?
    return hits.sort_values(list(order), ascending=list(order.values()), ignore_index=True)


def answer_key(command: str, options: list[str], *groups: Sequence[str]) -> str:
    """A name for the answer to this question: a hash over sequences, options and program."""
    digest = hashlib.sha256(json.dumps([mmseqs_version(), command, options]).encode())
    for sequences in groups:
        digest.update(f"\n{len(sequences)}\n".encode())
        digest.update("\n".join(sequences).encode())
    return f"{command}-{digest.hexdigest()[:32]}"


def cached_answer(key: str, compute: Callable[[], np.ndarray]) -> np.ndarray:
    """The stored answer, or a fresh one, stored."""
    path = cache_dir("homology") / f"{key}.npy"
    try:
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):  # not there, or damaged
        answer = compute()
    with atomic_path(path) as temporary, open(temporary, "wb") as handle:
        np.save(handle, answer, allow_pickle=False)
    return answer


def cached_hits(
    key: str, queries: Sequence[str], compute: Callable[[Sequence[str]], pd.DataFrame]
) -> pd.DataFrame:
    """Hits of the queries, by query: of those asked before under ``key`` from the files there.

    A file holds the hash of each of its queries, and their hits.
    """
    shelf = cache_dir("homology", key)
    names = [hashlib.sha256(query.encode()).hexdigest()[:32] for query in queries]
    missing, parts = dict(zip(names, queries, strict=True)), []

    def take(held: np.ndarray, hits: pd.DataFrame) -> None:
        named = hits.assign(name=held[hits["query"]])
        parts.append(named[named["name"].isin(list(missing))])
        for name in held.tolist():
            missing.pop(name, None)

    for path in sorted(shelf.glob("*.npz")):
        try:
            with np.load(path, allow_pickle=False) as stored:
                held, table = stored["queries"], stored["hits"]
        except (OSError, ValueError, EOFError, KeyError, BadZipFile):
            continue  # damaged: asked again
        take(held, hit_table(table))
    if missing:
        held, hits = np.array(list(missing)), compute(list(missing.values()))
        path = shelf / f"{answer_key('queries', [], list(missing))}.npz"
        with atomic_path(path) as temporary, open(temporary, "wb") as handle:
            np.savez(handle, queries=held, hits=hits.to_numpy(np.float64))
        take(held, hits)
    places = pd.DataFrame({"name": names, "query": range(len(names))})
    hits = pd.concat(parts).drop(columns="query").merge(places, on="name")
    return best_first(hits[list(COLUMNS)])
