"""Other heads and treatments of rare classes, on the test proteins of both splits."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from arg_utils.data.proteins import Proteins, cap_per_class, proteins, subset
from arg_utils.experiments.outcomes import HOMOLOGY, RANDOM, scored_clusters
from arg_utils.experiments.workspace import Workspace
from arg_utils.homology.splits import homology_fold
from arg_utils.methods.base import TRAIN_AND_VALIDATION, joined
from arg_utils.methods.frozen import Standardiser, frozen_features
from arg_utils.metrics.scores import accuracy, bootstrap_ci, bootstrap_gain
from benchmarks.ablations.treatments import TREATMENTS, Head

BASE = "layers_linear"  # what gains are measured against


@dataclass(frozen=True)
class Part:
    """Proteins to learn from, proteins to answer about, and homology clusters of the latter."""

    references: Proteins
    tested: Proteins
    clusters: np.ndarray


def parts_of(work: Workspace) -> dict[str, list[Part]]:
    """What is learned and tested on each split: one part, and one per tested homology fold."""
    scored = Part(work.references, work.scored, scored_clusters(work))
    return {RANDOM: [scored], HOMOLOGY: list(_folds(work))}


def _folds(work: Workspace) -> Iterator[Part]:
    records, table = work.labelled
    data, clusters = proteins(records), table["cluster"].to_numpy()
    for fold in work.tested_folds:
        parts = homology_fold(records, table, fold, work.profile.seed)
        train, val, test = (
            positions[cap_per_class(data.labels[positions], work.profile.max_records, fold)]
            for positions in (parts.train, parts.val, parts.test)
        )
        references = joined(subset(data, train), subset(data, val))
        yield Part(references, subset(data, test), clusters[test])


def answer(head: Head, part: Part) -> np.ndarray:
    """Classes int64 [n] of the tested proteins."""
    raw = frozen_features(part.references.sequences)
    standardise = Standardiser.learn(raw)
    asked = standardise(frozen_features(part.tested.sequences))
    return head(standardise(raw), part.references.labels, asked).argmax(axis=1)


def evaluate(work: Workspace) -> list[dict]:
    """One row per split and treatment: scores pooled over parts, and the gain on `BASE`."""
    rows = []
    for split, parts in parts_of(work).items():
        true = np.concatenate([part.tested.labels for part in parts])
        clusters = np.concatenate([part.clusters for part in parts])
        answers = {
            name: np.concatenate([answer(head, part) for part in parts])
            for name, (_, head) in TREATMENTS.items()
        }
        for name, predicted in answers.items():
            interval = bootstrap_ci(true, predicted, clusters)
            gain = bootstrap_gain(true, predicted, answers[BASE], clusters)
            rows.append({
                "split": split, "method": name, "title": TREATMENTS[name][0],
                "given": TRAIN_AND_VALIDATION, "proteins": len(true),
                "macro_f1": interval.value, "ci_low": interval.low, "ci_high": interval.high,
                "gain": gain.value, "gain_low": gain.low, "gain_high": gain.high,
                "accuracy": accuracy(true, predicted),
            })  # fmt: skip
    return rows
