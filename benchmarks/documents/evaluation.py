"""Tables of tests beyond the two splits: another database, whole genomes, labels, abstention.

Each is written from the file in results/ that its first line names; `__main__.COMMANDS` says which
benchmark makes that file.
"""

from collections import Counter
from collections.abc import Mapping

import pandas as pd

from arg_utils.labels import CLASSES, DISPLAY_NAMES
from arg_utils.reporting import tables
from arg_utils.reporting.tables import COLUMNS, GAIN, SCORE, cells, markdown, source, table

SHORT = dict(zip(CLASSES, DISPLAY_NAMES, strict=True))
CHANGE = "change (95 % interval)"
CHANGED = "{gain:+.3f} ({gain_low:+.3f} to {gain_high:+.3f})"


def external_table(external: Mapping) -> str:
    """external.json: scores, then macro-F1 by identity to the nearest training protein."""
    rows = [row | {"ece": row["calibration_error"]} for row in external["rows"]]
    scores = tables.score_frame(rows)[["method", SCORE, GAIN, "accuracy", "calibration error"]]
    columns = {"identity": "{bin}", "proteins": "{n:,}", "classes": "{classes}"}
    bins = {name: cells(rows[0]["identity"], form) for name, form in columns.items()}
    bins |= {row["method"]: cells(row["identity"], "{macro_f1:.3f}") for row in rows}
    told = "".join(
        f" Of these, {row['method']} is sure of {row['answered']:.1%}, of which "
        f"{row['error_answered']:.1%} are wrong."
        for row in rows
        if "answered" in row
    )
    return (
        f"{markdown(scores)}\n\n{markdown(bins)}\n\nMacro-F1 over {len(external['support'])} "
        f"classes; {external['counts']['kept']:,} proteins in {external['clusters']:,} clusters."
        f"{told} {source(external)}"
    )


def negatives_table(negatives: Mapping) -> str:
    """negatives.json: how often each method takes a protein that resembles no ARG for one."""
    far, near = (f"{negatives['counts'][name]:,}" for name in ("resemble none", "resemble an ARG"))
    rows = []
    for row in negatives["rows"]:
        most = Counter(row["taken_for"]).most_common(3)
        rows.append(row | {"most": ", ".join(f"{SHORT[c]} {n:,}" for c, n in most) or None})
    columns = {
        "method": "{method}",
        f"of {far} proteins, called an ARG": "{called_arg:.2%}",
        "and sure of it": "{called_arg_answered:.2%}",
        "sure at all": "{answered:.1%}",
        f"of {negatives['args']:,} ARGs, called one": "{recall:.1%}",
        "and sure of that": "{recall_answered:.1%}",
        "decision threshold": "{decision_threshold:.2f}",
        "above it, of the proteins": "{called_arg_above:.2%}",
        "above it, of the ARGs": "{recall_above:.1%}",
        f"of {near} that resemble an ARG, called one": "{called_arg_resembling:.1%}",
        f"macro-F1, {negatives['classes']} classes (95 % interval)": (
            "{macro_f1:.3f} ({ci_low:.3f}–{ci_high:.3f})"
        ),
        GAIN: COLUMNS[GAIN],
        "most often called": "{most}",
    }
    return (
        f"{table(rows, columns)}\n\nThe macro-F1 is of those {far} together with the "
        f"{negatives['args']:,} ARGs of the table above, in {negatives['clusters']:,} clusters. "
        f"{source(negatives)}"
    )


def grey_zone_table(grey: Mapping) -> str:
    """grey_zone.json: what each way of calling ARGs finds, and false ARGs; genomes are pooled."""
    pooled = [row for row in grey["rows"] if row["genomes"] == "all"]
    genomes = len(grey["counts"])
    columns = {
        "way of calling": "{method}",
        f"right, of {pooled[0]['args']} ARGs": "{right}",
        "called an ARG": "{called:,}",
        "precision (95 % interval)": "{precision:.3f} ({precision_low:.3f}–{precision_high:.3f})",
        "false ARGs per genome": "{per_genome:.1f}",
        "the same without multidrug": "{other:.1f}",
    }
    rows = [
        row | {
            "per_genome": row["false_args"] / genomes,
            "other": row["false_args_but_multidrug"] / genomes,
        }
        for row in pooled
    ]  # fmt: skip
    return (
        f"{table(rows, columns)}\n\n{pooled[0]['not_args']:,} proteins of {genomes} genomes that "
        f"hit an ARG and are none by NCBI's curated cut-offs. {grey['note']}. {source(grey)}"
    )


def audit_table(audit: Mapping) -> str:
    """label_audit.json: labels in question by class and reason; scores with and without them."""
    counts = pd.DataFrame.from_dict(audit["classes"], orient="index")
    counts = counts.loc[:, counts.sum() > 0].rename(index=SHORT).rename_axis("class")
    counts.loc["all"] = counts.sum()
    rows = [
        row | {"split": split, "of": f"{test['suspects']:,} of {test['proteins']:,}"}
        for split, test in audit["tests"].items()
        for row in test["rows"]
    ]
    columns = {
        "split": "{split}", "method": "{method}", "suspect labels among the tested": "{of}",
        "macro-F1 with them": "{with:.3f}", "without": "{without:.3f}",
        "wrong answers": "{wrong:,}", "of these, suspect": "{wrong_suspect:,}",
    }  # fmt: skip
    first = markdown(counts.reset_index().astype(str))
    return f"{first}\n\n{table(rows, columns)}\n\n{source(audit)}"


