"""A protein to be predicted, with where it came from."""

from dataclasses import dataclass


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
