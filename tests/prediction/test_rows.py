"""What a row says of a protein, from made-up hits."""

import re

import numpy as np
import pandas as pd
import pytest

from arg_utils.esm2.batches import MAX_RESIDUES
from arg_utils.files import ROOT
from arg_utils.labels import INDEX, NONARG, NUM_CLASSES
from arg_utils.methods.evidence import NOISE
from arg_utils.prediction.genes import ACCESSORY, REGULATOR, RELATIVE
from arg_utils.prediction.model import SHIPPED, read_manifest
from arg_utils.prediction.query import Query
from arg_utils.prediction.rows import COLUMNS, PLACE, SHORT, Scores, plain_args, result_frame

REFERENCES = pd.DataFrame(
    [
        ("A1", "CTX-M-15", "inactivation: class A", INDEX["beta_lactam"]),
        ("A2", "dfrA1", "", INDEX["trimethoprim"]),
        ("A3", "vanXA", "", INDEX["glycopeptide"]),
        ("N1", "", "", NONARG),
    ],
    columns=["id", "gene", "mechanism", "label"],
).assign(sequence="MKVLA")
MLS = "macrolide-lincosamide-streptogramin"
HIT = {"identity": 0.7, "query_coverage": 0.95, "target_coverage": 1.0, "profile": False}

SAME = {"identity": 0.97}


def row(hits=(), length=100, probability=0.9, alone="beta_lactam", flags=()):
    """The row of one protein, called a beta-lactamase, with hits (target, bits, further)."""
    p = np.full((1, NUM_CLASSES), (1 - probability) / (NUM_CLASSES - 1))
    p[0, INDEX["beta_lactam"]] = probability
    rows = [{"query": 0, "target": t, "bits": b, **HIT, **more} for t, b, more in hits]
    table = pd.DataFrame(rows, columns=["query", "target", "bits", *HIT])
    scores = Scores(p, table, np.array([INDEX[alone]]))
    query = Query("q", "M" * length, "here", flags=flags)
    return result_frame([query], scores, 0.5, REFERENCES).iloc[0]


def test_a_protein_is_described_by_its_nearest_arg():
    found = row([(0, 300.0, {}), (1, 80.0, {})])
    said = found[["class", "uncertain", "nearest_id", "nearest_gene", "gene_family", "agree"]]
    assert said.tolist() == ["beta_lactam", "no", "A1", "CTX-M-15", "CTX-M", "yes"]
    assert found["nearest_class"] == "beta_lactam"
    assert (found["nearest_bits"], found["nearest_identity"]) == (300, 0.7)
    assert (found["nearest_coverage"], found["reference_coverage"]) == (0.95, 1.0)
    assert (found["length"], found["reference_length"]) == (100, 5)
    assert found["flags"] == ""


def test_the_mechanism_is_that_of_the_nearest_arg_however_distant():
    distant = row([(3, 300.0, {}), (0, 80.0, {"identity": 0.25})])
    assert distant["mechanism"] == "inactivation: class A"
    assert row([(1, 80.0, {})])["mechanism"] == row([])["mechanism"] == ""


def test_what_is_no_arg_has_no_mechanism_of_resistance():
    hits = pd.DataFrame([{"query": 0, "target": 0, "bits": 80.0, **HIT}])
    other = np.eye(NUM_CLASSES)[[NONARG]]
    frame = result_frame([Query("q", "M" * 300, "here")], Scores(other, hits), 0.5, REFERENCES)
    assert frame.loc[0, ["class", "nearest_id", "mechanism"]].tolist() == ["nonarg", "A1", ""]


def test_each_column_and_flag_is_explained():
    text = (ROOT / "docs/predict.md").read_text(encoding="utf-8")
    flags = ["partial_gene", "short", f"cut_at_{MAX_RESIDUES}", "mostly_unknown"]
    flags += [REGULATOR, ACCESSORY, RELATIVE, "profile_only"]
    assert re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE) == [*COLUMNS, *PLACE, *flags]
    threshold = read_manifest(SHIPPED)["threshold"]
    for number in (f"at least {threshold:.3f}", f"more than {NOISE}", f"under {SHORT} residues"):
        assert number in text


def test_without_a_hit_the_evidence_is_empty():
    for hits in ([], [(0, float(NOISE), {})]):  # chance alone reaches that many bits
        found = row(hits)
        assert found[["nearest_id", "gene_family", "agree", "flags"]].tolist() == [""] * 4
        assert np.isnan(found["nearest_bits"])


def test_a_distant_relative_is_of_no_family():
    assert row([(0, 90.0, {"identity": 0.3})])["gene_family"] == ""
    assert row([(0, 90.0, {"query_coverage": 0.4})])["gene_family"] == ""


@pytest.mark.parametrize(
    ("hits", "flags"),
    [
        ([(1, 200.0, {"identity": 0.35})], "housekeeping_relative"),
        ([(1, 200.0, {"identity": 0.97})], ""),
        ([(2, 200.0, {})], "accessory"),
        ([(3, 300.0, {}), (0, 200.0, {})], "housekeeping_relative"),  # nearer to what is none
        ([(3, 300.0, {"profile": True}), (0, 200.0, SAME)], ""),  # the gene itself
        ([(3, 300.0, {}), (0, 200.0, SAME | {"target_coverage": 0.5})], "housekeeping_relative"),
        ([(0, 300.0, {}), (3, 200.0, {})], ""),
        ([(0, 200.0, {"profile": True})], "profile_only"),
    ],
)
def test_the_nearest_arg_decides_flags(hits, flags):
    assert row(hits)["flags"] == flags


