"""The course's protocol, from top to bottom: a linear layer on frozen ESM-2, then LoRA on it.

The layer gets the mean of the last hidden states, one vector per protein, and is trained by stages.
A stage is some epochs of Adam at one learning rate; the parameters of the epoch with the best
validation macro-F1 are kept; the next stage goes on from the best so far with a fresh Adam at a
tenth of the rate. LoRA then adapts the trained layer, and only its factors train, by stages again.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import loralib
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import nn
from tqdm import tqdm

from arg_utils.data.proteins import Proteins, cap_per_class
from arg_utils.esm2.batches import one_thread
from arg_utils.esm2.embeddings import embed
from arg_utils.esm2.lora import (
    count_trainable,
    load_state,
    merged_linear,
    save_state,
    to_lora,
    trainable_state,
)
from arg_utils.esm2.weights import WIDTH
from arg_utils.files import load_checkpoint, save_checkpoint
from arg_utils.fingerprint import closure_fingerprint, fingerprint
from arg_utils.labels import NUM_CLASSES
from arg_utils.methods.base import MODEL, Method
from arg_utils.metrics.scores import macro_f1
from arg_utils.settings import LoraClassifier, Profile, StagedTraining


class FrozenLinear(Method):
    """The course's model: frozen ESM-2, mean of the last layer, one linear layer, staged Adam."""

    name, title = "frozen_linear", "frozen ESM-2 + linear"
    trains_on_one_core = True

    @classmethod
    def settings(cls, profile: Profile) -> tuple[Any, ...]:
        return (profile.staged, profile.seed)

    def fit(
        self, train: Proteins, val: Proteins, profile: Profile, seed: int = 0,
        folder: Path | None = None,
    ) -> Self:  # fmt: skip
        chosen = cap_per_class(train.labels, profile.staged.max_per_class, seed)
        examples = Examples(embed([train.sequences[i] for i in chosen]), train.labels[chosen])
        validation = Examples(embed(val.sequences), val.labels)
        self.head = new_head(WIDTH, seed)
        trainer = StagedTrainer(self.head, examples, validation, profile.staged, seed)
        self._train(trainer, profile, folder)
        self.trainable_parameters = count_trainable(self.head)
        return self

    def _train(self, trainer: "StagedTrainer", profile: Profile, folder: Path | None) -> None:
        trainer.run(folder and folder / f"{FrozenLinear.name}.pt")
        self.history = pd.DataFrame(trainer.history)

    def probabilities(self, sequences: Sequence[str]) -> np.ndarray:
        return softmax(logits(self.head, embed(sequences)))

    def save(self, folder: Path) -> None:
        save_state(trainable_state(merged_linear(self.head)), folder / MODEL)

    @classmethod
    def load(cls, folder: Path) -> Self:
        method = cls()
        method.head = new_head(WIDTH, 0)
        load_state(method.head, folder / MODEL)
        return method


class LoraOnClassifier(FrozenLinear):
    """The course's LoRA: on the trained linear layer, only the factors train, staged again."""

    name, title = "lora_classifier", "+ LoRA on the classifier"

    @classmethod
    def settings(cls, profile: Profile) -> tuple[Any, ...]:
        return (profile.staged, profile.lora_classifier, profile.seed)

    def _train(self, trainer: "StagedTrainer", profile: Profile, folder: Path | None) -> None:
        super()._train(trainer, profile, folder)
        self.head = adapt_head(self.head, profile.lora_classifier, trainer.seed)
        first_stage = len(profile.staged.learning_rates) + 1
        again = replace(trainer, head=self.head, first_stage=first_stage)
        again.run(folder and folder / f"{self.name}.pt")
        self.history = pd.DataFrame(trainer.history + again.history)


@dataclass(frozen=True)
class Examples:
    """Features float32 [n, width] and classes int64 [n]."""

    features: np.ndarray
    labels: np.ndarray


