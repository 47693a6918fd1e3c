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
from itertools import pairwise
from typing import Any, BinaryIO
from urllib.parse import unquote

from Bio import BiopythonParserWarning, SeqIO
from Bio.Data.CodonTable import TranslationError, unambiguous_dna_by_id
from Bio.Seq import Seq
from Bio.SeqFeature import AfterPosition, BeforePosition
from Bio.SeqRecord import SeqRecord

from arg_utils.data.fasta import ResidueReader, iterate_entries
from arg_utils.errors import SkipBad, UserError, counted, skipping
from arg_utils.prediction.query import Item, Query

ID_KEYS = ("locus_tag", "protein_id", "ID", "Name", "Parent")
DIGITS = re.compile("[0-9]{1,12}")
PARTIAL_KEYS = ("partial", "start_range", "end_range")

Part = tuple[int, int, int]  # first and last base, from 1; bases before its first whole codon


@dataclass
class Coding:
    """A coding sequence of a GFF3 file, of one row or several (a frameshift, an origin crossed)."""

    line: int
    contig: str
    strand: str
    attributes: dict[str, str]
    parts: list[Part] = field(default_factory=list)


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
    codings: dict[tuple[str, str], Coding] = {}
    circular: set[str] = set()
    number, first = 0, ""
    lines = enumerate(TextIOWrapper(handle, "utf-8-sig", errors="replace"), start=1)
    for number, line in lines:
        if line.startswith(("##FASTA", ">")):
            first = line if line.startswith(">") else "\n"
            break
        if line.strip() and not line.startswith("#"):
            with skipping(skip_bad):
                _note_row(f"{name}, line {number}", number, line, codings, circular)
    if contigs is None:
        # Blank lines keep the numbers.
        rest = "\n" * (number - 1) + first + "".join(text for _, text in lines)
        contigs = (BytesIO(rest.encode()), name)
        if not rest.strip():
            raise UserError(f"{name} has no section ##FASTA; give its contigs too (--gff {name}).")
    sequences: dict[str, str] = {}
    for entry in iterate_entries(*contigs, skip_bad):
        with skipping(skip_bad):
            if entry.id in sequences:
                entry.refuse(f"the contig {entry.id[:60]!r} comes a second time; remove one")
            sequences[entry.id] = entry.letters.upper()
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
        columns = counted(len(fields), "column")
        raise UserError(f"{where}: {columns}, GFF3 has 9; mend or remove it.")
    contig, _, kind, start, end, _, strand, phase, text = fields
    pairs = (pair.partition("=") for pair in text.split(";") if pair.strip())
    attributes = {key.strip(): unquote(value) for key, _, value in pairs}
    contig = unquote(contig)
    named = [attributes[key] for key in ("ID", "Parent", *ID_KEYS) if key in attributes]
    _refuse_other_encodings(where, contig, *named)
    if attributes.get("Is_circular", "").lower() == "true":
        circular.add(contig)
    pseudo = attributes.get("pseudo", "").lower() == "true" or "pseudogene" in attributes
    if kind != "CDS" or pseudo:
        return
    if text.strip(" .") and "=" not in text:
        what = f"{text.strip()[:40]!r} is no attribute of GFF3, name=value"
        raise UserError(f"{where}: {what}; convert it if this is GTF or GFF2.")
    digits = DIGITS.fullmatch(start) and DIGITS.fullmatch(end)
    if not (digits and 0 < int(start) <= int(end)):
        place = f"{start[:20]}..{end[:20]}"
        raise UserError(f"{where}: {place} is no place on a contig; mend or remove it.")
    if strand not in ("+", "-"):
        raise UserError(f"{where}: the strand is {strand!r}; write + or -.")
    if phase not in ("0", "1", "2", "."):
        raise UserError(f"{where}: the phase is {phase!r}; write 0, 1 or 2.")
    # Rows of one gene share an ID or, as gffread writes them, the transcript they are parts of.
    same = attributes.get("ID") or attributes.get("Parent") or f"line {number}"
    coding = codings.setdefault((contig, same), Coding(number, contig, strand, attributes))
    if strand != coding.strand:
        what = f"{same!r} is on the other strand in line {coding.line}"
        raise UserError(f"{where}: {what}; mend or remove it.")
    coding.parts.append((int(start), int(end), 0 if phase == "." else int(phase)))


