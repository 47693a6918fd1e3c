"""Which relatives of ARGs are ARGs? Asked of whole proteomes, with curated cut-offs as the truth.

    .venv/bin/python benchmarks/environment.py             # adds pyhmmer
    .venv/benchmarks/bin/python -m benchmarks.grey_zone    # writes results/grey_zone.json

The proteins are those of six genomes (CarveMe's benchmark) that hit an ARG of the data in use at
E <= 1e-5: most are pumps, regulators and enzymes of ordinary bacteria. Proteins identical to one in
training or validation are excluded, and with them most ARGs of such well-known strains: recall
rests on few proteins, the false ARGs of a genome on many. Training has negatives from an assembly
of E. coli, and the shipped model also learns from what hits no ARG in three of these genomes
(`data.genomes.BACKGROUND`), so the pooled scores are also given for the others alone.

The truth does not rest on similarity to the data: it is NCBI's HMMs with their trusted cut-offs
(`benchmarks.curated`). A protein that reaches one is an ARG of the family's class, one below all is
none. What reaches only families of no class of the 14, or families of two, is excluded. SARG and
NCBI disagree about pumps, many of which SARG labels multidrug but no HMM knows: so false ARGs are
also counted without those called multidrug.

AMRFinderPlus decides by these HMMs (and BLAST): its recall and precision are 1 by construction. It
is the anchor; nothing can do better than it in this test. The HMMs are used for nothing else.
"""

import argparse
import json
import sys
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from arg_utils.data import genomes
from arg_utils.data.fasta import iterate_fasta
from arg_utils.data.folders import labelled_records
from arg_utils.data.open_data import ARG_EVALUE
from arg_utils.data.proteins import Record
from arg_utils.data.sources import open_source
from arg_utils.errors import UserError, exit_code
from arg_utils.experiments.workspace import Workspace, open_workspace
from arg_utils.files import RESULTS, cache_dir, write_text
from arg_utils.homology.mmseqs import best_hits
from arg_utils.labels import CLASSES, INDEX, NONARG
from arg_utils.metrics.calibration import answered
from benchmarks.curated import NO_CLASS, TWO_CLASSES, WHEEL, curated_classes
from benchmarks.external import BASE, FILTERED, answers, filtered

METHODS = (BASE, "hybrid")
IDENTITIES = (0.8, 0.9)  # below which a best hit is often not trusted
E_COLI = "Ecoli_K12_MG1655"
SUM = "295d1df9c925468db10e67919b20e36ac6217b539785b0284544bb83c6c8978f"
GENOMES = replace(
    genomes.WHEEL, members={**genomes.WHEEL.members, genomes.PROTEOMES.format(E_COLI): SUM}
)
MULTIDRUG = INDEX["multidrug"]


@dataclass(frozen=True)
class GreyZone:
    """The proteins asked about: records, the genome and the class of each, and counts."""

    records: list[Record]
    genome: np.ndarray  # names [n]
    true: np.ndarray  # classes int64 [n]
    counts: pd.DataFrame  # proteins at each step, a row per genome


def read_proteomes() -> dict[str, tuple[list[Record], int]]:
    """Genome -> its proteins, and how many were left out as faulty (pseudogenes with stops)."""
    out = {}
    for path in GENOMES.fetch(cache_dir(GENOMES.package)).values():
        faults: list[str] = []
        with open_source(path) as handle:
            read = list(iterate_fasta(handle, path.name, skip_bad=faults.append))
        out[path.stem] = read, len(faults)
    return out


def grey_zone(work: Workspace) -> GreyZone:
    """The proteins of the genomes that resemble an ARG and are asked about, with their classes."""
    proteomes = read_proteomes()
    everything = [record for records, _ in proteomes.values() for record in records]
    genome = np.repeat(list(proteomes), [len(records) for records, _ in proteomes.values()])
    args = [r.sequence for r in labelled_records(work.data) if r.label != NONARG]
    hits = best_hits([r.sequence for r in everything], args, evalue=ARG_EVALUE)["query"].to_numpy()
    grey, genome = [everything[i] for i in hits], genome[hits]
    seen = {r.sequence for r in (*work.data.train, *work.data.val)}
    tested = {r.sequence for r in work.data.test}
    known = np.array([record.sequence in seen for record in grey], bool)
    label = curated_classes([record.sequence for record in grey])
    asked = ~known & (label >= 0)
    steps = pd.DataFrame({
        "hit an ARG": np.ones(len(grey), bool),
        "identical to a training or validation protein, excluded": known,
        "only families of no class, excluded": ~known & (label == NO_CLASS),
        "families of two classes, excluded": ~known & (label == TWO_CLASSES),
        "asked": asked,
        "identical to a test protein": asked & [r.sequence in tested for r in grey],
        "ARGs": asked & (label != NONARG),
    }).groupby(genome).sum()  # fmt: skip
    counts = pd.DataFrame({
        "proteins": {name: len(records) for name, (records, _) in proteomes.items()},
        "with a stop inside, excluded": {name: faulty for name, (_, faulty) in proteomes.items()},
    }).join(steps)  # fmt: skip
    picked = np.flatnonzero(asked)
    counts = counts.fillna(0).astype(int)  # a genome without any hit
    return GreyZone([grey[i] for i in picked], genome[picked], label[picked], counts)


