"""Pooled features: the right residues are pooled, and the cache never changes a number."""

import esm
import numpy as np
import pytest
import synthetic
import torch

from arg_utils.esm2 import embeddings
from arg_utils.esm2.attention import Packing
from arg_utils.esm2.embeddings import FEATURES, Feature, embed, pool
from arg_utils.esm2.model import Esm2
from arg_utils.esm2.store import SUFFIX

rng = np.random.default_rng(8)
PROTEINS = [synthetic.protein(rng, n) for n in (40, 12, 77, 1)]
FLOAT = torch.float32


@pytest.fixture(autouse=True)
def _apart(weights, own_cache):
    """Every test starts with an empty cache."""


@pytest.fixture
def no_forward(monkeypatch):
    """From when it is called, running the backbone is an error."""

    def forbid():
        def fail(*_):
            raise AssertionError("the backbone ran")

        monkeypatch.setattr(Esm2, "forward", fail)

    return forbid


def quick(sequences, weights, **options):
    return embed(sequences, weights=weights, precision=FLOAT, progress=False, **options)


@pytest.fixture(scope="module")
def by_fair_esm(weights):
    """fair-esm's hidden states of layers 3 and 6, [residues + 2, 320] for each protein."""
    alphabet = esm.Alphabet.from_architecture("ESM-1b")
    model = esm.model.esm2.ESM2(6, 320, 20, alphabet=alphabet)
    model.load_state_dict(weights.state, strict=False)
    tokens = alphabet.get_batch_converter()([("", s) for s in PROTEINS])[2]
    with torch.inference_mode():
        found = model.eval()(tokens, repr_layers=[3, 6])["representations"]
    return {
        layer: [x[: len(s) + 2].numpy() for x, s in zip(found[layer], PROTEINS, strict=True)]
        for layer in (3, 6)
    }


@pytest.mark.parametrize("layer", [3, 6])
@pytest.mark.parametrize(
    ("pooling", "reduce"),
    [
        ("mean", lambda x: x[1:-1].mean(axis=0)),
        ("max", lambda x: x[1:-1].max(axis=0)),
        ("bos", lambda x: x[0]),
    ],
)
def test_pooling_is_over_residues_as_fair_esm_sees_them(
    weights, by_fair_esm, layer, pooling, reduce
):
    found = quick(PROTEINS, weights, features=[Feature(layer, pooling)], cached=False)
    expected = np.stack([reduce(states) for states in by_fair_esm[layer]])
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_features_stand_side_by_side_in_the_order_asked(weights):
    features = [Feature(6, "max"), Feature(2, "mean"), Feature(0, "bos"), Feature(6, "max")]
    together = quick(PROTEINS, weights, features=features)
    assert together.shape == (4, 4 * 320)
    alone = [quick(PROTEINS, weights, features=[f], cached=False) for f in features]
    assert np.array_equal(together, np.hstack(alone))
    assert np.array_equal(together, quick(PROTEINS, weights, features=features))


def test_the_second_call_comes_from_the_cache(weights, no_forward, capsys):
    first = embed(PROTEINS, weights=weights, precision=FLOAT)
    assert "embeddings: 0 of 4 in the cache" in capsys.readouterr().out
    no_forward()
    asked = [*PROTEINS[::-1], PROTEINS[0]]
    again = embed(asked, weights=weights, precision=FLOAT)
    assert capsys.readouterr().out == ""
    assert np.array_equal(again, first[[3, 2, 1, 0, 0]])


def test_only_what_is_missing_is_computed_and_each_sequence_once(weights, monkeypatch):
    quick(PROTEINS[:2], weights)
    computed = []
    pack = Esm2.pack
    monkeypatch.setattr(Esm2, "pack", lambda m, s: (computed.extend(s), pack(m, s))[1])
    found = quick([PROTEINS[2], *PROTEINS, PROTEINS[2]], weights)
    assert sorted(computed) == sorted(PROTEINS[2:])
    assert np.array_equal(found[0], found[3])
    assert np.array_equal(found[0], found[5])
    monkeypatch.undo()
    expected = quick(PROTEINS, weights, cached=False)
    np.testing.assert_allclose(found[1:5], expected, rtol=1e-4, atol=1e-5)


