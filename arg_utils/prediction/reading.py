"""What a user hands in, as a stream of proteins: FASTA of proteins or contigs, GFF3, GenBank.

Files may be compressed; their kind is known by their first bytes. Of FASTA one record is in memory
at a time, of contigs a few million bases (in single mode the genome), of annotated genomes the
file. Besides, ids are compared within a file, which takes about 150 MB a million proteins.

Where more than one file is read, ids and contigs are written ``<file>:<id>``, the file's name
without folder and endings: genomes share names such as ``contig_1``.
"""

import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, Literal

from arg_utils.data.fasta import CONTROL, iterate_fasta
from arg_utils.data.genes import GeneCaller, iterate_genes
from arg_utils.data.sources import STANDARD_INPUT, open_source, source_name
from arg_utils.errors import UserError
from arg_utils.prediction.annotations import read_genbank, read_gff
from arg_utils.prediction.query import Query, distinct

GFF, GENBANK = b"##gff-version", b"LOCUS "  # what such files begin with
STANDARD_CODE = 11  # of bacteria
PACKED = (".gz", ".bz2", ".xz", ".zst")
FASTA = (".fasta", ".fa", ".fas")
ENDINGS = {False: (*FASTA, ".faa", ".pep"), True: (*FASTA, ".fna", ".fsa")}  # by options.genome


@dataclass(frozen=True)
class ReadingOptions:
    """How inputs are read.

    Attributes
    ----------
    genome : whether FASTA holds contigs, whose genes are called.
    gff : a GFF3 file that has the genes of the contigs in the one FASTA file given.
    mode, genetic_code, closed : see `GeneCaller`, and its defaults for None. The code holds for
        annotated genes that name none, too.
    skip_bad : is told of each bad record, which is left out; None: the first one is an error.
    """

    genome: bool = False
    gff: str | None = None
    mode: Literal["meta", "single"] | None = None
    genetic_code: int | None = None
    closed: bool = False
    skip_bad: Callable[[str], None] | None = None


def read_queries(
    inputs: Sequence[str], options: ReadingOptions = ReadingOptions()
) -> Iterator[Query]:
    """The proteins of all inputs, in order.

    Parameters
    ----------
    inputs : files, ``-`` for standard input, or folders, whose FASTA files are read by name.

    Raises
    ------
    UserError
        Naming file, line or record, and remedy, if an input cannot be read, an id comes twice in a
        file, or a bad record is reached.
    """
    files: list[str] = []
    for name in inputs:
        found = _files(name, options.genome)
        if found != [name]:  # a folder's
            names = ", ".join(Path(file).name for file in found)
            print(f"{name}: reading {names}", file=sys.stderr)
        files += found
    if options.gff and len(files) > 1:
        raise UserError(f"{options.gff} goes with one FASTA file, not {len(files)}; give that one.")
    for name, prefix in zip(files, _prefixes(files), strict=True):
        for query in distinct(_read(name, options), options.skip_bad):
            own, contig = query.id, query.contig
            if len(files) > 1:
                own, contig = f"{prefix}:{own}", contig and f"{prefix}:{contig}"
            yield replace(query, id=own, contig=contig, file=name)


def files_to_read(inputs: Sequence[str], options: ReadingOptions) -> list[str]:
    """All files that `read_queries` will read; a `UserError` names a folder that has none."""
    files = [file for name in inputs for file in _files(name, options.genome)]
    return [*files, options.gff] if options.gff else files


def count_records(inputs: Sequence[str], options: ReadingOptions) -> int | None:
    """How many proteins there will be: headers of FASTA files; None where more work would tell."""
    if options.genome or options.gff or not all(Path(name).is_file() for name in inputs):
        return None
    count = 0
    for name in inputs:
        with open_source(name) as handle:
            if _head(handle)[:1] != b">":
                return None
            count += sum(line.startswith(b">") for line in handle)
    return count


