"""The Hugging Face side: our state dict under its names, its model around it, PEFT in its layers.

``transformers`` and ``peft`` are imported where they are used: names can be tested without them.
"""

import re

import torch
from torch import nn

from arg_utils.esm2.weights import HEADS, LAYERS, VOCABULARY, WIDTH, Weights
from arg_utils.labels import NUM_CLASSES
from arg_utils.settings import LoraBlocks

# fair-esm's names to Hugging Face's: the inverse of `arg_utils.esm2.weights`' reader.
_RENAME = (
    (r"\.self_attn\.q_proj\.", ".attention.self.query."),
    (r"\.self_attn\.k_proj\.", ".attention.self.key."),
    (r"\.self_attn\.v_proj\.", ".attention.self.value."),
    (r"\.self_attn\.out_proj\.", ".attention.output.dense."),
    (r"\.self_attn_layer_norm\.", ".attention.LayerNorm."),
    (r"\.final_layer_norm\.", ".LayerNorm."),
    (r"\.fc1\.", ".intermediate.dense."),
    (r"\.fc2\.", ".output.dense."),
    (r"^layers\.(\d+)\.", r"encoder.layer.\1."),
    (r"^emb_layer_norm_after\.", "encoder.emb_layer_norm_after."),
    (r"^embed_tokens\.", "embeddings.word_embeddings."),
)
_LAYER = {"q_proj": "attention.self.query", "k_proj": "attention.self.key",
          "v_proj": "attention.self.value", "out_proj": "attention.output.dense",
          "fc1": "intermediate.dense", "fc2": "output.dense"}  # fmt: skip


def hugging_face_name(name: str) -> str:
    """``layers.0.fc1.bias`` -> ``esm.encoder.layer.0.intermediate.dense.bias``."""
    for pattern, replacement in _RENAME:
        name = re.sub(pattern, replacement, name)
    return f"esm.{name}"


def new_classifier(weights: Weights) -> nn.Module:
    """``EsmForSequenceClassification`` holding ``weights``, 15 classes, SDPA, no dropout."""
    from transformers import EsmConfig, EsmForSequenceClassification

    settings = EsmConfig(
        vocab_size=VOCABULARY, hidden_size=WIDTH, num_hidden_layers=LAYERS,
        num_attention_heads=HEADS, intermediate_size=4 * WIDTH, max_position_embeddings=1026,
        pad_token_id=1, mask_token_id=32, position_embedding_type="rotary", token_dropout=True,
        emb_layer_norm_before=False, layer_norm_eps=1e-5, hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0, num_labels=NUM_CLASSES, attn_implementation="sdpa",
    )  # fmt: skip
    model = EsmForSequenceClassification(settings)
    state = {hugging_face_name(name): tensor for name, tensor in weights.state.items()}
    missing, unexpected = model.load_state_dict(state, strict=False)
    left = [n for n in missing if not n.startswith(("classifier.", "esm.contact_head."))]
    left = [n for n in left if "inv_freq" not in n]
    if left or unexpected:
        raise RuntimeError(f"weights do not fit: {left}, {unexpected}")
    return model


def add_peft(model: nn.Module, settings: LoraBlocks) -> nn.Module:
    """PEFT's LoRA in the layers that ``settings`` names, in every block; the head trains too."""
    from peft import LoraConfig, get_peft_model

    layers = "|".join(re.escape(_LAYER[module]) for module in settings.modules)
    adapted = get_peft_model(
        model,
        LoraConfig(
            task_type="SEQ_CLS", r=settings.r, lora_alpha=settings.alpha,
            lora_dropout=settings.dropout, target_modules=rf".*encoder\.layer\.\d+\.({layers})",
        ),
    )  # fmt: skip
    factors = [p for n, p in adapted.named_parameters() if "lora_" in n and p.requires_grad]
    if len(factors) != 2 * LAYERS * len(settings.modules) or not torch.is_tensor(factors[0]):
        raise RuntimeError(f"PEFT adapted {len(factors) // 2} layers")
    return adapted
