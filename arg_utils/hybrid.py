"""Homology and ESM-2 together: evidence of both, weighed by weights that all classes share.

The weights are learned on evidence from training proteins that the evidence has not seen, in two
situations: *near* (every other protein is known, relatives too) and *far* (no protein of the same
homology fold is known). So they know what a strong hit is worth, and what to trust without one
(stacked generalisation: Wolpert 1992, doi:10.1016/S0893-6080(05)80023-1). All classes share them,
and none has a bias of its own: how frequent a class is among known families says nothing of how
frequent it is among new ones.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from arg_utils.calibration import abstention_threshold, fit_temperature
from arg_utils.embeddings import embed
from arg_utils.evidence import (
    EVIDENCE,
    FEATURES,
    Known,
    assemble,
    find_hits,
    fit_linear,
    hit_evidence,
    log_chances,
)
from arg_utils.finetuning import Proteins
from arg_utils.labels import NUM_CLASSES
from arg_utils.lora import load_state, save_state
from arg_utils.methods import METHODS, BestHit, Method
from arg_utils.stacking import unseen_evidence, weigh
from arg_utils.weights import WIDTH

RISK = 0.05  # share of wrong answers among those given, on proteins far from all known ones


class _Model(nn.Module):
    """All that a fitted hybrid knows besides the known proteins' sequences and classes."""

    def __init__(self):
        super().__init__()
        width = WIDTH * len(FEATURES)
        self.mean = nn.Parameter(torch.zeros(width))
        self.scale = nn.Parameter(torch.ones(width))
        self.linear = nn.Linear(width, NUM_CLASSES)
        self.weights = nn.Parameter(torch.zeros(EVIDENCE))
        self.threshold = nn.Parameter(torch.zeros(1))
        self.requires_grad_(False)

    def standardised(self, sequences: list[str]) -> np.ndarray:
        """Features float32 [n, 960]."""
        return ((torch.from_numpy(embed(sequences, FEATURES)) - self.mean) / self.scale).numpy()


class Hybrid(Method):
    """Best hits and a linear layer on ESM-2, stacked.

    The weights are learned on the training part. Once the validation part has been predicted with
    it, both parts are what is known when anything else is predicted.

    Attributes
    ----------
    threshold : the probability below which an answer is better called uncertain.
    """

    name, title = "hybrid", "hybrid: homology and ESM-2"

    def fit(self, train, val, profile, seed=0, folder=None):
        self.model = _Model()
        known = self._know(train)
        unseen = unseen_evidence(known, seed)
        weights = weigh(unseen)
        scores = unseen.found @ weights.numpy()
        temperature = fit_temperature(scores, unseen.labels, unseen.natural)
        self.model.weights.copy_(weights / temperature)
        hard = unseen.far if unseen.far.any() else ~unseen.far
        chances = F.softmax(torch.from_numpy(scores[hard] / temperature), dim=1).numpy()
        threshold = abstention_threshold(chances, unseen.labels[hard], RISK, unseen.natural[hard])
        self.model.threshold.fill_(threshold)
        self.validation = self.probabilities(val.sequences)
        both = Proteins(
            list(train.sequences) + list(val.sequences), np.concatenate([train.labels, val.labels])
        )
        self._know(both)
        trained = (*self.model.linear.parameters(), weights)
        self.trainable_parameters = sum(tensor.numel() for tensor in trained)
        return self

    @property
    def threshold(self) -> float:
        """See the class."""
        return float(self.model.threshold)

    def _know(self, proteins: Proteins) -> Known:
        """Take these proteins for what is known: scale, linear layer, and whom to compare with."""
        raw = torch.from_numpy(embed(proteins.sequences, FEATURES))
        self.known = proteins
        self.model.mean.copy_(raw.mean(dim=0))
        self.model.scale.copy_(raw.std(dim=0) + 1e-6)
        features = ((raw - self.model.mean) / self.model.scale).numpy()
        self.model.linear.load_state_dict(fit_linear(features, proteins.labels).state_dict())
        return Known(list(proteins.sequences), features, proteins.labels)

    @torch.no_grad()
    def probabilities(self, sequences):
        if not len(sequences):
            return np.zeros((0, NUM_CLASSES), np.float32)
        log_p = log_chances(self.model.linear, self.model.standardised(list(sequences)))
        hits = find_hits(list(sequences), self.known.sequences, self.known.labels)
        found = assemble(hit_evidence(hits, self.known.labels, len(sequences)), log_p)
        return F.softmax(torch.from_numpy(found) @ self.model.weights, dim=1).numpy()

    def held_out(self, val):
        return self.validation

    def save(self, folder):
        nearest = BestHit()
        nearest.train = self.known
        nearest.save(folder)
        state = {name: tensor.detach() for name, tensor in self.model.named_parameters()}
        save_state(state, folder / "model.safetensors")

    @classmethod
    def load(cls, folder):
        method = cls()
        method.known = BestHit.load(folder).train
        method.model = _Model()
        load_state(method.model, folder / "model.safetensors")
        return method


METHODS[Hybrid.name] = Hybrid
