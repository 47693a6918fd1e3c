"""All methods on both splits, with intervals, calibration and bins of identity: one table.

Fits are cached in ``runs/``: nothing is fitted twice. Rows that the file holds of other methods
stay, as long as they are of the same data, weights, profile and code.
"""

import json
import math
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from arg_utils.errors import UserError
from arg_utils.experiments.outcomes import (
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
from arg_utils.experiments.workspace import Workspace, open_workspace
from arg_utils.files import RESULTS, write_text
from arg_utils.homology.mmseqs import best_hits
from arg_utils.methods import METHODS
from arg_utils.methods.baselines import BestHit
from arg_utils.metrics.calibration import error_if_calibrated, reliability, table_error
from arg_utils.metrics.scores import bootstrap_gain, identity_bins, per_class_table


def run_ladder(methods: Sequence[str] | None = None, out: Path | str | None = None) -> list[dict]:
    """Fit and score what is not cached yet, and write the ladder.

    Parameters
    ----------
    methods : names in `METHODS`; all of them unless given.
    out : the JSON file to write; ``results/ladder.json`` unless given. Its rows of other methods
        stay where they still hold.

    Returns
    -------
    The rows written.

    Raises
    ------
    UserError
        Before anything is fitted, if there is no such method or the file cannot serve.
    """
    methods, place = list(methods or METHODS), Path(out or RESULTS / "ladder.json")
    if unknown := [name for name in methods if name not in METHODS]:
        raise UserError(f"There is no method {unknown[0]!r}; choose from {', '.join(METHODS)}.")
    old = _old_rows(place)
    work = open_workspace()
    rows = ladder(work, methods)
    rows = sorted([*rows, *still_valid(work, rows, old)], key=_in_order)
    names = " ".join(dict.fromkeys(row["method"] for row in rows))
    command = f"python -m arg_utils ladder --methods {names}" + (f" --out {out}" if out else "")
    content = {**work.provenance(command), "rows": rows}
    write_text(place, json.dumps(content, indent=1) + "\n")
    return rows


def random_row(work: Workspace, method: str) -> dict:
    """One method on the data's own split; columns as in `ladder`."""
    (row,) = score_random(work, [method])
    outcome = fit_random(work, method)
    hits = best_hits(work.scored.sequences, work.references.sequences).set_index("query")
    identity = hits["identity"].reindex(range(len(work.scored.labels))).to_numpy()
    part, simple = work.scored_part, fit_random(work, BestHit.name)
    true, groups = outcome.labels[part], scored_clusters(work)
    row |= _gain(work, true, outcome.predictions(part), simple.predictions(part), groups)
    return _complete(row, [outcome], true, outcome.probabilities[part], identity, groups)


def homology_row(work: Workspace, method: str) -> dict:
    """One method on the tested homology folds, pooled; columns as in `ladder`."""
    affordable = METHODS[method].homology_folds(work.profile)
    folds = [fold for fold in work.tested_folds if fold in affordable]
    (row,), predictions = score_homology(work, [method], folds)
    outcomes = [fit_fold(work, method, fold)[0] for fold in folds]
    probabilities = np.concatenate([outcome.probabilities["test"] for outcome in outcomes])
    true, identity = predictions["true"].to_numpy(), predictions["identity"].to_numpy()
    simple = [fit_fold(work, BestHit.name, fold)[0].predictions("test") for fold in folds]
    groups = work.labelled[1]["cluster"].to_numpy()[predictions["position"]]
    row |= _gain(work, true, predictions[method].to_numpy(), np.concatenate(simple), groups)
    return _complete(row, outcomes, true, probabilities, identity, groups)


def of_seed(work: Workspace, seed: int) -> Workspace:
    """The workspace with another seed, and a folder of its own for what is fitted with it."""
    if seed == work.profile.seed:
        return work
    return replace(work, profile=replace(work.profile, seed=seed), folder=work.folder / f"{seed}")


def ladder(work: Workspace, methods: Sequence[str]) -> list[dict]:
    """One row per seed of the profile, split and method.

    Each holds what `score_random` and `score_homology` give, and: ``ece`` (expected calibration
    error), ``reliability`` (the table behind it), ``ece_calibrated`` with ``…_low`` and ``…_high``
    (see `error_if_calibrated`), ``gain`` with ``gain_low`` and ``gain_high`` (in macro-F1 on the
    best hit, paired 95 % interval), ``per_class`` (class, precision, recall, f1, support), ``code``
    (that fits depend on), ``bins`` (one per range of identity to the best hit among the reference
    proteins: bin, n, classes, macro_f1, accuracy; null where there is none) and ``seconds`` (of
    training).
    """
    return [
        row_of(of_seed(work, seed), method)
        for seed in dict.fromkeys((work.profile.seed, *work.profile.seeds))
        for row_of in (random_row, homology_row)
        for method in methods
    ]


def read_ladder(path: Path | str = RESULTS / "ladder.json") -> dict:
    """The ladder: ``command``, ``profile``, ``weights``, ``data`` and ``rows``.

    Raises
    ------
    UserError
        If the file is missing or is no ladder.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        rows = content["rows"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} cannot be read ({error}); `make ladder` writes it.") from None
    if not rows:
        raise UserError(f"{path} has no rows; `make ladder` writes it.")
    return content


def _gain(work: Workspace, true, predicted, simple, groups) -> dict:
    gain = bootstrap_gain(true, predicted, simple, groups, seed=work.profile.seed)
    return {"gain": gain.value, "gain_low": gain.low, "gain_high": gain.high}


def still_valid(work: Workspace, new: Sequence[dict], old: Sequence[dict]) -> list[dict]:
    """Those of the ``old`` rows that still hold and that ``new`` has not measured again."""
    measured = {(row["split"], row["method"], row["seed"]) for row in new}
    return [
        row
        for row in old
        if (row["split"], row["method"], row["seed"]) not in measured
        and row["method"] in METHODS
        and {name: row[name] for name in work.source} == work.source
        and row.get("code") == fitting_code(row["method"])
    ]


def _old_rows(place: Path) -> list[dict]:
    """The rows that ``place`` holds, none if there is no such file; fails where it cannot serve."""
    if place.is_dir():
        raise UserError(f"{place} is a folder; name a file.")
    if place.parent.is_file():
        raise UserError(f"{place.parent} is a file; name one in a folder.")
    rows = read_ladder(place)["rows"] if place.exists() else []
    if any(
        not {"split", "method", "seed", "data", "weights", "profile"} <= row.keys() for row in rows
    ):
        raise UserError(f"{place} holds something else than a ladder; name another file.")
    place.parent.mkdir(parents=True, exist_ok=True)
    if not os.access(place.parent, os.W_OK):
        raise UserError(f"{place.parent} may not be written to; name another file.")
    return rows


def _in_order(row: dict) -> tuple:
    return row["seed"], (RANDOM, HOMOLOGY).index(row["split"]), list(METHODS).index(row["method"])


def _complete(row: dict, outcomes: list[Outcome], true, probabilities, identity, groups) -> dict:
    bins = identity_bins(true, probabilities.argmax(axis=1), identity)
    table, perfect = reliability(probabilities, true), error_if_calibrated(probabilities, groups)
    return row | {
        "code": fitting_code(row["method"]),
        "ece": table_error(table),
        "reliability": _records(table),
        "ece_calibrated": perfect.value,
        "ece_calibrated_low": perfect.low,
        "ece_calibrated_high": perfect.high,
        "per_class": _records(per_class_table(true, probabilities.argmax(axis=1))),
        "bins": _records(bins),
        "seconds": sum(outcome.seconds for outcome in outcomes),
    }


def _records(table: pd.DataFrame) -> list[dict]:
    rows = table.to_dict("records")
    return [{name: _plain(value) for name, value in row.items()} for row in rows]


def _plain(value: object) -> object:
    """NaN as None: JSON has no NaN."""
    return None if isinstance(value, float) and math.isnan(value) else value
