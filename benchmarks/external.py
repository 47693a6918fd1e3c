"""How well do the methods do on proteins of another database, classed by other people?

    python -m benchmarks.external               # writes results/external.json
    python -m benchmarks.external --write DIR   # a data set of that database, as Kaggle's come

The database is NCBI's reference catalogue of resistance proteins. A protein's class comes from its
gene and product names alone, by the table `PATTERNS`, which was written before any method had been
asked and is not changed for scores. Proteins identical to one of the data in use are left out.
There are no negatives in this test: accuracy says how many ARGs get their class, and nothing says
how often another protein is taken for an ARG.
"""

import argparse
import json
import re
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from arg_utils.data.fasta import write_fasta
from arg_utils.data.folders import KEY, labelled_records, load_dataset
from arg_utils.data.open_data import ARG_EVALUE
from arg_utils.data.proteins import Record
from arg_utils.errors import UserError, exit_code
from arg_utils.experiments.outcomes import fit_random, load_fitted
from arg_utils.experiments.workspace import Workspace, open_workspace
from arg_utils.files import RESULTS, write_text
from arg_utils.homology.mmseqs import best_hits
from arg_utils.homology.splits import PARTS, homology_clusters, random_split
from arg_utils.labels import CLASSES, DISPLAY_NAMES, INDEX, NONARG
from arg_utils.methods import METHODS as LIBRARY
from arg_utils.methods.base import TRAIN_AND_VALIDATION
from arg_utils.metrics.calibration import answered, reliability, table_error
from arg_utils.metrics.scores import (
    accuracy,
    bootstrap_ci,
    bootstrap_gain,
    confusion,
    f1_from_confusion,
    identity_bins,
)
from arg_utils.prediction.model import SHIPPED as FOLDER_OF_SHIPPED
from arg_utils.prediction.model import load_model, read_manifest
from arg_utils.prediction.rows import plain_args
from benchmarks.blast_database import FOLDER, WHEEL, read_catalogue

METHODS = ("best_hit", "frozen_linear", "layers_linear", "hybrid")
FILTERED = "shipped, neither uncertain nor flagged"
SHIPPED = f"{TRAIN_AND_VALIDATION}, and proteins of other genomes"
BASE = "best_hit"  # what gains are measured against
# What is looked for in "gene product", any case. Exactly one class must be named: a protein with
# two (AAC(6')-Ib-cr: aminoglycoside and quinolone) or none (Cfr, OptrA, biocides, nitroimidazole,
# classes outside the 15) is left out.
PATTERNS = {
    "aminoglycoside": r"aminoglycoside|aminocyclitol|(strepto|genta|tobra|kasuga)m[iy]cin"
    r"|16S rRNA \((guanine\(1405\)|adenine\(1408\))",  # methylases such as ArmA, RmtB and NpmA
    "macrolide-lincosamide-streptogramin": r"\berm\(|23S rRNA \(adenine\(2058\)"
    r"|macrolide|lincosamide|streptogramin|erythromycin|oleandomycin"
    r"|ABC-F type ribosomal protection protein (Car|Lsa|Msr|Ole|Sal|Srm|Tlr|Vga|Vml)",
    "polymyxin": r"colistin|polymyxin|phosphoethanolamine--lipid A",
    "fosfomycin": r"fosfomycin",
    "trimethoprim": r"trimethoprim|dihydrofolate reductase",
    "bacitracin": r"bacitracin|undecaprenyl",
    "quinolone": r"quinolone|ciprofloxacin",
    "multidrug": r"multidrug",
    "chloramphenicol": r"phenicol",  # those against florfenicol name it too
    "tetracycline": r"tetracycline|tigecycline",
    "rifampin": r"rifamp|rifamycin",
    "beta_lactam": r"beta-lactam|penicillin|methicillin|PBP2a",
    "sulfonamide": r"sulfonamide",
    "glycopeptide": r"^van[A-Z]|vancomycin|teicoplanin|glycopeptide",
}
NO_RESISTANCE = r"\binactive\b|\bmutant\b|\bmutation\b"  # told by name; housekeeping mutants too


def class_of(names: str) -> tuple[int | None, str]:
    """The class of "gene product", or None and why the protein is left out."""
    if re.search(NO_RESISTANCE, names, re.IGNORECASE):
        return None, "inactive or a mutant"
    named = [kind for kind, words in PATTERNS.items() if re.search(words, names, re.IGNORECASE)]
    if len(named) == 1:
        return INDEX[named[0]], ""
    return None, "two classes named" if named else "no class named"


