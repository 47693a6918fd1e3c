from card_examples import EXTERNAL, LADDER, SCORED

from arg_utils.reporting import card_tables


def test_bins_show_two_methods_side_by_side():
    lines = card_tables.bins_table(LADDER).splitlines()
    assert lines[2] == "| random | no hit | 1,200 | 0.400, 0.500 | 0.600, 0.500 |"
    assert lines[3] == "| random | <30 % | 0 | –, – | –, – |"
    assert "| homology | all | 1,200 | 0.400, 0.750 | 0.600, 0.750 |" in lines
    assert "| homology | all: calibration error | 1,200 | 0.031 | 0.031 |" in lines
    perfect = "0.060 (0.040–0.115)"
    line = "| homology | all: the same, were its probabilities perfect | 1,200 |"
    assert f"{line} {perfect} | {perfect} |" in lines
    assert lines[-1].endswith("`climb`: data d, weights w, profile p.")


def test_another_ladder_has_a_row_a_split_and_method():
    rows = [row | SCORED for row in LADDER["rows"]]
    lines = card_tables.splits_table(LADDER | {"rows": rows}).splitlines()
    assert len({line.count("|") for line in lines[:-2]}) == 1
    assert lines[3] == (
        "| random | best_hit | 1,200 | 0.400 (0.100–0.900) | +0.038 (+0.001 to +0.071) | 0.750 "
        "| 0.031 | 2.3 |"
    )
    assert lines[-1] == "Measured by `climb`: data d, weights w, profile p."


def test_the_other_database_is_shown_with_its_bins():
    lines = card_tables.external_table(EXTERNAL).splitlines()
    assert lines[3] == (
        "| hybrid | 0.950 (0.500–0.975) | +0.038 (+0.001 to +0.071) | 0.974 | 0.011 |"
    )
    assert lines[5:] == [
        "| identity | proteins | classes | best_hit | hybrid |",
        "|---|---:|---:|---:|---:|",
        "| no hit | 1,000 | 2 | 0.900 | 0.950 |",
        "| <30 % | 0 | 0 | – | – |",
        "",
        "Macro-F1 over 2 classes; 1,012 proteins in 132 clusters. Above its threshold, hybrid "
        "answers 96.0%, of which 0.1% are wrong. Measured by `test it`: data d, weights w, "
        "profile p.",
    ]


NEGATIVES = {
    "command": "ask", "data": "d", "weights": "w", "profile": "p", "classes": 15,
    "counts": {"resemble none": 8012, "resemble an ARG": 190}, "args": 3236, "clusters": 7001,
    "rows": [
        {"method": "best_hit", "called_arg": 0.00136, "called_arg_resembling": 0.92,
         "taken_for": {}, "macro_f1": 0.9, "ci_low": 0.8, "ci_high": 0.95, "gain": 0.0,
         "gain_low": 0.0, "gain_high": 0.0},
        {"method": "hybrid", "called_arg": 0.0055, "called_arg_answered": 0.0, "answered": 0.43,
         "called_arg_resembling": None, "macro_f1": 0.93, "ci_low": 0.8, "ci_high": 0.97,
         "taken_for": {"rifampin": 1, "beta_lactam": 7, "aminoglycoside": 20, "polymyxin": 2},
         **SCORED},
    ],
}  # fmt: skip


def test_proteins_of_every_kind_are_shown_with_what_they_are_taken_for():
    head, _, best, hybrid, _, told = card_tables.negatives_table(NEGATIVES).splitlines()
    assert "of 8,012 proteins, called an ARG" in head
    assert "of 190 that resemble an ARG" in head
    assert "macro-F1, 15 classes" in head
    assert best == (
        "| best_hit | 0.14% | – | – | 92.0% | 0.900 (0.800–0.950) | +0.000 (+0.000 to +0.000) | – |"
    )
    assert hybrid == (
        "| hybrid | 0.55% | 0.00% | 43.0% | – | 0.930 (0.800–0.970) | +0.038 (+0.001 to +0.071) "
        "| aminoglycoside 20, beta-lactam 7, polymyxin 2 |"
    )
    assert "with the 3,236 ARGs" in told
    assert "`ask`: data d" in told
