"""Proteins of known class, searched once, and what their hits say for each class."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from arg_utils.data.proteins import Proteins
from arg_utils.homology.mmseqs import best_hits, profile_search, search
from arg_utils.homology.splits import homology_clusters, representatives
from arg_utils.labels import NONARG, NUM_CLASSES
from arg_utils.methods.evidence import NOISE, SEARCH, profiled
from arg_utils.methods.frozen import Standardiser, frozen_features
from benchmarks.ablations.residues import Residues

FEWEST = 15  # proteins of a mechanism that is told apart
SOFTNESS = 0.05  # of the vote by cosines
WEAK = 60  # bits: below, residues are compared too
HIT = ("strength", "identity", "query_coverage", "target_coverage")  # the order of evidence.Hit
COMPETITION = {  # of a class's hits, beyond the hybrid's columns
    "second": "strength in the second-best family",
    "families": "number of families hit",
    "margin": "margin of strength to the best rival class",
    "vote": "share of a vote of families, each its bits squared",
    "normalised": "bits over the geometric mean of both self-scores",
    "nearest": "cosine of the nearest embedding among the proteins hit",
    "nearest vote": "share of a vote of families by that cosine",
    "residues": f"MaxSim of residues in the strongest hit, under {WEAK} bits",
}


@dataclass(frozen=True)
class Known:
    """Proteins of known class and the hits among them that are stronger than noise.

    ``targets`` number pairs of class and mechanism, ``class_of`` is the class of each pair.
    ``single`` are hits of representatives, ``near`` the closest of any, ``family`` of profiles.
    ``background`` are features of further non-ARGs, none of which resembles any of the proteins;
    ``quantiles`` are `Residues.quantiles`, standardised, if these are known.
    """

    labels: np.ndarray
    clusters: np.ndarray
    features: np.ndarray
    targets: np.ndarray
    class_of: np.ndarray
    single: pd.DataFrame
    near: pd.DataFrame
    family: pd.DataFrame
    background: np.ndarray
    quantiles: np.ndarray


def mechanisms(data: Proteins) -> np.ndarray:
    """Mechanism of each protein by its header, '' where it names none, rare subgroups merged."""
    fields = [header.split("|") for header in data.headers or [""] * len(data.sequences)]
    named = zip(fields, data.labels, strict=True)
    out = pd.Series(["" if c == NONARG else "|".join(text[5:6]) for text, c in named])
    rare = out.map(out.value_counts()) < FEWEST
    return out.where(~rare, out.str.partition(":")[0]).to_numpy(str)


def gather(
    data: Proteins,
    mechanism: np.ndarray,
    background: Sequence[str] = (),
    residues: Residues | None = None,
    proteins: Mapping[str, Any] = MappingProxyType({}),
    profiles: Mapping[str, Any] = MappingProxyType({}),
) -> Known:
    """Search all proteins once, and say of each hit what `columns` needs.

    ``mechanism`` names that of each protein; of the ``background``, what resembles one of them is
    left out, so that no tested protein has a relative there. Without ``residues``, their column is
    zero. ``proteins`` and ``profiles`` are other options of the searches among these.
    """
    sequences, labels = list(data.sequences), data.labels
    raw, clusters = frozen_features(sequences), homology_clusters(sequences)
    standardise, first = Standardiser.learn(raw), representatives(sequences)[0]
    features = standardise(raw)
    like = set(best_hits(background, sequences)["query"]) if background else set()
    further = [sequence for place, sequence in enumerate(background) if place not in like]
    families = profiled(sequences, labels)
    some = [sequences[i] for i in first]
    single = search(sequences, some, **SEARCH | {"max_hits": 1000} | dict(proteins))
    single = single.assign(target=first[single["target"]])
    near = search(sequences, sequences, **SEARCH | dict(proteins))
    own = near[near["query"] == near["target"]].set_index("query")["bits"]
    length = np.array([len(sequence) for sequence in sequences])
    typical = pd.Series(float((own / length[own.index]).median()) * length)
    self_score = own.reindex(range(len(labels))).fillna(typical).to_numpy()
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    centre = pd.DataFrame(unit).groupby(families).transform("mean").to_numpy(np.float32)
    centre = centre / np.linalg.norm(centre, axis=1, keepdims=True)

    def described(hits: pd.DataFrame, embedded: np.ndarray) -> pd.DataFrame:
        hits = hits[hits["bits"] > NOISE]
        query, target = hits["query"].to_numpy(), hits["target"].to_numpy()
        some = np.array_split(np.arange(len(hits)), 100)
        cosine = [(unit[query[i]] * embedded[target[i]]).sum(axis=1) for i in some]
        return hits.assign(
            label=labels[target], cluster=clusters[target], nearest=np.concatenate(cosine),
            strength=np.log(hits["bits"] / NOISE),
            normalised=hits["bits"] / np.sqrt(self_score[query] * self_score[target]),
        )  # fmt: skip

    pairs = zip(labels, mechanism, strict=True)
    names, targets = np.unique([f"{c}:{m}" for c, m in pairs], return_inverse=True)
    class_of = np.array([int(name.partition(":")[0]) for name in names])
    family = profile_search(sequences, sequences, families, **profiles)
    tables = described(single, unit), described(near, unit), described(family, centre)
    quantiles = features[:, :0]
    if residues:
        quantiles = Standardiser.learn(residues.quantiles)(residues.quantiles)
    return Known(
        labels, clusters, features, targets, class_of, *compare_residues(tables, residues),
        standardise(frozen_features(further)) if further else features[:0],
        quantiles,
    )  # fmt: skip


def compare_residues(
    tables: Sequence[pd.DataFrame], residues: Residues | None
) -> list[pd.DataFrame]:
    """Hits with the column ``residues``: how much more alike than others, 0 from `WEAK` bits on."""
    hits = pd.concat(tables).assign(residues=np.float32(0))
    weak = hits["bits"].to_numpy() < WEAK
    if residues and weak.any():
        alike = residues.max_similarity(*hits.loc[weak, ["query", "target"]].to_numpy().T)
        hits.loc[weak, "residues"] = alike - alike.mean()
    ends = np.cumsum([0, *map(len, tables)])
    return [hits.iloc[start:end] for start, end in pairwise(ends)]


def apart(hits: pd.DataFrame, rows: np.ndarray, known: np.ndarray, group: np.ndarray):
    """Hits of ``rows`` among the proteins ``known`` (bool [n]) of another group."""
    query, target = hits["query"].to_numpy(), hits["target"].to_numpy()
    return hits[np.isin(query, rows) & known[target] & (group[query] != group[target])]


def nearest_arg(hits: pd.DataFrame, rows: np.ndarray) -> np.ndarray:
    """The ARG with most bits for each of ``rows``, int64 [m]; -1 without one."""
    best = hits[hits["label"] != NONARG].sort_values("bits", ascending=False, kind="stable")
    target = best.drop_duplicates("query").set_index("query")["target"]
    return target.reindex(rows, fill_value=-1).to_numpy()


def columns(hits: pd.DataFrame, rows: np.ndarray) -> dict[str, np.ndarray]:
    """The columns `HIT` and `COMPETITION` of the proteins at ``rows``, each float32 [m, 15]."""
    hits = hits.assign(query=np.searchsorted(rows, hits["query"]))
    hits = hits.sort_values(["query", "bits"], ascending=[True, False], kind="stable")

    def table(some: pd.DataFrame, name: str) -> np.ndarray:
        out = np.zeros((len(rows), NUM_CLASSES), np.float32)
        out[some["query"], some["label"]] = some[name]
        return out

    def largest(name: str, of: tuple[str, ...] = ("query", "label")) -> pd.DataFrame:
        return hits.sort_values(name, ascending=False, kind="stable").drop_duplicates(of)

    def vote(some: pd.DataFrame, weights: pd.Series) -> np.ndarray:
        sums = weights.groupby([some["query"], some["label"]]).sum()
        shares = table(sums.rename("share").reset_index(), "share")
        return shares / np.maximum(shares.sum(axis=1, keepdims=True), 1e-9)

    best = hits.drop_duplicates(["query", "label"])
    families = hits.drop_duplicates(["query", "label", "cluster"])
    rank = families.groupby(["query", "label"]).cumcount()
    relative = families["bits"] / families.groupby("query")["bits"].transform("max")
    close = largest("nearest", ("query", "label", "cluster"))
    lead = close["nearest"] - close.groupby("query")["nearest"].transform("max")
    out = {name: table(best, name) for name in HIT}
    top = np.sort(out["strength"], axis=1)
    rival = np.where(out["strength"] == top[:, -1:], top[:, -2:-1], top[:, -1:])
    counts = families.assign(count=np.log1p(rank + 1)).sort_values("count")
    return out | {
        "second": table(families[rank == 1], "strength"),
        "families": table(counts, "count"),
        "margin": np.where(out["strength"] > 0, out["strength"] - rival, 0),
        "vote": vote(families, relative**2),
        "normalised": table(largest("normalised"), "normalised"),
        "nearest": table(largest("nearest"), "nearest"),
        "nearest vote": vote(close, np.exp(lead / SOFTNESS)),
        "residues": table(best, "residues"),
    }
