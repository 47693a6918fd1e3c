"""Run the numbered notebooks in order, as ``make run`` does, and keep tidy executed copies.

    python -m arg_utils.reporting.notebooks run

exits with 1 when a cell fails and with 2 when the user can put it right (`UserError`).
"""

import json
import os
import re
import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import nbformat
from ipykernel.kernelspec import get_kernel_dict
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError
from nbformat import NotebookNode

from arg_utils import files, settings
from arg_utils.data import folders
from arg_utils.errors import UserError
from arg_utils.fingerprint import cells_fingerprint, code_fingerprint

ANSI = re.compile(r"\x1b\[[0-9;]*m")
KERNELSPEC = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
# What a user may give relative to the folder of `make`; a kernel works in notebooks/.
PATH_VARIABLES = ("ARG_OUTPUT", "ARG_CACHE", "ARG_ESM2_WEIGHTS", "ARG_DATA")


class NotebookError(Exception):
    """A cell failed: which, and the last lines of what it said."""


class _ThisInterpreter(KernelSpecManager):
    """Every kernel is the running Python, whatever 'python3' is on the user's machine."""

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        return KernelSpec(**get_kernel_dict())


class _LiveClient(NotebookClient):
    """Shows the kernel's stderr, where the progress bars are, while a cell runs."""

    def process_message(self, msg, cell, cell_index):
        if msg["msg_type"] == "stream" and msg["content"]["name"] == "stderr":
            sys.stderr.write(msg["content"]["text"])
            sys.stderr.flush()
        return super().process_message(msg, cell, cell_index)


def find_notebooks(folder: Path | None = None) -> list[Path]:
    """The notebooks ``NN_*.ipynb`` of ``folder`` (by default notebooks/) in the order to run."""
    folder = folder or files.NOTEBOOKS
    found = sorted(folder.glob("[0-9][0-9]_*.ipynb"))
    if not found:
        raise UserError(f"There is no notebook named NN_*.ipynb in {folder}.")
    return found


def run(folder: Path | None = None) -> dict[str, float]:
    """Execute the notebooks of ``folder`` in order, each in its own kernel, and save copies.

    Copies go to ``notebooks/`` in `settings.output_dir`, whole or not at all, the times to
    ``notebook_times.json``.

    Returns
    -------
    Seconds taken by each notebook.

    Raises
    ------
    NotebookError
        At the first cell that fails.
    UserError
        If that cell raised one, with its sentence.
    """
    data, profile = folders.data_name(), settings.profile_name()
    output = settings.output_dir(data, profile).resolve()
    code, seconds = code_fingerprint(), {}
    shutil.rmtree(output / "notebooks", ignore_errors=True)  # copies of one run, never of two
    for path in find_notebooks(folder):
        print(f"{path.stem} …", flush=True)
        start = time.perf_counter()
        notebook = execute(path)
        notebook.metadata["arg_utils"] = {
            "code": code,
            "cells": cells_fingerprint(notebook),
            "profile": profile,
            "data": data,
        }
        save(notebook, output / "notebooks" / path.name)
        seconds[path.stem] = time.perf_counter() - start
        print(f"{path.stem}: {clock(seconds[path.stem])}", flush=True)
    print(f"all notebooks: {clock(sum(seconds.values()))}", flush=True)
    _save_times(output / "notebook_times.json", data, profile, seconds)
    return seconds


def execute(path: Path) -> NotebookNode:
    """The notebook at ``path``, executed from its first cell in its own folder, and tidied.

    Raises `NotebookError` or `UserError` as `run` does.
    """
    notebook = nbformat.read(path, as_version=4)
    manager = AsyncKernelManager(
        kernel_name="python3", kernel_spec_manager=_ThisInterpreter(), transport_encryption="auto"
    )
    resources = {"metadata": {"path": str(path.parent)}}
    settings = {"timeout": None, "startup_timeout": 180, "record_timing": False}
    client = _LiveClient(notebook, km=manager, resources=resources, **settings)
    try:
        client.execute(env=kernel_environment(os.environ), cleanup_kc=True)
    except CellExecutionError as error:
        if error.ename == "UserError":
            raise UserError(ANSI.sub("", error.evalue)) from None
        raise NotebookError(_failure(path, notebook, error)) from None
    except DeadKernelError:
        raise NotebookError(f"{path.name}: its kernel died; was there enough memory?") from None
    except RuntimeError as error:  # the kernel never answered
        raise NotebookError(f"{path.name}: {error}") from None
    return tidy(notebook)


