"""What `benchmarks.predict` measures, and what it makes of that."""

import argparse
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from arg_utils.prediction.query import Query
from arg_utils.prediction.rows import COLUMNS
from benchmarks import predict

QUERIES = [Query(f"p{i}", "MKVLAWHT" * (i + 1), "") for i in range(12)]


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(predict, "_mixed", lambda count: QUERIES[:count])
    for name, number in {"TOGETHER": 12, "ALONE": 5, "SHARD": 4}.items():
        monkeypatch.setattr(predict, name, number)


def answered(monkeypatch, row):
    """Have predictions answered by ``row`` of an id and its place in the file."""

    def fake(command):
        ids = [line[1:] for line in Path(command[4]).read_text().splitlines() if line[0] == ">"]
        head = "\t".join(COLUMNS)
        Path(command[-1]).write_text("\n".join([head, *map(row, ids, range(len(ids)))]) + "\n")
        return {"seconds": 5.0 + 20 * (len(ids) > 1), "peak_mb": 9.0}

    monkeypatch.setattr(predict, "measured", fake)


def line(name: str, nearest: str, more: str = "") -> str:
    cells = dict.fromkeys(COLUMNS, "x") | {"id": name, "nearest_id": nearest, "flags": more}
    return "\t".join(cells.values())


def test_memory_of_a_command_and_its_children_is_measured():
    inner = "import time; x = b'x' * 60_000_000; time.sleep(1.2)"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {inner!r}], check=True)"
    found = predict.measured([sys.executable, "-c", code])
    assert 1.2 <= found["seconds"] < 60
    assert 60 < found["peak_mb"] < 300
    with pytest.raises(RuntimeError, match="no such thing"):
        predict.measured([sys.executable, "-c", "import sys; sys.exit('no such thing')"])


def test_many_proteins_are_one_start_and_the_sample_as_often(monkeypatch, tmp_path):
    answered(monkeypatch, lambda name, place: line(name, ""))
    monkeypatch.setattr(predict, "_features_rate", lambda sequences: 1000.0)
    searched: list[str] = []
    references = SimpleNamespace(hits=searched.extend)
    monkeypatch.setattr(predict, "load_model", lambda: SimpleNamespace(references=references))
    found = predict.many(tmp_path, argparse.Namespace(sample=10))
    assert len(searched) == 10
    assert found["searches_seconds"] >= 0
    assert found["extrapolated_seconds"] == 5 + 20 * predict.MANY / 10
    rate = found["residues"] * predict.MANY / 10 / found["extrapolated_seconds"]
    assert found["residues_per_second"] == pytest.approx(rate, abs=0.1)
    assert found["share_of_features_rate"] == pytest.approx(rate / 1000, abs=1e-3)


def test_rows_that_depend_on_their_neighbours_are_counted(monkeypatch, tmp_path):
    answered(monkeypatch, lambda name, place: line(name, "A" if name in ("p1", "p2") else ""))
    (tmp_path / "again").mkdir()
    found = predict.independence(tmp_path / "again", argparse.Namespace())
    assert found["identical"]
    assert (found["together"], found["near_an_arg"]) == (12, 2)
    assert found["compared"] == {"alone": 5, "reverse_order": 12, "sharded": 12}
    answered(monkeypatch, lambda name, place: line(name, "", str(place)))
    found = predict.independence(tmp_path, argparse.Namespace())
    assert not found["identical"]
    assert found["differing"]["reverse_order"] == 12
    assert found["differing"]["sharded"] == 8  # all but those of the first shard


def test_only_what_other_cores_measured_goes(monkeypatch, tmp_path, capsys):
    out = tmp_path / "predict.json"
    monkeypatch.setattr(predict, "PARTS", {"ten": lambda *_: {"seconds": 1}, "many": None})
    monkeypatch.setattr(predict, "chosen_form", lambda: "avx2")

    def measure(*arguments: str) -> dict:
        monkeypatch.setattr(sys, "argv", ["predict", *arguments, "--out", str(out)])
        predict.main()
        return json.loads(out.read_text())

    ten = measure("ten")["forms"]["avx2"]
    assert ten["ten"]["seconds"] == 1
    others = {"amx": {"cores": 1, "many": {"seconds": 2}}}
    out.write_text(json.dumps({"forms": others | {"avx2": ten | {"many": {"seconds": 3}}}}))
    forms = measure("ten")["forms"]
    assert forms["amx"] == others["amx"]
    assert forms["avx2"]["many"] == {"seconds": 3}
    out.write_text(json.dumps({"forms": {"avx2": ten | {"cores": 99, "many": {"seconds": 3}}}}))
    assert list(measure("ten")["forms"]["avx2"]) == ["cores", "ten"]
    capsys.readouterr()
    with pytest.raises(SystemExit, match="2"):
        measure("tne")
    assert "no part tne; there are ten, many" in capsys.readouterr().err
