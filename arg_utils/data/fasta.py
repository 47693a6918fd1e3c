"""FASTA files: read with every fault named by file and line, cleaned for ESM-2, written.

Biopython's parser reads the records; the checks here say what is wrong with them, and where.

Three kinds of header are known (the competition's format):

- an ARG, ``>accession|FEATURES|source|class|gene`` with further ``|`` fields allowed;
- a protein that is no ARG, ``>sp|accession|...``;
- a protein without a label, whose id is the header's first word (``>SEQ0``).
"""

import re
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from io import TextIOWrapper
from pathlib import Path
from typing import BinaryIO, NoReturn

from Bio.SeqIO.FastaIO import SimpleFastaParser

from arg_utils.data.sources import open_source
from arg_utils.errors import SkipBad, UserError, skipping
from arg_utils.files import atomic_path
from arg_utils.labels import CLASSES, NONARG, class_index, name_unknown

NOT_A_RESIDUE = re.compile(r"[^A-Za-z*.]")
NUCLEOTIDES = frozenset("ACGTUNRYSWKMBDHV")  # bases, and IUPAC's codes for one of several
# Letters in a row that can all be bases, nine of ten of them A, C, G, T, U or N, which make up a
# quarter of an average protein: chance alone gives fewer than one in 10^25 proteins such a start.
DNA_LENGTH = 60
DNA_SHARE = 0.9
BYTE_ORDER_MARK = "\ufeff"
_MEANING = {  # of a character that is no residue, and what to do
    "-": ("is a gap, so this file is an alignment", "remove the gaps from its sequences"),
    ">": ("inside a line, as where files were joined without a line end", "break the line before"),
}


@dataclass(frozen=True)
class Record:
    """One protein.

    Attributes
    ----------
    id : the accession (labelled) or the header's first word (unlabelled).
    header : the whole header without ``>``.
    sequence : residues in ESM's alphabet: upper-case letters without J.
    label : class index 0-14; None where there is no label.
    line : where its header stands in the file it was read from, counted from 1; 0 if in none.
    """

    id: str
    header: str
    sequence: str
    label: int | None = None
    line: int = field(default=0, compare=False, repr=False)


@dataclass(frozen=True)
class Entry:
    """A header, the letters below it, and the lines they were read from."""

    line: int
    header: str
    letters: str
    lines: list[str]

    @property
    def id(self) -> str:
        """The header's first word; white space is a blank or a tab here, and nothing else."""
        return re.split(r"[ \t]", self.header, maxsplit=1)[0]

    def line_of(self, fault: str) -> int:
        """The first line with this character."""
        return next(i for i, text in enumerate(self.lines, self.line + 1) if fault in text)


def read_fasta(path: Path | str, labelled: bool, unique: bool = True) -> list[Record]:
    """All proteins of a FASTA file in file order: `iterate_fasta` as a list.

    Repeated accessions of labelled records become ``X``, ``X#2``, ``X#3``, so that ids are unique.
    """
    with open_source(path) as handle:
        records = list(iterate_fasta(handle, str(path), labelled, unique))
    if not labelled:
        return records
    ids = unique_ids(record.id for record in records)
    return [replace(record, id=name) for record, name in zip(records, ids, strict=True)]


