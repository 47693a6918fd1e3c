import pytest

from arg_utils.labels import (
    CLASSES,
    DISPLAY_NAMES,
    INDEX,
    NONARG,
    NUM_CLASSES,
    SYNONYMS,
    class_index,
    header_class,
    parse_label,
    unknown_classes,
)


def test_indices_are_the_competitions():
    """Pinned one by one: a submission is nothing but these numbers."""
    assert dict(enumerate(CLASSES)) == {
        0: "aminoglycoside",
        1: "macrolide-lincosamide-streptogramin",
        2: "polymyxin",
        3: "fosfomycin",
        4: "trimethoprim",
        5: "bacitracin",
        6: "quinolone",
        7: "multidrug",
        8: "chloramphenicol",
        9: "tetracycline",
        10: "rifampin",
        11: "beta_lactam",
        12: "sulfonamide",
        13: "glycopeptide",
        14: "nonarg",
    }
    assert (NUM_CLASSES, NONARG) == (15, 14)
    assert [INDEX[name] for name in CLASSES] == list(range(15))


def test_every_class_has_a_name_of_its_own_that_fits_beside_an_axis():
    assert len(set(DISPLAY_NAMES)) == 15
    assert max(map(len, DISPLAY_NAMES)) <= 15
    assert [DISPLAY_NAMES[i] for i in (1, 11, 14)] == ["MLS", "beta-lactam", "not an ARG"]


def test_a_label_is_a_name_or_an_index():
    assert [parse_label(name) for name in CLASSES] == list(range(15))
    assert [parse_label(str(index)) for index in range(15)] == list(range(15))
    assert parse_label(" 11\n") == parse_label(" beta_lactam ") == 11


@pytest.mark.parametrize("text", ["", "15", "-1", "1.0", "²", "٣", "penicillin", "s"])
def test_anything_else_is_refused(text):
    with pytest.raises(ValueError, match="is neither a class name nor an index 0-14"):
        parse_label(text)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("beta-lactam", "beta_lactam"),
        ("Beta Lactams", "beta_lactam"),
        ("β-lactam", "beta_lactam"),
        ("MLS", "macrolide-lincosamide-streptogramin"),
        ("macrolide/lincosamide/streptogramin", "macrolide-lincosamide-streptogramin"),
        ("Phenicols", "chloramphenicol"),
        ("rifamycin", "rifampin"),
        ("fluoroquinolone", "quinolone"),
        (" TETRACYCLINE ", "tetracycline"),
        ("non-ARG", "nonarg"),
    ],
)
def test_well_known_spellings_are_accepted(name, meant):
    assert class_index(name) == parse_label(name) == INDEX[meant]


def test_other_spellings_lead_to_one_class_each():
    assert {class_index(name) for name in SYNONYMS} <= set(range(NUM_CLASSES))
    assert not set(SYNONYMS) & set(CLASSES)
    assert class_index("novobiocin") is None


@pytest.mark.parametrize(
    ("header", "stated"),
    [
        ("A0A0E1JG76|FEATURES|UNIPROT|polymyxin|arnC", ("A0A0E1JG76", "polymyxin")),
        ("A1.1|FEATURES|NCBI| novel |macB|any words|0", ("A1.1", "novel")),
        ("sp|P07389|NAME_ECOLI Some protein", ("P07389", "nonarg")),
        ("sp|P1 words", ("P1", "nonarg")),
        ("|FEATURES|x|bacitracin|b", ("|FEATURES|x|bacitracin|b", "bacitracin")),
    ],
)
def test_a_header_states_accession_and_class(header, stated):
    assert header_class(header) == stated


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("A|FEATURES|NCBI", "names no class; write accession.*sp"),
        ("SEQ0", "'SEQ0' names no class"),
        ("tr|P1|x", "names no class"),
        ("sp|P1|BLAT_ECOLX|beta-lactam|TEM-1", "contradicts itself: sp.*'beta-lactam'"),
    ],
)
def test_a_header_without_class_or_with_two_is_refused(header, words):
    with pytest.raises(ValueError, match=words):
        header_class(header)


def test_unknown_classes_are_counted_and_the_nearest_suggested():
    lines = {"tetracyclin": [4, 3, 9], "penicillin": [7]} | {f"x{i}": [i + 20] for i in range(5)}
    said = str(unknown_classes("a.csv", "label", "are none", lines))
    assert said.startswith("a.csv, line 3: 9 labels are none, the first here: 'tetracyclin' (3 tim")
    assert "'tetracycline'?), 'penicillin' (once" in said
    assert "'x2' (once) and 2 more; use aminoglycoside, " in said
