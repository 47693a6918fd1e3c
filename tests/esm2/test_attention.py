"""Every form of the kernel, and PyTorch, against attention, normalisation and GELU written out."""

import pytest
import torch
import torch.nn.functional as F
from kernels import DTYPES, distance, example, expected, plain_attention, run
from torch import nn

from arg_utils.esm2.attention import Packing, add_norm, attention, gelu, rotary_tables

LENGTHS = {
    **{str(n): (n,) for n in (1, 15, 16, 17, 31, 32, 33, 350, 1024)},
    "mixed": (1, 350, 15, 17, 16, 33),
    "equal": (20, 20, 20),
    "no spare row": (400, 112),
}
BOUNDS = {torch.float32: (4e-6, 5e-6), torch.bfloat16: (0.005, 0.01)}
LARGE_BOUNDS = {torch.float32: (5e-4, 5e-4), torch.bfloat16: (0.01, 0.2)}
ROUNDING = {torch.float32: 3e-7, torch.bfloat16: 0.0025}
both = pytest.mark.parametrize("dtype", DTYPES)


@both
@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
def test_kernel_is_attention_by_definition(kernel, lengths, dtype):
    """Lengths around the lanes of a vector, the rows of a tile and the keys of a block."""
    qkv, grad, packing = example(list(lengths), dtype)
    out, slope = run(attention, qkv, grad, packing, kernel)
    wanted = expected(lengths, dtype, 1.0)
    assert out.dtype == slope.dtype == dtype
    assert distance(out[: packing.used], wanted[0]) < BOUNDS[dtype][0]
    assert distance(slope, wanted[1]) < BOUNDS[dtype][1]
    with torch.no_grad():
        assert torch.equal(attention(qkv, packing, kernel), out)


@both
@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
def test_pytorch_s_is_attention_by_definition(lengths, dtype):
    qkv, grad, packing = example(list(lengths), dtype)
    out, slope = run(attention, qkv, grad, packing)
    wanted = expected(lengths, dtype, 1.0)
    assert distance(out[: packing.used], wanted[0]) < 2 * BOUNDS[dtype][0]
    assert distance(slope, wanted[1]) < 2 * BOUNDS[dtype][1]


@both
@pytest.mark.parametrize("lengths", [(1,), (33,), (350,), (1, 350, 15, 17, 16, 33)])
def test_large_scores(kernel, lengths, dtype):
    """Scores of hundreds: powers of 2 of them only fit if the highest is taken off first.

    The gradient is a small difference of large numbers then, hence its bound. Where there are tiles
    queries and keys are rounded, which moves such scores: so are those they are compared with.
    """
    tiles = kernel.form.name == "amx" and dtype == torch.bfloat16
    qkv, grad, packing = example(list(lengths), dtype, 20.0)
    out, slope = run(attention, qkv, grad, packing, kernel)
    wanted = expected(lengths, dtype, 20.0, tiles)
    assert distance(out[: packing.used], wanted[0]) < LARGE_BOUNDS[dtype][0]
    assert distance(slope, wanted[1]) < LARGE_BOUNDS[dtype][1]


@both
@pytest.mark.parametrize("size", [9.0, 11.7, 13.0, 60.0])
def test_scores_far_below_the_product_of_norms(kernel, size, dtype):
    """Queries against their keys: what bounds the scores lies twice itself above them."""
    qkv, grad, packing = example([70], dtype, 0.05)
    qkv[:, 0, :, 7] = size  # the pair of dimensions that hardly turns
    qkv[:, 1, :, 7] = -size
    out, slope = run(attention, qkv, grad, packing, kernel)
    tiles = kernel.form.name == "amx" and dtype == torch.bfloat16
    wanted = run(plain_attention, qkv.double(), grad.double(), [70], tiles)
    bound = 0.01 if dtype == torch.bfloat16 else 1e-3
    assert distance(out[: packing.used], wanted[0]) < bound
    assert distance(slope[:, 2], wanted[1][:, 2]) < bound
    assert slope.isfinite().all()


@both
def test_spare_rows_are_zero_whatever_lies_there(kernel, dtype):
    """They belong to no sequence: nothing comes of them, and nothing flows back into them."""
    for chosen in (kernel, None):
        qkv, grad, packing = example([5, 30], dtype)
        assert packing.rows > packing.used
        clean = run(attention, qkv, grad, packing, chosen)
        qkv[packing.used :], grad[packing.used :] = torch.nan, torch.nan
        for found, wanted in zip(run(attention, qkv, grad, packing, chosen), clean, strict=True):
            assert not found[packing.used :].any()
            assert torch.equal(found[: packing.used], wanted[: packing.used])


@both
def test_sequences_do_not_see_each_other(kernel, dtype):
    """Not even what is no number in one reaches another; a sequence alone gives the same bits."""
    qkv, grad, packing = example([40, 7, 21], dtype)
    alone = Packing.from_lengths([7])
    wanted = run(attention, qkv[40:][: alone.rows].clone(), grad[40:], alone, kernel)
    qkv[:40], qkv[47:], grad[:40], grad[47:] = (torch.nan,) * 4
    for found, own in zip(run(attention, qkv, grad, packing, kernel), wanted, strict=True):
        assert torch.equal(found[40:47], own[:7])
        assert own[:7].isfinite().all()


