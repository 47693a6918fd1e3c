"""The competition's answers: ``id,label``, one row per test protein, given or known.

A submission is written in the test file's order, which the competition does not ask for: it joins
rows to its own answers by id, so `check_submission` takes rows in any order. Ids that CSV cannot
hold as they are, with a comma or a double quote, are quoted as CSV quotes, which it reads too.
"""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from arg_utils.errors import UserError, counted
from arg_utils.files import write_text
from arg_utils.labels import CLASSES, NUM_CLASSES, parse_label, unknown_classes

COLUMNS = ["id", "label"]
VALID = frozenset(str(index) for index in range(NUM_CLASSES))


def write_submission(ids: Sequence[str], labels: ArrayLike, path: Path | str) -> Path:
    """Write the test proteins' class indices (0-14) to ``path``, whole or not at all, and check it.

    `UserError` if lengths differ or a label is no class; nothing is written then.
    """
    indices = np.asarray(labels).tolist()
    if len(ids) != len(indices):
        what = f"{counted(len(ids), 'id')} came with {counted(len(indices), 'label')}"
        raise UserError(f"{what}; predict each id once.")
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows([COLUMNS, *zip(ids, indices, strict=True)])
    _check(text.getvalue(), ids, str(path))
    return write_text(path, text.getvalue())


def write_answers(
    ids: Sequence[str], probabilities: np.ndarray, answered: np.ndarray, path: Path | str
) -> Path:
    """Write what a reader wants to know beside the submission, whole or not at all.

    Columns: id, class, probability (of that class), answer: the class, or ``uncertain`` where
    ``answered``, bool [n], is false. ``probabilities`` are float [n, 15].
    """
    names, highest = [CLASSES[i] for i in probabilities.argmax(axis=1)], probabilities.max(axis=1)
    columns = {
        "id": list(ids),
        "class": names,
        "probability": highest.round(4),
        "answer": np.where(answered, names, "uncertain"),
    }
    return write_text(path, pd.DataFrame(columns).to_csv(index=False, lineterminator="\n"))


def check_submission(path: Path | str, test_ids: Sequence[str]) -> None:
    """Whether Kaggle would score this file, and score what was meant.

    Rows may come in any order, line ends be ``\\n`` or ``\\r\\n``, and fields quoted as CSV quotes;
    blank lines, further columns and floats are refused.

    `UserError` for the first fault, with its line and what to do.
    """
    try:
        text = Path(path).read_bytes().decode("utf-8").replace("\r\n", "\n")
    except UnicodeDecodeError:
        raise UserError(f"{path} is not UTF-8 text; write the file anew.") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); write it first.") from None
    _check(text, test_ids, str(path))


def read_key(path: Path, test_ids: Sequence[str]) -> np.ndarray:
    """Labels from ``test_key.csv``, int64 [len(test_ids)], in test order.

    Its columns ``id`` and ``label`` (class name or index) are read by name; others do not matter.

    `UserError` with the line if an id is missing, foreign or doubled, or a label is none.
    """
    wanted, labels = set(test_ids), dict[str, int]()
    unknown: dict[str, list[int]] = {}  # label: lines
    for number, row in _key_rows(path):
        name = row["id"].strip(" \t")  # and no other white space, which an id may hold
        if name not in wanted:
            raise UserError(f"{path}, line {number}: {_foreign(name, row, wanted)}.")
        if name in labels:
            raise UserError(f"{path}, line {number}: {name!r} comes twice; remove one.")
        try:
            labels[name] = parse_label(row["label"])
        except ValueError:
            labels[name] = -1
            unknown.setdefault(row["label"], []).append(number)
    if unknown:
        what = f"outside the class names and the indices 0-{NUM_CLASSES - 1}"
        raise unknown_classes(path, "label", what, unknown)
    if missing := [name for name in test_ids if name not in labels]:
        raise UserError(
            f"{path} lacks {counted(len(missing), 'test protein')}, first {missing[0]!r}; add "
            f"them, or remove the file if the labels are unknown."
        )
    return np.array([labels[name] for name in test_ids], dtype=np.int64)


def _key_rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    """Line and named fields of each row that is not blank."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            table = csv.DictReader(file, restval="", strict=True)
            names = table.fieldnames = [name.strip() for name in table.fieldnames or []]
            rows = [(table.line_num, row) for row in table]
    except UnicodeDecodeError:
        raise UserError(f"{path} is not UTF-8 text; save it as UTF-8 (CSV, id,label).") from None
    except (OSError, ValueError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{path} cannot be read ({reason}); give a CSV file id,label.") from None
    if not any(names) and not rows:
        raise UserError(
            f"{path} is empty; write id,label and a row for each test protein, or remove the file "
            f"if the labels are unknown."
        )
    if not {"id", "label"} <= set(names):
        header = ",".join(names)
        raise UserError(f"{path}, line 1: the header is {header!r}; it needs id and label.")
    return [(number, {name: row[name] for name in names}) for number, row in rows]


def _foreign(name: str, row: dict[str, str], wanted: set[str]) -> str:
    """Why an id is none of the test proteins', and what to do."""
    for column, text in row.items():
        if text in wanted:
            return (
                f"{name!r}, in the column 'id', is not in test.fasta, but {text!r} is, in the "
                f"column {column!r}; correct the names of the columns"
            )
    return f"{name!r} is not in test.fasta; remove the row"


def _check(text: str, ids: Sequence[str], path: str) -> None:
    """Check the header, then each row, then that no test protein is missing."""
    if not text:
        raise UserError(f"{path} is empty; write the file anew.")
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    wanted, seen = set(ids), dict[str, int]()  # id: line
    try:
        for row in rows:
            if fault := _fault(row, rows.line_num, wanted, seen):
                raise UserError(f"{path}, line {rows.line_num}: {fault}.")
            if rows.line_num > 1:
                seen[row[0]] = rows.line_num
    except csv.Error as error:
        raise UserError(f"{path}, line {rows.line_num}: {error}; quote as CSV does.") from None
    if missing := [name for name in ids if name not in seen]:
        raise UserError(
            f"{path} has {counted(len(seen), 'row')} for {counted(len(ids), 'test protein')}; the "
            f"first missing is {missing[0]!r}: add a row for each."
        )


def _fault(row: list[str], line: int, wanted: set[str], seen: dict[str, int]) -> str | None:
    """What is wrong with a row of a submission, and what to do."""
    if line == 1:
        if row and row[0].startswith("\ufeff"):
            return "the file starts with a byte order mark; save it as UTF-8 without"
        return None if row == COLUMNS else f"the header is {','.join(row)!r}; write id,label"
    if not "".join(row).strip():
        return "the line is blank; remove it"
    if len(row) != len(COLUMNS):
        return f"{counted(len(row), 'column')} instead of 2; write id,label"
    name, label = row
    if label not in VALID:
        what = f"the label {label!r} is not an integer from 0 to {NUM_CLASSES - 1}"
        return f"{what}; write the index of a class"
    if name not in wanted:
        return f"{name!r} is no id of the test file; remove the row"
    return f"{name!r} was on line {seen[name]} already; remove one" if name in seen else None
