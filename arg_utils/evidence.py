"""What speaks for each class: homologues, neighbours in embedding space, and a linear layer."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from arg_utils.homology import search
from arg_utils.labels import NONARG, NUM_CLASSES

SEARCH = {"evalue": 10.0, "sensitivity": 5.7, "max_hits": 100}  # weak hits speak too, a little
NEIGHBOURS = 5
EVIDENCE = 24  # columns that `assemble` makes


@dataclass(frozen=True)
class Known:
    """Labelled proteins to compare with.

    Attributes
    ----------
    features : standardised embeddings, float32 [n, width].
    labels : int64 [n].
    """

    sequences: list[str]
    features: np.ndarray
    labels: np.ndarray

    def part(self, positions: np.ndarray) -> "Known":
        """Some of them."""
        return Known(
            [self.sequences[i] for i in positions], self.features[positions], self.labels[positions]
        )


def hit_evidence(
    queries: list[str], known: Known, own: np.ndarray | None = None, **options: float
) -> np.ndarray:
    """Each class's best MMseqs2 hit: log(1 + bits), identity, coverage of query and of target.

    Parameters
    ----------
    own : position in ``known`` of each query, whose hit on itself does not count.
    options : of `search`, in place of ``SEARCH``.

    Returns
    -------
    float32 [queries, 15, 4]; zero where a class has no hit.
    """
    hits = search(queries, known.sequences, **(SEARCH | options))
    if own is not None:
        hits = hits[own[hits["query"]] != hits["target"]]
    hits = hits.assign(label=known.labels[hits["target"]]).drop_duplicates(["query", "label"])
    out = np.zeros((len(queries), NUM_CLASSES, 4), np.float32)
    columns = hits[["bits", "identity", "query_coverage", "target_coverage"]].to_numpy()
    columns[:, 0] = np.log1p(columns[:, 0])
    out[hits["query"], hits["label"]] = columns
    return out


def neighbour_evidence(
    features: np.ndarray, known: Known, own: np.ndarray | None = None
) -> np.ndarray:
    """Cosine similarity of each class's nearest protein, and the mean of its five nearest.

    ``own`` as in `hit_evidence`.

    Returns
    -------
    float32 [queries, 15, 2]; -1 where a class has no protein.
    """
    out = np.full((len(features), NUM_CLASSES, 2), -1, np.float32)
    places = F.normalize(torch.from_numpy(known.features), dim=1)
    for start in range(0, len(features), 1024):
        rows = slice(start, start + 1024)
        close = F.normalize(torch.from_numpy(features[rows]), dim=1) @ places.T
        if own is not None:
            close[torch.arange(len(close)), torch.from_numpy(own[rows])] = -1
        for label in np.unique(known.labels):
            members = torch.from_numpy(np.flatnonzero(known.labels == label))
            best = close[:, members].topk(min(NEIGHBOURS, len(members)), dim=1).values
            out[rows, label, 0], out[rows, label, 1] = best[:, 0], best.mean(dim=1)
    return out


def fit_linear(features: np.ndarray, labels: np.ndarray, penalty: float = 1e-4) -> nn.Linear:
    """Multinomial logistic regression [n, width] -> 15, by L-BFGS, the loss root-weighted.

    A class counts in proportion to the square root of its size, between its share (accuracy) and
    one each (macro-F1).
    """
    layer = nn.Linear(features.shape[1], NUM_CLASSES)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    x, y = torch.from_numpy(features), torch.from_numpy(labels)
    counts = np.bincount(labels, minlength=NUM_CLASSES)
    weights = torch.from_numpy(np.maximum(counts, 1)[labels] ** -0.5).float()
    weights = weights / weights.mean()

    def loss() -> torch.Tensor:
        each = F.cross_entropy(layer(x), y, reduction="none")
        return (each * weights).mean() + penalty * (layer.weight**2).sum()

    minimise(loss, list(layer.parameters()), 60)
    return layer.requires_grad_(False)


def minimise(loss, parameters: list[nn.Parameter], steps: int) -> None:
    """Bring the convex function ``loss`` of ``parameters`` to its minimum by L-BFGS."""
    optimizer = torch.optim.LBFGS(
        parameters, max_iter=steps, history_size=10, line_search_fn="strong_wolfe"
    )

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        value = loss()
        value.backward()
        return value

    optimizer.step(closure)


def assemble(hits: np.ndarray, neighbours: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """One vector of evidence for each class of each protein, float32 [n, 15, k].

    Everything enters twice, as it is and multiplied by the strength of the protein's best hit, so
    that a linear score can lean on homology where it is strong and on the model where it is not.
    The last columns let "not an ARG" react to having no hit and to being near nothing.
    """
    bits = hits[..., 0] / 6
    best = bits.max(axis=1, keepdims=True)
    log_p = F.log_softmax(torch.from_numpy(logits), dim=1).numpy()
    near, mean = neighbours[..., 0], neighbours[..., 1]
    columns = [
        bits, bits - best, hits[..., 1] * hits[..., 2], hits[..., 2], hits[..., 3],
        near, near - near.max(axis=1, keepdims=True), mean - mean.max(axis=1, keepdims=True),
        log_p / 4, np.exp(log_p),
    ]  # fmt: skip
    plain = np.stack(columns, axis=-1)
    strength = np.broadcast_to(best[..., None], (*plain.shape[:2], 1))
    nonarg = np.zeros((len(plain), NUM_CLASSES, 1), np.float32)
    nonarg[:, NONARG] = 1
    extra = [strength, (strength == 0), near[..., None], log_p[..., None] / 4]
    return np.concatenate(
        [plain, plain * strength, *(nonarg * column for column in extra)], axis=-1
    ).astype(np.float32)