def read_database() -> tuple[list[Record], dict[str, int]]:
    """Labelled proteins of the database, each sequence once, and how many were left out, by why."""
    records: dict[str, Record] = {}
    labels: dict[str, set[int]] = {}
    counts: Counter[str] = Counter()
    for protein in read_catalogue():
        counts["read"] += 1
        label, why = class_of(f"{protein.gene} {protein.product}")
        sequence = protein.sequence.removesuffix("*").replace("J", "X")
        if label is not None and not (sequence.isalpha() and protein.accession):
            label, why = None, "a stop or gap inside, or no accession"
        if label is None:
            counts[why] += 1
            continue
        counts["the same protein again"] += sequence in records
        labels.setdefault(sequence, set()).add(label)
        gene = re.sub(r"[\s|]+", "_", protein.gene)
        header = f"{protein.accession}|FEATURES|NCBI|{CLASSES[label]}|{gene}"
        records.setdefault(sequence, Record(protein.accession, header, sequence, label))
    unambiguous = [record for sequence, record in records.items() if len(labels[sequence]) == 1]
    counts["one protein, two classes"] = len(records) - len(unambiguous)
    return unambiguous, dict(counts)


def external_set(work: Workspace) -> tuple[list[Record], dict[str, int]]:
    """`read_database` without what is identical to any protein of the data in use."""
    records, counts = read_database()
    known = {r.sequence for part in PARTS for r in getattr(work.data, part)}
    new = [record for record in records if record.sequence not in known]
    if not new:
        raise UserError(f"All proteins of {WHEEL.package} are in the data; name other data.")
    counts |= {"identical to a known protein": len(records) - len(new), "kept": len(new)}
    return new, counts


def check_new(folder: Path) -> None:
    """Refuse a folder that holds anything already."""
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise UserError(f"{folder} exists and is not an empty folder; name a new one.")


def write_folder(folder: Path, args: list[Record], others: list[Record]) -> dict[str, int]:
    """A data folder in the competition's format of ARGs and negatives, with its test key.

    Negatives with a hit among the ARGs are left out, as in the open data. Split at random,
    stratified. Returns how many proteins each part got.
    """
    check_new(folder)
    hits = best_hits([r.sequence for r in others], [r.sequence for r in args], evalue=ARG_EVALUE)
    like, equal = set(hits["query"]), {record.sequence for record in args}
    negatives = [r for i, r in enumerate(others) if i not in like and r.sequence not in equal]
    if not negatives:
        raise UserError("The data hold no negatives that resemble no ARG; name other data.")
    records = args + negatives
    part = random_split([record.label for record in records])
    pick = {name: np.flatnonzero(part == name) for name in PARTS}
    for name in ("train", "val"):
        write_fasta(folder / f"{name}.fasta", [records[i] for i in pick[name]])
    test = [records[i] for i in np.random.default_rng(0).permutation(pick["test"])]
    hidden = [Record(f"SEQ{i}", f"SEQ{i}", r.sequence) for i, r in enumerate(test)]
    write_fasta(folder / "test.fasta", hidden)
    rows = [f"SEQ{i},{record.label}\n" for i, record in enumerate(test)]
    write_text(folder / KEY, "id,label\n" + "".join(rows))
    return {name: len(positions) for name, positions in pick.items()}


def score(
    true: np.ndarray, probabilities: np.ndarray, base: np.ndarray, groups: np.ndarray,
    near: np.ndarray, threshold: float | None = None,
) -> dict:  # fmt: skip
    """All scores of one method; ``base`` holds the predictions gains are measured against.

    ``near`` is the identity (0-1) of the best reference hit, NaN without one. With a ``threshold``
    also: the share of proteins answered, and the share of wrong ones among those.
    """
    predicted = probabilities.argmax(axis=1)
    interval = bootstrap_ci(true, predicted, groups, present_only=True)
    gain = bootstrap_gain(true, predicted, base, groups, present_only=True)
    each = f1_from_confusion(confusion(true, predicted))
    row = {
        "macro_f1": interval.value, "ci_low": interval.low, "ci_high": interval.high,
        "gain": gain.value, "gain_low": gain.low, "gain_high": gain.high,
        "accuracy": accuracy(true, predicted),
        "called_arg": float((predicted != NONARG).mean()),
        "calibration_error": table_error(reliability(probabilities, true)),
        "class_f1": {CLASSES[i]: float(each[i]) for i in np.unique(true)},
        "identity": json.loads(identity_bins(true, predicted, near).to_json(orient="records")),
    }  # fmt: skip
    if threshold is not None:
        sure = answered(probabilities, threshold)
        wrong = float((true != predicted)[sure].mean()) if sure.any() else 0.0
        row |= {"threshold": threshold, "answered": float(sure.mean()), "error_answered": wrong}
    return row


