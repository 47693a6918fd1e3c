"""How every figure looks, and how it is saved: colour-blind-safe, labelled, small.

Colours: the palette of Okabe & Ito 2008 (https://jfly.uni-koeln.de/color/) for categories,
matplotlib's cividis for amounts.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from arg_utils.files import atomic_path
from arg_utils.labels import DISPLAY_NAMES, NUM_CLASSES

BLUE, VERMILLION, GREEN, ORANGE = "#0072B2", "#D55E00", "#009E73", "#E69F00"
SKY, PURPLE, BLACK, GREY = "#56B4E9", "#CC79A7", "#000000", "#7F7F7F"
LINES = "#E5E5E5"
PALETTE = (BLUE, VERMILLION, GREEN, ORANGE, SKY, PURPLE, BLACK)
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DPI = 100

STYLE: Any = {
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "figure.dpi": DPI,
    "savefig.dpi": DPI,
}


def new_figure(
    rows: int = 1, columns: int = 1, **settings: Any
) -> tuple[Figure, NDArray[np.object_]]:
    """A figure in the library's style and its axes, always as an array (rows, columns).

    ``settings`` go to ``matplotlib.pyplot.subplots``. The figure is not left open in pyplot, so
    a notebook shows it once, where it is returned, and a long run does not pile figures up.
    """
    with plt.rc_context(STYLE):
        fig, axes = plt.subplots(rows, columns, squeeze=False, layout="constrained", **settings)
    plt.close(fig)
    return fig, axes


@dataclass(frozen=True)
class SavedFigure:
    """A figure on disk, shown by a notebook as that very PNG."""

    path: Path

    def __repr__(self) -> str:
        return f"figure {self.path.name}"

    def _repr_png_(self) -> bytes:
        return self.path.read_bytes()


def save_figure(fig: Figure, name: str, folder: Path | str) -> SavedFigure:
    """Write ``fig`` as ``<folder>/<name>.png`` and return it for display.

    The PNG has 100 dots per inch and a palette of 48 colours, which keeps notebooks small.
    """
    drawn = io.BytesIO()
    with plt.rc_context(STYLE):
        fig.savefig(drawn, format="png", dpi=DPI, facecolor="white")
    image = Image.open(drawn).convert("RGB")
    # colours that few pixels have (a scale's ends) count as much as frequent ones
    image = image.quantize(48, Image.Quantize.MAXCOVERAGE, kmeans=1, dither=Image.Dither.NONE)
    target = Path(folder) / f"{name}.png"
    with atomic_path(target) as temporary:
        image.save(temporary, format="PNG", optimize=True)
    return SavedFigure(target)


def look(number: int) -> dict[str, Any]:
    """Colour and marker of the ``number``-th series of a figure."""
    return {"color": PALETTE[number % len(PALETTE)], "marker": MARKERS[number % len(MARKERS)]}


def per_class(values: ArrayLike, name: str = "values") -> NDArray[np.float64]:
    """``values`` as an array of shape (15,), or `ValueError`."""
    array = np.asarray(values, dtype=float)
    if array.shape != (NUM_CLASSES,):
        raise ValueError(f"{name} must have shape ({NUM_CLASSES},), not {array.shape}")
    return array


def class_axis(axes: Axes, order: ArrayLike, labelled: bool = True) -> None:
    """Class names down the y axis, the first of ``order`` (indices 0-14) at the top."""
    order = np.asarray(order)
    names = [DISPLAY_NAMES[index] if labelled else "" for index in order]
    axes.set_yticks(range(len(order)), names)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(order) - 0.4, -0.6)
    axes.set_ylabel("")


def write_right(axes: Axes, texts: Sequence[str]) -> None:
    """``texts`` right of the axes, one per row."""
    for row, text in enumerate(texts):
        where = axes.get_yaxis_transform()
        axes.text(1.01, row, text, transform=where, va="center", fontsize=9)


def legend_below(fig: Figure, columns: int = 5) -> None:
    """One legend under all axes, where it covers nothing."""
    handles = fig.axes[0].get_legend_handles_labels()[0]
    fig.legend(handles=handles, loc="outside lower center", ncols=columns, frameon=False)
