"""A checkpoint is used when it is whole and of these very settings, and not otherwise."""

import os

import numpy as np
import pytest
import torch

from arg_utils.files import fingerprint, load_checkpoint, save_checkpoint
from arg_utils.settings import StagedTraining

CONTENT = {
    "state": {"weight": torch.arange(6.0).reshape(2, 3), "half": torch.ones(2).bfloat16()},
    "score": 0.25,
    "history": [{"epoch": 1, "loss": float("nan"), "best": True, "name": "a"}],
}


@pytest.fixture
def path(tmp_path):
    save_checkpoint(tmp_path / "deep" / "one.pt", "key", CONTENT)
    return tmp_path / "deep" / "one.pt"


def test_what_was_kept_comes_back(path):
    found = load_checkpoint(path, "key")
    assert torch.equal(found["state"]["weight"], CONTENT["state"]["weight"])
    assert torch.equal(found["state"]["half"], CONTENT["state"]["half"])
    assert found["score"] == 0.25
    assert np.isnan(found["history"][0].pop("loss"))
    assert found["history"] == [{"epoch": 1, "best": True, "name": "a"}]
    assert os.listdir(path.parent) == ["one.pt"]


def test_another_key_or_no_file_gives_nothing(path):
    assert load_checkpoint(path, "other") is None
    assert load_checkpoint(path.with_name("two.pt"), "key") is None


def test_no_damage_goes_unnoticed(path):
    """``torch.load`` takes a flipped bit in a number for the number, and stumbles over others."""
    whole = path.read_bytes()
    harmed = [whole[:n] for n in range(0, len(whole), 41)]
    for place in range(0, len(whole), 23):
        harmed.append(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
    for content in (*harmed, b"junk", whole + b"\0"):
        path.write_bytes(content)
        assert load_checkpoint(path, "key") is None
    path.write_bytes(whole)
    assert load_checkpoint(path, "key") is not None


def test_fingerprints_tell_settings_and_data_apart():
    parts = [
        (1, "a"), (1, "b"), ("1", "a"), (1, "a", None), ((1, "a"),),
        (StagedTraining(),), (StagedTraining(epochs=3),), (b"ab",), ("ab",),
    ]  # fmt: skip
    found = [fingerprint(*p) for p in parts]
    assert len(set(found)) == len(parts)
    assert found == [fingerprint(*p) for p in parts]
    assert all(len(f) == 16 and int(f, 16) >= 0 for f in found)
