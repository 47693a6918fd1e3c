"""What ``import arg_utils`` offers and does not load, and what its rooms and README say of it."""

import doctest
import importlib
import re
import subprocess
import sys

import pytest

import arg_utils
from arg_utils import labels
from arg_utils.experiments import runs
from arg_utils.files import PACKAGE, ROOT
from arg_utils.methods import METHODS

ROOMS = sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py"))


def test_what_a_notebook_needs_is_offered():
    from arg_utils import CLASSES, fit_run

    assert CLASSES is labels.CLASSES
    assert arg_utils.METHODS is METHODS
    assert fit_run is runs.fit_run
    assert {"open_workspace", "load_run", "METHODS"} <= set(dir(arg_utils))
    with pytest.raises(AttributeError, match="no attribute 'guess'"):
        arg_utils.guess  # noqa: B018


@pytest.mark.parametrize(
    ("code", "says"), [("import arg_utils", ""), ("arg_utils.__main__.main(['--help'])", "usage")]
)
def test_import_and_help_load_nothing_heavy(code, says):
    heavy = {"torch", "pandas", "matplotlib", "sklearn"}
    program = (
        f"import sys, arg_utils.__main__\ntry: {code}\n"
        f"finally: sys.stderr.write(str({heavy} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "set()")
    assert done.stdout.startswith(says)


@pytest.mark.parametrize("name", [*ROOMS, "labels"])
def test_an_example_shows_what_it_says(name):
    module = importlib.import_module(f"arg_utils.{name}")
    ran = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert ran.attempted >= 1, f"arg_utils/{name} shows no example"
    assert ran.failed == 0


def test_the_layout_names_every_module_once_in_its_room():
    layout = (
        (ROOT / "docs/development.md")
        .read_text(encoding="utf-8")
        .split("## Layout")[1]
        .split("```")[1]
    )
    drawn = {}
    for line in layout.splitlines():
        if match := re.match(r"  (\S+)\s+(.*)", line):
            drawn[match[1]] = sorted(re.findall(r"\b(?!csrc)\w+\b", match[2]))
    rooms = {}
    for path in PACKAGE.rglob("*.py"):
        room = path.parent.relative_to(PACKAGE).as_posix()
        if path.stem not in ("__init__", "__main__"):
            rooms.setdefault("(ground)" if room == "." else f"{room}/", []).append(path.stem)
    drawn.pop("__main__")
    assert drawn == {room: sorted(modules) for room, modules in rooms.items()}


def test_readme_is_short_and_its_badges_are_true():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(readme.splitlines()) <= 150
    version = re.search(r'requires-python = ">=(.*)"', (ROOT / "pyproject.toml").read_text())
    assert f"badge/python-%E2%89%A5%20{version[1]}-" in readme
    assert "badge/licence-MIT-" in readme
    assert "MIT" in (ROOT / "LICENSE").read_text()


def test_only_one_module_reads_arguments():
    """No other module of the package is a program of its own."""
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        reads = "parse_args" in text or "sys.argv" in text
        assert reads == (path == PACKAGE / "__main__.py"), path
