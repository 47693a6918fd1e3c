import numpy as np
import pandas as pd
import pytest
import synthetic

from arg_utils.data.fasta import Proteins
from arg_utils.labels import NONARG
from arg_utils.methods.evidence import (
    NOISE,
    Column,
    Hit,
    assemble,
    find_hits,
    hit_evidence,
    profiled,
    strongest_first,
)


@pytest.fixture(scope="module")
def known():
    """Two families: three proteins of class 5, two of class 11."""
    sequences = synthetic.families(np.random.default_rng(8), 1, 3, 0.8)
    sequences += synthetic.families(np.random.default_rng(9), 1, 2, 0.8)
    return Proteins(sequences, np.array([5, 5, 5, 11, 11]))


def found(known, queries):
    hits = find_hits(queries, known.sequences, known.labels)
    return hit_evidence(hits, known.labels, len(queries))


def test_each_class_has_its_strongest_hit(known, own_cache):
    evidence = found(known, [known.sequences[0], known.sequences[4], "M" + "GP" * 40])
    assert evidence.shape == (3, 15, len(Hit))
    assert evidence[0, 5, 1:].tolist() == [1, 1, 1]
    assert evidence[1, 11, 1:].tolist() == [1, 1, 1]
    assert evidence[0, 5, 0] > 1.5
    assert not evidence[0, 11].any()
    assert not evidence[:, [0, NONARG]].any()


def test_a_hit_no_stronger_than_chance_is_none():
    hits = pd.DataFrame(
        {"query": [0, 1], "target": [0, 0], "identity": 0.3, "bits": [NOISE, 2.0 * NOISE],
         "evalue": 1.0, "query_coverage": 0.5, "target_coverage": 0.6}
    )  # fmt: skip
    evidence = hit_evidence(hits, np.array([7]), 2)
    assert not evidence[0].any()
    np.testing.assert_allclose(evidence[1, 7], [np.log(2), 0.3, 0.5, 0.6], rtol=1e-6)


def test_the_strongest_of_two_searches_comes_first():
    one = pd.DataFrame({"query": [0, 1], "bits": [50.0, 90.0]})
    other = pd.DataFrame({"query": [0, 1], "bits": [70.0, 60.0]})
    merged = strongest_first([one, other])
    assert merged["query"].tolist() == [0, 0, 1, 1]
    assert merged["bits"].tolist() == [70, 50, 90, 60]


def test_small_families_without_resistance_get_no_profile(own_cache):
    rng = np.random.default_rng(2)
    sequences = synthetic.families(rng, 1, 3, 0.8) + synthetic.families(rng, 1, 2, 0.8)
    labels = np.array([NONARG] * 5)
    families = profiled(sequences, labels)
    assert (families[:3] == families[0]).all()
    assert families[3:].tolist() == [-1, -1]
    labels[4] = 3
    families = profiled(sequences, labels)
    assert families[3] == -1, "a family never mixes two classes"
    assert families[4] not in (-1, families[0])


def test_three_columns_speak_for_not_an_arg_alone():
    hits = np.zeros((2, 15, len(Hit)), np.float32)
    hits[0, 3] = 1.5, 0.9, 1, 0.5
    evidence = assemble(hits, np.full((2, 15), np.log(1 / 15), np.float32))
    assert evidence.shape == (2, 15, len(Column))
    assert evidence.dtype == np.float32
    of_the_hit = [Column.STRENGTH, Column.IDENTITY_TIMES_COVERAGE, Column.QUERY_COVERAGE,
                  Column.TARGET_COVERAGE]  # fmt: skip
    np.testing.assert_allclose(evidence[0, 3, of_the_hit], [0.5, 0.9, 1, 0.5], rtol=1e-6)
    np.testing.assert_allclose(evidence[..., Column.PROBABILITY], 1 / 15, rtol=1e-6)
    np.testing.assert_allclose(evidence[..., Column.LOG_PROBABILITY], -np.log(15) / 4, rtol=1e-6)
    assert evidence[0, NONARG, Column.NONARG_STRENGTH] == 0.5
    assert evidence[:, NONARG, Column.NONARG_NO_HIT].tolist() == [0, 1]
    for_nonarg = [column for column in Column if column.name.startswith("NONARG")]
    assert len(for_nonarg) == 3
    assert not np.delete(evidence[..., for_nonarg], NONARG, axis=1).any()
