"""Running the notebooks, what is kept of a run, and what may be published."""

import json
import os
import shutil
import signal
import sys
from pathlib import Path

import nbformat
import pytest
import workspaces

from arg_utils import files
from arg_utils.__main__ import main
from arg_utils.errors import UserError
from arg_utils.esm2 import fastest
from arg_utils.fingerprint import cells_fingerprint, code_fingerprint
from arg_utils.reporting import notebooks

FIRST = """\
import os, sys, time
from arg_utils.files import ROOT
for step in range(3):
    sys.stderr.write(f"\\r {step} of 3"); sys.stderr.flush(); time.sleep(0.05)
sys.stderr.write("\\n")
print("a warning", file=sys.stderr)
print("pip downloads something==1.0 (1 MB)", file=sys.stderr)
print(sys.executable == os.environ["EXPECTED_PYTHON"], os.path.basename(os.getcwd()))
print(ROOT / "data" / "open")"""
FIGURE = """\
from matplotlib.figure import Figure
from arg_utils.reporting.figures import save_figure
save_figure(Figure(), "empty", "figures")"""


def write(folder, name, *sources, tags=()):
    cells = [nbformat.v4.new_markdown_cell("# Title")]
    cells += [nbformat.v4.new_code_cell(code, metadata={"tags": list(tags)}) for code in sources]
    folder.mkdir(exist_ok=True)
    nbformat.write(nbformat.v4.new_notebook(cells=cells), folder / f"{name}.ipynb")
    return folder / f"{name}.ipynb"


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A machine with another kernel called python3, and results kept in a temporary folder."""
    spec = tmp_path / "jupyter/kernels/python3"
    spec.mkdir(parents=True)
    other = {"argv": ["/bin/false"], "display_name": "other", "language": "python"}
    (spec / "kernel.json").write_text(json.dumps(other))
    workspaces.write_folder(tmp_path / "mine", with_key=False)
    for name, value in {
        "JUPYTER_PATH": tmp_path / "jupyter", "MPLBACKEND": "Agg", "ARG_PROFILE": "smoke",
        "ARG_OUTPUT": tmp_path / "my out", "ARG_DATA": tmp_path / "mine",
        "EXPECTED_PYTHON": sys.executable,
    }.items():  # fmt: skip
        monkeypatch.setenv(name, str(value))
    monkeypatch.setattr(files, "NOTEBOOKS", tmp_path / "notebooks")
    return tmp_path


def test_run_executes_in_order_and_keeps_tidy_copies(place, capfd):
    folder = place / "my notebooks"
    write(folder, "02_after", "from pathlib import Path\nPath('mark').read_text()")
    write(folder, "01_first", FIRST, "open('mark', 'w').write('done')", FIGURE, tags=["x"])
    write(folder, "notes", "1 / 0")  # not numbered: not run
    assert notebooks.run_notebooks(folder) == place / "my out"

    shown = capfd.readouterr()
    assert "\r 2 of 3" in shown.err
    assert "without encryption" not in shown.err
    assert "01_first: " in shown.out
    assert "all notebooks: " in shown.out

    copies = place / "my out" / "notebooks"
    assert sorted(path.name for path in copies.iterdir()) == ["01_first.ipynb", "02_after.ipynb"]
    first = nbformat.read(copies / "01_first.ipynb", as_version=4)
    code = [cell for cell in first.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == [1, 2, 3]
    texts = {output.name: output.text for output in code[0].outputs}
    assert texts == {"stderr": "a warning\n", "stdout": "True my notebooks\ndata/open\n"}
    assert "image/png" in code[2].outputs[0].data
    expected = {"code": code_fingerprint(), "cells": cells_fingerprint(first)}
    assert first.metadata.arg_utils == expected | {"profile": "smoke", "data": "mine"}
    assert (first.nbformat, first.nbformat_minor) == (4, 5)
    assert code[0].metadata == {"tags": ["x"]}
    raw = (copies / "01_first.ipynb").read_text()
    assert str(place) not in raw
    assert str(files.ROOT) not in raw
    assert "'done'" in (copies / "02_after.ipynb").read_text()
    (times,) = json.loads((place / "my out" / "notebook_times.json").read_text())
    assert times["profile"] == "smoke"
    assert list(times["seconds"]) == ["01_first", "02_after"]


def test_what_is_said_at_first_use_is_in_no_notebook(place, weights_file, monkeypatch, capfd):
    compiled = shutil.ignore_patterns("*.json")  # but not yet compared with PyTorch
    shutil.copytree(files.cache_dir("kernels"), place / "cache" / "kernels", ignore=compiled)
    monkeypatch.setenv("ARG_CACHE", str(place / "cache"))
    monkeypatch.setenv("ARG_ESM2_WEIGHTS", str(weights_file))
    source = "import torch\nfrom arg_utils.esm2.embeddings import embed\n"
    source += "".join(
        f"vectors = embed(['MKVL'], precision=torch.{name})\n" for name in ("bfloat16", "float32")
    )
    write(place / "notebooks", "01_embeds", source)
    fastest._proven.cache_clear()
    fastest.bfloat16_pays.cache_clear()
    assert main(["notebooks", "run"]) == 2  # for it writes no submission
    shown = capfd.readouterr()
    assert "attention kernel" in shown.err
    assert shown.out.startswith("data:    mine [")
    copy = nbformat.read(place / "my out" / "notebooks" / "01_embeds.ipynb", as_version=4)
    said = [output.text for output in copy.cells[1].outputs]
    assert said == 2 * ["embeddings: 0 of 1 in the cache\n"]


def test_the_first_error_stops_the_run_and_is_named(place, capsys):
    folder = place / "notebooks"
    write(folder, "01_good", "1")
    write(folder, "02_bad", "x = 1", "raise ValueError('too short')", "open('late', 'w')")
    write(folder, "03_after", "open('late', 'w')")
    stale = place / "my out" / "notebooks" / "03_after.ipynb"
    stale.parent.mkdir(parents=True)
    stale.write_text("from an earlier run")
    assert main(["notebooks", "run"]) == 1
    message = capsys.readouterr().err
    assert "02_bad.ipynb, code cell 2 of 3, failed:" in message
    assert "ValueError: too short" in message
    assert "\x1b" not in message
    assert not (folder / "late").exists()
    assert [path.name for path in stale.parent.iterdir()] == ["01_good.ipynb"]


def test_a_user_error_is_its_sentence_and_exit_code_2(place, capsys):
    source = "from arg_utils.errors import UserError\nraise UserError('Put the file there.')"
    write(place / "notebooks", "01_user", source)
    assert main(["notebooks", "run"]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == "error: Put the file there."


def test_a_dead_kernel_is_said_to_be_one(place):
    path = write(place / "notebooks", "01_dies", "import os\nos._exit(1)")
    with pytest.raises(notebooks.NotebookError, match=r"01_dies\.ipynb: its kernel died"):
        notebooks.execute(path)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_says_so_and_leaves_no_kernel(place, capfd, number):
    code = "import os, time\nopen('kernel', 'w').write(str(os.getpid()))\n"
    code += f"os.kill({os.getpid()}, {int(number)})\ntime.sleep(60)"
    write(place / "notebooks", "01_long", code)
    handler = signal.getsignal(number)
    assert main(["notebooks", "run"]) == 130
    assert capfd.readouterr().err == "stopped; the same command goes on where it was\n"
    assert signal.getsignal(number) == handler
    assert not Path("/proc", (place / "notebooks/kernel").read_text()).exists()
    assert not list((place / "my out").rglob("*.ipynb"))


def test_no_notebooks(tmp_path):
    with pytest.raises(UserError, match="no notebook"):
        notebooks.run_notebooks(tmp_path)


def test_the_report_checks_the_submission_and_keeps_a_copy(place, capsys):
    (place / "mine/test.fasta").write_text(">SEQ0\nMKV\n")
    output, submission = place / "run", place / "my out" / "submission.csv"
    output.mkdir()
    (output / "metrics.json").write_text('{"val_macro_f1": 0.9342}')
    with pytest.raises(UserError, match="No submission was written"):
        notebooks.report(output)
    submission.write_text("id,label\nSEQ0,99\n")
    with pytest.raises(UserError, match="99"):
        notebooks.report(output)
    submission.write_text("id,label\nSEQ0,3\n")
    notebooks.report(output)
    said = capsys.readouterr().out
    assert "macro-F1: 0.934" in said
    assert str(submission) in said
    assert (output / "submission.csv").read_text() == submission.read_text()


def test_relative_places_are_made_absolute_for_the_kernel(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    given = {
        "ARG_DATA": "mine",
        "ARG_OUTPUT": "new",
        "ARG_CACHE": "cache",
        "ARG_ESM2_WEIGHTS": "gone",
    }
    given |= {"PYTHONPATH": "else", "MPLBACKEND": "Agg"}
    kernel = notebooks.kernel_environment(given)
    assert kernel["ARG_DATA"] == str(tmp_path / "mine")
    assert kernel["ARG_OUTPUT"] == str(tmp_path / "new")
    assert kernel["ARG_CACHE"] == str(tmp_path / "cache"), "made later, and not in notebooks/"
    assert kernel["ARG_ESM2_WEIGHTS"] == "gone"
    assert kernel["PYTHONPATH"].endswith(":else")
    assert "MPLBACKEND" not in kernel
    assert notebooks.kernel_environment({"ARG_DATA": "open"})["ARG_DATA"] == "open"


@pytest.fixture
def finished(tmp_path):
    """A repository and a complete run of it."""
    root, run = tmp_path / "root", tmp_path / "root/runs/open-laptop"
    for folder in (root / "arg_utils", root / "results", run / "notebooks", run / "figures"):
        folder.mkdir(parents=True)
    (root / "arg_utils/module.py").write_text("x = 1\n")
    copy = nbformat.read(write(root / "notebooks", "01_one", "x = 1"), as_version=4)
    code = code_fingerprint(root / "arg_utils")
    copy.metadata["arg_utils"] = {"code": code, "cells": cells_fingerprint(copy)}
    copy.cells[1].execution_count = 1
    nbformat.write(copy, run / "notebooks/01_one.ipynb")
    (run / "figures/a.png").write_bytes(b"png")
    (run / "metrics.json").write_text("{}")
    (run / "submission.csv").write_text("id,label\n")
    (run / "results.json").write_text('[{"profile": "laptop", "macro_f1": 0.5}]')
    old = [{"profile": "full", "macro_f1": 0.9}, {"profile": "laptop", "macro_f1": 0.1}]
    (root / "results/results.json").write_text(json.dumps(old))
    return run, root


def test_publish_copies_the_run_over_what_is_committed(finished):
    run, root = finished
    notebooks.publish(run, root)
    assert '"execution_count": 1' in (root / "notebooks/01_one.ipynb").read_text()
    assert (root / "results/a.png").read_bytes() == b"png"
    assert (root / "results/metrics.json").is_file()
    assert (root / "submissions/sample_submission.csv").read_text() == "id,label\n"
    rows = json.loads((root / "results/results.json").read_text())
    assert [(row["profile"], row["macro_f1"]) for row in rows] == [("laptop", 0.5), ("full", 0.9)]


def test_times_of_the_runs_beside_are_published_if_they_are_of_the_same_code(finished):
    run, root = finished

    def timed(folder, form, code="now", data="open"):
        folder.mkdir(exist_ok=True)
        row = {"form": form, "code": code, "data": data, "of": folder.name}
        (folder / notebooks.TIMES).write_text(json.dumps([row]))

    timed(run, "amx")
    timed(run.parent / "open-short", "avx2")
    timed(run.parent / "open-smoke", "avx512", code="older")
    timed(run.parent / "open-longer", "amx")
    timed(run.parent / "kaggle-laptop", "neon", data="kaggle")
    (run.parent / "open-full").mkdir()
    (run.parent / "open-full" / notebooks.TIMES).write_text('{"data": "open", "seconds": {}}')
    before = [{"form": form, "of": "before"} for form in ("amx", "avx2", "avx512")]
    (root / "results" / notebooks.TIMES).write_text(json.dumps(before))
    notebooks.publish(run, root)
    rows = json.loads((root / "results" / notebooks.TIMES).read_text())
    assert {row["form"]: row["of"] for row in rows} == {
        "amx": "open-laptop", "avx2": "open-short", "avx512": "before",
    }  # fmt: skip
    assert len(rows) == 3


def test_publish_refuses_a_run_of_other_code_and_an_incomplete_one(finished):
    run, root = finished
    write(root / "notebooks", "02_two", "x = 1")
    with pytest.raises(UserError, match=r"02_two\.ipynb was not run"):
        notebooks.publish(run, root)
    (root / "arg_utils/module.py").write_text("x = 2\n")
    with pytest.raises(UserError, match="has changed since 01_one"):
        notebooks.publish(run, root)
    assert '"execution_count": null' in (root / "notebooks/01_one.ipynb").read_text()
