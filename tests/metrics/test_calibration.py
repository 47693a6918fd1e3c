import numpy as np
import pandas as pd
import pytest

from arg_utils.metrics.calibration import (
    answered,
    conformal_threshold,
    error_if_calibrated,
    fit_temperature,
    reliability,
    risk_coverage,
    table_error,
)


def confident(confidences, classes):
    """Rows with the given probability on the given class, the rest spread evenly."""
    table = np.repeat((1 - np.array(confidences))[:, None] / 14, 15, axis=1)
    table[np.arange(len(classes)), classes] = confidences
    return table


def test_calibrated_is_zero_and_overconfident_is_the_gap():
    predicted = [0] * 10
    table = confident([0.8] * 10, predicted)
    assert table_error(reliability(table, [0] * 8 + [1] * 2)) == pytest.approx(0)
    assert table_error(reliability(table, [0] * 5 + [1] * 5)) == pytest.approx(0.3)


def test_gaps_are_weighted_by_bin_size():
    table = confident([0.9] * 3 + [0.5], [2] * 4)
    error = table_error(reliability(table, [2, 2, 2, 1], bins=10))
    assert error == pytest.approx(0.75 * 0.1 + 0.25 * 0.5)


def test_reliability_keeps_every_protein_even_at_the_edges():
    table = confident([1.0, 0.2, 0.4, 0.6], [0, 1, 2, 3])
    bins = reliability(table, [0, 1, 2, 4], bins=5)
    assert bins["n"].tolist() == [1, 1, 1, 0, 1]
    assert bins["accuracy"].tolist()[:3] == [1, 1, 0]
    assert np.isnan(bins["confidence"][3])
    assert bins["confidence"][4] == 1.0


def test_risk_falls_when_the_unsure_are_left_out():
    table = confident([0.9, 0.8, 0.7, 0.6], [0, 0, 0, 0])
    curve = risk_coverage(table, [0, 0, 1, 1])
    assert curve["coverage"].tolist() == [0.25, 0.5, 0.75, 1.0]
    np.testing.assert_allclose(curve["risk"], [0, 0, 1 / 3, 1 / 2])
    assert curve["threshold"].tolist() == [0.9, 0.8, 0.7, 0.6]


def test_equal_confidences_are_answered_together():
    curve = risk_coverage(confident([0.5] * 4, [0] * 4), [0, 0, 0, 1])
    assert curve[["coverage", "risk"]].to_numpy().tolist() == [[1.0, 0.25]]


@pytest.mark.parametrize(
    ("table", "true", "message"),
    [
        (np.full((2, 14), 1 / 14), [0, 1], "shape"),
        (np.full((2, 15), 1.0), [0, 1], "sum to 1"),
        (np.full((2, 15), np.nan), [0, 1], "sum to 1"),
        (np.full((2, 15), 1 / 15), [0], "probabilities has 2, y_true has 1"),
        (np.full((1, 15), 1 / 15), [15], "holds 15"),
    ],
)
def test_wrong_input_is_named(table, true, message):
    with pytest.raises(ValueError, match=message):
        table_error(reliability(table, true))
    with pytest.raises(ValueError, match=message):
        risk_coverage(table, true)


def test_the_temperature_mends_overconfidence():
    """Scores that claim 0.9 where 0.6 is right."""
    scores = np.log(confident([0.9] * 10, [0] * 10))
    true = [0] * 6 + [1, 2, 3, 4]
    temperature = fit_temperature(scores, true)
    assert temperature > 1.5
    scaled = np.exp(scores / temperature)
    assert (scaled / scaled.sum(axis=1, keepdims=True))[0, 0] == pytest.approx(0.6, abs=0.01)
    assert fit_temperature(scores * temperature, true) == pytest.approx(temperature**2, rel=0.01)


def test_the_temperature_heeds_how_often_each_counts():
    scores = np.log(confident([0.9] * 2, [0] * 2))
    sure, unsure = (fit_temperature(scores, [0, 1], weights) for weights in ([99, 1], [1, 1]))
    assert sure < 1 < unsure


def test_the_conformal_threshold_counts_families_not_proteins():
    """Four families, one of which has many proteins: it weighs no more than the others."""
    table = confident([0.9, 0.8, 0.7, *[0.3] * 20], [0] * 23)
    families = [0, 1, 2, *[3] * 20]
    assert conformal_threshold(table, [0] * 23, families, 0.6) == pytest.approx(0.7)
    assert conformal_threshold(table, [0] * 23, families, 0.4) == pytest.approx(0.8)
    assert conformal_threshold(table, [0] * 23, range(23), 0.5) == pytest.approx(0.3)
    assert conformal_threshold(table, [0] * 23, families, 0.9) == 0, "too few families for that"


def test_sets_cover_new_families_as_often_as_promised():
    """Families of unequal sizes, whose proteins share one difficulty: mean over many draws."""
    rng, covered = np.random.default_rng(3), []
    for _ in range(300):
        size = rng.integers(1, 30, 60)
        family = np.repeat(np.arange(60), size)
        table = confident(rng.random(60)[family], [0] * len(family))
        old = family < 40
        threshold = conformal_threshold(table[old], [0] * old.sum(), family[old], 0.8)
        held = table[~old, 0] >= threshold
        covered.append(np.mean([held[family[~old] == number].mean() for number in range(40, 60)]))
    assert 0.79 < np.mean(covered) < 0.83


def test_an_answer_is_a_set_of_one_class():
    table = np.zeros((3, 15))
    table[0, :2], table[1, :3], table[2, :3] = (0.9, 0.1), (0.4, 0.3, 0.3), (0.45, 0.45, 0.1)
    assert answered(table, 0.5).tolist() == [True, False, False], "none reaches it"
    assert answered(table, 0.4).tolist() == [True, True, False], "two do"
    assert answered(table, None).all()
    assert not answered(table, 0).any()


def test_families_that_are_right_as_one_show_an_error_without_fault():
    """Ten families of a hundred: the error of perfect probabilities is far from zero."""
    table = np.full((1000, 15), 0.3 / 14)
    table[:, 4] = 0.7
    families = error_if_calibrated(table, np.arange(1000) // 100, n=2000)
    # the share of ten families right is binomial (10, 0.7)
    share = np.random.default_rng(1).binomial(10, 0.7, 100_000) / 10
    assert families.value == pytest.approx(np.abs(share - 0.7).mean(), abs=0.01)
    assert families.low < 0.01
    assert families.high == pytest.approx(0.3, abs=0.05)
    single = error_if_calibrated(table, np.arange(1000))
    assert single.high < 0.05
    assert error_if_calibrated(table, ["a"] * 1000).low == pytest.approx(0.3, abs=0.01)
    with pytest.raises(ValueError, match="groups has 2"):
        error_if_calibrated(table, [1, 2])


def test_the_error_of_a_table_is_that_of_its_probabilities():
    table = pd.DataFrame({"n": [1, 0, 3], "confidence": [0.2, np.nan, 0.8],
                          "accuracy": [0.0, np.nan, 1.0]})  # fmt: skip
    assert table_error(table) == pytest.approx(0.2)
