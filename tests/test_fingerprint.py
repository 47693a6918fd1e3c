import nbformat
import pytest

from arg_utils.fingerprint import (
    cells_fingerprint,
    closure_fingerprint,
    code_fingerprint,
    modules_fingerprint,
)

SOURCE = '''"""A module."""

def scale(values, by=2):
    """Scaled values."""
    return [value * by for value in values]
'''


@pytest.fixture
def package(tmp_path):
    (tmp_path / "scale.py").write_text(SOURCE)
    return tmp_path


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("A module.", "Another text."),
        lambda text: text.replace('    """Scaled values."""\n', ""),
        lambda text: text.replace("by=2):", "by = 2):  # a comment"),
        lambda text: text.replace(
            "[value * by for value in values]", "[\n(value * by) for value in values\n]"
        ),
    ],
)
def test_text_around_the_code_does_not_count(package, change):
    before = code_fingerprint(package)
    changed = change(SOURCE)
    assert changed != SOURCE
    (package / "scale.py").write_text(changed)
    assert code_fingerprint(package) == before


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("by=2", "by=3"),
        ("by=2", "by=2.0"),
        ("value * by", "value + by"),
        ("scale", "shrink"),
        ("return [", "return None and ["),
    ],
)
def test_every_change_of_code_counts(package, old, new):
    before = code_fingerprint(package)
    (package / "scale.py").write_text(SOURCE.replace(old, new))
    assert code_fingerprint(package) != before


def test_files_count_by_name_and_the_command_line_does_not(package):
    before = code_fingerprint(package)
    (package / "__main__.py").write_text("print(1)")
    assert code_fingerprint(package) == before
    (package / "more.py").write_text("")
    added = code_fingerprint(package)
    (package / "more.py").rename(package / "other.py")
    assert len({before, added, code_fingerprint(package)}) == 3


def test_kernels_count_by_name_and_to_the_letter(package):
    found = [code_fingerprint(package)]
    kernel = package / "csrc" / "scale.cpp"
    kernel.parent.mkdir()
    for text in ("float by = 2;\n", "float by = 3;\n"):
        kernel.write_text(text)
        found.append(code_fingerprint(package))
    kernel.write_bytes(b"float by = 3;\r\n")
    assert code_fingerprint(package) == found[-1]  # a checkout with other line ends
    kernel.rename(kernel.with_name("shrink.cpp"))
    found.append(code_fingerprint(package))
    assert len(set(found)) == len(found)


def test_modules_and_kernels_of_every_room_count_under_their_path(package):
    found = [code_fingerprint(package)]
    for place in ("room/scale.py", "room/inner/scale.py", "room/csrc/scale.cpp"):
        path = package / place
        path.parent.mkdir(exist_ok=True)
        path.write_text("x = 1\n")
        found.append(code_fingerprint(package))
    path.write_text("x = 2\n")
    found.append(code_fingerprint(package))
    (package / "room").rename(package / "hall")
    found.append(code_fingerprint(package))
    assert len(set(found)) == len(found)


def test_named_modules_are_found_by_their_path(package):
    (package / "room").mkdir()
    (package / "room" / "scale.py").write_text(SOURCE)
    before = modules_fingerprint(["room/scale"], package)
    (package / "scale.py").write_text("x = 1\n")
    assert modules_fingerprint(["room/scale"], package) == before
    (package / "room" / "scale.py").write_text(SOURCE.replace("by=2", "by=3"))
    assert modules_fingerprint(["room/scale"], package) != before


@pytest.fixture
def rooms(tmp_path):
    """A package whose ``top`` imports ``low``, directly and through ``mid``; ``apart`` is alone."""
    for name, source in {
        "low/sums.py": SOURCE,
        "low/__init__.py": "from arg_utils.low import apart",
        "low/apart.py": "x = 1",
        "low/csrc/kernel.cpp": "int x;",
        "mid.py": "import arg_utils.low.sums",
        "top.py": "def f():\n    from arg_utils.mid import scale\n",
        "typed.py": "if TYPE_CHECKING:\n    from arg_utils.mid import scale\n",
        "whole.py": "from arg_utils.low import everything",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(source)
    return tmp_path


@pytest.mark.parametrize("changed", ["low/sums.py", "mid.py", "top.py", "low/csrc/kernel.cpp"])
def test_a_change_of_anything_imported_counts(rooms, changed):
    before = closure_fingerprint("top.py", package=rooms)
    assert len(before) == 16
    assert closure_fingerprint("top.py", "mid.py", package=rooms) == before
    (rooms / changed).write_text("int y = 2" if changed.endswith("cpp") else SOURCE + "y = 2\n")
    assert closure_fingerprint("top.py", package=rooms) != before


def test_what_is_not_imported_does_not_count(rooms):
    names = ("top.py", "typed.py", "whole.py")
    before = [closure_fingerprint(name, package=rooms) for name in names]
    (rooms / "low/apart.py").write_text("x = 2")
    (rooms / "low/sums.py").write_text(f"# a comment\n{SOURCE}")
    after = [closure_fingerprint(name, package=rooms) for name in names]
    assert after[:2] == before[:2]
    assert after[2] != before[2], "a name of the package itself brings what the package imports"
    (rooms / "mid.py").write_text("y = 1")
    assert closure_fingerprint("typed.py", package=rooms) == before[1]
    with pytest.raises(FileNotFoundError):
        closure_fingerprint("gone.py", package=rooms)


def test_it_is_the_same_under_every_python(package):
    """Pinned: a newer Python adds empty fields to its syntax tree, which must not count."""
    assert code_fingerprint(package) == "24abbb3ea7dbca01"


def test_a_notebook_counts_by_its_code_cells():
    cells = [nbformat.v4.new_markdown_cell("# Title"), nbformat.v4.new_code_cell("x = 1")]
    notebook = nbformat.v4.new_notebook(cells=cells)
    before = cells_fingerprint(notebook)
    cells[0].source = "# Another title"
    cells[1].source = "x = 1  # one"
    assert cells_fingerprint(notebook) == before
    cells[1].source = "x = 2"
    assert cells_fingerprint(notebook) != before
    cells[1].source = "!ls"
    assert len(cells_fingerprint(notebook)) == 16
