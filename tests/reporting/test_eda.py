"""Tables of the data: what is counted, and that splits are what they claim."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import workspaces

from arg_utils.data.folders import load_dataset
from arg_utils.data.proteins import Record
from arg_utils.homology import mmseqs, splits
from arg_utils.labels import DISPLAY_NAMES
from arg_utils.reporting import eda

EMPTY = DISPLAY_NAMES[workspaces.EMPTY]


pytestmark = pytest.mark.usefixtures("settings")


def with_folds(work, fold_of, **profile):
    """``work`` with other folds in its table."""
    other = replace(work, profile=replace(work.profile, **profile))
    records, table = work.labelled
    other.__dict__["labelled"] = records, table.assign(fold=fold_of(table))
    return other


@pytest.fixture
def no_hits(monkeypatch):
    """Nothing resembles anything: a search takes a second or more."""
    nothing = mmseqs.search([], [])
    monkeypatch.setattr(splits, "search", lambda *_: nothing)


def test_class_table_counts_every_part(work):
    table = eda.class_table(work.data)
    for part, entries in workspaces.proteins().items():
        counts = Counter(label for _, label, _ in entries)
        assert table[part].tolist() == [counts[label] for label in range(15)]
    assert table.loc[EMPTY, ["train", "val", "test"]].tolist() == [0, 0, 0]
    assert table["share"].sum() == pytest.approx(1, abs=1e-3)
    assert table.loc["not an ARG", "share"] == round(24 / table["train"].sum(), 4)
    last = replace(work.data, train=[r for r in work.data.train if r.label < 11])
    assert eda.class_table(last)["train"].tolist()[11:] == [0, 0, 0, 0]
    unlabelled = eda.class_table(replace(work.data, test_labels=None))
    assert unlabelled.columns.tolist() == ["train", "val", "share"]


def test_odd_residues_count_proteins_and_residues(tmp_path):
    """J (leucine or isoleucine), which ESM's alphabet lacks, is read as X."""
    data = [Record(s, s, s, 0) for s in ("MKXXU", "MKX", "ACDEFGHIKLMNPQRSTVWY")]
    table = eda.odd_residues(data)
    assert table.to_numpy().tolist() == [["U", 1, 1], ["X", 2, 3]]
    (tmp_path / "test.fasta").write_text(">SEQ0\nmkjJ\n>SEQ1\nMKBZ*\n")
    read = eda.odd_residues(load_dataset(tmp_path, parts=["test"]).test)
    assert read.to_numpy().tolist() == [["B", 1, 1], ["X", 1, 2], ["Z", 1, 1]]
    none = eda.odd_residues(data[2:])
    assert (len(none), none.columns.tolist()) == (0, ["letter", "proteins", "residues"])


def test_split_counts_add_up(work):
    table = work.labelled[1]
    counts = eda.split_counts(table)
    assert EMPTY not in counts.index
    assert counts.index.tolist() == [name for name in DISPLAY_NAMES if name != EMPTY]
    assert counts[["train", "val", "test"]].sum().sum() == len(table)
    assert counts.filter(like="fold").sum().sum() == len(table)
    families = {DISPLAY_NAMES[label]: count for label, (count, _) in workspaces.FAMILIES.items()}
    assert counts["clusters"].to_dict() == families
    assert counts.loc["not an ARG", ["train", "val", "test"]].tolist() == [28, 4, 4]


def test_a_straddling_cluster_is_found(work):
    assert eda.straddling_clusters(work.labelled[1]) == 0
    torn = pd.DataFrame({"cluster": [0, 0, 0, 1, 1, 2], "fold": [0, 1, 2, 1, 2, 2]})
    assert eda.straddling_clusters(torn) == 2  # one cluster counts once, in however many folds


def test_folds_are_described(work):
    table = work.labelled[1]
    folds = eda.fold_table(work)
    assert folds.index.tolist() == [0]
    row = folds.loc[0]
    assert row["test"] + row["excluded"] == (table["fold"] == 0).sum()
    assert row[["train", "val", "test", "excluded"]].sum() == len(table)
    assert row["clusters shared"] == 0
    assert row["tested classes without training"] == "none"


def test_faulty_folds_are_told(work, no_hits):
    """A class that only the tested fold has; and families cut in two."""
    lonely = with_folds(work, lambda table: (table["class"] != "polymyxin").astype(int))
    row = eda.fold_table(lonely).loc[0]
    assert row["tested classes without training"] == "polymyxin"
    assert row["test"] + row["excluded"] == 6
    torn = with_folds(work, lambda table: np.arange(len(table)) % 2)
    row = eda.fold_table(torn).loc[0]
    assert row["excluded"] == 0
    assert row["clusters shared"] > 20


def test_held_out_proteins_are_near_at_random_and_far_by_homology(work):
    table = eda.nearest_identities(work)
    random, homology = (table[table["split"] == split] for split in ("random", "homology"))
    assert random["kind"].tolist() == [
        "other proteins" if label == 14 else "ARGs" for label in work.data.test_labels
    ]
    assert random["identity"].min() > 0.6
    assert random["identity"].isna().mean() < 0.1
    assert len(homology) == eda.fold_table(work)["test"].sum()
    assert set(homology["kind"]) == {"ARGs", "other proteins"}
    assert (homology["identity"].fillna(0) < 0.6).all()
    other = replace(work, data=replace(work.data, test_labels=None))
    other.__dict__["labelled"] = work.labelled
    unlabelled = eda.nearest_identities(other)
    pd.testing.assert_series_equal(unlabelled["identity"], table["identity"])
    assert set(unlabelled["kind"][: len(random)]) == {"unlabelled"}


def test_data_with_fewer_folds_than_the_profile_tests(work, no_hits):
    few = with_folds(work, lambda table: table["fold"] % 2, homology_folds=(0, 1, 2, 3, 4))
    assert eda.fold_table(few).index.tolist() == [0, 1]
    assert eda.fold_table(few)["test"].sum() == len(few.labelled[1])
    assert eda.nearest_identities(few)["split"].eq("homology").sum() == len(few.labelled[1])
