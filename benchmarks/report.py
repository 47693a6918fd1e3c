"""From seconds to ratios, a table to read, and the figure of scaling."""

from statistics import median

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator

from arg_utils.reporting.style import MARKERS, PALETTE, legend_below, new_figure
from benchmarks.measure import FORMULA, ratio

SHORT = {"naive": "fair-esm", "hf": "transformers", "ours": "this library"}
TITLES = {"features": "features", "training": "LoRA training"}


def ratios(tasks: dict) -> dict[str, float]:
    """features_vs_naive, features_vs_hf, lora_vs_naive, lora_vs_hf, and against bfloat16 HF."""
    found = {}
    for prefix, task in (("features", "features"), ("lora", "training")):
        spent = tasks[task]["seconds"]
        for other in ("naive", "hf", "hf_bfloat16", "esm_cpp"):
            if other in spent:
                found[f"{prefix}_vs_{other}"] = ratio(spent["ours"], spent[other])
    return found


def product_fraction(task: dict) -> dict:
    """How near this library comes to the machine's rate of large matrix products in a task."""
    own = [n / s for n, s in zip(task["flops"], task["seconds"]["ours"], strict=True)]
    peak = task["product_rate"]
    return {
        "gemm_fraction": median(o / p for o, p in zip(own, peak, strict=True)),
        "forward_gflops": median(own) / 1e9,
        "gemm_gflops": median(peak) / 1e9,
        "flops_formula": FORMULA,
    }


def text(result: dict) -> str:
    """A table of rates, ratios and memory for the terminal."""
    lines = []
    for task, rates in result["residues_per_second"].items():
        lines += ["", f"{TITLES[task]:<46}{'residues/s':>11}{'ours is':>10}{'peak MB':>9}"]
        spent = result["tasks"][task]["seconds"]
        for name, rate in rates.items():
            times = ratio(spent["ours"], spent[name])
            held = result["peak_rss_mb"].get(f"{task}:{name}")
            label = f"{result['labels'][name]} ({result['precision'][task][name]})"
            memory = "–" if held is None else f"{held:,.0f}"
            lines.append(f"{label:<46}{rate:>11,.0f}{times:>9.2f}x{memory:>9}")
    course, streams = result["protocol"], result["features_peak_rss_mb"]
    return "\n".join([
        *lines, "",
        f"forward pass: {result['forward_gflops']:,.0f} GFLOP/s, {result['gemm_fraction']:.0%} of "
        f"a large product's {result['gemm_gflops']:,.0f}",
        f"the course's protocol, {course['proteins']:,} proteins, {course['epochs']} epochs: "
        f"{result['protocol_vs_naive']:,.0f}x",
        f"  {course['note']}",
        "features, peak memory: " + ", ".join(f"{int(n):,} proteins {mb:,.0f} MB"
                                               for n, mb in streams.items()),
        f"weights {result['weights']}; {result['cores']} cores, {result['device']}, "
        f"torch {result['torch']}",
    ])  # fmt: skip


def scaling_figure(scaling: dict) -> Figure:
    """Two panels: cost against the number of proteins, and against their length."""
    fig, axes = new_figure(1, 2, figsize=(8.5, 3.6))
    count, length = scaling["count"], scaling["length"]
    panels = (
        (axes[0, 0], count["proteins"], count["seconds"], "proteins", "seconds",
         f"features, {count['residues_each']} residues each"),
        (axes[0, 1], length["residues"], length["microseconds_a_residue"], "residues per protein",
         "microseconds per residue", f"features, {length['tokens_in_all']:,} tokens in all"),
    )  # fmt: skip
    for panel, x, curves, x_label, y_label, title in panels:
        for place, (name, y) in enumerate(curves.items()):
            panel.plot(x, y, marker=MARKERS[place], color=PALETTE[place], label=SHORT[name])
        panel.set_xscale("log", base=2)
        panel.set_yscale("log")
        panel.set_xticks(x, [str(value) for value in x])
        panel.minorticks_off()
        panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        panel.set(xlabel=x_label, ylabel=y_label, title=title)
    legend_below(fig)
    return fig
