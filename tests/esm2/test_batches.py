"""The data set groups and caps by label; batches are a partition, computed side by side."""

import platform
import re
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import esm
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from arg_utils.data.fasta import read_fasta
from arg_utils.esm2 import batches
from arg_utils.esm2.batches import (
    ALPHABET,
    WAITING,
    ProteinSequenceDataset,
    ResidueBar,
    encode,
    in_parallel,
    shuffled_batches,
)
from arg_utils.files import ROOT


@pytest.fixture(scope="module")
def records(open_data):
    """Real proteins, in the file's order, the long ones left out."""
    found = read_fasta(open_data / "val.fasta", labelled=True)
    return [record for record in found if len(record.sequence) <= 1022]


def test_tokens_are_those_of_fair_esms_batch_converter(records):
    data = ProteinSequenceDataset(records, max_per_class=3)
    convert = esm.Alphabet.from_architecture("ESM-1b").get_batch_converter()
    _, _, expected = convert([(record.id, record.sequence) for record in data.records])
    assert len({label for _, label in (data[i] for i in range(len(data)))}) == 15
    for i in range(len(data)):
        tokens, _ = data[i]
        assert tokens.dtype == torch.int64
        assert torch.equal(tokens, expected[i, : len(tokens)])
        assert (expected[i, len(tokens) :] == 1).all()  # 1 is <pad>
        assert len(tokens) == len(data.sequences[i]) + 2


def test_j_and_lower_case_are_read_as_the_alphabet_has_them(tmp_path):
    """J (leucine or isoleucine) is not in ESM's alphabet: it becomes X, in one place."""
    path = tmp_path / "a.fasta"
    path.write_text(">a|FEATURES|X|bacitracin|g\nmjkO\n>sp|b|c\nMUZB*\n")
    data = ProteinSequenceDataset(read_fasta(path, labelled=True))
    assert data.sequences == ["MXKO", "MUZB"]
    assert [label for _, label in data] == [5, 14]
    assert data[0][0].tolist() == [0, 20, 24, 15, 28, 2]
    for unknown in "Jm?é":  # fair-esm raises KeyError for these
        assert encode(f"M{unknown}K").tolist() == [0, 20, ALPHABET.unk_idx, 15, 2]
    assert len(encode("A" * 5000)) == 1024


def test_grouped_by_label_and_capped(records):
    data = ProteinSequenceDataset(records, max_per_class=4)
    assert data.labels.tolist() == sorted(data.labels.tolist())
    available = np.bincount([record.label for record in records], minlength=15)
    assert np.bincount(data.labels, minlength=15).tolist() == np.minimum(available, 4).tolist()
    assert [record.label for record in data.records] == data.labels.tolist()
    position = {id(record): i for i, record in enumerate(records)}
    for label in range(15):  # within a label, in the file's order
        places = [position[id(r)] for r in data.records if r.label == label]
        assert places == sorted(places)
    assert len(ProteinSequenceDataset(records)) == len(records)
    assert ProteinSequenceDataset(records, 4).sequences == data.sequences
    assert ProteinSequenceDataset(records, 4, seed=1).sequences != data.sequences
    loader = DataLoader(ProteinSequenceDataset(records[:5]), batch_size=2, collate_fn=list)
    assert [len(batch) for batch in loader] == [2, 2, 1]


@pytest.mark.parametrize("budget", [100, 1000, 10**6])
def test_batches_cover_every_index_once_within_the_budget(budget):
    lengths = np.random.default_rng(0).integers(3, 300, 500)
    batches = list(shuffled_batches(lengths, budget, np.random.default_rng(1)))
    assert sorted(i for batch in batches for i in batch) == list(range(500))
    for batch in batches:
        assert lengths[batch].sum() <= budget or len(batch) == 1
    assert list(shuffled_batches([], 100, np.random.default_rng(0))) == []


def test_batches_are_random_filled_and_alike_in_length():
    lengths = np.random.default_rng(0).integers(3, 300, 2000)
    draw = lambda seed: list(shuffled_batches(lengths, 2000, np.random.default_rng(seed)))  # noqa: E731
    one, same, other = draw(1), draw(1), draw(2)
    assert all(np.array_equal(a, b) for a, b in zip(one, same, strict=True))
    assert {tuple(b) for b in one} != {tuple(b) for b in other}
    means = [lengths[batch].mean() for batch in one]
    assert np.mean(np.diff(means) < 0) < 0.65, "long and short ones come in no order"
    spread = np.mean([np.ptp(lengths[batch]) for batch in one])
    assert spread < 0.5 * np.ptp(lengths)
    assert np.median([lengths[batch].sum() for batch in one]) > 0.75 * 2000


