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
from arg_utils.experiments.workspace import suitable_profile
from arg_utils.files import cache_dir, cores


def report() -> list[tuple[str, str]]:
    """What there is and what is used, as pairs of a name and a sentence; builds the kernel."""
    forms, device, here = supported_forms(), best_device(), Path.cwd()
    gpu = torch.cuda.get_device_name() if device.type == "cuda" else "cpu (no CUDA device found)"
    names = ", ".join(form.name for form in forms)
    try:
        kernel = _kernel()
    except UserError as error:
        kernel = [("kernel", f"missing: {error}")]
    return [
        ("processor", f"{processor()}; {forms[0].instructions}"),
        ("cores", f"{cores()} may be used of {os.cpu_count()}; PyTorch: {torch.get_num_threads()}"),
        ("device", gpu),
        ("precision", _or_reason(lambda: _name(best_precision(device)))),
        ("kernel forms", f"{names} (ARG_ATTENTION names one, or torch)"),
        *kernel,
        ("profile", _or_reason(lambda: suitable_profile().name)),
        ("weights", _or_reason(lambda: f"ESM-2 8M, {load_weights().name}")),
        ("data", _or_reason(lambda: str(chosen_folder()).removeprefix(f"{here}/"))),
        ("cache", _or_reason(_cache)),
        ("python", f"{sys.version.split()[0]}, PyTorch {torch.__version__}"),
    ]


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _kernel() -> list[tuple[str, str]]:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        kernel = load_kernel()
    if kernel is not None:
        proofs = [(_name(dtype), proof(kernel, dtype)["sentence"]) for dtype in BOUNDS]
        return [("compiler", kernel.compiler), ("kernel", kernel.path.name), *proofs]
    if chosen_form() == "torch":
        return [("kernel", "none, as ARG_ATTENTION=torch asks; unset it for more speed")]
    reason = "; ".join(str(warning.message) for warning in said)
    remedy = "apt install g++ on Debian and Ubuntu, xcode-select --install on macOS"
    return [("kernel", f"none: {reason}. For more speed, install a C++ compiler: {remedy}")]


def _cache() -> str:
    folder = cache_dir()
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return f"{folder}, {size / 1e6:,.0f} MB"


def _or_reason(find: Callable[[], str]) -> str:
    try:
        return find()
    except UserError as error:  # the report goes on: it is there to show what is missing
        return f"missing: {error}"


def print_report() -> None:
    """Print `report`, a line each."""
    lines = report()
    width = max(len(name) for name, _ in lines)
    print("\n".join(f"{name:<{width}}  {sentence}" for name, sentence in lines))
