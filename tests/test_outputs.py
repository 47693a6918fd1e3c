from arg_utils import files, settings


def test_default_is_named_after_data_and_profile(monkeypatch, tmp_path):
    monkeypatch.delenv("ARG_OUTPUT", raising=False)
    monkeypatch.setattr(files, "RUNS", tmp_path / "runs")
    assert settings.output_dir("open", "laptop") == tmp_path / "runs/open-laptop"
    assert (tmp_path / "runs/open-laptop").is_dir()
    monkeypatch.setattr(files, "SUBMISSIONS", tmp_path / "submissions")
    assert settings.submission_path() == tmp_path / "submissions/submission.csv"
    assert (tmp_path / "submissions").is_dir()


def test_a_named_output_keeps_everything_in_one_place(monkeypatch, tmp_path):
    monkeypatch.setenv("ARG_OUTPUT", str(tmp_path / "my run"))
    assert settings.output_dir("open", "laptop") == tmp_path / "my run"
    assert settings.submission_path() == tmp_path / "my run/submission.csv"
