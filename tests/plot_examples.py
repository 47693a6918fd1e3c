"""Synthetic but realistic input for every figure."""

import numpy as np
import pandas as pd

from arg_utils import methods
from arg_utils.methods.attribution import Attribution
from arg_utils.metrics.calibration import reliability, risk_coverage
from arg_utils.metrics.scores import confusion, identity_bins, per_class_table
from arg_utils.reporting import eda, figures, maps, motifs

RNG = np.random.default_rng(0)
COUNTS = np.array([406, 1765, 327, 454, 122, 294, 337, 3388, 154, 388, 28, 4579, 133, 201, 7685])
LABELS = np.repeat(np.arange(15), COUNTS // 10)
N = len(LABELS)
PROBABILITIES = RNG.dirichlet(np.full(15, 0.15), N)
PROBABILITIES[np.arange(N), LABELS] += RNG.exponential(2.0, N)
PROBABILITIES /= PROBABILITIES.sum(axis=1, keepdims=True)
PREDICTED = PROBABILITIES.argmax(axis=1)
BETTER = np.where(RNG.random(N) < 0.5, PREDICTED, LABELS)
IDENTITY = np.where(RNG.random(N) < 0.2, np.nan, RNG.beta(2, 2, N))
LENGTHS = np.round(np.exp(RNG.normal(5.4 + 0.08 * LABELS, 0.45))).astype(int)
SEQUENCES = ["".join(RNG.choice(list(eda.AMINO_ACIDS), 120)) for _ in range(60)]
FREQUENCIES = eda.amino_acid_frequencies(SEQUENCES, np.arange(60) % 15)
IDENTITIES = pd.DataFrame({
    "split": np.repeat(["random", "homology"], 200),
    "identity": np.concatenate([RNG.beta(9, 1, 200), IDENTITY[:200] * 0.4]),
    "kind": np.tile(["ARGs", "other proteins"], 200),
})  # fmt: skip
FEW = np.arange(N) % 10 == 0
FEATURES = RNG.normal(0, 1, (15, 8))[LABELS[FEW]] * 3 + RNG.normal(0, 1, (FEW.sum(), 8))
HISTORY = pd.DataFrame({
    "stage": np.repeat([1, 2, 3], 15),
    "epoch": np.tile(np.arange(1, 16), 3),
    "learning_rate": np.repeat([1e-3, 1e-4, 1e-3], 15),
    "train_loss": 1.8 * np.exp(-np.arange(45) / 9) + 0.1,
    "val_macro_f1": 0.955 - 0.4 * np.exp(-np.arange(45) / 5) + RNG.normal(0, 0.002, 45),
})  # fmt: skip
NAMES = "best_hit", "frozen_linear", "nearest_neighbour", "lora_blocks", "hybrid"
METHODS = [methods.METHODS[name].title for name in NAMES]
BEST_HIT, FROZEN, *_, HYBRID = METHODS
RESULTS = pd.DataFrame({
    "split": ["random"] * 5 + ["homology"] * 4,
    "title": METHODS + METHODS[1:],
    "macro_f1": [0.993, 0.977, 0.987, 0.985, 0.995, 0.33, 0.38, 0.41, 0.47],
    "ci_low": [np.nan] * 5 + [0.29, 0.33, 0.36, 0.41],
    "ci_high": [np.nan] * 5 + [0.38, 0.43, 0.46, 0.52],
}).to_dict("records")  # fmt: skip
CURVES = {
    FROZEN: risk_coverage(PROBABILITIES, LABELS),
    HYBRID: risk_coverage(PROBABILITIES, BETTER),
}
RELIABILITY = {
    "random split": reliability(PROBABILITIES, LABELS),
    "homology split": reliability(PROBABILITIES[::2], LABELS[::2]),
}
BINS = {
    BEST_HIT: identity_bins(LABELS, PREDICTED, IDENTITY),
    HYBRID: identity_bins(LABELS, BETTER, IDENTITY),
}
MATRIX = confusion(LABELS, PREDICTED)
SITES = {"class A beta-lactamases": [66, 69, 126, 127, 128, 230, 231, 232],
         "class B beta-lactamases": [100, 102, 104, 105]}  # fmt: skip
ATTRIBUTED = pd.DataFrame([
    {"family": family, "protein": number, "motif": np.array(site), "right": True,
     "sequence": "".join(RNG.choice(list(eda.AMINO_ACIDS), length)),
     "gradients": RNG.normal(0, 1, length) + 4 * np.isin(np.arange(length), site),
     "occlusion": RNG.normal(0, 1, length)}
    for family, site in SITES.items() for number, length in enumerate(range(270, 278))
])  # fmt: skip
PROFILE = Attribution(11, *ATTRIBUTED.loc[0, ["gradients", "occlusion"]])
PER_CLASS = per_class_table(LABELS, PREDICTED)

FIGURES = {
    "class_counts": lambda: eda.class_counts({"train": COUNTS * 8 // 10, "val": COUNTS // 10}),
    "class_counts capped": lambda: eda.class_counts(eda.capped(COUNTS, (50, 100, 500, None))),
    "lengths_by_class": lambda: eda.lengths_by_class(LENGTHS, LABELS),
    "composition": lambda: eda.composition(FREQUENCIES),
    "nearest_identity": lambda: eda.nearest_identity(IDENTITIES),
    "embedding_maps": lambda: maps.embedding_maps({"before": FEATURES, "after": FEATURES * 2},
                                                 LABELS[FEW]),
    "learning_curves": lambda: figures.learning_curves(HISTORY),
    "confusion_matrix counts": lambda: figures.confusion_matrix(MATRIX, "model, split"),
    "confusion_matrix shares": lambda: figures.confusion_matrix(MATRIX, "model, split", True),
    "per_class_f1": lambda: figures.per_class_f1(PER_CLASS, "model, split"),
    "methods_comparison": lambda: figures.methods_comparison(RESULTS),
    "reliability_diagram": lambda: figures.reliability_diagram(RELIABILITY),
    "risk_coverage_curve": lambda: figures.risk_coverage_curve(CURVES, {HYBRID: 0.5}, "a split"),
    "f1_by_identity_bin": lambda: figures.f1_by_identity_bin(BINS, "a split"),
    "attribution_profile": lambda: motifs.attribution_profile(
        ATTRIBUTED["sequence"][0], PROFILE, ATTRIBUTED["motif"][0], "protein"),
    "attribution_profile without a motif": lambda: motifs.attribution_profile(
        ATTRIBUTED["sequence"][0], PROFILE, np.array([], dtype=int), "protein"),
    "motif_enrichment": lambda: motifs.motif_enrichment(*motifs.motif_tests(ATTRIBUTED)),
}  # fmt: skip
