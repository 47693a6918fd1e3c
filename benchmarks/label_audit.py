"""Are the labels right? Those of the ARGs in the data, against another database and each other.

    python -m benchmarks.label_audit                        # writes results/label_audit.json
    python -m benchmarks.label_audit --write data/audited   # only the data without the suspects

Each ARG is compared with NCBI's reference catalogue: with the protein it resembles most, at 95 %
identity or more over 95 % or more of both. That protein's class is told by its gene and product
names, by the patterns of `benchmarks.external`; where they tell none or two, nothing is compared.
And each is compared with what bears the same gene name in the data: the class that the symbol
stands for (`SYMBOLS`), the usual length, and the homology cluster that most of them share. Where
the catalogue tells the same class, only a fragment is still listed.

What is listed is suspect, not wrong; being unlike most of its name says little where a name is
given to many families, as tolC is. Regulators (vanR, blaI) are listed but not suspect: they belong
to the system they switch on. Suspects among the tested proteins cap any score, so scores are given
with and without them; in training they stay, unless ``ARG_DATA`` names the data without them. A
protein of a rare gene name, far from all of the catalogue, is beyond this audit.
"""

import argparse
import json
import re
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from arg_utils.data.fasta import write_fasta
from arg_utils.data.folders import KEY
from arg_utils.errors import exit_code
from arg_utils.experiments.outcomes import HOMOLOGY, RANDOM, fit_random, score_homology
from arg_utils.experiments.workspace import Workspace, open_workspace
from arg_utils.files import RESULTS, write_text
from arg_utils.homology.mmseqs import search
from arg_utils.homology.splits import PARTS
from arg_utils.labels import CLASSES, INDEX, NONARG
from arg_utils.metrics.scores import bootstrap_ci
from benchmarks.blast_database import FOLDER, WHEEL, read_catalogue
from benchmarks.external import check_new, class_of

METHODS = ("best_hit", "hybrid")
SAME = 0.95  # identity, and coverage of both, from which two proteins count as the same gene
MANY, MOST, SHORT = 5, 0.8, 0.5  # proteins of a gene; share in one cluster; of the median length
# What a gene symbol stands for, at the beginning of the name or of its last word.
SYMBOLS = {
    "aminoglycoside": r"aac\(|aph\(|ant\(|aad|rmt[A-H]|armA|str[AB]",
    "macrolide-lincosamide-streptogramin": r"erm\(|mph\(|mef\(|msr\(|lnu\(|vga\(|vat\(|ere\(|lsa\(",
    "polymyxin": r"mcr-|eptA|arn[A-F]",
    "fosfomycin": r"fos[A-Z]",
    "trimethoprim": r"dfr",
    "bacitracin": r"bacA|bcr[A-C]",
    "quinolone": r"qnr|qepA",
    "multidrug": r"acr[ABDEF]|mex[A-Z]|mdt[A-Z]|emr[A-EKY]|tolC|opr[A-Z]|amr[AB]|ade[A-Z]|sme[A-Z]",
    "chloramphenicol": r"cat|cml|floR|fex",
    "tetracycline": r"tet|otr",
    "rifampin": r"arr-|rph|iri",
    "beta_lactam": r"bla|(TEM|SHV|CTX-M|OXA|KPC|NDM|IMP|VIM|CMY|ACT|PDC|ADC)-|ampC|mecA",
    "sulfonamide": r"sul\d",
    "glycopeptide": r"van[A-Z]",
}
REGULATOR = r"regulator|repressor|histidine kinase|\b(?:van[RS]|(?:bla|mec)[IR]1?)\b"
REGULATES = "a regulator"
MULTIDRUG = INDEX["multidrug"]
COLUMNS = [
    "id", "gene", "length", "class", "catalogue_gene", "catalogue_class", "identity", "reason",
]  # fmt: skip


def labelled_args(work: Workspace) -> pd.DataFrame:
    """The labelled ARGs, their ``position`` among all labelled, gene name and homology cluster."""
    records, splits = work.labelled
    rows = [
        (i, r.id, "|".join(r.header.split("|")[4:5]), len(r.sequence), r.label, r.sequence)
        for i, r in enumerate(records)
        if r.label != NONARG
    ]
    table = pd.DataFrame(rows, columns=["position", "id", "gene", "length", "label", "sequence"])
    return table.assign(cluster=splits["cluster"].to_numpy()[table["position"]])


