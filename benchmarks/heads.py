"""Which frozen features and which head do best on families not seen? Asked of training data only.

    python -m benchmarks.heads          # writes results/heads.json

The training part of the random split is parted anew by homology into five folds; each is
predicted by a head fitted on the other four. No validation or test protein is used.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F

from arg_utils.data.proteins import cap_per_class
from arg_utils.errors import exit_code
from arg_utils.esm2.embeddings import FEATURES, Feature, embed
from arg_utils.experiments.workspace import open_workspace
from arg_utils.files import RESULTS, write_text
from arg_utils.homology.splits import homology_clusters, homology_folds
from arg_utils.labels import NUM_CLASSES
from arg_utils.methods.frozen import fit_linear, log_chances
from arg_utils.methods.nonlinear import PER_CLASS, fit_machine, fit_perceptron, machine_scores
from arg_utils.metrics.scores import accuracy, macro_f1

Head = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]  # known, labels, asked -> scores
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
    "layers 3, 6 mean, 6 max": FEATURES,
}


def linear(penalty: float = 1e-3, power: float = 0.75) -> Head:
    """The library's logistic regression."""
    return lambda x, y, asked: log_chances(fit_linear(x, y, penalty, power), asked)


def nearest(x: np.ndarray, y: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Cosine similarity of each class's nearest protein."""
    known, other = (F.normalize(torch.from_numpy(each), dim=1) for each in (x, asked))
    out = np.full((len(asked), NUM_CLASSES), -1.0)
    for label in np.unique(y):
        out[:, label] = (other @ known[y == label].T).amax(dim=1)
    return out


def perceptron(x: np.ndarray, y: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """The library's perceptron."""
    return fit_perceptron(x, y)(torch.from_numpy(asked)).numpy()


def machine(x: np.ndarray, y: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """The library's Gaussian support-vector machine, on its sample of proteins a class."""
    some = cap_per_class(y, PER_CLASS, 0)
    return machine_scores(fit_machine(x[some], y[some]), asked)


def trials(quick: bool) -> list[tuple[str, tuple[Feature, ...], str, Head]]:
    """(features' name, features, head's name, head) of every row."""
    chosen = "layers 3, 6 mean, 6 max"
    if quick:
        return [(chosen, FEATURES, "linear", linear())]
    rows = [(name, features, "linear", linear()) for name, features in SETS.items()]
    rows += [
        (chosen, FEATURES, f"linear, class size^{1 - power:g}", linear(power=power))
        for power in (0.0, 0.5, 1.0)
    ]
    rows += [
        (chosen, FEATURES, f"linear, penalty {penalty:g}", linear(penalty))
        for penalty in (1e-4, 1e-2)
    ]
    others = {"nearest": nearest, "perceptron": perceptron, "Gaussian SVM": machine}
    return rows + [(chosen, FEATURES, name, head) for name, head in others.items()]


def score(head: Head, x: np.ndarray, labels: np.ndarray, fold: np.ndarray) -> dict:
    """Macro-F1 and accuracy of predictions pooled over folds, and seconds."""
    x = ((x - x.mean(axis=0)) / (x.std(axis=0) + 1e-6)).astype(np.float32)
    found, begun = np.empty(len(labels), np.int64), time.perf_counter()
    for number in np.unique(fold):
        rest = fold != number
        found[~rest] = head(x[rest], labels[rest], x[~rest]).argmax(axis=1)
    return {
        "macro_f1": macro_f1(labels, found),
        "accuracy": accuracy(labels, found),
        "seconds": round(time.perf_counter() - begun, 1),
    }


def main(arguments: list[str] | None = None) -> int:
    """Try all, print the table, write ``results/heads.json`` (with ``--quick`` nothing)."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.heads", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the chosen one only, not written")
    quick = parser.parse_args(arguments).quick
    return exit_code(lambda: _run(quick), RESULTS)


def _run(quick: bool) -> None:
    work = open_workspace()
    train = work.train
    fold = homology_folds(train.labels, homology_clusters(train.sequences), seed=1)
    rows = []
    for name, features, title, head in trials(quick):
        scores = score(head, embed(train.sequences, features), train.labels, fold)
        rows.append({"features": name, "head": title, **scores})
    print(pd.DataFrame(rows).round(3).to_string(index=False))
    if not quick:
        content = {
            "command": "python -m benchmarks.heads",
            "weights": work.weights.name,
            "data": f"{work.data.name} [{work.data.identity[:8]}]",
            "rows": rows,
        }
        write_text(RESULTS / "heads.json", json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
