"""Genes of annotated genomes: GFF3 with contigs (Prokka, Bakta, NCBI) and GenBank files.

A gene's id is its locus tag, else its protein's id, else the feature's. Pseudogenes are passed over
(annotation gives them no protein), and a stop that the annotation says is read as a residue
(``transl_except``: selenocysteine) is an X.
"""

import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO, TextIOWrapper
from typing import Any, BinaryIO
from urllib.parse import unquote

from Bio import SeqIO
from Bio.Data.CodonTable import TranslationError, unambiguous_dna_by_id
from Bio.Seq import Seq
from Bio.SeqFeature import AfterPosition, BeforePosition
from Bio.SeqRecord import SeqRecord

from arg_utils.data.fasta import iterate_entries
from arg_utils.errors import SkipBad, UserError, skipping
from arg_utils.prediction.query import Query

ID_KEYS = ("locus_tag", "protein_id", "ID", "Name")
DIGITS = re.compile("[0-9]{1,12}")
PARTIAL_KEYS = ("partial", "start_range", "end_range")


@dataclass
class Coding:
    """A coding sequence of a GFF3 file, of one row or several (a frameshift, an origin crossed)."""

    line: int
    contig: str
    strand: str
    attributes: dict[str, str]
    parts: list[tuple[int, int]] = field(default_factory=list)  # first and last base, from 1
    phase: int = 0  # bases before the first whole codon


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
    contigs : an open FASTA file and its name; None: the contigs follow in the section ``##FASTA``.
    """
    codings: dict[tuple[str, str], Coding] = {}
    circular: set[str] = set()
    number = 0
    lines = enumerate(TextIOWrapper(handle, "utf-8", errors="replace"), start=1)
    for number, line in lines:
        if line.startswith("##FASTA"):
            break
        if line.strip() and not line.startswith("#"):
            with skipping(skip_bad):
                _note_row(f"{name}, line {number}", number, line, codings, circular)
    if contigs is None:
        rest = "\n" * number + "".join(text for _, text in lines)  # blank lines keep the numbers
        contigs = (BytesIO(rest.encode()), name)
        if not rest.strip():
            raise UserError(f"{name} has no section ##FASTA; give its contigs too (--gff {name}).")
    sequences = {entry.id: entry.letters.upper() for entry in iterate_entries(*contigs, skip_bad)}
    if not codings:
        raise UserError(f"{name} has no CDS; give contigs alone, and have genes called (--genome).")
    for coding in codings.values():
        with skipping(skip_bad):
            yield _query(name, coding, sequences, circular, genetic_code)


def _note_row(
    where: str, number: int, line: str, codings: dict[tuple[str, str], Coding], circular: set[str]
) -> None:
    """Take in one row of a GFF3 file."""
    fields = line.rstrip("\r\n").split("\t")
    if len(fields) != 9:
        raise UserError(f"{where}: {len(fields)} columns, GFF3 has 9; mend or remove it.")
    contig, _, kind, start, end, _, strand, phase, text = fields
    pairs = (pair.partition("=") for pair in text.split(";") if pair.strip())
    attributes = {key.strip(): unquote(value) for key, _, value in pairs}
    contig = unquote(contig)
    if attributes.get("Is_circular") == "true":
        circular.add(contig)
    if kind != "CDS" or attributes.get("pseudo") == "true" or "pseudogene" in attributes:
        return
    digits = DIGITS.fullmatch(start) and DIGITS.fullmatch(end)
    if not (digits and 0 < int(start) <= int(end)):
        raise UserError(f"{where}: {start}..{end} is no place on a contig; mend or remove it.")
    if strand not in "+-":
        raise UserError(f"{where}: the strand is {strand!r}; write + or -.")
    key = (contig, attributes.get("ID", f"line {number}"))
    coding = codings.setdefault(key, Coding(number, contig, strand, attributes))
    coding.parts.append((int(start), int(end)))
    first = max if strand == "-" else min
    if first(coding.parts) == coding.parts[-1]:  # the row with the gene's start
        coding.phase = int(phase) if phase in ("0", "1", "2") else 0


def _query(
    name: str, coding: Coding, sequences: dict[str, str], circular: set[str], code: int
) -> Query:
    """The protein of a CDS, translated from its contig."""
    where = f"{name}, line {coding.line}"
    parts = sorted(coding.parts)
    start, end = parts[0][0], parts[-1][1]
    if coding.contig not in sequences:
        raise UserError(f"{where}: there is no contig {coding.contig!r}; give the FASTA it names.")
    contig = sequences[coding.contig]
    if end > len(contig) * (1 + (coding.contig in circular)):
        what = f"{start}..{end} goes beyond the {len(contig)} bases of {coding.contig!r}"
        raise UserError(f"{where}: {what}; give the FASTA that belongs to it.")
    unrolled = contig + contig if end > len(contig) else contig
    letters = "".join(unrolled[first - 1 : last] for first, last in parts)
    if not letters.isascii():
        raise UserError(f"{where}: letters of {coding.contig!r} are no bases; give its DNA.")
    bases = Seq(letters).reverse_complement() if coding.strand == "-" else Seq(letters)
    table = coding.attributes.get("transl_table", str(code))
    protein, whole = _translate(bases[coding.phase :], table, where)
    partial = any(coding.attributes.get(key, "false") != "false" for key in PARTIAL_KEYS)
    partial |= not whole and (start <= 3 or end >= len(contig) - 2)
    first, last = _without(coding.phase, start, end, coding.strand)
    return Query(
        next((coding.attributes[k] for k in ID_KEYS if k in coding.attributes), f"CDS_{start}"),
        _protein(protein, where, "transl_except" in coding.attributes),
        where,
        coding.contig,
        first,
        last,
        coding.strand,
        ("partial_gene",) if partial else (),
    )


def read_genbank(
    handle: BinaryIO, name: str, genetic_code: int, skip_bad: SkipBad
) -> Iterator[Query]:
    """The proteins of a GenBank file's CDS, by ``/translation`` where there is one."""
    none = True
    for contig in _contigs(handle, name):
        for feature in contig.features:
            words = feature.qualifiers
            if feature.type != "CDS" or "pseudo" in words or "pseudogene" in words:
                continue
            none = False
            with skipping(skip_bad):
                yield _feature_query(name, contig, feature, genetic_code)
    if none:
        raise UserError(f"{name} has no CDS; give contigs as FASTA, and have genes called.")


