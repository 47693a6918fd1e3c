"""Where a run writes: ``runs/<data>-<profile>/``, or the folder ``ARG_OUTPUT`` names."""

import os
from pathlib import Path

from arg_utils import paths


def output_dir(data: str | None = None, profile: str | None = None) -> Path:
    """The folder of a run's results, made if missing.

    ``ARG_OUTPUT`` if set, else ``runs/<data>-<profile>``, so that smoke runs and other data
    never overwrite each other's results.

    Parameters
    ----------
    data : name of the data set, such as ``open``; by default that of `data_name`.
    profile : ``smoke``, ``laptop``, ``longer`` or ``full``; by default that of `profile_name`.
    """
    named = os.environ.get("ARG_OUTPUT")
    if named:
        folder = Path(named)
    else:
        folder = paths.RUNS / f"{data or data_name()}-{profile or profile_name()}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def submission_path() -> Path:
    """Where the submission goes: ``submissions/submission.csv``, its folder made if missing.

    With ``ARG_OUTPUT`` set it is ``submission.csv`` in there, so that a test run leaves yours.
    """
    named = os.environ.get("ARG_OUTPUT")
    folder = Path(named) if named else paths.SUBMISSIONS
    folder.mkdir(parents=True, exist_ok=True)
    return folder / "submission.csv"


def data_name() -> str:
    """The name of the data in use: the last part of their folder."""
    from arg_utils.data_source import resolve_data_dir  # here: plots alone need no data

    return Path(resolve_data_dir()).resolve().name


def profile_name() -> str:
    """The name of the profile in use."""
    from arg_utils.config import load_profile

    return load_profile().name
