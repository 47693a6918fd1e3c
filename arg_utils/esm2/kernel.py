"""The compiled kernel: a form for each class of processor, compiled on first use.

The C++ in ``csrc/`` is compiled once with the machine's compiler and stays in the cache; `fastest`
says whether it is used. ``ARG_ATTENTION`` names a form, which is then used wherever its numbers are
right, or ``torch``, which leaves everything to PyTorch.
"""

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch

from arg_utils.errors import UserError
from arg_utils.files import atomic_path, cache_dir

SOURCE = Path(__file__).parent / "csrc" / "attention.cpp"
FLAGS = ("-std=c++17", "-O3", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast")

_AVX2 = ("-mavx2", "-mfma", "-mf16c", "-mbmi2")
_AVX512 = (*_AVX2, "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl")
_BF16 = (*_AVX512, "-mavx512bf16")


@dataclass(frozen=True)
class Form:
    """One way to compile the kernel."""

    name: str
    instructions: str
    flags: tuple[str, ...]  # for the compiler
    bfloat16: bool = False  # whether there are instructions that multiply it


FORMS = {
    form.name: form
    for form in (
        Form("amx", "AVX-512, BF16, AMX tiles",
             (*_BF16, "-mamx-tile", "-mamx-bf16"), bfloat16=True),
        Form("avx512_bf16", "AVX-512, BF16", _BF16, bfloat16=True),
        Form("avx512", "AVX-512", _AVX512),
        Form("avx2", "AVX2, FMA", _AVX2),
        Form("neon", "NEON", ("-march=armv8-a",)),
        Form("portable", "what every processor of this architecture has", ()),
    )
}  # fmt: skip


def supported_forms() -> list[Form]:
    """The forms that this processor can run, best first."""
    has = {
        "amx": torch.cpu._is_amx_tile_supported() and sys.platform == "linux",
        "avx512_bf16": torch.cpu._is_avx512_bf16_supported(),
        "avx512": torch.cpu._is_avx512_supported(),
        "avx2": torch.cpu._is_avx2_supported(),
        "neon": platform.machine().lower() in ("arm64", "aarch64"),
        "portable": True,
    }
    return [form for form in FORMS.values() if has[form.name]]


def chosen_form() -> str | None:
    """What ``ARG_ATTENTION`` asks for: the name of a form, ``torch``, or nothing.

    `UserError` if there is no such form, or the processor cannot run it.
    """
    choice = os.environ.get("ARG_ATTENTION", "").lower()
    names = [form.name for form in supported_forms()]
    if choice and choice not in (*names, "torch"):
        choices = f"on this processor it may be torch or one of {', '.join(names)}."
        raise UserError(f"ARG_ATTENTION is {choice!r}; {choices}")
    return choice or None


@dataclass(frozen=True)
class Kernel:
    """A compiled form."""

    form: Form
    library: ctypes.CDLL
    path: Path
    compiler: str

    def call(self, name: str, *arguments: object) -> int:
        """Call a function; tensors go in as pointers, a type as whether it is bfloat16."""
        return getattr(self.library, name)(*map(_argument, arguments))

    def share(self, name: str, *arguments: object) -> int:
        """`call` in as many threads as PyTorch uses; they take parts off a counter among them."""
        others = [_helpers().submit(self.call, name, *arguments)
                  for _ in range(torch.get_num_threads() - 1)]  # fmt: skip
        return max(self.call(name, *arguments), *(other.result() for other in others), 0)


@functools.cache
def _helpers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(os.cpu_count() or 1, "kernel")


def _argument(value: object) -> object:
    if value is None:
        return ctypes.c_void_p(None)
    if isinstance(value, torch.Tensor):
        if value.dtype not in (torch.float32, torch.bfloat16, torch.int64):
            raise TypeError(f"the kernel has no numbers of type {value.dtype}")
        return ctypes.c_void_p(value.data_ptr())
    if isinstance(value, torch.dtype):
        return ctypes.c_int(value == torch.bfloat16)
    if isinstance(value, float):
        return ctypes.c_float(value)
    return ctypes.c_int(value) if isinstance(value, int) else value


@functools.cache
def load_kernel() -> Kernel | None:
    """The best form that builds here, built on first use; ``None`` where none can be, with why."""
    choice = chosen_form()
    if choice == "torch":
        return None
    compiler = shutil.which(os.environ.get("CXX", "c++"))
    if compiler is None:
        warnings.warn("no C++ compiler found: attention runs through PyTorch, slower", stacklevel=2)
        return None
    reason = ""
    for form in supported_forms():
        if choice in (None, form.name):
            try:
                return _load(form, compiler)
            except (OSError, subprocess.SubprocessError) as error:
                reason = reason or getattr(error, "stderr", None) or str(error)
    text = f"the attention kernel was not built, PyTorch's attention is used: {reason[-500:]}"
    warnings.warn(text, stacklevel=2)
    return None


def _load(form: Form, compiler: str) -> Kernel:
    path = _build(form, compiler)
    try:
        return Kernel(form, ctypes.CDLL(str(path)), path, compiler)
    except OSError:  # damaged in the cache: build it once more
        path.unlink()
        return Kernel(form, ctypes.CDLL(str(_build(form, compiler))), path, compiler)


def _build(form: Form, compiler: str) -> Path:
    command = [compiler, *FLAGS, *form.flags, "-shared", "-fPIC", str(SOURCE)]
    key = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(SOURCE.parent.iterdir())))
    key.update("\0".join([*command[:-1], platform.machine()]).encode())
    library = _own_folder() / f"{form.name}-{key.hexdigest()[:16]}.so"
    if library.exists() and not _only_ours(library):
        library.unlink()
    if not library.exists():
        with atomic_path(library) as temporary:
            command += ["-o", str(temporary)]
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
            temporary.chmod(0o755)  # `_only_ours`, whatever the umask
    return library


def _own_folder() -> Path:
    """Where compiled kernels lie, closed to other users: what is loaded from there runs as us."""
    folder = cache_dir("kernels")
    with suppress(OSError):
        folder.chmod(folder.stat().st_mode & ~0o022)
    if not _only_ours(folder):
        raise PermissionError(f"other users may write to {folder}; name your own in ARG_CACHE")
    return folder


def _only_ours(path: Path) -> bool:
    """Whether this user owns a file or folder, and nobody else may write to it."""
    status = path.stat()
    return status.st_uid == os.geteuid() and not status.st_mode & 0o022


def processor() -> str:
    """The processor as the system calls it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
