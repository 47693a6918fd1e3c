"""Attributions find what a score depends on, and add up to it; the test holds its level."""

import numpy as np
import pytest
import synthetic
import torch
from scipy.stats import kstest
from sklearn.metrics import roc_auc_score

from arg_utils.esm2.embeddings import FEATURES, embed
from arg_utils.esm2.model import Esm2
from arg_utils.methods.attribution import (
    HeadOnEsm2,
    attribute,
    integrated_gradients,
    motif_auc,
    occlusion,
    shift_test,
)
from arg_utils.methods.frozen import FEATURE_WIDTH, SHAPES, LinearHead, Standardiser

rng = np.random.default_rng(5)
INPUTS = torch.from_numpy(rng.standard_normal((8, 4))).float()
MASKED = torch.cat([INPUTS[:1], torch.zeros(6, 4), INPUTS[-1:]])
WEIGHT = torch.tensor([1.0, -2.0, 0.5, 3.0])


@pytest.fixture(scope="module")
def explained(weights):
    """A head of random numbers, large enough for answers that are nearly sure."""
    random = np.random.default_rng(2)
    arrays = {
        name: random.standard_normal(shape).astype(np.float32) for name, shape in SHAPES.items()
    }
    head = LinearHead.from_arrays(arrays | {
        "weight": arrays["weight"] / 10, "scale": np.ones(FEATURE_WIDTH, np.float32),
    })  # fmt: skip
    assert isinstance(head.standardise, Standardiser)
    return HeadOnEsm2(Esm2(weights, torch.float32), head)


def one_residue(embeddings):
    return embeddings[:, 3] @ WEIGHT


def test_a_score_of_one_residue_is_attributed_to_it_alone():
    expected = np.zeros(8)
    expected[3] = float(INPUTS[3] @ WEIGHT)
    gradients = integrated_gradients(one_residue, INPUTS, MASKED)
    np.testing.assert_allclose(gradients, expected, atol=1e-5)
    np.testing.assert_allclose(occlusion(one_residue, INPUTS, MASKED), expected[1:-1], atol=1e-5)


def test_integrated_gradients_add_up_where_the_answer_changes_at_once():
    def score(embeddings):
        return torch.sigmoid(400 * (embeddings.mean((1, 2)) - 0.4137))

    inputs, masked = torch.ones(8, 4), torch.zeros(8, 4)
    attributed = integrated_gradients(score, inputs, masked)
    assert attributed.sum() == pytest.approx(1, abs=0.05)
    np.testing.assert_allclose(attributed, attributed[0], rtol=1e-4)


def test_occlusion_masks_stretches_that_follow_each_other():
    """A product of two residues is lost with either of them, and with a stretch that holds one."""

    def score(embeddings):
        return embeddings[:, 2, 0] * embeddings[:, 4, 0] + embeddings[:, 6, 0]

    pair, last = float(INPUTS[2, 0] * INPUTS[4, 0]), float(INPUTS[6, 0])
    by_four = occlusion(score, INPUTS, MASKED, 4)
    np.testing.assert_allclose(by_four, [pair] * 4 + [last] * 2, rtol=1e-5)
    single = occlusion(score, INPUTS, MASKED)
    np.testing.assert_allclose(single, [0, pair, 0, pair, 0, last], atol=1e-6)


def test_the_head_as_a_function_of_embeddings_gives_its_own_log_probabilities(explained, own_cache):
    sequences = [synthetic.protein(rng, 40) for _ in range(3)]
    with torch.no_grad():
        got = explained(torch.stack([explained.embed(s) for s in sequences])).numpy()
    features = embed(sequences, FEATURES, explained.model.weights, torch.float32, False, False)
    logits = explained.head.linear(torch.from_numpy(explained.head.standardise(features)))
    np.testing.assert_allclose(got, logits.log_softmax(1).numpy(), atol=1e-4)


@torch.no_grad()
def test_attributions_of_a_protein_on_esm2(explained):
    """Gradients add up to the difference from a masked protein; occlusion is what masking does."""
    sequence = synthetic.protein(rng, 25)
    inputs = explained.embed(sequence)
    fifth, all_masked = inputs.clone(), inputs.clone()
    fifth[6:11], all_masked[1:-1] = 0, 0
    whole, part, none = explained(torch.stack([inputs, fifth, all_masked]))
    label = int((whole - none).argmax())
    (result,) = attribute(explained, [sequence], [label], width=5)
    assert (result.label, len(result.gradients), len(result.occlusion)) == (label, 25, 25)
    gained = float(whole[label] - none[label])
    assert gained > 1
    assert result.gradients.sum() == pytest.approx(gained, rel=0.1)
    np.testing.assert_allclose(result.occlusion[5:10], float(whole[label] - part[label]), atol=1e-4)


def test_auc_of_a_motif_is_that_of_its_ranks():
    values, motif = rng.integers(0, 9, 50).astype(float), np.array([3, 10, 11, 40])
    expected = roc_auc_score(np.isin(np.arange(50), motif), values)
    assert motif_auc(values, motif) == pytest.approx(expected)


def related(random, raised=0.0):
    """Proteins of one family: smooth profiles, alike at the same place, of different lengths."""
    base = np.convolve(random.standard_normal(160), np.ones(7) / 7, "same")
    motif = random.integers(160) + np.array([0, 3, 40, 41])
    profiles, motifs = [], []
    for length in (160, 168, 184):
        profile = np.interp(np.arange(length) * 160 / length, np.arange(160), base)
        motifs.append(np.round(motif * length / 160).astype(int) % length)
        profile[motifs[-1]] += raised
        profiles.append(profile + 0.05 * random.standard_normal(length))
    return profiles, motifs


def test_p_is_uniform_where_motifs_lie_anywhere_although_relatives_are_alike():
    random = np.random.default_rng(1)
    p = np.array([shift_test(*related(random)) for _ in range(60)])
    assert kstest(p, "uniform").pvalue > 0.01
    assert (p < 0.05).mean() < 0.15


def test_p_is_small_where_the_motif_is_raised():
    profiles, motifs = related(np.random.default_rng(1), raised=3)
    assert shift_test(profiles, motifs) == pytest.approx(1 / 160)
