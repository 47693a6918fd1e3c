import doctest

import pytest

from arg_utils import labels
from arg_utils.labels import (
    CLASSES,
    DISPLAY_NAMES,
    INDEX,
    NONARG,
    NUM_CLASSES,
    SYNONYMS,
    class_index,
    name_unknown,
    parse_label,
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
    assert (DISPLAY_NAMES[1], DISPLAY_NAMES[11], DISPLAY_NAMES[14]) == (
        "MLS", "beta-lactam", "not an ARG",
    )  # fmt: skip


def test_a_label_is_a_name_or_an_index():
    assert [parse_label(name) for name in CLASSES] == list(range(15))
    assert [parse_label(str(index)) for index in range(15)] == list(range(15))
    assert parse_label(" 11\n") == parse_label(" beta_lactam ") == 11


@pytest.mark.parametrize("text", ["", "15", "-1", "1.0", "²", "٣", "penicillin", "s"])
def test_anything_else_is_refused(text):
    with pytest.raises(ValueError, match="is neither one of the 15 class names nor an index 0-14"):
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


def test_unknown_classes_are_counted_and_the_nearest_suggested():
    said = name_unknown({"tetracyclin": 3, "penicillin": 1} | {f"x{i}": 1 for i in range(5)})
    assert said.startswith("'tetracyclin' (3 times; 'tetracycline'?), 'penicillin' (once")
    assert said.endswith("'x2' (once) and 2 more")


def test_the_examples_hold():
    assert doctest.testmod(labels).failed == 0
