"""The file of rows, and beside it how far it has come, so that what was stopped can go on."""

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from arg_utils.data.sources import STANDARD_INPUT
from arg_utils.errors import UserError
from arg_utils.files import check_writable, write_text
from arg_utils.prediction.query import Query

LONGEST_NAME = 200  # bytes, of the 255 that file systems take: endings will be added


@dataclass
class Done:
    """How far a prediction has come: what an interrupted one goes on from.

    Attributes
    ----------
    key : of what else decides the bytes: model, format, and what is left out.
    proteins, args, written : predicted, of which ARGs, and bytes of rows.
    digest : SHA-256 over the proteins predicted, so that a changed input is noticed.
    """

    key: str
    proteins: int = 0
    args: int = 0
    written: int = 0
    digest: str = hashlib.sha256().hexdigest()

    def add(self, block: Sequence[Query], args: int = 0) -> None:
        """Count in a block of proteins, of which so many are ARGs."""
        digest = hashlib.sha256(self.digest.encode())
        for query in block:
            place = query.contig, query.start, query.end, query.strand, query.flags
            digest.update(f"{query.id}\t{query.sequence}\t{place}\n".encode())
        self.proteins += len(block)
        self.args += args
        self.digest = digest.hexdigest()


class Sink:
    """The file ``out`` in the making: its rows in ``part``, how far they have come in ``state``."""

    def __init__(self, out: Path, key: str) -> None:
        check_output(out)
        self.out, self.key = Path(os.path.realpath(out)), key
        self.part, self.state = unfinished(out)

    def append(self, rows: str, done: Done) -> None:
        """Add rows after the bytes that ``done`` counts, then note that they are there."""
        data = rows.encode()
        with open(self.part, "r+b" if done.written else "wb") as handle:
            handle.truncate(done.written)
            handle.seek(done.written)
            handle.write(data)
            handle.flush()
            os.fsync(handle.fileno())
        done.written += len(data)
        write_text(self.state, json.dumps(asdict(done)) + "\n")

    def reopen(self) -> Done:
        """How far an interrupted call came."""
        try:
            done = Done(**json.loads(self.state.read_text(encoding="utf-8")))
            whole = self.part.stat().st_size >= done.written
        except (OSError, ValueError, TypeError):
            whole = False
        if not whole:
            what = "is damaged" if self.part.exists() else "is not there to be resumed"
            raise UserError(f"{self.part} {what}; leave out --resume.")
        if done.key != self.key:
            raise UserError(
                f"{self.part} was written with another model, other options or inputs of other "
                f"names; give those, or leave out --resume."
            )
        return done

    def discard(self) -> None:
        """Nothing was predicted: leave nothing behind."""
        self.part.unlink(missing_ok=True)
        self.state.unlink(missing_ok=True)

    def close(self) -> None:
        """The rows are all there."""
        os.replace(self.part, self.out)
        self.state.unlink()


def check_output(path: Path) -> None:
    """`check_writable`, of a regular file in a folder that is there: ``.part`` will lie beside."""
    if str(path) == STANDARD_INPUT:
        raise UserError("- is no file to write; name one (without --out, rows go to the terminal).")
    if path.is_dir():
        raise UserError(f"{path} is a folder; name a file to write.")
    if not path.parent.is_dir():
        raise UserError(f"{path} cannot be written: name a file in a folder that exists.")
    if path.exists() and not path.is_file():
        raise UserError(f"{path} is no regular file; name one, or leave out --out and redirect.")
    if len(os.fsencode(path.name)) > LONGEST_NAME:
        raise UserError(f"{path.name[:40]}... is too long a name of a file; give a shorter one.")
    check_writable(path)


def unfinished(out: Path) -> tuple[Path, Path]:
    """Where the rows of ``out`` lie until all are there, and how far they have come."""
    out = Path(os.path.realpath(out))
    return out.with_name(f"{out.name}.part"), out.with_name(f"{out.name}.part.json")
