"""`make` in folders with spaces, half-made and moved virtual environments, missing Pythons."""

import errno
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys

import pytest

from arg_utils.files import ROOT

spec = importlib.util.spec_from_file_location("setup_venv", ROOT / ".ci" / "setup_venv.py")
setup_venv = importlib.util.module_from_spec(spec)
spec.loader.exec_module(setup_venv)


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """A clone in a folder with spaces, where installing only notes its commands."""
    root = tmp_path / "my clone"
    shutil.copytree(ROOT / ".ci", root / ".ci")
    for name in ("Makefile", "requirements.txt", "requirements.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, root / name)
    commands = []

    def call(*command):
        commands.append(command)
        if "venv" in command:
            python = root / ".venv" / "bin" / "python"
            python.parent.mkdir(parents=True)
            python.symlink_to(sys.executable)

    monkeypatch.setattr(setup_venv, "call", call)
    return root, commands


def test_made_once_then_left_alone_until_requirements_change(clone):
    root, commands = clone
    assert setup_venv.state(root) == "unusable"
    setup_venv.prepare(root)
    assert [command[2] for command in commands] == ["venv", "pip", "pip", "pip"]
    assert commands[1][-2:] == ("-r", str(root / "requirements.lock"))
    assert "--require-hashes" in commands[1]
    assert commands[2][-1] == str(root / "requirements.txt")
    assert not (root / ".venv/.changing").exists()
    setup_venv.prepare(root)
    assert len(commands) == 4
    for name in ("requirements.txt", "requirements.lock", "pyproject.toml"):
        (root / name).write_text("changed")
        assert setup_venv.state(root) == "outdated"
        setup_venv.prepare(root)
        assert [command[2] for command in commands[-3:]] == ["pip", "pip", "pip"]
        assert setup_venv.state(root) == "ready"
    assert len(commands) == 13


@pytest.mark.parametrize("when", ["venv", "-r", "-e"])
def test_an_interrupted_attempt_is_made_anew(clone, monkeypatch, when):
    root, commands = clone
    working = setup_venv.call

    def killed(*command):
        if when in command:
            raise KeyboardInterrupt
        working(*command)

    monkeypatch.setattr(setup_venv, "call", killed)
    with pytest.raises(KeyboardInterrupt):
        setup_venv.prepare(root)
    left = root / ".venv" / "left over"
    left.touch()
    assert setup_venv.state(root) == "unusable"
    monkeypatch.setattr(setup_venv, "call", working)
    commands.clear()
    setup_venv.prepare(root)
    assert [command[2] for command in commands] == ["venv", "pip", "pip", "pip"]
    assert not left.exists()
    assert setup_venv.state(root) == "ready"


def test_every_pin_but_pytorch_s_is_locked_with_hashes():
    """requirements.lock is of requirements.txt as it is now."""
    pin = re.compile(r"^([\w.-]+)==([^\s;]+)", re.MULTILINE)

    def pins(name):
        return [
            (re.sub("[._]", "-", n), v) for n, v in pin.findall((ROOT / name).read_text().lower())
        ]

    wanted, locked = set(pins("requirements.txt")), pins("requirements.lock")
    pytorch = {entry for entry in wanted if entry[0] == "torch"}
    assert len(pytorch) == 1
    assert wanted - pytorch <= set(locked)
    entries = re.split(r"\n(?=\w)", (ROOT / "requirements.lock").read_text())[1:]
    assert len(entries) == len(locked)
    assert all(re.search(r"--hash=sha256:[0-9a-f]{64}$", entry.strip()) for entry in entries)
    assert not any(name.startswith(("torch", "nvidia", "triton")) for name, _ in locked)


def test_what_has_happened_to_it_is_noticed(clone, monkeypatch):
    root, _ = clone
    setup_venv.prepare(root)
    with monkeypatch.context() as patch:
        patch.setattr(platform, "python_version", lambda: "3.99.0")
        assert setup_venv.state(root) == "ready"  # another Python only on request
        assert setup_venv.state(root, exactly=True) == "unusable"
    moved = root.rename(root.with_name("moved clone"))
    assert setup_venv.state(moved) == "unusable"
    moved.rename(root)
    (root / ".venv/.stamp").unlink()
    assert setup_venv.state(root) == "outdated"  # your own is kept
    (root / ".venv/bin/python").unlink()
    (root / ".venv/bin/python").symlink_to("/nowhere/python")
    assert setup_venv.state(root) == "unusable"


def test_a_home_without_locks_is_told_and_used(clone, monkeypatch, capsys):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(setup_venv.fcntl, "flock", refuse)
    with open(clone[0] / "requirements.txt") as lock:
        setup_venv.wait_for_others(lock)
    assert capsys.readouterr().out.startswith("This folder has no file locks (No locks available)")


def fake_python(folder, name, version_ok, venv_ok):
    """A shell script that answers the two questions of .ci/setup and tells when it is chosen."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(
        "#!/bin/sh\n"
        f'case "$*" in *version_info*) exit {int(not version_ok)};;'
        f" *ensurepip*) exit {int(not venv_ok)};; esac\n"
        'echo "chosen $(basename "$0") $*"\n'
    )
    path.chmod(0o755)
    return path


def make(root, *arguments, path, **variables):
    tools = root / "tools"
    tools.mkdir(exist_ok=True)
    for tool in ("bash", "dirname", "basename", "sh", "make", "echo"):
        link = tools / tool
        if not link.exists():
            link.symlink_to(shutil.which(tool))
    environment = {"PATH": os.pathsep.join([str(path), str(tools)]), **variables}
    command = [shutil.which("make"), "--no-print-directory", "-C", str(root), *arguments]
    return subprocess.run(
        command, env=environment, cwd="/", capture_output=True, text=True, check=False
    )


def test_a_python_that_can_is_chosen(clone, tmp_path):
    root, _ = clone
    fake_python(tmp_path / "bin", "python3", version_ok=False, venv_ok=True)
    fake_python(tmp_path / "bin", "python3.13", version_ok=True, venv_ok=False)
    fake_python(tmp_path / "bin", "python3.12", version_ok=True, venv_ok=True)
    done = make(root, "setup", path=tmp_path / "bin")
    assert done.stdout == "chosen python3.12 .ci/setup_venv.py\n", done
    assert done.returncode == 0


def test_the_named_python_is_taken_or_refused(clone, tmp_path):
    root, _ = clone
    mine = fake_python(tmp_path / "my bin", "py", version_ok=True, venv_ok=True)
    old = fake_python(tmp_path / "my bin", "old", version_ok=False, venv_ok=True)
    done = make(root, "setup", f"PYTHON={mine}", path=tmp_path)
    assert done.stdout == "chosen py .ci/setup_venv.py --exactly\n", done
    refused = make(root, "setup", path=tmp_path, PYTHON=str(old))
    assert f"PYTHON={old} is not a Python of version 3.11 or newer" in refused.stderr
    assert refused.returncode == 2


@pytest.mark.parametrize(
    ("version_ok", "sentence"),
    [(True, "lacks the modules venv and ensurepip"), (False, "No Python of version 3.11")],
)
def test_what_is_missing_is_said_in_a_sentence(clone, tmp_path, version_ok, sentence):
    root, _ = clone
    fake_python(tmp_path / "bin", "python3", version_ok=version_ok, venv_ok=False)
    done = make(root, "setup", path=tmp_path / "bin")
    assert sentence in done.stderr
    assert done.returncode == 2


def test_plain_make_only_helps(clone, tmp_path):
    root, _ = clone
    done = make(root, path=tmp_path)
    assert "make run" in done.stdout
    assert done.returncode == 0
    assert not (root / ".venv").exists()


def test_continuous_integration_runs_make_test_and_ends_with_its_last_line(clone, tmp_path):
    root, _ = clone
    mine = fake_python(tmp_path / "bin", "python3", version_ok=True, venv_ok=True)
    (root / ".ci/test").write_text("echo '5 passed'; exit 3\n")
    done = subprocess.run(
        [root / ".ci/run"],
        env={**os.environ, "PYTHON": str(mine)},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.splitlines()[-1] == "5 passed"
    assert done.returncode == 2  # make's own code for a failed recipe
