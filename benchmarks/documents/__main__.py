"""The command ``python -m benchmarks.documents``: numbers of README, model card and docs/.

They are written from results/, so that they cannot drift from it; with ``--check``, what is out of
date is only named, with exit code 1. A document marks each block with ``<!-- NAME:begin -->`` and
``<!-- NAME:end -->``; `BLOCKS` says which function writes it from which file of numbers, `COMMANDS`
what measures these.
"""

import argparse
import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from arg_utils import files
from arg_utils.errors import UserError, exit_code
from arg_utils.methods import METHODS
from arg_utils.reporting import tables
from arg_utils.reporting.tables import COLUMNS, GAIN, SCORE, average_seeds, cells, markdown, source
from benchmarks.documents import costs, evaluation

SPLITS = ("random", "homology")
SUMMARY = (
    "hybrid", "layers_linear", "nearest_neighbour", "best_hit", "frozen_linear", "lora_classifier",
)  # fmt: skip  # all measured on the same proteins of both splits


def results_table(rows: Sequence[Mapping]) -> str:
    """A row per method and profile with its macro-F1 on each split, best on homology first."""
    averaged = average_seeds([row for row in rows if row["method"] in METHODS])
    texts = tables.score_frame(averaged).reindex(columns=COLUMNS, fill_value="–")
    texts["rank"] = [-row["macro_f1"] for row in averaged]
    random, homology = _by_split(texts, ["method", "profile"])
    either = homology.combine_first(random).sort_index()
    columns = {
        "reference proteins": either["reference proteins"],
        "macro-F1, random split": random[SCORE],
        "macro-F1, homology split (95 % interval)": homology[SCORE],
        "accuracy, homology": homology["accuracy"],
        "trained parameters": either["trained parameters"],
        "minutes": either["minutes"],
    }
    order = homology["rank"].reindex(either.index).sort_values(kind="stable").index
    frame = pd.DataFrame(columns, index=order).fillna("–").reset_index()
    return markdown(frame.loc[:, (frame != "–").any()])


def summary_table(rows: Sequence[Mapping]) -> str:
    """A row per method of `SUMMARY` under its title, best on the homology split first."""
    texts = tables.score_frame([row for row in rows if row["method"] in SUMMARY])
    texts = texts.drop_duplicates(["split", "method"], keep="last")
    random, homology = _by_split(texts, "method")
    homology = homology.sort_values(SCORE, ascending=False, kind="stable")  # texts of equal length
    gains = {row["method"]: row for row in rows if row["split"] == SPLITS[1] and "gain" in row}
    columns = {
        "method": [METHODS[name].title for name in homology.index],
        "reference proteins": random["reference proteins"].reindex(homology.index),
        "macro-F1, random split": random[SCORE].reindex(homology.index),
        "macro-F1, new families": homology[SCORE],
        f"{GAIN}, new families": cells([gains.get(n, {}) for n in homology.index], COLUMNS[GAIN]),
        "accuracy, new families": homology["accuracy"],
    }
    return markdown(pd.DataFrame(columns, index=homology.index).fillna("–"))


def titles(rows: Sequence[Mapping]) -> str:
    """What the methods in ``rows`` are called in tables and in figures."""
    named = dict.fromkeys(row["method"] for row in rows if row["method"] in METHODS)
    return "\n".join(f"- *{name}*: {METHODS[name].title}" for name in METHODS if name in named)


def _by_split(texts: pd.DataFrame, index: str | list[str]) -> list[pd.DataFrame]:
    """The rows of the random split, and those of the homology split, each under its method."""
    return [texts[texts["split"] == split].set_index(index) for split in SPLITS]


def findings(rows: Sequence[Mapping]) -> str:
    """What the scores on both splits say, in a sentence each; ``rows`` as of `results_table`."""
    scores = {(row["split"], row["method"]): row["macro_f1"] for row in average_seeds(rows)}
    best, course, hybrid = (
        [scores[split, name] for split in SPLITS]
        for name in ("best_hit", "lora_classifier", "hybrid")
    )
    return (
        f"- **Relatives of known proteins** (random split): macro-F1 {best[0]:.3f} with a lookup "
        f"of the best hit, {course[0]:.3f} with the course's model, {hybrid[0]:.3f} with the "
        f"hybrid of hits and ESM-2.\n"
        f"- **New protein families** (homology split): {best[1]:.3f}, {course[1]:.3f} and "
        f"{hybrid[1]:.3f}."
    )


