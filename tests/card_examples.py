"""What tests of README's and the card's tables have measured."""


def ladder_row(split, method, f1):
    bins = [{"bin": "no hit", "n": 1200, "classes": 3, "macro_f1": f1, "accuracy": 0.5},
            {"bin": "<30 %", "n": 0, "classes": 0, "macro_f1": None, "accuracy": None}]  # fmt: skip
    return {"split": split, "method": method, "macro_f1": f1, "accuracy": 0.75, "ece": 0.0312,
            "ece_calibrated": 0.0601, "ece_calibrated_low": 0.04, "ece_calibrated_high": 0.1149,
            "ci_low": 0.1, "ci_high": 0.9, "minutes": 2.34, "proteins": 1200,
            "bins": bins}  # fmt: skip


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
