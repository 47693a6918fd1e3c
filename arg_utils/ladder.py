"""All methods on both splits, with intervals, calibration and bins of identity: one table.

    make ladder                           # writes results/ladder.json
    python -m arg_utils.ladder --methods best_hit hybrid

Fits are kept in ``runs/``: what was done before is not done again. Rows that the file holds of
other methods stay, if they are of the same data, weights, profile and code.
"""

import argparse
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from arg_utils.calibration import expected_calibration_error, reliability
from arg_utils.errors import UserError
from arg_utils.evaluation import bootstrap_gain, identity_bins
from arg_utils.experiments import (
    HOMOLOGY,
    RANDOM,
    Outcome,
    fit_fold,
    fit_random,
    fitting_code,
    score_homology,
    score_random,
    scored_clusters,
)
from arg_utils.homology import best_hits
from arg_utils.ladder_tables import ladder_frame, read_ladder
from arg_utils.methods import BestHit
from arg_utils.paths import RESULTS, write_text
from arg_utils.registry import DEAR, METHODS
from arg_utils.workspace import Workspace, open_workspace


def random_row(work: Workspace, method: str) -> dict:
    """One method on the data's own split; columns as in `ladder`."""
    (row,) = score_random(work, [method])
    outcome = fit_random(work, method)
    hits = best_hits(work.scored.sequences, work.train.sequences).set_index("query")["identity"]
    identity = hits.reindex(range(len(work.scored.labels))).to_numpy()
    part, simple = work.scored_part, fit_random(work, BestHit.name)
    row |= _gain(work, outcome.labels[part], outcome.predictions(part), simple.predictions(part),
                 scored_clusters(work))  # fmt: skip
    return _complete(row, [outcome], outcome.labels[part], outcome.probabilities[part], identity)


def homology_row(work: Workspace, method: str) -> dict:
    """One method on the tested homology folds, pooled; columns as in `ladder`."""
    folds = work.tested_folds
    if method in DEAR:
        folds = [fold for fold in folds if fold in getattr(work.profile, DEAR[method]).folds]
    (row,), predictions = score_homology(work, [method], folds)
    outcomes = [fit_fold(work, method, fold)[0] for fold in folds]
    probabilities = np.concatenate([outcome.probabilities["test"] for outcome in outcomes])
    true, identity = predictions["true"].to_numpy(), predictions["identity"].to_numpy()
    simple = [fit_fold(work, BestHit.name, fold)[0].predictions("test") for fold in folds]
    groups = work.labelled[1]["cluster"].to_numpy()[predictions["position"]]
    row |= _gain(work, true, predictions[method].to_numpy(), np.concatenate(simple), groups)
    return _complete(row, outcomes, true, probabilities, identity)


def of_seed(work: Workspace, seed: int) -> Workspace:
    """The workspace with another seed, and a folder of its own for what is fitted with it."""
    if seed == work.profile.seed:
        return work
    return replace(work, profile=replace(work.profile, seed=seed), folder=work.folder / f"{seed}")


def ladder(work: Workspace, methods: Sequence[str]) -> list[dict]:
    """One row a seed of the profile, split and method.

    Each holds what `score_random` and `score_homology` give, and: ``ece`` (expected calibration
    error), ``reliability`` (the table behind it), ``gain`` with ``gain_low`` and ``gain_high`` (in
    macro-F1 on the best hit, paired 95 % interval), ``code`` (that fits depend on), ``bins`` (one a
    stretch of identity to the nearest training protein: bin, n, classes, macro_f1, accuracy; null
    where there is none) and ``seconds`` (of training).
    """
    makers = {RANDOM: random_row, HOMOLOGY: homology_row}
    return [
        make(of_seed(work, seed), method)
        for seed in dict.fromkeys((work.profile.seed, *work.profile.seeds))
        for make in makers.values()
        for method in methods
    ]


def _gain(work: Workspace, true, found, simple, groups) -> dict:
    gain = bootstrap_gain(true, found, simple, groups, seed=work.profile.seed)
    return {"gain": gain.value, "gain_low": gain.low, "gain_high": gain.high}


def kept_rows(work: Workspace, new: Sequence[dict]) -> list[dict]:
    """Rows of the file that still hold and that ``new`` has not measured again."""
    place = RESULTS / "ladder.json"
    measured = {(row["split"], row["method"], row["seed"]) for row in new}
    here = {name: new[0][name] for name in ("data", "weights", "profile")}
    return [
        row
        for row in (read_ladder(place)["rows"] if place.is_file() else [])
        if (row["split"], row["method"], row["seed"]) not in measured
        and row["method"] in METHODS
        and {name: row[name] for name in here} == here
        and row.get("code") == fitting_code(row["method"])
    ]


def _in_order(row: dict) -> tuple:
    return row["seed"], (RANDOM, HOMOLOGY).index(row["split"]), list(METHODS).index(row["method"])


def _complete(row: dict, outcomes: list[Outcome], true, probabilities, identity) -> dict:
    bins = identity_bins(true, probabilities.argmax(axis=1), identity)
    return row | {
        "code": fitting_code(row["method"]),
        "ece": expected_calibration_error(probabilities, true),
        "reliability": _records(reliability(probabilities, true)),
        "bins": _records(bins),
        "seconds": sum(outcome.seconds for outcome in outcomes),
    }


def _records(table: pd.DataFrame) -> list[dict]:
    rows = table.to_dict("records")
    return [{name: _plain(value) for name, value in row.items()} for row in rows]


def _plain(value: object) -> object:
    """NaN as None: JSON has no NaN."""
    return None if isinstance(value, float) and math.isnan(value) else value


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
    rows = sorted([*rows, *kept_rows(work, rows)], key=_in_order)
    methods = dict.fromkeys(row["method"] for row in rows)
    content = {
        "command": f"python -m arg_utils.ladder --methods {' '.join(methods)}",
        "profile": work.profile.name, "weights": work.weights.name,
        "data": f"{work.data.name} [{work.data.identity[:8]}]", "rows": rows,
    }  # fmt: skip
    write_text(RESULTS / "ladder.json", json.dumps(content, indent=1) + "\n")
    print(ladder_frame(rows).to_string(index=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
