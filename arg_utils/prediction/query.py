"""A protein to be predicted, with where it came from."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from arg_utils.errors import UserError


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
    """

    id: str
    sequence: str
    where: str
    contig: str | None = None
    start: int | None = None
    end: int | None = None
    strand: str | None = None
    flags: tuple[str, ...] = ()


def as_queries(sequences: Sequence[Any]) -> list[Query]:
    """Sequences, or pairs of id and sequence, as queries; of the former the id is the position.

    Raises
    ------
    UserError
        If one of them is no protein.
    """
    if isinstance(sequences, str):
        raise UserError("One string was given for many; put the sequence into a list.")
    queries = []
    for number, item in enumerate(sequences):
        name, letters = (str(number), item) if isinstance(item, str) else item
        sequence = letters.upper().removesuffix("*").replace("J", "X")
        if not (sequence.isascii() and sequence.isalpha()):
            raise UserError(
                f"Sequence {number} ({name}) is empty or has letters that are no residues; "
                f"give one-letter amino acid codes."
            )
        queries.append(Query(str(name), sequence, f"sequence {number}"))
    return queries
