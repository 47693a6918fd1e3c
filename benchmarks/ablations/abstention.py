"""What prediction sets cover, what few false positives cost, and what else is known of a protein.

Asked of training data only, on the divisions of `stacking`: the threshold of a set is set on far
evidence within four folds and judged on the fifth, and so is a decision threshold, above which an
ARG class counts, for few false positives; the mechanism is that of the ARG hit with most
bits, as `predict` shows it. All of it without and with the background that the shipped model
learns from (`data.genomes`), whose gain on new families stands beside.
"""

import numpy as np
import pandas as pd
from scipy.special import softmax

from arg_utils.data.folders import labelled_records
from arg_utils.data.genomes import background
from arg_utils.experiments.workspace import Workspace
from arg_utils.labels import NONARG
from arg_utils.methods.base import joined
from arg_utils.metrics.calibration import answered, conformal_threshold
from benchmarks.ablations.competition import gather, mechanisms
from benchmarks.ablations.situations import Situation, divide, situations
from benchmarks.ablations.stacking import CHOSEN, SEEDS, Variant, compared, learn

COVERAGES = (0.98, 0.95, 0.9, 0.8)  # promised
RATE = 0.003  # of false positives: non-ARGs called an ARG
VARIANTS = {CHOSEN: Variant(), "with a background": Variant(heads=("background",))}
Division = list[tuple[Situation, Situation, Situation]]  # far, near and tested, by fold


def evaluate(work: Workspace) -> dict[str, list[dict]]:
    """The tables ``rows`` (of `stacking.compared`), ``prediction_sets``,
    ``decision_thresholds`` and ``mechanism``."""
    data = joined(work.train, work.val)
    mechanism = mechanisms(data)
    args = [r.sequence for r in labelled_records(work.data) if r.label != NONARG]
    known = gather(data, mechanism, background(args))
    folds = (divide(known.labels, known.clusters, seed) for seed in SEEDS)
    divisions = [situations(known, fold, ("class", "background")) for fold in folds]
    return {
        "rows": compared(VARIANTS, known, divisions),
        **thresholds(divisions),
        "mechanism": mechanism_of_nearest(divisions, mechanism, known.labels),
    }


def thresholds(divisions: list[Division]) -> dict[str, list[dict]]:
    """Means over divisions and folds: ``prediction_sets`` per variant and promised coverage, of
    `judged`; ``decision_thresholds`` per variant, of `decided`."""
    sets, decisions = [], []
    for name, variant in VARIANTS.items():
        for far, near, tested in (fold for folds in divisions for fold in folds):
            w = learn(variant, far, near)
            p_far, p = (softmax(variant.evidence(of) @ w, axis=1) for of in (far, tested))
            for coverage in COVERAGES:
                threshold = conformal_threshold(p_far, far.labels, far.families, coverage)
                scores = judged(p, tested, threshold)
                sets.append({"variant": name, "promised": coverage, **scores})
            threshold = decision_threshold(p_far, far.labels, far.natural)
            decisions.append(
                {"variant": name, "rate": RATE, **decided(p, tested.labels, threshold)}
            )
    return {
        "prediction_sets": means(sets, "variant", "promised"),
        "decision_thresholds": means(decisions, "variant", "rate"),
    }


def means(rows: list[dict], *by: str) -> list[dict]:
    """The mean row of each group, in order of appearance."""
    groups = pd.DataFrame(rows).groupby(list(by), as_index=False, sort=False)
    return groups.mean().to_dict("records")


def of_arg(p: np.ndarray) -> np.ndarray:
    """Probability of the class called, float [n], where that is an ARG's; else 0."""
    return np.where(p.argmax(axis=1) != NONARG, p.max(axis=1), 0)


def decision_threshold(p: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> float:
    """The least probability of an ARG class with a false positive rate of at most `RATE` above it.

    ``p`` float [n, 15]; each protein counts ``weights`` [n] times. 0 where few are called anyway.
    """
    other = labels == NONARG
    called, weights = of_arg(p)[other], weights[other]
    order = np.argsort(-called, kind="stable")
    too_many = np.cumsum(weights[order]) > RATE * weights.sum()
    return float(called[order][too_many.argmax()]) if too_many.any() else 0.0


def decided(p: np.ndarray, labels: np.ndarray, threshold: float) -> dict[str, float]:
    """False positive rate and share of ARGs called by their class, at all and above a threshold."""
    arg, called = labels != NONARG, of_arg(p)
    right = p.argmax(axis=1) == labels
    return {
        "threshold": threshold,
        "false_positives": float((called > 0)[~arg].mean()),
        "false_positives_above": float((called > threshold)[~arg].mean()),
        "args_right": float(right[arg].mean()),
        "args_right_above": float((right & (called > threshold))[arg].mean()),
    }


def judged(p: np.ndarray, tested: Situation, threshold: float) -> dict[str, float]:
    """Coverage per family, of all and of ARGs; and per protein what is answered, and how well."""
    true, arg = tested.labels, tested.labels != NONARG
    covered = pd.Series(p[np.arange(len(true)), true] >= threshold)
    families = covered.groupby(tested.families).mean()
    sure, predicted = answered(p, threshold), p.argmax(axis=1)
    right = predicted == true
    return {
        "threshold": threshold,
        "families": float(families.mean()),
        "arg_families": float(families[np.unique(tested.families[arg])].mean()),
        "answered": float(sure.mean()),
        "answered_other": float(sure[~arg].mean()),
        "wrong_of_answered": float((~right)[sure].mean()) if sure.any() else 0.0,
        "args_right": float((sure & right)[arg].mean()),
        "args_wrong": float((sure & ~right)[arg].mean()),
        "other_called_arg": float((sure & (predicted != NONARG))[~arg].mean()),
    }


def mechanism_of_nearest(
    divisions: list[Division], mechanism: np.ndarray, labels: np.ndarray
) -> list[dict]:
    """Of ARGs with a hit: how often its mechanism, and its class, is theirs; by division.

    ``mechanism`` [n] and ``labels`` [n] are those of all proteins; ARGs of no stated mechanism are
    left out.
    """
    if not (mechanism != "").any():  # the data's headers state none
        return []
    rows = []
    for seed, folds in zip(SEEDS, divisions, strict=True):
        near = np.concatenate([tested.nearest for *_, tested in folds])
        own = np.concatenate([tested.rows for *_, tested in folds])
        own, near = (each[(labels[own] != NONARG) & (mechanism[own] != "")] for each in (own, near))
        hit = near >= 0
        alike = mechanism[own[hit]] == mechanism[near[hit]]
        group = pd.Series(mechanism).str.partition(":")[0].to_numpy()
        same = labels[own[hit]] == labels[near[hit]]
        rows.append({
            "division": seed, "args": len(own), "with_hit": hit.mean(), "class": same.mean(),
            "mechanism": alike.mean(), "mechanism_group": (group[own] == group[near])[hit].mean(),
            "mechanism_where_class_is_wrong": alike[~same].mean(),
        })  # fmt: skip
    return pd.DataFrame(rows).to_dict("records")
