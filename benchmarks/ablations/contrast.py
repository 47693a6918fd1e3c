"""Contrastive training of LoRA in all six blocks of ESM-2, on families of proteins.

By the supervised contrastive loss (Khosla et al. 2020, arXiv:2004.11362): pooled vectors of one
family close together, those of different families apart. A batch needs far more memory with
gradients than without, so its vectors are computed twice, first for the loss and then, part by
part, for the gradients (Gao et al. 2021, arXiv:2101.06983).
"""

import math
import time
from collections.abc import Sequence
from functools import reduce
from pathlib import Path

import loralib
import numpy as np
import torch
import torch.nn.functional as F
from scipy.sparse import csr_array

from arg_utils.esm2 import lora
from arg_utils.esm2.batches import even_parts, in_parallel
from arg_utils.esm2.weights import WIDTH, Weights
from arg_utils.files import load_checkpoint, save_checkpoint
from arg_utils.fingerprint import closure_fingerprint, fingerprint
from arg_utils.methods.classifier import PART_TOKENS, ProteinClassifier
from arg_utils.methods.course import new_head
from arg_utils.settings import LoraBlocks

SETTINGS = LoraBlocks(r=8, alpha=16, top_blocks=6)
BATCH, WINDOW, TEMPERATURE = 40, 450, 0.1  # families of two proteins, residues of each
STEPS, CHECKPOINT = 300, 20
Members = list[tuple[int, ...]]  # positions of each family's proteins, at least two


def together(members: Members, size: int) -> csr_array:
    """How many families each protein is in: int64 [size, families] of zeros and ones."""
    rows = np.concatenate(members)
    columns = np.repeat(np.arange(len(members)), [len(family) for family in members])
    return csr_array((np.ones(len(rows), np.int64), (rows, columns)), (size, len(members)))


def contrastive_loss(
    vectors: torch.Tensor, alike: torch.Tensor, itself: torch.Tensor
) -> torch.Tensor:
    """Supervised contrastive loss of centred ``vectors`` [n, 320], a scalar.

    ``alike`` says which pairs share a family, ``itself`` which are one and the same protein (both
    bool [n, n]); the latter count neither as alike nor as different.
    """
    unit = F.normalize(vectors - vectors.mean(dim=0), dim=1)
    log_p = F.log_softmax((unit @ unit.T / TEMPERATURE).masked_fill(itself, -math.inf), dim=1)
    alike = alike & ~itself
    return -(log_p.masked_fill(~alike, 0).sum(dim=1) / alike.sum(dim=1)).mean()


