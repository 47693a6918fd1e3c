"""LoRA: a fresh one changes nothing, only its own parameters train, and saving is safe."""

import copy

import loralib
import numpy as np
import pytest
import synthetic
import torch
from safetensors.torch import save_file
from torch import nn

from arg_utils.errors import UserError
from arg_utils.esm2.attention import Matrix
from arg_utils.esm2.lora import (
    count_trainable,
    inject,
    load_state,
    lora_factors,
    merged_product,
    save_state,
    to_lora,
    trainable_state,
)
from arg_utils.esm2.model import Esm2
from arg_utils.settings import LoraBlocks

BLOCK_MODULES = LoraBlocks().modules
PROTEINS = [synthetic.protein(np.random.default_rng(9), n) for n in (30, 12)]


class Classifier(nn.Module):
    """A backbone with a head, in as few lines as shows what is at stake."""

    def __init__(self, weights, precision=torch.float32):
        super().__init__()
        self.backbone = Esm2(weights, precision)
        self.head = nn.Linear(320, 15)

    def forward(self, sequences):
        tokens, packing = self.backbone.pack(sequences)
        (hidden,) = self.backbone(tokens, packing)
        return self.head(hidden[packing.starts[:-1]])


def adapted(weights, top=6, modules=BLOCK_MODULES, dropout=0.1, precision=torch.float32, seed=0):
    torch.manual_seed(seed)
    model = Classifier(weights, precision)
    inject(model.backbone.layers[6 - top :], modules, 4, 8, dropout)
    loralib.mark_only_lora_as_trainable(model)
    model.head.requires_grad_()
    return model


def train_a_little(model, steps=2):
    """Large steps, so that each trainable parameter has changed visibly."""
    model.train()
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.5)
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(PROTEINS), torch.tensor([3, 11])).backward()
        optimizer.step()


def scores(model):
    model.eval()
    with torch.inference_mode():
        return model(PROTEINS)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("modules", [BLOCK_MODULES, ("q_proj", "v_proj")])
def test_a_fresh_lora_model_is_its_base_exactly(weights, precision, modules):
    torch.manual_seed(0)
    base = Classifier(weights, precision)
    model = copy.deepcopy(base)
    inject(model.backbone.layers, modules, 8, 16, 0.1)
    loralib.mark_only_lora_as_trainable(model)
    assert torch.equal(scores(model), scores(base))
    model.train()
    assert torch.equal(model(PROTEINS), scores(base)), "dropout must not matter yet either"


@pytest.mark.parametrize(("top", "modules"), [(6, BLOCK_MODULES), (2, ("q_proj", "v_proj"))])
def test_only_lora_and_head_get_gradients_and_change(weights, top, modules):
    model = adapted(weights, top, modules)
    place = {name: "self_attn." if name.endswith("_proj") else "" for name in modules}
    intended = {"head.weight", "head.bias"} | {
        f"backbone.layers.{layer}.{place[name]}{name}.lora_{factor}"
        for layer in range(6 - top, 6)
        for name in modules
        for factor in "AB"
    }
    before = {name: t.clone() for name, t in model.state_dict().items()}
    train_a_little(model)
    with_gradient = {name for name, p in model.named_parameters() if p.grad is not None}
    after = model.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert with_gradient == changed == intended
    assert set(trainable_state(model)) == intended
    shapes = {"fc1": 320 + 1280, "fc2": 320 + 1280}
    expected = 321 * 15 + top * sum(4 * shapes.get(name, 640) for name in modules)
    assert count_trainable(model) == expected


@pytest.mark.parametrize("mode", [True, False], ids=["train", "eval"])
def test_saved_and_loaded_gives_equal_scores(weights, tmp_path, mode):
    """In eval() loralib by default merges the update into the weight: applied twice once loaded."""
    model = adapted(weights)
    train_a_little(model)
    expected = scores(model)
    model.train(mode)
    save_state(trainable_state(model), tmp_path / "some.safetensors", note="x")
    torch.save(model.state_dict(), tmp_path / "all.pt")
    for seed in (1, 2):
        fresh = adapted(weights, seed=seed)
        fresh.train(seed == 1)
        assert not torch.allclose(scores(fresh), expected, atol=0.1)
        load_state(fresh, tmp_path / "some.safetensors")
        assert torch.equal(scores(fresh), expected)
        whole = adapted(weights, seed=seed)
        whole.load_state_dict(torch.load(tmp_path / "all.pt", weights_only=True))
        assert torch.equal(scores(whole), expected)


