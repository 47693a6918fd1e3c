import numpy as np
import pytest
import torch

from arg_utils.methods.frozen import fit_linear, log_chances
from arg_utils.methods.imbalance import IMBALANCE, TITLES, fit_objective

ONE = np.ones((100, 1), np.float32)
Y = np.array([3] * 90 + [4] * 10)


def chance_of_the_rare(objective: str) -> float:
    """Ninety to ten at one place: the probability of the rare class."""
    return float(np.exp(log_chances(fit_objective(ONE, Y, objective, 0.0), ONE[:1]))[0, 4])


def test_plain_is_right_and_the_others_favour_the_rare_class():
    chance = {objective: chance_of_the_rare(objective) for objective in TITLES}
    assert chance["plain"] == pytest.approx(0.1, abs=0.01)
    assert chance["sqrt"] == pytest.approx(1 / 4, abs=0.01)  # root of 90 to 10: three to one
    assert chance["weighted"] == pytest.approx(0.5, abs=0.01)
    assert chance["balanced"] == pytest.approx(0.5, abs=0.12)
    assert 0.15 < chance["focal"] < 0.5


def test_adjusted_logits_leave_out_the_shares():
    """Two classes that nothing tells apart but their sizes: equal once the shares are out."""
    scores = log_chances(fit_objective(ONE, Y, "adjusted", 0.0), ONE[:1])[0]
    assert scores[3] == pytest.approx(scores[4], abs=0.05)


@pytest.mark.parametrize("objective", list(TITLES))
def test_clear_classes_are_found(objective):
    x = np.array([[1, 0], [0.8, 0.6], [0.6, 0.8], [-1, 0], [0, -1]], np.float32)
    y = np.array([5, 5, 5, 11, 11])
    layer = fit_objective(x, y, objective)
    assert layer(torch.from_numpy(x)).argmax(dim=1).tolist() == y.tolist()
    assert not any(p.requires_grad for p in layer.parameters())


def test_an_unknown_objective_is_refused():
    with pytest.raises(ValueError, match="'guess'"):
        fit_objective(ONE, Y, "guess")


def test_a_method_each_objective_and_none_is_the_default():
    assert tuple(method.objective for method in IMBALANCE) == tuple(TITLES)
    default = fit_linear(ONE, Y)
    for method in IMBALANCE:
        assert not torch.allclose(method.fit_layer(ONE, Y).bias, default.bias, atol=1e-4)
    assert [method.__name__ for method in IMBALANCE][:2] == ["PlainLinear", "SqrtLinear"]
