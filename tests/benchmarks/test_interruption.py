"""What interrupted work is judged by."""

import json

from benchmarks.interruption import results


def test_times_and_their_hashes_do_not_count_and_all_else_does(tmp_path):
    def made(seconds: float, score: float) -> dict[str, bytes]:
        rows = {"rows": [{"seconds": seconds, "f1": score}], "training_seconds": seconds}
        (tmp_path / "metrics.json").write_text(json.dumps(rows))
        (tmp_path / "history.csv").write_text(f"epoch,seconds\n1,{seconds}\n")
        (tmp_path / "run.json").write_text(str(seconds))
        (tmp_path / "model").write_bytes(b"1")
        return results(tmp_path, "*")

    assert list(made(1, 0.5)) == ["history.csv", "metrics.json", "model"]
    assert made(1, 0.5) == made(2, 0.5)
    assert made(1, 0.5) != made(1, 0.6)
