import numpy as np
import pandas as pd

from arg_utils.labels import NONARG, NUM_CLASSES
from benchmarks.reach import judged, per_class


def test_errors_are_told_apart_by_what_hits_the_protein():
    # Of class 2: no hit, behind class 5, ahead yet called 5, right behind a non-ARG; a non-ARG.
    strength = np.zeros((5, NUM_CLASSES), np.float32)
    strength[1, [2, 5]] = 1, 2
    strength[2, [2, 5]] = 3, 2
    strength[4, 2] = 4
    strength[3, [2, NONARG]] = 1, 9
    true = [2, 2, 2, 2, NONARG]
    predictions = pd.DataFrame(
        {"true": true, "best_hit": [NONARG, 5, 2, 2, NONARG], "hybrid": [NONARG, 5, 5, 2, 2]}
    )
    table = judged(predictions, strength)
    assert table["error"].tolist() == ["out of reach", "behind a rival", "ahead, yet wrong", "", ""]
    assert table["detector"].tolist() == [NONARG, 5, 2, 2, NONARG]
    assert table["oracle"].tolist() == [NONARG, 2, 2, 2, NONARG]
    row = per_class(table.assign(cluster=[0, 0, 1, 2, 3])).iloc[0]
    assert row[["proteins", "clusters"]].tolist() == [4, 3]
    np.testing.assert_allclose(row["within_reach"], (0.5 + 1 + 1) / 3)
    np.testing.assert_allclose(row["ahead"], (0 + 1 + 0) / 3)
    np.testing.assert_allclose(row["f1_oracle"], 2 * 3 / (3 + 4))
    assert row[["out of reach", "behind a rival", "ahead, yet wrong"]].tolist() == [1, 1, 1]
