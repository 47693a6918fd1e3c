"""FASTA files: read with every fault named by file and line, cleaned for ESM-2, written.

Three kinds of header are known (the competition's format):

- an ARG, ``>accession|FEATURES|source|class|gene`` with further ``|`` fields allowed;
- a protein that is no ARG, ``>sp|accession|...``;
- a protein without a label, whose id is the header's first word (``>SEQ0``).
"""

import gzip
import re
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path

from arg_utils.errors import UserError
from arg_utils.files import atomic_path
from arg_utils.labels import CLASSES, INDEX, NONARG

NOT_A_RESIDUE = re.compile(r"[^A-Za-z*\s]")
NUCLEOTIDES = frozenset("ACGTUN")
# Residues in a row, all of them letters of nucleotides: in a protein of average composition, of
# which A, C, G, T and N make up a quarter, the chance of that is 1 in 10^36.
DNA_LENGTH = 60


@dataclass(frozen=True)
class Record:
    """One protein.

    Attributes
    ----------
    id : str
        The accession (labelled) or the header's first word (unlabelled).
    header : str
        The whole header without ``>``.
    sequence : str
        Residues in ESM's alphabet: upper-case letters without J.
    label : int or None
        Class index 0-14; None where there is no label.
    """

    id: str
    header: str
    sequence: str
    label: int | None = None


@dataclass(frozen=True)
class Entry:
    """A header with the lines below it, as they stand in the file; lines count from 1."""

    line: int
    header: str
    body: list[tuple[int, str]]


def read_fasta(path: Path | str, labelled: bool) -> list[Record]:
    """All proteins of a FASTA file, plain or gzip, in file order.

    Repeated accessions of labelled records become ``X``, ``X#2``, ``X#3``, so that ids are unique.

    Parameters
    ----------
    path : Path or str
    labelled : bool
        Whether headers carry a class; if not, every ``label`` is None.

    Raises
    ------
    UserError
        Naming file, line and remedy, if the file cannot be read as proteins.
    """
    records = list(iter_fasta(path, labelled))
    ids = unique_ids(record.id for record in records)
    return [
        record if record.id == name else Record(name, record.header, record.sequence, record.label)
        for record, name in zip(records, ids, strict=True)
    ]


def iter_fasta(path: Path | str, labelled: bool, unique: bool = True) -> Iterator[Record]:
    """`read_fasta` as a stream: one record in memory at a time, faults raised when reached.

    ``unique`` refuses an id that comes twice in an unlabelled file, at the price of keeping all
    ids in memory. Accessions of labelled records are given as they stand.
    """
    seen: set[str] = set()
    nucleotides = 0
    for entry in iter_entries(path):
        name, label = _parse_header(path, entry, labelled)
        if unique and not labelled:
            _refuse_twice(path, entry, name, seen)
        sequence = clean(path, entry)
        nucleotides = nucleotides + len(sequence) if NUCLEOTIDES.issuperset(sequence) else 0
        if nucleotides >= DNA_LENGTH:
            _fail(path, entry.line, f"{name!r} looks like DNA or RNA", "translate it first")
        yield Record(name, entry.header, sequence, label)


def iter_entries(path: Path | str) -> Iterator[Entry]:
    """The entries of any FASTA file, protein or DNA, without a look at the residues.

    Raises
    ------
    UserError
        If there is no such file, it is empty, no text, or does not start with ``>``.
    """
    entry = None
    for number, text in _lines(path):
        if text.startswith(">"):
            if entry:
                yield entry
            entry = Entry(number, text[1:].strip(), [])
            if not entry.header:
                _fail(path, number, "the header is empty", "write an id after the '>'")
        elif text.strip():
            if entry is None:
                what = f"this is not FASTA: {text.strip()[:20]!r} comes before the first '>'"
                _fail(path, number, what, "give a file whose first line starts with '>'")
            entry.body.append((number, text))
    if entry is None:
        raise UserError(f"{path} is empty; give a FASTA file with at least one record.")
    yield entry