def has_places(inputs: Sequence[str], options: ReadingOptions) -> bool:
    """Whether genes have a place in a genome, in any input; standard input is not looked at."""
    if options.genome or options.gff:
        return True
    for name in (file for given in inputs for file in _files(given, genome=False)):
        if Path(name).is_file():
            with open_source(name) as handle:
                if _head(handle).startswith((GFF, GENBANK)):
                    return True
    return False


def _head(handle: Any) -> bytes:
    """The first bytes that are no white space."""
    return handle.peek().lstrip(b"\xef\xbb\xbf \r\n")


def _read(name: str, options: ReadingOptions) -> Iterator[Query]:
    """The proteins of one file, by what it starts with."""
    skip_bad, code = options.skip_bad, options.genetic_code or STANDARD_CODE
    with open_source(name) as handle:
        head, name = _head(handle), source_name(name)
        if options.gff:
            with open_source(options.gff) as annotation:
                yield from read_gff(annotation, options.gff, code, skip_bad, (handle, name))
        elif head.startswith((GFF, GENBANK)):
            if options.closed or options.mode:
                what = "has annotated genes, and --mode and --closed are about finding genes"
                raise UserError(f"{name} {what}; leave these out.")
            read = read_gff if head.startswith(GFF) else read_genbank
            yield from read(handle, name, code, skip_bad)
        elif options.genome:
            yield from _called(handle, name, options)
        else:
            if options.genetic_code:
                what = "holds proteins, and --genetic-code is about genes"
                raise UserError(f"{name} {what}; leave it out, or give contigs, and --genome.")
            for record in iterate_fasta(handle, name, unique=False, skip_bad=skip_bad):
                yield Query(record.id, record.sequence, f"{name}, line {record.line}")


def _called(handle: BinaryIO, name: str, options: ReadingOptions) -> Iterator[Query]:
    """The genes of contigs."""
    code = options.genetic_code or STANDARD_CODE
    caller = GeneCaller(options.mode or "meta", code, options.closed, masked=True)
    for gene in iterate_genes(handle, name, caller, options.skip_bad):
        yield Query(
            gene.id,
            gene.sequence,
            f"{name}, {gene.contig}:{gene.start}-{gene.end}",
            gene.contig,
            gene.start,
            gene.end,
            gene.strand,
            ("partial_gene",) if gene.partial else (),
        )


def _files(name: str, genome: bool) -> list[str]:
    """The input, or a folder's FASTA files, sorted, without hidden ones."""
    folder = Path(name)
    if name == STANDARD_INPUT or not folder.is_dir():
        return [name]
    endings = ENDINGS[genome]
    files = [
        str(path)
        for path in sorted(folder.iterdir())
        if path.is_file()
        and _unpacked(path.name).lower().endswith(endings)
        and not path.name.startswith(".")
    ]
    if not files:
        raise UserError(f"{name} has no file ending in {', '.join(endings)}; name the files.")
    return files


def _prefixes(files: list[str]) -> list[str]:
    """Names of files without folder and endings, which must differ, and suit an id."""
    stems = [Path(_unpacked(name)).stem for name in files]
    for stem in stems if len(files) > 1 else ():
        if odd := re.search(f"{CONTROL.pattern}|[:\udc80-\udcff]", stem):
            what = f"Ids would begin with the file's name {stem!r}, which holds {odd[0]!r}"
            raise UserError(f"{what}; rename it, or predict it alone.")
    for position, stem in enumerate(stems):
        if stem in stems[:position]:
            first = files[stems.index(stem)]
            what = f"{first} and {files[position]} would give the same ids ({stem}:...)"
            raise UserError(f"{what}; rename one, or predict them one by one.")
    return stems


def _unpacked(name: str) -> str:
    """A file's name without the ending of its compression."""
    return str(Path(name).with_suffix("")) if Path(name).suffix.lower() in PACKED else name
