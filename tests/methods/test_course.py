"""The course's protocol by stages, resumable to the last bit, with gradients written down.

The best is kept, the rate divided by ten; LoRA on the head is what it claims to be.
"""

import copy

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import f1_score

from arg_utils.data.proteins import cap_per_class
from arg_utils.esm2.lora import merged_linear
from arg_utils.methods import course
from arg_utils.methods.course import (
    Examples,
    StagedTrainer,
    adapt_head,
    gradients_of,
    logits,
    new_head,
    softmax,
)
from arg_utils.metrics.scores import macro_f1
from arg_utils.settings import LoraClassifier, StagedTraining

SETTINGS = StagedTraining(epochs=4, batch_size=4)
COLUMNS = ["stage", "epoch", "learning_rate", "train_loss", "val_macro_f1", "best", "seconds"]


def examples(seed, count=60, noise=0.8, width=20):
    """Points around one centre a class: learnable, but not at once."""
    centres = np.random.default_rng(0).normal(size=(15, width))
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 15
    features = centres[labels] + noise * rng.normal(size=(count, width))
    return Examples(features.astype(np.float32), labels)


TRAIN, VAL = examples(1), examples(2)


def plain_head(seed=7):
    return new_head(20, seed)


def lora_head(alpha=32, dropout=0.2):
    return adapt_head(plain_head(), LoraClassifier(r=4, alpha=alpha, dropout=dropout), seed=8)


def run(head=None, train=TRAIN, val=VAL, settings=SETTINGS, checkpoint=None, **options):
    """A finished trainer; its head starts from the same parameters each time."""
    trainer = StagedTrainer(head or plain_head(), train, val, settings, **options)
    return trainer.run(checkpoint, progress=False)


def predicted(head, part=VAL):
    return logits(head, part.features).argmax(axis=1)


def before_each_stage(monkeypatch, look):
    """Have ``look`` called with trainer and stage before each; returns the original."""
    stage = StagedTrainer.train_stage

    def spy(trainer, number, progress=True):
        look(trainer, number)
        stage(trainer, number, progress)

    monkeypatch.setattr(StagedTrainer, "train_stage", spy)
    return stage


@pytest.mark.parametrize("make_head", [plain_head, lora_head])
def test_each_stage_goes_on_from_the_best_so_far_with_a_fresh_adam(monkeypatch, make_head):
    stages, optimizers, adam = [], [], course.Adam

    def note(trainer, number):
        parameters = {n: p.detach().clone() for n, p in trainer.head.named_parameters()}
        best = {n: p.clone() for n, p in trainer.best_state.items()}
        stages.append((parameters, best, trainer.best_f1))

    def make(parameters, lr):
        optimizers.append(adam(parameters, lr))
        return optimizers[-1]

    before_each_stage(monkeypatch, note)
    monkeypatch.setattr(course, "Adam", make)
    # A first rate so large that the last epoch is not the best one.
    settings = StagedTraining(learning_rates=(20.0, 2.0, 0.2), epochs=5)
    trainer = run(make_head(), settings=settings)
    for parameters, best, _ in stages:
        assert all(torch.equal(parameters[name], tensor) for name, tensor in best.items())
    assert [optimizer.lr for optimizer in optimizers] == pytest.approx([20, 2, 0.2])
    assert [optimizer.steps for optimizer in optimizers] == [5 * 15] * 3, "of each stage alone"
    ends = [trainer.history[last]["best"] for last in (4, 9)]
    assert not all(ends), "a stage must end away from its best, or this shows nothing"
    assert [f1 for _, _, f1 in stages] == sorted(f1 for _, _, f1 in stages)
    state = dict(trainer.head.named_parameters())
    assert all(torch.equal(state[name], t) for name, t in trainer.best_state.items())


