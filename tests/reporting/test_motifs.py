"""Motifs: located with their distances, tested by heads that have not seen relatives, drawn."""

import numpy as np
import pandas as pd
import plot_examples as examples
import pytest
import synthetic

from arg_utils.data.proteins import Proteins
from arg_utils.methods.attribution import Attribution
from arg_utils.methods.frozen import LinearHead
from arg_utils.reporting import motifs

rng = np.random.default_rng(3)
CLASS_A, CLASS_B, ABC_F = motifs.FAMILIES


def spacer(length):
    """Random residues in which no motif can begin or end."""
    return "".join(rng.choice(list("ACEFILMPQRVWY"), length))


def class_a(gap=56):
    return f"M{spacer(64)}STFK{spacer(gap)}SDN{spacer(101)}KTG{spacer(50)}"


def class_b(after="H"):
    return f"M{spacer(100)}HAHAD{after}AG{spacer(120)}"


WALKER = f"M{spacer(35)}GANGIGKS{spacer(290)}GKNGVGKT{spacer(99)}"


@pytest.mark.parametrize(
    ("family", "sequence", "letters", "names"),
    [
        (CLASS_A, class_a(), "SKSDNKTG", ["SxxK", "SDN", "KTG"]),
        (CLASS_B, class_b("H"), "HHDH", ["HxHxDH"]),
        (CLASS_B, class_b("R"), "HHD", ["HxHxD"]),
        (ABC_F, WALKER, "GGGKSGGGKT", ["GxxGxGKS", "GxxGxGKT"]),
    ],
)
def test_a_motif_is_its_residues_and_has_a_name(family, sequence, letters, names):
    motif = motifs.motif_residues(family, sequence)
    assert "".join(sequence[i] for i in motif) == letters
    named = motifs.motif_names(sequence, motif)
    assert list(named.values()) == names
    assert min(named) == motif[0] + (len(names[0]) - 1) / 2, "the middle of the first part"


def test_motifs_at_other_distances_do_not_count():
    assert motifs.motif_residues(CLASS_A, class_a(gap=90)).size == 0
    assert motifs.motif_residues(CLASS_A, class_a()[50:]).size == 0, "too near the start"
    assert motifs.motif_residues(ABC_F, WALKER[:200]).size == 0, "one domain of two"
    assert motifs.motif_residues(CLASS_B, class_a()).size == 0


def data():
    """Four families of three relatives each with a class A motif, and others without any."""
    enzymes = [class_a() for _ in range(12)]
    plain = [synthetic.protein(rng, 50) for _ in range(12)]
    labels = [motifs.BETA_LACTAM] * 12 + [motifs.MLS, 0, 14] * 4
    return Proteins([*enzymes, *plain], np.array(labels))


@pytest.fixture
def answering(monkeypatch, weights):
    """Heads that always answer beta-lactam; attributions that are the residues' positions."""
    learned = []

    class Head:
        def log_probabilities(self, sequences):
            return np.eye(15)[[motifs.BETA_LACTAM for _ in sequences]]

    def fit(sequences, labels):
        learned.append(list(sequences))
        return Head(), None

    def attribute(explained, sequences, labels, width, tolerance):
        for sequence, label in zip(sequences, labels, strict=True):
            values = np.arange(len(sequence), dtype=float)
            yield Attribution(int(label), values, -values)

    def cluster(sequences, identity, coverage):
        return np.arange(len(sequences)) // 3  # relatives stand side by side

    monkeypatch.setattr(motifs, "cluster", cluster)
    monkeypatch.setattr(LinearHead, "fit", staticmethod(fit))
    monkeypatch.setattr(motifs, "attribute", attribute)
    return learned


def test_one_protein_per_cluster_and_no_relative_in_training(answering, weights):
    proteins = data()
    table = motifs.motif_attributions(proteins, weights, progress=False)
    assert table["family"].tolist() == [CLASS_A] * 4
    assert table["protein"].tolist() == [0, 3, 6, 9]
    assert table["right"].all()
    for protein in table["protein"]:
        family = proteins.sequences[protein : protein + 3]
        assert any(not set(family) & set(sequences) for sequences in answering)
    assert all(set(proteins.sequences[-2:]) <= set(sequences) for sequences in answering)
    for row in table.to_dict("records"):
        np.testing.assert_array_equal(row["gradients"], -row["occlusion"])
        assert len(row["gradients"]) == len(row["sequence"])
    assert len(motifs.motif_attributions(proteins, weights, most=2, progress=False)) == 2


def test_wrong_answers_are_counted_but_not_attributed(answering, weights, monkeypatch):
    proteins = data()
    monkeypatch.setattr(motifs, "BETA_LACTAM", 3)  # what the heads answer
    table = motifs.motif_attributions(proteins, weights, progress=False)
    assert not table["right"].any()
    assert table["gradients"].isna().all()
    tests, proteins = motifs.motif_tests(table)
    assert tests.empty
    assert proteins.empty


def test_a_raised_motif_is_told_from_one_that_is_not():
    tests, proteins = motifs.motif_tests(examples.ATTRIBUTED)
    by = tests.set_index(["family", "method"])
    raised, plain = by.loc[(CLASS_A, "integrated gradients")], by.loc[(CLASS_A, "occlusion")]
    assert raised["p"] < 0.01
    assert raised["auc"].low > 0.9
    assert raised["auc"].low <= raised["auc"].value <= raised["auc"].high
    assert plain["p"] > 0.05
    assert plain["auc"].low < 0.5 < plain["auc"].high
    assert raised["proteins"] == len(proteins) / 4 == len(examples.ATTRIBUTED) / 2
    assert motifs.motif_table(tests)["p"].tolist() == [f"{p:.3f}" for p in tests["p"]]


def test_the_same_amino_acids_elsewhere_are_another_comparison():
    """High wherever there is a histidine: nothing special about those of the motif."""
    sequence = class_b() + "HH"
    motif = motifs.motif_residues(CLASS_B, sequence)
    values = np.array([float(c == "H") for c in sequence])
    assert motifs.motif_auc(values, motif) > 0.7
    assert motifs.same_residue_auc(values, motif[:2], sequence) == 0.5
    assert np.isnan(motifs.same_residue_auc(values, motif[2:3], sequence)), "the only D"


def test_an_interval_is_that_of_the_mean():
    low, high = motifs.mean_interval(pd.Series([0.0, 1.0] * 50 + [np.nan]))[1:]
    assert (low, high) == pytest.approx((0.4, 0.6), abs=0.02)
    assert np.isnan(motifs.mean_interval(pd.Series([], dtype=float)).value)
