import numpy as np
import pandas as pd
import pytest
import synthetic

from arg_utils.data.fasta import read_fasta
from arg_utils.data.proteins import Record
from arg_utils.errors import UserError
from arg_utils.homology import mmseqs, splits
from arg_utils.homology.answers import COLUMNS
from arg_utils.homology.mmseqs import best_hits
from arg_utils.homology.splits import (
    homology_clusters,
    homology_fold,
    homology_folds,
    random_split,
    read_splits,
    related,
    split_table,
    write_splits,
)
from arg_utils.labels import CLASSES


def hits(*rows):
    """(query, target, identity, query coverage, target coverage) as a table of hits."""
    table = pd.DataFrame(rows, columns=["query", "target", "identity", *list(COLUMNS)[5:]])
    return table.assign(bits=50.0, evalue=1e-9)[list(COLUMNS)]


@pytest.fixture
def groups():
    """600 proteins of three classes in 60 clusters of ten; each cluster is of one class."""
    clusters = np.repeat(np.arange(60), 10)
    return np.where(clusters < 40, 14, np.where(clusters < 55, 11, 0)), clusters


def fold_parts(monkeypatch, labels, clusters, fold_of, fold, *found):
    """`homology_fold` of proteins whose hits are ``found``: rows of `hits`, places in the data."""
    records = [Record(str(i), "", f"sequence {i}", label) for i, label in enumerate(labels)]
    table = pd.DataFrame({"cluster": clusters, "fold": fold_of})

    def search(queries, targets):
        table = hits(*found)
        query, target = ([int(text.split()[1]) for text in side] for side in (queries, targets))
        return table.assign(
            query=[query.index(i) for i in table["query"]],
            target=[target.index(i) for i in table["target"]],
        )

    monkeypatch.setattr(splits, "search", search)
    return homology_fold(records, table, fold)


def test_random_split_keeps_shares_in_each_class():
    labels = np.repeat([0, 5, 14], [100, 200, 1000])
    parts = random_split(labels, seed=3)
    for label, size in ((0, 100), (5, 200), (14, 1000)):
        counts = pd.Series(parts[labels == label]).value_counts()
        assert counts.to_dict() == {"train": size * 0.8, "val": size * 0.1, "test": size * 0.1}
    assert (random_split(labels, seed=3) == parts).all()
    assert (random_split(labels, seed=4) != parts).any()


@pytest.mark.parametrize(
    ("size", "expected"),
    [(1, ["train"]), (2, ["test", "train"]), (3, ["test", "train", "val"])],
)
def test_random_split_of_a_tiny_class(size, expected):
    assert sorted(random_split([7] * size)) == expected


def test_folds_keep_clusters_whole_and_classes_spread(groups):
    labels, clusters = groups
    folds = homology_folds(labels, clusters)
    assert pd.Series(folds).groupby(clusters).nunique().max() == 1
    table = pd.crosstab(labels, folds)
    assert table.shape == (3, 5)
    assert (table.loc[14] == 80).all()
    assert (table.loc[11] == 30).all()
    assert (table.loc[0] == 10).all()
    assert (homology_folds(labels, clusters) == folds).all()


def test_fewer_clusters_fewer_folds():
    folds = homology_folds([0, 0, 0, 1], np.array([0, 1, 2, 2]))
    assert set(folds) == {0, 1, 2}
    with pytest.raises(UserError, match="3 labelled proteins cannot be split"):
        homology_folds([0, 0, 1], np.array([4, 4, 4]))
    with pytest.raises(UserError, match="cannot be split"):
        homology_folds([0, 1, 2], np.array([0, 1, 2]))
    with pytest.raises(UserError, match="0 labelled"):
        homology_folds([], np.array([], dtype=int))


def test_a_fold_is_divided_without_remainder(groups, monkeypatch):
    labels, clusters = groups
    fold_of = homology_folds(labels, clusters)
    for fold in range(5):
        parts = fold_parts(monkeypatch, labels, clusters, fold_of, fold)
        sides = (parts.train, parts.val, parts.test, parts.excluded)
        assert sorted(np.concatenate(sides)) == list(range(600))
        assert set(parts.test) == set(np.flatnonzero(fold_of == fold))
        for one, other in ((parts.train, parts.val), (parts.train, parts.test)):
            assert not set(clusters[one]) & set(clusters[other])
        assert set(labels[parts.train]) == {0, 11, 14}
        assert 40 <= len(parts.val) <= 80  # an eighth of 480 is 60


