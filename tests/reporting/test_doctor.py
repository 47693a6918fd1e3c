"""What the doctor says of a machine, and what it advises."""

import pytest

from arg_utils.errors import UserError
from arg_utils.esm2 import fastest, kernel
from arg_utils.reporting import doctor


@pytest.fixture
def fresh():
    """Choices made anew, before and after: they are made once in a process."""
    for function in (kernel.load_kernel, fastest._proven):
        function.cache_clear()
    yield
    for function in (kernel.load_kernel, fastest._proven):
        function.cache_clear()


def test_names_what_is_there_and_what_is_missing(weights, monkeypatch):
    def fails():
        raise UserError("There are no weights in nowhere; fetch them.")

    said = dict(doctor.report())
    assert set(said) >= {"processor", "cores", "device", "precision", "kernel forms", "weights",
                         "data", "cache", "python"}  # fmt: skip
    assert "portable" in said["kernel forms"]
    assert weights.name in said["weights"]
    monkeypatch.setattr(doctor, "load_weights", fails)
    said = dict(doctor.report())  # goes on to its end
    assert said["weights"] == "missing: There are no weights in nowhere; fetch them."
    assert "cache" in said


def test_an_unusable_cache_is_among_what_is_missing(fresh, monkeypatch):
    monkeypatch.setenv("ARG_CACHE", "/proc/nowhere")
    said = dict(doctor.report())
    assert said["cache"].startswith("missing: /proc/nowhere cannot be used")
    assert "name another folder in ARG_CACHE" in said["kernel"]
    assert said["python"]


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("CXX", "no-such-compiler", ["no C++ compiler", "apt install g++"]),
        ("ARG_ATTENTION", "torch", ["ARG_ATTENTION=torch"]),
    ],
)
def test_without_a_kernel_it_says_why_and_what_to_do(fresh, monkeypatch, variable, value, words):
    monkeypatch.setenv(variable, value)
    said = dict(doctor.report())["kernel"]
    assert all(word in said for word in words)