@both
def test_neither_strides_nor_threads_change_a_bit(kernel, dtype):
    qkv, grad, packing = example([9, 40, 120], dtype)
    wanted = run(attention, qkv, grad, packing, kernel)
    turned = qkv.transpose(0, 2).contiguous().transpose(0, 2)
    grad = grad.transpose(0, 1).contiguous().transpose(0, 1)
    assert not turned.is_contiguous()
    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        found = run(attention, turned, grad, packing, kernel)
    finally:
        torch.set_num_threads(threads)
    assert all(map(torch.equal, found, wanted))


def test_what_the_kernel_cannot_do_goes_to_pytorch_or_is_an_error(kernel):
    """Other widths of a head, numbers that fill no vector, nothing to add, a norm that is trained.

    And float64 must not be read as if it were float32.
    """
    qkv, grad, packing = example([9, 40], dim=32)
    assert torch.equal(*(run(attention, qkv, grad, packing, k)[1] for k in (kernel, None)))
    x = torch.randn(17)
    assert torch.equal(gelu(x, kernel), F.gelu(x))
    hidden, update, norm = rows(torch.float32)
    trained = nn.LayerNorm(320)
    for given in ((update, trained), (None, norm)):
        found, wanted = (add_norm(hidden, *given, torch.float32, k) for k in (kernel, None))
        assert all(map(torch.equal, found, wanted))
    add_norm(hidden, update, trained, torch.float32, kernel)[1].sum().backward()
    assert trained.weight.grad is not None
    with pytest.raises(TypeError, match="float64"):
        gelu(x[:16].double(), kernel)


def test_tables_made_in_inference_mode_serve_a_later_backward_pass(kernel):
    for chosen in (kernel, None):
        rotary_tables.cache_clear()
        qkv, grad, packing = example([12])
        with torch.inference_mode():
            attention(qkv, packing, chosen)
        run(attention, qkv, grad, packing, chosen)


def test_packing_places_each_row_and_rounds_up():
    packing = Packing.from_lengths([3, 1, 2])
    assert packing.starts.tolist() == [0, 3, 4, 6]
    assert packing.positions.tolist() == [0, 1, 2, 0, 0, 1]
    assert packing.sequence.tolist() == [0, 0, 0, 1, 2, 2]
    assert (packing.longest, packing.used, packing.rows) == (3, 6, 512)
    assert [Packing.from_lengths([n]).rows for n in (512, 513, 640, 641)] == [512, 640, 640, 768]


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


@both
def test_add_norm(kernel, dtype):
    hidden, update, norm = rows(dtype)
    grads = torch.randn(37, 320), torch.randn(37, 320).to(dtype)
    leaves = [hidden.clone().requires_grad_(), update.clone().requires_grad_()]
    after, normed = add_norm(*leaves, norm, dtype, kernel)
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
        again = add_norm(hidden, update, norm, dtype, kernel)
    assert again[0] is hidden
    assert torch.equal(hidden, after)
    assert torch.equal(again[1], normed)


@both
def test_gelu(kernel, dtype):
    """Exact near zero relative to the number, elsewhere to a float32 of 1; beyond 6 to 50, too."""
    odd = [0.0, 1e-6, -1e-6, 1e-30, -1e-30, 6.0, -6.0, 6.1, -6.1, 12.0, -12.0, 50.0, -50.0]
    x = torch.cat([torch.tensor([*odd, 0.0, 0.0, 0.0]), torch.linspace(-9, 9, 4096)]).to(dtype)
    grad = torch.linspace(-3, 3, len(x)).to(dtype)
    found, slope = run(lambda leaf: gelu(leaf, kernel), x, grad)
    wanted, steep = run(F.gelu, x.double(), grad.double())
    relative = 2**-8 if dtype == torch.bfloat16 else 3e-7
    assert (found.dtype, slope.dtype) == (dtype, dtype)
    bound = torch.minimum(relative * x.double().abs(), relative * wanted.abs() + 1e-7)
    assert ((found.double() - wanted).abs() <= bound).all()
    assert ((slope.double() - steep).abs() <= relative * steep.abs() + 1e-6).all()
    with torch.no_grad():
        assert torch.equal(gelu(x, kernel), found)
    assert torch.equal(x, found), "without gradients it is written in place"


@both
def test_what_is_no_number_stays_none(kernel, dtype):
    hidden, update, norm = rows(dtype)
    hidden[3, 7], update[5, 300] = torch.nan, torch.nan
    _, normed = add_norm(hidden, update, norm, dtype, kernel)
    assert normed.isnan().any(1).nonzero().flatten().tolist() == [3, 5]
    assert gelu(torch.full((16,), torch.nan, dtype=dtype), kernel).isnan().all()
