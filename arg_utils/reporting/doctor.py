"""What this machine has, what is used of it, and what to do where something is missing."""

import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import torch

from arg_utils.data.folders import chosen_folder
from arg_utils.errors import UserError
from arg_utils.esm2.fastest import BOUNDS, proof
from arg_utils.esm2.kernel import chosen_form, load_kernel, processor, supported_forms
from arg_utils.esm2.model import best_device, best_precision
from arg_utils.esm2.weights import load_weights
from arg_utils.files import cache_dir, cores


def report() -> list[tuple[str, str]]:
    """What there is and what is used, as pairs of a name and a sentence; builds the kernel."""
    forms = ", ".join(form.name for form in supported_forms())
    return [
        ("processor", f"{processor()}; {supported_forms()[0].instructions}"),
        ("cores", f"{cores()} may be used of {os.cpu_count()}; PyTorch: {torch.get_num_threads()}"),
        ("device", _device()),
        ("precision", str(best_precision(best_device())).removeprefix("torch.")),
        ("kernel forms", f"{forms} (ARG_ATTENTION names one, or torch)"),
        *_kernel(),
        ("weights", _or_reason(lambda: f"ESM-2 8M, {load_weights().name}")),
        ("data", _or_reason(lambda: str(_relative(chosen_folder())))),
        ("cache", _cache()),
        ("python", f"{sys.version.split()[0]}, PyTorch {torch.__version__}"),
    ]


def _device() -> str:
    device = best_device()
    return torch.cuda.get_device_name() if device.type == "cuda" else "cpu (no CUDA device found)"


def _kernel() -> list[tuple[str, str]]:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        kernel = load_kernel()
    if kernel is None:
        if chosen_form() == "torch":
            return [("kernel", "none, as ARG_ATTENTION=torch asks; unset it for more speed")]
        reason = "; ".join(str(warning.message) for warning in said)
        remedy = "install a C++ compiler (Debian and Ubuntu: apt install g++; macOS: "
        return [("kernel", f"none: {reason}. For more speed, {remedy}xcode-select --install)")]
    lines = [("compiler", kernel.compiler), ("kernel", kernel.path.name)]
    return lines + [
        (str(dtype).removeprefix("torch."), proof(kernel, dtype)["sentence"]) for dtype in BOUNDS
    ]


def _cache() -> str:
    folder = cache_dir()
    if not os.access(folder, os.W_OK):
        return f"{folder} cannot be written; name another folder in ARG_CACHE"
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return f"{folder}, {size / 1e6:,.0f} MB"


def _relative(folder: Path) -> Path:
    return folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder


def _or_reason(find: Callable[[], str]) -> str:
    try:
        return find()
    except UserError as error:  # the report goes on: it is there to show what is missing
        return f"missing: {error}"


def print_report() -> None:
    """Print `report`, a line each."""
    lines = report()
    width = max(len(name) for name, _ in lines)
    for name, sentence in lines:
        print(f"{name:<{width}}  {sentence}")
