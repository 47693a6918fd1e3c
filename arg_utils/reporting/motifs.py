"""Catalytic motifs of resistance proteins, and whether the model's attribution is higher there.

A motif is a regular expression with a group for each residue that counts; what lies between the
groups states the distances that make a match plausible. Positions count from 0 in arrays and from 1
in figures.
"""

import re

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from tqdm import tqdm

from arg_utils.data.proteins import Proteins, subset
from arg_utils.esm2.batches import MAX_RESIDUES
from arg_utils.esm2.model import Esm2, best_device
from arg_utils.esm2.weights import Weights
from arg_utils.homology.mmseqs import cluster
from arg_utils.labels import CLASSES
from arg_utils.methods.attribution import Attribution, HeadOnEsm2, attribute, motif_auc, shift_test
from arg_utils.methods.frozen import LinearHead
from arg_utils.metrics.scores import Interval
from arg_utils.reporting import style

BETA_LACTAM = CLASSES.index("beta_lactam")
MLS = CLASSES.index("macrolide-lincosamide-streptogramin")
WALKER_A = "(G)..(G).(G)(K)([ST])"  # doi:10.1002/j.1460-2075.1982.tb01276.x
# Class A in Ambler's numbers (doi:10.1042/bj2760269): S70 xx K73, S130 D131 N132, K234 T235 G236.
# Class B (doi:10.1128/AAC.48.7.2347-2349.2004): the zinc ligands H116 x H118 x D120, in subclass B3
# H121 too; G123 is none. ABC-F: both nucleotide-binding domains (doi:10.1021/acsinfecdis.7b00251).
FAMILIES = {
    "class A beta-lactamases": (
        BETA_LACTAM,
        r"^.{40,110}?(S)..(K).{53,61}(S)(D)(N).{98,106}([KR])([TS])(G)",
    ),
    "class B beta-lactamases": (BETA_LACTAM, r"^.{60,170}?(H).(H).(D)(?:(H)|.).G"),
    "ABC-F proteins": (MLS, rf"^.{{20,90}}?{WALKER_A}.{{220,420}}?{WALKER_A}"),
}
IDENTITY, COVERAGE = 0.5, 0.8  # of relatives that are not to be in training
PARTS = 5
# Of `attribute`. Coarse attributions will do over many proteins: with a fifth of the tolerance, a
# protein's gradients have nearly the same order (rank correlation 0.98 or more in three proteins).
WIDTH, TOLERANCE = 5, 1.0
ATTRIBUTIONS = {"integrated gradients": "gradients", "occlusion": "occlusion"}
AGAINST = {"auc": "all other residues", "auc_same": "the same amino acids elsewhere"}
MARKS = (
    {"color": style.BLUE, "marker": "o", "offset": 0.05},
    {"color": style.VERMILLION, "marker": "D", "offset": 0.25},
)
RESAMPLES = 2000


def motif_residues(family: str, sequence: str) -> np.ndarray:
    """Positions of the motif's residues, int64, in ESM-2's window; none where it is not there."""
    match = re.search(FAMILIES[family][1], sequence[:MAX_RESIDUES])
    regions = match.regs[1:] if match else ()
    return np.array([start for start, end in regions if end > start], dtype=np.int64)


def motif_names(sequence: str, motif: np.ndarray) -> dict[float, str]:
    """The motif's parts as ``SxxK``, by the position of their middle."""
    parts = np.split(motif, np.flatnonzero(np.diff(motif) > 4) + 1) if len(motif) else []
    return {
        (part[0] + part[-1]) / 2: "".join(
            sequence[i] if i in part else "x" for i in range(part[0], part[-1] + 1)
        )
        for part in parts
    }


def family_members(data: Proteins) -> tuple[pd.DataFrame, np.ndarray]:
    """One protein of each cluster of relatives in each family, and all proteins' parts.

    Relatives are clusters at `IDENTITY`. The table has the columns family, protein (position in
    ``data``) and motif. A part, int64 [n], holds clusters as a whole; proteins of no family's class
    have -1.
    """
    parts, rows = np.full(len(data.labels), -1), []
    clusters = np.full(len(data.labels), -1)
    for label in dict.fromkeys(label for label, _ in FAMILIES.values()):
        everyone = np.flatnonzero(data.labels == label)
        clusters[everyone] = cluster([data.sequences[i] for i in everyone], IDENTITY, COVERAGE)
        parts[everyone] = clusters[everyone] % PARTS
    for family, (label, _) in FAMILIES.items():
        seen: set[int] = set()
        for i in np.flatnonzero(data.labels == label).tolist():
            motif = motif_residues(family, data.sequences[i])
            if len(motif) and clusters[i] not in seen:
                seen.add(clusters[i])
                rows.append((family, i, motif))
    return pd.DataFrame(rows, columns=["family", "protein", "motif"]), parts