def iterate_fasta(
    handle: BinaryIO,
    name: str,
    labelled: bool = False,
    unique: bool = True,
    skip_bad: SkipBad = None,
) -> Iterator[Record]:
    """The proteins of an open FASTA file, one in memory at a time; faults are raised when reached.

    Headers of unknown classes are counted, and raised at the end. Accessions of labelled records
    are given as they stand.

    Parameters
    ----------
    handle : binary, decompressed: `open_source`.
    name : what errors call the file.
    labelled : whether headers carry a class; if not, every ``label`` is None.
    unique : refuse an id that comes twice in an unlabelled file, at the price of keeping all
        headers in memory.
    skip_bad : is told of each bad record, which is left out; None: the first one is an error.

    Raises
    ------
    UserError
        Naming file, line and remedy, if this cannot be read as proteins.
    """
    seen: dict[str, tuple[int, str]] = {}
    unknown: dict[str, list[int]] = {}  # name of a class: lines
    nucleotides, proteins = "", 0
    for entry in iterate_entries(handle, name, skip_bad):
        record = None
        with skipping(skip_bad):
            accession, label = entry.id, None
            if labelled:
                accession, label = _labelled_header(name, entry, unknown)
            elif unique:
                _refuse_twice(name, entry, seen)
            sequence = _residues(name, entry)
            nucleotides = nucleotides + sequence if _could_be_dna(sequence) else ""
            if len(nucleotides) >= DNA_LENGTH and _has_all_bases(nucleotides):
                _refuse_nucleotides(name, entry, nucleotides, mixed=proteins > 0)
            proteins += not nucleotides
            record = Record(accession, entry.header, sequence, label, entry.line)
        if record and (label is not None or not labelled):
            yield record
    if unknown:
        counts = {kind: len(lines) for kind, lines in unknown.items()}
        what = f"unknown classes in the fourth field of {sum(counts.values())} headers, the first"
        first = min(lines[0] for lines in unknown.values())
        _fail(name, first, f"{what} here: {name_unknown(counts)}", f"use {', '.join(CLASSES)}")


def iterate_entries(handle: BinaryIO, name: str, skip_bad: SkipBad = None) -> Iterator[Entry]:
    """The entries of any open FASTA file, protein or DNA, without a look at the letters.

    Raises
    ------
    UserError
        If it is empty, no text, damaged, or does not start with ``>``.
    """
    begun: deque[tuple[int, str, list[str]]] = deque()
    empty = True
    for _, letters in SimpleFastaParser(_noted_lines(handle, name, begun)):
        empty = False
        line, header, lines = begun.popleft()
        entry = None
        with skipping(skip_bad):
            _require_text(name, line, [header, *lines])
            if not header:
                _fail(name, line, "the header is empty", "write an id after the '>'")
            entry = Entry(line, header, "".join(letters.split()), lines)
        if entry:
            yield entry
    if empty:
        raise UserError(f"{name} is empty; give a FASTA file with at least one record.")


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
    name: str, entry: Entry, unknown: dict[str, list[int]]
) -> tuple[str, int | None]:
    """The accession and the class index that a header states; unknown classes are noted."""
    fields = [part.strip(" \t") for part in entry.header.split("|")]
    stated = class_index(fields[3]) if len(fields) > 3 else None
    if fields[0] == "sp" and len(fields) > 1:
        if stated not in (None, NONARG):
            what = (
                f"the header contradicts itself: sp| marks no ARG, its fourth field {fields[3]!r}"
            )
            _fail(name, entry.line, what, "remove sp| if it is one, else change the fourth field")
        return re.split(r"[ \t]", fields[1])[0] or entry.header, NONARG
    if len(fields) < 4:
        remedy = (
            "write accession|FEATURES|source|class|gene for an ARG or sp|accession|... for none"
        )
        _fail(name, entry.line, f"the header {entry.header[:60]!r} names no class", remedy)
    if stated is None:
        unknown.setdefault(fields[3], []).append(entry.line)
    return fields[0] or entry.header, stated


def _refuse_twice(name: str, entry: Entry, seen: dict[str, tuple[int, str]]) -> None:
    """Refuse an id met before, on another line with perhaps another header."""
    line, header = seen.setdefault(entry.id, (entry.line, entry.header))
    if line != entry.line:
        what = (
            f"the id {entry.id!r} (the header's first word) comes a second time: "
            f"{header[:60]!r} on line {line}, {entry.header[:60]!r} here"
        )
        _fail(name, entry.line, what, "make the first words differ, or remove one")


