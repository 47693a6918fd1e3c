"""Sequences that Python code hands in are read under the rules for files."""

import numpy as np
import pandas as pd
import pytest
from Bio.Seq import Seq
from Bio.SeqRecord import SeqRecord

from arg_utils.data.proteins import Record
from arg_utils.errors import UserError
from arg_utils.prediction.query import as_queries
from arg_utils.prediction.reading import read_queries

DNA = "ATGACGTTAGCCGATTACGATCGGATCTAGCATGCATCGATTACGGATCCATGCATTAGC"


def pairs(queries):
    return [(query.id, query.sequence) for query in queries]


@pytest.mark.parametrize(
    "given",
    [
        [("a", "mkv l\n*"), ("b", "MJU")],
        (pair for pair in [["a", "MKVL"], ["b", "MXU"]]),
        {"a": "MKVL", "b": "MXU"},
        pd.Series(["MKVL", "MXU"], index=["a", "b"]),
        [SeqRecord(Seq("MKVL"), id="a"), SeqRecord(Seq("MXU"), id="b", description="b words")],
        [Record("a", "a words", "MKVL"), Record("b", "b", "MXU")],
        [("a", Seq("MKVL")), ("b", np.str_("MXU"))],
    ],
)
def test_ids_come_with_sequences_in_many_forms(given):
    assert pairs(as_queries(given)) == [("a", "MKVL"), ("b", "MXU")]


def test_sequences_alone_are_called_by_their_position():
    for given in (["MKV", "MA"], np.array(["MKV", "MA"]), iter([Seq("MKV"), "ma"])):
        assert pairs(as_queries(given)) == [("0", "MKV"), ("1", "MA")]
    assert as_queries([]) == []


@pytest.mark.parametrize(
    "sequence", ["", " ", "*", "M*KV", "MK-V", "M1KV", "MKÄ", "M>K", DNA, DNA.replace("T", "U")]
)
def test_faults_are_those_of_a_file_and_name_position_and_id(tmp_path, sequence):
    path = tmp_path / "a.faa"
    path.write_text(f">p\nMKVLW\n>bad\n{sequence}\n", encoding="utf-8")
    with pytest.raises(UserError) as of_file:
        list(read_queries([str(path)]))
    with pytest.raises(UserError) as of_python:
        as_queries({"p": "MKVLW", "bad": sequence})
    place, fault = str(of_python.value).split(": ", 1)
    assert place == "sequences[1] ('bad')"
    assert fault == str(of_file.value).split(": ", 1)[1]


def test_reads_in_a_row_are_taken_for_dna_together():
    with pytest.raises(UserError, match=r"sequences\[2\].*looks like DNA"):
        as_queries([DNA[:20], DNA[20:40], DNA[40:]])
    assert len(as_queries(["ACGT", "MKVLW", "GATTACA"])) == 3  # short proteins


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("MKV", "One sequence"),
        (b"MKV", "One sequence"),
        (Seq("MKV"), "One sequence"),
        (SeqRecord(Seq("MKV"), id="a"), "One sequence"),
        (pd.DataFrame({"id": ["a"], "sequence": ["MKV"]}), "its column of sequences"),
        (("a", "MKV"), "may be a pair, or two proteins"),
        (7, "holds no sequences"),
        (["MKV", None], r"sequences\[1\].* is None"),
        (["MKV", b"MKV"], r"sequences\[1\].* is b'MKV'"),
        ([("a", None)], r"sequences\[0\] \('a'\)"),
        ([("a", "b", "MKV")], r"sequences\[0\]"),
        (pd.Series(["MKV", np.nan], index=["a", "b"]), r"sequences\[1\] \('b'\)"),
        ([("", "MKV")], r"sequences\[0\].*id is empty"),
        ([SeqRecord(Seq(None, 10), id="a")], r"sequences\[0\] \('a'\) has no letters"),
        ([("a, b", "MK"), ("a, b", "MK")], r"\(first: sequences\[0\] \('a, b'\)\)"),
        ([("a", "MKV"), ("b", "MA"), ("a", "MK")], r"sequences\[2\].*'a' comes a second time"),
    ],
)
def test_what_holds_no_proteins_is_refused_in_a_sentence(given, words):
    with pytest.raises(UserError, match=words):
        as_queries(given)
