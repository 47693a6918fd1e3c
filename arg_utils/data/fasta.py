"""Proteins from FASTA: every fault named by file and line, residues cleaned for ESM-2.

Biopython's parser reads the records; the checks here say what is wrong with them, and where. A
labelled header is one of the competition's (see `labels.header_class`); without a label, a
protein's id is its header's first word (``>SEQ0``).
"""

import re
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from typing import BinaryIO, NoReturn

from Bio.SeqIO.FastaIO import SimpleFastaParser

from arg_utils.data.proteins import Record, with_unique_ids
from arg_utils.data.sources import open_source, source_name
from arg_utils.errors import SkipBad, UserError, counted, skipping
from arg_utils.files import atomic_path
from arg_utils.labels import class_index, header_class, unknown_classes

NOT_A_RESIDUE = re.compile(r"[^A-Za-z*.]")
# And what ends a line elsewhere, or is not seen at all.
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff]")
REMEDIES = {  # for characters that are no residue
    "-": "is a gap, so this file is an alignment; remove the gaps from its sequences",
    ">": "inside a line, as where files were joined without a line end; break the line before it",
    "\ufeff": "inside a line, as where files were joined without a line end; break the line there",
}
NUCLEOTIDES = frozenset("ACGTUNRYSWKMBDHV")  # bases, and IUPAC's codes for one of several
# Letters in a row that can all be bases, nine of ten of them A, C, G, T, U or N, which make up a
# quarter of an average protein: chance alone gives fewer than one in 10^25 proteins such a start.
DNA_LENGTH = 60
DNA_SHARE = 0.9


@dataclass(frozen=True)
class Entry:
    """A header and the letters below it, with the lines they were read from."""

    file: str
    line: int  # of the header, from 1
    header: str  # without ``>``
    letters: str
    lines: list[str]

    @property
    def id(self) -> str:
        """The header's first word; white space is a blank or a tab here, and nothing else."""
        return re.split(r"[ \t]", self.header, maxsplit=1)[0]

    def refuse(self, fault: str, character: str = "") -> NoReturn:
        """Raise ``fault`` at the header's line, or the first one below it with ``character``."""
        below = (i for i, text in enumerate(self.lines, self.line + 1) if character in text)
        _refuse(self.file, next(below) if character else self.line, fault)


def read_fasta(path: Path | str, labelled: bool, unique: bool = True) -> list[Record]:
    """All proteins of a file, in order: `iterate_fasta` as a list.

    Repeated accessions of labelled records become ``X``, ``X#2``, ``X#3``, so that ids are unique.
    """
    with open_source(path) as handle:
        records = list(iterate_fasta(handle, source_name(path), labelled, unique))
    return with_unique_ids(records) if labelled else records


def iterate_fasta(
    handle: BinaryIO,
    name: str,
    labelled: bool = False,
    unique: bool = True,
    skip_bad: SkipBad = None,
) -> Iterator[Record]:
    """The proteins of an open FASTA file, one in memory at a time.

    `UserError` when a fault is reached, naming file, line and remedy; headers of unknown classes
    are counted, and raised at the end.

    Parameters
    ----------
    handle : binary, decompressed: `open_source`.
    name : what errors call the file.
    labelled : whether headers carry a class; if not, every ``label`` is None. Accessions are given
        as they stand.
    unique : refuse an id that comes twice in an unlabelled file; all headers are remembered.
    skip_bad : is told of each bad record, which is left out; None: the first one is an error.
    """
    seen: dict[str, tuple[int, str]] = {}  # id: line and header
    unknown: dict[str, list[int]] = {}  # name of a class: lines
    reader, ambiguous = ResidueReader(), 0
    for entry in iterate_entries(handle, name, skip_bad):
        with skipping(skip_bad):
            accession, label = entry.id, None
            if labelled:
                accession, label = _accession_and_label(entry, unknown)
            elif unique:
                _refuse_twice(entry, seen)
            sequence = reader.residues(entry)
            ambiguous += "J" in entry.letters or "j" in entry.letters
            if label is not None or not labelled:
                yield Record(accession, entry.header, sequence, label, entry.line)
    if ambiguous:
        what = "J (leucine or isoleucine), which ESM-2 does not know, was read as X"
        print(f"note: {name}: {what} in {counted(ambiguous, 'protein')}", file=sys.stderr)
    if unknown:
        raise unknown_classes(name, "header", "without a known class as fourth field", unknown)


class ResidueReader:
    """Residues of one entry after another; what is no protein is refused.

    Short entries in a row that could be DNA, such as reads, are judged together.
    """

    def __init__(self) -> None:
        self._nucleotides, self._met_proteins = "", False

    def residues(self, entry: Entry) -> str:
        """An entry's residues in ESM's alphabet; a `UserError` names entry, fault and remedy."""
        sequence = _residues(entry)
        self._nucleotides = self._nucleotides + sequence if _could_be_dna(sequence) else ""
        letters = set(self._nucleotides)
        # Repeats of few residues (``AATAAT`` of an antifreeze protein, ``NNNN``) lack some bases.
        if len(self._nucleotides) >= DNA_LENGTH and letters >= {*"ACG"} and letters & {*"TU"}:
            kind = "RNA" if "U" in letters and "T" not in letters else "DNA"
            among = " among proteins" if self._met_proteins else ""
            entry.refuse(
                f"{entry.id[:60]!r} looks like {kind}{among}; "
                "translate it first, or have genes called (predict --genome)"
            )
        self._met_proteins |= not self._nucleotides
        return sequence


