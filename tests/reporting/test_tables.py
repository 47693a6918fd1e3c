from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import workspaces

from arg_utils.data.submission import check_submission, write_submission
from arg_utils.esm2.batches import ProteinSequenceDataset
from arg_utils.experiments.outcomes import (
    Outcome,
    fit_random,
    load_fitted,
    score_homology,
    score_random,
)
from arg_utils.labels import DISPLAY_NAMES
from arg_utils.metrics.scores import confusion, hardest_confusions, macro_f1, per_class_table
from arg_utils.reporting import eda, figures_data, figures_scores, tables
from arg_utils.settings import PROFILES, LoraBlocks

EYE = np.eye(15, dtype=np.float32)
TRAINED = ["frozen_linear", "lora_classifier", "lora_blocks"]


pytestmark = pytest.mark.usefixtures("settings")


def outcome(method="frozen_linear", seconds=90.0, parameters=4815, **parts):
    """An outcome from (true, predicted) classes of each part."""
    return Outcome(
        method,
        {name: EYE[found] for name, (_, found) in parts.items()},
        {name: np.array(true) for name, (true, _) in parts.items()},
        pd.DataFrame(),
        parameters,
        seconds,
    )


def test_header_examples_are_the_first_of_each_kind(work):
    assert eda.header_examples(work.data) == [
        ">P0x0|FEATURES|UNIPROT|aminoglycoside|geneP0x0",
        ">sp|P14x0|P14x0_ECOLI",
        ">SEQ0",
    ]
    one_kind = replace(work.data, train=[r for r in work.data.train if r.label == 14], test=[])
    assert eda.header_examples(one_kind) == [">sp|P14x0|P14x0_ECOLI"]


def history(rates, f1):
    """Two epochs a stage."""
    return pd.DataFrame(
        {
            "stage": np.repeat(np.arange(1, len(rates) + 1), 2),
            "epoch": [1, 2] * len(rates),
            "learning_rate": np.repeat(rates, 2),
            "train_loss": np.linspace(1, 0.1, 2 * len(rates)),
            "val_macro_f1": f1,
            "best": np.array(f1) > np.maximum.accumulate([0.0, *f1[:-1]]),
            "seconds": 0.25,
        }
    )


def test_stages_are_summed_up():
    f1 = [0.5, 0.75, 0.8, 0.7, 0.7, 0.6, 0.9, 0.85]
    table = tables.stage_table(history([1e-3, 1e-4, 1e-3, 1e-4], f1))
    assert table.index.tolist() == [1, 2, 3, 4]
    assert table["trains"].tolist() == ["layer"] * 2 + ["LoRA factors"] * 2
    assert table["learning rate"].tolist() == [1e-3, 1e-4, 1e-3, 1e-4]
    assert table["epochs"].tolist() == [2] * 4
    assert table["best epoch"].tolist() == [2, 1, 1, 1]
    assert table["its macro-F1"].tolist() == [0.75, 0.8, 0.7, 0.9]
    assert table["best so far improved"].tolist() == [True, True, False, True]
    assert table["last loss"].tolist() == [0.8714, 0.6143, 0.3571, 0.1]
    assert table["seconds"].tolist() == [0.5] * 4


def test_stages_without_lora_are_not_called_lora():
    table = tables.stage_table(history([1e-3, 1e-4, 1e-5], [0.5] * 6))
    assert table["trains"].tolist() == ["layer"] * 3


def test_validation_table_is_of_validation():
    same = outcome(val=([0, 1, 14, 14], [0, 1, 14, 0]), test=([0], [1]))
    other = outcome("lora_blocks", 30, 7, val=([0, 1, 14, 14], [0, 1, 14, 14]))
    table = tables.validation_table([same, other])
    assert table.index.tolist() == ["frozen ESM-2 + linear", "LoRA in the blocks"]
    assert table["accuracy"].tolist() == [0.75, 1]
    assert table["macro-F1"].tolist() == [round((2 / 3 + 1 + 2 / 3) / 15, 4), 0.2]
    assert table["trainable parameters"].tolist() == [4815, 7]
    assert table["training minutes"].tolist() == [1.5, 0.5]


def test_changed_answers_are_told_apart():
    true = [0, 0, 0, 0, 0, 0]
    before = outcome(val=(true, [0, 0, 1, 1, 1, 2]))
    after = outcome(val=(true, [0, 3, 0, 0, 2, 2]))
    table = tables.lora_changes(before, after)
    assert table.columns.tolist() == ["val answers", "number"]
    assert dict(table.to_numpy().tolist()) == {
        "proteins": 6,
        "answers changed": 4,
        "wrong, now right": 2,
        "right, now wrong": 1,
        "wrong both times": 1,
    }
    assert tables.lora_changes(before, before)["number"].tolist() == [6, 0, 0, 0, 0]


