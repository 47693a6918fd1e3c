import pytest

from arg_utils.errors import UserError, exit_code


def failing(error):
    def command():
        raise error

    return command


def test_a_command_that_ends_well_is_zero(capsys):
    assert exit_code(lambda: print("done")) == 0
    assert capsys.readouterr() == ("done\n", "")


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (UserError("a.fasta is empty; give another."), 2, "error: a.fasta is empty; give another."),
        (OSError(28, "No space left on device"), 2, "error: results: No space left on device"),
        (PermissionError(13, "Permission denied", "x.csv"), 2, "error: x.csv: Permission denied"),
        (KeyboardInterrupt(), 130, "stopped; the same command goes on where it was"),
    ],
)
def test_a_fault_is_one_line(capsys, error, code, words):
    assert exit_code(failing(error), "results") == code
    assert capsys.readouterr() == ("", words + "\n")


def test_other_errors_are_not_hidden():
    with pytest.raises(ZeroDivisionError):
        exit_code(failing(ZeroDivisionError()))