@pytest.fixture(params=[1, 2, 3])
def workers(request, monkeypatch):
    """So many threads, whatever the machine has."""
    before = torch.get_num_threads()
    monkeypatch.setattr(batches, "cores", lambda: 8)
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def test_results_come_in_order_each_from_one_thread_of_pytorch(workers):
    seen = set()

    def work(item):
        time.sleep(0.002 * (item % 3))
        seen.add((threading.current_thread().name, torch.get_num_threads()))
        return item, torch.is_grad_enabled()

    with torch.no_grad():
        found = list(in_parallel(work, range(30)))
    assert [item for item, _ in found] == list(range(30))
    assert {number for _, number in seen} == {1}
    assert 1 <= len(seen) <= workers
    assert torch.get_num_threads() == workers
    assert all(enabled for _, enabled in found), "a thread's grad mode is its own"
    assert list(in_parallel(work, [])) == []


def test_items_are_drawn_as_they_are_needed(workers):
    drawn = []
    results = in_parallel(lambda item: item, (drawn.append(i) or i for i in range(1000)))
    assert next(results) == 0
    assert len(drawn) <= WAITING * workers
    results.close()
    assert len(drawn) <= WAITING * workers


def test_an_exception_is_raised_in_its_place_and_ends_the_work(workers):
    done = []

    def work(item):
        if item == 5:
            raise MemoryError("no room")
        done.append(item)
        return item

    results, found = in_parallel(work, range(1000)), []
    with pytest.raises(MemoryError, match="no room"):
        found.extend(iter(results))
    assert next(results, None) is None
    assert len(done) <= 6 + WAITING * workers
    assert not [t for t in threading.enumerate() if t.name.startswith("batch")]


def test_on_another_device_work_stays_in_this_thread():
    found = list(in_parallel(lambda _: threading.current_thread(), range(3), "cuda"))
    assert found == [threading.current_thread()] * 3


@pytest.mark.parametrize(
    ("seconds", "shown", "said"),
    [(6.0, True, True), (4.0, True, False), (0.5, True, False), (6.0, False, False)],
)
def test_a_long_step_says_so_once(monkeypatch, capsys, seconds, shown, said):
    """200 of 20,000 residues in so many seconds: the whole takes a hundred times as long.

    The first batch, for which a kernel may be compiled, does not count. Nothing is said within the
    first five seconds, nor where no bar is shown.
    """
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(batches, "time", SimpleNamespace(monotonic=lambda: clock.now))
    monkeypatch.setattr(batches, "LONG_SECONDS", 550.0)
    with ResidueBar("ESM-2", [200] * 100, shown) as bar:
        clock.now = 70.0
        bar.advance([200])
        for _ in range(3):
            clock.now += seconds
            bar.advance([200])
            if seconds < batches.MEASURED_SECONDS:
                break
        assert bar.n == (0 if not shown else 200 * round(1 + (clock.now - 70) / seconds))
    lines = re.findall(r"ESM-2: [^|\r\n]* minutes", capsys.readouterr().err)
    assert lines == ["ESM-2: 20,000 residues at about 33 a second: 10 minutes"] * said


def test_a_step_that_is_not_long_says_nothing(monkeypatch, capsys):
    """By residues it would take 611 seconds; those of long proteins cost more."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(batches, "time", SimpleNamespace(monotonic=lambda: clock.now))
    with ResidueBar("ESM-2", [900, *[1] * 201]) as bar:
        bar.advance([1])
        clock.now = 500.0
        bar.advance([900])
        clock.now = 5000.0
        bar.advance([1])
    assert "minutes" not in capsys.readouterr().err


HELD = """
import sys, threading
import torch
from arg_utils.esm2.batches import keep_freed_memory, release_freed_memory

def megabytes():
    pages = int(open("/proc/self/statm").read().split()[1])
    return pages * 4096 / 1e6

def step():  # as a step of training: several large tensors, all freed at its end
    tensors = [torch.ones(2_000_000) for _ in range(20)]

if "keep" in sys.argv:
    keep_freed_memory()
torch.ones(1)
before = megabytes()
thread = threading.Thread(target=step)
thread.start()
thread.join()
held = megabytes() - before
release_freed_memory()
print(held, megabytes() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="about glibc's memory")
@pytest.mark.parametrize("words", [["keep"], []])
def test_what_threads_free_is_kept_for_the_next_step_until_it_is_released(words):
    command = [sys.executable, "-c", HELD, *words]
    said = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout
    held, released = map(float, said.split())
    assert (held > 100) == bool(words)  # of 160 MB
    assert released < 60
