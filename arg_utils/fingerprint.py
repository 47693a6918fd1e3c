"""Hashes that results are kept under: of what they depend on, and of the code that computed them.

Comments, layout and docstrings of Python leave a hash of code as it is, and so does the Python
version: the syntax tree is hashed without the empty fields that newer versions add. C++ counts to
the letter, line ends aside.
"""

import ast
import hashlib
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

from arg_utils.files import PACKAGE


def fingerprint(*parts: Any) -> str:
    """16 hex digits that change when any of ``parts`` (bytes, or a stable ``repr``) does."""
    digest = hashlib.sha256()
    for part in parts:
        content = part if isinstance(part, bytes) else repr(part).encode()
        digest.update(hashlib.sha256(content).digest())
    return digest.hexdigest()[:16]


def code_fingerprint(package: Path = PACKAGE) -> str:
    """16 hex digits over all modules of ``package`` and its C++ sources, each under its path.

    ``__main__.py`` is left out: the command line is not what a notebook runs.
    """
    paths = [path for path in package.rglob("*.py") if path.name != "__main__.py"]
    return _hash_files([*paths, *package.rglob("csrc/*")], package)


def closure_fingerprint(*modules: str, package: Path = PACKAGE) -> str:
    """16 hex digits over modules and all they import from arg_utils, directly or not.

    Keys what is cached by the code that computes it: ``closure_fingerprint("methods/hybrid.py")``.
    Imports inside functions count too, and so does a folder ``csrc`` beside any of the modules.
    Paths are relative to ``package``; `FileNotFoundError` if there is none.
    """
    closure: set[Path] = set()
    waiting = {package / name for name in modules}
    while waiting:
        path = waiting.pop()
        closure.add(path)
        names = _imports(path.read_text(encoding="utf-8"))
        waiting |= {file for name in names if (file := _file_of(name, package))} - closure
    kernels = {kernel for path in closure for kernel in path.parent.glob("csrc/*")}
    return _hash_files(closure | kernels, package)


def cells_fingerprint(notebook: Any) -> str:
    """16 hex digits over the code cells of a `nbformat.NotebookNode`, in order."""
    return _hash(_code(cell.source) for cell in notebook.cells if cell.cell_type == "code")


def _hash_files(paths: Iterable[Path], package: Path) -> str:
    """Over relative path and content of each file, in order of the paths."""
    texts = {path.relative_to(package).as_posix(): path.read_text("utf-8") for path in paths}
    return _hash(
        f"{name}:{_code(text) if name.endswith('.py') else text}"
        for name, text in sorted(texts.items())
    )


def _hash(parts: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


@lru_cache(maxsize=256)
def _imports(source: str) -> tuple[str, ...]:
    """Dotted names below arg_utils that a module imports, such as ``data.proteins.Record``."""
    names: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return tuple(name.removeprefix("arg_utils.") for name in names if name.startswith("arg_utils."))


def _file_of(name: str, package: Path) -> Path | None:
    """The file of an imported name: of ``data.proteins.Record``, ``data/proteins.py``."""
    path = package.joinpath(*name.split("."))
    while path != package:
        for file in (path.with_suffix(".py"), path / "__init__.py"):
            if file.is_file():
                return file
        path = path.parent
    return None


@lru_cache(maxsize=256)
def _code(source: str) -> str:
    """Python without what does not run: nested text of its syntax tree."""
    try:
        return _dump(ast.parse(source))
    except SyntaxError:  # a magic: refused elsewhere, but still to be hashed
        return source


def _dump(node: object) -> str:
    """Node names and the fields that are not empty."""
    if isinstance(node, list):
        return "[" + ",".join(map(_dump, node)) + "]"
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = {name: value for name, value in ast.iter_fields(node) if value not in (None, [])}
    if isinstance(node, ast.Constant):
        fields = {"value": node.value}
    elif isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        documented = ast.get_docstring(node, clean=False) is not None
        fields["body"] = node.body[documented:]
    inside = ",".join(f"{name}={_dump(value)}" for name, value in fields.items())
    return f"{type(node).__name__}({inside})"
