"""From a stream of proteins to a file of rows: block by block, in order, to be resumed."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
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
from arg_utils.files import check_not_read
from arg_utils.fingerprint import fingerprint
from arg_utils.labels import CLASSES, NONARG
from arg_utils.prediction.model import Model, blocks
from arg_utils.prediction.query import Query
from arg_utils.prediction.reading import (
    PACKED,
    ReadingOptions,
    count_records,
    files_to_read,
    has_places,
    read_queries,
)
from arg_utils.prediction.sink import Done, Sink, check_output, unfinished
from arg_utils.prediction.writing import FORMATS, Context, shown

Listener = Callable[[Sequence[Query], pd.DataFrame, np.ndarray], object]


def predict_files(
    model: Model,
    inputs: Sequence[str],
    reading: ReadingOptions,
    report: Path | None = None,
    **options: Any,
) -> Done:
    """Write the rows of all proteins of a user's ``inputs``, which `check_request` let pass.

    Parameters
    ----------
    reading : see `read_queries`, which also says what inputs may be.
    report : an HTML page to write besides.
    options : ``form``, ``out``, ``args_only`` and ``resume`` of `predict_stream`.

    Raises
    ------
    UserError
        As `read_queries` and `predict_stream` do.
    """
    queries = read_queries(inputs, reading)
    first = next(queries, None)
    placed = has_places(inputs, reading) or (first is not None and first.contig is not None)
    named = tuple(map(shown, inputs))
    context = Context(model.name, version("arg-utils"), model.data, placed, named)
    options["total"] = count_records(inputs, reading) if sys.stderr.isatty() else None
    if report:
        from arg_utils.prediction.report import Report  # here: drawing takes a second to import

        references = model.references.table if model.references else None
        title = ", ".join(Path(name).name or name for name in named)
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
    if resume and not out:
        raise UserError("--resume goes on with the rows of --out FILE; name it.")
    if resume and report:
        raise UserError("--resume goes on with rows, and a report needs all of them; leave it out.")
    if reading.genetic_code not in (None, *generic_by_id):
        code = reading.genetic_code
        raise UserError(f"There is no genetic code {code}; give --genetic-code a number of NCBI's.")
    if not (reading.genome and reading.gff is None) and (reading.closed or reading.mode):
        raise UserError("--mode and --closed are about finding genes; give contigs, and --genome.")
    if reading.genome and reading.gff is not None:
        raise UserError("--gff names the genes, and --genome would find them; leave one out.")
    if reading.gff == STANDARD_INPUT:
        raise UserError("--gff reads a file, and not standard input; name one.")
    files = [name for name in inputs if name != STANDARD_INPUT]
    for name in [*files, *([] if reading.gff is None else [reading.gff])]:
        if not name or not Path(name).exists():
            what = f"{name or 'A file without a name'} is not there"
            raise UserError(f"{what}; name a file, a folder, or - (standard input).")
    if out and out.suffix.lower() in PACKED:
        raise UserError(f"{out} would not be compressed; name it without {out.suffix}.")
    for path in filter(None, (out, report)):
        check_output(path)
    own = [Path(os.path.realpath(out)), *unfinished(out)] if out else []
    read = [Path(name) for name in files_to_read(files, reading)]
    read += run.iterdir() if run and run.is_dir() else []
    for path in [*own, *([report] if report else [])]:
        check_not_read(path, read)
    if report and report.resolve() in own:
        raise UserError(f"{out} cannot hold both rows and report; name two files.")


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
    made = FORMATS[form](context)
    same = (model.name, model.data, model.threshold, model.identity)
    done = Done(fingerprint(*same, form, context, made.header(), args_only))
    sink = Sink(out, done.key) if out else None
    waiting = made.header()  # for rows: what cannot be read leaves standard output empty
    if sink and resume:
        done = sink.reopen()
        _pass_over(queries, done)
    elif sink:
        sink.append(waiting, done)
    bar = tqdm(
        total=total, initial=done.proteins, desc="predicting", unit=" proteins", disable=None,
        smoothing=0,
    )  # fmt: skip
    with bar, _nothing_half_done(sink, done):
        for block in blocks(queries):
            frame, probabilities = model.rows(block, bar.update)
            bar.update(done.proteins + len(block) - bar.n)  # repeats of a protein are not computed
            if listener:
                listener(block, frame, probabilities)
            is_arg = (frame["class"] != CLASSES[NONARG]).to_numpy()
            rows = made.rows(frame[is_arg] if args_only else frame)
            done.add(block, int(is_arg.sum()))
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


@contextmanager
def _nothing_half_done(sink: Sink | None, done: Done) -> Iterator[None]:
    """A fault of the input before anything is written leaves no file behind."""
    try:
        yield
    except UserError:
        if sink and not done.proteins:
            sink.discard()
        raise


def _pass_over(queries: Iterator[Query], done: Done) -> None:
    """Read, and do not predict, the proteins that were; they must be the same."""
    read = Done(done.key)
    for block in blocks(islice(queries, done.proteins)):
        read.add(block)
    if (read.proteins, read.digest) != (done.proteins, done.digest):
        raise UserError(
            f"The input has changed: it does not begin with the "
            f"{counted(done.proteins, 'protein')} predicted before; leave out --resume."
        )
