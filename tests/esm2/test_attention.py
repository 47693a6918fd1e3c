"""Every form of the kernel, and PyTorch's attention, against a softmax written out."""

import pytest
import torch
from kernels import DTYPES, distance, example, expected, plain_attention, run

from arg_utils.esm2 import fastest
from arg_utils.esm2.attention import Packing, kernel_attention, padded_attention, rotary_tables

LENGTHS = {
    **{str(n): (n,) for n in (1, 15, 16, 17, 31, 32, 33, 350, 1024)},
    "mixed": (1, 350, 15, 17, 16, 33),
    "equal": (20, 20, 20),
    "no spare row": (400, 112),
}
BOUNDS = {torch.float32: (4e-6, 5e-6), torch.bfloat16: (0.005, 0.01)}
LARGE_BOUNDS = {torch.float32: (5e-4, 5e-4), torch.bfloat16: (0.01, 0.2)}


@pytest.fixture
def of_kernel(kernel):
    """Attention by one form of the kernel, whatever its speed."""
    return lambda qkv, packing: kernel_attention(kernel, qkv, packing)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
def test_kernel_is_attention_by_definition(of_kernel, lengths, dtype):
    """Lengths around the lanes of a vector, the rows of a tile and the keys of a block."""
    qkv, grad, packing = example(list(lengths), dtype)
    out, slope = run(of_kernel, qkv, grad, packing)
    wanted = expected(lengths, dtype, 1.0)
    assert out.dtype == slope.dtype == dtype
    assert distance(out[: packing.used], wanted[0]) < BOUNDS[dtype][0]
    assert distance(slope, wanted[1]) < BOUNDS[dtype][1]
    with torch.no_grad():
        assert torch.equal(of_kernel(qkv, packing), out)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
def test_pytorch_s_is_attention_by_definition(lengths, dtype):
    qkv, grad, packing = example(list(lengths), dtype)
    out, slope = run(padded_attention, qkv, grad, packing)
    wanted = expected(lengths, dtype, 1.0)
    assert distance(out[: packing.used], wanted[0]) < 2 * BOUNDS[dtype][0]
    assert distance(slope, wanted[1]) < 2 * BOUNDS[dtype][1]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("lengths", [(1,), (33,), (350,), (1, 350, 15, 17, 16, 33)])
def test_large_scores(kernel, of_kernel, lengths, dtype):
    """Scores of hundreds: powers of 2 of them only fit if the highest is taken off first.

    The gradient is a small difference of large numbers then, hence its bound. Where there are tiles
    queries and keys are rounded, which moves such scores: so are those they are compared with.
    """
    tiles = kernel.form.name == "amx" and dtype == torch.bfloat16
    qkv, grad, packing = example(list(lengths), dtype, 20.0)
    out, slope = run(of_kernel, qkv, grad, packing)
    wanted = expected(lengths, dtype, 20.0, tiles)
    assert distance(out[: packing.used], wanted[0]) < LARGE_BOUNDS[dtype][0]
    assert distance(slope, wanted[1]) < LARGE_BOUNDS[dtype][1]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [9.0, 11.7, 13.0, 60.0])
def test_scores_far_below_the_product_of_norms(kernel, of_kernel, size, dtype):
    """Queries against their keys: what bounds the scores lies twice itself above them."""
    qkv, grad, packing = example([70], dtype, 0.05)
    qkv[:, 0, :, 7] = size  # the pair of dimensions that hardly turns
    qkv[:, 1, :, 7] = -size
    out, slope = run(of_kernel, qkv, grad, packing)
    tiles = kernel.form.name == "amx" and dtype == torch.bfloat16
    wanted = run(plain_attention, qkv.double(), grad.double(), [70], tiles)
    bound = 0.01 if dtype == torch.bfloat16 else 1e-3
    assert distance(out[: packing.used], wanted[0]) < bound
    assert distance(slope[:, 2], wanted[1][:, 2]) < bound
    assert slope.isfinite().all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_spare_rows_are_zero_whatever_lies_there(of_kernel, dtype):
    """They belong to no sequence: nothing comes of them, and nothing flows back into them."""
    qkv, grad, packing = example([5, 30], dtype)
    assert packing.rows > packing.used
    for function in (of_kernel, padded_attention):
        clean = run(function, qkv, grad, packing)
        qkv[packing.used :], grad[packing.used :] = torch.nan, torch.nan
        for found, wanted in zip(run(function, qkv, grad, packing), clean, strict=True):
            assert not found[packing.used :].any()
            assert torch.equal(found[: packing.used], wanted[: packing.used])


@pytest.mark.parametrize("dtype", DTYPES)
def test_sequences_do_not_see_each_other(of_kernel, dtype):
    """Not even what is no number in one reaches another; a sequence alone gives the same bits."""
    qkv, grad, packing = example([40, 7, 21], dtype)
    alone = Packing.from_lengths([7])
    wanted = run(of_kernel, qkv[40:][: alone.rows].clone(), grad[40:], alone)
    qkv[:40], qkv[47:], grad[:40], grad[47:] = (torch.nan,) * 4
    for found, own in zip(run(of_kernel, qkv, grad, packing), wanted, strict=True):
        assert torch.equal(found[40:47], own[:7])
        assert own[:7].isfinite().all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_neither_strides_nor_threads_change_a_bit(of_kernel, dtype):
    qkv, grad, packing = example([9, 40, 120], dtype)
    wanted = run(of_kernel, qkv, grad, packing)
    turned = qkv.transpose(0, 2).contiguous().transpose(0, 2)
    grad = grad.transpose(0, 1).contiguous().transpose(0, 1)
    assert not turned.is_contiguous()
    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        found = run(of_kernel, turned, grad, packing)
    finally:
        torch.set_num_threads(threads)
    assert all(map(torch.equal, found, wanted))


@pytest.mark.parametrize(("dtype", "dim"), [(torch.float64, 16), (torch.float32, 32)])
def test_what_the_kernel_cannot_do_goes_to_pytorch(dtype, dim):
    """float64 in particular must not be read as if it were float32."""
    qkv, grad, packing = example([9, 40], dtype, dim=dim)
    found = run(fastest.attention, qkv, grad, packing)
    wanted = run(plain_attention, qkv.double(), grad.double(), [9, 40])
    assert distance(found[0][: packing.used], wanted[0]) < 1e-5
    assert distance(found[1], wanted[1]) < 1e-5


def test_tables_made_in_inference_mode_serve_a_later_backward_pass(of_kernel):
    for function in (of_kernel, padded_attention):
        rotary_tables.cache_clear()
        qkv, grad, packing = example([12])
        with torch.inference_mode():
            function(qkv, packing)
        run(function, qkv, grad, packing)


def test_packing_places_each_row_and_rounds_up():
    packing = Packing.from_lengths([3, 1, 2])
    assert packing.starts.tolist() == [0, 3, 4, 6]
    assert packing.positions.tolist() == [0, 1, 2, 0, 0, 1]
    assert packing.sequence.tolist() == [0, 0, 0, 1, 2, 2]
    assert (packing.longest, packing.used, packing.rows) == (3, 6, 512)
    assert [Packing.from_lengths([n]).rows for n in (512, 513, 640, 641)] == [512, 640, 640, 768]
