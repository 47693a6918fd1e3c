"""The example that each room opens with runs, and shows what it says."""

import doctest
import importlib

import pytest

from arg_utils.files import ROOT

ROOMS = sorted(path.parent.name for path in (ROOT / "arg_utils").glob("*/__init__.py"))


@pytest.mark.parametrize("room", ROOMS)
def test_a_rooms_example_runs(room):
    module = importlib.import_module(f"arg_utils.{room}")
    ran = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert ran.attempted >= 1, f"arg_utils/{room}/__init__.py shows no example"
    assert ran.failed == 0
