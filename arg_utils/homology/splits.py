"""Two ways to split labelled proteins: at random, and by homology.

``random`` is the usual stratified 80/10/10: near-identical proteins land on both sides of it.
``homology`` keeps each family on one side. Clusters (40 % identity over 80 % of both proteins) are
merged wherever members of two are related: 40 % identity over half of either, so that a fragment
stays with its family. They go whole into one of five folds. The links are sought between
representatives, so a few relatives stay apart: before a fold is tested, its proteins that still
have one in training are excluded. Every protein is in one fold, so scores pool over all five.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from arg_utils.errors import UserError, counted
from arg_utils.files import atomic_path
from arg_utils.homology.mmseqs import cluster, search
from arg_utils.labels import CLASSES

PARTS = ("train", "val", "test")
FOLDS = 5
IDENTITY = 0.4  # of a pair that counts as related, 0-1
CLUSTER_COVERAGE = 0.8  # of both, to belong to one cluster
CLOSE = 0.7  # identity at which one protein stands for others in a search
RELATED_COVERAGE = 0.5  # of either, to be related
COLUMNS = ("id", "class", "random", "cluster", "fold")


class Labelled(Protocol):
    """What is split: anything with an id, a sequence and a class, as `data.proteins.Record`."""

    @property
    def id(self) -> str: ...

    @property
    def sequence(self) -> str: ...

    @property
    def label(self) -> int | None: ...


@dataclass(frozen=True)
class FoldParts:
    """One fold of the homology split: positions into the records, int64, ascending.

    ``train`` and ``val`` are the other folds, no cluster in both. This fold's proteins are ``test``
    where they have no relative there, else ``excluded`` from the score. ``hits`` are
    those of all of them in ``train`` and ``val``, best first, as of `mmseqs.search`, but
    ``query`` and ``target`` are positions into the records.
    """

    fold: int
    train: np.ndarray
    val: np.ndarray
    test: np.ndarray
    excluded: np.ndarray
    hits: pd.DataFrame

    @property
    def best_hits(self) -> pd.DataFrame:
        """The best hit of each protein of this fold that has one."""
        return self.hits.drop_duplicates("query").reset_index(drop=True)


def random_split(labels: ArrayLike, seed: int = 0) -> np.ndarray:
    """Stratified 80/10/10: ``train``, ``val`` or ``test`` for each of ``labels`` (n,).

    From three members on, a class is in all three parts; of two, one is tested; a single one
    trains.
    """
    classes = np.asarray(labels)
    parts = np.full(len(classes), "train", dtype="<U5")
    rng = np.random.default_rng(seed)
    for label in np.unique(classes):
        members = rng.permutation(np.flatnonzero(classes == label))
        tenth = max(1, round(len(members) / 10))
        test = tenth if len(members) > 1 else 0
        val = tenth if len(members) > 2 else 0
        parts[members[:test]] = "test"
        parts[members[test : test + val]] = "val"
    return parts


def homology_clusters(sequences: Sequence[str]) -> np.ndarray:
    """Family of each sequence, int64 (n,): clusters, merged where their members are linked.

    Links are sought between `representatives`, a third of the cost of comparing all with all.
    """
    groups = cluster(sequences, IDENTITY, CLUSTER_COVERAGE)
    first, leader = representatives(sequences)
    some = [sequences[position] for position in first]
    links = related(search(some, some, sensitivity=4, max_hits=300))
    everyone = np.arange(len(groups))
    left = np.concatenate([everyone, everyone, first[links["query"]]])
    right = np.concatenate(
        [np.unique(groups, return_index=True)[1][groups], leader, first[links["target"]]]
    )
    graph = coo_array((np.ones(len(left)), (left, right)), shape=(len(groups), len(groups)))
    return pd.factorize(connected_components(graph, directed=False)[1])[0].astype(np.int64)


def representatives(sequences: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """One protein for those alike at `CLOSE`, the first of each group.

    Their positions, int64 ascending, and the position of each protein's own, int64 (n,).
    """
    close = cluster(sequences, CLOSE, CLUSTER_COVERAGE)
    first = np.unique(close, return_index=True)[1]
    return first, first[close]


def related(hits: pd.DataFrame) -> pd.DataFrame:
    """Those hits that make two proteins relatives: 40 % identity over half of either."""
    coverage = hits[["query_coverage", "target_coverage"]].max(axis=1)
    return hits[(hits["identity"] >= IDENTITY) & (coverage >= RELATED_COVERAGE)]


def homology_folds(
    labels: ArrayLike, clusters: np.ndarray, seed: int = 0, folds: int = FOLDS
) -> np.ndarray:
    """A fold for each protein, int64 (n,): clusters kept whole, classes spread evenly.

    Fewer folds are made where there are fewer clusters, or no class has that many members.

    `UserError` if all proteins are one cluster, or no two share a class.
    """
    classes = np.asarray(labels)
    largest = np.bincount(classes).max(initial=0) if len(classes) else 0
    folds = min(folds, len(np.unique(clusters)), int(largest))
    if folds < 2:
        raise UserError(
            f"{counted(len(classes), 'labelled protein')} cannot be split by homology: at least "
            f"two clusters and two proteins of one class are needed; add more data."
        )
    result = np.empty(len(classes), dtype=np.int64)
    for fold, (_, members) in enumerate(_group_splits(classes, clusters, folds, seed)):
        result[members] = fold
    return np.unique(result, return_inverse=True)[1]  # few clusters may leave a fold empty


def split_table(records: Sequence[Labelled], seed: int = 0) -> pd.DataFrame:
    """Both splits of labelled records, one row per record, in their order.

    Columns: id, class (name), random (train, val or test), cluster and fold (int).
    """
    labels = np.array([record.label for record in records])
    clusters = homology_clusters([record.sequence for record in records])
    columns = {
        "id": [record.id for record in records],
        "class": np.take(CLASSES, labels),
        "random": random_split(labels, seed),
        "cluster": clusters,
        "fold": homology_folds(labels, clusters, seed),
    }
    return pd.DataFrame(columns)


def homology_fold(
    records: Sequence[Labelled], table: pd.DataFrame, fold: int, seed: int = 0
) -> FoldParts:
    """Who trains, validates, is tested and is excluded when ``fold`` of a `split_table` is tested.

    ``val`` is an eighth of the other folds, clusters kept whole.
    """
    labels = np.array([record.label for record in records])
    clusters, fold_of = table["cluster"].to_numpy(), table["fold"].to_numpy()
    rest, tested = np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)
    in_val = _validation(labels[rest], clusters[rest], seed)
    train, val = rest[~in_val], rest[in_val]
    given = np.concatenate([train, val])  # in the order of a method's reference proteins
    queries, targets = ([records[i].sequence for i in part.tolist()] for part in (tested, given))
    hits = search(queries, targets)
    hits = hits.assign(query=tested[hits["query"]], target=given[hits["target"]])
    leaking = np.isin(tested, related(hits)["query"])
    return FoldParts(fold, train, val, tested[~leaking], tested[leaking], hits)


def write_splits(path: Path | str, table: pd.DataFrame) -> Path:
    """Write a `split_table` as CSV, whole or not at all."""
    with atomic_path(path) as temporary:
        table.to_csv(temporary, columns=list(COLUMNS), index=False, lineterminator="\n")
    return Path(path)


def read_splits(path: Path | str) -> pd.DataFrame:
    """A `split_table` from CSV.

    `UserError` if the file is missing or is no such table.
    """
    try:
        table = pd.read_csv(path, dtype={"id": str}, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}); remove its folder to rebuild.") from None
    if tuple(table.columns) != COLUMNS:
        raise UserError(f"{path} lacks the columns {', '.join(COLUMNS)}; remove its folder.")
    return table


def _validation(labels: np.ndarray, clusters: np.ndarray, seed: int) -> np.ndarray:
    """Which of the training proteins validate (bool): of eight candidates the best.

    Best is the one that leaves most classes in training, then holds most classes itself.
    """
    if len(np.unique(clusters)) < 2 or np.bincount(labels).max() < 2:
        return random_split(labels, seed) == "val"  # too few to keep clusters apart
    folds = min(8, len(np.unique(clusters)), int(np.bincount(labels).max()))
    splits = _group_splits(labels, clusters, folds, seed)

    def merit(split: tuple[np.ndarray, np.ndarray]) -> tuple[int, int]:
        rest, fold = (len(np.unique(labels[side])) for side in split)
        return rest, fold

    chosen = np.zeros(len(labels), dtype=bool)
    chosen[max(splits, key=merit)[1]] = True
    return chosen


def _group_splits(
    labels: np.ndarray, clusters: np.ndarray, folds: int, seed: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """(rest, fold) positions of a `StratifiedGroupKFold`, silent about small classes."""
    from sklearn.model_selection import StratifiedGroupKFold  # here: predicting does without

    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class")
        return list(splitter.split(np.zeros(len(labels)), labels, clusters))
