"""A coding sequence as an annotated genome has it, and the protein that it stands for."""

import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count, pairwise
from typing import NoReturn

from Bio import BiopythonWarning
from Bio.Data.CodonTable import TranslationError, unambiguous_dna_by_id
from Bio.Seq import Seq

from arg_utils.errors import UserError, counted
from arg_utils.prediction.query import Query

ID_KEYS = ("locus_tag", "protein_id", "ID", "Name", "Parent")
DIGITS = re.compile("[0-9]{1,12}")


@dataclass
class Coding:
    """A coding sequence, of one part or several (a frameshift, an origin crossed).

    Attributes
    ----------
    where : the place in the input that messages name.
    words : attributes of GFF3, qualifiers of GenBank.
    parts : of each its first and last base, from 1, and the bases before its first whole codon.
    rows : of GFF3 that belong to it: more than there are parts if any was refused.
    """

    where: str
    contig: str
    strand: str
    words: dict[str, str]
    parts: list[tuple[int, int, int]] = field(default_factory=list)
    rows: int = 0

    def ids(self) -> Iterator[str]:
        """What the gene may be called, best first: genes may share a locus tag, and even all."""
        yield from (self.words[key] for key in ID_KEYS if self.words.get(key))
        name = f"{self.contig}_CDS_{self.parts[0][0]}"
        yield name
        yield from (f"{name}#{number}" for number in count(2))

    @property
    def phase(self) -> int:
        """Bases before the gene's first whole codon."""
        return self.parts[-1 if self.strand == "-" else 0][2]

    def put_in_order(self, length: int, circular: bool) -> None:
        """Sort the parts; on a circular contig of this length, those beyond its origin count on.

        A gene whose parts lie at both ends of the contig crosses the origin: not a part of it is
        the widest gap between them.
        """
        parts = self.parts = sorted(self.parts)
        if circular and len(parts) > 1 and parts[0][0] == 1 and parts[-1][1] == length:
            gaps = [after[0] - before[1] for before, after in pairwise(parts)]
            cut = gaps.index(max(gaps)) + 1
            beyond = [(first + length, last + length, phase) for first, last, phase in parts[:cut]]
            self.parts = [*parts[cut:], *beyond]

    def translated(self, bases: Seq, code: int, cut: bool) -> tuple[str, bool]:
        """The protein with its stop, and whether the gene has both start and stop codon.

        ``cut``: whether the gene is known to begin before ``bases``, so that its first codon starts
        nothing.
        """
        number = self.words.get("transl_table", str(code))
        table = unambiguous_dna_by_id.get(int(number) if DIGITS.fullmatch(number) else 0)
        if table is None:
            self.refuse(f"there is no genetic code {number!r}; write a number of NCBI's")
        bases = bases[self.phase :]
        try:
            with warnings.catch_warnings(action="ignore", category=BiopythonWarning):
                protein = str(bases[: len(bases) // 3 * 3].translate(table=table.id))
        except (TranslationError, ValueError) as error:  # not DNA; a contig without its letters
            what = f"{self.where}: cannot be translated ({error})"
            raise UserError(f"{what}; give its DNA.") from None
        if len(bases) % 3 == 0 and str(bases[-3:]) in table.stop_codons:
            protein = protein[:-1] + "*"  # in some codes these stop at the end of a gene alone
        begins = not (cut or self.phase) and str(bases[:3]) in table.start_codons
        return "M" + protein[1:] if begins else protein, begins and protein.endswith("*")

    def query(self, protein: str, partial: bool, used: set[str]) -> Query:
        """The protein, in ESM's alphabet, at its gene's place from the first whole codon on.

        It gets an id that is not ``used``, and adds it there.
        """
        residues = protein.upper().removesuffix("*").replace("J", "X")
        if "transl_except" in self.words:
            residues = residues.replace("*", "X")
        if "*" in residues:
            what = "a stop inside the gene, by its genetic code"
            self.refuse(f"{what}; mark it pseudo, or give the code (--genetic-code)")
        if not (residues.isascii() and residues.isalpha()):
            self.refuse("no protein, or letters that are no residues; mend it")
        start, end = self.parts[0][0], self.parts[-1][1]
        place = (start, end - self.phase) if self.strand == "-" else (start + self.phase, end)
        flags = ("partial_gene",) if partial else ()
        own = next(name for name in self.ids() if name not in used)
        used.add(own)
        return Query(own, residues, self.where, self.contig, *place, self.strand, flags)

    def refuse(self, fault: str) -> NoReturn:
        raise UserError(f"{self.where}: {fault}.")

    def refuse_beyond(self, length: int) -> NoReturn:
        what = f"{self.parts[0][0]}..{self.parts[-1][1]} goes beyond the {counted(length, 'base')}"
        self.refuse(f"{what} of {self.contig!r}; give the FASTA that belongs to it")

    def refuse_other_encodings(self, *names: str) -> None:
        """Bytes that are no UTF-8 do no harm in comments; names would come to look alike."""
        for name in names:
            if "\ufffd" in name:
                what = f"the name {name[:40]!r} is not UTF-8 text"
                self.refuse(f"{what}; save the file as UTF-8, or remove the letter")


def name_of(words: dict[str, str]) -> str:
    """What an annotation calls a gene; empty if nothing."""
    return next((words[key] for key in ID_KEYS if words.get(key)), "")