def _contigs(handle: BinaryIO, name: str) -> Iterator[SeqRecord]:
    """The records of a GenBank file; Biopython only warns of one that is cut off."""
    records = SeqIO.parse(TextIOWrapper(handle, "utf-8", errors="replace"), "genbank")
    while True:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", "Premature end|Expected sequence length")
            try:
                contig = next(records, None)
            except Exception as error:  # damage makes Biopython fail in any way
                reason = " ".join(str(error).split())[:120] or type(error).__name__
                what = f"{name} is no whole GenBank file ({reason})"
                raise UserError(f"{what}; write it again.") from error
        if contig is None:
            return
        yield contig


def _feature_query(name: str, contig: SeqRecord, feature: Any, code: int) -> Query:
    words, location = feature.qualifiers, feature.location
    label = next((words[key][0] for key in ID_KEYS if key in words), None)
    where = f"{name}, {label or 'a CDS'} of {contig.id}"
    codon_start = words.get("codon_start", ["1"])[0]
    try:
        start, end = int(location.start) + 1, int(location.end)
        offset = ("1", "2", "3").index(codon_start)
        given = "translation" in words
        bases = Seq("") if given else feature.extract(contig.seq)[offset:]
    except (AttributeError, TypeError, ValueError):  # none, unknown, or in another record
        raise UserError(
            f"{where}: its place, {location}, or its codon_start, {codon_start}, cannot be read; "
            f"mend or remove it."
        ) from None
    label = label or f"CDS_{start}"
    strand = "-" if location.strand == -1 else "+"
    if given:
        protein = words["translation"][0]
    else:
        table = words.get("transl_table", [str(code)])[0]
        protein, _ = _translate(bases, table, where)
    partial = isinstance(location.start, BeforePosition) or isinstance(location.end, AfterPosition)
    return Query(
        label,
        _protein(protein, where, "transl_except" in words),
        where,
        contig.id,
        *_without(offset, start, end, strand),
        strand,
        ("partial_gene",) if partial else (),
    )


def _without(phase: int, start: int, end: int, strand: str) -> tuple[int, int]:
    """A gene's first and last base, from its first whole codon on."""
    return (start, end - phase) if strand == "-" else (start + phase, end)


def _translate(bases: Seq, code: str, where: str) -> tuple[str, bool]:
    """The protein with its stop, and whether the gene has both start and stop codon."""
    table = unambiguous_dna_by_id.get(int(code) if DIGITS.fullmatch(code) else 0)
    if table is None:
        raise UserError(f"{where}: there is no genetic code {code!r}; write a number of NCBI's.")
    try:
        protein = str(bases[: len(bases) // 3 * 3].translate(table=table.id))
    except (TranslationError, ValueError) as error:  # not DNA; a contig without its letters
        raise UserError(f"{where}: cannot be translated ({error}); give its DNA.") from None
    begins = str(bases[:3]) in table.start_codons
    return "M" + protein[1:] if begins else protein, begins and protein.endswith("*")


def _protein(letters: str, where: str, recoded: bool) -> str:
    """Residues in ESM's alphabet."""
    protein = letters.upper().removesuffix("*").replace("J", "X")
    protein = protein.replace("*", "X") if recoded else protein
    if "*" in protein:
        what = "a stop inside the gene, by its genetic code"
        raise UserError(f"{where}: {what}; mark it pseudo, or give the code (--genetic-code).")
    if not (protein.isascii() and protein.isalpha()):
        raise UserError(f"{where}: no protein, or letters that are no residues; mend it.")
    return protein