def test_validation_leaves_a_class_of_one_cluster_to_training(monkeypatch):
    labels = np.repeat([14, 0], [90, 10])
    clusters = np.concatenate([np.repeat(np.arange(9), 10), np.repeat(9, 10)])
    fold_of = np.where(clusters == 0, 0, 1)
    parts = fold_parts(monkeypatch, labels, clusters, fold_of, 0)
    assert (labels[parts.train] == 0).sum() == 10
    assert len(parts.val)


def test_proteins_with_a_relative_in_training_are_excluded(groups, monkeypatch):
    labels, clusters = groups
    fold_of = homology_folds(labels, clusters)
    first, second, third, fourth = np.flatnonzero(fold_of == 2)[:4]
    other = np.flatnonzero(fold_of != 2)[0]
    found = (
        (first, other, 0.40, 0.20, 0.50),  # just related, by the target's side
        (second, other, 0.39, 1.00, 1.00),
        (third, other, 1.00, 0.49, 0.49),
        (fourth, other, 0.30, 0.90, 0.90),
        (fourth, other, 0.90, 0.90, 0.10),  # the second hit counts as well
    )
    parts = fold_parts(monkeypatch, labels, clusters, fold_of, 2, *found)
    assert parts.excluded.tolist() == [first, fourth]
    assert {second, third} <= set(parts.test)
    assert parts.best_hits["query"].tolist() == [first, second, third, fourth]
    assert len(related(hits(*found))) == 2


def test_a_fragment_stays_with_its_family(own_cache):
    rng = np.random.default_rng(5)
    proteins = synthetic.families(rng, count=3, size=3, length=160)
    fragment, domain = proteins[3][:60], synthetic.protein(rng, 100) + proteins[6][:50]
    clusters = homology_clusters([*proteins, fragment, domain])
    assert clusters.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 1, 3]


def test_the_whole_way_on_few_records(own_cache, tmp_path, monkeypatch):
    rng = np.random.default_rng(6)
    proteins = synthetic.families(rng, count=10, size=3)
    labels = [14] * 15 + [11] * 12 + [0] * 3  # class 0: one family
    records = [
        Record(f"P{i}", f"P{i}", sequence, label)
        for i, (sequence, label) in enumerate(zip(proteins, labels, strict=True))
    ]
    table = split_table(records)
    assert list(table.columns) == ["id", "class", "random", "cluster", "fold"]
    assert table["cluster"].tolist() == np.repeat(np.arange(10), 3).tolist()
    assert table["class"].tolist() == [CLASSES[label] for label in labels]
    pd.testing.assert_frame_equal(read_splits(write_splits(tmp_path / "s.csv", table)), table)
    parts = homology_fold(records, table, fold=0)
    assert len(parts.test) == (table["fold"] == 0).sum()
    assert set(parts.hits["query"]) <= set(parts.test)
    monkeypatch.setattr(mmseqs, "run_mmseqs", lambda *_: pytest.fail("searched again"))
    known = [*parts.train, *parts.val]
    again = best_hits([proteins[i] for i in parts.test], [proteins[i] for i in known])
    assert len(again) == len(parts.best_hits), "what a method asks of a fold is known by then"
    assert not set(table["cluster"][parts.test]) & set(table["cluster"][parts.train])


@pytest.mark.parametrize(
    ("content", "words"),
    [("id,class\nA,nonarg\n", "lacks the columns id, class, random"), ("", "cannot be read")],
)
def test_a_foreign_table_is_refused(tmp_path, content, words):
    (tmp_path / "splits.csv").write_text(content)
    with pytest.raises(UserError, match=words):
        read_splits(tmp_path / "splits.csv")
    with pytest.raises(UserError, match="cannot be read"):
        read_splits(tmp_path / "absent.csv")


def test_the_open_data_part_as_promised(open_data):
    records = read_fasta(open_data / "records.fasta", labelled=True)
    table = read_splits(open_data / "splits.csv")
    assert table["id"].tolist() == [record.id for record in records]
    assert table.groupby("cluster")["fold"].nunique().max() == 1
    sizes = table["fold"].value_counts() / len(table)
    assert sizes.between(0.15, 0.25).all()
    assert 5000 < table["cluster"].nunique() < 5800
    shares = table["random"].value_counts(normalize=True)
    assert shares[["train", "val", "test"]].round(2).tolist() == [0.8, 0.1, 0.1]
