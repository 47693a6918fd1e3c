import json

import numpy as np
import pytest

from arg_utils.errors import UserError
from arg_utils.experiments.ladder import ladder_frame, read_ladder
from arg_utils.reporting.ladder_tables import (
    describe_calibration,
    describe_ladder,
    ladder_bins,
    ladder_classes,
    ladder_reliability,
)


def row(split, method, f1, **more):
    bins = [
        {"bin": "no hit", "n": 3, "classes": 2, "macro_f1": f1, "accuracy": f1},
        {"bin": "<30 %", "n": 0, "classes": 0, "macro_f1": None, "accuracy": None},
    ]
    return {
        "split": split, "method": method, "title": method.title(), "macro_f1": f1, "ci_low": f1 / 2,
        "ci_high": 1.0, "accuracy": f1, "ece": 0.0512, "trainable_parameters": 7, "seconds": 90,
        "bins": bins, **more,
    }  # fmt: skip


ROWS = [
    row("homology", "one", 0.25, folds=[0, 1]),
    row("random", "one", 0.5),
    row("random", "two", 0.75),
]


def test_the_best_of_each_split_comes_first():
    frame = ladder_frame(ROWS)
    assert frame["method"].tolist() == ["Two", "One", "One"]
    assert frame["split"].tolist() == ["random", "random", "homology"]
    assert frame["95 % interval"][0] == "0.375–1.000"
    assert frame["minutes"].tolist() == [1.5] * 3
    assert frame["folds"].tolist() == ["", "", "0 1"]


def test_bins_are_of_one_split_and_of_the_methods_there_are():
    tables = ladder_bins(ROWS, "random", ["two", "absent"])
    assert list(tables) == ["Two"]
    assert tables["Two"]["macro_f1"][0] == 0.75
    assert np.isnan(tables["Two"]["macro_f1"][1])


def test_read_and_described(tmp_path):
    path = tmp_path / "ladder.json"
    content = {"command": "x", "data": "d", "weights": "w", "profile": "p", "rows": ROWS}
    path.write_text(json.dumps(content))
    assert read_ladder(path)["rows"] == ROWS
    assert describe_ladder(content) == "measured by `x`: data d, weights w, profile p"


@pytest.mark.parametrize("text", [None, "", "[]", "{}", '{"rows": []}'])
def test_no_ladder_is_said(tmp_path, text):
    path = tmp_path / "ladder.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match="make ladder"):
        read_ladder(path)


def test_reliability_is_of_the_first_seed():
    stretches = [
        {"low": 0.0, "high": 0.5, "n": 0, "confidence": None, "accuracy": None},
        {"low": 0.5, "high": 1.0, "n": 4, "confidence": 0.9, "accuracy": 0.75},
    ]
    calibrated = {"ece_calibrated": 0.06, "ece_calibrated_low": 0.04, "ece_calibrated_high": 0.11}
    rows = [
        {"split": "homology", "method": "best_hit", "reliability": []},
        {"split": "homology", "method": "hybrid", "reliability": stretches, "ece": 0.08,
         **calibrated},
        {"split": "homology", "method": "hybrid", "reliability": [], "ece": 0.5},
    ]  # fmt: skip
    table = ladder_reliability(rows, "homology", "hybrid")
    assert table["n"].tolist() == [0, 4]
    assert np.isnan(table["accuracy"][0])
    assert describe_calibration(rows, "hybrid") == (
        "homology split: calibration error 0.080; perfect probabilities would show "
        "0.060 (0.040 to 0.110)"
    )


def test_classes_side_by_side():
    def of(method, f1):
        classes = [{"class": "rifampin", "precision": 1.0, "recall": 0.1, "f1": f1, "support": 9}]
        return row("random", method, f1, per_class=classes)

    table = ladder_classes([of("one", 0.12345), of("two", 0.5)], "random", ["two", "one"])
    assert table.to_dict("records") == [
        {"class": "rifampin", "proteins": 9, "Two": 0.5, "One": 0.123}
    ]


def test_seeds_are_told_apart():
    rows = [row("random", "one", 0.5, seed=0), row("random", "one", 0.75, seed=1)]
    assert ladder_frame(rows)["seed"].tolist() == [1, 0]
    assert "seed" not in ladder_frame(rows[:1])
    assert ladder_bins(rows, "random", ["one"])["One"]["macro_f1"][0] == 0.5
