import numpy as np
import pandas as pd
import pytest

from arg_utils.data.submission import check_submission, read_key, write_answers, write_submission
from arg_utils.errors import UserError

IDS = ["SEQ0", "SEQ1", "SEQ2"]
GOOD = "id,label\nSEQ0,0\nSEQ1,14\nSEQ2,3\n"


def test_writes_what_kaggle_reads(tmp_path):
    path = write_submission(IDS, np.array([0, 14, 3]), tmp_path / "new" / "s.csv")
    assert path.read_bytes() == GOOD.encode()
    check_submission(path, IDS)


def test_ids_are_quoted_where_csv_needs_it(tmp_path):
    names = ["aac(6')-Ib", "s,1", 'ant"x"', "s\xa01", "SEQ0"]
    path = write_submission(names, [0, 1, 2, 3, 4], tmp_path / "s.csv")
    check_submission(path, names)
    assert pd.read_csv(path)["id"].tolist() == names
    assert path.read_text(encoding="utf-8").splitlines()[1:4] == [
        "aac(6')-Ib,0", '"s,1",1', '"ant""x""",2',
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ([0, 1], "3 ids came with 2 labels"),
        ([0, 1, 15], "line 4: the label '15'"),
        ([0, -1, 1], "line 3: the label '-1'"),
        ([0.0, 1.0, 2.0], "line 2: the label '0.0'"),
    ],
)
def test_writes_nothing_wrong(tmp_path, labels, words):
    with pytest.raises(UserError, match=words):
        write_submission(IDS, labels, tmp_path / "s.csv")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("SEQ0,0\nSEQ1,14\nSEQ2,3\n", "line 1: the header"),
        (GOOD.replace("id,label", "id,label,score"), "line 1: the header"),
        ("id,label\n", "0 rows for 3 .*first missing is 'SEQ0'"),
        ("id,label\nSEQ0,0\nSEQ0,1\nSEQ2,3\n", "line 3: 'SEQ0' was on line 2 already"),
        (GOOD.replace("SEQ1", "seq1"), "line 3: 'seq1' is no id"),
        (GOOD.replace("SEQ1", " SEQ1"), "line 3: ' SEQ1' is no id"),
        (GOOD.replace(",14", ",-1"), "line 3: the label '-1'"),
        (GOOD.replace(",14", ","), "line 3: the label ''"),
        (GOOD.replace(",14", ", 14"), "line 3: the label ' 14'"),
        (GOOD.replace(",14", ",١"), "line 3: the label"),
        (GOOD.replace(",14", ""), "line 3: 1 column "),
        (GOOD.replace("SEQ1", '"SEQ1"x'), "line 3: .*expected.*quote as CSV does"),
        (GOOD.replace("SEQ2", '"SEQ2'), "line 4: unexpected end.*quote as CSV does"),
        (GOOD.replace("SEQ1", "\nSEQ1"), "line 3: the line is blank"),
    ],
)
def test_names_the_first_fault_and_its_line(tmp_path, text, words):
    """Beside the rows of docs/bad-input.md."""
    path = tmp_path / "s.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=words):
        check_submission(path, IDS)


def test_a_file_that_cannot_be_read(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        check_submission(tmp_path / "s.csv", IDS)
    (tmp_path / "s.csv").write_bytes(b"PK\x03\x04\xff")
    with pytest.raises(UserError, match="not UTF-8"):
        check_submission(tmp_path / "s.csv", IDS)


def test_answers_say_what_is_uncertain(tmp_path):
    probabilities = np.full((3, 15), 0.01)
    probabilities[0, 11], probabilities[1, 14], probabilities[2, 2] = 0.86, 0.5, 0.7
    sure = np.array([True, False, True])
    path = write_answers(["a", "b,1", "c"], probabilities, sure, tmp_path / "answers.csv")
    assert path.read_text().splitlines() == [
        "id,class,probability,answer",
        "a,beta_lactam,0.86,beta_lactam",
        '"b,1",nonarg,0.5,uncertain',
        "c,polymyxin,0.7,polymyxin",
    ]


def test_an_id_of_the_key_keeps_the_white_space_that_fasta_keeps(tmp_path):
    key = tmp_path / "test_key.csv"
    key.write_text("id,label\n s\xa01\t,3\n", encoding="utf-8")
    assert read_key(key, ["s\xa01"]).tolist() == [3]
    key.write_text("id,label\ns1\xa0,3\n", encoding="utf-8")
    assert read_key(key, ["s1\xa0"]).tolist() == [3]
