"""Files are written whole or not at all."""

import errno
import os
import stat
import threading

import joblib
import numpy as np
import pytest
import torch
from filelock import FileLock

from arg_utils.errors import UserError
from arg_utils.files import (
    atomic_path,
    cache_dir,
    check_writable,
    cores,
    load_checkpoint,
    locked,
    save_checkpoint,
    write_text,
)
from arg_utils.settings import output_dir


def test_the_cache_is_where_the_environment_says(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("ARG_CACHE", "")
    assert cache_dir() == tmp_path / "home/.cache/arg-utils"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_dir("a", "b") == tmp_path / "xdg/arg-utils/a/b"
    monkeypatch.setenv("ARG_CACHE", str(tmp_path / "mine"))
    assert cache_dir("a") == tmp_path / "mine/a"
    assert (tmp_path / "mine/a").is_dir()
    monkeypatch.setenv("ARG_CACHE", "~/my cache")
    assert cache_dir("a") == tmp_path / "home/my cache/a"


def test_a_cache_that_cannot_be_used_says_which_variable_names_another(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("x")
    monkeypatch.setenv("ARG_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(UserError, match=r"cache cannot be used \(.*\); name another .* ARG_CACHE"):
        cache_dir()
    monkeypatch.setenv("ARG_CACHE", str(tmp_path))
    monkeypatch.setattr(os, "access", lambda *_: False)  # as on a disk mounted read-only
    with pytest.raises(UserError, match=r"\(it may not be written to\).*ARG_CACHE"):
        cache_dir()
    monkeypatch.setenv("ARG_OUTPUT", str(tmp_path))
    with pytest.raises(UserError, match=r"\(it may not be written to\).*ARG_OUTPUT"):
        output_dir("open", "smoke")


def test_whether_a_file_can_be_written_is_known_before_the_work(tmp_path, monkeypatch):
    check_writable(tmp_path / "new" / "folders" / "a.txt")
    check_writable(os.devnull)
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match=r"a\.txt cannot be .*file is a file; name another"):
        check_writable(tmp_path / "file" / "a.txt")
    with pytest.raises(UserError, match="is a folder; name a file"):
        check_writable(tmp_path)
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(UserError, match=r"a\.txt cannot be written: .* may not be written to"):
        check_writable(tmp_path / "a.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_full_disk_is_told_of_the_file_and_not_of_a_temporary_one(tmp_path):
    target = write_text(tmp_path / "a.txt", "old")

    def full():
        with atomic_path(target) as temporary:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(temporary))

    with pytest.raises(OSError, match="No space left") as caught:
        full()
    assert caught.value.filename == str(target)
    assert target.read_text() == "old"


@pytest.mark.parametrize(("wish", "count"), [("2", 2), ("4,2", 4), ("0", 1), ("99", 6), ("x", 6)])
def test_cores_follow_what_openmp_is_told(monkeypatch, wish, count):
    monkeypatch.setattr(joblib, "cpu_count", lambda: 6)
    monkeypatch.setenv("OMP_NUM_THREADS", wish)
    assert cores() == count


def test_cores_follow_the_affinity(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        assert cores() == 1
    finally:
        os.sched_setaffinity(0, before)


def test_a_lock_is_for_one_at_a_time_and_freed_by_an_error(tmp_path):
    def interrupted():
        with locked(tmp_path / "lock"):
            assert not _is_free(tmp_path / "lock")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert _is_free(tmp_path / "lock")


def _is_free(path):
    other = FileLock(path, blocking=False, is_singleton=False)
    try:
        other.acquire()
    except TimeoutError:
        return False
    other.release()
    return True


def test_a_home_without_locks_is_told_and_used(tmp_path, monkeypatch, capsys):
    def refuse(number):
        def acquire(_):
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(FileLock, "acquire", acquire)

    refuse(errno.ENOLCK)
    with locked(tmp_path / "lock"):
        assert capsys.readouterr().err.startswith(f"{tmp_path} has no file locks")
    refuse(errno.EACCES)
    with pytest.raises(PermissionError), locked(tmp_path / "lock"):
        pytest.fail("a folder that may not be written to is no folder without locks")


def test_a_file_is_written_whole(tmp_path):
    target = tmp_path / "new" / "a.txt"
    assert write_text(target, "α\nβ\n") == target
    assert target.read_bytes() == "α\nβ\n".encode()
    assert stat.S_IMODE(target.stat().st_mode) == 0o644
    with open(target, encoding="utf-8") as reader:
        write_text(target, "other")
        assert reader.read() == "α\nβ\n"  # begun before: not a mixture of both
    assert target.read_text() == "other"
    assert [path.name for path in target.parent.iterdir()] == ["a.txt"]


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path):
    target = write_text(tmp_path / "a.txt", "old")

    def interrupted():
        with atomic_path(target) as temporary:
            temporary.write_text("half")
            assert target.read_text() == "old"
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_a_link_is_followed_and_the_mode_of_a_file_stays(tmp_path):
    target = write_text(tmp_path / "real" / "a.txt", "old")
    target.chmod(0o600)
    link = tmp_path / "link.txt"
    link.symlink_to(target)
    write_text(link, "new")
    assert link.is_symlink()
    assert target.read_text() == "new"
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    link.unlink()
    link.symlink_to(tmp_path / "later.txt")
    write_text(link, "through a link to nothing yet")
    assert (tmp_path / "later.txt").read_text() == "through a link to nothing yet"


def test_a_new_file_is_as_private_as_the_user_wants(tmp_path):
    before = os.umask(0o077)
    try:
        written = write_text(tmp_path / "a.txt", "mine")
    finally:
        os.umask(before)
    assert stat.S_IMODE(written.stat().st_mode) == 0o600


def test_what_is_no_file_is_never_replaced(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    got = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_text()))
    reader.start()
    write_text(pipe, "id,label\n")
    reader.join(timeout=10)
    assert got == ["id,label\n"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    null = tmp_path / "null"
    null.symlink_to(os.devnull)
    write_text(null, "gone")
    assert null.is_symlink()
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)
    with pytest.raises(UserError, match="is a folder; name a file"):
        write_text(tmp_path, "x")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["null", "pipe"]


CONTENT = {
    "state": {"weight": torch.arange(6.0).reshape(2, 3), "half": torch.ones(2).bfloat16()},
    "score": 0.25,
    "history": [{"epoch": 1, "loss": float("nan"), "best": True, "name": "a"}],
}


def test_a_checkpoint_comes_back_under_its_key_only(tmp_path):
    path = tmp_path / "deep" / "one.pt"
    save_checkpoint(path, "key", CONTENT)
    content = load_checkpoint(path, "key")
    for name, values in CONTENT["state"].items():
        assert torch.equal(content["state"][name], values)
    assert content["score"] == 0.25
    assert np.isnan(content["history"][0].pop("loss"))
    assert content["history"] == [{"epoch": 1, "best": True, "name": "a"}]
    assert os.listdir(path.parent) == ["one.pt"]
    assert load_checkpoint(path, "other") is None
    assert load_checkpoint(path.with_name("two.pt"), "key") is None


def test_no_damage_to_a_checkpoint_goes_unnoticed(tmp_path):
    """``torch.load`` takes a flipped bit in a number for the number, and stumbles over others."""
    path = tmp_path / "one.pt"
    save_checkpoint(path, "key", CONTENT)
    whole = path.read_bytes()
    harmed = [whole[:n] for n in range(0, len(whole), 41)]
    for place in range(0, len(whole), 23):
        harmed.append(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
    for content in (*harmed, b"junk", whole + b"\0"):
        path.write_bytes(content)
        assert load_checkpoint(path, "key") is None
