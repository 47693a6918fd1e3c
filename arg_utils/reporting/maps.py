"""Embeddings as 2-D maps: the same proteins by the frozen and by the fine-tuned model."""

from collections.abc import Mapping
from typing import cast

from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.linalg import orthogonal_procrustes
from sklearn.manifold import TSNE
from sklearn.neighbors import KNeighborsClassifier

from arg_utils.data.proteins import cap_per_class, subset
from arg_utils.esm2.embeddings import embed
from arg_utils.experiments.outcomes import load_fitted
from arg_utils.experiments.workspace import Workspace
from arg_utils.labels import DISPLAY_NAMES, NONARG
from arg_utils.methods.finetuning import LoraInBlocks
from arg_utils.metrics.scores import check_labels, check_same_length
from arg_utils.reporting import style


def embeddings_before_and_after(
    work: Workspace, method: str, cap: int = 60
) -> tuple[NDArray, dict[str, NDArray]]:
    """Scored proteins, at most ``cap`` per class, as frozen and as fine-tuned ESM-2 sees them.

    ``method`` is one that trains ESM-2's blocks; its run of the random split is loaded. Returns
    classes int64 [n], and features float32 [n, width] under ``frozen`` and the method's title.
    """
    chosen = subset(work.scored, cap_per_class(work.scored.labels, cap, work.profile.seed))
    fitted = cast(LoraInBlocks, load_fitted(work, method))
    frozen = embed(chosen.sequences, progress=False)
    tuned = fitted.model.all_features(chosen.sequences, progress=False)
    return chosen.labels, {"frozen ESM-2": frozen, fitted.title: tuned}


def project(features: NDArray) -> NDArray:
    """Features [n, width] as points [n, 2]: neighbours stay neighbours, distances say little.

    t-SNE (van der Maaten & Hinton 2008, JMLR 9:2579), from scikit-learn, started from the first
    two principal components.
    """
    scaled = (features - features.mean(axis=0)) / (features.std(axis=0) + 1e-6)
    perplexity = min(30.0, max(1.0, (len(features) - 1) / 3))
    points = TSNE(perplexity=perplexity, init="pca", random_state=0).fit_transform(scaled)
    return points - points.mean(axis=0)


def neighbour_accuracy(features: NDArray, labels: NDArray) -> float:
    """The share of proteins whose class is the most frequent of their five nearest others'."""
    return KNeighborsClassifier(5).fit(features, labels).score(None, labels)  # None: the others


def embedding_maps(features: Mapping[str, NDArray], labels: NDArray) -> Figure:
    """2-D maps of the same proteins side by side, turned to match the first.

    ``features`` gives [n, width] for each map's name, ``labels`` the classes [n]. Colour and
    marker together tell the 15 classes apart; proteins that are no ARG are small and grey. The
    accuracy of the five nearest neighbours is of the features, not of the map.
    """
    labels = check_labels(labels)
    check_same_length(labels=labels, **features)
    fig, axes = style.new_figure(1, len(features), figsize=(5.2 * len(features) + 1.6, 5.2))
    first: NDArray | None = None
    for axis, (name, values) in zip(axes[0], features.items(), strict=True):
        points = project(values)
        first = points if first is None else first
        points = points @ orthogonal_procrustes(points, first)[0]
        for index in [NONARG, *range(NONARG)]:
            color, hollow = style.PALETTE[index % len(style.PALETTE)], index >= len(style.PALETTE)
            dots = {"marker": style.MARKERS[(index + 3 * hollow) % 7], "s": 18, "alpha": 0.8,
                     "facecolors": "none" if hollow else color, "edgecolors": color}  # fmt: skip
            if index == NONARG:
                dots = {"color": "#C4C4C4", "s": 6, "linewidths": 0}
            if (labels == index).any():
                axis.scatter(*points[labels == index].T, label=DISPLAY_NAMES[index], **dots)
        accuracy = neighbour_accuracy(values, labels)
        axis.set_title(f"{name}\n{accuracy:.1%} have the class of their 5 nearest neighbours")
        axis.set(xlabel="t-SNE 1", ylabel="t-SNE 2", xticks=[], yticks=[])
    handles = axes[0, 0].get_legend_handles_labels()[0]
    fig.legend(handles=handles, loc="outside right upper", frameon=False, markerscale=1.6)
    return fig
