"""Finished parts of long work, kept whole or not at all, so that an interrupted run goes on."""

import hashlib
import io
from pathlib import Path
from typing import Any

import torch

from arg_utils.paths import atomic_path


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
    buffer = io.BytesIO()
    torch.save({"key": key, "content": content}, buffer)
    with atomic_path(path) as temporary:
        temporary.write_bytes(hashlib.sha256(buffer.getvalue()).digest() + buffer.getvalue())


def load_checkpoint(path: Path, key: str) -> dict[str, Any] | None:
    """What was kept under this ``key``; ``None`` if nothing, or if it is damaged or of another."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    digest, content = data[:32], data[32:]
    if hashlib.sha256(content).digest() != digest:
        return None  # damaged: the work is done again
    found = torch.load(io.BytesIO(content), weights_only=True)
    return found["content"] if found["key"] == key else None
