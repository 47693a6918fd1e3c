"""Run the numbered notebooks in order, keep tidy executed copies, and commit those of a release."""

import asyncio
import datetime
import json
import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import nbformat
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpecManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError
from nbformat import NotebookNode

from arg_utils import files, settings
from arg_utils.data.folders import load_dataset, resolve_data_dir
from arg_utils.data.submission import check_submission
from arg_utils.errors import UserError, counted
from arg_utils.esm2.fastest import BOUNDS, kernel_for
from arg_utils.esm2.model import best_device, best_precision
from arg_utils.experiments.workspace import open_workspace, suitable_profile
from arg_utils.fingerprint import cells_fingerprint, code_fingerprint

PROGRESS = re.compile("\r|^pip downloads ")
ANSI = re.compile(r"\x1b\[[0-9;]*m")
NUMBERED = "[0-9][0-9]_*.ipynb"
TIMES = "notebook_times.json"
# Files of rows, and the column by which those of other runs stay when one is published.
ROWS = {"results.json": "profile", TIMES: "form"}
KERNELSPEC = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
# What a user may give relative to the folder of `make`; a kernel works in notebooks/.
PATH_VARIABLES = ("ARG_OUTPUT", "ARG_CACHE", "ARG_ESM2_WEIGHTS", "ARG_DATA")


class NotebookError(Exception):
    """A cell failed: which, and the last lines of its traceback."""


class _LiveClient(NotebookClient):
    """Shows the kernel's stderr, where the progress bars are, while a cell runs.

    A signal ends the run and its kernel, and is noted: nbclient's own handler ends in an assertion.
    """

    stopped = False

    async def async_start_new_kernel(self, **kwargs: Any) -> None:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()

        def stop() -> None:
            self.stopped = True
            self.shutdown_kernel = "immediate"  # asked politely, it prints a traceback of its own
            if task:
                task.cancel()

        with suppress(RuntimeError):  # not in the main thread: signals are not ours
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(number, stop)
        await super().async_start_new_kernel(**kwargs)

    def run(self, environment: dict[str, str]) -> None:
        """Execute all cells; `KeyboardInterrupt` if a signal stopped it."""
        try:
            self.execute(env=environment, cleanup_kc=True)
        except (Exception, asyncio.CancelledError):
            if self.stopped:
                raise KeyboardInterrupt from None
            raise

    def process_message(self, msg: dict, cell: NotebookNode, cell_index: int) -> Any:
        if msg["msg_type"] == "stream" and msg["content"]["name"] == "stderr":
            print(msg["content"]["text"], end="", file=sys.stderr, flush=True)
        return super().process_message(msg, cell, cell_index)


def prepare() -> dict[str, Any]:
    """Have data, weights and kernel ready: what is said at first use belongs in no notebook.

    Returns what is noted beside the times of notebooks: ``form`` of the kernel, or the device if
    none is used, and the seconds that this took, ``prepared``.
    """
    begun = time.perf_counter()
    open_workspace()
    device = best_device()
    for dtype in {best_precision(device), *BOUNDS}:  # attribution's is not always the best
        kernel_for(device, dtype)
    kernel = kernel_for(device, best_precision(device))
    form = kernel.form.name if kernel else f"PyTorch ({device.type})"
    return {"form": form, "prepared": round(time.perf_counter() - begun, 1)}


