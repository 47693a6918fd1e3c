import numpy as np
import pytest

from arg_utils.data.proteins import Proteins
from arg_utils.labels import NONARG
from arg_utils.methods import phmmer
from arg_utils.methods.phmmer import PhmmerHit, phmmer_best

RNG = np.random.default_rng(0)
A, B, C = ("".join(RNG.choice(list("ACDEFGHIKLMNPQRSTVWY"), 150)) for _ in range(3))


def changed(sequence: str, every: int) -> str:
    """Every so many residues another one."""
    return "".join("W" if i % every == 0 else residue for i, residue in enumerate(sequence))


def test_each_query_finds_its_relative_and_a_stranger_none(settings):
    assert phmmer_best([changed(B, 3), C, changed(A, 4)], [A, B]).tolist() == [1, -1, 0]
    assert phmmer_best([], [A]).tolist() == []
    assert phmmer_best([A], []).tolist() == [-1]


def test_the_answer_is_kept(settings, monkeypatch):
    first = phmmer_best([changed(A, 5)], [B, A])
    monkeypatch.setattr(phmmer, "_search", None)
    assert phmmer_best([changed(A, 5)], [B, A]).tolist() == first.tolist() == [1]


def test_an_interrupted_search_goes_on_after_the_last_block(settings, monkeypatch):
    monkeypatch.setattr(phmmer, "BLOCK", 2)
    whole, asked = phmmer._search, []

    def broken(queries, targets):
        asked.append(len(queries))
        if len(asked) == 2:
            raise KeyboardInterrupt
        return whole(queries, targets)

    monkeypatch.setattr(phmmer, "_search", broken)
    queries = [changed(A, 5), changed(B, 5), C, changed(B, 4), changed(A, 4)]
    with pytest.raises(KeyboardInterrupt):
        phmmer_best(queries, [A, B])
    assert phmmer_best(queries, [A, B]).tolist() == [0, 1, -1, 1, 0]
    assert asked == [2, 2, 2, 1], "the first block was not searched again"


def test_the_class_is_that_of_the_hit(settings):
    train = Proteins([A, changed(A, 9), B], np.array([7, 7, 2]))
    method = PhmmerHit().fit(train, train, None)
    assert method.predict([changed(B, 3), C, changed(A, 4)]).tolist() == [2, NONARG, 7]
    assert not method.uses_esm2
