"""Kaggle's client, played by a program with the same interface: what it is asked, what it means."""

import io
import os
import sys
from zipfile import ZipFile

import pytest
import workspaces

from arg_utils.__main__ import main
from arg_utils.data import folders, kaggle

PLAYED = """\
#!{python}
import os, sys
from pathlib import Path
here = Path(__file__).parent
with open(here / "asked", "a") as file:
    file.write(repr(sys.argv[1:]) + "\\n")
if (here / "fault").exists():
    sys.exit((here / "fault").read_text())
if sys.argv[2] == "download":
    folder = Path(sys.argv[sys.argv.index("-p") + 1])
    (folder / f"{{sys.argv[3]}}.zip").write_bytes((here / "archive.zip").read_bytes())
else:
    assert Path(sys.argv[sys.argv.index("-f") + 1]).is_file()
    print("Successfully submitted to the competition")
"""


@pytest.fixture
def client(tmp_path, monkeypatch):
    """A folder with the program, first on the PATH; the competition's data go to a folder's own."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "kaggle").write_text(PLAYED.format(python=sys.executable))
    (folder / "kaggle").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}/usr/bin:/bin")
    for module in (folders, kaggle):
        monkeypatch.setattr(module, "DATA", tmp_path / "data")
    pack(folder)
    return folder


def pack(folder, **replaced):
    """The archive that the client downloads: three files in a folder, and one more."""
    source = workspaces.write_folder(folder.parent / f"source{len(replaced)}")
    with ZipFile(folder / "archive.zip", "w") as archive:
        for path in source.iterdir():
            text = replaced.get(path.stem, path.read_text())
            if text is not None:
                archive.writestr(f"a2/{path.name}", text)


def fails(capsys, *arguments):
    """The one line that a command says which must fail."""
    assert main(["kaggle", *arguments]) == 2
    out, error = capsys.readouterr()
    assert (out, error.count("\n")) == ("", 1)
    return error


def submission(tmp_path, **answers):
    ids = [f"SEQ{number}" for number in range(len(workspaces.proteins()["test"]))]
    text = io.StringIO()
    text.write("id,label\n")
    text.writelines(f"{name},{answers.get(name, 14)}\n" for name in ids)
    (tmp_path / "mine.csv").write_text(text.getvalue())
    return tmp_path / "mine.csv"


def test_the_files_are_fetched_and_then_used(client, tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("ARG_DATA", raising=False)
    assert main(["kaggle", "data"]) == 0
    assert capsys.readouterr().out == f"data: {tmp_path / 'data/kaggle'}\n"
    names = sorted(path.name for path in (tmp_path / "data/kaggle").iterdir())
    assert names == ["test.fasta", "train.fasta", "val.fasta"]
    assert folders.chosen_folder() == tmp_path / "data/kaggle"
    assert "['competitions', 'download', 'aist4010-" in (client / "asked").read_text()


@pytest.mark.parametrize(
    ("replaced", "words"),
    [({"train": None}, "lacks train.fasta"), ({"val": ">x|F|S|penicillin|g\nMKV\n"}, "penicillin")],
)
def test_files_at_fault_are_not_kept(client, tmp_path, capsys, replaced, words):
    pack(client, **replaced)
    assert words in fails(capsys, "data")
    (client / "archive.zip").write_bytes(b"PK not an archive")
    assert "is damaged" in fails(capsys, "data")
    assert not (tmp_path / "data").exists()


def test_a_submission_is_checked_then_uploaded(client, tmp_path, capsys):
    good = str(submission(tmp_path))
    assert "lacks test.fasta; `make kaggle-data`" in fails(capsys, "submit", "--file", good)
    assert main(["kaggle", "data"]) == 0
    capsys.readouterr()
    faulty = str(submission(tmp_path, SEQ3=15))
    assert "line 5: the label '15'" in fails(capsys, "submit", "--file", faulty)
    assert "submit" not in (client / "asked").read_text()
    assert main(["kaggle", "submit", "--file", str(submission(tmp_path)), "--message", "a b"]) == 0
    assert capsys.readouterr().out == "Successfully submitted to the competition\n"
    asked = (client / "asked").read_text().splitlines()[-1]
    assert asked == repr(
        ["competitions", "submit", "aist4010-spring2024-a2", "-f", good, "-m", "a b"]
    )


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (
            "403 Client Error: Forbidden for url: https://api.kaggle.com/v1/x",
            "accept the rules on",
        ),
        ("403 - Forbidden - You must accept this competition's rules before", "a2/rules."),
        ("Authentication required to call the Kaggle API.\n\nFirst, you", "make an API token"),
        ("OSError: Could not find kaggle.json. Make sure it's located in", "make an API token"),
        ("HTTPSConnectionPool(host='api.kaggle.com', port=443): Max retries", "cannot be reached"),
        ("404 Client Error: Not Found: aist4010\nThe resource was not found", "(404 Client Error"),
        (
            "Traceback (most recent call last):\n  x\nModuleNotFoundError: six",
            "NotFoundError: six)",
        ),
    ],
)
def test_each_fault_of_the_client_is_a_sentence(client, tmp_path, capsys, said, words):
    (client / "fault").write_text(said)
    assert words in fails(capsys, "data")
    assert not (tmp_path / "data").exists()


def test_without_the_client(client, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    assert "is not installed" in fails(capsys, "data")
    assert "requirements-kaggle.txt" in fails(capsys, "data")