@pytest.mark.parametrize(
    "settings", [LoraBlocks(), LoraBlocks(r=4, top_blocks=6, modules=("fc1",))]
)
def test_trainable_parameters_follow_from_the_shapes(weights, settings):
    """LoRA of rank r on a layer has r * (inputs + outputs) numbers."""
    sizes = dict.fromkeys(("q_proj", "k_proj", "v_proj", "out_proj"), (320, 320))
    sizes |= {"fc1": (320, 1280), "fc2": (1280, 320)}
    head = 320 * 15 + 15
    a_block = sum(settings.r * sum(sizes[name]) for name in settings.modules)
    table = tables.trainable_table(replace(PROFILES["laptop"], lora_blocks=settings))
    assert table.to_numpy().tolist() == [
        ["frozen ESM-2 + linear", head],
        ["+ LoRA on the classifier", 8 * (320 + 15)],
        ["LoRA in the blocks", settings.top_blocks * a_block + head],
    ]


def test_the_table_of_parameters_is_what_is_trained(unlabelled):
    table = tables.trainable_table(unlabelled.profile)
    counted = [fit_random(unlabelled, name).trainable_parameters for name in TRAINED]
    assert table["trainable parameters"].tolist() == counted


def test_confusions_name_their_genes(unlabelled):
    true = unlabelled.val.labels
    found = true.copy()
    found[[0, -1]] = 10, 0  # an aminoglycoside protein, and one that is no ARG
    table = tables.confused_with_genes(unlabelled, outcome(val=(true, found)))
    names = {label: name for name, label, _ in workspaces.proteins()["val"]}
    first = next(name for name, label, _ in workspaces.proteins()["val"] if label == 0)
    rows = table[["gene", "id", "true", "predicted"]].to_numpy().tolist()
    assert sorted(rows) == sorted(
        [
            [f"gene{first}", first, "aminoglycoside", "rifampin"],
            ["", f"sp|{names[14]}", "not an ARG", "aminoglycoside"],
        ]
    )
    assert table["confidence"].tolist() == [1, 1]


def test_confusions_of_a_labelled_test_part_and_of_nothing(work):
    true = work.test.labels
    perfect = outcome(test=(true, true))
    assert len(tables.confused_with_genes(work, perfect)) == 0
    wrong = outcome(test=(true, np.roll(true, 1)))
    table = tables.confused_with_genes(work, wrong)
    assert table["gene"].eq("").all()  # a test header is an id alone
    assert table["id"].str.startswith("SEQ").all()


def row(split, method, f1, **more):
    bins = [
        {"bin": "no hit", "n": 3, "classes": 2, "macro_f1": f1, "accuracy": f1},
        {"bin": "<30 %", "n": 0, "classes": 0, "macro_f1": None, "accuracy": None},
    ]
    return {"split": split, "method": method, "title": method.title(), "macro_f1": f1,
            "ci_low": f1 / 2, "ci_high": 1.0, "bins": bins, **more}  # fmt: skip


def test_scores_are_read_with_their_intervals_and_folds():
    rows = [row("random", "one", 0.5, minutes=2.34), row("homology", "one", 0.25, folds=[0, 1])]
    frame = tables.score_frame([*rows, {"method": "bare"}])
    assert frame[tables.SCORE].tolist() == [
        "0.500 (0.250–1.000)", "0.250 (0.125–1.000), 2 of 5 folds", "–"
    ]  # fmt: skip
    assert frame["minutes"].tolist() == ["2.3", "–", "–"]
    assert tables.GAIN not in frame  # nobody's was measured
    all_folds = tables.score_frame([row("homology", "one", 0.25, folds=[0, 1, 2, 3, 4])])
    assert "folds" not in all_folds[tables.SCORE][0]


def test_seeds_are_averaged_and_a_repeated_one_replaced():
    seeds = ((0, 0.1), (0, 0.4), (1, 0.6), (2, 0.5))
    rows = [row("random", "m", f1, seed=seed) for seed, f1 in seeds]
    frame = tables.score_frame(rows)
    assert frame[tables.SCORE].tolist() == ["0.500 (0.250–1.000), mean of 3 seeds"]
    assert "seeds" not in tables.score_frame(rows[:2])[tables.SCORE][0]


def test_the_best_of_each_split_comes_first():
    rows = [row("homology", "a", 0.25), row("random", "a", 0.5), row("random", "b", 0.75)]
    ordered = [(r["split"], r["method"]) for r in tables.best_first(rows)]
    assert ordered == [("random", "b"), ("random", "a"), ("homology", "a")]


def test_bins_are_of_one_split_of_the_first_seed_and_of_the_methods_there_are():
    rows = [row("random", "two", 0.75), row("random", "two", 0.5), row("homology", "one", 0.25)]
    bins = tables.ladder_bins(rows, "random", ["two", "absent"])
    assert list(bins) == ["Two"]
    assert bins["Two"]["macro_f1"][0] == 0.75
    assert np.isnan(bins["Two"]["macro_f1"][1])


