"""The competition's answer file: ``id,label``, one row a test protein, in the test file's order."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from arg_utils.errors import UserError
from arg_utils.files import write_text
from arg_utils.labels import CLASSES, NUM_CLASSES

HEADER = "id,label"
UNSURE = "uncertain"
VALID = frozenset(str(index) for index in range(NUM_CLASSES))


def write_submission(ids: Sequence[str], labels: Sequence[int], path: Path | str) -> Path:
    """Write the answers to ``path``, whole or not at all, and check the file.

    Parameters
    ----------
    ids : sequence of str, shape (n,)
        Ids of the test proteins, in the test file's order.
    labels : sequence of int, shape (n,)
        Class indices 0-14.

    Raises
    ------
    UserError
        If lengths differ or a label is no class; nothing is written then.
    """
    labels = np.asarray(labels)
    if len(ids) != len(labels):
        raise UserError(f"{len(ids)} ids came with {len(labels)} labels; predict each id once.")
    lines = [f"{name},{label}" for name, label in zip(ids, labels.tolist(), strict=True)]
    text = "\n".join([HEADER, *lines]) + "\n"
    _check(text, ids, str(path))
    return write_text(path, text)


def write_answers(
    ids: Sequence[str], probabilities: np.ndarray, threshold: float, path: Path | str
) -> Path:
    """Write what a reader wants to know beside the submission, whole or not at all.

    Columns: id, class, probability (of that class), answer: the class, or ``uncertain`` where the
    probability is below ``threshold``.

    Parameters
    ----------
    probabilities : float [n, 15].
    """
    best = probabilities.argmax(axis=1)
    names, chance = [CLASSES[label] for label in best], probabilities.max(axis=1)
    columns = {
        "id": list(ids),
        "class": names,
        "probability": chance.round(4),
        "answer": np.where(chance >= threshold, names, UNSURE),
    }
    table = pd.DataFrame(columns)
    return write_text(path, table.to_csv(index=False, lineterminator="\n"))


def check_submission(path: Path | str, test_ids: Sequence[str]) -> None:
    """Whether Kaggle would score this file, and score what was meant.

    Line ends may be ``\\n`` or ``\\r\\n``; quotes, blanks, further columns and floats are refused.

    Raises
    ------
    UserError
        For the first fault, with its line and what to do.
    """
    try:
        text = Path(path).read_bytes().decode("utf-8")
    except UnicodeDecodeError:
        raise UserError(f"{path} is not UTF-8 text; write the file anew.") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); write it first.") from None
    _check(text.replace("\r\n", "\n"), test_ids, str(path))


def _check(text: str, ids: Sequence[str], path: str) -> None:
    """Check header, then each row against the id expected there, then the number of rows."""
    header, *rows = text.removesuffix("\n").split("\n")
    if not text:
        raise UserError(f"{path} is empty; write the file anew.")
    if header != HEADER:
        raise UserError(f"{path}, line 1: the header is {header[:60]!r}; write {HEADER!r}.")
    known, seen = {name: line for line, name in enumerate(ids, start=2)}, {}
    for line, row in enumerate(rows, start=2):
        where = f"{path}, line {line}"
        name = _parse_row(row, where)
        _check_id(name, line, known, seen, where)
        seen[name] = line
    if len(rows) < len(ids):
        raise UserError(
            f"{path} has {len(rows)} rows for {len(ids)} test proteins; the first missing is "
            f"{ids[len(rows)]!r}: add a row for each."
        )


def _parse_row(row: str, where: str) -> str:
    """The id of a row whose form and label are right."""
    if not row.strip():
        raise UserError(f"{where}: the line is blank; remove it.")
    if '"' in row or "'" in row:
        raise UserError(f"{where}: {row[:60]!r} is quoted; write id,label without quotes.")
    fields = row.split(",")
    if len(fields) != 2:
        raise UserError(f"{where}: {len(fields)} columns instead of 2; write id,label.")
    name, label = fields
    if label not in VALID:
        raise UserError(
            f"{where}: the label {label!r} is not an integer from 0 to {NUM_CLASSES - 1}; write "
            f"the index of a class."
        )
    return name


def _check_id(
    name: str, line: int, known: dict[str, int], seen: dict[str, int], where: str
) -> None:
    """Refuse an id that is foreign, doubled or out of place."""
    if name in seen:
        raise UserError(f"{where}: {name!r} was on line {seen[name]} already; remove one.")
    if name not in known:
        raise UserError(f"{where}: {name!r} is no id of the test file; remove the row.")
    if known[name] > line:
        expected = next(other for other, place in known.items() if place == line)
        raise UserError(
            f"{where}: {name!r} stands where {expected!r} belongs; add what is missing, and keep "
            f"the test file's order."
        )
    if known[name] < line:
        raise UserError(f"{where}: {name!r} belongs on line {known[name]}; keep the order.")
