"""The cache may lose what is damaged, never return it; processes share it; merging keeps all."""

import subprocess
import sys
import textwrap

import numpy as np
import pytest

from arg_utils.esm2.store import (
    KEY_BYTES,
    MOST_SHARDS,
    SUFFIX,
    EmbeddingCache,
    cache_size,
    clear_cache,
    sequence_key,
)


@pytest.fixture
def cache(tmp_path):
    return EmbeddingCache("kind", tmp_path)


def entries(first, count=3, width=4):
    """Keys and values that can be told apart."""
    numbers = np.arange(first, first + count)
    values = (numbers[:, None] + np.arange(width) / 10).astype(np.float32)
    return [sequence_key(f"protein {n}") for n in numbers], values


def shards(cache):
    return sorted(cache.folder.glob(f"*{SUFFIX}"))


def test_what_was_added_is_found_in_the_order_asked(cache):
    keys, values = entries(0)
    cache.add(keys, values)
    cache.add(*entries(10))
    asked = [keys[2], sequence_key("unknown"), keys[0], keys[2]]
    found, got = cache.lookup(asked)
    assert found.tolist() == [True, False, True, True]
    assert got.dtype == np.float32
    assert np.array_equal(got[found], values[[2, 0, 2]])


def test_an_empty_cache_finds_nothing(cache):
    found, values = cache.lookup([sequence_key("a")])
    assert found.tolist() == [False]
    assert values.shape == (1, 0)


def test_keys_depend_on_the_whole_sequence():
    assert len({sequence_key(s) for s in ("MKV", "MKVA", "MK", "mkv", "")}) == 5
    assert len(sequence_key("MKV")) == KEY_BYTES


def flip(content):
    return content[:-3] + bytes([content[-3] ^ 1]) + content[-2:]


@pytest.mark.parametrize("harm", [flip, lambda c: c[:-1], lambda c: b"", lambda c: c + b"\0"])
def test_a_damaged_shard_is_removed_with_a_warning(cache, harm):
    keys, values = entries(0)
    path = cache.add(keys, values)
    others, kept = entries(10)
    cache.add(others, kept)
    path.write_bytes(harm(path.read_bytes()))
    with pytest.warns(UserWarning, match=rf"damaged embeddings removed.*{path.name}"):
        found, got = cache.lookup(keys + others)
    assert found.tolist() == [False] * 3 + [True] * 3
    assert np.array_equal(got[3:], kept)
    assert not path.exists()


def test_unfinished_files_do_not_count(cache):
    (cache.folder / f".0123{SUFFIX}.x1y2").write_bytes(b"half")
    (cache.folder / f".0123{SUFFIX}").write_bytes(b"half")
    assert not cache.lookup([sequence_key("a")])[0].any()


def test_merging_waits_until_shards_are_many_and_keeps_everything(cache):
    for number in range(MOST_SHARDS):
        cache.add(*entries(10 * number))
    cache.compact()
    assert len(shards(cache)) == MOST_SHARDS
    cache.add(*entries(10 * MOST_SHARDS))
    cache.compact()
    assert len(shards(cache)) == 1
    for number in range(MOST_SHARDS + 1):
        keys, values = entries(10 * number)
        found, got = cache.lookup(keys)
        assert found.all()
        assert np.array_equal(got, values)


def test_merging_into_a_shard_that_held_everything_keeps_it(cache):
    """The result then has that shard's name, and must not be removed as one of the old."""
    keys, values = entries(0, MOST_SHARDS + 1)
    for most in range(1, MOST_SHARDS + 1):
        cache.add(keys[:most], values[:most])
    whole = cache.add(keys, values)
    cache.compact()
    assert shards(cache) == [whole]
    assert cache.lookup(keys)[0].all()


@pytest.mark.filterwarnings("ignore:damaged embeddings")
def test_merging_only_damaged_shards_leaves_an_empty_cache(cache):
    for number in range(MOST_SHARDS + 1):
        cache.add(*entries(10 * number)).write_bytes(b"gone")
    cache.compact()
    assert shards(cache) == []


WRITER = textwrap.dedent("""
    import sys
    from pathlib import Path
    sys.path.insert(0, sys.argv[3])
    from arg_utils.esm2.store import EmbeddingCache
    from test_store import entries
    cache, own = EmbeddingCache("kind", Path(sys.argv[1])), int(sys.argv[2])
    for number in range(30):
        cache.add(*entries(1000 * own + 10 * number))
        cache.compact()
""")


def test_processes_that_add_and_merge_at_once_lose_nothing_but_time(cache, tmp_path, request):
    """What is lost to a race would be recomputed; here none is, and nothing wrong is returned."""
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
    assert len(shards(cache)) <= MOST_SHARDS + 1


def test_size_and_clearing(own_cache):
    assert cache_size() == (0, 0)
    cache = EmbeddingCache("kind")
    path = cache.add(*entries(0))
    assert path.is_relative_to(own_cache)
    EmbeddingCache("other").add(*entries(0))
    assert cache_size() == (2, 2 * path.stat().st_size)
    clear_cache()
    assert cache_size() == (0, 0)
