"""Fitted once and found again; pooled over folds; scored in rows that say what they are of."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import workspaces

from arg_utils.data.folders import load_dataset
from arg_utils.data.proteins import proteins, subset
from arg_utils.errors import UserError
from arg_utils.experiments import outcomes
from arg_utils.experiments.outcomes import (
    fit_fold,
    fit_folds,
    fit_random,
    load_fitted,
    score_homology,
    score_random,
)
from arg_utils.experiments.workspace import Workspace
from arg_utils.homology import splits
from arg_utils.methods import METHODS
from arg_utils.methods.baselines import Majority
from arg_utils.methods.course import FrozenLinear
from arg_utils.metrics.scores import accuracy, bootstrap_ci, macro_f1
from arg_utils.settings import LoraBlocks, StagedTraining

pytestmark = pytest.mark.usefixtures("settings")


@pytest.fixture
def fresh(work, tmp_path):
    """The same workspace with an empty folder of results."""
    return Workspace(work.data, work.weights, work.profile, tmp_path / "results")


@pytest.fixture
def fits(monkeypatch):
    """How often methods with ``fit`` of `Majority` or `FrozenLinear` were fitted: it grows."""
    done = []
    for kind in (Majority, FrozenLinear):
        fit = kind.fit

        def counted(method, *arguments, fit=fit):
            done.append(method.name)
            return fit(method, *arguments)

        monkeypatch.setattr(kind, "fit", counted)
    return done


def same(one, two):
    assert one.probabilities.keys() == two.probabilities.keys()
    for part, values in one.probabilities.items():
        np.testing.assert_array_equal(two.probabilities[part], values)
        np.testing.assert_array_equal(two.labels[part], one.labels[part])
    assert one.history.equals(two.history)
    assert (one.trainable_parameters, one.seconds) == (two.trainable_parameters, two.seconds)


def test_a_second_fit_is_found(fresh, fits):
    first = fit_random(fresh, "majority")
    again = fit_random(replace(fresh), "majority")
    assert len(fits) == 1
    same(first, again)
    most = int(np.bincount(fresh.train.labels).argmax())
    assert first.predictions("val").tolist() == [most] * len(fresh.val.labels)


def test_validation_is_scored_by_what_has_not_learned_from_it(fresh, monkeypatch):
    told = np.tile(np.eye(15, dtype=np.float32)[3], (len(fresh.val.labels), 1))
    monkeypatch.setattr(METHODS["majority"], "held_out", lambda method, val: told)
    found = fit_random(fresh, "majority")
    assert found.predictions("val").tolist() == [3] * len(told)
    assert 3 not in found.predictions("test")


def test_a_trained_method_is_found_with_all_it_gave(fresh, monkeypatch):
    first = fit_random(fresh, "lora_classifier")
    monkeypatch.setattr(METHODS["lora_classifier"], "fit", lambda *_, **__: pytest.fail("fitted"))
    same(first, fit_random(replace(fresh), "lora_classifier"))
    assert first.trainable_parameters == 8 * (320 + 15)
    assert first.seconds == pytest.approx(first.history["seconds"].sum())
    for part in ("val", "test"):
        np.testing.assert_allclose(first.probabilities[part].sum(axis=1), 1, atol=1e-5)
        assert first.macro_f1(part) == macro_f1(first.labels[part], first.predictions(part))


@pytest.mark.parametrize(
    ("change", "refitted"),
    [
        (lambda w: replace(w, weights=replace(w.weights, sha256="0" * 64)), {"frozen_linear"}),
        (lambda w: of_profile(w, seed=1, max_records=None), {"majority", "frozen_linear"}),
        (lambda w: of_profile(w, max_records=3), {"majority", "frozen_linear"}),
        (lambda w: of_profile(w, staged=StagedTraining(epochs=3)), {"frozen_linear"}),
        (lambda w: of_profile(w, lora_blocks=LoraBlocks(r=3)), set()),
        (lambda w: replace(w, data=replace(w.data, identity="0" * 64)), set()),
    ],
    ids=["weights", "seed", "cap", "settings", "settings of others", "file names"],
)
def test_fits_are_made_anew_by_what_they_depend_on_alone(fresh, fits, change, refitted):
    both = ("majority", "frozen_linear")
    for method in both:
        fit_random(fresh, method)
    fits.clear()
    for method in both:
        fit_random(change(fresh), method)
    assert set(fits) == refitted


def of_profile(work, **changes):
    """The workspace with a profile changed."""
    return replace(work, profile=replace(work.profile, **changes))


def test_a_change_of_the_code_makes_its_fits_anew(fresh, fits, monkeypatch):
    fit_random(fresh, "majority")
    monkeypatch.setattr(outcomes, "closure_fingerprint", lambda module: f"changed {module}")
    fit_random(fresh, "majority")
    assert fits == ["majority"] * 2
    assert outcomes.fitting_code("hybrid") == "changed methods/hybrid.py"


def test_a_corrected_label_is_noticed(fresh, fits, tmp_path):
    """Sequences and all settings are the same: only the files tell."""
    fit_random(fresh, "majority")
    folder = workspaces.write_folder(tmp_path / "labelled")
    text = (folder / "train.fasta").read_text()
    (folder / "train.fasta").write_text(text.replace("|polymyxin|", "|tetracycline|", 1))
    corrected = replace(fresh, data=load_dataset(folder))
    assert corrected.train.sequences == fresh.train.sequences
    fit_random(corrected, "majority")
    assert len(fits) == 2


def test_a_damaged_outcome_is_made_anew(fresh, fits):
    first = fit_random(fresh, "majority")
    place = fresh.folder / "fits" / "random" / "majority" / "outcome.pt"
    place.write_bytes(place.read_bytes()[:-7])
    again = fit_random(fresh, "majority")
    same(first, replace(again, seconds=first.seconds))
    assert len(fits) == 2


def test_the_saved_method_predicts_what_was_scored(fresh):
    for name in ("majority", "frozen_linear"):
        outcome = fit_random(fresh, name)
        found = load_fitted(fresh, name).probabilities(fresh.test.sequences)
        np.testing.assert_allclose(found, outcome.probabilities["test"], atol=1e-6)
    with pytest.raises(UserError, match="cannot be read"):
        load_fitted(fresh, "lora_classifier")


def test_random_rows_say_what_they_are_of(work, weights):
    rows = score_random(work, ["majority", "frozen_linear"])
    assert [row["method"] for row in rows] == ["majority", "frozen_linear"]
    for row in rows:
        outcome = fit_random(work, row["method"])
        true, found = work.test.labels, outcome.predictions("test")
        assert row["macro_f1"] == macro_f1(true, found)
        assert row["accuracy"] == accuracy(true, found)
        assert 0 <= row["ci_low"] <= row["macro_f1"] <= row["ci_high"] <= 1
        assert row["minutes"] == outcome.seconds / 60
        assert row["given"] == METHODS[row["method"]].reference
        named = {
            "split": "random", "title": METHODS[row["method"]].title, "proteins": len(true),
            "excluded": 0, "seed": 0, "profile": "smoke", "weights": weights.name,
            "data": f"labelled [{work.data.identity[:8]}]", "scored": "test",
        }  # fmt: skip
        assert row == row | named
        assert "folds" not in row
    assert rows[1]["trainable_parameters"] == 320 * 15 + 15
    assert rows[1]["macro_f1"] > rows[0]["macro_f1"]


def test_intervals_resample_families_not_proteins(work, monkeypatch, tmp_path):
    known = np.array([record.label for record in work.data.train])
    tested = replace(work.data, test=work.data.train, test_labels=known)  # some families twice
    other = replace(work, data=tested, folder=tmp_path)
    other.__dict__["labelled"] = work.labelled
    given = {}

    def interval(true, found, groups, seed):
        given.update(groups=groups, seed=seed)
        return bootstrap_ci(true, found, groups)

    monkeypatch.setattr(outcomes, "bootstrap_ci", interval)
    score_random(other, ["majority"])
    expected = workspaces.known_families(other.test.sequences)
    pairs = set(zip(given["groups"].tolist(), expected.tolist(), strict=True))
    assert len(pairs) == len(set(expected)) == len(set(given["groups"])) < len(expected)
    assert given["seed"] == work.profile.seed


@pytest.fixture
def two_hits_a_fold(monkeypatch):
    """The first protein of a fold resembles a training protein, the second one only remotely."""

    def hits(queries, targets):
        table = pd.DataFrame({"query": [0, 1], "target": [0, 1], "identity": [0.9, 0.35]})
        return table.assign(bits=[200.0, 60.0], evalue=0.0, query_coverage=0.9, target_coverage=0.9)

    monkeypatch.setattr(splits, "search", hits)


def test_folds_side_by_side_are_those_one_by_one(work, tmp_path, monkeypatch):
    profile = replace(work.profile, max_records=None)
    fitted = {}
    for cores in (1, 2):
        monkeypatch.setattr(outcomes, "cores", lambda cores=cores: cores)
        whole = Workspace(work.data, work.weights, profile, tmp_path / f"{cores}")
        assert len(whole.labelled[0])  # the folds, which another process would derive anew
        fitted[cores] = fit_folds(whole, "frozen_linear", (0, 1))
    assert (tmp_path / "2/fits/homology-1/frozen_linear/outcome.pt").is_file()
    for (one, parts), (two, same_parts) in zip(fitted[1], fitted[2], strict=True):
        np.testing.assert_array_equal(one.probabilities["test"], two.probabilities["test"])
        assert one.history.drop(columns="seconds").equals(two.history.drop(columns="seconds"))
        assert parts.test.tolist() == same_parts.test.tolist()


def test_pooled_folds_hold_every_protein_once(work, two_hits_a_fold, tmp_path, monkeypatch):
    monkeypatch.setattr(outcomes, "cores", lambda: 1)  # other processes would search for real
    profile = replace(work.profile, max_records=None, homology_folds=(0, 1, 2, 3, 4))
    whole = Workspace(work.data, work.weights, profile, tmp_path)
    records, table = whole.labelled
    rows, found = score_homology(whole, ["majority", "frozen_linear"])
    parts = [fit_fold(whole, "majority", fold)[1] for fold in range(5)]
    aside = np.concatenate([part.excluded for part in parts])
    assert len(aside) == 5
    assert sorted([*found["position"], *aside]) == list(range(len(records)))
    assert found["fold"].tolist() == table["fold"].to_numpy()[found["position"]].tolist()
    assert found["true"].tolist() == [records[i].label for i in found["position"]]
    assert found.columns.tolist() == [
        "fold", "position", "true", "identity", "majority", "frozen_linear"
    ]  # fmt: skip
    assert found.index.tolist() == list(range(len(found)))
    for row in rows:
        assert (row["folds"], row["split"], row["scored"]) == ([0, 1, 2, 3, 4], "homology", "test")
        assert (row["proteins"], row["excluded"]) == (len(records) - 5, 5)
        assert row["macro_f1"] == macro_f1(found["true"], found[row["method"]])
        assert row["accuracy"] == accuracy(found["true"], found[row["method"]])
    remote = found[found["identity"].notna()]
    assert remote["identity"].tolist() == [0.35] * 5
    assert remote["position"].tolist() == [part.best_hits["query"][1] for part in parts]
    by_fold = [fit_fold(whole, "frozen_linear", fold)[0] for fold in range(5)]
    for fold, outcome in enumerate(by_fold):
        pooled = found["frozen_linear"][found["fold"] == fold]
        assert pooled.tolist() == outcome.predictions("test").tolist()
    assert rows[1]["minutes"] == pytest.approx(sum(o.seconds for o in by_fold) / 60)


def test_predictions_of_a_fold_stand_beside_their_proteins(work):
    """One fold, a method that learns: pooled columns are each outcome's own predictions."""
    rows, found = score_homology(work, ["majority", "frozen_linear"])
    outcome, parts = fit_fold(work, "frozen_linear", 0)
    assert rows[0]["folds"] == [0]
    assert found["position"].tolist() == parts.test.tolist()
    assert found["frozen_linear"].tolist() == outcome.predictions("test").tolist()
    assert found["true"].tolist() == outcome.labels["test"].tolist()
    counts = np.bincount(found["true"])
    assert counts.max() <= work.profile.max_records
    assert not set(parts.test) & (set(parts.train) | set(parts.val) | set(parts.excluded))


