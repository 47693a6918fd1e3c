"""Scores as tables: one frame for rows of every kind, and what the notebooks show beside it."""

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from string import Formatter

import numpy as np
import pandas as pd

from arg_utils.experiments.outcomes import Outcome, fit_random
from arg_utils.experiments.workspace import Workspace
from arg_utils.homology.splits import FOLDS
from arg_utils.labels import DISPLAY_NAMES
from arg_utils.methods import METHODS
from arg_utils.metrics.scores import accuracy, identity_bins, macro_f1
from arg_utils.settings import PROFILES

SCORE, GAIN = "macro-F1 (95 % interval)", "gain on best hit"
CALIBRATED = "were its probabilities perfect"
COLUMNS = {
    "split": "{split}",
    "method": "{method}",
    "profile": "{profile}",
    "reference proteins": "{given}",
    "proteins": "{proteins:,}",
    SCORE: "{score}",
    GAIN: "{gain:+.3f} ({gain_low:+.3f} to {gain_high:+.3f})",
    "accuracy": "{accuracy:.3f}",
    "calibration error": "{ece:.3f}",
    CALIBRATED: "{ece_calibrated:.3f} ({ece_calibrated_low:.3f}–{ece_calibrated_high:.3f})",
    "trained parameters": "{trainable_parameters:,}",
    "minutes": "{minutes:.1f}",
}
MEANS = ("macro_f1", "ci_low", "ci_high", "gain", "gain_low", "gain_high", "accuracy", "ece",
         "minutes")  # fmt: skip
TEXT = {
    "", "split", "method", "profile", "reference proteins", "identity", "notebook", "form",
    "processor", "what is measured", "variant", "way of calling", "class", "trained on", "features",
    "head",
}  # fmt: skip


def cells(rows: Iterable[Mapping], form: str) -> list[str]:
    """Each row's fields in a format such as ``{accuracy:.3f}``; a dash where one is missing."""
    fields = [name.partition("[")[0] for _, name, *_ in Formatter().parse(form) if name]
    return [
        "–" if any(row.get(field) is None for field in fields) else form.format_map(row)
        for row in rows
    ]


def markdown(columns: pd.DataFrame | Mapping[str, Sequence[str]]) -> str:
    """Columns of texts as a Markdown table; columns other than those of `TEXT` are numbers."""
    frame = pd.DataFrame(columns)
    rule = "".join("---|" if name in TEXT else "---:|" for name in frame.columns)
    rows = [f"| {' | '.join(row)} |" for row in frame.to_numpy().tolist()]
    return "\n".join([f"| {' | '.join(frame.columns)} |", f"|{rule}", *rows])


def table(rows: Sequence[Mapping], columns: Mapping[str, str]) -> str:
    """Rows as a Markdown table; ``columns`` gives each column's head and format, as for `cells`."""
    return markdown({head: cells(rows, form) for head, form in columns.items()})


def score_frame(rows: Sequence[Mapping]) -> pd.DataFrame:
    """Score rows for reading, one per split, method and profile; the mean where there are seeds.

    ``rows`` are those of results.json, ladder.json, external.json and negatives.json: a method,
    and what was measured of it. Columns that no row has a value for are left out.
    """
    averaged = [row | {"score": _score(row)} for row in average_seeds(rows)]
    columns = {name: cells(averaged, form) for name, form in COLUMNS.items()}
    measured = {name: texts for name, texts in columns.items() if set(texts) != {"–"}}
    return pd.DataFrame(measured, index=range(len(averaged)))


def average_seeds(rows: Sequence[Mapping]) -> list[dict]:
    """One row per split, method and profile: the mean over seeds, and ``seeds``: how many.

    Of a seed that was measured twice, the last one counts.
    """
    groups: dict[tuple, dict[int, Mapping]] = {}
    for row in rows:
        key = row.get("split"), row["method"], row.get("profile")
        groups.setdefault(key, {})[row.get("seed", 0)] = row
    averaged = []
    for group in groups.values():
        same = list(group.values())
        shared = [name for name in MEANS if all(row.get(name) is not None for row in same)]
        means = {name: fmean(row[name] for row in same) for name in shared}
        seeds = same[0].get("seeds", len(same))  # averaged before
        averaged.append({**same[0], **means, "seeds": seeds})
    return averaged


