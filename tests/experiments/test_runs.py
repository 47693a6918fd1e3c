"""Every method from data folder to submission: fit, what is written, load, predict."""

import dataclasses
import json
import os
import shutil

import numpy as np
import pandas as pd
import pytest
from small_data import write_small_data

from arg_utils.data.folders import load_dataset
from arg_utils.data.proteins import capped, proteins
from arg_utils.data.submission import check_submission
from arg_utils.errors import UserError
from arg_utils.experiments import runs
from arg_utils.experiments.runs import fit_run, load_run, submit_run
from arg_utils.labels import CLASSES
from arg_utils.methods import METHODS
from arg_utils.metrics.scores import macro_f1
from arg_utils.settings import load_profile

SMOKE = load_profile("smoke")


@pytest.fixture(scope="module")
def data(open_data, tmp_path_factory):
    return write_small_data(open_data, tmp_path_factory.mktemp("data"))


pytestmark = pytest.mark.usefixtures("weights", "module_cache")


@pytest.mark.parametrize("method", METHODS)
def test_from_data_to_submission(method, data, tmp_path, monkeypatch, weights):
    fitted = []
    save = METHODS[method].save
    monkeypatch.setattr(METHODS[method], "save", lambda m, f: (fitted.append(m), save(m, f))[1])
    run, dataset = tmp_path / "run", load_dataset(data)
    metrics = fit_run(data, run, method, SMOKE, seed=1)
    assert metrics == json.loads((run / "metrics.json").read_text())
    assert metrics["method"] == method
    assert (metrics["profile"], metrics["seed"]) == ("smoke", 1)
    assert metrics["data"] == {"name": data.name, "sha256": dataset.identity}
    assert metrics["weights"] == (weights.name if METHODS[method].uses_esm2 else "none")
    assert metrics["given"] == METHODS[method].reference
    assert metrics["seconds"] >= metrics["training_seconds"] >= 0
    assert (metrics["val_proteins"], metrics["test_proteins"]) == (30, 30)
    for part in ("val", "test"):
        by_class = metrics[f"{part}_f1_by_class"]
        assert list(by_class) == list(CLASSES)
        assert metrics[f"{part}_macro_f1"] == pytest.approx(np.mean(list(by_class.values())))
        assert 0 <= metrics[f"{part}_accuracy"] <= 1
    trained = {"frozen_linear": (6, 15 * 321), "lora_classifier": (12, 8 * 335)}
    if method in trained:
        rows, parameters = trained[method]
        history = pd.read_csv(run / "history.csv")
        assert history["stage"].tolist() == sorted(list(range(1, rows // 2 + 1)) * 2)
        assert metrics["trainable_parameters"] == parameters
    if method == "lora_blocks":
        assert pd.read_csv(run / "history.csv")["epoch"].tolist() == [0, 1]

    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(data / "test.fasta", other)
    out, answers = tmp_path / "sub" / "submission.csv", tmp_path / "sub" / "answers.csv"
    found, unsure = submit_run(other, run, out, answers)
    told = pd.read_csv(answers)
    assert told["id"].tolist() == [r.id for r in dataset.test]
    assert told["class"].tolist() == [CLASSES[i] for i in found]
    assert (told["answer"] == "uncertain").sum() == unsure
    assert (unsure > 0) == (method == "hybrid"), "the others have no threshold"
    with pytest.raises(UserError, match="name two files"):
        submit_run(other, run, out, tmp_path / "sub" / ".." / "sub" / "submission.csv")
    check_submission(tmp_path / "sub" / "submission.csv", [r.id for r in dataset.test])
    assert macro_f1(dataset.test_labels, found) == metrics["test_macro_f1"]
    sequences = [record.sequence for record in dataset.test]
    loaded = load_run(run).probabilities(sequences)
    assert loaded.shape == (30, 15)
    np.testing.assert_allclose(loaded.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(loaded, fitted[0].probabilities(sequences), rtol=1e-4, atol=1e-5)
    assert load_run(run).predict(sequences[:1]).tolist() == [found[0]], "of one protein too"


def test_without_a_key_there_are_no_test_scores(data, tmp_path):
    for name in ("train.fasta", "val.fasta", "test.fasta"):
        shutil.copy(data / name, tmp_path)
    metrics = fit_run(tmp_path, tmp_path / "run", "majority", SMOKE)
    assert not any(name.startswith("test") for name in metrics)
    (tmp_path / "test.fasta").unlink()
    assert fit_run(tmp_path, tmp_path / "again", "majority", SMOKE)["val_macro_f1"] > 0


def test_proteins_beyond_the_window_are_told_of(tmp_path, monkeypatch, capsys):
    class Stub:
        uses_esm2, threshold = True, None

        def probabilities(self, sequences):
            return np.eye(15, dtype=np.float32)[[0] * len(sequences)]

    monkeypatch.setattr(runs, "load_run", lambda run: Stub())
    (tmp_path / "test.fasta").write_text(f">a\n{'MKVLA' * 300}\n>b\nMKV\n")
    submit_run(tmp_path, tmp_path / "run", tmp_path / "s.csv")
    assert "of 1 long protein ESM-2 sees the first 1,022 residues" in capsys.readouterr().err
    Stub.uses_esm2 = False
    submit_run(tmp_path, tmp_path / "run", tmp_path / "s.csv")
    assert capsys.readouterr().err == ""


def test_a_repeated_fit_trains_nothing_again(data, tmp_path, monkeypatch):
    first = fit_run(data, tmp_path / "run", "lora_classifier", SMOKE)
    monkeypatch.setattr(runs, "write_text", lambda *_: None)
    monkeypatch.setattr("arg_utils.methods.course.StagedTrainer.train_stage", None)
    again = fit_run(data, tmp_path / "run", "lora_classifier", SMOKE)
    assert {**again, "seconds": 0} == {**first, "seconds": 0}


def test_the_cap_of_a_profile(data):
    whole = proteins(load_dataset(data).train)
    two = dataclasses.replace(SMOKE, max_records=2)
    assert np.bincount(capped(whole, two).labels).tolist() == [2] * 15
    assert capped(whole, SMOKE).sequences == whole.sequences, "twelve would be allowed"


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda folder: (folder / "train.fasta").unlink(), "lacks train.fasta"),
        (lambda folder: (folder / "val.fasta").write_text(""), "val.fasta is empty"),
        (lambda folder: (folder / "train.fasta").write_text(">sp|a|b\nMK\n"), "one class only"),
        (lambda folder: (folder / "run").write_text("x"), "run is a file"),
        (lambda folder: (folder / "test_key.csv").write_text("a,b\n"), "line 1: the header is"),
    ],
)
def test_faulty_data_write_nothing(data, tmp_path, harm, words):
    folder = shutil.copytree(data, tmp_path / "data")
    harm(folder)
    before = sorted(folder.rglob("*"))
    with pytest.raises(UserError, match=words):
        fit_run(folder, folder / "run", "frozen_linear", SMOKE)
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"method": "bert"}, "no method 'bert'; choose one of majority, "),
        ({"seed": -1}, "The seed is -1; choose one from 0"),
    ],
)
def test_wrong_choices_write_nothing(data, tmp_path, options, words):
    with pytest.raises(UserError, match=words):
        fit_run(data, tmp_path / "run", **{"method": "majority", "profile": SMOKE, **options})
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "content",
    [
        None, "", "{", "[]", "3", '{"method": "majority"}',
        '{"method": "x", "weights": null, "files": {}}',
        '{"method": "majority", "weights": "none"}',
    ],
)  # fmt: skip
def test_a_folder_without_a_finished_run_is_said_to_be_one(tmp_path, content):
    if content is not None:
        (tmp_path / "run.json").write_text(content)
    with pytest.raises(UserError, match=r"holds no finished run .*arg_utils fit"):
        load_run(tmp_path)