def compared(sequences: list[str]) -> pd.DataFrame:
    """The counterparts in the catalogue of those that have one, under their positions.

    Columns: identity (0-1), catalogue_gene, names (gene and product), catalogue_label (class index,
    NaN where the names tell none).
    """
    catalogue = [protein for protein in read_catalogue() if protein.sequence.strip("*").isalpha()]
    targets = [protein.sequence.strip("*").replace("J", "X") for protein in catalogue]
    hits = search(sequences, targets, evalue=1e-5)
    least = hits[["identity", "query_coverage", "target_coverage"]].min(axis=1)
    best = hits[least >= SAME].drop_duplicates("query").set_index("query")
    proteins = [catalogue[i] for i in best["target"]]
    names = [f"{protein.gene} {protein.product}" for protein in proteins]
    return pd.DataFrame({
        "identity": best["identity"],
        "catalogue_gene": [protein.gene for protein in proteins],
        "names": names,
        "catalogue_label": np.array([class_of(each)[0] for each in names], np.float64),
    }, index=best.index)  # fmt: skip


def symbol_class(gene: str) -> int | None:
    """The class its symbol stands for, if it is in `SYMBOLS`: ``Escherichia_coli_emrE`` too."""
    for name, pattern in SYMBOLS.items():
        if any(re.match(pattern, word, re.IGNORECASE) for word in (gene, gene.split("_")[-1])):
            return INDEX[name]
    return None


def reasons(args: pd.DataFrame) -> pd.Series:
    """The likely reason why a label is in question, the first that holds; empty where none does.

    ``args`` has the columns of `labelled_args` and `compared`.
    """
    label, catalogue = args["label"], args["catalogue_label"]
    symbol = args["gene"].map(symbol_class)
    differs = catalogue.notna() & (catalogue != label)
    misnamed = symbol.notna() & (symbol != label) & (catalogue != label)
    pump = (label == MULTIDRUG) | (catalogue == MULTIDRUG) | (symbol == MULTIDRUG)
    of_gene = args.groupby(["label", "gene"])["length"]
    size = of_gene.transform("size")
    share = args.groupby(["label", "gene", "cluster"])["length"].transform("size") / size
    most = share.groupby([label, args["gene"]]).transform("max")
    told = args["gene"] + " " + args["names"].fillna("")
    by_reason = {
        REGULATES: told.str.contains(REGULATOR),
        "a fragment": (size >= MANY) & (args["length"] < SHORT * of_gene.transform("median")),
        "a pump of one drug or of many": (differs | misnamed) & pump,
        "another class in the catalogue": differs,
        "another class by its gene symbol": misnamed,
        "unlike most of its name": (
            (size >= MANY) & (most >= MOST) & (share < most) & (catalogue != label)
        ),
    }
    return pd.Series(np.select(list(by_reason.values()), list(by_reason), ""), args.index)


def audit(work: Workspace) -> pd.DataFrame:
    """All labelled ARGs with what the catalogue says of them, ``reason``, and ``suspect``."""
    args = labelled_args(work)
    args = args.join(compared(args["sequence"].tolist()))
    reason = reasons(args)
    return args.assign(reason=reason, suspect=~reason.isin(["", REGULATES]))


def per_class(args: pd.DataFrame) -> pd.DataFrame:
    """Numbers of ARGs: in the data, with a counterpart, of the same class there, and by reason."""
    label, catalogue = args["label"], args["catalogue_label"]
    counts = pd.DataFrame({
        "ARGs": label.notna(),
        "with a counterpart": args["identity"].notna(),
        "whose class is told": catalogue.notna(),
        "of the same class": catalogue == label,
        **{reason: args["reason"] == reason for reason in sorted(set(args["reason"]) - {""})},
        "suspect": args["suspect"],
    }).groupby(label).sum()  # fmt: skip
    return counts.rename(index=dict(enumerate(CLASSES)))


def tested(work: Workspace) -> dict[str, pd.DataFrame]:
    """Split -> position among the labelled proteins, true class, and a column per method."""
    position = {record.sequence: i for i, record in enumerate(work.labelled[0])}
    random = pd.DataFrame({
        "position": [position[sequence] for sequence in work.scored.sequences],
        "true": work.scored.labels,
        **{name: fit_random(work, name).predictions(work.scored_part) for name in METHODS},
    })  # fmt: skip
    return {RANDOM: random, HOMOLOGY: score_homology(work, METHODS)[1]}


