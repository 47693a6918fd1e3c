"""What `make ladder` measured, to read: results/ladder.json as tables."""

from collections.abc import Sequence

import pandas as pd


def describe_ladder(content: dict) -> str:
    """One line that says whose numbers these are."""
    return (
        f"measured by `{content['command']}`: data {content['data']}, "
        f"weights {content['weights']}, profile {content['profile']}"
    )


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
    """F1 of each class on one split, a column a method, and how many proteins are of the class."""
    chosen = [_first(rows, split, method) for method in methods]
    first = pd.DataFrame(chosen[0]["per_class"])
    table = first[["class", "support"]].rename(columns={"support": "proteins"})
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
    """A line a split: the calibration error, and what perfect probabilities would show."""
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
