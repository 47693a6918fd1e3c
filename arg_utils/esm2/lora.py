"""Low-rank adaptation (LoRA, arXiv:2106.09685) with loralib: inject, mark trainable, save, load."""

from collections.abc import Collection, Iterable
from pathlib import Path

import loralib
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from arg_utils.errors import UserError
from arg_utils.files import atomic_path

ATTENTION_MODULES = ("q_proj", "k_proj", "v_proj", "out_proj")
BLOCK_MODULES = (*ATTENTION_MODULES, "fc1", "fc2")


def to_lora(linear: nn.Linear, r: int, alpha: int, dropout: float = 0.0) -> loralib.Linear:
    """A ``loralib.Linear`` that holds the trained weights of ``linear`` and computes the same.

    ``merge_weights`` is off: loralib otherwise adds the update into the weight in ``eval()``, and a
    state saved then and loaded into a fresh module applies it twice.
    """
    adapted = loralib.Linear(
        linear.in_features, linear.out_features, r=r, lora_alpha=alpha, lora_dropout=dropout,
        merge_weights=False, bias=linear.bias is not None,
    )  # fmt: skip
    with torch.no_grad():
        adapted.weight.copy_(linear.weight)
        if linear.bias is not None:
            adapted.bias.copy_(linear.bias)
    adapted.train(linear.training)  # loralib's train() returns None: not to be chained
    return adapted.to(linear.weight.device)


def inject(
    layers: Iterable[nn.Module],
    r: int,
    alpha: int,
    dropout: float = 0.0,
    modules: Collection[str] = BLOCK_MODULES,
) -> list[str]:
    """Replace the linear layers called ``modules`` in every block of ``layers`` by LoRA ones.

    Returns
    -------
    The dotted names replaced (``0.self_attn.q_proj``).

    Raises
    ------
    ValueError
        If a name in ``modules`` does not occur in a block.
    """
    replaced = []
    for number, layer in enumerate(layers):
        linears = {n: m for n, m in layer.named_modules() if isinstance(m, nn.Linear)}
        chosen = {n: m for n, m in linears.items() if n.rpartition(".")[2] in modules}
        absent = set(modules) - {n.rpartition(".")[2] for n in chosen}
        if absent:
            raise ValueError(f"block {number} has no linear layer called {sorted(absent)}")
        for name, linear in chosen.items():
            parent, _, leaf = name.rpartition(".")
            setattr(layer.get_submodule(parent), leaf, to_lora(linear, r, alpha, dropout))
            replaced.append(f"{number}.{name}")
    return replaced


def mark_trainable(model: nn.Module, also: Collection[str] = ()) -> list[str]:
    """Let only LoRA parameters, and those under the prefixes ``also``, receive gradients.

    ``loralib.mark_only_lora_as_trainable`` freezes a fresh head too; name it in ``also``.

    Returns
    -------
    The names of the trainable parameters.
    """
    loralib.mark_only_lora_as_trainable(model)
    for name, parameter in model.named_parameters():
        if any(name == prefix or name.startswith(f"{prefix}.") for prefix in also):
            parameter.requires_grad = True
    return [name for name, parameter in model.named_parameters() if parameter.requires_grad]


def trainable_state(model: nn.Module) -> dict[str, torch.Tensor]:
    """Copies of the trainable parameters, on the CPU."""
    return {
        name: parameter.detach().cpu().clone()
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    }


def save_state(state: dict[str, torch.Tensor], path: Path | str, **metadata: str) -> None:
    """Write tensors to a safetensors file, whole or not at all."""
    with atomic_path(path) as temporary:
        save_file({n: t.contiguous() for n, t in state.items()}, temporary, metadata=metadata)


def load_state(model: nn.Module, path: Path | str) -> None:
    """Put what `save_state` wrote into the parameters of ``model`` that it names.

    Raises
    ------
    UserError
        If the file is missing or damaged, or is not of this model: it lacks a trainable parameter,
        or holds one that ``model`` has not, or not in that shape.
    """
    try:
        state = load_file(path)
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path} cannot be read as saved parameters ({error}).") from error
    own = dict(model.named_parameters())
    wrong = {n for n, t in state.items() if n not in own or own[n].shape != t.shape}
    wrong |= {name for name, p in own.items() if p.requires_grad} - set(state)
    if wrong:
        raise UserError(f"{path} does not belong to this model: they differ in {min(wrong)}.")
    model.load_state_dict(state, strict=False)


def count_trainable(model: nn.Module) -> int:
    """How many numbers receive gradients."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)
