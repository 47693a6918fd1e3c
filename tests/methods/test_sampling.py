"""What a cap shifts, and undoing it."""

import numpy as np
import torch

from arg_utils.methods.finetuning import CappedSample, share_shift
from arg_utils.metrics.scores import macro_f1

LABELS = np.repeat([0, 11, 14], [4, 40, 400])


def test_the_shift_turns_sample_posteriors_into_those_of_the_data():
    """Scores that fit the sample, less the shift, must give the data's shares."""
    sample_share = torch.tensor([4, 8, 8]) / 20
    data_share = torch.tensor([4, 40, 400]) / 444
    shift = share_shift(LABELS, 8)[[0, 11, 14]]
    assert torch.allclose(torch.softmax(sample_share.log() - shift, 0), data_share)
    assert torch.equal(share_shift(LABELS, None), torch.zeros(15))


def test_a_class_without_proteins_is_left_alone():
    shift = share_shift(LABELS, 8)
    assert torch.isfinite(shift).all()
    assert shift[5] == 0


def test_a_capped_sample_estimates_the_score_of_all():
    """One wrong of four nonarg drawn stands for a hundred false positives, not for one."""
    sample = CappedSample([str(i) for i in range(444)], LABELS, 4, seed=0)
    assert np.bincount(sample.labels, minlength=15)[[0, 11, 14]].tolist() == [4, 4, 4]
    predicted = sample.labels.copy()
    predicted[-1] = 0
    expanded = np.repeat(sample.labels, [1] * 4 + [10] * 4 + [100] * 4)
    answered = np.repeat(predicted, [1] * 4 + [10] * 4 + [100] * 4)
    assert np.isclose(sample.macro_f1(predicted), macro_f1(expanded, answered))
    assert sample.macro_f1(predicted) < macro_f1(sample.labels, predicted)


def test_without_a_cap_the_score_is_the_plain_one():
    sample = CappedSample([str(i) for i in range(444)], LABELS, None, seed=0)
    predicted = np.roll(sample.labels, 7)
    assert np.isclose(sample.macro_f1(predicted), macro_f1(sample.labels, predicted))
