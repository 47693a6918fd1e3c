import numpy as np
import pytest
import torch

from arg_utils.esm2.attention import Packing
from arg_utils.esm2.pooling import pool, residues
from arg_utils.esm2.weights import WIDTH


def test_pool_by_hand():
    packing = Packing.from_lengths([5, 3])
    hidden = torch.full((packing.rows, 2), torch.nan)
    hidden[: packing.used, 0] = torch.tensor([9.0, 1, 2, 6, 9, 7, 4, 7])
    hidden[: packing.used, 1] = -hidden[: packing.used, 0]
    assert pool(hidden, packing, "mean").tolist() == [[3, -3], [4, -4]]
    assert pool(hidden, packing, "max").tolist() == [[6, -1], [4, -4]]
    assert pool(hidden, packing, "bos").tolist() == [[9, -9], [7, -7]]
    with pytest.raises(ValueError, match="choose mean, max or bos"):
        pool(hidden, packing, "median")


def packed(*lengths, seed=0):
    """States of sequences of so many residues, with the tokens at both ends."""
    packing = Packing.from_lengths([length + 2 for length in lengths])
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.normal(size=(packing.rows, WIDTH))).float(), packing


def test_residues_leave_out_the_ends_of_each_sequence():
    hidden, packing = packed(3, 1)
    states, sequence, lengths = residues(hidden, packing)
    assert torch.equal(states, hidden[[1, 2, 3, 6]])
    assert sequence.tolist() == [0, 0, 0, 1]
    assert lengths.tolist() == [3, 1]
