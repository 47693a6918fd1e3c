"""What is trained, how long, and on how much: frozen settings with five named profiles.

Also where a run writes: ``runs/<data>-<profile>/``, or the folder ``ARG_OUTPUT`` names.
"""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from arg_utils import files
from arg_utils.errors import UserError

SEED_VAL_F1 = 0.93  # macro-F1 on validation that the course report gives for this protocol


@dataclass(frozen=True)
class StagedTraining:
    """The course's protocol for a classifier layer on frozen features (see `course`)."""

    learning_rates: tuple[float, ...] = (1e-3, 1e-4, 1e-5)
    epochs: int = 15
    batch_size: int = 4
    max_per_class: int | None = None


@dataclass(frozen=True)
class LoraClassifier:
    """LoRA on the trained classifier layer, with the course's numbers."""

    r: int = 8
    alpha: int = 32
    dropout: float = 0.1


@dataclass(frozen=True)
class LoraBlocks:
    """LoRA inside the transformer blocks, trained end to end (see `finetuning`)."""

    r: int = 8
    alpha: int = 16
    dropout: float = 0.0  # on two cores, its random numbers take a fifth of a training step
    modules: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2")
    top_blocks: int = 3
    learning_rate: float = 1e-3
    head_learning_rate: float = 1e-3
    warmup: float = 0.1
    weight_decay: float = 0.01
    epochs: int = 2
    batch_tokens: int = 4096
    max_per_class: int | None = 128  # cap per class on an epoch's sample, drawn anew each epoch
    watch_per_class: int | None = 30  # cap per class on the validation proteins scored each epoch
    folds: tuple[int, ...] = (0,)  # homology folds tested: training is expensive


# All six blocks are trained themselves, at a tenth of LoRA's learning rate.
_ALL_BLOCKS = LoraBlocks(r=0, top_blocks=6, learning_rate=1e-4)


@dataclass(frozen=True)
class Profile:
    """Everything a run needs to know besides the data and the weights."""

    name: str
    seed: int = 0
    staged: StagedTraining = StagedTraining()
    lora_classifier: LoraClassifier = LoraClassifier()
    lora_blocks: LoraBlocks = LoraBlocks()
    full_finetuning: LoraBlocks = _ALL_BLOCKS
    max_records: int | None = None  # cap per class on the whole data set: only to try things out
    seeds: tuple[int, ...] = (0,)
    homology_folds: tuple[int, ...] = (0, 1, 2, 3, 4)  # which are tested
    genome_step: int = 1  # one gene in so many is screened where a notebook screens genomes


# An hour on two cores for both splits: does more training than a laptop's pay?
_LONGER: dict[str, Any] = {"epochs": 3, "max_per_class": 256, "watch_per_class": 60}
_WHOLE: dict[str, Any] = {"max_per_class": None, "watch_per_class": None, "batch_tokens": 16384,
          "folds": (0, 1, 2, 3, 4)}  # fmt: skip

PROFILES: dict[str, Profile] = {
    "smoke": Profile(
        "smoke",
        staged=StagedTraining(epochs=2, max_per_class=8),
        lora_blocks=LoraBlocks(epochs=1, max_per_class=4, watch_per_class=4),
        full_finetuning=replace(_ALL_BLOCKS, epochs=1, max_per_class=4, watch_per_class=4),
        max_records=12,
        homology_folds=(0,),
        genome_step=40,
    ),
    "short": Profile(
        "short", lora_blocks=LoraBlocks(max_per_class=32, watch_per_class=15), genome_step=8
    ),
    "laptop": Profile("laptop"),
    "longer": Profile(
        "longer",
        lora_blocks=LoraBlocks(**_LONGER),
        full_finetuning=replace(_ALL_BLOCKS, **_LONGER),
        homology_folds=(0,),  # where blocks are trained: all methods on the same proteins
    ),
    "full": Profile(
        "full",
        lora_blocks=LoraBlocks(top_blocks=6, epochs=12, **_WHOLE),
        full_finetuning=replace(_ALL_BLOCKS, epochs=12, **_WHOLE),
        seeds=(0, 1, 2),
    ),
}


def named_profile() -> str | None:
    """The name in ``ARG_PROFILE``, if there is one."""
    return os.environ.get("ARG_PROFILE") or None


def load_profile(name: str | None = None) -> Profile:
    """The profile called ``name``, else the one ``ARG_PROFILE`` names, else ``laptop``."""
    name = name or named_profile() or "laptop"
    if name not in PROFILES:
        raise UserError(f"There is no profile {name!r}; choose one of {', '.join(PROFILES)}.")
    return PROFILES[name]


def output_dir(data: str, profile: str) -> Path:
    """The folder of a run's results: ``ARG_OUTPUT``, else ``runs/<data>-<profile>``.

    So smoke runs and other data never overwrite each other's. Made if missing.
    """
    return _output(files.RUNS / f"{data}-{profile}")


def submission_path() -> Path:
    """``submission.csv`` in ``ARG_OUTPUT`` (a test run leaves yours), else in ``submissions/``."""
    return _output(files.SUBMISSIONS) / "submission.csv"


def _output(default: Path) -> Path:
    return files.writable_folder(os.environ.get("ARG_OUTPUT") or default, "ARG_OUTPUT")
