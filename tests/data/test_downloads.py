import hashlib
import http.server
import socket
import threading
import time
import zipfile

import pytest

from arg_utils.data import downloads
from arg_utils.data.downloads import PinnedFile, PinnedWheel, fetch_url, fetch_wheel_members
from arg_utils.errors import UserError

CONTENT = b"weights" * 1000


def sha(content):
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def server():
    """A web server on this machine that gives CONTENT and counts how often."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            if self.path == "/gone":
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(CONTENT)))
            self.end_headers()
            self.wfile.write(CONTENT[:100] if self.path == "/cut" else CONTENT)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, args=[0.02], daemon=True).start()
        running.asked = asked
        running.url = f"http://127.0.0.1:{running.server_port}"
        yield running
        running.shutdown()


def test_fetches_once(server, tmp_path):
    target = tmp_path / "deep" / "w.pt"
    pinned = PinnedFile(f"{server.url}/w.pt", sha(CONTENT), len(CONTENT))
    assert pinned.fetch(target) == target
    assert target.read_bytes() == CONTENT
    pinned.fetch(target)
    assert server.asked == ["/w.pt"]
    assert [path.name for path in target.parent.iterdir() if path.suffix != ".lock"] == ["w.pt"]


@pytest.mark.parametrize("damage", [CONTENT[:-1], CONTENT[:-1] + b"!"])
def test_a_damaged_file_is_fetched_again(server, tmp_path, damage):
    target = tmp_path / "w.pt"
    target.write_bytes(damage)
    fetch_url(f"{server.url}/w.pt", sha(CONTENT), len(CONTENT), target)
    assert target.read_bytes() == CONTENT


def test_a_wrong_file_is_refused_and_removed(server, tmp_path):
    target = tmp_path / "w.pt"
    with pytest.raises(UserError, match=f"expected SHA-256 {'0' * 64}.* got {sha(CONTENT)}"):
        fetch_url(f"{server.url}/w.pt", "0" * 64, len(CONTENT), target)
    assert [path for path in tmp_path.iterdir() if path.suffix != ".lock"] == []


@pytest.mark.parametrize(("page", "words"), [("gone", "Not Found|404"), ("cut", "not the file")])
def test_a_failed_or_cut_transfer_leaves_nothing(server, tmp_path, page, words):
    with pytest.raises(UserError, match=words):
        fetch_url(f"{server.url}/{page}", sha(CONTENT), len(CONTENT), tmp_path / "w.pt")
    assert [path for path in tmp_path.iterdir() if path.suffix != ".lock"] == []


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/w.pt", "nonsense"])
def test_no_connection_fails_at_once_and_says_what_was_tried(tmp_path, url):
    start = time.monotonic()
    with pytest.raises(UserError, match=f"Could not fetch {url}"):
        fetch_url(url, sha(CONTENT), len(CONTENT), tmp_path / "w.pt")
    assert time.monotonic() - start < 5


def test_a_server_that_falls_silent_does_not_hang(tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, "TIMEOUT", 0.3)
    (tmp_path / "w.pt").write_bytes(b"damaged")
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def begin():
            connection, _ = listening.accept()
            connection.sendall(b"HTTP/1.0 200 OK\r\n\r\nsome")
            stop.wait()
            connection.close()

        stop, start = threading.Event(), time.monotonic()
        threading.Thread(target=begin, daemon=True).start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/w.pt"
        with pytest.raises(UserError, match="timed out"):
            fetch_url(url, sha(CONTENT), len(CONTENT), tmp_path / "w.pt")
        stop.set()
    assert time.monotonic() - start < 5
    assert [path for path in tmp_path.iterdir() if path.suffix != ".lock"] == []


def test_two_at_once_fetch_once(server, tmp_path):
    def fetch():
        fetch_url(f"{server.url}/w.pt", sha(CONTENT), len(CONTENT), tmp_path / "w.pt")

    threads = [threading.Thread(target=fetch) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert server.asked == ["/w.pt"]


@pytest.fixture
def wheel(tmp_path, monkeypatch):
    """A tiny wheel in a folder that pip, kept off the network, looks into."""
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    path = shelf / "tinydata-1.0-py3-none-any.whl"
    meta = "tinydata-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("tinydata/data/a.txt", "alpha")
        archive.writestr("tinydata/data/b.txt", "beta")
        archive.writestr(
            f"{meta}/METADATA", "Metadata-Version: 2.1\nName: tinydata\nVersion: 1.0\n"
        )
        archive.writestr(f"{meta}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr(f"{meta}/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(shelf))
    return path


def pinned(wheel, **changes):
    content = wheel.read_bytes()
    known = {"package": "tinydata", "version": "1.0", "sha256": sha(content), "size": len(content)}
    members = {"tinydata/data/a.txt": sha(b"alpha")}
    return PinnedWheel(**{**known, "members": members, **changes})


def visible(folder):
    return sorted(path.name for path in folder.iterdir() if path.name != ".lock")


def test_keeps_only_the_named_members_of_a_wheel(wheel, tmp_path):
    folder = tmp_path / "kept"
    found = pinned(wheel).fetch(folder)
    assert found == {"tinydata/data/a.txt": folder / "a.txt"}
    assert (folder / "a.txt").read_text() == "alpha"
    assert visible(folder) == ["a.txt"]


def test_pip_shows_its_own_progress_on_a_terminal_only(wheel, tmp_path, monkeypatch, capfd):
    known = pinned(wheel)
    known.fetch(tmp_path / "quiet")
    out, err = capfd.readouterr()
    assert (out, err) == ("", "pip downloads tinydata==1.0 (0 MB)\n")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    known.fetch(tmp_path / "shown")
    assert "tinydata-1.0-py3-none-any.whl" in capfd.readouterr().out


@pytest.mark.parametrize("path", ["/etc/passwd", "../a.txt", "tinydata/../../a.txt"])
def test_a_member_never_leads_out_of_the_wheel(wheel, tmp_path, path):
    with pytest.raises(ValueError, match="leads out of the wheel"):
        pinned(wheel, members={path: "0" * 64}).fetch(tmp_path / "kept")
    with pytest.raises(ValueError, match="the same name"):
        pinned(wheel, members={"a/x": "0" * 64, "b/x": "0" * 64}).fetch(tmp_path / "kept")


def test_cached_members_need_no_pip_and_damaged_ones_do(wheel, tmp_path, monkeypatch):
    folder, known = tmp_path / "kept", pinned(wheel)
    known.fetch(folder)
    with monkeypatch.context() as patch:
        patch.setattr(downloads, "_pip_download", lambda *_: pytest.fail("asked pip"))
        known.fetch(folder)
    (folder / "a.txt").write_text("alphA")
    (folder / ".wheel-left").mkdir()  # by a process that was killed
    known.fetch(folder)
    assert (folder / "a.txt").read_text() == "alpha"
    assert visible(folder) == ["a.txt"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sha256": "0" * 64}, "tinydata==1.0 is not the file.*expected SHA-256 0000"),
        ({"size": 7}, r"tinydata==1.0 is not the file.*\(7 bytes\)"),
        ({"members": {"tinydata/c.txt": "0" * 64}}, r"tinydata-1.0.*whl holds no tinydata/c\.txt"),
        ({"members": {"tinydata/data/b.txt": "0" * 64}}, "data/b.txt in tinydata.*not the file"),
    ],
)
def test_a_wrong_wheel_or_member_is_refused(wheel, tmp_path, changes, words):
    with pytest.raises(UserError, match=words):
        pinned(wheel, **changes).fetch(tmp_path / "kept")
    assert visible(tmp_path / "kept") == []


def test_what_pip_cannot_find_is_said_in_one_sentence(wheel, tmp_path):
    start = time.monotonic()
    with pytest.raises(UserError, match=r"could not download tinydata==2\.0 \(tried: .*PIP_FIND"):
        fetch_wheel_members("tinydata", "2.0", "0" * 64, 1, {"a": "0" * 64}, tmp_path / "kept")
    assert time.monotonic() - start < 20


def test_a_broken_connection_is_named_as_such(wheel, tmp_path, monkeypatch):
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "")
    with pytest.raises(UserError, match=r"no connection \(.*refused"):
        fetch_wheel_members("tinydata", "2.0", "0" * 64, 1, {"a": "0" * 64}, tmp_path / "kept")
