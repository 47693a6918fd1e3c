"""Embeddings on disk: one SQLite file a kind, shared safely by several processes.

A kind is one combination of weights, precision, code, layer and pooling. Each row carries a
checksum. A damaged row counts as missing, a damaged file is rebuilt, both with a warning; what they
held is computed again. SQLite's rollback journal, not its write-ahead log: the log needs shared
memory, which a home folder on a network does not give (https://sqlite.org/wal.html).
"""

import hashlib
import shutil
import sqlite3
import warnings
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import TypeVar

import numpy as np

from arg_utils.errors import UserError, counted
from arg_utils.files import cache_dir

KEY_BYTES = 16
SUFFIX = ".sqlite3"
PATIENCE = 120.0  # seconds to wait for another process that writes
_ASKED_AT_ONCE = 900  # below every SQLite's limit on the parameters of a statement
# What the file is not to blame for: no rights, no space, no memory, a lock or a disk that fails.
_ENVIRONMENT = frozenset({
    sqlite3.SQLITE_PERM, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL, sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PROTOCOL,
})  # fmt: skip
_Answer = TypeVar("_Answer")


def sequence_key(sequence: str) -> bytes:
    """The key of a sequence: 16 bytes of its BLAKE2b digest."""
    return hashlib.blake2b(sequence.encode(), digest_size=KEY_BYTES).digest()


class EmbeddingCache:
    """The vectors of one kind, by sequence key.

    ``kind`` names the folder, for example ``f4210829-bfloat16-layer6-mean``, in ``root``, by
    default the folder ``embeddings`` in the user's cache.
    """

    def __init__(self, kind: str, root: Path | None = None):
        folder = (root or cache_dir("embeddings")) / kind
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / f"embeddings{SUFFIX}"

    def lookup(self, keys: Sequence[bytes]) -> tuple[np.ndarray, np.ndarray]:
        """Which of n keys are stored, bool [n], and their values, float32 [n, width].

        Values of others are undefined; the width is 0 if nothing is stored. A UserError says that
        the file may not be read, or that another process keeps it locked for minutes.
        """
        stored = self._do(lambda database: _select(database, list(dict.fromkeys(keys))))
        sound = {key: value for key, value, check in stored if _digest(key, value) == check}
        if len(sound) < len(stored):
            lost = len(stored) - len(sound)
            text = f"{counted(lost, 'damaged embedding')}, to be recomputed: {self.path}"
            warnings.warn(text, stacklevel=2)
        there = np.array([key in sound for key in keys], dtype=bool)
        width = max((len(value) // 4 for value in sound.values()), default=0)
        values = np.empty((len(keys), width), np.float32)
        for place in np.flatnonzero(there).tolist():
            values[place] = np.frombuffer(sound[keys[place]], dtype="<f4")
        return there, values

    def add(self, keys: Sequence[bytes], values: np.ndarray) -> None:
        """Store float32 ``values`` [n, width] under ``keys``: all of them or, on a fault, none.

        A UserError says that the file may not be written, the disk is full, or it stays locked.
        """
        texts = [row.tobytes() for row in np.ascontiguousarray(values, dtype="<f4")]
        rows = [(k, value, _digest(k, value)) for k, value in zip(keys, texts, strict=True)]

        def insert(database: sqlite3.Connection) -> None:
            with database:
                database.execute("BEGIN IMMEDIATE")
                database.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?, ?)", rows)

        self._do(insert)

    def _do(self, work: Callable[[sqlite3.Connection], _Answer], again: bool = False) -> _Answer:
        """``work`` on the open file; if that is damaged, on a new one instead."""
        try:
            return self._open_and(work)
        except sqlite3.DatabaseError as error:
            if _is_of_environment(error) or again:
                raise UserError(
                    f"{self.path}: {error}; free the disk or correct its permissions, or name "
                    f"another folder in ARG_CACHE."
                ) from error
        warnings.warn(f"damaged embeddings removed, to be recomputed: {self.path}", stacklevel=3)
        for name in (self.path.name, f"{self.path.name}-journal"):
            self.path.with_name(name).unlink(missing_ok=True)
        return self._do(work, again=True)

    def _open_and(self, work: Callable[[sqlite3.Connection], _Answer]) -> _Answer:
        columns = "(key BLOB PRIMARY KEY, value BLOB, digest BLOB)"
        with closing(sqlite3.connect(self.path, PATIENCE, isolation_level=None)) as database:
            database.text_factory = bytes  # damage can make a value a text that is none
            database.execute("PRAGMA journal_mode = DELETE")
            database.execute(f"CREATE TABLE IF NOT EXISTS vectors {columns}")
            return work(database)


def _select(database: sqlite3.Connection, keys: list[bytes]) -> list[tuple[bytes, bytes, bytes]]:
    """Rows of these keys, as many at a time as a statement takes."""
    rows = []
    for start in range(0, len(keys), _ASKED_AT_ONCE):
        some = keys[start : start + _ASKED_AT_ONCE]
        places = ",".join("?" * len(some))
        rows += database.execute(f"SELECT * FROM vectors WHERE key IN ({places})", some).fetchall()
    return rows


def _digest(key: bytes, value: bytes) -> bytes | None:
    if not isinstance(value, bytes):  # damage can make it a number
        return None
    return hashlib.blake2b(key + value, digest_size=8).digest()


def _is_of_environment(error: sqlite3.DatabaseError) -> bool:
    # An extended code holds the primary one in its lowest byte. A wrong table has a code, too.
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_IOERR) & 0xFF in _ENVIRONMENT


def cache_size() -> tuple[int, int]:
    """Files and bytes that cached embeddings take."""
    files = [path for path in cache_dir("embeddings").rglob("*") if path.is_file()]
    return len(files), sum(path.stat().st_size for path in files)


def clear_cache() -> None:
    """Remove all cached embeddings."""
    shutil.rmtree(cache_dir("embeddings"))
