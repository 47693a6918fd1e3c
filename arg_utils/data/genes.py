"""Genes of an assembly as proteins, found by Prodigal (Hyatt et al., BMC Bioinformatics 2010).

`pyrodigal` runs Prodigal's own code (Larralde, JOSS 2022). Metagenomic mode needs no training on
the genome, so a draft of many contigs, a plasmid or a mixture will do.
"""

import os
from collections.abc import Iterator
from itertools import islice
from multiprocessing.pool import ThreadPool
from pathlib import Path

import pyrodigal
from tqdm import tqdm

from arg_utils.data.fasta import Entry, Record, iter_entries
from arg_utils.errors import UserError

# The four bases, U, and the IUPAC codes for "one of several".
BASES = frozenset("ACGTUNRYSWKMBDHV")


def looks_like_dna(path: Path | str) -> bool:
    """Whether the first 1,000 letters of a FASTA file are all but nucleotides (95 % or more).

    Raises
    ------
    UserError
        If it is no FASTA file.
    """
    letters = (char for entry in iter_entries(path) for _, text in entry.body for char in text)
    first = [char.upper() for char in islice((c for c in letters if not c.isspace()), 1000)]
    return bool(first) and sum(char in "ACGTUN" for char in first) >= 0.95 * len(first)


def call_genes(path: Path | str) -> list[Record]:
    """The proteins of all genes on all contigs, in order of contig and position.

    Parameters
    ----------
    path : Path or str
        Assembly as nucleotide FASTA, plain or gzip.

    Returns
    -------
    list of Record
        ``id`` is ``<contig>_<number>`` as Prodigal writes it; ``header`` adds start, end (bases
        on the contig, from 1) and strand; no label. A gene cut off by a contig's end is given as
        far as it goes.

    Raises
    ------
    UserError
        If the file is no FASTA, or not DNA, or no gene is found.
    """
    contigs = [(entry.header.split()[0], _bases(path, entry)) for entry in iter_entries(path)]
    finder = pyrodigal.GeneFinder(meta=True)
    with ThreadPool(min(os.cpu_count() or 1, 16)) as pool:
        found = pool.imap(lambda contig: finder.find_genes(contig[1]), contigs)
        bar = tqdm(found, total=len(contigs), desc="genes", unit="contig")
        records = [
            record
            for (name, _), genes in zip(contigs, bar, strict=True)
            for record in _records(name, genes)
        ]
    if not records:
        raise UserError(f"No gene found in {path}; give an assembly with longer contigs.")
    return records


def _bases(path: Path | str, entry: Entry) -> bytes:
    """A contig's bases, upper case; refused if a line holds anything else."""
    for number, text in entry.body:
        if strange := set("".join(text.split()).upper()) - BASES:
            raise UserError(
                f"{path}, line {number}: {min(strange)!r} is not a base; give an assembly (DNA)."
            )
    if not entry.body:
        raise UserError(
            f"{path}, line {entry.line}: {entry.header[:40]!r} has no sequence; remove it."
        )
    return "".join("".join(text.split()) for _, text in entry.body).upper().encode()


def _records(contig: str, genes: pyrodigal.Genes) -> Iterator[Record]:
    """Genes of one contig as proteins without the stop."""
    for number, gene in enumerate(genes, start=1):
        name = f"{contig}_{number}"
        header = f"{name} {gene.begin}..{gene.end} strand {gene.strand:+d}"
        yield Record(name, header, gene.translate(include_stop=False))
