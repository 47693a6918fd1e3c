"""A protein's vectors are the same whatever stands beside it, and whoever computes them."""

import numpy as np
import pytest
import synthetic
import torch
from kernels import DTYPES, distance, use

from arg_utils.esm2 import batches, embeddings
from arg_utils.esm2.embeddings import FEATURES, embed

rng = np.random.default_rng(12)
LENGTHS = (1, 2, 15, 16, 17, 31, 100, 254, 350, 511, 1022, 1500)
PROTEINS = [synthetic.protein(rng, n) for n in LENGTHS]
OTHERS = [synthetic.protein(rng, n) for n in (3, 40, 90, 200, 300, 420)]


def vectors(weights, sequences, dtype, workers: int = 1) -> np.ndarray:
    """Pooled features, computed by so many threads."""
    torch.set_num_threads(workers)
    try:
        return embed(sequences, FEATURES, weights, dtype, progress=False, cached=False)
    finally:
        torch.set_num_threads(1)


def arrangements(weights, proteins, dtype, patch):
    """The proteins' vectors alone, turned round after others, and in small batches with others."""
    patch.setattr(batches, "cores", lambda: 8)
    yield np.vstack([vectors(weights, [protein], dtype) for protein in proteins])
    yield vectors(weights, [*OTHERS, *proteins[::-1]], dtype, 2)[len(OTHERS) :][::-1]
    patch.setattr(embeddings, "BATCH_TOKENS", 600)
    yield vectors(weights, [*proteins, *OTHERS], dtype, 3)[: len(proteins)]


@pytest.mark.parametrize("dtype", DTYPES)
def test_neighbours_and_threads_change_no_bit(weights, kernel, monkeypatch, dtype):
    use(monkeypatch, kernel)
    slow = dtype == torch.bfloat16 and not kernel.form.bfloat16  # nothing multiplies it: a few do
    proteins = PROTEINS[5:8] if slow else PROTEINS
    together = vectors(weights, proteins, dtype)
    assert np.isfinite(together).all()
    for found in arrangements(weights, proteins, dtype, monkeypatch):
        assert np.array_equal(found, together)


def test_with_pytorch_s_attention_they_change_next_to_nothing(weights, monkeypatch):
    use(monkeypatch, None)
    together = torch.from_numpy(vectors(weights, PROTEINS, torch.float32))
    for found in arrangements(weights, PROTEINS, torch.float32, monkeypatch):
        for own, wanted in zip(torch.from_numpy(found.copy()), together, strict=True):
            assert distance(own, wanted) < 1e-5
