"""What would make the hybrid better on families not seen? Asked of training data only, nested.

Training and validation proteins of the random split are divided by homology into five folds, five
times. For each fold the weights are learned within the four others, on near and far evidence as the
hybrid learns them (far counting as much as near), and judged on the fifth, whose proteins with a
relative in the four are excluded. Proteins are searched once: all else is a choice of hits.

`homology_folds` with another seed is nearly the same division (97 % of the pairs of proteins that
share a fold do so again), because it places the largest clusters first. `divide` is not.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import log_softmax, softmax

from arg_utils.experiments.workspace import Workspace
from arg_utils.labels import NUM_CLASSES
from arg_utils.methods.base import joined
from arg_utils.methods.evidence import Column, assemble
from arg_utils.methods.frozen import inverse_size
from arg_utils.metrics.calibration import fit_temperature, reliability, table_error
from arg_utils.metrics.scores import f1_from_confusion, macro_f1
from benchmarks.ablations.competition import COMPETITION, HIT, Known, gather, mechanisms
from benchmarks.ablations.residues import residues_of
from benchmarks.ablations.situations import Situation, divide, situations

SEEDS = (11, 12, 13, 14, 15)
CAP = 5  # proteins per cluster in the second score, so that no large family decides
RESAMPLES = 1000
OFFSETS = np.linspace(-3, 3, 25)  # of log-probabilities
CHOSEN = "hybrid"
HEADS = ("class", "family", "mechanism", "quantiles", "perceptron", "nearest")
SEARCHES: dict[str, dict[str, dict]] = {  # other options of `gather`
    **{
        f"proteins searched at sensitivity {s:g}": {"proteins": {"sensitivity": s}}
        for s in (4.0, 2.0)
    },
    **{
        f"profiles searched at sensitivity {s:g}": {"profiles": {"sensitivity": s}}
        for s in (8.5, 6.0)
    },
}


@dataclass(frozen=True)
class Variant:
    """More columns, another head or mean of heads, other weights of the sample, an own rule.

    Without ``heads``, all classes are as likely to the model; ``hits`` may be left out, too, and so
    may a column of the hybrid's.
    """

    columns: tuple[str, ...] = ()
    heads: tuple[str, ...] = ("class",)
    hits: bool = True
    without: Column | None = None
    powers: tuple[float, float] | None = None  # of the sizes of families and classes
    shrinkage: float | None = None  # of offsets; none unless given

    def evidence(self, of: Situation) -> np.ndarray:
        """The hybrid's columns and this variant's, float32 [m, 15, columns]."""
        hits = np.stack([self.hits * of.hits[name] for name in HIT], axis=-1)
        nothing = np.full(hits.shape[:2], 1 / NUM_CLASSES)
        p = [np.exp(of.log_p[head]) for head in self.heads] or [nothing]
        log_p = np.log(np.mean(p, axis=0) + 1e-30).astype(np.float32)
        own = assemble(hits, log_p)
        if self.without is not None:
            own[..., self.without] = 0
        more = [of.hits[name][..., None] for name in self.columns]
        return np.concatenate([own, *more], axis=-1)

    def weights(self, of: Situation) -> np.ndarray:
        """How much each protein counts."""
        if self.powers is None:
            return of.balanced
        share = of.natural * inverse_size(of.families, self.powers[0], of.natural)
        return share * inverse_size(of.labels, self.powers[1], share)


VARIANTS = {
    CHOSEN: Variant(),
    **{name: Variant() for name in SEARCHES},
    "no model": Variant(heads=()),
    "no hits": Variant(hits=False),
    "no log-probability of classes hit": Variant(without=Column.HIT_LOG_PROBABILITY),
    **{f"with {text}": Variant((name,)) for name, text in COMPETITION.items()},
    "with both votes": Variant(("vote", "nearest vote")),
    "with all of these": Variant(tuple(COMPETITION)),
    **{f"offsets, shrunk by {s:g}": Variant(shrinkage=s) for s in (0.003, 0.01, 0.03)},
    "head on class and mechanism": Variant(heads=("mechanism",)),
    "head weighted by family": Variant(heads=("family",)),
    "mean of head and that on mechanism": Variant(heads=("class", "mechanism")),
    "mean of head and that by family": Variant(heads=("class", "family")),
    "head on quantiles over residues": Variant(heads=("quantiles",)),
    "mean of head and that on quantiles": Variant(heads=("class", "quantiles")),
    "head with a hidden layer": Variant(heads=("perceptron",)),
    "mean of head and that with a hidden layer": Variant(heads=("class", "perceptron")),
    "head by the nearest of each class": Variant(heads=("nearest",)),
    "mean of head and that by the nearest": Variant(heads=("class", "nearest")),
    **{
        f"family^{1 - a:g}, class^{1 - b:g}": Variant(powers=(a, b))
        for a, b in ((0.0, 0.0), (0.25, 0.5), (0.25, 0.75), (0.5, 0.5), (1.0, 0.5))
    },
}


def newton(x: np.ndarray, y: np.ndarray, weights: np.ndarray, penalty: float = 1e-3) -> np.ndarray:
    """The minimum of the loss of `evidence.stacking_weights`, in a fraction of its time."""
    x, weights, rows = x.astype(float), weights / weights.sum(), np.arange(len(y))
    w = np.zeros(x.shape[-1])

    def loss(w: np.ndarray) -> float:
        return -weights @ log_softmax(x @ w, axis=1)[rows, y] + penalty * w @ w

    for _ in range(30):
        p = softmax(x @ w, axis=1)
        mean = np.einsum("nc,nck->nk", p, x)
        slope = weights @ (mean - x[rows, y]) + 2 * penalty * w
        flat, each = x.reshape(-1, len(w)), (p * weights[:, None]).reshape(-1, 1)
        curve = flat.T @ (each * flat) - (mean * weights[:, None]).T @ mean
        step = np.linalg.solve(curve + 2 * penalty * np.eye(len(w)), slope)
        while (fall := loss(w) - loss(w - step)) < 0 and np.abs(step).max() > 1e-6:
            step /= 2
        w = w - step
        if fall < 1e-9:
            break
    return w.astype(np.float32)


def offsets(log_p: np.ndarray, of: Situation, shrinkage: float) -> np.ndarray:
    """Per class what to add so that macro-F1 on ``of`` less ``shrinkage`` times the sum of their
    squares is largest, by coordinates [15]."""
    out = np.zeros(NUM_CLASSES)

    def score(predicted: np.ndarray) -> float:
        cells = np.bincount(of.labels * NUM_CLASSES + predicted, of.natural, NUM_CLASSES**2)
        return float(f1_from_confusion(cells.reshape(NUM_CLASSES, NUM_CLASSES)).mean())

    for label in [*range(NUM_CLASSES)] * 4:
        other = log_p + out
        other[:, label] = -np.inf
        best, height = other.argmax(axis=1), other.max(axis=1)
        rest = (out**2).sum() - out[label] ** 2
        gains = [
            score(np.where(log_p[:, label] + more > height, label, best))
            - shrinkage * (rest + more**2) for more in OFFSETS
        ]  # fmt: skip
        out[label] = OFFSETS[int(np.argmax(gains))] if max(gains) > gains[len(OFFSETS) // 2] else 0
    return out


def learn(variant: Variant, far: Situation, near: Situation) -> np.ndarray:
    """Stacking weights [columns] of both kinds of evidence, scaled by a temperature."""
    x = np.concatenate([variant.evidence(far), variant.evidence(near)])
    y = np.concatenate([far.labels, near.labels])
    w = newton(x, y, np.concatenate([variant.weights(far), variant.weights(near)]))
    return w / fit_temperature(x @ w, y, np.concatenate([far.natural, near.natural]))


def answers(variant: Variant, folds, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Class (-1: excluded) and probabilities of each protein, from weights learned without it."""
    predicted, probabilities = np.full(size, -1), np.zeros((size, NUM_CLASSES), np.float32)
    for far, near, tested in folds:
        w = learn(variant, far, near)
        log_p = log_softmax(variant.evidence(tested) @ w, axis=1)
        probabilities[tested.rows] = np.exp(log_p)
        if variant.shrinkage is not None:
            seen = log_softmax(variant.evidence(far) @ w, axis=1)
            log_p = log_p + offsets(seen, far, variant.shrinkage)
        predicted[tested.rows] = log_p.argmax(axis=1)
    return predicted, probabilities


