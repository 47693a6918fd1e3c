"""From a stream of proteins to a file of rows: block by block, in order, to be resumed."""

import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from Bio.Data.CodonTable import generic_by_id
from tqdm import tqdm

from arg_utils.data.sources import STANDARD_INPUT
from arg_utils.errors import UserError, counted
from arg_utils.files import check_not_read, check_writable, write_text
from arg_utils.fingerprint import fingerprint
from arg_utils.labels import CLASSES, NONARG
from arg_utils.prediction.model import Model, blocks
from arg_utils.prediction.query import Query
from arg_utils.prediction.reading import (
    ReadingOptions,
    count_records,
    files_to_read,
    read_queries,
)
from arg_utils.prediction.writing import Context, checked_format, writer

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
    digest: str = field(default=hashlib.sha256().hexdigest())


Listener = Callable[[Sequence[Query], pd.DataFrame, np.ndarray], object]


def predict_files(
    model: Model,
    inputs: Sequence[str],
    reading: ReadingOptions,
    report: Path | None = None,
    **options: Any,
) -> Done:
    """Write the rows of all proteins of a user's ``inputs``.

    Parameters
    ----------
    reading : see `read_queries`, which also says what inputs may be.
    report : an HTML page to write besides.
    options : ``form``, ``out``, ``args_only`` and ``resume`` of `predict_stream`.

    Raises
    ------
    UserError
        If the input is at fault, or the options do not go together.
    """
    names = ("form", "out", "resume")
    check_request(inputs, reading, report, **{n: options[n] for n in names if n in options})
    queries = read_queries(inputs, reading)
    first = next(queries, None)
    placed = reading.genome or (first is not None and first.contig is not None)
    # Names of files may be bytes that are no text; what is written is.
    shown = [os.fsencode(name).decode(errors="replace") for name in inputs]
    context = Context(model.name, version("arg-utils"), model.data, placed, tuple(shown))
    options["total"] = count_records(inputs, reading) if sys.stderr.isatty() else None
    if report:
        from arg_utils.prediction.report import Report  # here: drawing takes a second to import

        references = model.references.table if model.references else None
        title = ", ".join(Path(name).name or name for name in shown)
        title = title if len(inputs) < 5 else f"{len(inputs):,} inputs"
        page = Report(title, context, references)
        options["listener"] = page.add
    done = predict_stream(model, chain([first] if first else [], queries), context, **options)
    if report:
        page.write(report)
    return done


def check_request(
    inputs: Sequence[str],
    reading: ReadingOptions,
    report: Path | None = None,
    form: str = "tsv",
    out: Path | None = None,
    resume: bool = False,
    run: Path | None = None,
) -> None:
    """Refuse options that cannot go together, and files that are not there, before any work.

    ``run`` is the folder of a fitted model, where it is not the library's own.

    Raises
    ------
    UserError
        Saying which, and what to do.
    """
    checked_format(form)
    if resume and (report or not out):
        raise UserError("--resume goes on with the rows of --out FILE; name it, without --report.")
    if reading.genetic_code not in generic_by_id:
        code = reading.genetic_code
        raise UserError(f"There is no genetic code {code}; give --genetic-code a number of NCBI's.")
    if not reading.genome and (reading.closed or reading.mode != "meta"):
        raise UserError("--mode and --closed are about finding genes; give contigs, and --genome.")
    files = [name for name in inputs if name != STANDARD_INPUT]
    for name in [*files, *([reading.gff] if reading.gff else [])]:
        if not name or not Path(name).exists():
            what = f"{name or 'A file without a name'} is not there"
            raise UserError(f"{what}; name a file, a folder, or - (standard input).")
    for path in (path for path in (out, report) if path):
        check_output(path)
    own = [Path(os.path.realpath(out)), *unfinished(out)] if out else []
    read = [Path(name) for name in files_to_read(files, reading)]
    read += run.iterdir() if run and run.is_dir() else []
    for path in [*own, *([report] if report else [])]:
        check_not_read(path, read)
    if report and report.resolve() in own:
        raise UserError(f"{out} cannot hold both rows and report; name two files.")


