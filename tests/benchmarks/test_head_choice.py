import json

import numpy as np
import pytest

from arg_utils.esm2.embeddings import FEATURES
from benchmarks import heads


@pytest.fixture(scope="module")
def grouped():
    """Sixty points around four far corners, a class each, and the fold of each."""
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 3, 9, 14], 15)
    corners = rng.normal(0, 3, (4, 250))
    x = (corners.repeat(15, axis=0) + rng.normal(0, 0.5, (60, 250))).astype(np.float32)
    return x, labels, np.arange(60) % 3


@pytest.mark.parametrize(
    "head", [heads.linear(), heads.nearest, heads.perceptron, heads.machine], ids=str
)
def test_every_head_finds_clear_classes(head, grouped):
    found = heads.score(head, *grouped)
    assert found["accuracy"] > 0.95
    assert found["macro_f1"] == pytest.approx(4 / 15, abs=0.02)
    assert found["seconds"] >= 0


def test_a_fold_is_not_learned_from():
    """Features that name the protein, and a class of its own for each fold."""
    x, fold = np.eye(30, dtype=np.float32), np.repeat([0, 1, 2], 10)
    assert heads.score(heads.nearest, x, fold, fold)["accuracy"] == 0


def test_the_chosen_features_are_among_those_tried():
    tried = heads.trials(quick=False)
    assert any(features == FEATURES and title == "linear" for _, features, title, _ in tried)
    assert len({(name, title) for name, _, title, _ in tried}) == len(tried)
    assert len(heads.trials(quick=True)) == 1


@pytest.mark.usefixtures("settings")
def test_the_table_is_printed_and_written(work, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(heads, "RESULTS", tmp_path)
    monkeypatch.setattr(heads, "open_workspace", lambda: work)
    assert heads.main(["--quick"]) == 0
    assert "linear" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr(heads, "trials", lambda quick: [("x", FEATURES, "linear", heads.linear())])
    assert heads.main([]) == 0
    written = json.loads((tmp_path / "heads.json").read_text())
    assert written["weights"] == work.weights.name
    assert written["rows"][0]["head"] == "linear"
