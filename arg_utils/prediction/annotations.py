"""Genes of annotated genomes: GFF3 with contigs (Prokka, Bakta, NCBI) and GenBank files.

A gene's id is its locus tag, else its protein's id, else the feature's. Pseudogenes are passed over
(annotation gives them no protein), and a stop that the annotation says is read as a residue
(``transl_except``: selenocysteine) is an X.
"""

import re
import sys
import warnings
from collections.abc import Iterator
from io import BytesIO, TextIOWrapper
from typing import Any, BinaryIO
from urllib.parse import unquote

from Bio import BiopythonParserWarning, SeqIO
from Bio.Seq import Seq
from Bio.SeqFeature import AfterPosition, BeforePosition
from Bio.SeqRecord import SeqRecord

from arg_utils.data.fasta import ResidueReader, iterate_entries
from arg_utils.errors import SkipBad, UserError, counted, skipping
from arg_utils.prediction.coding import DIGITS, ID_KEYS, Coding, name_of
from arg_utils.prediction.query import Item, Query

PARTIAL_KEYS = ("partial", "start_range", "end_range")
COMPLETE = ("false", "0", "00")  # of the key ``partial``; the last is Prodigal's
CUT_OFF = "Premature end|Expected sequence length|line too short"  # warnings of Biopython


def read_gff(
    handle: BinaryIO,
    name: str,
    genetic_code: int,
    skip_bad: SkipBad,
    contigs: tuple[BinaryIO, str] | None = None,
) -> Iterator[Query]:
    """The proteins of a GFF3 file's CDS, in its order.

    Parameters
    ----------
    contigs : an open FASTA file and its name; None: the contigs follow in the section ``##FASTA``,
        which any line that starts with ``>`` begins, too.
    """
    rows, fasta = _sections(handle)
    codings: dict[tuple[str, str], Coding] = {}
    circular: set[str] = set()
    for number, row in enumerate(rows.split("\n"), start=1):
        if row.strip() and not row.startswith("#"):
            with skipping(skip_bad):
                _note_row(f"{name}, line {number}", row, codings, circular)
    if contigs is None:
        if not fasta.strip():
            raise UserError(f"{name} has no section ##FASTA; give its contigs too (--gff {name}).")
        contigs = (BytesIO(fasta.encode()), name)
    sequences: dict[str, str] = {}
    for entry in iterate_entries(*contigs, skip_bad):
        with skipping(skip_bad):
            if entry.id in sequences:
                entry.refuse(f"the contig {entry.id[:60]!r} comes a second time; remove one")
            sequences[entry.id] = entry.letters.upper()
    given = list(sequences)
    for known in given:  # some write a % of a contig's name as it is
        sequences.setdefault(unquote(known), sequences[known])
    if not codings:
        raise UserError(f"{name} has no CDS; give contigs alone, and have genes called (--genome).")
    used: set[str] = set()
    for coding in codings.values():
        if len(coding.parts) < coding.rows:
            continue  # a row of it was refused: the rest is not the gene
        with skipping(skip_bad):
            yield _row_query(coding, sequences, coding.contig in circular, genetic_code, used)
    with_genes = {contig for contig, _ in codings}
    _note_contigs(name, [own for own in map(unquote, given) if own not in with_genes])


def _sections(handle: BinaryIO) -> tuple[str, str]:
    """The rows of a GFF3 file, and its FASTA below so many blank lines that line numbers stay."""
    text = TextIOWrapper(handle, "utf-8-sig", errors="replace").read()
    begin = re.search("^(##FASTA.*|(?=>))", text, re.MULTILINE)
    if begin is None:
        return text, ""
    rows = text[: begin.start()]
    return rows, "\n" * rows.count("\n") + text[begin.end() :]


def _note_row(
    where: str, row: str, codings: dict[tuple[str, str], Coding], circular: set[str]
) -> None:
    """Take in one row of a GFF3 file."""
    fields = row.split("\t")
    if len(fields) != 9:
        columns = counted(len(fields), "column")
        raise UserError(f"{where}: {columns}, GFF3 has 9; mend or remove it.")
    contig, _, kind, start, end, _, strand, phase, text = fields
    pairs = (pair.partition("=") for pair in text.split(";") if pair.strip())
    words = {key.strip(): unquote(value) for key, _, value in pairs}
    part = Coding(where, unquote(contig), strand, words)
    named = [words[key] for key in ("ID", "Parent", *ID_KEYS) if key in words]
    part.refuse_other_encodings(part.contig, *named)
    if words.get("Is_circular", "").lower() == "true":
        circular.add(part.contig)
    if kind != "CDS" or words.get("pseudo", "").lower() == "true" or "pseudogene" in words:
        return
    if text.strip(" .") and "=" not in text:
        what = f"{text.strip()[:40]!r} is no attribute of GFF3, name=value"
        part.refuse(f"{what}; convert it if this is GTF or GFF2")
    # Rows of one gene share an ID or, as gffread writes them, the transcript they are parts of.
    same = words.get("ID") or words.get("Parent") or where
    coding = codings.setdefault((part.contig, same), part)
    coding.rows += 1
    digits = DIGITS.fullmatch(start) and DIGITS.fullmatch(end)
    if not (digits and 0 < int(start) <= int(end)):
        place = f"{start[:20]}..{end[:20]}"
        part.refuse(f"{place} is no place on a contig; mend or remove it")
    if strand not in ("+", "-"):
        part.refuse(f"the strand is {strand!r}; write + or -")
    if phase not in ("0", "1", "2", "."):
        part.refuse(f"the phase is {phase!r}; write 0, 1 or 2")
    if strand != coding.strand:
        line = coding.where.rpartition(", ")[2]
        part.refuse(f"{same!r} is on the other strand in {line}; mend or remove it")
    coding.parts.append((int(start), int(end), 0 if phase == "." else int(phase)))


