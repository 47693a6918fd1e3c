import stat

import pytest

from arg_utils.files import atomic_path, cache_dir, write_text


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
