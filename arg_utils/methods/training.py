"""The course's protocol: Adam, macro-F1 watched, the best kept, the rate divided by ten, again.

One stage is some epochs at one learning rate with a fresh Adam; the parameters of the epoch with
the best validation macro-F1 are kept, and the next stage goes on from the best so far.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import nn
from tqdm import tqdm

from arg_utils.esm2.lora import trainable_state
from arg_utils.files import fingerprint, load_checkpoint, save_checkpoint
from arg_utils.labels import NUM_CLASSES
from arg_utils.methods.classifier import logits, set_gradients
from arg_utils.metrics.scores import macro_f1
from arg_utils.settings import StagedTraining


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
        """One row an epoch: stage, epoch, learning_rate, train_loss, val_macro_f1,
        best, seconds."""
        return pd.DataFrame(self.history)


@contextmanager
def one_thread() -> Iterator[None]:
    """PyTorch on one thread: waking a second one costs more than these small products."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


class Adam:
    """Adam (arXiv:1412.6980) with the usual constants, all parameters as one vector.

    The same update as ``torch.optim.Adam``'s (a test pins it), in five operations a step: at four
    examples a step, that optimizer's bookkeeping takes most of the time.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], lr: float) -> None:
        self.parameters, self.lr, self.steps = list(parameters), lr, 0
        self.values = torch.cat([p.detach().flatten() for p in self.parameters])
        sizes = [p.numel() for p in self.parameters]
        for parameter, view in zip(self.parameters, self.values.split(sizes), strict=True):
            parameter.data = view.view_as(parameter)
        self.mean, self.square = torch.zeros_like(self.values), torch.zeros_like(self.values)

    @torch.no_grad()
    def step(self) -> None:
        """Update every parameter by its ``grad``."""
        self.steps += 1
        slope = torch.cat([p.grad.flatten() for p in self.parameters])
        self.mean.lerp_(slope, 0.1)
        self.square.mul_(0.999).addcmul_(slope, slope, value=0.001)
        spread = self.square.sqrt().mul_((1 - 0.999**self.steps) ** -0.5).add_(1e-8)
        self.values.addcdiv_(self.mean, spread, value=-self.lr / (1 - 0.9**self.steps))


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
    """Train ``head`` by stages, one a learning rate, and leave the best parameters in it.

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
        settings, seed, first_stage, head, getattr(head, "scaling", None),
        train.digest(), val.digest(),
        [t.numpy().tobytes() for t in head.state_dict().values()],
    )  # fmt: skip
    kept = load_checkpoint(checkpoint, key) if checkpoint else None
    so_far = Progress(trainable_state(head), macro_f1(val.labels, _predict(head, val)))
    if kept:
        so_far = Progress(kept["best_state"], kept["best_f1"], kept["history"])
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