def test_folds_may_be_named_and_are_kept_apart(work, fits):
    _, both = score_homology(work, ["majority"], folds=(0, 1))
    _, second = score_homology(work, ["majority"], folds=[1])
    assert sorted(both["fold"].unique()) == [0, 1]
    assert second["position"].tolist() == both["position"][both["fold"] == 1].tolist()
    done = len(fits)
    rows, _ = score_homology(work, ["majority"], folds=(0, 1, 7))
    assert rows[0]["folds"] == [0, 1]
    assert len(fits) == done


def test_without_test_labels_validation_is_scored(unlabelled):
    outcome = fit_random(unlabelled, "frozen_linear")
    assert set(outcome.probabilities) == {"val"}
    (row,) = score_random(unlabelled, ["frozen_linear"])
    assert (row["scored"], row["given"]) == ("val", "train")
    assert row["proteins"] == len(unlabelled.val.labels)
    assert row["macro_f1"] == macro_f1(unlabelled.val.labels, outcome.predictions("val"))
    (pooled,), found = score_homology(unlabelled, ["majority"])
    assert pooled["scored"] == "test"  # of a fold, made of labelled proteins
    assert found["true"].isin(range(15)).all()


def test_the_best_hit_is_one_algorithm_that_knows_validation_on_both_splits(work):
    """What is a reference on a fold is what the split gives for training and validation."""
    outcome, parts = fit_fold(work, "best_hit", 0)
    records, _ = work.labelled
    both = subset(proteins(records), np.concatenate([parts.train, parts.val]))
    tested = [records[i].sequence for i in parts.test]
    method = METHODS["best_hit"]()
    method.learn(both)
    assert outcome.predictions("test").tolist() == method.predict(tested).tolist()
    on_random = fit_random(work, "best_hit")
    method.learn(work.references)
    assert on_random.predictions("test").tolist() == method.predict(work.test.sequences).tolist()
    method.learn(work.train)
    assert on_random.predictions("val").tolist() == method.predict(work.val.sequences).tolist()
