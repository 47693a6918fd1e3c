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
from arg_utils.labels import CLASSES, DISPLAY_NAMES
from arg_utils.methods import METHODS
from arg_utils.reporting.tables import GAIN, SCORE, average_seeds, number, score_frame, source

TEXT = {
    "",
    "form",
    "processor",
    "split",
    "method",
    "profile",
    "reference proteins",
    "notebook",
    "identity",
}


def markdown(frame: pd.DataFrame) -> str:
    """A frame of texts as a Markdown table; columns other than those of `TEXT` are numbers."""
    rule = "".join("---|" if name in TEXT else "---:|" for name in frame.columns)
    rows = [f"| {' | '.join(row)} |" for row in frame.to_numpy().tolist()]
    return "\n".join([f"| {' | '.join(frame.columns)} |", f"|{rule}", *rows])


def results_table(rows: Sequence[Mapping]) -> str:
    """A row per method and profile with its macro-F1 on each split, best on homology first."""
    averaged = average_seeds([row for row in rows if row["method"] in METHODS])
    columns = ["method", "profile", "reference proteins", SCORE, "accuracy", "trained parameters",
               "minutes"]  # fmt: skip
    texts = score_frame(averaged).reindex(columns=columns, fill_value="–").to_dict("records")
    by_method: dict[tuple, dict] = {}
    for row, text in zip(averaged, texts, strict=True):
        key = text["method"], text["profile"]
        by_method.setdefault(key, {})[row["split"]] = text, -row["macro_f1"]
    absent = dict.fromkeys(columns, "–"), 1.0
    lines = []
    for key, splits in by_method.items():
        (random, _), (homology, rank) = (splits.get(s, absent) for s in ("random", "homology"))
        either = homology if "homology" in splits else random
        given, size, minutes = (either[name] for name in ("reference proteins", *columns[-2:]))
        scores = random[SCORE], homology[SCORE], homology["accuracy"]
        lines.append((rank, *key, given, *scores, size, minutes))
    head = ["rank", "method", "profile", "reference proteins", "macro-F1, random split",
            "macro-F1, homology split (95 % interval)", "accuracy, homology",
            "trained parameters", "minutes"]  # fmt: skip
    frame = pd.DataFrame(sorted(lines), columns=head).drop(columns="rank")
    return markdown(frame.loc[:, (frame != "–").any()])


def times_table(times: Mapping) -> str:
    """Minutes of each notebook and in all, from notebook_times.json."""
    seconds = {f"`{name}`": value for name, value in times["seconds"].items()}
    seconds["all"] = sum(seconds.values())
    head = f"minutes (profile {times['profile']}, {times['cores']} cores)"
    minutes = [number(value / 60, ".1f") for value in seconds.values()]
    return markdown(pd.DataFrame({"notebook": list(seconds), head: minutes}))


def speed_table(speed: Mapping) -> str:
    """A row per contender: residues per second and peak memory, from speed.json."""
    rows = []
    for name, label in speed["labels"].items():
        cells = {"": label}
        for task, prefix in (("features", "features"), ("training", "lora")):
            head = {"features": "features", "training": "LoRA training"}[task]
            ratio = speed.get(f"{prefix}_vs_{name}")
            rate = speed["residues_per_second"][task].get(name)
            peak = speed["peak_rss_mb"].get(f"{task}:{name}")
            cells[f"{head}, residues/s"] = number(rate, ",.0f")
            cells[f"{head}: ours is"] = number(ratio, ".1f") + "×" * (ratio is not None)
            cells[f"{head}: peak MB"] = number(peak, ",.0f")
        rows.append(cells)
    streams = ", ".join(f"{int(n):,}: {mb:,.0f}" for n, mb in speed["features_peak_rss_mb"].items())
    return (
        f"{markdown(pd.DataFrame(rows))}\n\n"
        f"{speed['cores']} cores, {speed['device']}, PyTorch {speed['torch']}, transformers "
        f"{speed['transformers']}, PEFT {speed['peft']}; weights: {speed['weights']}. Medians of "
        f"{speed['repeats']} interleaved repeats. The forward pass reaches "
        f"{speed['gemm_fraction']:.0%} of the rate of a large matrix product. The course's whole "
        f"protocol takes 1/{speed['protocol_vs_naive']:,.0f} of the naive loop's time (that one "
        f"measured for part of an epoch and multiplied). Peak MB by number of proteins: {streams}."
    )


FORM_COLUMNS = {
    "features_vs_naive": "features: fair-esm", "features_vs_hf": "transformers",
    "features_vs_esm_cpp": "esm-cpp", "features_vs_torch_attention": "PyTorch's attention",
    "lora_vs_naive": "LoRA training: fair-esm", "lora_vs_hf": "transformers + PEFT",
}  # fmt: skip


