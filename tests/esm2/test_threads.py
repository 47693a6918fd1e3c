"""Batches side by side: in order, drawn as needed, and nothing outside is changed."""

import re
import threading
import time
from types import SimpleNamespace

import pytest
import torch

from arg_utils.esm2 import threads
from arg_utils.esm2.threads import WAITING, ResidueBar, in_parallel


@pytest.fixture(params=[1, 2, 3])
def workers(request, monkeypatch):
    """So many threads, whatever the machine has."""
    before = torch.get_num_threads()
    monkeypatch.setattr(threads, "cores", lambda: 8)
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

    Nothing is said of it within the first five seconds, nor where no bar is shown.
    """
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(threads, "time", SimpleNamespace(monotonic=lambda: clock.now))
    monkeypatch.setattr(threads, "LONG_SECONDS", 550.0)
    with ResidueBar("ESM-2", [200] * 100, shown) as bar:
        for _ in range(3):
            clock.now += seconds
            bar.advance([200])
            if seconds < threads.MEASURED_SECONDS:
                break
        assert bar.n == (0 if not shown else 200 * round(clock.now / seconds))
    lines = re.findall(r"ESM-2: [^|\r\n]* minutes", capsys.readouterr().err)
    assert lines == ["ESM-2: 20,000 residues at about 33 a second: 10 minutes"] * said


def test_a_step_that_is_not_long_says_nothing(monkeypatch, capsys):
    """By residues it would take 611 seconds; those of long proteins cost more."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(threads, "time", SimpleNamespace(monotonic=lambda: clock.now))
    with ResidueBar("ESM-2", [900, *[1] * 200]) as bar:
        clock.now = 500.0
        bar.advance([900])
        clock.now = 5000.0
        bar.advance([1])
    assert "minutes" not in capsys.readouterr().err


def test_the_size_of_a_step_in_words():
    assert threads.long_step("ESM-2", 5_600_000, 622.0) == (
        "ESM-2: 5.6 M residues at about 9,003 a second: 10 minutes"
    )
