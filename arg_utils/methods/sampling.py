"""A capped sample standing for all the data: what the cap shifts, and how to undo it."""

from collections.abc import Sequence

import numpy as np
import torch

from arg_utils.data.proteins import cap_per_class
from arg_utils.labels import NUM_CLASSES
from arg_utils.metrics.scores import confusion, f1_from_confusion


def share_shift(labels: np.ndarray, most: int | None) -> torch.Tensor:
    """Log of each class's share in a sample of at most ``most`` a class over its share in all.

    Added to the logits in the loss, it lets a model trained on the sample keep the data's own
    class shares (logit adjustment, arXiv:2007.07314, used in the opposite direction).

    Returns
    -------
    float32 [15]; zero for a class without proteins.
    """
    counts = np.bincount(labels, minlength=NUM_CLASSES).astype(float)
    capped = counts if most is None else np.minimum(counts, most)
    there = counts > 0
    shift = np.zeros(NUM_CLASSES)
    shift[there] = np.log(capped[there] / capped.sum()) - np.log(counts[there] / counts.sum())
    return torch.from_numpy(shift).float()


class CappedSample:
    """At most ``most`` proteins a class, scored as if all of them had been.

    Attributes
    ----------
    sequences, labels : the proteins drawn.
    weight : float64 [15], how many proteins of its class one drawn protein stands for.
    """

    def __init__(self, sequences: Sequence[str], labels: np.ndarray, most: int | None, seed: int):
        kept = cap_per_class(labels, most, seed)
        self.sequences, self.labels = [sequences[i] for i in kept], labels[kept]
        drawn = np.bincount(self.labels, minlength=NUM_CLASSES)
        self.weight = np.bincount(labels, minlength=NUM_CLASSES) / np.maximum(drawn, 1)

    def macro_f1(self, predicted: np.ndarray) -> float:
        """An estimate of macro-F1 on all proteins, from predictions int64 [n] on those drawn."""
        counts = confusion(self.labels, predicted) * self.weight[:, None]
        return float(f1_from_confusion(counts).mean())
