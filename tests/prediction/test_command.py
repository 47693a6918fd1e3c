"""``python -m arg_utils predict``: what it prints, writes, and how it ends."""

import io
import json

import numpy as np
import pandas as pd
import pytest
import workspaces

from arg_utils.__main__ import main
from arg_utils.experiments.runs import RUN_FILE
from arg_utils.labels import NUM_CLASSES
from arg_utils.methods.baselines import Majority
from arg_utils.prediction import model as model_module
from arg_utils.prediction.model import Model
from arg_utils.prediction.writing import FORMATS

PROTEINS = ">p1 some words\nMKVLAAW\n>p2\nMKV\n>p3\nMAAAK\n"
BAD = PROTEINS.replace("\nMKV\n", "\nM-V\n")


@pytest.fixture(scope="module")
def run(tmp_path_factory, settings):
    """A fitted run that needs no backbone."""
    place = tmp_path_factory.mktemp("run")
    data = workspaces.write_folder(place / "data")
    arguments = ["fit", "--data", data, "--out", place / "run", "--method", "majority"]
    assert main(list(map(str, arguments))) == 0
    return place / "run"


@pytest.fixture
def predict(run, tmp_path, capsys):
    """The exit code, standard output and standard error of a prediction of some text."""

    def call(text, *options):
        (tmp_path / "in.faa").write_text(text)
        capsys.readouterr()
        source = [str(tmp_path / "in.faa")]
        code = main(["predict", *source, "--run", str(run), *map(str, options)])
        return code, *capsys.readouterr()

    return call


def test_rows_go_to_standard_output_and_words_do_not(predict):
    code, out, said = predict(PROTEINS)
    rows = [line.split("\t") for line in out.splitlines()]
    assert code == 0
    assert [row[0] for row in rows] == ["id", "p1", "p2", "p3"]
    assert rows[1][1] == "nonarg"
    assert said == "3 proteins, 0 ARGs\n"


def test_what_is_no_arg_can_be_left_out(predict):
    _, out, _ = predict(PROTEINS, "--args-only")
    assert out.count("\n") == 1


def test_what_a_method_says_of_its_work_is_no_row(predict, monkeypatch):
    def probabilities(self, sequences):
        print("so many in the cache")
        return np.eye(NUM_CLASSES)[[0] * len(sequences)]

    monkeypatch.setattr(Majority, "probabilities", probabilities)
    code, out, said = predict(PROTEINS, "--format", "jsonl")
    assert code == 0
    assert [json.loads(line)["id"] for line in out.splitlines()] == ["p1", "p2", "p3"]
    assert "so many in the cache" in said


def test_places_are_written_whichever_file_comes_first(run, tmp_path, capsys):
    gene = "ATG" + "GCT" * 60 + "TAA"
    row = f"c\tx\tCDS\t4\t{3 + len(gene)}\t.\t+\t0\tID=g"
    text = f"##gff-version 3\n{row}\n##FASTA\n>c\nACG{gene}ACG\n"
    (tmp_path / "genes.gff").write_text(text)
    (tmp_path / "in.faa").write_text(PROTEINS)
    inputs = [str(tmp_path / name) for name in ("in.faa", "genes.gff")]
    capsys.readouterr()
    assert main(["predict", *inputs, "--run", str(run)]) == 0
    out = capsys.readouterr().out
    table = pd.read_csv(io.StringIO(out), sep="\t", index_col="id")
    assert table.loc["genes:g", ["contig", "start", "strand"]].tolist() == ["genes:c", 4, "+"]
    (tmp_path / "genes.gff").write_text(text.replace("\t+\t", "\t?\t"))
    own = ["predict", str(tmp_path / "genes.gff"), "--run", str(run)]
    assert main([*own, "--format", "gff3", "--skip-bad"]) == 1


