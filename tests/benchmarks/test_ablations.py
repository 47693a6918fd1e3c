"""Ablations: heads on frozen features, parts of the hybrid, other treatments on test proteins."""

import json

import numpy as np
import pytest
import synthetic
import torch

from arg_utils.esm2.embeddings import FEATURES
from arg_utils.labels import NONARG
from benchmarks.ablations import __main__ as command
from benchmarks.ablations import heads, stacking, tested, treatments
from benchmarks.ablations.treatments import TREATMENTS

ONE = np.ones((100, 1), np.float32)
NINETY_TO_TEN = np.array([3] * 90 + [4] * 10)


@pytest.fixture(scope="module")
def grouped():
    """Sixty points around four far corners, a class each, and the fold of each."""
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 3, 9, 14], 15)
    corners = rng.normal(0, 3, (4, 250))
    x = (corners.repeat(15, axis=0) + rng.normal(0, 0.5, (60, 250))).astype(np.float32)
    return x, labels, np.arange(60) % 3


@pytest.mark.parametrize("head", [*dict(TREATMENTS.values()).values(), treatments.nearest])
def test_every_head_tells_clear_classes_apart(head, grouped):
    scores = heads.score(head, *grouped)
    assert scores["accuracy"] > 0.95
    assert scores["macro_f1"] == pytest.approx(4 / 15, abs=0.02)
    assert scores["seconds"] >= 0


def rare_class_probability(name):
    """Ninety to ten at one place: the probability of the rare class."""
    scores = torch.from_numpy(TREATMENTS[name][1](ONE, NINETY_TO_TEN, ONE[:1]))
    return float(torch.softmax(scores, dim=1)[0, 4])


def test_plain_is_right_and_the_others_favour_the_rare_class():
    assert rare_class_probability("layers_plain") == pytest.approx(0.1, abs=0.01)
    assert rare_class_probability("layers_sqrt") == pytest.approx(1 / 4, abs=0.02)  # three to one
    assert rare_class_probability("layers_weighted") == pytest.approx(0.5, abs=0.02)
    assert rare_class_probability("layers_adjusted") == pytest.approx(0.5, abs=0.05)
    assert rare_class_probability("layers_balanced") == pytest.approx(0.5, abs=0.12)
    assert 0.15 < rare_class_probability("layers_focal") < 0.5


def test_a_perceptron_repeats_and_leaves_random_numbers_alone(grouped):
    before = torch.random.get_rng_state()
    one, two, other = (treatments.fit_perceptron(*grouped[:2], seed) for seed in (1, 1, 2))
    assert torch.equal(before, torch.random.get_rng_state())
    assert torch.equal(one[0].weight, two[0].weight)
    assert not torch.equal(one[0].weight, other[0].weight)


def test_a_fold_is_not_learned_from():
    """Features that name the protein, and a class of its own for each fold."""
    x, fold = np.eye(30, dtype=np.float32), np.repeat([0, 1, 2], 10)
    assert heads.score(treatments.nearest, x, fold, fold)["accuracy"] == 0


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


def test_the_chosen_count_is_the_one_of_the_library():
    chosen = stacking.powers(0.25, 0.25)(LABELS, FAMILIES)
    np.testing.assert_allclose(chosen, stacking.balance(LABELS, FAMILIES))
    assert (stacking.powers(0.0, 0.0)(LABELS, FAMILIES) == 1).all()
    assert (0.25, 0.25) not in stacking.COUNTED.values()


@pytest.mark.usefixtures("settings")
def test_tables_are_printed_and_written(work, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(command, "RESULTS", tmp_path)
    monkeypatch.setattr(command, "open_workspace", lambda: work)
    monkeypatch.setattr(stacking, "SEEDS", (1,))
    linear = ("x", FEATURES, "linear", treatments.linear())
    monkeypatch.setattr(heads, "trials", lambda: [linear])
    fewer = {name: TREATMENTS[name] for name in ("layers_linear", "layers_plain")}
    monkeypatch.setattr(tested, "TREATMENTS", fewer)
    assert command.main([]) == 0
    assert stacking.CHOSEN in capsys.readouterr().out
    written = {path.stem: json.loads(path.read_text()) for path in tmp_path.iterdir()}
    assert set(written) == {"heads", "stacking", "ablations"}
    assert all(work.source.items() <= content.items() for content in written.values())
    names = [row["evidence"] for row in written["stacking"]["rows"]]
    assert names == [*stacking.VARIANTS, *stacking.COUNTED]
    assert written["heads"]["rows"][0]["head"] == "linear"
    rows = written["ablations"]["rows"]
    assert [(row["split"], row["method"]) for row in rows] == [
        (split, name) for split in ("random", "homology") for name in fewer
    ]
    assert rows[0]["gain"] == rows[2]["gain"] == 0
    with pytest.raises(SystemExit):
        command.main(["guess"])
