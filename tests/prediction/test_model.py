"""A fitted hybrid predicts: a protein's row is its own, whatever stands beside it."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import workspaces

from arg_utils.data.folders import load_dataset
from arg_utils.errors import UserError
from arg_utils.esm2 import weights as weights_module
from arg_utils.esm2.store import cache_size
from arg_utils.esm2.weights import Weights
from arg_utils.labels import CLASSES, NONARG
from arg_utils.methods.baselines import BestHit, Majority
from arg_utils.methods.hybrid import Hybrid
from arg_utils.prediction import model as model_module
from arg_utils.prediction import searches
from arg_utils.prediction.model import MANIFEST, SHIPPED, load_model, model_of, read_manifest
from arg_utils.prediction.query import Query, as_queries
from arg_utils.prediction.searches import open_references
from arg_utils.prediction.writing import Context, TableWriter


@pytest.fixture(scope="module")
def fitted(work):
    return Hybrid().fit(work.train, work.val, work.profile)


@pytest.fixture(scope="module")
def model(fitted):
    return model_of(fitted, "small")


@pytest.fixture(scope="module")
def queries(work):
    """Tested proteins, a long one, a short one, and one of three that are joined."""
    own = [(f"t{i}", sequence) for i, sequence in enumerate(work.test.sequences)]
    joined = "".join(work.test.sequences[:3])
    return [*own, ("long", "".join(work.train.sequences)[:2500]), ("short", "MKV"), ("3", joined)]


@pytest.fixture(scope="module")
def frame(model, queries):
    """All of them predicted."""
    return model.predict(queries)


@pytest.fixture(scope="module")
def together(frame):
    return rows(frame)


def rows(frame) -> dict[str, str]:
    """Lines of a TSV file by id."""
    text = TableWriter(Context("", "", "")).rows(frame)
    return {line.split("\t")[0]: line for line in text.splitlines()}


def test_a_model_shows_its_name_and_data_alone(model):
    assert repr(model) == f"Model(name='small', data='small', threshold={model.threshold})"


def test_prediction_gives_what_the_method_gives(frame, fitted, work):
    frame = frame[: len(work.test.sequences)]
    expected = fitted.probabilities(work.test.sequences)
    assert frame["class"].tolist() == [CLASSES[i] for i in expected.argmax(axis=1)]
    np.testing.assert_allclose(frame["probability"], expected.max(axis=1), atol=2e-4)


def test_the_nearest_arg_is_named(frame, work):
    frame = frame[: len(work.test.sequences)]
    named = frame[frame["nearest_id"] != ""]
    assert (named["nearest_class"] != "nonarg").all()
    of = dict(zip(named["nearest_id"], named["nearest_class"], strict=True))
    headers = {h.split("|")[0]: h.split("|") for h in (*work.train.headers, *work.val.headers)}
    assert all(headers[name][3] == kind for name, kind in of.items())
    assert (named["nearest_gene"] == [headers[name][4] for name in named["nearest_id"]]).all()
    related = frame["class"] == [CLASSES[i] for i in work.test.labels]
    assert named[related[named.index]]["nearest_identity"].median() > 0.7


def test_a_row_does_not_depend_on_its_neighbours(model, queries, together, monkeypatch):
    for part in ([queries[-3]], [queries[5]], queries[::2]):
        assert rows(model.predict(part)) == {name: together[name] for name, _ in part}
    monkeypatch.setattr(model_module, "BLOCK_PROTEINS", 20)
    backwards = model.predict(queries[::-1])
    assert rows(backwards) == together
    assert backwards["id"].tolist() == [name for name, _ in queries[::-1]]


def test_a_genome_keeps_its_places(model, queries, together, monkeypatch):
    monkeypatch.setattr(model_module, "BLOCK_PROTEINS", 20)
    genes = (
        Query(name, sequence, "here", "contig", 7 * i + 1, 7 * i + 6, "-")
        for i, (name, sequence) in enumerate(queries)
    )
    screened = model.screen(genes)
    assert rows(screened) == together
    assert screened["start"].tolist() == [7 * i + 1 for i in range(len(queries))]
    assert set(screened["contig"] + screened["strand"]) == {"contig-"}
    assert model.screen([]).columns.tolist() == screened.columns.tolist()


def test_features_are_kept_on_disk_if_asked_for(model, work):
    own = work.test.sequences
    new = [first + second for first, second in zip(own[:8], own[8:16], strict=True)]
    before = cache_size()
    answers = model.predict(new)
    assert cache_size() == before
    keeping = replace(model, scorer=replace(model.scorer, cached=True))
    assert keeping.predict(new).equals(answers)
    assert cache_size() > before


def test_the_best_hit_is_that_of_the_method(model, queries, work):
    method = BestHit().fit(work.train, work.val, work.profile)
    expected = method.probabilities([sequence for _, sequence in queries]).argmax(axis=1)
    screened = model.screen(as_queries(queries))
    assert screened["best_hit"].tolist() == [CLASSES[i] for i in expected]
    assert screened["best_hit"].nunique() > 5
    assert screened["best_hit"].iloc[-2] == CLASSES[NONARG]


def test_other_methods_give_classes_without_evidence(work):
    majority = Majority().fit(work.train, work.val, work.profile)
    frame = model_of(majority, "majority").predict(work.test.sequences[:3])
    assert frame["class"].nunique() == 1
    assert (frame[["nearest_id", "agree", "flags"]] == "").all(axis=None)


def test_references_are_built_once_and_mended(own_cache, work):
    proteins = work.train
    first = open_references("key", lambda: proteins)
    again = open_references("key", lambda: pytest.fail("built again"))
    assert again.table.equals(first.table)
    assert (again.sequences, again.profiles) == (first.sequences, first.profiles)
    whole = first.sequences.read_bytes()
    first.sequences.write_bytes(whole[:-9] + b"damaged!!")
    assert open_references("key", lambda: proteins).sequences.read_bytes() == whole
    written, built = own_cache / "references" / "key" / searches.FILES, []
    written.unlink()  # as where it was interrupted
    open_references("key", lambda: built.append(1) or proteins)
    written.write_text('{"files": {}}')  # as of another version
    open_references("key", lambda: built.append(2) or proteins)
    assert built == [1, 2]


@pytest.fixture
def shipped(tmp_path):
    return shutil.copytree(SHIPPED, tmp_path / "shipped")


def test_the_shipped_model_is_whole_and_small():
    manifest = read_manifest(SHIPPED)
    assert manifest["classes"] == list(CLASSES)
    assert manifest["metrics"]["random"]["macro_f1"] > 0.97
    assert {path.name for path in SHIPPED.iterdir()} == {MANIFEST, "model.safetensors"}
    assert sum(path.stat().st_size for path in SHIPPED.iterdir()) < 200_000


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 99}, "another version"),
        ({"classes": ["a"]}, "another version"),
        ({"files": {"model.safetensors": "0" * 64}}, "not the file of"),
        ({"files": None}, "holds no model"),
    ],
)
def test_a_model_that_does_not_fit_is_refused(shipped, change, message):
    manifest = json.loads((shipped / MANIFEST).read_text()) | change
    (shipped / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(UserError, match=message):
        load_model(shipped)


def test_the_test_proteins_are_references_unless_they_are_held_out(
    shipped, weights, own_cache, tmp_path, monkeypatch
):
    dataset = load_dataset(workspaces.write_folder(tmp_path / "data"))
    monkeypatch.setattr(model_module, "load_dataset", lambda _: dataset)
    monkeypatch.setattr(model_module, "ensure_open_data", lambda: tmp_path / "data")
    manifest = json.loads((shipped / MANIFEST).read_text())
    manifest["data"]["sha256"] = dataset.identity
    manifest["weights"] = {"sha256": weights.sha256, "name": weights.name}
    monkeypatch.setattr(model_module, "load_weights", lambda *_: weights)
    (shipped / MANIFEST).write_text(json.dumps(manifest))
    labelled = [*dataset.train, *dataset.val, *dataset.test]
    models = [load_model(shipped), load_model(shipped, held_out=True)]
    for model, records in zip(models, (labelled, labelled[: -len(dataset.test)]), strict=True):
        found = model.references.table["sequence"].tolist()
        assert found == [record.sequence for record in records]
    assert models[0].identity == load_model(shipped).identity != models[1].identity


def test_a_missing_file_is_named(shipped, tmp_path):
    (shipped / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"model\.safetensors is missing"):
        load_model(shipped)
    with pytest.raises(UserError, match="holds no model"):
        load_model(tmp_path)


def test_a_model_gets_the_weights_it_was_fitted_on(weights, own_cache, monkeypatch):
    ours = weights.sha256
    monkeypatch.delenv("ARG_ESM2_WEIGHTS", raising=False)
    monkeypatch.setattr(weights_module, "cached_files", lambda: iter(()))
    asked = []

    def fetched(source, sha256):
        return (source, sha256, lambda: asked.append(source))

    monkeypatch.setattr(
        weights_module, "_sources", lambda: (fetched("other", "0" * 64), fetched("right", ours))
    )
    monkeypatch.setattr(
        weights_module, "read_weights", lambda path, source: Weights({}, source, ours)
    )
    load = weights_module.load_weights.__wrapped__  # not the answer of another test
    assert load(ours, "ours").source == "right"
    assert asked == ["right"]
    with pytest.raises(UserError, match=r"weights theirs, which are not published.*ARG_ESM2"):
        load("f" * 64, "theirs")
