"""Other heads on frozen features than the library's: rare classes treated otherwise, not linear.

Each is a `Head`: standardised features float32 [n, width] and classes int64 [n] to learn from, and
features to answer about [m, width] -> scores [m, 15].
"""

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.svm import SVC
from torch import nn

from arg_utils.data.proteins import cap_per_class
from arg_utils.labels import NUM_CLASSES
from arg_utils.methods.frozen import fit_linear, inverse_size, linear_log_probabilities

Head = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
GAMMA = 2.0  # of the focal loss, its paper's choice
HIDDEN, EPOCHS, BATCH = 256, 15, 256  # of the perceptron
MEMBERS = 5  # perceptrons of an ensemble
PER_CLASS = 1500  # cap per class on what the SVM learns from: its time grows with their square


def linear(penalty: float = 1e-3, power: float = 0.75, loss=None) -> Head:
    """The library's logistic regression; ``power`` and ``loss`` as `fit_linear` has them."""
    return lambda x, y, asked: linear_log_probabilities(
        fit_linear(x, y, penalty, power, loss), asked
    )


def focal_loss(scores: torch.Tensor, true: torch.Tensor) -> torch.Tensor:
    """Clear cases weigh less, (1 - p)^2 (Lin et al. 2017, arXiv:1708.02002)."""
    each = F.cross_entropy(scores, true, reduction="none")
    return (1 - torch.exp(-each)) ** GAMMA * each


def adjusted(x: np.ndarray, y: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """The log of a class's share is added in the loss (Menon et al. 2021, arXiv:2007.07314)."""
    counts = np.maximum(np.bincount(y, minlength=NUM_CLASSES), 1)
    shares = torch.from_numpy(counts / counts.sum()).float().log()

    def loss(scores: torch.Tensor, true: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(scores + shares, true, reduction="none")

    return linear(power=0.0, loss=loss)(x, y, asked)


def balanced(x: np.ndarray, y: np.ndarray, asked: np.ndarray, seed: int = 0) -> np.ndarray:
    """As many proteins as there are, drawn with each class equally often."""
    share = 1.0 / np.bincount(y, minlength=NUM_CLASSES)[y]
    drawn = np.random.default_rng(seed).choice(len(y), len(y), p=share / share.sum())
    return linear(power=0.0)(x[drawn], y[drawn], asked)


def nearest(x: np.ndarray, y: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Cosine similarity of each class's nearest protein, -1 to 1."""
    references, other = (F.normalize(torch.from_numpy(each), dim=1) for each in (x, asked))
    out = np.full((len(asked), NUM_CLASSES), -1.0)
    for label in np.unique(y):
        out[:, label] = (other @ references[y == label].T).amax(dim=1)
    return out


def fit_perceptron(features: np.ndarray, labels: np.ndarray, seed: int = 0) -> nn.Sequential:
    """One hidden layer, dropout 0.3, 15 epochs of AdamW, classes weighted as in `fit_linear`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = nn.Sequential(
            nn.Linear(features.shape[1], HIDDEN), nn.GELU(), nn.Dropout(0.3),
            nn.Linear(HIDDEN, NUM_CLASSES),
        )  # fmt: skip
        weights = torch.from_numpy(inverse_size(labels, 0.75)).float()
        weights = weights / weights.mean()
        x, y = torch.from_numpy(features), torch.from_numpy(labels)
        optimizer = torch.optim.AdamW(net.parameters(), 1e-3, weight_decay=1e-3)
        for _ in range(EPOCHS):
            for batch in torch.randperm(len(y)).split(BATCH):
                each = F.cross_entropy(net(x[batch]), y[batch], reduction="none")
                optimizer.zero_grad()
                (each * weights[batch]).mean().backward()
                optimizer.step()
    return net.eval().requires_grad_(False)


def perceptron(x: np.ndarray, y: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Logits of a perceptron."""
    return fit_perceptron(x, y)(torch.from_numpy(asked)).numpy()


def ensemble(x: np.ndarray, y: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Logarithm of the mean probability of perceptrons of five seeds."""
    queries = torch.from_numpy(asked)
    members = [F.softmax(fit_perceptron(x, y, seed)(queries), dim=1) for seed in range(MEMBERS)]
    return torch.stack(members).mean(dim=0).log().numpy()


def machine(x: np.ndarray, y: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Decision values of a support-vector machine with a Gaussian kernel, classes weighted alike.

    It learns from a capped sample. Far below all others for a class it has not seen.
    """
    some = cap_per_class(y, PER_CLASS, 0)
    fitted = SVC(C=10, gamma="scale", class_weight="balanced").fit(x[some], y[some])
    values = fitted.decision_function(asked)
    values = values if values.ndim == 2 else np.stack([-values, values], axis=1)  # of two classes
    out = np.full((len(asked), NUM_CLASSES), -100.0, np.float32)
    out[:, fitted.classes_] = values
    return out


# Name and title in tables. A class weighs its size to 1 - ``power``.
TREATMENTS: dict[str, tuple[str, Head]] = {
    "layers_linear": ("2 layers + linear", linear()),
    "layers_plain": ("2 layers + linear, plain", linear(power=0.0)),
    "layers_sqrt": ("2 layers + linear, root of size", linear(power=0.5)),
    "layers_weighted": ("2 layers + linear, class-weighted", linear(power=1.0)),
    "layers_focal": ("2 layers + linear, focal", linear(power=0.0, loss=focal_loss)),
    "layers_adjusted": ("2 layers + linear, logit-adjusted", adjusted),
    "layers_balanced": ("2 layers + linear, balanced sample", balanced),
    "layers_perceptron": ("2 layers + perceptron", perceptron),
    "layers_ensemble": (f"2 layers + {MEMBERS} perceptrons averaged", ensemble),
    "layers_svm": ("2 layers + Gaussian SVM", machine),
}
