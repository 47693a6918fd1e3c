"""Heads on frozen features that are not linear: perceptrons, alone or averaged, and an SVM."""

import time
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.svm import SVC
from torch import nn

from arg_utils.data.proteins import Proteins, cap_per_class
from arg_utils.esm2.embeddings import FEATURES, embed
from arg_utils.esm2.lora import load_state, save_state
from arg_utils.esm2.weights import WIDTH
from arg_utils.labels import NUM_CLASSES
from arg_utils.methods.baselines import BestHit
from arg_utils.methods.classifier import softmax
from arg_utils.methods.frozen import LayersLinear, Standardised, inverse_size
from arg_utils.metrics.calibration import fit_temperature

HIDDEN, EPOCHS, BATCH = 256, 15, 256
MEMBERS = 5  # perceptrons of an ensemble
PER_CLASS = 1500  # proteins a class that the SVM learns from: its time grows with their square


def new_perceptron(width: int) -> nn.Sequential:
    """One hidden layer of 256, dropout 0.3, 15 outputs."""
    return nn.Sequential(
        nn.Linear(width, HIDDEN), nn.GELU(), nn.Dropout(0.3), nn.Linear(HIDDEN, NUM_CLASSES)
    )


def fit_perceptron(features: np.ndarray, labels: np.ndarray, seed: int = 0) -> nn.Sequential:
    """A perceptron [n, width] -> 15 by 15 epochs of AdamW, classes weighted as in `fit_linear`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = new_perceptron(features.shape[1])
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


class Perceptrons(Standardised):
    """Perceptrons of several seeds, whose probabilities are averaged."""

    members = 1

    def __init__(self) -> None:
        super().__init__()
        nets = [new_perceptron(WIDTH * len(FEATURES)) for _ in range(self.members)]
        self.nets = nn.ModuleList(nets).eval().requires_grad_(False)

    def learn(self, sequences: Sequence[str], labels: np.ndarray, seed: int = 0) -> None:
        """Fit scale and perceptrons."""
        features = self.learn_scale(sequences)
        for number, net in enumerate(self.nets):
            found = fit_perceptron(features, labels, seed * self.members + number)
            net.load_state_dict(found.state_dict())

    def log_chances(self, sequences: Sequence[str]) -> np.ndarray:
        """Log-probability of each class, float32 [n, 15]."""
        x = torch.from_numpy(self.standardised(sequences))
        chances = torch.stack([F.softmax(net(x), dim=1) for net in self.nets])
        return chances.mean(dim=0).log().numpy()


class _Ensemble(Perceptrons):
    members = MEMBERS


class LayersPerceptron(LayersLinear):
    """`LayersLinear` with a perceptron in place of the linear layer."""

    name, title = "layers_perceptron", "2 layers + perceptron"
    head_kind = Perceptrons

    def _learn(self, train, seed):
        self.head.learn(train.sequences, train.labels, seed)


class PerceptronEnsemble(LayersPerceptron):
    """The mean of perceptrons of five seeds."""

    name, title = "layers_ensemble", f"2 layers + {MEMBERS} perceptrons averaged"
    head_kind = _Ensemble


def fit_machine(features: np.ndarray, labels: np.ndarray) -> SVC:
    """Support-vector machine with a Gaussian kernel (scikit-learn), all classes weighted alike."""
    return SVC(C=10, gamma="scale", class_weight="balanced").fit(features, labels)


def machine_scores(machine: SVC, features: np.ndarray) -> np.ndarray:
    """Decision values float32 [n, 15], far below all others for a class it has not seen."""
    found = machine.decision_function(features)
    found = found if found.ndim == 2 else np.stack([-found, found], axis=1)  # of two classes
    out = np.full((len(features), NUM_CLASSES), -100.0, np.float32)
    out[:, machine.classes_] = found
    return out


class _Temperature(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.ones(1), requires_grad=False)


class LayersMachine(BestHit):
    """A Gaussian SVM on the frozen features; validation sets the temperature of its scores.

    What is kept is a sample of the training part, from which the machine is fitted again.
    """

    name, title, uses_esm2 = "layers_svm", "2 layers + Gaussian SVM", True
    machine: SVC | None = None  # fitted when first asked

    def fit(self, train, val, profile, seed=0, folder=None):
        kept = cap_per_class(train.labels, PER_CLASS, seed)
        self.train = Proteins([train.sequences[i] for i in kept], train.labels[kept])
        embed([*self.train.sequences, *val.sequences], FEATURES)  # not part of the training time
        begun = time.perf_counter()
        self.machine = None
        self.temperature = _Temperature()
        self.temperature.value.fill_(fit_temperature(self._scores(val.sequences), val.labels))
        self.fit_seconds = time.perf_counter() - begun
        return self

    def _scores(self, sequences: Sequence[str]) -> np.ndarray:
        if self.machine is None:
            self.scale = Standardised()
            self.machine = fit_machine(
                self.scale.learn_scale(self.train.sequences), self.train.labels
            )
        return machine_scores(self.machine, self.scale.standardised(sequences))

    def probabilities(self, sequences):
        if not len(sequences):
            return np.zeros((0, NUM_CLASSES), np.float32)
        return softmax(self._scores(list(sequences)) / float(self.temperature.value))

    def save(self, folder):
        super().save(folder)
        save_state(dict(self.temperature.named_parameters()), folder / "model.safetensors")

    @classmethod
    def load(cls, folder):
        method = super().load(folder)
        method.temperature = _Temperature()
        load_state(method.temperature, folder / "model.safetensors")
        return method


NONLINEAR = (LayersPerceptron, PerceptronEnsemble, LayersMachine)
