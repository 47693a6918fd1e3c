"""All methods on both splits, with intervals, calibration and bins of identity: one table.

    make ladder                           # writes results/ladder.json
    python -m arg_utils.ladder --methods best_hit hybrid

Fits are kept in ``runs/``: what was done before is not done again.
"""

import argparse
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from arg_utils.calibration import expected_calibration_error
from arg_utils.errors import UserError
from arg_utils.evaluation import identity_bins
from arg_utils.experiments import (
    HOMOLOGY,
    RANDOM,
    Outcome,
    fit_fold,
    fit_random,
    score_homology,
    score_random,
)
from arg_utils.homology import best_hits
from arg_utils.paths import RESULTS, write_text
from arg_utils.registry import DEAR, METHODS
from arg_utils.workspace import Workspace, open_workspace


def random_row(work: Workspace, method: str) -> dict:
    """One method on the data's own split; columns as in `ladder`."""
    (row,) = score_random(work, [method])
    outcome = fit_random(work, method)
    hits = best_hits(work.scored.sequences, work.train.sequences).set_index("query")["identity"]
    identity = hits.reindex(range(len(work.scored.labels))).to_numpy()
    part = work.scored_part
    return _complete(row, [outcome], outcome.labels[part], outcome.probabilities[part], identity)


def homology_row(work: Workspace, method: str) -> dict:
    """One method on the tested homology folds, pooled; columns as in `ladder`."""
    folds = work.tested_folds
    if method in DEAR:
        folds = [fold for fold in folds if fold in getattr(work.profile, method).folds]
    (row,), predictions = score_homology(work, [method], folds)
    outcomes = [fit_fold(work, method, fold)[0] for fold in folds]
    probabilities = np.concatenate([outcome.probabilities["test"] for outcome in outcomes])
    true, identity = predictions["true"].to_numpy(), predictions["identity"].to_numpy()
    return _complete(row, outcomes, true, probabilities, identity)


def of_seed(work: Workspace, seed: int) -> Workspace:
    """The workspace with another seed, and a folder of its own for what is fitted with it."""
    if seed == work.profile.seed:
        return work
    return replace(work, profile=replace(work.profile, seed=seed), folder=work.folder / f"{seed}")


def ladder(work: Workspace, methods: Sequence[str]) -> list[dict]:
    """One row a seed of the profile, split and method.

    Each holds what `score_random` and `score_homology` give, and: ``ece`` (expected calibration
    error), ``bins`` (one a stretch of identity to the nearest training protein: bin, n, classes,
    macro_f1, accuracy; null where there is none) and ``seconds`` (of training).
    """
    makers = {RANDOM: random_row, HOMOLOGY: homology_row}
    return [
        make(of_seed(work, seed), method)
        for seed in dict.fromkeys((work.profile.seed, *work.profile.seeds))
        for make in makers.values()
        for method in methods
    ]


def _complete(row: dict, outcomes: list[Outcome], true, probabilities, identity) -> dict:
    bins = identity_bins(true, probabilities.argmax(axis=1), identity).to_dict("records")
    return row | {
        "ece": expected_calibration_error(probabilities, true),
        "bins": [{k: _plain(v) for k, v in entry.items()} for entry in bins],
        "seconds": sum(outcome.seconds for outcome in outcomes),
    }


def _plain(value: object) -> object:
    """NaN as None: JSON has no NaN."""
    return None if isinstance(value, float) and math.isnan(value) else value


def table(rows: Sequence[dict]) -> pd.DataFrame:
    """The rows to read: method, split, macro-F1 with its interval, accuracy, calibration error."""
    return pd.DataFrame(
        {
            "split": [row["split"] for row in rows],
            "method": [row["method"] for row in rows],
            "macro-F1": [
                f"{row['macro_f1']:.3f} ({row['ci_low']:.3f}–{row['ci_high']:.3f})" for row in rows
            ],
            "accuracy": [f"{row['accuracy']:.3f}" for row in rows],
            "ECE": [f"{row['ece']:.3f}" for row in rows],
        }
    )


def main(arguments: list[str] | None = None) -> int:
    """Fit what is not fitted yet, print the table, write ``results/ladder.json``."""
    parser = argparse.ArgumentParser(prog="python -m arg_utils.ladder", description=__doc__)
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    options = parser.parse_args(arguments)
    try:
        work = open_workspace()
        rows = ladder(work, options.methods)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    content = {
        "command": f"python -m arg_utils.ladder --methods {' '.join(options.methods)}",
        "profile": work.profile.name, "weights": work.weights.name,
        "data": f"{work.data.name} [{work.data.identity[:8]}]", "rows": rows,
    }  # fmt: skip
    write_text(RESULTS / "ladder.json", json.dumps(content, indent=1) + "\n")
    print(table(rows).to_string(index=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
