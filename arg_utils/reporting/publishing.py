"""What comes after a run: tell the user what it made, and, for maintainers, commit it."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat

from arg_utils import files
from arg_utils.data.folders import current_output_dir, resolve_data_dir
from arg_utils.errors import UserError
from arg_utils.fingerprint import cells_fingerprint, code_fingerprint
from arg_utils.settings import submission_path


def report() -> None:
    """Print where the submission is, the verdict of its check, and the validation macro-F1.

    The submission is also kept in the run's output folder. A refused one is a `UserError`.
    """
    output, submission = current_output_dir(), submission_path()
    metrics = output / "metrics.json"
    if metrics.is_file():
        print(f"validation macro-F1: {json.loads(metrics.read_text())['val_macro_f1']:.3f}")
    if not submission.is_file():
        raise UserError(f"No submission was written to {submission}; notebook 05 should do that.")
    kept = output / "submission.csv"
    if kept.resolve() != submission.resolve():
        shutil.copyfile(submission, kept)
    command = ["-m", "arg_utils", "check", str(submission), "--data", str(resolve_data_dir())]
    verdict = subprocess.run([sys.executable, *command], check=False)
    if verdict.returncode:
        raise UserError(f"{submission} is not a valid submission.")
    print(f"submission: {submission}")


def publish(run: Path | None = None, root: Path | None = None) -> list[Path]:
    """Copy a run's notebooks, figures, numbers and submission over the committed ones.

    Parameters
    ----------
    run : the run's output folder, by default ``runs/open-laptop``.
    root : the repository, by default this one.

    Returns
    -------
    The files written.

    Raises
    ------
    UserError
        If the run is incomplete, or not one of the code and notebooks as they are now.
    """
    run, root = run or files.RUNS / "open-laptop", root or files.ROOT
    _require_current(run / "notebooks", root)
    copies = {path: root / "notebooks" / path.name for path in (run / "notebooks").glob("*.ipynb")}
    copies |= {path: root / "results" / path.name for path in (run / "figures").glob("*.png")}
    copies |= {path: root / "results" / path.name for path in run.glob("*.json")}
    copies[run / "submission.csv"] = root / "submissions" / "sample_submission.csv"
    for source, target in copies.items():
        _copy(source, target)
        print(target.relative_to(root))
    return list(copies.values())


def _require_current(executed: Path, root: Path) -> None:
    code = code_fingerprint(root / "arg_utils")
    for path in sorted((root / "notebooks").glob("[0-9][0-9]_*.ipynb")):
        copy = executed / path.name
        if not copy.is_file():
            raise UserError(f"{path.name} was not run to its end; use `make run` first.")
        mark = nbformat.read(copy, as_version=4).metadata.get("arg_utils", {})
        now = cells_fingerprint(nbformat.read(path, as_version=4))
        if (mark.get("code"), mark.get("cells")) != (code, now):
            raise UserError(f"The code has changed since {path.name} ran; use `make run` again.")


def _copy(source: Path, target: Path) -> None:
    """Copy a file; ``results.json`` keeps the rows that other profiles have put there."""
    if source.name == "results.json" and target.is_file():
        rows = json.loads(source.read_text())
        profiles = {row.get("profile") for row in rows}
        others = [r for r in json.loads(target.read_text()) if r.get("profile") not in profiles]
        files.write_text(target, json.dumps(rows + others, indent=2) + "\n")
        return
    with files.atomic_path(target) as temporary:
        shutil.copyfile(source, temporary)
