"""Numbers of README and model card, written from results/ so that they cannot drift from it.

python -m arg_utils.reporting.readme_tables            # rewrite
python -m arg_utils.reporting.readme_tables --check    # exit code 1 if one of them is out of date
"""

import json
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from statistics import fmean

from arg_utils import files
from arg_utils.errors import UserError
from arg_utils.homology.splits import FOLDS
from arg_utils.reporting.card_tables import (
    SPLITS,
    bins_table,
    external_table,
    negatives_table,
    splits_table,
)
from arg_utils.reporting.markdown import number, score, table

CARD = "MODEL_CARD.md"


def results_table(rows: Iterable[Mapping]) -> str:
    """Markdown: a row a method and profile, its macro-F1 on each split, best homology first.

    ``rows`` are those of results.json: split, method, macro_f1, and where known accuracy,
    trainable_parameters, minutes, ci_low, ci_high, profile, weights. Intervals are 95 %.
    """
    methods: dict[tuple[str, str], dict[str, Mapping]] = {}
    seeds: dict[tuple, dict[int, Mapping]] = {}
    for row in rows:
        key = (row["method"], row.get("profile") or "", row["split"])
        seeds.setdefault(key, {})[row.get("seed", 0)] = row  # measured twice: the last one
    for (method, profile, split), measured in seeds.items():
        methods.setdefault((method, profile), {})[split] = _mean(list(measured.values()))
    lines = []
    for (method, profile), parts in sorted(methods.items(), key=_hardest_first):
        random, homology = (parts.get(split, {}) for split in SPLITS)
        lines.append((
            method, profile or "–", _score(random), _score(homology),
            number(homology.get("accuracy")),
            number(_either(homology, random, "trainable_parameters"), ","),
            number(_either(homology, random, "minutes"), ".1f"),
        ))  # fmt: skip
    head = (
        "method", "profile", "macro-F1, random split", "macro-F1, homology split (95 % interval)",
        "accuracy, homology", "trained parameters", "minutes",
    )  # fmt: skip
    return "\n".join(table(head, lines, left=2))


def _mean(rows: list[Mapping]) -> Mapping:
    """The mean of several seeds' scores and interval ends, with ``seeds``: how many."""
    means = {
        name: fmean(row[name] for row in rows)
        for name in ("macro_f1", "accuracy", "ci_low", "ci_high", "minutes")
        if all(row.get(name) is not None for row in rows)
    }
    return {**rows[0], **means, "seeds": len(rows)}


def times_table(times: Mapping) -> str:
    """Markdown: minutes of each notebook and in all, from notebook_times.json."""
    seconds = times["seconds"]
    rows = [(f"`{name}`", f"{value / 60:.1f}") for name, value in seconds.items()]
    rows.append(("all", f"{sum(seconds.values()) / 60:.1f}"))
    head = ("notebook", f"minutes (profile {times['profile']}, {times['cores']} cores)")
    return "\n".join(table(head, rows))


def speed_table(speed: Mapping) -> str:
    """Markdown: a row a contender, residues a second and peak memory, from speed.json."""
    rows = []
    for name, label in speed["labels"].items():
        cells = [label]
        for task, prefix in (("features", "features"), ("training", "lora")):
            times = speed.get(f"{prefix}_vs_{name}")
            cells += [
                number(speed["residues_per_second"][task].get(name), ",.0f"),
                number(times, ".1f") + "×" * (times is not None),
                number(speed["peak_rss_mb"].get(f"{task}:{name}"), ",.0f"),
            ]
        rows.append(cells)
    tasks = ("features, residues/s", "LoRA training, residues/s")
    head = ["", *(name for task in tasks for name in (task, "ours is", "peak MB"))]
    streams = ", ".join(f"{int(n):,}: {mb:,.0f}" for n, mb in speed["features_peak_rss_mb"].items())
    return "\n".join([
        *table(head, rows), "",
        f"{speed['cores']} cores, {speed['device']}, PyTorch {speed['torch']}, transformers "
        f"{speed['transformers']}, PEFT {speed['peft']}; weights: {speed['weights']}. Medians of "
        f"{speed['repeats']} interleaved repeats. The forward pass reaches "
        f"{speed['gemm_fraction']:.0%} of the rate of a large matrix product. The course's whole "
        f"protocol takes 1/{speed['protocol_vs_naive']:,.0f} of the naive loop's time (that one "
        f"measured for part of an epoch and multiplied). Peak MB by number of proteins: {streams}.",
    ])  # fmt: skip


