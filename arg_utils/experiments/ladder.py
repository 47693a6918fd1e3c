"""The ladder: all methods on both splits in one table, kept in a file.

Rows that the file holds of other methods stay, as long as they are of the same data, weights,
profile and code.
"""

import json
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
from arg_utils.files import RESULTS, check_writable, write_text
from arg_utils.homology.mmseqs import best_hits
from arg_utils.methods import METHODS, method_class
from arg_utils.methods.baselines import BestHit
from arg_utils.metrics.calibration import error_if_calibrated, reliability, table_error
from arg_utils.metrics.scores import bootstrap_gain, identity_bins, per_class_table


def run_ladder(methods: Sequence[str] | None = None, out: Path | str | None = None) -> list[dict]:
    """Fit and score what is not cached yet, and write the ladder; its rows are returned.

    ``methods`` are names in `METHODS`, all of them unless given; ``out`` is the JSON file, by
    default ``results/ladder.json``. Raises `UserError` before anything is fitted, if there is no
    such method or the file cannot serve.
    """
    methods, place = list(dict.fromkeys(methods or METHODS)), Path(out or RESULTS / "ladder.json")
    for method in methods:
        method_class(method)
    old = _old_rows(place)
    work = open_workspace()
    rows = ladder(work, methods)
    rows = sorted([*rows, *still_valid(work, rows, old)], key=_place)
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
    part, groups = work.scored_part, scored_clusters(work)
    simple = fit_random(work, BestHit.name).predictions(part)
    return row | _details(work, [outcome], part, simple, identity, groups)


def homology_row(work: Workspace, method: str) -> dict:
    """One method on the tested homology folds, pooled; columns as in `ladder`."""
    affordable = METHODS[method].homology_folds(work.profile)
    folds = [fold for fold in work.tested_folds if fold in affordable]
    (row,), predictions = score_homology(work, [method], folds)
    outcomes = [fit_fold(work, method, fold)[0] for fold in folds]
    simple = [fit_fold(work, BestHit.name, fold)[0].predictions("test") for fold in folds]
    groups = work.labelled[1]["cluster"].to_numpy()[predictions["position"]]
    identity = predictions["identity"].to_numpy()
    return row | _details(work, outcomes, "test", np.concatenate(simple), identity, groups)


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
    seeds = dict.fromkeys((work.profile.seed, *work.profile.seeds))
    return [
        row_of(seeded, method)
        for seeded in (of_seed(work, seed) for seed in seeds)
        for row_of in (random_row, homology_row)
        for method in methods
    ]


def read_ladder(path: Path | str = RESULTS / "ladder.json") -> dict:
    """The ladder: ``command``, ``profile``, ``weights``, ``data`` and ``rows``.

    `UserError` if the file is missing or is no ladder.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        rows = content["rows"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} cannot be read ({error}); `make ladder` writes it.") from None
    if not rows:
        raise UserError(f"{path} has no rows; `make ladder` writes it.")
    return content


def still_valid(work: Workspace, new: Sequence[dict], old: Sequence[dict]) -> list[dict]:
    """Those of the ``old`` rows that still hold and that ``new`` has not measured again."""
    measured = {_place(row) for row in new}
    return [
        row
        for row in old
        if row["method"] in METHODS
        and _place(row) not in measured
        and {name: row[name] for name in work.source} == work.source
        and row.get("code") == fitting_code(row["method"])
    ]


def _old_rows(place: Path) -> list[dict]:
    """The rows that ``place`` holds, none if there is no such file; fails where it cannot serve."""
    check_writable(place)
    rows = read_ladder(place)["rows"] if place.exists() else []
    needed = {"split", "method", "seed", "data", "weights", "profile"}
    if not all(isinstance(row, dict) and needed <= row.keys() for row in rows):
        raise UserError(f"{place} holds something else than a ladder; name another file.")
    return rows


def _place(row: dict) -> tuple:
    """Of a row in the order of the ladder; no two rows share one."""
    return row["seed"], (RANDOM, HOMOLOGY).index(row["split"]), list(METHODS).index(row["method"])


def _details(
    work: Workspace, outcomes: Sequence[Outcome], part: str, simple: np.ndarray,
    identity: np.ndarray, groups: np.ndarray,
) -> dict:  # fmt: skip
    """What `ladder` adds to a row; ``simple`` are the best hit's predictions."""
    true = np.concatenate([outcome.labels[part] for outcome in outcomes])
    probabilities = np.concatenate([outcome.probabilities[part] for outcome in outcomes])
    predicted = probabilities.argmax(axis=1)
    gain = bootstrap_gain(true, predicted, simple, groups, seed=work.profile.seed)
    table, perfect = reliability(probabilities, true), error_if_calibrated(probabilities, groups)
    return {
        "gain": gain.value, "gain_low": gain.low, "gain_high": gain.high,
        "code": fitting_code(outcomes[0].method),
        "ece": table_error(table), "reliability": _records(table),
        "ece_calibrated": perfect.value,
        "ece_calibrated_low": perfect.low, "ece_calibrated_high": perfect.high,
        "per_class": _records(per_class_table(true, predicted)),
        "bins": _records(identity_bins(true, predicted, identity)),
        "seconds": sum(outcome.seconds for outcome in outcomes),
    }  # fmt: skip


def _records(table: pd.DataFrame) -> list[dict]:
    """Rows of a table, NaN as None: JSON has no NaN."""
    return table.astype(object).where(table.notna(), None).to_dict("records")