def with_and_without(predictions: pd.DataFrame, suspects: np.ndarray, clusters: np.ndarray) -> dict:
    """The share of suspects among the tested proteins, and macro-F1 with and without them.

    ``suspects`` are positions among the labelled proteins, ``clusters`` those of all of them.
    """
    suspect = predictions["position"].isin(suspects)
    arg = predictions["true"] != NONARG
    rows = []
    for name in METHODS:
        row: dict[str, str | float] = {"method": name}
        for which, table in (("with", predictions), ("without", predictions[~suspect])):
            groups = clusters[table["position"]]
            true, called = table["true"].to_numpy(), table[name].to_numpy()
            score = bootstrap_ci(true, called, groups, present_only=True)
            row |= {which: score.value, f"{which}_low": score.low, f"{which}_high": score.high}
        wrong = predictions[name] != predictions["true"]
        rows.append(
            row | {"wrong": int(wrong.sum()), "wrong_suspect": int((wrong & suspect).sum())}
        )
    return {
        "proteins": len(predictions), "args": int(arg.sum()), "suspects": int(suspect.sum()),
        "share": float(suspect.mean()), "share_of_args": float(suspect[arg].mean()), "rows": rows,
    }  # fmt: skip


def evaluate(work: Workspace) -> dict:
    """The audit of the data in use, and what it means for scores."""
    args, clusters = audit(work), work.labelled[1]["cluster"].to_numpy()
    suspects = args.loc[args["suspect"], "position"].to_numpy()
    listed = args[args["reason"] != ""].sort_values(["reason", "label", "gene", "id"])
    kinds = dict(enumerate(CLASSES))
    listed = listed.assign(
        **{"class": listed["label"].map(kinds)},
        catalogue_class=listed["catalogue_label"].map(kinds),
    )
    return {
        **work.provenance("python -m benchmarks.label_audit"),
        "database": f"{WHEEL.package} {WHEEL.version} [{WHEEL.sha256[:8]}], {FOLDER}",
        "classes": per_class(args).to_dict("index"),
        "tests": {
            split: with_and_without(predictions, suspects, clusters)
            for split, predictions in tested(work).items()
        },
        "listed": json.loads(listed[COLUMNS].to_json(orient="records")),
    }  # fmt: skip


def write_folder(work: Workspace, folder: Path) -> dict[str, int]:
    """A data folder in the competition's format: the data in use without suspects, part by part.

    Returns how many proteins each part keeps.
    """
    check_new(folder)
    args = audit(work)
    suspects = set(args.loc[args["suspect"], "sequence"])
    kept = {
        name: [i for i, r in enumerate(getattr(work.data, name)) if r.sequence not in suspects]
        for name in PARTS
    }
    for name, positions in kept.items():
        records = getattr(work.data, name)
        write_fasta(folder / f"{name}.fasta", [records[i] for i in positions])
    if (labels := work.data.test_labels) is not None:
        rows = [f"{work.data.test[i].id},{labels[i]}\n" for i in kept["test"]]
        write_text(folder / KEY, "id,label\n" + "".join(rows))
    return {name: len(positions) for name, positions in kept.items()}


def show(result: dict) -> None:
    """Print the tables of `evaluate`; of what is listed, how often each gene comes."""
    classes = pd.DataFrame.from_dict(result["classes"], orient="index")
    print(classes.T.assign(all=classes.sum()).to_string(), "\n")
    listed = pd.DataFrame(result["listed"], columns=COLUMNS)
    keys = ["reason", "class", "gene", "catalogue_class", "catalogue_gene"]
    genes = listed.groupby(keys, dropna=False).size().rename("proteins").reset_index()
    print(genes.sort_values(["reason", "proteins"], ascending=[True, False]).to_string(), "\n")
    for split, test in result["tests"].items():
        print(f"{split}: {test['suspects']} of {test['proteins']} proteins are suspect")
        print(pd.DataFrame(test["rows"]).set_index("method").round(4).to_string(), "\n")


def main(arguments: list[str] | None = None) -> int:
    """Audit, print the tables, write ``results/label_audit.json``, or write a data folder."""
    parser = argparse.ArgumentParser("python -m benchmarks.label_audit", description=__doc__)
    parser.add_argument("--write", metavar="DIR", type=Path, help="only write a data folder")
    folder = parser.parse_args(arguments).write

    def run() -> None:
        work = open_workspace()
        if folder:
            print(f"{folder}: {write_folder(work, folder)}")
            return
        result = evaluate(work)
        show(result)
        write_text(RESULTS / "label_audit.json", json.dumps(result, indent=1) + "\n")

    return exit_code(run, folder or RESULTS)


if __name__ == "__main__":
    sys.exit(main())