def _hardest_first(item: tuple) -> tuple[float, str]:
    key, parts = item
    scores = [parts[split]["macro_f1"] for split in reversed(SPLITS) if split in parts]
    return (-scores[0] if "homology" in parts else 1.0, str(key))


def _either(first: Mapping, second: Mapping, name: str) -> float | None:
    return first.get(name) if first.get(name) is not None else second.get(name)


def _score(row: Mapping) -> str:
    """`markdown.score`, and how many seeds it is the mean of, and which folds lack."""
    text = score(row)
    if row.get("seeds", 1) > 1:
        text += f", mean of {row['seeds']} seeds"
    folds = row.get("folds")
    if folds is not None and len(folds) < FOLDS:
        text += f", {len(folds)} of {FOLDS} folds"
    return text


def render(readme: str, results: Path) -> str:
    """``readme`` with the block of every ``<!-- NAME:begin -->`` … ``<!-- NAME:end -->`` anew.

    NAME is ``results`` and ``times``, each once, and ``speed``, which may be absent. Raises
    `UserError` if a marker or a file of numbers is missing.
    """
    if "<!-- speed:" in readme:
        speed = _load(results / "speed.json", "make bench")
        readme = _replace(readme, "speed", speed_table(speed))
    rows = _load(results / "results.json")
    if (ladder := results / "ladder.json").is_file():  # its rows, where both have one, are kept
        rows = [*rows, *_load(ladder)["rows"]]
    readme = _replace(readme, "results", results_table(rows))
    return _replace(readme, "times", times_table(_load(results / "notebook_times.json")))


def render_card(card: str, results: Path) -> str:
    """``card`` with the block ``bins`` anew, and the others that `card_tables` makes if marked.

    Errors as of `render`.
    """
    ladder = _load(results / "ladder.json", "make ladder")
    card = _replace(card, "bins", bins_table(ladder), CARD)
    for name, file, command, make in (
        ("external", "external.json", "python -m benchmarks.external", external_table),
        ("negatives", "negatives.json", "python -m benchmarks.negatives", negatives_table),
        (
            "longer",
            "ladder_longer.json",
            "ARG_PROFILE=longer python -m arg_utils.experiments.ladder "
            "--out results/ladder_longer.json",
            splits_table,
        ),
        (
            "other",
            "ladder_other.json",
            "ARG_DATA=DIR python -m arg_utils.experiments.ladder --out results/ladder_other.json",
            splits_table,
        ),
    ):
        if f"<!-- {name}:" in card:
            card = _replace(card, name, make(_load(results / file, command)), CARD)
    return card


def _replace(readme: str, name: str, block: str, file: str = "README.md") -> str:
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    if len(pattern.findall(readme)) != 1:
        raise UserError(f"{file} must hold {begin} and {end} once, in this order.")
    return pattern.sub(lambda _: f"{begin}\n{block}\n{end}", readme)


def _load(path: Path, command: str = "make run publish"):
    if not path.is_file():
        raise UserError(f"There is no {path.name} in results/; `{command}` writes it.")
    return json.loads(path.read_text(encoding="utf-8"))


def main(arguments: list[str] | None = None, root: Path = files.ROOT) -> int:
    """Rewrite README.md and, where there is one, MODEL_CARD.md; or with ``--check`` compare.

    Returns the exit code.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    texts, makers = {}, {"README.md": render}
    if (root / CARD).exists():
        makers[CARD] = render_card
    try:
        for name, make in makers.items():
            old = (root / name).read_text(encoding="utf-8")
            texts[name] = old, make(old, root / "results")
    except (UserError, FileNotFoundError) as error:
        print(error, file=sys.stderr)
        return 2
    stale = [name for name, (old, new) in texts.items() if old != new]
    if "--check" in arguments:
        for name in stale:
            print(
                f"{name} is out of date: python -m arg_utils.reporting.readme_tables",
                file=sys.stderr,
            )
        return int(bool(stale))
    for name in stale:
        files.write_text(root / name, texts[name][1])
    return 0


if __name__ == "__main__":
    sys.exit(main())
