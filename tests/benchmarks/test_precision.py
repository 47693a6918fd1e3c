import json

import pytest

from benchmarks import precision


def test_both_precisions_answer_for_all_of_validation(work, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(precision, "open_workspace", lambda: work)
    monkeypatch.setattr(precision, "RESULTS", tmp_path)
    code = precision.main()
    written = json.loads((tmp_path / "precision.json").read_text())
    said = capsys.readouterr().out
    assert json.loads(said[said.index("{") :]) == written
    assert written["proteins"] == len(work.val.labels)
    assert code == (written["decisions_unchanged"] < 0.995)
    assert 0 <= written["largest_logit_difference"] < 1
    assert written["macro_f1_bfloat16"] == pytest.approx(written["macro_f1_float32"], abs=0.2)
