import numpy as np
import pytest
import torch

from arg_utils.data.proteins import Proteins
from arg_utils.esm2.embeddings import FEATURES
from arg_utils.esm2.weights import WIDTH
from arg_utils.methods import frozen
from arg_utils.methods.frozen import (
    LayersHead,
    LayersLinear,
    NearestNeighbour,
    fit_linear,
    inverse_size,
)

X = np.array([[1, 0], [0.8, 0.6], [0.6, 0.8], [-1, 0], [0, -1]], np.float32)
Y = np.array([5, 5, 5, 11, 11])


@pytest.fixture
def told(monkeypatch):
    """Features that tell a protein by its second residue."""

    def embed(sequences, features):
        assert features == FEATURES
        out = np.ones((len(sequences), WIDTH * len(FEATURES)), np.float32)
        for row, sequence in zip(out, sequences, strict=True):
            row[ord(sequence[1]) % 7 * 20 :][:20] += 3
        return out

    monkeypatch.setattr(frozen, "embed", embed)


TRAIN = Proteins(["MAA", "MAC", "MCA", "MCC", "MDA"], np.array([0, 0, 8, 8, 14]))


def test_the_linear_layer_finds_classes_that_a_line_parts():
    layer = fit_linear(X, Y)
    assert layer(torch.from_numpy(X)).argmax(dim=1).tolist() == Y.tolist()
    assert not any(p.requires_grad for p in layer.parameters())


def test_a_rare_class_is_not_drowned():
    """Ninety-nine to one at the same place: the rare class gets more than its share."""
    layer = fit_linear(np.ones((100, 1), np.float32), np.array([3] * 99 + [4]))
    chances = np.exp(frozen.log_chances(layer, np.ones((1, 1), np.float32)))[0]
    assert chances[4] == pytest.approx(1 / (1 + 99**0.25), abs=0.01)


def test_features_are_standardised_on_what_is_learned(told):
    head = LayersHead()
    features = head.learn(TRAIN.sequences, TRAIN.labels)
    np.testing.assert_allclose(features.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(head.standardised(TRAIN.sequences), features, atol=1e-5)
    np.testing.assert_allclose(np.exp(head.log_chances(["MCY"])).sum(), 1, atol=1e-5)


@pytest.mark.parametrize("kind", [LayersLinear, NearestNeighbour])
def test_a_method_on_frozen_layers(kind, told, tmp_path):
    method = kind().fit(TRAIN, TRAIN, None)
    method.save(tmp_path)
    for known in (method, kind.load(tmp_path)):
        assert known.predict(["MAY", "MCY", "MDY"]).tolist() == [0, 8, 14]
        assert known.probabilities(["MAY"]).sum() == pytest.approx(1)
        assert known.probabilities([]).shape == (0, 15)
    assert method.training_seconds >= 0
    assert method.trainable_parameters == (15 * 961 if kind is LayersLinear else 0)


def test_a_group_counts_as_a_power_of_its_size():
    groups = np.array([0] * 16 + [1] * 81)
    weights = inverse_size(groups, 0.75)
    assert np.bincount(groups, weights=weights).tolist() == pytest.approx([2, 3])
    assert inverse_size(groups, 0.0).tolist() == [1.0] * 97
    counted = inverse_size(np.array([0, 0]), 1.0, np.array([0.5, 1.5]))
    assert counted.tolist() == [0.5, 0.5]