def elsewhere(external: Mapping) -> str:
    """The same of another database, from external.json."""
    score = {row["method"]: row["macro_f1"] for row in external["rows"]}
    return (
        f"- **Another database** ({external['counts']['kept']:,} proteins of NCBI's catalogue): "
        f"{score['best_hit']:.3f} with the best hit, {score['frozen_linear']:.3f} with frozen "
        f"ESM-2 and a linear layer, {score['hybrid']:.3f} with the hybrid."
    )


def bins_table(ladder: Mapping) -> str:
    """For each split, a row per bin of identity, and the whole, of the best hit and the hybrid.

    ``ladder`` is ladder.json. A cell is macro-F1 over the classes there, then accuracy.
    """
    first, methods = tables.first_seeds(ladder["rows"]), ("best_hit", "hybrid")
    pair = "{macro_f1:.3f}, {accuracy:.3f}"
    whole = {
        "all": pair,
        "all: 95 % interval": "{ci_low:.3f}–{ci_high:.3f}",
        "all: calibration error": "{ece:.3f}",
        f"all: the same, {tables.CALIBRATED}": COLUMNS[tables.CALIBRATED],
    }
    lines = []
    for split in SPLITS:
        rows = [first[split, name] for name in methods]
        for bins in zip(*(row["bins"] for row in rows), strict=True):
            lines.append([split, bins[0]["bin"], f"{bins[0]['n']:,}", *cells(bins, pair)])
        count = f"{rows[0]['proteins']:,}"
        lines += [[split, name, count, *cells(rows, form)] for name, form in whole.items()]
    frame = pd.DataFrame(lines, columns=["split", "identity", "proteins", *methods])
    return (
        f"{markdown(frame)}\n\nMacro-F1 (over the classes present), accuracy; by identity to the "
        f"nearest reference protein. {source(ladder)}"
    )


def splits_table(ladder: Mapping) -> str:
    """A row per split and method of a ladder, without bins; see `bins_table`."""
    left_out = ["profile", "trained parameters", tables.CALIBRATED]
    frame = tables.score_frame(ladder["rows"]).drop(columns=left_out, errors="ignore")
    return f"{markdown(frame)}\n\n{source(ladder)}"