def forms_table(speed: Mapping) -> str:
    """A row per form of the kernel and processor measured, from speed.json."""
    rows = []
    for row in (*speed["forms"].values(), *speed["forms_earlier"]):
        cells = {"form": f"{row['form']}, {row['precision']}", "processor": _processor(row)}
        for key, head in FORM_COLUMNS.items():
            ratio = row.get(key)
            cells[head] = number(ratio, ".1f") + "×" * (ratio is not None)
        cells["of a large product's rate"] = f"{row['gemm_fraction']:.0%}"
        rows.append(cells)
    return markdown(pd.DataFrame(rows))


def _processor(row: Mapping) -> str:
    """The processor, its best instructions, the limits it was measured under, and the date."""
    best = row["cpu_flags"][-1] if row["cpu_flags"] else "no vector extension named"
    limited = ", limited to the form's instructions" if len(row.get("limits", ())) > 1 else ""
    return f"{row['cpu']} ({best}){limited}, {row['date']}"


def load_table(speed: Mapping) -> str:
    """A row per form: residues per second, and what another busy program leaves of them."""
    heads = (
        "form",
        "features, residues/s",
        "LoRA training, residues/s",
        "features, left under load",
    )
    rows = [
        (name, *(number(rate, ",.0f") for rate in row["residues_per_second"].values()),
         f"{row['kept_under_load']:.0%}")
        for name, row in speed["forms"].items()
    ]  # fmt: skip
    return markdown(pd.DataFrame(rows, columns=heads))


def bins_table(ladder: Mapping, methods: tuple[str, ...] = ("best_hit", "hybrid")) -> str:
    """For each split, a row per bin of identity, and the whole, of some methods.

    ``ladder`` is ladder.json. A cell is macro-F1 over the classes there, then accuracy.
    """
    rows = reversed(ladder["rows"])  # of several seeds, the first
    chosen = {(r["split"], r["method"]): r for r in rows if r["method"] in methods}
    lines = []
    for split in ("random", "homology"):
        rows = [chosen[split, name] for name in methods]
        for place, entry in enumerate(rows[0]["bins"]):
            lines.append(
                [split, entry["bin"], entry["n"], *(_pair(r["bins"][place]) for r in rows)]
            )
        whole = {
            "all": [_pair(row) for row in rows],
            "all: 95 % interval": [f"{row['ci_low']:.3f}–{row['ci_high']:.3f}" for row in rows],
            "all: calibration error": [number(row["ece"]) for row in rows],
            "all: the same, were its probabilities perfect": [_perfect(row) for row in rows],
        }
        lines += [[split, name, rows[0]["proteins"], *cells] for name, cells in whole.items()]
    head = ["split", "identity", "proteins", *methods]
    frame = pd.DataFrame(lines, columns=head)
    frame["proteins"] = [f"{count:,}" for count in frame["proteins"]]
    told = (
        "Macro-F1 (over the classes present), accuracy; by identity to the nearest reference "
        f"protein. {source(ladder)}"
    )
    return f"{markdown(frame)}\n\n{told}"


def _perfect(row: Mapping) -> str:
    low, high = row["ece_calibrated_low"], row["ece_calibrated_high"]
    return f"{row['ece_calibrated']:.3f} ({low:.3f}–{high:.3f})"


def _pair(row: Mapping) -> str:
    return f"{number(row['macro_f1'])}, {number(row['accuracy'])}"


def splits_table(ladder: Mapping) -> str:
    """A row per split and method of a ladder, without bins; see `bins_table`."""
    left_out = ["profile", "trained parameters"]
    frame = score_frame(ladder["rows"]).drop(columns=left_out, errors="ignore")
    return f"{markdown(frame)}\n\n{source(ladder)}"


def external_table(external: Mapping) -> str:
    """A row per method, then macro-F1 by identity to the nearest training protein.

    ``external`` is external.json, which benchmarks/external.py writes.
    """
    rows = external["rows"]
    columns = ["method", SCORE, GAIN, "accuracy", "calibration error"]
    bins = pd.DataFrame(
        [
            (entry["bin"], f"{entry['n']:,}", str(entry["classes"]),
             *(number(row["identity"][place]["macro_f1"]) for row in rows))
            for place, entry in enumerate(rows[0]["identity"])
        ],
        columns=["identity", "proteins", "classes", *(row["method"] for row in rows)],
    )  # fmt: skip
    told = "".join(
        f" Above its threshold, {row['method']} answers {row['answered']:.1%}, of which "
        f"{row['error_answered']:.1%} are wrong."
        for row in rows
        if row.get("threshold")
    )
    what = (
        f"Macro-F1 over {len(external['support'])} classes; {external['counts']['kept']:,} "
        f"proteins in {external['clusters']:,} clusters.{told}"
    )
    scores = markdown(score_frame(rows)[columns])
    return f"{scores}\n\n{markdown(bins)}\n\n{what} {source(external)}"


