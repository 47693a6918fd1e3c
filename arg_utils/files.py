"""Where files lie, how they are written (whole or not at all), and checkpoints of what is done."""

import errno
import hashlib
import io
import os
import secrets
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from arg_utils.errors import UserError

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "arg_utils"
DATA = ROOT / "data"
RUNS = ROOT / "runs"
RESULTS = ROOT / "results"
NOTEBOOKS = ROOT / "notebooks"
SUBMISSIONS = ROOT / "submissions"


def cache_dir(*parts: str) -> Path:
    """The folder for downloads and embeddings, made if missing.

    ``ARG_CACHE`` names it; else ``$XDG_CACHE_HOME/arg-utils``, else ``~/.cache/arg-utils``.
    `UserError` if it cannot be made or written to.
    """
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    folder = os.environ.get("ARG_CACHE") or Path(home) / "arg-utils"
    return writable_folder(folder, "ARG_CACHE", *parts)


def writable_folder(folder: Path | str, variable: str, *parts: str) -> Path:
    """A folder, made if missing; ``~`` is the home folder, ``variable`` what may name another.

    `UserError` if it cannot be made or written to.
    """
    reason = ""
    try:
        folder = Path(folder).expanduser().joinpath(*parts)
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError) as error:  # RuntimeError: a user without a home folder
        reason = getattr(error, "strerror", None) or str(error)
    if not reason and not os.access(folder, os.W_OK | os.X_OK):
        reason = "it may not be written to"
    if reason:
        raise UserError(f"{folder} cannot be used ({reason}); name another folder in {variable}.")
    return Path(folder)


def expanded(path: Path | str, variable: str) -> Path:
    """A path that a variable of the environment names, with ``~`` as the home folder.

    `UserError` if there is no such user, or no home folder.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        what = f"{variable}={path} names the home folder of nobody here"
        raise UserError(f"{what}; give the whole path.") from None


def cores() -> int:
    """Cores this process may use, at least 1: what every thread count here follows.

    The least of its CPU affinity, its container's quota (cgroups) and ``OMP_NUM_THREADS``.
    """
    import joblib  # here: most of what writes files needs none

    count = joblib.cpu_count()
    wanted = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    if wanted.isdecimal():  # anything else OpenMP ignores too
        count = min(count, int(wanted))
    return max(1, count)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Let one process at a time run the block, by a lock file.

    Where the file system has no locks, as some network homes, a sentence says so and it runs.
    """
    lock = FileLock(path)
    try:
        lock.acquire()
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP):
            raise
        print(f"{path.parent} has no file locks: run one command at a time.", file=sys.stderr)
    try:
        yield
    finally:
        lock.release()


@contextmanager
def atomic_path(target: Path | str) -> Iterator[Path]:
    """A temporary path whose file replaces ``target`` when the block ends without an error.

    A reader, or a second process, sees the old file or the new one, never a part of it. Of a link
    the file it points to is replaced. A terminal, ``/dev/null`` or a pipe stays what it is, and is
    written to.

    `UserError` if ``target`` is a folder, or anything else that is no file, or may not be written.
    """
    target = Path(target)
    check_writable(target)
    before = target.stat().st_mode if target.exists() else None
    stream = before is not None and not stat.S_ISREG(before)
    place = Path(tempfile.gettempdir(), "output") if stream else Path(os.path.realpath(target))
    place.parent.mkdir(parents=True, exist_ok=True)
    temporary = place.with_name(f".{place.name[:40]}.{secrets.token_hex(4)}")
    temporary.touch(exist_ok=False)
    try:
        yield temporary
        if stream:
            with open(temporary, "rb") as source, open(target, "wb") as sink:
                shutil.copyfileobj(source, sink)
        else:
            if before is not None:
                os.chmod(temporary, stat.S_IMODE(before))
            os.replace(temporary, place)
    except OSError as error:  # a full disk, say: of the file, not of one nobody has heard of
        error.filename = str(target) if error.filename in (None, str(temporary)) else error.filename
        raise
    finally:
        temporary.unlink(missing_ok=True)