def iterate_entries(handle: BinaryIO, name: str, skip_bad: SkipBad = None) -> Iterator[Entry]:
    """The entries of any open FASTA file, protein or DNA, without a look at the letters.

    A `UserError` says if it is empty, damaged, no text, or does not start with ``>``.
    """
    for entry in _entries(handle, name):
        with skipping(skip_bad):
            if not entry.header:
                entry.refuse("the header is empty; write an id after the '>'")
            if control := CONTROL.search(entry.id):
                what = f"the id {entry.id[:60]!r} holds the control character {control[0]!r}"
                entry.refuse(f"{what}; remove it, or put a blank before it")
            if byte := re.search("[\udc80-\udcff]", "".join([entry.header, *entry.lines])):
                below = byte[0] if byte[0] not in entry.header else ""
                entry.refuse(
                    "this is not UTF-8 text; save it as UTF-8, or remove the letter", below
                )
            yield entry


def write_fasta(path: Path | str, records: Iterable[Record]) -> Path:
    """Write header and sequence (on one line) of each record to ``path``, whole or not at all."""
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8", newline="\n") as f:
        f.writelines(f">{record.header}\n{record.sequence}\n" for record in records)
    return Path(path)


def _accession_and_label(entry: Entry, unknown: dict[str, list[int]]) -> tuple[str, int | None]:
    """What a labelled header states; lines of unknown classes are noted."""
    try:
        accession, kind = header_class(entry.header)
    except ValueError as error:
        entry.refuse(str(error))
    if (label := class_index(kind)) is None:
        unknown.setdefault(kind, []).append(entry.line)
    return accession, label


def _refuse_twice(entry: Entry, seen: dict[str, tuple[int, str]]) -> None:
    """Refuse an id met before, on another line with perhaps another header."""
    line, header = seen.setdefault(entry.id, (entry.line, entry.header))
    if line != entry.line:
        entry.refuse(
            f"the id {entry.id[:60]!r} (the header's first word) comes a second time: "
            f"{header[:60]!r} on line {line}, {entry.header[:60]!r} here; make the first words "
            f"differ, or remove one"
        )


def _residues(entry: Entry) -> str:
    """An entry's residues as ESM-2 knows them.

    Upper case, without the stop at the end (``*``, or ``.`` as gffread writes it); J (leucine or
    isoleucine), which ESM's alphabet lacks, becomes X.
    """
    if fault := NOT_A_RESIDUE.search(entry.letters):
        remedy = REMEDIES.get(fault[0], "is not a residue; keep one-letter amino acid codes only")
        entry.refuse(f"{fault[0]!r} {remedy}", fault[0])
    sequence = entry.letters.upper()
    sequence = sequence[:-1] if sequence.endswith(("*", ".")) else sequence
    for stop in "*.":
        if stop in sequence:
            gap = "; if it is a gap, remove the gaps" if stop == "." else ""
            sentence = f"{stop!r} (stop) inside a sequence; cut the protein there or remove it{gap}"
            entry.refuse(sentence, stop)
    if not sequence:
        entry.refuse(f"{entry.header[:40]!r} has no sequence; add it or remove it")
    return sequence.replace("J", "X")


def _could_be_dna(letters: str) -> bool:
    """Whether upper-case letters are nucleotides, judged by their kind: IUPAC's, most of them sure.

    A protein of a few residues can be; see `DNA_LENGTH`. X is read as N: so some programs mask.
    """
    letters = letters.replace("X", "N")
    sure = map(letters.count, "ACGTUN")  # counted only if all are nucleotides
    return NUCLEOTIDES.issuperset(letters) and sum(sure) >= DNA_SHARE * len(letters)


def _entries(handle: BinaryIO, name: str) -> Iterator[Entry]:
    """Each ``>`` and all below it; a `UserError` if there is none, or text before the first."""
    begun: deque[tuple[int, str, list[str]]] = deque()
    line = 0
    for _, letters in SimpleFastaParser(_noted_lines(handle, name, begun)):
        line, header, lines = begun.popleft()
        yield Entry(name, line, header, "".join(letters.split()), lines)
    if not line:
        raise UserError(f"{name} is empty; give a FASTA file with at least one record.")


def _noted_lines(
    handle: BinaryIO, name: str, begun: deque[tuple[int, str, list[str]]]
) -> Iterator[str]:
    """Lines for Biopython's parser, which keeps no numbers: noted in ``begun`` on the way.

    Of each record begun its line, header, and the lines below. At most two wait to be taken out:
    the parser gives a record when it meets the next header.
    """
    for number, text in _lines(handle, name):
        if text.startswith(">"):
            begun.append((number, text[1:].strip(" \t\n"), []))
        elif begun:
            begun[-1][2].append(text)
        elif text.strip():
            words = f"this is not FASTA: {text.strip()[:20]!r} comes before the first '>'"
            if text.lstrip().startswith(">"):
                words = "a blank comes before the first '>', which belongs at the start of its line"
            _refuse(name, number, f"{words}; give a file whose first line starts with '>'")
        yield text


def _lines(handle: BinaryIO, name: str) -> Iterator[tuple[int, str]]:
    """Numbered lines, any line ends.

    Byte order marks are dropped at the start of any line: joined files have some in the middle.
    """
    # surrogateescape: a byte that is no UTF-8 is met on its own line, so it can be named.
    for number, line in enumerate(TextIOWrapper(handle, "utf-8", errors="surrogateescape"), 1):
        if "\0" in line:
            _refuse(name, number, "this is a binary file; give a FASTA file, plain or compressed")
        yield number, line.lstrip("\ufeff") or "\n"


def _refuse(name: str, line: int, fault: str) -> NoReturn:
    raise UserError(f"{name}, line {line}: {fault}.")
