"""Synthetic but realistic input for every figure."""

import numpy as np
import pandas as pd

from arg_utils.metrics.calibration import reliability, risk_coverage
from arg_utils.metrics.scores import confusion, identity_bins, per_class_table
from arg_utils.reporting import figures_data, figures_scores

RNG = np.random.default_rng(0)
COUNTS = np.array([406, 1765, 327, 454, 122, 294, 337, 3388, 154, 388, 28, 4579, 133, 201, 7685])
LABELS = np.repeat(np.arange(15), COUNTS // 10)
N = len(LABELS)
PROBABILITIES = RNG.dirichlet(np.full(15, 0.15), N)
PROBABILITIES[np.arange(N), LABELS] += RNG.exponential(2.0, N)
PROBABILITIES /= PROBABILITIES.sum(axis=1, keepdims=True)
PREDICTED = PROBABILITIES.argmax(axis=1)
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
        "title": METHODS * 2,
        "macro_f1": [0.993, 0.977, 0.987, 0.985, 0.995, 0.32, 0.33, 0.38, 0.41, 0.47],
        "ci_low": [np.nan] * 5 + [0.28, 0.29, 0.33, 0.36, 0.41],
        "ci_high": [np.nan] * 5 + [0.36, 0.38, 0.43, 0.46, 0.52],
    }
).to_dict("records")
FREQUENCIES = figures_data.amino_acid_frequencies(SEQUENCES, np.arange(60) % 15)
CURVES = {
    "frozen + linear": risk_coverage(PROBABILITIES, LABELS),
    "LoRA in the blocks": risk_coverage(
        PROBABILITIES, np.where(RNG.random(N) < 0.3, PREDICTED, LABELS)
    ),
}
RELIABILITY = {
    "random split": reliability(PROBABILITIES, LABELS),
    "homology split": reliability(PROBABILITIES[::2], LABELS[::2]),
}
BINS = {
    "best hit": identity_bins(LABELS, PREDICTED, IDENTITY),
    "LoRA": identity_bins(LABELS, np.where(RNG.random(N) < 0.5, PREDICTED, LABELS), IDENTITY),
}

FIGURES = {
    "class_counts": lambda: figures_data.class_counts(
        {"train": COUNTS * 8 // 10, "val": COUNTS // 10, "test": COUNTS // 10}
    ),
    "cap_effect": lambda: figures_data.cap_effect(COUNTS),
    "lengths_by_class": lambda: figures_data.lengths_by_class(LENGTHS, LABELS),
    "composition": lambda: figures_data.composition(FREQUENCIES),
    "nearest_identity": lambda: figures_data.nearest_identity(
        {"random split": RNG.beta(9, 1, 2000), "homology split": IDENTITY * 0.4}
    ),
    "learning_curves": lambda: figures_scores.learning_curves(HISTORY),
    "finetuning_curve": lambda: figures_scores.finetuning_curve(FINETUNING),
    "confusion_matrix counts": lambda: figures_scores.confusion_matrix(
        confusion(LABELS, PREDICTED)
    ),
    "confusion_matrix shares": lambda: figures_scores.confusion_matrix(
        confusion(LABELS, PREDICTED), True
    ),
    "per_class_f1": lambda: figures_scores.per_class_f1(per_class_table(LABELS, PREDICTED)),
    "methods_comparison": lambda: figures_scores.methods_comparison(RESULTS),
    "class_balance": lambda: figures_data.class_balance(PREDICTED, LABELS),
    "reliability_diagram": lambda: figures_scores.reliability_diagram(RELIABILITY),
    "risk_coverage_curve": lambda: figures_scores.risk_coverage_curve(CURVES),
    "f1_by_identity_bin": lambda: figures_scores.f1_by_identity_bin(BINS),
    "embedding_map": lambda: figures_data.embedding_map(POINTS, LABELS, "t-SNE"),
}
