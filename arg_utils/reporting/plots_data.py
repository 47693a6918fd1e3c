"""Figures of the data: how many, how long, how near, made of what."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from arg_utils.labels import DISPLAY_NAMES, NONARG, NUM_CLASSES
from arg_utils.metrics.scores import check_labels, check_same_length
from arg_utils.reporting.plot_style import (
    BLUE,
    GREY,
    MARKERS,
    ORANGE,
    PALETTE,
    VERMILLION,
    class_axis,
    legend_below,
    new_figure,
    per_class,
    write_beside,
)

AMINO_ACIDS = "ACDEFGHIKLMNPQRSTVWY"
WINDOW = 1022  # residues ESM-2 reads at once: 1,024 positions less start and end


def class_counts(counts: Mapping[str, ArrayLike]) -> Figure:
    """Proteins a class, one panel a split, on one logarithmic axis.

    ``counts`` gives 15 numbers for each split's name, such as ``{"train": ..., "val": ...}``.
    """
    table = {name: per_class(values, name) for name, values in counts.items()}
    order = np.argsort(-next(iter(table.values())), kind="stable")
    fig, axes = new_figure(1, len(table), figsize=(3.4 * len(table) + 1.2, 4.8), sharex=True)
    for axis, (name, values), first in zip(axes[0], table.items(), _first(table), strict=True):
        _log_bars(axis, values[order])
        class_axis(axis, order, labelled=first)
        axis.set_title(f"{name}: {values.sum():,.0f} proteins")
        axis.set_xlabel("proteins (log scale)")
    return fig


def cap_effect(counts: ArrayLike, caps: Sequence[int | None] = (50, 100, 500, None)) -> Figure:
    """Proteins a class that stay under each cap, with the imbalance that is left.

    ``counts`` are 15 numbers; a cap of None keeps all. The imbalance is the largest class over
    the smallest that is not empty.
    """
    counts = per_class(counts, "counts")
    order = np.argsort(-counts, kind="stable")
    fig, axes = new_figure(1, len(caps), figsize=(2.5 * len(caps) + 1.6, 5), sharex=True)
    for axis, cap, first in zip(axes[0], caps, _first(caps), strict=True):
        kept = counts if cap is None else np.minimum(counts, cap)
        _log_bars(axis, kept[order])
        class_axis(axis, order, labelled=first)
        ratio = kept.max() / kept[kept > 0].min()
        title = "no cap" if cap is None else f"at most {cap:,}"
        axis.set_title(f"{title}\n{kept.sum():,.0f} proteins\nimbalance {ratio:,.0f} : 1")
        axis.set_xlabel("proteins (log scale)")
    return fig


def _first(items) -> list[bool]:
    return [index == 0 for index in range(len(items))]


def _log_bars(axis, values: np.ndarray) -> None:
    """Horizontal bars on a log axis, each with its count; an empty class has no bar."""
    axis.barh(range(len(values)), values, color=BLUE, height=0.72)
    axis.set_xscale("log")
    axis.xaxis.set_major_formatter("{x:,.0f}")
    axis.set_xlim(0.8, max(values.max() * 6, axis.get_xlim()[1]))
    for row, value in enumerate(values):
        axis.text(max(value, 0.8) * 1.12, row, f"{value:,.0f}", va="center", fontsize=8)


def lengths_by_class(lengths: ArrayLike, labels: ArrayLike) -> Figure:
    """Box plots of protein lengths in residues; the line is ESM-2's window of 1,022.

    Boxes are quartiles, whiskers the 5th and 95th percentile; the share beyond the window
    stands on the right. ``lengths`` and ``labels`` have shape (n,).
    """
    labels, lengths = check_labels(labels), np.asarray(lengths, dtype=float)
    check_same_length(lengths=lengths, labels=labels)
    groups = [lengths[labels == index] for index in range(NUM_CLASSES)]
    order = np.argsort([np.median(group) if group.size else 0 for group in groups])[::-1]
    fig, axes = new_figure(figsize=(8, 5))
    axis = axes[0, 0]
    axis.boxplot(
        [groups[index] for index in order],
        orientation="horizontal",
        positions=range(NUM_CLASSES),
        widths=0.6,
        whis=(5, 95),
        showfliers=False,
        patch_artist=True,
        boxprops={"facecolor": "#CFE3F1", "edgecolor": BLUE},
        medianprops={"color": VERMILLION, "linewidth": 1.8},
    )
    axis.set_xscale("log")
    axis.set_xticks([50, 100, 200, 500, 1000, 2000], ["50", "100", "200", "500", "1,000", "2,000"])
    axis.minorticks_off()
    axis.axvline(WINDOW, color=GREY, linestyle="--", linewidth=1)
    axis.set_title(f"dashed: ESM-2 reads {WINDOW:,} residues at once; right: share beyond", pad=8)
    for row, index in enumerate(order):
        beyond = np.mean(groups[index] > WINDOW) if groups[index].size else 0
        axis.text(1.01, row, f"{beyond:.1%}", transform=axis.get_yaxis_transform(), va="center")
    class_axis(axis, order)
    axis.set_xlabel("length (residues, log scale)")
    return fig


def amino_acid_frequencies(sequences: Sequence[str], labels: ArrayLike) -> pd.DataFrame:
    """The share of each of the 20 amino acids in all residues of a class: 15 rows, 20 columns.

    Other letters are not counted. One of each amino acid is added, so that no share is 0.
    """
    labels = check_labels(labels)
    check_same_length(sequences=sequences, labels=labels)
    counts = np.ones((NUM_CLASSES, len(AMINO_ACIDS)))
    for sequence, label in zip(sequences, labels, strict=True):
        counts[label] += [sequence.count(letter) for letter in AMINO_ACIDS]
    shares = counts / counts.sum(axis=1, keepdims=True)
    return pd.DataFrame(shares, index=list(DISPLAY_NAMES), columns=list(AMINO_ACIDS))


def composition(frequencies: pd.DataFrame) -> Figure:
    """Heat map of log2(share in the class / share in proteins that are no ARG).

    Colours end at a factor of eight either way: a class may lack an amino acid altogether.
    ``frequencies`` comes from `amino_acid_frequencies`.
    """
    background = frequencies.iloc[NONARG]
    with np.errstate(divide="ignore"):
        ratio = np.log2(frequencies.drop(index=DISPLAY_NAMES[NONARG]) / background)
    fig, axes = new_figure(figsize=(8.6, 5))
    axis = axes[0, 0]
    image = axis.imshow(ratio, cmap="PuOr_r", vmin=-3, vmax=3, aspect="auto")
    axis.set_xticks(range(ratio.shape[1]), list(ratio.columns))
    axis.set_yticks(range(len(ratio)), list(ratio.index))
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    axis.set_xlabel("amino acid")
    fig.colorbar(image, label="log2 ratio to proteins that are no ARG", pad=0.02, extend="both")
    return fig


def nearest_identity(identities: Mapping[str, ArrayLike]) -> Figure:
    """How near the best training hit of each test protein is, one panel a split.

    ``identities`` gives the identity (0-1, NaN: no hit) of the test proteins of each split.
    """
    fig, axes = new_figure(len(identities), 1, figsize=(8, 2.4 * len(identities) + 0.4))
    edges = np.arange(0, 105, 5)
    top = 0.0
    for axis, (name, values) in zip(axes[:, 0], identities.items(), strict=True):
        percent = np.asarray(values, dtype=float) * 100
        missing = np.isnan(percent)
        share = np.histogram(percent[~missing], edges)[0] / len(percent) * 100
        axis.bar(edges[:-1] + 2.5, share, width=4.6, color=BLUE)
        bar = axis.bar([-7.5], [missing.mean() * 100], width=4.6, color=GREY)
        write_beside(axis, bar, [f"{missing.mean():.0%}"])
        top = max(top, share.max(), missing.mean() * 100)
        half = np.nanmedian(percent) if not missing.all() else np.nan
        axis.set_title(f"{name}: {len(percent):,} test proteins, median hit {half:.0f} %")
        axis.set_ylabel("test proteins (%)")
        axis.set_xticks([-7.5, *range(0, 101, 20)], ["no hit", *map(str, range(0, 101, 20))])
    for axis in axes[:, 0]:
        axis.set_ylim(0, top * 1.15)
    axes[-1, 0].set_xlabel("identity to the nearest training protein (%)")
    return fig


def class_balance(predicted: ArrayLike, training: ArrayLike) -> Figure:
    """Each class's share of the predictions beside its share of the training data, log scale.

    Both are labels (0-14) of any number of proteins. A class never predicted has one dot.
    """
    shares = [
        np.bincount(check_labels(labels), minlength=NUM_CLASSES) / len(np.asarray(labels)) * 100
        for labels in (training, predicted)
    ]
    order = np.argsort(-shares[0], kind="stable")
    train, pred = (np.where(share > 0, share, np.nan)[order] for share in shares)
    fig, axes = new_figure(figsize=(7.6, 5))
    axis, rows = axes[0, 0], np.arange(NUM_CLASSES)
    axis.hlines(rows, np.fmin(train, pred), np.fmax(train, pred), color="#BBBBBB", linewidth=2)
    axis.plot(train, rows, "o", color=BLUE, markersize=8, label="training data")
    axis.plot(pred, rows, "D", color=ORANGE, markersize=6, label="predictions")
    axis.set_xscale("log")
    axis.xaxis.set_major_formatter("{x:g}")
    axis.grid(axis="x", color="#E5E5E5")
    class_axis(axis, order)
    axis.set_xlabel("share of proteins (%, log scale)")
    legend_below(fig, columns=2)
    return fig


def embedding_map(points: ArrayLike, labels: ArrayLike, axes_name: str = "component") -> Figure:
    """A 2-D map of embeddings; colour and marker together tell the 15 classes apart.

    ``points`` has shape (n, 2), ``labels`` (n,). Proteins that are no ARG are small and grey,
    underneath. ``axes_name`` says what the axes are, such as ``"t-SNE"`` or ``"PCA"``.
    """
    points, labels = np.asarray(points, dtype=float), check_labels(labels)
    check_same_length(points=points, labels=labels)
    fig, axes = new_figure(figsize=(8.6, 6.4))
    axis = axes[0, 0]
    common_first = np.argsort(-np.bincount(labels, minlength=NUM_CLASSES), kind="stable")
    for index in [NONARG, *common_first[common_first != NONARG]]:
        if np.any(labels == index):
            _scatter(axis, points[labels == index], index)
    axis.set_xlabel(f"{axes_name} 1")
    axis.set_ylabel(f"{axes_name} 2")
    axis.set_xticks([])
    axis.set_yticks([])
    handles, names = axis.get_legend_handles_labels()
    by_name = dict(zip(names, handles, strict=True))
    shown = [by_name[name] for name in DISPLAY_NAMES if name in by_name]
    fig.legend(handles=shown, loc="outside right upper", frameon=False, markerscale=1.6)
    return fig


def _scatter(axis, points: np.ndarray, index: int) -> None:
    """One class: seven colours, and a second set of markers once they are used up."""
    if index == NONARG:
        style = {"color": "#C4C4C4", "marker": "o", "s": 6, "linewidths": 0}
    else:
        hollow = index >= len(PALETTE)
        color = PALETTE[index % len(PALETTE)]
        style = {"marker": MARKERS[(index + 3 * hollow) % len(MARKERS)], "s": 18, "alpha": 0.8}
        style |= {"facecolors": "none" if hollow else color, "edgecolors": color}
        style["linewidths"] = 0.9 if hollow else 0
    axis.scatter(points[:, 0], points[:, 1], label=DISPLAY_NAMES[index], **style)
