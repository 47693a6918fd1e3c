"""The form for ARM processors, compiled for one and run by an emulator of it."""

import shutil
import subprocess
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from kernels import DTYPES, distance, example, plain_attention, run

from arg_utils.esm2.attention import rotary_tables
from arg_utils.esm2.kernel import FLAGS, FORMS, SOURCE

COMPILER, EMULATOR = "aarch64-linux-gnu-g++", "qemu-aarch64"
LENGTHS = [1, 70, 16, 33, 100]
BOUNDS = {torch.float32: 3e-6, torch.bfloat16: 0.005}


@pytest.fixture(scope="module", params=["neon", "portable"])
def driver(request, tmp_path_factory) -> list[str]:
    """The command that runs the driver for ARM."""
    for tool, package in ((COMPILER, "g++-aarch64-linux-gnu"), (EMULATOR, "qemu-user")):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is missing (Debian and Ubuntu: apt install {package})")
    program = tmp_path_factory.mktemp("arm") / request.param
    sources = [SOURCE, Path(__file__).with_name("kernel_driver.cpp")]
    command = [
        COMPILER,
        *FLAGS,
        *FORMS[request.param].flags,
        *map(str, sources),
        "-o",
        str(program),
    ]
    subprocess.run(command, check=True, timeout=120)
    return [EMULATOR, "-L", "/usr/aarch64-linux-gnu", str(program)]


def content(*tensors: torch.Tensor) -> bytes:
    """The tensors' numbers one after the other, as they lie in memory."""
    return b"".join(bytes(t.detach().contiguous().view(torch.uint8).numpy()) for t in tensors)


@pytest.mark.parametrize("dtype", DTYPES)
def test_arm_computes_what_float64_does(driver, tmp_path, dtype):
    qkv, grad, packing = example(LENGTHS, dtype)
    qkv, grad = qkv[: packing.used].clone(), grad[: packing.used].clone()
    torch.manual_seed(0)
    hidden, grad_after, gain, bias = (torch.randn(n, 320) for n in (9, 9, 1, 1))
    update, grad_normed = (torch.randn(9, 320).to(dtype) for _ in range(2))
    x, slope = (torch.cat([torch.tensor([0.0, 1e-6, -1e-6, 50.0, -50.0]), 3 * torch.randn(1019)])
                .to(dtype) for _ in range(2))  # fmt: skip
    down, up = torch.randn(5, 320), torch.randn(320, 5)
    head = torch.tensor([dtype == torch.bfloat16, len(LENGTHS), 3, packing.longest, 9, 320, 1024])
    given, results = tmp_path / "given", tmp_path / "results"
    given.write_bytes(content(
        head.int(), packing.starts, *rotary_tables(packing.longest, 16), qkv, grad,
        hidden, update, gain, bias, grad_after, grad_normed, x, slope, down, up,
    ))  # fmt: skip
    subprocess.run([*driver, str(given), str(results)], check=True, timeout=120)

    sums = (hidden + update).double().requires_grad_()
    normed = F.layer_norm(sums, (320,), gain[0].double(), bias[0].double(), 1e-5)
    (through,) = torch.autograd.grad((sums, normed), sums, (grad_after, grad_normed.double()))
    numbers = x.double().requires_grad_()
    curved = F.gelu(numbers)
    mixed, grad_qkv = run(plain_attention, qkv.double(), grad.double(), LENGTHS)
    wanted = [
        (mixed, dtype), (grad_qkv, dtype), (sums, torch.float32), (normed, dtype),
        (through, torch.float32), (through, dtype), (curved, dtype),
        (torch.autograd.grad(curved, numbers, slope.double())[0], dtype),
        ((grad_normed.double() @ up.double()).T @ update.double(), torch.float32),
        (grad_normed.double().T @ (update.double() @ down.double().T), torch.float32),
    ]  # fmt: skip
    found = bytearray(results.read_bytes())
    assert len(found) == sum(t.numel() * kind.itemsize for t, kind in wanted)
    start = 0
    for tensor, kind in wanted:
        own = torch.frombuffer(found, dtype=kind, count=tensor.numel(), offset=start)
        start += tensor.numel() * kind.itemsize
        assert distance(own.view(tensor.shape), tensor) < BOUNDS[kind]
