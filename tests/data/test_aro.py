import pandas as pd

from arg_utils.data import aro
from arg_utils.data.downloads import PinnedWheel


def test_loose_matches_are_left_out_and_curated_ones_win(tmp_path, monkeypatch):
    header = ["Original ID", "Gene Name in CARD", "ARO", "Cut_Off"]
    rows = [
        ("gb|AAA1.1|ARO:9|x", "x", "3000001", "Strict"),
        ("gi|7|ref|WP_2.1|", "y", "3000002", "Perfect"),
        ("AAC3", "z", "3000003", "Loose"),
    ]
    files = {name: tmp_path / name for name in ("automatic", "curated")}
    pd.DataFrame(rows, columns=header).to_csv(files["automatic"], sep="\t", index=False)
    rows = [("AAC4", "w", "3000004"), ("gb|AAA1.1|ARO:9|x", "v", "3000009")]
    pd.DataFrame(rows, columns=header[:3]).to_csv(files["curated"], sep="\t", index=False)
    monkeypatch.setattr(PinnedWheel, "fetch", lambda self, folder: files)
    aro.aro_terms.cache_clear()
    expected = {
        "AAA1.1": "v (ARO:3000009)", "WP_2.1": "y (ARO:3000002)", "AAC4": "w (ARO:3000004)",
    }  # fmt: skip
    assert aro.aro_terms() == expected
    aro.aro_terms.cache_clear()
