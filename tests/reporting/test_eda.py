from collections import Counter
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import workspaces

from arg_utils.data.fasta import Record
from arg_utils.data.folders import load_dataset
from arg_utils.homology import mmseqs, splits
from arg_utils.labels import DISPLAY_NAMES
from arg_utils.reporting import eda

EMPTY = DISPLAY_NAMES[workspaces.EMPTY]


pytestmark = pytest.mark.usefixtures("settings")


def records(*lengths_of_class):
    return [
        Record(f"{label}", f"{label}", "A" * length, label) for label, length in lengths_of_class
    ]


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


def test_caps_leave_proteins_and_a_ratio():
    table = eda.cap_table([100, 7, 0, 40], (5, 50, None))
    assert table["cap per class"].tolist() == ["5", "50", "none"]
    assert table["proteins"].tolist() == [15, 97, 147]
    assert table["largest / smallest"].tolist() == [1.0, 7.1, 14.3]


def test_lengths_are_of_each_class_that_has_proteins(work):
    data = records((0, 100), (0, 200), (0, 300), (11, 1022), (11, 1023))
    table = eda.length_table(data)
    assert table.index.tolist() == ["aminoglycoside", "beta-lactam"]
    assert table["median"].tolist() == [200, 1022]
    assert table["5 %"].tolist() == [110, 1022]
    assert table["95 %"].tolist() == [290, 1023]
    assert table["longer than the window"].tolist() == [0, 1]
    assert EMPTY not in eda.length_table(work.data.train).index


def test_odd_residues_count_proteins_and_residues():
    data = [Record(s, s, s, 0) for s in ("MKXXU", "MKX", "ACDEFGHIKLMNPQRSTVWY")]
    table = eda.odd_residues(data)
    assert table.to_numpy().tolist() == [["U", 1, 1], ["X", 2, 3]]
    none = eda.odd_residues(data[2:])
    assert (len(none), none.columns.tolist()) == (0, ["letter", "proteins", "residues"])


def test_j_is_read_as_x(tmp_path):
    """ESM's alphabet has no J (leucine or isoleucine)."""
    (tmp_path / "test.fasta").write_text(">SEQ0\nmkjJ\n>SEQ1\nMKBZ*\n")
    data = load_dataset(tmp_path, parts=["test"])
    assert eda.odd_residues(data.test).to_numpy().tolist() == [
        ["B", 1, 1], ["X", 1, 2], ["Z", 1, 1]
    ]  # fmt: skip


def test_identical_sequences_are_counted_across_parts(work):
    assert eda.duplicate_table(work.data)["proteins"].tolist() == [0, 0, 0]
    train, val, test = work.data.train, work.data.val, work.data.test
    doubled = replace(
        work.data, train=[*train, train[0], train[0]], val=[*val, train[1]],
        test=[*test, train[2], val[0], test[0]],
    )  # fmt: skip
    table = eda.duplicate_table(doubled)
    assert table["proteins"].tolist() == [2, 1, 2]
    assert table["identical sequences"].iloc[1] == "of val also in train"


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
    table = work.labelled[1]
    assert eda.straddling_clusters(table) == 0
    torn = table.copy()
    members = torn.index[torn["cluster"] == 0]
    torn.loc[members[0], "fold"] = (torn.loc[members[0], "fold"] + 1) % 5
    assert eda.straddling_clusters(torn) == 1
    torn.loc[members[1], "fold"] = (torn.loc[members[1], "fold"] + 2) % 5
    assert torn.loc[members, "fold"].nunique() == 3
    assert eda.straddling_clusters(torn) == 1  # one cluster, in however many folds
    moved = pd.DataFrame({"cluster": [0, 0, 1, 1, 2], "fold": [0, 1, 1, 2, 2]})
    assert eda.straddling_clusters(moved) == 2


def test_folds_are_described(work):
    table = work.labelled[1]
    found = eda.fold_table(work)
    assert found.index.tolist() == [0]
    row = found.loc[0]
    assert row["test"] + row["excluded"] == (table["fold"] == 0).sum()
    assert row[["train", "val", "test", "excluded"]].sum() == len(table)
    assert row["clusters shared"] == 0
    assert row["tested classes without training"] == "none"


def test_classes_that_only_the_tested_fold_has_are_named(work, no_hits):
    lonely = with_folds(work, lambda table: (table["class"] != "polymyxin").astype(int))
    row = eda.fold_table(lonely).loc[0]
    assert row["tested classes without training"] == "polymyxin"
    assert row["test"] + row["excluded"] == 6


def test_shared_clusters_are_counted(work, no_hits):
    """A fold that cuts families in two: the table must not call that clean."""
    torn = with_folds(work, lambda table: np.arange(len(table)) % 2)
    row = eda.fold_table(torn).loc[0]
    assert row["excluded"] == 0
    assert row["clusters shared"] > 20


def test_held_out_proteins_are_near_at_random_and_far_by_homology(work):
    found = eda.nearest_identities(work)
    assert len(found["random"]) == len(work.data.test)
    assert np.nanmin(found["random"]) > 0.6
    assert np.isnan(found["random"]).mean() < 0.1
    assert len(found["homology"]) == eda.fold_table(work)["test"].sum()
    near = np.nan_to_num(found["homology"])
    assert (near < 0.6).all()


def test_without_test_labels_identities_are_the_same(work):
    known = eda.nearest_identities(work)["random"]
    other = replace(work, data=replace(work.data, test_labels=None))
    other.__dict__["labelled"] = work.labelled
    np.testing.assert_array_equal(eda.nearest_identities(other)["random"], known)


def test_data_with_fewer_folds_than_the_profile_tests(work, no_hits):
    few = with_folds(work, lambda table: table["fold"] % 2, homology_folds=(0, 1, 2, 3, 4))
    assert eda.fold_table(few).index.tolist() == [0, 1]
    assert eda.fold_table(few)["test"].sum() == len(few.labelled[1])
    assert len(eda.nearest_identities(few)["homology"]) == len(few.labelled[1])
