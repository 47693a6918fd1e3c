"""What speaks for each class; and what it is worth, learned from proteins it has not seen."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import synthetic
import torch

from arg_utils.data.proteins import Proteins
from arg_utils.labels import NONARG
from arg_utils.methods import evidence
from arg_utils.methods.evidence import (
    NOISE,
    Column,
    Hit,
    References,
    Unseen,
    assemble,
    balance,
    draw,
    find_hits,
    hit_evidence,
    profiled,
    stacking_weights,
    stand_for,
    strongest_first,
    unseen_evidence,
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


def test_each_class_has_its_strongest_hit(known, module_cache):
    columns = found(known, [known.sequences[0], known.sequences[4], "M" + "GP" * 40])
    assert columns.shape == (3, 15, len(Hit))
    assert columns[0, 5, 1:].tolist() == [1, 1, 1]
    assert columns[1, 11, 1:].tolist() == [1, 1, 1]
    assert columns[0, 5, 0] > 1.5
    assert not columns[0, 11].any()
    assert not columns[:, [0, NONARG]].any()


def test_a_hit_no_stronger_than_chance_is_none():
    hits = pd.DataFrame(
        {"query": [0, 1], "target": [0, 0], "identity": 0.3, "bits": [NOISE, 2.0 * NOISE],
         "evalue": 1.0, "query_coverage": 0.5, "target_coverage": 0.6}
    )  # fmt: skip
    columns = hit_evidence(hits, np.array([7]), 2)
    assert not columns[0].any()
    np.testing.assert_allclose(columns[1, 7], [np.log(2), 0.3, 0.5, 0.6], rtol=1e-6)


def test_the_strongest_of_two_searches_comes_first():
    one = pd.DataFrame({"query": [0, 1], "target": [4, 4], "bits": [50.0, 90.0]})
    other = pd.DataFrame({"query": [0, 1], "target": [7, 7], "bits": [70.0, 60.0]})
    merged = strongest_first(one, other)
    assert merged["query"].tolist() == [0, 0, 1, 1]
    assert merged["bits"].tolist() == [70, 50, 90, 60]
    assert merged["profile"].tolist() == [True, False, False, True]


def test_small_families_without_resistance_get_no_profile(module_cache):
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
    columns = assemble(hits, np.full((2, 15), np.log(1 / 15), np.float32))
    assert columns.shape == (2, 15, len(Column))
    assert columns.dtype == np.float32
    of_the_hit = [Column.STRENGTH, Column.IDENTITY_TIMES_COVERAGE, Column.QUERY_COVERAGE,
                  Column.TARGET_COVERAGE]  # fmt: skip
    np.testing.assert_allclose(columns[0, 3, of_the_hit], [0.5, 0.9, 1, 0.5], rtol=1e-6)
    np.testing.assert_allclose(columns[..., Column.PROBABILITY], 1 / 15, rtol=1e-6)
    np.testing.assert_allclose(columns[..., Column.LOG_PROBABILITY], -np.log(15) / 4, rtol=1e-6)
    of_hits = columns[..., Column.HIT_LOG_PROBABILITY]
    assert of_hits[0, 3] == columns[0, 3, Column.LOG_PROBABILITY]
    assert np.count_nonzero(of_hits) == 1
    assert columns[0, NONARG, Column.NONARG_STRENGTH] == 0.5
    assert columns[:, NONARG, Column.NONARG_NO_HIT].tolist() == [0, 1]
    for_nonarg = [column for column in Column if column.name.startswith("NONARG")]
    assert len(for_nonarg) == 3
    assert not np.delete(columns[..., for_nonarg], NONARG, axis=1).any()


@pytest.fixture(scope="module")
def references():
    """Four families a class, four proteins each, whose features tell the class."""
    rng = np.random.default_rng(3)
    labels = np.repeat([2, 7, 11, NONARG], 16)
    sequences = [s for _ in range(4) for s in synthetic.families(rng, 4, 4, 0.8, 100)]
    features = rng.normal(0, 0.3, (64, 20)).astype(np.float32)
    features[np.arange(64), np.repeat(range(4), 16)] += 2
    return References(sequences, features, labels, features[:0])


@pytest.fixture(scope="module")
def unseen(references, module_cache):
    return unseen_evidence(references, 0)


def test_far_evidence_lacks_relatives_and_near_evidence_the_protein_itself(unseen):
    assert unseen.evidence.shape == (128, 15, len(Column))
    assert unseen.far.tolist() == [False] * 64 + [True] * 64
    strength = unseen.evidence[..., Column.STRENGTH].max(axis=1)
    assert (strength[~unseen.far] > 0.2).mean() > 0.9
    assert (strength[unseen.far] > 0.2).mean() < 0.1
    assert unseen.evidence[~unseen.far][..., Column.IDENTITY_TIMES_COVERAGE].max() < 0.99, (
        "an identical hit is the protein itself"
    )


def test_the_model_has_not_seen_them_either(references, module_cache):
    """Features that only name the protein itself must not help."""
    own = np.eye(64, dtype=np.float32)
    named = dataclasses.replace(references, features=own, background=own[:0])
    gathered = unseen_evidence(named, 0)
    probabilities = gathered.evidence[..., Column.PROBABILITY]
    own = probabilities[np.arange(128), gathered.labels]
    assert own.max() < 0.6


def test_one_family_has_no_far_situation(module_cache):
    sequences = synthetic.families(np.random.default_rng(6), 1, 6, 0.9, 100)
    features = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    labels = np.array([5, 5, 5, 5, 11, 11])
    found = unseen_evidence(References(sequences, features, labels, features[:0]), 0)
    assert len(found.labels) == 6
    assert not found.far.any()


def test_large_families_and_classes_are_sampled(monkeypatch):
    monkeypatch.setattr(evidence, "PER_FAMILY", 3)
    monkeypatch.setattr(evidence, "PER_CLASS", 4)
    labels, families = np.repeat([0, 1], 10), np.repeat(range(4), 5)
    chosen = draw(labels, families, 0)
    assert (np.diff(chosen) > 0).all()
    assert np.bincount(labels[chosen]).tolist() == [4, 4]
    assert np.bincount(families[chosen]).max() <= 3
    assert chosen.tolist() != draw(labels, families, 1).tolist()


def test_a_sample_stands_for_all():
    labels, families = np.repeat([0, 1], 10), np.repeat(range(4), 5)
    weights, sample = np.arange(20.0), np.array([0, 1, 6, 12])
    counts = stand_for(weights, labels, families, sample)
    assert counts[:2].sum() == pytest.approx(weights[:5].sum())
    assert counts[2] == pytest.approx(weights[5:10].sum())
    assert counts[3] == pytest.approx(weights[10:].sum()), "a family not drawn is made up for"


def test_rare_classes_and_small_families_count_for_more():
    labels, families = np.array([0] * 16 + [1] * 17), np.array([0] * 16 + [1] * 16 + [2])
    weights = balance(labels, families)
    assert weights[16] == pytest.approx(weights[32] / 2), "16 relatives: half as much each"
    total = np.bincount(labels, weights=weights)
    assert total[0] == pytest.approx(8**0.75)
    assert total[1] == pytest.approx(9**0.75)


def test_weights_follow_what_was_right(unseen):
    weights = stacking_weights(unseen, 1.0)
    right = (torch.from_numpy(unseen.evidence) @ weights).argmax(dim=1).numpy() == unseen.labels
    assert right.mean() > 0.95


def test_far_evidence_counts_as_told():
    """Near proteins go by column 0, far ones by column 1, against it."""
    gathered = np.zeros((4, 15, len(Column)), np.float32)
    labels, far = np.array([3, 4, 3, 4]), np.array([False, False, True, True])
    gathered[np.arange(4), labels, 0] = 1 * (1 - 2 * far)
    unseen = Unseen(gathered, labels, np.arange(4), far, np.ones(4), np.ones(4))
    assert stacking_weights(unseen, 0.1)[0] > 0.5
    assert stacking_weights(unseen, 10.0)[0] < -0.5
