"""What lies between the products of a transformer block, in one pass over memory each."""

import ctypes

import torch
import torch.nn.functional as F
from torch import nn

from arg_utils.esm2.kernel import Kernel


def torch_add_norm(
    hidden: torch.Tensor, update: torch.Tensor | None, norm: nn.LayerNorm, precision: torch.dtype
) -> tuple[torch.Tensor, torch.Tensor]:
    """The residual stream float32 [N, width] after ``update`` (if any), and its normalisation."""
    after = hidden if update is None else hidden + update
    normed = F.layer_norm(after, norm.normalized_shape, norm.weight, norm.bias, norm.eps)
    return after, normed.to(precision)


def kernel_add_norm(
    kernel: Kernel, hidden: torch.Tensor, update: torch.Tensor, norm: nn.LayerNorm
) -> tuple[torch.Tensor, torch.Tensor]:
    """The same by the kernel; without gradients written into ``hidden``, and ``norm`` gets none."""
    if torch.is_grad_enabled() and (hidden.requires_grad or update.requires_grad):
        return _AddNorm.apply(hidden, update, norm.weight.detach(), norm.bias, norm.eps, kernel)
    return _add_norm(kernel, hidden.contiguous(), update, norm.weight, norm.bias, norm.eps)


def _add_norm(kernel, hidden, update, gain, bias, eps, after=None, moments=None):
    after, normed = hidden if after is None else after, torch.empty_like(update)
    kernel.call("add_norm_forward", hidden, update.contiguous(), gain, bias, after, normed, moments,
                ctypes.c_int64(len(hidden)), hidden.shape[1], eps,
                int(update.dtype == torch.bfloat16))  # fmt: skip
    return after, normed


class _AddNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx, hidden, update, gain, bias, eps, kernel):
        after, moments = torch.empty_like(hidden), hidden.new_empty(len(hidden), 2)
        after, normed = _add_norm(kernel, hidden, update, gain, bias, eps, after, moments)
        ctx.save_for_backward(after, moments, gain)
        ctx.kernel = kernel
        return after, normed

    @staticmethod
    def backward(ctx, grad_after, grad_normed):
        after, moments, gain = ctx.saved_tensors
        grad_hidden, grad_update = torch.empty_like(after), torch.empty_like(grad_normed)
        ctx.kernel.call("add_norm_backward", after, moments, gain, grad_after.contiguous(),
                        grad_normed.contiguous(), grad_hidden, grad_update,
                        ctypes.c_int64(len(after)), after.shape[1],
                        int(grad_normed.dtype == torch.bfloat16))  # fmt: skip
        return grad_hidden, grad_update, None, None, None, None


def kernel_gelu(kernel: Kernel, x: torch.Tensor) -> torch.Tensor:
    """Exact GELU, x times the normal distribution function, of a multiple of 16 numbers.

    Without gradients it is written into ``x``.
    """
    if torch.is_grad_enabled() and x.requires_grad:
        return _Gelu.apply(x.contiguous(), kernel)
    x = x.contiguous()
    return _gelu(kernel, "gelu_forward", x, x)


def _gelu(kernel, name: str, *tensors: torch.Tensor) -> torch.Tensor:
    bfloat = int(tensors[0].dtype == torch.bfloat16)
    kernel.call(name, *tensors, ctypes.c_int64(tensors[0].numel()), bfloat)
    return tensors[-1]


class _Gelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, kernel):
        ctx.save_for_backward(x)
        ctx.kernel = kernel
        return _gelu(kernel, "gelu_forward", x, torch.empty_like(x))

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return _gelu(ctx.kernel, "gelu_backward", x, grad.contiguous(), torch.empty_like(x)), None
