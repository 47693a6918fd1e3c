import sys

import numpy as np
import pytest
import synthetic

from arg_utils.errors import UserError
from arg_utils.labels import INDEX, NONARG
from benchmarks.curated import NO_CLASS, TWO_CLASSES, curated_classes, family_class


@pytest.mark.parametrize(
    ("name", "description", "kind"),
    [
        ("bla_class_A-NCBIFAM", "NCBIFAM: class A beta-lactamase", "beta_lactam"),
        ("vanJ-NCBIFAM", "NCBIFAM: teicoplanin resistance protein VanJ", "glycopeptide"),
        ("D_ala_D_lac_A-NCBIFAM", "NCBIFAM: D-alanine--(R)-lactate ligase VanA", "glycopeptide"),
        ("D_ala_D_lac-NCBIFAM", "NCBIFAM: D-alanine--(R)-lactate ligase", None),
        ("MerA-TIGRFAMs", "TIGRFAMs: mercury(II) reductase", None),
        ("x", "", None),
    ],
)
def test_the_class_of_a_family_is_told_by_its_names(name, description, kind):
    assert family_class(name, description) == (INDEX[kind] if kind else None)


def write_family(handle, sequence, name, description, cutoff):
    """An HMM of one sequence, its trusted cut-offs in bits."""
    import pyhmmer

    alphabet = pyhmmer.easel.Alphabet.amino()
    text = pyhmmer.easel.TextSequence(name=name, sequence=sequence).digitize(alphabet)
    builder = pyhmmer.plan7.Builder(alphabet)
    hmm, _, _ = builder.build(text, pyhmmer.plan7.Background(alphabet))
    hmm.description, hmm.cutoffs.trusted = description, (cutoff, cutoff)
    hmm.write(handle)


def test_above_the_trusted_cut_off_a_protein_is_an_arg_of_the_familys_class(tmp_path):
    pytest.importorskip("pyhmmer")
    first, second, third = synthetic.families(np.random.default_rng(4), 3, 1, length=120)
    families = [
        (first, "bla-NCBIFAM", "class A beta-lactamase", 150),
        (second, "mer-NCBIFAM", "mercury(II) reductase", 150),
        (third, "a-NCBIFAM", "tetracycline efflux", 150),
        (third, "b-NCBIFAM", "rifampin ADP-ribosyltransferase", 150),
    ]
    with open(tmp_path / "x.hmm", "wb") as handle:
        for family in families:
            write_family(handle, *family)
    other = synthetic.protein(np.random.default_rng(5), 120)
    below = first[:60]  # a sure hit, but of fewer bits
    told = curated_classes([other, second, first, below, third], tmp_path / "x.hmm")
    assert told.tolist() == [NONARG, NO_CLASS, INDEX["beta_lactam"], NONARG, TWO_CLASSES]


def test_without_pyhmmer_the_command_says_where_it_is(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyhmmer", None)
    with pytest.raises(UserError, match=r"run benchmarks/environment\.py"):
        curated_classes(["M"], tmp_path / "x.hmm")
