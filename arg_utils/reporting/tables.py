"""Scores as tables: one frame for rows of every kind, and what the notebooks show beside it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

import numpy as np
import pandas as pd

from arg_utils.esm2.lora import count_trainable
from arg_utils.esm2.weights import WIDTH
from arg_utils.experiments.outcomes import Outcome, fit_random
from arg_utils.experiments.workspace import Workspace
from arg_utils.homology.splits import FOLDS
from arg_utils.labels import DISPLAY_NAMES, NUM_CLASSES
from arg_utils.methods import METHODS
from arg_utils.methods.course import adapt_head, new_head
from arg_utils.methods.finetuning import ProteinClassifier
from arg_utils.metrics.scores import accuracy, confused_proteins, identity_bins, macro_f1
from arg_utils.settings import Profile

SCORE, GAIN = "macro-F1 (95 % interval)", "gain on best hit"
MEANS = ("macro_f1", "ci_low", "ci_high", "gain", "gain_low", "gain_high", "accuracy", "ece",
         "minutes")  # fmt: skip


def number(value: float | None, form: str = ".3f") -> str:
    """``value`` in a format, a dash where there is none."""
    return "–" if value is None or value != value else format(value, form)


def score_frame(rows: Sequence[Mapping]) -> pd.DataFrame:
    """Score rows for reading, one per split, method and profile; the mean where there are seeds.

    ``rows`` are those of results.json, ladder.json, external.json and negatives.json: a method,
    and what was measured of it. Columns that no row has a value for are left out.
    """
    averaged = average_seeds(rows)
    columns = {
        "split": [row.get("split", "–") for row in averaged],
        "method": [row["method"] for row in averaged],
        "profile": [row.get("profile") or "–" for row in averaged],
        "reference proteins": [row.get("given", "–") for row in averaged],
        "proteins": [number(row.get("proteins"), ",") for row in averaged],
        SCORE: [_score(row) for row in averaged],
        GAIN: [_gain(row) for row in averaged],
        "accuracy": [number(row.get("accuracy")) for row in averaged],
        "calibration error": [
            number(row.get("ece", row.get("calibration_error"))) for row in averaged
        ],
        "trained parameters": [number(row.get("trainable_parameters"), ",") for row in averaged],
        "minutes": [number(row.get("minutes"), ".1f") for row in averaged],
    }
    return pd.DataFrame(
        {name: cells for name, cells in columns.items() if set(cells) != {"–"}},
        index=range(len(averaged)),
    )


def average_seeds(rows: Sequence[Mapping]) -> list[dict]:
    """One row per split, method and profile: the mean over seeds, and ``seeds``: how many.

    Of a seed that was measured twice, the last one counts.
    """
    groups: dict[tuple, dict[int, Mapping]] = {}
    for row in rows:
        key = (row.get("split"), row["method"], row.get("profile"))
        groups.setdefault(key, {})[row.get("seed", 0)] = row
    averaged = []
    for group in groups.values():
        same = list(group.values())
        means = {
            name: fmean(row[name] for row in same)
            for name in MEANS
            if all(row.get(name) is not None for row in same)
        }
        seeds = same[0].get("seeds", len(same))  # averaged before
        averaged.append({**same[0], **means, "seeds": seeds})
    return averaged


def _score(row: Mapping) -> str:
    """``0.412 (0.350–0.470), mean of 3 seeds, 1 of 5 folds``, as far as it applies."""
    text = number(row.get("macro_f1"))
    if row.get("ci_low") is not None and row.get("ci_high") is not None:
        text += f" ({row['ci_low']:.3f}–{row['ci_high']:.3f})"
    if row["seeds"] > 1:
        text += f", mean of {row['seeds']} seeds"
    if row.get("folds") is not None and len(row["folds"]) < FOLDS:
        text += f", {len(row['folds'])} of {FOLDS} folds"
    return text


def _gain(row: Mapping) -> str:
    """``+0.093 (+0.011 to +0.172)``; a dash where it was not measured."""
    if row.get("gain") is None:
        return "–"
    return f"{row['gain']:+.3f} ({row['gain_low']:+.3f} to {row['gain_high']:+.3f})"


def best_first(rows: Sequence[Mapping]) -> list[Mapping]:
    """Rows of the random split, then of the homology split, by falling macro-F1."""
    return sorted(rows, key=lambda row: (row["split"] != "random", -row["macro_f1"]))


def source(content: Mapping) -> str:
    """A sentence that says by which command, and of which data and weights, numbers are."""
    return (
        f"Measured by `{content['command']}`: data {content['data']}, weights "
        f"{content['weights']}, profile {content['profile']}."
    )


def stage_table(history: pd.DataFrame) -> pd.DataFrame:
    """Each stage of staged training: rate, epochs, best epoch and its macro-F1, last loss."""
    rows, first_lora = [], _first_lora_stage(history)
    for stage, part in history.groupby("stage"):
        best = part.loc[part["val_macro_f1"].idxmax()]
        rows.append(
            {
                "stage": stage, "trains": "LoRA factors" if stage >= first_lora else "layer",
                "learning rate": part["learning_rate"].iloc[0], "epochs": len(part),
                "best epoch": int(best["epoch"]), "its macro-F1": round(best["val_macro_f1"], 4),
                "best so far improved": bool(part["best"].any()),
                "last loss": round(part["train_loss"].iloc[-1], 4),
                "seconds": round(part["seconds"].sum(), 1),
            }
        )  # fmt: skip
    return pd.DataFrame(rows).set_index("stage")


def _first_lora_stage(history: pd.DataFrame) -> float:
    """The stage that begins the rates anew, with the layer's LoRA; infinite where none does."""
    rates = history.groupby("stage")["learning_rate"].first()
    again = rates.index[(rates == rates.iloc[0]).to_numpy()][1:]
    return min(again, default=float("inf"))


