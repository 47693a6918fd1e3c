"""README's and the card's numbers: what is written, and what is refused."""

import json
import re

import card_examples as examples
import pytest

from arg_utils import files
from arg_utils.errors import UserError
from benchmarks.documents import __main__ as documents
from benchmarks.documents import costs, evaluation

RESULTS = """# Title
<!-- results:begin -->
old
<!-- results:end -->
Text, with a backslash \\1.
"""


@pytest.fixture
def root(tmp_path):
    (tmp_path / "results").mkdir()
    for name, content in {
        "results": examples.ROWS, "notebook_times": examples.TIMES, "ladder": examples.LADDER,
    }.items():  # fmt: skip
        (tmp_path / f"results/{name}.json").write_text(json.dumps(content))
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/results.md").write_text(RESULTS)
    for name in ("README.md", "docs/speed.md", "docs/scale.md"):
        (tmp_path / name).write_text("# Title\n")
    (tmp_path / "MODEL_CARD.md").write_text("# Card\n<!-- bins:begin -->\n<!-- bins:end -->\n")
    return tmp_path


def cells(markdown):
    """The rows of the tables in a text, as lists of cells; every row as long as its head."""
    rows = [line.strip("|").split("|") for line in markdown.splitlines() if line.startswith("|")]
    assert len({len(row) for row in rows}) == 1
    return [[cell.strip() for cell in row] for row in rows]


def test_results_have_a_row_per_method_and_profile_hardest_split_first():
    rows = cells(documents.results_table(examples.ROWS))[2:]
    assert [row[:2] for row in rows] == [
        ["lora_blocks", "full"], ["lora_blocks", "laptop"], ["best_hit", "laptop"],
        ["majority", "laptop"],
    ]  # fmt: skip
    assert rows[0][2:] == ["–", "0.520", "–", "–", "–"]
    assert rows[1][2:] == ["–", "0.412 (0.350–0.467)", "0.700", "12,345", "3.2"]
    assert rows[2][2:4] == ["0.993", "0.320"]


def test_the_first_screen_says_the_scores_of_both_splits_and_of_another_database():
    scores = {"best_hit": 0.98, "lora_classifier": 0.93, "hybrid": 0.97, "frozen_linear": 0.92}
    rows = [
        {"split": split, "method": name, "macro_f1": f1 - lower, "accuracy": 0.5, "given": "train"}
        for split, lower in (("random", 0), ("homology", 0.5))
        for name, f1 in scores.items()
    ]
    random, homology = documents.findings(rows).splitlines()
    assert re.findall(r"0\.\d{3}", random) == ["0.980", "0.930", "0.970"]
    assert re.findall(r"0\.\d{3}", homology) == ["0.480", "0.430", "0.470"]
    table = cells(documents.summary_table(rows))
    assert [row[3] for row in table[2:]] == ["0.480", "0.470", "0.430", "0.420"]
    assert table[2][1:3] == ["train", "0.980"]
    assert {row[4] for row in table[2:]} == {"–"}
    gain = {"gain": 0.1004, "gain_low": 0.0177, "gain_high": 0.1474}
    gained = documents.summary_table([rows[0] | {"split": "homology"} | gain, *rows])
    assert "+0.100 (+0.018 to +0.147)" in gained
    assert documents.titles(rows).splitlines()[0] == "- *best_hit*: best hit (MMseqs2)"
    external = examples.EXTERNAL | {
        "rows": [{"method": name, "macro_f1": f1} for name, f1 in scores.items()]
    }
    assert re.findall(r"0\.\d{3}", documents.elsewhere(external)) == ["0.980", "0.920", "0.970"]


def test_times_add_up_for_each_form():
    head, _, *rows = cells(costs.times_table(examples.TIMES))
    assert head[1:] == [
        "minutes with amx, profile laptop, 2026-01-01",
        "minutes with avx2, profile short, 2026-01-02",
    ]
    assert [row[1:] for row in rows] == [
        ["1.0", "2.0"], ["0.5", "1.0"], ["1.5", "3.0"], ["3.0", "6.0"],
    ]  # fmt: skip


