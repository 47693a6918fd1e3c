"""The compiled kernel and PyTorch's attention, both against a softmax written out here."""

import ctypes
import os
import platform
import shutil
import subprocess
import sys
import textwrap
import warnings

import pytest
import torch

from arg_utils.esm2 import attention as module
from arg_utils.esm2.attention import Packing, attention, padded_attention, rotary_tables

needs_kernel = pytest.mark.skipif(
    shutil.which(os.environ.get("CXX", "c++")) is None,
    reason="no C++ compiler: there is no kernel to test",
)
# Builds without some of what the processor has, so that every way is tested where it can be.
WITHOUT = {"nothing": (), "tiles": ("-mno-amx-bf16",)}
WITHOUT["dot products"] = (*WITHOUT["tiles"], "-mno-avx512bf16")
X86 = platform.machine() in ("x86_64", "AMD64")
LENGTHS = {
    "one": [1],
    "below": [15],
    "whole": [16],
    "above": [17],
    "two": [33],
    "long": [350],
    "mixed": [1, 350, 15, 17, 16, 33],
    "equal": [20, 20, 20],
    "full": [100, 28],  # no spare row
}


def plain_attention(qkv: torch.Tensor, lengths: list[int]) -> torch.Tensor:
    """Rotary embedding and softmax by their definitions: [used, heads, dim]."""
    dim = qkv.shape[-1]
    frequency = 10000 ** (-torch.arange(0, dim, 2, dtype=qkv.dtype) / dim)
    out = []
    for part in qkv[: sum(lengths)].split(lengths):
        angle = torch.arange(len(part), dtype=qkv.dtype)[:, None] * frequency
        turn = torch.polar(torch.ones_like(angle), angle)[:, None]
        pairs = [torch.complex(part[:, i, :, : dim // 2], part[:, i, :, dim // 2 :]) * turn
                 for i in (0, 1)]  # fmt: skip
        query, key = (torch.cat([p.real, p.imag], dim=-1) for p in pairs)
        scores = torch.einsum("ihd,jhd->hij", query, key) / dim**0.5
        out.append(torch.einsum("hij,jhd->ihd", scores.softmax(-1), part[:, 2]))
    return torch.cat(out)


def example(lengths, dtype=torch.float32, scale=1.0, heads=3, dim=16):
    """Queries, keys and values in all rows, spare ones too, and a gradient for the output."""
    packing = Packing.from_lengths(lengths)
    generator = torch.Generator().manual_seed(sum(lengths))
    qkv = torch.randn(packing.rows, 3, heads, dim, generator=generator)
    qkv[:, :2] *= scale
    grad = torch.randn(packing.rows, heads, dim, generator=generator)
    return qkv.to(dtype), grad.to(dtype), packing


def run(function, qkv, grad, *arguments):
    """Output and gradient of ``function``."""
    qkv = qkv.clone().requires_grad_()
    out = function(qkv, *arguments)
    out.backward(grad[: len(out)])
    return out.detach(), qkv.grad


def distance(found, expected) -> float:
    """Norm of the difference over the norm of what is expected."""
    return float((found.double() - expected.double()).norm() / expected.double().norm())


@needs_kernel
@pytest.mark.parametrize("scale", [1.0, 20.0])
@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
def test_float32_kernel_against_the_definition(lengths, scale):
    """Lengths around the 16 lanes of a vector and the six rows of a block; scores up to hundreds.

    With scores that large the gradient is a small difference of large numbers, hence its bound.
    """
    qkv, grad, packing = example(lengths, scale=scale)
    expected = run(plain_attention, qkv.double(), grad.double(), lengths)
    bound = 2.5e-6 if scale == 1 else 5e-4
    for function in (attention, padded_attention):
        out, slope = run(function, qkv, grad, packing)
        assert distance(out[: packing.used], expected[0]) < bound
        assert distance(slope, expected[1]) < bound


@needs_kernel
def test_there_is_a_kernel_wherever_there_is_a_compiler():
    assert module.load_kernel() is not None


@needs_kernel
@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
def test_kernel_equals_the_fallback(lengths):
    qkv, grad, packing = example(lengths)
    ours, theirs = (run(f, qkv, grad, packing) for f in (attention, padded_attention))
    assert distance(ours[0], theirs[0]) < 1e-5
    assert distance(ours[1], theirs[1]) < 1e-5


@pytest.fixture(scope="module", params=WITHOUT if X86 else ["nothing"])
def without(request):
    """The kernel, built without what the parameter names."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "FLAGS", module.FLAGS + WITHOUT[request.param])
        module.load_kernel.cache_clear()
        yield module.load_kernel()
    module.load_kernel.cache_clear()


@needs_kernel
@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
def test_bfloat16_kernel(lengths, without):
    """bfloat16 has 8 significant bits; operands of products are rounded, sums and softmax not."""
    assert without is not None
    qkv, grad, packing = example(lengths, torch.bfloat16)
    expected = run(plain_attention, qkv.double(), grad.double(), lengths)
    out, slope = run(attention, qkv, grad, packing)
    assert out.dtype == slope.dtype == torch.bfloat16
    assert distance(out[: packing.used], expected[0]) < 0.005
    assert distance(slope, expected[1]) < 0.01
    fallback = run(padded_attention, qkv, grad, packing)
    assert distance(fallback[0][: packing.used], expected[0]) < 0.01
    assert distance(fallback[1], expected[1]) < 0.02


@pytest.mark.parametrize("function", [attention, padded_attention])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_spare_rows_are_zero_whatever_lies_there(function, dtype):
    """They belong to no sequence: nothing comes of them, and nothing flows back into them."""
    qkv, grad, packing = example([5, 30], dtype)
    assert packing.rows > packing.used
    qkv[packing.used :] = torch.nan
    grad[packing.used :] = torch.nan
    out, slope = run(function, qkv, grad, packing)
    assert out.shape == (packing.rows, 3, 16)
    for tensor in (out, slope):
        assert not tensor[packing.used :].any()
        assert tensor[: packing.used].isfinite().all()


@pytest.mark.parametrize("function", [attention, padded_attention])
def test_sequences_do_not_see_each_other(function):
    qkv, _, packing = example([40, 7, 21])
    alone = Packing.from_lengths([7])
    part = torch.zeros(alone.rows, 3, 3, 16)
    part[:7] = qkv[40:47]
    torch.testing.assert_close(function(qkv, packing)[40:47], function(part, alone)[:7])


@pytest.mark.parametrize(("dtype", "dim"), [(torch.float64, 16), (torch.float32, 32)])
def test_what_the_kernel_cannot_do_goes_to_pytorch(dtype, dim):
    """float64 in particular must not be read as if it were float32."""
    qkv, grad, packing = example([9, 40], dtype, dim=dim)
    found = run(attention, qkv, grad, packing)
    expected = run(plain_attention, qkv.double(), grad.double(), [9, 40])
    assert distance(found[0][: packing.used], expected[0]) < 1e-5
    assert distance(found[1], expected[1]) < 1e-5


@needs_kernel
def test_values_that_are_not_contiguous():
    qkv, grad, packing = example([9, 40])
    turned = qkv.transpose(0, 2).contiguous().transpose(0, 2)
    assert not turned.is_contiguous()
    for found, expected in zip(
        run(attention, turned, grad.transpose(0, 1).contiguous().transpose(0, 1), packing),
        run(attention, qkv, grad, packing),
        strict=True,
    ):
        assert torch.equal(found, expected)


def test_tables_made_in_inference_mode_serve_a_later_backward_pass():
    rotary_tables.cache_clear()
    qkv, grad, packing = example([12])
    with torch.inference_mode():
        padded_attention(qkv, packing)
        attention(qkv, packing)
    run(padded_attention, qkv, grad, packing)
    run(attention, qkv, grad, packing)


def test_packing_places_each_row_and_rounds_up():
    packing = Packing.from_lengths([3, 1, 2])
    assert packing.starts.tolist() == [0, 3, 4, 6]
    assert packing.positions.tolist() == [0, 1, 2, 0, 0, 1]
    assert packing.sequence.tolist() == [0, 0, 0, 1, 2, 2]
    assert (packing.longest, packing.used, packing.rows) == (3, 6, 128)
    assert Packing.from_lengths([128]).rows == 128
    assert Packing.from_lengths([128, 1]).rows == 256


load = module.load_kernel.__wrapped__  # not the cached function: its answer outlives the test


def test_without_a_compiler_there_is_a_warning_and_the_same_result(own_cache, monkeypatch):
    monkeypatch.setattr(module.shutil, "which", lambda name: None)
    with pytest.warns(UserWarning, match=r"no C\+\+ compiler found.*PyTorch"):
        assert load() is None
    monkeypatch.setattr(module, "load_kernel", lambda: None)
    qkv, _, packing = example([9, 40])
    found = attention(qkv, packing)[: packing.used]
    assert distance(found, plain_attention(qkv.double(), [9, 40])) < 1e-5


def test_a_compiler_that_fails_is_quoted(own_cache, monkeypatch, tmp_path):
    compiler = tmp_path / "c++"
    compiler.write_text("#!/bin/sh\necho no such processor >&2\nexit 1\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    monkeypatch.delenv("ARG_ATTENTION", raising=False)
    with pytest.warns(UserWarning, match="not built.*no such processor"):
        assert load() is None
    assert list((own_cache / "kernels").iterdir()) == []


@needs_kernel
def test_a_damaged_library_in_the_cache_is_built_again(own_cache, monkeypatch):
    monkeypatch.delenv("ARG_ATTENTION", raising=False)
    monkeypatch.setattr(module, "FLAGS", ("-std=c++17", "-O0", "-fno-math-errno"))
    (own_cache / "kernels").mkdir(parents=True, exist_ok=True)
    library = module._build(module.shutil.which("c++"))
    library.unlink()
    library.write_bytes(b"half a library")
    assert load().attention_forward
    assert library.stat().st_size > 1000


def test_the_kernel_can_be_switched_off(monkeypatch):
    monkeypatch.setenv("ARG_ATTENTION", "torch")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load() is None


BUILD = textwrap.dedent("""
    import sys, time
    from arg_utils.esm2 import attention
    attention.FLAGS = ("-std=c++17", "-O0", "-fno-math-errno", "-fno-trapping-math")
    time.sleep(max(0.0, float(sys.argv[1]) - time.time()))
    print(attention.load_kernel()._name)
""")


@needs_kernel
def test_processes_that_build_at_once_do_not_disturb_each_other(own_cache, monkeypatch):
    """Each compiles into a file of its own; whichever comes last replaces the same content."""
    import time

    command = [sys.executable, "-W", "error", "-c", BUILD, str(time.time() + 2.5)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    names = {process.communicate(timeout=120)[0].strip() for process in running}
    assert [process.returncode for process in running] == [0, 0]
    (name,) = names
    assert os.listdir(own_cache / "kernels") == [os.path.basename(name)]
    assert ctypes.CDLL(name).attention_forward
