"""The embedding space in two dimensions, before and after fine-tuning."""

import numpy as np
from sklearn.manifold import TSNE

from arg_utils.data.proteins import cap_per_class, subset
from arg_utils.esm2.embeddings import embed
from arg_utils.experiments.outcomes import load_fitted
from arg_utils.experiments.workspace import Workspace
from arg_utils.methods.finetuning import tuned_features


def map_points(features: np.ndarray, seed: int = 0) -> np.ndarray:
    """Features [n, width] as points [n, 2]: neighbours stay neighbours, distances say little.

    t-SNE (van der Maaten & Hinton 2008, JMLR 9:2579), from scikit-learn, started from the first
    two principal components.
    """
    scaled = (features - features.mean(axis=0)) / (features.std(axis=0) + 1e-6)
    perplexity = min(30.0, max(1.0, (len(features) - 1) / 3))
    return TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(scaled)


def maps_before_and_after(
    work: Workspace, method: str, most: int = 60
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Points of scored proteins, at most ``most`` a class, by frozen and by fine-tuned features.

    Parameters
    ----------
    method : one that trains ESM-2's blocks; the run of the random split is loaded.

    Returns
    -------
    Classes int64 [n], and points [n, 2] under ``before`` and ``after``.
    """
    chosen = subset(work.scored, cap_per_class(work.scored.labels, most, work.profile.seed))
    model = load_fitted(work, method).model
    after = tuned_features(model, chosen.sequences, progress=False)
    before = embed(chosen.sequences, progress=False)
    return chosen.labels, {"before": map_points(before), "after": map_points(after)}
