"""Data folders: which is used, what is read and checked, and how it is split."""

import re

import numpy as np
import pandas as pd
import pytest
import synthetic

from arg_utils.data import folders
from arg_utils.data.folders import (
    labelled_records,
    leakage_warnings,
    load_dataset,
    resolve_data_dir,
    splits_for,
)
from arg_utils.errors import UserError
from arg_utils.homology import splits
from arg_utils.labels import CLASSES, INDEX, NONARG


def entry(name, label, sequence):
    head = f"sp|{name}|x" if label == NONARG else f"{name}|FEATURES|x|{CLASSES[label]}|gene"
    return f">{head}\n{sequence}\n"


@pytest.fixture
def folder(tmp_path):
    """A data folder in Kaggle's format: ten families of three, 24 train, 3 val, 3 test proteins."""
    where = tmp_path / "mine"
    where.mkdir()
    sequences = synthetic.families(np.random.default_rng(21), count=10, size=3)
    labels = [NONARG] * 15 + [INDEX["beta_lactam"]] * 9 + [0] * 6
    entries = [entry(f"P{i}", labels[i], sequences[i]) for i in range(30)]
    (where / "train.fasta").write_text("".join(entries[:24]))
    (where / "val.fasta").write_text("".join(entries[24:27]))
    test = [f">SEQ{i}\n{sequences[27 + i]}\n" for i in range(3)]
    (where / "test.fasta").write_text("".join(test))
    return where


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A ``data`` folder of this test's own, its open part pretended to be built."""
    data = tmp_path / "data"
    (data / "open").mkdir(parents=True)
    (data / "kaggle").mkdir()
    monkeypatch.setattr(folders, "DATA", data)
    monkeypatch.setattr(folders, "ensure_open_data", lambda folder: folder)
    monkeypatch.delenv("ARG_DATA", raising=False)
    return data


def test_loads_only_what_is_needed(folder):
    data = load_dataset(folder)
    assert (data.name, len(data.train), len(data.val)) == ("mine", 24, 3)
    assert data.train[0].label == NONARG
    assert [record.id for record in data.test] == ["SEQ0", "SEQ1", "SEQ2"]
    assert data.test_labels is None
    (folder / "val.fasta").unlink()
    data = load_dataset(folder, parts=["test"])
    assert (data.train, data.val, len(data.test)) == ([], [], 3)
    with pytest.raises(UserError, match=r"mine lacks val\.fasta"):
        load_dataset(folder)
    (folder / "train.fasta").unlink()
    with pytest.raises(UserError, match=r"lacks train\.fasta, val\.fasta; put what is missing"):
        load_dataset(folder, parts=["train", "val"])
    with pytest.raises(UserError, match=r"absent is not there; name the folder that holds test"):
        load_dataset(folder / "absent", parts=["test"])


def test_a_file_under_another_name_and_a_file_for_a_folder(folder):
    (folder / "val.fasta").rename(folder / "Val.FAA")
    (folder / "test.fasta").rename(folder / "test.fasta.gz")
    (folder / "train.csv").write_text("id,label\n")
    with pytest.raises(UserError) as caught:
        load_dataset(folder)
    assert str(caught.value) == (
        f"{folder} lacks val.fasta, test.fasta; rename Val.FAA to val.fasta and "
        f"rename test.fasta.gz to test.fasta."
    )
    (folder / "sub").mkdir()
    (folder / "train.fasta").rename(folder / "sub" / "train.fasta")
    with pytest.raises(UserError, match=r"rename sub/train\.fasta to train\.fasta\.$"):
        load_dataset(folder, parts=["train"])
    with pytest.raises(UserError, match=r"train\.fasta is a file; name the folder"):
        load_dataset(folder / "sub" / "train.fasta")


def test_identity_follows_the_content(folder):
    first = load_dataset(folder).identity
    assert re.fullmatch("[0-9a-f]{64}", first)
    assert load_dataset(folder).identity == first
    (folder / "test_key.csv").write_text("id,label\nSEQ0,0\nSEQ1,0\nSEQ2,0\n")
    with_key = load_dataset(folder).identity
    (folder / "val.fasta").write_text(entry("P24", 0, "MKV"))
    assert len({first, with_key, load_dataset(folder).identity}) == 3


def test_test_labels_come_in_test_order(folder):
    text = ",label,accession, id\r\n7,beta-lactam,x,SEQ2\r\n8,0,y,SEQ0\r\n\r\n9,14,z,SEQ1,more\r\n"
    (folder / "test_key.csv").write_text(text, newline="")
    labels = load_dataset(folder).test_labels
    assert labels.tolist() == [0, NONARG, INDEX["beta_lactam"]]
    assert labels.dtype == np.int64
    assert load_dataset(folder, parts=["train"]).test_labels is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("SEQ0,1\n", "line 1: the header is 'SEQ0,1'"),
        ("id,label\nSEQ0,1\n\nSEQ0,1\n", "line 4: 'SEQ0' comes twice"),
        ("id,label\nSEQ0,1\nSEQ9,1\n", "line 3: 'SEQ9' is not in test"),
        ("id,label\nSEQ1,0\nSEQ0,1.0\nSEQ2,1.0\n", "line 3: 2 labels outside.*'1.0' .2 times"),
        ("id,label\nSEQ0\n", "line 2: .*'' .once"),
        ('id,label\n"SEQ0"x,1\n', "cannot be read .*give a CSV file"),
    ],
)
def test_a_faulty_key_is_refused(folder, text, words):
    """Beside the rows of docs/bad-input.md."""
    (folder / "test_key.csv").write_text(text)
    with pytest.raises(UserError, match=f"test_key.csv.*{words}"):
        load_dataset(folder)