def run_notebooks(folder: Path | None = None, noted: Mapping[str, Any] | None = None) -> Path:
    """Execute the notebooks ``NN_*.ipynb`` of a folder in order, each in its own kernel.

    Tidy copies go to ``notebooks/`` in the run's output folder, which is returned, whole or not at
    all; their times, with what `prepare` has ``noted``, to ``notebook_times.json``. ``folder``
    is notebooks/ unless given. The first cell that fails is a `NotebookError`; if it raised a
    `UserError`, that one.
    """
    folder = folder or files.NOTEBOOKS
    paths = sorted(folder.glob(NUMBERED))
    if not paths:
        raise UserError(f"There is no notebook named NN_*.ipynb in {folder}.")
    of = {"data": resolve_data_dir().resolve().name, "profile": suitable_profile().name}
    output = settings.output_dir(**of).resolve()
    code, seconds = code_fingerprint(), {}
    shutil.rmtree(output / "notebooks", ignore_errors=True)  # copies of one run, never of two
    for path in paths:
        print(f"{path.stem} …", flush=True)
        start = time.perf_counter()
        notebook = execute(path)
        notebook.metadata["arg_utils"] = {"code": code, **of, "cells": cells_fingerprint(notebook)}
        nbformat.validate(notebook)
        files.write_text(output / "notebooks" / path.name, nbformat.writes(notebook) + "\n")
        seconds[path.stem] = round(time.perf_counter() - start, 1)
        print(f"{path.stem}: {clock(seconds[path.stem])}", flush=True)
    print(f"all notebooks: {clock(sum(seconds.values()))}", flush=True)
    times = {
        **of, "code": code, "date": datetime.date.today().isoformat(), "cores": files.cores(),
        **(noted or {}), "seconds": seconds,
    }  # fmt: skip
    files.write_text(output / TIMES, json.dumps([times], indent=2) + "\n")
    return output


def execute(path: Path) -> NotebookNode:
    """The notebook at ``path``, executed from its first cell in its own folder, and tidied.

    Raises `NotebookError` or `UserError` as `run_notebooks` does.
    """
    notebook = nbformat.read(path, as_version=4)
    # without folders to look in, 'python3' is this interpreter and not another of the user's
    specs = KernelSpecManager(kernel_dirs=[])
    manager = AsyncKernelManager(
        kernel_name="python3", kernel_spec_manager=specs, transport_encryption="auto"
    )
    client = _LiveClient(
        notebook, km=manager, resources={"metadata": {"path": str(path.parent)}}, timeout=None,
        startup_timeout=180, record_timing=False,
    )  # fmt: skip
    try:
        client.run(kernel_environment(os.environ))
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
        if value := kernel.get(name):
            path = Path(value).expanduser()
            if name in ("ARG_OUTPUT", "ARG_CACHE") or path.exists():
                kernel[name] = str(path.resolve())
    before = kernel.get("PYTHONPATH")
    kernel["PYTHONPATH"] = os.pathsep.join(filter(None, [str(files.ROOT), before]))
    return kernel


def _failure(path: Path, notebook: NotebookNode, error: CellExecutionError) -> str:
    """Which cell failed (counting code cells from 1) and the end of its traceback."""
    cells = [cell.outputs for cell in notebook.cells if cell.cell_type == "code"]
    kinds = [{output.output_type for output in outputs} for outputs in cells]
    number = next((n for n, of in enumerate(kinds, start=1) if "error" in of), "?")
    lines = ANSI.sub("", error.traceback).rstrip().splitlines()[-12:]
    return "\n".join([f"{path.name}, code cell {number} of {len(cells)}, failed:", *lines])


def tidy(notebook: NotebookNode) -> NotebookNode:
    """Drop what changes from run to run: progress bars, timings, paths of this machine."""
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    notebook.metadata = {"kernelspec": KERNELSPEC, "language_info": {"name": "python"}}
    for number, cell in enumerate(notebook.cells, start=1):
        cell.setdefault("id", f"cell-{number:02d}")
        tags = cell.metadata.get("tags")
        cell.metadata = {"tags": tags} if tags else {}
        if cell.cell_type == "code":
            cell.outputs = [_without_paths(output) for output in _streams(cell.outputs)]
    return notebook


