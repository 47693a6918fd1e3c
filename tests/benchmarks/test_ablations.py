"""Ablations: heads on frozen features, parts of the hybrid, other treatments on test proteins."""

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import log_softmax
from synthetic import called

from arg_utils.esm2.embeddings import FEATURES
from arg_utils.labels import NONARG
from arg_utils.methods.evidence import Unseen, stacking_weights
from arg_utils.methods.frozen import minimise
from benchmarks.ablations import __main__ as command
from benchmarks.ablations import (
    abstention,
    competition,
    heads,
    residues,
    situations,
    stacking,
    tested,
    treatments,
)
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


def test_clusters_stay_whole_and_another_seed_is_another_division():
    rng = np.random.default_rng(0)
    clusters = rng.integers(0, 200, 2000)
    labels = rng.integers(0, 15, 200)[clusters]
    one, two = (situations.divide(labels, clusters, seed) for seed in (1, 2))
    assert all(len(np.unique(one[clusters == number])) == 1 for number in range(200))
    assert set(one) == set(range(5))
    i, j = rng.integers(0, 2000, (2, 20000))
    together = (one[i] == one[j]) & (clusters[i] != clusters[j])
    assert (two[i] == two[j])[together].mean() < 0.5


def hit(query, target, bits, label, cluster, nearest=0.0, residues=0.0):
    return {"query": query, "target": target, "bits": bits, "identity": 0.3, "nearest": nearest,
            "query_coverage": 0.9, "target_coverage": 0.8, "label": label, "cluster": cluster,
            "strength": np.log(bits / 35), "normalised": bits / 100,
            "residues": residues}  # fmt: skip


def test_columns_say_who_competes():
    """Query 7: two families of class 9, one of class 7 that is stronger; query 4: nothing."""
    hits = pd.DataFrame([
        hit(7, 1, 70, 9, 1, 0.9, 0.2), hit(7, 2, 60, 9, 1, 0.0, 0.4), hit(7, 3, 50, 9, 2),
        hit(7, 5, 140, 7, 3, 0.0, -0.1),
    ])  # fmt: skip
    out = competition.columns(hits, np.array([4, 7]))
    assert not any(table[0].any() for table in out.values())
    assert out["strength"][1, 9] == pytest.approx(np.log(2))
    assert out["second"][1, [7, 9]] == pytest.approx([0, np.log(50 / 35)])
    assert np.expm1(out["families"][1, [7, 9]]) == pytest.approx([1, 2])
    assert out["margin"][1, [7, 9]] == pytest.approx([np.log(2), -np.log(2)])
    shares = np.array([140**2, 70**2 + 50**2])
    assert out["vote"][1, [7, 9]] == pytest.approx(shares / shares.sum())
    assert out["nearest vote"][1].argmax() == 9
    assert out["residues"][1, [7, 9]] == pytest.approx([-0.1, 0.2])  # of the strongest hit


def test_residues_are_compared_one_by_one_where_a_hit_is_weak():
    """The second protein is the first, shuffled: the same residues, the same quantiles."""
    rng = np.random.default_rng(0)
    states = rng.normal(size=(40, residues.COMPONENTS))
    units = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (states, states[::-1], -states)]
    one = residues.Residues([x.astype(np.float16) for x in units], np.zeros((3, 8), np.float32))
    pairs = np.array([[0, 1], [0, 2], [1, 2]]).T
    alike, *others = one.max_similarity(*pairs).tolist()
    assert alike == pytest.approx(1, abs=1e-3)
    assert max(others) < 0.6
    assert one.max_similarity(*pairs[:, :0]).shape == (0,)
    hits = pd.DataFrame([hit(0, 1, 40, 9, 1), hit(0, 2, 40, 7, 2), hit(1, 2, 90, 7, 2)])
    first, second = competition.compare_residues((hits[:1], hits[1:]), one)
    assert first["residues"].tolist() == pytest.approx([(alike - others[0]) / 2])
    assert second["residues"].tolist() == pytest.approx([(others[0] - alike) / 2, 0])
    without = competition.compare_residues((hits[:1], hits[1:]), None)
    assert [len(table) for table in without] == [1, 2]
    assert not any(table["residues"].any() for table in without)


@pytest.mark.usefixtures("settings")
def test_a_protein_is_pooled_by_quantiles_of_its_residues(work):
    sequences = [record.sequence for record in work.data.train[:12]]
    found = residues.residues_of(sequences)
    assert [len(x) for x in found.units] == [min(len(s), 1022) for s in sequences]
    assert found.quantiles.shape == (12, residues.COMPONENTS * residues.QUANTILES)
    by_level = found.quantiles.reshape(12, residues.QUANTILES, residues.COMPONENTS)
    assert (np.diff(by_level, axis=1) >= 0).all()
    itself = found.max_similarity(np.arange(12), np.arange(12))
    assert itself == pytest.approx(np.ones(12), abs=1e-3)


