"""Training ESM-2 itself, end to end with a linear layer on top: LoRA in its blocks, or all of them.

From top to bottom: the two methods, and their training. `classifier` has the model, and the
gradients of a step.
"""

import json
import math
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from arg_utils.data.proteins import Proteins, cap_per_class
from arg_utils.errors import UserError
from arg_utils.esm2 import lora, ranks
from arg_utils.esm2.batches import ResidueBar, shuffled_batches
from arg_utils.esm2.embeddings import embed
from arg_utils.esm2.weights import WIDTH
from arg_utils.files import load_checkpoint, save_checkpoint
from arg_utils.fingerprint import closure_fingerprint, fingerprint
from arg_utils.labels import NUM_CLASSES
from arg_utils.methods import course
from arg_utils.methods.base import MODEL, Method
from arg_utils.methods.classifier import ProteinClassifier, residues, set_gradients, share_shift
from arg_utils.methods.course import FrozenLinear, new_head
from arg_utils.metrics.scores import confusion, f1_from_confusion
from arg_utils.settings import LoraBlocks, Profile


class LoraInBlocks(Method):
    """LoRA in ESM-2's blocks, trained end to end from the frozen model's linear layer."""

    name, title = "lora_blocks", "LoRA in the blocks"

    @classmethod
    def training(cls, profile: Profile) -> LoraBlocks:
        """The profile's settings of this training."""
        return getattr(profile, cls.name)

    @classmethod
    def settings(cls, profile: Profile) -> tuple[Any, ...]:
        return (*FrozenLinear.settings(profile), replace(cls.training(profile), folds=()))

    @classmethod
    def homology_folds(cls, profile: Profile) -> tuple[int, ...]:
        return tuple(f for f in profile.homology_folds if f in cls.training(profile).folds)

    def fit(
        self, train: Proteins, val: Proteins, profile: Profile, seed: int = 0,
        folder: Path | None = None,
    ) -> Self:  # fmt: skip
        start = FrozenLinear().fit(train, val, profile, seed, folder)
        self.model = ProteinClassifier(start.head, self.training(profile), seed=seed)
        self.trainable_parameters = lora.count_trainable(self.model)
        self.trainer = Trainer(self.model, train, val, seed)
        features = embed([val.sequences[i] for i in self.trainer.watched])
        place = folder and folder / f"{self.name}.pt"
        self.history = self.trainer.run(place, course.logits(start.head, features))
        return self

    def probabilities(self, sequences: Sequence[str]) -> np.ndarray:
        return course.softmax(self.model.all_logits(sequences))

    def held_out(self, val: Proteins) -> np.ndarray:
        scores, watched = np.empty((len(val.labels), NUM_CLASSES), np.float32), self.trainer.watched
        rest = np.setdiff1d(np.arange(len(scores)), watched)  # the others are predicted already
        scores[watched] = self.trainer.best_logits
        scores[rest] = self.model.all_logits([val.sequences[i] for i in rest])
        return course.softmax(scores)

    def save(self, folder: Path) -> None:
        settings = json.dumps(vars(self.model.settings))
        lora.save_state(lora.trainable_state(self.model), folder / MODEL, settings=settings)

    @classmethod
    def load(cls, folder: Path) -> Self:
        method, path = cls(), folder / MODEL
        try:
            with safe_open(path, framework="pt") as file:
                settings = json.loads((file.metadata() or {})["settings"])
        except (OSError, SafetensorError) as error:
            raise UserError(f"{path} cannot be read as saved parameters ({error}).") from error
        except KeyError:
            what = "does not belong to this model: it tells no settings"
            raise UserError(f"{path} {what}.") from None
        settings["modules"], settings["folds"] = tuple(settings["modules"]), ()
        method.model = ProteinClassifier(new_head(WIDTH, 0), LoraBlocks(**settings))
        lora.load_state(method.model, path)
        return method


class FullFinetuning(LoraInBlocks):
    """All of ESM-2's blocks trained end to end, no LoRA, from the frozen model's linear layer."""

    name, title = "full_finetuning", "fine-tuning of all blocks"