def _streams(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """Neighbouring pieces of one stream joined, then stderr without bars and downloads."""
    joined: list[NotebookNode] = []
    for output in outputs:
        if output.output_type == "stream" and joined and joined[-1].get("name") == output.name:
            joined[-1].text += output.text
        else:
            joined.append(output)
    for output in joined:
        if output.get("name") == "stderr":
            lines = [line for line in output.text.split("\n") if line and not PROGRESS.search(line)]
            output.text = "".join(f"{line}\n" for line in lines)
    return [output for output in joined if output.get("text") != ""]


def _without_paths(output: NotebookNode) -> NotebookNode:
    """Paths relative to the repository or the home folder, in every text of an output."""
    swaps = ((f"{files.ROOT}/", ""), (str(files.ROOT), "."), (str(Path.home()), "~"))
    texts = output if output.output_type == "stream" else output.get("data", {})
    for kind, text in texts.items():
        if isinstance(text, str) and not kind.startswith("image/"):
            for old, new in swaps:
                text = text.replace(old, new)
            texts[kind] = text
    if "metadata" in output:
        output.metadata = {}
    return output


def clock(seconds: float) -> str:
    """``8 s`` or ``3 min 05 s``."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def report(output: Path) -> None:
    """Print a run's validation macro-F1 and where its submission is, which is checked.

    The submission is also kept in ``output``. Raises `UserError` if it is missing or refused.
    """
    submission, metrics = settings.submission_path(), output / "metrics.json"
    if metrics.is_file():
        print(f"validation macro-F1: {json.loads(metrics.read_text())['val_macro_f1']:.3f}")
    if not submission.is_file():
        raise UserError(f"No submission was written to {submission}; notebook 05 should do that.")
    if submission.resolve() != (output / "submission.csv").resolve():
        shutil.copyfile(submission, output / "submission.csv")
    ids = [record.id for record in load_dataset(parts=("test",)).test]
    check_submission(submission, ids)
    print(f"submission: {submission} ({counted(len(ids), 'protein')}, checked)")


def publish(run: Path = files.RUNS / "open-laptop", root: Path = files.ROOT) -> None:
    """Copy a run's notebooks, figures, numbers and submission over those committed in ``root``.

    ``run`` is the run's output folder. Times are also taken from the runs beside it that are of the
    same data and code, such as those of other forms of the kernel. Raises `UserError` if the run is
    incomplete, or not one of the code and notebooks as they are now.
    """
    _require_current(run / "notebooks", root)
    copies = {
        path: root / folder / path.name
        for pattern, folder in (
            ("notebooks/*.ipynb", "notebooks"), ("figures/*.png", "results"), ("*.json", "results")
        )
        for path in run.glob(pattern)
    }  # fmt: skip
    copies[run / "submission.csv"] = root / "submissions" / "sample_submission.csv"
    for origin, target in copies.items():
        if column := ROWS.get(origin.name):
            rows = json.loads(origin.read_text())
            if origin.name == TIMES:
                rows += _times_beside(run, rows[0])
            of = {row[column] for row in rows}
            old = json.loads(target.read_text()) if target.is_file() else []
            rows += [row for row in old if row[column] not in of]
            files.write_text(target, json.dumps(rows, indent=2) + "\n")
        else:
            with files.atomic_path(target) as temporary:
                shutil.copyfile(origin, temporary)
        print(target.relative_to(root))


def _times_beside(run: Path, own: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Times of the other runs, of the data and code of ``own``, by other forms of the kernel."""
    paths = sorted(set(run.parent.glob(f"*/{TIMES}")) - {run / TIMES})
    kept = [json.loads(path.read_text()) for path in paths]
    rows = [row for times in kept if isinstance(times, list) for row in times]  # 0.1 kept no list
    same = [row for row in rows if all(row[key] == own[key] for key in ("data", "code"))]
    return [row for row in same if row["form"] != own["form"]]


def _require_current(executed: Path, root: Path) -> None:
    code = code_fingerprint(root / "arg_utils")
    for path in sorted((root / "notebooks").glob(NUMBERED)):
        if not (executed / path.name).is_file():
            raise UserError(f"{path.name} was not run to its end; use `make run` first.")
        mark = nbformat.read(executed / path.name, as_version=4).metadata.get("arg_utils", {})
        cells = cells_fingerprint(nbformat.read(path, as_version=4))
        if (mark.get("code"), mark.get("cells")) != (code, cells):
            raise UserError(f"The code has changed since {path.name} ran; use `make run` again.")