def test_in_a_kernel_the_input_is_found(root, tmp_path, monkeypatch):
    mounted = tmp_path / "input"
    mounted.mkdir()
    monkeypatch.setattr(folders, "KAGGLE_INPUTS", (tmp_path / "elsewhere", mounted))
    for part in ("train", "val"):
        (mounted / f"{part}.fasta").write_text(entry("P", 0, "MKV"))
        assert resolve_data_dir() == root / "open"  # not whole yet
    (mounted / "test.fasta").write_text(">SEQ0\nMKV\n")
    assert resolve_data_dir() == mounted
    assert load_dataset().name == "kaggle"
    monkeypatch.setenv("ARG_DATA", "kaggle")
    assert resolve_data_dir() == mounted
    (root / "kaggle" / "train.fasta").write_text(entry("P", 0, "MKV"))  # what you put there wins
    with pytest.raises(UserError, match=r"data/kaggle lacks val\.fasta, test\.fasta"):
        resolve_data_dir()


def test_kaggles_data_win_once_complete(root, monkeypatch):
    (root / "kaggle" / "README.md").write_text("placeholder")
    assert resolve_data_dir() == root / "open"
    for part in ("train", "val"):
        (root / "kaggle" / f"{part}.fasta").write_text(">x\nM\n")
    with pytest.raises(UserError, match=r"kaggle lacks test\.fasta.*ARG_DATA=open"):
        resolve_data_dir()
    monkeypatch.setenv("ARG_DATA", "open")
    assert resolve_data_dir() == root / "open"
    monkeypatch.delenv("ARG_DATA")
    (root / "kaggle" / "test.fasta").write_text(">x\nM\n")
    assert resolve_data_dir() == root / "kaggle"


def test_the_environment_decides(root, folder, monkeypatch):
    monkeypatch.setenv("ARG_DATA", str(folder))
    assert resolve_data_dir() == folder
    monkeypatch.setenv("ARG_DATA", "kaggle")
    with pytest.raises(UserError, match=r"lacks train\.fasta, val\.fasta, test\.fasta"):
        resolve_data_dir()
    monkeypatch.setenv("HOME", str(folder.parent))
    monkeypatch.setenv("ARG_DATA", f"~/{folder.name}")
    assert resolve_data_dir() == folder
    monkeypatch.setenv("ARG_DATA", str(folder / "absent"))
    with pytest.raises(UserError, match="absent is no folder"):
        resolve_data_dir()


def test_leaks_and_torn_labels_are_told(folder):
    assert leakage_warnings(load_dataset(folder)) == []
    train = load_dataset(folder).train
    text = entry("Q0", NONARG, train[0].sequence) + entry("Q1", 0, train[1].sequence)
    (folder / "val.fasta").write_text(text + entry("Q2", 0, "MKVLA"))
    leak, torn = leakage_warnings(load_dataset(folder))
    assert leak.startswith("2 of 3 validation proteins")
    assert torn.startswith("Two labels come with 1 sequence (one: aminoglycoside and nonarg)")


def test_labelled_records_are_all_that_have_a_label(folder):
    (folder / "val.fasta").write_text(entry("P0", 0, "MKV"))  # an accession of train again
    records = labelled_records(load_dataset(folder))
    assert len(records) == 25
    assert records[-1].id == "P0#2"
    (folder / "test_key.csv").write_text("id,label\nSEQ0,1\nSEQ1,2\nSEQ2,3\n")
    records = labelled_records(load_dataset(folder))
    assert [record.label for record in records[-3:]] == [1, 2, 3]
    with pytest.raises(UserError, match="was loaded in part; load train and val"):
        labelled_records(load_dataset(folder, parts=["test"]))


def test_splits_of_own_data_are_made_once(own_cache, root, folder, monkeypatch):
    data = load_dataset(folder)
    records, table = splits_for(data)
    assert table["id"].tolist() == [record.id for record in records]
    stored = root / "derived" / f"mine-{data.identity[:8]}"
    assert {path.name for path in stored.iterdir()} == {"records.fasta", "splits.csv"}
    monkeypatch.setattr(folders, "split_table", lambda *_: pytest.fail("made again"))
    pd.testing.assert_frame_equal(splits_for(data)[1], table)
    splits.write_splits(stored / "splits.csv", table[::-1])
    with pytest.raises(UserError, match="is of other data"):
        splits_for(data)


def test_the_open_data_load_and_bring_their_splits(open_data):
    data = load_dataset(open_data)
    assert data.name == "open"
    assert len(data.test_labels) == len(data.test)
    assert set(data.test_labels) == set(range(15))
    assert leakage_warnings(data) == []
    records, table = splits_for(data)
    assert len(records) == len(table) == len(data.train) + len(data.val) + len(data.test)
    by_sequence = {record.sequence: record.label for record in records}
    truth = [by_sequence[record.sequence] for record in data.test]
    assert truth == data.test_labels.tolist()