def _query(
    name: str, coding: Coding, sequences: dict[str, str], circular: set[str], code: int
) -> Query:
    """The protein of a CDS, translated from its contig."""
    where = f"{name}, line {coding.line}"
    if coding.contig not in sequences:
        raise UserError(f"{where}: there is no contig {coding.contig!r}; give the FASTA it names.")
    contig = sequences[coding.contig]
    parts = sorted(coding.parts)
    if coding.contig in circular:
        parts = _unrolled(parts, len(contig))
    start, end = parts[0][0], parts[-1][1]
    if end > len(contig) * (1 + (coding.contig in circular)):
        raise _beyond(where, start, end, len(contig), coding.contig)
    unrolled = contig + contig if end > len(contig) else contig
    letters = "".join(unrolled[first - 1 : last] for first, last, _ in parts)
    if not letters.isascii():
        raise UserError(f"{where}: letters of {coding.contig!r} are no bases; give its DNA.")
    bases = Seq(letters).reverse_complement() if coding.strand == "-" else Seq(letters)
    phase = parts[-1 if coding.strand == "-" else 0][2]  # of the part with the gene's start
    table = coding.attributes.get("transl_table", str(code))
    protein, whole = _translate(bases[phase:], table, where)
    partial = any(coding.attributes.get(key, "false") != "false" for key in PARTIAL_KEYS)
    partial |= not whole and (start <= 3 or end >= len(contig) - 2)
    first, last = _without(phase, start, end, coding.strand)
    ids = (coding.attributes[key] for key in ID_KEYS if coding.attributes.get(key))
    return Query(
        next(ids, f"{coding.contig}_CDS_{start}"),
        _protein(protein, where, "transl_except" in coding.attributes),
        where,
        coding.contig,
        first,
        last,
        coding.strand,
        ("partial_gene",) if partial else (),
    )


def _unrolled(parts: list[Part], length: int) -> list[Part]:
    """Parts of a gene of a circular contig in order, where those beyond its origin count on.

    A gene whose parts lie at both ends of the contig crosses the origin: not a part of it is the
    widest gap between them.
    """
    if len(parts) < 2 or parts[0][0] != 1 or parts[-1][1] != length:
        return parts
    gaps = [after[0] - before[1] for before, after in pairwise(parts)]
    cut = gaps.index(max(gaps)) + 1
    beyond = [(first + length, last + length, phase) for first, last, phase in parts[:cut]]
    return [*parts[cut:], *beyond]


def read_genbank(
    handle: BinaryIO, name: str, genetic_code: int, skip_bad: SkipBad
) -> Iterator[Query]:
    """The proteins of a GenBank file's CDS, by ``/translation`` where there is one."""
    none, reader = True, ResidueReader()
    for contig in _contigs(handle, name):
        for feature in contig.features:
            words = feature.qualifiers
            if feature.type != "CDS" or "pseudo" in words or "pseudogene" in words:
                continue
            none = False
            with skipping(skip_bad):
                query = _feature_query(name, contig, feature, genetic_code)
                if "translation" in words:  # which may hold anything
                    letters = query.sequence
                    reader.residues(Item(query.where, 0, query.id, letters, [letters]))
                yield query
    if none:
        raise UserError(f"{name} has no CDS; give contigs as FASTA, and have genes called.")


def _contigs(handle: BinaryIO, name: str) -> Iterator[SeqRecord]:
    """The records of a GenBank file; Biopython only warns of one that is cut off."""
    records = SeqIO.parse(TextIOWrapper(handle, "utf-8-sig", errors="replace"), "genbank")
    while True:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", BiopythonParserWarning)  # what matters is met below
            warnings.filterwarnings(
                "error", "Premature end|Expected sequence length|line too short"
            )
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
    label = next((words[key][0] for key in ID_KEYS if any(words.get(key, ()))), None)
    where = f"{name}, {label or 'a CDS'} of {contig.id}"
    codon_start = words.get("codon_start", ["1"])[0]
    try:
        length, circular = len(contig), contig.annotations.get("topology") == "circular"
        parts = sorted((int(part.start) + 1, int(part.end), 0) for part in location.parts)
        parts = _unrolled(parts, length) if circular else parts
        start, end = parts[0][0], parts[-1][1]
        offset = ("1", "2", "3").index(codon_start)
        given = "translation" in words
        bases = Seq("") if given else feature.extract(contig.seq)[offset:]
    except (AttributeError, TypeError, ValueError):  # none, unknown, or in another record
        raise UserError(
            f"{where}: its place, {location}, or its codon_start, {codon_start}, cannot be read; "
            f"mend or remove it."
        ) from None
    label = label or f"{contig.id}_CDS_{start}"
    _refuse_other_encodings(where, label, contig.id or "")
    strand = "-" if location.strand == -1 else "+"
    if given:
        protein = words["translation"][0]
    else:
        if int(location.end) > length:
            raise _beyond(where, start, end, length, contig.id)
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


def _refuse_other_encodings(where: str, *names: str) -> None:
    """Bytes that are no UTF-8 do no harm in comments; in names, different ones would look alike."""
    for name in names:
        if "\ufffd" in name:
            what = f"the name {name[:40]!r} is not UTF-8 text"
            raise UserError(f"{where}: {what}; save the file as UTF-8, or remove the letter.")


def _beyond(where: str, start: int, end: int, length: int, contig: str | None) -> UserError:
    what = f"{start}..{end} goes beyond the {counted(length, 'base')} of {contig!r}"
    return UserError(f"{where}: {what}; give the FASTA that belongs to it.")


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
