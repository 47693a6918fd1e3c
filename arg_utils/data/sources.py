"""Files as users have them: plain or compressed, known by their first bytes; or standard input.

gzip, bzip2, xz and Zstandard, also of several members one after another, as ``cat`` and ``bgzip``
write them.
"""

import bz2
import gzip
import io
import lzma
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from arg_utils.errors import UserError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

STANDARD_INPUT = "-"
HEAD = 512  # bytes: a tar archive names itself at the 257th
CHUNK = 65_536  # bytes read of a compressed file at once
COMPRESSED: dict[bytes, tuple[str, Callable[[BinaryIO], Any]]] = {
    b"\x1f\x8b": ("gzip", lambda raw: gzip.GzipFile(fileobj=raw)),
    b"BZh": ("bzip2", lambda raw: Members(raw, bz2.BZ2Decompressor)),
    b"\xfd7zXZ\0": ("xz", lambda raw: Members(raw, lzma.LZMADecompressor)),
    b"\x28\xb5\x2f\xfd": ("Zstandard", lambda raw: Members(raw, zstd.ZstdDecompressor)),
}
# What is often given or saved in the place of a file: first bytes, small letters; what it is, and
# the remedy.
NO_FILES = (
    ((b"<!doctype html", b"<html"),
     "a web page, not the file that was wanted; fetch it again, signed in if that is asked"),
    ((b"version https://git-lfs",),
     "a Git LFS pointer, not the file itself; fetch that with: git lfs pull"),
    ((b"\xff\xfe\0\0", b"\0\0\xfe\xff"), "UTF-32 text; save it as UTF-8"),
    ((b"\xff\xfe", b"\xfe\xff", b">\0", b"\0>"), "UTF-16 text; save it as UTF-8"),
)  # fmt: skip
# First bytes by where they stand.
ARCHIVES = {
    (0, b"PK\x03\x04"): "zip",
    (0, b"7z\xbc\xaf\x27\x1c"): "7z",
    (0, b"Rar!"): "rar",
    (257, b"ustar"): "tar",
}


class Source(io.RawIOBase):
    """The bytes of a stream, whose first ones are known in ``head`` and whose faults are named."""

    def __init__(self, stream: BinaryIO, fault: str) -> None:
        self.stream, self.fault = stream, fault
        self.head = self._waiting = self._read(HEAD)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._waiting[: len(buffer)] or self._read(len(buffer))
        self._waiting = self._waiting[len(data) :]
        buffer[: len(data)] = data
        return len(data)

    def _read(self, size: int) -> bytes:
        try:
            return self.stream.read(size)
        except (EOFError, zlib.error, lzma.LZMAError, zstd.ZstdError, OSError) as error:
            raise UserError(f"{self.fault} ({error}); fetch or copy it again.") from None


class Members(io.RawIOBase):
    """What compressed members hold, one after another; zeros may fill the space between them.

    What else follows a member is a fault: the standard library's readers of bzip2 and xz pass over
    it, and so over all that follows a damaged member.
    """

    def __init__(self, stream: BinaryIO, decompressor: Callable[[], Any]) -> None:
        self.stream, self.decompressor = stream, decompressor
        self.member: Any = None
        self.waiting = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = b""
        while not data:
            if self.member is None:
                if not (start := self.waiting or self.stream.read(CHUNK)):
                    return 0
                self.waiting = start.lstrip(b"\0")
                self.member = self.decompressor() if self.waiting else None
            elif self.member.eof:
                self.waiting, self.member = self.member.unused_data, None
            else:
                more, self.waiting = self.waiting, b""
                if self.member.needs_input and not (more := more or self.stream.read(CHUNK)):
                    raise EOFError("it ends before its end-of-stream marker")
                data = self.member.decompress(more, len(buffer))
        buffer[: len(data)] = data
        return len(data)


def source_name(path: Path | str) -> str:
    """What messages call a user's file."""
    return "standard input" if str(path) == STANDARD_INPUT else str(path)


@contextmanager
def open_source(path: Path | str) -> Iterator[io.BufferedReader]:
    """A user's file, decompressed if need be; ``-`` is standard input.

    ``peek`` gives its first `HEAD` bytes before anything is read.

    `UserError` if it cannot be read, is an archive of several files, or (when the place is reached)
    is damaged or cut off.
    """
    name = source_name(path)
    with ExitStack() as stack:
        if str(path) != STANDARD_INPUT:
            try:
                stream: BinaryIO = stack.enter_context(open(path, "rb"))
            except OSError as error:
                raise UserError(f"{name} cannot be read ({error.strerror}); name a file.") from None
        elif sys.stdin is None:
            raise UserError("Standard input is closed; name a file.")
        else:
            stream = sys.stdin.buffer
        source = Source(stream, f"{name} cannot be read")
        for magic, (kind, opener) in COMPRESSED.items():
            if source.head.startswith(magic):
                content = stack.enter_context(opener(io.BufferedReader(source)))
                fault = f"{name} is a damaged or incomplete {kind} file"
                source = Source(io.BufferedReader(content), fault)
                if source.head.startswith(tuple(COMPRESSED)):
                    raise UserError(f"{name} is compressed twice; decompress it once.")
                break
        _refuse_no_file(name, source.head)
        yield io.BufferedReader(source)


def _refuse_no_file(name: str, head: bytes) -> None:
    """Refuse what is an archive of files, or stands in the place of one, by its first bytes."""
    for (place, magic), kind in ARCHIVES.items():
        if head.startswith(magic, place):
            raise UserError(f"{name} is a {kind} archive; unpack it and give the files in it.")
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    for starts, what in NO_FILES:
        if start.startswith(starts):
            raise UserError(f"{name} is {what}.")
