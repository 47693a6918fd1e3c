"""The things timed: both tasks in interleaved repeats, the course's protocol, scaling, memory."""

from collections.abc import Callable, Collection, Sequence
from statistics import median

import numpy as np
import torch
from torch import nn

from arg_utils.data.folders import load_dataset
from arg_utils.data.open_data import ensure_open_data
from arg_utils.data.proteins import Record
from arg_utils.esm2.embeddings import embed
from arg_utils.esm2.model import best_device, best_precision
from arg_utils.esm2.weights import WIDTH, Weights
from arg_utils.methods.course import Examples, StagedTrainer, new_head
from arg_utils.settings import StagedTraining
from benchmarks import contenders
from benchmarks.measure import product_rate, representative, seconds

TOLERANCE = 1e-3  # between float32 features of two contenders, largest difference of all
COUNTED = 64  # residues of each protein where cost against their number is measured
ROW_TOKENS = 4096  # in all, where cost against length is measured
SCALED = ("naive", "hf", "ours")
ONCE = ("ours_float32", "ours_sdpa")  # what a part brings is clear from the first repeat


def records() -> list[Record]:
    """The training part of the open data set: real, labelled proteins."""
    return load_dataset(ensure_open_data(), parts=("train",)).train


def columns(part: Sequence[Record]) -> tuple[list[str], np.ndarray]:
    """Sequences, and classes int64 [n]."""
    return [r.sequence for r in part], np.array([r.label for r in part], dtype=np.int64)


def make(task: str, weights: Weights) -> list[contenders.Contender]:
    """All contenders of ``features`` or ``training`` for this machine."""
    native = best_precision(best_device()) == torch.bfloat16
    maker = getattr(contenders, f"{task}_contender")
    return [maker(name, weights) for name in contenders.names(task, native)]


def differences(
    made: Sequence[contenders.Contender], few: Sequence[Record]
) -> dict[str, float | None]:
    """Largest difference of each contender's features from fair-esm's; None if not finite.

    Raises
    ------
    RuntimeError
        If it is 1e-3 or more for one in float32: then they do not compute the same.
    """
    out = {c.name: c.run(*columns(few)) for c in made}
    largest = {name: float(np.abs(out[name] - out["naive"]).max()) for name in out}
    for contender in made:
        if contender.precision == "float32" and not largest[contender.name] < TOLERANCE:
            raise RuntimeError(f"{contender.name} differs by {largest[contender.name]:.2g}")
    return {name: value if np.isfinite(value) else None for name, value in largest.items()}


def timed(
    made: Sequence[contenders.Contender],
    sample: Sequence[Record],
    repeats: int,
    flops: Callable[[Sequence[int]], int],
    once: Collection[str] = ONCE,
) -> dict:
    """Seconds of every contender on the whole sample, in each of the repeats.

    All contenders (those of ``once`` in the first repeat alone) run one after another, the first
    one changing from repeat to repeat, and the machine's rate of products is measured. ``flops``
    counts the operations of sequences of so many tokens. The first repeat also pays for what is
    prepared on first use; the median does not.
    """
    data, count = columns(sample), sum(len(r.sequence) for r in sample)
    counted = flops([len(r.sequence) + 2 for r in sample])
    spent: dict[str, list[float]] = {c.name: [] for c in made}
    peak, device = [], best_device()
    for number in range(repeats):
        for contender in [*made[number % len(made) :], *made[: number % len(made)]]:
            if number == 0 or contender.name not in once:
                spent[contender.name].append(seconds(lambda c=contender: c.run(*data)))
        peak.append(product_rate(best_precision(device), device))
    return {
        "seconds": spent,
        "proteins": [len(sample)] * repeats,
        "residues": [count] * repeats,
        "flops": [counted] * repeats,
        "product_rate": peak,
    }


