"""How README and model card write tables and numbers, as Markdown."""

from collections.abc import Mapping, Sequence


def table(head: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> list[str]:
    """Lines of a table whose first ``left`` columns are text and the others numbers."""
    rule = "---|" * left + "---:|" * (len(head) - left)
    return [f"| {' | '.join(head)} |", f"|{rule}", *(f"| {' | '.join(row)} |" for row in rows)]


def number(value: float | None, form: str = ".3f") -> str:
    """``value`` in a format, a dash where there is none."""
    return "–" if value is None else format(value, form)


def score(row: Mapping) -> str:
    """``0.412 (0.350–0.470)``: macro-F1, with its interval where the row has one."""
    text = number(row.get("macro_f1"))
    if row.get("ci_low") is not None and row.get("ci_high") is not None:
        text += f" ({row['ci_low']:.3f}–{row['ci_high']:.3f})"
    return text


def source(content: Mapping) -> str:
    """A sentence that says by which command, of which data and weights numbers are."""
    return (
        f"Measured by `{content['command']}`: data {content['data']}, weights "
        f"{content['weights']}, profile {content['profile']}."
    )