def motif_attributions(
    data: Proteins, weights: Weights, most: int | None = None, progress: bool = True
) -> pd.DataFrame:
    """Attributions of `family_members`, by heads that have not learned from their relatives.

    For each part a head is fitted on all proteins but this part's. Where it predicts the right
    class, the log-probability of that class is attributed. ``most`` proteins per family are asked
    for, all unless given. One row per protein: family, protein, motif, sequence (in ESM-2's
    window), right (whether its class is predicted) and, float64 [residues] in nats, gradients and
    occlusion; None if not right.
    """
    members, parts = family_members(data)
    members = members.groupby("family", sort=False).head(most or len(members))
    model, rows = Esm2(weights, torch.float32).to(best_device()), []
    with tqdm(total=len(members), desc="attribution", unit="protein", disable=not progress) as bar:
        for part, group in members.groupby(parts[members["protein"]]):
            rest = subset(data, np.flatnonzero(parts != part))
            asked = subset(data, group["protein"])
            head, _ = LinearHead.fit(rest.sequences, rest.labels)
            right = head.log_probabilities(asked.sequences).argmax(axis=1) == asked.labels
            told = subset(asked, np.flatnonzero(right))
            results = attribute(
                HeadOnEsm2(model, head), told.sequences, told.labels, WIDTH, TOLERANCE
            )
            for row, sure in zip(group.to_dict("records"), right, strict=True):
                result = next(results) if sure else None
                row |= {"sequence": data.sequences[row["protein"]][:MAX_RESIDUES], "right": sure}
                rows.append(
                    row | {name: getattr(result, name, None) for name in ATTRIBUTIONS.values()}
                )
                bar.update()
    columns = [*members, "sequence", "right", *ATTRIBUTIONS.values()]
    return pd.DataFrame(rows, columns=columns).sort_values("protein", ignore_index=True)


