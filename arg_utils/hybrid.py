"""Homology and ESM-2 together: evidence of both, weighed by weights that all classes share.

The weights are learned on evidence from training proteins that the evidence has not seen, in two
situations: *near* (every other protein is known, relatives too) and *far* (no protein of the same
homology cluster is known). So they know what a strong hit is worth, and what to trust without one
(stacked generalisation: Wolpert 1992, doi:10.1016/S0893-6080(05)80023-1).
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from arg_utils.embeddings import embed
from arg_utils.errors import UserError
from arg_utils.evidence import (
    EVIDENCE,
    Known,
    assemble,
    fit_linear,
    hit_evidence,
    minimise,
    neighbour_evidence,
)
from arg_utils.labels import NUM_CLASSES
from arg_utils.lora import load_state, save_state
from arg_utils.methods import METHODS, BestHit, Method
from arg_utils.splits import homology_clusters, homology_folds
from arg_utils.training import cap_per_class
from arg_utils.weights import WIDTH

FOLDS = 5
SAMPLE = 150  # proteins a class whose evidence is gathered in each situation


class _Model(nn.Module):
    """All that a fitted hybrid knows besides the training proteins' sequences and classes."""

    def __init__(self, proteins: int):
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(WIDTH))
        self.scale = nn.Parameter(torch.ones(WIDTH))
        self.features = nn.Parameter(torch.zeros(proteins, WIDTH))  # standardised
        self.linear = nn.Linear(WIDTH, NUM_CLASSES)
        self.weights = nn.Parameter(torch.zeros(EVIDENCE))
        self.bias = nn.Parameter(torch.zeros(NUM_CLASSES))


class Hybrid(Method):
    """Best hits, neighbours in embedding space and a linear layer on ESM-2, stacked."""

    name, title = "hybrid", "hybrid: homology and ESM-2"

    def fit(self, train, val, profile, seed=0, folder=None):
        raw = embed(train.sequences)
        self.train, self.model = train, _Model(len(train.labels))
        mean, scale = raw.mean(axis=0), raw.std(axis=0) + 1e-6
        known = Known(train.sequences, (raw - mean) / scale, train.labels)
        self.model.linear = fit_linear(known.features, train.labels)
        weights, bias = weigh(*unseen_evidence(known, seed), train.labels)
        values = {"mean": mean, "scale": scale, "features": known.features}
        with torch.no_grad():
            for name, value in values.items():
                getattr(self.model, name).copy_(torch.from_numpy(value))
            self.model.weights.copy_(weights)
            self.model.bias.copy_(bias)
        trained = (*self.model.linear.parameters(), weights, bias)
        self.trainable_parameters = sum(tensor.numel() for tensor in trained)
        return self

    @torch.no_grad()
    def probabilities(self, sequences):
        if not len(sequences):
            return np.zeros((0, NUM_CLASSES), np.float32)
        model, raw = self.model, torch.from_numpy(embed(sequences))
        features = ((raw - model.mean) / model.scale).numpy()
        known = Known(self.train.sequences, model.features.detach().numpy(), self.train.labels)
        found = evidence(Known(list(sequences), features, np.empty(0)), known, model.linear)
        return F.softmax(torch.from_numpy(found) @ model.weights + model.bias, dim=1).numpy()

    def save(self, folder):
        nearest = BestHit()
        nearest.train = self.train
        nearest.save(folder)
        state = {name: tensor.detach() for name, tensor in self.model.named_parameters()}
        save_state(state, folder / "model.safetensors")

    @classmethod
    def load(cls, folder):
        method = cls()
        method.train = BestHit.load(folder).train
        method.model = _Model(len(method.train.labels))
        load_state(method.model, folder / "model.safetensors")
        return method


def evidence(queries: Known, known: Known, linear: nn.Linear) -> np.ndarray:
    """What speaks for each class of each query, float32 [n, 15, `EVIDENCE`]; see `assemble`."""
    with torch.no_grad():
        logits = linear(torch.from_numpy(queries.features)).numpy()
    hits = hit_evidence(queries.sequences, known)
    return assemble(hits, neighbour_evidence(queries.features, known), logits)


def unseen_evidence(known: Known, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Evidence on a sample of training proteins as if they were new, near and far.

    Returns
    -------
    Evidence float32 [m, 15, `EVIDENCE`], and classes int64 [m]. Where all proteins are one
    homology cluster, or no class has two proteins, there is no far situation.
    """
    labels = known.labels
    sample = cap_per_class(labels, SAMPLE, seed)
    near = np.random.default_rng(seed).integers(0, FOLDS, len(labels))
    logits = np.empty((len(sample), NUM_CLASSES), np.float32)
    for fold in np.unique(near[sample]):
        linear = fit_linear(known.features[near != fold], labels[near != fold])
        chosen = near[sample] == fold
        with torch.no_grad():
            logits[chosen] = linear(torch.from_numpy(known.features[sample[chosen]])).numpy()
    queries = known.part(sample)
    hits = hit_evidence(queries.sequences, known, sample)
    neighbours = neighbour_evidence(queries.features, known, sample)
    found = [(assemble(hits, neighbours, logits), labels[sample])]
    try:
        far = homology_folds(labels, homology_clusters(known.sequences), seed)
    except UserError:  # nothing is far from anything here
        far = np.zeros(len(labels), dtype=np.int64)
    for fold in np.unique(far) if far.any() else ():
        own, rest = sample[far[sample] == fold], np.flatnonzero(far != fold)
        others = known.part(rest)
        linear = fit_linear(others.features, others.labels)
        found.append((evidence(known.part(own), others, linear), labels[own]))
    return np.concatenate([e for e, _ in found]), np.concatenate([y for _, y in found])


def weigh(
    found: np.ndarray, labels: np.ndarray, population: np.ndarray
) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights [`EVIDENCE`] that all classes share and a bias a class [15], by maximum likelihood.

    ``labels`` [m] of the sampled evidence [m, 15, `EVIDENCE`] are capped a class; a class counts
    as the square root of its size in ``population`` would have it.
    """
    weights = nn.Parameter(torch.zeros(found.shape[-1]))
    bias = nn.Parameter(torch.zeros(NUM_CLASSES))
    x, y = torch.from_numpy(found), torch.from_numpy(labels)
    many, drawn = (np.bincount(each, minlength=NUM_CLASSES) for each in (population, labels))
    counts = torch.from_numpy(np.sqrt(many / np.maximum(drawn, 1))[labels]).float()
    counts = counts / counts.mean()

    def loss() -> torch.Tensor:
        each = F.cross_entropy(x @ weights + bias, y, reduction="none")
        return (each * counts).mean() + 1e-3 * (weights**2).sum() + 1e-2 * (bias**2).sum()

    minimise(loss, [weights, bias], 200)
    return weights.detach(), bias.detach()


METHODS[Hybrid.name] = Hybrid
