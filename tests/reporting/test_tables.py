"""Tables of scores and of training, and everything that the notebooks show, on few data."""

import numpy as np
import pandas as pd
import pytest

from arg_utils.data.submission import check_submission, write_submission
from arg_utils.esm2.batches import ProteinSequenceDataset
from arg_utils.experiments.outcomes import (
    Outcome,
    fit_random,
    load_fitted,
    score_homology,
    score_random,
)
from arg_utils.methods import METHODS
from arg_utils.metrics.scores import confusion, hardest_confusions, macro_f1, per_class_table
from arg_utils.reporting import eda, figures, mistakes, tables

EYE = np.eye(15, dtype=np.float32)
TRAINED = ["frozen_linear", "lora_classifier", "lora_blocks"]

pytestmark = pytest.mark.usefixtures("settings")


def outcome(method="frozen_linear", seconds=90.0, parameters=4815, **parts):
    """An outcome from (true, predicted) classes of each part."""
    probabilities = {name: EYE[predicted] for name, (_, predicted) in parts.items()}
    labels = {name: np.array(true) for name, (true, _) in parts.items()}
    return Outcome(method, probabilities, labels, pd.DataFrame(), parameters, seconds)


def history(rates, f1):
    """Two epochs a stage."""
    count = len(rates)
    return pd.DataFrame({
        "stage": np.repeat(np.arange(1, count + 1), 2), "epoch": [1, 2] * count,
        "learning_rate": np.repeat(rates, 2), "train_loss": np.linspace(1, 0.1, 2 * count),
        "val_macro_f1": f1, "best": np.array(f1) > np.maximum.accumulate([0.0, *f1[:-1]]),
        "seconds": 0.25,
    })  # fmt: skip


def test_stages_are_summed_up():
    f1 = [0.5, 0.75, 0.8, 0.7, 0.7, 0.6, 0.9, 0.85]
    table = tables.stage_table(history([1e-3, 1e-4, 1e-3, 1e-4], f1))
    assert table.index.tolist() == [1, 2, 3, 4]
    assert table.to_dict("list") == {
        "trains": ["layer", "layer", "LoRA factors", "LoRA factors"],
        "learning rate": [1e-3, 1e-4, 1e-3, 1e-4],
        "epochs": [2] * 4,
        "best epoch": [2, 1, 1, 1],
        "its macro-F1": [0.75, 0.8, 0.7, 0.9],
        "best so far improved": [True, True, False, True],
        "last loss": [0.8714, 0.6143, 0.3571, 0.1],
        "seconds": [0.5] * 4,
    }
    without_lora = tables.stage_table(history([1e-3, 1e-4, 1e-5], [0.5] * 6))
    assert without_lora["trains"].tolist() == ["layer"] * 3


def test_validation_table_is_of_validation():
    same = outcome(val=([0, 1, 14, 14], [0, 1, 14, 0]), test=([0], [1]))
    other = outcome("lora_blocks", 30, 7, val=([0, 1, 14, 14], [0, 1, 14, 14]))
    table = tables.validation_table([same, other])
    assert table.index.tolist() == ["frozen ESM-2 + linear", "LoRA in the blocks"]
    assert table.to_dict("list") == {
        "macro-F1": [round((2 / 3 + 1 + 2 / 3) / 15, 4), 0.2],
        "accuracy": [0.75, 1],
        "trainable parameters": [4815, 7],
        "training minutes": [1.5, 0.5],
    }


def test_changed_answers_are_told_apart():
    true = [0, 0, 0, 0, 0, 0]
    before = outcome(val=(true, [0, 0, 1, 1, 1, 2]))
    after = outcome(val=(true, [0, 3, 0, 0, 2, 2]))
    table = tables.lora_changes(before, after)
    assert dict(table.to_numpy().tolist()) == {
        "proteins": 6, "answers changed": 4, "wrong, now right": 2, "right, now wrong": 1,
        "wrong both times": 1,
    }  # fmt: skip
    assert tables.lora_changes(before, before)["number"].tolist() == [6, 0, 0, 0, 0]


def row(split, method, f1, **more):
    bins = [
        {"bin": "no hit", "n": 3, "classes": 2, "macro_f1": f1, "accuracy": f1},
        {"bin": "<30 %", "n": 0, "classes": 0, "macro_f1": None, "accuracy": None},
    ]
    return {"split": split, "method": method, "title": method.title(), "macro_f1": f1,
            "ci_low": f1 / 2, "ci_high": 1.0, "bins": bins, **more}  # fmt: skip