def motif_tests(attributed: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Is attribution higher at the motif? Per family and method, and the AUC of each protein.

    The first table has the columns family, method, proteins, p (of `shift_test`), and ``auc`` and
    ``auc_same``, each an `Interval`: the mean over proteins of `motif_auc`, and of the same against
    the same amino acids elsewhere in the protein. With one protein per cluster, to resample
    proteins is to resample clusters. The second has family, method, auc and auc_same per protein.
    """
    right, tests, proteins = attributed[attributed["right"].astype(bool)], [], []
    for family, group in right.groupby("family", sort=False):
        for method, column in ATTRIBUTIONS.items():
            own = pd.DataFrame({"family": family, "method": method,
                "auc": map(motif_auc, group[column], group["motif"]),
                "auc_same": map(same_residue_auc, group[column], group["motif"], group["sequence"]),
            })  # fmt: skip
            tests.append({
                "family": family, "method": method, "proteins": len(group),
                "auc": mean_interval(own["auc"]), "auc_same": mean_interval(own["auc_same"]),
                "p": shift_test([*group[column]], [*group["motif"]]),
            })  # fmt: skip
            proteins.append(own)
    columns = ["family", "method", "proteins", "auc", "auc_same", "p"]
    empty = pd.DataFrame(columns=["family", "method", "auc", "auc_same"])
    return pd.DataFrame(tests, columns=columns), pd.concat(proteins or [empty], ignore_index=True)


def same_residue_auc(values: np.ndarray, motif: np.ndarray, sequence: str) -> float:
    """`motif_auc` of each motif residue against the same amino acid elsewhere in the sequence.

    The mean over the motif's residues whose amino acid occurs elsewhere; NaN where none does.
    """
    letters, outside = np.array([*sequence]), np.delete(np.arange(len(sequence)), motif)
    rivals = [outside[letters[outside] == letters[i]] for i in motif]
    aucs = [
        motif_auc(values[np.append(others, i)], np.array([len(others)]))
        for i, others in zip(motif, rivals, strict=True) if len(others)
    ]  # fmt: skip
    return float(np.mean(aucs)) if aucs else np.nan


def mean_interval(values: pd.Series) -> Interval:
    """The mean and its 95 % interval by resampling, missing values left out."""
    there = values.dropna().to_numpy()
    if not len(there):
        return Interval(np.nan, np.nan, np.nan)
    draws = np.random.default_rng(0).choice(there, (RESAMPLES, len(there))).mean(axis=1)
    low, high = np.quantile(draws, [0.025, 0.975])
    return Interval(float(there.mean()), float(low), float(high))


def motif_table(tests: pd.DataFrame) -> pd.DataFrame:
    """The first table of `motif_tests` as people read it."""
    written = {
        name: [f"{auc.value:.2f} ({auc.low:.2f}–{auc.high:.2f})" for auc in tests[column]]
        for column, name in AGAINST.items()
    }
    p = [f"{value:.3f}" for value in tests["p"]]
    return tests[["family", "method", "proteins"]].assign(**written, p=p)


def attribution_profile(
    sequence: str, result: Attribution, motif: np.ndarray, title: str
) -> Figure:
    """Both attributions of a protein along its sequence, the motif's residues in colour."""
    fig, axes = style.new_figure(len(ATTRIBUTIONS), 1, figsize=(10, 4.8), sharex=True)
    for axis, (method, column) in zip(axes[:, 0], ATTRIBUTIONS.items(), strict=True):
        values = getattr(result, column)
        power = min(0, int(np.floor(np.log10(np.abs(values).max() or 1.0))))
        unit = f"$10^{{{power}}}$ nats" if power < -1 else "nats"
        values = values / 10.0**power if power < -1 else values
        places = np.arange(1, len(values) + 1)
        axis.bar(places, values, width=1, color=style.GREY)
        axis.bar(places[motif], values[motif], width=1, color=style.VERMILLION)
        axis.axhline(0, color=style.BLACK, linewidth=0.6)
        axis.set(ylabel=f"{method}\n({unit})", xlim=(0, len(values) + 1))
        for i in motif:
            axis.axvline(i + 1, color=style.VERMILLION, alpha=0.2, linewidth=2, zorder=0)
    top = axes[0, 0]
    for middle, name in motif_names(sequence, motif).items():
        where = top.get_xaxis_transform()
        top.text(middle + 1, 1.01, name, ha="center", transform=where, color=style.VERMILLION)
    top.set_title(title, pad=20)
    axes[-1, 0].set_xlabel("residue")
    return fig


def motif_enrichment(tests: pd.DataFrame, proteins: pd.DataFrame) -> Figure:
    """The AUC of each protein at its motif, and the means with their intervals; a panel per method.

    The tables are those of `motif_tests`.
    """
    families = list(tests["family"].unique())
    fig, axes = style.new_figure(
        1, len(ATTRIBUTIONS), figsize=(10, 2 + 0.8 * len(families)), sharey=True
    )
    jitter = np.random.default_rng(0)
    for axis, method in zip(axes[0], ATTRIBUTIONS, strict=True):
        own, means = (table[table["method"] == method] for table in (proteins, tests))
        rows = own["family"].map(families.index) + jitter.uniform(-0.32, -0.12, len(own))
        axis.plot(own["auc"], rows, ".", color=style.GREY, markersize=4, label="each protein")
        for (column, name), look in zip(AGAINST.items(), MARKS, strict=True):
            value, low, high = np.array([*means[column]]).reshape(-1, 3).T
            rows = means["family"].map(families.index) + look["offset"]
            axis.errorbar(
                value, rows, xerr=(value - low, high - value), capsize=3, linestyle="",
                color=look["color"], marker=look["marker"], label=f"mean against {name}",
            )  # fmt: skip
        for family, p in zip(means["family"], means["p"], strict=True):
            axis.text(0.02, families.index(family) - 0.2, f"p = {p:.3f}", fontsize=9)
        axis.axvline(0.5, color=style.GREY, linestyle="--", linewidth=1)
        axis.set(xlim=(0, 1.02), xlabel="AUC (dashed: chance)", title=method)
    counts = tests.drop_duplicates("family").set_index("family")["proteins"]
    axes[0, 0].set_yticks(range(len(families)), [f"{f}\nn = {counts[f]}" for f in families])
    axes[0, 0].set(ylim=(len(families) - 0.4, -0.6), ylabel="family")
    style.legend_below(fig, columns=3)
    return fig


def verdicts(tests: pd.DataFrame) -> list[str]:
    """A sentence for each of the `motif_tests`; p is compared with 0.05 / number of tests."""
    sentences = []
    for test in tests.to_dict("records"):
        auc, shown = test["auc"], test["p"] <= 0.05 / len(tests)
        sentences.append(
            f"{test['family']}, {test['method']}: AUC {auc.value:.2f} "
            f"({auc.low:.2f}–{auc.high:.2f}, {test['proteins']} proteins), p = {test['p']:.3f}: "
            f"{'higher than chance' if shown else 'not shown to be higher than chance'}"
        )
    return sentences
