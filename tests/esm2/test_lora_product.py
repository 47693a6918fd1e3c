import pytest
import torch
from torch import nn

from arg_utils.esm2.lora import to_lora
from arg_utils.esm2.lora_product import is_adapted, lora_factors, merged_product


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
    down, up = lora_factors(modules)
    assert down.shape == (7, 12)
    assert up.shape == (21, 7)
    update = up @ down
    first, _, last = update.split([5, 7, 9])
    torch.testing.assert_close(first, modules[0].lora_B @ modules[0].lora_A * 8 / 3)
    torch.testing.assert_close(last, modules[2].lora_B @ modules[2].lora_A * 2.0)
    assert not update[5:12].any()


def test_what_is_adapted():
    modules = layers()
    assert [is_adapted(m) for m in modules] == [True, False, True]
    modules[0].merged = True
    assert not is_adapted(modules[0])


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float64, 1e-9), (torch.bfloat16, 2e-2)])
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
        return merged_product(x, down, up, matrix, bias.to(dtype))

    for found, expected in zip(run(merged, dtype), run(plain, torch.float64), strict=True):
        assert found.dtype == dtype
        assert (found.double() - expected).norm() < bound * expected.norm()


def test_no_gradient_is_computed_for_inputs_that_need_none():
    x, matrix = torch.randn(6, 12), torch.randn(21, 12)
    down, up = torch.randn(4, 12, requires_grad=True), torch.randn(21, 4, requires_grad=True)
    merged_product(x, down, up, matrix, torch.zeros(21)).sum().backward()
    assert x.grad is None
    assert down.grad.shape == (4, 12)
    assert up.grad.shape == (21, 4)
