"""What the doctor says of a machine, and what it advises."""

import pytest

from arg_utils.errors import UserError
from arg_utils.esm2 import fastest, kernel
from arg_utils.reporting import doctor
from arg_utils.reporting.doctor import report


@pytest.fixture
def fresh():
    """Choices made anew, before and after: they are made once in a process."""
    for function in (kernel.load_kernel, fastest._proven):
        function.cache_clear()
    yield
    for function in (kernel.load_kernel, fastest._proven):
        function.cache_clear()


def test_names_what_is_there(weights):
    said = dict(report())
    assert set(said) >= {"processor", "cores", "device", "precision", "kernel forms", "weights",
                         "data", "cache", "python"}  # fmt: skip
    assert "portable" in said["kernel forms"]
    assert weights.name in said["weights"]


def test_without_a_compiler_it_says_how_to_get_one(fresh, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    said = dict(report())
    assert "no C++ compiler" in said["kernel"]
    assert "apt install g++" in said["kernel"]


def test_a_choice_of_the_user_is_named(fresh, monkeypatch):
    monkeypatch.setenv("ARG_ATTENTION", "torch")
    assert "ARG_ATTENTION=torch" in dict(report())["kernel"]


def test_missing_weights_do_not_end_the_report(monkeypatch):
    def fails():
        raise UserError("There are no weights in nowhere; fetch them.")

    monkeypatch.setattr(doctor, "load_weights", fails)
    said = dict(report())
    assert said["weights"] == "missing: There are no weights in nowhere; fetch them."
    assert "cache" in said
