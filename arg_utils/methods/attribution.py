"""Which residues a linear head on frozen ESM-2 answers by, and a test of whether a motif's do.

Both attributions are in nats of the log-probability of one class, one number per residue, and both
compare a residue with its absence. ESM-2 was trained with masked residues, whose embedding is zero:
that is what absence means here.

*Integrated gradients* (Sundararajan et al. 2017, arXiv:1703.01365), computed by captum, follow the
straight line from the protein with all residues masked to the protein, and share the whole
difference in log-probability out among the residues (completeness). *Occlusion* (Zeiler & Fergus
2014, doi:10.1007/978-3-319-10590-1_53) masks one stretch at a time: the log-probability lost.
"""

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from scipy.stats import rankdata
from tqdm import TqdmWarning

from arg_utils.esm2.attention import Packing
from arg_utils.esm2.batches import BATCH_TOKENS, in_parallel
from arg_utils.esm2.embeddings import FEATURES, pool
from arg_utils.esm2.model import Esm2
from arg_utils.esm2.weights import LAYERS
from arg_utils.methods.frozen import LinearHead

with warnings.catch_warnings():  # in a notebook captum looks for progress bars that are not used
    warnings.simplefilter("ignore", TqdmWarning)
    from captum.attr import IntegratedGradients

STEPS = 3  # points of Gauss-Legendre quadrature on a piece of the path
PIECES = 4  # of the path at first
SHORTEST = 1 / 1024  # piece of the path that is still halved
Score = Callable[[torch.Tensor], torch.Tensor]  # of embeddings [B, T, width], to [B]


@dataclass(frozen=True)
class HeadOnEsm2:
    """A linear head on frozen ESM-2, as a function of the residues' embeddings.

    ``model`` should be one in float32: log-probabilities of a sure answer differ by little.
    """

    model: Esm2
    head: LinearHead

    def embed(self, sequence: str) -> torch.Tensor:
        """Embeddings float32 [T, 320] of both end tokens and the residues between them."""
        tokens, packing = self.model.pack([sequence])
        return self.model.embed(tokens[: packing.used])

    def __call__(self, embeddings: torch.Tensor) -> torch.Tensor:
        """Log-probability of each class, float32 [B, 15]; B proteins of one length [B, T, 320]."""
        count, length, _ = embeddings.shape
        packing = Packing.from_lengths([length] * count, embeddings.device)
        hidden = F.pad(embeddings.flatten(0, 1), (0, 0, 0, packing.rows - packing.used))
        update, states = None, {}
        for index in range(LAYERS):
            hidden, update = self.model.block(index, hidden, update, packing)
            if any(feature.layer == index + 1 for feature in FEATURES):
                states[index + 1] = hidden + update
        states[LAYERS] = self.model.final_norm(hidden, update)
        pooled = torch.cat([pool(states[f.layer], packing, f.pooling) for f in FEATURES], dim=1)
        scale = self.head.standardise
        features = (pooled - scale.mean.to(pooled)) / scale.scale.to(pooled)
        weight, bias = (p.to(pooled) for p in (self.head.linear.weight, self.head.linear.bias))
        return F.log_softmax(F.linear(features, weight, bias), dim=1)


@dataclass(frozen=True)
class Attribution:
    """Nats per residue, float64 [n], of the log-probability of class ``label``."""

    label: int
    gradients: np.ndarray
    occlusion: np.ndarray


def attribute(
    explained: HeadOnEsm2,
    sequences: Sequence[str],
    labels: Iterable[int],
    width: int = 1,
    tolerance: float = 0.1,
) -> Iterator[Attribution]:
    """Both attributions of each protein, for the class given with it, in order.

    ``width`` is the stretch of residues that occlusion masks together, ``tolerance`` that of
    `integrated_gradients`: the larger they are, the less is computed.
    """

    def work(job: tuple[bool, str, int]) -> np.ndarray:
        by_gradients, sequence, label = job
        inputs = explained.embed(sequence)
        masked = inputs.clone()
        masked[1:-1] = 0

        def score(embeddings: torch.Tensor) -> torch.Tensor:
            return explained(embeddings)[:, label]

        if by_gradients:
            return integrated_gradients(score, inputs, masked, tolerance)[1:-1]
        return occlusion(score, inputs, masked, width)

    pairs = list(zip(sequences, map(int, labels), strict=True))
    jobs = [(first, sequence, label) for sequence, label in pairs for first in (True, False)]
    results = in_parallel(work, jobs, explained.model.device)
    for _, label in pairs:
        yield Attribution(label, next(results), next(results))


