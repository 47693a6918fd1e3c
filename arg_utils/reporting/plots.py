"""Every figure of the notebooks: data in, matplotlib `Figure` out; `save_figure` keeps it.

    plots.save_figure(plots.class_counts({"train": counts}), "class_counts")

The style lives in `plot_style`, figures of data in `plots_data`, of scores in `plots_scores`,
of probabilities in `plots_calibration`.
"""

from arg_utils.reporting.plot_style import SavedFigure, save_figure
from arg_utils.reporting.plots_calibration import reliability_diagram, risk_coverage_curve
from arg_utils.reporting.plots_data import (
    amino_acid_frequencies,
    cap_effect,
    class_balance,
    class_counts,
    composition,
    embedding_map,
    lengths_by_class,
    nearest_identity,
)
from arg_utils.reporting.plots_scores import (
    confusion_matrix,
    f1_by_identity_bin,
    finetuning_curve,
    learning_curves,
    methods_comparison,
    per_class_f1,
)

__all__ = [
    "SavedFigure",
    "amino_acid_frequencies",
    "cap_effect",
    "class_balance",
    "class_counts",
    "composition",
    "confusion_matrix",
    "embedding_map",
    "f1_by_identity_bin",
    "finetuning_curve",
    "learning_curves",
    "lengths_by_class",
    "methods_comparison",
    "nearest_identity",
    "per_class_f1",
    "reliability_diagram",
    "risk_coverage_curve",
    "save_figure",
]
