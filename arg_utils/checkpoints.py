"""Finished parts of long work, kept whole or not at all, so that an interrupted run goes on."""

import hashlib
import json
import pickle
from pathlib import Path
from typing import Any

import torch

from arg_utils.paths import atomic_path


def fingerprint(*parts: Any) -> str:
    """16 hex digits that change when any of ``parts`` (anything with a stable ``repr``) does."""
    return hashlib.sha256(json.dumps([repr(p) for p in parts]).encode()).hexdigest()[:16]


def save_checkpoint(path: Path, key: str, content: dict[str, Any]) -> None:
    """Keep ``content`` (tensors, numbers, strings, and lists and dicts of them) under ``key``."""
    with atomic_path(path) as temporary:
        torch.save({"key": key, "content": content}, temporary)


def load_checkpoint(path: Path, key: str) -> dict[str, Any] | None:
    """What was kept under this ``key``; ``None`` if nothing, or if it belongs to other settings."""
    try:
        found = torch.load(path, weights_only=True)
    except (FileNotFoundError, EOFError, RuntimeError, pickle.UnpicklingError):
        return None  # absent or damaged: the work is done again
    return found["content"] if isinstance(found, dict) and found.get("key") == key else None
