"""What a user is told: the one exception meant to be read, and the exit codes of commands."""

import errno
import io
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


class UserError(Exception):
    """Something the user can put right: one sentence saying what, where, and what to do.

    The command line prints it and exits with code 2; a notebook shows it as the last line.
    """


def counted(number: int, noun: str) -> str:
    """``1 protein``, ``2,000 proteins``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


# What to do where the system refuses, by its number for why.
_REMEDIES = {
    (errno.ENOSPC, errno.EDQUOT): "free some space, or name another folder (the cache: ARG_CACHE)",
    (errno.EACCES, errno.EPERM, errno.EROFS): "name another place, or correct its permissions",
    (errno.EFBIG,): "raise the limit on the size of files (ulimit -f)",
    (errno.ENAMETOOLONG,): "give a shorter name",
}

SkipBad = Callable[[str], None] | None


@contextmanager
def skipping(skip_bad: SkipBad) -> Iterator[None]:
    """A block about one record: ``skip_bad`` is told of its fault, which ends the block alone.

    Without ``skip_bad`` the fault is raised. Faults of who gets what the block yields pass it by.
    """
    try:
        yield
    except UserError as fault:
        if skip_bad is None:
            raise
        skip_bad(str(fault))


def exit_code(command: Callable[[], int | None], place: Path | str = "system") -> int:
    """Run a command: its own code or 0, 2 after a sentence about a faulty input, 130 when stopped.

    ``place`` is named where the system does not say which file or folder it refuses. What is
    printed is UTF-8 whatever the terminal's encoding, as in files: ids come out as they went in.
    SIGTERM, as batch systems send it, stops a command as Ctrl-C does.
    """
    if sys.stderr is None:  # closed: words would go to standard output
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    if sys.stdout is None:
        print("error: Standard output is closed; leave it open.", file=sys.stderr)
        return 2
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape")
    try:
        with _stopped_by(signal.SIGTERM):
            code = command() or 0
        sys.stdout.flush()  # here, not at the end of Python, a full disk is said in a sentence
        return code
    except UserError as error:
        print("error:", *str(error).splitlines(), file=sys.stderr)  # a name can hold a line end
        return 2
    except (MemoryError, ImportError) as error:
        if isinstance(error, ImportError) and "failed to map" not in str(error):
            raise  # else a library did not fit into the memory allowed
        print(
            "error: Not enough memory; free some, or raise its limit (ulimit -v).", file=sys.stderr
        )
        return 2
    except KeyboardInterrupt:
        print("stopped; the same command goes on where it was", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output (head, say) has gone
        sys.stderr.close()
    except OSError as error:  # a folder that may not be written to, a full disk
        remedies = [f"; {text}" for numbers, text in _REMEDIES.items() if error.errno in numbers]
        what = f"{error.filename or place}: {error.strerror or error}"
        print(f"error: {what}{''.join(remedies)}", file=sys.stderr)
        return 2
    finally:
        _drop_unwritten_output()
    return 0


@contextmanager
def _stopped_by(number: signal.Signals) -> Iterator[None]:
    """A signal is a `KeyboardInterrupt` in the block; in the main thread, which alone has any."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(number, before)


def _drop_unwritten_output() -> None:
    """What a full disk did not take is dropped: at its end Python would try again, and fail."""
    try:
        sys.stdout.flush()
    except OSError:
        with open(os.devnull, "wb") as nothing:
            os.dup2(nothing.fileno(), sys.stdout.fileno())
