"""What the open data set is made of: proteins with a class, proteins without, all of them counted.

ARGs are those of SARG v3. The other proteins are the genes of an *E. coli* assembly, and a sample
of 30 marker families found in all of life, both without what resembles an ARG. All of it lies in
one wheel (see ``data/README.md``), which is read here as data.
"""

import dataclasses
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from arg_utils.data.downloads import PinnedWheel
from arg_utils.data.fasta import Record, read_fasta, unique_ids
from arg_utils.data.genes import call_genes
from arg_utils.files import cache_dir
from arg_utils.homology.mmseqs import search
from arg_utils.labels import CLASSES, NONARG, class_index

SEED = 0
MARKERS = 2000  # at most so many proteins of the marker families: 30 families are few
MIN_LENGTH = 30  # residues of a negative; the shortest ARG has 31
ARG_EVALUE = 1e-5  # a negative with a hit this good among the ARGs is removed
WHEEL = PinnedWheel(
    package="arg_ranker",
    version="3.7.2",
    sha256="dab54610f8c9a731db025520aa2c88e3e1f6b48aadff8f97c031ad19ca21c0c3",
    size=89_741_562,
    members={
        "arg_ranker/data/SARG.db.fasta": (
            "87ad34a0620cfd7316a99e134bd532af9974b55b7ee048ab830078c0b152c3c7"
        ),
        "arg_ranker/data/ARG_rank.txt": (
            "6cbc4bf5209ddd99065bd9f85c712898a231b8d92daff44441e6cc31ea41e742"
        ),
        "arg_ranker/example/EsCo_genome.fasta": (
            "dd20208f66220b116910aedb541ee592bb5cfee97761becab19c6871afc289b1"
        ),
        "arg_ranker/data/all_KO30.pro.fasta": (
            "ca850df8aa4c37b19e0701c5e893058e6568b1ddaa3c0cda7ae71bd5440831db"
        ),
        "arg_ranker/data/all_KO30_name.list": (
            "5f0c0502c5c31143df5c939ff567edf6abb84269bf475f6c25ba301d9c0114e0"
        ),
    },
)


@dataclass(frozen=True)
class Sources:
    """The five files the data set is built from."""

    args: Path
    types: Path
    genome: Path
    markers: Path
    families: Path

    @classmethod
    def fetch(cls) -> "Sources":
        """Out of the wheel, fetched unless cached."""
        return cls(*WHEEL.fetch(cache_dir("arg_ranker")).values())


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
        for step, value in dataclasses.asdict(self).items():
            if step not in ("version", "files"):
                items = value.items() if isinstance(value, dict) else [("", value)]
                rows += [(step, detail, count) for detail, count in items]
        return pd.DataFrame(rows, columns=["step", "detail", "proteins"])


def read_args(sources: Sources, report: Report) -> list[Record]:
    """ARGs of the 14 classes, labelled, with headers in the competition's format."""
    types = pd.read_csv(sources.types, sep="\t", dtype=str, keep_default_na=False, index_col="ARG")
    mapped, outside = [], Counter[str]()
    for record in read_fasta(sources.args, labelled=False):
        report.args_read += 1
        kind, subtype = types.loc[record.id, "Type"], types.loc[record.id, "Subtype"]
        if (label := class_index(kind)) is None:
            outside[kind] += 1
            continue
        gene = _word(subtype.partition("__")[2] or subtype)
        mapped.append((_accession(record.id), label, gene, record.sequence))
    report.args_outside, report.args_mapped = dict(outside.most_common()), len(mapped)
    ids = unique_ids(accession for accession, *_ in mapped)
    records = [
        Record(name, f"{name}|FEATURES|SARG|{CLASSES[label]}|{gene}", sequence, label)
        for name, (_, label, gene, sequence) in zip(ids, mapped, strict=True)
    ]
    return _distinct(records, report)


def sample_markers(sources: Sources, limit: int, report: Report, seed: int = SEED) -> list[Record]:
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
    genomes = [genomes[i] for i in np.random.default_rng(seed).permutation(len(genomes))]
    taken: list[Record] = []
    for position, (name, members) in enumerate(sorted(families.items())):
        quota = limit * (position + 1) // len(families) - len(taken)
        start = len(taken) % max(1, len(genomes))
        turn = [members.get(genome) for genome in genomes[start:] + genomes[:start]]
        some = [record for record in turn if record][:quota]
        taken += [_negative(f"KO30_{_word(r.id)}", f"{name} {r.header}", r) for r in some]
    report.markers_sampled = len(taken)
    return taken


def read_negatives(sources: Sources, report: Report) -> list[Record]:
    """Proteins that are no ARG, labelled so; those that resemble one are left out."""
    genes = [
        _negative(f"genome_{_word(gene.id)}", f"called gene {gene.header}", gene)
        for gene in call_genes(sources.genome)
    ]
    report.genes_called = len(genes)
    markers = sample_markers(sources, MARKERS, report)
    long = [record for record in genes + markers if len(record.sequence) >= MIN_LENGTH]
    report.negatives_short = len(genes) + len(markers) - len(long)
    distinct = list({record.sequence: record for record in reversed(long)}.values())[::-1]
    report.negatives_duplicate = len(long) - len(distinct)
    like = _resembling(distinct, [r.sequence for r in read_fasta(sources.args, labelled=False)])
    kept = [record for record in distinct if record not in like]
    report.negatives_arg_like, report.negatives_kept = _by_source(like), _by_source(kept)
    ids = unique_ids(record.id for record in kept)
    return [dataclasses.replace(r, id=name) for r, name in zip(kept, ids, strict=True)]


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


def _resembling(records: Sequence[Record], args: Sequence[str]) -> list[Record]:
    """Records equal to an ARG or with a hit among the ARGs."""
    hits = search([r.sequence for r in records], args, evalue=ARG_EVALUE, max_hits=50)
    hit, equal = set(hits["query"]), set(args)
    return [r for i, r in enumerate(records) if i in hit or r.sequence in equal]


def _negative(name: str, words: str, record: Record) -> Record:
    """A protein as a non-ARG of the competition's format."""
    words = words.replace("|", "_")
    return Record(name, f"sp|{name}|{words}", record.sequence, NONARG)


def _by_source(records: Iterable[Record]) -> dict[str, int]:
    """How many negatives each source gave."""
    return dict(sorted(Counter(record.id.partition("_")[0] for record in records).items()))


def _accession(word: str) -> str:
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