class Training:
    """Contrastive training of LoRA in all blocks; AdamW, warm-up, then a half cosine.

    A batch is decided by the seed and its number, so a checkpoint needs no state of a generator.
    """

    def __init__(self, sequences: Sequence[str], members: Members, weights: Weights, seed: int = 0):
        self.sequences, self.members, self.seed = sequences, members, seed
        self.shared = together(members, len(sequences))
        size = np.minimum([len(family) for family in members], 50) ** 0.5
        self.share = size / size.sum()
        self.model = ProteinClassifier(new_head(WIDTH, 0), SETTINGS, weights, seed=seed)
        self.model.head.requires_grad_(False)
        self.trained = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            self.trained, SETTINGS.learning_rate, weight_decay=SETTINGS.weight_decay, fused=True
        )
        warmup = max(1, round(SETTINGS.warmup * STEPS))

        def factor(step: int) -> float:
            done = (step - warmup) / max(1, STEPS - warmup)
            return (step + 1) / warmup if step < warmup else 0.5 * (1 + math.cos(math.pi * done))

        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimizer, factor)
        self.residues, self.seconds, self.losses = 0, 0.0, list[float]()

    def draw(self, step: int) -> tuple[np.ndarray, list[str]]:
        """Two proteins of each of `BATCH` families: positions int64 [n], and windows of them."""
        rng = np.random.default_rng([self.seed, step])
        number = min(BATCH, len(self.members))
        families = rng.choice(len(self.members), number, replace=False, p=self.share)
        pairs = [rng.choice(self.members[family], 2, replace=False) for family in families]
        chosen = np.concatenate(pairs)
        texts = [self.sequences[i] for i in chosen]
        starts = rng.integers(0, [max(1, len(text) - WINDOW + 1) for text in texts])
        return chosen, [text[a : a + WINDOW] for text, a in zip(texts, starts, strict=True)]

    def step(self) -> None:
        """One batch and one step of the optimizer."""
        chosen, texts = self.draw(len(self.losses))
        lengths = [len(text) + 2 for text in texts]
        parts = even_parts(np.arange(len(texts)), lengths, PART_TOKENS)
        rows, device = self.shared[chosen], self.model.backbone.device
        pairs = (rows @ rows.T).toarray() > 0, chosen[:, None] == chosen
        alike, itself = (torch.from_numpy(each).to(device) for each in pairs)
        vectors = torch.zeros(len(texts), WIDTH, device=device)

        @torch.no_grad()
        def forward(part: np.ndarray) -> torch.Tensor:
            return self.model.features([texts[i] for i in part])

        def backward(part: np.ndarray) -> torch.Tensor:  # the gradients of all, in one row
            with torch.enable_grad():
                out = self.model.features([texts[i] for i in part])
                slopes = torch.autograd.grad(out, self.trained, slope[part])
            return torch.cat([*map(torch.flatten, slopes)])

        with self.model.backbone.parameters_fixed():
            for part, out in zip(parts, in_parallel(forward, parts, device), strict=True):
                vectors[part] = out
            loss = contrastive_loss(vectors.requires_grad_(), alike, itself)
            (slope,) = torch.autograd.grad(loss, vectors)
            total = reduce(torch.add, in_parallel(backward, parts, device))
        slopes = total.split([parameter.numel() for parameter in self.trained])
        for parameter, row in zip(self.trained, slopes, strict=True):
            parameter.grad = row.view_as(parameter)
        torch.nn.utils.clip_grad_norm_(self.trained, 1.0)
        self.optimizer.step()
        self.schedule.step()
        self.losses.append(loss.item())
        self.residues += sum(map(len, texts))

    def run(self, steps: int, checkpoint: Path) -> None:
        """Train up to so many of the `STEPS`; what the ``checkpoint`` holds is not done again."""
        backbone, code = self.model.backbone, closure_fingerprint("methods/classifier.py")
        key = fingerprint(
            code, SETTINGS, BATCH, WINDOW, TEMPERATURE, STEPS, self.seed, list(self.sequences),
            self.members, backbone.weights.sha256, backbone.precision,
        )  # fmt: skip
        if saved := load_checkpoint(checkpoint, key):
            self.model.load_state_dict(saved["model"], strict=False)
            self.optimizer.load_state_dict(saved["optimizer"])
            self.schedule.load_state_dict(saved["schedule"])
            self.residues, self.seconds, self.losses = saved["progress"]
        last = min(steps, STEPS)
        for done in range(len(self.losses) + 1, last + 1):
            begun = time.perf_counter()
            self.step()
            self.seconds += time.perf_counter() - begun
            if done % CHECKPOINT == 0 or done == last:
                save_checkpoint(checkpoint, key, {
                    "model": lora.trainable_state(self.model),
                    "optimizer": self.optimizer.state_dict(),
                    "schedule": self.schedule.state_dict(),
                    "progress": [self.residues, self.seconds, self.losses],
                })  # fmt: skip
                rate = f"{self.residues / self.seconds:,.0f} residues a second"
                where = f"{checkpoint.stem}: step {done} of {STEPS}"
                print(f"{where}, loss {self.loss:.3f}, {rate}", flush=True)

    @property
    def loss(self) -> float:
        """Mean over the last `CHECKPOINT` steps."""
        return float(np.mean(self.losses[-CHECKPOINT:]))

    def weights(self) -> Weights:
        """The backbone's weights with LoRA merged, under a name of their own."""
        backbone = self.model.backbone
        state = dict(backbone.weights.state)
        for name, layer in backbone.named_modules():
            if isinstance(layer, loralib.Linear):
                state[f"{name}.weight"] = lora.merged_linear(layer).weight.detach()
        numbers = [t.numpy().tobytes() for t in lora.trainable_state(self.model).values()]
        sha256 = fingerprint(backbone.weights.sha256, SETTINGS, *numbers)
        return Weights(state, f"{backbone.weights.source} + LoRA on families", sha256)
