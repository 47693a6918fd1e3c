"""Figures of training and scores, and how any figure is saved."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import PIL.Image
import seaborn as sns
from IPython.display import Image
from matplotlib.collections import QuadMesh
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from numpy.typing import ArrayLike
from scipy.stats import binomtest

from arg_utils.files import atomic_path
from arg_utils.labels import DISPLAY_NAMES, NUM_CLASSES
from arg_utils.metrics.calibration import table_error
from arg_utils.reporting.style import (
    BLACK,
    BLUE,
    GREY,
    LINES,
    STYLE,
    VERMILLION,
    class_axis,
    legend_below,
    look,
    new_figure,
    write_right,
)
from arg_utils.reporting.tables import trains_lora
from arg_utils.settings import SEED_VAL_F1

DPI = 150


def save_figure(fig: Figure, name: str, folder: Path | str) -> Image:
    """Write ``fig`` as ``<folder>/<name>.png``, 150 dots per inch, and return it for display."""
    target, drawn = Path(folder) / f"{name}.png", io.BytesIO()
    with plt.rc_context(STYLE):
        fig.savefig(drawn, format="png", dpi=DPI)
    image = PIL.Image.open(drawn).convert("RGB")
    if not any(isinstance(c, QuadMesh) for axes in fig.axes for c in axes.collections):
        # a palette is a third of the bytes; only a colour scale would show bands
        image = image.quantize(256, dither=PIL.Image.Dither.NONE)
    with atomic_path(target) as temporary:
        image.save(temporary, format="PNG", optimize=True)
    return Image(filename=str(target))


def learning_curves(history: pd.DataFrame) -> Figure:
    """Validation macro-F1 and training loss per epoch; bands are stages of one learning rate.

    ``history`` has the columns stage, epoch, learning_rate, train_loss, val_macro_f1, one row
    per epoch in the order of training. Stages from where the rates begin anew train LoRA. The best
    epoch is marked; the dashed line is the course report's; later stages are shown enlarged.
    """
    fig, axes = new_figure(2, 1, figsize=(8, 5.6), sharex=True, height_ratios=[3, 2])
    score, loss = axes[:, 0]
    history = history.set_axis(np.arange(1, len(history) + 1))
    f1, dots = history["val_macro_f1"], {"marker": "o", "markersize": 3, "linewidth": 1.2}
    score.plot(f1, color=BLUE, **dots)
    score.plot(f1.idxmax(), f1.max(), "*", color=VERMILLION, markersize=15, zorder=3)
    score.axhline(SEED_VAL_F1, color=GREY, linestyle="--", linewidth=1)
    best = f"★ best: {f1.max():.3f} in epoch {f1.idxmax()}"
    score.set_title(f"{best}     dashed: {SEED_VAL_F1:g}, the course report", pad=22)
    loss.plot(history["train_loss"], color=BLACK, **dots)
    stages = history.groupby("stage")
    rates = stages["learning_rate"].first()
    lora = trains_lora(rates)
    for number, (stage, epochs) in enumerate(stages.groups.items()):
        if number % 2 == 0:
            for axis in (score, loss):
                axis.axvspan(epochs[0] - 0.5, epochs[-1] + 0.5, color="#F0F0F0", zorder=0)
        rate = np.format_float_scientific(rates[stage], trim="-", exp_digits=1)
        text = f"{'LoRA' if lora[stage] else 'layer'}, {rate}"
        middle, where = (epochs[0] + epochs[-1]) / 2, score.get_xaxis_transform()
        score.text(middle, 1.01, text, ha="center", va="bottom", fontsize=9, transform=where)
    later = f1[history["stage"] != rates.index[0]]
    if len(later):
        inset = score.inset_axes((0.35, 0.1, 0.64, 0.5), title="later stages, enlarged")
        inset.plot(later, color=BLUE, **dots)
    score.set_ylabel("validation macro-F1")
    loss.set_ylabel("training loss\n(cross-entropy, nats)")
    loss.set(xlabel="epoch, counted through all stages", xlim=(0.5, len(history) + 0.5))
    return fig


def confusion_matrix(counts: ArrayLike, title: str, normalised: bool = False) -> Figure:
    """The 15x15 confusion matrix, each cell written out, empty cells left white.

    ``counts`` has true classes as rows; ``title`` names the model and the split. Colours follow
    the count on a log scale, or with ``normalised`` the share of the true class in per cent.
    """
    counts = np.asarray(counts, dtype=float)
    if counts.shape != (NUM_CLASSES, NUM_CLASSES):
        raise ValueError(f"a confusion matrix here is 15x15, not {counts.shape}")
    support = counts.sum(axis=1)
    values = counts / np.maximum(support, 1)[:, None] * 100 if normalised else counts
    small = "<1" if normalised else ""
    texts = np.vectorize(lambda value: f"{value:,.0f}" if value >= 0.5 else small)(values)
    fig, axes = new_figure(figsize=(9.4, 8.2))
    axis = axes[0, 0]
    sns.heatmap(
        values, mask=counts == 0, annot=texts, fmt="", annot_kws={"fontsize": 8.5}, ax=axis,
        norm=Normalize(0, 100) if normalised else LogNorm(0.5, max(values.max(), 10)),
        cmap="Blues", square=True, linewidths=0.6, linecolor=LINES, xticklabels=DISPLAY_NAMES,
        yticklabels=[f"{n} ({s:,.0f})" for n, s in zip(DISPLAY_NAMES, support, strict=True)],
        cbar_kws={"label": "share of the true class (%)" if normalised else "proteins (log scale)",
                  "shrink": 0.7, "pad": 0.02},
    )  # fmt: skip
    axis.tick_params(length=0)
    axis.tick_params(axis="x", rotation=45, rotation_mode="xtick")
    axis.set(xlabel="predicted class", ylabel="true class (proteins)", title=title)
    return fig


def per_class_f1(table: pd.DataFrame, title: str) -> Figure:
    """F1 per class, worst at the bottom, with the support beside it.

    ``table`` comes from `metrics.scores.per_class_table`; ``title`` names the model and the split.
    The dashed line is the mean.
    """
    f1, support = table["f1"].to_numpy(dtype=float), table["support"].to_numpy()
    order = np.argsort(-f1, kind="stable")
    fig, axes = new_figure(figsize=(7.6, 5))
    axis = axes[0, 0]
    axis.barh(np.arange(NUM_CLASSES), f1[order], height=0.72, color=BLUE)
    write_right(axis, [f"{f1[index]:.2f}    n = {support[index]:,}" for index in order])
    axis.axvline(f1.mean(), color=GREY, linestyle="--", linewidth=1)
    axis.set_title(f"{title}\nmacro-F1 {f1.mean():.3f} (dashed); right: F1, support")
    class_axis(axis, order)
    axis.set(xlim=(0, 1), xticks=np.arange(0, 1.01, 0.2), xlabel="F1")
    return fig


def methods_comparison(rows: Sequence[Mapping]) -> Figure:
    """Macro-F1 of methods, a panel per split, in each the methods measured there, best on top.

    ``rows`` has one entry per split and method: split, title, macro_f1 and, if known, ci_low
    and ci_high, drawn as a line. Of the homology split, methods that were tested on fewer folds
    than others are not drawn: their scores are of other proteins.
    """
    folds = max(len(row.get("folds", ())) for row in rows)
    rows = [row for row in rows if len(row.get("folds", ())) in (0, folds)]
    results = pd.DataFrame(rows).reindex(
        columns=["split", "title", "macro_f1", "ci_low", "ci_high"]
    )
    panels = list(results.groupby("split", sort=False))
    most = results["split"].value_counts().max()
    fig, axes = new_figure(1, len(panels), figsize=(5.4 * len(panels), 0.36 * most + 1.2))
    for axis, (split, part) in zip(axes[0], panels, strict=True):
        part = part.sort_values("macro_f1", ascending=False, kind="stable")
        for row, (title, score, low, high) in enumerate(part.iloc[:, 1:].to_numpy().tolist()):
            style = look(title)
            axis.plot([low, high], [row, row], color=style["color"], linewidth=2)
            axis.plot(score, row, markersize=7, **style)
            axis.text(np.fmax(score, high) + 0.02, row, f"{score:.3f}", va="center", fontsize=9)
        axis.set_yticks(range(len(part)), part["title"])
        axis.tick_params(axis="y", length=0)
        axis.set(ylim=(most - 0.4, -0.6), xlim=(0, 1.22), xticks=np.arange(0, 1.01, 0.2))
        axis.grid(axis="x", color=LINES)
        axis.set_title(f"{split} split")
        axis.set_xlabel("macro-F1 (line: 95 % interval)")
    return fig


def f1_by_identity_bin(tables: Mapping[str, pd.DataFrame], title: str, fewest: int = 50) -> Figure:
    """Macro-F1, and accuracy with its interval, by identity to the nearest reference protein.

    ``tables`` gives the table of `metrics.scores.identity_bins` for each method's name,
    all of the same proteins. Bins of fewer than ``fewest`` proteins are not drawn. The intervals
    (Wilson, 95 %) take proteins as independent; as families are not, they are too narrow.
    """
    fig, axes = new_figure(2, 1, figsize=(8, 6), sharex=True)
    f1, right = axes[:, 0]
    for number, (name, table) in enumerate(tables.items()):
        drawn, style = table[table["n"] >= fewest], look(name, number)
        x = np.arange(len(drawn)) + (number - (len(tables) - 1) / 2) * 0.14
        f1.plot(x, drawn["macro_f1"], linestyle="", markersize=7, label=name, **style)
        right.plot(x, drawn["accuracy"], linestyle="", markersize=7, **style)
        hits = (drawn["accuracy"] * drawn["n"]).round().astype(int)
        ends = [test.proportion_ci(method="wilson") for test in map(binomtest, hits, drawn["n"])]
        right.vlines(x, [e.low for e in ends], [e.high for e in ends], color=style["color"])
    ticks = drawn["bin"] + "\nn = " + drawn["n"].map("{:,}".format)
    right.set_xticks(range(len(drawn)), ticks + "\n" + drawn["classes"].astype(str) + " classes")
    left_out = table["n"].sum() - drawn["n"].sum()
    f1.set_title(title)
    line = "accuracy (line: 95 % interval,\nproteins independent)"
    for axis, label in ((f1, "macro-F1 over\nthe classes present"), (right, line)):
        axis.set(ylim=(0, 1.04), xlim=(-0.6, len(drawn) - 0.4), ylabel=label)
        axis.grid(axis="y", color=LINES)
    text = "identity to the nearest reference protein"
    right.set_xlabel(f"{text}\n(bins of fewer than {fewest} are not drawn: {left_out:,} in all)")
    legend_below(fig, columns=min(len(tables), 4))
    return fig


def reliability_diagram(tables: Mapping[str, pd.DataFrame], fewest: int = 10) -> Figure:
    """Accuracy against confidence, and below the number of proteins at each confidence.

    ``tables`` gives the table of `metrics.calibration.reliability` for each name, all with the
    same bins. Bins of fewer than ``fewest`` proteins are counted, but have no point.
    """
    fig, axes = new_figure(2, 1, figsize=(5.6, 6.6), sharex=True, height_ratios=[3, 1])
    upper, lower = axes[:, 0]
    upper.plot([0, 1], [0, 1], "--", color=GREY, linewidth=1, label="perfectly calibrated")
    for number, (name, table) in enumerate(tables.items()):
        style, there = look(name, number), table[table["n"] >= fewest]
        label = f"{name}: calibration error {table_error(table):.3f}"
        upper.plot(there["confidence"], there["accuracy"], label=label, **style)
        width = (table["high"] - table["low"]) * 0.9 / len(tables)
        middle = (table["low"] + table["high"]) / 2 + (number - (len(tables) - 1) / 2) * width
        lower.bar(middle, table["n"], width=width, color=style["color"])
    upper.set(ylabel="accuracy", ylim=(0, 1.03), title=f"points: bins of {fewest} proteins or more")
    lower.set_yscale("symlog", linthresh=1)
    lower.set(ylabel="proteins\n(log scale)", xlim=(0, 1.01))
    lower.set_xlabel("confidence (probability of the predicted class)")
    legend_below(fig, columns=1)
    return fig


def risk_coverage_curve(
    curves: Mapping[str, pd.DataFrame], thresholds: Mapping[str, float], title: str
) -> Figure:
    """Error rate among the answered proteins against the share answered, one line per method.

    ``curves`` gives the table of `metrics.calibration.risk_coverage` for each method's name,
    ``thresholds`` the confidence from which on a method answers: drawn as a dotted line.
    """
    fig, axes = new_figure(figsize=(7, 4.6))
    axis = axes[0, 0]
    for number, (name, curve) in enumerate(curves.items()):
        percent, style = curve[["coverage", "risk"]] * 100, look(name, number)
        axis.step(percent["coverage"], percent["risk"], where="post", color=style["color"])
        coverage, risk = percent.iloc[-1]
        label = f"{name}: {risk:.1f} % when all are answered"
        answered = curve["threshold"] >= thresholds.get(name, np.inf)
        if answered.any():
            coverage, risk = percent[answered].iloc[-1]
            axis.axvline(coverage, color=style["color"], linestyle=":")
            label += f"\n{risk:.1f} % of the {coverage:.0f} % above its threshold (dotted)"
        axis.plot(coverage, risk, linestyle="", label=label, clip_on=False, **style)
    # the first few answers swing between 0 and 100 % wrong: let the rest set the scale
    settled = [curve["risk"][curve["coverage"] >= 0.1].max() for curve in curves.values()]
    axis.set(xlim=(0, 100), ylim=(0, max(*settled, 0.01) * 115))
    axis.set_xlabel("proteins answered, most confident first (%)")
    axis.set_ylabel("wrong among the answered (%)")
    axis.set_title(title)
    legend_below(fig, columns=1)
    return fig