def test_reliability_is_of_the_first_seed():
    stretches = [
        {"low": 0.0, "high": 0.5, "n": 0, "confidence": None, "accuracy": None},
        {"low": 0.5, "high": 1.0, "n": 4, "confidence": 0.9, "accuracy": 0.75},
    ]
    calibrated = {"ece_calibrated": 0.06, "ece_calibrated_low": 0.04, "ece_calibrated_high": 0.11}
    rows = [
        row("homology", "best_hit", 0.5, reliability=[]),
        row("homology", "hybrid", 0.5, reliability=stretches, ece=0.08, **calibrated),
        row("homology", "hybrid", 0.5, reliability=[], ece=0.5),
    ]
    table = tables.ladder_reliability(rows, "homology", "hybrid")
    assert table["n"].tolist() == [0, 4]
    assert np.isnan(table["accuracy"][0])
    said = tables.describe_calibration(rows, "hybrid")
    assert said.startswith("homology split: calibration error 0.080")
    assert "0.060 (0.040 to 0.110)" in said


def test_classes_side_by_side():
    def of(method, f1):
        classes = [{"class": "rifampin", "precision": 1.0, "recall": 0.1, "f1": f1, "support": 9}]
        return row("random", method, f1, per_class=classes)

    table = tables.ladder_classes([of("one", 0.12345), of("two", 0.5)], "random", ["two", "one"])
    assert table.to_dict("records") == [
        {"class": "rifampin", "support": 9, "Two": 0.5, "One": 0.123}
    ]


def test_shares_of_predictions_and_training():
    table = tables.balance_table(np.array([0, 0, 0, 14]), np.array([0, 14]))
    assert table.index.tolist() == list(DISPLAY_NAMES)
    assert table.loc["aminoglycoside"].tolist() == [3, 1, 75, 50]
    assert table.loc["rifampin"].tolist() == [0, 0, 0, 0]
    figures_data.class_balance([0, 0, 0, 14], [0, 14]).draw_without_rendering()


def test_first_lines_of_a_submission(tmp_path):
    path = write_submission(["SEQ0", "SEQ1"], [3, 14], tmp_path / "submission.csv")
    assert tables.submission_lines(path, 2) == ["id,label", "SEQ0,3"]
    assert tables.submission_lines(path, 9) == ["id,label", "SEQ0,3", "SEQ1,14"]


def test_the_test_file_is_scored_if_its_labels_are_known(work, unlabelled):
    true = work.data.test_labels
    found = np.zeros_like(true)
    text = tables.score_on_test(work, found)
    share = (true == 0).mean()
    assert text.startswith(f"test macro-F1 {macro_f1(true, found):.4f}, accuracy {share:.4f} (35 ")
    assert "not known" in tables.score_on_test(unlabelled, found)


def test_the_best_is_chosen_by_validation_alone(work, monkeypatch):
    right, wrong = ([0, 14], [0, 14]), ([0, 14], [14, 0])
    made = {
        "frozen_linear": outcome(val=right, test=wrong),
        "lora_classifier": outcome(val=wrong, test=right),
        "lora_blocks": outcome(val=right, test=right),
    }
    monkeypatch.setattr(tables, "fit_random", lambda work, method: made[method])
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
    assert tables.stage_table(outcomes[1].history)["trains"].tolist() == (
        ["layer"] * 3 + ["LoRA factors"] * 3
    )
    assert len(tables.lora_changes(*outcomes[:2])) == 5
    assert len(tables.validation_table(outcomes)) == 3
    true, found = outcomes[1].labels[part], outcomes[1].predictions(part)
    assert len(true) == len(work.scored.labels) == len(work.val.labels)
    assert len(hardest_confusions(true, found, top=6)) == len(
        tables.confused_with_genes(work, outcomes[1])[["true", "predicted"]].drop_duplicates()
    )
    rows = score_random(work, ["majority", "best_hit", *TRAINED])
    pooled, cheap = score_homology(work, ["majority", "best_hit", "frozen_linear"])
    expensive, _ = score_homology(work, ["lora_blocks"], work.profile.lora_blocks.folds)
    frame = tables.score_frame(rows + pooled + expensive)
    assert len(frame) == 9
    bins = tables.bins_by_method(cheap, ["best_hit", "frozen_linear"])
    assert [table["n"].sum() for table in bins.values()] == [len(cheap)] * 2
    method = tables.best_on_validation(work, TRAINED)
    answers = load_fitted(work, method).predict([r.sequence for r in work.data.test])
    ids = [record.id for record in work.data.test]
    check_submission(write_submission(ids, answers.tolist(), tmp_path / "submission.csv"), ids)
    figures = [
        figures_data.class_counts(counts.drop(columns="share").to_dict("list")),
        figures_data.cap_effect(counts["train"], (5, None)),
        figures_data.lengths_by_class([len(s) for s in sequences], labels),
        figures_data.composition(figures_data.amino_acid_frequencies(sequences, labels)),
        figures_scores.learning_curves(outcomes[1].history),
        figures_scores.finetuning_curve(outcomes[2].history),
        figures_scores.confusion_matrix(confusion(true, found)),
        figures_scores.per_class_f1(per_class_table(true, found)),
        figures_scores.methods_comparison(rows + pooled + expensive),
        figures_scores.f1_by_identity_bin(bins),
        figures_data.class_balance(answers, work.train.labels),
    ]
    for fig in figures:
        fig.draw_without_rendering()
