"""The command ``predict``: its options, and what it does with them.

Only what the options need is imported with this module; the rest, which takes seconds, when the
command runs.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from arg_utils.errors import counted

if TYPE_CHECKING:
    from arg_utils.prediction.model import Model


def add_options(predict: argparse.ArgumentParser) -> None:
    """Give a parser the arguments of ``predict``."""
    predict.epilog = (
        "Exit codes: 0; 1 if bad records were skipped (--skip-bad); 2 for a fault of the input; "
        "130 when stopped: what was done is in FILE.part, for --resume."
    )
    add = predict.add_argument
    add(
        "input",
        metavar="INPUT",
        nargs="*",
        default=["-"],
        help="FASTA, GenBank, GFF3, a folder of FASTA, compressed or not; - (default) is stdin",
    )
    add("-o", "--out", metavar="FILE", type=Path, help="else standard output")
    formats = ("tsv", "jsonl", "gff3", "hamronization")
    add("--format", choices=formats, default=formats[0], help="of the rows; tsv unless given")
    add("--report", metavar="FILE", type=Path, help="also write an HTML page of the results")
    add("--args-only", action="store_true", help="leave out what is no ARG")
    add("--skip-bad", action="store_true", help="report bad records and go on; exit code 1")
    add("--resume", action="store_true", help="go on with the FILE.part of a stopped call")
    add("--run", dest="fitted", metavar="RUN", type=Path, help="a model fitted with fit")
    genes = predict.add_argument_group("genomes")
    genes.add_argument("--genome", action="store_true", help="inputs are contigs: find genes")
    genes.add_argument("--gff", metavar="FILE", help="the genes of the contigs given, as GFF3")
    genes.add_argument(
        "--mode",
        choices=("meta", "single"),
        help="of the gene caller: any mixture (meta, unless given), or one long genome",
    )
    genes.add_argument("--genetic-code", type=int, metavar="N", help="11 unless given")
    genes.add_argument("--closed", action="store_true", help="no gene runs off a contig's end")


def predict(options: argparse.Namespace, load: Callable[[], "Model"]) -> int:
    """Predict the inputs by the model that ``load`` gives; returns the exit code.

    Options that cannot go together, and files that are not there, are a `UserError` before the
    model is loaded.
    """
    from arg_utils.prediction.engine import check_request, predict_files
    from arg_utils.prediction.reading import ReadingOptions
    from arg_utils.prediction.sink import unfinished

    skipped: list[str] = []

    def skip_bad(fault: str) -> None:
        skipped.append(fault)
        print(f"skipped: {fault}", file=sys.stderr)

    out, report = options.out, options.report
    reading = ReadingOptions(
        options.genome, options.gff, options.mode, options.genetic_code, options.closed,
        skip_bad if options.skip_bad else None,
    )  # fmt: skip
    check_request(options.input, reading, report, out, options.resume, options.fitted)
    model = load()
    try:
        done = predict_files(
            model, options.input, reading, report, form=options.format, out=out,
            args_only=options.args_only, resume=options.resume,
        )  # fmt: skip
    except KeyboardInterrupt:
        further = "; --resume goes on" if out and unfinished(out)[0].exists() and not report else ""
        print(f"stopped{further}", file=sys.stderr)
        return 130
    print(f"{counted(done.proteins, 'protein')}, {counted(done.args, 'ARG')}", file=sys.stderr)
    if skipped:
        print(f"{counted(len(skipped), 'bad record')} skipped", file=sys.stderr)
    return int(bool(skipped))
