"""The notebooks with the solutions of their exercises as cells, so that a run tests both.

``python tests/solutions.py FROM TO`` writes a copy of each notebook of a folder into another one.
A solution stands folded in a Markdown cell (``<details>``), its code between fences; in the copy it
comes right after that cell, its output not compared. Nor are those of cells that are tagged so, or,
in a notebook that tags the cells to compare (``nbval-check-output``), those of all others.
"""

import re
import sys
from pathlib import Path

import nbformat
from nbformat import NotebookNode

SOLUTION = re.compile(r"<details><summary>Solution</summary>\n(.*?)</details>", re.DOTALL)
IGNORED, CHECKED = "nbval-ignore-output", "nbval-check-output"
CODE = re.compile(r"^```python\n(.*?)\n```$", re.DOTALL | re.MULTILINE)


def solutions(cell: NotebookNode) -> list[str]:
    """The text of each solution in a cell."""
    return SOLUTION.findall(cell.source) if cell.cell_type == "markdown" else []


def compared(notebook: NotebookNode) -> list[NotebookNode]:
    """The code cells whose outputs are compared."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    checked = [cell for cell in cells if CHECKED in cell.metadata.get("tags", [])]
    return checked or [cell for cell in cells if IGNORED not in cell.metadata.get("tags", [])]


def with_solutions(notebook: NotebookNode) -> NotebookNode:
    """The notebook with a code cell per solution that has code."""
    cells, same = [], {cell.id for cell in compared(notebook)}
    for cell in notebook.cells:
        if cell.cell_type == "code" and cell.id not in same:
            cell.metadata["tags"] = [IGNORED]
        cells.append(cell)
        for text in solutions(cell):
            for code in CODE.findall(text):
                added = nbformat.v4.new_code_cell(code)
                added.metadata["tags"] = [IGNORED]
                cells.append(added)
    notebook.cells = cells
    return notebook


def main(source: Path, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for path in sorted(source.glob("*.ipynb")):
        nbformat.write(with_solutions(nbformat.read(path, as_version=4)), target / path.name)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
