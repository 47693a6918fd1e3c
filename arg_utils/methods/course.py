"""The course's protocol, from top to bottom: a linear layer on frozen ESM-2, then LoRA on it.

The layer gets the mean of the last hidden states, one vector per protein, and is trained by stages.
A stage is some epochs of Adam at one learning rate; the parameters of the epoch with the best
validation macro-F1 are kept; the next stage goes on from the best so far with a fresh Adam at a
tenth of the rate. LoRA then adapts the trained layer, and only its factors train, by stages again.
"""

import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import nn
from tqdm import tqdm

from arg_utils.data.fasta import cap_per_class
from arg_utils.esm2.embeddings import embed
from arg_utils.esm2.lora import count_trainable, load_state, save_state, trainable_state
from arg_utils.esm2.weights import WIDTH
from arg_utils.files import closure_fingerprint, fingerprint, load_checkpoint, save_checkpoint
from arg_utils.labels import NUM_CLASSES
from arg_utils.methods.base import MODEL, Method
from arg_utils.methods.classifier import (
    Adam,
    adapt_head,
    logits,
    merged_head,
    new_head,
    one_thread,
    set_gradients,
    softmax,
)
from arg_utils.metrics.scores import macro_f1
from arg_utils.settings import StagedTraining


class FrozenLinear(Method):
    """The course's model: frozen ESM-2, mean of the last layer, one linear layer, staged Adam."""

    name, title = "frozen_linear", "frozen ESM-2 + linear"

    @classmethod
    def settings(cls, profile):
        return (profile.staged, profile.seed)

    def fit(self, train, val, profile, seed=0, folder=None):
        chosen = cap_per_class(train.labels, profile.staged.max_per_class, seed)
        examples = Examples(embed([train.sequences[i] for i in chosen]), train.labels[chosen])
        validation = Examples(embed(val.sequences), val.labels)
        self.head = new_head(WIDTH, seed)
        self.trainable_parameters = count_trainable(self.head)
        self._train(examples, validation, profile, seed, folder)
        return self

    def _train(self, examples, validation, profile, seed, folder):
        place = folder / f"{FrozenLinear.name}.pt" if folder else None
        done = train_staged(self.head, examples, validation, profile.staged, seed, checkpoint=place)
        self.history = done.table()

    def probabilities(self, sequences):
        return softmax(logits(self.head, embed(sequences)))

    def save(self, folder):
        save_state(trainable_state(merged_head(self.head)), folder / MODEL)

    @classmethod
    def load(cls, folder):
        method = cls()
        method.head = new_head(WIDTH, 0)
        load_state(method.head, folder / MODEL)
        return method


class LoraOnClassifier(FrozenLinear):
    """The course's LoRA: on the trained linear layer, only the factors train, staged again."""

    name, title = "lora_classifier", "+ LoRA on the classifier"

    @classmethod
    def settings(cls, profile):
        return (profile.staged, profile.lora_classifier, profile.seed)

    def _train(self, examples, validation, profile, seed, folder):
        super()._train(examples, validation, profile, seed, folder)
        self.head = adapt_head(self.head, profile.lora_classifier, seed)
        self.trainable_parameters = count_trainable(self.head)
        place = folder / f"{self.name}.pt" if folder else None
        first = len(profile.staged.learning_rates) + 1
        done = train_staged(
            self.head, examples, validation, profile.staged, seed, first, checkpoint=place
        )
        self.history = pd.concat([self.history, done.table()], ignore_index=True)


@dataclass(frozen=True)
class Examples:
    """Features float32 [n, width] and classes int64 [n]."""

    features: np.ndarray
    labels: np.ndarray

    def digest(self) -> str:
        """Changes when a feature or a label does."""
        return fingerprint(self.features.shape, self.features.tobytes(), self.labels.tobytes())


@dataclass
class Progress:
    """The state between stages: the best parameters so far, their score, and every epoch."""

    best_state: dict[str, torch.Tensor]
    best_f1: float
    history: list[dict] = field(default_factory=list)

    def table(self) -> pd.DataFrame:
        """One row per epoch: stage, epoch, learning_rate, train_loss, val_macro_f1, best,
        seconds."""
        return pd.DataFrame(self.history)


