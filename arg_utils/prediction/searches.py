"""Reference proteins with their search databases: built once on this machine, checked, reused."""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from arg_utils.data.proteins import Proteins
from arg_utils.files import cache_dir, file_sha256, locked, write_text
from arg_utils.homology.answers import answer_key
from arg_utils.homology.databases import profile_database, sequence_database
from arg_utils.homology.mmseqs import profile_search, strongest_hits
from arg_utils.labels import NONARG
from arg_utils.methods.evidence import SEARCH, profiled, strongest_first

TABLE, FILES = "references.tsv", "files.json"
TEXTS = ("id", "gene", "mechanism", "sequence")  # columns of the table beside ``label``
BEST_HIT_EVALUE = 1e-3  # the default of `best_hits`, and so the limit of the method `best_hit`


@dataclass(frozen=True)
class References:
    """Labelled proteins that queries are compared with.

    Attributes
    ----------
    table : one row per protein: ``id``, ``gene``, ``mechanism`` of resistance (both empty where
        none is stated), ``label`` (0-14) and ``sequence``.
    sequences, profiles : the databases that `hits` searches; no profiles where no family is one.
    """

    table: pd.DataFrame
    sequences: Path
    profiles: Path | None

    def hits(self, queries: Sequence[str]) -> pd.DataFrame:
        """Hits among the proteins and the profiles of their families: `evidence.strongest_first`.

        Of the proteins, each class's strongest. Those of a query do not depend on the other
        queries: expectation values of profiles, which do, limit only what `evidence.NOISE` leaves
        out anyway.
        """
        labels = self.table["label"].to_numpy()
        single = strongest_hits(queries, self.sequences, labels, **SEARCH)
        family = profile_search(queries, self.profiles) if self.profiles else single[:0]
        return strongest_first(single, family)


def best_hit_classes(hits: pd.DataFrame, labels: np.ndarray, queries: int) -> np.ndarray:
    """Class int64 [queries] of the best hit alone.

    Parameters
    ----------
    hits : of `References.hits`.
    labels : classes of its targets. Without a hit, a protein is not an ARG.
    """
    hits = hits[~hits["profile"].astype(bool) & (hits["evalue"] <= BEST_HIT_EVALUE)]
    hits = hits.drop_duplicates("query")
    classes = np.full(queries, NONARG)
    classes[hits["query"]] = labels[hits["target"]]
    return classes


def references_key(*identity: str) -> str:
    """The name of a folder of references: of their identity and MMseqs2's version."""
    return answer_key("references", [], (*TEXTS, *identity))


def open_references(key: str, proteins: Callable[[], Proteins]) -> References:
    """The references kept under ``key``; made of ``proteins()`` if they are missing or damaged.

    Raises
    ------
    UserError
        If MMseqs2 fails.
    """
    folder = cache_dir("references") / key
    with locked(folder.with_name(f"{key}.lock")):
        if not (content := _intact(folder)):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            content = _build(folder, proteins())
    types = dict.fromkeys(TEXTS, str) | {"label": np.int64}
    table = pd.read_csv(folder / TABLE, sep="\t", dtype=types, keep_default_na=False, quoting=3)
    profiles = folder / content["profiles"] if content["profiles"] else None
    return References(table, folder / content["sequences"], profiles)


def _build(folder: Path, proteins: Proteins) -> dict[str, Any]:
    """Write table and databases, and last what they are called and the sums of all files.

    Databases hold absolute links, so that the folder stays where it was built.
    """
    families = profiled(proteins.sequences, proteins.labels)
    sequences = sequence_database(folder / "sequences", proteins.sequences)
    profiles = None
    if (families >= 0).any():
        profiles = profile_database(folder / "profiles", proteins.sequences, families)
    _table(proteins).to_csv(folder / TABLE, sep="\t", index=False, quoting=3)
    written = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    content = {
        "sequences": sequences.relative_to(folder).as_posix(),
        "profiles": profiles and profiles.relative_to(folder).as_posix(),
        "files": {p.relative_to(folder).as_posix(): file_sha256(p) for p in written},
    }
    write_text(folder / FILES, json.dumps(content, indent=1) + "\n")
    return content


def _table(proteins: Proteins) -> pd.DataFrame:
    """What rows say of each reference, by the competition's headers where there are any."""
    headers = proteins.headers or [f"reference{i}" for i in range(len(proteins.sequences))]
    named = []
    for header, label in zip(headers, proteins.labels.tolist(), strict=True):
        fields = [" ".join(part.split()) for part in header.split("|")]
        if label == NONARG:
            named.append((fields[1] if len(fields) > 1 else fields[0], "", ""))
        else:
            gene, mechanism = [*fields[4:6], "", ""][:2]
            named.append((fields[0], gene, mechanism))
    table = pd.DataFrame(named, columns=["id", "gene", "mechanism"])
    return table.assign(label=proteins.labels, sequence=proteins.sequences)


def _intact(folder: Path) -> dict[str, Any] | None:
    """What `_build` returned, if all of its files are as it left them."""
    try:
        content = json.loads((folder / FILES).read_text(encoding="utf-8"))
        sums = content["files"].items()
        whole = {"sequences", "profiles"} <= content.keys() and all(
            file_sha256(folder / name) == sha256 for name, sha256 in sums
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return content if whole else None
