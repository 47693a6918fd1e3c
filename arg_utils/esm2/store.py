"""Embeddings on disk: a few checked files a kind, shared safely by several processes.

A kind is one combination of weights, precision, layer and pooling, and has a folder of its own.
In it lie shards (safetensors: ``keys`` uint8 [n, 16], ``values`` float32 [n, width]) named by the
SHA-256 of their content, each written whole or not at all. A shard whose content does not match its
name is removed, with a warning, and what it held is computed again.
"""

import hashlib
import shutil
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from filelock import FileLock
from safetensors.numpy import load, save

from arg_utils.files import atomic_path, cache_dir

KEY_BYTES = 16
MOST_SHARDS = 8
SUFFIX = ".safetensors"


def sequence_key(sequence: str) -> bytes:
    """The key of a sequence: 16 bytes of its BLAKE2b digest."""
    return hashlib.blake2b(sequence.encode(), digest_size=KEY_BYTES).digest()


class EmbeddingCache:
    """The vectors of one kind, by sequence key.

    Parameters
    ----------
    kind : names the folder, for example ``f4210829-bfloat16-layer6-mean``.
    root : by default the folder ``embeddings`` in the user's cache.
    """

    def __init__(self, kind: str, root: Path | None = None):
        self.folder = (root or cache_dir("embeddings")) / kind
        self.folder.mkdir(parents=True, exist_ok=True)

    def lookup(self, keys: Sequence[bytes]) -> tuple[np.ndarray, np.ndarray]:
        """What is stored of these keys.

        Returns
        -------
        found : bool [n]
        values : float32 [n, width], undefined where not found; width 0 if nothing is stored.
        """
        places: dict[bytes, list[int]] = {}
        for place, key in enumerate(keys):
            places.setdefault(key, []).append(place)
        found, values = np.zeros(len(keys), dtype=bool), np.empty((len(keys), 0), np.float32)
        for shard_keys, shard_values in self._shards():
            if values.shape[1] == 0:
                values = np.empty((len(keys), shard_values.shape[1]), np.float32)
            for row, key in enumerate(shard_keys):
                if (where := places.get(key)) is not None:
                    values[where], found[where] = shard_values[row], True
        return found, values

    def add(self, keys: Sequence[bytes], values: np.ndarray) -> Path:
        """Store float32 ``values`` [n, width] under ``keys``, as one shard; returns its path."""
        table = np.frombuffer(b"".join(keys), dtype=np.uint8).reshape(len(keys), KEY_BYTES)
        content = save({"keys": table, "values": np.ascontiguousarray(values, np.float32)})
        path = self.folder / (_digest(content) + SUFFIX)
        with atomic_path(path) as temporary:
            temporary.write_bytes(content)
        return path

    def compact(self) -> None:
        """Merge the shards into one where they have become many."""
        with FileLock(self.folder / ".lock"):
            old = sorted(self.folder.glob(f"[!.]*{SUFFIX}"))
            if len(old) <= MOST_SHARDS:
                return
            merged = {}
            for keys, values in self._shards():
                merged.update(zip(keys, values, strict=True))
            if not merged:
                return  # all were damaged, and are gone
            new = self.add(list(merged), np.stack(list(merged.values())))
            for path in set(old) - {new}:  # one of the old may have held everything
                path.unlink(missing_ok=True)  # a reader that holds it open keeps its content

    def _shards(self):
        for path in sorted(self.folder.glob(f"[!.]*{SUFFIX}")):
            try:
                content = path.read_bytes()
            except FileNotFoundError:  # merged away by another process; what it held is recomputed
                continue
            if _digest(content) != path.name.removesuffix(SUFFIX):
                warnings.warn(f"damaged embeddings removed, to be recomputed: {path}", stacklevel=3)
                path.unlink(missing_ok=True)
                continue
            shard = load(content)
            yield [row.tobytes() for row in shard["keys"]], shard["values"]


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def cache_size() -> tuple[int, int]:
    """Files and bytes that cached embeddings take."""
    files = list(cache_dir("embeddings").glob(f"*/*{SUFFIX}"))
    return len(files), sum(path.stat().st_size for path in files)


def clear_cache() -> None:
    """Remove all cached embeddings."""
    shutil.rmtree(cache_dir("embeddings"))
