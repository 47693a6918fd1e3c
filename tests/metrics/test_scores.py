import numpy as np
import pytest
from sklearn.metrics import f1_score, precision_recall_fscore_support

from arg_utils.labels import CLASSES, DISPLAY_NAMES
from arg_utils.metrics import scores as ev

RNG = np.random.default_rng(7)
TRUE = RNG.integers(0, 15, 400)
PRED = np.where(RNG.random(400) < 0.7, TRUE, RNG.integers(0, 15, 400))


def sklearn_macro(true, pred):
    return f1_score(true, pred, labels=range(15), average="macro", zero_division=0)


@pytest.mark.parametrize("classes", [15, 9, 1])
def test_macro_f1_is_scikit_learns_over_all_15(classes):
    true, pred = TRUE % classes, PRED
    assert ev.macro_f1(true, pred) == pytest.approx(sklearn_macro(true, pred), abs=1e-12)


def test_a_perfect_prediction_without_one_class_is_not_1():
    true = np.arange(14)
    assert ev.macro_f1(true, true) == pytest.approx(14 / 15)


def test_table_is_scikit_learns_and_names_the_classes():
    table = ev.per_class_table(TRUE, PRED)
    expected = precision_recall_fscore_support(TRUE, PRED, labels=range(15), zero_division=0)
    for column, values in zip(["precision", "recall", "f1", "support"], expected, strict=True):
        np.testing.assert_allclose(table[column], values)
    assert tuple(table["class"]) == DISPLAY_NAMES


def test_confusion_rows_are_true_classes():
    counts = ev.confusion([0, 0, 0, 2], [0, 1, 1, 2])
    assert counts[0, 1] == 2
    assert counts[1, 0] == 0
    assert counts.sum() == 4
    shares = ev.confusion([0, 0, 0, 2], [0, 1, 1, 2], normalise=True)
    assert shares[0, 1] == pytest.approx(2 / 3)
    assert shares[5].sum() == 0


def test_hardest_confusions_and_the_proteins_behind_them():
    true, pred = [0, 0, 0, 3, 3, 5], [1, 1, 1, 4, 4, 5]
    pairs = ev.hardest_confusions(true, pred)
    assert pairs[["true", "predicted", "count"]].to_numpy().tolist() == [
        ["aminoglycoside", "MLS", 3],
        ["fosfomycin", "trimethoprim", 2],
    ]
    probabilities = np.full((6, 15), 0.01)
    probabilities[np.arange(6), pred] = [0.5, 0.9, 0.7, 0.3, 0.4, 1.0]
    probabilities[0, 0] = 0.33
    proteins = ev.confused_proteins(true, pred, probabilities, list("abcdef"), per_pair=2)
    assert proteins["id"].tolist() == ["b", "c", "e", "d"]
    assert proteins["confidence"].tolist() == [0.9, 0.7, 0.4, 0.3]
    everyone = ev.confused_proteins(true, pred, probabilities, list("abcdef"), pairs=1)
    assert everyone["id"].tolist() == ["b", "c", "a"]
    assert everyone["p_true"].tolist() == [0.01, 0.01, 0.33]


def test_no_mistakes_no_rows():
    assert ev.hardest_confusions(TRUE, TRUE).empty
    assert ev.confused_proteins(TRUE, TRUE, np.full((400, 15), 1 / 15), ["x"] * 400).empty


def test_identity_bins_have_closed_lower_edges():
    identity = [np.nan, 0.0, 0.2999, 0.30, 0.40, 0.60, 0.90, 1.0]
    true = [0, 1, 1, 2, 3, 4, 5, 5]
    pred = [0, 1, 2, 2, 0, 4, 5, 0]
    table = ev.identity_bins(true, pred, identity).set_index("bin")
    assert table["n"].tolist() == [1, 2, 1, 1, 1, 2]
    assert table["accuracy"].tolist() == [1, 0.5, 1, 0, 1, 0.5]
    assert table.loc["<30 %", "macro_f1"] == pytest.approx(2 / 3)
    assert table["classes"].tolist() == [1] * 6


def test_an_empty_bin_has_no_score():
    table = ev.identity_bins([0], [0], [1.0])
    assert table["n"].tolist() == [0, 0, 0, 0, 0, 1]
    assert table["macro_f1"].isna().tolist() == [True] * 5 + [False]


@pytest.mark.parametrize(
    ("true", "pred", "message"),
    [
        ([0, 1], [0], "y_true has 2, y_pred has 1"),
        ([0, 15], [0, 1], "y_true holds 15"),
        ([0, 1], [0, -1], "y_pred holds -1"),
        ([], [], "non-empty"),
        ([0.0, 1.0], [0, 1], "integers"),
        ([[0]], [[0]], "1-D"),
    ],
)
@pytest.mark.parametrize(
    "function", [ev.macro_f1, ev.confusion, ev.per_class_table, ev.hardest_confusions]
)
def test_wrong_labels_are_named(function, true, pred, message):
    with pytest.raises(ValueError, match=message):
        function(true, pred)


def test_other_lengths_and_units_are_checked():
    with pytest.raises(ValueError, match="identity has 1"):
        ev.identity_bins([0, 1], [0, 1], [0.5])
    with pytest.raises(ValueError, match="not in per cent"):
        ev.identity_bins([0], [0], [35.0])
    with pytest.raises(ValueError, match="ids has 1"):
        ev.confused_proteins([0, 1], [1, 1], np.full((2, 15), 1 / 15), ["a"])


def test_accuracy():
    assert ev.accuracy([0, 1, 2, 3], [0, 1, 2, 4]) == 0.75
    assert len(CLASSES) == 15
