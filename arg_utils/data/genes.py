"""Genes of an assembly as proteins, found by Prodigal (Hyatt et al., BMC Bioinformatics 2010).

`pyrodigal` runs Prodigal's own code (Larralde, JOSS 2022). Metagenomic mode needs no training on
the genome, so a draft of many contigs, a plasmid or a mixture will do.
"""

from collections.abc import Iterator
from multiprocessing.pool import ThreadPool
from pathlib import Path

import pyrodigal
from tqdm import tqdm

from arg_utils.data.fasta import NUCLEOTIDES, Entry, Record, iterate_entries, open_fasta
from arg_utils.errors import UserError
from arg_utils.files import cores

MOST_THREADS = 16


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
    with open_fasta(path) as handle:
        entries = iterate_entries(handle, str(path))
        contigs = [(entry.id, _bases(path, entry)) for entry in entries]
    finder = pyrodigal.GeneFinder(meta=True)
    with ThreadPool(min(cores(), MOST_THREADS)) as pool:
        called = pool.imap(lambda contig: finder.find_genes(contig[1]), contigs)
        bar = tqdm(called, total=len(contigs), desc="genes", unit="contig")
        records = [
            record
            for (name, _), genes in zip(contigs, bar, strict=True)
            for record in _records(name, genes)
        ]
    if not records:
        raise UserError(f"No gene found in {path}; give an assembly with longer contigs.")
    return records


def _bases(path: Path | str, entry: Entry) -> bytes:
    """A contig's bases, upper case; refused if there is anything else, or nothing."""
    letters = entry.letters.upper()
    if strange := set(letters) - NUCLEOTIDES:
        fault = next(letter for letter in entry.letters if letter.upper() in strange)
        raise UserError(
            f"{path}, line {entry.line_of(fault)}: {fault!r} is not a base; give an assembly (DNA)."
        )
    if not letters:
        raise UserError(
            f"{path}, line {entry.line}: {entry.header[:40]!r} has no sequence; remove it."
        )
    return letters.encode()


def _records(contig: str, genes: pyrodigal.Genes) -> Iterator[Record]:
    """Genes of one contig as proteins without the stop."""
    for number, gene in enumerate(genes, start=1):
        name = f"{contig}_{number}"
        header = f"{name} {gene.begin}..{gene.end} strand {gene.strand:+d}"
        yield Record(name, header, gene.translate(include_stop=False))
