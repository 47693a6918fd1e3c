"""Normalisation and GELU in every form of the kernel, against float64."""

import pytest
import torch
import torch.nn.functional as F
from kernels import DTYPES, distance
from torch import nn

from arg_utils.esm2 import fastest
from arg_utils.esm2.pointwise import kernel_add_norm, kernel_gelu, torch_add_norm

ROUNDING = {torch.float32: 3e-7, torch.bfloat16: 0.0025}


def rows(dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor, nn.LayerNorm]:
    """Ordinary rows, rows of one number, and rows far from zero, wide or narrow."""
    torch.manual_seed(4)
    hidden, update, norm = torch.randn(37, 320), torch.randn(37, 320), nn.LayerNorm(320)
    hidden[32], update[32] = 0, 0
    hidden[33], update[33] = 1, 1
    hidden[34] += 1000
    hidden[35] *= 1e4
    hidden[36], update[36] = hidden[36] * 1e-4, update[36] * 1e-4
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    return hidden, update.to(dtype), norm.requires_grad_(False)


@pytest.mark.parametrize("dtype", DTYPES)
def test_add_norm(kernel, dtype):
    hidden, update, norm = rows(dtype)
    grads = torch.randn(37, 320), torch.randn(37, 320).to(dtype)
    leaves = [hidden.clone().requires_grad_(), update.clone().requires_grad_()]
    after, normed = kernel_add_norm(kernel, *leaves, norm)
    slopes = torch.autograd.grad((after, normed), leaves, grads)
    assert torch.equal(leaves[0], hidden), "what gradients are needed of is not overwritten"
    assert torch.equal(after, hidden + update)
    exact = (hidden + update).double().requires_grad_()
    wanted = F.layer_norm(exact, (320,), norm.weight.double(), norm.bias.double(), norm.eps)
    slope = torch.autograd.grad((exact, wanted), exact, [g.double() for g in grads])[0]
    assert (normed.dtype, slopes[0].dtype, slopes[1].dtype) == (dtype, torch.float32, dtype)
    for i in range(37):
        far = 1000 if i in (33, 34) else 1  # differences from a mean far above them
        assert distance(normed[i], wanted[i]) < far * ROUNDING[dtype]
        assert distance(slopes[0][i], slope[i]) < far * ROUNDING[torch.float32]
        assert distance(slopes[1][i], slope[i]) < far * ROUNDING[dtype]
    with torch.no_grad():
        again = kernel_add_norm(kernel, hidden, update, norm)
    assert again[0] is hidden
    assert torch.equal(hidden, after)
    assert torch.equal(again[1], normed)


@pytest.mark.parametrize("dtype", DTYPES)
def test_gelu(kernel, dtype):
    """Exact near zero relative to the number, elsewhere to a float32 of 1; beyond 6 to 50, too."""
    odd = [0.0, 1e-6, -1e-6, 1e-30, -1e-30, 6.0, -6.0, 6.1, -6.1, 12.0, -12.0, 50.0, -50.0]
    x = torch.cat([torch.tensor([*odd, 0.0, 0.0, 0.0]), torch.linspace(-9, 9, 4096)]).to(dtype)
    grad = torch.linspace(-3, 3, len(x)).to(dtype)
    leaf = x.clone().requires_grad_()
    found = kernel_gelu(kernel, leaf)
    (slope,) = torch.autograd.grad(found, leaf, grad)
    exact = x.double().requires_grad_()
    wanted = F.gelu(exact)
    (steep,) = torch.autograd.grad(wanted, exact, grad.double())
    relative = 2**-8 if dtype == torch.bfloat16 else 3e-7
    assert (found.dtype, slope.dtype) == (dtype, dtype)
    error = (found.double() - wanted).abs()
    assert (
        error <= torch.minimum(relative * x.double().abs(), relative * wanted.abs() + 1e-7)
    ).all()
    assert ((slope.double() - steep).abs() <= relative * steep.abs() + 1e-6).all()
    with torch.no_grad():
        assert torch.equal(kernel_gelu(kernel, x), found)
    assert torch.equal(x, found), "without gradients it is written in place"


@pytest.mark.parametrize("dtype", DTYPES)
def test_what_is_no_number_stays_none(kernel, dtype):
    hidden, update, norm = rows(dtype)
    hidden[3, 7], update[5, 300] = torch.nan, torch.nan
    _, normed = kernel_add_norm(kernel, hidden, update, norm)
    assert normed.isnan().any(1).nonzero().flatten().tolist() == [3, 5]
    assert kernel_gelu(kernel, torch.full((16,), torch.nan, dtype=dtype)).isnan().all()


def test_what_the_kernel_cannot_do_goes_to_pytorch(monkeypatch):
    """Numbers that fill no vector, other types, nothing to add, and a norm that is trained."""
    monkeypatch.setattr(fastest, "_proven", lambda dtype: pytest.fail("the kernel was asked for"))
    x = torch.randn(17)
    assert torch.equal(fastest.gelu(x), F.gelu(x))
    assert torch.equal(fastest.gelu(x[:16].double()), F.gelu(x[:16].double()))
    hidden, update, norm = rows(torch.float32)
    trained = nn.LayerNorm(320)
    for given in ((update, trained), (None, norm), (update.bfloat16(), norm)):
        found = fastest.add_norm(hidden, *given, torch.float32)
        assert all(map(torch.equal, found, torch_add_norm(hidden, *given, torch.float32)))
    fastest.add_norm(hidden, update, trained, torch.float32)[1].sum().backward()
    assert trained.weight.grad is not None
