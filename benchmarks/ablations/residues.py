"""Residues in place of their means: proteins compared residue by residue, and pooled by quantiles.

Of the states after ESM-2's last layer their first principal components are kept. *MaxSim* (Khattab
& Zaharia 2020, arXiv:2004.12832) is the mean, over the residues of one protein, of the cosine to
the most similar residue of another. *Quantiles* over the residues, component by component, are a
sliced-Wasserstein embedding (NaderiAlizadeh & Singh 2025, doi:10.1093/bioadv/vbaf060): distances
between them are distances between proteins as distributions of residues.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch

from arg_utils.esm2.batches import in_parallel, token_batches
from arg_utils.esm2.model import Esm2, best_device
from arg_utils.methods.classifier import residues

COMPONENTS, QUANTILES = 64, 8
SAMPLE = 500  # proteins whose residues the components are found on
AT_ONCE = 1000  # pairs that one thread compares
Described = TypeVar("Described")


@dataclass(frozen=True)
class Residues:
    """Proteins by their residues.

    Attributes
    ----------
    units : of each protein its residues' components, scaled to length one, float16 [residues, 64].
    quantiles : float32 [n, 512].
    """

    units: list[np.ndarray]
    quantiles: np.ndarray

    def max_similarity(self, query: np.ndarray, target: np.ndarray) -> np.ndarray:
        """MaxSim of pairs of positions, float32 [pairs]: of each query's residues, in the target's.

        ``query`` and ``target`` are int64 [pairs].
        """

        def work(pairs: np.ndarray) -> list[float]:
            return [
                float((self._unit(q) @ self._unit(t).T).amax(dim=1).mean())
                for q, t in zip(query[pairs], target[pairs], strict=True)
            ]

        parts = np.array_split(np.arange(len(query)), -(-len(query) // AT_ONCE) or 1)
        return np.concatenate([np.array(x, np.float32) for x in in_parallel(work, parts)])

    def _unit(self, place: int) -> torch.Tensor:
        return torch.from_numpy(self.units[place]).float()


def residues_of(sequences: Sequence[str]) -> Residues:
    """Compute all states twice: on a sample for the components, then of all proteins on these."""
    some = np.random.default_rng(0).permutation(len(sequences))[:SAMPLE]
    states = np.concatenate(_states([sequences[i] for i in some], lambda x: x))
    centre, covariance = states.mean(axis=0), np.cov(states, rowvar=False)
    basis = np.linalg.eigh(covariance).eigenvectors[:, : -COMPONENTS - 1 : -1].astype(np.float32)
    levels = (np.arange(QUANTILES) + 0.5) / QUANTILES

    def described(states: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        own = (states - centre) @ basis
        unit = own / np.linalg.norm(own, axis=1, keepdims=True)
        return unit.astype(np.float16), np.quantile(own, levels, axis=0).ravel()

    units, quantiles = zip(*_states(sequences, described), strict=True)
    return Residues(list(units), np.array(quantiles, np.float32))


def _states(
    sequences: Sequence[str], describe: Callable[[np.ndarray], Described]
) -> list[Described]:
    """What ``describe`` says of each protein's last states, float32 [residues, 320]."""
    model, out = Esm2().to(best_device()), dict[int, Described]()
    batches = list(token_batches((residues(sequences) + 2).tolist()))

    @torch.inference_mode()
    def work(batch: np.ndarray) -> list[Described]:
        tokens, packing = model.pack([sequences[i] for i in batch])
        (hidden,) = model(tokens, packing)
        proteins = hidden[: packing.used].float().cpu().split(packing.starts.diff().tolist())
        return [describe(states[1:-1].numpy()) for states in proteins]

    for batch, described in zip(batches, in_parallel(work, batches, model.device), strict=True):
        out |= zip(batch.tolist(), described, strict=True)
    return [out[i] for i in range(len(sequences))]