def test_the_double_merge_is_real_without_our_setting():
    """What `to_lora` guards against, shown on loralib's own layer."""
    torch.manual_seed(0)
    layer, x = loralib.Linear(6, 3, r=2), torch.randn(4, 6)
    nn.init.normal_(layer.lora_B)
    layer.eval()
    expected, saved = layer(x), copy.deepcopy(layer.state_dict())
    fresh = loralib.Linear(6, 3, r=2)
    fresh.load_state_dict(saved)
    fresh.eval()
    assert not torch.allclose(fresh(x), expected)
    assert not to_lora(nn.Linear(6, 3), 2, 4).merge_weights


def test_to_lora_holds_the_trained_layer_and_its_mode():
    """loralib's train() returns None, so ``layer.train().forward`` or a chained eval() breaks."""
    assert loralib.Linear(6, 3, r=2).train() is None
    for mode in (True, False):
        linear, x = nn.Linear(6, 3, bias=mode).train(mode), torch.randn(4, 6)
        layer = to_lora(linear, 2, 4, 0.5)
        assert torch.equal(layer(x), linear(x))
        assert (layer.scaling, layer.lora_A.shape) == (2.0, (2, 6))
        assert isinstance(layer, loralib.Linear)
        assert layer.training is mode
        assert layer.lora_dropout.training is mode


def test_a_look_in_inference_mode_does_not_spoil_the_next_backward_pass(weights):
    """fair-esm's rotary tables, filled under inference_mode, break it; ours are made outside."""
    model = adapted(weights)
    with torch.inference_mode():
        model(PROTEINS)
    train_a_little(model, 1)
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.requires_grad)


def test_lora_in_the_stacked_product_is_lora_by_the_book(weights):
    """q, k and v come out of one product; loralib's forward, layer by layer, must agree."""
    model = adapted(weights, modules=("q_proj", "v_proj", "fc1"))
    train_a_little(model)
    model.eval()
    block = model.backbone.layers[2]
    x = torch.randn(10, 320)
    parts = (block.self_attn.q_proj, block.self_attn.k_proj, block.self_attn.v_proj)
    for modules in (parts, (block.fc1,), (block.fc2,)):
        x = torch.randn(10, modules[0].in_features)
        expected = torch.cat([module(x) for module in modules], dim=1)
        torch.testing.assert_close(model.backbone._project(modules, x), expected)


def test_inject_replaces_what_is_named_and_says_what_is_no_module(weights):
    model = Classifier(weights)
    with pytest.raises(ValueError, match=r"block 0 has no linear layer called \['qproj'\]"):
        inject(model.backbone.layers, ("qproj", "fc1"), 4, 8)
    assert not any("lora_" in name for name, _ in model.named_parameters())
    inject(model.backbone.layers[4:], ("v_proj", "fc2"), 4, 8)
    adapted = [n for n, m in model.named_modules() if isinstance(m, loralib.Linear)]
    places = [f"backbone.layers.{n}" for n in (4, 5)]
    assert adapted == [f"{p}.{leaf}" for p in places for leaf in ("self_attn.v_proj", "fc2")]


def test_a_file_of_another_model_is_refused_and_changes_nothing(tmp_path):
    model, path = nn.Linear(6, 3), tmp_path / "m.safetensors"
    state = trainable_state(model)
    for wrong, culprit in (
        ({"other": torch.zeros(3), **state}, "other"),
        ({"weight": torch.zeros(3, 5), "bias": state["bias"]}, "weight"),
        ({"weight": state["weight"] + 1}, "bias"),
        ({}, "bias"),
    ):
        save_file(wrong, path)
        with pytest.raises(UserError, match=rf"m\.safetensors does not belong .* in {culprit}"):
            load_state(model, path)
        assert all(torch.equal(t, state[name]) for name, t in trainable_state(model).items())