@dataclass
class StagedTrainer:
    """Trains what is trainable of ``head`` (`new_head`, `adapt_head`), one stage a learning rate.

    In the history, one row per epoch, ``first_stage`` is the number of the first stage. The best
    parameters so far, and their validation macro-F1, are ``best_state`` and ``best_f1``.
    """

    head: nn.Linear
    train: Examples
    val: Examples
    settings: StagedTraining
    seed: int = 0
    first_stage: int = 1
    best_state: dict[str, torch.Tensor] = field(init=False)
    best_f1: float = field(init=False)
    history: list[dict[str, Any]] = field(init=False, default_factory=list)

    def run(self, checkpoint: Path | None = None, progress: bool = True) -> Self:
        """Train, and leave the best parameters in the head: never worse than before training.

        ``checkpoint`` is a file that keeps finished stages; a second run goes on after the last.
        """
        key = self._key()
        self.best_state, self.best_f1 = trainable_state(self.head), self._score()
        if checkpoint and (saved := load_checkpoint(checkpoint, key)):
            vars(self).update(saved)
        done, rates = len(self.history) // self.settings.epochs, self.settings.learning_rates
        if 0 < done < len(rates) and progress:
            print(f"training: {done} of {len(rates)} stages were finished before")
        for number in range(done, len(rates)):
            self.head.load_state_dict(self.best_state, strict=False)
            self.train_stage(number, progress)
            if checkpoint:
                names = ("best_state", "best_f1", "history")
                save_checkpoint(checkpoint, key, {name: getattr(self, name) for name in names})
        self.head.load_state_dict(self.best_state, strict=False)
        self.head.eval()
        return self

    def _key(self) -> str:
        """Changes with whatever the training depends on."""
        arrays = [a for part in (self.train, self.val) for a in (part.features, part.labels)]
        arrays += [tensor.numpy() for tensor in self.head.state_dict().values()]
        return fingerprint(
            closure_fingerprint("methods/course.py"), self.settings, self.seed, self.first_stage,
            self.head, getattr(self.head, "scaling", None),
            *((array.shape, array.tobytes()) for array in arrays),
        )  # fmt: skip

    def train_stage(self, number: int, progress: bool = True) -> None:
        """Epochs at ``settings.learning_rates[number]`` with a fresh Adam."""
        rate, epochs = self.settings.learning_rates[number], self.settings.epochs
        optimizer = Adam([p for p in self.head.parameters() if p.requires_grad], lr=rate)
        stage = self.first_stage + number
        generator = torch.Generator().manual_seed(self.seed + 1000 * stage)
        for_dropout = int(torch.randint(2**31, (1,), generator=generator))
        steps = epochs * -(-len(self.train.labels) // self.settings.batch_size)
        bar = tqdm(total=steps, desc=f"rate {rate:g}", unit="step", disable=not progress)
        with one_thread(), seeded(for_dropout), bar:
            for epoch in range(1, epochs + 1):
                begun = time.perf_counter()
                loss = self._train_epoch(optimizer, generator, bar)
                score = self._score()
                if improved := score > self.best_f1:
                    self.best_f1, self.best_state = score, trainable_state(self.head)
                self.history.append(
                    {"stage": stage, "epoch": epoch, "learning_rate": rate,
                     "train_loss": loss, "val_macro_f1": score, "best": improved,
                     "seconds": time.perf_counter() - begun}
                )  # fmt: skip

    def _train_epoch(self, optimizer: "Adam", generator: torch.Generator, bar: tqdm) -> float:
        """One pass over the examples in a new order; the mean loss."""
        self.head.train()
        size, labels = self.settings.batch_size, torch.from_numpy(self.train.labels)
        order = torch.randperm(len(labels), generator=generator)
        features = torch.from_numpy(self.train.features)[order].split(size)
        targets = F.one_hot(labels[order], NUM_CLASSES).float().split(size)
        set_gradients, answers = gradients_of(self.head), []
        for x, target in zip(features, targets, strict=True):
            answers.append(set_gradients(x, target))
            optimizer.step()
        bar.update(len(features))
        return -float((torch.cat(answers) * torch.cat(targets)).sum()) / len(labels)

    def _score(self) -> float:
        """Macro-F1 on validation."""
        return macro_f1(self.val.labels, logits(self.head, self.val.features).argmax(axis=1))


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """PyTorch's random numbers from ``seed``, and afterwards as if nothing had been drawn."""
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        yield


def new_head(width: int, seed: int) -> nn.Linear:
    """A linear layer of ``width`` inputs and 15 outputs, initialised as PyTorch does."""
    with seeded(seed):
        return nn.Linear(width, NUM_CLASSES)


def adapt_head(head: nn.Linear, settings: LoraClassifier, seed: int) -> loralib.Linear:
    """``head`` as a LoRA layer holding its trained weights; only the LoRA factors may train."""
    with seeded(seed):
        adapted = to_lora(head, settings.r, settings.alpha, settings.dropout)
    loralib.mark_only_lora_as_trainable(adapted)
    return adapted


@torch.inference_mode()
def logits(head: nn.Linear, features: np.ndarray | torch.Tensor) -> np.ndarray:
    """Scores before the softmax, float32 [n, 15], of features [n, width], with dropout off."""
    was_training = head.training
    head.eval()
    scores = head(torch.as_tensor(features)).numpy()
    head.train(was_training)
    return scores


def softmax(scores: np.ndarray) -> np.ndarray:
    """Probabilities float32 [n, 15] of logits [n, 15]."""
    return torch.softmax(torch.as_tensor(scores).double(), dim=1).float().numpy()


class Adam:
    """Adam (arXiv:1412.6980) with the usual constants, all parameters as one vector.

    The same update as ``torch.optim.Adam``'s (a test pins it), in seven operations per step: at
    four examples per step, that optimizer's bookkeeping takes most of the time.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], lr: float) -> None:
        self.parameters, self.lr, self.steps = list(parameters), lr, 0
        self.values = torch.cat([p.detach().flatten() for p in self.parameters])
        self.slope = torch.zeros_like(self.values)
        sizes = [p.numel() for p in self.parameters]
        parts = (self.values.split(sizes), self.slope.split(sizes))
        for parameter, value, slope in zip(self.parameters, *parts, strict=True):
            parameter.data, parameter.grad = value.view_as(parameter), slope.view_as(parameter)
        self.mean, self.square = torch.zeros_like(self.values), torch.zeros_like(self.values)

    def step(self) -> None:
        """Update every parameter by its ``grad``, which is a part of ``slope`` and stays there."""
        self.steps += 1
        self.mean.lerp_(self.slope, 0.1)
        self.square.mul_(0.999).addcmul_(self.slope, self.slope, value=0.001)
        spread = self.square.sqrt().mul_((1 - 0.999**self.steps) ** -0.5).add_(1e-8)
        self.values.addcdiv_(self.mean, spread, value=-self.lr / (1 - 0.9**self.steps))


def gradients_of(head: nn.Linear) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """A function that sets the gradients of the mean cross-entropy on one batch.

    They are written down rather than traced: at a batch size of four, automatic differentiation
    costs several times the arithmetic, and so would looking parameters up in each step. A test pins
    them to autograd's. Of a `loralib.Linear`, which drops inputs out as in training, only the
    factors get gradients.

    The function takes inputs float32 [batch, width] and one-hot targets float32 [batch, 15], and
    returns log-probabilities [batch, 15].
    """
    weight, bias = head.weight.detach(), head.bias.detach()
    if not isinstance(head, loralib.Linear):
        of_weight, of_bias = map(_gradient, (head.weight, head.bias))

        def plain(x: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
            answers, slope = _slope(F.linear(x, weight, bias), target)
            torch.mm(slope.T, x, out=of_weight)
            torch.sum(slope, 0, out=of_bias)
            return answers

        return plain
    dropout = head.lora_dropout.p if isinstance(head.lora_dropout, nn.Dropout) else 0.0
    down, up, scaling = head.lora_A.detach(), head.lora_B.detach(), head.scaling
    of_down, of_up = map(_gradient, (head.lora_A, head.lora_B))

    def lora(x: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        scores = F.linear(x, weight, bias)
        x = torch.dropout(x, dropout, True)
        low = x @ down.T
        answers, slope = _slope(scores.addmm_(low, up.T, alpha=scaling), target)
        slope *= scaling
        torch.mm((slope @ up).T, x, out=of_down)
        torch.mm(slope.T, low, out=of_up)
        return answers

    return lora


def _gradient(parameter: torch.Tensor) -> torch.Tensor:
    """Where the gradient of a parameter is, or will be."""
    if parameter.grad is None:
        parameter.grad = torch.zeros_like(parameter)
    return parameter.grad


def _slope(scores: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probabilities, and the derivative of the mean cross-entropy by the scores."""
    answers = torch.log_softmax(scores, dim=1)
    return answers, answers.exp().sub_(target).div_(len(target))
