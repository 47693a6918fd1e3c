"""What limits the score on new families: what has a relative at all, and what rivals it.

    python -m benchmarks.reach      # writes results/reach.json

An ARG of the homology split is *within reach* if a reference protein of its class, or the profile
of one of its families, hits it with more bits than chance gives: what the hybrid's evidence is made
of. It is *ahead* if no hit of another class is stronger. The oracle names the class of whatever is
within reach, takes all other ARGs for none, and errs in nothing else: no rule that weighs hits
alone can do better. The detector only knows what is an ARG, and names the class of its strongest
hit among ARGs: what it lacks to the oracle is to be gained by telling rivals apart. Errors of the
hybrid are told apart likewise.

This describes the test; nothing was chosen by it.
"""

import argparse
import json
import sys

import numpy as np
import pandas as pd

from arg_utils.data.proteins import proteins, subset
from arg_utils.errors import exit_code
from arg_utils.experiments.outcomes import score_homology
from arg_utils.experiments.workspace import Workspace, open_workspace
from arg_utils.files import RESULTS, write_text
from arg_utils.homology.splits import homology_fold
from arg_utils.labels import CLASSES, NONARG
from arg_utils.methods.evidence import Hit, find_hits, hit_evidence
from arg_utils.metrics.scores import macro_f1, per_class_table

METHODS, ORACLES = ("best_hit", "hybrid"), ("detector", "oracle")
ERRORS = ("out of reach", "behind a rival", "ahead, yet wrong")


def strengths(work: Workspace, fold: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions int64 [n] of a fold's tested proteins, and their strongest hit of each class.

    As of `Hit.STRENGTH`, float32 [n, 15]; the references are training and validation, as the
    hybrid's.
    """
    records, table = work.labelled
    parts, data = homology_fold(records, table, fold, work.profile.seed), proteins(records)
    known = subset(data, np.concatenate([parts.train, parts.val]))
    tested = subset(data, parts.test).sequences
    hits = find_hits(tested, known.sequences, known.labels)
    return parts.test, hit_evidence(hits, known.labels, len(tested))[..., Hit.STRENGTH]


def judged(predictions: pd.DataFrame, strength: np.ndarray) -> pd.DataFrame:
    """Predictions with ``within_reach`` and ``ahead`` (bool), `ORACLES`, and the hybrid's error.

    Parameters
    ----------
    predictions : ``true`` class and a column per method, one row per tested protein.
    strength : of the same proteins, float32 [n, 15].
    """
    true = predictions["true"].to_numpy()
    own = strength[np.arange(len(true)), true]
    reached = own > 0
    first = reached & (own >= strength.max(axis=1))
    kind = np.select([~reached, ~first], ERRORS[:2], ERRORS[2])
    wrong = (predictions["hybrid"] != true) & (true != NONARG)
    of_args = np.where(np.arange(strength.shape[1]) == NONARG, 0, strength)
    hit = (true != NONARG) & (of_args.max(axis=1) > 0)
    return predictions.assign(
        within_reach=reached, ahead=first, error=np.where(wrong, kind, ""),
        detector=np.where(hit, of_args.argmax(axis=1), NONARG),
        oracle=np.where(reached | (true == NONARG), true, NONARG),
    )  # fmt: skip


def per_class(table: pd.DataFrame) -> pd.DataFrame:
    """A row per class of ARGs: support, clusters, shares of clusters, F1 by method, errors.

    ``table`` is that of `judged` with a column ``cluster``. A cluster counts by the share of its
    proteins.
    """
    args = table[table["true"] != NONARG]
    by_cluster = args.groupby(["true", "cluster"])[["within_reach", "ahead"]].mean()
    out = pd.DataFrame({"proteins": args.groupby("true").size()})
    out["clusters"] = args.groupby("true")["cluster"].nunique()
    out[["within_reach", "ahead"]] = by_cluster.groupby("true").mean()
    for name in (*METHODS, *ORACLES):
        scores = per_class_table(table["true"].to_numpy(), table[name].to_numpy())
        out[f"f1_{name}"] = scores["f1"].to_numpy()[out.index]
    for kind in ERRORS:
        out[kind] = args.assign(of=args["error"] == kind).groupby("true")["of"].sum()
    return out.rename(index=dict(enumerate(CLASSES)))


def evaluate(work: Workspace) -> dict:
    """The table per class, and macro-F1 of the methods and the oracle."""
    predictions = score_homology(work, METHODS)[1]
    found = [strengths(work, fold) for fold in work.tested_folds]
    strength = pd.DataFrame(
        np.concatenate([part for _, part in found]), np.concatenate([rows for rows, _ in found])
    )
    table = judged(predictions, strength.loc[predictions["position"]].to_numpy())
    clusters = work.labelled[1]["cluster"].to_numpy()
    classes = per_class(table.assign(cluster=clusters[table["position"]]))
    true, named = table["true"].to_numpy(), (*METHODS, *ORACLES)
    return {
        **work.provenance("python -m benchmarks.reach"),
        "macro_f1": {name: macro_f1(true, table[name].to_numpy()) for name in named},
        "classes": json.loads(classes.to_json(orient="index")),
    }


def _run() -> None:
    result = evaluate(open_workspace())
    print(pd.DataFrame.from_dict(result["classes"], orient="index").round(3).to_string())
    print("macro-F1:", {name: round(score, 4) for name, score in result["macro_f1"].items()})
    write_text(RESULTS / "reach.json", json.dumps(result, indent=1) + "\n")


def main(arguments: list[str] | None = None) -> int:
    """Count, print the table, write ``results/reach.json``."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reach", description=__doc__)
    parser.parse_args(arguments)
    return exit_code(_run, RESULTS)


if __name__ == "__main__":
    sys.exit(main())
