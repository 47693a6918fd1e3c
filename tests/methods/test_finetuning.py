"""End-to-end LoRA: starts at the frozen model, learns, touches only its blocks, resumes exactly."""

from dataclasses import replace

import numpy as np
import pytest
import synthetic
import torch

from arg_utils.data.proteins import Proteins, cap_per_class
from arg_utils.esm2 import batches
from arg_utils.esm2.embeddings import LAST_MEAN, embed
from arg_utils.esm2.lora import count_trainable, trainable_state
from arg_utils.methods import classifier, finetuning
from arg_utils.methods.classifier import ProteinClassifier, set_gradients, share_shift
from arg_utils.methods.course import logits, new_head
from arg_utils.methods.finetuning import LoraInBlocks, Trainer, estimated_macro_f1
from arg_utils.metrics.scores import macro_f1
from arg_utils.settings import LoraBlocks, load_profile

SETTINGS = LoraBlocks(
    r=2, alpha=4, dropout=0.2, top_blocks=2, learning_rate=2e-3, head_learning_rate=2e-3,
    batch_tokens=200, max_per_class=None, watch_per_class=None,
)  # fmt: skip
COLUMNS = ["epoch", "learning_rate", "train_loss", "val_macro_f1", "best", "seconds"]


def task(seed, count=12):
    """Two classes that differ in a third of their residues."""
    rng, labels = np.random.default_rng(seed), np.arange(count) % 2 * 11
    sequences = [synthetic.protein(rng, int(rng.integers(20, 50))) for _ in labels]
    letters = {0: "K", 11: "D"}
    sequences = [
        "".join(letters[label] if i % 3 == 2 else residue for i, residue in enumerate(sequence))
        for sequence, label in zip(sequences, labels, strict=True)
    ]
    return Proteins(sequences, labels)


TRAIN, VAL = task(1), task(2)


@pytest.fixture
def make(weights):
    """A fresh model on the same head each time."""

    def model(settings=SETTINGS, seed=0, precision=torch.float32):
        return ProteinClassifier(new_head(320, seed=3), settings, weights, precision, seed)

    return model


def before_each_epoch(monkeypatch, look):
    """Have ``look`` called with trainer and epoch before each; returns the original."""
    train_epoch = Trainer.train_epoch

    def spy(trainer, epoch, progress=True):
        look(trainer, epoch)
        return train_epoch(trainer, epoch, progress)

    monkeypatch.setattr(Trainer, "train_epoch", spy)
    return train_epoch


def score_as_told(monkeypatch, scores):
    """The validation scores of epochs 0, 1, 2, ... are these."""
    told = iter(scores)
    monkeypatch.setattr(finetuning, "estimated_macro_f1", lambda *_: next(told))


def run(model, seed=0, checkpoint=None, train=TRAIN, progress=False):
    return Trainer(model, train, VAL, seed).run(checkpoint, progress=progress)


def parameters(model):
    return {name: p.detach().clone() for name, p in model.named_parameters()}


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("r", [2, 0])
def test_a_fresh_model_scores_as_its_head_on_frozen_features(make, weights, precision, r):
    head = new_head(320, seed=3)
    features = embed(VAL.sequences, LAST_MEAN, weights, precision, False, False)
    model = make(replace(SETTINGS, top_blocks=6, r=r), precision=precision)
    scores = model.all_logits(VAL.sequences, False)
    tolerance = 1e-4 if precision == torch.float32 else 2e-2
    np.testing.assert_allclose(scores, logits(head, features), rtol=tolerance, atol=tolerance)


def test_the_loss_falls_on_a_learnable_task_and_the_history_tells(make):
    settings = replace(SETTINGS, epochs=3, top_blocks=6, batch_tokens=100)
    model = make(replace(settings, learning_rate=0.01, head_learning_rate=0.01))
    table = run(model)
    assert list(table.columns) == COLUMNS
    assert table["epoch"].tolist() == [0, 1, 2, 3]
    assert np.isnan(table["train_loss"][0])
    assert table["train_loss"][3] < 0.6 * table["train_loss"][1]
    assert table["val_macro_f1"][3] == pytest.approx(2 / 15), "both classes right, of 15"
    assert table["learning_rate"][3] == pytest.approx(0, abs=1e-9), "the cosine has run out"
    assert table["learning_rate"][1] > table["learning_rate"][2] > 0
    scores = model.all_logits(VAL.sequences, False).argmax(axis=1)
    assert scores.tolist() == VAL.labels.tolist()