def test_speed_compares_each_task_and_leaves_out_what_was_not_measured():
    text = costs.speed_table(examples.SPEED)
    assert cells(text)[2:] == [
        ["fair-esm", "1,200", "11.0×", "1,246", "680", "4.4×", "4,715"],
        ["this library", "13,200", "–", "–", "3,000", "–", "–"],
        ["top three", "–", "–", "–", "5,000", "–", "–"],
    ]
    assert "\n\n2 cores, cpu, PyTorch 2.13.0" in text


def test_bins_show_two_methods_side_by_side():
    rows = cells(documents.bins_table(examples.LADDER))[2:]
    assert rows[0] == ["random", "no hit", "1,200", "0.400, 0.500", "0.600, 0.500"]
    assert rows[1] == ["random", "<30 %", "0", "–", "–"]
    assert ["homology", "all", "1,200", "0.400, 0.750", "0.600, 0.750"] in rows
    assert rows[-1][3:] == ["0.060 (0.040–0.115)"] * 2


def test_another_ladder_has_a_row_per_split_and_method():
    rows = [row | examples.SCORED for row in examples.LADDER["rows"]]
    text = documents.splits_table(examples.LADDER | {"rows": rows})
    assert cells(text)[3][:4] == ["random", "best_hit", "1,200", "0.400 (0.500–0.975)"]
    assert "+0.038 (+0.001 to +0.071)" in cells(text)[3]
    assert text.endswith("`climb`: data d, weights w, profile p.")


def test_another_database_is_shown_with_its_bins():
    scores, bins, told = evaluation.external_table(examples.EXTERNAL).split("\n\n")
    assert cells(scores)[3][:2] == ["hybrid", "0.950 (0.500–0.975)"]
    assert cells(scores)[3][-2:] == ["0.974", "0.011"]
    assert cells(bins)[2:] == [
        ["no hit", "1,000", "2", "0.900", "0.950"], ["<30 %", "0", "0", "–", "–"]
    ]  # fmt: skip
    assert "hybrid is sure of 96.0%, of which 0.1% are wrong" in told


def test_proteins_of_every_kind_are_shown_with_what_they_are_taken_for():
    head, _, best, hybrid = cells(evaluation.negatives_table(examples.NEGATIVES))
    assert head[1].startswith("of 8,012 proteins")
    assert head[4:6] == ["of 3,236 ARGs, called one", "and sure of that"]
    assert best[1:10] == ["0.14%", "–", "–", "98.0%", "–", "–", "–", "–", "92.0%"]
    assert hybrid[1:6] == ["0.55%", "0.00%", "43.0%", "99.7%", "97.8%"]
    assert hybrid[6:10] == ["0.61", "0.29%", "99.1%", "–"]
    assert (best[-1], hybrid[-1]) == ("–", "aminoglycoside 20, beta-lactam 7, polymyxin 2")


def test_training_on_families_stands_beside_the_frozen_model():
    row = {"features": "frozen", "retrieval": 0.5, "macro_f1": 0.4, "gain": 0.0, "gain_low": 0.0,
           "gain_high": 0.0}  # fmt: skip
    trained = {"features": "adapted", "families": 1465, "proteins": 5018, "residues": 8536271,
               "gain": -0.0358, "gain_low": -0.0771, "gain_high": 0.0018}  # fmt: skip
    rows = [row | {"training": "none"}, row | {"training": "excluded"} | trained]
    text = evaluation.families_table(examples.SOURCE | {"rows": rows})
    _, _, none, excluded = cells(text)
    assert none[:5] == ["none", "frozen", "–", "–", "–"]
    assert excluded[2:] == ["1,465", "5,018", "8,536,271", "50.0%", "0.400",
                            "-0.036 (-0.077 to +0.002)"]  # fmt: skip
    assert text.endswith("`climb`: data d, weights w, profile p.")


