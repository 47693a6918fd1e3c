import numpy as np
import pytest

from arg_utils.experiments.outcomes import fit_random
from arg_utils.reporting.maps import map_points, maps_before_and_after


def test_groups_stay_apart():
    rng = np.random.default_rng(0)
    features = np.concatenate([rng.normal(0, 1, (20, 8)), rng.normal(9, 1, (20, 8))])
    points = map_points(features)
    assert points.shape == (40, 2)
    one, other = points[:20], points[20:]
    gap = np.linalg.norm(one.mean(axis=0) - other.mean(axis=0))
    assert gap > 2 * max(one.std(), other.std())
    np.testing.assert_array_equal(map_points(features), points)


@pytest.mark.usefixtures("settings")
def test_both_maps_are_of_the_same_proteins(work):
    fit_random(work, "lora_blocks")
    labels, points = maps_before_and_after(work, "lora_blocks", most=3)
    assert np.bincount(labels).max() == 3
    assert points["before"].shape == points["after"].shape == (len(labels), 2)