def check_writable(target: Path | str) -> None:
    """Whether a file can be written there; asked before the work whose result it is to hold.

    `UserError` if it is a folder, or anything else that is no file, or may not be written.
    """
    place = Path(os.path.realpath(target))
    if place.is_symlink():
        raise UserError(f"{target} is a link that leads in a circle; name a file to write.")
    if place.exists():
        mode = place.stat().st_mode
        stream = stat.S_ISCHR(mode) or stat.S_ISFIFO(mode)
        if not stream and not stat.S_ISREG(mode):
            what = "a folder" if stat.S_ISDIR(mode) else "no file"
            raise UserError(f"{target} is {what}; name a file to write.")
        if stream and os.access(place, os.W_OK):
            return
    there = next(folder for folder in place.parents if folder.exists())
    if not there.is_dir():
        raise UserError(f"{target} cannot be written: {there} is a file; name another place.")
    if not _takes_files(there):
        what = f"{target} cannot be written: {there} may not be written to"
        raise UserError(f"{what}; name a file elsewhere, or correct its permissions.")


def check_not_read(target: Path, read: Iterable[Path]) -> None:
    """A `UserError` if ``target`` is one of the files that the same command reads."""
    if target.exists() and any(path.exists() and target.samefile(path) for path in read):
        raise UserError(f"{target} is to be read, and would be written over; name another file.")


def _takes_files(folder: Path) -> bool:
    """Whether files can be made there: some folders, as ``/proc``, permit it and fail."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return os.access(folder, os.W_OK | os.X_OK)
    except OSError:
        return False


def write_text(target: Path | str, text: str) -> Path:
    """Write ``text`` to ``target`` atomically, as UTF-8 with ``\\n`` line ends."""
    with atomic_path(target) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")
    return Path(target)


def save_checkpoint(path: Path, key: str, content: dict[str, Any]) -> None:
    """Keep ``content`` (tensors, numbers, strings, and lists and dicts of them) under ``key``.

    The file starts with the SHA-256 of the rest: ``torch.load`` does not notice a changed number.
    """
    import torch  # here: most of what writes files needs no PyTorch

    buffer = io.BytesIO()
    torch.save({"key": key, "content": content}, buffer)
    with atomic_path(path) as temporary:
        temporary.write_bytes(hashlib.sha256(buffer.getvalue()).digest() + buffer.getvalue())


def load_checkpoint(path: Path, key: str) -> dict[str, Any] | None:
    """The content saved under this ``key``; ``None`` if none is, or if it is damaged."""
    import torch  # here: most of what writes files needs no PyTorch

    if not path.is_file():
        return None
    data = path.read_bytes()
    digest, content = data[:32], data[32:]
    if hashlib.sha256(content).digest() != digest:
        return None  # damaged: the work is done again
    saved = torch.load(io.BytesIO(content), weights_only=True)
    return saved["content"] if saved["key"] == key else None


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file, as 64 hex digits."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def save_arrays(path: Path | str, arrays: Mapping[str, np.ndarray], **metadata: str) -> None:
    """Write named arrays as safetensors, whole or not at all."""
    with atomic_path(path) as temporary:
        contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        save_file(contiguous, temporary, metadata or None)


def load_arrays(path: Path | str, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Arrays of these names and shapes, as `save_arrays` wrote them.

    Raises
    ------
    UserError
        If the file is missing or damaged, or holds other arrays.
    """
    try:
        arrays = load_file(path)
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path} cannot be read as saved parameters ({error}).") from error
    held = {name: array.shape for name, array in arrays.items()}
    differing = [name for name in {**held, **shapes} if held.get(name) != shapes.get(name)]
    if differing:
        raise UserError(f"{path} does not belong to this model: they differ in {min(differing)}.")
    return arrays
