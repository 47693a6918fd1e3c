import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import synthetic

from arg_utils.data.folders import load_dataset
from arg_utils.data.proteins import Record
from arg_utils.labels import CLASSES, INDEX, NONARG
from benchmarks import label_audit
from benchmarks.blast_database import Protein
from benchmarks.label_audit import REGULATES, compared, per_class, reasons, symbol_class

BETA_LACTAM, GLYCOPEPTIDE, MULTIDRUG = (
    INDEX[name] for name in ("beta_lactam", "glycopeptide", "multidrug")
)


@pytest.mark.parametrize(
    ("gene", "kind"),
    [
        ("Escherichia_coli_ampC", "beta_lactam"),
        ("Pseudomonas_aeruginos_catB7", "chloramphenicol"),
        ("tet(M)", "tetracycline"),
        ("APH(3')-Ia", "aminoglycoside"),
        ("QnrB1", "quinolone"),
        ("vanXA", "glycopeptide"),
        ("Other_streptomycin_resistance_protein", None),
        ("abcA", None),
    ],
)
def test_what_a_gene_symbol_stands_for(gene, kind):
    assert symbol_class(gene) == (INDEX[kind] if kind else None)


def test_every_class_of_args_has_symbols():
    assert set(label_audit.SYMBOLS) == set(CLASSES) - {"nonarg"}


def test_a_counterpart_is_near_over_the_whole_length(monkeypatch):
    rng = np.random.default_rng(0)
    whole = synthetic.protein(rng, 200)
    other = synthetic.protein(rng, 200)
    catalogue = [
        Protein("tet(Q)", "tetracycline resistance protein", "W0", whole),
        Protein("qacE", "quaternary ammonium efflux", "W1", other),
    ]
    monkeypatch.setattr(label_audit, "read_catalogue", lambda: catalogue)
    asked = [
        synthetic.mutant(rng, whole, 0.99),
        whole[:120],  # covers too little of the catalogue's
        synthetic.mutant(rng, whole, 0.8),
        other,
        whole + synthetic.protein(rng, 100),  # too little of it is covered
    ]
    told = compared(asked)
    assert told.index.tolist() == [0, 3]
    assert told["catalogue_gene"].tolist() == ["tet(Q)", "qacE"]
    assert told["catalogue_label"].tolist()[0] == INDEX["tetracycline"]
    assert np.isnan(told["catalogue_label"][3])


def test_the_gene_is_named_before_the_mechanism():
    header = "a|FEATURES|SARG|beta_lactam|TEM-1|enzymatic inactivation"
    records = [Record("a", header, "MKV", BETA_LACTAM), Record("b", "sp|b", "MKV", NONARG)]
    work = SimpleNamespace(labelled=(records, pd.DataFrame({"cluster": [4, 5]})))
    (row,) = label_audit.labelled_args(work).to_dict("records")
    assert (row["gene"], row["cluster"], row["length"]) == ("TEM-1", 4, 3)


def args(*rows):
    """Gene, label, length, cluster, catalogue names and label of each ARG."""
    columns = ["gene", "label", "length", "cluster", "names", "catalogue_label"]
    return pd.DataFrame(rows, columns=columns).astype({"catalogue_label": float})