def test_the_history_tells_every_epoch():
    table = pd.DataFrame(run().history)
    assert list(table.columns) == COLUMNS
    assert table["stage"].tolist() == [1] * 4 + [2] * 4 + [3] * 4
    assert table["epoch"].tolist() == [1, 2, 3, 4] * 3
    assert table["learning_rate"].tolist() == [1e-3] * 4 + [1e-4] * 4 + [1e-5] * 4
    assert table["train_loss"].between(0.1, 10).all()
    assert (table["seconds"] > 0).all()
    assert table["train_loss"][3] < table["train_loss"][0]


@pytest.mark.parametrize("rate", [1e-3, 1.0])
def test_the_best_never_falls_and_marks_where_it_rose(rate):
    """Even a rate that ruins the head leaves the score it had before training."""
    start = best = macro_f1(VAL.labels, predicted(plain_head()))
    trainer = run(settings=StagedTraining((rate, rate / 10), epochs=4))
    for row in trainer.history:
        assert row["best"] == (row["val_macro_f1"] > best)
        best = max(best, row["val_macro_f1"])
    assert trainer.best_f1 == best >= start
    assert macro_f1(VAL.labels, predicted(trainer.head)) == best
    assert not trainer.head.training


def test_the_score_is_macro_f1_over_all_15_classes():
    """A class that validation lacks counts as 0: seven of eight classes right is not 7 / 8."""
    present = VAL.labels < 8
    part = Examples(VAL.features[present], VAL.labels[present])
    trainer = run(val=part)
    answers = predicted(trainer.head, part)
    expected = f1_score(part.labels, answers, labels=range(15), average="macro", zero_division=0)
    assert trainer.best_f1 == pytest.approx(expected)
    assert trainer.best_f1 <= 8 / 15


def test_adam_takes_the_steps_of_pytorchs():
    """Also where gradients are tiny, zero, or leap by orders of magnitude."""
    generator = torch.Generator().manual_seed(0)
    ours, theirs = (
        [torch.nn.Parameter(torch.ones(shape)) for shape in ((3, 4), (5,))] for _ in range(2)
    )
    optimizer, expected = course.Adam(ours, lr=1e-2), torch.optim.Adam(theirs, lr=1e-2)
    for scale in (1, 1e-9, 0, 1e4, *[1] * 300):
        for a, b in zip(ours, theirs, strict=True):
            a.grad.copy_(scale * torch.randn(a.shape, generator=generator))
            b.grad = a.grad.clone()
        optimizer.step()
        expected.step()
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    assert (ours[0] != 1).all()


def test_an_epoch_is_that_of_an_ordinary_loop():
    """PyTorch's Adam on traced gradients, in the same order of examples, ends at the same head."""
    settings = StagedTraining((1e-2,), epochs=1)
    expected = plain_head()
    generator = torch.Generator().manual_seed(0 + 1000 * 1)
    torch.randint(2**31, (1,), generator=generator)
    order = torch.randperm(len(TRAIN.labels), generator=generator)
    optimizer = torch.optim.Adam(expected.parameters(), lr=1e-2)
    for batch in order.split(4):
        optimizer.zero_grad()
        scores = expected(torch.from_numpy(TRAIN.features)[batch])
        F.cross_entropy(scores, torch.from_numpy(TRAIN.labels)[batch]).backward()
        optimizer.step()
    trainer = run(settings=settings)
    assert trainer.history[0]["best"], "or the head was put back"
    torch.testing.assert_close(trainer.head.state_dict(), expected.state_dict())


