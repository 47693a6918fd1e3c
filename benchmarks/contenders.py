"""What is compared: ways to run ESM-2 8M, each as its users run it, on the same weights.

- ``naive``: fair-esm's own ``esm.ESM2.forward``, language-model head included, batches of 4 in file
  order, float32; for training, loralib in the same linear layers.
- ``hf``: ``transformers`` with scaled dot-product attention, batches of 8 sorted by length, float32
  (``hf_bfloat16``: under autocast); for training, PEFT. It gets this library's fast tokens.
- ``ours``: this library with its defaults; ``ours_float32``, ``ours_sdpa`` (PyTorch's attention
  instead of the compiled kernel) and ``ours_top3`` (LoRA in the top three blocks) take one part
  away or change one setting.
- ``esm_cpp``: features alone, where it is installed: esm.cpp with its defaults, float32, one
  sequence a call, as its only call for hidden states takes them (`benchmarks.esm_cpp`).
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace

import esm
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from arg_utils.data.proteins import Proteins
from arg_utils.esm2 import fastest
from arg_utils.esm2.batches import (
    BATCH_TOKENS,
    MAX_RESIDUES,
    in_parallel,
    shuffled_batches,
    token_batches,
)
from arg_utils.esm2.embeddings import pool
from arg_utils.esm2.lora import inject
from arg_utils.esm2.model import Esm2, best_device, best_precision
from arg_utils.esm2.weights import HEADS, LAYERS, WIDTH, Weights
from arg_utils.labels import NUM_CLASSES
from arg_utils.methods.classifier import ProteinClassifier, set_gradients
from arg_utils.methods.course import new_head
from arg_utils.settings import LoraBlocks
from benchmarks import esm_cpp
from benchmarks.batches import PADDING, by_length, file_order, mean_residue, padded
from benchmarks.hugging_face import add_peft, new_classifier

LORA = LoraBlocks(top_blocks=LAYERS)
LEARNING_RATE = 1e-3


@dataclass(frozen=True)
class Contender:
    """One way to do a task.

    Attributes
    ----------
    batches : lengths in tokens -> indices of each batch.
    work : sequences and classes int64 [B] -> features [B, 320], or one training step -> loss.
    side_by_side : whether batches run in threads of their own, as this library's features do.
    """

    name: str
    label: str
    precision: str
    batches: Callable[[Sequence[int]], Iterable[np.ndarray]]
    work: Callable[[list[str], torch.Tensor], torch.Tensor]
    side_by_side: bool = False

    def run(self, sequences: Sequence[str], labels: Sequence[int]) -> np.ndarray | None:
        """All batches; features float32 [n, 320] in the order given, or None after training."""
        out, labels = None, torch.as_tensor(np.asarray(labels))
        batches = list(self.batches([len(s) + 2 for s in sequences]))

        def work(batch: np.ndarray) -> np.ndarray:
            return self.work([sequences[i] for i in batch], labels[batch]).float().cpu().numpy()

        with kernel_of(self.name):  # once: threads that each restore it would leave it off
            results = in_parallel(work, batches) if self.side_by_side else map(work, batches)
            for batch, result in zip(batches, results, strict=True):
                if result.ndim == 2:
                    out = np.empty((len(sequences), WIDTH), np.float32) if out is None else out
                    out[batch] = result
        return out


@contextmanager
def without_kernel() -> Iterator[None]:
    """What ``ARG_ATTENTION=torch`` does, for a while."""
    proven, fastest.kernel_for = fastest.kernel_for, lambda *_: None
    try:
        yield
    finally:
        fastest.kernel_for = proven


def naive_model(weights: Weights, device: torch.device) -> tuple[nn.Module, Callable]:
    """fair-esm's model, and what turns sequences into its mean-pooled features [B, 320]."""
    alphabet = esm.Alphabet.from_architecture("ESM-1b")
    model = esm.ESM2(LAYERS, WIDTH, HEADS, alphabet=alphabet)
    absent = model.load_state_dict(weights.state, strict=False).missing_keys
    fixed = ("lm_head.", "contact_head.")  # not in the weights, not in the features
    if wrong := [n for n in absent if not (n.startswith(fixed) or n.endswith(".inv_freq"))]:
        raise RuntimeError(f"weights lack {wrong}")
    convert = alphabet.get_batch_converter(MAX_RESIDUES)

    def features(sequences: list[str]) -> torch.Tensor:
        _, _, tokens = convert([("", sequence) for sequence in sequences])
        tokens = tokens.to(device)
        states = model(tokens, repr_layers=[LAYERS])["representations"][LAYERS]
        return mean_residue(states, tokens.ne(PADDING).sum(1))

    return model.to(device), features


