"""Tables of the model card, as Markdown, from results/."""

from collections.abc import Mapping

from arg_utils.experiments.ladder import gain
from arg_utils.labels import CLASSES, DISPLAY_NAMES
from arg_utils.reporting.markdown import number, score, source, table

SPLITS = ("random", "homology")
SCORES = ("macro-F1 (95 % interval)", "gain on best hit", "accuracy", "calibration error")


def bins_table(ladder: Mapping, methods: tuple[str, ...] = ("best_hit", "hybrid")) -> str:
    """Markdown: for each split, a row a stretch of identity, and the whole, of some methods.

    ``ladder`` is ladder.json. A cell is macro-F1 over the classes there, then accuracy.
    """
    rows = reversed(ladder["rows"])  # of several seeds, the first
    chosen = {(r["split"], r["method"]): r for r in rows if r["method"] in methods}
    lines = []
    for split in SPLITS:
        rows = [chosen[split, name] for name in methods]
        for place, entry in enumerate(rows[0]["bins"]):
            cells = [_pair(row["bins"][place]) for row in rows]
            lines.append((split, entry["bin"], f"{entry['n']:,}", *cells))
        for name, cells in (
            ("all", [_pair(row) for row in rows]),
            ("all: 95 % interval", [f"{r['ci_low']:.3f}–{r['ci_high']:.3f}" for r in rows]),
            ("all: calibration error", [number(row["ece"]) for row in rows]),
            ("all: the same, were its probabilities perfect", [_perfect(row) for row in rows]),
        ):
            lines.append((split, name, f"{rows[0]['proteins']:,}", *cells))
    head = ("split", "identity to the nearest known protein", "proteins", *methods)
    told = f"Macro-F1 (over the classes present), accuracy. {source(ladder)}"
    return "\n".join([*table(head, lines, left=2), "", told])


def _perfect(row: Mapping) -> str:
    low, high = row["ece_calibrated_low"], row["ece_calibrated_high"]
    return f"{row['ece_calibrated']:.3f} ({low:.3f}–{high:.3f})"


def _pair(row: Mapping) -> str:
    return f"{number(row['macro_f1'])}, {number(row['accuracy'])}"


def splits_table(ladder: Mapping) -> str:
    """Markdown: a row a split and method of a ladder, without bins; see `bins_table`."""
    head = ("split", "method", "proteins", *SCORES, "minutes of training")
    rows = [
        (
            row["split"], row["method"], f"{row['proteins']:,}", *_scores(row),
            number(row["ece"]), number(row["minutes"], ".1f"),
        )
        for row in ladder["rows"]
    ]  # fmt: skip
    return "\n".join([*table(head, rows, left=2), "", source(ladder)])


def external_table(external: Mapping) -> str:
    """Markdown: a row a method, then macro-F1 by identity to the nearest training protein.

    ``external`` is external.json, which benchmarks/external.py writes.
    """
    rows = external["rows"]
    scores = [(r["method"], *_scores(r), number(r["calibration_error"])) for r in rows]
    bins = [
        (
            entry["bin"], f"{entry['n']:,}", str(entry["classes"]),
            *(number(row["identity"][place]["macro_f1"]) for row in rows),
        )
        for place, entry in enumerate(rows[0]["identity"])
    ]  # fmt: skip
    told = "".join(
        f" Above its threshold, {row['method']} answers {row['answered']:.1%}, of which "
        f"{row['error_answered']:.1%} are wrong."
        for row in rows
        if row.get("threshold")
    )
    what = (
        f"Macro-F1 over {len(external['support'])} classes; {external['counts']['kept']:,} "
        f"proteins in {external['clusters']:,} clusters.{told}"
    )
    head = ("identity", "proteins", "classes", *(row["method"] for row in rows))
    tables = [*table(("method", *SCORES), scores), "", *table(head, bins)]
    return "\n".join([*tables, "", f"{what} {source(external)}"])


def negatives_table(negatives: Mapping) -> str:
    """Markdown: a row a method, how often it takes a protein that resembles no ARG for one.

    ``negatives`` is negatives.json, which benchmarks/negatives.py writes.
    """
    counts = negatives["counts"]
    far, near = (f"{counts[name]:,}" for name in ("resemble none", "resemble an ARG"))
    rows = [
        (
            row["method"], f"{row['called_arg']:.2%}",
            number(row.get("called_arg_answered"), ".2%"), number(row.get("answered"), ".1%"),
            number(row["called_arg_resembling"], ".1%"), score(row), gain(row),
            _taken_for(row["taken_for"]),
        )
        for row in negatives["rows"]
    ]  # fmt: skip
    head = (
        "method", f"of {far} proteins, called an ARG", "and sure of it", "sure at all",
        f"of {near} that resemble an ARG, called one",
        f"macro-F1, {negatives['classes']} classes (95 % interval)", "gain on best hit",
        "most often called",
    )  # fmt: skip
    told = (
        f"The macro-F1 is of those {far} together with the {negatives['args']:,} ARGs of the "
        f"table above, in {negatives['clusters']:,} clusters. {source(negatives)}"
    )
    return "\n".join([*table(head, rows), "", told])


def _taken_for(counts: Mapping[str, int], shown: int = 3) -> str:
    """The classes most often named, by their short names."""
    short = dict(zip(CLASSES, DISPLAY_NAMES, strict=True))
    most = sorted(counts.items(), key=lambda item: -item[1])[:shown]
    return ", ".join(f"{short[name]} {count:,}" for name, count in most) or "–"


def _scores(row: Mapping) -> tuple[str, str, str]:
    return score(row), gain(row), number(row["accuracy"])
