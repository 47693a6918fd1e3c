"""Do a notebook's saved outputs belong to this code? A hash that only code can change.

Comments, layout and docstrings of Python leave it as it is, and so does the Python version: the
syntax tree is hashed without the empty fields that newer versions add. C++ counts to the letter,
line ends aside.
"""

import ast
import hashlib
from collections.abc import Iterable
from pathlib import Path

from nbformat import NotebookNode

from arg_utils.files import ROOT

_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def code_fingerprint(package: Path | None = None) -> str:
    """16 hex digits over all modules of ``package`` (by default arg_utils) and its C++ sources.

    Those of all rooms, each under its path below ``package``.
    ``__main__.py`` is left out: the command line is not what a notebook runs.
    """
    package = package or ROOT / "arg_utils"
    parts = []
    for path in sorted(package.rglob("*.py")):
        if path.name != "__main__.py":
            name = path.relative_to(package).as_posix()
            parts.append(f"{name}:{_tree(path.read_text(encoding='utf-8'))}")
    for path in sorted(package.rglob("csrc/*")):
        name = path.relative_to(package).as_posix()
        parts.append(f"{name}:{path.read_text(encoding='utf-8')}")
    return _hash(parts)


def modules_fingerprint(names: Iterable[str], package: Path | None = None) -> str:
    """16 hex digits over the named modules of ``package`` (by default arg_utils).

    A name is the path below ``package``, without its ending: ``methods/course``.
    """
    package = package or ROOT / "arg_utils"
    return _hash(_tree((package / f"{name}.py").read_text(encoding="utf-8")) for name in names)


def cells_fingerprint(notebook: NotebookNode) -> str:
    """16 hex digits over the code cells of ``notebook``, in order."""
    return _hash(_tree(cell.source) for cell in notebook.cells if cell.cell_type == "code")


def _hash(parts: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _tree(source: str) -> str:
    try:
        return _dump(ast.parse(source))
    except SyntaxError:  # a magic: refused elsewhere, but still to be hashed
        return source


def _dump(node: object) -> str:
    """Nested text of a syntax tree: node names and the fields that are not empty."""
    if isinstance(node, list):
        return "[" + ",".join(map(_dump, node)) + "]"
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = {name: value for name, value in ast.iter_fields(node) if value not in (None, [])}
    if isinstance(node, ast.Constant):
        fields = {"value": node.value}
    elif isinstance(node, _DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
        fields["body"] = node.body[1:]
    inside = ",".join(f"{name}={_dump(value)}" for name, value in fields.items())
    return f"{type(node).__name__}({inside})"
