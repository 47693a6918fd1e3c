"""Which data to work on, loaded and checked: Kaggle's, the open ones, or a folder like either.

A data folder holds ``train.fasta`` and ``val.fasta`` (labelled), ``test.fasta`` (not labelled), and
``test_key.csv`` where the test labels are known.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pandas as pd

from arg_utils.data.fasta import read_fasta, write_fasta
from arg_utils.data.open_data import ensure_open_data
from arg_utils.data.proteins import Record, with_unique_ids
from arg_utils.data.submission import read_key
from arg_utils.errors import UserError, counted
from arg_utils.files import DATA, cache_dir, expanded, locked
from arg_utils.homology.splits import PARTS, read_splits, split_table, write_splits
from arg_utils.labels import CLASSES

KEY = "test_key.csv"
ENDINGS = {"fasta", "fa", "faa", "fas", "pep", "txt"}  # that proteins may come with elsewhere
# Where a kernel on Kaggle finds the competition's files, once they are added as its input.
KAGGLE_INPUTS = (
    Path("/kaggle/input/competitions/aist4010-spring2024-a2"),
    Path("/kaggle/input/aist4010-spring2024-a2"),  # the older place
)


@dataclass(frozen=True)
class DataSet:
    """Checked records of one data folder; a part that was not asked for is empty."""

    name: str  # ``open``, ``kaggle``, or the folder's name
    folder: Path
    train: list[Record] = field(repr=False)
    val: list[Record] = field(repr=False)
    test: list[Record] = field(repr=False)  # not labelled
    test_labels: np.ndarray | None = field(repr=False)  # int64 [len(test)], None where unknown
    identity: str  # SHA-256 over the loaded files, 64 hex digits: results carry it


def kaggle_folder() -> Path:
    """``data/kaggle``, or the one of `KAGGLE_INPUTS` that is whole where that has no file."""
    own = DATA / "kaggle"
    if len(_missing(own)) < len(PARTS):
        return own
    return next((folder for folder in KAGGLE_INPUTS if not _missing(folder)), own)


def chosen_folder() -> Path:
    """The data folder to use, whether or not it has been built.

    ``ARG_DATA`` (``open``, ``kaggle``, or a folder) decides; else ``data/kaggle`` once its three
    files are there, or one of `KAGGLE_INPUTS`; else ``data/open``.

    `UserError` if ``data/kaggle`` holds some of its files only, or ``ARG_DATA`` names no folder.
    """
    choice, kaggle = os.environ.get("ARG_DATA", "").strip(), kaggle_folder()
    missing = _missing(kaggle)
    if choice == "kaggle" or (not choice and len(missing) < len(PARTS)):
        if missing:
            remedy = _remedy(kaggle, missing, "put the competition's file there")
            raise UserError(
                f"{kaggle} lacks {', '.join(missing)}; {remedy}, or set ARG_DATA=open to work on "
                f"the open data."
            )
        return kaggle
    if choice in ("", "open"):
        return DATA / "open"
    if not (folder := expanded(choice, "ARG_DATA")).is_dir():
        raise UserError(f"ARG_DATA={choice} is no folder; name one, or 'open', or 'kaggle'.")
    return folder


def _missing(folder: Path, parts: Sequence[str] = PARTS) -> list[str]:
    return [f"{part}.fasta" for part in parts if not (folder / f"{part}.fasta").is_file()]


def resolve_data_dir() -> Path:
    """`chosen_folder`, where the open data are built on first use."""
    folder = chosen_folder()
    return ensure_open_data(folder) if folder == DATA / "open" else folder


def load_dataset(folder: Path | str | None = None, parts: Sequence[str] = PARTS) -> DataSet:
    """The records of a data folder, by default of `resolve_data_dir`.

    ``parts`` says which of ``train``, ``val`` and ``test`` are needed; others are not read.

    `UserError` if a needed file is missing or at fault; the message names file, line and remedy.
    """
    folder = Path(folder) if folder is not None else resolve_data_dir()
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "is not there"
        raise UserError(f"{folder} {what}; name the folder that holds {', '.join(parts)}.fasta.")
    needed = [part for part in PARTS if part in parts]
    if missing := _missing(folder, needed):
        remedy = _remedy(folder, missing, "put what is missing there")
        raise UserError(f"{folder} lacks {', '.join(missing)}; {remedy}.")
    files = [folder / f"{part}.fasta" for part in needed]
    train, val, test = (
        read_fasta(folder / f"{part}.fasta", labelled=part != "test") if part in needed else []
        for part in PARTS
    )
    key, test_labels = folder / KEY, None
    if test and (key.exists() or key.is_symlink()):
        test_labels = read_key(key, [record.id for record in test])
        files.append(key)
    named = {(DATA / name).resolve(): name for name in ("open", "kaggle")}
    named |= dict.fromkeys(KAGGLE_INPUTS, "kaggle")
    name = named.get(folder.resolve(), folder.resolve().name)
    return DataSet(name, folder, train, val, test, test_labels, _identity(files))


def _identity(files: Sequence[Path]) -> str:
    """SHA-256 over names and contents, 64 hex digits."""
    parts = (path.name.encode() + b"\0" + sha256(path.read_bytes()).digest() for path in files)
    return sha256(b"".join(parts)).hexdigest()


def _remedy(folder: Path, missing: Sequence[str], otherwise: str) -> str:
    """What to do about files that are missing: rename what is there under a name of its own."""
    moves = []
    for name in missing:
        for path in (p for place in ("*", "*/*") for p in sorted(folder.glob(place))):
            stem, *endings = path.name.lower().split(".")
            if stem == Path(name).stem and ENDINGS.intersection(endings) and path.is_file():
                moves.append(f"rename {path.relative_to(folder)} to {name}")
                break
    return " and ".join(moves) or otherwise


def leakage_warnings(dataset: DataSet) -> list[str]:
    """What a careful reader would want to know of train and val, a sentence each."""
    train = {record.sequence for record in dataset.train}
    shared = sum(record.sequence in train for record in dataset.val)
    labels: dict[str, set[int]] = {}
    for record in dataset.train + dataset.val:
        if record.label is not None:
            labels.setdefault(record.sequence, set()).add(record.label)
    torn = [kinds for kinds in labels.values() if len(kinds) > 1]
    warnings = []
    if shared:
        warnings.append(
            f"{shared} of {len(dataset.val)} validation proteins {'is' if shared == 1 else 'are'} "
            f"also in train.fasta, identical: validation scores flatter."
        )
    if torn:
        example = " and ".join(CLASSES[kind] for kind in sorted(torn[0]))
        warnings.append(f"Two labels come with {counted(len(torn), 'sequence')} (one: {example}).")
    return warnings


def labelled_records(dataset: DataSet) -> list[Record]:
    """All proteins with a label, ids unique: what `splits_for` splits.

    The open data's ``records.fasta``; for other data train, val, and test where its key is known.
    """
    if (dataset.folder / "records.fasta").is_file():
        return read_fasta(dataset.folder / "records.fasta", labelled=True)
    if not (dataset.train and dataset.val):
        raise UserError(f"{dataset.folder} was loaded in part; load train and val to split them.")
    records = dataset.train + dataset.val
    if dataset.test_labels is not None:
        pairs = zip(dataset.test, dataset.test_labels.tolist(), strict=True)
        records = records + [replace(record, label=label) for record, label in pairs]
    return with_unique_ids(records)


def splits_for(dataset: DataSet) -> tuple[list[Record], pd.DataFrame]:
    """`labelled_records` and their `splits.split_table`, row for row; made once, then reused.

    For data without a table of their own it is kept in ``data/derived/<name>-<identity>/``.

    `UserError` if the data are too few to be split.
    """
    records = labelled_records(dataset)
    folder = dataset.folder
    if not (folder / "splits.csv").is_file():
        folder = DATA / "derived" / f"{dataset.name}-{dataset.identity[:8]}"
    with locked(cache_dir("locks") / f"splits-{dataset.identity[:16]}.lock"):
        if not (folder / "splits.csv").is_file():
            write_fasta(folder / "records.fasta", records)
            write_splits(folder / "splits.csv", split_table(records))
    table = read_splits(folder / "splits.csv")
    if list(table["id"]) != [record.id for record in records]:
        raise UserError(f"{folder / 'splits.csv'} is of other data; remove it to rebuild it.")
    return records, table
