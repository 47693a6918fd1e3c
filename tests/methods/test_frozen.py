import numpy as np
import pytest
import torch

from arg_utils.data.proteins import Proteins
from arg_utils.esm2.embeddings import FEATURES
from arg_utils.esm2.weights import WIDTH
from arg_utils.methods import frozen
from arg_utils.methods.frozen import (
    LayersLinear,
    LinearHead,
    NearestNeighbour,
    fit_linear,
    inverse_size,
    linear_log_probabilities,
)

X = np.array([[1, 0], [0.8, 0.6], [0.6, 0.8], [-1, 0], [0, -1]], np.float32)
Y = np.array([5, 5, 5, 11, 11])
TRAIN = Proteins(["MAA", "MAC", "MCA", "MCC"], np.array([0, 0, 8, 8]))
VAL = Proteins(["MDA"], np.array([14]))


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


def test_the_linear_layer_separates_classes_that_a_line_separates():
    layer = fit_linear(X, Y)
    assert layer(torch.from_numpy(X)).argmax(dim=1).tolist() == Y.tolist()
    assert not any(p.requires_grad for p in layer.parameters())


def test_a_rare_class_is_not_drowned():
    """Ninety-nine to one at the same place: the rare class gets more than its share."""
    layer = fit_linear(np.ones((100, 1), np.float32), np.array([3] * 99 + [4]))
    probabilities = np.exp(linear_log_probabilities(layer, np.ones((1, 1), np.float32)))[0]
    assert probabilities[4] == pytest.approx(1 / (1 + 99**0.25), abs=0.01)


def test_features_are_standardised_on_what_is_learned(told):
    head, features = LinearHead.fit(TRAIN.sequences, TRAIN.labels)
    np.testing.assert_allclose(features.mean(axis=0), 0, atol=1e-5)
    raw = frozen.frozen_features(TRAIN.sequences)
    np.testing.assert_allclose(head.standardise(raw), features, atol=1e-5)
    np.testing.assert_allclose(np.exp(head.log_probabilities(["MCY"])).sum(), 1, atol=1e-5)


@pytest.mark.parametrize("kind", [LayersLinear, NearestNeighbour])
def test_a_method_on_frozen_layers_knows_validation_but_not_when_that_is_scored(
    kind, told, tmp_path
):
    method = kind().fit(TRAIN, VAL, None)
    method.save(tmp_path)
    for fitted in (method, kind.load(tmp_path)):
        assert fitted.predict(["MAY", "MCY", "MDY"]).tolist() == [0, 8, 14]
        assert fitted.probabilities(["MAY"]).shape == (1, 15), "of one protein too"
        assert fitted.predict(["MDY"]).tolist() == [14]
        assert fitted.probabilities([]).shape == (0, 15)
    assert method.held_out(VAL).argmax() != 14
    assert method.reference == "train + validation"
    assert method.training_seconds >= 0
    assert method.trainable_parameters == (15 * 961 if kind is LayersLinear else 0)


def test_a_group_weighs_a_power_of_its_size():
    groups = np.array([0] * 16 + [1] * 81)
    weights = inverse_size(groups, 0.75)
    assert np.bincount(groups, weights=weights).tolist() == pytest.approx([2, 3])
    assert inverse_size(groups, 0.0).tolist() == [1.0] * 97
    counted = inverse_size(np.array([0, 0]), 1.0, np.array([0.5, 1.5]))
    assert counted.tolist() == [0.5, 0.5]
