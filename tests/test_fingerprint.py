"""Results are known by the code that made them, and by what else they depend on."""

import nbformat
import pytest

from arg_utils.fingerprint import (
    cells_fingerprint,
    closure_fingerprint,
    code_fingerprint,
    fingerprint,
)
from arg_utils.settings import StagedTraining


def test_fingerprints_tell_settings_and_data_apart():
    parts = [
        (1, "a"), (1, "b"), ("1", "a"), (1, "a", None), ((1, "a"),),
        (StagedTraining(),), (StagedTraining(epochs=3),), (b"ab",), ("ab",),
    ]  # fmt: skip
    marks = [fingerprint(*p) for p in parts]
    assert len(set(marks)) == len(parts)
    assert marks == [fingerprint(*p) for p in parts]
    assert all(len(mark) == 16 and int(mark, 16) >= 0 for mark in marks)


SOURCE = '''"""A module."""

def scale(values, by=2):
    """Scaled values."""
    return [value * by for value in values]
'''


@pytest.fixture
def package(tmp_path):
    """A package whose ``top`` imports ``low``, directly and through ``mid``; ``apart`` is alone."""
    for name, source in {
        "low/sums.py": SOURCE,
        "low/__init__.py": "from arg_utils.low import apart",
        "low/apart.py": "x = 1",
        "low/csrc/kernel.cpp": "int x;\n",
        "mid.py": "import arg_utils.low.sums",
        "top.py": "def f():\n    from arg_utils.mid import scale\n",
        "whole.py": "from arg_utils.low import everything",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(source)
    return tmp_path


@pytest.mark.parametrize(
    ("old", "new", "counts"),
    [
        ("A module.", "Another text.", False),
        ('    """Scaled values."""\n', "", False),
        ("by=2):", "by = 2):  # a comment", False),
        ("[value * by for value in values]", "[\n(value * by) for value in values\n]", False),
        ("by=2", "by=3", True),
        ("by=2", "by=2.0", True),
        ("value * by", "value + by", True),
        ("scale", "shrink", True),
        ("return [", "return None and [", True),
    ],
)
def test_a_change_of_code_counts_and_one_of_the_text_around_it_does_not(package, old, new, counts):
    before = code_fingerprint(package)
    assert old in SOURCE
    (package / "low/sums.py").write_text(SOURCE.replace(old, new))
    assert (code_fingerprint(package) != before) == counts


def test_files_of_every_room_count_by_path_and_the_command_line_does_not(package):
    marks = [code_fingerprint(package)]
    (package / "__main__.py").write_text("print(1)")
    assert code_fingerprint(package) == marks[0]
    for old, new in (("mid.py", "low/mid.py"), ("low/csrc/kernel.cpp", "low/csrc/other.cpp")):
        (package / old).rename(package / new)
        marks.append(code_fingerprint(package))
    (package / new).write_text("int y;\n")
    marks.append(code_fingerprint(package))
    assert len(set(marks)) == len(marks)
    (package / new).write_bytes(b"int y;\r\n")  # a checkout with other line ends
    assert code_fingerprint(package) == marks[-1]


@pytest.mark.parametrize("changed", ["low/sums.py", "mid.py", "top.py", "low/csrc/kernel.cpp"])
def test_a_change_of_anything_imported_counts(package, changed):
    before = closure_fingerprint("top.py", package=package)
    assert closure_fingerprint("top.py", "mid.py", package=package) == before
    (package / changed).write_text("int y = 2" if changed.endswith("cpp") else SOURCE + "y = 2\n")
    assert closure_fingerprint("top.py", package=package) != before


def test_what_is_not_imported_does_not_count(package):
    names = ("top.py", "whole.py")
    before = [closure_fingerprint(name, package=package) for name in names]
    (package / "low/apart.py").write_text("x = 2")
    (package / "low/sums.py").write_text(f"# a comment\n{SOURCE}")
    after = [closure_fingerprint(name, package=package) for name in names]
    assert after[0] == before[0]
    assert after[1] != before[1], "a name of the package itself brings what the package imports"
    with pytest.raises(FileNotFoundError):
        closure_fingerprint("gone.py", package=package)


def test_a_fingerprint_is_the_same_under_every_python(tmp_path):
    """Pinned: a newer Python adds empty fields to its syntax tree, which must not count."""
    (tmp_path / "scale.py").write_text(SOURCE)
    assert code_fingerprint(tmp_path) == "24abbb3ea7dbca01"


def test_a_notebook_counts_by_its_code_cells():
    cells = [nbformat.v4.new_markdown_cell("# Title"), nbformat.v4.new_code_cell("x = 1")]
    notebook = nbformat.v4.new_notebook(cells=cells)
    before = cells_fingerprint(notebook)
    cells[0].source = "# Another title"
    cells[1].source = "x = 1  # one"
    assert cells_fingerprint(notebook) == before
    for code in ("x = 2", "!ls"):
        cells[1].source = code
        assert cells_fingerprint(notebook) != before
