"""Tables of time, memory and money: as measured, and what screens cost at an assumed price."""

from collections.abc import Mapping, Sequence
from typing import Any

from arg_utils.reporting.tables import cells, markdown, table

RESIDUES = 350  # of a protein, about the mean of Swiss-Prot
PRICE = 0.05  # US dollars a core-hour, about what clouds ask on demand
SCREENS = {"10⁶": 1e6, "10⁸": 1e8, "10⁹": 1e9}  # proteins


def costs_table(measured: Mapping[str, Any]) -> str:
    """A row per measured rate: core-hours and money for each of `SCREENS`.

    ``measured`` is speed.json with, under ``predict``, predict.json where there is one: its rates
    are of a genome from contigs to table and report. Those of speed.json are of ESM-2 alone, a
    lower bound of what a screen costs.
    """
    rates = {
        f"contigs to report, {name}": parts["genome"]["residues_per_second"] / parts["cores"]
        for name, parts in measured.get("predict", {"forms": {}})["forms"].items()
        if "genome" in parts
    }
    rates |= {
        f"ESM-2 alone, {name}": row["residues_per_second"]["features"] / row["cores"]
        for name, row in measured["forms"].items()
    }
    columns = {
        "what is measured": list(rates),
        "residues/s per core": [f"{rate:,.0f}" for rate in rates.values()],
    }
    for name, proteins in SCREENS.items():
        hours = [proteins * RESIDUES / rate / 3600 for rate in rates.values()]
        columns[f"{name} proteins"] = [f"{h:,.0f} core-h, ${h * PRICE:,.2f}" for h in hours]
    return (
        f"{markdown(columns)}\n\nAssumed: {RESIDUES} residues per protein and ${PRICE:.2f} per "
        f"core-hour. A core is one that the measuring machine counted: in a cloud, often half a "
        f"physical one."
    )


def predict_table(predict: Mapping[str, Any]) -> str:
    """A row per form of the kernel and part of predict.json that is a time.

    Below, for each form, what share of ESM-2's rate is left, and whether rows depend on the file.
    """
    forms = predict["forms"].items()
    rows = [{"form": form} | row for form, parts in forms for row in _times(parts)]
    columns = {"form": "{form}", "what is measured": "{what}", "seconds": "{seconds:,.1f}"}
    columns |= {"peak memory, MB": "{peak:,.0f}", "residues per second": "{rate:,.0f}"}
    told = [_beside(form, parts) for form, parts in forms]
    return "\n\n".join([table(rows, columns), *filter(None, told)])


