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


def test_hardest_confusions_come_first():
    true, pred = [0, 0, 0, 3, 3, 5], [1, 1, 1, 4, 4, 5]
    pairs = ev.hardest_confusions(true, pred)
    assert pairs[["true", "predicted", "count"]].to_numpy().tolist() == [
        ["aminoglycoside", "MLS", 3],
        ["fosfomycin", "trimethoprim", 2],
    ]
    assert pairs["share"].tolist() == [1, 1]
    assert len(ev.hardest_confusions(true, pred, top=1)) == 1


def test_no_mistakes_no_rows():
    assert ev.hardest_confusions(TRUE, TRUE).empty


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


def test_accuracy():
    assert ev.accuracy([0, 1, 2, 3], [0, 1, 2, 4]) == 0.75
    assert len(CLASSES) == 15
