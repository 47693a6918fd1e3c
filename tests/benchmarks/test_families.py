"""The ablation that trains LoRA on families of other proteins."""

import gzip
import json
from types import SimpleNamespace

import numpy as np
import pytest
import synthetic
import torch
from safetensors.torch import load_file

from arg_utils.esm2 import lora
from arg_utils.labels import NONARG
from benchmarks.ablations import __main__ as command
from benchmarks.ablations import contrast, families

SEQUENCES = synthetic.families(np.random.default_rng(1), 6, 2, 0.6, 60)
MEMBERS = [(i, i + 1) for i in range(0, 12, 2)]


@pytest.fixture
def short(monkeypatch):
    """Trainings of four steps, a checkpoint every second one, in float32."""
    monkeypatch.setenv("ARG_PRECISION", "float32")
    monkeypatch.setattr(contrast, "STEPS", 4)
    monkeypatch.setattr(contrast, "CHECKPOINT", 2)


def training(weights):
    return contrast.Training(SEQUENCES, MEMBERS, weights)


@pytest.mark.usefixtures("short")
def test_an_interrupted_training_ends_with_the_same_bits(weights, tmp_path):
    whole, first, second = (training(weights) for _ in range(3))
    whole.run(4, tmp_path / "whole.pt")
    first.run(2, tmp_path / "parts.pt")
    second.run(4, tmp_path / "parts.pt")
    assert whole.losses == second.losses
    assert whole.losses[-1] < whole.losses[0]  # every batch is of all families
    assert (whole.residues, len(first.losses)) == (second.residues, 2)
    halfway, *ends = (lora.trainable_state(t.model) for t in (first, whole, second))
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])
    assert not any(torch.equal(ends[0][name], halfway[name]) for name in halfway)


@pytest.mark.usefixtures("short")
def test_merged_weights_give_the_vectors_that_were_trained(weights, tmp_path):
    trained = training(weights)
    trained.run(2, tmp_path / "some.pt")
    merged = families.embed(SEQUENCES, weights=trained.weights(), cached=False, progress=False)
    vectors = trained.model.all_features(SEQUENCES, progress=False)
    np.testing.assert_allclose(merged, vectors, atol=1e-4)
    frozen = families.embed(SEQUENCES, weights=weights, cached=False, progress=False)
    assert np.abs(merged - frozen).max() > 1e-3


