import os
import stat
import threading

import pytest

from arg_utils import files
from arg_utils.errors import UserError
from arg_utils.files import atomic_path, cache_dir, cores, write_text


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


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Six cores by affinity, no quota, no wish."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(6)), raising=False)
    monkeypatch.setattr(files, "CGROUPS", tmp_path)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    return tmp_path


@pytest.mark.parametrize(
    ("quota", "count"), [("max 100000", 6), ("250000 100000", 3), ("5000 100000", 1)]
)
def test_cores_follow_the_cgroups_quota(machine, quota, count):
    (machine / "cpu.max").write_text(quota + "\n")
    assert cores() == count


def test_cores_follow_the_quota_of_old_cgroups(machine):
    (machine / "cpu").mkdir()
    (machine / "cpu/cpu.cfs_period_us").write_text("100000\n")
    for quota, count in (("-1", 6), ("400000", 4)):
        (machine / "cpu/cpu.cfs_quota_us").write_text(quota + "\n")
        assert cores() == count


@pytest.mark.parametrize(("wish", "count"), [("2", 2), ("4,2", 4), ("0", 1), ("99", 6), ("x", 6)])
def test_cores_follow_what_openmp_is_told(machine, monkeypatch, wish, count):
    monkeypatch.setenv("OMP_NUM_THREADS", wish)
    assert cores() == count