def check_output(path: Path) -> None:
    """`check_writable`, of a regular file in a folder that is there: ``.part`` will lie beside."""
    if str(path) == STANDARD_INPUT:
        raise UserError("- is no file to write; leave out --out for standard output.")
    if not path.parent.is_dir() or (path.exists() and not path.is_file()):
        raise UserError(f"{path} cannot be written: name a file in a folder that exists.")
    if len(os.fsencode(path.name)) > LONGEST_NAME:
        raise UserError(f"{path.name[:40]}... is too long a name of a file; give a shorter one.")
    check_writable(path)


def unfinished(out: Path) -> tuple[Path, Path]:
    """Where the rows of ``out`` lie until all are there, and how far they have come."""
    out = Path(os.path.realpath(out))
    return out.with_name(f"{out.name}.part"), out.with_name(f"{out.name}.part.json")


def predict_stream(
    model: Model,
    queries: Iterator[Query],
    context: Context,
    form: str = "tsv",
    out: Path | None = None,
    args_only: bool = False,
    resume: bool = False,
    total: int | None = None,
    listener: Listener | None = None,
) -> Done:
    """Write the rows of all ``queries``; memory does not grow with their number.

    Parameters
    ----------
    context, form : what the writer is told, and its format.
    out : the file. Rows go to ``out`` with ``.part`` added, which becomes ``out`` at the end. By
        default, standard output.
    args_only : leave out what is predicted to be no ARG.
    resume : go on with the ``.part`` of an interrupted call; the bytes will be those of a call that
        was not.
    total : proteins to come, where known, for the time left.
    listener : is given queries, rows and probabilities of every block.

    Raises
    ------
    UserError
        If the input is at fault (rows before the fault stay in ``.part``), or is another one than
        that of the call to be resumed.
    """
    made = writer(form, context)
    same = (model.name, model.data, model.threshold, form, context, made.header(), args_only)
    done = Done(fingerprint(*same))
    sink = Sink(out, done.key) if out else None
    waiting = made.header()  # for rows: what cannot be read leaves standard output empty
    if sink and resume:
        done = sink.reopen()
        _pass_over(queries, done)
    elif sink:
        sink.append(waiting, done)
    with _bar(total, done.proteins) as bar:
        for block in blocks(queries):
            frame, probabilities = model.rows(block, bar.update)
            bar.update(done.proteins + len(block) - bar.n)  # repeats of a protein are not computed
            if listener:
                listener(block, frame, probabilities)
            is_arg = (frame["class"] != CLASSES[NONARG]).to_numpy()
            done.proteins += len(block)
            done.args += int(is_arg.sum())
            done.digest = _digest(done.digest, block)
            rows = made.rows(frame[is_arg] if args_only else frame)
            if sink:
                sink.append(rows, done)
            else:
                sys.stdout.write(waiting + rows)
                waiting = ""
    if sink:
        sink.close()
    else:
        sys.stdout.write(waiting)
    return done


class Sink:
    """The file of rows, and beside it how far it has come."""

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
            raise UserError(f"{self.part} is not there to be resumed; leave out --resume.")
        if done.key != self.key:
            raise UserError(
                f"{self.part} was written with another model or other options; give those, or "
                f"leave out --resume."
            )
        return done

    def close(self) -> None:
        """The rows are all there."""
        os.replace(self.part, self.out)
        self.state.unlink()


def _pass_over(queries: Iterator[Query], done: Done) -> None:
    """Read, and do not predict, the proteins that were; they must be the same."""
    count, digest = 0, Done("").digest
    for block in blocks(islice(queries, done.proteins)):
        count, digest = count + len(block), _digest(digest, block)
    if (count, digest) != (done.proteins, done.digest):
        raise UserError(
            f"The input has changed: it does not begin with the "
            f"{counted(done.proteins, 'protein')} predicted before; leave out --resume."
        )


def _digest(before: str, block: Sequence[Query]) -> str:
    """SHA-256 over a digest and the proteins that follow it."""
    digest = hashlib.sha256(before.encode())
    for query in block:
        digest.update(f"{query.id}\t{query.sequence}\n".encode())
    return digest.hexdigest()


def _bar(total: int | None, initial: int) -> tqdm:
    return tqdm(
        total=total, initial=initial, desc="predicting", unit=" proteins", file=sys.stderr,
        disable=None, smoothing=0,
    )  # fmt: skip