def validation_table(outcomes: Sequence[Outcome]) -> pd.DataFrame:
    """Methods side by side on validation: macro-F1, accuracy, trainable parameters, minutes."""
    rows = {
        METHODS[o.method].title: {
            "macro-F1": round(o.macro_f1("val"), 4),
            "accuracy": round(accuracy(o.labels["val"], o.predictions("val")), 4),
            "trainable parameters": o.trainable_parameters,
            "training minutes": round(o.seconds / 60, 2),
        }
        for o in outcomes
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("method")


def lora_changes(before: Outcome, after: Outcome, part: str = "val") -> pd.DataFrame:
    """How many answers the second method changed: corrected, spoilt, or wrong both times."""
    true = before.labels[part]
    old, new = before.predictions(part), after.predictions(part)
    changed = old != new
    counts = {
        "proteins": len(true),
        "answers changed": int(changed.sum()),
        "wrong, now right": int((changed & (new == true)).sum()),
        "right, now wrong": int((changed & (old == true)).sum()),
        "wrong both times": int((changed & (old != true) & (new != true)).sum()),
    }
    return pd.DataFrame(counts.items(), columns=[f"{part} answers", "number"])


def trainable_table(profile: Profile) -> pd.DataFrame:
    """Trainable parameters of each trained method, counted on layers made for the purpose."""
    head = new_head(WIDTH, 0)
    numbers = {
        "frozen_linear": count_trainable(head),
        "lora_classifier": count_trainable(adapt_head(head, profile.lora_classifier, 0)),
        "lora_blocks": count_trainable(ProteinClassifier(head, profile.lora_blocks)),
    }
    rows = [(METHODS[name].title, number) for name, number in numbers.items()]
    return pd.DataFrame(rows, columns=["method", "trainable parameters"])


def confused_with_genes(work: Workspace, outcome: Outcome) -> pd.DataFrame:
    """The proteins behind the hardest confusions, with what their headers call them."""
    part = work.scored_part
    records = work.labelled[0]
    header_of = {record.sequence: record.header for record in records}
    headers = [header_of.get(s, "") for s in getattr(work, part).sequences]
    found = confused_proteins(
        outcome.labels[part], outcome.predictions(part), outcome.probabilities[part], headers,
        pairs=6, per_pair=2,
    )  # fmt: skip
    names = found["id"].str.split("|")
    found.insert(0, "gene", names.str[4:].str.join("|").str[:40])
    return found.assign(id=names.str[:2].str.join("|").str.removesuffix("|FEATURES")).round(3)


def bins_by_method(predictions: pd.DataFrame, methods: Sequence[str]) -> dict[str, pd.DataFrame]:
    """`scores.identity_bins` of each method, under its title."""
    return {
        METHODS[name].title: identity_bins(
            predictions["true"], predictions[name], predictions["identity"]
        )
        for name in methods
    }


def balance_table(predicted: np.ndarray, training: np.ndarray) -> pd.DataFrame:
    """Predicted and training proteins of each class, and their shares in per cent."""
    counts = {
        "predicted": np.bincount(predicted, minlength=NUM_CLASSES),
        "training": np.bincount(training, minlength=NUM_CLASSES),
    }
    table = pd.DataFrame(counts, index=pd.Index(DISPLAY_NAMES, name="class"))
    shares = (100 * table / table.sum()).round(1).add_suffix(" %")
    return table.join(shares)


def submission_lines(path: Path | str, most: int) -> list[str]:
    """The first lines of a submission file."""
    with open(path, encoding="utf-8") as file:
        return [line.rstrip("\n") for line, _ in zip(file, range(most), strict=False)]


def score_on_test(work: Workspace, found: np.ndarray) -> str:
    """Macro-F1 and accuracy on the test file where its labels are known, as a sentence."""
    if work.data.test_labels is None:
        return "The test labels are not known here: Kaggle scores the upload."
    true = work.data.test_labels
    return (
        f"test macro-F1 {macro_f1(true, found):.4f}, accuracy {accuracy(true, found):.4f} "
        f"({len(true):,} proteins, random split)"
    )


def best_on_validation(work: Workspace, methods: Sequence[str]) -> str:
    """The method with the best macro-F1 on validation; of equals, the one named first."""
    return max(methods, key=lambda method: fit_random(work, method).macro_f1("val"))


def ladder_bins(rows: Sequence[dict], split: str, methods: Sequence[str]) -> dict:
    """Scores by identity to the nearest training protein, a table under each method's title.

    Columns: bin, n, classes, macro_f1, accuracy (missing where no protein is). Of several seeds,
    the first.
    """
    chosen = {row["method"]: row for row in reversed(rows) if row["split"] == split}
    return {
        chosen[name]["title"]: pd.DataFrame(chosen[name]["bins"]).astype(
            {"macro_f1": float, "accuracy": float}
        )
        for name in methods
        if name in chosen
    }


def ladder_classes(rows: Sequence[dict], split: str, methods: Sequence[str]) -> pd.DataFrame:
    """F1 of each class on one split, a column per method, and the support."""
    chosen = [_first(rows, split, method) for method in methods]
    first = pd.DataFrame(chosen[0]["per_class"])
    table = first[["class", "support"]]
    for row in chosen:
        table[row["title"]] = pd.DataFrame(row["per_class"])["f1"].round(3)
    return table


def ladder_reliability(rows: Sequence[dict], split: str, method: str) -> pd.DataFrame:
    """Confidence against accuracy of one method on one split, as `calibration.reliability` has it.

    Of several seeds, the first.
    """
    row = _first(rows, split, method)
    return pd.DataFrame(row["reliability"]).astype({"confidence": float, "accuracy": float})


def describe_calibration(rows: Sequence[dict], method: str) -> str:
    """A line per split: the calibration error, and what perfect probabilities would show."""
    lines = []
    for split in dict.fromkeys(row["split"] for row in rows):
        row = _first(rows, split, method)
        low, high = row["ece_calibrated_low"], row["ece_calibrated_high"]
        lines.append(
            f"{split} split: calibration error {row['ece']:.3f}; perfect probabilities would show "
            f"{row['ece_calibrated']:.3f} ({low:.3f} to {high:.3f})"
        )
    return "\n".join(lines)


def _first(rows: Sequence[dict], split: str, method: str) -> dict:
    return next(row for row in rows if (row["split"], row["method"]) == (split, method))
