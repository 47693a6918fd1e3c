import json

import numpy as np
import pytest
import synthetic

from arg_utils.labels import NONARG
from benchmarks import stacking

LABELS = np.repeat([2, 7, 11, NONARG], 16)
FAMILIES = np.repeat(np.arange(16), 4)
FOLD = FAMILIES % 4


@pytest.fixture(scope="module")
def sequences():
    """Four families a class, four proteins each."""
    rng = np.random.default_rng(3)
    return [s for _ in range(4) for s in synthetic.families(rng, 4, 4, 0.8, 100)]


def told(known, labels, asked):
    """A head that knows the class: the first feature."""
    scores = np.zeros((len(asked), 15))
    scores[np.arange(len(asked)), asked[:, 0].astype(int)] = 5
    return scores


def test_hits_come_from_other_folds_only(sequences, own_cache):
    apart = stacking.hits_apart(sequences, LABELS, FOLD)
    assert set(apart) == {kind for kind, _ in stacking.VARIANTS.values()}
    assert not apart["none"].any()
    assert apart["all"].max() < 0.2, "whole families lie in one fold: no relatives elsewhere"
    mixed = stacking.hits_apart(sequences, LABELS, np.arange(64) % 4)
    right = mixed["proteins"][np.arange(64), LABELS, 0]
    assert (right > 0.2).mean() > 0.9
    np.testing.assert_array_equal(
        mixed["all"][..., 0], np.maximum(mixed["proteins"][..., 0], mixed["profiles"][..., 0])
    )


def test_a_head_is_asked_about_the_fold_it_has_not_seen():
    def first(known, labels, asked):
        assert not set(known[:, 0]) & set(asked[:, 0])
        return np.zeros((len(asked), 15))

    x = np.arange(64.0)[:, None]
    found = stacking.held_out(first, x, LABELS, FOLD)
    np.testing.assert_allclose(found, -np.log(15), rtol=1e-5)


def test_what_tells_the_class_is_worth_more_than_what_does_not():
    log_p = {
        "linear": stacking.held_out(told, LABELS[:, None], LABELS, FOLD),
        "perceptron": np.full((64, 15), -np.log(15), np.float32),
        "nearest": np.full((64, 15), -np.log(15), np.float32),
    }
    nothing = np.zeros((64, 15, 4), np.float32)
    hits = {kind: nothing for kind, _ in stacking.VARIANTS.values()}
    rows = {r["evidence"]: r for r in stacking.compare(hits, log_p, LABELS, FAMILIES, FOLD)}
    assert list(rows) == [*stacking.VARIANTS, *stacking.COUNTED]
    assert rows[stacking.CHOSEN]["accuracy"] == 1
    assert rows[stacking.CHOSEN]["false_args"] == 0
    assert rows["all hits, no model"]["false_args"] in (0, 1)  # nothing tells these proteins apart
    assert rows[stacking.CHOSEN]["gain"] == 0
    assert rows["all hits, perceptron"]["accuracy"] < 0.5
    assert rows["all hits, perceptron"]["gain_high"] < 0


def test_partings_are_averaged():
    def row(f1, gain):
        scores = {"macro_f1": f1, "accuracy": 1.0, "ece": 0.0, "false_args": 0.0, "gain": gain}
        return {"evidence": "x", **scores, "gain_low": gain - 1, "gain_high": gain + 1}

    (mean,) = stacking.averaged([[row(0.25, 0.0)], [row(0.75, 1.0)]])
    assert (mean["macro_f1"], mean["gain"]) == (0.5, 0.5)
    assert mean["gains"] == [[0.0, -1.0, 1.0], [1.0, 0.0, 2.0]]


def test_the_chosen_count_is_the_one_of_the_library():
    chosen = stacking.powers(0.25, 0.25)(LABELS, FAMILIES)
    np.testing.assert_allclose(chosen, stacking.balance(LABELS, FAMILIES))
    assert (stacking.powers(0.0, 0.0)(LABELS, FAMILIES) == 1).all()
    assert (0.25, 0.25) not in stacking.COUNTED.values()


@pytest.mark.usefixtures("settings")
def test_the_table_is_printed_and_written(work, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(stacking, "RESULTS", tmp_path)
    monkeypatch.setattr(stacking, "open_workspace", lambda: work)
    monkeypatch.setattr(stacking, "SEEDS", (1,))
    assert stacking.main([]) == 0
    assert stacking.CHOSEN in capsys.readouterr().out
    written = json.loads((tmp_path / "stacking.json").read_text())
    names = [row["evidence"] for row in written["rows"]]
    assert names == [*stacking.VARIANTS, *stacking.COUNTED]
    assert written["weights"] == work.weights.name
