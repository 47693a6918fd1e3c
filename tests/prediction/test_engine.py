"""A stream becomes a file: in order, whole or to be resumed, and of any size."""

import json
from dataclasses import replace

import numpy as np
import pytest

from arg_utils.errors import UserError
from arg_utils.labels import INDEX, NONARG, NUM_CLASSES
from arg_utils.prediction import model as model_module
from arg_utils.prediction.engine import predict_stream
from arg_utils.prediction.model import Model, blocks
from arg_utils.prediction.query import Query
from arg_utils.prediction.rows import COLUMNS, Scores
from arg_utils.prediction.writing import Context

CONTEXT = Context("m", "1", "d")


def scorer(sequences, progress):
    """Proteins with a W are beta-lactamases, as sure as they are long; others are no ARGs."""
    p = np.zeros((len(sequences), NUM_CLASSES))
    for row, sequence in zip(p, sequences, strict=True):
        row[INDEX["beta_lactam"] if "W" in sequence else NONARG] = len(sequence) / 100
    progress(len(sequences))
    return Scores(p)


@pytest.fixture
def model(monkeypatch):
    monkeypatch.setattr(model_module, "BLOCK_PROTEINS", 4)
    return Model("m", "d", 0.5, scorer)


def proteins(count=10):
    letters = ("MKVW", "MKVA" * 10, "MW" + "A" * 70)
    return [Query(f"p{i}", letters[i % 3] + "CDE"[i % 2], f"record {i}") for i in range(count)]


def interrupted(queries, after):
    yield from queries[:after]
    raise KeyboardInterrupt


def test_rows_come_in_order(model, tmp_path):
    out = tmp_path / "rows.tsv"
    done = predict_stream(model, iter(proteins()), CONTEXT, out=out)
    lines = out.read_text().splitlines()
    assert lines[0].split("\t") == list(COLUMNS)
    assert [line.split("\t")[0] for line in lines[1:]] == [f"p{i}" for i in range(10)]
    assert lines[3].startswith("p2\tbeta_lactam\t0.7300\t")
    assert (done.proteins, done.args) == (10, 7)
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize("form", ["tsv", "jsonl"])
@pytest.mark.parametrize("args_only", [False, True])
@pytest.mark.parametrize("after", [0, 3, 6, 9])
def test_resumed_bytes_are_those_of_an_undisturbed_run(model, tmp_path, form, args_only, after):
    whole, out = tmp_path / "whole", tmp_path / "out"
    options = {"form": form, "args_only": args_only}
    predict_stream(model, iter(proteins()), CONTEXT, out=whole, **options)
    with pytest.raises(KeyboardInterrupt):
        predict_stream(model, interrupted(proteins(), after), CONTEXT, out=out, **options)
    assert not out.exists()
    part = tmp_path / "out.part"
    with open(part, "ab") as handle:
        handle.write(b"a block cut off in the mid")
    done = predict_stream(model, iter(proteins()), CONTEXT, out=out, resume=True, **options)
    assert out.read_bytes() == whole.read_bytes()
    assert (done.proteins, done.args) == (10, 7)
    assert not part.exists()


def test_what_was_predicted_is_not_predicted_again(model, tmp_path):
    out, seen = tmp_path / "out", []
    with pytest.raises(KeyboardInterrupt):
        predict_stream(model, interrupted(proteins(), 9), CONTEXT, out=out)
    predict_stream(
        model, iter(proteins()), CONTEXT, out=out, resume=True,
        listener=lambda block, *_: seen.extend(query.id for query in block),
    )  # fmt: skip
    assert seen == ["p8", "p9"]


def test_only_the_same_work_is_resumed(model, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(UserError, match="not there to be resumed"):
        predict_stream(model, iter(proteins()), CONTEXT, out=out, resume=True)
    with pytest.raises(KeyboardInterrupt):
        predict_stream(model, interrupted(proteins(), 9), CONTEXT, out=out)
    for options in ({"form": "jsonl"}, {"args_only": True}):
        with pytest.raises(UserError, match="other options"):
            predict_stream(model, iter(proteins()), CONTEXT, out=out, resume=True, **options)
    refitted = replace(model, identity="other parameters under the same name")
    with pytest.raises(UserError, match="another model"):
        predict_stream(refitted, iter(proteins()), CONTEXT, out=out, resume=True)
    moved = [replace(query, contig="c", start=1, end=9, strand="-") for query in proteins()]
    for other in (proteins()[1:], proteins(2), moved):
        with pytest.raises(UserError, match="input has changed"):
            predict_stream(model, iter(other), CONTEXT, out=out, resume=True)


def test_a_fault_leaves_no_file(model, tmp_path):
    def faulty():
        yield from proteins(5)
        raise UserError("record 5 is bad")

    with pytest.raises(UserError, match="record 5"):
        predict_stream(model, faulty(), CONTEXT, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
    for place, fault in ((tmp_path, "is a folder"), (tmp_path / "none" / "out", "cannot be")):
        with pytest.raises(UserError, match=fault):
            predict_stream(model, iter(proteins()), CONTEXT, out=place)


def test_a_fault_of_the_first_record_leaves_nothing_behind(model, tmp_path):
    def faulty(after):
        yield from proteins(after)
        raise UserError("it is bad")

    placeless = replace(CONTEXT, genome=True)
    with pytest.raises(UserError, match="has no place in a genome"):
        predict_stream(model, iter(proteins()), placeless, form="gff3", out=tmp_path / "out")
    assert not list(tmp_path.iterdir())
    for after, left in ((0, 0), (3, 0), (5, 2)):  # a block holds four
        with pytest.raises(UserError, match="it is bad"):
            predict_stream(model, faulty(after), CONTEXT, out=tmp_path / "out")
        assert len(list(tmp_path.iterdir())) == left


def test_json_lines_have_null_and_numbers(model, capsys):
    predict_stream(model, iter(proteins(3)), CONTEXT, form="jsonl")
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["id"] for row in rows] == ["p0", "p1", "p2"]
    assert rows[2]["probability"] == 0.73
    assert rows[2]["nearest_bits"] is None
    assert (rows[0]["flags"], rows[2]["flags"]) == (["short"], [])


def test_blocks_hold_so_many_proteins_and_residues(monkeypatch):
    monkeypatch.setattr(model_module, "BLOCK_PROTEINS", 3)
    monkeypatch.setattr(model_module, "BLOCK_RESIDUES", 10)
    lengths = [2, 2, 2, 2, 5, 30, 4, 7]
    queries = [Query(str(i), "M" * n, "") for i, n in enumerate(lengths)]
    sizes = [[len(query.sequence) for query in block] for block in blocks(iter(queries))]
    assert sizes == [[2, 2, 2], [2, 5], [30], [4], [7]]


def test_repeated_proteins_are_scored_once(monkeypatch):
    asked = []

    def counting(sequences, progress):
        asked.extend(sequences)
        return scorer(sequences, progress)

    frame = Model("m", "d", 0.5, counting).predict(["MKW", ("b", "MKV"), "mkw*"])
    assert asked == ["MKW", "MKV"]
    assert frame["id"].tolist() == ["0", "b", "2"]
    assert frame["class"].tolist() == ["beta_lactam", "nonarg", "beta_lactam"]


def test_no_protein_gives_no_row_and_what_is_none_an_error():
    model = Model("m", "d", 0.5, scorer)
    assert model.predict([]).columns.tolist() == list(COLUMNS)
    with pytest.raises(UserError, match=r"sequences\[1\] \('b'\)"):
        model.predict(["MKV", ("b", "MK-V")])