def train_staged(
    head: nn.Linear,
    train: Examples,
    val: Examples,
    settings: StagedTraining,
    seed: int = 0,
    first_stage: int = 1,
    checkpoint: Path | None = None,
    progress: bool = True,
) -> Progress:
    """Train ``head`` by stages, one per learning rate, and leave the best parameters in it.

    Parameters
    ----------
    head : its trainable parameters are trained; `classifier.new_head` or `adapt_head` makes one.
    first_stage : the number the first stage gets in the history.
    checkpoint : file that keeps finished stages; a second call goes on after the last of them.

    Returns
    -------
    The best parameters, their validation macro-F1 (never below the one before training), and the
    history.
    """
    key = fingerprint(
        closure_fingerprint("methods/course.py"),
        settings, seed, first_stage, head, getattr(head, "scaling", None),
        train.digest(), val.digest(),
        [t.numpy().tobytes() for t in head.state_dict().values()],
    )  # fmt: skip
    saved = load_checkpoint(checkpoint, key) if checkpoint else None
    so_far = Progress(trainable_state(head), macro_f1(val.labels, _predict(head, val)))
    if saved:
        so_far = Progress(saved["best_state"], saved["best_f1"], saved["history"])
    done = len(so_far.history) // settings.epochs
    if done and progress:
        print(f"training: {done} of {len(settings.learning_rates)} stages were finished before")
    for number in range(done, len(settings.learning_rates)):
        head.load_state_dict(so_far.best_state, strict=False)
        train_stage(head, train, val, settings, number, seed, first_stage, so_far, progress)
        if checkpoint:
            save_checkpoint(checkpoint, key, dict(vars(so_far)))
    head.load_state_dict(so_far.best_state, strict=False)
    head.eval()
    return so_far


def train_stage(
    head: nn.Linear,
    train: Examples,
    val: Examples,
    settings: StagedTraining,
    number: int,
    seed: int,
    first_stage: int,
    so_far: Progress,
    progress: bool = True,
) -> None:
    """Epochs at ``settings.learning_rates[number]`` with a fresh Adam; updates ``so_far``."""
    rate = settings.learning_rates[number]
    optimizer = Adam([p for p in head.parameters() if p.requires_grad], lr=rate)
    generator = torch.Generator().manual_seed(seed + 1000 * (first_stage + number))
    steps = settings.epochs * -(-len(train.labels) // settings.batch_size)
    with (
        one_thread(),
        torch.random.fork_rng(devices=[]),
        tqdm(total=steps, desc=f"rate {rate:g}", unit="step", disable=not progress) as bar,
    ):
        torch.manual_seed(int(torch.randint(2**31, (1,), generator=generator)))  # for dropout
        for epoch in range(1, settings.epochs + 1):
            begun = time.perf_counter()
            loss = _epoch(head, train, optimizer, settings.batch_size, generator, bar)
            score = macro_f1(val.labels, _predict(head, val))
            improved = score > so_far.best_f1
            if improved:
                so_far.best_f1, so_far.best_state = score, trainable_state(head)
            so_far.history.append(
                {"stage": first_stage + number, "epoch": epoch, "learning_rate": rate,
                 "train_loss": loss, "val_macro_f1": score, "best": improved,
                 "seconds": time.perf_counter() - begun}
            )  # fmt: skip


def _epoch(head, train: Examples, optimizer, batch_size: int, generator, bar) -> float:
    """One pass over the examples in a new order; returns the mean loss."""
    head.train()
    order = torch.randperm(len(train.labels), generator=generator)
    features = torch.from_numpy(train.features)[order].split(batch_size)
    targets = F.one_hot(torch.from_numpy(train.labels)[order], NUM_CLASSES).float()
    total = torch.zeros(())
    for x, target in zip(features, targets.split(batch_size), strict=True):
        total += set_gradients(head, x, target) * len(x)
        optimizer.step()
    bar.update(len(features))
    return float(total) / len(train.labels)


def _predict(head: nn.Linear, examples: Examples) -> np.ndarray:
    return logits(head, examples.features).argmax(axis=1)