def test_a_run_whose_files_are_not_its_own_is_refused(data, tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    fit_run(data, one, "majority", SMOKE)
    more = shutil.copytree(data, tmp_path / "more")
    with (more / "train.fasta").open("a") as file:
        file.write(">sp|extra|x\nMKVLAWMKVLAW\n")
    fit_run(more, other, "majority", SMOKE)
    shutil.copy(other / "model.safetensors", one)
    with pytest.raises(UserError, match=r"one/model\.safetensors has changed, or belongs to anoth"):
        load_run(one)
    (one / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"one/model\.safetensors is missing.*arg_utils fit"):
        submit_run(data, one, tmp_path / "s.csv")
    (other / "history.csv").write_text("epoch\n1\n")
    with pytest.raises(UserError, match=r"history\.csv has changed"):
        load_run(other)
    assert not (tmp_path / "s.csv").exists()


def test_a_manifest_that_leaves_out_the_model_is_refused(data, tmp_path):
    fit_run(data, tmp_path, "majority", SMOKE)
    manifest = json.loads((tmp_path / "run.json").read_text())
    del manifest["files"]["model.safetensors"]
    (tmp_path / "run.json").write_text(json.dumps(manifest))
    with pytest.raises(UserError, match=r"model\.safetensors has changed, or belongs to another"):
        load_run(tmp_path)


def test_a_run_on_other_weights_is_refused(data, tmp_path, monkeypatch, weights):
    """Else its head would be put on features it has never seen. The file's name does not matter."""
    fit_run(data, tmp_path / "run", "frozen_linear", SMOKE)
    fit_run(data, tmp_path / "plain", "majority", SMOKE)
    other = type(weights)(weights.state, "official (fair-esm)", "46f002a9" + "0" * 56)
    monkeypatch.setattr(runs, "load_weights", lambda: other)
    with pytest.raises(UserError, match=r"fitted on .*but official \(fair-esm\) \[46f002a9\]"):
        submit_run(data, tmp_path / "run", tmp_path / "s.csv")
    assert not (tmp_path / "s.csv").exists()
    submit_run(data, tmp_path / "plain", tmp_path / "s.csv")
    renamed = type(weights)(weights.state, "file copy.pt", weights.sha256)
    monkeypatch.setattr(runs, "load_weights", lambda: renamed)
    submit_run(data, tmp_path / "run", tmp_path / "s.csv")
