"""One row a protein: its class, how sure that is, and the evidence; files and data frames alike."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from arg_utils.esm2.batches import MAX_RESIDUES
from arg_utils.homology.splits import CLUSTER_COVERAGE, IDENTITY
from arg_utils.labels import CLASSES, NONARG
from arg_utils.methods.evidence import NOISE
from arg_utils.metrics.calibration import answered
from arg_utils.prediction.genes import RELATIVE, SAME_GENE, cautions, gene_family
from arg_utils.prediction.query import Query

# Column: decimals of a number, or None for text.
COLUMNS: dict[str, int | None] = {
    "id": None,
    "class": None,
    "probability": 4,
    "second_class": None,
    "second_probability": 4,
    "uncertain": None,  # yes or no
    "nearest_id": None,  # the known ARG with most bits; empty where none is near
    "nearest_gene": None,
    "nearest_class": None,
    "nearest_identity": 3,  # 0-1
    "nearest_coverage": 3,  # 0-1, of the query
    "reference_coverage": 3,  # 0-1, of the nearest ARG
    "nearest_bits": 0,
    "gene_family": None,  # of the nearest ARG, where the protein is of its family
    "mechanism": None,  # of resistance, of an ARG's nearest: what a superfamily shares
    "agree": None,  # whether the best hit and ESM-2 alone name one class: yes, no, or empty
    "flags": None,  # comma-separated
}
PLACE: dict[str, int | None] = {"contig": None, "start": 0, "end": 0, "strand": None}
LENGTHS = ("length", "reference_length")  # residues, of the protein and of the nearest ARG

SHORT = 50  # residues: as many as an ARG's domain hardly ever has


@dataclass(frozen=True)
class Scores:
    """What a model says of n proteins.

    Attributes
    ----------
    probabilities : float64 [n, 15].
    hits : of `searches.References.hits`; ``None`` of methods without homology.
    alone : class indices int64 [n] by ESM-2 alone; ``None`` where there is no such part.
    """

    probabilities: np.ndarray
    hits: pd.DataFrame | None = None
    alone: np.ndarray | None = None

    def take(self, places: np.ndarray) -> "Scores":
        """Those of the proteins at ``places`` [m], in that order."""
        hits = self.hits
        if hits is not None:
            wanted = pd.DataFrame({"query": np.arange(len(places)), "place": places})
            hits = wanted.merge(hits.rename(columns={"query": "place"}), on="place")
        alone = None if self.alone is None else self.alone[places]
        return Scores(self.probabilities[places], hits, alone)


def result_frame(
    queries: Sequence[Query],
    scores: Scores,
    threshold: float | None,
    references: pd.DataFrame | None,
) -> pd.DataFrame:
    """Rows of `COLUMNS`, `PLACE`, `LENGTHS` and ``file``, one a query, in order.

    Parameters
    ----------
    scores : of the queries, in the same order.
    threshold : of prediction sets: `calibration.answered`.
    references : of `searches.References.table`, where ``scores`` has hits.
    """
    count, p = len(queries), scores.probabilities
    order = np.argsort(-p, axis=1, kind="stable")
    first, second, each = order[:, 0], order[:, 1], np.arange(count)
    hits = _named(scores.hits, references)
    best, nearest = _first(hits, count), _nearest(hits, count)
    related = nearest["identity"].ge(IDENTITY) & nearest["query_coverage"].ge(CLUSTER_COVERAGE)
    whole = nearest[["query_coverage", "target_coverage"]].min(axis=1).ge(CLUSTER_COVERAGE)
    # The profile of a family outside the ARGs may give even the gene itself more bits than any ARG.
    same = whole & nearest["identity"].ge(SAME_GENE) & nearest["profile"].ne(True)
    other = best["label"].eq(NONARG) & ~same
    flags = map(_flags, queries, nearest["gene"], nearest["identity"], nearest["profile"], other)
    frame = pd.DataFrame(
        {
            "id": pd.array([query.id for query in queries], dtype=object),
            "class": _NAMES[first],
            "probability": p[each, first].round(4),
            "second_class": _NAMES[second],
            "second_probability": p[each, second].round(4),
            "uncertain": np.where(answered(p, threshold), "no", "yes"),
            "nearest_id": nearest["id"].fillna(""),
            "nearest_gene": nearest["gene"].fillna(""),
            "nearest_class": ["" if pd.isna(i) else CLASSES[int(i)] for i in nearest["label"]],
            "nearest_identity": nearest["identity"],
            "nearest_coverage": nearest["query_coverage"],
            "reference_coverage": nearest["target_coverage"],
            "nearest_bits": nearest["bits"],
            "gene_family": [gene_family(g) for g in nearest["gene"].where(related, "").fillna("")],
            "mechanism": nearest["mechanism"].where(first != NONARG).fillna(""),
            "agree": _agreement(best["label"], scores.alone),
            "flags": list(flags),
        }
    )
    for column in PLACE:
        kind = "Int64" if column in ("start", "end") else object
        frame[column] = pd.array([getattr(query, column) for query in queries], dtype=kind)
    frame["length"] = np.array([len(query.sequence) for query in queries], np.int64)
    frame["reference_length"] = nearest["length"].astype("Int64")
    frame["file"] = pd.array([query.file for query in queries], dtype=object)
    return frame


def plain_args(rows: pd.DataFrame) -> np.ndarray:
    """Whether each row is that of an ARG neither uncertain nor flagged, bool [n]."""
    plain = (rows["class"] != CLASSES[NONARG]) & (rows["uncertain"] == "no") & (rows["flags"] == "")
    return plain.to_numpy()


_NAMES = np.array(CLASSES, dtype=object)
_HIT = {"query": int, "label": float, "id": object, "gene": object, "mechanism": object,
        "profile": object,
        "identity": float, "query_coverage": float, "target_coverage": float, "bits": float,
        "length": float}  # fmt: skip


def _named(hits: pd.DataFrame | None, references: pd.DataFrame | None) -> pd.DataFrame:
    """Hits above `NOISE`, with the class, id, gene, mechanism and length of their targets."""
    if hits is None or references is None:
        return pd.DataFrame(columns=list(_HIT)).astype(_HIT)
    hits = hits[hits["bits"] > NOISE]
    targets = references.loc[hits["target"].unique()]
    described = targets[["id", "gene", "mechanism", "label"]]
    described = described.assign(length=targets["sequence"].str.len())
    return hits.join(described, on="target").astype(_HIT)[list(_HIT)]


def _first(hits: pd.DataFrame, count: int) -> pd.DataFrame:
    """Each query's first hit, one row a query, empty where there is none."""
    return hits.drop_duplicates("query").set_index("query").reindex(range(count))


