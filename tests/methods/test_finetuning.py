"""End-to-end LoRA: starts at the frozen model, learns, touches only its blocks, resumes exactly."""

import inspect

import numpy as np
import pytest
import synthetic
import torch

from arg_utils.data.fasta import Proteins
from arg_utils.esm2 import batches
from arg_utils.esm2.embeddings import LAST_MEAN, embed
from arg_utils.esm2.lora import count_trainable, trainable_state
from arg_utils.methods import finetuning
from arg_utils.methods.classifier import logits, new_head
from arg_utils.methods.finetuning import ProteinClassifier, finetune, predict_logits
from arg_utils.settings import LoraBlocks

SETTINGS = LoraBlocks(
    r=2,
    alpha=4,
    dropout=0.2,
    top_blocks=2,
    learning_rate=2e-3,
    head_learning_rate=2e-3,
    epochs=2,
    batch_tokens=200,
    max_per_class=None,
    watch_per_class=None,
)
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


def change(settings, **fields):
    return LoraBlocks(**{**vars(settings), **fields})


@pytest.fixture
def make(weights):
    """A fresh model on the same head each time."""

    def model(settings=SETTINGS, seed=0, precision=torch.float32):
        return ProteinClassifier(new_head(320, seed=3), settings, weights, precision, seed)

    return model


def before_each_epoch(monkeypatch, look):
    """Have ``look`` called with the arguments of each epoch of training; returns the original."""
    train_epoch = finetuning._train_epoch

    def spy(*arguments):
        given = inspect.signature(train_epoch).bind(*arguments).arguments
        look(given)
        return train_epoch(**given)

    monkeypatch.setattr(finetuning, "_train_epoch", spy)
    return train_epoch


def score_as_told(monkeypatch, scores):
    """The validation scores of epochs 0, 1, 2, ... are these."""
    row = finetuning._row
    monkeypatch.setattr(
        finetuning, "_row", lambda epoch, *rest: row(epoch, *rest) | {"val_macro_f1": scores[epoch]}
    )


def run(model, seed=0, **options):
    return finetune(model, TRAIN, VAL, seed, progress=False, **options)


def parameters(model):
    return {name: p.detach().clone() for name, p in model.named_parameters()}


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("r", [2, 0])
def test_a_fresh_model_scores_as_its_head_on_frozen_features(make, weights, precision, r):
    head = new_head(320, seed=3)
    features = embed(VAL.sequences, LAST_MEAN, weights, precision, False, False)
    model = make(change(SETTINGS, top_blocks=6, r=r), precision=precision)
    found = predict_logits(model, VAL.sequences, progress=False)
    tolerance = 1e-4 if precision == torch.float32 else 2e-2
    np.testing.assert_allclose(found, logits(head, features), rtol=tolerance, atol=tolerance)


def test_the_loss_falls_on_a_learnable_task_and_the_history_tells(make):
    settings = change(SETTINGS, epochs=3, top_blocks=6, batch_tokens=100)
    model = make(change(settings, learning_rate=0.01, head_learning_rate=0.01))
    table = run(model)
    assert list(table.columns) == COLUMNS
    assert table["epoch"].tolist() == [0, 1, 2, 3]
    assert np.isnan(table["train_loss"][0])
    assert table["train_loss"][3] < 0.6 * table["train_loss"][1]
    assert table["val_macro_f1"][3] == pytest.approx(2 / 15), "both classes right, of 15"
    assert table["learning_rate"][3] == pytest.approx(0, abs=1e-9), "the cosine has run out"
    assert table["learning_rate"][1] > table["learning_rate"][2] > 0
    found = predict_logits(model, VAL.sequences, progress=False).argmax(axis=1)
    assert found.tolist() == VAL.labels.tolist()


@pytest.mark.parametrize("r", [2, 0])
def test_only_the_top_blocks_and_the_head_get_gradients_and_change(make, r):
    """``r = 0`` trains those blocks whole, without LoRA."""
    model = make(change(SETTINGS, epochs=1, r=r))
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
    settings = change(SETTINGS, dropout=dropout, epochs=3)
    model, said = make(settings), []

    def compare(given):
        found = predict_logits(given["model"], VAL.sequences, progress=False)
        fresh = make(settings)
        fresh.load_state_dict(trainable_state(given["model"]), strict=False)
        said.append(found)
        np.testing.assert_allclose(
            found, predict_logits(fresh, VAL.sequences, progress=False), rtol=1e-4, atol=1e-5
        )

    before_each_epoch(monkeypatch, compare)
    finetune(model, TRAIN, VAL, progress=False)
    updates = [t for n, t in trainable_state(model).items() if n.endswith("lora_B")]
    assert updates
    assert all(t.abs().max() > 0 for t in updates)
    assert len(said) == 3
    assert np.abs(said[1] - said[0]).max() > 1e-3 < np.abs(said[2] - said[1]).max()