@pytest.mark.parametrize("make_head", [plain_head, lora_head])
def test_an_interrupted_run_ends_as_an_uninterrupted_one(tmp_path, monkeypatch, make_head, capsys):
    """Bit for bit: order of examples and dropout of a stage do not depend on those before."""
    torch.manual_seed(98)
    expected, path, done = run(make_head(), seed=3), tmp_path / "checkpoint.pt", []

    def stop_in_the_second(trainer, number):
        if number == 1:
            trainer.settings = StagedTraining(epochs=1)
            stage(trainer, number, progress=False)
            raise KeyboardInterrupt

    stage = before_each_stage(monkeypatch, stop_in_the_second)
    with pytest.raises(KeyboardInterrupt):
        run(make_head(), seed=3, checkpoint=path)
    monkeypatch.setattr(StagedTrainer, "train_stage", stage)
    before_each_stage(monkeypatch, lambda trainer, number: done.append(number))
    torch.manual_seed(99)
    for stages in ([1, 2], []):
        trainer = run(make_head(), seed=3, checkpoint=path)
        assert done == stages
        done.clear()
        assert trainer.best_f1 == expected.best_f1
        same = [pd.DataFrame(t.history).drop(columns="seconds") for t in (trainer, expected)]
        assert same[0].equals(same[1])
        state = expected.head.state_dict()
        assert all(torch.equal(p, state[n]) for n, p in trainer.head.state_dict().items())
    StagedTrainer(make_head(), TRAIN, VAL, SETTINGS, 3).run(path)
    assert capsys.readouterr().out == ""


def flipped(labels):
    return np.where(np.arange(len(labels)) == 5, 14 - labels, labels)


CHANGED = {
    "seed": {"seed": 1},
    "epochs": {"settings": StagedTraining(epochs=2)},
    "rates": {"settings": StagedTraining((1e-3, 1e-4), epochs=4)},
    "first stage": {"first_stage": 4},
    "a label": {"train": Examples(TRAIN.features, flipped(TRAIN.labels))},
    "a feature": {"train": Examples(TRAIN.features + np.float32(1e-6), TRAIN.labels)},
    "validation": {"val": examples(3)},
    "start": {"head": lambda: plain_head(6)},
    "scaling": {"head": lambda: lora_head(alpha=99)},
    "dropout": {"head": lambda: lora_head(dropout=0.9)},
    "nothing": {},
}


@pytest.mark.parametrize("change", CHANGED)
def test_a_checkpoint_counts_only_for_the_same_work(tmp_path, monkeypatch, change):
    before = lora_head if change in ("scaling", "dropout") else plain_head
    options, done = {"head": before, **CHANGED[change]}, []
    run(before(), checkpoint=tmp_path / "checkpoint.pt")
    before_each_stage(monkeypatch, lambda trainer, number: done.append(number))
    run(options.pop("head")(), checkpoint=tmp_path / "checkpoint.pt", **options)
    assert bool(done) == (change != "nothing")


def test_a_damaged_checkpoint_is_as_good_as_none(tmp_path):
    path = tmp_path / "checkpoint.pt"
    expected = run(checkpoint=path)
    for content in (b"", path.read_bytes()[:-50], b"not a checkpoint"):
        path.write_bytes(content)
        trainer = run(checkpoint=path)
        assert len(trainer.history) == 12
        assert torch.equal(trainer.head.weight, expected.head.weight)


def test_neither_training_nor_new_layers_touch_the_global_random_state():
    torch.manual_seed(5)
    state = torch.get_rng_state()
    run(lora_head())
    assert torch.equal(torch.get_rng_state(), state)


def test_cap_per_class():
    labels = np.array([3, 0, 3, 3, 0, 14, 3, 3])
    assert cap_per_class(labels, None).tolist() == list(range(8))
    kept = cap_per_class(labels, 2, seed=1)
    assert kept.tolist() == sorted(kept.tolist())
    assert np.bincount(labels[kept], minlength=15).tolist() == [2, 0, 0, 2] + [0] * 10 + [1]
    assert cap_per_class(labels, 2, seed=1).tolist() == kept.tolist()
    assert len({tuple(cap_per_class(labels, 2, seed)) for seed in range(20)}) > 1
    assert cap_per_class(labels, 99).tolist() == list(range(8))
    assert cap_per_class([], 2).tolist() == []


