"""The competition's answers: ``id,label``, one row per test protein, given or known.

A submission is written in the test file's order, which the competition does not ask for: it joins
rows to its own answers by id, so `check_submission` takes rows in any order. Ids that CSV cannot
hold as they are, with a comma or a double quote, are quoted as CSV quotes, which it reads too.
"""

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from arg_utils.errors import UserError
from arg_utils.files import write_text
from arg_utils.labels import CLASSES, NUM_CLASSES, name_unknown, parse_label

COLUMNS = ["id", "label"]
UNSURE = "uncertain"
VALID = frozenset(str(index) for index in range(NUM_CLASSES))


def write_submission(ids: Sequence[str], labels: ArrayLike, path: Path | str) -> Path:
    """Write the answers to ``path``, whole or not at all, and check the file.

    Parameters
    ----------
    ids : sequence of str, shape (n,)
        Ids of the test proteins, in the test file's order.
    labels : integers, shape (n,)
        Class indices 0-14.

    Raises
    ------
    UserError
        If lengths differ or a label is no class; nothing is written then.
    """
    indices = np.asarray(labels).tolist()
    if len(ids) != len(indices):
        raise UserError(f"{len(ids)} ids came with {len(indices)} labels; predict each id once.")
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerows([COLUMNS, *zip(ids, indices, strict=True)])
    _check(buffer.getvalue(), ids, str(path))
    return write_text(path, buffer.getvalue())


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
    names, highest = [CLASSES[i] for i in probabilities.argmax(axis=1)], probabilities.max(axis=1)
    columns = {
        "id": list(ids),
        "class": names,
        "probability": highest.round(4),
        "answer": np.where(highest >= threshold, names, UNSURE),
    }
    table = pd.DataFrame(columns)
    return write_text(path, table.to_csv(index=False, lineterminator="\n"))


def check_submission(path: Path | str, test_ids: Sequence[str]) -> None:
    """Whether Kaggle would score this file, and score what was meant.

    Rows may come in any order, line ends be ``\\n`` or ``\\r\\n``, and fields quoted as CSV quotes;
    blank lines, further columns and floats are refused.

    Raises
    ------
    UserError
        For the first fault, with its line and what to do.
    """
    try:
        text = Path(path).read_bytes().decode("utf-8").replace("\r\n", "\n")
    except UnicodeDecodeError:
        raise UserError(f"{path} is not UTF-8 text; write the file anew.") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); write it first.") from None
    _check(text, test_ids, str(path))


def read_key(path: Path, test_ids: Sequence[str]) -> np.ndarray:
    """Labels from ``test_key.csv``, in test order.

    Its columns ``id`` and ``label`` (class name or index) are read by name; others do not matter.

    Returns
    -------
    ndarray of int64, shape (len(test_ids),)

    Raises
    ------
    UserError
        Naming the line, if an id is missing, foreign or doubled, or a label is none.
    """
    wanted, labels = set(test_ids), dict[str, int]()
    unknown: dict[str, list[int]] = {}  # label: lines
    for number, row in _key_rows(path):
        name = row["id"].strip()
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
        counts = {name: len(lines) for name, lines in unknown.items()}
        raise UserError(
            f"{path}, line {min(map(min, unknown.values()))}: {sum(counts.values())} labels are "
            f"neither class names nor indices 0-{NUM_CLASSES - 1}, the first here: "
            f"{name_unknown(counts)}; use {', '.join(CLASSES)}."
        )
    if missing := [name for name in test_ids if name not in labels]:
        raise UserError(
            f"{path} lacks {len(missing)} test proteins, first {missing[0]!r}; add them, or "
            f"remove the file if the labels are unknown."
        )
    return np.array([labels[name] for name in test_ids], dtype=np.int64)


def _foreign(name: str, row: dict[str, str], wanted: set[str]) -> str:
    """Why an id is none of the test proteins', and what to do."""
    for column, text in row.items():
        if text in wanted:
            return (
                f"{name!r}, in the column 'id', is not in test.fasta, but {text!r} is, in the "
                f"column {column!r}; correct the names of the columns"
            )
    return f"{name!r} is not in test.fasta; remove the row"


def _key_rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Line and named fields of each row that is not blank."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
        table = csv.reader(lines, strict=True)
        names = [name.strip() for name in next(table, [])]
        rows = [(table.line_num, row) for row in table if row]
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"{path} cannot be read ({error}); give a CSV file id,label.") from None
    if not any(names) and not rows:
        raise UserError(
            f"{path} is empty; write id,label and a row for each test protein, or remove the file "
            f"if the labels are unknown."
        )
    if not {"id", "label"} <= set(names):
        header = ",".join(names)
        raise UserError(f"{path}, line 1: the header is {header!r}; it needs id and label.")
    for number, row in rows:
        yield number, dict.fromkeys(names, "") | dict(zip(names, row, strict=False))


def _check(text: str, ids: Sequence[str], path: str) -> None:
    """Check the header, then each row, then that no test protein is missing."""
    if not text:
        raise UserError(f"{path} is empty; write the file anew.")
    lines = csv.reader(io.StringIO(text, newline=""), strict=True)
    wanted, seen = set(ids), dict[str, int]()  # id: line
    try:
        for row in lines:
            where = f"{path}, line {lines.line_num}"
            if lines.line_num == 1:
                if row != COLUMNS:
                    raise UserError(f"{where}: the header is {','.join(row)!r}; write id,label.")
                continue
            name = _checked_id(row, where)
            if name in seen:
                raise UserError(f"{where}: {name!r} was on line {seen[name]} already; remove one.")
            if name not in wanted:
                raise UserError(f"{where}: {name!r} is no id of the test file; remove the row.")
            seen[name] = lines.line_num
    except csv.Error as error:
        raise UserError(f"{path}, line {lines.line_num}: {error}; quote as CSV does.") from None
    if missing := [name for name in ids if name not in seen]:
        raise UserError(
            f"{path} has {len(seen)} rows for {len(ids)} test proteins; the first missing is "
            f"{missing[0]!r}: add a row for each."
        )


def _checked_id(row: list[str], where: str) -> str:
    """The id of a row whose form and label are right."""
    if not "".join(row).strip():
        raise UserError(f"{where}: the line is blank; remove it.")
    if len(row) != len(COLUMNS):
        raise UserError(f"{where}: {len(row)} columns instead of 2; write id,label.")
    name, label = row
    if label not in VALID:
        raise UserError(
            f"{where}: the label {label!r} is not an integer from 0 to {NUM_CLASSES - 1}; write "
            f"the index of a class."
        )
    return name
