"""Does a saved result belong to this code? A hash that only code can change.

Comments, layout and docstrings of Python leave it as it is, and so does the Python version: the
syntax tree is hashed without the empty fields that newer versions add. C++ counts to the letter,
line ends aside.
"""

import ast
import hashlib
from collections.abc import Iterable, Iterator
from functools import lru_cache
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


def closure_fingerprint(*modules: str, package: Path | None = None) -> str:
    """16 hex digits over modules and all they import from arg_utils, directly or not.

    Keys what is cached by the code that computes it: ``closure_fingerprint("methods/hybrid.py")``.
    Imports are read from the syntax tree, those inside functions too; those for type checkers
    alone do not count. A folder ``csrc`` beside any of the modules counts as well.

    Parameters
    ----------
    modules : paths relative to ``package``.
    package : the folder of arg_utils, unless given.

    Raises
    ------
    FileNotFoundError
        If there is no such module.
    """
    package = package or ROOT / "arg_utils"
    closure: dict[str, str] = {}
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        if name not in closure:
            source = (package / name).read_text(encoding="utf-8")
            closure[name] = _tree(source)
            waiting += [file for file in (_file_of(i, package) for i in _imports(source)) if file]
    folders = {(package / name).parent / "csrc" for name in closure}
    for path in sorted(path for folder in folders for path in folder.glob("*")):
        closure[path.relative_to(package).as_posix()] = path.read_text(encoding="utf-8")
    return _hash(f"{name}:{content}" for name, content in sorted(closure.items()))


def cells_fingerprint(notebook: NotebookNode) -> str:
    """16 hex digits over the code cells of ``notebook``, in order."""
    return _hash(_tree(cell.source) for cell in notebook.cells if cell.cell_type == "code")


def _hash(parts: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


@lru_cache(maxsize=256)
def _imports(source: str) -> tuple[str, ...]:
    """Dotted names below arg_utils that a module imports, such as ``data.fasta.Record``."""
    names: list[str] = []
    for node in _executed(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return tuple(name.removeprefix("arg_utils.") for name in names if name.startswith("arg_utils."))


def _executed(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes of a syntax tree, but for what only type checkers read."""
    yield node
    if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
        return
    for child in ast.iter_child_nodes(node):
        yield from _executed(child)


def _file_of(name: str, package: Path) -> str | None:
    """The file of an imported name: of ``data.fasta.Record``, ``data/fasta.py``."""
    parts = name.split(".")
    while parts:
        path = "/".join(parts)
        for file in (f"{path}.py", f"{path}/__init__.py"):
            if (package / file).is_file():
                return file
        parts = parts[:-1]
    return "__init__.py" if (package / "__init__.py").is_file() else None


@lru_cache(maxsize=256)
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
