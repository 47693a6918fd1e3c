"""The data: tables and figures of classes, lengths, composition, identities and splits."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from arg_utils.data.folders import DataSet
from arg_utils.data.open_data import read_report
from arg_utils.data.proteins import Record, proteins
from arg_utils.errors import counted
from arg_utils.esm2.batches import MAX_RESIDUES
from arg_utils.experiments.workspace import Workspace
from arg_utils.homology.mmseqs import best_hits
from arg_utils.homology.splits import PARTS, homology_fold
from arg_utils.labels import CLASSES, DISPLAY_NAMES, NONARG, NUM_CLASSES
from arg_utils.metrics.scores import check_labels, check_same_length
from arg_utils.reporting import style

# Grouped by chemistry: hydrophobic, aromatic, special, polar, positive, negative.
AMINO_ACIDS = "AVILM" + "FWY" + "CGP" + "STNQ" + "KRH" + "DE"
GROUP_ENDS = (5, 8, 11, 15, 18)
NO_STANDARD = str.maketrans("", "", AMINO_ACIDS)


def build_table(work: Workspace) -> pd.DataFrame:
    """What building the data read, removed and left: step, detail, proteins.

    The competition's files are used as they are; for them it is what was read of each.
    """
    if work.data.name == "open":
        return read_report(work.data.folder).table()
    rows = [("read", f"{part}.fasta", len(getattr(work.data, part))) for part in PARTS]
    return pd.DataFrame(rows, columns=["step", "detail", "proteins"])


def class_table(data: DataSet) -> pd.DataFrame:
    """Proteins of each class in train, val and (where known) test, and the share in train."""
    parts = {"train": proteins(data.train).labels, "val": proteins(data.val).labels}
    if data.test_labels is not None:
        parts["test"] = data.test_labels
    table = pd.DataFrame(
        {part: np.bincount(labels, minlength=NUM_CLASSES) for part, labels in parts.items()},
        index=pd.Index(DISPLAY_NAMES, name="class"),
    )
    return table.assign(share=(table["train"] / table["train"].sum()).round(4))


def odd_residues(data: Sequence[Record]) -> pd.DataFrame:
    """Letters other than the 20 amino acids: in how many proteins, and how many residues."""
    odd = [Counter(record.sequence.translate(NO_STANDARD)) for record in data]
    letters = [item for counts in odd for item in counts.items()]
    table = pd.DataFrame(letters, columns=["letter", "count"]).groupby("letter")["count"]
    return table.agg(proteins="size", residues="sum").reset_index()


def nearest_identities(work: Workspace) -> pd.DataFrame:
    """Identity (0-1, NaN without a hit) of held-out proteins to their best reference protein.

    Columns: split, identity, kind (``ARGs``, ``other proteins``, or ``unlabelled``). ``random`` is
    of the test part to train and validation (of validation to train, where nothing is tested),
    ``homology`` of every tested fold's proteins, without the excluded ones, likewise.
    """
    data = work.data
    held_out, references = (
        (data.test, data.train + data.val) if data.test else (data.val, data.train)
    )
    labels = data.test_labels if data.test else proteins(data.val).labels
    kind = "unlabelled" if labels is None else _kinds(labels)
    hits = best_hits([r.sequence for r in held_out], [r.sequence for r in references])
    near = hits.set_index("query")["identity"].reindex(range(len(held_out)))
    frames = [pd.DataFrame({"split": "random", "identity": near, "kind": kind})]
    records, table = work.labelled
    kinds = _kinds(proteins(records).labels)
    for fold in work.tested_folds:
        parts = homology_fold(records, table, fold, work.profile.seed)
        near = parts.best_hits.set_index("query")["identity"].reindex(parts.test)
        columns = {"split": "homology", "identity": near, "kind": kinds[parts.test]}
        frames.append(pd.DataFrame(columns))
    return pd.concat(frames, ignore_index=True)


def _kinds(labels: NDArray) -> NDArray:
    return np.where(labels == NONARG, "other proteins", "ARGs")


def split_counts(table: pd.DataFrame) -> pd.DataFrame:
    """Proteins of each class in each part of the random split and each homology fold."""
    random = pd.crosstab(table["class"], table["random"])
    folds = pd.crosstab(table["class"], table["fold"]).add_prefix("fold ")
    clusters = table.groupby("class")["cluster"].nunique().rename("clusters")
    counts = random[[part for part in PARTS if part in random]].join(folds).join(clusters)
    counts = counts.reindex([name for name in CLASSES if name in counts.index])
    return counts.rename(dict(zip(CLASSES, DISPLAY_NAMES, strict=True)))


def straddling_clusters(table: pd.DataFrame) -> int:
    """How many homology clusters have members in more than one fold: none, unless at fault."""
    return int(table.groupby("cluster")["fold"].nunique().gt(1).sum())


def fold_table(work: Workspace) -> pd.DataFrame:
    """Each tested homology fold: sizes of its parts, exclusions, and classes without training."""
    records, table = work.labelled
    labels, clusters = proteins(records).labels, table["cluster"].to_numpy()
    rows = {}
    for fold in work.tested_folds:
        parts = homology_fold(records, table, fold, work.profile.seed)
        train, val, test = (set(clusters[p]) for p in (parts.train, parts.val, parts.test))
        absent = sorted(set(labels[parts.test]) - set(labels[parts.train]))
        rows[fold] = {
            "train": len(parts.train),
            "val": len(parts.val),
            "test": len(parts.test),
            "excluded": len(parts.excluded),
            "clusters shared": len(train & val) + len((train | val) & test),
            "tested classes without training": ", ".join(np.take(DISPLAY_NAMES, absent)) or "none",
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("fold")


def capped(counts: Sequence[int], caps: Sequence[int | None]) -> dict[str, NDArray]:
    """Proteins of each class that remain under each cap per class; a cap of None keeps all."""
    return {
        "no cap" if cap is None else f"at most {cap:,}": np.minimum(counts, cap or np.inf)
        for cap in caps
    }


def class_counts(counts: Mapping[str, ArrayLike], imbalance: bool = True) -> Figure:
    """Proteins per class on a log axis, a panel per part, the largest class of all on top.

    ``counts`` gives 15 numbers for each part's name. The imbalance, written above each panel where
    ``imbalance`` asks for it, is the largest class over the smallest that is not empty.
    """
    table = pd.DataFrame({name: np.asarray(c, dtype=float) for name, c in counts.items()})
    if len(table) != NUM_CLASSES:
        raise ValueError(f"counts must have shape ({NUM_CLASSES},), not ({len(table)},)")
    order = np.argsort(-table.sum(axis=1), kind="stable")
    fig, axes = style.new_figure(1, len(counts), figsize=(11.6, 5), sharex=True)
    for axis, (name, values) in zip(axes[0], table.items(), strict=True):
        axis.barh(np.arange(NUM_CLASSES), values[order], height=0.72, color=style.BLUE)
        axis.set_xscale("log")
        axis.set_xlim(0.8, table.to_numpy().max() * 6)
        axis.xaxis.set_major_formatter("{x:,.0f}")
        for row, value in enumerate(values[order]):  # an empty class has no bar, but its 0
            axis.text(max(value, 0.8) * 1.12, row, f"{value:,.0f}", va="center", fontsize=8)
        style.class_axis(axis, order, labelled=axis is axes[0, 0])
        title = f"{name}: {counted(int(values.sum()), 'protein')}"
        if imbalance:
            title += f"\nimbalance {values.max() / values[values > 0].min():,.0f} : 1"
        axis.set_title(title)
        axis.set_xlabel("proteins (log scale)")
    return fig


def lengths_by_class(lengths: ArrayLike, labels: ArrayLike) -> Figure:
    """Box plots of protein lengths in residues; the dashed line is ESM-2's window of 1,022.

    Boxes are quartiles, whiskers the 5th and 95th percentile; the median, and the share beyond
    the window, are written on the right. ``lengths`` and ``labels`` have shape (n,).
    """
    check_same_length(lengths=lengths, labels=labels)
    labels, lengths = check_labels(labels), np.asarray(lengths)
    groups = [lengths[labels == index] for index in range(NUM_CLASSES)]
    medians = np.array([np.median(group) if group.size else 0 for group in groups])
    order = np.argsort(-medians, kind="stable")
    fig, axes = style.new_figure(figsize=(8, 5))
    axis = axes[0, 0]
    axis.boxplot(
        [groups[index] for index in order], positions=range(NUM_CLASSES), whis=(5, 95), widths=0.6,
        orientation="horizontal", showfliers=False, patch_artist=True,
        boxprops={"facecolor": "#CFE3F1", "edgecolor": style.BLUE},
        whiskerprops={"color": style.BLUE}, capprops={"color": style.BLUE},
        medianprops={"color": style.VERMILLION, "linewidth": 1.8},
    )  # fmt: skip
    axis.set_xscale("log")
    ticks = [50, 100, 200, 500, 1000, 2000]
    axis.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axis.minorticks_off()
    axis.axvline(MAX_RESIDUES, color=style.GREY, linestyle="--", linewidth=1)
    title = f"dashed: ESM-2 reads {MAX_RESIDUES:,} residues at once; right: median, share beyond"
    axis.set_title(title, pad=8)
    beyond = [(group > MAX_RESIDUES).sum() / max(group.size, 1) for group in groups]
    texts = [f"{medians[index]:,.0f}   {beyond[index]:.1%}" for index in order]
    style.write_right(axis, texts)
    style.class_axis(axis, order)
    axis.set_xlabel("length (residues, log scale)")
    return fig


def amino_acid_frequencies(sequences: Sequence[str], labels: ArrayLike) -> pd.DataFrame:
    """The share of each of the 20 amino acids in all residues of a class: 15 rows, 20 columns.

    Other letters are not counted. One of each amino acid is added, so that no share is 0.
    """
    check_same_length(sequences=sequences, labels=labels)
    counts = np.ones((NUM_CLASSES, len(AMINO_ACIDS)))
    for sequence, label in zip(sequences, check_labels(labels), strict=True):
        counts[label] += [sequence.count(letter) for letter in AMINO_ACIDS]
    shares = counts / counts.sum(axis=1, keepdims=True)
    return pd.DataFrame(shares, index=list(DISPLAY_NAMES), columns=list(AMINO_ACIDS))


def composition(frequencies: pd.DataFrame) -> Figure:
    """Heat map of log2(share in the class / share in non-ARG proteins).

    Amino acids are grouped by chemistry; the classes richest in hydrophobic ones, and so in
    membrane proteins, are on top. ``frequencies`` comes from `amino_acid_frequencies`.
    """
    others = frequencies.drop(index=DISPLAY_NAMES[NONARG])
    hydrophobic = others.iloc[:, : GROUP_ENDS[1]].sum(axis=1)
    others = others.loc[hydrophobic.sort_values(ascending=False, kind="stable").index]
    fig, axes = style.new_figure(figsize=(8.6, 5))
    axis = axes[0, 0]
    sns.heatmap(
        np.log2(others / frequencies.iloc[NONARG]), cmap="PuOr_r", vmin=-1.5, vmax=1.5, ax=axis,
        cbar_kws={"label": "log2 ratio to non-ARG proteins", "pad": 0.02, "extend": "both"},
    )  # fmt: skip
    axis.vlines(GROUP_ENDS, 0, len(others), color="white", linewidth=4)
    axis.tick_params(length=0, rotation=0)
    axis.set_xlabel("aliphatic · aromatic · C, G, P · polar · positive · negative")
    axis.set_title("classes sorted by their share of aliphatic and aromatic residues")
    return fig


def nearest_identity(identities: pd.DataFrame) -> Figure:
    """Identity of held-out proteins to their best reference protein, one panel per split.

    ``identities`` comes from `nearest_identities`; proteins without a hit have the leftmost bar.
    """
    splits = identities.groupby("split", sort=False)
    fig, axes = style.new_figure(len(splits), 1, figsize=(8, 2.6 * len(splits) + 0.4), sharex=True)
    colors = {"ARGs": style.VERMILLION, "other proteins": style.BLUE, "unlabelled": style.GREY}
    for axis, (split, part) in zip(axes[:, 0], splits, strict=True):
        percent = (part["identity"] * 100).fillna(-7.5)
        sns.histplot(
            x=percent, hue=part["kind"], weights=100 / len(part), palette=colors, alpha=1, ax=axis,
            hue_order=[kind for kind in colors if kind in set(part["kind"])], multiple="stack",
            bins=[-10, *range(-5, 105, 5)], shrink=0.92, linewidth=0,
        )  # fmt: skip
        axis.get_legend().set_title(None)
        shares = (percent >= 90).groupby(part["kind"]).mean()
        near = ", ".join(f"{share:.0%} of {kind}" for kind, share in shares.items())
        axis.set_title(
            f"{split} split: {near} have a reference protein of ≥ 90 % identity", fontsize=10
        )
        axis.set_ylabel(f"% of {len(part):,} proteins")
    ticks = range(0, 101, 20)
    axes[-1, 0].set_xticks([-7.5, *ticks], ["no hit", *map(str, ticks)])
    axes[-1, 0].set_xlabel("identity to the nearest reference protein (%)")
    return fig