def integrated_gradients(
    score: Score, inputs: torch.Tensor, baseline: torch.Tensor, tolerance: float = 0.1
) -> np.ndarray:
    """Integrated gradients of each row of ``inputs`` [T, width] against ``baseline``, float64 [T].

    The answer may change within a hundredth of the path, which evenly spaced points miss. So the
    path is cut into pieces, and a piece is halved while its gradients miss the change of the score
    along it by more than ``tolerance``; the rest of the path needs few points.
    """
    gradients = IntegratedGradients(score, multiply_by_inputs=True)
    scores: dict[float, float] = {}  # the score at places of the path
    total, at_once = np.zeros(len(inputs)), max(1, BATCH_TOKENS // len(inputs))

    def points(places: Sequence[float]) -> torch.Tensor:
        steps = torch.tensor(places, device=inputs.device)
        return baseline + steps[:, None, None] * (inputs - baseline)

    pieces = [(k / PIECES, (k + 1) / PIECES) for k in range(PIECES)]
    while pieces:
        some, pieces = pieces[:at_once], pieces[at_once:]
        starts, ends = zip(*some, strict=True)
        with torch.no_grad():
            new = sorted({*starts, *ends} - scores.keys())
            scores |= zip(new, score(points(new)).tolist(), strict=True) if new else {}
        with torch.enable_grad():
            shares = gradients.attribute(
                points(ends), points(starts), n_steps=STEPS, method="gausslegendre",
                internal_batch_size=len(some),
            ).sum(dim=2).double().cpu().numpy()  # fmt: skip
        for (start, end), share in zip(some, shares, strict=True):
            missed = abs(scores[end] - scores[start] - share.sum())
            if missed > tolerance and end - start > SHORTEST:
                middle = (start + end) / 2
                pieces += [(start, middle), (middle, end)]
            else:
                total += share
    return total


@torch.no_grad()
def occlusion(
    score: Score, inputs: torch.Tensor, masked: torch.Tensor, width: int = 1
) -> np.ndarray:
    """Score lost when a stretch of ``width`` residues is masked, float64 [T - 2].

    Stretches follow each other; a residue has its stretch's number. The first and the last row of
    ``inputs`` [T, width of embeddings] are no residues and stay.
    """
    stretch = torch.arange(len(inputs) - 2, device=inputs.device) // width
    hidden = F.pad(F.one_hot(stretch).T, (1, 1)).bool()  # [stretches, T]
    at_once = max(1, BATCH_TOKENS // len(inputs))
    left = [
        score(torch.where(some[:, :, None], masked, inputs)).double()
        for some in hidden.split(at_once)
    ]
    lost = score(inputs[None]).double() - torch.cat(left)
    return lost[stretch].cpu().numpy()


def motif_auc(values: np.ndarray, motif: np.ndarray) -> np.ndarray:
    """How often a residue of ``motif`` has a larger value than one outside it, 0-1.

    The area under the ROC curve: 0.5 by chance; ties count half. ``motif`` holds m positions, or
    several motifs as [..., m]; one number for each.
    """
    inside, outside = motif.shape[-1], len(values) - motif.shape[-1]
    above = rankdata(values)[motif].sum(axis=-1) - inside * (inside + 1) / 2
    return above / (inside * outside)


def shift_test(values: Sequence[np.ndarray], motifs: Sequence[np.ndarray]) -> float:
    """One-sided p value of the mean `motif_auc` of related proteins, by circular shifts.

    Motifs are moved along their proteins and around the end, distances within kept. Attributions of
    neighbours, and of relatives at the same place, are alike; therefore all proteins are shifted at
    once, each by the same share of its length, so that relatives are not taken for independent
    observations. With n the length of the shortest, all n - 1 shifts are made: p is 1/n or more.
    """
    shares = np.linspace(0, 1, min(map(len, values)), endpoint=False)[:, None]
    aucs = [
        motif_auc(v, (motif + np.round(shares * len(v)).astype(int)) % len(v))
        for v, motif in zip(values, motifs, strict=True)
    ]
    means = np.mean(aucs, axis=0)
    return float(np.mean(means >= means[0] - 1e-12))
