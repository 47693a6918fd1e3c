"""The written-down gradients are autograd's, and LoRA on the head is what it claims to be."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from arg_utils.methods.classifier import (
    adapt_head,
    logits,
    merged_head,
    new_head,
    set_gradients,
    softmax,
)
from arg_utils.settings import LoraClassifier


def batch(size=5, width=12, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(size, width, generator=generator)
    return x, torch.randint(15, (size,), generator=generator)


def head_of(kind, dropout=0.0):
    plain = new_head(12, seed=1)
    if kind == "plain":
        return plain
    head = adapt_head(plain, LoraClassifier(r=3, alpha=7, dropout=dropout), seed=2)
    with torch.no_grad():
        head.lora_B.normal_(generator=torch.Generator().manual_seed(3))  # as if trained
    return head


@pytest.mark.parametrize(("kind", "dropout"), [("plain", 0), ("lora", 0), ("lora", 0.4)])
def test_closed_form_gradients_are_autograds(kind, dropout):
    """With dropout both draw the same mask, from the same seed."""
    head, (x, target) = head_of(kind, dropout), batch()
    head.train()
    traced = copy.deepcopy(head)
    torch.manual_seed(4)
    expected = F.cross_entropy(traced(x), target)
    expected.backward()
    torch.manual_seed(4)
    loss = set_gradients(head, x, F.one_hot(target, 15).float())
    torch.testing.assert_close(loss, expected.detach())
    found = {name: p.grad for name, p in head.named_parameters() if p.grad is not None}
    wanted = {name: p.grad for name, p in traced.named_parameters() if p.grad is not None}
    assert set(found) == ({"weight", "bias"} if kind == "plain" else {"lora_A", "lora_B"})
    torch.testing.assert_close(found, wanted)


def test_dropout_reaches_the_gradients():
    head, (x, target) = head_of("lora", 0.4), batch()
    gradients = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        set_gradients(head.train() or head, x, F.one_hot(target, 15).float())
        gradients.append(head.lora_A.grad.clone())
    assert torch.equal(gradients[0], gradients[1])
    assert not torch.equal(gradients[0], gradients[2])


def test_extreme_scores_give_finite_gradients():
    head, (x, target) = head_of("plain"), batch()
    loss = set_gradients(head, x * 1e4, F.one_hot(target, 15).float())
    assert loss.isfinite()
    assert head.weight.grad.isfinite().all()


def test_a_fresh_adapted_head_computes_what_the_trained_one_does():
    trained, (x, _) = new_head(12, seed=1), batch()
    before = {name: t.clone() for name, t in trained.state_dict().items()}
    head = adapt_head(trained, LoraClassifier(), seed=0)
    assert np.array_equal(logits(head, x), logits(trained, x))
    assert torch.equal(head.weight, before["weight"])
    assert torch.equal(head.bias, before["bias"])
    trainable = [name for name, p in head.named_parameters() if p.requires_grad]
    assert sorted(trainable) == ["lora_A", "lora_B"]
    assert (head.r, head.scaling, head.lora_dropout.p) == (8, 4.0, 0.1)


@pytest.mark.parametrize("kind", ["plain", "lora"])
def test_the_merged_head_is_the_same_function(kind):
    head, (x, _) = head_of(kind, 0.5), batch(50)
    merged = merged_head(head)
    assert type(merged) is torch.nn.Linear
    np.testing.assert_allclose(logits(merged, x), logits(head, x), rtol=1e-5, atol=1e-5)
    with torch.no_grad():
        merged.weight.zero_()
    assert head.weight.any(), "a copy, not a view"


def test_a_seed_decides_the_initial_values_and_nothing_else():
    torch.manual_seed(0)
    state = torch.get_rng_state()
    heads = [new_head(12, seed) for seed in (1, 1, 2)]
    adapted = [adapt_head(heads[0], LoraClassifier(), seed) for seed in (1, 1, 2)]
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(heads[0].weight, heads[1].weight)
    assert not torch.equal(heads[0].weight, heads[2].weight)
    assert torch.equal(adapted[0].lora_A, adapted[1].lora_A)
    assert not torch.equal(adapted[0].lora_A, adapted[2].lora_A)
    assert heads[0].weight.shape == (15, 12)


def test_scores_are_taken_without_dropout_and_leave_the_mode_alone():
    head, (x, _) = head_of("lora", 0.5), batch()
    for mode in (True, False):
        head.train(mode)
        assert np.array_equal(logits(head, x.numpy()), logits(head, x))
        assert head.training is mode


def test_softmax():
    found = softmax(np.array([[0.0] * 15, [1000.0] + [0.0] * 14], dtype=np.float32))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[0], 1 / 15, rtol=1e-6)
    assert found[1].tolist() == [1.0] + [0.0] * 14
