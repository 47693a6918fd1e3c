"""The style of every figure, and what several of them draw.

Colours: the palette of Okabe & Ito 2008 (https://jfly.uni-koeln.de/color/), which colour-blind
readers can tell apart, for categories; one hue, or two from a neutral middle, for amounts.
"""

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from arg_utils.labels import DISPLAY_NAMES
from arg_utils.methods import METHODS

BLUE, VERMILLION, GREEN, ORANGE = "#0072B2", "#D55E00", "#009E73", "#E69F00"
SKY, PURPLE, BLACK, GREY, BROWN = "#56B4E9", "#CC79A7", "#000000", "#7F7F7F", "#8C564B"
LINES = "#E5E5E5"
PALETTE = (BLUE, VERMILLION, GREEN, ORANGE, SKY, PURPLE, BLACK)
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")
TITLES = [method.title for method in METHODS.values()]
METHOD_COLORS = (GREY, VERMILLION, ORANGE, BLUE, SKY, GREEN, PURPLE, BROWN, BLACK)
STYLE: Any = {
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
}


def new_figure(rows: int = 1, columns: int = 1, **settings: Any) -> tuple[Figure, NDArray]:
    """A figure in the library's style and its axes, always as an array (rows, columns).

    ``settings`` go to ``matplotlib.pyplot.subplots``. The figure is not left open in pyplot, so
    a notebook shows it once, where it is returned, and a long run does not pile figures up.
    """
    with plt.rc_context(STYLE):
        fig, axes = plt.subplots(rows, columns, squeeze=False, layout="constrained", **settings)
    plt.close(fig)
    return fig, axes


def look(name: str, number: int = 0) -> dict[str, Any]:
    """Colour and marker of a series: a method's are the same everywhere, others go by number."""
    colors: Sequence[str] = PALETTE
    if name in TITLES:
        number, colors = TITLES.index(name), METHOD_COLORS
    return {"color": colors[number % len(colors)], "marker": MARKERS[number % len(MARKERS)]}


def class_axis(axes: Axes, order: ArrayLike, labelled: bool = True) -> None:
    """Class names down the y axis, the first of ``order`` (indices 0-14) at the top."""
    names = [DISPLAY_NAMES[index] if labelled else "" for index in np.asarray(order)]
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(axis="y", length=0)
    axes.set(ylim=(len(names) - 0.4, -0.6), ylabel="")


def write_right(axes: Axes, texts: Sequence[str]) -> None:
    """``texts`` right of the axes, one per row."""
    where = axes.get_yaxis_transform()
    for row, text in enumerate(texts):
        axes.text(1.01, row, text, transform=where, va="center", fontsize=9)


def legend_below(fig: Figure, columns: int = 5) -> None:
    """One legend under all axes, where it covers nothing."""
    handles = fig.axes[0].get_legend_handles_labels()[0]
    fig.legend(handles=handles, loc="outside lower center", ncols=columns, frameon=False)