def batch(size=5, width=12, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(size, width, generator=generator)
    return x, torch.randint(15, (size,), generator=generator)


def head_of(kind, dropout=0.0):
    plain = new_head(12, seed=1)
    if kind == "plain":
        return plain
    head = adapt_head(plain, LoraClassifier(r=3, alpha=7, dropout=dropout), seed=2)
    with torch.no_grad():
        head.lora_B.normal_(generator=torch.Generator().manual_seed(3))  # as if trained
    return head


@pytest.mark.parametrize(("kind", "dropout"), [("plain", 0), ("lora", 0), ("lora", 0.4)])
def test_closed_form_gradients_are_autograds(kind, dropout):
    """With dropout both draw the same mask, from the same seed."""
    head, (x, target) = head_of(kind, dropout), batch()
    head.train()
    traced = copy.deepcopy(head)
    torch.manual_seed(4)
    expected = F.cross_entropy(traced(x), target)
    expected.backward()
    torch.manual_seed(4)
    answers = gradients_of(head)(x, F.one_hot(target, 15).float())
    torch.testing.assert_close(F.nll_loss(answers, target), expected.detach())
    own, wanted = (
        {name: p.grad for name, p in each.named_parameters() if p.grad is not None}
        for each in (head, traced)
    )
    assert set(own) == ({"weight", "bias"} if kind == "plain" else {"lora_A", "lora_B"})
    torch.testing.assert_close(own, wanted)


def test_dropout_reaches_the_gradients():
    head, (x, target) = head_of("lora", 0.4), batch()
    gradients = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        gradients_of(head)(x, F.one_hot(target, 15).float())
        gradients.append(head.lora_A.grad.clone())
    assert torch.equal(gradients[0], gradients[1])
    assert not torch.equal(gradients[0], gradients[2])


def test_extreme_scores_give_finite_gradients():
    head, (x, target) = head_of("plain"), batch()
    answers = gradients_of(head)(x * 1e4, F.one_hot(target, 15).float())
    assert answers.isfinite().all()
    assert head.weight.grad.isfinite().all()


def test_a_fresh_adapted_head_computes_what_the_trained_one_does():
    trained, (x, _) = new_head(12, seed=1), batch()
    before = {name: t.clone() for name, t in trained.state_dict().items()}
    head = adapt_head(trained, LoraClassifier(), seed=0)
    assert np.array_equal(logits(head, x), logits(trained, x))
    assert torch.equal(head.weight, before["weight"])
    assert torch.equal(head.bias, before["bias"])
    trainable = [name for name, p in head.named_parameters() if p.requires_grad]
    assert sorted(trainable) == ["lora_A", "lora_B"]
    assert (head.r, head.scaling, head.lora_dropout.p) == (8, 4.0, 0.1)


@pytest.mark.parametrize("kind", ["plain", "lora"])
def test_the_merged_linear_is_the_same_function(kind):
    head, (x, _) = head_of(kind, 0.5), batch(50)
    merged = merged_linear(head)
    assert type(merged) is torch.nn.Linear
    np.testing.assert_allclose(logits(merged, x), logits(head, x), rtol=1e-5, atol=1e-5)
    with torch.no_grad():
        merged.weight.zero_()
    assert head.weight.any(), "a copy, not a view"


def test_a_seed_decides_the_initial_values():
    heads = [plain_head(seed) for seed in (1, 1, 2)]
    adapted = [adapt_head(heads[0], LoraClassifier(), seed) for seed in (1, 1, 2)]
    for same, again, other in ([h.weight for h in heads], [a.lora_A for a in adapted]):
        assert torch.equal(same, again)
        assert not torch.equal(same, other)


def test_scores_are_taken_without_dropout_and_leave_the_mode_alone():
    head, (x, _) = head_of("lora", 0.5), batch()
    for mode in (True, False):
        head.train(mode)
        assert np.array_equal(logits(head, x.numpy()), logits(head, x))
        assert head.training is mode


def test_softmax():
    even, certain = softmax(np.array([[0.0] * 15, [1000.0] + [0.0] * 14], dtype=np.float32))
    assert even.dtype == np.float32
    np.testing.assert_allclose(even, 1 / 15, rtol=1e-6)
    assert certain.tolist() == [1.0] + [0.0] * 14
