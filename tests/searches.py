"""MMseqs2 for few proteins: what does not depend on their number is left out."""

from pathlib import Path

import numpy as np
import pandas as pd

from arg_utils.homology.databases import pairs_to_align, run_mmseqs

FEW = 20_000  # pairs: to align all takes less time than to look for candidates


def run_quickly(command: str, *arguments: Path | str) -> None:
    """`run_mmseqs`, but that all pairs of few proteins are candidates for an alignment."""
    if command in ("prefilter", "search") and (pairs := all_pairs(*arguments[:2])) is not None:
        query, target, out, *options = arguments
        if command == "prefilter":
            return pairs_to_align(out, pairs, query, target)
        candidates = out.with_name("candidates")
        pairs_to_align(candidates, pairs, query, target)
        evalue = options[options.index("-e") + 1]
        return run_mmseqs(
            "align", query, target, candidates, out, "-e", evalue, "--alignment-mode", "3"
        )
    once = ("--cluster-steps", "1") if command == "easy-cluster" else ()
    return run_shortly(command, *arguments, *once)


def run_shortly(command: str, *arguments: Path | str) -> None:
    """`run_mmseqs` with words of five letters: the table of six-letter words is slow to clear."""
    words = command in ("search", "easy-cluster") and "-k" not in arguments
    run_mmseqs(command, *arguments, *(("-k", "5") if words else ()))


def all_pairs(query: Path, target: Path) -> pd.DataFrame | None:
    """Positions of each query with each target, if they are few, and neither is a profile."""
    if query.name == "profiles":
        return None
    queries, targets = (len(Path(f"{d}.lookup").read_text().splitlines()) for d in (query, target))
    if queries * targets > FEW:
        return None
    query_of, target_of = np.divmod(np.arange(queries * targets), targets)
    return pd.DataFrame({"query": query_of, "target": target_of})
