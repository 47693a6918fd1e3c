"""Genes of an assembly as proteins, found by Prodigal (Hyatt et al., BMC Bioinformatics 2010).

`pyrodigal` runs Prodigal's own code (Larralde, JOSS 2022). Metagenomic mode needs no training on
the genome, so a draft of many contigs, a plasmid or a mixture will do.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast

import pyrodigal
from tqdm import tqdm

from arg_utils.data.fasta import NUCLEOTIDES, Entry, iterate_entries
from arg_utils.data.sources import open_source
from arg_utils.errors import SkipBad, UserError, skipping
from arg_utils.files import cores

MOST_THREADS = 16
BATCH = 1 << 23  # bases in memory at a time, at least a contig


@dataclass(frozen=True)
class GeneCaller:
    """How Prodigal is run.

    Attributes
    ----------
    mode : ``meta``, with models trained on other genomes, or ``single``, trained on all contigs of
        the file, which must be one genome.
    genetic_code : NCBI's number of the translation table, in single mode; the models of meta mode
        have their own (11, and 4 where it fits better).
    closed : whether genes may not run off the end of a contig.
    masked : whether genes may not run into stretches of N; those of the open data may.
    """

    mode: Literal["meta", "single"] = "meta"
    genetic_code: int = 11
    closed: bool = False
    masked: bool = False

    def __post_init__(self) -> None:
        if self.genetic_code not in pyrodigal.TRANSLATION_TABLES:
            raise UserError(f"Prodigal knows no genetic code {self.genetic_code}; give NCBI's 11.")
        if self.mode == "meta" and self.genetic_code != 11:
            raise UserError("Metagenomic mode chooses the genetic code; use single mode to set it.")

    def finder(self, name: str, contigs: list[bytes]) -> pyrodigal.GeneFinder:
        """Prodigal, trained on the contigs in single mode."""
        finder = pyrodigal.GeneFinder(
            meta=self.mode == "meta", closed=self.closed, mask=self.masked
        )
        if self.mode == "single" and contigs:
            try:
                finder.train(*contigs, translation_table=cast(Any, self.genetic_code))
            except ValueError as error:  # too short
                what = f"{name} cannot train Prodigal's single mode ({error})"
                raise UserError(f"{what}; use metagenomic mode.") from None
        return finder


@dataclass(frozen=True)
class Gene:
    """A gene's protein without the stop, and its place: bases from 1, both ends included."""

    id: str  # <contig>_<number>, as Prodigal writes it
    sequence: str
    contig: str
    start: int
    end: int
    strand: str
    partial: bool  # cut off by an end of the contig

    @property
    def header(self) -> str:
        return f"{self.id} {self.start}..{self.end} strand {self.strand}1"


def call_genes(path: Path | str) -> list[Gene]:
    """The genes on all contigs of a FASTA file: `iterate_genes` as a list."""
    with open_source(path) as handle:
        return list(iterate_genes(handle, str(path)))


def iterate_genes(
    handle: BinaryIO, name: str, caller: GeneCaller = GeneCaller(), skip_bad: SkipBad = None
) -> Iterator[Gene]:
    """The genes of an open assembly, in order of contig and position.

    In metagenomic mode some `BATCH` bases are in memory at a time, in single mode all.

    `UserError` if this is no FASTA, or not DNA, or no gene is found.

    Parameters
    ----------
    handle : nucleotide FASTA: `open_source`.
    name : what errors call the file.
    skip_bad : is told of each bad contig, which is left out; None: the first one is an error.
    """
    contigs = _contigs(handle, name, skip_bad)
    batches = _batches(contigs) if caller.mode == "meta" else iter([list(contigs)])
    none = True
    with (
        ThreadPool(min(cores(), MOST_THREADS)) as pool,
        tqdm(desc="genes", unit="contig", delay=1, disable=None) as bar,
    ):
        for batch in batches:
            finder = caller.finder(name, [bases for _, bases in batch])
            called = pool.imap(finder.find_genes, [bases for _, bases in batch])
            for (contig, _), genes in zip(batch, called, strict=True):
                bar.update()
                for number, gene in enumerate(genes, start=1):
                    none = False
                    yield _gene(contig, number, gene)
    if none:
        with skipping(skip_bad):
            raise UserError(f"No gene found in {name}; give an assembly with longer contigs.")


def _contigs(handle: BinaryIO, name: str, skip_bad: SkipBad) -> Iterator[tuple[str, bytes]]:
    seen: set[str] = set()
    for entry in iterate_entries(handle, name, skip_bad):
        with skipping(skip_bad):
            bases = _bases(entry)
            if entry.id in seen:
                entry.refuse(f"the contig {entry.id[:60]!r} comes a second time; make ids differ")
            seen.add(entry.id)
            yield entry.id, bases


def _batches(contigs: Iterable[tuple[str, bytes]]) -> Iterator[list[tuple[str, bytes]]]:
    batch, size = [], 0
    for contig in contigs:
        batch.append(contig)
        size += len(contig[1])
        if size >= BATCH:
            yield batch
            batch, size = [], 0
    yield batch


def _bases(entry: Entry) -> bytes:
    """A contig's bases, upper case; refused if there is anything else, or nothing."""
    letters = entry.letters.upper()
    if strange := set(letters) - NUCLEOTIDES:
        fault = next(letter for letter in entry.letters if letter.upper() in strange)
        entry.refuse(f"{fault!r} is not a base; give an assembly (DNA)", fault)
    if not letters:
        entry.refuse(f"{entry.header[:40]!r} has no sequence; remove it")
    if "U" in letters:
        entry.refuse(f"{entry.id!r} is RNA (U); give an assembly (DNA)")
    return letters.encode()


def _gene(contig: str, number: int, gene: pyrodigal.Gene) -> Gene:
    return Gene(
        id=f"{contig}_{number}",
        sequence=gene.translate(include_stop=False),
        contig=contig,
        start=gene.begin,
        end=gene.end,
        strand="+" if gene.strand == 1 else "-",
        partial=gene.partial_begin or gene.partial_end,
    )
