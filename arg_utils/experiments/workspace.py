"""What every notebook works on: the data, the weights, the profile, and the folder for results."""

import json
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import pandas as pd

from arg_utils.data.folders import DataSet, leakage_warnings, load_dataset, splits_for
from arg_utils.data.proteins import Proteins, Record, capped, proteins
from arg_utils.esm2.weights import Weights, load_weights
from arg_utils.files import write_text
from arg_utils.methods.base import joined
from arg_utils.methods.classifier import trains_quickly
from arg_utils.settings import Profile, load_profile, named_profile, output_dir


@dataclass(frozen=True)
class Workspace:
    """Data, weights and profile of one run; see `open_workspace`."""

    data: DataSet
    weights: Weights
    profile: Profile
    folder: Path

    @cached_property
    def train(self) -> Proteins:
        """The training part, capped in profiles that only try things out."""
        return capped(proteins(self.data.train), self.profile)

    @cached_property
    def val(self) -> Proteins:
        """The validation part, capped likewise."""
        return capped(proteins(self.data.val), self.profile)

    @cached_property
    def test(self) -> Proteins | None:
        """The labelled test part, capped likewise; ``None`` where its labels are not known."""
        if self.data.test_labels is None:
            return None
        return capped(proteins(self.data.test, self.data.test_labels), self.profile)

    @property
    def scored_part(self) -> str:
        """Which part final scores are of: ``test`` if its labels are known, else ``val``."""
        return "val" if self.test is None else "test"

    @property
    def scored(self) -> Proteins:
        """The proteins final scores are of."""
        return self.val if self.test is None else self.test

    @property
    def references(self) -> Proteins:
        """What the scored proteins may be compared with: training and, if tested, validation."""
        return self.train if self.test is None else joined(self.train, self.val)

    @cached_property
    def labelled(self) -> tuple[list[Record], pd.DataFrame]:
        """All labelled records and the table of both splits, row for row."""
        return splits_for(self.data)

    @property
    def tested_folds(self) -> list[int]:
        """The homology folds the profile tests, as far as the data have them."""
        existing = set(self.labelled[1]["fold"])
        return [fold for fold in self.profile.homology_folds if fold in existing]

    @property
    def figures(self) -> Path:
        """The folder of figures."""
        return self.folder / "figures"

    def save_json(self, name: str, content: object) -> None:
        """Write ``content`` to the file ``name`` in the folder of results."""
        write_text(self.folder / name, json.dumps(content, indent=1) + "\n")

    @property
    def source(self) -> dict[str, str]:
        """Which data, weights and profile a result is of."""
        data = f"{self.data.name} [{self.data.identity[:8]}]"
        return {"data": data, "weights": self.weights.name, "profile": self.profile.name}

    def provenance(self, command: str) -> dict[str, str]:
        """What every result file begins with: the command that wrote it, and `source`."""
        return {"command": command, **self.source}

    def describe(self) -> str:
        """The lines that say which data and which weights results are of."""
        parts = ", ".join(f"{len(getattr(self.data, p)):,} {p}" for p in ("train", "val", "test"))
        lines = [
            f"data:    {self.data.name} [{self.data.identity[:8]}]: {parts} proteins",
            f"weights: ESM-2 8M, {self.weights.name}",
            f"profile: {self.profile.name}, seed {self.profile.seed}",
        ]
        if self.profile.max_records:
            lines.append(f"         (only {self.profile.max_records} proteins per class are used)")
        if self.profile.name == "short":
            cap = self.profile.lora_blocks.max_per_class
            most = load_profile("laptop").lora_blocks.max_per_class
            what = f"in the blocks trains on {cap} proteins per class at most, not {most}"
            lines.append(f"         (LoRA {what}: ARG_PROFILE=laptop takes longer)")
        return "\n".join(lines + [f"note:    {text}" for text in leakage_warnings(self.data)])


def suitable_profile(name: str | None = None) -> Profile:
    """The profile named here or by ``ARG_PROFILE``, else what this machine trains in minutes.

    That is ``laptop``, or ``short`` where a training step proves slow.
    """
    named = name or named_profile()
    return load_profile(named or ("laptop" if trains_quickly() else "short"))


def open_workspace(seed: int | None = None) -> Workspace:
    """Find data, weights and profile (``ARG_DATA``, ``ARG_ESM2_WEIGHTS``, ``ARG_PROFILE``).

    Prints which they are; `UserError` if any of them cannot be had.
    """
    profile = suitable_profile()
    if seed is not None:
        profile = replace(profile, seed=seed)
    data = load_dataset()
    work = Workspace(data, load_weights(), profile, output_dir(data.name, profile.name))
    print(work.describe())
    return work
