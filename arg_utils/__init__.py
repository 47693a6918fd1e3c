"""Which antibiotic resistance class does a protein belong to? ESM-2, LoRA and honest evaluation.

What a notebook needs is offered here and imported when it is first used, so that
``import arg_utils`` itself stays light:

>>> from arg_utils import CLASSES
>>> len(CLASSES), CLASSES[-1]
(15, 'nonarg')
"""

import importlib
import os

# Idle OpenMP threads that spin cost little on an idle machine and half the speed on a busy one.
# Read when PyTorch is first imported, hence here; a value the user has set stays.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

_OFFERED = {
    "open_workspace": "arg_utils.experiments.workspace",
    "fit_run": "arg_utils.experiments.runs",
    "load_run": "arg_utils.experiments.runs",
    "load_model": "arg_utils.prediction.model",
    "METHODS": "arg_utils.methods",
    "CLASSES": "arg_utils.labels",
}


def __getattr__(name: str) -> object:
    """One of the names offered, from the module that defines it."""
    if name not in _OFFERED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_OFFERED[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_OFFERED])
