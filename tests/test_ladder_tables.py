import json

import numpy as np
import pytest

from arg_utils.errors import UserError
from arg_utils.ladder_tables import (
    describe_ladder,
    ladder_bins,
    ladder_frame,
    ladder_reliability,
    read_ladder,
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


def test_reliability_leaves_out_stretches_without_proteins():
    stretches = [
        {"low": 0.0, "high": 0.5, "n": 0, "confidence": None, "accuracy": None},
        {"low": 0.5, "high": 1.0, "n": 4, "confidence": 0.9, "accuracy": 0.75},
    ]
    rows = [
        {"split": "homology", "method": "hybrid", "reliability": stretches},
        {"split": "homology", "method": "best_hit", "reliability": []},
    ]
    table = ladder_reliability(rows, "homology", "hybrid")
    assert table.to_numpy().tolist() == [[0.5, 1.0, 4, 0.9, 0.75]]
