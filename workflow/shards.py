"""A large file cut into shards of so many records, and results of shards put together again.

The Snakefile's rules run this with the Python that has `arg_utils`:

    python workflow/shards.py split INPUT FOLDER --records N
    python workflow/shards.py merge OUT --format FORMAT --shards FOLDER --rows FOLDER
"""

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path

from arg_utils.data.sources import open_source
from arg_utils.errors import UserError, exit_code
from arg_utils.files import atomic_path

HEADER_LINES = {"tsv": 1, "jsonl": 0, "gff3": 1, "hamronization": 1}


def split(source: Path, folder: Path, records: int) -> list[Path]:
    """Cut a file, compressed or not, into shards of ``records`` FASTA records each.

    A shard is ``folder/NUMBER/NAME``: results may state the file's NAME, and numbers sort as text.
    Shards one after another are the unpacked file, byte by byte. A file that does not start with
    ``>`` (GFF3, GenBank), or any file where ``records`` is 0, is one shard.

    Raises
    ------
    UserError
        If the file is empty, damaged or cannot be read.
    """
    shards = []
    with open_source(source) as handle:
        most = records if handle.peek(1).startswith(b">") else 0
        for number, lines in groupby(_numbered(handle, most), key=itemgetter(0)):
            shard = folder / f"{number + 1:08}" / source.name
            shard.parent.mkdir(parents=True)
            with open(shard, "wb") as out:
                out.writelines(line for _, line in lines)
            shards.append(shard)
    if not shards:
        raise UserError(f"{source} is empty; give a file with at least one record.")
    return shards


def _numbered(lines: Iterable[bytes], records: int) -> Iterator[tuple[int, bytes]]:
    """Each line with the number of its shard, from 0."""
    begun = 0
    for line in lines:
        begun += line.startswith(b">")
        yield (begun - 1) // records if records else 0, line


def merge(rows: Sequence[Path], out: Path, form: str) -> None:
    """Results of shards, in their order, as one file with the first one's header.

    ``out`` is written whole or not at all.

    Raises
    ------
    UserError
        If headers differ, as those of different versions may.
    """
    with atomic_path(out) as temporary, open(temporary, "wb") as target:
        first = None
        for path in rows:
            with open(path, "rb") as handle:
                header = [handle.readline() for _ in range(HEADER_LINES[form])]
                if first is None:
                    first = header
                    target.writelines(header)
                if header != first:
                    raise UserError(
                        f"{path} has another header than {rows[0]}; delete both and run again."
                    )
                target.writelines(handle)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one of the two; the exit codes are those of `arg_utils`."""
    parser = argparse.ArgumentParser(description="Cut a file into shards; put results together.")
    commands = parser.add_subparsers(required=True)
    cut = commands.add_parser("split")
    cut.add_argument("source", type=Path)
    cut.add_argument("folder", type=Path)
    cut.add_argument("--records", type=int, required=True)
    cut.set_defaults(run=lambda o: print(f"{len(split(o.source, o.folder, o.records)):,} shards"))
    join = commands.add_parser("merge")
    join.add_argument("out", type=Path)
    join.add_argument("--format", choices=HEADER_LINES, required=True)
    join.add_argument("--shards", type=Path, required=True, help="folder that split wrote")
    join.add_argument("--rows", type=Path, required=True, help="folder with NUMBER.FORMAT of each")
    join.set_defaults(run=_merge)
    options = parser.parse_args(arguments)
    return exit_code(lambda: options.run(options))


def _merge(options: argparse.Namespace) -> None:
    numbers = sorted(folder.name for folder in options.shards.glob("[0-9]*"))
    merge([options.rows / f"{n}.{options.format}" for n in numbers], options.out, options.format)


if __name__ == "__main__":
    sys.exit(main())
