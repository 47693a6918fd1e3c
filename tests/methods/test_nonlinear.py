import numpy as np
import pytest
import torch

from arg_utils.data.proteins import Proteins
from arg_utils.methods import frozen, nonlinear
from arg_utils.methods.nonlinear import (
    MEMBERS,
    NONLINEAR,
    LayersMachine,
    LayersPerceptron,
    PerceptronEnsemble,
    fit_machine,
    fit_perceptron,
    machine_scores,
)

RNG = np.random.default_rng(0)
CORNERS = RNG.integers(0, 2, (200, 2))
X = (CORNERS * 2 - 1 + RNG.normal(0, 0.1, (200, 2))).astype(np.float32)
Y = np.where(CORNERS[:, 0] == CORNERS[:, 1], 3, 9)  # no line parts them
LETTERS = "ACD"
TRAIN = Proteins([f"M{LETTERS[i % 3]}" + "A" * (i + 1) for i in range(30)],
                 np.array([(0, 8, 14)[i % 3] for i in range(30)]))  # fmt: skip


@pytest.fixture(autouse=True)
def told(monkeypatch):
    """Features that tell a protein by its second residue."""

    def embed(sequences, features):
        out = np.random.default_rng(1).normal(0, 0.1, (len(sequences), 320 * len(features)))
        for row, sequence in zip(out, sequences, strict=True):
            row[ord(sequence[1]) % 7 * 20 :][:20] += 3
        return out.astype(np.float32)

    for module in (frozen, nonlinear):
        monkeypatch.setattr(module, "embed", embed)


def test_both_find_what_no_line_parts():
    line = frozen.fit_linear(X, Y)(torch.from_numpy(X)).argmax(dim=1).numpy()
    assert (line == Y).mean() < 0.8
    assert (machine_scores(fit_machine(X, Y), X).argmax(axis=1) == Y).all()
    wide = np.tile(X, (1, 20))
    net = fit_perceptron(np.concatenate([wide] * 3), np.concatenate([Y] * 3))
    assert (net(torch.from_numpy(wide)).argmax(dim=1).numpy() == Y).mean() > 0.95
    assert not any(p.requires_grad for p in net.parameters())


def test_a_fit_repeats_and_leaves_random_numbers_alone():
    before = torch.random.get_rng_state()
    one, two, other = (fit_perceptron(X, Y, seed) for seed in (1, 1, 2))
    assert torch.equal(before, torch.random.get_rng_state())
    assert torch.equal(one[0].weight, two[0].weight)
    assert not torch.equal(one[0].weight, other[0].weight)


def test_a_class_not_seen_is_never_chosen():
    scores = machine_scores(fit_machine(X, Y), X)
    assert scores.shape == (200, 15)
    assert (np.delete(scores, [3, 9], axis=1) < scores[:, [3, 9]].min()).all()


@pytest.mark.parametrize("kind", NONLINEAR)
def test_fitted_saved_and_loaded(kind, tmp_path):
    method = kind().fit(TRAIN, TRAIN, None)
    method.save(tmp_path)
    asked = ["MAY", "MCY", "MDY"]
    loaded = kind.load(tmp_path)
    assert method.predict(asked).tolist() == loaded.predict(asked).tolist() == [0, 8, 14]
    np.testing.assert_allclose(loaded.probabilities(asked), method.probabilities(asked), atol=1e-4)
    np.testing.assert_allclose(method.probabilities(asked).sum(axis=1), 1, atol=1e-5)
    assert loaded.probabilities([]).shape == (0, 15)


def test_an_ensemble_is_the_mean_of_its_members():
    one = LayersPerceptron().fit(TRAIN, TRAIN, None)
    many = PerceptronEnsemble().fit(TRAIN, TRAIN, None)
    assert many.trainable_parameters == MEMBERS * one.trainable_parameters
    x = torch.from_numpy(many.head.standardised(["MAY", "MCY"]))
    members = [torch.softmax(net(x), dim=1) for net in many.head.nets]
    assert not torch.allclose(members[0], members[1], atol=1e-6)
    mean = torch.stack(members).mean(dim=0)
    np.testing.assert_allclose(many.probabilities(["MAY", "MCY"]), mean.numpy(), atol=1e-5)


def test_the_machine_learns_from_a_sample(monkeypatch):
    monkeypatch.setattr("arg_utils.methods.nonlinear.PER_CLASS", 4)
    method = LayersMachine().fit(TRAIN, TRAIN, None)
    assert len(method.train.labels) == 12
    assert method.training_seconds > 0
    first = method.machine
    assert method.fit(TRAIN, TRAIN, None, seed=1).machine is not first
    assert 0.05 <= float(method.temperature.value) <= 20
