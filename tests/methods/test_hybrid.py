"""The hybrid on small families whose features are made up: what it leans on, and when."""

import numpy as np
import pytest
import synthetic

from arg_utils.data.proteins import Proteins
from arg_utils.errors import UserError
from arg_utils.esm2.weights import WIDTH
from arg_utils.labels import NONARG
from arg_utils.methods import frozen
from arg_utils.methods.evidence import Column
from arg_utils.methods.hybrid import Hybrid
from arg_utils.settings import load_profile

CLASSES = (2, 7, 11, NONARG)


def told(sequences, features):
    """Features that tell the class by a protein's last residue, with some noise."""
    rng = np.random.default_rng(len(sequences))
    out = rng.normal(0, 0.3, (len(sequences), WIDTH * len(features))).astype(np.float32)
    for row, sequence in zip(out, sequences, strict=True):
        row[ord(sequence[-1]) % 7 * 20 :][:20] += 1.5
    return out


@pytest.fixture(scope="module")
def train():
    """Four families a class, four proteins each; the last residue tells the class."""
    rng = np.random.default_rng(3)
    sequences, labels = [], []
    for place, label in enumerate(CLASSES):
        made = synthetic.families(rng, 4, 4, 0.8, 100)
        sequences += [sequence + "ACDE"[place] for sequence in made]
        labels += [label] * len(made)
    return Proteins(sequences, np.array(labels))


@pytest.fixture(scope="module")
def val(train):
    """A family of class 7 that training has not; its last residue tells class 2."""
    made = synthetic.families(np.random.default_rng(12), 1, 5, 0.9, 100)
    return Proteins([sequence + "A" for sequence in made], np.array([7] * 5))


@pytest.fixture(scope="module")
def fitted(train, val, module_cache):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(frozen, "embed", told)
        yield Hybrid().fit(train, val, load_profile("smoke"))


def test_relatives_are_known_by_their_hits(fitted, train):
    rng = np.random.default_rng(1)
    queries = [synthetic.mutant(rng, s[:-1], 0.85) + s[-1] for s in train.sequences[::3]]
    found = fitted.probabilities(queries)
    assert found.shape == (len(queries), 15)
    assert found.sum(axis=1) == pytest.approx(1, abs=1e-5)
    assert (found.argmax(axis=1) == train.labels[::3]).all()


def test_strangers_are_known_by_the_model(fitted):
    """No hit at all: neither an ARG by default nor a nonarg."""
    rng = np.random.default_rng(77)
    queries = [synthetic.protein(rng, 100) + "ACDE"[i % 4] for i in range(12)]
    assert fitted.predict(queries).tolist() == [CLASSES[i % 4] for i in range(12)]


def test_a_background_teaches_the_model_what_is_no_arg(fitted, train, val, monkeypatch):
    """Proteins of a kind that the references lack; nothing is compared with them."""
    monkeypatch.setattr(frozen, "embed", told)
    rng = np.random.default_rng(78)
    kind = [synthetic.protein(rng, 100) + "F" for _ in range(30)]
    taught = Hybrid(kind[:20]).fit(train, val, load_profile("smoke"))
    before, after = (method.probabilities(kind[20:])[:, NONARG] for method in (fitted, taught))
    assert (after > 0.9).all()
    assert after.mean() > before.mean() + 0.2
    assert taught.references.sequences == fitted.references.sequences
    assert (taught.predict(train.sequences) == train.labels).all()


def test_saved_and_loaded_says_the_same(fitted, train, tmp_path):
    fitted.save(tmp_path)
    queries = train.sequences[:5]
    expected = fitted.probabilities(queries)
    loaded = Hybrid.load(tmp_path)
    np.testing.assert_allclose(loaded.probabilities(queries), expected, atol=1e-6)
    assert loaded.threshold == fitted.threshold
    assert fitted.probabilities([]).shape == (0, 15)
    (tmp_path / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(UserError, match=r"model\.safetensors cannot be read"):
        Hybrid.load(tmp_path)


def test_validation_is_predicted_before_it_is_learned(fitted, val):
    """Held out, the features mislead; once known, relatives of the family have hits in it."""
    held = fitted.held_out(val)
    assert held.sum(axis=1) == pytest.approx(1, abs=1e-5)
    assert (held.argmax(axis=1) == 2).all()
    relatives = [synthetic.mutant(np.random.default_rng(5), s, 0.9) for s in val.sequences]
    assert (fitted.probabilities(relatives)[:, 7] > 1e6 * held[:, 7]).all()
    assert len(fitted.references.labels) == 64 + 5


def test_what_is_uncertain_is_calibrated_on_families(fitted):
    assert 0 <= fitted.threshold <= 1
    assert fitted.training_seconds > 0
    assert fitted.trainable_parameters == 15 * 961 + len(Column)
