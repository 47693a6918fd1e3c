"""What the methods say of proteins; fitting, saving and loading them is tested with the runs."""

from dataclasses import replace

import numpy as np
import pytest
import synthetic
import torch

from arg_utils.data.proteins import Proteins, subset
from arg_utils.errors import UserError
from arg_utils.labels import NONARG
from arg_utils.methods import DEFAULT_METHOD, METHODS, course
from arg_utils.methods.baselines import BestHit, Majority
from arg_utils.methods.course import adapt_head, new_head
from arg_utils.settings import PROFILES, LoraClassifier, load_profile

SMOKE = load_profile("smoke")


@pytest.fixture(scope="module")
def family():
    """Three proteins of one family, labelled bacitracin, and one of another, beta_lactam."""
    rng = np.random.default_rng(4)
    one, other = synthetic.protein(rng, 120), synthetic.protein(rng, 120)
    sequences = [synthetic.mutant(rng, one, 0.8) for _ in range(3)] + [other]
    return Proteins([*sequences], np.array([5, 5, 5, 11]))


@pytest.fixture
def other():
    """A protein of neither family, labelled fosfomycin."""
    return Proteins([synthetic.protein(np.random.default_rng(6), 120)], np.array([3]))


def test_the_names_are_those_of_the_files():
    assert list(METHODS) == [
        "majority", "best_hit", "nearest_neighbour", "frozen_linear", "lora_classifier",
        "layers_linear", "lora_blocks", "full_finetuning", "hybrid",
    ]  # fmt: skip
    assert all(METHODS[name].name == name for name in METHODS)
    assert len({method.title for method in METHODS.values()}) == len(METHODS)
    assert DEFAULT_METHOD == "hybrid"


def test_whatever_watches_validation_is_given_train_alone():
    given = {name: method.reference for name, method in METHODS.items()}
    watching = {"frozen_linear", "lora_classifier", "lora_blocks", "full_finetuning"}
    assert {name for name in given if given[name] == "train"} == watching
    assert {given[name] for name in set(METHODS) - watching} == {"train + validation"}


def test_only_expensive_methods_are_tested_on_fewer_folds_than_the_profile_names():
    for profile in PROFILES.values():
        folds = {name: method.homology_folds(profile) for name, method in METHODS.items()}
        assert all(set(each) <= set(profile.homology_folds) for each in folds.values())
        assert folds["hybrid"] == profile.homology_folds
    assert METHODS["lora_blocks"].homology_folds(PROFILES["laptop"]) == (0,)


def test_a_method_depends_on_its_own_settings_alone():
    laptop = PROFILES["laptop"]
    changed = replace(laptop, lora_blocks=replace(laptop.lora_blocks, epochs=7), seeds=(0, 9))
    differing = [m for m in METHODS if METHODS[m].settings(laptop) != METHODS[m].settings(changed)]
    assert differing == ["lora_blocks"]
    folds = replace(laptop, lora_blocks=replace(laptop.lora_blocks, folds=(0, 1)))
    assert METHODS["lora_blocks"].settings(laptop) == METHODS["lora_blocks"].settings(folds)


def test_majority_is_the_most_frequent_class(family, other, tmp_path):
    method = Majority().fit(family, other, SMOKE)
    method.save(tmp_path)
    for fitted in (method, Majority.load(tmp_path)):
        probabilities = fitted.probabilities(["M", "MK"])
        assert probabilities.dtype == np.float32
        np.testing.assert_allclose(probabilities[:, [3, 5, 11]], [[0.2, 0.6, 0.2]] * 2, rtol=1e-6)
        assert fitted.predict(["M"]).tolist() == [5]
    assert method.held_out(other)[0, [3, 5, 11]].tolist() == [0, 0.75, 0.25]


def test_best_hit_is_the_class_of_the_nearest_and_nonarg_without_a_hit(family, other, own_cache):
    rng = np.random.default_rng(5)
    method = BestHit().fit(family, other, SMOKE)
    queries = [
        synthetic.mutant(rng, family.sequences[3], 0.7),
        synthetic.protein(rng, 120),
        family.sequences[1],
    ]
    assert method.predict(queries).tolist() == [11, NONARG, 5]
    assert method.probabilities(queries).sum(axis=1).tolist() == [1, 1, 1]
    assert method.predict(queries[1:2]).tolist() == [NONARG], "not one hit in all"
    assert method.probabilities([]).shape == (0, 15)


def test_validation_is_a_reference_but_not_when_it_is_scored(family, other, own_cache, tmp_path):
    method = BestHit().fit(family, other, SMOKE)
    assert method.predict(other.sequences).tolist() == [3]
    assert method.held_out(other).argmax(axis=1).tolist() == [NONARG]
    method.save(tmp_path)
    assert BestHit.load(tmp_path).predict(other.sequences).tolist() == [3]


def test_reference_proteins_are_written_and_read_with_their_headers(tmp_path):
    headers = ["sp|P1|x", "ACN1.1|FEATURES|NCBI|aminoglycoside|aac(6')-Ib|more", "sp|P2|y"]
    train = Proteins(["MKV", "MKL", "MKA"], np.array([NONARG, 0, NONARG]), headers)
    train, val = subset(train, [0, 1]), subset(train, [2])
    for known in (True, False):
        val = val if known else replace(val, headers=None)
        BestHit().fit(train, val, SMOKE).save(tmp_path)
        references = BestHit.load(tmp_path).references
        assert references.sequences == ["MKV", "MKL", "MKA"]
        assert references.labels.tolist() == [NONARG, 0, NONARG]
        assert (references.headers == headers) is known
        assert len(set(references.headers)) == 3


def test_a_trained_lora_head_is_saved_with_its_update(tmp_path, monkeypatch):
    """In a short run its best epoch may be the fresh one, whose update is zero; here it is not."""
    features = np.random.default_rng(1).normal(size=(9, 320)).astype(np.float32)
    monkeypatch.setattr(course, "embed", lambda sequences: features)
    method = course.LoraOnClassifier()
    method.head = adapt_head(new_head(320, 0), LoraClassifier(), seed=1)
    fresh = method.probabilities(["M"] * 9)
    with torch.no_grad():
        method.head.lora_B.normal_()
    expected = method.probabilities(["M"] * 9)
    assert np.abs(expected - fresh).max() > 0.1
    method.save(tmp_path)
    found = course.LoraOnClassifier.load(tmp_path).probabilities(["M"] * 9)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["majority", "frozen_linear", "lora_classifier", "lora_blocks"])
def test_a_missing_or_damaged_model_is_named(name, tmp_path, weights):
    with pytest.raises(UserError, match=r"model\.safetensors cannot be read"):
        METHODS[name].load(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(UserError, match=r"model\.safetensors cannot be read"):
        METHODS[name].load(tmp_path)


def test_a_model_of_another_method_is_refused(family, tmp_path, weights):
    Majority().fit(family, family, SMOKE).save(tmp_path)
    for other in ("frozen_linear", "layers_linear"):
        with pytest.raises(UserError, match="does not belong to this model"):
            METHODS[other].load(tmp_path)
    with pytest.raises(UserError, match="it tells no settings"):
        METHODS["lora_blocks"].load(tmp_path)