def features_contender(name: str, weights: Weights) -> Contender:
    """A contender for frozen features: mean over residues of the last layer."""
    device = best_device()
    if name == "naive":
        model, features = naive_model(weights, device)
        model.eval()

        def work(sequences, labels):
            with torch.no_grad():
                return features(sequences)

        return Contender(name, LABELS[name], "float32", file_order, work)
    if name.startswith("hf"):
        model = new_classifier(weights).to(device).eval().esm

        def work(sequences, labels):
            tokens, lengths = padded(sequences, device)
            with torch.inference_mode(), autocast(name, device):
                states = model(tokens, attention_mask=tokens.ne(PADDING).long()).last_hidden_state
                return mean_residue(states.float(), lengths)

        return Contender(name, LABELS[name], precision_of(name, device), by_length, work)
    if name == "esm_cpp":
        its_features = esm_cpp.new_features(weights)

        def work(sequences, labels):
            return its_features(sequences)

        return Contender(name, LABELS[name], esm_cpp.precision(), file_order, work)
    model = Esm2(weights, getattr(torch, precision_of(name, device))).to(device)

    def work(sequences, labels):
        with torch.inference_mode():
            tokens, packing = model.pack(sequences)
            return pool(model(tokens, packing)[0], packing, "mean")

    def batches(lengths):
        return token_batches(lengths, BATCH_TOKENS)

    return Contender(name, LABELS[name], precision_of(name, device), batches, work, True)


def training_contender(name: str, weights: Weights, seed: int = 0) -> Contender:
    """A contender for LoRA in all blocks: forward, backward and a step of AdamW a batch."""
    device, head = best_device(), new_head(WIDTH, seed)
    precision = precision_of(name, device)
    torch.manual_seed(seed)
    if name == "naive":
        backbone, features = naive_model(weights, device)
        backbone.requires_grad_(False)
        inject(backbone.layers, LORA.modules, LORA.r, LORA.alpha, LORA.dropout)
        for key, parameter in backbone.named_parameters():
            parameter.requires_grad = "lora_" in key
        model = nn.ModuleList([backbone, head.to(device)])
        step = stepper(model, lambda sequences: head(features(sequences)), device)
        return Contender(name, LABELS[name], precision, file_order, step)
    if name.startswith("hf"):
        model = add_peft(new_classifier(weights), LORA).to(device)

        def logits(sequences):
            tokens, _ = padded(sequences, device)
            with autocast(name, device):
                return model(input_ids=tokens, attention_mask=tokens.ne(PADDING).long()).logits

        return Contender(name, LABELS[name], precision, by_length, stepper(model, logits, device))
    settings = replace(LORA, top_blocks=3 if name == "ours_top3" else LAYERS)
    model = ProteinClassifier(head, settings, weights, getattr(torch, precision), seed)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=LEARNING_RATE, fused=True)
    shift = torch.zeros(NUM_CLASSES, device=device)
    model.train()

    def work(sequences, labels):
        proteins = Proteins(sequences, labels.numpy())
        loss = set_gradients(model, proteins, np.arange(len(sequences)), shift, trained)
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        return torch.tensor(loss)

    def batches(lengths):
        return shuffled_batches(lengths, settings.batch_tokens, np.random.default_rng(seed))

    return Contender(name, LABELS[name], precision, batches, work)


def stepper(model: nn.Module, logits: Callable, device: torch.device):
    """A training step on what of ``model`` may train, as a loop over batches is usually written."""
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=LEARNING_RATE)
    model.train()

    def step(sequences: list[str], labels: torch.Tensor) -> torch.Tensor:
        scores = logits(sequences)
        if scores.shape != (len(sequences), NUM_CLASSES):
            raise RuntimeError(f"logits of shape {tuple(scores.shape)}")
        loss = F.cross_entropy(scores.float(), labels.to(device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def precision_of(name: str, device: torch.device) -> str:
    """The number type of a contender's products, as PyTorch calls it."""
    if name in ("naive", "hf", "ours_float32"):
        return "float32"
    return str(best_precision(device)).removeprefix("torch.")


def autocast(name: str, device: torch.device):
    """bfloat16 autocast for ``hf_bfloat16``, else nothing."""
    wanted = name == "hf_bfloat16"
    return torch.autocast(device.type, torch.bfloat16) if wanted else nullcontext()


def kernel_of(name: str):
    """The attention a contender of ours uses: the compiled kernel unless it is ``ours_sdpa``."""
    return without_kernel() if name == "ours_sdpa" else nullcontext()


LABELS = {
    "naive": "fair-esm, batch 4, file order",
    "hf": "transformers + PEFT, SDPA, batch 8, sorted",
    "hf_bfloat16": "the same under bfloat16 autocast",
    "esm_cpp": "esm-cpp, one sequence per call",
    "ours": "this library",
    "ours_float32": "… in float32",
    "ours_sdpa": "… with PyTorch's attention",
    "ours_top3": "… LoRA in the top three blocks",
}


def names(task: str, native: bool) -> list[str]:
    """The contenders of ``features`` or ``training``; ``native``: the machine has bfloat16."""
    chosen = ["naive", "hf", *(["hf_bfloat16"] if native else []), "ours"]
    chosen += [*(["ours_float32"] if native else []), "ours_sdpa"]
    if task == "training":
        return [*chosen, "ours_top3"]
    return [*chosen, *(["esm_cpp"] if esm_cpp.joins() else [])]
