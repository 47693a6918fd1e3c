"""A small data folder of real proteins, in the competition's format."""

from pathlib import Path

import numpy as np

from arg_utils.data.fasta import read_fasta, write_fasta
from arg_utils.data.proteins import Record
from arg_utils.labels import NUM_CLASSES


def write_small_data(open_data: Path, folder: Path) -> Path:
    """Four training proteins a class, two for validation, two to test, with their key.

    The shortest ones of the open data set that have 100 residues or more.
    """
    records = read_fasta(open_data / "train.fasta", labelled=True)
    by_length = sorted(records, key=lambda record: len(record.sequence))
    long_enough = [record for record in by_length if len(record.sequence) >= 100]
    parts: dict[str, list[Record]] = {"train": [], "val": [], "test": []}
    for label in range(NUM_CLASSES):
        chosen = [record for record in long_enough if record.label == label][:8]
        parts["train"] += chosen[:4]
        parts["val"] += chosen[4:6]
        parts["test"] += chosen[6:]
    order = np.random.default_rng(0).permutation(len(parts["test"]))
    test = [parts["test"][i] for i in order]
    for part in ("train", "val"):
        write_fasta(folder / f"{part}.fasta", parts[part])
    unlabelled = [Record(f"SEQ{i}", f"SEQ{i}", r.sequence) for i, r in enumerate(test)]
    write_fasta(folder / "test.fasta", unlabelled)
    rows = [f"SEQ{i},{record.label}\n" for i, record in enumerate(test)]
    (folder / "test_key.csv").write_text("id,label\n" + "".join(rows))
    return folder