def clean(path: Path | str, entry: Entry) -> str:
    """An entry's residues as ESM-2 knows them.

    Upper case, without white space and the final ``*``; J (leucine or isoleucine), which ESM's
    alphabet lacks, becomes X. U, O, B, Z and X are in the alphabet and stay.
    """
    for number, text in entry.body:
        if fault := NOT_A_RESIDUE.search(text):
            _refuse_character(path, number, fault.group())
    joined = "".join("".join(text.split()) for _, text in entry.body).upper()
    sequence = joined.removesuffix("*")
    if "*" in sequence:
        line = next(number for number, text in entry.body if "*" in text)
        _fail(path, line, "'*' (stop) inside a sequence", "cut the protein there or remove it")
    if not sequence:
        _fail(path, entry.line, f"{entry.header[:40]!r} has no sequence", "add it or remove it")
    return sequence.replace("J", "X")


def unique_ids(ids: Iterable[str]) -> list[str]:
    """The ids in order, the second and later of the same name marked ``#2``, ``#3``, ..."""
    counts: dict[str, int] = {}
    taken = list(ids)
    used = set(taken)
    for position, name in enumerate(taken):
        counts[name] = counts.get(name, 0) + 1
        if counts[name] == 1:
            continue
        while f"{name}#{counts[name]}" in used:
            counts[name] += 1
        taken[position] = f"{name}#{counts[name]}"
        used.add(taken[position])
    return taken


def write_fasta(path: Path | str, records: Iterable[Record]) -> Path:
    """Write header and sequence (on one line) of each record to ``path``, whole or not at all."""
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8", newline="\n") as f:
        f.writelines(f">{record.header}\n{record.sequence}\n" for record in records)
    return Path(path)


def _parse_header(path: Path | str, entry: Entry, labelled: bool) -> tuple[str, int | None]:
    """The id and the class index that a header states."""
    if not labelled:
        return entry.header.split()[0], None
    fields = [part.strip() for part in entry.header.split("|")]
    if fields[0] == "sp" and len(fields) > 1:
        return fields[1].split()[0] if fields[1] else entry.header, NONARG
    if len(fields) < 4:
        what = f"the header {entry.header[:60]!r} names no class"
        remedy = (
            "write accession|FEATURES|source|class|gene for an ARG or sp|accession|... for none"
        )
        _fail(path, entry.line, what, remedy)
    if fields[3] not in INDEX:
        what = f"{fields[3]!r} (fourth field of the header) is not a known class"
        _fail(path, entry.line, what, f"use one of {', '.join(CLASSES)}")
    return fields[0] or entry.header, INDEX[fields[3]]


def _refuse_twice(path: Path | str, entry: Entry, name: str, seen: set[str]) -> None:
    """Refuse an id met before."""
    if name in seen:
        _fail(path, entry.line, f"the id {name!r} comes a second time", "rename or remove one")
    seen.add(name)


def _refuse_character(path: Path | str, line: int, character: str) -> None:
    """Say which character is no residue, and what it probably means."""
    if character in "-.":
        what = f"{character!r} is a gap, so this file is an alignment"
        _fail(path, line, what, "remove the gaps from its sequences")
    what = f"{character!r} is not a residue"
    _fail(path, line, what, "keep one-letter amino acid codes only")


def _lines(path: Path | str) -> Iterator[tuple[int, str]]:
    """Numbered lines of a text file, plain or gzip, any line ends, byte order mark dropped."""
    try:
        with open(path, "rb") as raw:
            packed = raw.peek(2)[:2] == b"\x1f\x8b"  # gzip, whatever the file's name
            source = gzip.GzipFile(fileobj=raw) if packed else raw
            # surrogateescape: a byte that is no UTF-8 is met on its own line, so it can be named.
            text = TextIOWrapper(source, "utf-8-sig", errors="surrogateescape")
            for number, line in enumerate(text, start=1):
                _require_text(path, number, line)
                yield number, line
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(f"{path} is a damaged gzip file ({error}); fetch it again.") from None
    except OSError as error:
        reason = "is a folder" if Path(path).is_dir() else f"cannot be read ({error.strerror})"
        raise UserError(f"{path} {reason}; give the path of a FASTA file.") from None


def _require_text(path: Path | str, number: int, line: str) -> None:
    """Refuse a line with bytes that no text has."""
    if "\0" in line:
        _fail(path, number, "this is a binary file", "give a FASTA file, plain or gzip")
    if not line.isascii() and any("\udc80" <= character <= "\udcff" for character in line):
        _fail(path, number, "this is not UTF-8 text", "give a FASTA file, plain or gzip")


def _fail(path: Path | str, line: int, what: str, remedy: str) -> None:
    """Raise the one sentence: where, what, what to do."""
    raise UserError(f"{path}, line {line}: {what}; {remedy}.")
