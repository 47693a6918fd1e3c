"""Which frozen features and which head do best on families not seen? Asked of training data only.

The training part of the random split is split anew by homology into five folds; each is predicted
by a head fitted on the other four. No validation or test protein is used.
"""

import time
from collections.abc import Iterator

import numpy as np

from arg_utils.esm2.embeddings import FEATURES, Feature, embed
from arg_utils.experiments.workspace import Workspace
from arg_utils.homology.splits import homology_clusters, homology_folds
from arg_utils.metrics.scores import accuracy, macro_f1
from benchmarks.ablations.treatments import Head, linear, machine, nearest, perceptron

CHOSEN = "layers 3, 6 mean, 6 max"
SETS = {
    "layer 6 mean": (Feature(6),),
    "layer 5 mean": (Feature(5),),
    "layer 3 mean": (Feature(3),),
    "layers 3, 6 mean": (Feature(3), Feature(6)),
    "layers 2, 4, 6 mean": (Feature(2), Feature(4), Feature(6)),
    "layers 1-6 mean": tuple(Feature(layer) for layer in range(1, 7)),
    "layer 6 max": (Feature(6, "max"),),
    "layer 6 mean, max": (Feature(6), Feature(6, "max")),
    "layers 3, 6 mean, 6 first token": (Feature(3), Feature(6), Feature(6, "bos")),
    CHOSEN: FEATURES,
}


def trials() -> Iterator[tuple[str, tuple[Feature, ...], str, Head]]:
    """(features' name, features, head's name, head) of every row."""
    for name, features in SETS.items():
        yield name, features, "linear", linear()
    for power in (0.0, 0.5, 1.0):
        yield CHOSEN, FEATURES, f"linear, class size^{1 - power:g}", linear(power=power)
    for penalty in (1e-4, 1e-2):
        yield CHOSEN, FEATURES, f"linear, penalty {penalty:g}", linear(penalty)
    for name, head in {
        "nearest": nearest,
        "perceptron": perceptron,
        "Gaussian SVM": machine,
    }.items():
        yield CHOSEN, FEATURES, name, head


def score(head: Head, x: np.ndarray, labels: np.ndarray, fold: np.ndarray) -> dict:
    """Macro-F1 and accuracy of predictions pooled over folds, and seconds."""
    x = ((x - x.mean(axis=0)) / (x.std(axis=0) + 1e-6)).astype(np.float32)
    predicted, begun = np.empty(len(labels), np.int64), time.perf_counter()
    for number in np.unique(fold):
        rest = fold != number
        predicted[~rest] = head(x[rest], labels[rest], x[~rest]).argmax(axis=1)
    return {
        "macro_f1": macro_f1(labels, predicted),
        "accuracy": accuracy(labels, predicted),
        "seconds": round(time.perf_counter() - begun, 1),
    }


def evaluate(work: Workspace) -> list[dict]:
    """One row per set of features and head."""
    train = work.train
    fold = homology_folds(train.labels, homology_clusters(train.sequences), seed=1)
    return [
        {"features": name, "head": title,
         **score(head, embed(train.sequences, features), train.labels, fold)}
        for name, features, title, head in trials()
    ]  # fmt: skip