def _times(parts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Rows of a form's parts."""
    genome, many = parts.get("genome", {}), parts.get("many", {})
    sample = f"{many.get('extrapolated_from_proteins', 0):,}"
    genes = "the genes of that genome, in the same references"
    named = {
        "ten": "10 proteins, starting included",
        "genome": f"a genome from contigs to table and report, {genome.get('proteins', 0):,} genes",
        "many": f"10⁵ proteins, extrapolated from {sample}",
        "diamond": f"DIAMOND: {genes}",
        "hmmscan": f"HMMER's hmmscan: {genes}",
    }
    return [
        {"what": what, "seconds": row.get("seconds", row.get("extrapolated_seconds"))}
        | {"peak": row["peak_mb"], "rate": row.get("residues_per_second")}
        for name, what in named.items()
        if (row := parts.get(name))
    ]


def _beside(form: str, parts: Mapping[str, Any]) -> str:
    """What a form's parts show beside times; empty if nothing."""
    told = []
    if many := parts.get("many"):
        share = many["share_of_features_rate"]
        told.append(f"10⁵ proteins go at {share:.0%} of the rate of ESM-2 alone.")
        if searches := many.get("searches_seconds"):
            part = searches / (many["measured_seconds"] - many["start_seconds"])
            told.append(f"Of their time, {part:.0%} goes into searching the references.")
    if proof := parts.get("independence"):
        compared, differing = (sum(proof[name].values()) for name in ("compared", "differing"))
        told.append(
            f"Of {compared:,} rows of proteins predicted alone, in reverse order or in shards, "
            f"{differing:,} differ from those of one file of {proof['together']:,}."
        )
    return f"{form}, {parts['cores']} cores: {' '.join(told)}" if told else ""


def times_table(runs: Sequence[Mapping]) -> str:
    """Minutes of each notebook and in all, a column per form, from notebook_times.json."""
    columns = {"notebook": ["before them: data, weights, kernel"]}
    columns["notebook"] += [*(f"`{name}`" for name in runs[0]["seconds"]), "all"]
    for run in runs:
        head = f"minutes with {run['form']}, profile {run['profile']}, {run['date']}"
        parts = [run["prepared"], *run["seconds"].values()]
        columns[head] = [f"{seconds / 60:.1f}" for seconds in (*parts, sum(parts))]
    return f"{markdown(columns)}\n\nOn {runs[0]['cores']} cores."


def speed_table(speed: Mapping) -> str:
    """A row per contender: residues per second and peak memory, from speed.json."""
    columns = {"": [*speed["labels"].values()]}
    for task, prefix, head in (
        ("features", "features", "features"),
        ("training", "lora", "LoRA training"),
    ):
        rows = [
            {"rate": speed["residues_per_second"][task].get(name),
             "ratio": speed.get(f"{prefix}_vs_{name}"),
             "peak": speed["peak_rss_mb"].get(f"{task}:{name}")}
            for name in speed["labels"]
        ]  # fmt: skip
        columns[f"{head}, residues/s"] = cells(rows, "{rate:,.0f}")
        columns[f"{head}: ours is"] = cells(rows, "{ratio:.1f}×")
        columns[f"{head}: peak MB"] = cells(rows, "{peak:,.0f}")
    streams = ", ".join(f"{int(n):,}: {mb:,.0f}" for n, mb in speed["features_peak_rss_mb"].items())
    return (
        f"{markdown(columns)}\n\n"
        f"{speed['cores']} cores, {speed['device']}, PyTorch {speed['torch']}, transformers "
        f"{speed['transformers']}, PEFT {speed['peft']}; weights: {speed['weights']}. Medians of "
        f"{speed['repeats']} interleaved repeats. The forward pass reaches "
        f"{speed['gemm_fraction']:.0%} of the rate of a large matrix product. The course's whole "
        f"protocol takes 1/{speed['protocol_vs_naive']:,.0f} of the time of a loop that runs "
        f"fair-esm anew in each of its epochs, as frozen features do not ask for (that loop was "
        f"measured for part of an epoch, and multiplied). Peak MB by number of proteins: {streams}."
    )


def forms_table(speed: Mapping) -> str:
    """A row per form of the kernel and processor measured, from speed.json."""
    rows = []
    for row in (*speed["forms"].values(), *speed["forms_earlier"]):
        best = row["cpu_flags"][-1] if row["cpu_flags"] else "no vector extension named"
        limited = ", limited to the form's instructions" if len(row.get("limits", ())) > 1 else ""
        rows.append(row | {"processor": f"{row['cpu']} ({best}){limited}, {row['date']}"})
    columns = {
        "form": "{form}, {precision}",
        "processor": "{processor}",
        "features: fair-esm": "{features_vs_naive:.1f}×",
        "transformers": "{features_vs_hf:.1f}×",
        "esm-cpp": "{features_vs_esm_cpp:.1f}×",
        "PyTorch's attention": "{features_vs_torch_attention:.1f}×",
        "LoRA training: fair-esm": "{lora_vs_naive:.1f}×",
        "transformers + PEFT": "{lora_vs_hf:.1f}×",
        "features: share of matrix-product rate": "{gemm_fraction:.0%}",
        "training: share": "{lora_gemm_fraction:.0%}",
    }
    return table(rows, columns)


def load_table(speed: Mapping) -> str:
    """A row per form: residues per second, and what another busy program leaves of them."""
    columns = {
        "form": "{form}",
        "features, residues/s": "{residues_per_second[features]:,.0f}",
        "LoRA training, residues/s": "{residues_per_second[training]:,.0f}",
        "features, left under load": "{kept_under_load:.0%}",
    }
    return table(list(speed["forms"].values()), columns)
