import json
from dataclasses import replace

import numpy as np
import pytest

from arg_utils.errors import UserError
from arg_utils.experiments import ladder
from arg_utils.experiments.outcomes import fit_fold
from arg_utils.metrics.scores import macro_f1

pytestmark = pytest.mark.usefixtures("settings")
COLUMNS = {
    "split", "method", "seed", "macro_f1", "ci_low", "ci_high", "accuracy", "ece", "bins",
    "trainable_parameters", "seconds", "profile",
}  # fmt: skip


def test_a_row_a_method_and_split(work):
    rows = ladder.ladder(work, ["majority", "best_hit"])
    assert [(row["split"], row["method"]) for row in rows] == [
        ("random", "majority"), ("random", "best_hit"),
        ("homology", "majority"), ("homology", "best_hit"),
    ]  # fmt: skip
    for row in rows:
        assert row.keys() >= COLUMNS
        assert sum(entry["n"] for entry in row["bins"]) == row["proteins"]
        assert 0 <= row["ece"] <= 1
        assert sum(entry["n"] for entry in row["reliability"]) == row["proteins"]
        assert sum(entry["support"] for entry in row["per_class"]) == row["proteins"]
        assert 0 <= row["ece_calibrated_low"] <= row["ece_calibrated_high"] <= 1
        json.dumps(row, allow_nan=False)


def test_homology_rows_pool_the_folds(work):
    row = ladder.homology_row(work, "majority")
    fitted = [fit_fold(work, "majority", fold)[0] for fold in row["folds"]]
    true = np.concatenate([o.labels["test"] for o in fitted])
    found = np.concatenate([o.predictions("test") for o in fitted])
    assert row["macro_f1"] == macro_f1(true, found)
    assert row["proteins"] == len(true)


def test_each_seed_has_rows_and_a_folder_of_its_own(work):
    twice = replace(work, profile=replace(work.profile, seeds=(0, 3)))
    rows = ladder.ladder(twice, ["majority"])
    assert [row["seed"] for row in rows] == [0, 0, 3, 3]
    assert ladder.of_seed(work, 0) is work
    assert (work.folder / "3" / "fits" / "random" / "majority").is_dir()


def test_the_gain_on_the_best_hit_is_paired(work):
    row = ladder.homology_row(work, "best_hit")
    assert (row["gain"], row["gain_low"], row["gain_high"]) == (0, 0, 0)
    other = ladder.homology_row(work, "majority")
    assert other["gain"] == pytest.approx(other["macro_f1"] - row["macro_f1"])
    assert other["gain_low"] <= other["gain_high"]


@pytest.fixture
def place(work, monkeypatch, tmp_path):
    """Where the ladder is written unless a file is named."""
    monkeypatch.setattr(ladder, "RESULTS", tmp_path)
    monkeypatch.setattr(ladder, "open_workspace", lambda: work)
    return tmp_path / "ladder.json"


def test_rows_of_other_methods_stay_while_they_hold(place):
    ladder.run_ladder(["best_hit"])
    rows = ladder.run_ladder(["majority"])
    assert {row["given"] for row in rows} == {"train + validation"}
    written = json.loads(place.read_text())
    assert written["rows"] == rows
    assert [row["method"] for row in written["rows"]] == ["majority", "best_hit"] * 2
    assert written["command"] == "python -m arg_utils ladder --methods majority best_hit"
    written["rows"] = [
        r | ({"code": "old"} if r["split"] == "random" else {}) for r in written["rows"]
    ]
    place.write_text(json.dumps(written))
    ladder.run_ladder(["best_hit"])
    rows = json.loads(place.read_text())["rows"]
    assert [(r["split"], r["method"]) for r in rows] == [
        ("random", "best_hit"), ("homology", "majority"), ("homology", "best_hit"),
    ]  # fmt: skip


def test_a_method_named_twice_is_fitted_and_shown_once(place):
    rows = ladder.run_ladder(["majority", "majority"])
    assert [row["split"] for row in rows] == ["random", "homology"]


def test_another_file_may_be_named_and_a_faulty_one_is_refused(work, place, tmp_path):
    mine = tmp_path / "mine" / "ladder.json"
    ladder.run_ladder(["majority"], mine)
    written = json.loads(mine.read_text())
    assert len(written["rows"]) == 2
    assert written["command"].endswith(f"majority --out {mine}")
    assert {name: written[name] for name in work.source} == work.source
    assert not place.exists()
    (tmp_path / "file").touch()
    for wrong, words in (
        (tmp_path, "is a folder; name a file"),
        (tmp_path / "file" / "x.json", "is a file; name another place"),
    ):
        with pytest.raises(UserError, match=words):
            ladder.run_ladder(["majority"], wrong)
    mine.write_text('{"rows": [{"method": "majority"}]}')
    with pytest.raises(UserError, match="something else than a ladder"):
        ladder.run_ladder(["majority"], mine)
    mine.write_text("[]")
    with pytest.raises(UserError, match=f"{mine} cannot be read"):
        ladder.run_ladder(["majority"], mine)
    assert mine.read_text() == "[]"


def test_an_unknown_method_is_refused():
    with pytest.raises(UserError, match="no method 'guess'; choose one of majority, "):
        ladder.run_ladder(["guess"])
