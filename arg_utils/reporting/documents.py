"""Numbers of README and model card, written from results/ so that they cannot drift from it.

A document marks each block with ``<!-- NAME:begin -->`` and ``<!-- NAME:end -->``; `BLOCKS` says
which command measures its numbers and which function writes it.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from arg_utils import files
from arg_utils.errors import UserError
from arg_utils.methods import METHODS
from arg_utils.reporting import tables
from arg_utils.reporting.costs import (
    costs_table,
    forms_table,
    load_table,
    predict_table,
    speed_table,
    times_table,
)
from arg_utils.reporting.evaluation import (
    audit_table,
    external_table,
    families_table,
    grey_zone_table,
    negatives_table,
    reach_table,
    sets_table,
)
from arg_utils.reporting.tables import (
    COLUMNS,
    SCORE,
    average_seeds,
    cells,
    markdown,
    source,
)

SUMMARY = (
    "hybrid", "layers_linear", "nearest_neighbour", "best_hit", "frozen_linear", "lora_classifier",
)  # fmt: skip  # all measured on the same proteins of both splits


def results_table(rows: Sequence[Mapping]) -> str:
    """A row per method and profile with its macro-F1 on each split, best on homology first."""
    averaged = average_seeds([row for row in rows if row["method"] in METHODS])
    texts = tables.score_frame(averaged).reindex(columns=COLUMNS, fill_value="–")
    texts["rank"] = [-row["macro_f1"] for row in averaged]
    random, homology = (
        texts[texts["split"] == split].set_index(["method", "profile"])
        for split in ("random", "homology")
    )
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
    random, homology = (
        texts[texts["split"] == split].set_index("method") for split in ("random", "homology")
    )
    homology = homology.sort_values(SCORE, ascending=False, kind="stable")  # texts of equal length
    columns = {
        "method": [METHODS[name].title for name in homology.index],
        "reference proteins": random["reference proteins"].reindex(homology.index),
        "macro-F1, random split": random[SCORE].reindex(homology.index),
        "macro-F1, new families": homology[SCORE],
        "accuracy, new families": homology["accuracy"],
    }
    return markdown(pd.DataFrame(columns, index=homology.index).fillna("–"))


def findings(rows: Sequence[Mapping]) -> str:
    """What the scores on both splits say, in a sentence each; ``rows`` as of `results_table`."""
    scores = {(row["split"], row["method"]): row["macro_f1"] for row in average_seeds(rows)}
    best, course, hybrid = (
        [scores[split, name] for split in ("random", "homology")]
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


def bins_table(ladder: Mapping, methods: Sequence[str] = ("best_hit", "hybrid")) -> str:
    """For each split, a row per bin of identity, and the whole, of some methods.

    ``ladder`` is ladder.json. A cell is macro-F1 over the classes there, then accuracy.
    """
    first = {(row["split"], row["method"]): row for row in reversed(ladder["rows"])}  # seed
    pair = "{macro_f1:.3f}, {accuracy:.3f}"
    whole = {
        "all": pair,
        "all: 95 % interval": "{ci_low:.3f}–{ci_high:.3f}",
        "all: calibration error": "{ece:.3f}",
        f"all: the same, {tables.CALIBRATED}": COLUMNS[tables.CALIBRATED],
    }
    lines = []
    for split in ("random", "homology"):
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


class Block(NamedTuple):
    """A marked part of a document: its file of numbers, who makes both, and what writes it."""

    name: str
    source: str
    command: str
    write: Callable[[Any], str]


LADDER = "python -m arg_utils ladder"
LONGER = f"ARG_PROFILE=longer {LADDER} --out results/ladder_longer.json"
OTHER = f"ARG_DATA=DIR {LADDER} --out results/ladder_other.json"
FORMS = Block("forms", "speed.json", "make bench", forms_table)
BLOCKS: dict[str, tuple[Block, ...]] = {
    "README.md": (
        Block("findings", "results.json", "make run publish", findings),
        Block("elsewhere", "external.json", "python -m benchmarks.external", elsewhere),
        Block("summary", "results.json", "make run publish", summary_table),
        Block("times", "notebook_times.json", "make run publish", times_table),
        FORMS,
    ),
    "docs/results.md": (Block("results", "results.json", "make run publish", results_table),),
    "docs/speed.md": (
        FORMS,
        Block("load", "speed.json", "make bench", load_table),
        Block("speed", "speed.json", "make bench", speed_table),
    ),
    "docs/scale.md": (
        Block("predict", "predict.json", "python -m benchmarks.predict", predict_table),
        Block("costs", "speed.json", "make bench", costs_table),
    ),
    "MODEL_CARD.md": (
        Block("bins", "ladder.json", "make ladder", bins_table),
        Block("reach", "reach.json", "python -m benchmarks.reach", reach_table),
        Block(
            "families", "families.json", "python -m benchmarks.ablations families", families_table
        ),
        Block("external", "external.json", "python -m benchmarks.external", external_table),
        Block("negatives", "negatives.json", "python -m benchmarks.negatives", negatives_table),
        Block("sets", "abstention.json", "python -m benchmarks.ablations abstention", sets_table),
        Block("grey", "grey_zone.json", "python -m benchmarks.grey_zone", grey_zone_table),
        Block("audit", "label_audit.json", "python -m benchmarks.label_audit", audit_table),
        Block("longer", "ladder_longer.json", LONGER, splits_table),
        Block("other", "ladder_other.json", OTHER, splits_table),
    ),
}


def render(document: str, text: str, results: Path) -> str:
    """``text`` of a document with every block that it marks written anew.

    `UserError` if a block is not marked by one begin and one end, or its file of numbers is
    missing.
    """
    for block in BLOCKS[document]:
        begin, end = f"<!-- {block.name}:begin -->", f"<!-- {block.name}:end -->"
        if begin not in text and end not in text:
            continue
        pieces = re.split(f"{re.escape(begin)}.*?{re.escape(end)}", text, flags=re.DOTALL)
        if not text.count(begin) == text.count(end) == len(pieces) - 1 == 1:
            raise UserError(f"{document} must hold {begin} and {end} once, in this order.")
        text = f"{begin}\n{block.write(_numbers(block, results))}\n{end}".join(pieces)
    return text


def _numbers(block: Block, results: Path) -> Any:
    path, ladder, predict = (
        results / name for name in (block.source, "ladder.json", "predict.json")
    )
    if not path.is_file():
        raise UserError(f"There is no {path.name} in results/; `{block.command}` writes it.")
    content = json.loads(path.read_text(encoding="utf-8"))
    if block.source == "results.json" and ladder.is_file():  # its rows where a run has none
        content = [*json.loads(ladder.read_text(encoding="utf-8"))["rows"], *content]
    if block.write is costs_table and predict.is_file():
        content["predict"] = json.loads(predict.read_text(encoding="utf-8"))
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