def test_reasons_by_catalogue_name_length_and_cluster():
    same = [("vanB", GLYCOPEPTIDE, 340, 0, None, None)] * 8
    table = args(
        *same,
        ("vanB", GLYCOPEPTIDE, 340, 7, None, None),
        ("vanB", GLYCOPEPTIDE, 340, 7, "vanB D-alanine--D-lactate ligase", GLYCOPEPTIDE),
        ("vanB", GLYCOPEPTIDE, 160, 0, None, None),
        ("vanR", GLYCOPEPTIDE, 230, 8, None, None),
        ("x", BETA_LACTAM, 230, 9, "blaI penicillinase repressor BlaI", BETA_LACTAM),
        ("IMP-1", BETA_LACTAM, 230, 9, "blaIMP metallo-beta-lactamase", BETA_LACTAM),
        ("x", BETA_LACTAM, 300, 1, "tet(X) destructase", INDEX["tetracycline"]),
        ("fexB", MULTIDRUG, 470, 2, "fexB efflux", INDEX["chloramphenicol"]),
        ("tet(A)", BETA_LACTAM, 400, 3, None, None),
        ("tet(A)", BETA_LACTAM, 400, 3, "blaA", BETA_LACTAM),
    )
    assert reasons(table).tolist() == [
        *[""] * 8,
        "unlike most of its name",
        "",
        "a fragment",
        REGULATES,
        REGULATES,
        "",
        "another class in the catalogue",
        "a pump of one drug or of many",
        "another class by its gene symbol",
        "",
    ]


def test_a_table_per_class_counts_what_is_told():
    table = args(
        ("a", BETA_LACTAM, 9, 0, "", BETA_LACTAM),
        ("b", BETA_LACTAM, 9, 0, "", GLYCOPEPTIDE),
        ("c", BETA_LACTAM, 9, 0, None, None),
    ).assign(identity=[1.0, 0.96, np.nan], reason=["", "r", ""], suspect=[False, True, False])
    assert per_class(table).to_dict("index") == {
        "beta_lactam": {
            "ARGs": 3,
            "with a counterpart": 2,
            "whose class is told": 2,
            "of the same class": 1,
            "r": 1,
            "suspect": 1,
        }
    }


@pytest.mark.usefixtures("settings")
def test_scores_with_and_without_suspects_are_written(work, monkeypatch, tmp_path, capsys):
    """A tested protein that the catalogue gives another class is listed, and left out."""
    arg = next(i for i, label in enumerate(work.test.labels) if label == BETA_LACTAM)
    tested = work.test.sequences[arg]
    catalogue = [Protein("van", "glycopeptide resistance", "W0", tested)]
    monkeypatch.setattr(label_audit, "read_catalogue", lambda: catalogue)
    monkeypatch.setattr(label_audit, "METHODS", ("best_hit", "majority"))
    monkeypatch.setattr(label_audit, "open_workspace", lambda: work)
    monkeypatch.setattr(label_audit, "RESULTS", tmp_path)
    assert label_audit.main([]) == 0
    assert "1 of" in capsys.readouterr().out
    written = json.loads((tmp_path / "label_audit.json").read_text())
    (row,) = written["listed"]
    assert (row["class"], row["catalogue_class"], row["identity"]) == (
        "beta_lactam",
        "glycopeptide",
        1,
    )
    assert row["reason"] == "another class in the catalogue"
    random = written["tests"]["random"]
    assert (random["proteins"], random["suspects"]) == (len(work.test.labels), 1)
    assert random["share"] == pytest.approx(1 / random["proteins"])
    best, majority = random["rows"]
    assert best["wrong_suspect"] == 0
    assert majority["wrong_suspect"] == 1
    assert majority["with"] != majority["without"]
    assert best["with_low"] <= best["with"] <= best["with_high"]
    assert written["tests"]["homology"]["proteins"] > 0

    folder = tmp_path / "audited"
    assert label_audit.main(["--write", str(folder)]) == 0
    audited = load_dataset(folder)
    others = np.arange(len(work.data.test)) != arg
    assert [r.sequence for r in audited.train] == [r.sequence for r in work.data.train]
    assert [r.label for r in audited.val] == [r.label for r in work.data.val]
    kept = [r.id for r, keep in zip(work.data.test, others, strict=True) if keep]
    assert [r.id for r in audited.test] == kept
    assert audited.test_labels.tolist() == work.data.test_labels[others].tolist()
    assert label_audit.main(["--write", str(folder)]) == 2
    assert "is not an empty folder" in capsys.readouterr().err
