"""Wrong answers beside what a search says of them, and the reasons that follow."""

import numpy as np
import pandas as pd
import pytest
import workspaces

from arg_utils.experiments.outcomes import Outcome
from arg_utils.reporting.mistakes import confused_with_genes, likely_reason

EYE = np.eye(15, dtype=np.float32)

pytestmark = pytest.mark.usefixtures("settings")


def outcome(part, true, predicted):
    answers = {part: EYE[predicted]}
    return Outcome("frozen_linear", answers, {part: true}, pd.DataFrame(), 0, 0.0)


def test_each_protein_stands_beside_its_nearest_known_one(unlabelled):
    true = unlabelled.val.labels
    predicted = true.copy()
    predicted[[0, -1]] = 10, 0  # an aminoglycoside protein, and one that is not an ARG
    table = confused_with_genes(unlabelled, outcome("val", true, predicted)).set_index("protein")
    entries = workspaces.proteins()
    first = next(name for name, label, _ in entries["val"] if label == 0)
    relatives = {f"gene{name}" for name, label, _ in entries["train"] if label == 0}
    row = table.loc[f"gene{first}"]
    assert row[["true", "predicted", "best hit says"]].tolist() == [
        "aminoglycoside", "rifampin", "aminoglycoside",
    ]  # fmt: skip
    assert row["probability"] == 1
    assert row["nearest known protein"] in relatives
    assert 70 < float(row["identity"].removesuffix("%")) < 100
    assert row["likely reason"].startswith("overlooked")
    other = next(name for name, label, _ in reversed(entries["val"]) if label == 14)
    assert table.loc[other, ["true", "best hit says"]].tolist() == ["not an ARG"] * 2


def test_a_labelled_test_part_and_no_mistake_at_all(work):
    true = work.test.labels
    assert len(confused_with_genes(work, outcome("test", true, true))) == 0
    table = confused_with_genes(work, outcome("test", true, np.roll(true, 1)))
    assert table["protein"].str.startswith("SEQ").all()  # a test header is an id alone


def hit(identity=0.4, query=0.9, target=0.9):
    return {"identity": identity, "query_coverage": query, "target_coverage": target}


@pytest.mark.parametrize(
    ("gene", "true", "nearest", "found", "reason"),
    [
        ("tetR", "tetracycline", "tetracycline", hit(), "regulator"),
        ("x", "MLS", "multidrug", hit(0.95), "label doubtful: its near-copy is multidrug"),
        ("ugd", "polymyxin", "not an ARG", hit(np.nan), "label doubtful: genomes have it"),
        ("vanXA", "glycopeptide", "glycopeptide", hit(), "accessory"),
        ("x", "not an ARG", "not an ARG", hit(np.nan), "no relative: the call rests"),
        ("dfrA1", "trimethoprim", "not an ARG", hit(np.nan), "no relative to recognise it by"),
        ("x", "MLS", "quinolone", hit(query=0.36), "fusion? the relative is 36% of it"),
        ("x", "MLS", "quinolone", hit(target=0.5), "fragment? 50% of the relative"),
        ("x", "MLS", "MLS", hit(), "overlooked"),
        ("x", "MLS", "multidrug", hit(), "superfamily: its relative is multidrug"),
        ("x", "MLS", "quinolone", hit(), "no near relative of either class"),
    ],
)
def test_the_reason_follows_from_name_class_identity_and_coverage(
    gene, true, nearest, found, reason
):
    said = likely_reason(gene, true, "multidrug", nearest, found)
    assert said.startswith(reason)
    assert len(said) <= 50  # which a notebook's table shows whole
