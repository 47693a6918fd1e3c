"""The classifier on one vector per protein: a linear layer of 15 outputs, plain or with LoRA.

Also its optimizer: at the course's batch size of four, the bookkeeping of PyTorch's own costs
several times the arithmetic.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import loralib
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from arg_utils.esm2.lora import mark_trainable, to_lora
from arg_utils.labels import NUM_CLASSES
from arg_utils.settings import LoraClassifier


def new_head(width: int, seed: int) -> nn.Linear:
    """A linear layer of ``width`` inputs and 15 outputs, initialised as PyTorch does."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Linear(width, NUM_CLASSES)


def adapt_head(head: nn.Linear, settings: LoraClassifier, seed: int) -> loralib.Linear:
    """``head`` as a LoRA layer holding its trained weights; only the LoRA factors may train."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        adapted = to_lora(head, settings.r, settings.alpha, settings.dropout)
    mark_trainable(adapted)
    return adapted


def merged_head(head: nn.Linear) -> nn.Linear:
    """A plain linear layer that computes what ``head``, LoRA or not, computes."""
    plain = nn.Linear(head.in_features, head.out_features)
    with torch.no_grad():
        plain.weight.copy_(head.weight)
        plain.bias.copy_(head.bias)
        if isinstance(head, loralib.Linear):
            plain.weight.add_(head.lora_B @ head.lora_A, alpha=head.scaling)
    return plain


def logits(head: nn.Linear, features: np.ndarray | torch.Tensor) -> np.ndarray:
    """Scores before the softmax, float32 [n, 15], of features [n, width], with dropout off."""
    was_training = head.training
    head.eval()
    with torch.inference_mode():
        scores = head(torch.as_tensor(features)).numpy()
    head.train(was_training)
    return scores


def softmax(scores: np.ndarray) -> np.ndarray:
    """Probabilities float32 [n, 15] of logits [n, 15]."""
    return torch.softmax(torch.as_tensor(scores).double(), dim=1).float().numpy()


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
    examples per step, that optimizer's bookkeeping takes most of the time.
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
        slope = torch.cat([p.grad.flatten() for p in self.parameters if p.grad is not None])
        self.mean.lerp_(slope, 0.1)
        self.square.mul_(0.999).addcmul_(slope, slope, value=0.001)
        spread = self.square.sqrt().mul_((1 - 0.999**self.steps) ** -0.5).add_(1e-8)
        self.values.addcdiv_(self.mean, spread, value=-self.lr / (1 - 0.9**self.steps))


@torch.no_grad()
def set_gradients(head: nn.Linear, x: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Set the gradients of the mean cross-entropy on one batch; returns that loss (a scalar).

    They are written down rather than traced: at a batch size of four, automatic differentiation
    costs several times the arithmetic. A test pins them to autograd's.

    Parameters
    ----------
    head : a linear layer, or a `loralib.Linear` of which only the factors train.
    x : float32 [batch, width].
    target : one-hot, float32 [batch, 15].
    """
    scores = F.linear(x, head.weight, head.bias)
    if not isinstance(head, loralib.Linear):
        slope, loss = _slope(scores, target)
        head.weight.grad, head.bias.grad = slope.T @ x, slope.sum(0)
        return loss
    dropped = head.lora_dropout(x)
    low = dropped @ head.lora_A.T
    slope, loss = _slope(scores.addmm_(low, head.lora_B.T, alpha=head.scaling), target)
    slope *= head.scaling
    head.lora_B.grad, head.lora_A.grad = slope.T @ low, (slope @ head.lora_B).T @ dropped
    return loss


def _slope(scores: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Derivative of the mean cross-entropy with respect to the scores, and the loss itself."""
    log_probability = torch.log_softmax(scores, dim=1)
    loss = -(log_probability * target).sum() / len(scores)
    return (log_probability.exp_() - target) / len(scores), loss
