import numpy as np
import pytest

from arg_utils.metrics.scores import bootstrap_ci, bootstrap_gain, macro_f1

RNG = np.random.default_rng(0)
TRUE = np.concatenate([np.arange(15), RNG.integers(0, 15, 385)])
PRED = np.where(RNG.random(400) < 0.7, TRUE, RNG.integers(0, 15, 400))
OTHER = np.where(RNG.random(400) < 0.5, TRUE, RNG.integers(0, 15, 400))
GROUPS = RNG.integers(0, 60, 400)


def test_bootstrap_equals_the_slow_way():
    groups = RNG.integers(0, 60, 400)
    fast = bootstrap_ci(TRUE, PRED, groups, n=200, seed=3)
    draws = np.random.default_rng(3).multinomial(60, np.full(60, 1 / 60), size=200)
    slow = [
        macro_f1(np.repeat(TRUE, weights[groups]), np.repeat(PRED, weights[groups]))
        for weights in draws
    ]
    np.testing.assert_allclose(fast[1:], np.quantile(slow, [0.025, 0.975]))
    assert fast.value == macro_f1(TRUE, PRED)


def test_fewer_clusters_give_a_wider_interval():
    single = bootstrap_ci(TRUE, PRED, np.arange(400))
    blocks = bootstrap_ci(TRUE, PRED, [str(i // 40) for i in range(400)])
    assert single.low < single.value < single.high
    # ten blocks of independent proteins: about the same width; ten blocks failing together: wider
    together = np.where(np.arange(400) // 40 < 4, TRUE, (TRUE + 1) % 15)
    clustered = bootstrap_ci(TRUE, together, np.arange(400) // 40)
    apart = bootstrap_ci(TRUE, together, np.arange(400))
    assert clustered.high - clustered.low > 2 * (apart.high - apart.low)
    assert blocks.low < blocks.value < blocks.high


def test_a_class_missing_from_a_resample_is_not_a_zero():
    """One cluster a class and no mistake: every resample is perfect, and so is the interval."""
    true = np.arange(15)
    assert bootstrap_ci(true, true, true) == (1.0, 1.0, 1.0)
    lacking = np.arange(14)  # but a class that the data lack stays one, as in macro_f1
    assert bootstrap_ci(lacking, lacking, lacking, n=50).high < 1


def test_a_gain_is_scored_on_the_same_resamples():
    gain = bootstrap_gain(TRUE, PRED, OTHER, GROUPS, n=200, seed=3)
    draws = np.random.default_rng(3).multinomial(60, np.full(60, 1 / 60), size=200)
    slow = []
    for weights in draws:
        true, new, old = (np.repeat(each, weights[GROUPS]) for each in (TRUE, PRED, OTHER))
        slow.append(macro_f1(true, new) - macro_f1(true, old))
    np.testing.assert_allclose(gain[1:], np.quantile(slow, [0.025, 0.975]), atol=1e-12)
    assert gain.value == pytest.approx(macro_f1(TRUE, PRED) - macro_f1(TRUE, OTHER))


def test_nothing_is_gained_on_oneself():
    assert bootstrap_gain(TRUE, PRED, PRED, GROUPS, n=50) == (0, 0, 0)


def test_lengths_and_labels_are_checked():
    with pytest.raises(ValueError, match="groups has 2"):
        bootstrap_ci([0], [0], [1, 2])
    with pytest.raises(ValueError, match="y_pred has 1"):
        bootstrap_gain([0, 1], [0, 1], [0], [1, 2])


def test_classes_that_the_data_lack_may_be_left_out():
    true = np.arange(4).repeat(5)
    found = np.where(np.arange(20) % 5 == 0, 9, true)  # 9 is no true class
    whole = bootstrap_ci(true, found, np.arange(20))
    present = bootstrap_ci(true, found, np.arange(20), present_only=True)
    f1 = 8 / 9  # of each class: 4 of 5 found, none too many
    assert whole.value == pytest.approx(f1 * 4 / 15)
    assert present.value == pytest.approx(f1)
    assert present.low < f1 < present.high
    np.testing.assert_allclose(whole[1:], np.array(present[1:]) * 4 / 15, atol=0.02)
    gain = bootstrap_gain(true, true, found, np.arange(20), present_only=True)
    assert gain.value == pytest.approx(1 - f1)
