"""The command line: ``python -m arg_utils COMMAND``, thin over the library's functions."""

import argparse
import sys
from collections.abc import Callable
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NoReturn

from arg_utils.errors import counted, exit_code
from arg_utils.prediction import command

Options = argparse.Namespace


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit code.

    0, or 1 if a notebook fails or bad records were skipped, 2 for a fault of the input or of the
    command itself, 130 when stopped.
    """
    options = _parser().parse_args(arguments)
    return exit_code(lambda: options.run(options), getattr(options, "out", None) or "system")


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence, as all of this library does."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message}; see {self.prog} --help\n")

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse, but an option that is none is refused by the command it was given to."""
        found, unknown = self.parse_known_args(args, namespace)
        if unknown:
            getattr(found, "parser", self).error(f"there is no option {unknown[0]}")
        return found


class _Version(argparse.Action):
    """Says the version; a checkout that is used without having been installed has none."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> NoReturn:
        try:
            print(f"arg-utils {version('arg-utils')}")
        except PackageNotFoundError:
            parser.error("arg-utils is not installed here: make setup")
        parser.exit()


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m arg_utils",
        description="Antibiotic resistance class of proteins, by ESM-2 and homology.",
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    add = partial(_command, commands)
    command.add_options(add(_predict, "class, probability and evidence of each protein"))
    data = add(_data, "build the open data, or locate yours, and count")
    data.add_argument("--data", metavar="DIR", type=Path, help="a folder to check (else ARG_DATA)")
    add(_weights, "fetch or locate the ESM-2 weights, and name them")
    _fit_options(add(_fit, "fit a method on train.fasta and val.fasta"))
    submit = add(_submit, "predict test.fasta and write the submission")
    _data_option(submit)
    submit.add_argument("--run", dest="fitted", metavar="RUN", type=Path, required=True)
    submit.add_argument("--out", metavar="FILE", type=Path, required=True)
    submit.add_argument(
        "--answers", metavar="FILE", type=Path, help="also write probabilities, and what is unsure"
    )
    check = add(_check, "check a submission against test.fasta")
    check.add_argument("file", metavar="FILE", type=Path)
    _data_option(check)
    kaggle = add(_kaggle, "fetch the competition's files, or upload a checked submission")
    kaggle.add_argument("action", choices=("data", "submit"))
    kaggle.add_argument("--file", metavar="FILE", type=Path, help="else submissions/submission.csv")
    kaggle.add_argument("--message", default="ESM-2 8M", help="shown beside the submission")
    cache = add(_cache, "show the size of the embedding cache, or clear it")
    cache.add_argument("--clear", action="store_true", help="remove all cached embeddings")
    notebooks = add(_notebooks, "run all notebooks, or copy a run's to where they are committed")
    notebooks.add_argument("action", choices=("run", "publish"))
    ladder = add(_ladder, "measure methods on both splits, into one table")
    ladder.add_argument("--methods", nargs="+", metavar="METHOD", help="all, unless named")
    ladder.add_argument("--out", metavar="FILE", type=Path, help="else results/ladder.json")
    model = add(_model, "make the model anew that comes with the library")
    model.add_argument("--out", metavar="DIR", type=Path, help="else where it is read from")
    add(_doctor, "say what this machine has, and what slows it down")
    return parser


def _fit_options(fit: argparse.ArgumentParser) -> None:
    _data_option(fit)
    fit.add_argument("--out", metavar="RUN", type=Path, required=True, help="folder of the run")
    fit.add_argument("--method", help="see docs/development.md; by default the hybrid")
    fit.add_argument(
        "--profile",
        help="smoke, short, laptop, longer or full (else ARG_PROFILE, laptop or, if slow, short)",
    )
    fit.add_argument("--seed", type=int, help="of sampling and initialisation (0)")


def _data_option(parser: argparse.ArgumentParser) -> None:
    text = "folder with FASTA files in the competition's format"
    parser.add_argument("--data", metavar="DIR", type=Path, required=True, help=text)


def _command(
    commands: Any, function: Callable[[Options], int | None], text: str
) -> argparse.ArgumentParser:
    """The parser of the command that a function is named after."""
    name = function.__name__.removeprefix("_")
    parser = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
    parser.set_defaults(run=function, parser=parser)
    return parser


def _predict(options: Options) -> int:
    from arg_utils.prediction.model import Model, load_model, model_of

    def of_run() -> Model:
        from arg_utils.experiments.runs import RUN_FILE, load_run
        from arg_utils.files import file_sha256

        method, sha256 = load_run(options.fitted), file_sha256(options.fitted / RUN_FILE)
        return model_of(method, str(options.fitted), sha256)

    return command.predict(options, of_run if options.fitted else load_model)


def _model(options: Options) -> None:
    from arg_utils.prediction.model import SHIPPED
    from arg_utils.prediction.shipping import make_model

    folder = options.out or SHIPPED
    for split, scores in make_model(folder)["metrics"].items():
        print(f"{split} split: macro-F1 {scores['macro_f1']:.4f}")
    print(f"model: {folder}")


def _data(options: Options) -> None:
    from arg_utils.data.folders import leakage_warnings, load_dataset

    dataset = load_dataset(options.data)
    print(f"data: {dataset.name} [{dataset.identity[:8]}] in {dataset.folder}")
    for part in ("train", "val", "test"):
        number, noun = counted(len(getattr(dataset, part)), "protein").split()
        print(f"  {part:<5} {number:>7} {noun}")
    for warning in leakage_warnings(dataset):
        print(f"note: {warning}")


def _weights(options: Options) -> None:
    from arg_utils.esm2.weights import load_weights

    print(f"ESM-2 weights: {load_weights().name}")


def _fit(options: Options) -> None:
    from arg_utils.esm2 import ranks
    from arg_utils.experiments.runs import fit_run
    from arg_utils.methods import DEFAULT_METHOD
    from arg_utils.settings import load_profile

    method = DEFAULT_METHOD if options.method is None else options.method
    profile = load_profile(options.profile) if options.profile else None
    with ranks.joined() as rank, TemporaryDirectory() as unused:
        out = Path(unused) if rank else options.out  # the first process writes
        metrics = fit_run(options.data, out, method, profile, options.seed)
    if rank:
        return
    for warning in metrics["warnings"]:
        print(f"note: {warning}")
    for part in ("val", "test"):
        if f"{part}_macro_f1" in metrics:
            print(f"{part} macro-F1: {metrics[f'{part}_macro_f1']:.4f}")
    print(f"run: {options.out}")


def _submit(options: Options) -> None:
    from arg_utils.experiments.runs import submit_run

    predicted, unsure = submit_run(options.data, options.fitted, options.out, options.answers)
    print(f"submission: {options.out} ({counted(len(predicted), 'protein')}, checked)")
    if options.answers:
        print(f"answers: {options.answers} ({unsure:,} uncertain)")


def _check(options: Options) -> None:
    from arg_utils.data.folders import load_dataset
    from arg_utils.data.submission import check_submission

    ids = [record.id for record in load_dataset(options.data, parts=("test",)).test]
    check_submission(options.file, ids)
    print(f"check: {options.file} is a valid submission ({counted(len(ids), 'protein')})")


def _kaggle(options: Options) -> None:
    from arg_utils.data import kaggle
    from arg_utils.settings import submission_path

    if options.action == "data":
        print(f"data: {kaggle.fetch()}")
    else:
        print(kaggle.upload(options.file or submission_path(), options.message))


def _cache(options: Options) -> None:
    from arg_utils.esm2.store import cache_size, clear_cache
    from arg_utils.files import cache_dir

    files, size = cache_size()
    held = f"{size / 1e6:,.1f} MB in {counted(files, 'file')}"
    print(f"embeddings: {held} in {cache_dir('embeddings')}")
    if options.clear:
        clear_cache()
        print("cleared")


def _notebooks(options: Options) -> int:
    from arg_utils.reporting import notebooks

    try:
        if options.action == "run":
            notebooks.report(notebooks.run_notebooks(noted=notebooks.prepare()))
        else:
            notebooks.publish()
    except notebooks.NotebookError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _ladder(options: Options) -> None:
    from arg_utils.experiments.ladder import run_ladder
    from arg_utils.reporting.tables import best_first, score_frame

    rows = run_ladder(options.methods, options.out)
    print(score_frame(best_first(rows)).to_string(index=False))


def _doctor(options: Options) -> None:
    from arg_utils.reporting.doctor import print_report

    print_report()


if __name__ == "__main__":
    sys.exit(main())
