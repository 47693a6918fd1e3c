"""The data before any model: tables for the first two notebooks."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pandas as pd

from arg_utils.data.fasta import Record, proteins
from arg_utils.data.folders import DataSet
from arg_utils.data.open_data import read_report
from arg_utils.esm2.batches import MAX_RESIDUES
from arg_utils.experiments.workspace import Workspace
from arg_utils.homology.mmseqs import best_hits
from arg_utils.homology.splits import PARTS, homology_fold
from arg_utils.labels import CLASSES, DISPLAY_NAMES, NONARG, NUM_CLASSES

STANDARD = set("ACDEFGHIKLMNPQRSTVWY")


def header_examples(data: DataSet) -> list[str]:
    """The first header of an ARG, of a protein that is none, and of a test protein."""
    arg = next((r for r in data.train if r.label != NONARG), None)
    other = next((r for r in data.train if r.label == NONARG), None)
    return [f">{record.header}" for record in (arg, other, *data.test[:1]) if record]


def build_table(work: Workspace) -> pd.DataFrame:
    """What building the data read, removed and left: step, detail, proteins.

    The competition's files are used as they are; for them it is what was read of each.
    """
    if work.data.name == "open":
        return read_report(work.data.folder).table()
    rows = [("read", f"{part}.fasta", len(getattr(work.data, part))) for part in PARTS]
    return pd.DataFrame(rows, columns=["step", "detail", "proteins"])


def class_table(data: DataSet) -> pd.DataFrame:
    """Proteins of each class in train, val and (where known) test, and the share in train."""
    parts = {"train": proteins(data.train).labels, "val": proteins(data.val).labels}
    if data.test_labels is not None:
        parts["test"] = data.test_labels
    table = pd.DataFrame(
        {part: np.bincount(labels, minlength=NUM_CLASSES) for part, labels in parts.items()},
        index=pd.Index(DISPLAY_NAMES, name="class"),
    )
    return table.assign(share=(table["train"] / table["train"].sum()).round(4))


def cap_table(counts: Sequence[int], caps: Sequence[int | None]) -> pd.DataFrame:
    """Under each cap per class: proteins that remain, and largest class over smallest."""
    rows = []
    for cap in caps:
        left = np.asarray(counts) if cap is None else np.minimum(counts, cap)
        ratio = left.max() / left[left > 0].min()
        rows.append(("none" if cap is None else str(cap), int(left.sum()), round(float(ratio), 1)))
    return pd.DataFrame(rows, columns=["cap per class", "proteins", "largest / smallest"])


def length_table(data: Sequence[Record]) -> pd.DataFrame:
    """Residues per protein, by class: median, 5th and 95th percentile, and how many are cut."""
    frame = pd.DataFrame(
        {"class": [record.label for record in data], "n": [len(r.sequence) for r in data]}
    )
    groups = frame.groupby("class")["n"]
    percentiles = {"5 %": 0.05, "median": 0.5, "95 %": 0.95}
    table = pd.DataFrame({name: groups.quantile(q) for name, q in percentiles.items()})
    table = table.round().astype(int)
    table["longer than the window"] = groups.apply(lambda n: int((n > MAX_RESIDUES).sum()))
    table.index = pd.Index([DISPLAY_NAMES[i] for i in table.index], name="class")
    return table


def odd_residues(data: Sequence[Record]) -> pd.DataFrame:
    """Letters other than the 20 amino acids: in how many proteins, and how many residues."""
    residues: Counter[str] = Counter()
    holders: Counter[str] = Counter()
    for record in data:
        letters = Counter(letter for letter in record.sequence if letter not in STANDARD)
        residues.update(letters)
        holders.update(letters.keys())
    rows = [(letter, holders[letter], residues[letter]) for letter in sorted(residues)]
    return pd.DataFrame(rows, columns=["letter", "proteins", "residues"])


def duplicate_table(data: DataSet) -> pd.DataFrame:
    """Identical sequences: within train, and of val and test in the part before."""
    train, val = ({r.sequence for r in part} for part in (data.train, data.val))
    rows = [
        ("again within train", len(data.train) - len(train)),
        ("of val also in train", sum(r.sequence in train for r in data.val)),
        ("of test also in train or val", sum(r.sequence in train | val for r in data.test)),
    ]
    return pd.DataFrame(rows, columns=["identical sequences", "proteins"])


def nearest_identities(work: Workspace) -> dict[str, np.ndarray]:
    """Identity (0-1, NaN without a hit) of held-out proteins to their best hit in training.

    ``random``: of the test part to train, whether its labels are known or not. ``homology``: of
    every tested fold's proteins, without the excluded ones.
    """
    train, held_out = work.data.train, work.data.test or work.data.val
    hits = best_hits([r.sequence for r in held_out], [r.sequence for r in train])
    random = hits.set_index("query")["identity"].reindex(range(len(held_out))).to_numpy()
    records, table = work.labelled
    folds = []
    for fold in work.tested_folds:
        parts = homology_fold(records, table, fold, work.profile.seed)
        best = parts.best_hits.set_index("query")["identity"]
        folds.append(best.reindex(parts.test).to_numpy())
    return {"random": random, "homology": np.concatenate(folds)}


def split_counts(table: pd.DataFrame) -> pd.DataFrame:
    """Proteins of each class in each part of the random split and each homology fold."""
    random = pd.crosstab(table["class"], table["random"])
    folds = pd.crosstab(table["class"], table["fold"]).add_prefix("fold ")
    clusters = table.groupby("class")["cluster"].nunique().rename("clusters")
    both = random[[p for p in ("train", "val", "test") if p in random]].join(folds).join(clusters)
    both = both.reindex([name for name in CLASSES if name in both.index])
    both.index = pd.Index([DISPLAY_NAMES[CLASSES.index(name)] for name in both.index], name="class")
    return both


def straddling_clusters(table: pd.DataFrame) -> int:
    """How many homology clusters have members in more than one fold: none, unless at fault."""
    places = table[["cluster", "fold"]].drop_duplicates()
    return int((places["cluster"].value_counts() > 1).sum())


def fold_table(work: Workspace) -> pd.DataFrame:
    """Each tested homology fold: sizes of its parts, exclusions, and classes without training."""
    records, table = work.labelled
    labels, clusters = proteins(records).labels, table["cluster"].to_numpy()
    rows = []
    for fold in work.tested_folds:
        parts = homology_fold(records, table, fold, work.profile.seed)
        seen = [set(clusters[p]) for p in (parts.train, parts.val, parts.test)]
        absent = set(labels[parts.test]) - set(labels[parts.train])
        rows.append(
            {
                "fold": fold, "train": len(parts.train), "val": len(parts.val),
                "test": len(parts.test), "excluded": len(parts.set_aside),
                "clusters shared": len(seen[0] & seen[1]) + len((seen[0] | seen[1]) & seen[2]),
                "tested classes without training": ", ".join(
                    DISPLAY_NAMES[label] for label in sorted(absent)
                ) or "none",
            }
        )  # fmt: skip
    return pd.DataFrame(rows).set_index("fold")