def pooled(new: list, old: list, labels: np.ndarray, clusters: np.ndarray, cap: int | None) -> dict:
    """Mean macro-F1 and gain over divisions, and the gain's interval over the same clusters."""
    size = clusters.max() + 1
    draws = np.random.default_rng(0).multinomial(size, np.full(size, 1 / size), RESAMPLES)
    gains, heights, change = [], [], np.zeros(RESAMPLES)
    never = np.bincount(labels, minlength=NUM_CLASSES) == 0
    for pair in zip(new, old, strict=True):
        some = pd.Series(np.flatnonzero(np.minimum(*pair) >= 0))  # excluded from neither
        some = (some.groupby(clusters[some]).head(cap) if cap else some).to_numpy()
        both = []
        for predicted in pair:
            cells = np.zeros((size, NUM_CLASSES**2), np.float32)
            np.add.at(cells, (clusters[some], labels[some] * NUM_CLASSES + predicted[some]), 1)
            counts = (draws.astype(np.float32) @ cells).reshape(-1, NUM_CLASSES, NUM_CLASSES)
            there = (counts.sum(axis=2) > 0) | never  # as in metrics: absent from all is a 0
            both.append((f1_from_confusion(counts) * there).sum(axis=1) / there.sum(axis=1))
        change += (both[0] - both[1]) / len(new)
        score = [macro_f1(labels[some], predicted[some]) for predicted in pair]
        heights.append(score[0])
        gains.append(score[0] - score[1])
    low, high = np.quantile(change, [0.025, 0.975]).tolist()
    return {"macro_f1": float(np.mean(heights)), "gain": float(np.mean(gains)),
            "gain_low": low, "gain_high": high, "gains": gains}  # fmt: skip