def _score(row: Mapping) -> str:
    """``0.412 (0.350–0.470), mean of 3 seeds, 1 of 5 folds``, as far as it applies."""
    if row.get("macro_f1") is None:
        return "–"
    text = f"{row['macro_f1']:.3f}"
    if row.get("ci_low") is not None:
        text += f" ({row['ci_low']:.3f}–{row['ci_high']:.3f})"
    if row["seeds"] > 1:
        text += f", mean of {row['seeds']} seeds"
    if row.get("folds") is not None and len(row["folds"]) < FOLDS:
        text += f", {len(row['folds'])} of {FOLDS} folds"
    return text


def best_first(rows: Sequence[Mapping]) -> list[Mapping]:
    """Rows of the random split, then of the homology split, by falling macro-F1."""
    return sorted(rows, key=lambda row: (row["split"] != "random", -row["macro_f1"]))


def with_ladder(
    rows: Sequence[Mapping], ladder_rows: Sequence[Mapping], of: Mapping[str, str]
) -> list[dict]:
    """A run's score rows, completed from the ladder: one row per split, method and seed.

    Where both measured a method, the run's row counts; what the ladder knows beyond (calibration,
    gain on the best hit) is taken over if its score is the same, so that no number stands beside
    one that it does not belong to. ``of`` is `Workspace.source`: ladder rows of other data or
    weights are left out, and so are those of methods that no longer exist, or that its profile fits
    in another way.
    """
    merged = {_place(row): dict(row) for row in ladder_rows if _same_fit(row, of)}
    for row in rows:
        measured = merged.get(_place(row), {})
        agree = all(
            measured.get(name) == row[name] for name in ("macro_f1", "accuracy", "proteins")
        )
        merged[_place(row)] = {**measured, **row} if agree else dict(row)
    return list(merged.values())


def _same_fit(row: Mapping, of: Mapping[str, str]) -> bool:
    """Whether a ladder row is of these data and weights, and a fit that the profile would make."""
    if row["method"] not in METHODS or row.get("profile") not in PROFILES:
        return False
    kind, profiles = METHODS[row["method"]], [PROFILES[row["profile"]], PROFILES[of["profile"]]]
    own, other = ((p.max_records, kind.settings(p), kind.homology_folds(p)) for p in profiles)
    return own == other and all(row.get(name) == of[name] for name in ("data", "weights"))


def _place(row: Mapping) -> tuple:
    return row["split"], row["method"], row.get("seed", 0)


def titled(rows: Sequence[Mapping]) -> pd.DataFrame:
    """`score_frame`, best first, with the methods' titles, narrow enough for a notebook."""
    frame = score_frame(best_first(rows))
    frame["method"] = [METHODS[name].title for name in frame["method"]]
    narrow = ["profile", "proteins", "trained parameters"]
    return frame.drop(columns=narrow, errors="ignore").set_index(["split", "method"])


def nearest_by_class(predictions: pd.DataFrame) -> pd.DataFrame:
    """What each class's proteins hit on the homology split: the share per kind of best hit.

    ``predictions`` comes from `score_homology` and has the method ``best_hit``. Columns: proteins,
    then the shares without a hit, with a best hit of the same class, and of another.
    """
    true, hit = predictions["true"].to_numpy(), predictions["identity"].notna().to_numpy()
    same = hit & (predictions["best_hit"].to_numpy() == true)
    kinds = {"no hit": ~hit, "hit of its class": same, "hit of another": hit & ~same}
    shares = pd.DataFrame(kinds).groupby(np.take(DISPLAY_NAMES, true), sort=False).mean().round(3)
    shares.insert(0, "proteins", pd.Series(np.take(DISPLAY_NAMES, true)).value_counts())
    return shares.reindex([name for name in DISPLAY_NAMES if name in shares.index])


def source(content: Mapping) -> str:
    """A sentence that says by which command, and of which data and weights, numbers are."""
    return (
        f"Measured by `{content['command']}`: data {content['data']}, weights "
        f"{content['weights']}, profile {content['profile']}."
    )


