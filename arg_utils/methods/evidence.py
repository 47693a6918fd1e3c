"""What speaks for each class: the best homologue or family, and what a model says.

And what each kind of evidence is worth, learned from training proteins that it has not seen:
stacked generalisation (Wolpert 1992, doi:10.1016/S0893-6080(05)80023-1).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import nn

from arg_utils.data.proteins import cap_per_class
from arg_utils.homology.mmseqs import SHORT, cluster, profile_search, strongest_hits
from arg_utils.homology.splits import (
    CLUSTER_COVERAGE,
    IDENTITY,
    homology_clusters,
    homology_folds,
    representatives,
)
from arg_utils.labels import NONARG, NUM_CLASSES
from arg_utils.methods.frozen import fit_linear, inverse_size, linear_log_probabilities, minimise
from arg_utils.metrics.calibration import fit_temperature

SEARCH: dict[str, Any] = {"evalue": 1.0, "word": SHORT}
NOISE = 35  # bits: among 10^4 proteins, chance alone reaches this in one query of twenty
PER_FAMILY, PER_CLASS = 20, 2500  # proteins whose evidence the weights are learned on, at most
NEAR_PARTS = 3
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
    HIT_LOG_PROBABILITY = 9  # `LOG_PROBABILITY` of classes that have a hit, else 0


@dataclass(frozen=True)
class References:
    """Labelled proteins to compare with: sequences, standardised embeddings, classes."""

    sequences: list[str]
    features: np.ndarray  # float32 [n, width]
    labels: np.ndarray  # int64 [n]
    background: np.ndarray  # float32 [b, width]: of further non-ARGs, which the model learns from


@dataclass(frozen=True)
class Unseen:
    """Evidence on training proteins as if they were new, first near, then far."""

    evidence: np.ndarray  # of `assemble`, float32 [m, 15, columns]
    labels: np.ndarray  # int64 [m]
    families: np.ndarray  # int64 [m], homology clusters
    far: np.ndarray  # bool [m], whether no protein of the same homology fold was a reference
    balanced: np.ndarray  # float64 [m]: so that rare classes and small families count
    natural: np.ndarray  # float64 [m]: how many training proteins each stands for


def profiled(sequences: Sequence[str], labels: np.ndarray) -> np.ndarray:
    """Family of each protein, int64 [n], -1 where the family gets no profile.

    A family here is a cluster of one class, so that a profile never mixes two.
    """
    groups = cluster(sequences, IDENTITY, CLUSTER_COVERAGE) * NUM_CLASSES + labels
    families, size = np.unique(groups, return_inverse=True, return_counts=True)[1:]
    enough = (labels != NONARG) | (size[families] >= SMALLEST_NONARG_FAMILY)
    return np.where(enough, families, -1)


def find_hits(
    queries: Sequence[str], references: Sequence[str], labels: np.ndarray
) -> pd.DataFrame:
    """Hits among reference proteins and profiles of their families: `strongest_first`.

    Of the proteins, each class's strongest: `hit_evidence` asks for no other.
    """
    single = strongest_hits(queries, references, labels, **SEARCH)
    family = profile_search(queries, references, profiled(references, labels))
    return strongest_first(single, family)


def strongest_first(single: pd.DataFrame, family: pd.DataFrame) -> pd.DataFrame:
    """Hits of `search` and of `profile_search`, by query, then most bits.

    Columns are theirs, and ``profile``: whether the target stands for its family. Expectation
    values order nothing: those of profiles depend on the other queries.
    """
    hits = pd.concat([single.assign(profile=False), family.assign(profile=True)])
    order = {"query": True, "bits": False, "profile": True, "target": True}  # ascending?
    return hits.sort_values(list(order), ascending=list(order.values()), ignore_index=True)


def hit_evidence(hits: pd.DataFrame, labels: np.ndarray, queries: int) -> np.ndarray:
    """Each class's strongest hit, float32 [queries, 15, len(`Hit`)]; zero where it has none.

    ``hits`` are those of each query, the strongest first; those no stronger than `NOISE` are none.
    ``labels`` are the classes of the targets.
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

    ``hits`` as of `hit_evidence`, ``log_p`` the model's log-probabilities, float32 [n, 15]. Few
    columns on purpose: with most others, the weights learned on some families did worse on others
    (benchmarks/ablations). What helped is that the log-probability of a class may count for less
    where the class has a hit (its weight comes out negative): a model that knows no member of a
    family then cannot veto the hit that finds it.
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
        Column.HIT_LOG_PROBABILITY: (strength > 0) * log_p / LOG_PROBABILITY_UNIT,
    }
    return np.stack([columns[column] for column in Column], axis=-1).astype(np.float32)


