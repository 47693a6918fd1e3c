"""Figures of scores: training, mistakes, methods side by side, trust in the probabilities."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from arg_utils.labels import DISPLAY_NAMES, NUM_CLASSES
from arg_utils.reporting.plot_style import (
    BLACK,
    BLUE,
    GREY,
    MARKERS,
    PALETTE,
    VERMILLION,
    class_axis,
    legend_below,
    new_figure,
)
from arg_utils.settings import SEED_VAL_F1


def learning_curves(history: pd.DataFrame, reference: float | None = SEED_VAL_F1) -> Figure:
    """Validation macro-F1 and training loss an epoch; bands are stages of one learning rate.

    ``history`` has the columns stage, epoch, learning_rate, train_loss, val_macro_f1, one row
    an epoch in the order of training. The best epoch is marked; ``reference`` is a dashed line.
    """
    fig, axes = new_figure(2, 1, figsize=(8, 5.6), sharex=True, height_ratios=[3, 2])
    score, loss = axes[:, 0]
    epochs = np.arange(1, len(history) + 1)
    f1 = history["val_macro_f1"].to_numpy(dtype=float)
    score.plot(epochs, f1, "o-", color=BLUE, markersize=3.5, linewidth=1.4)
    best = int(np.nanargmax(f1))
    score.plot(epochs[best], f1[best], "*", color=VERMILLION, markersize=15, zorder=3)
    title = f"★ best: {f1[best]:.3f} in epoch {epochs[best]}"
    if reference is not None:
        score.axhline(reference, color=GREY, linestyle="--", linewidth=1)
        title += f"     dashed: {reference:g}, the original report"
    score.set_title(title, pad=22)
    score.set_ylabel("validation macro-F1")
    loss.plot(epochs, history["train_loss"], "o-", color=BLACK, markersize=3, linewidth=1.2)
    loss.set_ylabel("training loss\n(cross-entropy, nats)")
    loss.set_xlabel("epoch, counted through all stages")
    _stage_bands(score, loss, history.reset_index(drop=True))
    return fig


def _stage_bands(score, loss, history: pd.DataFrame) -> None:
    """Shade every second stage in both axes and write its learning rate above."""
    starts = history.index[history["stage"] != history["stage"].shift()].tolist()
    for number, (start, end) in enumerate(zip(starts, [*starts[1:], len(history)], strict=True)):
        if number % 2 == 0:
            for axis in (score, loss):
                axis.axvspan(start + 0.5, end + 0.5, color="#F0F0F0", linewidth=0, zorder=0)
        rate = history["learning_rate"][start]
        middle = (start + end + 1) / 2
        where = {"transform": score.get_xaxis_transform(), "ha": "center", "va": "bottom"}
        score.text(
            middle,
            1.01,
            f"rate {np.format_float_scientific(rate, trim='-', exp_digits=1)}",
            fontsize=9,
            **where,
        )
    score.set_xlim(0.5, len(history) + 0.5)


def finetuning_curve(history: pd.DataFrame) -> Figure:
    """Macro-F1 on watched validation proteins by epoch of fine-tuning; epoch 0 is untrained.

    ``history`` has the columns epoch, train_loss (NaN in epoch 0) and val_macro_f1.
    """
    fig, axes = new_figure(1, 2, figsize=(8, 3.2))
    score, loss = axes[0]
    score.plot(history["epoch"], history["val_macro_f1"], "o-", color=BLUE)
    score.set_ylabel("validation macro-F1 (watched part)")
    loss.plot(history["epoch"], history["train_loss"], "o-", color=BLACK)
    loss.set_ylabel("training loss\n(cross-entropy, nats)")
    for axis in (score, loss):
        axis.set_xlabel("epoch")
        axis.set_xticks(history["epoch"])
        axis.grid(axis="y", color="#E5E5E5")
    return fig


def confusion_matrix(counts: ArrayLike, normalised: bool = False) -> Figure:
    """The 15x15 confusion matrix, each cell written out, empty cells left white.

    ``counts`` has true classes as rows. Colours follow the count on a log scale, or with
    ``normalised`` the share of the true class in per cent.
    """
    counts = np.asarray(counts, dtype=float)
    if counts.shape != (NUM_CLASSES, NUM_CLASSES):
        raise ValueError(f"a confusion matrix here is 15x15, not {counts.shape}")
    support = counts.sum(axis=1)
    values = counts / np.maximum(support, 1)[:, None] * 100 if normalised else counts
    norm = Normalize(0, 100) if normalised else LogNorm(0.5, max(values.max(), 10))
    fig, axes = new_figure(figsize=(9.4, 8.2))
    axis = axes[0, 0]
    image = axis.imshow(np.where(counts > 0, values, np.nan), cmap="Blues", norm=norm)
    for row, column in zip(*np.nonzero(counts), strict=True):
        value = values[row, column]
        text = f"{value:,.0f}" if not normalised or value >= 0.5 else "<1"
        color = "white" if norm(value) > 0.55 else "black"
        axis.text(column, row, text, ha="center", va="center", color=color, fontsize=8.5)
    _matrix_axes(axis, [f"{n} ({s:,.0f})" for n, s in zip(DISPLAY_NAMES, support, strict=True)])
    label = "share of the true class (%)" if normalised else "proteins (log scale)"
    fig.colorbar(image, label=label, shrink=0.7, pad=0.02)
    return fig


def _matrix_axes(axis, row_names: list[str]) -> None:
    axis.set_xticks(range(NUM_CLASSES), DISPLAY_NAMES, rotation=45, ha="right")
    axis.set_yticks(range(NUM_CLASSES), row_names)
    axis.set_xticks(np.arange(NUM_CLASSES + 1) - 0.5, minor=True)
    axis.set_yticks(np.arange(NUM_CLASSES + 1) - 0.5, minor=True)
    axis.grid(which="minor", color="#E5E5E5", linewidth=0.6)
    axis.tick_params(which="both", length=0)
    axis.spines[:].set_visible(False)
    axis.set_xlabel("predicted class")
    axis.set_ylabel("true class (proteins)")


def per_class_f1(table: pd.DataFrame) -> Figure:
    """F1 a class, worst at the bottom, with the number of true proteins beside it.

    ``table`` comes from `metrics.scores.per_class_table`. The dashed line is the mean.
    """
    f1, support = table["f1"].to_numpy(dtype=float), table["support"].to_numpy()
    order = np.argsort(-f1, kind="stable")
    fig, axes = new_figure(figsize=(7.6, 5))
    axis = axes[0, 0]
    axis.barh(range(NUM_CLASSES), f1[order], color=BLUE, height=0.72)
    for row, index in enumerate(order):
        text = f"{f1[index]:.2f}    n = {support[index]:,}"
        axis.text(1.02, row, text, transform=axis.get_yaxis_transform(), va="center", fontsize=9)
    axis.axvline(f1.mean(), color=GREY, linestyle="--", linewidth=1)
    axis.set_title(f"macro-F1 {f1.mean():.3f} (dashed); right: F1, true proteins")
    class_axis(axis, order)
    axis.set_xlim(0, 1)
    axis.set_xticks(np.arange(0, 1.01, 0.2))
    axis.set_xlabel("F1")
    return fig


def methods_comparison(results: pd.DataFrame) -> Figure:
    """Macro-F1 of every method on each split, one colour a split, best on the hardest on top.

    ``results`` has one row a split and method: split, method, macro_f1 and, if known, ci_low
    and ci_high, drawn as a line.
    """
    splits = list(dict.fromkeys(results["split"]))
    ranking = results.groupby("method")["macro_f1"].min().sort_values(ascending=False)
    row = {method: number for number, method in enumerate(ranking.index)}
    fig, axes = new_figure(figsize=(8, 0.5 * len(row) + 1.7))
    axis = axes[0, 0]
    for number, split in enumerate(splits):
        part = results[results["split"] == split]
        shift = (number - (len(splits) - 1) / 2) * 0.26
        rows = part["method"].map(row).to_numpy() + shift
        _interval_dots(axis, rows, part, PALETTE[number], MARKERS[number], f"{split} split")
    axis.set_yticks(range(len(row)), list(row))
    axis.tick_params(axis="y", length=0)
    axis.set_ylim(len(row) - 0.4, -0.6)
    axis.set_xlim(0, 1.1)
    axis.set_xticks(np.arange(0, 1.01, 0.2))
    axis.grid(axis="x", color="#E5E5E5")
    axis.set_xlabel("macro-F1 over 15 classes (line: 95 % confidence interval)")
    legend_below(fig, columns=len(splits))
    return fig


def _interval_dots(axis, rows, part: pd.DataFrame, color: str, marker: str, label: str) -> None:
    score = part["macro_f1"].to_numpy(dtype=float)
    ends = score
    if {"ci_low", "ci_high"} <= set(part.columns):
        axis.hlines(rows, part["ci_low"], part["ci_high"], color=color, linewidth=2)
        ends = np.fmax(score, part["ci_high"].to_numpy(dtype=float))
    axis.plot(score, rows, marker, color=color, markersize=7, label=label)
    for end, where, value in zip(ends, rows, score, strict=True):
        axis.text(end + 0.018, where, f"{value:.3f}", va="center", fontsize=8, color=color)


def f1_by_identity_bin(tables: Mapping[str, pd.DataFrame]) -> Figure:
    """Macro-F1 by how near the nearest training protein is, one line a method.

    ``tables`` gives the table of `metrics.scores.identity_bins` for each method's name,
    all of the same proteins. A bin without proteins has no point.
    """
    fig, axes = new_figure(figsize=(8, 4.6))
    axis = axes[0, 0]
    for number, (name, table) in enumerate(tables.items()):
        style = {"color": PALETTE[number % len(PALETTE)], "marker": MARKERS[number % len(MARKERS)]}
        x = np.arange(len(table)) + (number - (len(tables) - 1) / 2) * 0.06
        axis.plot(x, table["macro_f1"], linewidth=1.4, markersize=7, label=name, **style)
    ticks = [
        f"{row.bin}\nn = {row.n:,}\n{row.classes} classes" for row in table.itertuples(index=False)
    ]
    axis.set_xticks(range(len(ticks)), ticks)
    axis.set_ylim(0, 1.04)
    axis.grid(axis="y", color="#E5E5E5")
    axis.set_ylabel("macro-F1 over the classes present")
    axis.set_xlabel("identity to the nearest training protein")
    legend_below(fig, columns=min(len(tables), 4))
    return fig
