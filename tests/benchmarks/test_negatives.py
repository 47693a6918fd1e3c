import json

import numpy as np
import pytest
import synthetic
from catalogues import catalogue, database
from synthetic import called

from arg_utils.errors import UserError
from arg_utils.labels import CLASSES, INDEX, NONARG
from arg_utils.methods.hybrid import COVERAGE, Hybrid
from arg_utils.metrics.calibration import conformal_threshold
from benchmarks import external, negatives

BETA_LACTAM = INDEX["beta_lactam"]


def test_of_the_database_whole_proteins_that_are_no_toxins_are_read(tmp_path, monkeypatch):
    titles = ("N_1", "P_1", "N_2", "N_3", "N_4")
    sequences = ("MKJ*", "MW", "MKX", "MK*L", "MD")

    class Wheel:
        package = "x"

        def fetch(self, folder):
            return dict(enumerate(database(tmp_path, titles=titles, sequences=sequences)))

    monkeypatch.setattr(negatives, "WHEEL", Wheel())
    assert negatives.read_negatives() == ["MKX", "MD"]


def test_what_resembles_an_arg_is_told_apart(work, monkeypatch):
    rng = np.random.default_rng(2)
    known = work.data.train[0].sequence
    arg = next(r.sequence for r in work.data.train if r.label == BETA_LACTAM)
    other = next(r.sequence for r in work.data.train if r.label == NONARG)
    asked = [
        known,
        synthetic.mutant(rng, arg, 0.9),
        synthetic.mutant(rng, other, 0.9),
        *synthetic.families(rng, 2, 1),
    ]
    monkeypatch.setattr(negatives, "read_negatives", lambda: asked)
    new, like, counts = negatives.new_proteins(work)
    assert new == asked[1:]
    assert like.tolist() == [True, False, False, False]
    assert counts == {
        "read": 5,
        "identical to a known protein": 1,
        "resemble an ARG": 1,
        "resemble none": 3,
    }
    monkeypatch.setattr(negatives, "read_negatives", lambda: [known])
    with pytest.raises(UserError, match="All proteins of toxinpred2 are in the data"):
        negatives.new_proteins(work)


def test_what_a_decision_threshold_costs_in_args_and_spares_in_negatives():
    args, far = called(0.9, 0.8, 0.7, -0.9), called(0.8, 0.81, -0.9, -0.9)
    assert negatives.recall(args, far, None) == {"recall": 0.75}
    shares = {"recall": 0.75, "recall_above": 0.25, "called_arg_above": 0.25}
    assert negatives.recall(args, far, 0.8) == shares | {"decision_threshold": 0.8}


@pytest.mark.usefixtures("settings")
def test_far_evidence_is_what_the_hybrid_learned_from(work):
    method = Hybrid().fit(work.train, work.val, work.profile, work.profile.seed)
    far = negatives.far_evidence(work.train, seed=work.profile.seed)
    p = method.combined(far.evidence)
    assert conformal_threshold(p, far.labels, far.families, COVERAGE) == pytest.approx(
        method.threshold
    )


def test_shares_called_an_arg():
    probabilities = np.full((4, 15), 0.01)
    probabilities[[0, 1, 2, 3], [NONARG, NONARG, 0, 1]] = [0.9, 0.4, 0.9, 0.4]
    assert negatives.called(probabilities, None) == {"called_arg": 0.5}
    shares = {"called_arg": 0.5, "called_arg_answered": 0.25, "answered": 0.5}
    assert negatives.called(probabilities, 0.8) == shares


@pytest.mark.usefixtures("settings")
def test_the_table_is_printed_and_written(work, monkeypatch, tmp_path, capsys):
    rng = np.random.default_rng(3)
    args = [r.sequence for r in work.data.train if r.label == BETA_LACTAM][:3]
    others = [r.sequence for r in work.data.train if r.label == NONARG][:4]
    mutants = [synthetic.mutant(rng, sequence, 0.9) for sequence in args]
    asked = [synthetic.mutant(rng, sequence, 0.9) for sequence in [*args, *others]]
    monkeypatch.setattr(external, "read_catalogue", lambda: catalogue(mutants))
    monkeypatch.setattr(negatives, "read_negatives", lambda: asked)
    monkeypatch.setattr(external, "METHODS", ("best_hit", "majority", "hybrid"))
    monkeypatch.setattr(negatives, "homology_clusters", lambda known: np.arange(len(known)))
    monkeypatch.setattr(negatives, "open_workspace", lambda: work)
    monkeypatch.setattr(negatives, "RESULTS", tmp_path)
    assert negatives.main([]) == 0
    assert "resemble none" in capsys.readouterr().out
    written = json.loads((tmp_path / "negatives.json").read_text())
    best, majority, hybrid = written["rows"]
    assert "decision_threshold" not in best
    assert 0 <= hybrid["decision_threshold"] < 1
    assert hybrid["recall_above"] <= hybrid["recall"]
    assert (best["method"], majority["method"]) == ("best_hit", "majority")
    assert written["counts"]["resemble an ARG"] == len(args)
    assert written["counts"]["resemble none"] == len(others)
    assert (best["called_arg"], best["called_arg_resembling"], best["taken_for"]) == (0, 1, {})
    assert (best["macro_f1"], best["accuracy"], best["gain"]) == (1, 1, 0)
    assert majority["macro_f1"] < 1
    assert majority["gain"] < 0
    assert set(majority["taken_for"]) <= set(CLASSES)
    assert written["classes"] == 2
