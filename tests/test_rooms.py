"""Rooms lie on top of each other: no module imports from a room above its own, nor in a circle."""

import ast
from graphlib import TopologicalSorter

import pytest

from arg_utils.files import ROOT

GROUND = {"__init__", "errors", "labels", "files", "fingerprint", "settings"}
ORDER = (
    "ground", "homology", "data", "esm2", "metrics", "methods", "prediction", "experiments",
    "reporting", "__main__",
)  # fmt: skip
PACKAGE = ROOT / "arg_utils"
MODULES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts): path
    for path in sorted(PACKAGE.rglob("*.py"))
}


def room(module: str) -> str:
    first = module.partition(".")[0]
    return "ground" if first in GROUND else first


def imported(module: str) -> set[str]:
    """The modules of this package that a module imports, at its top or inside a function."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}, line {node.lineno}: imports are absolute here"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        found |= {target(name) for name in names if name.split(".")[0] == "arg_utils"}
    return found


def target(name: str) -> str:
    """``arg_utils.data.proteins.Record``: the module ``data.proteins``."""
    parts = name.split(".")[1:]
    while parts:
        for module in (".".join(parts), ".".join([*parts, "__init__"])):
            if module in MODULES:
                return module
        parts = parts[:-1]
    return "__init__"


def test_every_module_has_a_room():
    assert {room(module) for module in MODULES} == set(ORDER)
    assert {room for room in ORDER if (PACKAGE / room).is_dir()} == set(ORDER[1:-1])


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_down_only(module):
    above = ORDER[ORDER.index(room(module)) + 1 :]
    wrong = sorted(other for other in imported(module) if room(other) in above)
    assert not wrong, f"{module} lies in {room(module)} and may not import {', '.join(wrong)}"


def test_no_modules_import_each_other_in_a_circle():
    list(TopologicalSorter({module: imported(module) for module in MODULES}).static_order())


@pytest.mark.parametrize("name", ORDER[1:-1])
def test_a_room_says_what_lives_in_it(name):
    text = ast.get_docstring(ast.parse(MODULES[f"{name}.__init__"].read_text(encoding="utf-8")))
    assert text
    assert "May import" in " ".join(text.split())
