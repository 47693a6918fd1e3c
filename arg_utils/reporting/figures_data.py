"""Figures of the data: class sizes, lengths, composition, identity to training, embeddings."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray
from sklearn.manifold import TSNE

from arg_utils.data.fasta import cap_per_class, subset
from arg_utils.esm2.batches import MAX_RESIDUES
from arg_utils.esm2.embeddings import embed
from arg_utils.experiments.outcomes import load_fitted
from arg_utils.experiments.workspace import Workspace
from arg_utils.labels import DISPLAY_NAMES, NONARG, NUM_CLASSES
from arg_utils.methods.blocks import LoraInBlocks
from arg_utils.methods.finetuning import tuned_features
from arg_utils.metrics.scores import check_labels, check_same_length
from arg_utils.reporting.style import (
    BLUE,
    GREY,
    LINES,
    MARKERS,
    ORANGE,
    PALETTE,
    VERMILLION,
    class_axis,
    legend_below,
    new_figure,
    per_class,
    write_right,
)

AMINO_ACIDS = "ACDEFGHIKLMNPQRSTVWY"


def class_counts(counts: Mapping[str, ArrayLike]) -> Figure:
    """Proteins per class, one panel per part, on one logarithmic axis.

    ``counts`` gives 15 numbers for each part's name, such as ``{"train": ..., "val": ...}``.
    """
    table = {name: per_class(values, name) for name, values in counts.items()}
    titles = [f"{name}: {values.sum():,.0f} proteins" for name, values in table.items()]
    return _count_panels(list(table.values()), titles, next(iter(table.values())), 3.4)


def cap_effect(counts: ArrayLike, caps: Sequence[int | None] = (50, 100, 500, None)) -> Figure:
    """Proteins per class that remain under each cap, with the imbalance that is left.

    ``counts`` are 15 numbers; a cap of None keeps all. The imbalance is the largest class over
    the smallest that is not empty.
    """
    counts = per_class(counts, "counts")
    panels = [counts if cap is None else np.minimum(counts, cap) for cap in caps]
    titles = [
        f"{'no cap' if cap is None else f'at most {cap:,}'}\n{left.sum():,.0f} proteins\n"
        f"imbalance {left.max() / left[left > 0].min():,.0f} : 1"
        for cap, left in zip(caps, panels, strict=True)
    ]
    return _count_panels(panels, titles, counts, 2.5)


def _count_panels(
    panels: Sequence[NDArray], titles: Sequence[str], sizes: NDArray, width: float
) -> Figure:
    """Bars on a shared log axis, each with its count, the class of the largest size on top."""
    order = np.argsort(-sizes, kind="stable")
    fig, axes = new_figure(1, len(panels), figsize=(width * len(panels) + 1.4, 5), sharex=True)
    most = max(values.max() for values in panels)
    for number, (axis, values, title) in enumerate(zip(axes[0], panels, titles, strict=True)):
        sns.barplot(
            x=values[order], y=np.arange(NUM_CLASSES), orient="y", width=0.72, ax=axis,
            color=BLUE, saturation=1,
        )  # fmt: skip
        axis.set_xscale("log")
        axis.set_xlim(0.8, most * 6)
        axis.xaxis.set_major_formatter("{x:,.0f}")
        for row, value in enumerate(values[order]):  # an empty class has no bar, but its 0
            axis.text(max(value, 0.8) * 1.12, row, f"{value:,.0f}", va="center", fontsize=8)
        class_axis(axis, order, labelled=number == 0)
        axis.set_title(title)
        axis.set_xlabel("proteins (log scale)")
    return fig


def lengths_by_class(lengths: ArrayLike, labels: ArrayLike) -> Figure:
    """Box plots of protein lengths in residues; the dashed line is ESM-2's window of 1,022.

    Boxes are quartiles, whiskers the 5th and 95th percentile; the share beyond the window is
    written on the right. ``lengths`` and ``labels`` have shape (n,).
    """
    data = pd.DataFrame({"class": check_labels(labels), "length": _same(lengths, labels)})
    lengths_of = data.groupby("class")["length"]
    medians = lengths_of.median().reindex(range(NUM_CLASSES), fill_value=0)
    order = medians.sort_values(ascending=False, kind="stable").index
    beyond = lengths_of.apply(lambda n: (n > MAX_RESIDUES).mean()).reindex(order, fill_value=0)
    fig, axes = new_figure(figsize=(8, 5))
    axis = axes[0, 0]
    sns.boxplot(
        data, x="length", y="class", orient="y", order=order, whis=(5, 95), showfliers=False,
        width=0.6, log_scale=(True, False), ax=axis, color="#CFE3F1", saturation=1,
        linecolor=BLUE, medianprops={"color": VERMILLION, "linewidth": 1.8},
    )  # fmt: skip
    ticks = [50, 100, 200, 500, 1000, 2000]
    axis.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axis.minorticks_off()
    axis.axvline(MAX_RESIDUES, color=GREY, linestyle="--", linewidth=1)
    title = f"dashed: ESM-2 reads {MAX_RESIDUES:,} residues at once; right: share beyond"
    axis.set_title(title, pad=8)
    write_right(axis, [f"{share:.1%}" for share in beyond])
    class_axis(axis, order)
    axis.set_xlabel("length (residues, log scale)")
    return fig


def _same(values: ArrayLike, labels: ArrayLike) -> NDArray[np.float64]:
    values = np.asarray(values, dtype=float)
    check_same_length(values=values, labels=np.asarray(labels))
    return values


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
    others = frequencies.drop(index=DISPLAY_NAMES[NONARG])
    fig, axes = new_figure(figsize=(8.6, 5))
    sns.heatmap(
        np.log2(others / frequencies.iloc[NONARG]), cmap="PuOr_r", vmin=-3, vmax=3, ax=axes[0, 0],
        cbar_kws={"label": "log2 ratio to proteins that are no ARG", "pad": 0.02, "extend": "both"},
    )  # fmt: skip
    axes[0, 0].tick_params(length=0, rotation=0)
    axes[0, 0].set_xlabel("amino acid")
    return fig


def nearest_identity(identities: Mapping[str, ArrayLike]) -> Figure:
    """Identity of test proteins to their best hit in training, one panel per split.

    ``identities`` gives the identity (0-1, NaN: no hit) of the test proteins of each split.
    """
    fig, axes = new_figure(
        len(identities), 1, figsize=(8, 2.4 * len(identities) + 0.4), sharex=True, sharey=True
    )
    for axis, (name, values) in zip(axes[:, 0], identities.items(), strict=True):
        percent = np.asarray(values, dtype=float) * 100
        missing = np.isnan(percent)
        weights = np.full(len(percent), 100 / len(percent))
        sns.histplot(
            x=percent[~missing], weights=weights[~missing], bins=[*range(0, 105, 5)], shrink=0.92,
            color=BLUE, alpha=1, linewidth=0, ax=axis,
        )  # fmt: skip
        bar = axis.bar([-7.5], [missing.mean() * 100], width=4.6, color=GREY)
        axis.bar_label(bar, [f"{missing.mean():.0%}"], padding=3, fontsize=8)
        half = np.nan if missing.all() else np.nanmedian(percent)
        axis.set_title(f"{name}: {len(percent):,} test proteins, median hit {half:.0f} %")
        axis.set_ylabel("test proteins (%)")
    ticks = range(0, 101, 20)
    axes[-1, 0].set_xticks([-7.5, *ticks], ["no hit", *map(str, ticks)])
    axes[-1, 0].set_ylim(top=axes[-1, 0].get_ylim()[1] * 1.06)
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
    axis.grid(axis="x", color=LINES)
    class_axis(axis, order)
    axis.set_xlabel("share of proteins (%, log scale)")
    legend_below(fig, columns=2)
    return fig


def project(features: NDArray, seed: int = 0) -> NDArray:
    """Features [n, width] as points [n, 2]: neighbours stay neighbours, distances say little.

    t-SNE (van der Maaten & Hinton 2008, JMLR 9:2579), from scikit-learn, started from the first
    two principal components.
    """
    scaled = (features - features.mean(axis=0)) / (features.std(axis=0) + 1e-6)
    perplexity = min(30.0, max(1.0, (len(features) - 1) / 3))
    return TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(scaled)


def embeddings_before_and_after(
    work: Workspace, method: str, cap: int = 60
) -> tuple[NDArray, dict[str, NDArray]]:
    """Scored proteins, at most ``cap`` per class, projected from frozen and fine-tuned features.

    Parameters
    ----------
    method : one that trains ESM-2's blocks; the run of the random split is loaded.

    Returns
    -------
    Classes int64 [n], and points [n, 2] under ``before`` and ``after``.
    """
    chosen = subset(work.scored, cap_per_class(work.scored.labels, cap, work.profile.seed))
    model = cast(LoraInBlocks, load_fitted(work, method)).model
    after = tuned_features(model, chosen.sequences, progress=False)
    before = embed(chosen.sequences, progress=False)
    return chosen.labels, {"before": project(before), "after": project(after)}


def embedding_map(points: ArrayLike, labels: ArrayLike, axes_name: str = "t-SNE") -> Figure:
    """A 2-D map of embeddings; colour and marker together tell the 15 classes apart.

    ``points`` has shape (n, 2), ``labels`` (n,). Proteins that are no ARG are small and grey,
    underneath. ``axes_name`` says what the axes are.
    """
    labels, points = check_labels(labels), _same(points, labels)
    fig, axes = new_figure(figsize=(8.6, 6.4))
    axis = axes[0, 0]
    common_first = np.argsort(-np.bincount(labels, minlength=NUM_CLASSES), kind="stable")
    for index in [NONARG, *common_first[common_first != NONARG]]:
        if np.any(labels == index):
            _scatter(axis, points[labels == index], index)
    axis.set(xlabel=f"{axes_name} 1", ylabel=f"{axes_name} 2", xticks=[], yticks=[])
    handles, names = axis.get_legend_handles_labels()
    by_name = dict(zip(names, handles, strict=True))
    shown = [by_name[name] for name in DISPLAY_NAMES if name in by_name]
    fig.legend(handles=shown, loc="outside right upper", frameon=False, markerscale=1.6)
    return fig


def _scatter(axis: Axes, points: NDArray, index: int) -> None:
    """One class: seven colours, and a second set of markers once they are used up."""
    style: dict[str, Any]
    if index == NONARG:
        style = {"color": "#C4C4C4", "marker": "o", "s": 6, "linewidths": 0}
    else:
        hollow = index >= len(PALETTE)
        color = PALETTE[index % len(PALETTE)]
        style = {"marker": MARKERS[(index + 3 * hollow) % len(MARKERS)], "s": 18, "alpha": 0.8}
        style |= {"facecolors": "none" if hollow else color, "edgecolors": color}
        style["linewidths"] = 0.9 if hollow else 0
    axis.scatter(points[:, 0], points[:, 1], label=DISPLAY_NAMES[index], **style)