def test_ablations_show_every_variant_with_its_intervals():
    change = {"gain": -0.0191, "gain_low": -0.0404, "gain_high": 0.0012}
    scores = {"macro_f1": 0.4824, "capped_macro_f1": 0.5081, "ece": 0.0871}
    row = {"variant": "no hits", **scores, **change}
    row |= {f"capped_{name}": -value for name, value in change.items()}
    text = evaluation.stacking_table(examples.SOURCE | {"rows": [row, row]})
    assert cells(text)[3] == ["no hits", "0.482", "-0.019 (-0.040 to +0.001)", "0.508",
                              "+0.019 (+0.040 to -0.001)", "0.087"]  # fmt: skip
    row = {"features": "mean", "head": "linear", "macro_f1": 0.447, "accuracy": 0.8, "seconds": 3.0}
    text = evaluation.heads_table(examples.SOURCE | {"rows": [row]})
    assert cells(text)[2] == ["mean", "linear", "0.447", "0.800", "3.0"]
    row = {"split": "random", "title": "plain", "proteins": 2019, "macro_f1": 0.5, "ci_low": 0.4,
           "ci_high": 0.6, "accuracy": 0.8, **change}  # fmt: skip
    text = evaluation.treatments_table(examples.SOURCE | {"rows": [row]})
    assert cells(text)[2] == ["random", "plain", "2,019", "0.500 (0.400–0.600)",
                              "-0.019 (-0.040 to +0.001)", "0.800"]  # fmt: skip
    assert text.endswith("`climb`: data d, weights w, profile p.")


def test_the_grey_zone_counts_false_args_per_genome():
    shares = {"precision": 0.5, "precision_low": 0.1, "precision_high": 0.9}
    row = {"args": 5, "not_args": 1200, "called": 1004, "right": 4, "false_args": 1000,
           "false_args_but_multidrug": 300, **shares}  # fmt: skip
    grey = examples.SOURCE | {
        "counts": {"A": {}, "B": {}}, "note": "Note",
        "rows": [row | {"method": "best_hit", "genomes": "all"},
                 row | {"method": "best_hit", "genomes": "A"},
                 row | dict.fromkeys(shares) | {"method": "none", "genomes": "all"}],
    }  # fmt: skip
    text = evaluation.grey_zone_table(grey)
    head, _, best, none = cells(text)
    assert head[1] == "right, of 5 ARGs"
    assert best == ["best_hit", "4", "1,004", "0.500 (0.100–0.900)", "500.0", "150.0"]
    assert none[3] == "–"
    assert "1,200 proteins of 2 genomes" in text


def test_the_audit_counts_labels_and_shows_scores_with_and_without():
    counts = {"ARGs": 10, "a fragment": 1, "never": 0}
    scores = {"method": "hybrid", "with": 0.5, "without": 0.6, "wrong": 1500, "wrong_suspect": 2}
    audit = examples.SOURCE | {
        "classes": {"beta_lactam": counts, "rifampin": counts | {"a fragment": 0}},
        "tests": {"random": {"suspects": 3, "proteins": 2000, "rows": [scores]}},
    }
    first, second, _ = evaluation.audit_table(audit).split("\n\n")
    assert cells(first)[0] == ["class", "ARGs", "a fragment"]
    assert cells(first)[2:] == [
        ["beta-lactam", "10", "1"],
        ["rifampin", "10", "0"],
        ["all", "20", "1"],
    ]
    row = ["random", "hybrid", "3 of 2,000", "0.500", "0.600", "1,500", "2"]
    assert cells(second)[2] == row


def test_sets_are_shown_with_the_gain_and_the_mechanism():
    names = ("families", "arg_families", "answered_other", "other_called_arg", "args_right",
             "args_wrong")  # fmt: skip
    sets = {"variant": "hybrid", "promised": 0.9, "threshold": 0.722, **dict.fromkeys(names, 0.5)}
    gain = {"variant": "with more", "gain": -0.001, "gain_low": -0.01, "gain_high": 0.006}
    found = {"with_hit": 0.75, "class": 0.8, "mechanism_group": 0.9}
    content = examples.SOURCE | {
        "rows": [{}, gain], "prediction_sets": [sets], "mechanism": [found, found],
    }  # fmt: skip
    decided = {"variant": "hybrid", "rate": 0.003, "threshold": 0.61, "false_positives": 0.006}
    decided |= {"false_positives_above": 0.0031, "args_right": 0.7, "args_right_above": 0.65}
    content["decision_thresholds"] = [decided]
    text = evaluation.sets_table(content)
    sets_of, told, decisions, _ = text.split("\n\n")
    assert cells(sets_of)[2][:4] == ["hybrid", "90%", "0.72", "50.0%"]
    assert cells(decisions)[2] == ["hybrid", "0.3%", "0.61", "0.60%", "0.31%", "70.0%", "65.0%"]
    assert "With more, macro-F1 on new families changes by -0.001 (-0.010 to +0.006)" in told
    assert "75%" in told
    assert "mechanism" not in evaluation.sets_table(content | {"mechanism": []})


