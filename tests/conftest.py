"""Fixtures shared by all test modules."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def open_data() -> Path:
    """The folder of the open data set; built if need be, else found within milliseconds."""
    from arg_utils.open_dataset import ensure_open_data

    return ensure_open_data()


@pytest.fixture
def own_cache(tmp_path, monkeypatch) -> Path:
    """An empty cache for one test, so that nothing found there was left by another."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("ARG_CACHE", str(folder))
    return folder
