"""Where things lie on disk, and how files are written: whole or not at all.

Also finished parts of long work, kept so that an interrupted run goes on: checkpoints.
"""

import hashlib
import io
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

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
