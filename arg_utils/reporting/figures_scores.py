"""Figures of scores: training, confusions, methods side by side, calibration."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from arg_utils.labels import DISPLAY_NAMES, NUM_CLASSES
from arg_utils.metrics.calibration import table_error
from arg_utils.reporting.style import (
    BLACK,
    BLUE,
    GREY,
    LINES,
    PALETTE,
    VERMILLION,
    class_axis,
    legend_below,
    look,
    new_figure,
    write_right,
)
from arg_utils.settings import SEED_VAL_F1


def learning_curves(history: pd.DataFrame, reference: float | None = SEED_VAL_F1) -> Figure:
    """Validation macro-F1 and training loss per epoch; bands are stages of one learning rate.

    ``history`` has the columns stage, epoch, learning_rate, train_loss, val_macro_f1, one row
    per epoch in the order of training. The best epoch is marked; ``reference`` is a dashed line.
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


def _stage_bands(score: Axes, loss: Axes, history: pd.DataFrame) -> None:
    """Shade every second stage in both axes and write its learning rate above."""
    starts = history.index[history["stage"] != history["stage"].shift()].tolist()
    for number, (start, end) in enumerate(zip(starts, [*starts[1:], len(history)], strict=True)):
        if number % 2 == 0:
            for axis in (score, loss):
                axis.axvspan(start + 0.5, end + 0.5, color="#F0F0F0", linewidth=0, zorder=0)
        rate = history["learning_rate"][start]
        middle = (start + end + 1) / 2
        where: dict[str, Any] = {
            "transform": score.get_xaxis_transform(),
            "ha": "center",
            "va": "bottom",
        }
        text = f"rate {np.format_float_scientific(rate, trim='-', exp_digits=1)}"
        score.text(middle, 1.01, text, fontsize=9, **where)
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
        axis.grid(axis="y", color=LINES)
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
    axis.set(xlabel="predicted class", ylabel="true class (proteins)")
    return fig


def per_class_f1(table: pd.DataFrame) -> Figure:
    """F1 per class, worst at the bottom, with the support beside it.

    ``table`` comes from `metrics.scores.per_class_table`. The dashed line is the mean.
    """
    f1, support = table["f1"].to_numpy(dtype=float), table["support"].to_numpy()
    order = np.argsort(-f1, kind="stable")
    fig, axes = new_figure(figsize=(7.6, 5))
    axis = axes[0, 0]
    sns.barplot(
        x=f1[order], y=np.arange(NUM_CLASSES), orient="y", color=BLUE, saturation=1, width=0.72,
        ax=axis,
    )  # fmt: skip
    write_right(axis, [f"{f1[index]:.2f}    n = {support[index]:,}" for index in order])
    axis.axvline(f1.mean(), color=GREY, linestyle="--", linewidth=1)
    axis.set_title(f"macro-F1 {f1.mean():.3f} (dashed); right: F1, support")
    class_axis(axis, order)
    axis.set(xlim=(0, 1), xticks=np.arange(0, 1.01, 0.2), xlabel="F1")
    return fig


def methods_comparison(rows: Sequence[Mapping]) -> Figure:
    """Macro-F1 of every method on each split, one colour per split, best on the hardest on top.

    ``rows`` has one entry per split and method: split, title, macro_f1 and, if known, ci_low
    and ci_high, drawn as a line.
    """
    results = pd.DataFrame(rows)
    splits = list(dict.fromkeys(results["split"]))
    ranking = results.groupby("title")["macro_f1"].min().sort_values(ascending=False)
    row = {title: number for number, title in enumerate(ranking.index)}
    fig, axes = new_figure(figsize=(8, 0.5 * len(row) + 1.7))
    axis = axes[0, 0]
    for number, split in enumerate(splits):
        part = results[results["split"] == split]
        shift = (number - (len(splits) - 1) / 2) * 0.26
        _interval_dots(axis, part["title"].map(row).to_numpy() + shift, part, number)
    axis.set_yticks(range(len(row)), list(row))
    axis.tick_params(axis="y", length=0)
    axis.set(ylim=(len(row) - 0.4, -0.6), xlim=(0, 1.1), xticks=np.arange(0, 1.01, 0.2))
    axis.grid(axis="x", color=LINES)
    axis.set_xlabel("macro-F1 over 15 classes (line: 95 % confidence interval)")
    legend_below(fig, columns=len(splits))
    return fig


