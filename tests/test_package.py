"""What ``import arg_utils`` offers, and what it does not load for it."""

import subprocess
import sys

import pytest

import arg_utils
from arg_utils.experiments import runs
from arg_utils.labels import CLASSES
from arg_utils.methods import METHODS


def test_what_a_notebook_needs_is_offered():
    from arg_utils import CLASSES as offered
    from arg_utils import fit_run

    assert offered is CLASSES
    assert arg_utils.METHODS is METHODS
    assert fit_run is runs.fit_run
    assert {"open_workspace", "load_run", "METHODS"} <= set(dir(arg_utils))
    with pytest.raises(AttributeError, match="no attribute 'guess'"):
        arg_utils.guess  # noqa: B018


def test_importing_the_package_loads_no_model():
    code = "import sys, arg_utils; sys.exit('torch' in sys.modules or 'pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