def test_the_window_is_the_key(weights, no_forward):
    """Beyond 1,022 residues nothing is seen, so two proteins that differ there are one."""
    long = synthetic.protein(rng, 1100)
    first = quick([long], weights)
    no_forward()
    assert np.array_equal(quick([long[:1022] + "WWW"], weights), first)


def test_kinds_are_kept_apart(weights, no_forward, own_cache):
    """Other weights, precision, layer or pooling: never another's vectors."""
    quick(PROTEINS[:1], weights)
    other = type(weights)(weights.state, "another", "0" * 64)
    no_forward()
    for given, precision, feature in (
        (other, FLOAT, Feature()),
        (weights, torch.bfloat16, Feature()),
        (weights, FLOAT, Feature(5)),
        (weights, FLOAT, Feature(6, "bos")),
    ):
        with pytest.raises(AssertionError, match="the backbone ran"):
            embed(PROTEINS[:1], [feature], given, precision, progress=False)
    quick(PROTEINS[:1], weights)
    kinds = 3 * len(FEATURES) + 2  # of each weights and precision those always kept, and two more
    assert len(list((own_cache / "embeddings").iterdir())) == kinds


def test_what_heads_need_is_kept_with_whatever_is_computed(weights, no_forward):
    quick(PROTEINS, weights)
    no_forward()
    found = embed(PROTEINS, FEATURES, weights, FLOAT, progress=False)
    assert found.shape == (len(PROTEINS), 960)
    assert np.array_equal(found[:, 320:640], quick(PROTEINS, weights))


def test_a_listener_is_told_of_every_sequence_the_cached_ones_first(weights, monkeypatch, capsys):
    quick(PROTEINS[:2], weights)
    monkeypatch.setattr(embeddings, "BATCH_TOKENS", 60)
    told = []
    found = embed(PROTEINS, weights=weights, precision=FLOAT, progress=told.append)
    assert told == [2, 1, 1]
    assert capsys.readouterr().out == ""
    assert (found == quick(PROTEINS, weights, cached=False)).all()


@pytest.mark.parametrize("harm", ["flip", "cut"])
def test_damage_is_noticed_and_computed_again(weights, own_cache, harm):
    first = quick(PROTEINS, weights)
    (path,) = own_cache.glob(f"embeddings/*layer6-mean/*{SUFFIX}")
    content = bytearray(path.read_bytes())
    content[-700] ^= 0x40
    path.write_bytes(content if harm == "flip" else content[:-700])
    with pytest.warns(UserWarning, match="damaged embeddings?.* to be recomputed"):
        again = quick(PROTEINS, weights)
    assert np.array_equal(again, first)
    assert np.array_equal(quick(PROTEINS, weights), first)


def test_an_interruption_keeps_what_was_flushed(weights, monkeypatch, own_cache):
    monkeypatch.setattr(embeddings, "FLUSH_SECONDS", -1.0)
    monkeypatch.setattr(embeddings, "BATCH_TOKENS", 30)
    forward, calls = Esm2.forward, []

    def stop_at_the_third(*arguments):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return forward(*arguments)

    monkeypatch.setattr(Esm2, "forward", stop_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        quick(PROTEINS, weights)
    monkeypatch.setattr(Esm2, "forward", forward)
    seen = []
    pack = Esm2.pack
    monkeypatch.setattr(Esm2, "pack", lambda m, s: (seen.extend(s), pack(m, s))[1])
    found = quick(PROTEINS, weights)
    assert list(map(len, seen)) == [40]  # the longest and the shortest were kept, in two batches
    np.testing.assert_allclose(found, quick(PROTEINS, weights, cached=False), rtol=1e-4, atol=1e-5)


def test_pool_by_hand():
    packing = Packing.from_lengths([5, 3])
    hidden = torch.full((packing.rows, 2), torch.nan)
    hidden[: packing.used, 0] = torch.tensor([9.0, 1, 2, 6, 9, 7, 4, 7])
    hidden[: packing.used, 1] = -hidden[: packing.used, 0]
    assert pool(hidden, packing, "mean").tolist() == [[3, -3], [4, -4]]
    assert pool(hidden, packing, "max").tolist() == [[6, -1], [4, -4]]
    assert pool(hidden, packing, "bos").tolist() == [[9, -9], [7, -7]]
    with pytest.raises(ValueError, match="choose mean, max or bos"):
        pool(hidden, packing, "median")