class Trainer:
    """Trains what is trainable of ``model``: LoRA or blocks, and the head.

    Every epoch draws its own sample of at most ``max_per_class`` proteins per class, and is judged
    by macro-F1 estimated from at most ``watch_per_class`` validation proteins per class. AdamW; the
    learning rate rises over the first ``warmup`` of all steps, then falls as a half cosine.
    """

    def __init__(self, model: ProteinClassifier, train: Proteins, val: Proteins, seed: int = 0):
        self.model, self.train, self.val, self.seed = model, train, val, seed
        settings = self.settings = model.settings
        self.watched = cap_per_class(val.labels, settings.watch_per_class, seed)
        self.shift = share_shift(train.labels, settings.max_per_class).to(model.backbone.device)
        self.batches = [self._draw(number) for number in range(settings.epochs)]
        adapted = [p for p in model.backbone.parameters() if p.requires_grad]
        head, rate = list(model.head.parameters()), settings.learning_rate
        groups = [
            {"params": adapted, "lr": rate, "weight_decay": settings.weight_decay},
            {"params": head, "lr": settings.head_learning_rate, "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(groups, fused=True)
        steps = sum(map(len, self.batches))
        warmup = max(1, round(settings.warmup * steps))

        def factor(step: int) -> float:
            if step < warmup:
                return (step + 1) / warmup
            done = min(1.0, (step - warmup) / max(1, steps - warmup))
            return 0.5 * (1 + math.cos(math.pi * done))

        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimizer, factor)
        self.history: list[dict[str, Any]] = []
        self.best_state: dict[str, torch.Tensor] = {}
        self.best_logits = np.zeros((0, NUM_CLASSES), np.float32)

    def _draw(self, number: int) -> list[np.ndarray]:
        """Batches of positions in the training part, of a sample that ``number`` decides."""
        most, seed = self.settings.max_per_class, self.seed
        chosen = cap_per_class(self.train.labels, most, seed * 1000 + number)
        lengths = residues([self.train.sequences[i] for i in chosen]) + 2
        rng = np.random.default_rng([seed, number])
        return [chosen[b] for b in shuffled_batches(lengths, self.settings.batch_tokens, rng)]

    def run(
        self, checkpoint: Path | None = None, start: np.ndarray | None = None, progress: bool = True
    ) -> pd.DataFrame:
        """Train, and leave the best epoch's parameters in the model.

        ``checkpoint`` is a file that keeps every finished epoch; a second run goes on after the
        last. ``start`` are the model's logits [m, 15] of the watched proteins before training,
        where known. The result has one row per epoch, the first (epoch 0) before training: epoch,
        learning_rate, train_loss, val_macro_f1, best, seconds.
        """
        if self.settings.dropout and ranks.place()[1] > 1:
            raise UserError("Dropout draws its numbers in one process; train without, or in one.")
        key, first = self._key(), ranks.place()[0] == 0
        progress = progress and first
        saved = ranks.from_first(load_checkpoint(checkpoint, key) if checkpoint else None)
        if saved:
            self._restore(saved)
            if progress:
                done = len(self.history) - 1
                print(f"fine-tuning: {done} of {self.settings.epochs} epochs were done before")
        else:
            state, start = ranks.from_first((lora.trainable_state(self.model), start))
            self.model.load_state_dict(state, strict=False)
            self._judge(self._logits(progress) if start is None else start, math.nan, 0.0)
        for epoch in range(len(self.history), self.settings.epochs + 1):
            begun = time.perf_counter()
            loss = self.train_epoch(epoch, progress)
            seconds = time.perf_counter() - begun
            self._judge(self._logits(progress), loss, seconds)
            if checkpoint and first:
                save_checkpoint(checkpoint, key, self._state())
        self.model.load_state_dict(self.best_state, strict=False)
        self.model.eval()
        return pd.DataFrame(self.history)

    def train_epoch(self, epoch: int, progress: bool = True) -> float:
        """One pass over the epoch's sample; the mean loss."""
        self.model.train()
        trained = [p for group in self.optimizer.param_groups for p in group["params"]]
        batches, lengths, total = self.batches[epoch - 1], residues(self.train.sequences), 0.0
        bar = ResidueBar(f"epoch {epoch}", lengths[np.concatenate(batches)].tolist(), progress)
        # Dropout draws the same numbers after an interruption.
        with course.seeded(self.seed * 1000 + epoch), bar:
            for batch in batches:
                loss = set_gradients(self.model, self.train, batch, self.shift, trained)
                nn.utils.clip_grad_norm_(trained, 1.0)
                self.optimizer.step()
                self.schedule.step()
                total += loss * len(batch)
                bar.advance(lengths[batch].tolist())
        return total / sum(map(len, batches))

    def _logits(self, progress: bool) -> np.ndarray:
        return self.model.all_logits([self.val.sequences[i] for i in self.watched], progress)

    def _judge(self, logits: np.ndarray, loss: float, seconds: float) -> None:
        """Note the epoch; if it is the best, keep the parameters, and logits of those watched."""
        score = estimated_macro_f1(self.val.labels, self.watched, logits.argmax(axis=1))
        rate = float(self.schedule.get_last_lr()[0]) if self.history else 0.0
        best = all(score > row["val_macro_f1"] for row in self.history)
        self.history.append(
            {"epoch": len(self.history), "learning_rate": rate, "train_loss": loss,
             "val_macro_f1": score, "best": best, "seconds": seconds}
        )  # fmt: skip
        if best:
            self.best_state, self.best_logits = lora.trainable_state(self.model), logits

    def _key(self) -> str:
        """Changes with whatever the training depends on."""
        backbone, start = self.model.backbone, lora.trainable_state(self.model)
        parts = [(part.sequences, part.labels.tolist()) for part in (self.train, self.val)]
        code, weights = closure_fingerprint("methods/finetuning.py"), backbone.weights.sha256
        numbers = [tensor.numpy().tobytes() for tensor in start.values()]
        return fingerprint(
            code, self.settings, self.seed, parts, weights, backbone.precision, *numbers
        )

    def _state(self) -> dict[str, Any]:
        """What `_restore` goes on from."""
        return {
            "model": lora.trainable_state(self.model), "best": self.best_state,
            "best_logits": torch.from_numpy(self.best_logits),
            "optimizer": self.optimizer.state_dict(), "schedule": self.schedule.state_dict(),
            "history": self.history,
        }  # fmt: skip

    def _restore(self, saved: dict[str, Any]) -> None:
        self.history, self.best_state = saved["history"], saved["best"]
        self.best_logits = saved["best_logits"].numpy()
        self.model.load_state_dict(saved["model"], strict=False)
        self.optimizer.load_state_dict(saved["optimizer"])
        self.schedule.load_state_dict(saved["schedule"])


def estimated_macro_f1(labels: np.ndarray, drawn: np.ndarray, predicted: np.ndarray) -> float:
    """Macro-F1 on all proteins, of classes ``labels`` [n], from classes predicted of some of them.

    Each protein ``drawn`` (positions [m]) counts as often as it stands for others of its class.
    """
    held, counts = (np.bincount(each, minlength=NUM_CLASSES) for each in (labels, labels[drawn]))
    weight = held / np.maximum(counts, 1)
    return float(f1_from_confusion(confusion(labels[drawn], predicted) * weight[:, None]).mean())
