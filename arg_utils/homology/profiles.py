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
    answer_key,
    cached_answer,
    hits_frame,
    run_mmseqs,
    write_by_position,
)

_CLUSTERING = "6"  # MMseqs2's number for a table of clusters
_FORMAT = "target,query,fident,bits,evalue,tcov,qcov"  # the profile is MMseqs2's query


def profile_search(
    queries: Sequence[str],
    references: Sequence[str],
    families: np.ndarray,
    *,
    evalue: float = 10.0,
    sensitivity: float = 7.5,
    max_hits: int = 100_000,
) -> pd.DataFrame:
    """All hits of each query among the profiles of families.

    Parameters
    ----------
    queries, references : sequences of str
        Residues, upper case.
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
    families = np.asarray(families)
    if not len(queries) or not (families >= 0).any():
        return hits_frame([np.empty(0)] * 7)
    options = ["-e", str(evalue), "-s", str(sensitivity), "--max-seqs", str(max_hits)]
    members = ",".join(map(str, families.tolist()))
    key = answer_key("profiles", options, queries, references, [members])
    table = cached_answer(key, lambda: _search(queries, references, families, options))
    return hits_frame(list(table.T))


def _search(
    queries: Sequence[str], references: Sequence[str], families: np.ndarray, options: list[str]
) -> np.ndarray:
    """Hits as float64 (hits, 7), sorted by query, then best first."""
    with tempfile.TemporaryDirectory(prefix="arg-profiles-") as name:
        folder = Path(name)
        # Not shuffled: the number of an entry is its position.
        for what, sequences in (("query", queries), ("references", references)):
            source = write_by_position(folder / f"{what}.fasta", sequences)
            run_mmseqs("createdb", source, folder / what, "--shuffle", "0", *PROTEINS)
        places = np.flatnonzero(families >= 0)
        order = places[np.argsort(families[places], kind="stable")]
        first, size = np.unique(families[order], return_index=True, return_counts=True)[1:]
        leader = np.repeat(order[first], size)
        rows = zip(leader.tolist(), order.tolist(), strict=True)
        table = folder / "families.tsv"
        table.write_text("".join(f"{a}\t{b}\n" for a, b in rows))
        database, grouped = folder / "references", folder / "families"
        profiles, found, out = folder / "profiles", folder / "hits", folder / "hits.tsv"
        run_mmseqs("tsv2db", table, grouped, "--output-dbtype", _CLUSTERING)
        run_mmseqs("result2profile", database, database, grouped, profiles)
        run_mmseqs("search", profiles, folder / "query", found, folder / "tmp", *options)
        run_mmseqs(
            "convertalis", profiles, folder / "query", found, out, "--format-output", _FORMAT
        )
        hits = pd.read_csv(out, sep="\t", names=range(7), dtype=np.float64)
    return hits.sort_values([0, 3, 4, 1], ascending=[True, False, True, True]).to_numpy()
