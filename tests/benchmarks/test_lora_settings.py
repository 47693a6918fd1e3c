import json
from dataclasses import replace

import numpy as np
import pytest

from arg_utils.data.proteins import Proteins
from arg_utils.methods import finetuning
from arg_utils.methods.course import FrozenLinear
from arg_utils.settings import PROFILES, LoraBlocks
from benchmarks import lora_settings

FEW = {"nothing": {}, "top blocks 1": {"top_blocks": 1}, "full": {"r": 0, "top_blocks": 2}}


@pytest.fixture
def results(work, monkeypatch, tmp_path):
    """The folder results are written to; a workspace to train in, and three rows only."""
    monkeypatch.setattr(lora_settings, "RESULTS", tmp_path / "results")
    work = replace(work, folder=tmp_path / "work")
    monkeypatch.setattr(lora_settings, "open_workspace", lambda: work)
    monkeypatch.setattr(lora_settings, "changes", lambda: iter(FEW.items()))
    return tmp_path / "results"


def trained(monkeypatch, before=lambda: None):
    """The settings of every epoch trained from now on, each after ``before`` was called."""
    seen, train_epoch = [], finetuning._train_epoch

    def spy(model, *rest):
        before()
        seen.append(model.settings)
        return train_epoch(model, *rest)

    monkeypatch.setattr(finetuning, "_train_epoch", spy)
    return seen


def read(results):
    return json.loads((results / "lora_settings.json").read_text())


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_one_thing_is_changed_in_each_row_and_none_is_there_twice(profile):
    base = profile.lora_blocks
    tried = lora_settings.trials(base)
    assert next(iter(tried.values())) == base
    assert len(set(tried.values())) == len(tried)
    for name, settings in tried.items():
        other = {k for k, v in vars(settings).items() if v != vars(base)[k]}
        if settings.r == 0:
            assert settings == profile.full_finetuning
        elif "r" in other:
            assert other == {"r", "alpha"}
            assert settings.alpha == 2 * settings.r
        else:
            assert len(other) == (name != "nothing")


def test_all_values_are_tried():
    tried = lora_settings.trials(LoraBlocks()).values()
    assert {s.r for s in tried} == {0, 4, 8, 16, 32}
    assert {s.learning_rate for s in tried} == {1e-4, 3e-4, 1e-3}
    assert {len(s.modules) for s in tried} == {2, 4, 6}
    assert {s.top_blocks for s in tried} == {1, 3, 6}
    assert {s.warmup for s in tried} == {s.dropout for s in tried} == {0, 0.1}
    assert len(tried) == 13
    assert len(lora_settings.trials(LoraBlocks(), quick=True)) == 1


def test_all_rows_are_printed_and_written(results, work, monkeypatch, capsys):
    starts, fit = [], FrozenLinear.fit
    monkeypatch.setattr(FrozenLinear, "fit", lambda *a, **k: starts.append(1) or fit(*a, **k))
    assert lora_settings.main(["--max-per-class", "2", "--epochs", "2"]) == 0
    assert "top blocks 1" in capsys.readouterr().out
    assert len(starts) == 1
    written = read(results)
    assert written["command"] == f"{lora_settings.COMMAND} --max-per-class 2 --epochs 2"
    assert written["weights"] == work.weights.name
    assert written["data"].startswith(work.data.name)
    assert written["profile"] == "smoke"
    rows = written["rows"]
    assert [row["changed"] for row in rows] == list(FEW)
    assert [row["settings"]["top_blocks"] for row in rows] == [3, 1, 2]
    assert {row["settings"]["max_per_class"] for row in rows} == {2}
    assert rows[1]["trainable_parameters"] < rows[0]["trainable_parameters"]
    assert rows[0]["trainable_parameters"] < rows[2]["trainable_parameters"]
    for row in rows:
        assert row["val_macro_f1_before"] == rows[0]["val_macro_f1_before"] > 0
        assert row["gain"] == row["val_macro_f1"] - row["val_macro_f1_before"]
        assert row["best_epoch"] in (1, 2)
        assert row["train_loss"] > 0 < row["seconds"]


def test_the_best_epoch_of_training_is_told_though_it_be_worse(results, monkeypatch):
    scores, row = [0.5, 0.2, 0.4, 0.3], finetuning._row
    monkeypatch.setattr(
        finetuning, "_row", lambda epoch, *rest: row(epoch, *rest) | {"val_macro_f1": scores[epoch]}
    )
    monkeypatch.setattr(lora_settings, "changes", lambda: iter([("nothing", {})]))
    assert lora_settings.main(["--epochs", "3", "--max-per-class", "1"]) == 0
    (found,) = read(results)["rows"]
    assert (found["val_macro_f1"], found["best_epoch"]) == (0.4, 2)
    assert found["gain"] == pytest.approx(-0.1)


def test_an_interrupted_run_goes_on(results, monkeypatch):
    def stop():
        if (results / "lora_settings.json").exists() and len(read(results)["rows"]) == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        trained(patch, stop)
        assert lora_settings.main([]) == 130
    before = read(results)["rows"]
    again = trained(monkeypatch)
    assert lora_settings.main([]) == 0
    assert [settings.r for settings in again] == [0], "only the third row was left to train"
    assert len(read(results)["rows"]) == 3
    assert read(results)["rows"][:2] == before
    assert read(results)["command"] == lora_settings.COMMAND


def test_the_quick_one_writes_nothing(results, work, capsys):
    before = sorted(work.folder.rglob("*"))
    assert lora_settings.main(["--quick"]) == 0
    assert "nothing" in capsys.readouterr().out
    assert not list(results.parent.iterdir())
    assert sorted(work.folder.rglob("*")) == before


def test_only_train_and_validation_are_read(results, work, monkeypatch):
    """A workspace without a test part does as well."""
    given = []

    def look(model, train, val, *rest, **options):
        given.append((train, val))
        return finetuning.finetune(model, train, val, *rest, **options)

    monkeypatch.setattr(lora_settings, "finetune", look)
    monkeypatch.setattr(type(work), "test", property(lambda self: pytest.fail("test is read")))
    assert lora_settings.main(["--quick"]) == 0
    ((train, val),) = given
    assert train.sequences == work.train.sequences
    assert val.sequences == work.val.sequences


@pytest.mark.parametrize("option", ["--epochs", "--max-per-class"])
@pytest.mark.parametrize("value", ["0", "-1", "two", "1.5", ""])
def test_a_count_that_is_none_is_refused_in_one_sentence(results, option, value, capsys):
    assert lora_settings.main([f"{option}={value}"]) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: ")
    assert told.count("\n") == 1
    assert not results.exists()


def test_data_without_validation_proteins_are_refused(results, work, monkeypatch, capsys):
    empty = replace(work)
    object.__setattr__(empty, "val", Proteins([], np.empty(0, np.int64)))
    monkeypatch.setattr(lora_settings, "open_workspace", lambda: empty)
    assert lora_settings.main([]) == 2
    assert "val.fasta has no records" in capsys.readouterr().err
    assert not results.exists()


def test_an_unknown_profile_is_refused(monkeypatch, capsys):
    monkeypatch.setenv("ARG_PROFILE", "huge")
    assert lora_settings.main([]) == 2
    assert capsys.readouterr().err.startswith("error: There is no profile 'huge'")