def negatives_table(negatives: Mapping) -> str:
    """A row per method: how often it takes a protein that resembles no ARG for one.

    ``negatives`` is negatives.json, which benchmarks/negatives.py writes.
    """
    rows, counts = negatives["rows"], negatives["counts"]
    far, near = (f"{counts[name]:,}" for name in ("resemble none", "resemble an ARG"))
    scores = score_frame(rows)
    frame = pd.DataFrame({
        "method": scores["method"],
        f"of {far} proteins, called an ARG": [f"{row['called_arg']:.2%}" for row in rows],
        "and sure of it": [number(row.get("called_arg_answered"), ".2%") for row in rows],
        "sure at all": [number(row.get("answered"), ".1%") for row in rows],
        f"of {near} that resemble an ARG, called one": [
            number(row["called_arg_resembling"], ".1%") for row in rows
        ],
        f"macro-F1, {negatives['classes']} classes (95 % interval)": scores[SCORE],
        GAIN: scores[GAIN],
        "most often called": [_most_frequent(row["taken_for"]) for row in rows],
    })  # fmt: skip
    told = (
        f"The macro-F1 is of those {far} together with the {negatives['args']:,} ARGs of the "
        f"table above, in {negatives['clusters']:,} clusters. {source(negatives)}"
    )
    return f"{markdown(frame)}\n\n{told}"


def _most_frequent(counts: Mapping[str, int], shown: int = 3) -> str:
    """The classes most often named, by their short names."""
    short = dict(zip(CLASSES, DISPLAY_NAMES, strict=True))
    most = sorted(counts.items(), key=lambda item: -item[1])[:shown]
    return ", ".join(f"{short[name]} {count:,}" for name, count in most) or "–"


class Block(NamedTuple):
    """A marked part of a document: its file of numbers, who makes both, and what writes it."""

    name: str
    source: str
    command: str
    write: Callable[[Any], str]


LADDER = "python -m arg_utils ladder"
BLOCKS: dict[str, tuple[Block, ...]] = {
    "README.md": (
        Block("results", "results.json", "make run publish", results_table),
        Block("times", "notebook_times.json", "make run publish", times_table),
        Block("forms", "speed.json", "make bench", forms_table),
    ),
    "docs/speed.md": (
        Block("forms", "speed.json", "make bench", forms_table),
        Block("load", "speed.json", "make bench", load_table),
        Block("speed", "speed.json", "make bench", speed_table),
    ),
    "MODEL_CARD.md": (
        Block("bins", "ladder.json", "make ladder", bins_table),
        Block("external", "external.json", "python -m benchmarks.external", external_table),
        Block("negatives", "negatives.json", "python -m benchmarks.negatives", negatives_table),
        Block("longer", "ladder_longer.json",
              f"ARG_PROFILE=longer {LADDER} --out results/ladder_longer.json", splits_table),
        Block("other", "ladder_other.json",
              f"ARG_DATA=DIR {LADDER} --out results/ladder_other.json", splits_table),
    ),
}  # fmt: skip


def render(document: str, text: str, results: Path) -> str:
    """``text`` of a document with every block that it marks written anew.

    Raises
    ------
    UserError
        If a block is not marked by one begin and one end, or its file of numbers is missing.
    """
    for block in BLOCKS[document]:
        begin, end = f"<!-- {block.name}:begin -->", f"<!-- {block.name}:end -->"
        if begin not in text and end not in text:
            continue
        pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
        if not text.count(begin) == text.count(end) == len(pattern.findall(text)) == 1:
            raise UserError(f"{document} must hold {begin} and {end} once, in this order.")
        before, after = pattern.split(text)
        written = block.write(_numbers(block, results))
        text = f"{before}{begin}\n{written}\n{end}{after}"
    return text


def _numbers(block: Block, results: Path) -> Any:
    path = results / block.source
    if not path.is_file():
        raise UserError(f"There is no {path.name} in results/; `{block.command}` writes it.")
    content = json.loads(path.read_text(encoding="utf-8"))
    ladder = results / "ladder.json"
    if block.write is results_table and ladder.is_file():  # its rows where a run has none
        content = [*json.loads(ladder.read_text(encoding="utf-8"))["rows"], *content]
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
