"""The command line: exit codes, one line of error, and nothing written when something is wrong."""

import io
import os
import shutil
import signal
import subprocess
import sys
from importlib.metadata import version

import pytest
import workspaces
from small_data import write_small_data

from arg_utils.__main__ import main
from arg_utils.data.folders import load_dataset
from arg_utils.data.submission import check_submission
from arg_utils.errors import UserError, exit_code


@pytest.fixture(scope="module")
def small(open_data, tmp_path_factory):
    return write_small_data(open_data, tmp_path_factory.mktemp("data") / "small")


@pytest.fixture
def data(small, tmp_path, own_cache, monkeypatch):
    """A data folder of this test's own, an empty cache, the smallest profile."""
    monkeypatch.setenv("ARG_PROFILE", "smoke")
    return shutil.copytree(small, tmp_path / "data")


@pytest.fixture
def run(data, tmp_path):
    """A fitted run that needs no backbone."""
    arguments = ["fit", "--data", str(data), "--out", str(tmp_path / "run")]
    assert main([*arguments, "--method", "majority"]) == 0
    return tmp_path / "run"


def succeeds(capsys, *arguments) -> str:
    """What a command that must work prints."""
    capsys.readouterr()
    assert main([str(argument) for argument in arguments]) == 0
    return capsys.readouterr().out


def fails(capsys, *arguments) -> str:
    """The one line that a command which must fail says."""
    capsys.readouterr()
    assert main([str(argument) for argument in arguments]) == 2
    out, error = capsys.readouterr()
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert error.endswith("\n")
    assert out == ""
    return error


def test_from_fit_to_checked_submission(data, own_cache, answers, tmp_path, capsys, weights):
    """The default method, on real proteins."""
    workspaces.share_answers(own_cache, answers)  # another module asks of the same proteins
    run, out, answers = (tmp_path / name for name in ("deep/run", "s.csv", "answers.csv"))
    said = succeeds(capsys, "fit", "--data", data, "--out", run, "--seed", 3)
    assert "val macro-F1: 0." in said
    assert "test macro-F1: 0." in said
    assert f"run: {run}\n" in said
    arguments = ["submit", "--data", data, "--run", run, "--out", out, "--answers", answers]
    said = succeeds(capsys, *arguments)
    assert f"submission: {out} (30 proteins, checked)" in said
    unsure = answers.read_text().count(",uncertain\n")
    assert f"answers: {answers} ({unsure} uncertain)" in said
    check_submission(out, [record.id for record in load_dataset(data).test])
    said = succeeds(capsys, "check", out, "--data", data)
    assert f"check: {out} is a valid submission (30 proteins)" in said
    assert not succeeds(capsys, "cache").startswith("embeddings: 0.0 MB")
    assert succeeds(capsys, "cache", "--clear").endswith("cleared\n")
    assert "0.0 MB in 0 files" in succeeds(capsys, "cache")


def test_data_are_counted_named_and_noted(data, capsys):
    said = succeeds(capsys, "data", "--data", data)
    assert said.startswith(f"data: data [{load_dataset(data).identity[:8]}] in {data}\n")
    assert "  train      60 proteins\n  val        30 proteins\n  test       30 proteins\n" in said
    with open(data / "val.fasta", "a") as file:  # validation proteins that are in training too
        file.write((data / "train.fasta").read_text())
    assert "\nnote: " in succeeds(capsys, "data", "--data", data)


def test_weights_are_named(weights, capsys):
    assert succeeds(capsys, "weights") == f"ESM-2 weights: {weights.name}\n"


@pytest.mark.parametrize(
    ("options", "variable", "words"),
    [
        (["--method", "bert"], "smoke", "There is no method 'bert'; choose one of majority"),
        (["--profile", "huge"], "smoke", "There is no profile 'huge'; choose one of smoke"),
        ([], "huge", "There is no profile 'huge'"),
        (["--seed", "-1"], "smoke", "The seed is -1"),
    ],
)
def test_fit_with_a_wrong_choice(data, tmp_path, capsys, monkeypatch, options, variable, words):
    monkeypatch.setenv("ARG_PROFILE", variable)
    assert words in fails(capsys, "fit", "--data", data, "--out", tmp_path / "run", *options)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("command", ["data", "fit", "submit", "check"])
def test_a_folder_that_is_not_there(run, tmp_path, capsys, command):
    arguments = {
        "fit": ["--out", tmp_path / "new"],
        "submit": ["--run", run, "--out", tmp_path / "new"],
        "check": [tmp_path / "new"],
    }.get(command, [])
    assert "nowhere is not there; name" in fails(
        capsys, command, *arguments, "--data", tmp_path / "nowhere"
    )
    assert not (tmp_path / "new").exists()
    assert not (tmp_path / "nowhere").exists()


def test_submit_needs_a_whole_run_and_a_readable_test_file(data, run, tmp_path, capsys):
    arguments = ["submit", "--data", data, "--out", tmp_path / "s.csv", "--run"]
    assert "holds no finished run" in fails(capsys, *arguments, tmp_path / "no")
    (run / "model.safetensors").write_bytes(b"x" * 40)
    assert "model.safetensors has changed" in fails(capsys, *arguments, run)
    (data / "test.fasta").write_text(">SEQ0\nMK\n>SEQ0\nMK\n")
    assert "test.fasta, line 3: the id 'SEQ0'" in fails(capsys, *arguments, run)
    assert not (tmp_path / "s.csv").exists()


