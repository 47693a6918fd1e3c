"""Homology and ESM-2 together: evidence of both, weighed by weights that all classes share.

The weights are learned on evidence from training proteins that the evidence has not seen, in two
situations: *near* (every other protein is known, relatives too) and *far* (no protein of the same
homology fold is known). So they know what a strong hit is worth, and what to trust without one
(stacked generalisation: Wolpert 1992, doi:10.1016/S0893-6080(05)80023-1). All classes share them,
and none has a bias of its own: how frequent a class is among known families says nothing of how
frequent it is among new ones.
"""

import time

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from arg_utils.data.proteins import Proteins
from arg_utils.esm2.embeddings import FEATURES, embed
from arg_utils.esm2.lora import load_state, save_state
from arg_utils.labels import NUM_CLASSES
from arg_utils.methods.base import Method
from arg_utils.methods.baselines import BestHit
from arg_utils.methods.evidence import EVIDENCE, Known, assemble, find_hits, hit_evidence
from arg_utils.methods.frozen import LayersHead
from arg_utils.methods.stacking import unseen_evidence, weigh
from arg_utils.metrics.calibration import abstention_threshold

FAR = (0.1, 0.3, 1.0)  # how much far evidence may count to each unit of near evidence
RISK = 0.05  # share of wrong answers among those given, on proteins far from all known ones


class _Model(nn.Module):
    """All that a fitted hybrid knows besides the known proteins' sequences and classes."""

    def __init__(self) -> None:
        super().__init__()
        self.head = LayersHead()
        self.weights = nn.Parameter(torch.zeros(EVIDENCE), requires_grad=False)
        self.threshold = nn.Parameter(torch.zeros(1), requires_grad=False)


class Hybrid(Method):
    """Best hits and a linear layer on ESM-2, stacked.

    The weights are learned on the training part; the validation part chooses how much of the far
    situation goes into them. Once it has been predicted, both parts are what is known when
    anything else is.
    """

    name, title = "hybrid", "hybrid: homology and ESM-2"

    def fit(self, train, val, profile, seed=0, folder=None):
        embed([*train.sequences, *val.sequences], FEATURES)  # not part of the training time
        begun = time.perf_counter()
        self.model = _Model()
        unseen = unseen_evidence(self._know(train), seed)
        seen = torch.from_numpy(self._evidence(val.sequences))
        true = torch.from_numpy(val.labels)
        tried = [weigh(unseen, far) for far in FAR]
        weights = min(tried, key=lambda w: float(F.cross_entropy(seen @ w, true)))
        self.model.weights.copy_(weights)
        self.validation = F.softmax(seen @ weights, dim=1).numpy()
        hard = unseen.far if unseen.far.any() else ~unseen.far
        chances = F.softmax(torch.from_numpy(unseen.found[hard]) @ weights, dim=1).numpy()
        self.model.threshold.fill_(
            abstention_threshold(chances, unseen.labels[hard], RISK, unseen.natural[hard])
        )
        labels = np.concatenate([train.labels, val.labels])
        self._know(Proteins([*train.sequences, *val.sequences], labels))
        self.fit_seconds = time.perf_counter() - begun
        trained = (*self.model.head.linear.parameters(), weights)
        self.trainable_parameters = sum(tensor.numel() for tensor in trained)
        return self

    @property
    def threshold(self) -> float:
        """See `Method`; of the far answers above it, at most `RISK` were wrong in training."""
        return float(self.model.threshold)

    def _know(self, proteins: Proteins) -> Known:
        """Take these proteins for what is known: to learn the head on, and to compare with."""
        self.known = proteins
        features = self.model.head.learn(proteins.sequences, proteins.labels)
        return Known(list(proteins.sequences), features, proteins.labels)

    def probabilities(self, sequences):
        if not len(sequences):
            return np.zeros((0, NUM_CLASSES), np.float32)
        found = torch.from_numpy(self._evidence(list(sequences)))
        return F.softmax(found @ self.model.weights, dim=1).numpy()

    def _evidence(self, sequences: list[str]) -> np.ndarray:
        log_p = self.model.head.log_chances(sequences)
        hits = find_hits(sequences, self.known.sequences, self.known.labels)
        return assemble(hit_evidence(hits, self.known.labels, len(sequences)), log_p)

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
