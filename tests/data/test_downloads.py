"""What is pinned is fetched once, whole and unchanged, or not at all and with a reason."""

import hashlib
import http.server
import socket
import threading
import time
import zipfile

import pytest

from arg_utils.data import downloads
from arg_utils.data.downloads import PinnedFile, PinnedWheel
from arg_utils.errors import UserError

CONTENT = b"weights" * 1000


def sha(content):
    return hashlib.sha256(content).hexdigest()


def pinned(url):
    return PinnedFile(url, sha(CONTENT), len(CONTENT))


def visible(folder):
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))


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


def test_many_at_once_fetch_once_and_a_damaged_file_anew(server, tmp_path):
    target = tmp_path / "deep" / "w.pt"
    fetch = pinned(f"{server.url}/w.pt").fetch
    threads = [threading.Thread(target=fetch, args=[target]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert fetch(target) == target
    assert server.asked == ["/w.pt"]
    for damaged in (CONTENT[:-1], CONTENT[:-1] + b"!"):
        target.write_bytes(damaged)
        fetch(target)
        assert target.read_bytes() == CONTENT
    assert visible(target.parent) == ["w.pt"]


@pytest.mark.parametrize(("page", "words"), [("gone", "Not Found|404"), ("cut", "not the file")])
def test_a_failed_or_cut_transfer_leaves_nothing(server, tmp_path, page, words):
    with pytest.raises(UserError, match=words):
        pinned(f"{server.url}/{page}").fetch(tmp_path / "w.pt")
    assert visible(tmp_path) == []


def test_a_wrong_file_is_refused_and_removed(server, tmp_path):
    with pytest.raises(UserError, match=f"expected SHA-256 {'0' * 64}.* got {sha(CONTENT)}"):
        PinnedFile(f"{server.url}/w.pt", "0" * 64, len(CONTENT)).fetch(tmp_path / "w.pt")
    assert visible(tmp_path) == []


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/w.pt", "nonsense"])
def test_no_connection_fails_at_once_and_says_what_was_tried(tmp_path, url):
    start = time.monotonic()
    with pytest.raises(UserError, match=f"Could not fetch {url}"):
        pinned(url).fetch(tmp_path / "w.pt")
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
            pinned(url).fetch(tmp_path / "w.pt")
        stop.set()
    assert time.monotonic() - start < 5
    assert visible(tmp_path) == []


@pytest.fixture
def wheel(tmp_path, monkeypatch):
    """How to pin a tiny wheel in a folder that pip, kept off the network, looks into."""
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
    content = path.read_bytes()
    known = {"package": "tinydata", "version": "1.0", "sha256": sha(content), "size": len(content)}
    members = {"tinydata/data/a.txt": sha(b"alpha")}
    return lambda **changes: PinnedWheel(**{**known, "members": members, **changes})


def test_only_the_named_members_of_a_wheel_stay(wheel, tmp_path, monkeypatch):
    folder, known = tmp_path / "cache", wheel()
    assert known.fetch(folder) == {"tinydata/data/a.txt": folder / "a.txt"}
    assert (folder / "a.txt").read_text() == "alpha"
    with monkeypatch.context() as patch:
        patch.setattr(PinnedWheel, "_download", lambda *_: pytest.fail("asked pip"))
        known.fetch(folder)
    (folder / "a.txt").write_text("alphA")
    (folder / ".wheel-left").mkdir()  # by a process that was killed
    known.fetch(folder)
    assert (folder / "a.txt").read_text() == "alpha"
    assert visible(folder) == ["a.txt"]


def test_pip_shows_its_own_progress_on_a_terminal_only(wheel, tmp_path, monkeypatch, capfd):
    wheel().fetch(tmp_path / "quiet")
    assert capfd.readouterr() == ("", "pip downloads tinydata==1.0 (0 MB)\n")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    wheel().fetch(tmp_path / "shown")
    assert "tinydata-1.0-py3-none-any.whl" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sha256": "0" * 64}, "tinydata==1.0 is not the file.*expected SHA-256 0000"),
        ({"size": 7}, r"tinydata==1.0 is not the file.*\(7 bytes\)"),
        ({"members": {"tinydata/c.txt": "0" * 64}}, r"tinydata-1.0.*whl holds no tinydata/c\.txt"),
        ({"members": {"tinydata/data/b.txt": "0" * 64}}, "data/b.txt in tinydata.*not the file"),
        ({"version": "2.0"}, r"could not download tinydata==2\.0 \(tried: .*PIP_FIND_LINKS"),
    ],
)
def test_a_wrong_wheel_or_member_is_refused(wheel, tmp_path, changes, words):
    with pytest.raises(UserError, match=words):
        wheel(**changes).fetch(tmp_path / "cache")
    assert visible(tmp_path / "cache") == []


@pytest.mark.parametrize("name", ["../out.txt", "/out.txt", "tinydata/link.txt"])
def test_nothing_of_a_wheel_gets_outside_the_folder(wheel, tmp_path, name):
    """Members that climb, begin at the root, or are links."""
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    path = tmp_path / "shelf" / "tinydata-1.0-py3-none-any.whl"
    link = zipfile.ZipInfo("tinydata/link.txt")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("../out.txt", "out")
        archive.writestr("/out.txt", "out")
        archive.writestr(link, str(secret))
    content = path.read_bytes()
    known = wheel(sha256=sha(content), size=len(content), members={name: sha(b"out")})
    before = visible(tmp_path)
    if name.endswith("link.txt"):
        with pytest.raises(UserError, match="not the file"):
            known.fetch(tmp_path / "cache")
        assert visible(tmp_path / "cache") == []
    else:
        assert known.fetch(tmp_path / "cache") == {name: tmp_path / "cache" / "out.txt"}
    assert visible(tmp_path) == sorted([*before, "cache"])


def test_a_broken_connection_is_named_as_such(wheel, tmp_path, monkeypatch):
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "")
    start = time.monotonic()
    with pytest.raises(UserError, match=r"no connection \(.*refused"):
        wheel(version="2.0").fetch(tmp_path / "cache")
    assert time.monotonic() - start < 20