def test_check_says_what_is_out_of_date_and_rewrites_nothing(root):
    assert documents.update_documents(check=True, root=root) == ["docs/results.md", "MODEL_CARD.md"]
    assert (root / "docs/results.md").read_text() == RESULTS
    assert documents.update_documents(root=root) == ["docs/results.md", "MODEL_CARD.md"]
    text = (root / "docs/results.md").read_text()
    assert "old" not in text
    assert "| best_hit | laptop | 0.993 |" in text
    assert "| hybrid | – | 0.600 (0.100–0.900) |" in text  # of the ladder
    assert "Text, with a backslash \\1." in text
    assert "0.600, 0.500" in (root / "MODEL_CARD.md").read_text()
    assert documents.update_documents(check=True, root=root) == []
    (root / "results/results.json").write_text(json.dumps(examples.ROWS[:1]))
    assert documents.update_documents(check=True, root=root) == ["docs/results.md"]


@pytest.mark.parametrize(
    "text",
    [
        RESULTS.replace("<!-- results:begin -->", ""),
        RESULTS.replace("<!-- results:end -->", ""),
        RESULTS.replace("results:begin", "x").replace("results:end", "results:begin"),
        RESULTS + RESULTS,
    ],
)
def test_a_block_is_marked_once_and_in_order(root, text):
    (root / "docs/results.md").write_text(text)
    with pytest.raises(UserError, match=r"docs/results.md must hold <!-- results:begin -->"):
        documents.update_documents(root=root)
    assert (root / "docs/results.md").read_text() == text


@pytest.mark.parametrize(
    ("document", "block", "command"),
    [
        ("docs/speed.md", "speed", "make bench"),
        ("MODEL_CARD.md", "external", "python -m benchmarks.external"),
    ],
)
def test_missing_numbers_are_said_with_the_command_that_makes_them(root, document, block, command):
    with open(root / document, "a") as file:
        file.write(f"<!-- {block}:begin -->\n<!-- {block}:end -->\n")
    with pytest.raises(UserError, match=f"{block}.json in results/; `{command}` writes it"):
        documents.update_documents(root=root)
    assert (root / "docs/results.md").read_text().startswith(RESULTS)


@pytest.mark.parametrize(("stale", "code"), [([], 0), (["README.md"], 1)])
def test_the_command_writes_or_only_checks(monkeypatch, capsys, stale, code):
    asked = []

    def update(check):
        asked.append(check)
        return stale

    monkeypatch.setattr(documents, "update_documents", update)
    assert documents.main([]) == 0
    assert documents.main(["--check"]) == code
    assert asked == [False, True]
    assert ("README.md is out of date" in capsys.readouterr().err) == bool(stale)


def test_the_committed_documents_are_up_to_date():
    assert all((files.ROOT / name).is_file() for name in documents.BLOCKS)
    assert documents.update_documents(check=True) == []


def test_a_method_has_one_score_in_the_committed_results():
    """Of the run of the notebooks and of the ladder, where both are of the same version."""
    run, ladder = (
        json.loads((files.RESULTS / name).read_text()) for name in ("results.json", "ladder.json")
    )
    of = ("split", "method", "seed", "data", "weights", "profile", "given")
    scores = {tuple(row.get(name) for name in of): row["macro_f1"] for row in ladder["rows"]}
    for row in run:
        place = tuple(row[name] for name in of)
        assert scores.get(place, row["macro_f1"]) == row["macro_f1"], f"{place}: make ladder"
