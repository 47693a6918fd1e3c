"""Which form of the kernel is built, and what happens where none can be."""

import ctypes
import os
import subprocess
import sys
import textwrap
import time
import warnings

import pytest
import torch

from arg_utils.errors import UserError
from arg_utils.esm2 import fastest, kernel
from arg_utils.esm2.model import best_precision

load = kernel.load_kernel.__wrapped__  # not the cached function: its answer outlives the test
FAST = ("-std=c++17", "-O0", "-fno-math-errno")
needs_compiler = pytest.mark.skipif(
    kernel.shutil.which(os.environ.get("CXX", "c++")) is None,
    reason="no C++ compiler: there is no kernel to test",
)


@pytest.fixture(autouse=True)
def _free_choice(own_cache, monkeypatch):
    """An empty cache, quick builds, and nothing asked for."""
    for name in ("ARG_ATTENTION", "ARG_PRECISION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(kernel, "FLAGS", FAST)


def compiler(tmp_path, script: str) -> str:
    path = tmp_path / "compiler"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


@needs_compiler
def test_the_best_form_or_the_one_named_is_built(monkeypatch, own_cache):
    best = kernel.supported_forms()[0]
    assert load().form is best
    monkeypatch.setenv("ARG_ATTENTION", "Portable")
    assert load().form.name == "portable"
    assert len(list((own_cache / "kernels").iterdir())) == len({best.name, "portable"})


def test_an_unknown_form_is_an_error_that_names_the_known(monkeypatch):
    monkeypatch.setattr(kernel.torch.cpu, "_is_amx_tile_supported", lambda: False)
    for name in ("fastest", "amx"):
        monkeypatch.setenv("ARG_ATTENTION", name)
        with pytest.raises(UserError, match=f"ARG_ATTENTION is '{name}'.*torch or.*portable"):
            load()


@pytest.mark.parametrize("name", kernel.FORMS)
def test_precision_follows_the_form_named_and_what_pays(monkeypatch, name):
    monkeypatch.setattr(kernel, "supported_forms", lambda: list(kernel.FORMS.values()))
    monkeypatch.setenv("ARG_ATTENTION", name)
    for pays in (True, False):
        monkeypatch.setattr(fastest, "bfloat16_pays", lambda pays=pays: pays)
        native = pays and name in ("amx", "avx512_bf16")
        assert best_precision() == (torch.bfloat16 if native else torch.float32)
    monkeypatch.setenv("ARG_PRECISION", "bfloat16")
    assert best_precision() == torch.bfloat16


def test_without_a_compiler_there_is_a_warning(monkeypatch):
    monkeypatch.setattr(kernel.shutil, "which", lambda name: None)
    with pytest.warns(UserWarning, match=r"no C\+\+ compiler found.*PyTorch"):
        assert load() is None


def test_a_compiler_that_fails_is_quoted(own_cache, monkeypatch, tmp_path):
    monkeypatch.setenv("CXX", compiler(tmp_path, "echo no such processor >&2; exit 1"))
    with pytest.warns(UserWarning, match="not built.*no such processor"):
        assert load() is None
    assert list((own_cache / "kernels").iterdir()) == []


@needs_compiler
def test_the_next_form_serves_where_the_compiler_lacks_the_best(monkeypatch, tmp_path):
    refuse = 'case "$*" in *-mamx*) echo unknown option >&2; exit 1;; esac; exec c++ "$@"'
    monkeypatch.setenv("CXX", compiler(tmp_path, refuse))
    forms = [kernel.FORMS[name] for name in ("amx", "portable")]
    monkeypatch.setattr(kernel, "supported_forms", lambda: forms)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load().form.name == "portable"
    monkeypatch.setenv("ARG_ATTENTION", "amx")
    with pytest.warns(UserWarning, match="unknown option"):
        assert load() is None


@needs_compiler
def test_a_damaged_library_in_the_cache_is_built_again(monkeypatch):
    monkeypatch.setenv("ARG_ATTENTION", "portable")
    library = kernel._build(kernel.FORMS["portable"], kernel.shutil.which("c++"))
    library.unlink()
    library.write_bytes(b"half a library")
    assert load().library.attention_forward
    assert library.stat().st_size > 1000


@needs_compiler
def test_a_library_that_others_may_write_is_not_loaded(own_cache, monkeypatch):
    monkeypatch.setenv("ARG_ATTENTION", "portable")
    path = load().path
    whole = path.read_bytes()
    path.unlink()  # loaded as it is, it cannot be overwritten
    path.write_bytes(b"of somebody else")
    path.chmod(0o666)
    path.parent.chmod(0o777)
    assert load().library.attention_forward
    assert path.stat().st_size == len(whole)
    assert not (path.stat().st_mode | path.parent.stat().st_mode) & 0o022
    monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)
    with pytest.warns(UserWarning, match="other users may write to .*kernels.*ARG_CACHE"):
        assert load() is None


def test_the_kernel_can_be_switched_off(monkeypatch):
    monkeypatch.setenv("ARG_ATTENTION", "torch")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load() is None


BUILD = textwrap.dedent("""
    import sys, time
    from arg_utils.esm2 import kernel
    kernel.FLAGS = ("-std=c++17", "-O0", "-fno-math-errno")
    time.sleep(max(0.0, float(sys.argv[1]) - time.time()))
    print(kernel.load_kernel().path)
""")


@needs_compiler
def test_processes_that_build_at_once_do_not_disturb_each_other(own_cache, monkeypatch):
    """Each compiles into a file of its own; whichever comes last replaces the same content."""
    monkeypatch.setenv("ARG_ATTENTION", "portable")
    command = [sys.executable, "-W", "error", "-c", BUILD, str(time.time() + 2.5)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    names = {process.communicate(timeout=120)[0].strip() for process in running}
    assert [process.returncode for process in running] == [0, 0]
    (name,) = names
    assert os.listdir(own_cache / "kernels") == [os.path.basename(name)]
    assert ctypes.CDLL(name).attention_forward
