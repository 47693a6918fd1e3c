"""The classifier on one vector a protein: a linear layer with 15 outputs, plain or with LoRA.

Its gradient under cross-entropy is written down rather than traced: at the course's batch size of
four, automatic differentiation costs several times the arithmetic. A test pins it to autograd.
"""

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
    """Probabilities [n, 15] of logits [n, 15]."""
    return torch.softmax(torch.as_tensor(scores).double(), dim=1).float().numpy()


@torch.no_grad()
def set_gradients(head: nn.Linear, x: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Set the gradients of the mean cross-entropy on one batch; returns that loss (a scalar).

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
    """Derivative of the mean cross-entropy by the scores, and the loss itself."""
    log_probability = torch.log_softmax(scores, dim=1)
    loss = -(log_probability * target).sum() / len(scores)
    return (log_probability.exp_() - target) / len(scores), loss