def answers(
    work: Workspace, sequences: list[str], methods: Sequence[str] | None = None
) -> dict[str, tuple[np.ndarray, float | None]]:
    """Probabilities [n, 15] and threshold of each method, fitted on the data in use.

    ``methods`` are `METHODS` unless given. On the data that the shipped model was fitted on, its
    answers come last.
    """
    out = {}
    for name in methods or METHODS:
        fit_random(work, name)
        method = load_fitted(work, name)
        out[name] = method.probabilities(sequences), method.threshold
    if work.data.identity == read_manifest(FOLDER_OF_SHIPPED)["data"]["sha256"]:
        model = load_model(held_out=True)
        out["shipped"] = model.scorer(sequences, lambda count: None).probabilities, model.threshold
    return out


def filtered(sequences: list[str]) -> np.ndarray:
    """Classes int64 [n] that remain of the shipped model's by the filter of docs/predict.md.

    An ARG that is uncertain, or whose row has a flag, counts as none.
    """
    rows = load_model(cached=True, held_out=True).predict(sequences)
    return np.where(plain_args(rows), rows["class"].map(INDEX), NONARG)


def evaluate(work: Workspace) -> dict:
    """Every method's scores on the external set, with what they are of."""
    records, counts = external_set(work)
    sequences, true = [r.sequence for r in records], np.array([r.label for r in records])
    groups = homology_clusters(sequences)
    hits = best_hits(sequences, work.references.sequences).set_index("query")["identity"]
    near = hits.reindex(range(len(records))).to_numpy()
    given = answers(work, sequences)
    base = given[BASE][0].argmax(axis=1)
    support = {CLASSES[i]: int((true == i).sum()) for i in np.unique(true)}
    return {
        **work.provenance("python -m benchmarks.external"),
        "database": f"{WHEEL.package} {WHEEL.version} [{WHEEL.sha256[:8]}], {FOLDER}",
        "note": "no negatives: accuracy is a sensitivity; macro-F1 is over the classes of support",
        "counts": counts, "clusters": len(np.unique(groups)), "support": support,
        "rows": [
            {
                "method": name, "given": LIBRARY[name].reference if name in LIBRARY else SHIPPED,
                **score(true, probabilities, base, groups, near, threshold),
            }
            for name, (probabilities, threshold) in given.items()
        ],
    }  # fmt: skip


def show(result: dict) -> None:
    """Print the tables of `evaluate`."""
    print("\n".join(f"{count:>6,}  {step}" for step, count in result["counts"].items()))
    rows = pd.DataFrame(result["rows"]).set_index("method")
    print(f"{len(result['support'])} classes, {result['clusters']} clusters, {result['note']}\n")
    print(rows.drop(columns=["class_f1", "identity"]).T.round(3).to_string(na_rep=""), "\n")
    table = pd.DataFrame(rows["class_f1"].to_dict())
    table.insert(0, "support", pd.Series(result["support"]))
    print(table.rename(index=dict(zip(CLASSES, DISPLAY_NAMES, strict=True))).round(3), "\n")
    bins = {name: pd.DataFrame(each).set_index("bin") for name, each in rows["identity"].items()}
    table = pd.DataFrame({name: each["macro_f1"] for name, each in bins.items()})
    table = bins[BASE][["n", "classes"]].join(table)
    print(
        "macro-F1 by identity to the best hit in training and validation\n", table.round(3), sep=""
    )


def main(arguments: list[str] | None = None) -> int:
    """Score and write ``results/external.json``, or write a data folder."""
    parser = argparse.ArgumentParser("python -m benchmarks.external", description=__doc__)
    parser.add_argument("--write", metavar="DIR", type=Path, help="only write a data folder")
    folder = parser.parse_args(arguments).write

    def run() -> None:
        if folder:
            negatives = [r for r in labelled_records(load_dataset()) if r.label == NONARG]
            print(f"{folder}: {write_folder(folder, read_database()[0], negatives)}")
            return
        result = evaluate(open_workspace())
        show(result)
        write_text(RESULTS / "external.json", json.dumps(result, indent=1) + "\n")

    return exit_code(run, folder or RESULTS)


if __name__ == "__main__":
    sys.exit(main())