@pytest.mark.parametrize("r", [2, 0])
def test_only_the_top_blocks_and_the_head_get_gradients_and_change(make, r):
    """``r = 0`` trains those blocks whole, without LoRA."""
    model = make(replace(SETTINGS, epochs=1, r=r))
    before = parameters(model)
    run(model)
    after = parameters(model)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    with_gradient = {name for name, p in model.named_parameters() if p.grad is not None}
    intended = {name for name in before if name.startswith("head.")}
    blocks = ("backbone.layers.4.", "backbone.layers.5.")
    intended |= {n for n in before if n.startswith(blocks) and ("lora_" in n or r == 0)}
    assert with_gradient == intended
    # A key's bias adds the same to all scores of a query: its true gradient is zero.
    assert changed - {n for n in intended if "k_proj.bias" in n} == {
        n for n in intended if "k_proj.bias" not in n
    }
    assert count_trainable(model) == sum(before[name].numel() for name in intended)


def test_blocks_below_run_without_autograd(make):
    model = make()
    model.train()
    seen = {}
    block = model.backbone.block

    def spy(index, hidden, update, packing):
        seen[index] = hidden.requires_grad
        return block(index, hidden, update, packing)

    model.backbone.block = spy
    model(TRAIN.sequences[:2]).sum().backward()
    assert seen == {0: False, 1: False, 2: False, 3: False, 4: False, 5: True}


@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_what_is_trained_is_what_is_computed(make, monkeypatch, dropout):
    """Epoch after epoch, the model says what a fresh one with its parameters says.

    The fused optimizer changes parameters without raising their version: a matrix merged with
    LoRA's update and kept would go on as it was before training.
    """
    settings = replace(SETTINGS, dropout=dropout, epochs=3)
    model, said = make(settings), []

    def compare(*_):
        fresh = make(settings)
        fresh.load_state_dict(trainable_state(model), strict=False)
        said.append(model.all_logits(VAL.sequences, False))
        expected = fresh.all_logits(VAL.sequences, False)
        np.testing.assert_allclose(said[-1], expected, rtol=1e-4, atol=1e-5)

    before_each_epoch(monkeypatch, compare)
    run(model)
    updates = [t for n, t in trainable_state(model).items() if n.endswith("lora_B")]
    assert updates
    assert all(t.abs().max() > 0 for t in updates)
    assert len(said) == 3
    assert np.abs(said[1] - said[0]).max() > 1e-3 < np.abs(said[2] - said[1]).max()


def test_an_interrupted_run_ends_as_an_uninterrupted_one(make, tmp_path, monkeypatch, capsys):
    """Dropout, order, optimizer and schedule all go on where they were."""
    settings = replace(SETTINGS, epochs=3, max_per_class=4)
    whole, path, epochs = make(settings), tmp_path / "checkpoint.pt", []
    expected = run(whole)

    def stop_in_the_third(trainer, epoch):
        if epoch == 3:
            trainer.batches[2] = trainer.batches[2][:1]
            train_epoch(trainer, epoch, False)
            raise KeyboardInterrupt

    train_epoch = before_each_epoch(monkeypatch, stop_in_the_third)
    with pytest.raises(KeyboardInterrupt):
        run(make(settings), checkpoint=path)
    monkeypatch.setattr(Trainer, "train_epoch", train_epoch)
    before_each_epoch(monkeypatch, lambda _, epoch: epochs.append(epoch))
    torch.manual_seed(77)
    model = make(settings)
    table = run(model, checkpoint=path, progress=True)
    assert epochs == [3]
    assert "2 of 3 epochs were done before" in capsys.readouterr().out
    assert table.drop(columns="seconds").equals(expected.drop(columns="seconds"))
    wanted = parameters(whole)
    assert all(torch.equal(tensor, wanted[name]) for name, tensor in parameters(model).items())


