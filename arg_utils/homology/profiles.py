"""Families as profiles: a relative too distant for any single member may still fit the family.

A profile holds how often each residue occurs at each position of a family's alignment (Gribskov et
al. 1987, doi:10.1073/pnas.84.13.4355); MMseqs2 makes and searches them (doi:10.1038/nbt.3988).
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from arg_utils.homology.mmseqs import (
    PROTEINS,
    aligned,
    answer_key,
    build_once,
    cached_answer,
    hits_frame,
    run_mmseqs,
    write_by_position,
)

_CLUSTERING = "6"  # MMseqs2's number for a table of clusters
_FORMAT = "target,query,fident,bits,evalue,tcov,qcov"  # the profile is MMseqs2's query


def profile_search(
    queries: Sequence[str],
    references: Sequence[str] | Path,
    families: np.ndarray | None = None,
    *,
    evalue: float = 10.0,
    sensitivity: float = 7.5,
    max_hits: int = 100_000,
) -> pd.DataFrame:
    """All hits of each query among the profiles of families.

    Parameters
    ----------
    queries, references : sequences of str
        Residues, upper case. In place of ``references``, what `profile_database` made of them and
        their families: its answers are not cached.
    families : ndarray of int64, shape (len(references),)
        Family of each reference protein; -1 leaves it out. A family's first member is its
        representative, to which the others are aligned.
    evalue, sensitivity, max_hits : as of `mmseqs.search`, but ``max_hits`` per profile.

    Returns
    -------
    DataFrame
        Columns and order of `mmseqs.search`; ``target`` is the position of the family's
        representative in ``references``, identity that to the profile's consensus.

    Raises
    ------
    UserError
        If MMseqs2 fails; its last words are in the message.
    """
    options = ["-e", str(evalue), "-s", str(sensitivity), "--max-seqs", str(max_hits)]
    if not len(queries):
        return hits_frame([np.empty(0)] * 7)
    if isinstance(references, Path):
        return hits_frame(list(_search(queries, references, options).T))
    families = np.asarray(families)
    if not (families >= 0).any():
        return hits_frame([np.empty(0)] * 7)

    def answer() -> np.ndarray:
        with tempfile.TemporaryDirectory(prefix="arg-profiles-") as name:
            profiles = profile_database(Path(name) / "profiles", references, families)
            return _search(queries, profiles, options)

    members = ",".join(map(str, families.tolist()))
    key = answer_key("profiles", options, queries, references, [members])
    return hits_frame(list(cached_answer(key, answer).T))


def profile_database(folder: Path, references: Sequence[str], families: np.ndarray) -> Path:
    """Profiles of families, made in ``folder`` unless it holds them already.

    Whether it holds them of other proteins is not looked at: name the folder after these. Arguments
    as of `profile_search`; some family is needed.
    """
    profiles = folder / "profiles"

    def build() -> None:
        database, grouped = folder / "references", folder / "families"
        # Not shuffled: the number of an entry is its position.
        source = write_by_position(folder / "references.fasta", references)
        run_mmseqs("createdb", source, database, "--shuffle", "0", *PROTEINS)
        places = np.flatnonzero(families >= 0)
        order = places[np.argsort(families[places], kind="stable")]
        first, size = np.unique(families[order], return_index=True, return_counts=True)[1:]
        leader = np.repeat(order[first], size)
        rows = zip(leader.tolist(), order.tolist(), strict=True)
        table = folder / "families.tsv"
        table.write_text("".join(f"{a}\t{b}\n" for a, b in rows))
        run_mmseqs("tsv2db", table, grouped, "--output-dbtype", _CLUSTERING)
        run_mmseqs("result2profile", database, database, grouped, profiles)

    build_once(folder, build)
    return profiles


def _search(queries: Sequence[str], profiles: Path, options: list[str]) -> np.ndarray:
    """Hits as float64 (hits, 7), sorted by query, then best first."""
    with tempfile.TemporaryDirectory(prefix="arg-profiles-") as name:
        folder = Path(name)
        source = write_by_position(folder / "query.fasta", queries)
        run_mmseqs("createdb", source, folder / "query", "--shuffle", "0", *PROTEINS)
        hits = aligned(folder, profiles, folder / "query", _FORMAT, options)
    order = ["query", "bits", "evalue", "target"]
    return hits.sort_values(order, ascending=[True, False, True, True]).to_numpy()
