"""A protein to be predicted, with where it came from; and sequences of Python as such."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import pandas as pd
from Bio.Seq import Seq
from Bio.SeqRecord import SeqRecord

from arg_utils.data.fasta import CONTROL, Entry, ResidueReader
from arg_utils.errors import SkipBad, UserError, skipping


@dataclass(frozen=True)
class Query:
    """One protein of a user's input.

    Attributes
    ----------
    id : the header's first word, or the gene's name.
    sequence : residues in ESM's alphabet.
    where : the place in the input that messages name (file, and line or record).
    contig, start, end, strand : the gene's place where one is known: positions count from 1, both
        ends included; ``+`` or ``-``.
    flags : what the input says of the protein, such as ``partial_gene``.
    file : the input file, as named; empty of sequences from Python.
    """

    id: str
    sequence: str
    where: str
    contig: str | None = None
    start: int | None = None
    end: int | None = None
    strand: str | None = None
    flags: tuple[str, ...] = ()
    file: str = ""


def distinct(queries: Iterable[Query], skip_bad: SkipBad = None) -> Iterator[Query]:
    """Refuses an id that comes twice, or that would break the row it is written into.

    Hashes of 64 bits take less memory than ids.
    """
    places: dict[int, str] = {}
    for query in queries:
        key, what = hash(query.id), f"{query.where}: the id {query.id[:60]!r}"
        with skipping(skip_bad):
            if key in places:
                twice = f"comes a second time (first: {places[key]})"
                raise UserError(f"{what} {twice}; make ids (a header's first word) differ.")
            if CONTROL.search(f"{query.id}{query.contig or ''}"):
                fault = "or its contig's name holds a control character"
                raise UserError(f"{what} {fault}; remove it.")
            _, line, number = query.where.rpartition(", line ")
            places[key] = f"line {number}" if line else query.where
            yield query


@dataclass(frozen=True)
class Item(Entry):
    """A sequence that Python code hands in, to be read as a FASTA entry is."""

    def refuse(self, fault: str, character: str = "") -> NoReturn:
        raise UserError(f"{self.file}: {fault}.")


def as_queries(sequences: Iterable[Any] | Mapping[Any, Any]) -> list[Query]:
    """Sequences that Python code hands in, under the rules for FASTA files.

    Parameters
    ----------
    sequences : residues (str or Biopython's ``Seq``), pairs of id and residues, or records with an
        id (Biopython's ``SeqRecord``, `data.proteins.Record`); or ids with their residues as a
        mapping or a pandas Series. Residues without an id get their position, from 0.

    Raises
    ------
    UserError
        Naming position and id, if one of them is no protein, or an id comes twice.
    """
    if isinstance(sequences, str | bytes | Seq | SeqRecord):
        raise UserError("One sequence was given, not many; put it into a list.")
    if isinstance(sequences, tuple) and [*map(type, sequences)] == [str, str]:
        raise UserError("Two texts may be a pair, or two proteins; give a list of what they are.")
    if isinstance(sequences, pd.DataFrame):
        raise UserError("A DataFrame was given; give its column of sequences, with ids as index.")
    if isinstance(sequences, Mapping | pd.Series):
        sequences = sequences.items()
    if not isinstance(sequences, Iterable):
        raise UserError(f"{sequences!r} holds no sequences; give a list of them.")
    reader = ResidueReader()
    items = (_item(number, given) for number, given in enumerate(sequences))
    return list(distinct(Query(item.header, reader.residues(item), item.file) for item in items))


def _item(number: int, given: Any) -> Item:
    """What stands at position ``number``, as an entry to be read."""
    name: Any
    letters: Any
    if isinstance(given, str | Seq):
        name, letters = str(number), given
    elif isinstance(given, tuple | list) and len(given) == 2:
        name, letters = given
    else:
        name = getattr(given, "id", None)
        letters = getattr(given, "seq", getattr(given, "sequence", None))
    where = f"sequences[{number}]" + ("" if name is None else f" ({str(name)[:40]!r})")
    if isinstance(letters, Seq) and not letters.defined:
        raise UserError(f"{where} has no letters; give its residues.")
    if name is None or not isinstance(letters, str | Seq):
        raise UserError(f"{where} is {given!r:.60}; give a str of residues, or a pair (id, str).")
    if not str(name):
        raise UserError(f"{where}: the id is empty; give one.")
    return Item(where, 0, str(name), "".join(str(letters).split()), [str(letters)])