def test_what_cannot_be_written_is_named(data, run, tmp_path, capsys):
    folder, out = tmp_path / "folder", tmp_path / "s.csv"
    folder.mkdir()
    arguments = ["submit", "--data", data, "--run", run, "--out"]
    assert "is a folder; name a file" in fails(capsys, *arguments, folder)
    assert f"{folder} is a folder" in fails(capsys, *arguments, out, "--answers", folder)
    assert not out.exists()
    assert list(folder.iterdir()) == []
    (tmp_path / "file").write_text("x")
    arguments = ["fit", "--data", data, "--method", "majority", "--out"]
    assert "file" in fails(capsys, *arguments, tmp_path / "file" / "run")
    assert set(os.listdir(tmp_path)) - {"cache"} == {"data", "file", "folder", "run"}


@pytest.mark.parametrize(
    "arguments", ["", "train", "fit", "fit --data x --out y --seed one", "cache --cleer",
                  "cache --cle", "notebooks", "notebooks walk"],
)  # fmt: skip
def test_wrong_usage_is_explained(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(arguments.split())
    assert stopped.value.code == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_the_ladder_is_asked_for_the_methods_named(monkeypatch, capsys):
    def measured(methods, out):
        return [{"split": "random", "method": name, "macro_f1": 0.5} for name in [*methods, out]]

    monkeypatch.setattr("arg_utils.experiments.ladder.run_ladder", measured)
    shown = succeeds(capsys, "ladder", "--methods", "best_hit", "hybrid", "--out", "mine.json")
    assert all(name in shown for name in ("best_hit", "hybrid", "mine.json"))


NO_MEMORY = "error: Not enough memory; free some, or raise its limit (ulimit -v)."


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (UserError("a.fasta is empty; give another."), 2, "error: a.fasta is empty; give another."),
        (
            OSError(28, "No space left on device"),
            2,
            "error: results: No space left on device; free "
            "some space, or name another folder (the cache: ARG_CACHE)",
        ),
        (
            PermissionError(13, "Permission denied", "x.csv"),
            2,
            "error: x.csv: Permission denied; name another place, or correct its permissions",
        ),
        (OSError(5, "Input/output error", "x"), 2, "error: x: Input/output error"),
        (UserError("a\nb.fasta is empty."), 2, "error: a b.fasta is empty."),
        (ImportError("libtorch.so: failed to map segment from shared object"), 2, NO_MEMORY),
        (MemoryError(), 2, NO_MEMORY),
        (KeyboardInterrupt(), 130, "stopped; the same command goes on where it was"),
    ],
)
def test_a_fault_is_one_line_and_other_errors_are_not_hidden(capsys, error, code, words):
    def fail(error=error):
        raise error

    assert exit_code(fail, "results") == code
    assert capsys.readouterr() == ("", words + "\n")
    with pytest.raises(ZeroDivisionError):
        exit_code(lambda: fail(ZeroDivisionError()))


def test_a_batch_system_stops_a_command_as_its_user_does(capsys):
    before = signal.getsignal(signal.SIGTERM)
    assert exit_code(lambda: os.kill(os.getpid(), signal.SIGTERM)) == 130
    assert capsys.readouterr() == ("", "stopped; the same command goes on where it was\n")
    assert signal.getsignal(signal.SIGTERM) == before


def test_words_do_not_go_to_standard_output_where_those_for_them_are_closed(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stderr", None)
    assert exit_code(lambda: print("words", file=sys.stderr)) == 0
    assert capsys.readouterr().out == ""


def test_output_is_utf8_whatever_the_terminal_is(monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, "ascii", errors="strict"))
    name = os.fsdecode(b"\xff")  # a file name that is not UTF-8 comes out as it is
    assert exit_code(lambda: print("β-lactamase", name, flush=True)) == 0
    assert raw.getvalue() == "β-lactamase ".encode() + b"\xff\n"


def test_as_a_program(run, tmp_path):
    """Run as a user does, from another folder, relative paths and all."""
    command = [sys.executable, "-m", "arg_utils"]
    options = {"cwd": tmp_path, "capture_output": True, "text": True, "check": False}
    arguments = ["submit", "--data", "data", "--run", "run", "--out", "s.csv"]
    done = subprocess.run([*command, *arguments], **options)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "submission: s.csv (30 proteins, checked)\n"
    done = subprocess.run([*command, "check", "none.csv", "--data", "data"], **options)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith("error: none.csv cannot be read")


@pytest.mark.parametrize(
    ("redirection", "words"),
    [
        ("> /dev/full", "No space left on device; free some space"),
        (">&-", "Standard output is closed"),
        ("<&-", "Standard input is closed; name a file"),
    ],
)
def test_a_stream_that_is_full_or_closed(run, tmp_path, redirection, words):
    command = f"'{sys.executable}' -m arg_utils predict - --run run {redirection}"
    done = subprocess.run(
        ["sh", "-c", f"printf '>s\\nMKV\\n' | {command}"] if "<" not in redirection
        else ["sh", "-c", command],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_the_version(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["--version"])
    assert stopped.value.code == 0
    assert capsys.readouterr().out == f"arg-utils {version('arg-utils')}\n"
