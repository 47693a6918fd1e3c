"""Learn what each kind of evidence is worth, from training proteins it has not seen.

Stacked generalisation: Wolpert 1992, doi:10.1016/S0893-6080(05)80023-1.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import nn

from arg_utils.data.fasta import cap_per_class
from arg_utils.homology.mmseqs import search
from arg_utils.homology.profiles import profile_search
from arg_utils.homology.splits import homology_clusters, homology_folds, representatives
from arg_utils.labels import NUM_CLASSES
from arg_utils.methods.evidence import (
    SEARCH,
    References,
    assemble,
    hit_evidence,
    profiled,
    strongest_first,
)
from arg_utils.methods.frozen import fit_linear, inverse_size, linear_log_probabilities, minimise
from arg_utils.metrics.calibration import fit_temperature

PER_FAMILY, PER_CLASS = 20, 2500  # proteins whose evidence is gathered, at most
NEAR_PARTS = 3


@dataclass(frozen=True)
class Unseen:
    """Evidence on training proteins as if they were new, first near, then far.

    Attributes
    ----------
    evidence : float32 [m, 15, columns] of `evidence.assemble`.
    labels : int64 [m].
    far : bool [m], whether no protein of the same homology fold was a reference.
    balanced, natural : float64 [m], how much each counts so that rare classes and small families
        matter, and how many training proteins it stands for.
    """

    evidence: np.ndarray
    labels: np.ndarray
    far: np.ndarray
    balanced: np.ndarray
    natural: np.ndarray


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
    own = search(queries, sequences, **SEARCH)
    near = [own[sample[own["query"]] != own["target"]], _apart(family_hits, sample, families)]
    situations = [_situation(references, sample, part, near)]
    if len(np.unique(families)) > 1 and np.bincount(labels).max() > 1:
        fold = homology_folds(labels, families, seed)
        first = representatives(sequences)[0]
        others = search(queries, [sequences[i] for i in first], **SEARCH)
        others = others.assign(target=first[others["target"]])
        far = [_apart(others, sample, fold), _apart(family_hits, sample, fold)]
        situations.append(_situation(references, sample, fold, far))
    balanced = stand_for(balance(labels, families), labels, families, sample)
    natural = stand_for(np.ones(len(labels)), labels, families, sample)
    times = len(situations)
    return Unseen(
        np.concatenate(situations), np.tile(labels[sample], times),
        np.arange(times * len(sample)) >= len(sample),
        np.tile(balanced, times), np.tile(natural, times),
    )  # fmt: skip


def _apart(hits: pd.DataFrame, sample: np.ndarray, groups: np.ndarray) -> pd.DataFrame:
    """Those hits whose query (a place in ``sample``) and target are of different groups."""
    return hits[groups[sample[hits["query"]]] != groups[hits["target"]]]


def _situation(
    references: References, sample: np.ndarray, part: np.ndarray, hits: list[pd.DataFrame]
) -> np.ndarray:
    """Evidence with these hits, and a linear layer that has not seen the protein's own part."""
    features, labels = references.features, references.labels
    log_p = np.empty((len(sample), NUM_CLASSES), np.float32)
    for number in np.unique(part[sample]):
        rest = np.flatnonzero(part != number)
        linear = fit_linear(features[rest], labels[rest])
        chosen = part[sample] == number
        log_p[chosen] = linear_log_probabilities(linear, features[sample[chosen]])
    return assemble(hit_evidence(strongest_first(hits), labels, len(sample)), log_p)


def stacking_weights(unseen: Unseen, far: float) -> torch.Tensor:
    """Weights of the evidence's columns that all classes share, by penalised maximum likelihood.

    Parameters
    ----------
    far : how much far evidence counts relative to near evidence.

    Returns
    -------
    Float32 [columns], scaled (temperature) for proteins as frequent as they are.
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