@pytest.mark.parametrize("other", ["seed", "settings", "start", "data", "nothing"])
def test_a_checkpoint_counts_only_for_the_same_work(make, tmp_path, monkeypatch, other):
    settings = replace(SETTINGS, epochs=1, top_blocks=1)
    path, epochs = tmp_path / "checkpoint.pt", []
    run(make(settings), checkpoint=path)
    before_each_epoch(monkeypatch, lambda _, epoch: epochs.append(epoch))
    settings = replace(settings, alpha=9 if other == "settings" else settings.alpha)
    model = make(settings, seed=int(other == "start"))
    run(model, int(other == "seed"), path, task(3) if other == "data" else TRAIN)
    assert epochs == ([] if other == "nothing" else [1])


def test_the_best_epoch_is_put_back(make, monkeypatch):
    """The first epoch is best, the later ones are no better."""
    score_as_told(monkeypatch, [0.2, 0.9, 0.5, 0.9])
    model, starts = make(replace(SETTINGS, epochs=3)), {}
    before_each_epoch(monkeypatch, lambda _, epoch: starts.update({epoch: parameters(model)}))
    table = run(model)
    assert table["best"].tolist() == [True, True, False, False], "an equal score is no better"
    assert all(torch.equal(tensor, starts[2][name]) for name, tensor in parameters(model).items())
    assert not torch.equal(starts[2]["head.weight"], starts[3]["head.weight"])
    assert not model.training


def test_training_that_does_not_help_leaves_the_start(make, monkeypatch):
    score_as_told(monkeypatch, [0.5, 0.5])
    model = make(replace(SETTINGS, epochs=1))
    before = parameters(model)
    assert run(model)["best"].tolist() == [True, False]
    assert all(torch.equal(tensor, before[name]) for name, tensor in parameters(model).items())


def test_each_epoch_draws_its_own_capped_sample_and_a_capped_part_is_watched(make):
    labels = np.repeat([0, 11], [30, 5])
    part = Proteins(["MKV"] * 35, labels)
    model = make(replace(SETTINGS, max_per_class=8, watch_per_class=2))
    first, again = (Trainer(model, part, part) for _ in range(2))
    drawn = [np.concatenate(batches) for batches in (*first.batches, *again.batches)]
    for sample in drawn:
        assert np.bincount(labels[sample], minlength=12)[[0, 11]].tolist() == [8, 5]
    assert set(drawn[0]) != set(drawn[1])
    assert drawn[0].tolist() == drawn[2].tolist()
    assert labels[first.watched].tolist() == [0, 0, 11, 11]


@pytest.mark.parametrize("scores", [[0.9, 0.1], [0.1, 0.9]])
def test_no_protein_is_predicted_twice(weights, own_cache, monkeypatch, scores):
    """Neither before training, where frozen features tell, nor those watched when it is over."""
    asked, all_logits = [], ProteinClassifier.all_logits

    def spy(model, sequences, progress=True):
        asked.append(len(sequences))
        return all_logits(model, sequences, progress)

    score_as_told(monkeypatch, scores)
    monkeypatch.setattr(ProteinClassifier, "all_logits", spy)
    settings = replace(SETTINGS, epochs=1, watch_per_class=2)
    method = LoraInBlocks().fit(TRAIN, VAL, replace(load_profile("smoke"), lora_blocks=settings))
    held = method.held_out(VAL)
    assert asked == [4, 8]
    np.testing.assert_allclose(held, method.probabilities(VAL.sequences), rtol=0.02, atol=1e-3)


def test_predictions_come_in_the_order_given_whatever_the_batches(make, monkeypatch):
    model, sequences = make(), [*VAL.sequences, "M" * 1500, "M"]
    turned = model.all_logits(sequences[::-1], False)[::-1]
    monkeypatch.setattr(
        classifier, "token_batches", lambda lengths: batches.token_batches(lengths, 90)
    )
    in_order = model.all_logits(sequences, False)
    assert in_order.shape == (len(sequences), 15)
    np.testing.assert_allclose(in_order, turned, rtol=1e-4, atol=1e-4)
    assert model.all_logits([], False).shape == (0, 15)


