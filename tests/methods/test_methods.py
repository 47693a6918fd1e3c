"""What the methods say of proteins; fitting, saving and loading them is tested with the runs."""

import numpy as np
import pytest
import synthetic
import torch

from arg_utils.data.proteins import Proteins
from arg_utils.errors import UserError
from arg_utils.labels import NONARG
from arg_utils.methods import course
from arg_utils.methods.baselines import BestHit, Majority
from arg_utils.methods.classifier import adapt_head, new_head
from arg_utils.methods.registry import METHODS
from arg_utils.settings import LoraClassifier, load_profile

SMOKE = load_profile("smoke")


@pytest.fixture(scope="module")
def family():
    """Three proteins of one family, labelled bacitracin, and one of another, beta_lactam."""
    rng = np.random.default_rng(4)
    one, other = synthetic.protein(rng, 120), synthetic.protein(rng, 120)
    sequences = [synthetic.mutant(rng, one, 0.8) for _ in range(3)] + [other]
    return Proteins([*sequences], np.array([5, 5, 5, 11]))


def test_majority_is_the_training_sets_most_frequent_class(family, tmp_path):
    method = Majority().fit(family, family, SMOKE)
    method.save(tmp_path)
    for known in (method, Majority.load(tmp_path)):
        found = known.probabilities(["M", "MK"])
        assert found.dtype == np.float32
        assert found[:, 5].tolist() == [0.75, 0.75]
        assert found[:, 11].tolist() == [0.25, 0.25]
        assert known.predict(["M"]).tolist() == [5]


def test_best_hit_is_the_class_of_the_nearest_and_nonarg_without_a_hit(family, own_cache):
    rng = np.random.default_rng(5)
    method = BestHit().fit(family, family, SMOKE)
    queries = [
        synthetic.mutant(rng, family.sequences[3], 0.7),
        synthetic.protein(rng, 120),
        family.sequences[1],
    ]
    assert method.predict(queries).tolist() == [11, NONARG, 5]
    assert method.probabilities(queries).sum(axis=1).tolist() == [1, 1, 1]
    assert method.probabilities(queries[1:2]).argmax() == NONARG, "not one hit in all"
    assert method.probabilities([]).shape == (0, 15)


def test_a_nonarg_training_protein_is_written_and_read_as_one(tmp_path):
    method = BestHit().fit(Proteins(["MKV", "MKL"], np.array([NONARG, 0])), None, SMOKE)
    method.save(tmp_path)
    loaded = BestHit.load(tmp_path).train
    assert loaded.sequences == ["MKV", "MKL"]
    assert loaded.labels.tolist() == [NONARG, 0]


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