KNOWN = [  # with the nearest ARG of the open data, as searched
    ("FolA of E. coli", "dfrA3", "trimethoprim", 0.512, 0.811, 0.988, 166, RELATIVE),
    ("FolP of E. coli", "sul4", "sulfonamide", 0.401, 0.908, 0.937, 203, RELATIVE),
    ("FusA (EF-G) of E. coli", "tet(T)", "tetracycline", 0.277, 0.962, 0.943, 258, RELATIVE),
    ("DdlB of E. coli", "vanG", "glycopeptide", 0.351, 0.984, 0.980, 184, RELATIVE),
    ("FtsI (PBP3) of E. coli", "mecD", "beta_lactam", 0.251, 0.643, 0.600, 107, RELATIVE),
    ("KsgA of E. coli", "erm(X)", MLS, 0.263, 0.960, 0.901, 83, RELATIVE),
    ("Uup of E. coli", "poxtA", MLS, 0.315, 0.773, 0.921, 244, RELATIVE),
    ("AcrB of E. coli", "acrF", "multidrug", 0.808, 0.990, 1.000, 1655, RELATIVE),
    ("MdfA of E. coli", "Escherichia_coli_mdfA", "multidrug", 0.997, 1, 1, 802, RELATIVE),
    ("ArnA of E. coli", "arnA", "polymyxin", 0.998, 1, 1, 1379, RELATIVE),
    ("UppP of E. coli", "bacA", "bacitracin", 1.0, 1, 0.996, 541, RELATIVE),
    ("AmpC of E. coli", "Escherichia_coli_ampC", "beta_lactam", 0.989, 1, 1, 786, RELATIVE),
    ("TEM-1", "TEM-1", "beta_lactam", 1, 1, 1, 577, ""),
    ("KPC-2", "KPC-2", "beta_lactam", 1, 1, 1, 590, ""),
    ("mecA", "mecA", "beta_lactam", 1, 1, 1, 1337, ""),
    ("arr-3", "arr-3", "rifampin", 1, 1, 1, 325, ""),
    ("dfrA1", "dfrA1", "trimethoprim", 1, 1, 1, 326, ""),
    ("sul1", "sul1", "sulfonamide", 1, 1, 1, 555, ""),
    ("tet(M)", "tet(M)", "tetracycline", 1, 1, 1, 1291, ""),
    ("erm(B)", "erm(B)", MLS, 1, 1, 1, 496, ""),
    ("vanA", "vanA", "glycopeptide", 1, 1, 1, 700, ""),
    ("vanHA", "vanHA", "glycopeptide", 1, 1, 1, 648, "accessory"),
]  # fmt: skip


@pytest.mark.parametrize("known", KNOWN, ids=[known[0] for known in KNOWN])
def test_flags_of_proteins_that_curators_know(known):
    _, gene, kind, identity, covered, covering, bits, flags = known
    references = pd.DataFrame(
        {"id": ["A"], "gene": [gene], "mechanism": "", "label": [INDEX[kind]], "sequence": "M"}
    )
    hit = {"identity": identity, "query_coverage": covered, "target_coverage": covering}
    hits = pd.DataFrame([{"query": 0, "target": 0, "bits": bits, "profile": False, **hit}])
    scores = Scores(np.full((1, NUM_CLASSES), 1 / NUM_CLASSES), hits, np.array([INDEX[kind]]))
    frame = result_frame([Query("q", "M" * 300, "here")], scores, 0.5, references)
    assert frame.iloc[0]["flags"] == flags


def test_the_input_decides_flags():
    assert row(length=30, flags=("partial_gene",))["flags"] == "partial_gene,short"
    assert row(length=1023)["flags"] == "cut_at_1022"
    scores = Scores(np.full((2, NUM_CLASSES), 1 / NUM_CLASSES))
    queries = [Query(x, x * 61 + "M" * 60, "here") for x in ("X", "XM")]
    assert list(result_frame(queries, scores, 0.5, None)["flags"]) == ["mostly_unknown", ""]


def test_a_protein_comes_before_a_profile_of_more_bits():
    found = row([(1, 400.0, {"profile": True}), (0, 300.0, {})], alone="trimethoprim")
    assert (found["nearest_id"], found["flags"]) == ("A1", "")
    assert found["agree"] == "yes"  # the best hit is the profile's, and its class trimethoprim


def test_a_low_probability_is_uncertain():
    assert row(probability=0.49)["uncertain"] == "yes"


def test_plain_args_are_neither_uncertain_nor_flagged():
    table = pd.DataFrame(
        [("multidrug", "no", ""), ("multidrug", "yes", ""), ("multidrug", "no", "short"),
         ("nonarg", "no", "")],
        columns=["class", "uncertain", "flags"],
    )  # fmt: skip
    assert plain_args(table).tolist() == [True, False, False, False]