def _row_query(
    coding: Coding, sequences: dict[str, str], circular: bool, code: int, used: set[str]
) -> Query:
    """The protein of a GFF3 file's CDS, translated from its contig."""
    if coding.contig not in sequences:
        coding.refuse(f"there is no contig {coding.contig!r}; give the FASTA it names")
    contig = sequences[coding.contig]
    coding.put_in_order(len(contig), circular)
    start, end = coding.parts[0][0], coding.parts[-1][1]
    if end > len(contig) * (1 + circular):
        coding.refuse_beyond(len(contig))
    unrolled = contig + contig if end > len(contig) else contig
    letters = "".join(unrolled[first - 1 : last] for first, last, _ in coding.parts)
    if not letters.isascii():
        coding.refuse(f"letters of {coding.contig!r} are no bases; give its DNA")
    bases = Seq(letters).reverse_complement() if coding.strand == "-" else Seq(letters)
    marks = [coding.words.get(key, "false").lower() for key in PARTIAL_KEYS]
    partial = any(mark not in COMPLETE for mark in marks)
    ends = (marks[0] in ("10", "11"), marks[0] in ("01", "11"))  # Prodigal's: left, right
    left, right = ((given or "." in mark) for given, mark in zip(ends, marks[1:], strict=True))
    protein, whole = coding.translated(bases, code, right if coding.strand == "-" else left)
    at_edge = start <= 3 or end >= len(contig) - 2
    return coding.query(protein, partial or (not whole and at_edge), used)


def read_genbank(
    handle: BinaryIO, name: str, genetic_code: int, skip_bad: SkipBad
) -> Iterator[Query]:
    """The proteins of a GenBank file's CDS, by ``/translation`` where there is one."""
    reader = ResidueReader()
    without: list[str] = []
    seen, used = set[str](), set[str]()
    for contig in _contigs(handle, name):
        own = str(contig.id)
        if own in seen:
            with skipping(skip_bad):
                what = f"the contig {own[:60]!r} comes a second time"
                raise UserError(f"{name}: {what}; make LOCUS and VERSION differ, or remove one.")
            continue
        seen.add(own)
        none = True
        for feature in contig.features:
            words = feature.qualifiers
            if feature.type != "CDS" or "pseudo" in words or "pseudogene" in words:
                continue
            none = False
            with skipping(skip_bad):
                query = _feature_query(name, contig, feature, genetic_code, used)
                if "translation" in words:  # which may hold anything
                    letters = query.sequence
                    reader.residues(Item(query.where, 0, query.id, letters, [letters]))
                yield query
        without += [own] if none else []
    if len(without) == len(seen):
        raise UserError(f"{name} has no CDS; give contigs as FASTA, and have genes called.")
    _note_contigs(name, without)


def _note_contigs(name: str, without: list[str]) -> None:
    """Say which contigs have no annotated gene, so that nothing of them was looked at."""
    if without:
        what = f"{counted(len(without), 'contig')} without a CDS passed over (first: {without[0]})"
        print(f"{name}: {what}; given as FASTA, with --genome, genes are found.", file=sys.stderr)


def _contigs(handle: BinaryIO, name: str) -> Iterator[SeqRecord]:
    """The records of a GenBank file; Biopython only warns of one that is cut off."""
    records = SeqIO.parse(TextIOWrapper(handle, "utf-8-sig", errors="replace"), "genbank")
    while True:
        with warnings.catch_warnings(action="ignore", category=BiopythonParserWarning):
            warnings.filterwarnings("error", CUT_OFF)
            try:
                contig = next(records, None)
            except Exception as error:  # damage makes Biopython fail in any way
                reason = " ".join(str(error).split())[:120] or type(error).__name__
                what = f"{name} is no whole GenBank file ({reason})"
                raise UserError(f"{what}; write it again.") from error
        if contig is None:
            return
        if contig.id in ("", ".", "<unknown id>"):  # no VERSION
            contig.id = contig.name
        yield contig


def _feature_query(name: str, contig: SeqRecord, feature: Any, code: int, used: set[str]) -> Query:
    """The protein of a GenBank file's CDS."""
    words = {key: values[0] for key, values in feature.qualifiers.items()}
    where = f"{name}, {name_of(words) or 'a CDS'} of {contig.id}"
    location, codon_start = feature.location, words.get("codon_start", "1")
    try:
        phase = ("1", "2", "3").index(codon_start)
        parts = [(int(part.start) + 1, int(part.end), phase) for part in location.parts]
        if any(part.ref for part in location.parts):
            raise ValueError("a part lies in another record")
        bases = None if "translation" in words else feature.extract(contig.seq)
        length = len(contig)
    except (AttributeError, TypeError, ValueError):  # none, unknown, or in another record
        raise UserError(
            f"{where}: its place, {location}, or its codon_start, {codon_start}, cannot be read; "
            f"mend or remove it."
        ) from None
    coding = Coding(where, str(contig.id), "-" if location.strand == -1 else "+", words, parts)
    coding.put_in_order(length, contig.annotations.get("topology") == "circular")
    coding.refuse_other_encodings(name_of(words), coding.contig)
    left = isinstance(location.start, BeforePosition)
    right = isinstance(location.end, AfterPosition)
    if bases is None:
        protein = words["translation"]
    elif int(location.end) > length:
        coding.refuse_beyond(length)
    else:
        protein, _ = coding.translated(bases, code, right if coding.strand == "-" else left)
    return coding.query(protein, left or right, used)