def _nearest(hits: pd.DataFrame, count: int) -> pd.DataFrame:
    """Each query's nearest ARG: the protein with most bits, else the family's first by profile."""
    args = hits[hits["label"] != NONARG].sort_values("profile", kind="stable")
    return _first(args, count)


def _agreement(best: pd.Series, alone: np.ndarray | None) -> list[str]:
    """Whether the class of the best hit is that of ESM-2 alone; empty without a hit."""
    if alone is None:
        return [""] * len(best)
    words = np.where(best == alone, "yes", "no")
    return np.where(best.isna(), "", words).tolist()


def _flags(query: Query, gene: object, identity: float, profile: object, other: bool) -> str:
    """What a curator wants to know of a protein, by its input and its nearest ARG, with commas.

    ``other``: whether a family outside the ARGs explains it better.
    """
    flags = list(query.flags)
    if len(query.sequence) < SHORT:
        flags.append("short")
    if len(query.sequence) > MAX_RESIDUES:
        flags.append(f"cut_at_{MAX_RESIDUES}")
    if query.sequence.count("X") > len(query.sequence) / 2:
        flags.append("mostly_unknown")
    if not pd.isna(gene):
        flags += cautions(str(gene), identity)
        if profile is True:
            flags.append("profile_only")
        if other:
            flags.append(RELATIVE)
    return ",".join(dict.fromkeys(flags))
