"""The committed notebooks: executed, small, plain, and of the code that is committed with them."""

import ast
import json
import re

import nbformat
import pytest
import solutions

from arg_utils import files
from arg_utils.fingerprint import cells_fingerprint, code_fingerprint

PATHS = sorted(files.NOTEBOOKS.glob("*.ipynb"))
NAMES = {"01_eda_class_imbalance", "02_build_dataset", "03_train_esm2_lora", "04_evaluate",
         "05_kaggle_submission", "06_screen_a_genome", "07_what_the_model_looks_at"}  # fmt: skip
# Numbers in prose that no cell prints: of classes, of ESM-2's tokens, width and longest input, and,
# in per cent, limits of the homology split and levels of intervals.
CONSTANTS = {0, 2, 14, 15, 320, 1022, 1024, 40, 50, 80, 90, 95}
NUMBER = re.compile(r"(?<![\w.-])\d[\d,]*(?:\.\d+)?")
NO_CLAIM = re.compile(
    r"```.*?```|`[^`]*`|\$\$.*?\$\$|\[[^\]]*\]\([^)]*\)"  # code, formulas, links
    r"|^(?:#+ )?\d+\. |[Nn]otebooks? \d( and \d)?|10⁻⁵",
    re.DOTALL | re.MULTILINE,
)
each_notebook = pytest.mark.parametrize("path", PATHS, ids=[path.stem for path in PATHS])


def read(path):
    return nbformat.read(path, as_version=nbformat.NO_CONVERT)


def code_cells(path):
    return [cell for cell in read(path).cells if cell.cell_type == "code"]


def test_all_are_there():
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
def test_numbers_in_prose_come_from_a_cell_above(path):
    """So that prose and outputs agree, after the next run too. Exercises may ask for any number."""
    printed = set(map(float, CONSTANTS))
    for cell in read(path).cells:
        if cell.cell_type == "code":
            texts = [str(text) for output in cell.outputs for text in shown(output)]
            printed |= numbers(" ".join([cell.source, *texts]))
        else:
            prose = NO_CLAIM.sub(" ", cell.source.partition("## Exercises")[0])
            assert numbers(prose) <= printed, cell.source


def shown(output):
    """The texts of an output, without tags."""
    texts = [output.get("text", ""), *output.get("data", {}).values()]
    kinds = ["text/plain", *output.get("data", {})]
    return [
        re.sub("<[^>]+>", " ", text)
        for kind, text in zip(kinds, texts, strict=True)
        if kind.startswith("text/")
    ]


def numbers(text):
    return {float(number.replace(",", "")) for number in NUMBER.findall(text)}


@each_notebook
def test_what_does_not_change_with_the_profile_is_compared(path):
    """nbval ignores a misspelt tag silently, and compares nothing where there is no output."""
    cells = code_cells(path)
    tags = [tag for cell in cells for tag in cell.metadata.get("tags", [])]
    assert set(tags) <= {solutions.IGNORED, solutions.CHECKED}
    compared = solutions.compared(read(path))
    texts = [kind for cell in compared for output in cell.outputs for kind in texts_of(output)]
    assert texts, "these cells show nothing that could be compared"
    assert all(output.get("name") != "stderr" for cell in compared for output in cell.outputs)


def texts_of(output):
    """The texts of an output that are not only the name of a picture's type."""
    if output.output_type == "stream":
        return [output.text]
    return [] if "image/png" in output.data else [output.data["text/plain"]]


@each_notebook
def test_three_to_five_exercises_each_with_a_solution_that_is_python(path):
    cells = [cell for cell in read(path).cells if "## Exercises" in cell.source]
    if path.stem in NAMES:
        assert len(cells) == 1
    for cell in cells:
        asked = re.findall(r"^\d\. \*\*", cell.source, re.MULTILINE)
        assert len(solutions.solutions(cell)) == len(asked)
        assert 3 <= len(asked) <= 5
    for cell in solutions.with_solutions(read(path)).cells:
        if cell.cell_type == "code":
            ast.parse(cell.source)
    run = len(solutions.with_solutions(read(path)).cells) - len(read(path).cells)
    assert run >= 3 or path.stem > "06"  # those of the later notebooks take longer than a test may
