"""Tables for the notebooks, from outcomes and predictions."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from arg_utils.data.folders import DataSet
from arg_utils.data.open_data import read_report
from arg_utils.esm2.lora import count_trainable
from arg_utils.esm2.weights import WIDTH
from arg_utils.experiments.outcomes import Outcome, fit_random
from arg_utils.experiments.workspace import Workspace
from arg_utils.homology.splits import PARTS
from arg_utils.labels import DISPLAY_NAMES, NONARG, NUM_CLASSES
from arg_utils.methods import METHODS
from arg_utils.methods.classifier import adapt_head, new_head
from arg_utils.methods.finetuning import ProteinClassifier
from arg_utils.metrics.scores import accuracy, confused_proteins, identity_bins, macro_f1
from arg_utils.settings import Profile


def header_examples(data: DataSet) -> list[str]:
    """The first header of an ARG, of a protein that is none, and of a test protein."""
    arg = next((r for r in data.train if r.label != NONARG), None)
    other = next((r for r in data.train if r.label == NONARG), None)
    return [f">{record.header}" for record in (arg, other, *data.test[:1]) if record]


def build_table(work: Workspace) -> pd.DataFrame:
    """What building the data read, removed and kept: step, detail, proteins.

    The competition's files are used as they are; for them it is what was read of each.
    """
    if work.data.name == "open":
        return read_report(work.data.folder).table()
    rows = [("read", f"{part}.fasta", len(getattr(work.data, part))) for part in PARTS]
    return pd.DataFrame(rows, columns=["step", "detail", "proteins"])


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
    """How many answers the second method changed, and how: mended, spoilt, or wrong both ways."""
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


def results_frame(rows: Sequence[Mapping]) -> pd.DataFrame:
    """Score rows for reading: titles for names, three decimals."""
    frame = pd.DataFrame(rows)
    frame["method"] = frame["title"]
    frame["folds"] = [_folds_text(row.get("folds")) for row in rows]
    columns = ["split", "method", "macro_f1", "ci_low", "ci_high", "accuracy", "proteins",
               "set_aside", "trainable_parameters", "minutes", "folds"]  # fmt: skip
    return frame[columns].round(3)


def _folds_text(folds: Sequence[int] | None) -> str:
    return "" if folds is None else " ".join(map(str, folds))


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
