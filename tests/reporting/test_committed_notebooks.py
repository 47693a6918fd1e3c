"""The committed notebooks: executed, small, plain, and of the code that is committed with them."""

import ast
import json
import re

import nbformat
import pytest

from arg_utils import files
from arg_utils.files import cells_fingerprint, code_fingerprint

PATHS = sorted(files.NOTEBOOKS.glob("*.ipynb"))
TAGS = {"nbval-ignore-output", "nbval-check-output"}
NAMES = {"01_eda_class_imbalance", "02_build_dataset", "03_train_esm2_lora", "04_evaluate",
         "05_kaggle_submission", "07_what_the_model_looks_at"}  # fmt: skip
each_notebook = pytest.mark.parametrize("path", PATHS, ids=[path.stem for path in PATHS])


def read(path):
    return nbformat.read(path, as_version=nbformat.NO_CONVERT)


def code_cells(path):
    return [cell for cell in read(path).cells if cell.cell_type == "code"]


def test_the_five_are_there():
    assert {path.stem for path in PATHS} >= NAMES
    assert all(re.match(r"\d\d_", path.stem) for path in PATHS)


@each_notebook
def test_outputs_belong_to_the_committed_code(path):
    mark = read(path).metadata.get("arg_utils", {})
    expected = {"code": code_fingerprint(), "cells": cells_fingerprint(read(path))}
    assert {name: mark.get(name) for name in expected} == expected, "make run publish"
    assert (mark["data"], mark["profile"]) == ("open", "laptop")


@each_notebook
def test_format_and_size(path):
    notebook = read(path)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    assert path.stat().st_size < 1_000_000


@each_notebook
def test_executed_once_from_the_first_cell_without_errors_and_pictures_are_png(path):
    cells = code_cells(path)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert outputs
    assert all(output.output_type != "error" for output in outputs)
    kinds = {kind for output in outputs for kind in output.get("data", {})}
    assert kinds <= {"text/plain", "text/html", "text/markdown", "image/png"}


@each_notebook
def test_nothing_of_the_machine_it_ran_on(path):
    text = path.read_text(encoding="utf-8")
    assert not re.findall(r"/(?:home|root|Users|tmp|work|opt|mnt|workspace)/\w[^\s\"\\]*", text)
    assert str(files.ROOT) not in text
    assert "\\r" not in text.replace("\\\\r", "")


@each_notebook
def test_scores_in_prose_stand_in_an_output(path):
    """What is typed goes stale: a decimal number outside code and links is one that was printed."""
    cells, printed = read(path).cells, json.dumps([cell.outputs for cell in code_cells(path)])
    prose = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    prose = re.sub(r"\(https?://[^)]*\)|\[(?:doi|arXiv):[^\]]*\]|`[^`]*`", "", prose)
    assert all(number in printed for number in re.findall(r"\d+\.\d+", prose))


@each_notebook
def test_only_calls_the_library(path):
    """No functions or classes, no named lambdas, no magics, no path arithmetic."""
    for cell in code_cells(path):
        assert not re.search(r"^\s*[!%]", cell.source, re.MULTILINE), cell.source
        tree = ast.parse(cell.source)
        for node in ast.walk(tree):
            assert not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
            named = isinstance(node, ast.Assign | ast.AnnAssign | ast.NamedExpr)
            assert not (named and isinstance(node.value, ast.Lambda)), cell.source
            assert not {"os", "pathlib", "sys", "subprocess"} & imported(node), cell.source


def imported(node):
    if isinstance(node, ast.Import):
        return {alias.name.split(".")[0] for alias in node.names}
    return {str(node.module).split(".")[0]} if isinstance(node, ast.ImportFrom) else set()


@each_notebook
def test_begins_with_its_purpose_data_and_weights(path):
    notebook = read(path)
    assert notebook.cells[0].cell_type == "markdown"
    assert notebook.cells[0].source.startswith("# ")
    said = json.dumps(code_cells(path)[0].outputs).lower()
    assert "data" in said
    assert "weights" in said


@each_notebook
def test_tags_are_those_nbval_knows(path):
    """nbval ignores a misspelt tag silently, and then compares nothing."""
    tags = [tag for cell in read(path).cells for tag in cell.metadata.get("tags", [])]
    assert set(tags) <= TAGS
    checked = [
        cell for cell in code_cells(path) if "nbval-check-output" in cell.metadata.get("tags", [])
    ]
    assert checked
    for cell in checked:
        assert cell.outputs, "nothing to compare"
        assert all(output.get("name") != "stderr" for output in cell.outputs)
