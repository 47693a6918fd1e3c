"""The course's two models: a linear layer on frozen ESM-2, and LoRA on that layer."""

import pandas as pd

from arg_utils.data.proteins import cap_per_class
from arg_utils.esm2.embeddings import embed
from arg_utils.esm2.lora import count_trainable, load_state, save_state, trainable_state
from arg_utils.esm2.weights import WIDTH
from arg_utils.methods.base import Method
from arg_utils.methods.classifier import adapt_head, logits, merged_head, new_head, softmax
from arg_utils.methods.training import Examples, train_staged


class FrozenLinear(Method):
    """The course's model: frozen ESM-2, mean of the last layer, one linear layer, staged Adam."""

    name, title = "frozen_linear", "frozen ESM-2 + linear"

    def fit(self, train, val, profile, seed=0, folder=None):
        kept = cap_per_class(train.labels, profile.staged.max_per_class, seed)
        examples = Examples(embed([train.sequences[i] for i in kept]), train.labels[kept])
        watched = Examples(embed(val.sequences), val.labels)
        self.head = new_head(WIDTH, seed)
        self.trainable_parameters = count_trainable(self.head)
        self._train(examples, watched, profile, seed, folder)
        return self

    def _train(self, examples, watched, profile, seed, folder):
        place = folder / f"{FrozenLinear.name}.pt" if folder else None
        done = train_staged(self.head, examples, watched, profile.staged, seed, checkpoint=place)
        self.history = done.table()

    def probabilities(self, sequences):
        return softmax(logits(self.head, embed(sequences)))

    def save(self, folder):
        plain = merged_head(self.head)
        save_state(trainable_state(plain), folder / "model.safetensors")

    @classmethod
    def load(cls, folder):
        method = cls()
        method.head = new_head(WIDTH, 0)
        load_state(method.head, folder / "model.safetensors")
        return method


class LoraOnClassifier(FrozenLinear):
    """The course's LoRA: on the trained linear layer, only the factors train, staged again."""

    name, title = "lora_classifier", "+ LoRA on the classifier"

    def _train(self, examples, watched, profile, seed, folder):
        super()._train(examples, watched, profile, seed, folder)
        self.head = adapt_head(self.head, profile.lora_classifier, seed)
        self.trainable_parameters = count_trainable(self.head)
        place = folder / f"{self.name}.pt" if folder else None
        first = len(profile.staged.learning_rates) + 1
        done = train_staged(
            self.head, examples, watched, profile.staged, seed, first, checkpoint=place
        )
        self.history = pd.concat([self.history, done.table()], ignore_index=True)
