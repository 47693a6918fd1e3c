"""The kernel is used where it is right and faster, and what was found is kept."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import kernels
import pytest
import torch
from kernels import DTYPES

from arg_utils.esm2 import fastest
from arg_utils.esm2.kernel import Kernel

OUTPUTS = {  # what each function writes, as places among its arguments
    "attention_forward": [1], "attention_backward": [4], "add_norm_forward": [5],
    "add_norm_backward": [5, 6], "gelu_forward": [1], "gelu_backward": [2],
    "lora_gradients": [4, 5],
}  # fmt: skip


@pytest.fixture
def portable(tmp_path, monkeypatch) -> Kernel:
    """A kernel of which nothing is known yet; it seems fast."""
    monkeypatch.delenv("ARG_ATTENTION", raising=False)
    monkeypatch.setattr(fastest, "LENGTHS", (60, 33, 16, 1))
    seem(monkeypatch, (1.0, 1.0), (2.0, 3.0))
    return replace(kernels.built("portable"), path=tmp_path / "kernel.so")


def seem(patch: pytest.MonkeyPatch, kernel: tuple, torch: tuple) -> None:
    """Milliseconds of kernel and PyTorch, forward and with backward."""
    patch.setattr(fastest, "_times", lambda way, *_: kernel if way else torch)


def never(*_: object, **options: object) -> None:
    raise AssertionError("it was measured again")


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_right_and_fast_kernel_is_used_and_never_measured_again(
    portable, monkeypatch, capsys, dtype
):
    found = fastest.proof(portable, dtype)
    assert found["used"]
    assert 0 < found["error_forward"] < found["bound"] > found["error_backward"] > 0
    number = str(dtype).removeprefix("torch.")
    assert found["sentence"] == (
        f"attention kernel portable ({portable.form.instructions}), {number}: 2.0 times as fast as "
        "PyTorch's forward, 3.0 times with backward; it is used"
    )
    assert capsys.readouterr().err == found["sentence"] + "\n"
    monkeypatch.setattr(fastest, "measure", never)
    assert fastest.proof(portable, dtype)["used"]
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr(torch, "__version__", "another")
    with pytest.raises(AssertionError, match="measured again"):
        fastest.proof(portable, dtype)


def test_two_threads_at_once_measure_once(portable, monkeypatch):
    measured, measure = [], fastest.measure

    def slow(*arguments, **options):
        measured.append(threading.get_ident())
        time.sleep(0.2)
        return measure(*arguments, **options)

    monkeypatch.setattr(fastest, "measure", slow)
    with ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(fastest.proof, portable, torch.float32) for _ in range(2)]
        verdicts = [each.result() for each in asked]
    assert verdicts[0]["sentence"] == verdicts[1]["sentence"]
    assert len(measured) == 1


@pytest.mark.parametrize("content", [b"", b"{", b"{}", b"null", b"\xff\xfe"])
def test_a_damaged_verdict_is_measured_anew(portable, content):
    first = fastest.proof(portable, torch.float32)
    (path,) = portable.path.parent.glob("kernel-float32-*.json")
    path.write_bytes(content)
    assert fastest.proof(portable, torch.float32) == first
    assert len(path.read_bytes()) > 100


@pytest.mark.parametrize("name", OUTPUTS)
@pytest.mark.parametrize("harm", [1.05, torch.nan])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_kernel_with_a_wrong_number_is_never_used(portable, monkeypatch, name, harm, dtype):
    """Not even where it is asked for; the sentence says why."""
    call = Kernel.call

    def wrong(self, called, *arguments):
        status = call(self, called, *arguments)
        if called == name:
            for place in OUTPUTS[name]:
                arguments[place][:40] *= harm
        return status

    monkeypatch.setattr(Kernel, "call", wrong)
    monkeypatch.setenv("ARG_ATTENTION", "portable")
    monkeypatch.setattr(fastest, "load_kernel", lambda: portable)
    monkeypatch.setattr(fastest, "_proven", fastest._proven.__wrapped__)
    found = fastest.proof(portable, dtype)
    assert not found["used"]
    assert "gives wrong numbers (off by " in found["sentence"]
    assert found["sentence"].endswith("and is not used")
    assert fastest.kernel_for(torch.device("cpu"), dtype) is None


@pytest.mark.parametrize("times", [(1.0, 4.0), (3.0, 1.0)], ids=["backward", "forward"])
def test_a_slower_kernel_is_used_only_where_it_is_asked_for(portable, monkeypatch, times):
    seem(monkeypatch, times, (2.0, 3.0))
    found = fastest.proof(portable, torch.float32)
    assert not found["used"]
    assert found["sentence"].endswith("it is slower than PyTorch's, which is used")
    monkeypatch.setenv("ARG_ATTENTION", "portable")
    assert fastest.proof(portable, torch.float32)["used"]


def test_times_are_of_both_ways_forward_and_backward(portable, monkeypatch):
    monkeypatch.undo()
    monkeypatch.setattr(fastest, "REPEATS", 1)
    threads = torch.get_num_threads()
    with torch.inference_mode():  # as whoever comes first may be in
        found = fastest.measure(portable, torch.float32)
    assert found["error_backward"] < found["bound"]
    for way in ("kernel_ms", "torch_ms"):
        assert 0 < found[way][0] < found[way][1]
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize(("half", "used"), [(1.0, True), (1.9, False), (3.0, False)])
def test_bfloat16_is_used_where_its_products_are_clearly_faster(
    own_cache, monkeypatch, capsys, half, used
):
    """What was measured is kept: another time may fall on the other side."""
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    times = [half, 2.0]
    monkeypatch.setattr(fastest, "_least", lambda work: times.pop(0))
    assert fastest.bfloat16_pays.__wrapped__() is used
    said = f"products in bfloat16: {2 / half:.1f} times as fast as in float32; they are "
    assert capsys.readouterr().err == f"{said}{'' if used else 'not '}used\n"
    assert fastest.bfloat16_pays.__wrapped__() is used
    times = [0.1 if not used else 3.0, 2.0]
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    assert fastest.bfloat16_pays.__wrapped__() is not used


def test_products_are_measured_in_one_thread():
    threads = torch.get_num_threads()
    found = fastest.measure_products()
    assert found["used"] is (found["ratio"] > fastest.CLEARLY)
    assert torch.get_num_threads() == threads


def test_other_numbers_and_places_go_to_pytorch(monkeypatch):
    monkeypatch.setattr(fastest, "_proven", never)
    assert fastest.kernel_for(torch.device("cpu"), torch.float64) is None
    assert fastest.kernel_for(torch.device("meta"), torch.float32) is None
