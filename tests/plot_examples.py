"""Synthetic but realistic input for every figure."""

import numpy as np
import pandas as pd

from arg_utils.metrics.calibration import reliability, risk_coverage
from arg_utils.metrics.scores import confusion, identity_bins, per_class_table
from arg_utils.reporting import plots

RNG = np.random.default_rng(0)
COUNTS = np.array([406, 1765, 327, 454, 122, 294, 337, 3388, 154, 388, 28, 4579, 133, 201, 7685])
LABELS = np.repeat(np.arange(15), COUNTS // 10)
N = len(LABELS)
CHANCES = RNG.dirichlet(np.full(15, 0.15), N)
CHANCES[np.arange(N), LABELS] += RNG.exponential(2.0, N)
CHANCES /= CHANCES.sum(axis=1, keepdims=True)
PREDICTED = CHANCES.argmax(axis=1)
IDENTITY = np.where(RNG.random(N) < 0.2, np.nan, RNG.beta(2, 2, N))
LENGTHS = np.round(np.exp(RNG.normal(5.4 + 0.08 * LABELS, 0.45))).astype(int)
POINTS = RNG.normal(0, 1, (15, 2))[LABELS] * 6 + RNG.normal(0, 1, (N, 2))
SEQUENCES = ["".join(RNG.choice(list("ACDEFGHIKLMNPQRSTVWY"), 120)) for _ in range(60)]
HISTORY = pd.DataFrame(
    {
        "stage": np.repeat([1, 2, 3], 15),
        "epoch": np.tile(np.arange(1, 16), 3),
        "learning_rate": np.repeat([1e-3, 1e-4, 1e-5], 15),
        "train_loss": 1.8 * np.exp(-np.arange(45) / 9) + 0.1,
        "val_macro_f1": 0.955 - 0.4 * np.exp(-np.arange(45) / 5) + RNG.normal(0, 0.002, 45),
    }
)
FINETUNING = pd.DataFrame(
    {
        "epoch": [0, 1, 2],
        "train_loss": [np.nan, 0.41, 0.27],
        "val_macro_f1": [0.955, 0.967, 0.971],
    }
)
METHODS = [
    "best hit",
    "frozen + linear",
    "nearest neighbour",
    "LoRA in the blocks",
    "best hit + LoRA",
]
RESULTS = pd.DataFrame(
    {
        "split": ["random"] * 5 + ["homology"] * 5,
        "method": METHODS * 2,
        "macro_f1": [0.993, 0.977, 0.987, 0.985, 0.995, 0.32, 0.33, 0.38, 0.41, 0.47],
        "ci_low": [np.nan] * 5 + [0.28, 0.29, 0.33, 0.36, 0.41],
        "ci_high": [np.nan] * 5 + [0.36, 0.38, 0.43, 0.46, 0.52],
    }
)
FREQUENCIES = plots.amino_acid_frequencies(SEQUENCES, np.arange(60) % 15)
CURVES = {
    "frozen + linear": risk_coverage(CHANCES, LABELS),
    "LoRA in the blocks": risk_coverage(CHANCES, np.where(RNG.random(N) < 0.3, PREDICTED, LABELS)),
}
RELIABILITY = {
    "random split": reliability(CHANCES, LABELS),
    "homology split": reliability(CHANCES[::2], LABELS[::2]),
}
BINS = {
    "best hit": identity_bins(LABELS, PREDICTED, IDENTITY),
    "LoRA": identity_bins(LABELS, np.where(RNG.random(N) < 0.5, PREDICTED, LABELS), IDENTITY),
}

FIGURES = {
    "class_counts": lambda: plots.class_counts(
        {"train": COUNTS * 8 // 10, "val": COUNTS // 10, "test": COUNTS // 10}
    ),
    "cap_effect": lambda: plots.cap_effect(COUNTS),
    "lengths_by_class": lambda: plots.lengths_by_class(LENGTHS, LABELS),
    "composition": lambda: plots.composition(FREQUENCIES),
    "nearest_identity": lambda: plots.nearest_identity(
        {"random split": RNG.beta(9, 1, 2000), "homology split": IDENTITY * 0.4}
    ),
    "learning_curves": lambda: plots.learning_curves(HISTORY),
    "finetuning_curve": lambda: plots.finetuning_curve(FINETUNING),
    "confusion_counts": lambda: plots.confusion_matrix(confusion(LABELS, PREDICTED)),
    "confusion_shares": lambda: plots.confusion_matrix(confusion(LABELS, PREDICTED), True),
    "per_class_f1": lambda: plots.per_class_f1(per_class_table(LABELS, PREDICTED)),
    "methods_comparison": lambda: plots.methods_comparison(RESULTS),
    "class_balance": lambda: plots.class_balance(PREDICTED, LABELS),
    "reliability_diagram": lambda: plots.reliability_diagram(RELIABILITY),
    "risk_coverage_curve": lambda: plots.risk_coverage_curve(CURVES),
    "f1_by_identity_bin": lambda: plots.f1_by_identity_bin(BINS),
    "embedding_map": lambda: plots.embedding_map(POINTS, LABELS, "t-SNE"),
}