def trains_lora(rates: pd.Series) -> pd.Series:
    """Whether each stage of staged training is of LoRA, with which learning rates begin anew."""
    return (rates == rates.iloc[0]).cumsum() > 1


def stage_table(history: pd.DataFrame) -> pd.DataFrame:
    """Each stage of staged training: rate, epochs, best epoch and its macro-F1, last loss."""
    stages = history.groupby("stage")
    rates = stages["learning_rate"].first()
    best = history.loc[stages["val_macro_f1"].idxmax()].set_index("stage")
    columns = {
        "trains": np.where(trains_lora(rates), "LoRA factors", "layer"),
        "learning rate": rates,
        "epochs": stages.size(),
        "best epoch": best["epoch"],
        "its macro-F1": best["val_macro_f1"].round(4),
        "best so far improved": stages["best"].any(),
        "last loss": stages["train_loss"].last().round(4),
        "seconds": stages["seconds"].sum().round(1),
    }
    return pd.DataFrame(columns)


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


def lora_changes(before: Outcome, after: Outcome) -> pd.DataFrame:
    """How many answers on validation changed: corrected, spoilt, or wrong both times."""
    true, old, new = before.labels["val"], before.predictions("val"), after.predictions("val")
    changed = old != new
    counts = {
        "proteins": len(true),
        "answers changed": changed.sum(),
        "wrong, now right": (changed & (new == true)).sum(),
        "right, now wrong": (changed & (old == true)).sum(),
        "wrong both times": (changed & (old != true) & (new != true)).sum(),
    }
    return pd.DataFrame(counts.items(), columns=["val answers", "number"])


def bins_by_method(predictions: pd.DataFrame, methods: Sequence[str]) -> dict[str, pd.DataFrame]:
    """`scores.identity_bins` of each method, under its title."""
    true, identity = predictions["true"], predictions["identity"]
    return {METHODS[m].title: identity_bins(true, predictions[m], identity) for m in methods}


def score_on_test(work: Workspace, predicted: np.ndarray) -> str:
    """Macro-F1 and accuracy on the test file where its labels are known, as a sentence."""
    true = work.data.test_labels
    if true is None:
        return "The test labels are not known here: Kaggle scores the upload."
    return (
        f"test macro-F1 {macro_f1(true, predicted):.4f}, accuracy "
        f"{accuracy(true, predicted):.4f} ({len(true):,} proteins, random split)"
    )


def best_on_validation(work: Workspace, methods: Sequence[str]) -> str:
    """The method with the best macro-F1 on validation; of equals, the one named first."""
    return max(methods, key=lambda method: fit_random(work, method).macro_f1("val"))


def first_seeds(rows: Sequence[Mapping]) -> dict[tuple[str, str], Mapping]:
    """The row of each split and method; of several seeds, the first."""
    return {(row["split"], row["method"]): row for row in reversed(rows)}


def ladder_bins(rows: Sequence[Mapping], split: str, methods: Sequence[str]) -> dict:
    """Scores by identity to the nearest training protein, a table under each method's title.

    Columns: bin, n, classes, macro_f1, accuracy (missing where no protein is). Of several seeds,
    the first.
    """
    first = first_seeds(rows)
    chosen = [first[split, method] for method in methods if (split, method) in first]
    return {row["title"]: pd.DataFrame(row["bins"]) for row in chosen}


def ladder_classes(rows: Sequence[Mapping], split: str, methods: Sequence[str]) -> pd.DataFrame:
    """F1 of each class on one split, a column per method, and the support."""
    first = first_seeds(rows)
    chosen = [first[split, method] for method in methods]
    table = pd.DataFrame(chosen[0]["per_class"])[["class", "support"]]
    for row in chosen:
        table[row["title"]] = pd.DataFrame(row["per_class"])["f1"].round(3)
    return table


def ladder_reliability(rows: Sequence[Mapping], split: str, method: str) -> pd.DataFrame:
    """The table of `calibration.reliability` for one method on one split, of the first seed."""
    return pd.DataFrame(first_seeds(rows)[split, method]["reliability"])
