"""ESM-2 with a linear layer on top, to be trained together: the model, and one step's gradients."""

import time
from collections.abc import Sequence
from functools import cache, partial, reduce

import loralib
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from arg_utils.data.proteins import Proteins
from arg_utils.esm2 import lora, ranks
from arg_utils.esm2.batches import (
    MAX_RESIDUES,
    ResidueBar,
    even_parts,
    in_parallel,
    keep_freed_memory,
    token_batches,
)
from arg_utils.esm2.embeddings import pool
from arg_utils.esm2.fastest import once
from arg_utils.esm2.model import Esm2, best_device
from arg_utils.esm2.weights import LAYERS, WIDTH, Weights
from arg_utils.files import cache_dir
from arg_utils.labels import NUM_CLASSES
from arg_utils.methods import course
from arg_utils.settings import LoraBlocks

PART_TOKENS = 2048  # of a batch that one thread computes at a time
QUICK = 6000.0  # residues a second: profile laptop then trains LoRA in the blocks for four minutes
MEASURED_LENGTHS = (902, 702, 502, 402, 342, 302, 272, 242, 202, 152)  # residues, 4,040 tokens


class ProteinClassifier(nn.Module):
    """ESM-2, with LoRA in its top blocks or without, mean pooling, and a linear layer.

    ``head`` is a trained classifier on frozen mean-pooled features of the last layer. A fresh LoRA
    changes nothing, so training starts from exactly what it achieves. ``settings`` say which layers
    are adapted; ``r = 0`` trains every parameter of those blocks instead.
    """

    def __init__(
        self,
        head: nn.Linear,
        settings: LoraBlocks,
        weights: Weights | None = None,
        precision: torch.dtype | None = None,
        seed: int = 0,
    ):
        super().__init__()
        device = best_device()
        self.settings, self.first = settings, LAYERS - settings.top_blocks
        self.backbone = Esm2(weights, precision).to(device)
        self.head = lora.merged_linear(head).to(device)
        blocks = self.backbone.layers[self.first :]
        if settings.r:
            with course.seeded(seed):
                lora.inject(blocks, settings.modules, settings.r, settings.alpha, settings.dropout)
        loralib.mark_only_lora_as_trainable(self)  # freezes a fresh head, too
        self.head.requires_grad_()
        if not settings.r:
            blocks.requires_grad_()

    def forward(self, sequences: Sequence[str]) -> torch.Tensor:
        """Logits, float32 [n, 15]."""
        return self.head(self.features(sequences))

    def features(self, sequences: Sequence[str]) -> torch.Tensor:
        """Pooled last states, float32 [n, 320]; blocks below the first adapted without autograd."""
        tokens, packing = self.backbone.pack(sequences)
        with torch.no_grad():
            hidden, update = self.backbone.embed(tokens), None
            for index in range(self.first):
                hidden, update = self.backbone.block(index, hidden, update, packing)
        for index in range(self.first, LAYERS):
            hidden, update = self.backbone.block(index, hidden, update, packing)
        return pool(self.backbone.final_norm(hidden, update), packing, "mean")

    def all_features(self, sequences: Sequence[str], progress: bool = True) -> np.ndarray:
        """`features` of any number of sequences, in batches, without gradients or dropout."""
        self.eval()
        lengths = residues(sequences)
        rank, processes = ranks.place()
        batches = list(token_batches((lengths + 2).tolist()))[rank::processes]
        out = np.zeros((len(sequences), WIDTH), np.float32)

        @torch.inference_mode()
        def work(batch: np.ndarray) -> np.ndarray:
            return self.features([sequences[i] for i in batch]).cpu().numpy()

        bar = ResidueBar("ESM-2 + LoRA", lengths.tolist(), progress and rank == 0)
        with self.backbone.parameters_fixed(), bar:
            vectors = in_parallel(work, batches, self.backbone.device)
            for batch, rows in zip(batches, vectors, strict=True):
                out[batch] = rows
                bar.advance(lengths[batch].tolist())
        return ranks.add_up(torch.from_numpy(out)).numpy()

    def all_logits(self, sequences: Sequence[str], progress: bool = True) -> np.ndarray:
        """Logits float32 [n, 15] of any number of sequences."""
        return course.logits(lora.merged_linear(self.head), self.all_features(sequences, progress))


