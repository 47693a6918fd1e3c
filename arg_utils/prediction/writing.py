"""Rows of results as text: formats, each with a header and the text of a block of rows."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import pandas as pd

from arg_utils.errors import UserError
from arg_utils.prediction.rows import COLUMNS, PLACE


@dataclass(frozen=True)
class Context:
    """What a file of results says of all its rows.

    Attributes
    ----------
    model : name of the model; ``version`` : of this library; ``data`` : name and identity of the
        model's references.
    genome : whether rows have a place in a genome (the columns of `PLACE`).
    inputs : the user's inputs, as named.
    """

    model: str
    version: str
    data: str
    genome: bool = False
    inputs: tuple[str, ...] = ()

    @property
    def columns(self) -> dict[str, int | None]:
        """The columns to write, and their decimals."""
        return {**COLUMNS, **PLACE} if self.genome else COLUMNS


class Writer(Protocol):
    """A format. Text of rows must not depend on the rows before."""

    def header(self) -> str:
        """What a file begins with."""
        ...

    def rows(self, frame: pd.DataFrame) -> str:
        """A block of results (columns of `rows`) as text."""
        ...


def writer(format: str, context: Context) -> Writer:
    """The writer of a format: ``tsv`` or ``jsonl``.

    Raises
    ------
    UserError
        If there is no such format, or it does not suit the input.
    """
    if format not in FORMATS:
        raise UserError(f"There is no format {format!r}; choose one of {', '.join(FORMATS)}.")
    return FORMATS[format](context)


@dataclass(frozen=True)
class TableWriter:
    """Tab-separated, one line a protein; empty where there is no value."""

    context: Context

    def header(self) -> str:
        return "\t".join(self.context.columns) + "\n"

    def rows(self, frame: pd.DataFrame) -> str:
        columns = self.context.columns
        texts = [[_text(v, columns[name]) for v in frame[name]] for name in columns]
        return "".join("\t".join(row) + "\n" for row in zip(*texts, strict=True))


@dataclass(frozen=True)
class JsonLinesWriter:
    """One JSON object a protein; null where there is no value, ``flags`` a list."""

    context: Context

    def header(self) -> str:
        return ""

    def rows(self, frame: pd.DataFrame) -> str:
        columns = self.context.columns
        records = zip(*(frame[name] for name in columns), strict=True)
        return "".join(
            json.dumps({n: _value(n, v, columns[n]) for n, v in zip(columns, r, strict=True)})
            + "\n"
            for r in records
        )


FORMATS: dict[str, Callable[[Context], Writer]] = {"tsv": TableWriter, "jsonl": JsonLinesWriter}


def _text(value: Any, decimals: int | None) -> str:
    if pd.isna(value):
        return ""
    return str(value) if decimals is None else f"{value:.{decimals}f}"


def _value(name: str, value: Any, decimals: int | None) -> Any:
    if name == "flags":
        return value.split(",") if value else []
    if pd.isna(value) or value == "":
        return None
    if decimals is None:
        return value
    return round(float(value), decimals) if decimals else int(value)
