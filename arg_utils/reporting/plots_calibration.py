"""Figures of how far probabilities are to be believed."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure

from arg_utils.metrics.calibration import table_error
from arg_utils.reporting.plot_style import GREY, MARKERS, PALETTE, legend_below, new_figure


def reliability_diagram(tables: Mapping[str, pd.DataFrame]) -> Figure:
    """Accuracy against confidence, and below how many proteins have each confidence.

    ``tables`` gives the table of `metrics.calibration.reliability` for each name, all with the
    same bins.
    """
    fig, axes = new_figure(2, 1, figsize=(5.6, 6.6), sharex=True, height_ratios=[3, 1])
    upper, lower = axes[:, 0]
    upper.plot([0, 1], [0, 1], "--", color=GREY, linewidth=1, label="perfectly calibrated")
    for number, (name, table) in enumerate(tables.items()):
        color, marker = PALETTE[number % len(PALETTE)], MARKERS[number % len(MARKERS)]
        there = table[table["n"] > 0]
        label = f"{name}: calibration error {table_error(table):.3f}"
        upper.plot(there["confidence"], there["accuracy"], f"{marker}-", color=color, label=label)
        width = (table["high"] - table["low"]) * 0.9 / len(tables)
        shift = (number - (len(tables) - 1) / 2) * width
        middle = (table["low"] + table["high"]) / 2
        lower.bar(middle + shift, table["n"], width=width, color=color)
    upper.set_ylabel("accuracy")
    upper.set_ylim(0, 1.03)
    lower.set_yscale("symlog", linthresh=1)
    lower.set_ylabel("proteins\n(log scale)")
    lower.set_xlabel("confidence (probability of the predicted class)")
    lower.set_xlim(0, 1.01)
    legend_below(fig, columns=1)
    return fig


def risk_coverage_curve(curves: Mapping[str, pd.DataFrame]) -> Figure:
    """Error rate among the answered proteins against the share answered, one line a method.

    ``curves`` gives the table of `metrics.calibration.risk_coverage` for each method's name.
    """
    fig, axes = new_figure(figsize=(7, 4.6))
    axis = axes[0, 0]
    for number, (name, curve) in enumerate(curves.items()):
        color = PALETTE[number % len(PALETTE)]
        axis.step(curve["coverage"] * 100, curve["risk"] * 100, where="post", color=color)
        last = curve.iloc[-1] * 100
        axis.plot(
            last["coverage"],
            last["risk"],
            MARKERS[number % len(MARKERS)],
            color=color,
            label=f"{name}: {last['risk']:.1f} % when all are answered",
            clip_on=False,
        )
    axis.set_xlim(0, 100)
    # the first few answers swing between 0 and 100 % wrong: let the rest set the scale
    settled = [curve["risk"][curve["coverage"] >= 0.1].max() for curve in curves.values()]
    axis.set_ylim(0, max(*settled, 0.01) * 115)
    axis.set_xlabel("proteins answered, most confident first (%)")
    axis.set_ylabel("wrong among the answered (%)")
    legend_below(fig, columns=1 if len(curves) < 3 else 2)
    return fig
