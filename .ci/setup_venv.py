"""Make .venv hold what requirements.txt asks for, whatever state it is in. Standard library only.

What requirements.lock lists, everything but PyTorch, is installed first, each file of the SHA-256
that is noted there or not at all; then the rest.

A stamp records the folder, the Python and the files it was made from: if they still agree
there is nothing to do, and no network is needed. A mark lies in .venv while it is being changed;
found at the start, it says that an earlier attempt was interrupted, and .venv is made anew.
"""

import fcntl
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ("requirements.txt", "requirements.lock", "pyproject.toml")


def version_of(python: Path) -> str | None:
    """The version of an interpreter, None if it does not run."""
    command = [str(python), "-c", "import platform; print(platform.python_version())"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return answer.stdout.strip()


def wanted(root: Path, version: str) -> str:
    """What the stamp of an up-to-date .venv says."""
    texts = [(root / name).read_text(encoding="utf-8") for name in SOURCES]
    return "\n".join([f"folder {root}", f"python {version}", *texts])


def state(root: Path, exactly: bool = False) -> str:
    """``ready``, ``outdated`` (install into it) or ``unusable`` (make it anew).

    With ``exactly``, a .venv of another Python than this one is unusable.
    """
    venv = root / ".venv"
    version = version_of(venv / "bin" / "python")
    stamp = venv / ".stamp"
    said = stamp.read_text(encoding="utf-8") if stamp.is_file() else ""
    interrupted = (venv / ".changing").exists()
    moved = bool(said) and not said.startswith(f"folder {root}\n")
    other = exactly and version != platform.python_version()
    if version is None or interrupted or moved or other:
        return "unusable"
    return "ready" if said == wanted(root, version) else "outdated"


def prepare(root: Path, exactly: bool = False) -> None:
    """Bring ``root/.venv`` up to date."""
    now, venv = state(root, exactly), root / ".venv"
    if now == "ready":
        return
    mark, python = venv / ".changing", venv / "bin" / "python"
    if now == "unusable":
        shutil.rmtree(venv, ignore_errors=True)
    venv.mkdir(exist_ok=True)
    mark.touch()
    if now == "unusable":
        print("Making .venv …", flush=True)
        call(sys.executable, "-m", "venv", str(venv))
    print("Installing requirements.txt into .venv (the first time takes minutes) …", flush=True)
    pip = (str(python), "-m", "pip", "install", "--disable-pip-version-check")
    quiet = () if sys.stdout.isatty() else ("--quiet",)  # a person sees how far it is
    hashed = ("--no-deps", "--require-hashes", "-r", str(root / "requirements.lock"))
    call(*pip, *quiet, *hashed)
    call(*pip, *quiet, "-r", str(root / "requirements.txt"))
    call(*pip, "--quiet", "--no-deps", "--no-build-isolation", "-e", str(root))
    stamp = wanted(root, version_of(python) or "")
    (venv / ".stamp").write_text(stamp, encoding="utf-8")
    mark.unlink()


def call(*command: str) -> None:
    """Run a command, and end with its exit code if it fails: it has said why."""
    code = subprocess.run(command, check=False).returncode
    if code:
        print("Setting up .venv failed, see above; the next `make` starts it anew.")
        sys.exit(code)


def wait_for_others(lock: IO[str]) -> None:
    """Of two `make`s at once the second waits; on some network homes there are no locks."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
    except OSError as error:
        print(f"This folder has no file locks ({error.strerror}): run one `make` at a time.")


if __name__ == "__main__":
    with open(ROOT / "requirements.txt") as lock:
        wait_for_others(lock)
        try:
            prepare(ROOT, exactly="--exactly" in sys.argv)
        except KeyboardInterrupt:
            sys.exit(130)