def protocol(sample: Sequence[Record], few: Sequence[Record], weights: Weights) -> dict:
    """The course's whole protocol: ours as it is run, the naive one from part of an epoch."""
    settings = StagedTraining()
    sequences, labels = columns(sample)
    cut = len(labels) * 4 // 5
    found: list[np.ndarray] = []
    embedding = seconds(
        lambda: found.append(embed(sequences, weights=weights, progress=False, cached=False))
    )
    train, val = (Examples(found[0][rows], labels[rows]) for rows in (slice(cut), slice(cut, None)))
    head = new_head(WIDTH, 0)
    training = seconds(lambda: StagedTrainer(head, train, val, settings).run(progress=False))
    epoch = seconds(lambda: naive_epoch(*columns(few), weights))
    epochs = settings.epochs * len(settings.learning_rates)
    scale = sum(map(len, sequences)) / sum(len(r.sequence) for r in few)
    naive = epoch * scale * epochs
    return {
        "proteins": len(sample),
        "residues": sum(map(len, sequences)),
        "epochs": epochs,
        "ours_embedding_seconds": embedding,
        "ours_training_seconds": training,
        "naive_measured_proteins": len(few),
        "naive_measured_seconds": epoch,
        "naive_seconds": naive,
        "ratio": naive / (embedding + training),
        "note": f"Ours is measured whole. Of the naive loop, one epoch over {len(few)} of the "
        f"proteins is measured; the rest is multiplied: {scale:.2f} (residues of all proteins over "
        f"residues of those) x {epochs} epochs.",
    }


def naive_epoch(sequences: list[str], labels: np.ndarray, weights: Weights) -> None:
    """One epoch as the course ran it: the backbone in every step, a linear layer trained on top.

    The last fifth is for validation.
    """
    backbone = contenders.features_contender("naive", weights)
    head = new_head(WIDTH, 0).to(best_device())
    optimizer = torch.optim.Adam(head.parameters(), lr=1e-3)
    targets, cut = torch.from_numpy(labels), len(labels) * 4 // 5
    for batch in backbone.batches([len(s) for s in sequences]):
        scores = head(backbone.work([sequences[i] for i in batch], targets[batch]))
        if batch[0] < cut:
            loss = nn.functional.cross_entropy(scores, targets[batch].to(scores.device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


def scaling(
    made: Sequence[contenders.Contender],
    pool: Sequence[Record],
    counts: Sequence[int],
    lengths: Sequence[int],
) -> dict:
    """Cost of features against the number of proteins, and against their length.

    Proteins are cut to the length in question, so that only one thing changes at a time.
    """
    chosen = [c for c in made if c.name in SCALED]
    long = {n: [r.sequence[:n] for r in pool if len(r.sequence) >= n] for n in (COUNTED, *lengths)}

    def cost(contender, sequences):
        if not sequences:
            raise RuntimeError("no protein is long enough")
        times = 1 if contender.name == "naive" else 3
        labels = np.zeros(len(sequences), np.int64)
        contender.run(sequences[:1], labels[:1])
        return median(seconds(lambda: contender.run(sequences, labels)) for _ in range(times))

    by_count = {c.name: [cost(c, long[COUNTED][:n]) for n in counts] for c in chosen}
    rows = {n: long[n][: max(1, ROW_TOKENS // (n + 2))] for n in lengths}
    by_length = {
        c.name: [cost(c, rows[n]) / (n * len(rows[n])) * 1e6 for n in lengths] for c in chosen
    }
    return {
        "task": "features",
        "count": {"residues_each": COUNTED, "proteins": list(counts), "seconds": by_count},
        "length": {
            "tokens_in_all": ROW_TOKENS,
            "residues": list(lengths),
            "microseconds_a_residue": by_length,
        },
    }


def remembered(job: str, quick: bool) -> None:
    """What a child process runs whose peak memory is measured.

    ``features:NAME``, ``training:NAME``: that contender on proteins of all lengths;
    ``stream:COUNT``: features of so many proteins cut to 48 residues, as the command line's.
    """
    from arg_utils.esm2.weights import load_weights

    task, _, name = job.partition(":")
    if task == "stream":
        few = representative(records(), int(name))
        embed([r.sequence[:48] for r in few], progress=False, cached=False)
        return
    contender = getattr(contenders, f"{task}_contender")(name, load_weights())
    sample = representative(records(), 4 if quick else 16)
    longest = max(records(), key=lambda record: len(record.sequence))
    contender.run(*columns(representative([longest] * 4, 4) + sample))
