"""Where things lie on disk, and how files are written: whole or not at all.

Also finished parts of long work, kept so that an interrupted run goes on: checkpoints.
"""

import hashlib
import io
import math
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from arg_utils.errors import UserError

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "data"
RUNS = ROOT / "runs"
RESULTS = ROOT / "results"
NOTEBOOKS = ROOT / "notebooks"
SUBMISSIONS = ROOT / "submissions"
CGROUPS = Path("/sys/fs/cgroup")


def cache_dir(*parts: str) -> Path:
    """The folder for downloads and embeddings, made if missing.

    ``ARG_CACHE`` names it; else ``$XDG_CACHE_HOME/arg-utils``, else ``~/.cache/arg-utils``.
    """
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(os.environ.get("ARG_CACHE") or Path(home) / "arg-utils").joinpath(*parts)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def cores() -> int:
    """Cores this process may use, at least 1: what every thread count here follows.

    The least of its CPU affinity, its cgroup's quota (a container's, a batch job's) and
    ``OMP_NUM_THREADS``.
    """
    try:
        limits = [len(os.sched_getaffinity(0))]
    except AttributeError:  # not Linux
        limits = [os.cpu_count() or 1]
    limits += [math.ceil(quota) for quota in _cgroup_quotas()]
    wanted = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    if wanted.isdecimal():  # anything else OpenMP ignores too
        limits.append(int(wanted))
    return max(1, min(limits))


def _cgroup_quotas() -> Iterator[float]:
    """Quotas in cores: of this process's cgroup (version 2) and those above it, or of version 1."""
    try:
        own = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        own = []
    paths = [line.removeprefix("0::").strip("/") for line in own if line.startswith("0::")] or [""]
    leaf = CGROUPS / paths[0]
    for folder in (leaf, *leaf.parents):
        if folder.is_relative_to(CGROUPS):
            yield from _quota(folder / "cpu.max")
    yield from _quota(CGROUPS / "cpu/cpu.cfs_quota_us", CGROUPS / "cpu/cpu.cfs_period_us")


def _quota(*files: Path) -> Iterator[float]:
    """Quota over period, both in microseconds; nothing where there is no limit."""
    try:
        quota, period = (float(word) for file in files for word in file.read_text().split())
    except (OSError, ValueError):  # no such file, or "max"
        return
    if quota > 0 < period:
        yield quota / period


@contextmanager
def atomic_path(target: Path | str) -> Iterator[Path]:
    """A temporary path whose file replaces ``target`` when the block ends without an error.

    A reader, or a second process, sees the old file or the new one, never a part of it. Of a link
    the file it points to is replaced. A terminal, ``/dev/null`` or a pipe stays what it is, and is
    written to.

    Raises
    ------
    UserError
        If ``target`` is a folder, or anything else that is no file.
    """
    target = Path(target)
    before = target.stat().st_mode if target.exists() else stat.S_IFREG | 0o644
    stream = stat.S_ISCHR(before) or stat.S_ISFIFO(before)
    if not stream and not stat.S_ISREG(before):
        what = "a folder" if stat.S_ISDIR(before) else "no file"
        raise UserError(f"{target} is {what}; name a file to write.")
    place = Path(tempfile.gettempdir(), "output") if stream else Path(os.path.realpath(target))
    place.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=place.parent, prefix=f".{place.name}.")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        if stream:
            with open(temporary, "rb") as source, open(target, "wb") as sink:
                shutil.copyfileobj(source, sink)
        else:
            os.chmod(temporary, stat.S_IMODE(before))  # mkstemp gives 0600
            os.replace(temporary, place)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(target: Path | str, text: str) -> Path:
    """Write ``text`` to ``target`` atomically, as UTF-8 with ``\\n`` line ends."""
    with atomic_path(target) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")
    return Path(target)


def fingerprint(*parts: Any) -> str:
    """16 hex digits that change when any of ``parts`` (bytes, or a stable ``repr``) does."""
    digest = hashlib.sha256()
    for part in parts:
        content = part if isinstance(part, bytes) else repr(part).encode()
        digest.update(hashlib.sha256(content).digest())
    return digest.hexdigest()[:16]


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
    """What was kept under this ``key``; ``None`` if nothing, or if it is damaged or of another."""
    import torch  # here: most of what writes files needs no PyTorch

    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    digest, content = data[:32], data[32:]
    if hashlib.sha256(content).digest() != digest:
        return None  # damaged: the work is done again
    found = torch.load(io.BytesIO(content), weights_only=True)
    return found["content"] if found["key"] == key else None