def _residues(name: str, entry: Entry) -> str:
    """An entry's residues as ESM-2 knows them.

    Upper case, without the stop at the end (``*``, or ``.`` as gffread writes it); J (leucine or
    isoleucine), which ESM's alphabet lacks, becomes X. U, O, B, Z and X are in the alphabet and
    stay.
    """
    if fault := NOT_A_RESIDUE.search(entry.letters):
        what, remedy = _MEANING.get(
            fault[0], ("is not a residue", "keep one-letter amino acid codes only")
        )
        _fail(name, entry.line_of(fault[0]), f"{fault[0]!r} {what}", remedy)
    sequence = entry.letters.upper()
    sequence = sequence[:-1] if sequence.endswith(("*", ".")) else sequence
    for stop in "*.":
        if stop in sequence:
            gap = "; if it is a gap, remove the gaps" if stop == "." else ""
            what = f"{stop!r} (stop) inside a sequence"
            _fail(name, entry.line_of(stop), what, f"cut the protein there or remove it{gap}")
    if not sequence:
        _fail(name, entry.line, f"{entry.header[:40]!r} has no sequence", "add it or remove it")
    return sequence.replace("J", "X")


def _could_be_dna(letters: str) -> bool:
    """Whether upper-case letters are nucleotides, judged by their kind: IUPAC's, most of them sure.

    A protein of a few residues can be; see `DNA_LENGTH`.
    """
    if not NUCLEOTIDES.issuperset(letters):
        return False
    return sum(map(letters.count, "ACGTUN")) >= DNA_SHARE * len(letters)


def _refuse_nucleotides(name: str, entry: Entry, letters: str, mixed: bool) -> NoReturn:
    kind = "RNA" if "U" in letters and "T" not in letters else "DNA"
    what = f"{entry.id!r} looks like {kind}{' among proteins' if mixed else ''}"
    _fail(name, entry.line, what, "translate it first, or have genes called (predict --genome)")


def _has_all_bases(letters: str) -> bool:
    """Repeats of few residues (``AATAAT`` of an antifreeze protein, ``NNNN``) lack some."""
    return set("ACGT") <= set(letters.replace("U", "T"))


def _noted_lines(
    handle: BinaryIO, name: str, begun: deque[tuple[int, str, list[str]]]
) -> Iterator[str]:
    """Lines for Biopython's parser, which keeps no numbers: noted in ``begun`` on the way.

    Each record begun has line, header and the lines below. At most two wait to be taken out: the
    parser gives a record when it meets the next header.
    """
    for number, text in _lines(handle, name):
        if text.startswith(">"):
            begun.append((number, text[1:].strip(" \t\n"), []))
        elif begun:
            begun[-1][2].append(text)
        elif text.strip():
            what = f"this is not FASTA: {text.strip()[:20]!r} comes before the first '>'"
            _fail(name, number, what, "give a file whose first line starts with '>'")
        yield text


def _lines(handle: BinaryIO, name: str) -> Iterator[tuple[int, str]]:
    """Numbered lines, any line ends.

    A byte order mark is dropped at the start of any line: joined files have one in the middle.
    """
    # surrogateescape: a byte that is no UTF-8 is met on its own line, so it can be named.
    for number, line in enumerate(TextIOWrapper(handle, "utf-8", errors="surrogateescape"), 1):
        if "\0" in line:
            _fail(name, number, "this is a binary file", "give a FASTA file, plain or compressed")
        yield number, line.removeprefix(BYTE_ORDER_MARK) or "\n"


def _require_text(name: str, line: int, lines: list[str]) -> None:
    """Refuse a byte that is no UTF-8, on its own line."""
    for number, text in enumerate(lines, line):
        if not text.isascii() and re.search("[\udc80-\udcff]", text):
            _fail(name, number, "this is not UTF-8 text", "save it as UTF-8, or remove the letter")


def _fail(name: str, line: int, what: str, remedy: str) -> NoReturn:
    """Raise the one sentence: where, what, what to do."""
    raise UserError(f"{name}, line {line}: {what}; {remedy}.")
