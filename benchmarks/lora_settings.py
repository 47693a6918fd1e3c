"""Which settings of LoRA in the blocks do best? Asked of validation data of the random split.

    python -m benchmarks.lora_settings          # writes results/lora_settings.json

One thing at a time is changed from the profile's settings (alpha stays twice the rank; training all
parameters takes its own rate and blocks); all rows start from the same linear
layer on frozen features, and no test protein is used. Macro-F1 is estimated on at most
``watch_per_class`` validation proteins a class, the same in every row: before training, and after
the best epoch of training, so that a gain can be negative. A run that was interrupted goes on when
repeated.
"""

import argparse
import json
import math
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd
from torch import nn

from arg_utils.errors import UserError, exit_code
from arg_utils.esm2.lora import ATTENTION_MODULES, BLOCK_MODULES, count_trainable
from arg_utils.esm2.model import best_device
from arg_utils.experiments.outcomes import fitting_code
from arg_utils.experiments.workspace import Workspace, open_workspace
from arg_utils.files import RESULTS, fingerprint, write_text
from arg_utils.methods.block_methods import LoraInBlocks
from arg_utils.methods.course import FrozenLinear
from arg_utils.methods.finetuning import ProteinClassifier, finetune
from arg_utils.settings import LoraBlocks

COMMAND = "python -m benchmarks.lora_settings"
UNCHANGED = "nothing"
MODULES = {
    "q, v": ("q_proj", "v_proj"),
    "attention": ATTENTION_MODULES,
    "all six": BLOCK_MODULES,
}
SHOWN = ["changed", "val_macro_f1", "gain", "best_epoch", "train_loss", "trainable_parameters",
         "seconds"]  # fmt: skip


def changes() -> Iterator[tuple[str, dict]]:
    """What a row is called, and the settings it changes."""
    yield UNCHANGED, {}
    for r in (4, 8, 16, 32):
        yield f"rank {r}", {"r": r, "alpha": 2 * r}
    for rate in (1e-4, 3e-4, 1e-3):
        yield f"learning rate {rate:g}", {"learning_rate": rate}
    for name, modules in MODULES.items():
        yield f"modules {name}", {"modules": modules}
    for blocks in (1, 3, 6):
        yield f"top blocks {blocks}", {"top_blocks": blocks}
    for share in (0.0, 0.1):
        yield f"warmup {share:g}", {"warmup": share}
    for share in (0.0, 0.1):
        yield f"dropout {share:g}", {"dropout": share}
    yield "full fine-tuning", {"r": 0, "top_blocks": 6, "learning_rate": 1e-4}


def trials(base: LoraBlocks, quick: bool = False) -> dict[str, LoraBlocks]:
    """Settings by what was changed; equal ones appear once, under the first name."""
    if quick:
        return {UNCHANGED: base}
    names: dict[LoraBlocks, str] = {}
    for name, fields in changes():
        names.setdefault(replace(base, **fields), name)
    return {name: settings for settings, name in names.items()}


def try_out(
    work: Workspace, start: nn.Linear, changed: str, settings: LoraBlocks, folder: Path | None
) -> dict:
    """One row: fine-tune from ``start``, finished epochs kept in ``folder``, if given."""
    seed = work.profile.seed
    model = ProteinClassifier(start, settings, work.weights, seed=seed)
    trained = count_trainable(model)
    place = folder / f"{fingerprint(settings, seed)}.pt" if folder else None
    history = finetune(model, work.train, work.val, seed, checkpoint=place).set_index("epoch")
    scores, loss = history["val_macro_f1"], float(history["train_loss"].iloc[-1])
    best = int(scores.loc[1:].idxmax())
    return {
        "changed": changed,
        "settings": {key: value for key, value in vars(settings).items() if key != "folds"},
        "val_macro_f1_before": float(scores[0]),
        "val_macro_f1": float(scores[best]),
        "gain": float(scores[best] - scores[0]),
        "best_epoch": best,
        "train_loss": loss if math.isfinite(loss) else None,
        "trainable_parameters": trained,
        "seconds": round(float(history["seconds"].sum()), 1),  # of training, scores not counted
    }


def number(text: str) -> int:
    """A whole number from 1 up."""
    if not (text.isascii() and text.isdigit() and int(text)):
        raise UserError(f"{text!r} is no count; give a whole number from 1 up.")
    return int(text)


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=COMMAND, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    text = "proteins of a class in an epoch (the profile's)"
    parser.add_argument("--max-per-class", type=number, metavar="N", help=text)
    parser.add_argument("--epochs", type=number, metavar="N", help="epochs (the profile's)")
    text = "the profile's settings only; neither results nor checkpoints are written"
    parser.add_argument("--quick", action="store_true", help=text)
    return parser.parse_args(arguments)


def _command(changed: dict[str, int]) -> str:
    given = [f"--{name.replace('_', '-')} {value}" for name, value in changed.items()]
    return " ".join([COMMAND, *given])


def sweep(work: Workspace, named: dict[str, int], quick: bool) -> list[dict]:
    """All rows; unless ``quick``, each is written as soon as it is measured."""
    tried = trials(replace(work.profile.lora_blocks, **named), quick)
    # A change of the code that trains makes all anew.
    folder = None if quick else work.folder / "sweep" / fitting_code(LoraInBlocks.name)
    start = FrozenLinear().fit(work.train, work.val, work.profile, work.profile.seed, folder).head
    content = {
        "command": _command(named),
        "weights": work.weights.name,
        "data": f"{work.data.name} [{work.data.identity[:8]}]",
        "profile": work.profile.name,
        "seed": work.profile.seed,
        "device": best_device().type,
        "rows": [],
    }
    for changed, settings in tried.items():
        print(f"row {len(content['rows']) + 1} of {len(tried)}: {changed} changed", flush=True)
        content["rows"].append(try_out(work, start, changed, settings, folder))
        if not quick:
            text = json.dumps(content, indent=1, allow_nan=False) + "\n"
            write_text(RESULTS / "lora_settings.json", text)
    return content["rows"]


def main(arguments: list[str] | None = None) -> int:
    """Try all, print the table; ``results/lora_settings.json`` is written after every row."""
    return exit_code(lambda: _run(_options(arguments)), RESULTS)


def _run(options: argparse.Namespace) -> None:
    work = open_workspace()
    for part in ("train", "val"):
        if not getattr(work, part).sequences:
            raise UserError(f"{work.data.folder / part}.fasta has no records; it needs some.")
    named = {"max_per_class": options.max_per_class, "epochs": options.epochs}
    named = {name: value for name, value in named.items() if value is not None}
    rows = sweep(work, named, options.quick)
    print(pd.DataFrame(rows)[SHOWN].round(4).to_string(index=False))


if __name__ == "__main__":
    sys.exit(main())
