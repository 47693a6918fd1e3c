"""Which proteins resemble which: searches and clusters of MMseqs2.

MMseqs2 is Steinegger and Söding, Nat Biotechnol 35, 1026 (2017). Proteins are positions in what is
given, in questions and answers alike.

A profile holds how often each residue occurs at each position of a family's alignment (Gribskov et
al. 1987, doi:10.1073/pnas.84.13.4355): a relative too distant for any single member may still fit
the family.
"""

import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from arg_utils.homology.answers import (
    COLUMNS,
    answer_key,
    best_first,
    cached_answer,
    cached_hits,
    hit_table,
)
from arg_utils.homology.databases import (
    PROTEINS,
    pairs_to_align,
    profile_database,
    run_mmseqs,
    sequence_database,
    write_by_position,
)

LOOSEST = 1.0  # expectation value of every search, so that it serves all stricter ones too
# Residues of a word, by which candidates are found. MMseqs2's own choice for so few proteins is 6,
# whose table takes half a gigabyte. With 5 they are found in less time, and more.
SHORT = 5
_FIELDS = "query,target,fident,bits,evalue,qcov,tcov"
_PROFILE_FIELDS = "target,query,fident,bits,evalue,tcov,qcov"  # the profile is MMseqs2's query


def search(
    queries: Sequence[str],
    targets: Sequence[str] | Path,
    *,
    evalue: float = 1e-3,
    sensitivity: float = 5.7,
    max_hits: int = 100,
    word: int | None = None,
) -> pd.DataFrame:
    """All hits of each query among the targets (a query that is itself a target hits itself).

    Answers are cached per query: asked of the same targets again, in whatever company, a protein is
    not searched again. Those from a database are not cached.

    Parameters
    ----------
    queries, targets : sequences of str, or what `sequence_database` made of the targets.
    evalue : hits with a larger expectation value are not reported.
    sensitivity : MMseqs2's ``-s``: 1 (fast) to 7.5 (sensitive); 5.7 is its default.
    max_hits : at most so many targets pass the prefilter for a query, best first.
    word : residues of the words that queries and candidates share; MMseqs2 chooses if None.

    Returns
    -------
    One row per hit, by query, then best first (bits, then expectation value, then target): query
    and target (positions, int), identity (0-1, of the aligned columns), bits, evalue,
    query_coverage and target_coverage (0-1, aligned part).

    Raises
    ------
    UserError
        If MMseqs2 fails; its last words are in the message.
    """
    if not len(queries) or (not isinstance(targets, Path) and not len(targets)):
        return hit_table()
    # Mode 3: identities are counted on the alignment, not estimated.
    options = ["-e", str(max(evalue, LOOSEST)), "-s", str(sensitivity)]
    options += ["--max-seqs", str(max_hits), "--alignment-mode", "3", *_words(word)]
    if isinstance(targets, Path):
        hits = _hits(queries, targets, options, _FIELDS)
    else:
        key = answer_key("search", options, targets)
        hits = cached_hits(key, queries, partial(_hits_among, targets, options))
    return hits[hits["evalue"] <= evalue].reset_index(drop=True)


def strongest_hits(
    queries: Sequence[str],
    targets: Sequence[str] | Path,
    groups: np.ndarray,
    apart: tuple[np.ndarray, np.ndarray] | None = None,
    *,
    evalue: float = 1e-3,
    sensitivity: float = 5.7,
    max_hits: int = 100,
    word: int | None = None,
) -> pd.DataFrame:
    """Of the hits of `search`, each query's strongest in each group of targets; not cached.

    Most bits win; of equals, the target that comes first. Scores alone decide which these are, so
    that only they are aligned in full: a quarter of a search's time is saved where targets resemble
    each other.

    Parameters
    ----------
    groups : int64 (n,), the group of each of the n targets, such as its class.
    apart : a number for each query and one for each target, int64: hits whose query and target
        have the same are left out.
    queries, targets, evalue, sensitivity, max_hits, word : as of `search`.
    """
    if not len(queries) or (not isinstance(targets, Path) and not len(targets)):
        return hit_table()
    with tempfile.TemporaryDirectory(prefix="arg-search-") as name:
        folder = Path(name)
        candidates, scored, chosen = (folder / n for n in ("candidates", "scored", "chosen"))
        table = folder / "scored.tsv"
        if not isinstance(targets, Path):
            targets = sequence_database(folder / "target", targets)
        pair = (sequence_database(folder / "query", queries), targets)
        limits = ("-s", str(sensitivity), "--max-seqs", str(max_hits), *_words(word))
        run_mmseqs("prefilter", *pair, candidates, *limits)
        passing = ("-e", str(evalue), "--alignment-mode")
        run_mmseqs("align", *pair, candidates, scored, *passing, "1")
        run_mmseqs("createtsv", *pair, scored, table)
        hits = pd.read_csv(table, sep="\t", names=["query", "target", "bits"], usecols=range(3))
        if apart:
            hits = hits[apart[0][hits["query"]] != apart[1][hits["target"]]]
        hits = hits.sort_values(["query", "bits", "target"], ascending=[True, False, True])
        first = hits.assign(group=groups[hits["target"]]).drop_duplicates(["query", "group"])
        if first.empty:
            return hit_table()
        pairs_to_align(chosen, first, *pair)
        run_mmseqs("align", *pair, chosen, folder / "answer", *passing, "3")
        return _read_alignments(folder / "answer", pair, _FIELDS)