def test_hits_lie_apart():
    hits = pd.DataFrame({"query": [0, 0, 1], "target": [1, 2, 2]})
    group, known = np.array([0, 0, 1]), np.array([True, True, True])
    assert competition.apart(hits, np.array([0]), known, group)["target"].tolist() == [2]
    assert not len(competition.apart(hits, np.array([0]), np.array([1, 1, 0], bool), group))


def test_a_head_is_asked_only_about_groups_it_has_not_seen(monkeypatch, own_cache):
    def head(known, rest, asked):
        assert not set(group[rest]) & set(group[asked])
        assert -2 not in group[rest]
        return np.full((len(asked), 15), len(rest), np.float32)

    group = np.array([0, 0, 1, -1, -2])
    monkeypatch.setattr(situations, "HEADS", {"x": head})
    features = np.eye(5, dtype=np.float32)
    known = SimpleNamespace(labels=np.arange(5), features=features, background=features[:0],
                            quantiles=features)  # fmt: skip
    (out,) = situations.scores(known, group[None], "x")
    np.testing.assert_array_equal(out[:, 0], [2, 2, 3, np.nan, np.nan])


def drawn(seed=0):
    """Evidence of two columns, classes drawn by their known weights, as a situation."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(4000, 15, 2)).astype(np.float32)
    y = (x @ np.array([1.0, -0.5]) + rng.gumbel(size=(4000, 15))).argmax(axis=1)
    return x, y


def test_newton_finds_the_weights():
    x, y = drawn()
    weights = stacking.newton(x, y, np.ones(4000))
    np.testing.assert_allclose(weights, [1, -0.5], atol=0.06)
    unseen = Unseen(x, y, np.arange(4000), np.zeros(4000, bool), np.ones(4000), np.ones(4000))
    other = stacking_weights(unseen, 1.0).numpy()
    np.testing.assert_allclose(weights / weights[0], other / other[0], atol=0.01)


def test_offsets_undo_a_bias_unless_shrunk_away():
    x, y = drawn()
    log_p = log_softmax(x @ np.array([1.0, -0.5]) * 3, axis=1)
    of = SimpleNamespace(labels=y, natural=np.ones(4000))
    biased = log_p + np.eye(15)[4] * 2

    def f1(more):
        return stacking.macro_f1(y, (biased + more).argmax(axis=1))

    assert f1(stacking.offsets(biased, of, 1e-4)) > f1(0) + 0.005
    assert not stacking.offsets(biased, of, 10.0).any()


def test_a_gain_is_pooled_over_divisions():
    labels, clusters = np.repeat([2, 7, 11, 14], 16), np.repeat(np.arange(16), 4)
    worse = np.where(np.arange(64) % 4 == 0, 2, labels)
    both = [labels, np.where(clusters == 0, -1, labels)]
    rows = stacking.pooled(both, [worse, worse], labels, clusters, None)
    assert rows["gain"] == pytest.approx(np.mean(rows["gains"]))
    assert 0 < rows["gain_low"] < rows["gain"] < rows["gain_high"]
    none = stacking.pooled(both, both, labels, clusters, 2)
    assert none["gain"] == none["gain_low"] == none["gain_high"] == 0
    # What one of them excludes counts for neither.
    assert stacking.pooled([labels], [both[1]], labels, clusters, None)["macro_f1"] == 4 / 15
    fewer = stacking.pooled([worse], [np.where(clusters == 0, -1, worse)], labels, clusters, None)
    assert fewer == stacking.pooled(
        [np.where(clusters == 0, -1, worse)], [worse], labels, clusters, None
    )


def test_sets_are_judged_by_family_and_answers_by_protein():
    """Two families of ARGs, the larger not covered; one of others, half of it unanswered."""
    p = np.full((7, 15), 0.01)
    p[:4, 3], p[4, 9], p[5, 14], p[6, :2] = 0.86, 0.86, 0.86, 0.43
    labels, families = np.array([9, 9, 9, 9, 9, 14, 14]), np.array([1, 1, 1, 1, 2, 3, 3])
    row = abstention.judged(p, SimpleNamespace(labels=labels, families=families), 0.5)
    assert row["families"] == pytest.approx((0 + 1 + 0.5) / 3)
    assert row["arg_families"] == 0.5
    assert (row["answered"], row["answered_other"]) == (pytest.approx(6 / 7), 0.5)
    assert row["wrong_of_answered"] == pytest.approx(4 / 6)
    assert (row["args_right"], row["args_wrong"], row["other_called_arg"]) == (0.2, 0.8, 0)


def test_above_the_decision_threshold_few_of_the_others_are_called():
    p = called(0.9, 0.7, 0.95, 0.99, *[-0.9] * 997)
    labels, weights = np.full(1001, NONARG), np.ones(1001)
    labels[3] = 3
    assert abstention.decision_threshold(p, labels, weights) == 0, "three of a thousand may be"
    for weight, threshold in ((2, 0.7), (3, 0.9)):
        weights[0] = weight
        assert abstention.decision_threshold(p, labels, weights) == threshold
    weights[2] = 30
    assert abstention.decision_threshold(p, labels, weights) == 0.95


def test_what_a_decision_threshold_spares_and_costs():
    p, labels = called(0.9, 0.8, 0.7, -0.9, 0.9, 0.6, -0.9, -0.9), np.array([3, 3, 3, 3, *[14] * 4])
    labels[0] = 4  # called, by another class
    row = abstention.decided(p, labels, 0.75)
    assert (row["args_right"], row["args_right_above"]) == (0.5, 0.25)
    assert (row["false_positives"], row["false_positives_above"]) == (0.5, 0.25)


def test_the_mechanism_of_the_nearest_is_judged_where_the_class_is_wrong(monkeypatch):
    labels = np.array([9, 9, 7, 7, 14])
    mechanism = np.array(["pump: MFS", "pump: ABC", "pump: MFS", "pump: MFS", ""])
    tested = SimpleNamespace(rows=np.array([0, 1, 4, 3]), nearest=np.array([2, 0, 1, -1]))
    monkeypatch.setattr(abstention, "SEEDS", (1,))
    folds = [(None, None, tested)]
    (row,) = abstention.mechanism_of_nearest([folds], mechanism, labels)
    assert abstention.mechanism_of_nearest([folds], np.full(5, ""), labels) == []
    assert (row["args"], row["with_hit"]) == (3, pytest.approx(2 / 3))
    assert (row["class"], row["mechanism"], row["mechanism_group"]) == (0.5, 0.5, 1)
    assert row["mechanism_where_class_is_wrong"] == 1


def test_the_nearest_arg_has_most_bits_and_is_no_other_protein():
    hits = pd.DataFrame([hit(7, 1, 70, 14, 1), hit(7, 2, 50, 9, 2), hit(7, 3, 60, 7, 3)])
    assert competition.nearest_arg(hits, np.array([4, 7])).tolist() == [-1, 3]


@pytest.mark.usefixtures("settings")
def test_tables_are_printed_and_written(work, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(command, "RESULTS", tmp_path)
    monkeypatch.setattr(command, "open_workspace", lambda: work)
    monkeypatch.setattr(command, "TABLES", ("heads", "stacking", "abstention", "test"))
    monkeypatch.setattr(stacking, "SEEDS", (1,))
    monkeypatch.setattr(stacking, "RESAMPLES", 20)
    searched = dict([*stacking.SEARCHES.items()][:1])
    monkeypatch.setattr(stacking, "SEARCHES", searched)
    for module in (stacking, abstention):
        monkeypatch.setattr(module, "mechanisms", lambda data: np.full(len(data.labels), ""))
    monkeypatch.setattr(abstention, "SEEDS", (1,))
    monkeypatch.setattr(abstention, "background", lambda args: ["MKVLAAGIVGLCAKALGRSTW" * 4])
    # Few steps: the tables are looked at, not the scores in them.
    monkeypatch.setattr(situations, "minimise", lambda loss, own, _: minimise(loss, own, 3))
    linear = ("x", FEATURES, "linear", treatments.linear())
    monkeypatch.setattr(heads, "trials", lambda: [linear])
    fewer = {name: TREATMENTS[name] for name in ("layers_linear", "layers_plain")}
    monkeypatch.setattr(tested, "TREATMENTS", fewer)
    assert command.main([]) == 0
    assert stacking.CHOSEN in capsys.readouterr().out
    written = {path.stem: json.loads(path.read_text()) for path in tmp_path.iterdir()}
    assert set(written) == {"heads", "stacking", "abstention", "ablations"}
    assert all(work.source.items() <= content.items() for content in written.values())
    assert [row["variant"] for row in written["stacking"]["rows"]] == list(stacking.VARIANTS)
    sets, decisions = (
        written["abstention"][name] for name in ("prediction_sets", "decision_thresholds")
    )
    assert [row["variant"] for row in decisions] == list(abstention.VARIANTS)
    assert {row["promised"] for row in sets} == set(abstention.COVERAGES)
    assert [row["variant"] for row in written["abstention"]["rows"]] == list(abstention.VARIANTS)
    assert written["heads"]["rows"][0]["head"] == "linear"
    rows = written["ablations"]["rows"]
    assert [(row["split"], row["method"]) for row in rows] == [
        (split, name) for split in ("random", "homology") for name in fewer
    ]
    assert rows[0]["gain"] == rows[2]["gain"] == 0
    with pytest.raises(SystemExit):
        command.main(["guess"])
