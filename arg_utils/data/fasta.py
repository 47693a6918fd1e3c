"""FASTA files: read with every fault named by file and line, cleaned for ESM-2, written.

Biopython's parser reads the records; the checks here say what is wrong with them, and where.

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
from typing import NoReturn

from Bio.SeqIO.FastaIO import SimpleFastaParser

from arg_utils.errors import UserError
from arg_utils.files import atomic_path
from arg_utils.labels import CLASSES, NONARG, class_index, name_unknown

NOT_A_RESIDUE = re.compile(r"[^A-Za-z*.]")
NUCLEOTIDES = frozenset("ACGTUNRYSWKMBDHV")  # bases, and IUPAC's codes for one of several
# Letters in a row that can all be bases, nine of ten of them A, C, G, T, U or N, which make up a
# quarter of an average protein: chance alone gives fewer than one in 10^25 proteins such a start.
DNA_LENGTH = 60
DNA_SHARE = 0.9
BYTE_ORDER_MARK = "\ufeff"


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
    """A header and the letters below it, and the lines they were read from; lines count from 1."""

    line: int
    header: str
    letters: str
    body: list[tuple[int, str]]

    @property
    def id(self) -> str:
        """The header's first word; white space is a blank or a tab here, and nothing else."""
        return re.split(r"[ \t]", self.header, maxsplit=1)[0]

    def line_of(self, fault: str) -> int:
        """The first line with this character."""
        return next(number for number, text in self.body if fault in text)


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

    Headers of unknown classes are counted, and raised at the end. ``unique`` refuses an id that
    comes twice in an unlabelled file, at the price of keeping all headers in memory. Accessions of
    labelled records are given as they stand.
    """
    seen: dict[str, tuple[int, str]] = {}
    unknown: dict[str, list[int]] = {}  # name of a class: lines
    nucleotides = ""
    for entry in iter_entries(path):
        if labelled:
            name, label = _labelled_header(path, entry, unknown)
        else:
            name, label = entry.id, None
            if unique:
                _refuse_twice(path, entry, seen)
        sequence = clean(path, entry)
        nucleotides = nucleotides + sequence if could_be_dna(sequence) else ""
        if len(nucleotides) >= DNA_LENGTH and _has_all_bases(nucleotides):
            _fail(path, entry.line, f"{name!r} looks like DNA or RNA", "translate it first")
        if label is not None or not labelled:
            yield Record(name, entry.header, sequence, label)
    if unknown:
        _refuse_classes(path, unknown)


def iter_entries(path: Path | str) -> Iterator[Entry]:
    """The entries of any FASTA file, protein or DNA, without a look at the letters.

    Raises
    ------
    UserError
        If there is no such file, it is empty, no text, or does not start with ``>``.
    """
    waiting: list[tuple[int, str, list[tuple[int, str]]]] = []
    empty = True
    for _, letters in SimpleFastaParser(_noted_lines(path, waiting)):
        empty = False
        number, header, body = waiting.pop(0)
        if not header:
            _fail(path, number, "the header is empty", "write an id after the '>'")
        yield Entry(number, header, "".join(letters.split()), body)
    if empty:
        raise UserError(f"{path} is empty; give a FASTA file with at least one record.")


def clean(path: Path | str, entry: Entry) -> str:
    """An entry's residues as ESM-2 knows them.

    Upper case, without the stop at the end (``*``, or ``.`` as gffread writes it); J (leucine or
    isoleucine), which ESM's alphabet lacks, becomes X. U, O, B, Z and X are in the alphabet and
    stay.
    """
    if fault := NOT_A_RESIDUE.search(entry.letters):
        _refuse_character(path, entry.line_of(fault.group()), fault.group())
    sequence = entry.letters.upper()
    sequence = sequence[:-1] if sequence.endswith(("*", ".")) else sequence
    for stop in "*.":
        if stop in sequence:
            gap = "; if it is a gap, remove the gaps" if stop == "." else ""
            what = f"{stop!r} (stop) inside a sequence"
            _fail(path, entry.line_of(stop), what, f"cut the protein there or remove it{gap}")
    if not sequence:
        _fail(path, entry.line, f"{entry.header[:40]!r} has no sequence", "add it or remove it")
    return sequence.replace("J", "X")


def could_be_dna(letters: str) -> bool:
    """Whether upper-case letters are nucleotides, judged by their kind: IUPAC's, most of them sure.

    A protein of a few residues can be; see `DNA_LENGTH`.
    """
    if not NUCLEOTIDES.issuperset(letters):
        return False
    return sum(map(letters.count, "ACGTUN")) >= DNA_SHARE * len(letters)


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


def _labelled_header(
    path: Path | str, entry: Entry, unknown: dict[str, list[int]]
) -> tuple[str, int | None]:
    """The accession and the class index that a header states; unknown classes are noted."""
    fields = [part.strip(" \t") for part in entry.header.split("|")]
    stated = class_index(fields[3]) if len(fields) > 3 else None
    if fields[0] == "sp" and len(fields) > 1:
        if stated not in (None, NONARG):
            what = (
                f"the header contradicts itself: sp| marks no ARG, its fourth field {fields[3]!r}"
            )
            _fail(path, entry.line, what, "remove sp| if it is one, else change the fourth field")
        return re.split(r"[ \t]", fields[1])[0] or entry.header, NONARG
    if len(fields) < 4:
        what = f"the header {entry.header[:60]!r} names no class"
        remedy = (
            "write accession|FEATURES|source|class|gene for an ARG or sp|accession|... for none"
        )
        _fail(path, entry.line, what, remedy)
    if stated is None:
        unknown.setdefault(fields[3], []).append(entry.line)
    return fields[0] or entry.header, stated


def _refuse_classes(path: Path | str, unknown: dict[str, list[int]]) -> NoReturn:
    """All unknown classes of a file in one sentence."""
    counts = {name: len(lines) for name, lines in unknown.items()}
    line = min(lines[0] for lines in unknown.values())
    what = f"unknown classes in the fourth field of {sum(counts.values())} headers, the first here"
    _fail(path, line, f"{what}: {name_unknown(counts)}", f"use {', '.join(CLASSES)}")


def _refuse_twice(path: Path | str, entry: Entry, seen: dict[str, tuple[int, str]]) -> None:
    """Refuse an id met before, on another line with perhaps another header."""
    line, header = seen.setdefault(entry.id, (entry.line, entry.header))
    if line != entry.line:
        what = (
            f"the id {entry.id!r} (the header's first word) comes a second time: "
            f"{header[:60]!r} on line {line}, {entry.header[:60]!r} here"
        )
        _fail(path, entry.line, what, "make the first words differ, or remove one")


def _refuse_character(path: Path | str, line: int, character: str) -> NoReturn:
    """Say which character is no residue, and what it probably means."""
    if character == "-":
        what = f"{character!r} is a gap, so this file is an alignment"
        _fail(path, line, what, "remove the gaps from its sequences")
    if character == ">":
        what = "'>' inside a line, as where files were joined without a line end"
        _fail(path, line, what, "break the line before it")
    what = f"{character!r} is not a residue"
    _fail(path, line, what, "keep one-letter amino acid codes only")


def _has_all_bases(letters: str) -> bool:
    """Repeats of few residues (``AATAAT`` of an antifreeze protein, ``NNNN``) lack some."""
    return set("ACGT") <= set(letters.replace("U", "T"))


def _noted_lines(
    path: Path | str, entries: list[tuple[int, str, list[tuple[int, str]]]]
) -> Iterator[str]:
    """Lines for Biopython's parser, which keeps no numbers, noted in ``entries`` on the way.

    An entry is line, header and body of a record. At most two wait to be taken out: the parser
    gives a record when it meets the next header.
    """
    for number, text in _lines(path):
        if text.startswith(">"):
            entries.append((number, text[1:].strip(" \t\n"), []))
        elif entries:
            entries[-1][2].append((number, text))
        elif text.strip():
            what = f"this is not FASTA: {text.strip()[:20]!r} comes before the first '>'"
            _fail(path, number, what, "give a file whose first line starts with '>'")
        yield text


def _lines(path: Path | str) -> Iterator[tuple[int, str]]:
    """Numbered lines of a text file, plain or gzip, any line ends.

    A byte order mark is dropped at the start of any line: joined files have one in the middle.
    """
    try:
        with open(path, "rb") as raw:
            packed = raw.peek(2)[:2] == b"\x1f\x8b"  # gzip, whatever the file's name
            source = gzip.GzipFile(fileobj=raw) if packed else raw
            # surrogateescape: a byte that is no UTF-8 is met on its own line, so it can be named.
            text = TextIOWrapper(source, "utf-8", errors="surrogateescape")
            for number, line in enumerate(text, start=1):
                _require_text(path, number, line)
                yield number, line.removeprefix(BYTE_ORDER_MARK) or "\n"
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


def _fail(path: Path | str, line: int, what: str, remedy: str) -> NoReturn:
    """Raise the one sentence: where, what, what to do."""
    raise UserError(f"{path}, line {line}: {what}; {remedy}.")