def test_a_bad_record_stops_it_unless_told_otherwise(predict, tmp_path):
    out = tmp_path / "out.tsv"
    code, _, said = predict(BAD, "--out", out)
    assert code == 2
    assert said.startswith(f"error: {tmp_path / 'in.faa'}, line 4: '-' is a gap")
    assert not out.exists()
    code, _, said = predict(BAD, "--out", out, "--skip-bad")
    assert code == 1
    assert "skipped: " in said
    assert said.endswith("2 proteins, 0 ARGs\n1 bad record skipped\n")
    assert [line.split("\t")[0] for line in out.read_text().splitlines()] == ["id", "p1", "p3"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--resume"], "--out FILE"),
        (["--format", "gff3"], "gff3 needs genes with a place"),
        (["--out", "no/such/folder/out.tsv"], "cannot be written"),
        (["--out", "-"], "is no file to write"),
        (["--out", "/dev/null"], "is no regular file"),
        (["--gff", ""], "A file without a name is not there"),
        (["--gff", "-"], "--gff reads a file"),
        (["--report", "no/such/folder/page.html"], "cannot be written"),
        (["--out", "in.faa"], "would be written over"),
        (["--report", "in.faa"], "would be written over"),
        (["--out", "rows", "--report", "rows"], "both rows and report"),
        (["--out", "rows", "--report", "page", "--resume"], "a report needs all of them"),
        (["--out", "rows.tsv.GZ"], "would not be compressed; name it without .GZ"),
        (["--out", "."], ". is a folder; name a file to write"),
        (["--out", "/proc/rows"], "cannot be written"),
        (["--out", "rows", "--report", "/proc/page"], "cannot be written"),
        (["--mode", "single"], "--genome"),
        (["--mode", "meta"], "--genome"),
        (["--genetic-code", "4"], "holds proteins, and --genetic-code is about genes"),
        (["--genome", "--gff", "in.faa"], "leave one out"),
        (["--closed"], "--genome"),
        (["--genome"], "is not a base"),
        (["--run", "no/such/run"], "no/such/run"),
    ],
)
def test_options_that_do_not_go_together(predict, options, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, said = predict(PROTEINS, *options)
    assert (code, out) == (2, "")
    sentence = said.splitlines()[-1]  # genes' progress may come before
    assert sentence.startswith("error: ")
    assert words in sentence
    assert [path.name for path in tmp_path.iterdir()] == ["in.faa"]
    assert (tmp_path / "in.faa").read_text() == PROTEINS


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (
            ["--fromat", "tsv"],
            "there is no option --fromat; see python -m arg_utils predict",
        ),
        (["--format", "xml"], "invalid choice: 'xml' (choose from 'tsv', 'jsonl', 'gff3', "),
        (["--mode", "metaa"], "invalid choice: 'metaa'"),
    ],
)
def test_a_misspelt_option_is_refused_by_its_command(wrong, words, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["predict", "in.faa", *wrong])
    assert stopped.value.code == 2
    assert words in capsys.readouterr().err


def test_the_formats_named_are_those_there_are(capsys):
    with pytest.raises(SystemExit):
        main(["predict", "--help"])
    assert f"--format {{{','.join(FORMATS)}}}" in capsys.readouterr().out


def test_a_bad_record_leaves_standard_output_empty(predict):
    code, out, said = predict(BAD)
    assert (code, out) == (2, "")
    assert "line 4: '-' is a gap" in said


def test_a_header_comes_where_no_record_can_be_read(predict):
    code, out, _ = predict(">p1\nM-V\n", "--skip-bad")
    assert code == 1
    assert out.startswith("id\tclass\t")
    assert out.count("\n") == 1


def test_a_file_that_is_not_there_is_named_before_anything_is_loaded(capsys):
    assert main(["predict", "no/such.faa", "--run", "no/such/run"]) == 2
    assert capsys.readouterr().err.startswith("error: no/such.faa is not there")


@pytest.mark.parametrize("options", [["--nonsense"], ["--genetic-code", "x"], ["--mode", "x"]])
def test_an_option_that_is_none_gets_one_sentence(predict, options, capsys):
    with pytest.raises(SystemExit, match="2"):
        predict(PROTEINS, *options)
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert said.count("\n") == 1
    assert options[0] in said


def test_a_stopped_prediction_says_how_to_go_on(predict, run, tmp_path, monkeypatch):
    whole, out = tmp_path / "whole.tsv", tmp_path / "out.tsv"
    predict(PROTEINS, "--out", whole)
    monkeypatch.setattr(model_module, "BLOCK_PROTEINS", 2)
    rows, calls = Model.rows, []

    def stopped(self, block, progress):
        calls.append(len(block))
        if calls == [2, 1]:
            raise KeyboardInterrupt
        return rows(self, block, progress)

    monkeypatch.setattr(Model, "rows", stopped)
    code, _, said = predict(PROTEINS, "--out", out)
    assert (code, said) == (130, "stopped; --resume goes on\n")
    assert not out.exists()
    manifest = (run / RUN_FILE).read_text()
    (run / RUN_FILE).write_text(manifest + "\n")  # as if fitted again, into the same folder
    code, _, said = predict(PROTEINS, "--out", out, "--resume")
    assert (code, said[:6]) == (2, "error:")
    assert "was written with another model" in said
    (run / RUN_FILE).write_text(manifest)
    code, _, _ = predict(PROTEINS, "--out", out, "--resume")
    assert code == 0
    assert calls == [2, 1, 1]
    assert out.read_bytes() == whole.read_bytes()
