import json

import pytest
from card_examples import EXTERNAL, LADDER

from arg_utils import files
from arg_utils.reporting import readme_tables

ROWS = [
    {"split": "random", "method": "best hit", "macro_f1": 0.993, "profile": "laptop"},
    {"split": "homology", "method": "best hit", "macro_f1": 0.32, "profile": "laptop"},
    {
        "split": "random",
        "method": "seed only",
        "macro_f1": 0.9301,
        "profile": "laptop",
        "ci_low": None,
        "ci_high": None,
    },
    {
        "split": "homology",
        "method": "LoRA",
        "macro_f1": 0.4123,
        "accuracy": 0.7,
        "trainable_parameters": 12345,
        "minutes": 3.21,
        "ci_low": 0.35,
        "ci_high": 0.4666,
        "profile": "laptop",
    },
    {"split": "homology", "method": "LoRA", "macro_f1": 0.52, "profile": "full"},
]
TIMES = {"data": "open", "profile": "laptop", "cores": 2, "seconds": {"01_a": 30, "02_b": 90.0}}
SPEED = {
    "labels": {"naive": "fair-esm", "ours": "this library", "ours_top3": "top three"},
    "residues_per_second": {
        "features": {"naive": 1200.4, "ours": 13200.0},
        "training": {"naive": 680.0, "ours": 3000.0, "ours_top3": 5000.0},
    },
    "features_vs_naive": 11.04,
    "lora_vs_naive": 4.41,
    "peak_rss_mb": {"features:naive": 1246.5, "training:naive": 4715.4},
    "features_peak_rss_mb": {"2000": 594.0, "8000": 603.4},
    "cores": 2,
    "device": "cpu",
    "torch": "2.13.0",
    "transformers": "5.23.0",
    "peft": "0.21.2",
    "weights": "official [46f002a9]",
    "repeats": 3,
    "gemm_fraction": 0.3,
    "protocol_vs_naive": 512.3,
}
README = """# Title
<!-- results:begin -->
old
<!-- results:end -->
Text, with a backslash \\1.
<!-- times:begin -->
<!-- times:end -->
"""


@pytest.fixture
def root(tmp_path):
    (tmp_path / "results").mkdir()
    (tmp_path / "results/results.json").write_text(json.dumps(ROWS))
    (tmp_path / "results/notebook_times.json").write_text(json.dumps(TIMES))
    (tmp_path / "README.md").write_text(README)
    return tmp_path


def test_a_row_a_method_hardest_split_first():
    _, _, *rows = readme_tables.results_table(ROWS).splitlines()
    assert rows == [
        "| LoRA | full | – | 0.520 | – | – | – |",
        "| LoRA | laptop | – | 0.412 (0.350–0.467) | 0.700 | 12,345 | 3.2 |",
        "| best hit | laptop | 0.993 | 0.320 | – | – | – |",
        "| seed only | laptop | 0.930 | – | – | – | – |",
    ]


def test_every_row_has_as_many_cells_as_the_head():
    lines = readme_tables.results_table(ROWS).splitlines()
    assert len({line.count("|") for line in lines}) == 1


def test_times_add_up():
    assert readme_tables.times_table(TIMES).splitlines() == [
        "| notebook | minutes (profile laptop, 2 cores) |",
        "|---|---:|",
        "| `01_a` | 0.5 |",
        "| `02_b` | 1.5 |",
        "| all | 2.0 |",
    ]


def test_speed_table_compares_each_task_and_leaves_out_what_was_not_measured():
    _, _, *lines = readme_tables.speed_table(SPEED).splitlines()
    assert lines[:3] == [
        "| fair-esm | 1,200 | 11.0× | 1,246 | 680 | 4.4× | 4,715 |",
        "| this library | 13,200 | – | – | 3,000 | – | – |",
        "| top three | – | – | – | 5,000 | – | – |",
    ]
    assert lines[3] == ""  # ends the table
    assert "30% of the rate" in lines[4]
    assert "1/512 of" in lines[4]
    assert "2,000: 594, 8,000: 603" in lines[4]


def test_the_speed_block_is_written_only_where_it_is_marked(root, capsys):
    (root / "README.md").write_text(f"{README}<!-- speed:begin -->\nx\n<!-- speed:end -->\n")
    assert readme_tables.main([], root) == 2
    assert "make bench" in capsys.readouterr().err
    (root / "results/speed.json").write_text(json.dumps(SPEED))
    assert readme_tables.main([], root) == 0
    assert "| fair-esm | 1,200 |" in (root / "README.md").read_text()
    (root / "README.md").write_text(f"{README}<!-- speed:begin -->\n")
    assert readme_tables.main([], root) == 2


