"""One vector a protein from the frozen backbone: pooled hidden states, computed once and cached."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from arg_utils.esm2.batches import BATCH_TOKENS, MAX_RESIDUES, token_batches
from arg_utils.esm2.model import Esm2, best_device, best_precision
from arg_utils.esm2.pooling import pool
from arg_utils.esm2.store import EmbeddingCache, sequence_key
from arg_utils.esm2.threads import ResidueBar, in_parallel
from arg_utils.esm2.weights import LAYERS, WIDTH, Weights, load_weights
from arg_utils.files import closure_fingerprint

FLUSH_SECONDS = 20.0  # an interrupted run loses no more than this


@dataclass(frozen=True)
class Feature:
    """Which hidden state, pooled how over the residues: ``mean``, ``max``, or ``bos``.

    ``bos`` is the state of the token before the first residue (BERT's ``[CLS]``).
    """

    layer: int = LAYERS
    pooling: str = "mean"


LAST_MEAN = (Feature(),)
# Kept with whatever is computed, since they cost next to nothing then: what `frozen` works on
# (compared with others by benchmarks/ablations/heads.py).
FEATURES = (Feature(3), Feature(6), Feature(6, "max"))


def embed(
    sequences: Sequence[str],
    features: Sequence[Feature] = LAST_MEAN,
    weights: Weights | None = None,
    precision: torch.dtype | None = None,
    progress: bool = True,
    cached: bool = True,
) -> np.ndarray:
    """Pooled features of every sequence, from the cache where they are there.

    Parameters
    ----------
    sequences : residues in upper case; beyond 1,022 they are cut off (ESM-2's window).
    features : which hidden states; their vectors are put side by side.
    weights, precision : of the backbone; by default the ones found, and the machine's best.
    progress : show a bar with the rate, and say what came from the cache.
    cached : look the vectors up and keep them, those of ``FEATURES`` too.

    Returns
    -------
    float32 [n, 320 * len(features)], in the order given.
    """
    weights, precision = weights or load_weights(), precision or best_precision(best_device())
    windows = [sequence[:MAX_RESIDUES] for sequence in sequences]
    keys = [sequence_key(window) for window in windows]
    made = tuple(dict.fromkeys((*features, *FEATURES))) if cached else tuple(features)
    caches = [EmbeddingCache(_kind(weights, precision, f)) for f in made] if cached else []
    blocks = np.empty((len(windows), len(features), WIDTH), np.float32)
    missing = np.zeros(len(windows), dtype=bool) if cached else np.ones(len(windows), dtype=bool)
    for column, cache in enumerate(caches[: len(features)]):
        found, values = cache.lookup(keys)
        missing |= ~found
        if found.any():
            blocks[found, column] = values[found]
    todo = _first_of_each(keys, missing)
    if progress and cached and len(windows):
        print(f"embeddings: {len(windows) - int(missing.sum()):,} of {len(windows):,} in the cache")
    if len(todo):
        model = Esm2(weights, precision).to(best_device())
        chosen = [windows[i] for i in todo], [keys[i] for i in todo]
        computed = _compute(*chosen, made, model, caches, progress)[:, : len(features)]
        row_of = {keys[place]: row for row, place in enumerate(todo)}
        for place in np.flatnonzero(missing):
            blocks[place] = computed[row_of[keys[place]]]
    return blocks.reshape(len(windows), len(features) * WIDTH)


def _kind(weights: Weights, precision: torch.dtype, feature: Feature) -> str:
    number, code = str(precision).removeprefix("torch."), closure_fingerprint("esm2/embeddings.py")
    return f"{weights.sha256[:16]}-{number}-{code}-layer{feature.layer}-{feature.pooling}"


def _first_of_each(keys: Sequence[bytes], missing: np.ndarray) -> np.ndarray:
    first: dict[bytes, int] = {}
    for place in np.flatnonzero(missing).tolist():
        first.setdefault(keys[place], place)
    return np.array(list(first.values()), dtype=int)


def _compute(windows, keys, features, model, caches, progress) -> np.ndarray:
    """Vectors float32 [n, features, 320] of distinct sequences, cached on the way."""
    out = np.empty((len(windows), len(features), WIDTH), np.float32)
    pending: list[int] = []
    flushed = time.monotonic()
    bar = ResidueBar("ESM-2", map(len, windows), progress)
    batches = list(token_batches([len(w) + 2 for w in windows], BATCH_TOKENS))

    def work(batch: np.ndarray) -> np.ndarray:
        return _batch_features([windows[i] for i in batch], features, model)

    with bar:
        for batch, vectors in zip(batches, in_parallel(work, batches, model.device), strict=True):
            out[batch] = vectors
            pending.extend(batch)
            bar.advance(len(windows[i]) for i in batch)
            if time.monotonic() - flushed > FLUSH_SECONDS:
                _flush(caches, keys, out, pending)
                flushed = time.monotonic()
        _flush(caches, keys, out, pending)
    return out


@torch.inference_mode()
def _batch_features(windows, features, model) -> np.ndarray:
    tokens, packing = model.pack(windows)
    layers = sorted({feature.layer for feature in features})
    hidden = dict(zip(layers, model(tokens, packing, layers), strict=True))
    pooled = [pool(hidden[f.layer], packing, f.pooling) for f in features]
    return torch.stack(pooled, dim=1).float().cpu().numpy()


def _flush(caches, keys, out, pending) -> None:
    if pending:
        for column, cache in enumerate(caches):
            cache.add([keys[i] for i in pending], out[pending, column])
    pending.clear()
