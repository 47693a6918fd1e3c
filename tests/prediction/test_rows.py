"""What a row says of a protein, from made-up hits."""

import numpy as np
import pandas as pd
import pytest

from arg_utils.labels import INDEX, NONARG, NUM_CLASSES
from arg_utils.methods.evidence import NOISE
from arg_utils.prediction.query import Query
from arg_utils.prediction.rows import Scores, result_frame

REFERENCES = pd.DataFrame(
    [
        ("A1", "CTX-M-15", INDEX["beta_lactam"]),
        ("A2", "dfrA1", INDEX["trimethoprim"]),
        ("A3", "vanXA", INDEX["glycopeptide"]),
        ("N1", "", NONARG),
    ],
    columns=["id", "gene", "label"],
).assign(sequence="MKVLA")
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


def test_the_input_decides_flags():
    assert row(length=30, flags=("partial_gene",))["flags"] == "partial_gene,short"
    assert row(length=1023)["flags"] == "cut_at_1022"


def test_a_protein_comes_before_a_profile_of_more_bits():
    found = row([(1, 400.0, {"profile": True}), (0, 300.0, {})], alone="trimethoprim")
    assert (found["nearest_id"], found["flags"]) == ("A1", "")
    assert found["agree"] == "yes"  # the best hit is the profile's, and its class trimethoprim


def test_a_low_probability_is_uncertain():
    assert row(probability=0.49)["uncertain"] == "yes"