def test_a_missing_or_damaged_file_is_named(tmp_path):
    path = tmp_path / "m.safetensors"
    for content in (None, b"", b"junk" * 20):
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(UserError, match=r"m\.safetensors cannot be read"):
            load_state(nn.Linear(2, 2), path)


def layers() -> list[nn.Linear]:
    """Two adapted layers that have learned something, with a plain one between them."""
    torch.manual_seed(0)
    made = [nn.Linear(12, out) for out in (5, 7, 9)]
    for place, rank in ((0, 3), (2, 4)):
        made[place] = to_lora(made[place], r=rank, alpha=8)
        nn.init.normal_(made[place].lora_B)
    return made


def test_factors_give_each_layer_its_own_update():
    modules = layers()
    first, plain, last = (up @ down for down, up in lora_factors(modules))
    torch.testing.assert_close(first, modules[0].lora_B @ modules[0].lora_A * 8 / 3)
    torch.testing.assert_close(last, modules[2].lora_B @ modules[2].lora_A * 2.0)
    assert plain.shape == (7, 12)
    assert not plain.any()


@pytest.mark.parametrize(
    ("dtype", "bound"), [(torch.float64, 1e-9), (torch.float32, 1e-6), (torch.bfloat16, 2e-2)]
)
def test_outputs_and_gradients_are_those_of_three_products(dtype, bound):
    torch.manual_seed(1)
    x, weight, bias = torch.randn(30, 12), torch.randn(21, 12), torch.randn(21)
    down, up, grad = torch.randn(4, 12), torch.randn(21, 4), torch.randn(30, 21)

    def run(function, kind):
        leaves = [t.detach().clone().to(kind).requires_grad_() for t in (x, down, up)]
        out = function(*leaves)
        out.backward(grad.to(kind))
        return [out.detach(), *(leaf.grad for leaf in leaves)]

    def plain(x, down, up):
        return x @ weight.double().T + bias.double() + (x @ down.T) @ up.T

    def merged(x, down, up):
        matrix = (weight.double() + up.detach().double() @ down.detach().double()).to(dtype)
        return merged_product(x, [(down, up)], Matrix.new(matrix, bias.to(dtype)))

    for found, expected in zip(run(merged, dtype), run(plain, torch.float64), strict=True):
        assert found.dtype == dtype
        assert (found.double() - expected).norm() < bound * expected.norm()


@pytest.mark.parametrize("rows", [512, 37], ids=["whole tiles", "some rows"])
@pytest.mark.parametrize("rank", [8, 5, 24])
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 3e-6), (torch.bfloat16, 0.01)])
def test_the_kernel_s_gradients_of_layers_side_by_side(kernel, rows, rank, dtype, bound):
    """Of two adapted layers with a plain one between them, against float64."""
    torch.manual_seed(2)
    widths, ranks = (64, 32, 96), (rank, 0, 3)
    x, grad = torch.randn(rows, 320).to(dtype), torch.randn(rows, sum(widths)).to(dtype)
    factors = [(torch.randn(r, 320), torch.randn(n, r)) for n, r in zip(widths, ranks, strict=True)]
    leaves = [factor.requires_grad_() for pair in factors for factor in pair]
    matrix = torch.randn(sum(widths), 320).to(dtype)
    out = merged_product(
        x, factors, Matrix.new(matrix, torch.zeros(sum(widths), dtype=dtype)), kernel
    )
    slopes = torch.autograd.grad(out, leaves, grad)
    parts = grad.double().split(widths, dim=1)
    for (down, up), g, own in zip(
        factors, parts, zip(slopes[::2], slopes[1::2], strict=True), strict=True
    ):
        down, up = down.detach().double(), up.detach().double()
        for found, wanted in zip(
            own, ((g @ up).T @ x.double(), g.T @ (x.double() @ down.T)), strict=True
        ):
            assert found.shape == wanted.shape
            assert found.dtype == torch.float32
            assert (found - wanted).norm() <= bound * wanted.norm()
