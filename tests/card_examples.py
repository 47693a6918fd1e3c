"""Measurements for the tests of README's and the card's tables."""


def ladder_row(split, method, f1):
    bins = [{"bin": "no hit", "n": 1200, "classes": 3, "macro_f1": f1, "accuracy": 0.5},
            {"bin": "<30 %", "n": 0, "classes": 0, "macro_f1": None, "accuracy": None}]  # fmt: skip
    return {"split": split, "method": method, "macro_f1": f1, "accuracy": 0.75, "ece": 0.0312,
            "ece_calibrated": 0.0601, "ece_calibrated_low": 0.04, "ece_calibrated_high": 0.1149,
            "ci_low": 0.1, "ci_high": 0.9, "minutes": 2.34, "proteins": 1200,
            "bins": bins}  # fmt: skip


SOURCE = {"command": "climb", "data": "d", "weights": "w", "profile": "p"}
SCORED = {"ci_low": 0.5, "ci_high": 0.975, "gain": 0.0376, "gain_low": 0.0013, "gain_high": 0.0707}
LADDER = SOURCE | {
    "rows": [ladder_row(s, m, f) for s in ("random", "homology")
             for m, f in (("majority", 0.1), ("best_hit", 0.4), ("hybrid", 0.6))],
}  # fmt: skip
EXTERNAL = SOURCE | {
    "clusters": 132, "support": {"rifampin": 9, "polymyxin": 3}, "counts": {"kept": 1012},
    "rows": [
        {"method": method, "macro_f1": f1, "accuracy": 0.9744, "calibration_error": 0.0113,
         **SCORED, **more,
         "identity": [{"bin": "no hit", "n": 1000, "classes": 2, "macro_f1": f1},
                      {"bin": "<30 %", "n": 0, "classes": 0, "macro_f1": None}]}
        for method, f1, more in (
            ("best_hit", 0.9, {}),
            ("hybrid", 0.95, {"threshold": 0.9, "answered": 0.96, "error_answered": 0.001}),
        )
    ],
}  # fmt: skip
NEGATIVES = SOURCE | {
    "classes": 15, "counts": {"resemble none": 8012, "resemble an ARG": 190}, "args": 3236,
    "clusters": 7001,
    "rows": [
        {"method": "best_hit", "called_arg": 0.00136, "called_arg_resembling": 0.92,
         "recall": 0.98, "recall_answered": None,
         "taken_for": {}, "macro_f1": 0.9, **SCORED},
        {"method": "hybrid", "called_arg": 0.0055, "called_arg_answered": 0.0, "answered": 0.43,
         "recall": 0.997, "recall_above": 0.9912, "recall_answered": 0.978,
         "decision_threshold": 0.613, "called_arg_above": 0.0029,
         "called_arg_resembling": None, "macro_f1": 0.93, **SCORED,
         "taken_for": {"rifampin": 1, "beta_lactam": 7, "aminoglycoside": 20, "polymyxin": 2}},
    ],
}  # fmt: skip
ROWS = [
    {"split": "random", "method": "best_hit", "macro_f1": 0.993, "profile": "laptop"},
    {"split": "homology", "method": "best_hit", "macro_f1": 0.32, "profile": "laptop"},
    {"split": "random", "method": "majority", "macro_f1": 0.9301, "profile": "laptop",
     "ci_low": None, "ci_high": None},
    {"split": "homology", "method": "lora_blocks", "macro_f1": 0.4123, "accuracy": 0.7,
     "trainable_parameters": 12345, "minutes": 3.21, "ci_low": 0.35, "ci_high": 0.4666,
     "profile": "laptop"},
    {"split": "homology", "method": "lora_blocks", "macro_f1": 0.52, "profile": "full"},
]  # fmt: skip
TIMES = [
    {"form": "amx", "profile": "laptop", "date": "2026-01-01", "cores": 2, "prepared": 60,
     "seconds": {"01_a": 30, "02_b": 90.0}},
    {"form": "avx2", "profile": "short", "date": "2026-01-02", "cores": 2, "prepared": 120,
     "seconds": {"01_a": 60, "02_b": 180.0}},
]  # fmt: skip
SPEED = {
    "labels": {"naive": "fair-esm", "ours": "this library", "ours_top3": "top three"},
    "residues_per_second": {
        "features": {"naive": 1200.4, "ours": 13200.0},
        "training": {"naive": 680.0, "ours": 3000.0, "ours_top3": 5000.0},
    },
    "features_vs_naive": 11.04, "lora_vs_naive": 4.41, "gemm_fraction": 0.3,
    "protocol_vs_naive": 512.3,
    "peak_rss_mb": {"features:naive": 1246.5, "training:naive": 4715.4},
    "features_peak_rss_mb": {"2000": 594.0, "8000": 603.4},
    "cores": 2, "device": "cpu", "torch": "2.13.0", "transformers": "5.23.0", "peft": "0.21.2",
    "weights": "official [46f002a9]", "repeats": 3,
}  # fmt: skip
