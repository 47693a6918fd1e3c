"""The course's protocol by stages: best kept, rate divided by ten, resumable to the last bit."""

import dataclasses

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score

from arg_utils.data.fasta import cap_per_class
from arg_utils.methods import course
from arg_utils.methods.classifier import adapt_head, logits, new_head
from arg_utils.methods.course import Examples, train_staged
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


def run(head=None, train=TRAIN, val=VAL, settings=SETTINGS, **options):
    """A trained head and its progress; the head starts from the same parameters each time."""
    head = head or new_head(20, seed=7)
    return head, train_staged(head, train, val, settings, progress=False, **options)


def lora_head():
    return adapt_head(new_head(20, seed=7), LoraClassifier(r=4, dropout=0.2), seed=8)


@pytest.fixture
def stages(monkeypatch):
    """What each stage starts from: the parameters, the best so far, the optimizer's state."""
    seen, stage, adam = [], course.train_stage, course.Adam

    def spy(head, train, val, settings, number, seed, first_stage, so_far, progress=True):
        seen.append(
            {
                "parameters": {n: p.detach().clone() for n, p in head.named_parameters()},
                "best": {n: p.clone() for n, p in so_far.best_state.items()},
                "best_f1": so_far.best_f1,
                "optimizers": [],
            }
        )
        stage(head, train, val, settings, number, seed, first_stage, so_far, progress)
        seen[-1]["end"] = {n: p.detach().clone() for n, p in head.named_parameters()}

    def make(parameters, lr):
        seen[-1]["optimizers"].append(adam(parameters, lr))
        return seen[-1]["optimizers"][-1]

    monkeypatch.setattr(course, "train_stage", spy)
    monkeypatch.setattr(course, "Adam", make)
    return seen


@pytest.mark.parametrize("make_head", [lambda: new_head(20, seed=7), lora_head])
def test_each_stage_goes_on_from_the_best_so_far_with_a_fresh_adam(stages, make_head):
    # A first rate so large that the last epoch is not the best one.
    settings = StagedTraining(learning_rates=(2.0, 0.2, 0.02), epochs=5)
    head, progress = run(make_head(), settings=settings)
    assert len(stages) == 3
    for number, begun in enumerate(stages):
        for name, tensor in begun["best"].items():
            assert torch.equal(begun["parameters"][name], tensor)
        (optimizer,) = begun["optimizers"]
        assert optimizer.lr == pytest.approx(2.0 / 10**number)
        assert len(optimizer.parameters) == 2
        assert optimizer.steps == 5 * 15, "steps of this stage alone"
    later = [number for number in (1, 2) if any(
        not torch.equal(stages[number - 1]["end"][name], tensor)
        for name, tensor in stages[number]["best"].items()
    )]  # fmt: skip
    assert later, "some stage must have ended away from its best, or this shows nothing"
    assert [s["best_f1"] for s in stages] == sorted(s["best_f1"] for s in stages)
    state = dict(head.named_parameters())
    assert all(torch.equal(state[name], t) for name, t in progress.best_state.items())


def test_the_history_tells_every_epoch():
    _, progress = run()
    table = progress.table()
    assert list(table.columns) == COLUMNS
    assert len(table) == 3 * 4
    assert table["stage"].tolist() == [1] * 4 + [2] * 4 + [3] * 4
    assert table["epoch"].tolist() == [1, 2, 3, 4] * 3
    assert table["learning_rate"].tolist() == [1e-3] * 4 + [1e-4] * 4 + [1e-5] * 4
    assert table["train_loss"].between(0.1, 10).all()
    assert (table["seconds"] > 0).all()
    assert table["train_loss"][3] < table["train_loss"][0]


@pytest.mark.parametrize("rate", [1e-3, 1.0])
def test_the_best_never_falls_and_marks_where_it_rose(rate):
    """Even a rate that ruins the head leaves the score it had before training."""
    head = new_head(20, seed=7)
    start = course.macro_f1(VAL.labels, logits(head, VAL.features).argmax(axis=1))
    head, progress = run(head, settings=StagedTraining((rate, rate / 10), epochs=4))
    best = start
    for row in progress.history:
        assert row["best"] == (row["val_macro_f1"] > best)
        best = max(best, row["val_macro_f1"])
    assert progress.best_f1 == best >= start
    found = logits(head, VAL.features).argmax(axis=1)
    assert course.macro_f1(VAL.labels, found) == best
    assert not head.training


def test_the_score_is_macro_f1_over_all_15_classes():
    """A class that validation lacks counts as 0: seven of eight classes right is not 7 / 8."""
    present = VAL.labels < 8
    part = Examples(VAL.features[present], VAL.labels[present])
    head, progress = run(val=part)
    found = logits(head, part.features).argmax(axis=1)
    expected = f1_score(part.labels, found, labels=range(15), average="macro", zero_division=0)
    assert progress.best_f1 == pytest.approx(expected)
    assert progress.best_f1 <= 8 / 15