def test_scores_are_read_with_their_intervals_folds_and_seeds():
    rows = [row("random", "one", 0.5, minutes=2.34), row("homology", "one", 0.25, folds=[0, 1]),
            row("homology", "two", 0.25, folds=[0, 1, 2, 3, 4])]  # fmt: skip
    rows += [row("random", "two", f1, seed=s) for s, f1 in ((0, 0.1), (0, 0.4), (1, 0.6), (2, 0.5))]
    frame = tables.score_frame([*rows, {"method": "bare"}])
    assert frame[tables.SCORE].tolist() == [
        "0.500 (0.250–1.000)",
        "0.250 (0.125–1.000), 2 of 5 folds",
        "0.250 (0.125–1.000)",
        "0.500 (0.250–1.000), mean of 3 seeds",  # the first was measured twice: the last counts
        "–",
    ]
    assert frame["minutes"].tolist() == ["2.3", "–", "–", "–", "–"]
    assert tables.GAIN not in frame  # nobody's was measured
    ece = {"ece": 0.08, "ece_calibrated": 0.06, "ece_calibrated_low": 0.04}
    calibrated = tables.score_frame([row("random", "one", 0.5, ece_calibrated_high=0.11, **ece)])
    assert calibrated[tables.CALIBRATED].tolist() == ["0.060 (0.040–0.110)"]


OF = {"data": "open", "weights": "w", "profile": "laptop"}


def measured(split, method, f1, **more):
    scored = {"accuracy": f1, "proteins": 9, "seed": 0, **OF}
    return {"split": split, "method": method, "macro_f1": f1, **scored, **more}


def test_a_run_and_the_ladder_make_one_row_each():
    ladder = [
        measured("random", "hybrid", 0.75, ece=0.1),
        measured("random", "lora_blocks", 0.937, ece=0.2),
        measured("homology", "hybrid", 0.5, ece=0.3),
        measured("random", "majority", 0.1, data="mine"),
        measured("random", "layers_perceptron", 0.9),
    ]
    run = [measured("random", "hybrid", 0.75), measured("random", "lora_blocks", 0.938)]
    rows = tables.with_ladder(run, ladder, OF)
    scores = {(r["split"], r["method"]): (r["macro_f1"], r.get("ece")) for r in rows}
    assert scores == {
        ("random", "hybrid"): (0.75, 0.1),
        ("random", "lora_blocks"): (0.938, None),  # the ladder's calibration is of another fit
        ("homology", "hybrid"): (0.5, 0.3),
    }
    assert len(rows) == 3
    assert tables.with_ladder(run, ladder, OF | {"profile": "smoke"}) == run
    short = tables.with_ladder([], ladder, OF | {"profile": "short"})
    assert [(r["split"], r["method"]) for r in short] == [
        ("random", "hybrid"),
        ("homology", "hybrid"),
    ]


def test_methods_are_read_by_titles_that_differ():
    rows = [measured(split, name, 0.5) for split in ("homology", "random") for name in METHODS]
    frame = tables.titled(rows)
    assert frame.index.is_unique
    assert frame.index[0] == ("random", METHODS["majority"].title)
    assert "profile" not in frame


def test_relatives_are_counted_by_class():
    predictions = pd.DataFrame({
        "true": [10, 10, 10, 10, 14], "identity": [np.nan, 0.3, 0.4, 0.5, np.nan],
        "best_hit": [14, 10, 14, 0, 14],
    })  # fmt: skip
    table = tables.nearest_by_class(predictions)
    assert table.to_dict("index") == {
        "rifampin": {
            "proteins": 4, "no hit": 0.25, "hit of its class": 0.25, "hit of another": 0.5
        },
        "not an ARG": {"proteins": 1, "no hit": 1, "hit of its class": 0, "hit of another": 0},
    }  # fmt: skip


def test_the_best_of_each_split_comes_first():
    rows = [row("homology", "a", 0.25), row("random", "a", 0.5), row("random", "b", 0.75)]
    ordered = [(r["split"], r["method"]) for r in tables.best_first(rows)]
    assert ordered == [("random", "b"), ("random", "a"), ("homology", "a")]


def test_bins_and_reliability_are_of_one_split_and_of_the_first_seed():
    stretches = [
        {"low": 0.0, "high": 0.5, "n": 0, "confidence": None, "accuracy": None},
        {"low": 0.5, "high": 1.0, "n": 4, "confidence": 0.9, "accuracy": 0.75},
    ]
    rows = [row("random", "two", 0.75, reliability=stretches), row("random", "two", 0.5),
            row("homology", "one", 0.25, reliability=[])]  # fmt: skip
    bins = tables.ladder_bins(rows, "random", ["two", "absent"])
    assert list(bins) == ["Two"]
    assert bins["Two"]["macro_f1"][0] == 0.75
    assert np.isnan(bins["Two"]["macro_f1"][1])
    table = tables.ladder_reliability(rows, "random", "two")
    assert table["n"].tolist() == [0, 4]
    assert np.isnan(table["accuracy"][0])
    assert table["accuracy"].dtype == float