def evaluate(work: Workspace) -> list[dict]:
    """One row per variant, as of `compared`."""
    data = joined(work.train, work.val)
    known = gather(data, mechanisms(data), residues=residues_of(data.sequences))
    folds = (divide(known.labels, known.clusters, seed) for seed in SEEDS)
    divisions = [(situations(known, fold, HEADS), fold) for fold in folds]
    own = {}
    for name, options in SEARCHES.items():
        other = gather(data, mechanisms(data), **options)
        own[name] = [situations(other, fold, ("class",)) for _, fold in divisions]
    return compared(VARIANTS, known, [three for three, _ in divisions], own)


def compared(
    variants: dict[str, Variant], known: Known, divisions: list, own: dict[str, list] | None = None
) -> list[dict]:
    """Scores pooled over divisions, gains on the first; ``capped``: few proteins per cluster.

    ``own`` are divisions of variants that do not share them.
    """
    labels, clusters = known.labels, known.clusters
    rows: list[dict] = []
    old: list[np.ndarray] = []
    for name, variant in variants.items():
        some = (own or {}).get(name, divisions)
        each = [answers(variant, folds, len(labels)) for folds in some]
        new = [predicted for predicted, _ in each]
        old = old or new
        errors = [table_error(reliability(p[k >= 0], labels[k >= 0])) for k, p in each]
        row = {"variant": name, **pooled(new, old, labels, clusters, None)}
        capped = pooled(new, old, labels, clusters, CAP)
        row |= {f"capped_{key}": value for key, value in capped.items() if key != "gains"}
        rows.append(row | {"ece": float(np.mean(errors))})
    return rows
