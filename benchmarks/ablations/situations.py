"""Evidence on proteins of known class, near and far, for many divisions from one search.

Every situation is a choice among the same hits, those whose query and target lie apart, and of
heads that have not seen the protein. Heads are fitted once: their scores are cached.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from scipy.special import log_softmax, logsumexp
from torch import nn

from arg_utils.fingerprint import fingerprint
from arg_utils.homology.answers import cached_answer
from arg_utils.homology.splits import homology_folds, related
from arg_utils.labels import NONARG, NUM_CLASSES
from arg_utils.methods.evidence import balance, draw, stand_for
from arg_utils.methods.frozen import inverse_size, minimise
from benchmarks.ablations.competition import SOFTNESS, Known, apart, columns, nearest_arg
from benchmarks.ablations.treatments import nearest, perceptron

FOLDS = 5
NEAR_PARTS = 3  # near evidence is gathered for one of them


@dataclass(frozen=True)
class Situation:
    """Evidence on the proteins at ``rows``; ``log_p`` of each head, ``balanced`` and ``natural``
    weights as of `evidence.Unseen`; ``nearest`` is the ARG hit with most bits, -1 where none."""

    rows: np.ndarray
    labels: np.ndarray
    families: np.ndarray
    hits: dict[str, np.ndarray]
    log_p: dict[str, np.ndarray]
    balanced: np.ndarray
    natural: np.ndarray
    nearest: np.ndarray


def logistic(
    known: Known, rest: np.ndarray, asked: np.ndarray, weights, fine=False, further=0
) -> np.ndarray:
    """Log-probability of each class, float32 [asked, 15], learned from ``rest``.

    ``fine``: pairs of class and mechanism are learned, and summed. As many of the background as
    ``further`` are learned from too; ``weights`` end with theirs.
    """
    targets = known.targets if fine else known.labels
    class_of = known.class_of if fine else np.arange(NUM_CLASSES)
    layer = nn.Linear(known.features.shape[1], len(class_of))
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    x = torch.from_numpy(np.concatenate([known.features[rest], known.background[:further]]))
    y = torch.from_numpy(np.concatenate([targets[rest], np.full(further, NONARG)]))
    weight = torch.from_numpy(weights / weights.mean()).float()

    def loss() -> torch.Tensor:
        each = F.cross_entropy(layer(x), y, reduction="none")
        return (each * weight).mean() + 1e-3 * (layer.weight**2).sum()

    minimise(loss, list(layer.parameters()), 60)
    scores = layer.requires_grad_(False)(torch.from_numpy(known.features[asked])).numpy()
    fine_log_p = log_softmax(scores, axis=1)
    sums = [logsumexp(fine_log_p[:, class_of == c], axis=1) for c in range(NUM_CLASSES)]
    return np.stack(sums, axis=1).astype(np.float32)


def of_class(known: Known, rest: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """The hybrid's head: a class weighs its size to 1/4."""
    return logistic(known, rest, asked, inverse_size(known.labels[rest], 0.75))