def test_rows_of_the_ladder_come_in_where_there_are_some(root):
    row = {"split": "homology", "method": "hybrid", "macro_f1": 0.6, "profile": "laptop"}
    anew = {"split": "homology", "method": "best hit", "macro_f1": 0.33, "profile": "laptop"}
    content = {"command": "make ladder", "rows": [row, anew]}
    (root / "results/ladder.json").write_text(json.dumps(content))
    assert readme_tables.main([], root) == 0
    text = (root / "README.md").read_text()
    assert "| hybrid | laptop | – | 0.600 |" in text
    assert "| best hit | laptop | 0.993 | 0.330 |" in text


def test_seeds_are_averaged_and_a_repeated_one_replaced():
    def row(seed, f1, low):
        return {"split": "random", "method": "m", "seed": seed, "macro_f1": f1, "ci_low": low,
                "ci_high": 1.0, "minutes": 2.0, "profile": "full"}  # fmt: skip

    rows = [row(0, 0.1, 0.0), row(0, 0.4, 0.2), row(1, 0.6, 0.3), row(2, 0.5, 0.4)]
    line = readme_tables.results_table(rows).splitlines()[-1]
    assert line.startswith("| m | full | 0.500 (0.300–1.000), mean of 3 seeds | – |")
    assert "seeds" not in readme_tables.results_table(rows[:2])


def test_the_model_card_is_kept_up_to_date_too(root, capsys):
    card = root / "MODEL_CARD.md"
    card.write_text("# Card\n<!-- bins:begin -->\n<!-- bins:end -->\n")
    (root / "results" / "ladder.json").unlink(missing_ok=True)
    assert readme_tables.main([], root) == 2
    assert "`make ladder` writes it" in capsys.readouterr().err
    rows = [row | {"title": row["method"], "trainable_parameters": 0} for row in LADDER["rows"]]
    (root / "results" / "ladder.json").write_text(json.dumps(LADDER | {"rows": rows}))
    assert readme_tables.main(["--check"], root) == 1
    assert "MODEL_CARD.md is out of date" in capsys.readouterr().err
    assert readme_tables.main([], root) == 0
    assert "0.600, 0.500" in card.read_text()
    assert readme_tables.main(["--check"], root) == 0
    card.write_text(card.read_text() + "<!-- external:begin -->\n<!-- external:end -->\n")
    assert readme_tables.main([], root) == 2
    assert "`python -m benchmarks.external` writes it" in capsys.readouterr().err
    (root / "results" / "external.json").write_text(json.dumps(EXTERNAL))
    assert readme_tables.main([], root) == 0
    assert "Macro-F1 over 2 classes" in card.read_text()
    card.write_text("# Card")
    assert readme_tables.main([], root) == 2
    assert "MODEL_CARD.md must hold" in capsys.readouterr().err


def test_rewrite_then_check(root, capsys):
    assert readme_tables.main(["--check"], root) == 1
    assert "out of date" in capsys.readouterr().err
    assert readme_tables.main([], root) == 0
    text = (root / "README.md").read_text()
    assert "old" not in text
    assert "| best hit | laptop | 0.993 |" in text
    assert "Text, with a backslash \\1." in text
    assert readme_tables.main(["--check"], root) == 0
    (root / "results/results.json").write_text(json.dumps(ROWS[:1]))
    assert readme_tables.main(["--check"], root) == 1


@pytest.mark.parametrize("marker", ["results:begin", "results:end", "times:begin", "times:end"])
def test_a_missing_marker_is_said(root, capsys, marker):
    (root / "README.md").write_text(README.replace(f"<!-- {marker} -->", ""))
    assert readme_tables.main([], root) == 2
    assert marker.split(":")[0] in capsys.readouterr().err


def test_a_doubled_block_is_refused(root, capsys):
    (root / "README.md").write_text(README + README)
    assert readme_tables.main([], root) == 2
    assert "once" in capsys.readouterr().err


def test_missing_numbers_are_said(root, capsys):
    (root / "results/results.json").unlink()
    assert readme_tables.main([], root) == 2
    assert "results.json" in capsys.readouterr().err


def test_the_committed_readme_is_up_to_date():
    assert (files.ROOT / "README.md").is_file()
    assert readme_tables.main(["--check"]) == 0


def test_a_score_of_some_folds_says_so():
    row = {"split": "homology", "method": "dear", "macro_f1": 0.5, "folds": [0]}
    assert "0.500, 1 of 5 folds" in readme_tables.results_table([row])
    assert (
        "folds"
        not in readme_tables.results_table([row | {"folds": [0, 1, 2, 3, 4]}]).splitlines()[-1]
    )