@pytest.mark.usefixtures("short")
def test_gradients_in_two_passes_are_those_of_one(weights, monkeypatch):
    monkeypatch.setattr(contrast, "PART_TOKENS", 200)  # four parts
    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", lambda *_: None)
    cached = training(weights)
    chosen, texts = cached.draw(0)
    family = torch.from_numpy(chosen // 2)
    vectors = cached.model.features(texts)
    loss = contrast.contrastive_loss(vectors, family[:, None] == family, torch.eye(12).bool())
    slopes = torch.autograd.grad(loss, cached.trained)
    cached.step()
    assert cached.losses == [pytest.approx(loss.item(), rel=1e-4)]
    for parameter, slope in zip(cached.trained, slopes, strict=True):
        torch.testing.assert_close(parameter.grad, slope, atol=1e-5, rtol=1e-3)


def test_the_same_protein_is_neither_alike_nor_different():
    vectors = torch.randn(4, 320, generator=torch.Generator().manual_seed(0))
    twice = torch.cat([vectors, vectors[:1]])
    who = torch.tensor([0, 1, 2, 3, 0])
    family = who // 2
    itself = who[:, None] == who
    before = contrast.contrastive_loss(twice, family[:, None] == family, itself)
    scores = torch.nn.functional.normalize(twice - twice.mean(0), dim=1)
    scores = scores @ scores.T / contrast.TEMPERATURE
    each = []
    for i in range(5):
        others = [j for j in range(5) if who[j] != who[i]]
        log_p = {j: scores[i, j] - scores[i, others].logsumexp(0) for j in others}
        each.append(-torch.stack([log_p[j] for j in others if family[j] == family[i]]).mean())
    assert before.item() == pytest.approx(torch.stack(each).mean().item(), rel=1e-5)


def test_proteins_of_held_out_families_are_never_drawn(weights):
    """Families that overlap: a protein of a held-out family is in others too."""
    rng = np.random.default_rng(0)
    members = sorted({tuple(sorted(rng.choice(60, 3, replace=False))) for _ in range(30)})
    trained, held_out = families.split(members)
    assert len(held_out) == 6
    forbidden = set().union(*held_out)
    assert any(forbidden & set(family) for family in set(members) - set(held_out))
    some = contrast.Training(synthetic.families(rng, 60, 1, length=60), trained, weights)
    drawn = np.concatenate([some.draw(step)[0] for step in range(20)])
    assert not forbidden & set(drawn.tolist())
    assert set(drawn.tolist()) == set().union(*trained)


def test_families_are_of_reactions_without_subunits_and_near_copies(
    own_cache, monkeypatch, tmp_path
):
    rng = np.random.default_rng(2)
    a, b, c, d = synthetic.families(rng, 4, 1, length=100)
    near = synthetic.mutant(rng, a, 0.9)
    proteins = {"m1.a": a, "m2.near": near, "m1.b": b, "m1.c": c, "m1.d": d, "m1.short": b[:40]}
    rules = ["a,R1", "b,R1", "a,R2", "b,R2", "a,R3", "c,R4", "d,R4+", "c,R5", "d,R5", "short,R6"]
    lines = ["gene,protein,reaction,model", "G_near,P_near,R3,m2"]
    for gene, reaction in (rule.split(",") for rule in rules):
        lines.append(f"G_{gene},P_{gene}{'+x' * ('+' in reaction)},{reaction.strip('+')},m1")
    fasta, table = tmp_path / "p.faa", tmp_path / "r.csv.gz"
    fasta.write_text("".join(f">{name}\n{sequence}\n" for name, sequence in proteins.items()))
    table.write_bytes(gzip.compress("\n".join(lines).encode()))
    paths = {families.PROTEINS: fasta, families.RULES: table}
    wheel = SimpleNamespace(package="x", fetch=lambda folder: paths)
    monkeypatch.setattr(families, "WHEEL", wheel)
    sequences, members = families.read_families()
    assert len(sequences) == 4
    named = {frozenset("ab" if i in (a, near) else i for i in map(sequences.__getitem__, family))
             for family in members}  # fmt: skip
    assert named == {frozenset({"ab", b}), frozenset({c, d})}


@pytest.mark.usefixtures("settings", "short")
def test_what_resembles_an_arg_is_left_out_and_the_table_is_written(
    work, monkeypatch, tmp_path, capsys
):
    arg = next(s for s, c in zip(work.val.sequences, work.val.labels, strict=True) if c != NONARG)
    like = synthetic.mutant(np.random.default_rng(3), arg, 0.8)
    sequences = [*SEQUENCES, like]
    members = [*MEMBERS[:5], (10, 11, 12)]
    monkeypatch.setattr(families, "read_families", lambda: (sequences, members))
    monkeypatch.setattr(families, "split", lambda members: (members[1:], members[:1]))
    monkeypatch.setattr(families, "DIVISIONS", (1,))
    monkeypatch.setattr(command, "RESULTS", tmp_path)
    monkeypatch.setattr(command, "open_workspace", lambda: work)
    assert command.main(["families", "--steps", "2"]) == 0
    assert "frozen and adapted" in capsys.readouterr().out
    written = json.loads((tmp_path / "families.json").read_text())
    assert work.source.items() <= written.items()
    rows = {(row["training"], row["features"]): row for row in written["rows"]}
    assert rows["excluded", "adapted"]["proteins"] == 10
    assert rows["all", "adapted"]["proteins"] == 11
    assert {row["families"] for row in written["rows"][1:]} == {5}
    assert rows["none", "frozen"]["gain"] == 0
    adapters = load_file(tmp_path / "families_lora.safetensors")
    assert sum(tensor.numel() for tensor in adapters.values()) == 276_480
    with pytest.raises(SystemExit):
        command.main(["families", "--steps", "0"])
