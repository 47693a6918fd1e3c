"""Wrong answers as a biologist reads them: the gene, its nearest known protein, a likely reason."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from arg_utils.experiments.outcomes import Outcome
from arg_utils.experiments.workspace import Workspace
from arg_utils.homology.mmseqs import best_hits
from arg_utils.labels import DISPLAY_NAMES, NONARG
from arg_utils.metrics.scores import hardest_confusions
from arg_utils.prediction.genes import ACCESSORY, REGULATOR, RELATIVE, SAME_GENE, cautions

WHOLE, PART = 0.8, 0.6  # coverage from which an alignment is of a whole protein; below, of a part


def confused_with_genes(
    work: Workspace, outcome: Outcome, pairs: int = 6, per_pair: int = 2
) -> pd.DataFrame:
    """The proteins behind the hardest confusions, beside what a search among the references says.

    Of each of the ``pairs`` most frequent confusions, the ``per_pair`` answers of highest
    probability. Columns: protein (its gene or, where its header names none, its id), true,
    predicted, probability (of the predicted class), nearest known protein (of the best hit among
    `Workspace.references`, its gene or id), identity to it, best hit says (its class; without a
    hit: not an ARG) and likely reason (see `likely_reason`).
    """
    part, references = work.scored_part, work.references
    header_of = {record.sequence: record.header for record in work.labelled[0]}
    true, predicted = outcome.labels[part], outcome.predictions(part)
    proteins = pd.DataFrame({
        "true": np.take(DISPLAY_NAMES, true), "predicted": np.take(DISPLAY_NAMES, predicted),
        "sequence": work.scored.sequences, "probability": outcome.probabilities[part].max(axis=1),
    }).sort_values("probability", ascending=False, kind="stable")  # fmt: skip
    kinds = hardest_confusions(true, predicted, top=pairs)[["true", "predicted"]]
    wrong = kinds.merge(proteins).groupby(["true", "predicted"], sort=False).head(per_pair)
    hits = best_hits(wrong["sequence"].tolist(), references.sequences).set_index("query")
    rows = []
    for (of_class, said, sequence, probability), hit in zip(
        wrong.itertuples(index=False, name=None),
        hits.reindex(range(len(wrong))).to_dict("records"),
        strict=True,
    ):
        gene = _name(header_of.get(sequence, ""))
        nearest, identity, answer = "–", "–", DISPLAY_NAMES[NONARG]
        if not np.isnan(hit["target"]):
            target = int(hit["target"])
            nearest = _name(header_of.get(references.sequences[target], ""))
            identity, answer = f"{hit['identity']:.1%}", DISPLAY_NAMES[references.labels[target]]
        rows.append({
            "protein": gene, "true": of_class, "predicted": said,
            "probability": round(probability, 3), "nearest known protein": nearest,
            "identity": identity, "best hit says": answer,
            "likely reason": likely_reason(gene, of_class, said, answer, hit),
        })  # fmt: skip
    return pd.DataFrame(rows)


def _name(header: str) -> str:
    """The gene that an ARG's header names, else its id."""
    fields = header.split("|")
    if fields[0] == "sp":
        return fields[1].removeprefix("genome_")
    return "|".join(fields[4:5]) or fields[0] or "unnamed"


def likely_reason(
    gene: str, true: str, predicted: str, nearest: str, hit: Mapping[str, Any]
) -> str:
    """Why a protein may have been taken for another class: from its name and its best hit.

    ``nearest`` is the best hit's class, ``hit`` a row of `best_hits`, all NaN without one. What a
    name says of a gene is in `prediction.genes`. A label is doubtful where nearly the same
    protein (`SAME_GENE`) carries another, or where genomes carry the gene whether or not they
    resist. An alignment that covers one protein and only part of the other suggests a fusion or a
    fragment.
    """
    identity, of_query, of_target = (
        hit[name] for name in ("identity", "query_coverage", "target_coverage")
    )
    flags = cautions(gene, 1.0)  # at full identity: by the name alone
    reasons = (
        (REGULATOR in flags, "regulator, not the resistance protein itself"),
        (nearest != true and identity >= SAME_GENE, f"label doubtful: its near-copy is {nearest}"),
        (RELATIVE in flags, "label doubtful: genomes have it, resistant or not"),
        (ACCESSORY in flags, "accessory: part of a pump or operon"),
        (np.isnan(identity) and nearest == true, "no relative: the call rests on ESM-2 alone"),
        (np.isnan(identity), "no relative to recognise it by"),
        (of_query < PART and of_target >= WHOLE, f"fusion? the relative is {of_query:.0%} of it"),
        (of_target < PART and of_query >= WHOLE, f"fragment? {of_target:.0%} of the relative"),
        (nearest == true, "overlooked: a relative of its class is known"),
        (nearest == predicted, f"superfamily: its relative is {predicted}"),
        (True, "no near relative of either class"),
    )
    return next(reason for holds, reason in reasons if holds)