def unseen_evidence(references: References, seed: int) -> Unseen:
    """Gather evidence on a sample of ``references`` in both situations.

    Where all proteins are one homology cluster, or no class has two proteins, there is no far
    situation.
    """
    sequences, labels = references.sequences, references.labels
    families = homology_clusters(sequences)
    sample = draw(labels, families, seed)
    part = np.random.default_rng(seed).integers(0, NEAR_PARTS, len(labels))
    queries = [sequences[i] for i in sample]
    family_hits = profile_search(queries, sequences, profiled(sequences, labels))
    itself = (sample, np.arange(len(labels)))
    own = strongest_hits(queries, sequences, labels, itself, **SEARCH)
    near = strongest_first(own, _apart(family_hits, sample, families))
    situations = [_situation(references, sample, part, near)]
    if len(np.unique(families)) > 1 and np.bincount(labels).max() > 1:
        fold = homology_folds(labels, families, seed)
        first = representatives(sequences)[0]
        others = strongest_hits(
            queries, [sequences[i] for i in first], labels[first], (fold[sample], fold[first]),
            **SEARCH,
        )  # fmt: skip
        others = others.assign(target=first[others["target"]])
        far = strongest_first(others, _apart(family_hits, sample, fold))
        situations.append(_situation(references, sample, fold, far))
    balanced = stand_for(balance(labels, families), labels, families, sample)
    natural = stand_for(np.ones(len(labels)), labels, families, sample)
    times = len(situations)
    return Unseen(
        np.concatenate(situations), np.tile(labels[sample], times),
        np.tile(families[sample], times),
        np.arange(times * len(sample)) >= len(sample),
        np.tile(balanced, times), np.tile(natural, times),
    )  # fmt: skip


def _apart(hits: pd.DataFrame, sample: np.ndarray, groups: np.ndarray) -> pd.DataFrame:
    """Those hits whose query (a place in ``sample``) and target are of different groups."""
    return hits[groups[sample[hits["query"]]] != groups[hits["target"]]]


def _situation(
    references: References, sample: np.ndarray, part: np.ndarray, hits: pd.DataFrame
) -> np.ndarray:
    """Evidence with these hits, and a linear layer that has not seen the protein's own part."""
    features, labels, further = references.features, references.labels, references.background
    nonarg = np.full(len(further), NONARG)
    log_p = np.empty((len(sample), NUM_CLASSES), np.float32)
    for number in np.unique(part[sample]):
        rest = np.flatnonzero(part != number)
        linear = fit_linear(
            np.concatenate([features[rest], further]), np.concatenate([labels[rest], nonarg])
        )
        chosen = part[sample] == number
        log_p[chosen] = linear_log_probabilities(linear, features[sample[chosen]])
    return assemble(hit_evidence(hits, labels, len(sample)), log_p)


def stacking_weights(unseen: Unseen, far: float) -> torch.Tensor:
    """Weights of the evidence's columns, float32 [columns], by penalised maximum likelihood.

    All classes share them. ``far`` is how much far evidence counts relative to near evidence. They
    are scaled (temperature) for proteins as frequent as they are.
    """
    x, y = torch.from_numpy(unseen.evidence), torch.from_numpy(unseen.labels)
    weights = nn.Parameter(torch.zeros(x.shape[-1]))
    mixed = np.where(unseen.far, far, 1.0)
    counts = unseen.balanced * mixed
    weight = torch.from_numpy(counts / counts.mean()).float()

    def loss() -> torch.Tensor:
        each = F.cross_entropy(x @ weights, y, reduction="none")
        return (each * weight).mean() + 1e-3 * (weights**2).sum()

    minimise(loss, [weights], 150)
    learned = weights.detach()
    return learned / fit_temperature(
        unseen.evidence @ learned.numpy(), unseen.labels, unseen.natural * mixed
    )


def draw(labels: np.ndarray, families: np.ndarray, seed: int) -> np.ndarray:
    """Positions, ascending, of at most `PER_FAMILY` per family and then `PER_CLASS` per class."""
    order = pd.Series(np.random.default_rng(seed).permutation(len(labels)))
    some = np.sort(order.groupby(families[order]).head(PER_FAMILY).to_numpy())
    return some[cap_per_class(labels[some], PER_CLASS, seed)]


def balance(labels: np.ndarray, families: np.ndarray) -> np.ndarray:
    """A weight per protein: a family weighs its size to 3/4, a class what it then holds to 3/4.

    Between equal weights of groups and equal weights of proteins, for macro-F1 on new families.
    """
    share = inverse_size(families, 0.25)
    return share * inverse_size(labels, 0.25, share)


def stand_for(
    weights: np.ndarray, labels: np.ndarray, families: np.ndarray, sample: np.ndarray
) -> np.ndarray:
    """Weights of the proteins at ``sample`` that add up to those of all, per family and class."""
    groups = families * NUM_CLASSES + labels
    total, drawn = np.bincount(groups, weights=weights), np.bincount(groups[sample])
    drawn = np.maximum(1, np.pad(drawn, (0, len(total) - len(drawn))))
    out = (total[groups] / drawn[groups])[sample]
    held = np.bincount(labels[sample], weights=out, minlength=NUM_CLASSES)
    wanted = np.bincount(labels, weights=weights, minlength=NUM_CLASSES)
    return out * (wanted / np.maximum(held, 1e-12))[labels[sample]]
