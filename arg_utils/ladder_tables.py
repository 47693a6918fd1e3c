"""What `make ladder` measured, to read: results/ladder.json as tables."""

import json
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from arg_utils.errors import UserError
from arg_utils.paths import RESULTS


def read_ladder(path: Path | str = RESULTS / "ladder.json") -> dict:
    """The ladder: ``command``, ``profile``, ``weights``, ``data`` and ``rows``.

    Raises
    ------
    UserError
        If the file is missing or is no ladder.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        rows = content["rows"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} cannot be read ({error}); `make ladder` writes it.") from None
    if not rows:
        raise UserError(f"{path} has no rows; `make ladder` writes it.")
    return content


def describe_ladder(content: dict) -> str:
    """One line that says whose numbers these are."""
    return (
        f"measured by `{content['command']}`: data {content['data']}, "
        f"weights {content['weights']}, profile {content['profile']}"
    )


def ladder_frame(rows: Sequence[dict]) -> pd.DataFrame:
    """A row a split and method, the best macro-F1 of each split first."""
    frame = pd.DataFrame(
        {
            "split": row["split"],
            "method": row["title"],
            "macro-F1": round(row["macro_f1"], 3),
            "95 % interval": f"{row['ci_low']:.3f}–{row['ci_high']:.3f}",
            "gain on best hit": _gain(row),
            "accuracy": round(row["accuracy"], 3),
            "ECE": round(row["ece"], 3),
            "trained parameters": row["trainable_parameters"],
            "minutes": round(row["seconds"] / 60, 1),
            "folds": " ".join(map(str, row.get("folds", []))),
        }
        for row in rows
    )
    order = ["split", "macro-F1"]
    return frame.sort_values(order, ascending=False, kind="stable").reset_index(drop=True)


def _gain(row: dict) -> str:
    """``+0.093 (+0.011 to +0.172)``, paired 95 % interval; empty where it was not measured."""
    if row.get("gain") is None:
        return ""
    return f"{row['gain']:+.3f} ({row['gain_low']:+.3f} to {row['gain_high']:+.3f})"


def ladder_bins(rows: Sequence[dict], split: str, methods: Sequence[str]) -> dict:
    """Scores by identity to the nearest training protein, a table under each method's title.

    Columns: bin, n, classes, macro_f1, accuracy (missing where no protein is).
    """
    chosen = {row["method"]: row for row in rows if row["split"] == split}
    return {
        chosen[name]["title"]: pd.DataFrame(chosen[name]["bins"]).astype(
            {"macro_f1": float, "accuracy": float}
        )
        for name in methods
        if name in chosen
    }


def ladder_reliability(rows: Sequence[dict], split: str, method: str) -> pd.DataFrame:
    """Confidence against accuracy of one method on one split, the stretches without proteins left
    out: confidence from, to, proteins, mean confidence, accuracy."""
    (row,) = [row for row in rows if (row["split"], row["method"]) == (split, method)][-1:]
    table = pd.DataFrame(row["reliability"]).astype({"confidence": float, "accuracy": float})
    names = ["confidence from", "to", "proteins", "mean confidence", "accuracy"]
    return table[table["n"] > 0].set_axis(names, axis=1).round(3).reset_index(drop=True)
