"""The fast forward pass is fair-esm's: same weights in, same numbers out, on real weights."""

import copy

import esm
import numpy as np
import pytest
import synthetic
import torch
from kernels import use

from arg_utils.errors import UserError
from arg_utils.esm2.batches import BATCH_TOKENS, MAX_RESIDUES, encode, token_batches
from arg_utils.esm2.kernel import load_kernel
from arg_utils.esm2.model import Esm2, best_precision

ALPHABET = esm.Alphabet.from_architecture("ESM-1b")
LAYERS = tuple(range(7))
rng = np.random.default_rng(5)
# Lengths that need padding in fair-esm's batch; one letter, rare letters, a stretch of one residue.
UNLIKE = [synthetic.protein(rng, n) for n in (60, 17, 131)] + ["M", "MXBZUOX", "G" * 40]
ALIKE = [synthetic.protein(rng, 30) for _ in range(3)]


@pytest.fixture(scope="module")
def fair(weights):
    """fair-esm's own model with these weights; its language-model head is random, and unused."""
    model = esm.model.esm2.ESM2(6, 320, 20, alphabet=ALPHABET)
    unread = model.load_state_dict(weights.state, strict=False)
    assert unread.unexpected_keys == []
    assert not any(name.startswith(("layers", "emb")) and "rot_emb" not in name
                   for name in unread.missing_keys)  # fmt: skip
    return model.eval()


@pytest.fixture(scope="module")
def fast(weights):
    return Esm2(weights, torch.float32).eval()


def expected(fair, sequences):
    """fair-esm's hidden states: for each sequence, [layers, residues + 2, 320]."""
    tokens = ALPHABET.get_batch_converter()([("", s) for s in sequences])[2]
    with torch.inference_mode():
        found = fair(tokens, repr_layers=LAYERS)["representations"]
    stacked = torch.stack([found[layer] for layer in LAYERS], dim=1)
    return [states[:, : len(s) + 2] for states, s in zip(stacked, sequences, strict=True)]


def hidden_states(model, sequences):
    """The same from the fast model."""
    tokens, packing = model.pack(sequences)
    with torch.inference_mode():
        stacked = torch.stack(model(tokens, packing, LAYERS))
    return list(stacked[:, : packing.used].split(packing.starts.diff().tolist(), dim=1))


@pytest.fixture(params=["kernel", "torch"])
def either_attention(request, monkeypatch):
    """Once with the compiled kernel, once with the fallback."""
    if request.param == "torch":
        use(monkeypatch, None)
    elif (kernel := load_kernel()) is None:
        pytest.skip("no C++ compiler: there is no kernel to test")
    else:
        use(monkeypatch, kernel)


@pytest.mark.parametrize(
    "sequences", [UNLIKE, ALIKE, ALIKE[:1]], ids=["padded", "equal lengths", "single"]
)
def test_every_layer_equals_fair_esm(fair, fast, either_attention, sequences):
    for found, wanted in zip(
        hidden_states(fast, sequences), expected(fair, sequences), strict=True
    ):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


def test_bfloat16_stays_near(fair, weights, either_attention):
    """Products in bfloat16, residual stream in float32: within 3 % of the norm at every layer."""
    model = Esm2(weights, torch.bfloat16)
    proteins = UNLIKE[:3]
    for found, wanted in zip(hidden_states(model, proteins), expected(fair, proteins), strict=True):
        assert found.dtype == torch.float32
        error = (found - wanted).norm(dim=(1, 2)) / wanted.norm(dim=(1, 2))
        assert error.max() < 0.03
        assert error[0] == 0  # embeddings are not rounded
        assert error[-1] > 1e-5  # it is bfloat16 that ran


def test_the_longest_window_and_what_lies_beyond(fair, fast):
    """1,022 residues are ESM-2's window; of a longer protein the rest is cut off."""
    longer = synthetic.protein(np.random.default_rng(6), 1100)
    window = longer[:MAX_RESIDUES]
    cut, whole, short = hidden_states(fast, [longer, window, longer[:1021]])
    assert cut.shape[1] == MAX_RESIDUES + 2
    assert short.shape[1] == MAX_RESIDUES + 1
    assert torch.equal(cut, whole)
    assert not torch.allclose(cut[-1, :1000], short[-1, :1000], atol=1e-4)
    (wanted,) = expected(fair, [window])
    torch.testing.assert_close(whole, wanted, rtol=1e-4, atol=1e-4)


def test_packed_tokens_end_in_padding(fast):
    tokens, packing = fast.pack(["MK", "M"])
    assert tokens[:7].tolist() == [*encode("MK"), *encode("M")]
    assert len(tokens) == packing.rows
    assert (tokens[7:] == ALPHABET.padding_idx).all()


def test_token_batches_keep_to_the_budget_longest_first():
    lengths = [50, 5000, 10, 1000, 3000, 20, 999]
    batches = [batch.tolist() for batch in token_batches(lengths)]
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    assert batches[:2] == [[1], [4]]  # longer than the budget: alone
    assert all(sum(lengths[i] for i in batch) <= BATCH_TOKENS for batch in batches[2:])
    flat = [lengths[i] for batch in batches for i in batch]
    assert flat == sorted(lengths, reverse=True)
    assert list(token_batches([])) == []


def test_the_backbone_is_frozen_and_its_stacked_matrices_follow_its_weights(weights):
    """Stacked copies of q, k, v are kept between calls; a changed weight must reach them."""
    model = Esm2(weights, torch.float32)
    assert not any(parameter.requires_grad for parameter in model.parameters())
    (before,) = hidden_states(model, ALIKE[:1])
    with torch.no_grad():
        model.layers[0].self_attn.k_proj.weight.mul_(1.5)
    (after,) = hidden_states(model, ALIKE[:1])
    assert torch.equal(before[0], after[0])
    assert not torch.allclose(before[1], after[1], atol=1e-3)
    model.load_state_dict(weights.state, strict=False)
    assert torch.equal(hidden_states(model, ALIKE[:1])[0], before)
    original = weights.state["layers.0.self_attn.k_proj.weight"]
    assert torch.equal(original, model.layers[0].self_attn.k_proj.weight), "weights are not shared"


def test_a_model_that_has_computed_can_be_copied(fast):
    """Its matrices are kept in an order of oneDNN's own, which no copy takes along."""
    before = hidden_states(fast, ALIKE)
    for found, wanted in zip(hidden_states(copy.deepcopy(fast), ALIKE), before, strict=True):
        assert torch.equal(found, wanted)


def test_precision_can_be_chosen(monkeypatch):
    monkeypatch.setenv("ARG_PRECISION", "float32")
    assert best_precision() == torch.float32
    monkeypatch.setenv("ARG_PRECISION", "bfloat16")
    assert best_precision() == torch.bfloat16
    monkeypatch.setenv("ARG_PRECISION", "half")
    with pytest.raises(UserError, match="ARG_PRECISION is 'half'"):
        best_precision()