def best_hits(queries: Sequence[str], targets: Sequence[str], **options: Any) -> pd.DataFrame:
    """The best hit of each query that has one: of `search`, each query's first row.

    Options, columns, units and errors are those of `search`, and so are the cached answers.
    """
    return search(queries, targets, **options).drop_duplicates("query").reset_index(drop=True)


def profile_search(
    queries: Sequence[str],
    references: Sequence[str] | Path,
    families: np.ndarray | None = None,
    *,
    evalue: float = 10.0,
    sensitivity: float = 7.5,
    max_hits: int = 100_000,
) -> pd.DataFrame:
    """All hits of each query among the profiles of families, as of `search`.

    ``target`` is the position of the family's first member, its representative, to which the others
    are aligned; identity is that to the profile's consensus.

    Parameters
    ----------
    references : sequences of str, or what `profile_database` made of them and their families.
    families : int64 (len(references),), family of each reference protein; -1 leaves it out.
    evalue, sensitivity, max_hits : as of `search`, but ``max_hits`` per profile.
    """
    options = ["-e", str(evalue), "-s", str(sensitivity), "--max-seqs", str(max_hits)]
    options += _words(SHORT)
    if not len(queries):
        return hit_table()
    if isinstance(references, Path):
        return _hits(queries, references, options, _PROFILE_FIELDS, profiles=True)
    members = np.asarray(families)
    if not (members >= 0).any():
        return hit_table()

    def answer() -> np.ndarray:
        with tempfile.TemporaryDirectory(prefix="arg-profiles-") as name:
            profiles = profile_database(Path(name) / "profiles", references, members)
            return _hits(queries, profiles, options, _PROFILE_FIELDS, profiles=True).to_numpy()

    key = answer_key("profiles", options, queries, references, list(map(str, members)))
    return hit_table(cached_answer(key, answer))


def cluster(sequences: Sequence[str], identity: float = 0.4, coverage: float = 0.8) -> np.ndarray:
    """Cluster of each protein, int64 (n,), numbered 0, 1, ... by first appearance.

    Each member aligns to its cluster's representative at ``identity`` or more over ``coverage``
    or more of both (0-1). MMseqs2's cascaded clustering, greedy set cover.
    """
    if len(sequences) < 2:
        return np.zeros(len(sequences), dtype=np.int64)
    options = ["--min-seq-id", str(identity), "-c", str(coverage), "--cov-mode", "0", *PROTEINS]

    def answer() -> np.ndarray:
        with tempfile.TemporaryDirectory(prefix="arg-cluster-") as name:
            folder = Path(name)
            source = write_by_position(folder / "all.fasta", sequences)
            run_mmseqs("easy-cluster", source, folder / "out", folder / "tmp", *options)
            pairs = np.loadtxt(folder / "out_cluster.tsv", dtype=np.int64, delimiter="\t", ndmin=2)
        representatives = np.arange(len(sequences))
        representatives[pairs[:, 1]] = pairs[:, 0]
        return representatives

    groups = cached_answer(answer_key("cluster", options, sequences), answer)
    return pd.factorize(groups)[0].astype(np.int64)


def _words(length: int | None) -> tuple[str, ...]:
    return ("-k", str(length)) if length else ()


def _hits_among(targets: Sequence[str], options: list[str], queries: Sequence[str]) -> pd.DataFrame:
    with tempfile.TemporaryDirectory(prefix="arg-targets-") as name:
        return _hits(queries, sequence_database(Path(name) / "db", targets), options, _FIELDS)


def _hits(
    queries: Sequence[str], database: Path, options: list[str], fields: str, profiles: bool = False
) -> pd.DataFrame:
    """Hits of proteins in a database of proteins, or of profiles, best first."""
    with tempfile.TemporaryDirectory(prefix="arg-search-") as name:
        folder = Path(name)
        pair = [sequence_database(folder / "query", queries), database]
        if profiles:  # there it is the profile that MMseqs2 calls the query
            pair.reverse()
        run_mmseqs("search", *pair, folder / "answer", folder / "tmp", *options)
        return _read_alignments(folder / "answer", pair, fields)


def _read_alignments(answer: Path, pair: Sequence[Path], fields: str) -> pd.DataFrame:
    """What MMseqs2 found between a pair of databases, best first."""
    table = answer.with_suffix(".tsv")
    run_mmseqs("convertalis", *pair, answer, table, "--format-output", fields)
    hits = pd.read_csv(table, sep="\t", names=list(COLUMNS), dtype=np.float64)
    return best_first(hit_table(hits))
