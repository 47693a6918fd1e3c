"""What speaks for each class: the best homologue or family, and what a model says."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
import pandas as pd

from arg_utils.homology.mmseqs import cluster, search
from arg_utils.homology.profiles import profile_search
from arg_utils.homology.splits import CLUSTER_COVERAGE, IDENTITY
from arg_utils.labels import NONARG, NUM_CLASSES

SEARCH: dict[str, Any] = {"evalue": 1.0, "max_hits": 100}
NOISE = 35  # bits: among 10^4 proteins, chance alone reaches this in one query of twenty
SMALLEST_NONARG_FAMILY = 3  # to get a profile: smaller ones are too many, and too thin
# Units in which columns are of the order of one, so that one penalty on the weights suits all:
STRENGTH_UNIT = 3.0  # natural logarithms of bits over `NOISE`
LOG_PROBABILITY_UNIT = 4.0  # natural logarithms of a probability


class Hit(IntEnum):
    """Columns of `hit_evidence`: of a class's strongest hit, 0 where there is none."""

    STRENGTH = 0  # natural logarithm of bits over `NOISE`
    IDENTITY = 1  # 0-1
    QUERY_COVERAGE = 2  # 0-1
    TARGET_COVERAGE = 3  # 0-1


class Column(IntEnum):
    """Columns of `assemble`: evidence for one class."""

    STRENGTH = 0  # in `STRENGTH_UNIT`
    IDENTITY_TIMES_COVERAGE = 1  # identity times coverage of the query, 0-1
    QUERY_COVERAGE = 2  # 0-1
    TARGET_COVERAGE = 3  # 0-1
    NONARG_STRENGTH = 4  # "not an ARG" alone: strength of the best hit of any class
    NONARG_NO_HIT = 5  # "not an ARG" alone: 1 if no class has a hit
    LOG_PROBABILITY = 6  # of the model, in `LOG_PROBABILITY_UNIT`
    PROBABILITY = 7  # of the model, 0-1
    NONARG_LOG_PROBABILITY = 8  # "not an ARG" alone: `LOG_PROBABILITY` once more


@dataclass(frozen=True)
class References:
    """Labelled proteins to compare with.

    Attributes
    ----------
    features : standardised embeddings, float32 [n, width].
    labels : int64 [n].
    """

    sequences: list[str]
    features: np.ndarray
    labels: np.ndarray


def profiled(sequences: list[str], labels: np.ndarray) -> np.ndarray:
    """Family of each protein, int64 [n], -1 where the family gets no profile.

    A family here is a cluster of one class, so that a profile never mixes two.
    """
    groups = cluster(sequences, IDENTITY, CLUSTER_COVERAGE) * NUM_CLASSES + labels
    families, size = np.unique(groups, return_inverse=True, return_counts=True)[1:]
    enough = (labels != NONARG) | (size[families] >= SMALLEST_NONARG_FAMILY)
    return np.where(enough, families, -1)


def find_hits(queries: list[str], references: list[str], labels: np.ndarray) -> pd.DataFrame:
    """Hits among reference proteins and profiles of their families, the strongest first.

    Columns as of `search`; a profile's ``target`` is its family's first member.
    """
    single = search(queries, references, **SEARCH)
    family = profile_search(queries, references, profiled(references, labels))
    return strongest_first([single, family])


def strongest_first(tables: list[pd.DataFrame]) -> pd.DataFrame:
    """Hits of several searches, by query, then most bits."""
    hits = pd.concat(tables, ignore_index=True)
    return hits.sort_values(["query", "bits"], ascending=[True, False], kind="stable")


def hit_evidence(hits: pd.DataFrame, labels: np.ndarray, queries: int) -> np.ndarray:
    """Each class's strongest hit; hits no stronger than `NOISE` are none.

    Parameters
    ----------
    hits : of each query, the strongest first.
    labels : classes of the targets, int64.

    Returns
    -------
    float32 [queries, 15, len(`Hit`)]; zero where a class has no hit.
    """
    hits = hits[hits["bits"] > NOISE]
    hits = hits.assign(label=labels[hits["target"]]).drop_duplicates(["query", "label"])
    columns = {
        Hit.STRENGTH: np.log(hits["bits"].to_numpy() / NOISE),
        Hit.IDENTITY: hits["identity"],
        Hit.QUERY_COVERAGE: hits["query_coverage"],
        Hit.TARGET_COVERAGE: hits["target_coverage"],
    }
    out = np.zeros((queries, NUM_CLASSES, len(Hit)), np.float32)
    for column, values in columns.items():
        out[hits["query"], hits["label"], column] = values
    return out


def assemble(hits: np.ndarray, log_p: np.ndarray) -> np.ndarray:
    """One vector of evidence for each class of each protein, float32 [n, 15, len(`Column`)].

    Few columns on purpose: with products of them, the weights learned on some families did worse on
    others.

    Parameters
    ----------
    hits : of `hit_evidence`.
    log_p : log-probability of each class by the model, float32 [queries, 15].
    """
    strength = hits[..., Hit.STRENGTH] / STRENGTH_UNIT
    best = strength.max(axis=1, keepdims=True)
    nonarg = np.zeros(NUM_CLASSES, np.float32)
    nonarg[NONARG] = 1
    columns = {
        Column.STRENGTH: strength,
        Column.IDENTITY_TIMES_COVERAGE: hits[..., Hit.IDENTITY] * hits[..., Hit.QUERY_COVERAGE],
        Column.QUERY_COVERAGE: hits[..., Hit.QUERY_COVERAGE],
        Column.TARGET_COVERAGE: hits[..., Hit.TARGET_COVERAGE],
        Column.NONARG_STRENGTH: nonarg * best,
        Column.NONARG_NO_HIT: nonarg * (best == 0),
        Column.LOG_PROBABILITY: log_p / LOG_PROBABILITY_UNIT,
        Column.PROBABILITY: np.exp(log_p),
        Column.NONARG_LOG_PROBABILITY: nonarg * log_p / LOG_PROBABILITY_UNIT,
    }
    return np.stack([columns[column] for column in Column], axis=-1).astype(np.float32)
