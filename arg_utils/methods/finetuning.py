"""LoRA inside ESM-2's blocks, trained end to end with a classifier on top."""

import math
import time
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import nn

from arg_utils.data.fasta import Proteins, cap_per_class
from arg_utils.esm2.batches import (
    BATCH_TOKENS,
    MAX_RESIDUES,
    ResidueBar,
    even_parts,
    in_parallel,
    shuffled_batches,
    token_batches,
)
from arg_utils.esm2.embeddings import pool
from arg_utils.esm2.lora import inject, mark_trainable, trainable_state
from arg_utils.esm2.model import Esm2, best_device
from arg_utils.esm2.weights import LAYERS, WIDTH, Weights
from arg_utils.files import closure_fingerprint, fingerprint, load_checkpoint, save_checkpoint
from arg_utils.labels import NUM_CLASSES
from arg_utils.methods.classifier import merged_head
from arg_utils.metrics.scores import confusion, f1_from_confusion
from arg_utils.settings import LoraBlocks

PART_TOKENS = 2048  # of a batch that one thread computes at a time


class ProteinClassifier(nn.Module):
    """ESM-2, with LoRA in its top blocks or without, mean pooling, and a linear layer.

    Parameters
    ----------
    head : a trained classifier on frozen mean-pooled features of the last layer. A fresh LoRA
        changes nothing, so training starts from exactly what ``head`` achieves.
    settings : which layers are adapted (``r = 0`` trains every parameter of those blocks instead).
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
        self.settings = settings
        self.backbone = Esm2(weights, precision).to(device)
        self.head = merged_head(head).to(device)
        self.first = LAYERS - settings.top_blocks
        blocks = range(self.first, LAYERS)
        if settings.r == 0:
            mark_trainable(self, also=("head", *(f"backbone.layers.{i}" for i in blocks)))
            return
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            inject(
                [self.backbone.layers[i] for i in blocks],
                settings.r, settings.alpha, settings.dropout, settings.modules,
            )  # fmt: skip
        mark_trainable(self, also=("head",))

    @property
    def drops(self) -> bool:
        """Whether training draws random numbers."""
        return any(isinstance(m, nn.Dropout) and m.p > 0 for m in self.modules())

    def forward(self, sequences: list[str]) -> torch.Tensor:
        """Logits, float32 [n, 15]."""
        return self.head(self.features(sequences))

    def features(self, sequences: list[str]) -> torch.Tensor:
        """Pooled last states, float32 [n, 320].

        Blocks below the lowest adapted one run without autograd.
        """
        tokens, packing = self.backbone.pack(sequences)
        with torch.no_grad():
            hidden, update = self.backbone.embed(tokens), None
            for index in range(self.first):
                hidden, update = self.backbone.block(index, hidden, update, packing)
        for index in range(self.first, LAYERS):
            hidden, update = self.backbone.block(index, hidden, update, packing)
        return pool(self.backbone.final_norm(hidden, update), packing, "mean")


def predict_logits(
    model: ProteinClassifier, sequences: list[str], batch_tokens: int = 4096, progress: bool = True
) -> np.ndarray:
    """Logits float32 [n, 15] of any number of sequences, in the order given."""
    return _in_batches(model, model.forward, NUM_CLASSES, sequences, batch_tokens, progress)


def tuned_features(
    model: ProteinClassifier, sequences: list[str], batch_tokens: int = 4096, progress: bool = True
) -> np.ndarray:
    """What the head of a fine-tuned model sees, float32 [n, 320], in the order given."""
    return _in_batches(model, model.features, WIDTH, sequences, batch_tokens, progress)


def _in_batches(model, compute, width, sequences, batch_tokens, progress) -> np.ndarray:
    model.eval()
    windows = [sequence[:MAX_RESIDUES] for sequence in sequences]
    batches = list(token_batches([len(w) + 2 for w in windows], min(batch_tokens, BATCH_TOKENS)))

    @torch.inference_mode()
    def work(batch: np.ndarray) -> np.ndarray:
        return compute([windows[i] for i in batch]).float().cpu().numpy()

    out = np.empty((len(windows), width), np.float32)
    with ResidueBar("ESM-2 + LoRA", map(len, windows), progress) as bar:
        for batch, rows in zip(
            batches, in_parallel(work, batches, model.backbone.device), strict=True
        ):
            out[batch] = rows
            bar.advance(len(windows[i]) for i in batch)
    return out


def finetune(
    model: ProteinClassifier,
    train: Proteins,
    val: Proteins,
    seed: int = 0,
    checkpoint: Path | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """Train what is trainable (LoRA or blocks, and the head); leave the best epoch's in the model.

    Every epoch draws its own sample of at most ``max_per_class`` proteins per class. AdamW; the
    rate rises over the first ``warmup`` of all steps, then falls as a half cosine.

    A capped sample has other class shares than the data. The loss therefore adds to each class's
    logit the logarithm of how much the cap has shifted its share, so that the logits themselves
    keep to the data's shares (logit adjustment, arXiv:2007.07314, turned towards them). For the
    same reason, macro-F1 on at most ``watch_per_class`` validation proteins per class counts
    each protein as often as it stands for others of its class.

    Parameters
    ----------
    checkpoint : file that keeps every finished epoch; a second call goes on after the last.

    Returns
    -------
    One row per epoch, the first (epoch 0) before training: epoch, learning_rate, train_loss,
    val_macro_f1, best, seconds.
    """
    settings = model.settings
    key = fingerprint(
        closure_fingerprint("methods/finetuning.py"),
        settings, seed, model.backbone.weights.sha256, model.backbone.precision,
        train.sequences, train.labels.tolist(), val.sequences, val.labels.tolist(),
        [t.numpy().tobytes() for t in trainable_state(model).values()],
    )  # fmt: skip
    watched = CappedSample(val.sequences, val.labels, settings.watch_per_class, seed)
    shift = share_shift(train.labels, settings.max_per_class).to(model.backbone.device)
    epochs = [_epoch_batches(train, settings, seed, epoch) for epoch in range(settings.epochs)]
    optimizer, schedule = _optimizer(model, settings, sum(map(len, epochs)))
    saved = load_checkpoint(checkpoint, key) if checkpoint else None
    if saved is not None:
        history, best_state = saved["history"], saved["best_state"]
        model.load_state_dict(saved["state"], strict=False)
        optimizer.load_state_dict(saved["optimizer"])
        schedule.load_state_dict(saved["schedule"])
        if progress:
            print(f"fine-tuning: {len(history) - 1} of {settings.epochs} epochs were done before")
    else:
        history, best_state = (
            [_row(0, math.nan, model, watched, progress, 0.0)],
            trainable_state(model),
        )
        history[0]["best"] = True
    for epoch in range(len(history), settings.epochs + 1):
        begun = time.perf_counter()
        with torch.random.fork_rng():  # dropout, the same after an interruption
            torch.manual_seed(seed * 1000 + epoch)
            loss = _train_epoch(
                model, train, epochs[epoch - 1], shift, optimizer, schedule, epoch, progress
            )
        row = _row(epoch, loss, model, watched, progress, time.perf_counter() - begun)
        row["learning_rate"] = float(schedule.get_last_lr()[0])
        row["best"] = row["val_macro_f1"] > max(r["val_macro_f1"] for r in history)
        history.append(row)
        if row["best"]:
            best_state = trainable_state(model)
        if checkpoint:
            save_checkpoint(checkpoint, key, {
                "history": history, "best_state": best_state, "state": trainable_state(model),
                "optimizer": optimizer.state_dict(), "schedule": schedule.state_dict(),
            })  # fmt: skip
    model.load_state_dict(best_state, strict=False)
    model.eval()
    return pd.DataFrame(history)


def _epoch_batches(train: Proteins, settings: LoraBlocks, seed: int, epoch: int) -> list:
    chosen = cap_per_class(train.labels, settings.max_per_class, seed * 1000 + epoch)
    lengths = [min(len(train.sequences[i]), MAX_RESIDUES) + 2 for i in chosen]
    rng = np.random.default_rng([seed, epoch])
    return [chosen[b] for b in shuffled_batches(lengths, settings.batch_tokens, rng)]


def _optimizer(model: ProteinClassifier, settings: LoraBlocks, steps: int):
    head = list(model.head.parameters())
    adapted = [p for p in model.backbone.parameters() if p.requires_grad]
    groups = [
        {"params": adapted, "lr": settings.learning_rate, "weight_decay": settings.weight_decay},
        {"params": head, "lr": settings.head_learning_rate, "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, fused=True)
    warmup = max(1, round(settings.warmup * steps))

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / max(1, steps - warmup))))

    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, factor)


def _train_epoch(
    model, train: Proteins, batches, shift, optimizer, schedule, epoch, progress
) -> float:
    model.train()
    trained = [p for group in optimizer.param_groups for p in group["params"]]
    lengths = np.array([min(len(s), MAX_RESIDUES) for s in train.sequences])
    total = seen = 0.0
    with ResidueBar(f"epoch {epoch}", lengths[np.concatenate(batches)], progress) as bar:
        for batch in batches:
            loss = set_gradients(model, train, batch, shift, trained)
            nn.utils.clip_grad_norm_(trained, 1.0)
            optimizer.step()
            schedule.step()
            total, seen = total + loss * len(batch), seen + len(batch)
            bar.advance(lengths[batch])
    return total / seen


def set_gradients(
    model: ProteinClassifier,
    train: Proteins,
    batch: np.ndarray,
    shift: torch.Tensor,
    trained: list[nn.Parameter],
) -> float:
    """Mean cross-entropy over a batch; its gradients go into ``trained``.

    Parts of the batch are computed by threads of their own. Which parts, and the order of their
    sums, depend on the batch alone, so that the number of threads changes no gradient.

    Parameters
    ----------
    batch : positions int64 [n] in ``train``.
    shift : float32 [15], added to the logits.
    """
    device = model.backbone.device

    def part_gradients(part: np.ndarray) -> tuple[float, tuple[torch.Tensor, ...]]:
        target = torch.from_numpy(train.labels[part]).to(device)
        with torch.enable_grad():
            scores = model([train.sequences[i][:MAX_RESIDUES] for i in part])
            loss = F.cross_entropy(scores + shift, target, reduction="sum") / len(batch)
            return loss.item(), torch.autograd.grad(loss, trained)

    lengths = [min(len(train.sequences[i]), MAX_RESIDUES) + 2 for i in batch]
    parts = even_parts(batch, lengths, PART_TOKENS)
    # Dropout draws from one generator: in a fixed order only one by one.
    side_by_side = partial(map) if model.drops else partial(in_parallel, device=device)
    with model.backbone.parameters_fixed():
        losses, gradients = zip(*side_by_side(part_gradients, parts), strict=True)
    for parameter, slopes in zip(trained, zip(*gradients, strict=True), strict=True):
        parameter.grad = sum(slopes[1:], start=slopes[0])
    return sum(losses)


def _row(epoch: int, loss: float, model, watched, progress: bool, seconds: float) -> dict:
    scores = predict_logits(model, watched.sequences, progress=progress)
    score = watched.macro_f1(scores.argmax(axis=1))
    return {"epoch": epoch, "learning_rate": 0.0, "train_loss": loss, "val_macro_f1": score,
            "best": False, "seconds": seconds}  # fmt: skip


def share_shift(labels: np.ndarray, most: int | None) -> torch.Tensor:
    """Log of each class's share in a sample of at most ``most`` per class over its share in all.

    Added to the logits in the loss, it lets a model trained on the sample keep the data's own
    class shares (logit adjustment, arXiv:2007.07314, used in the opposite direction).

    Returns
    -------
    float32 [15]; zero for a class without proteins.
    """
    counts = np.bincount(labels, minlength=NUM_CLASSES).astype(float)
    capped = counts if most is None else np.minimum(counts, most)
    present = counts > 0
    shift = np.zeros(NUM_CLASSES)
    shift[present] = np.log(capped[present] / capped.sum()) - np.log(counts[present] / counts.sum())
    return torch.from_numpy(shift).float()


class CappedSample:
    """At most ``most`` proteins per class, scored as if all of them had been predicted.

    Attributes
    ----------
    sequences, labels : the proteins drawn.
    weight : float64 [15], how many proteins of its class one drawn protein stands for.
    """

    def __init__(self, sequences: list[str], labels: np.ndarray, most: int | None, seed: int):
        drawn = cap_per_class(labels, most, seed)
        self.sequences, self.labels = [sequences[i] for i in drawn], labels[drawn]
        counts = np.bincount(self.labels, minlength=NUM_CLASSES)
        self.weight = np.bincount(labels, minlength=NUM_CLASSES) / np.maximum(counts, 1)

    def macro_f1(self, predicted: np.ndarray) -> float:
        """An estimate of macro-F1 on all proteins, from predictions int64 [n] on those drawn."""
        counts = confusion(self.labels, predicted) * self.weight[:, None]
        return float(f1_from_confusion(counts).mean())
