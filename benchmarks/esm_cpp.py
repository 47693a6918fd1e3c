"""esm.cpp, an engine for ESM-2 on processors: our state dict in a file that it reads.

It reads Hugging Face's safetensors, with parts that features do not need and our weights lack: a
language-model head, written as zeros, and the rotary frequencies, whose number alone it reads.
Hidden states come from one of its calls, which takes one sequence at a time; its packed batches
(``forward_scheduled``) return logits alone.

Version 0.2.1 is wrong on processors with AVX-512: its GELU there is infinite or NaN below -13.295,
where exp(-x^2 / 2) leaves float32. Weights whose feed-forward layers reach that far, as the
stand-in's do, get features that are not numbers. It is timed all the same (its time does not
depend on the values), as ``float32 (AVX-512)``. ``ESM_FORCE_ISA=ref`` takes plain loops instead,
which are right and many times slower.
"""

import importlib.util
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from arg_utils.esm2.batches import encode
from arg_utils.esm2.model import best_device
from arg_utils.esm2.weights import HEADS, VOCABULARY, WIDTH, Weights
from benchmarks.hugging_face import hugging_face_name

FREQUENCIES = "esm.encoder.layer.0.attention.self.rotary_embeddings.inv_freq"


def joins() -> bool:
    """Whether it is installed (benchmarks/optional.txt) and features run on the processor."""
    return importlib.util.find_spec("esm_cpp") is not None and best_device().type == "cpu"


def precision() -> str:
    """``float32``, or ``float32 (AVX-512)`` where its features may not be numbers."""
    import esm_cpp

    broken = esm_cpp.current_isa() in ("avx512", "avx512vnni", "amx")
    return "float32 (AVX-512)" if broken else "float32"


def its_file(weights: Weights) -> dict[str, torch.Tensor]:
    """``weights`` under the names it looks for, and what else it insists on."""
    half = WIDTH // HEADS // 2
    return {hugging_face_name(name): value for name, value in weights.state.items()} | {
        FREQUENCIES: 1 / 10_000 ** (torch.arange(half) / half),
        "lm_head.dense.weight": torch.zeros(WIDTH, WIDTH),
        "lm_head.dense.bias": torch.zeros(WIDTH),
        "lm_head.layer_norm.weight": torch.ones(WIDTH),
        "lm_head.layer_norm.bias": torch.zeros(WIDTH),
        "lm_head.bias": torch.zeros(VOCABULARY),
    }


def new_model(weights: Weights):
    """Its model holding ``weights``, float32, with as many threads as PyTorch has.

    The number of threads is read once in a process, when the first model is made.
    """
    os.environ.setdefault("ESM_NUM_THREADS", str(torch.get_num_threads()))
    import esm_cpp

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        save_file({k: v.float().contiguous() for k, v in its_file(weights).items()}, path)
        return esm_cpp.Model.load_from_safetensors(str(path))


def new_features(weights: Weights) -> Callable[[list[str]], torch.Tensor]:
    """What turns sequences into the mean over residues of the last layer, float32 [B, 320]."""
    model = new_model(weights)

    def features(sequences: list[str]) -> torch.Tensor:
        rows = [_mean_residue(model, sequence) for sequence in sequences]
        return torch.from_numpy(np.stack(rows))

    return features


def _mean_residue(model, sequence: str) -> np.ndarray:
    _, states = model.forward_with_hidden_states(encode(sequence).astype(np.int32))
    return states[-1][1:-1].mean(0)
