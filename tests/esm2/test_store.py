"""The cache may lose what is damaged, never return it; processes share it."""

import sqlite3
import subprocess
import sys
import textwrap
import warnings

import numpy as np
import pytest

from arg_utils.errors import UserError
from arg_utils.esm2 import store
from arg_utils.esm2.store import EmbeddingCache, cache_size, clear_cache, sequence_key


@pytest.fixture
def cache(tmp_path):
    return EmbeddingCache("kind", tmp_path)


def entries(first, count=3, width=4):
    """Keys and values that can be told apart."""
    numbers = np.arange(first, first + count)
    values = (numbers[:, None] + np.arange(width) / 10).astype(np.float32)
    return [sequence_key(f"protein {n}") for n in numbers], values


def test_what_was_added_is_found_in_the_order_asked(cache):
    assert cache.lookup([sequence_key("a")])[1].shape == (1, 0), "nothing is stored yet"
    assert cache.lookup([])[0].shape == (0,)
    keys, values = entries(0, count=5000)
    cache.add(keys, values + 1)
    cache.add(keys, values)  # the later counts
    found, got = cache.lookup(keys[::-1])
    assert found.all()
    assert np.array_equal(got, values[::-1])
    asked = [keys[2], sequence_key("unknown"), keys[0], keys[2]]
    found, got = cache.lookup(asked)
    assert found.tolist() == [True, False, True, True]
    assert got.dtype == np.float32
    assert np.array_equal(got[found], values[[2, 0, 2]])


def test_no_damage_gives_a_wrong_vector(cache):
    """A flipped bit anywhere, a cut anywhere: what is found is right, the rest is stored anew."""
    keys, values = entries(0, count=6, width=320)
    cache.add(keys, values)
    whole = cache.path.read_bytes()
    places = range(0, len(whole), 211)
    harmed = [whole[:n] + bytes([whole[n] ^ 0x41]) + whole[n + 1 :] for n in places]
    harmed += [whole[:n] for n in range(0, len(whole), 1500)] + [b"no database" * 99]
    missing = 0
    for content in harmed:
        cache.path.write_bytes(content)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            found, got = cache.lookup(keys)
            assert not found.any() or np.array_equal(got[found], values[found])
            cache.add([keys[i] for i in np.flatnonzero(~found)], values[~found])
        assert all("to be recomputed" in str(warning.message) for warning in caught)
        found, got = cache.lookup(keys)
        assert found.all()
        assert np.array_equal(got, values)
        missing += bool(caught)
    assert missing > len(harmed) / 3, "the rest lies in space that no row takes"


def test_one_damaged_value_costs_one_value(cache):
    keys, values = entries(0)
    cache.add(keys, values)
    with sqlite3.connect(cache.path) as database:
        database.execute("UPDATE vectors SET value = zeroblob(16) WHERE key = ?", [keys[1]])
    with pytest.warns(UserWarning, match="1 damaged embedding, to be recomputed"):
        found, got = cache.lookup(keys)
    assert found.tolist() == [True, False, True]
    assert np.array_equal(got[found], values[[0, 2]])


def test_a_file_of_another_make_is_replaced(cache):
    with sqlite3.connect(cache.path) as database:
        database.execute("CREATE TABLE vectors (something TEXT)")
    with pytest.warns(UserWarning, match="damaged embeddings removed, to be recomputed"):
        cache.add(*entries(0))
    assert cache.lookup(entries(0)[0])[0].all()


def test_a_lock_or_a_folder_at_fault_is_said_and_costs_no_embedding(cache, monkeypatch):
    cache.add(*entries(0))
    monkeypatch.setattr(store, "PATIENCE", 0.1)
    holder = sqlite3.connect(cache.path, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    with pytest.raises(UserError, match=r"embeddings\.sqlite3: database is locked.*ARG_CACHE"):
        cache.add(*entries(10))
    holder.close()
    assert cache.lookup(entries(0)[0])[0].all()
    elsewhere = EmbeddingCache("kind", cache.path.parent)
    elsewhere.path.mkdir()
    with pytest.raises(UserError, match="unable to open database file"):
        elsewhere.lookup([b"k"])


WRITER = textwrap.dedent("""
    import sys
    from pathlib import Path
    sys.path.insert(0, sys.argv[3])
    from arg_utils.esm2.store import EmbeddingCache
    from test_store import entries
    cache, own = EmbeddingCache("kind", Path(sys.argv[1])), int(sys.argv[2])
    for number in range(30):
        cache.add(*entries(1000 * own + 10 * number))
        assert cache.lookup(entries(1000 * own)[0])[0].all()
""")


def test_processes_that_read_and_write_at_once_lose_nothing(cache, tmp_path, request):
    tests = str(request.path.parent)
    command = [sys.executable, "-W", "error", "-c", WRITER, str(tmp_path)]
    running = [subprocess.Popen([*command, str(own), tests]) for own in (1, 2)]
    assert [process.wait(timeout=60) for process in running] == [0, 0]
    for own in (1, 2):
        for number in range(30):
            keys, values = entries(1000 * own + 10 * number)
            found, got = cache.lookup(keys)
            assert found.all()
            assert np.array_equal(got, values)


def test_size_and_clearing(own_cache):
    assert cache_size() == (0, 0)
    for kind in ("kind", "other"):
        cache = EmbeddingCache(kind)
        cache.add(*entries(0))
    assert cache.path.is_relative_to(own_cache)
    assert cache_size() == (2, 2 * cache.path.stat().st_size)
    clear_cache()
    assert cache_size() == (0, 0)