def _interval_dots(axis: Axes, rows: np.ndarray, part: pd.DataFrame, number: int) -> None:
    score, color = part["macro_f1"].to_numpy(dtype=float), PALETTE[number]
    ends = score
    if {"ci_low", "ci_high"} <= set(part.columns):
        axis.hlines(rows, part["ci_low"], part["ci_high"], color=color, linewidth=2)
        ends = np.fmax(score, part["ci_high"].to_numpy(dtype=float))
    label = f"{part['split'].iloc[0]} split"
    axis.plot(score, rows, linestyle="", markersize=7, label=label, **look(number))
    for end, where, value in zip(ends, rows, score, strict=True):
        axis.text(end + 0.018, where, f"{value:.3f}", va="center", fontsize=8, color=color)


def f1_by_identity_bin(tables: Mapping[str, pd.DataFrame]) -> Figure:
    """Macro-F1 by identity to the nearest training protein, one line per method.

    ``tables`` gives the table of `metrics.scores.identity_bins` for each method's name,
    all of the same proteins. A bin without proteins has no point.
    """
    fig, axes = new_figure(figsize=(8, 4.6))
    axis = axes[0, 0]
    for number, (name, table) in enumerate(tables.items()):
        x = np.arange(len(table)) + (number - (len(tables) - 1) / 2) * 0.06
        axis.plot(x, table["macro_f1"], linewidth=1.4, markersize=7, label=name, **look(number))
    ticks = [
        f"{row.bin}\nn = {row.n:,}\n{row.classes} classes" for row in table.itertuples(index=False)
    ]
    axis.set_xticks(range(len(ticks)), ticks)
    axis.set_ylim(0, 1.04)
    axis.grid(axis="y", color=LINES)
    axis.set_ylabel("macro-F1 over the classes present")
    axis.set_xlabel("identity to the nearest training protein")
    legend_below(fig, columns=min(len(tables), 4))
    return fig


def reliability_diagram(tables: Mapping[str, pd.DataFrame]) -> Figure:
    """Accuracy against confidence, and below the number of proteins at each confidence.

    ``tables`` gives the table of `metrics.calibration.reliability` for each name, all with the
    same bins.
    """
    fig, axes = new_figure(2, 1, figsize=(5.6, 6.6), sharex=True, height_ratios=[3, 1])
    upper, lower = axes[:, 0]
    upper.plot([0, 1], [0, 1], "--", color=GREY, linewidth=1, label="perfectly calibrated")
    for number, (name, table) in enumerate(tables.items()):
        there = table[table["n"] > 0]
        label = f"{name}: calibration error {table_error(table):.3f}"
        upper.plot(there["confidence"], there["accuracy"], label=label, **look(number))
        width = (table["high"] - table["low"]) * 0.9 / len(tables)
        shift = (number - (len(tables) - 1) / 2) * width
        middle = (table["low"] + table["high"]) / 2
        lower.bar(middle + shift, table["n"], width=width, color=PALETTE[number % len(PALETTE)])
    upper.set(ylabel="accuracy", ylim=(0, 1.03))
    lower.set_yscale("symlog", linthresh=1)
    lower.set(ylabel="proteins\n(log scale)", xlim=(0, 1.01))
    lower.set_xlabel("confidence (probability of the predicted class)")
    legend_below(fig, columns=1)
    return fig


def risk_coverage_curve(curves: Mapping[str, pd.DataFrame]) -> Figure:
    """Error rate among the answered proteins against the share answered, one line per method.

    ``curves`` gives the table of `metrics.calibration.risk_coverage` for each method's name.
    """
    fig, axes = new_figure(figsize=(7, 4.6))
    axis = axes[0, 0]
    for number, (name, curve) in enumerate(curves.items()):
        percent, style = curve[["coverage", "risk"]] * 100, look(number)
        axis.step(percent["coverage"], percent["risk"], where="post", color=style["color"])
        coverage, risk = percent.iloc[-1]
        label = f"{name}: {risk:.1f} % when all are answered"
        axis.plot(coverage, risk, linestyle="", label=label, clip_on=False, **style)
    axis.set_xlim(0, 100)
    # the first few answers swing between 0 and 100 % wrong: let the rest set the scale
    settled = [curve["risk"][curve["coverage"] >= 0.1].max() for curve in curves.values()]
    axis.set_ylim(0, max(*settled, 0.01) * 115)
    axis.set_xlabel("proteins answered, most confident first (%)")
    axis.set_ylabel("wrong among the answered (%)")
    legend_below(fig, columns=1 if len(curves) < 3 else 2)
    return fig