def test_adam_takes_the_steps_of_pytorchs():
    """Also where gradients are tiny, zero, or leap by orders of magnitude."""
    generator = torch.Generator().manual_seed(0)
    ours, theirs = (
        [torch.nn.Parameter(torch.ones(shape)) for shape in ((3, 4), (5,))] for _ in range(2)
    )
    optimizer, expected = course.Adam(ours, lr=1e-2), torch.optim.Adam(theirs, lr=1e-2)
    for scale in (1, 1e-9, 0, 1e4, *[1] * 300):
        for a, b in zip(ours, theirs, strict=True):
            a.grad = scale * torch.randn(a.shape, generator=generator)
            b.grad = a.grad.clone()
        optimizer.step()
        expected.step()
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    assert (ours[0] != 1).all()


def test_an_epoch_is_that_of_an_ordinary_loop():
    """PyTorch's Adam on traced gradients, in the same order of examples, ends at the same head."""
    settings = StagedTraining((1e-2,), epochs=1)
    expected = new_head(20, seed=7)
    generator = torch.Generator().manual_seed(0 + 1000 * 1)
    torch.randint(2**31, (1,), generator=generator)
    order = torch.randperm(len(TRAIN.labels), generator=generator)
    optimizer = torch.optim.Adam(expected.parameters(), lr=1e-2)
    for batch in order.split(4):
        optimizer.zero_grad()
        scores = expected(torch.from_numpy(TRAIN.features)[batch])
        torch.nn.functional.cross_entropy(scores, torch.from_numpy(TRAIN.labels)[batch]).backward()
        optimizer.step()
    head, progress = run(settings=settings)
    assert progress.history[0]["best"], "or the head was put back"
    torch.testing.assert_close(head.state_dict(), expected.state_dict())


def without_seconds(progress):
    return progress.table().drop(columns="seconds")


@pytest.mark.parametrize("make_head", [lambda: new_head(20, seed=7), lora_head])
def test_an_interrupted_run_ends_as_an_uninterrupted_one(tmp_path, monkeypatch, make_head, capsys):
    """Bit for bit: order of examples and dropout of a stage do not depend on those before."""
    torch.manual_seed(98)
    expected_head, expected = run(make_head(), seed=3)
    stage = course.train_stage

    def stop_in_the_second(head, train, val, settings, number, *rest):
        if number == 1:
            stage(head, train, val, dataclasses.replace(settings, epochs=1), number, *rest)
            raise KeyboardInterrupt
        stage(head, train, val, settings, number, *rest)

    path = tmp_path / "kept.pt"
    monkeypatch.setattr(course, "train_stage", stop_in_the_second)
    with pytest.raises(KeyboardInterrupt):
        run(make_head(), seed=3, checkpoint=path)
    done = []
    monkeypatch.setattr(course, "train_stage", lambda *a: (done.append(a[4]), stage(*a))[1])
    torch.manual_seed(99)
    head, progress = run(make_head(), seed=3, checkpoint=path)
    assert done == [1, 2]
    assert progress.best_f1 == expected.best_f1
    assert without_seconds(progress).equals(without_seconds(expected))
    state = expected_head.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in head.state_dict().items())
    done.clear()
    head = make_head()
    train_staged(head, TRAIN, VAL, SETTINGS, 3, checkpoint=path, progress=True)
    assert done == []
    assert "3 of 3 stages were finished before" in capsys.readouterr().out
    assert all(torch.equal(tensor, state[name]) for name, tensor in head.state_dict().items())


def other_scaling():
    return adapt_head(new_head(20, seed=7), LoraClassifier(r=4, alpha=99, dropout=0.2), seed=8)


def other_dropout():
    return adapt_head(new_head(20, seed=7), LoraClassifier(r=4, dropout=0.9), seed=8)


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
    "start": {"head": lambda: new_head(20, seed=6)},
    "scaling": {"head": other_scaling},
    "dropout": {"head": other_dropout},
    "nothing": {},
}


@pytest.mark.parametrize("change", CHANGED)
def test_a_checkpoint_counts_only_for_the_same_work(tmp_path, monkeypatch, change):
    options = dict(CHANGED[change])
    is_lora = change in ("scaling", "dropout")
    make_head = options.pop("head", lora_head if is_lora else lambda: new_head(20, seed=7))
    before = lora_head() if is_lora else new_head(20, seed=7)
    run(before, checkpoint=tmp_path / "kept.pt")
    done, stage = [], course.train_stage
    monkeypatch.setattr(course, "train_stage", lambda *a: (done.append(a[4]), stage(*a))[1])
    run(make_head(), checkpoint=tmp_path / "kept.pt", **options)
    assert bool(done) == (change != "nothing")


def test_a_damaged_checkpoint_is_as_good_as_none(tmp_path):
    path = tmp_path / "kept.pt"
    expected, _ = run(checkpoint=path)
    for content in (b"", path.read_bytes()[:-50], b"not a checkpoint"):
        path.write_bytes(content)
        head, progress = run(checkpoint=path)
        assert len(progress.history) == 12
        assert torch.equal(head.weight, expected.weight)


def test_training_leaves_the_global_random_state_alone():
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