def residues(sequences: Sequence[str]) -> np.ndarray:
    """How many residues of each sequence ESM-2 sees, int64 [n]."""
    return np.array([min(len(sequence), MAX_RESIDUES) for sequence in sequences], dtype=np.int64)


def set_gradients(
    model: ProteinClassifier,
    train: Proteins,
    batch: np.ndarray,
    shift: torch.Tensor,
    trained: list[nn.Parameter],
) -> float:
    """Mean cross-entropy over a batch; its gradients go into ``trained``.

    Parts of the batch are computed by threads of their own, and by the processes of `ranks`, in
    turn. Which parts, and the order of their sums, depend on the batch alone, so that neither the
    number of threads nor that of processes changes a gradient. ``batch`` holds positions in
    ``train``, int64 [n]; ``shift``, float32 [15], is added to the logits.
    """
    device = model.backbone.device
    keep_freed_memory()

    def part_gradients(part: np.ndarray) -> torch.Tensor:  # all in one row, the loss at its end
        target = torch.from_numpy(train.labels[part]).to(device)
        with torch.enable_grad():
            scores = model([train.sequences[i] for i in part])
            loss = F.cross_entropy(scores + shift, target, reduction="sum") / len(batch)
            slopes = torch.autograd.grad(loss, trained)
        return torch.cat([*map(torch.flatten, slopes), loss.detach().reshape(1)])

    lengths = residues([train.sequences[i] for i in batch]) + 2
    parts = even_parts(batch, lengths.tolist(), PART_TOKENS)
    rank, processes = ranks.place()
    sizes = [parameter.numel() for parameter in trained]
    rows = torch.zeros(len(parts), sum(sizes) + 1, device=device)
    # Dropout draws from one generator: in a fixed order only one by one.
    side_by_side = map if model.settings.dropout else partial(in_parallel, device=device)
    with model.backbone.parameters_fixed():
        mine = side_by_side(part_gradients, parts[rank::processes])
        for row, computed in zip(rows[rank::processes], mine, strict=True):
            row.copy_(computed)
    *slopes, loss = reduce(torch.add, ranks.add_up(rows)).split([*sizes, 1])
    for parameter, slope in zip(trained, slopes, strict=True):
        parameter.grad = slope.view_as(parameter)
    return loss.item()


def share_shift(labels: np.ndarray, most: int | None) -> torch.Tensor:
    """Log of each class's share in a sample of at most ``most`` per class over its share in all.

    A capped sample has other class shares than the data. Added to the logits in the loss, this lets
    a model trained on the sample keep the data's own shares (logit adjustment, arXiv:2007.07314,
    used in the opposite direction).
    Float32 [15]; zero for a class without proteins.
    """
    counts = np.bincount(labels, minlength=NUM_CLASSES)
    capped = counts if most is None else np.minimum(counts, most)
    shares = [np.maximum(each, 1) / each.sum() for each in (capped, counts)]
    shift = np.log(shares[0]) - np.log(shares[1])
    return torch.from_numpy(np.where(counts > 0, shift, 0.0)).float()


@cache
def trains_quickly() -> bool:
    """Whether this machine trains LoRA in the blocks at `QUICK` or more; measured once, and kept.

    A step of profile laptop's size on arbitrary proteins, the fastest of three.
    """
    name = "training-gpu" if best_device().type == "cuda" else "training"
    return once(cache_dir("kernels") / name, _measure_training)["used"]


def _measure_training() -> dict:
    rng, count = np.random.default_rng(0), len(MEASURED_LENGTHS)
    sequences = ["".join(rng.choice(list("ACDEFGHIKLMNPQRSTVWY"), n)) for n in MEASURED_LENGTHS]
    train = Proteins(sequences, np.arange(count) % NUM_CLASSES)
    model = ProteinClassifier(course.new_head(WIDTH, 0), LoraBlocks()).train()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    shift, spent = torch.zeros(NUM_CLASSES, device=model.backbone.device), []
    for _ in range(4):  # the first prepares
        begun = time.perf_counter()
        set_gradients(model, train, np.arange(count), shift, trained)
        spent.append(time.perf_counter() - begun)
    rate = sum(MEASURED_LENGTHS) / min(spent[1:])
    profile = "laptop" if rate >= QUICK else "short"
    sentence = f"LoRA in the blocks trains {rate:,.0f} residues a second here: profile {profile}"
    return {"rate": rate, "used": rate >= QUICK, "sentence": sentence}
