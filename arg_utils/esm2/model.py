"""ESM-2 for features: fair-esm's modules, packed sequences, no padding, no language-model head.

Same numbers as ``esm.ESM2.forward`` (pinned by tests), reached faster: sequences of a batch lie end
to end, so no product is spent on padding; q, k and v come out of one product; attention runs in
`attention`; linear layers run in bfloat16 where the processor multiplies it natively, while the
residual stream and the normalisations stay in float32.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import esm
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from arg_utils.errors import UserError
from arg_utils.esm2 import fastest
from arg_utils.esm2.attention import Matrix, Packing, add_norm, attention, gelu
from arg_utils.esm2.batches import ALPHABET, encode
from arg_utils.esm2.kernel import FORMS, chosen_form, supported_forms
from arg_utils.esm2.lora import Factors, is_adapted, lora_factors, merged_product
from arg_utils.esm2.weights import HEADS, LAYERS, WIDTH, Weights, load_weights

TOKEN_DROPOUT = 1 - 0.15 * 0.8  # fair-esm scales embeddings by this when nothing is masked


def best_precision(device: torch.device | str = "cpu") -> torch.dtype:
    """bfloat16 where ``device`` multiplies it natively and clearly faster, else float32.

    ``ARG_PRECISION`` (``bfloat16`` or ``float32``) overrides; a form of the kernel that
    ``ARG_ATTENTION`` names counts as what the processor has.
    """
    choice = os.environ.get("ARG_PRECISION")
    if choice:
        if choice not in ("bfloat16", "float32"):
            raise UserError(f"ARG_PRECISION is {choice!r}; set it to bfloat16 or float32.")
        return getattr(torch, choice)
    if torch.device(device).type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if native else torch.float32
    form = FORMS.get(chosen_form() or "", supported_forms()[0])
    return torch.bfloat16 if form.bfloat16 and fastest.bfloat16_pays() else torch.float32


def best_device() -> torch.device:
    """A CUDA device if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Esm2(nn.Module):
    """ESM-2 8M as a feature extractor: packed tokens in, hidden states out.

    ``weights`` are by default those `load_weights` finds, ``precision`` (of the linear layers'
    products) is by default `best_precision`.
    """

    def __init__(self, weights: Weights | None = None, precision: torch.dtype | None = None):
        super().__init__()
        self.weights = weights or load_weights()
        base = esm.ESM2(LAYERS, WIDTH, HEADS, alphabet=ALPHABET)
        self.embed_tokens, self.layers = base.embed_tokens, base.layers
        self.emb_layer_norm_after = base.emb_layer_norm_after
        self.load_state_dict(self.weights.state, strict=False)  # rotary tables are not in there
        self.requires_grad_(False)
        self.precision = precision or best_precision()
        self._frozen: dict[int, tuple[list, Matrix]] = {}
        self._merged: dict[int, Matrix] | None = None

    @property
    def device(self) -> torch.device:
        """Where the parameters lie."""
        return self.embed_tokens.weight.device

    def pack(self, sequences: Sequence[str]) -> tuple[torch.Tensor, Packing]:
        """Tokens of all sequences end to end, int64 [N], padded at the end; and their places."""
        tokens = [encode(sequence) for sequence in sequences]
        packing = Packing.from_lengths([len(t) for t in tokens], self.device)
        spare = np.full(packing.rows - packing.used, ALPHABET.padding_idx)
        return torch.from_numpy(np.concatenate([*tokens, spare])).to(self.device), packing

    def forward(
        self, tokens: torch.Tensor, packing: Packing, layers: Sequence[int] = (LAYERS,)
    ) -> list[torch.Tensor]:
        """Hidden states after the given layers (0: embeddings; 6: the last, normalised).

        One float32 [N, 320] per layer asked for, in the order asked.
        """
        hidden, update = self.embed(tokens), None
        states = {0: hidden.clone()} if 0 in layers else {}
        for index in range(max(layers)):
            hidden, update = self.block(index, hidden, update, packing)
            if index + 1 in layers:
                states[index + 1] = hidden + update
        if LAYERS in layers:
            states[LAYERS] = self.final_norm(hidden, update)
        return [states[layer] for layer in layers]

    def embed(self, tokens: torch.Tensor) -> torch.Tensor:
        """Embeddings of unmasked tokens, float32 [N, 320], scaled as in training."""
        return self.embed_tokens(tokens) * TOKEN_DROPOUT

    def final_norm(self, hidden: torch.Tensor, update: torch.Tensor | None) -> torch.Tensor:
        """The normalisation after the last block, float32 [N, 320]."""
        return self.emb_layer_norm_after(hidden if update is None else hidden + update)

    def block(
        self, index: int, hidden: torch.Tensor, update: torch.Tensor | None, packing: Packing
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """One transformer block on the residual stream, float32 [N, 320].

        The stream goes in and comes out as two terms, ``hidden`` and an ``update`` still to be
        added: their sum is formed together with its normalisation. Without gradients, ``hidden``
        is overwritten.
        """
        layer, kernel = self.layers[index], fastest.kernel_for(hidden.device, self.precision)
        attend, norms = layer.self_attn, (layer.self_attn_layer_norm, layer.final_layer_norm)
        hidden, normed = add_norm(hidden, update, norms[0], self.precision, kernel)
        qkv = self._project((attend.q_proj, attend.k_proj, attend.v_proj), normed)
        mixed = attention(qkv.view(len(hidden), 3, HEADS, WIDTH // HEADS), packing, kernel)
        update = self._project((attend.out_proj,), mixed.flatten(1))
        hidden, normed = add_norm(hidden, update, norms[1], self.precision, kernel)
        wide = gelu(self._project((layer.fc1,), normed), kernel)
        return hidden, self._project((layer.fc2,), wide)

    def _project(self, modules: tuple[nn.Linear, ...], x: torch.Tensor) -> torch.Tensor:
        """Outputs of linear layers side by side, by one product; LoRA on any of them included."""
        adapted = [module for module in modules if is_adapted(module)]
        trained = any(m.weight.requires_grad or m.bias.requires_grad for m in modules)
        dropout: Any = adapted[0].lora_dropout if adapted else None  # a module, or a function
        drops = self.training and isinstance(dropout, nn.Dropout) and dropout.p > 0
        factors = lora_factors(modules) if adapted else []
        if trained:
            base = F.linear(x, *self._stack(modules))
        elif factors and not drops:
            kernel = fastest.kernel_for(x.device, self.precision)
            return merged_product(x, factors, self._merge(modules, factors), kernel)
        else:
            base = merged_product(x, (), self._matrix(modules))
        if not factors:
            return base
        dropped = dropout(x)
        pairs = ((down.to(x.dtype), up.to(x.dtype)) for down, up in factors)
        return base + torch.cat([dropped @ down.T @ up.T for down, up in pairs], dim=1)

    def _matrix(self, modules: tuple[nn.Linear, ...]) -> Matrix:
        """The layers as one matrix in the working precision; kept, for they are frozen."""
        tensors = [t for module in modules for t in (module.weight, module.bias)]
        state = [self.precision, *((t.data_ptr(), t._version) for t in tensors)]
        found = self._frozen.get(id(modules[0]))
        if found is None or found[0] != state:
            # Tensors born in inference mode could not take part in a later backward pass.
            with torch.inference_mode(False), torch.no_grad():
                found = self._frozen[id(modules[0])] = state, Matrix.new(*self._stack(modules))
        return found[1]

    def _merge(self, modules: tuple[nn.Linear, ...], factors: Sequence[Factors]) -> Matrix:
        """The same with LoRA's updates added, anew each time unless no parameter can have changed.

        A fused optimizer changes them without raising their version, so nothing tells when.
        """
        merged = {} if self._merged is None else self._merged
        if id(modules[0]) not in merged:
            with torch.no_grad():
                merged[id(modules[0])] = Matrix.new(*self._stack(modules, factors))
        return merged[id(modules[0])]

    def _stack(
        self, modules: tuple[nn.Linear, ...], factors: Sequence[Factors] = ()
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Weights and biases side by side, with LoRA's updates if ``factors`` give them."""
        weights: list[torch.Tensor] = [module.weight for module in modules]
        for place, (down, up) in enumerate(factors):
            weights[place] = torch.addmm(weights[place], up, down)
        weight = torch.cat(weights) if len(modules) > 1 else weights[0]
        bias = torch.cat([m.bias for m in modules]) if len(modules) > 1 else modules[0].bias
        return weight.to(self.precision), bias.to(self.precision)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_frozen": {}}  # what oneDNN has ordered cannot be copied

    @contextmanager
    def parameters_fixed(self) -> Iterator[None]:
        """While inside, no parameter changes: LoRA's updates are added to the weights once only."""
        self._merged = {}
        try:
            yield
        finally:
            self._merged = None
