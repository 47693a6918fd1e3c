"""Methods trained on whole sequences: LoRA in ESM-2's blocks, or all of their parameters."""

import json
from dataclasses import replace
from pathlib import Path

from safetensors import SafetensorError, safe_open

from arg_utils.errors import UserError
from arg_utils.esm2.lora import count_trainable, load_state, save_state, trainable_state
from arg_utils.esm2.weights import WIDTH
from arg_utils.methods.base import MODEL, Method
from arg_utils.methods.classifier import new_head, softmax
from arg_utils.methods.course import FrozenLinear
from arg_utils.methods.finetuning import ProteinClassifier, finetune, predict_logits
from arg_utils.settings import LoraBlocks, Profile


class LoraInBlocks(Method):
    """LoRA in ESM-2's blocks, trained end to end from the frozen model's linear layer."""

    name, title = "lora_blocks", "LoRA in the blocks"

    @staticmethod
    def training(profile: Profile) -> LoraBlocks:
        """The profile's settings of the training in the blocks."""
        return profile.lora_blocks

    @classmethod
    def settings(cls, profile):
        return (*FrozenLinear.settings(profile), replace(cls.training(profile), folds=()))

    @classmethod
    def homology_folds(cls, profile):
        return tuple(f for f in profile.homology_folds if f in cls.training(profile).folds)

    def fit(self, train, val, profile, seed=0, folder=None):
        start = FrozenLinear().fit(train, val, profile, seed, folder)
        self.model = ProteinClassifier(start.head, self.training(profile), seed=seed)
        self.trainable_parameters = count_trainable(self.model)
        place = folder / f"{self.name}.pt" if folder else None
        self.history = finetune(self.model, train, val, seed, checkpoint=place)
        return self

    def probabilities(self, sequences):
        return softmax(predict_logits(self.model, list(sequences)))

    def save(self, folder):
        settings = json.dumps(vars(self.model.settings))
        save_state(trainable_state(self.model), folder / MODEL, settings=settings)

    @classmethod
    def load(cls, folder):
        method, path = cls(), folder / MODEL
        settings = json.loads(_metadata(path, "settings"))
        settings = {k: tuple(v) if isinstance(v, list) else v for k, v in settings.items()}
        method.model = ProteinClassifier(new_head(WIDTH, 0), LoraBlocks(**settings))
        load_state(method.model, path)
        return method


class FullFinetuning(LoraInBlocks):
    """All of ESM-2's blocks trained end to end, no LoRA, from the frozen model's linear layer."""

    name, title = "full_finetuning", "fine-tuning of all blocks"

    @staticmethod
    def training(profile):
        return profile.full_finetuning


def _metadata(path: Path, name: str) -> str:
    """An entry of a safetensors file's metadata; `UserError` if file or entry is missing."""
    try:
        with safe_open(path, framework="pt") as file:
            entries = file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path} cannot be read as saved parameters ({error}).") from error
    if name not in entries:
        raise UserError(f"{path} does not belong to this model: it tells no {name}.")
    return entries[name]
