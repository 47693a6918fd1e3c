from arg_utils import card_tables


def ladder_row(split, method, f1):
    bins = [{"bin": "no hit", "n": 1200, "classes": 3, "macro_f1": f1, "accuracy": 0.5},
            {"bin": "<30 %", "n": 0, "classes": 0, "macro_f1": None, "accuracy": None}]  # fmt: skip
    return {"split": split, "method": method, "macro_f1": f1, "accuracy": 0.75, "ece": 0.0312,
            "ece_calibrated": 0.0601, "ece_calibrated_low": 0.04, "ece_calibrated_high": 0.1149,
            "ci_low": 0.1, "ci_high": 0.9, "proteins": 1200, "bins": bins}  # fmt: skip


LADDER = {
    "command": "climb", "data": "d", "weights": "w", "profile": "p",
    "rows": [ladder_row(s, m, f) for s in ("random", "homology")
             for m, f in (("majority", 0.1), ("best_hit", 0.4), ("hybrid", 0.6))],
}  # fmt: skip

SCORED = {"gain": 0.0376, "gain_low": 0.0013, "gain_high": 0.0707}
EXTERNAL = {
    "command": "test it", "data": "d", "weights": "w", "profile": "p", "clusters": 132,
    "support": {"rifampin": 9, "polymyxin": 3}, "counts": {"kept": 1012},
    "rows": [
        {"method": method, "macro_f1": f1, "ci_low": 0.5, "ci_high": 0.975, "accuracy": 0.9744,
         "calibration_error": 0.0113, **SCORED, **more,
         "identity": [{"bin": "no hit", "n": 1000, "classes": 2, "macro_f1": f1},
                      {"bin": "<30 %", "n": 0, "classes": 0, "macro_f1": None}]}
        for method, f1, more in (
            ("best_hit", 0.9, {}),
            ("hybrid", 0.95, {"threshold": 0.9, "answered": 0.96, "error_answered": 0.001}),
        )
    ],
}  # fmt: skip


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
        "| 0.031 |"
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
