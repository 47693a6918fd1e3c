"""Shards are the file, their results put together are one process's, also after a kill."""

import gzip
import os
import shutil
import signal
import subprocess
import sys

import pytest
import workspaces

from arg_utils.errors import UserError
from arg_utils.files import ROOT
from workflow import shards

FASTA = b">a 1\nMKV\nLAA\r\n>b\n\nMK>V\n>c\nM\n>d\nMA"
SNAKEMAKE = shutil.which("snakemake")


@pytest.mark.parametrize(
    ("content", "records", "counts"),
    [
        (FASTA, 1, [1, 1, 1, 1]),
        (FASTA, 3, [3, 1]),
        (FASTA, 4, [4]),
        (FASTA, 9, [4]),
        (FASTA, 0, [4]),
        (b"##gff-version 3\n" + FASTA, 1, [4]),
    ],
)
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_shards_are_the_file_cut_between_records(tmp_path, content, records, counts, pack):
    source = tmp_path / "my proteins.faa.gz"
    source.write_bytes(pack(content))
    paths = shards.split(source, tmp_path / "shards", records)
    parts = [path.read_bytes() for path in paths]
    assert b"".join(parts) == content
    assert [sum(line.startswith(b">") for line in part.splitlines()) for part in parts] == counts
    assert {path.name for path in paths} == {source.name}, "results may state the file's name"
    assert paths == sorted(paths)


def test_an_empty_file_is_refused(tmp_path):
    source = tmp_path / "empty.fasta"
    source.touch()
    with pytest.raises(UserError, match=r"empty\.fasta is empty"):
        shards.split(source, tmp_path / "shards", 2)


@pytest.mark.parametrize(
    ("form", "header"),
    [
        ("tsv", b"id\tclass\n"),
        ("hamronization", b"a\tb\n"),
        ("gff3", b"##gff-version 3\n"),
        ("jsonl", b""),
    ],
)
def test_results_are_joined_in_order_under_one_header(tmp_path, form, header):
    parts = [b"p1\tx\np2\ty\n", b"", b"p3\tz\n"]  # of the second, --args-only left nothing
    rows = [tmp_path / f"{number}.{form}" for number in range(3)]
    for path, part in zip(rows, parts, strict=True):
        path.write_bytes(header + part)
    shards.merge(rows, tmp_path / "out", form)
    assert (tmp_path / "out").read_bytes() == header + b"".join(parts)


def test_results_with_other_columns_are_not_joined(tmp_path):
    rows = [tmp_path / "1.tsv", tmp_path / "2.tsv"]
    rows[0].write_text("id\tclass\np1\tx\n")
    rows[1].write_text("id\tprobability\np2\t1\n")
    with pytest.raises(UserError, match="another header"):
        shards.merge(rows, tmp_path / "out", "tsv")
    assert not (tmp_path / "out").exists()


@pytest.fixture
def screen(tmp_path, own_cache, monkeypatch):
    """A fitted model, proteins, and the command line that screens them with two jobs at once."""
    from arg_utils.experiments.runs import fit_run
    from arg_utils.settings import load_profile

    data = workspaces.write_folder(tmp_path / "data")
    fit_run(data, tmp_path / "run", "best_hit", load_profile("smoke"))
    shutil.copy(data / "test.fasta", tmp_path / "proteins.fasta")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    given = {
        "inputs": f"[{tmp_path / 'proteins.fasta'}]", "run": tmp_path / "run",
        "python": sys.executable, "records_per_shard": 10, "threads": 1,
    }  # fmt: skip
    return [
        SNAKEMAKE, "--snakefile", ROOT / "workflow" / "Snakefile", "--cores", "2",
        "--workflow-profile", ROOT / "workflow" / "profiles" / "local",
        "--directory", tmp_path, "--config", *(f"{name}={value}" for name, value in given.items()),
    ]  # fmt: skip


def first_shard_done(screening: subprocess.Popen) -> None:
    """Wait for it."""
    for line in screening.stdout:
        if "Finished jobid" in line and "predict" in line:
            return
    pytest.fail("snakemake ended before a shard was done")


@pytest.mark.skipif(SNAKEMAKE is None, reason="snakemake is not on the PATH")
def test_a_killed_screen_goes_on_and_gives_the_bytes_of_one_process(screen, tmp_path):
    source, one = tmp_path / "proteins.fasta", tmp_path / "one.tsv"
    predict = [sys.executable, "-m", "arg_utils", "predict", source, "--run", tmp_path / "run"]
    subprocess.run([*predict, "-o", one], check=True, timeout=120)

    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen(screen, start_new_session=True, **pipes) as screening:
        first_shard_done(screening)
        os.killpg(screening.pid, signal.SIGKILL)  # jobs included
    result, rows = tmp_path / "results" / "proteins.fasta.tsv", tmp_path / "rows"
    assert not result.exists()
    done = {path: path.stat().st_mtime_ns for path in rows.rglob("*.tsv")}
    assert 1 <= len(done) < 4

    subprocess.run([*screen, "--unlock"], check=True, timeout=60)
    subprocess.run(screen, check=True, timeout=240)
    assert result.read_bytes() == one.read_bytes()
    assert one.read_bytes().count(b"\n") == 36
    again = {path for path, time in done.items() if path.stat().st_mtime_ns != time}
    assert len(again) < len(done), "what was done is not done again"
