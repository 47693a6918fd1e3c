import numpy as np
import pytest
import torch

from arg_utils.esm2.attention import Packing
from arg_utils.esm2.pooling import AttentionPool, pool, residues
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


def test_attention_starts_as_the_mean():
    hidden, packing = packed(3, 1, 7)
    expected = pool(hidden, packing, "mean")
    torch.testing.assert_close(AttentionPool()(hidden, packing), expected)


def test_attention_weighs_residues_by_the_query():
    hidden, packing = packed(4, 2)
    learned = AttentionPool()
    learned.query.data.normal_(generator=torch.Generator().manual_seed(1))
    got = learned(hidden, packing)
    for row, part in zip(got, (hidden[1:5], hidden[7:9]), strict=True):
        weights = torch.softmax(part @ learned.query / WIDTH**0.5, dim=0)
        torch.testing.assert_close(row, weights @ part)
    got.sum().backward()
    assert learned.query.grad.abs().sum() > 0


def test_far_scores_do_not_overflow():
    hidden, packing = packed(5, 5)
    learned = AttentionPool()
    learned.query.data.fill_(1e4)
    assert torch.isfinite(learned(hidden, packing)).all()
