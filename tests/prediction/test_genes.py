import pytest

from arg_utils.prediction.genes import cautions, gene_family


@pytest.mark.parametrize(
    ("gene", "family"),
    [
        ("OXA-114a", "OXA"),
        ("mcr-1.10", "mcr-1"),
        ("OXY-2-7", "OXY-2"),
        ("APH(3')-IIIa", "APH(3')"),
        ("Acinetobacter_baumannii_AmpC_beta-lactamase", "AmpC"),
        ("dfrA6_from_Proteus_mirabilis", "dfrA"),
        ("tet(X3)", "tet(X3)"),
        ("sul1", "sul"),
        ("y56", "y56"),
        ("", ""),
    ],
)
def test_alleles_are_of_a_family(gene, family):
    assert gene_family(gene) == family


@pytest.mark.parametrize(
    ("gene", "flags"),
    [
        ("NDM-1", []),
        ("CRP-1", []),  # a beta-lactamase, not the regulator CRP
        ("vanA", []),
        ("vanS", ["regulator"]),
        ("vanHA", ["accessory"]),
        ("Escherichia_coli_acrA", ["accessory", "housekeeping_relative"]),
        ("MexB", ["housekeeping_relative"]),
        ("bacA", ["housekeeping_relative"]),
        ("tet(M)", []),
    ],
)
def test_what_the_gene_itself_is(gene, flags):
    assert cautions(gene, 0.99) == flags


@pytest.mark.parametrize(
    "gene", ["tet(M)", "vanA", "mecA", "sul1", "erm(B)", "mcr-1.1", "FosA3", "cfr(C)"]
)
def test_only_relatives_of_an_acquired_gene_are_cautioned(gene):
    assert cautions(gene, 0.4) == ["housekeeping_relative"]
    assert cautions(gene, 0.8) == []


@pytest.mark.parametrize("gene", ["PDC-5", "CTX-M-15", "OKP-B-18", "BlaB", "L1_beta-lactamase"])
def test_only_distant_relatives_of_beta_lactamases_are_cautioned(gene):
    assert cautions(gene, 0.27) == ["housekeeping_relative"]
    assert cautions(gene, 0.5) == cautions("arr-3", 0.27) == []