def at_equal_recall(
    true: np.ndarray, classes: np.ndarray, confidence: np.ndarray, right: int
) -> np.ndarray:
    """The most confident calls, int64 [n], until ``right`` are right, or all."""
    sure = np.sort(confidence[(true != NONARG) & (classes == true)])[::-1]
    least = sure[min(right, len(sure)) - 1] if right and len(sure) else np.inf
    return np.where(confidence >= least, classes, NONARG)


def calls(work: Workspace, sequences: list[str], true: np.ndarray) -> dict[str, np.ndarray]:
    """Way of calling -> classes int64 [n], `NONARG` where it calls no ARG.

    ``true`` is for those cut where recall equals the best hit's: so ways compare, none is chosen.
    """
    given, out = answers(work, sequences, METHODS), {}
    base = given[BASE][0].argmax(axis=1)
    right = int(((true != NONARG) & (base == true)).sum())
    for name, (probabilities, threshold) in given.items():
        classes, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
        out[name] = classes
        if threshold is not None:
            sure = answered(probabilities, threshold)
            out[f"{name}, where it is sure"] = np.where(sure, classes, NONARG)
            cut = at_equal_recall(true, classes, confidence, right)
            out[f"{name}, at the recall of {BASE}"] = cut
    if "shipped" in given:
        out[FILTERED] = filtered(sequences)
    hits = best_hits(sequences, work.references.sequences).set_index("query")["identity"]
    identity = hits.reindex(range(len(sequences)), fill_value=0).to_numpy()
    for least in IDENTITIES:
        out[f"{BASE}, identity >= {least:.0%}"] = np.where(identity >= least, base, NONARG)
    return out


def proportion(name: str, count: int, total: int) -> dict[str, float | None]:
    """A share with its 95 % interval (Wilson 1927), which takes proteins as independent draws."""
    ends = (f"{name}_low", f"{name}_high")
    if not total:
        return dict.fromkeys((name, *ends))
    interval = binomtest(count, total).proportion_ci(method="wilson")
    return {name: count / total, **dict(zip(ends, map(float, interval), strict=True))}


def score(true: np.ndarray, called: np.ndarray) -> dict:
    """Recall and precision of classes, and the false ARGs: what is called one and is none."""
    arg, call = true != NONARG, called != NONARG
    right, false = int((arg & (called == true)).sum()), call & ~arg
    taken = np.bincount(called[false], minlength=len(CLASSES))
    return {
        "args": int(arg.sum()), "not_args": int((~arg).sum()), "called": int(call.sum()),
        "right": right, "wrong_class": int((arg & call).sum()) - right,
        **proportion("recall", right, int(arg.sum())),
        **proportion("precision", right, int(call.sum())),
        "false_args": int(false.sum()),
        "false_args_but_multidrug": int(false.sum() - taken[MULTIDRUG]),
        **proportion("false_share", int(false.sum()), int((~arg).sum())),
        "taken_for": {CLASSES[i]: int(taken[i]) for i in np.flatnonzero(taken)},
    }  # fmt: skip


def evaluate(work: Workspace) -> dict:
    """Every way of calling on each genome, on all, and on those no model has learned from."""
    zone = grey_zone(work)
    if not len(zone.true):
        raise UserError("No protein of the genomes resembles an ARG of the data; name other data.")
    groups = {name: zone.genome == name for name in zone.counts.index}
    unseen = ~np.isin(zone.genome, [E_COLI, *genomes.BACKGROUND])
    groups |= {"all": zone.genome != "", "in no training": unseen}
    called = calls(work, [record.sequence for record in zone.records], zone.true)
    support = np.bincount(zone.true, minlength=len(CLASSES))
    return {
        **work.provenance("python -m benchmarks.grey_zone"),
        "genomes": f"{GENOMES.package} {GENOMES.version} [{GENOMES.sha256[:8]}]",
        "families": f"{WHEEL.package} {WHEEL.version} [{WHEEL.sha256[:8]}]",
        "note": "AMRFinderPlus decides by these families: its recall and precision are 1 here",
        "counts": zone.counts.to_dict("index"),
        "support": {CLASSES[i]: int(support[i]) for i in np.flatnonzero(support)},
        "rows": [
            {"method": name, "genomes": group, **score(zone.true[mask], classes[mask])}
            for group, mask in groups.items()
            for name, classes in called.items()
        ],
    }  # fmt: skip


def _run() -> None:
    result = evaluate(open_workspace())
    print(pd.DataFrame(result["counts"]).to_string(), "\n\n", result["note"], "\n", sep="")
    rows = pd.DataFrame(result["rows"]).set_index(["genomes", "method"])
    print(rows.drop(columns="taken_for").round(3).to_string(na_rep=""))
    write_text(RESULTS / "grey_zone.json", json.dumps(result, indent=1) + "\n")


def main(arguments: list[str] | None = None) -> int:
    """Ask all methods, print the tables, write ``results/grey_zone.json``."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.grey_zone", description=__doc__)
    parser.parse_args(arguments)
    return exit_code(_run, RESULTS)


if __name__ == "__main__":
    sys.exit(main())
