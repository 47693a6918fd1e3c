"""Small data folders in the competition's format, and workspaces on them."""

from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import synthetic

from arg_utils.data import folders
from arg_utils.experiments.workspace import Workspace, open_workspace
from arg_utils.homology import splits
from arg_utils.labels import CLASSES, INDEX, NONARG

EMPTY = INDEX["rifampin"]  # a class without a single protein
MANY = {NONARG: (6, 6), INDEX["beta_lactam"]: (4, 5), INDEX["aminoglycoside"]: (3, 5)}
FAMILIES = {  # class: (families, proteins a family)
    label: MANY.get(label, (2, 3)) for label in range(len(CLASSES)) if label != EMPTY
}


def header(name: str, label: int) -> str:
    """A header as the competition writes it."""
    if label == NONARG:
        return f"sp|{name}|{name}_ECOLI"
    return f"{name}|FEATURES|UNIPROT|{CLASSES[label]}|gene{name}"


def fasta(entries: list[tuple[str, str]]) -> str:
    """Headers and sequences as text."""
    return "".join(f">{head}\n{sequence}\n" for head, sequence in entries)


def proteins(length: int = 70) -> dict[str, list[tuple[str, int, str]]]:
    """Name, class and sequence for each part; the last of each family is tested, one validates."""
    rng = np.random.default_rng(5)
    parts: dict[str, list[tuple[str, int, str]]] = {"train": [], "val": [], "test": []}
    for label, (count, size) in FAMILIES.items():
        for number, sequence in enumerate(synthetic.families(rng, count, size, 0.9, length)):
            place = {size - 1: "test", size - 2: "val"}.get(number % size, "train")
            parts[place].append((f"P{label}x{number}", label, sequence))
    return parts


def write_folder(folder: Path, with_key: bool = True) -> Path:
    """A data folder; ``with_key`` says whether its test labels are known."""
    folder.mkdir(parents=True)
    parts = proteins()
    for part in ("train", "val"):
        entries = [(header(name, label), sequence) for name, label, sequence in parts[part]]
        (folder / f"{part}.fasta").write_text(fasta(entries))
    test = [(f"SEQ{i}", sequence) for i, (_, _, sequence) in enumerate(parts["test"])]
    (folder / "test.fasta").write_text(fasta(test))
    if with_key:
        rows = [f"SEQ{i},{label}" for i, (_, label, _) in enumerate(parts["test"])]
        (folder / "test_key.csv").write_text("\n".join(["id,label", *rows]) + "\n")
    return folder


def known_families(sequences: list[str]) -> np.ndarray:
    """What `splits.homology_clusters` is to find, told by the names: it takes seconds a call."""
    family_of = {}
    for entries in proteins().values():
        for name, label, sequence in entries:
            family_of[sequence] = (label, int(name.partition("x")[2]) // FAMILIES[label][1])
    numbers = {family: number for number, family in enumerate(dict.fromkeys(family_of.values()))}
    return np.array([numbers[family_of[sequence]] for sequence in sequences])


def share_answers(cache: Path, answers: Path) -> Path:
    """This cache, which keeps what MMseqs2 answers where others find it."""
    cache.mkdir(exist_ok=True)
    (cache / "homology").symlink_to(answers)
    return cache


@contextmanager
def settings(root: Path, answers: Path | None = None):
    """A cache, an output folder and a place for derived splits below ``root``; smoke profile.

    ``answers``: where the cache keeps what MMseqs2 has answered, if others are to share it.
    """
    with pytest.MonkeyPatch.context() as patch:
        if answers:
            share_answers(root / "cache", answers)
        patch.setenv("ARG_CACHE", str(root / "cache"))
        patch.setenv("ARG_OUTPUT", str(root / "out"))
        patch.setenv("ARG_PROFILE", "smoke")
        patch.setattr(folders, "DATA", root / "data")
        patch.setattr(splits, "homology_clusters", known_families)
        yield patch


def workspace(root: Path, patch: pytest.MonkeyPatch, with_key: bool = True) -> Workspace:
    """A workspace on a new folder below ``root``, its results in a folder of its own."""
    name = "labelled" if with_key else "unlabelled"
    patch.setenv("ARG_DATA", str(write_folder(root / name, with_key)))
    patch.setenv("ARG_OUTPUT", str(root / f"{name}-results"))
    return open_workspace()
