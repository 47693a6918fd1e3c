"""Where things lie on disk, and how files are written: whole or not at all."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "data"
RUNS = ROOT / "runs"
RESULTS = ROOT / "results"
NOTEBOOKS = ROOT / "notebooks"
SUBMISSIONS = ROOT / "submissions"


def cache_dir(*parts: str) -> Path:
    """The folder for downloads and embeddings, made if missing.

    ``ARG_CACHE`` names it; else ``$XDG_CACHE_HOME/arg-utils``, else ``~/.cache/arg-utils``.
    """
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(os.environ.get("ARG_CACHE") or Path(home) / "arg-utils").joinpath(*parts)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def atomic_path(target: Path | str) -> Iterator[Path]:
    """A temporary path beside ``target`` that replaces it when the block ends without an error.

    A reader, or a second process, sees the old file or the new one, never a part of it.
    """
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        os.chmod(temporary, 0o644)  # mkstemp gives 0600; these are ordinary files
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(target: Path | str, text: str) -> Path:
    """Write ``text`` to ``target`` atomically, as UTF-8 with ``\\n`` line ends."""
    with atomic_path(target) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")
    return Path(target)
