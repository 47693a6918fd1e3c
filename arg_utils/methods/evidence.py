"""What speaks for each class: the best homologue or family, and what a model says."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from arg_utils.homology.mmseqs import cluster, search
from arg_utils.homology.profiles import profile_search
from arg_utils.homology.splits import CLUSTER_COVERAGE, IDENTITY
from arg_utils.labels import NONARG, NUM_CLASSES

SEARCH = {"evalue": 1.0, "max_hits": 100}
NOISE = 35  # bits: among 10^4 proteins, chance alone reaches this in one query of twenty
EVIDENCE = 9  # columns that `assemble` makes
LONE = 3  # a family of fewer proteins that are no ARGs gets no profile: too many, too thin


@dataclass(frozen=True)
class Known:
    """Labelled proteins to compare with.

    Attributes
    ----------
    features : standardised embeddings, float32 [n, width].
    labels : int64 [n].
    """

    sequences: list[str]
    features: np.ndarray
    labels: np.ndarray

    def part(self, positions: np.ndarray) -> "Known":
        """Some of them."""
        return Known(
            [self.sequences[i] for i in positions], self.features[positions], self.labels[positions]
        )


def profiled(sequences: list[str], labels: np.ndarray) -> np.ndarray:
    """Family of each protein, int64 [n], -1 where the family gets no profile.

    A family here is a cluster of one class, so that a profile never mixes two.
    """
    groups = cluster(sequences, IDENTITY, CLUSTER_COVERAGE) * NUM_CLASSES + labels
    families, size = np.unique(groups, return_inverse=True, return_counts=True)[1:]
    return np.where((labels != NONARG) | (size[families] >= LONE), families, -1)


def find_hits(queries: list[str], known: list[str], labels: np.ndarray) -> pd.DataFrame:
    """Hits among known proteins and profiles of their families, the strongest first.

    Columns as of `search`; a profile's ``target`` is its family's first member.
    """
    single = search(queries, known, **SEARCH)
    family = profile_search(queries, known, profiled(known, labels))
    return strongest_first([single, family])


def strongest_first(tables: list[pd.DataFrame]) -> pd.DataFrame:
    """Hits of several searches, by query, then most bits."""
    hits = pd.concat(tables, ignore_index=True)
    return hits.sort_values(["query", "bits"], ascending=[True, False], kind="stable")


def hit_evidence(hits: pd.DataFrame, labels: np.ndarray, queries: int) -> np.ndarray:
    """Each class's strongest hit: strength, identity, coverage of query and of target.

    Strength is the logarithm of bits over `NOISE`; hits below that are none.

    Parameters
    ----------
    hits : of each query, the strongest first.
    labels : classes of the targets, int64.

    Returns
    -------
    float32 [queries, 15, 4]; zero where a class has no hit.
    """
    hits = hits[hits["bits"] > NOISE]
    hits = hits.assign(label=labels[hits["target"]]).drop_duplicates(["query", "label"])
    out = np.zeros((queries, NUM_CLASSES, 4), np.float32)
    columns = hits[["bits", "identity", "query_coverage", "target_coverage"]].to_numpy(copy=True)
    columns[:, 0] = np.log(columns[:, 0] / NOISE)
    out[hits["query"], hits["label"]] = columns
    return out


def assemble(hits: np.ndarray, log_p: np.ndarray) -> np.ndarray:
    """One vector of evidence for each class of each protein, float32 [n, 15, `EVIDENCE`].

    Of the class's hit: strength, identity times coverage, and the coverages. Of the model: the
    logarithm of its probability, and the probability. For "not an ARG" alone: the strength of the
    best hit, that there is none, and the model's logarithm once more. Few columns on purpose: with
    products of them, the weights learned on some families did worse on others.

    Parameters
    ----------
    hits : of `hit_evidence`.
    log_p : log-probability of each class by the model, float32 [queries, 15].
    """
    bits = hits[..., 0] / 3
    best = bits.max(axis=1, keepdims=True)
    only = np.zeros(NUM_CLASSES, np.float32)
    only[NONARG] = 1
    columns = [
        bits, hits[..., 1] * hits[..., 2], hits[..., 2], hits[..., 3],
        only * best, only * (best == 0), log_p / 4, np.exp(log_p), only * log_p / 4,
    ]  # fmt: skip
    return np.stack(columns, axis=-1).astype(np.float32)