def test_classes_side_by_side():
    rows = [
        row("random", method, f1, per_class=[{"class": "rifampin", "f1": f1, "support": 9}])
        for method, f1 in (("one", 0.12345), ("two", 0.5))
    ]
    table = tables.ladder_classes(rows, "random", ["two", "one"])
    assert table.to_dict("records") == [
        {"class": "rifampin", "support": 9, "Two": 0.5, "One": 0.123}
    ]


def test_the_test_file_is_scored_if_its_labels_are_known(work, unlabelled):
    true = work.data.test_labels
    zeros = np.zeros_like(true)
    text = tables.score_on_test(work, zeros)
    share = (true == 0).mean()
    assert text.startswith(f"test macro-F1 {macro_f1(true, zeros):.4f}, accuracy {share:.4f} (35 ")
    assert "not known" in tables.score_on_test(unlabelled, zeros)


def test_the_best_is_chosen_by_validation_alone(work, monkeypatch):
    right, wrong = ([0, 14], [0, 14]), ([0, 14], [14, 0])
    fits = {
        "frozen_linear": outcome(val=right, test=wrong),
        "lora_classifier": outcome(val=wrong, test=right),
        "lora_blocks": outcome(val=right, test=right),
    }
    monkeypatch.setattr(tables, "fit_random", lambda work, method: fits[method])
    assert tables.best_on_validation(work, TRAINED) == "frozen_linear"
    assert tables.best_on_validation(work, TRAINED[::-1]) == "lora_blocks"
    assert tables.best_on_validation(work, ["lora_classifier", "lora_blocks"]) == "lora_blocks"


def test_all_that_the_notebooks_show(unlabelled, tmp_path):
    """Every table and figure as for the competition's data; one class has no protein."""
    work, part = unlabelled, "val"
    counts = eda.class_table(work.data)
    assert len(ProteinSequenceDataset(work.data.train, max_per_class=2)) == 2 * 14
    labels = [record.label for record in work.data.train]
    sequences = [record.sequence for record in work.data.train]
    outcomes = [fit_random(work, method) for method in TRAINED]
    trains = tables.stage_table(outcomes[1].history)["trains"].tolist()
    assert trains == ["layer"] * 3 + ["LoRA factors"] * 3
    assert len(tables.validation_table(outcomes)) == 3
    true, predicted = outcomes[1].labels[part], outcomes[1].predictions(part)
    assert len(true) == len(work.scored.labels) == len(work.val.labels)
    pairs = mistakes.confused_with_genes(work, outcomes[1])[["true", "predicted"]].drop_duplicates()
    assert len(hardest_confusions(true, predicted, top=6)) == len(pairs)
    rows = score_random(work, ["majority", "best_hit", *TRAINED])
    pooled, cheap = score_homology(work, ["majority", "best_hit", "frozen_linear"])
    expensive, _ = score_homology(work, ["lora_blocks"], work.profile.lora_blocks.folds)
    rows += pooled + expensive
    assert len(tables.score_frame(rows)) == 9
    bins = tables.bins_by_method(cheap, ["best_hit", "frozen_linear"])
    assert [table["n"].sum() for table in bins.values()] == [len(cheap)] * 2
    method = tables.best_on_validation(work, TRAINED)
    answers = load_fitted(work, method).predict([r.sequence for r in work.data.test])
    ids = [record.id for record in work.data.test]
    check_submission(write_submission(ids, answers.tolist(), tmp_path / "submission.csv"), ids)
    drawn = [
        eda.class_counts(counts.drop(columns="share").to_dict("list")),
        eda.class_counts(eda.capped(counts["train"], (5, None))),
        eda.lengths_by_class([len(s) for s in sequences], labels),
        eda.composition(eda.amino_acid_frequencies(sequences, labels)),
        eda.nearest_identity(eda.nearest_identities(work)),
        figures.learning_curves(outcomes[1].history),
        figures.confusion_matrix(confusion(true, predicted), "title"),
        figures.per_class_f1(per_class_table(true, predicted), "title"),
        figures.methods_comparison(rows),
        figures.f1_by_identity_bin(bins, "a split"),
        eda.class_counts({"predicted": np.bincount(answers, minlength=15)}),
    ]
    for fig in drawn:
        fig.draw_without_rendering()
