import bz2
import gzip
import io
import lzma
import sys
import tarfile
import zipfile

import pytest

from arg_utils.data.sources import HEAD, open_source, zstd
from arg_utils.errors import UserError

CONTENT = b">a\n" + b"MKVLAWHT\n" * 500
PACK = {"gzip": gzip.compress, "bzip2": bz2.compress, "xz": lzma.compress, "zst": zstd.compress}


def read(path) -> bytes:
    with open_source(path) as handle:
        return handle.read()


@pytest.mark.parametrize("kind", PACK)
def test_compression_is_known_by_content_and_members_are_joined(tmp_path, kind):
    path = tmp_path / "x.fasta"
    path.write_bytes(PACK[kind](CONTENT) + PACK[kind](b">b\nMA\n"))
    assert read(path) == CONTENT + b">b\nMA\n"


@pytest.mark.parametrize("kind", PACK)
def test_a_file_cut_off_or_damaged_is_named(tmp_path, kind):
    packed = PACK[kind](CONTENT)
    path = tmp_path / "x.gz"
    for content in (packed[:-6], packed[:20] + bytes(8) + packed[28:]):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"x\.gz is a damaged or incomplete .* file .*again\.$"):
            read(path)


@pytest.mark.parametrize("kind", PACK)
def test_what_follows_the_last_member_is_not_passed_over(tmp_path, kind):
    path, member = tmp_path / "x.gz", PACK[kind](CONTENT)
    path.write_bytes(member + bytes(600) + member + bytes(8))  # as tapes and xz fill blocks
    assert read(path) == CONTENT + CONTENT
    damaged = bytes([member[0] ^ 1]) + member[1:]
    for rest in (damaged, b"rubbish", bytes(8) + b"\n"):
        path.write_bytes(member + rest)
        with pytest.raises(UserError, match=r"x\.gz is a damaged or incomplete .* file .*again\.$"):
            read(path)


def test_archives_of_files_are_refused_compressed_or_not(tmp_path):
    member = tmp_path / "a.fasta"
    member.write_bytes(CONTENT)
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as tar:
        tar.add(member, "a.fasta")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        packed.write(member)
    for name, kind in [("a.tar.gz", "tar"), ("a.zip", "zip")]:
        with pytest.raises(UserError, match=f"{name} is a {kind} archive; unpack it"):
            read(tmp_path / name)


def test_standard_input_may_be_compressed_and_stays_open(monkeypatch):
    pipe = io.BytesIO(gzip.compress(CONTENT))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(pipe))
    assert read("-") == CONTENT
    assert not pipe.closed


@pytest.mark.parametrize("kind", PACK)
def test_the_first_bytes_are_known_however_small_the_members(tmp_path, kind):
    path = tmp_path / "x"
    path.write_bytes(b"".join(PACK[kind](CONTENT[i : i + 3]) for i in range(0, 600, 3)))
    with open_source(path) as handle:
        assert handle.peek() == CONTENT[:HEAD]


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(UserError, match=r"cannot be read \(.*\); name a file"):
            read(path)
