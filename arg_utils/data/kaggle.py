"""The competition's files fetched and a submission uploaded, by Kaggle's own command-line client.

The client is no requirement of this library: ``requirements-kaggle.txt`` installs it. It signs in
as its own documentation says; no credentials are read here.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from zipfile import BadZipFile, ZipFile

from arg_utils.data.folders import kaggle_folder, load_dataset
from arg_utils.data.submission import check_submission
from arg_utils.errors import UserError
from arg_utils.files import DATA, atomic_path
from arg_utils.homology.splits import PARTS

COMPETITION = "aist4010-spring2024-a2"
PAGE = f"https://www.kaggle.com/competitions/{COMPETITION}"
# What the client's words mean and what to do; the first that fits counts.
FAULTS = {
    ("max retries", "connection", "resolve", "timed out"): (
        "Kaggle cannot be reached from here; try again with a network, or use its pages"
    ),
    ("forbidden", "must accept"): f"Kaggle refuses; first accept the rules on {PAGE}/rules",
    ("authenticat", "kaggle.json", "unauthorized"): (
        "Kaggle does not know who you are; make an API token on https://www.kaggle.com/settings "
        "and keep it where it says there"
    ),
}


def run_client(*arguments: str) -> str:
    """What ``kaggle competitions ARGUMENTS`` prints.

    `UserError` if there is no client, or it fails: with the reason and what to do, or its last
    words.
    """
    beside = Path(sys.executable).parent
    path = f"{os.environ.get('PATH', os.defpath)}{os.pathsep}{beside}"
    program = shutil.which("kaggle", path=path)
    if program is None:
        install = "python -m pip install -r requirements-kaggle.txt"
        raise UserError(f"Kaggle's client is not installed; `{beside}/{install}` installs it.")
    done = subprocess.run(
        [program, "competitions", *arguments], capture_output=True, text=True,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    said = f"{done.stderr}\n{done.stdout}".strip()
    if done.returncode:
        raise UserError(f"{_reason(said)}.")
    return done.stdout.strip()


def _reason(said: str) -> str:
    for words, reason in FAULTS.items():
        if any(word in said.lower() for word in words):
            return reason
    lines = said.splitlines() or ["it said nothing"]
    telling = lines[-1] if lines[0].startswith("Traceback") else lines[0]
    return f"Kaggle's client failed ({telling}); see {PAGE}"


def fetch() -> Path:
    """Put the competition's three files into ``data/kaggle``, once they have been read whole.

    `UserError` as `run_client` does, or if a file is missing or at fault; nothing is written then.
    """
    with tempfile.TemporaryDirectory(prefix="arg-kaggle-") as name:
        folder, flat = Path(name), Path(name, "flat")
        run_client("download", COMPETITION, "-p", name, "-q")
        for archive in folder.glob("*.zip"):
            try:
                ZipFile(archive).extractall(folder)
            except (BadZipFile, OSError) as error:
                raise UserError(f"Kaggle's archive is damaged ({error}); try again.") from None
        flat.mkdir()
        for part in PARTS:  # the archive may have folders
            for path in folder.rglob(f"{part}.fasta"):
                shutil.move(path, flat / path.name)
        load_dataset(flat)
        for path in flat.iterdir():
            with atomic_path(DATA / "kaggle" / path.name) as temporary:
                shutil.copyfile(path, temporary)
    return DATA / "kaggle"


def upload(path: Path, message: str) -> str:
    """Upload a submission, once it is found valid for the competition's own test file.

    Returns what Kaggle's client says. Raises `UserError` as `check_submission` and `run_client` do.
    """
    folder = kaggle_folder()
    if not (folder / "test.fasta").is_file():
        raise UserError(f"{folder} lacks test.fasta; `make kaggle-data` fetches it.")
    check_submission(path, [record.id for record in load_dataset(folder, parts=("test",)).test])
    return run_client("submit", COMPETITION, "-f", str(path), "-m", message)
