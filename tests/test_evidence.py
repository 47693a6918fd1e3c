import numpy as np
import pytest
import synthetic
import torch

from arg_utils.evidence import (
    EVIDENCE,
    Known,
    assemble,
    fit_linear,
    hit_evidence,
    neighbour_evidence,
)
from arg_utils.labels import NONARG


@pytest.fixture(scope="module")
def known():
    """Two families: three proteins of class 5, two of class 11, with telling features."""
    sequences = synthetic.families(np.random.default_rng(8), 1, 3, 0.8)
    sequences += synthetic.families(np.random.default_rng(9), 1, 2, 0.8)
    features = np.array([[1, 0], [0.8, 0.6], [0.6, 0.8], [-1, 0], [0, -1]], np.float32)
    return Known(sequences, features, np.array([5, 5, 5, 11, 11]))


def test_each_class_has_its_best_hit(known):
    found = hit_evidence([known.sequences[0], known.sequences[4], "M" + "GP" * 40], known)
    assert found.shape == (3, 15, 4)
    assert found[0, 5, 1:].tolist() == [1, 1, 1]
    assert found[1, 11, 1:].tolist() == [1, 1, 1]
    assert found[0, 5, 0] > 4 > found[0, 11, 0]
    assert not found[:, [0, NONARG]].any()


def test_a_query_that_is_known_does_not_speak_for_itself(known):
    found = hit_evidence(known.sequences[:1], known, own=np.array([0]))
    assert 0.4 < found[0, 5, 1] < 1
    alone = known.part(np.array([0, 3]))
    assert hit_evidence(known.sequences[:1], alone, own=np.array([0]))[0, 5, 1] == 0


def test_neighbours_are_cosines(known):
    query = np.array([[2, 0]], np.float32)
    found = neighbour_evidence(query, known)
    assert found[0, 5].tolist() == pytest.approx([1, 0.8])
    assert found[0, 11].tolist() == pytest.approx([0, -0.5])
    assert (found[0, 0] == -1).all(), "a class of which nothing is known"
    own = neighbour_evidence(known.features[:1], known, own=np.array([0]))
    assert own[0, 5, 0] == pytest.approx(0.8)


def test_the_linear_layer_finds_classes_that_a_line_parts(known):
    layer = fit_linear(known.features, known.labels)
    found = layer(torch.from_numpy(known.features)).argmax(dim=1)
    assert found.tolist() == known.labels.tolist()
    assert not any(p.requires_grad for p in layer.parameters())


def test_evidence_is_gated_by_the_best_hit():
    hits, near = np.zeros((2, 15, 4), np.float32), np.full((2, 15, 2), 0.5, np.float32)
    hits[0, 3] = 6, 0.9, 1, 0.5
    found = assemble(hits, near, np.zeros((2, 15), np.float32))
    assert found.shape == (2, 15, EVIDENCE)
    half = (EVIDENCE - 4) // 2
    np.testing.assert_allclose(found[0, :, half : 2 * half], found[0, :, :half])
    assert not found[1, :, half : 2 * half].any(), "no hit: nothing to lean on"
    assert found[0, NONARG, -3] == 0
    assert found[1, NONARG, -3] == 1
    assert not np.delete(found[:, :, -4:], NONARG, axis=1).any()
