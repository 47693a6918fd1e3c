"""What a user hands in, as a stream of proteins."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from arg_utils.data.fasta import iter_fasta
from arg_utils.prediction.query import Query


@dataclass(frozen=True)
class ReadingOptions:
    """How inputs are read.

    Attributes
    ----------
    genome : whether inputs are contigs whose genes are to be called.
    gff : a GFF3 file with the genes of the contigs given.
    mode, genetic_code, closed : of the gene caller (`pyrodigal`).
    skip_bad : is told of each bad record, which is then left out; ``None``: the first one is an
        error.
    """

    genome: bool = False
    gff: str | None = None
    mode: Literal["meta", "single"] = "meta"
    genetic_code: int = 11
    closed: bool = False
    skip_bad: Callable[[str], None] | None = None


def read_queries(
    inputs: Sequence[str], options: ReadingOptions = ReadingOptions()
) -> Iterator[Query]:
    """The proteins of all inputs, in order, one in memory at a time.

    Raises
    ------
    UserError
        Naming file, line and remedy, when a bad record is reached.
    """
    for source in inputs:
        for number, record in enumerate(iter_fasta(source, labelled=False), start=1):
            yield Query(record.id, record.sequence, f"{source}, record {number}")
