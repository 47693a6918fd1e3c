"""One vector per protein: pooled hidden states of the frozen backbone, computed once and cached."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np
import torch

from arg_utils.esm2.attention import Packing
from arg_utils.esm2.batches import (
    BATCH_TOKENS,
    MAX_RESIDUES,
    ResidueBar,
    in_parallel,
    token_batches,
)
from arg_utils.esm2.model import Esm2, best_device, best_precision
from arg_utils.esm2.store import EmbeddingCache, sequence_key
from arg_utils.esm2.weights import LAYERS, WIDTH, Weights, load_weights
from arg_utils.fingerprint import closure_fingerprint

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


def pool(hidden: torch.Tensor, packing: Packing, pooling: str) -> torch.Tensor:
    """Pool packed hidden states [N, width] to one vector per sequence [B, width].

    The tokens at both ends are left out of ``mean`` and ``max``; other names are a ValueError.
    """
    hidden, starts = hidden[: packing.used], packing.starts.to(hidden.device)
    if pooling == "bos":
        return hidden[starts[:-1]]
    lengths = starts.diff()
    inside = (packing.positions > 0) & (packing.positions < lengths[packing.sequence] - 1)
    states, residues = hidden[inside], lengths - 2
    if pooling == "mean":
        total = states.new_zeros(len(residues), states.shape[1])
        return total.index_add(0, packing.sequence[inside], states) / residues[:, None]
    if pooling == "max":
        return torch.segment_reduce(states, "max", lengths=residues)
    raise ValueError(f"pooling is {pooling!r}; choose mean, max or bos")


def embed(
    sequences: Sequence[str],
    features: Sequence[Feature] = LAST_MEAN,
    weights: Weights | None = None,
    precision: torch.dtype | None = None,
    progress: bool | Callable[[int], object] = True,
    cached: bool = True,
) -> np.ndarray:
    """Pooled features of every sequence, from the cache where they are there.

    Parameters
    ----------
    sequences : residues in upper case; beyond 1,022 they are cut off (ESM-2's window).
    features : which hidden states; their vectors are put side by side.
    weights, precision : of the backbone; by default the ones found, and the machine's best.
    progress : show a bar with the rate, and say what came from the cache; or a function, which is
        told how many more sequences are done.
    cached : look the vectors up and keep them, those of ``FEATURES`` too.

    Returns
    -------
    float32 [n, 320 * len(features)], in the order given.
    """
    weights, precision = weights or load_weights(), precision or best_precision(best_device())
    windows = [sequence[:MAX_RESIDUES] for sequence in sequences]
    keys = [sequence_key(window) for window in windows]
    computed = tuple(dict.fromkeys((*features, *(FEATURES if cached else ()))))
    columns = [computed.index(feature) for feature in features]
    caches = [EmbeddingCache(_kind(weights, precision, f)) for f in computed] if cached else []
    blocks = np.empty((len(windows), len(features), WIDTH), np.float32)
    missing = np.full(len(windows), not cached)
    for column, place in enumerate(columns if cached else ()):
        there, values = caches[place].lookup(keys)
        missing |= ~there
        if there.any():
            blocks[there, column] = values[there]
    told = progress if callable(progress) else None
    if told:
        told(len(windows) - int(missing.sum()))
    elif progress and cached and missing.any():
        print(f"embeddings: {len(windows) - int(missing.sum()):,} of {len(windows):,} in the cache")
    if missing.any():
        todo = {keys[i]: windows[i] for i in np.flatnonzero(missing)}  # each sequence once
        model = Esm2(weights, precision).to(best_device())
        vectors = _compute(todo, computed, model, caches, progress is True, told)
        row_of = {key: row for row, key in enumerate(todo)}
        rows = [row_of[keys[i]] for i in np.flatnonzero(missing)]
        blocks[missing] = vectors[rows][:, columns]
    return blocks.reshape(len(windows), len(features) * WIDTH)


def _kind(weights: Weights, precision: torch.dtype, feature: Feature) -> str:
    number, code = str(precision).removeprefix("torch."), closure_fingerprint("esm2/embeddings.py")
    return f"{weights.sha256[:16]}-{number}-{code}-layer{feature.layer}-{feature.pooling}"


def _compute(
    todo: dict[bytes, str], features: Sequence[Feature], model: Esm2,
    caches: Sequence[EmbeddingCache], progress: bool, told: Callable[[int], object] | None,
) -> np.ndarray:  # fmt: skip
    """Vectors float32 [n, features, 320] of n distinct sequences, cached on the way."""
    keys, windows = list(todo), list(todo.values())
    out = np.empty((len(windows), len(features), WIDTH), np.float32)
    batches = list(token_batches([len(w) + 2 for w in windows], BATCH_TOKENS))
    half = -(-len(batches) // 2)  # long and short proteins in turn, so that all are done evenly
    turns = zip_longest(batches[:half], batches[: half - 1 : -1])
    batches = [batch for turn in turns for batch in turn if batch is not None]
    pending: list[int] = []

    def flush() -> float:
        for column, cache in enumerate(caches if pending else ()):
            cache.add([keys[i] for i in pending], out[pending, column])
        pending.clear()
        return time.monotonic()

    @torch.inference_mode()
    def work(batch: np.ndarray) -> np.ndarray:
        tokens, packing = model.pack([windows[i] for i in batch])
        layers = sorted({feature.layer for feature in features})
        hidden = dict(zip(layers, model(tokens, packing, layers), strict=True))
        pooled = [pool(hidden[f.layer], packing, f.pooling) for f in features]
        return torch.stack(pooled, dim=1).float().cpu().numpy()

    with ResidueBar("ESM-2", map(len, windows), progress) as bar:
        flushed = time.monotonic()
        for batch, vectors in zip(batches, in_parallel(work, batches, model.device), strict=True):
            out[batch] = vectors
            pending.extend(batch)
            bar.advance(len(windows[i]) for i in batch)
            if told:
                told(len(batch))
            if time.monotonic() - flushed > FLUSH_SECONDS:
                flushed = flush()
        flush()
    return out