def of_family(known: Known, rest: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """A family weighs the root of its size, a class what it then holds to 1/4."""
    share = inverse_size(known.clusters[rest], 0.5)
    return logistic(known, rest, asked, share * inverse_size(known.labels[rest], 0.75, share))


def of_mechanism(known: Known, rest: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Class and mechanism are learned together; the probability of a class is the sum of its."""
    return logistic(known, rest, asked, inverse_size(known.labels[rest], 0.75), fine=True)


def with_background(known: Known, rest: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """The hybrid's head, learned from the background too."""
    further = len(known.background)
    labels = np.concatenate([known.labels[rest], np.full(further, NONARG)])
    return logistic(known, rest, asked, inverse_size(labels, 0.75), further=further)


def of_quantiles(known: Known, rest: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """The hybrid's head on quantiles over residues in place of means and maxima."""
    pooled = replace(known, features=known.quantiles, background=known.quantiles[:0])
    return of_class(pooled, rest, asked)


def of_perceptron(known: Known, rest: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """A hidden layer between features and classes."""
    logits = perceptron(known.features[rest], known.labels[rest], known.features[asked])
    return log_softmax(logits.astype(np.float64), axis=1).astype(np.float32)


def of_nearest(known: Known, rest: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """The cosine of each class's nearest protein, as the vote by cosines weighs it."""
    cosines = nearest(known.features[rest], known.labels[rest], known.features[asked])
    return log_softmax(cosines / SOFTNESS, axis=1).astype(np.float32)


HEADS: dict[str, Callable[[Known, np.ndarray, np.ndarray], np.ndarray]] = {
    "class": of_class,
    "family": of_family,
    "mechanism": of_mechanism,
    "background": with_background,
    "quantiles": of_quantiles,
    "perceptron": of_perceptron,
    "nearest": of_nearest,
}


def divide(labels: np.ndarray, clusters: np.ndarray, seed: int) -> np.ndarray:
    """A fold for each protein, as `homology_folds`, but clusters are placed in a noisy order."""
    rng = np.random.default_rng(seed)
    counts = np.zeros((clusters.max() + 1, NUM_CLASSES))
    np.add.at(counts, (clusters, labels), 1)
    total, held = np.maximum(1, counts.sum(axis=0)), np.zeros((FOLDS, NUM_CLASSES))
    fold = np.zeros(len(counts), dtype=np.int64)
    noise = np.exp(rng.standard_normal(len(counts)))
    for number in np.argsort(-counts.std(axis=1) * noise):
        after = held + np.eye(FOLDS)[:, :, None] * counts[number]  # if placed in each fold
        uneven = (after / total).std(axis=1).mean(axis=1).round(12)
        size = held.sum(axis=1)
        order = rng.permutation(FOLDS)
        fold[number] = order[np.lexsort((size[order], uneven[order]))[0]]
        held[fold[number]] += counts[number]
    return fold[clusters]


def groups_of(known: Known, fold: np.ndarray) -> np.ndarray:
    """Who is asked together, by a head that learns from the others: int64 [3 * `FOLDS`, n].

    Far, near and tested, for each tested fold. -1 is learned from only, -2 neither.
    """
    part = np.random.default_rng(0).integers(0, NEAR_PARTS, len(fold))
    out = []
    for tested in range(FOLDS):
        train = fold != tested
        inner = np.full(len(fold), -2)
        inner[train] = homology_folds(known.labels[train], known.clusters[train])
        near = np.where(train, np.where(part == 0, 0, -1), -2)
        out += [inner, near, np.where(train, -1, 0)]
    return np.array(out)


def scores(known: Known, groups: np.ndarray, head: str) -> np.ndarray:
    """Log-probabilities of the proteins asked in each row of ``groups``, float32 [rows, n, 15]."""
    sums = (known.quantiles if head == "quantiles" else known.features).sum(axis=1)
    targets = known.targets if head == "mechanism" else known.labels
    parts = (array.tobytes() for array in (targets, sums, groups, known.background.sum(axis=1)))

    def fit() -> np.ndarray:
        out = np.full((*groups.shape, NUM_CLASSES), np.nan, np.float32)
        for place, group in enumerate(groups):
            for number in np.unique(group[group >= 0]):
                rest = np.flatnonzero((group != number) & (group > -2))
                asked = np.flatnonzero(group == number)
                out[place, asked] = HEADS[head](known, rest, asked)
        return out

    return cached_answer(f"scores-{fingerprint(head, *parts)}", fit)


def situations(
    known: Known, fold: np.ndarray, heads: Sequence[str]
) -> list[tuple[Situation, Situation, Situation]]:
    """Far and near evidence on a sample of the other folds, and evidence on the tested one."""
    labels, clusters, itself = known.labels, known.clusters, np.arange(len(fold))
    groups = groups_of(known, fold)
    log_p = {name: scores(known, groups, name) for name in heads}
    out = []
    for tested in range(FOLDS):
        train = fold != tested
        far, near = groups[3 * tested], groups[3 * tested + 1]
        places = np.flatnonzero(train)
        of = labels[train], clusters[train]
        drawn = draw(*of, 0)
        balanced, natural = np.zeros(len(fold)), np.zeros(len(fold))
        balanced[places[drawn]] = stand_for(balance(*of), *of, drawn)
        natural[places[drawn]] = stand_for(np.ones(len(places)), *of, drawn)
        asked = np.flatnonzero(~train)
        leaking = related(apart(known.single, asked, train, fold))["query"]
        sample = places[drawn]
        closest = sample[near[sample] == 0]
        unrelated = np.setdiff1d(asked, leaking)
        parts = (
            (sample, ((known.single, far), (known.family, far)), 1),
            (closest, ((known.near, itself), (known.family, clusters)), NEAR_PARTS),
            (unrelated, ((known.single, fold), (known.family, fold)), 1),
        )
        three = []
        for place, (rows, tables, times) in enumerate(parts):
            hits = pd.concat([apart(table, rows, train, group) for table, group in tables])
            log_ps = {name: each[3 * tested + place, rows] for name, each in log_p.items()}
            weights = times * balanced[rows], times * natural[rows]
            three.append(
                Situation(
                    rows, labels[rows], clusters[rows], columns(hits, rows), log_ps, *weights,
                    nearest_arg(hits, rows),
                )
            )  # fmt: skip
        out.append(tuple(three))
    return out
