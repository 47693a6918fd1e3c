"""Methods trained on whole sequences: LoRA in ESM-2's blocks, all of them, or the pooling."""

import json
from pathlib import Path

from safetensors import SafetensorError, safe_open

from arg_utils.errors import UserError
from arg_utils.esm2.lora import count_trainable, load_state, save_state, trainable_state
from arg_utils.esm2.weights import WIDTH
from arg_utils.methods.base import Method
from arg_utils.methods.classifier import new_head, softmax
from arg_utils.methods.course import FrozenLinear
from arg_utils.methods.finetuning import ProteinClassifier, finetune, predict_logits
from arg_utils.settings import LoraBlocks, Profile


class LoraInBlocks(Method):
    """LoRA in ESM-2's blocks, trained end to end from the frozen model's linear layer."""

    name, title = "lora_blocks", "LoRA in the blocks"

    def fit(self, train, val, profile, seed=0, folder=None):
        start = FrozenLinear().fit(train, val, profile, seed, folder)
        self.model = ProteinClassifier(start.head, self._settings(profile), seed=seed)
        self.trainable_parameters = count_trainable(self.model)
        place = folder / f"{self.name}.pt" if folder else None
        self.history = finetune(self.model, train, val, seed, checkpoint=place)
        return self

    @staticmethod
    def _settings(profile: Profile) -> LoraBlocks:
        return profile.lora_blocks

    def probabilities(self, sequences):
        return softmax(predict_logits(self.model, list(sequences)))

    def save(self, folder):
        settings = {k: list(v) if isinstance(v, tuple) else v
                    for k, v in vars(self.model.settings).items()}  # fmt: skip
        save_state(
            trainable_state(self.model), folder / "model.safetensors", settings=json.dumps(settings)
        )

    @classmethod
    def load(cls, folder):
        method, path = cls(), folder / "model.safetensors"
        settings = json.loads(_metadata(path, "settings"))
        settings = {k: tuple(v) if isinstance(v, list) else v for k, v in settings.items()}
        method.model = ProteinClassifier(new_head(WIDTH, 0), LoraBlocks(**settings))
        load_state(method.model, path)
        return method


class FullFinetuning(LoraInBlocks):
    """All of ESM-2's blocks trained end to end, no LoRA, from the frozen model's linear layer."""

    name, title = "full_finetuning", "fine-tuning of all blocks"

    @staticmethod
    def _settings(profile: Profile) -> LoraBlocks:
        return profile.full_finetuning


class AttentionPooling(LoraInBlocks):
    """Frozen blocks, a learned weight for each residue in the mean, and a linear layer."""

    name, title = "attention_pooling", "frozen ESM-2, attention pooling"

    @staticmethod
    def _settings(profile: Profile) -> LoraBlocks:
        return profile.attention_pooling


def _metadata(path: Path, name: str) -> str:
    try:
        with safe_open(path, framework="pt") as file:
            found = file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path} cannot be read as saved parameters ({error}).") from error
    if name not in found:
        raise UserError(f"{path} does not belong to this model: it tells no {name}.")
    return found[name]
