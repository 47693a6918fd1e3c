"""Tables of the model card, as Markdown, from results/."""

from collections.abc import Mapping, Sequence

SPLITS = ("random", "homology")
SCORES = ("macro-F1 (95 % interval)", "gain on best hit", "accuracy", "calibration error")


def bins_table(ladder: Mapping, methods: tuple[str, ...] = ("best_hit", "hybrid")) -> str:
    """Markdown: for each split, a row a stretch of identity, and the whole, of some methods.

    ``ladder`` is ladder.json. A cell is macro-F1 over the classes there, then accuracy.
    """
    rows = reversed(ladder["rows"])  # of several seeds, the first
    chosen = {(r["split"], r["method"]): r for r in rows if r["method"] in methods}
    lines = [
        f"| split | identity to the nearest known protein | proteins | {' | '.join(methods)} |",
        f"|---|---|---:|{'---:|' * len(methods)}",
    ]
    for split in SPLITS:
        rows = [chosen[split, name] for name in methods]
        for number, entry in enumerate(rows[0]["bins"]):
            cells = [_pair(row["bins"][number]) for row in rows]
            lines.append(f"| {split} | {entry['bin']} | {entry['n']:,} | {' | '.join(cells)} |")
        for name, cells in (
            ("all", [_pair(row) for row in rows]),
            ("all: 95 % interval", [f"{r['ci_low']:.3f}–{r['ci_high']:.3f}" for r in rows]),
            ("all: calibration error", [f"{row['ece']:.3f}" for row in rows]),
            ("all: the same, were its probabilities perfect", [_perfect(row) for row in rows]),
        ):
            lines.append(f"| {split} | {name} | {rows[0]['proteins']:,} | {' | '.join(cells)} |")
    source = f"Macro-F1 (over the classes present), accuracy. {_source(ladder)}"
    return "\n".join([*lines, "", source])


def _perfect(row: Mapping) -> str:
    low, high = row["ece_calibrated_low"], row["ece_calibrated_high"]
    return f"{row['ece_calibrated']:.3f} ({low:.3f}–{high:.3f})"


def _pair(row: Mapping) -> str:
    return f"{_number(row['macro_f1'])}, {_number(row['accuracy'])}"


def splits_table(ladder: Mapping) -> str:
    """Markdown: a row a split and method of a ladder, without bins; see `bins_table`."""
    head = ("split", "method", "proteins", *SCORES)
    rows = [
        (row["split"], row["method"], f"{row['proteins']:,}", *_scores(row), _number(row["ece"]))
        for row in ladder["rows"]
    ]
    return "\n".join([*_markdown(head, rows, left=2), "", _source(ladder)])


def external_table(external: Mapping) -> str:
    """Markdown: a row a method, then macro-F1 by identity to the nearest training protein.

    ``external`` is external.json, which benchmarks/external.py writes.
    """
    rows = external["rows"]
    scores = [(r["method"], *_scores(r), _number(r["calibration_error"])) for r in rows]
    bins = [
        (
            entry["bin"], f"{entry['n']:,}", str(entry["classes"]),
            *(_number(row["identity"][number]["macro_f1"]) for row in rows),
        )
        for number, entry in enumerate(rows[0]["identity"])
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
    tables = [*_markdown(("method", *SCORES), scores), "", *_markdown(head, bins)]
    return "\n".join([*tables, "", f"{what} {_source(external)}"])


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> list[str]:
    """Lines of a table whose first ``left`` columns are text and the others numbers."""
    rule = "---|" * left + "---:|" * (len(head) - left)
    return [f"| {' | '.join(head)} |", f"|{rule}", *(f"| {' | '.join(row)} |" for row in rows)]


def _scores(row: Mapping) -> tuple[str, str, str]:
    return (
        f"{row['macro_f1']:.3f} ({row['ci_low']:.3f}–{row['ci_high']:.3f})",
        f"{row['gain']:+.3f} ({row['gain_low']:+.3f} to {row['gain_high']:+.3f})",
        _number(row["accuracy"]),
    )


def _source(content: Mapping) -> str:
    return (
        f"Measured by `{content['command']}`: data {content['data']}, weights "
        f"{content['weights']}, profile {content['profile']}."
    )


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