def test_an_interrupted_run_ends_as_an_uninterrupted_one(make, tmp_path, monkeypatch, capsys):
    """Dropout, order, optimizer and schedule all go on where they were."""
    settings = change(SETTINGS, epochs=3, max_per_class=4)
    whole = make(settings)
    expected = run(whole)
    path = tmp_path / "kept.pt"

    def stop_in_the_third(given):
        if given["epoch"] == 3:
            given["batches"] = given["batches"][:1]
            epoch(**given)
            raise KeyboardInterrupt

    epoch = before_each_epoch(monkeypatch, stop_in_the_third)
    with pytest.raises(KeyboardInterrupt):
        run(make(settings), checkpoint=path)
    monkeypatch.setattr(finetuning, "_train_epoch", epoch)
    epochs = []
    before_each_epoch(monkeypatch, lambda given: epochs.append(given["epoch"]))
    torch.manual_seed(77)
    model = make(settings)
    found = finetune(model, TRAIN, VAL, 0, checkpoint=path, progress=True)
    assert epochs == [3]
    assert "2 of 3 epochs were done before" in capsys.readouterr().out
    assert found.drop(columns="seconds").equals(expected.drop(columns="seconds"))
    wanted = parameters(whole)
    assert all(torch.equal(tensor, wanted[name]) for name, tensor in parameters(model).items())


@pytest.mark.parametrize("other", ["seed", "settings", "start", "data", "nothing"])
def test_a_checkpoint_counts_only_for_the_same_work(make, tmp_path, monkeypatch, other):
    settings = change(SETTINGS, epochs=1, top_blocks=1)
    path = tmp_path / "kept.pt"
    run(make(settings), checkpoint=path)
    epochs = []
    before_each_epoch(monkeypatch, lambda given: epochs.append(given["epoch"]))
    if other == "settings":
        settings = change(settings, alpha=9)
    model = make(settings, seed=int(other == "start"))
    train = task(3) if other == "data" else TRAIN
    finetune(model, train, VAL, int(other == "seed"), checkpoint=path, progress=False)
    assert epochs == ([] if other == "nothing" else [1])


def test_the_best_epoch_is_put_back(make, monkeypatch):
    """The first epoch is best, the later ones are no better."""
    score_as_told(monkeypatch, [0.2, 0.9, 0.5, 0.9])
    model, starts = make(change(SETTINGS, epochs=3)), {}
    before_each_epoch(monkeypatch, lambda given: starts.update({given["epoch"]: parameters(model)}))
    table = run(model)
    assert table["best"].tolist() == [True, True, False, False], "an equal score is no better"
    assert all(torch.equal(tensor, starts[2][name]) for name, tensor in parameters(model).items())
    assert not torch.equal(starts[2]["head.weight"], starts[3]["head.weight"])
    assert not model.training


def test_training_that_does_not_help_leaves_the_start(make, monkeypatch):
    score_as_told(monkeypatch, [0.5, 0.5])
    model = make(change(SETTINGS, epochs=1))
    before = parameters(model)
    assert run(model)["best"].tolist() == [True, False]
    assert all(torch.equal(tensor, before[name]) for name, tensor in parameters(model).items())


def test_each_epoch_draws_its_own_capped_sample():
    labels = np.repeat([0, 11], [30, 5])
    train = Proteins(["MKV"] * 35, labels)
    settings = change(SETTINGS, max_per_class=8)
    drawn = [np.concatenate(finetuning._epoch_batches(train, settings, 0, e)) for e in (0, 1, 0)]
    for sample in drawn:
        assert np.bincount(labels[sample], minlength=12)[[0, 11]].tolist() == [8, 5]
    assert set(drawn[0]) != set(drawn[1])
    assert drawn[0].tolist() == drawn[2].tolist()


def test_a_capped_part_of_validation_is_watched(make, monkeypatch):
    watched, predict = [], finetuning.predict_logits

    def spy(model, sequences, **options):
        watched.append(sorted(VAL.labels[VAL.sequences.index(s)] for s in sequences))
        return predict(model, sequences, **options)

    monkeypatch.setattr(finetuning, "predict_logits", spy)
    run(make(change(SETTINGS, epochs=1, watch_per_class=2)))
    assert watched == [[0, 0, 11, 11]] * 2


def test_predictions_come_in_the_order_given_whatever_the_batches(make):
    model = make()
    sequences = [*VAL.sequences, "M" * 1500, "M"]
    found = predict_logits(model, sequences, batch_tokens=90, progress=False)
    turned = predict_logits(model, sequences[::-1], progress=False)[::-1]
    assert found.shape == (len(sequences), 15)
    np.testing.assert_allclose(found, turned, rtol=1e-4, atol=1e-4)
    assert predict_logits(model, [], progress=False).shape == (0, 15)


def test_training_leaves_the_random_numbers_of_others_alone(make):
    model = make(change(SETTINGS, epochs=1))
    before = torch.random.get_rng_state()
    finetune(model, TRAIN, VAL, progress=False)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_gradients_of_parts_are_the_whole_batch_s_for_any_number_of_threads(make, monkeypatch):
    monkeypatch.setattr(finetuning, "PART_TOKENS", 90)
    monkeypatch.setattr(batches, "cores", lambda: 8)
    model = make(change(SETTINGS, dropout=0.0)).train()
    for name, parameter in model.named_parameters():
        if name.endswith("lora_B"):
            torch.nn.init.normal_(parameter, std=0.02)
    trained = [p for p in model.parameters() if p.requires_grad]
    batch, shift = np.arange(len(TRAIN.labels)), torch.linspace(-1, 1, 15)
    found, before = [], torch.get_num_threads()
    for count in (1, 2, 3):
        torch.set_num_threads(count)
        try:
            loss = finetuning.set_gradients(model, TRAIN, batch, shift, trained)
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