def sets_table(abstention: Mapping) -> str:
    """abstention.json: what each variant answers at each promised coverage, and the mechanisms."""
    columns = {
        "variant": "{variant}", "promised": "{promised:.0%}", "threshold": "{threshold:.2f}",
        "families covered": "{families:.1%}", "ARG families": "{arg_families:.1%}",
        "non-ARGs answered": "{answered_other:.1%}", "of them as ARGs": "{other_called_arg:.1%}",
        "ARGs answered right": "{args_right:.1%}", "wrong": "{args_wrong:.1%}",
    }  # fmt: skip
    gain = abstention["rows"][1]
    told = (
        f"{gain['variant'].capitalize()}, macro-F1 on new families changes by {gain['gain']:+.3f} "
        f"({gain['gain_low']:+.3f} to {gain['gain_high']:+.3f})."
    )
    if abstention["mechanism"]:
        mean = pd.DataFrame(abstention["mechanism"]).mean()
        told += (
            f" {mean['with_hit']:.0%} of the ARGs of new families hit a reference ARG; among these,"
            f" the hit with the highest bit score has the right class in {mean['class']:.0%} and"
            f" the right type of mechanism (efflux, inactivation, …) in"
            f" {mean['mechanism_group']:.0%}."
        )
    decisions = {
        "variant": "{variant}", "chosen for a rate of": "{rate:.1%}",
        "decision threshold": "{threshold:.2f}",
        "false positive rate, at any probability": "{false_positives:.2%}",
        "above the threshold": "{false_positives_above:.2%}",
        "ARGs called by their class, at any probability": "{args_right:.1%}",
        "above it": "{args_right_above:.1%}",
    }  # fmt: skip
    return (
        f"{table(abstention['prediction_sets'], columns)}\n\n{told}\n\n"
        f"{table(abstention['decision_thresholds'], decisions)}\n\n{source(abstention)}"
    )


def reach_table(reach: Mapping) -> str:
    """reach.json: of each class of ARGs what is within reach of a hit, scores, hybrid's errors."""
    rows = [{"class": SHORT[name], **row} for name, row in reach["classes"].items()]
    columns = {
        "class": "{class}", "proteins": "{proteins:,}", "clusters": "{clusters:,}",
        "clusters within reach": "{within_reach:.0%}", "ahead": "{ahead:.0%}",
        "F1: best_hit": "{f1_best_hit:.2f}", "hybrid": "{f1_hybrid:.2f}",
        "detector": "{f1_detector:.2f}", "oracle": "{f1_oracle:.2f}",
        "errors of the hybrid: out of reach": "{out of reach:,}",
        "behind a rival": "{behind a rival:,}", "ahead, yet wrong": "{ahead, yet wrong:,}",
    }  # fmt: skip
    scores = ", ".join(f"{score:.3f} ({name})" for name, score in reach["macro_f1"].items())
    return f"{table(rows, columns)}\n\nMacro-F1 over all classes: {scores}. {source(reach)}"


def families_table(families: Mapping) -> str:
    """families.json: what features trained on families of other proteins give on either test."""
    columns = {
        "trained on": "{training}", "features": "{features}", "families": "{families:,}",
        "proteins": "{proteins:,}", "residues": "{residues:,}",
        "held-out families: nearest is of the family": "{retrieval:.1%}",
        "new ARG families: macro-F1": "{macro_f1:.3f}",
        CHANGE: CHANGED,
    }  # fmt: skip
    return f"{table(families['rows'], columns)}\n\n{source(families)}"


def stacking_table(stacking: Mapping) -> str:
    """stacking.json: the hybrid and its variants on new families, by nested cross-validation."""
    columns = {
        "variant": "{variant}", "macro-F1": "{macro_f1:.3f}", CHANGE: CHANGED,
        "large families capped: macro-F1": "{capped_macro_f1:.3f}",
        "change, capped (95 % interval)": CHANGED.replace("gain", "capped_gain"),
        "calibration error": "{ece:.3f}",
    }  # fmt: skip
    return f"{table(stacking['rows'], columns)}\n\n{source(stacking)}"


def heads_table(heads: Mapping) -> str:
    """heads.json: scores of features and heads on held-out families of the training part."""
    columns = {
        "features": "{features}", "head": "{head}", "macro-F1": "{macro_f1:.3f}",
        "accuracy": "{accuracy:.3f}", "seconds": "{seconds:,.1f}",
    }  # fmt: skip
    return f"{table(heads['rows'], columns)}\n\n{source(heads)}"


def treatments_table(ablations: Mapping) -> str:
    """ablations.json: other treatments of rare classes, and other heads, on both splits' tests."""
    columns = {
        "split": "{split}", "method": "{title}", "proteins": "{proteins:,}",
        SCORE: "{macro_f1:.3f} ({ci_low:.3f}–{ci_high:.3f})", CHANGE: CHANGED,
        "accuracy": "{accuracy:.3f}",
    }  # fmt: skip
    return f"{table(ablations['rows'], columns)}\n\n{source(ablations)}"