def test_training_leaves_the_random_numbers_of_others_alone(make):
    model = make(replace(SETTINGS, epochs=1))
    before = torch.random.get_rng_state()
    run(model)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_gradients_of_parts_are_the_whole_batch_s_for_any_number_of_threads(make, monkeypatch):
    monkeypatch.setattr(classifier, "PART_TOKENS", 90)
    monkeypatch.setattr(batches, "cores", lambda: 8)
    model = make(replace(SETTINGS, dropout=0.0)).train()
    for name, parameter in model.named_parameters():
        if name.endswith("lora_B"):
            torch.nn.init.normal_(parameter, std=0.02)
    trained = [p for p in model.parameters() if p.requires_grad]
    batch, shift = np.arange(len(TRAIN.labels)), torch.linspace(-1, 1, 15)
    found, before = [], torch.get_num_threads()
    for count in (1, 2, 3):
        torch.set_num_threads(count)
        try:
            loss = set_gradients(model, TRAIN, batch, shift, trained)
        finally:
            torch.set_num_threads(before)
        found.append([torch.tensor(loss), *(p.grad for p in trained)])
    assert all(map(torch.equal, found[0], found[1]))
    assert all(map(torch.equal, found[0], found[2]))
    target = torch.from_numpy(TRAIN.labels)
    whole = torch.nn.functional.cross_entropy(model(TRAIN.sequences) + shift, target)
    for own, wanted in zip(found[0][1:], torch.autograd.grad(whole, trained), strict=True):
        assert (own - wanted).norm() <= 1e-4 * wanted.norm()
    assert found[0][0].item() == pytest.approx(whole.item(), rel=1e-5)


LABELS = np.repeat([0, 11, 14], [4, 40, 400])


def test_the_shift_turns_sample_posteriors_into_those_of_the_data():
    """Scores that fit the sample, less the shift, must give the data's shares."""
    sample_share = torch.tensor([4, 8, 8]) / 20
    data_share = torch.tensor([4, 40, 400]) / 444
    shift = share_shift(LABELS, 8)[[0, 11, 14]]
    assert torch.allclose(torch.softmax(sample_share.log() - shift, 0), data_share)
    assert torch.equal(share_shift(LABELS, None), torch.zeros(15))


def test_a_class_without_proteins_is_left_alone():
    shift = share_shift(LABELS, 8)
    assert torch.isfinite(shift).all()
    assert shift[5] == 0


@pytest.mark.parametrize("most", [4, None])
def test_a_capped_sample_estimates_the_score_of_all(most):
    """One wrong of four nonarg drawn stands for a hundred false positives, not for one."""
    drawn = cap_per_class(LABELS, most)
    labels = LABELS[drawn]
    predicted = np.roll(labels, 7) if most is None else np.where(np.arange(12) == 11, 0, labels)
    times = 1 if most is None else np.repeat([1, 10, 100], 4)
    expected = macro_f1(np.repeat(labels, times), np.repeat(predicted, times))
    assert np.isclose(estimated_macro_f1(LABELS, drawn, predicted), expected)
    assert most is None or expected < macro_f1(labels, predicted)


def test_the_training_rate_decides_the_profile_and_is_measured_once(
    own_cache, weights, monkeypatch, capsys
):
    verdicts = []
    monkeypatch.setattr(classifier, "MEASURED_LENGTHS", (152, 102))
    for quick, name in ((1e-3, "laptop"), (1e12, "short")):
        monkeypatch.setattr(classifier, "QUICK", quick)
        monkeypatch.setenv("ARG_CACHE", str(own_cache / name))
        classifier.trains_quickly.cache_clear()
        verdicts.append(classifier.trains_quickly())
        assert f"a second here: profile {name}" in capsys.readouterr().err
        classifier.trains_quickly.cache_clear()
        assert classifier.trains_quickly() == verdicts[-1]
        assert "profile" not in capsys.readouterr().err, "what was measured is kept"
    classifier.trains_quickly.cache_clear()
    assert verdicts == [True, False]