COMMAND = "python -m benchmarks.documents"
LADDER = "python -m arg_utils ladder"
COMMANDS = {  # that write the files in results/
    "results.json": "make run publish",
    "notebook_times.json": "make run publish",
    "ladder.json": "make ladder",
    "ladder_longer.json": f"ARG_PROFILE=longer {LADDER} --out results/ladder_longer.json",
    "ladder_other.json": f"ARG_DATA=DIR {LADDER} --out results/ladder_other.json",
    "ladder_audited.json": f"ARG_DATA=DIR {LADDER} --out results/ladder_audited.json",
    "speed.json": "make bench",
    "predict.json": "python -m benchmarks.predict",
    "external.json": "python -m benchmarks.external",
    "negatives.json": "python -m benchmarks.negatives",
    "reach.json": "python -m benchmarks.reach",
    "grey_zone.json": "python -m benchmarks.grey_zone",
    "label_audit.json": "python -m benchmarks.label_audit",
    "families.json": "python -m benchmarks.ablations families",
    "abstention.json": "python -m benchmarks.ablations abstention",
    "stacking.json": "python -m benchmarks.ablations stacking",
    "heads.json": "python -m benchmarks.ablations heads",
    "ablations.json": "python -m benchmarks.ablations test",
}
# The file of numbers of each block of a document, and the function that writes the block from it.
BLOCKS: dict[str, dict[str, tuple[str, Callable[[Any], str]]]] = {
    "README.md": {
        "findings": ("results.json", findings),
        "elsewhere": ("external.json", elsewhere),
        "summary": ("results.json", summary_table),
        "times": ("notebook_times.json", costs.times_table),
        "forms": ("speed.json", costs.forms_table),
    },
    "docs/results.md": {
        "results": ("results.json", results_table),
        "titles": ("results.json", titles),
        "stacking": ("stacking.json", evaluation.stacking_table),
        "heads": ("heads.json", evaluation.heads_table),
        "treatments": ("ablations.json", evaluation.treatments_table),
    },
    "docs/speed.md": {
        "forms": ("speed.json", costs.forms_table),
        "load": ("speed.json", costs.load_table),
        "speed": ("speed.json", costs.speed_table),
    },
    "docs/scale.md": {
        "predict": ("predict.json", costs.predict_table),
        "costs": ("speed.json", costs.costs_table),
    },
    "MODEL_CARD.md": {
        "bins": ("ladder.json", bins_table),
        "reach": ("reach.json", evaluation.reach_table),
        "families": ("families.json", evaluation.families_table),
        "external": ("external.json", evaluation.external_table),
        "negatives": ("negatives.json", evaluation.negatives_table),
        "sets": ("abstention.json", evaluation.sets_table),
        "grey": ("grey_zone.json", evaluation.grey_zone_table),
        "audit": ("label_audit.json", evaluation.audit_table),
        "audited": ("ladder_audited.json", splits_table),
        "longer": ("ladder_longer.json", splits_table),
        "other": ("ladder_other.json", splits_table),
    },
}


def render(document: str, text: str, results: Path) -> str:
    """``text`` of a document with every block that it marks written anew.

    `UserError` if a block is not marked by one begin and one end, or its file of numbers is
    missing.
    """
    for name, (numbers, write) in BLOCKS[document].items():
        begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
        if begin not in text and end not in text:
            continue
        pieces = re.split(f"{re.escape(begin)}.*?{re.escape(end)}", text, flags=re.DOTALL)
        if not text.count(begin) == text.count(end) == len(pieces) - 1 == 1:
            raise UserError(f"{document} must hold {begin} and {end} once, in this order.")
        text = f"{begin}\n{write(_read(numbers, results))}\n{end}".join(pieces)
    return text


def _read(name: str, results: Path) -> Any:
    """A file of numbers, with those of another that its tables show too, where there is one."""
    if not (results / name).is_file():
        raise UserError(f"There is no {name} in results/; `{COMMANDS[name]}` writes it.")
    content = json.loads((results / name).read_text(encoding="utf-8"))
    if name == "results.json" and (results / "ladder.json").is_file():
        content = [*_read("ladder.json", results)["rows"], *content]  # where a run has no row
    if name == "speed.json" and (results / "predict.json").is_file():
        content["predict"] = _read("predict.json", results)
    return content


def update_documents(check: bool = False, root: Path = files.ROOT) -> list[str]:
    """Rewrite the documents of `BLOCKS` that are out of date; with ``check`` only name them.

    Either all are rewritten or, if any of them is at fault (`UserError`), none.
    """
    texts = {name: (root / name).read_text(encoding="utf-8") for name in BLOCKS}
    written = {name: render(name, text, root / "results") for name, text in texts.items()}
    stale = [name for name in BLOCKS if texts[name] != written[name]]
    if not check:
        for name in stale:
            files.write_text(root / name, written[name])
    return stale


def main(arguments: Sequence[str] | None = None) -> int:
    """Rewrite the documents, or name those out of date."""
    parser = argparse.ArgumentParser(COMMAND, description="Write the documents' numbers anew.")
    parser.add_argument("--check", action="store_true", help="only say what is out of date (1)")
    check = parser.parse_args(arguments).check

    def command() -> int:
        stale = update_documents(check)
        if not check:
            return 0
        for name in stale:
            print(f"{name} is out of date; rewrite it: {COMMAND}", file=sys.stderr)
        return int(bool(stale))

    return exit_code(command, files.ROOT)


if __name__ == "__main__":
    sys.exit(main())