def kernel_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables for a kernel: this library first, absolute paths, inline figures."""
    kernel = {name: value for name, value in environment.items() if name != "MPLBACKEND"}
    for name in PATH_VARIABLES:
        value = kernel.get(name)
        if value and (name == "ARG_OUTPUT" or Path(value).exists()):
            kernel[name] = str(Path(value).resolve())
    before = kernel.get("PYTHONPATH")
    kernel["PYTHONPATH"] = os.pathsep.join([str(files.ROOT), *([before] if before else [])])
    return kernel


def _failure(path: Path, notebook: NotebookNode, error: CellExecutionError) -> str:
    """Which cell failed (counting code cells from 1) and the end of its traceback."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    failed = [
        number
        for number, cell in enumerate(cells, start=1)
        if any(output.output_type == "error" for output in cell.get("outputs", []))
    ]
    number = failed[-1] if failed else "?"
    lines = ANSI.sub("", error.traceback).rstrip().splitlines()[-12:]
    return "\n".join([f"{path.name}, code cell {number} of {len(cells)}, failed:", *lines])


def tidy(notebook: NotebookNode) -> NotebookNode:
    """Drop what changes from run to run: progress bars, timings, paths of this machine."""
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    notebook.metadata = nbformat.from_dict(
        {"kernelspec": KERNELSPEC, "language_info": {"name": "python"}}
    )
    for number, cell in enumerate(notebook.cells, start=1):
        cell.setdefault("id", f"cell-{number:02d}")
        tags = cell.metadata.get("tags")
        cell.metadata = nbformat.from_dict({"tags": tags} if tags else {})
        if cell.cell_type == "code":
            cell.outputs = [_scrub(output) for output in _streams(cell.outputs)]
    return notebook


def _streams(found: list[NotebookNode]) -> list[NotebookNode]:
    """Neighbouring pieces of one stream joined, then stderr without its progress bars."""
    joined: list[NotebookNode] = []
    for output in found:
        same = output.output_type == "stream" and joined and joined[-1].get("name") == output.name
        if same:
            joined[-1].text += output.text
        else:
            joined.append(output)
    for output in joined:
        if output.get("name") == "stderr":
            kept = [line for line in output.text.split("\n") if line and "\r" not in line]
            output.text = "".join(f"{line}\n" for line in kept)
    return [output for output in joined if output.get("text") != ""]


def _scrub(output: NotebookNode) -> NotebookNode:
    """Paths relative to the repository or the home folder, in every text of an output."""
    swaps = ((f"{files.ROOT}/", ""), (str(files.ROOT), "."), (str(Path.home()), "~"))
    texts = output if output.output_type == "stream" else output.get("data", {})
    for kind, text in texts.items():
        if isinstance(text, str) and not kind.startswith("image/"):
            for old, new in swaps:
                text = text.replace(old, new)
            texts[kind] = text
    if "metadata" in output:
        output.metadata = nbformat.from_dict({})
    return output


def save(notebook: NotebookNode, target: Path) -> Path:
    """Check ``notebook`` against its format and write it to ``target``, whole or not at all."""
    nbformat.validate(notebook)
    return files.write_text(target, nbformat.writes(notebook) + "\n")


def clock(seconds: float) -> str:
    """``8 s`` or ``3 min 05 s``."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def _save_times(target: Path, data: str, profile: str, seconds: Mapping[str, float]) -> None:
    times = {
        "data": data,
        "profile": profile,
        "cores": os.cpu_count(),
        "seconds": {name: round(value, 1) for name, value in seconds.items()},
    }
    files.write_text(target, json.dumps(times, indent=2) + "\n")


def main(arguments: list[str] | None = None) -> int:
    """``run`` or ``publish``; returns the exit code."""
    from arg_utils.reporting import publishing

    actions = {"run": lambda: (run(), publishing.report()), "publish": publishing.publish}
    arguments = sys.argv[1:] if arguments is None else arguments
    if len(arguments) != 1 or arguments[0] not in actions:
        print("usage: python -m arg_utils.reporting.notebooks run|publish", file=sys.stderr)
        return 2
    try:
        actions[arguments[0]]()
    except (UserError, NotebookError) as error:
        print(error, file=sys.stderr)
        return 2 if isinstance(error, UserError) else 1
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
