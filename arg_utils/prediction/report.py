"""A page about one prediction, to be opened in a browser, mailed and kept: one file, no network."""

import io
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from operator import itemgetter
from pathlib import Path
from typing import Any

import jinja2
import matplotlib as mpl
import numpy as np
import pandas as pd
from Bio.Align import PairwiseAligner, substitution_matrices
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from arg_utils.files import write_text
from arg_utils.labels import CLASSES, DISPLAY_NAMES, NONARG
from arg_utils.prediction.genes import short_name
from arg_utils.prediction.query import Query
from arg_utils.prediction.rows import plain_args
from arg_utils.prediction.writing import Context

ALL_ROWS = 200  # up to so many proteins every one gets a row, else ARGs and uncertain ones
MOST_ROWS = 1000
MOST_CONTIGS = 12
BINS = 20  # of probability
LINE = 1_000_000  # bases of a contig drawn on one line
INK, PAPER = "#010203", "#fdfcfb"  # stand for the page's colours of text and ground in drawings
# Far apart in hue, and neither too light nor too dark for either background; see `DISPLAY_NAMES`.
COLOURS = (
    "#4c8bd6", "#d97c2b", "#7a5cc9", "#c2a11f", "#3fa06b", "#b0568f", "#8d6e4f", "#d0504f",
    "#2f9fa8", "#7f9b34", "#c56fd0", "#3f6fb5", "#e08a8a", "#5d8f8b", "#8a8f98",
)  # fmt: skip


@dataclass
class Report:
    """What the page needs of the blocks of a prediction; at most `MOST_ROWS` rows are in memory.

    Attributes
    ----------
    title : of the page.
    context : model, data and inputs, as the page names them.
    references : ``id`` and ``sequence`` of known proteins, for alignments; None: there are none.
    """

    title: str
    context: Context
    references: pd.DataFrame | None = None
    counts: Counter[str] = field(default_factory=Counter)  # class: proteins
    uncertain: int = 0  # proteins, of which ARGs:
    uncertain_args: int = 0
    plain_args: int = 0  # neither uncertain nor flagged
    bins: np.ndarray = field(default_factory=lambda: np.zeros((2, BINS), np.int64))  # ARGs, others
    rows: list[dict[str, Any]] = field(default_factory=list)
    others: list[dict[str, Any]] = field(default_factory=list)  # rows while proteins are few
    left_out: int = 0  # rows beyond `MOST_ROWS`
    ends: dict[str, int] = field(default_factory=dict)  # contig with ARGs: last base of its genes

    def add(self, queries: Sequence[Query], frame: pd.DataFrame, probabilities: np.ndarray) -> None:
        """Take in a block: queries, their rows, and probabilities float [n, 15]."""
        position = self.total
        is_arg, plain = (frame["class"] != CLASSES[NONARG]).to_numpy(), plain_args(frame)
        self.plain_args += int(plain.sum())
        self.counts.update(frame["class"])
        places = np.minimum((frame["probability"].to_numpy() * BINS).astype(int), BINS - 1)
        np.add.at(self.bins, (1 - is_arg.astype(int), places), 1)
        for query, row, p, arg in zip(
            queries,
            frame.assign(plain=plain).to_dict("records"),
            probabilities,
            is_arg,
            strict=True,
        ):
            uncertain = row["uncertain"] == "yes"
            self.uncertain += uncertain
            self.uncertain_args += uncertain and arg
            position += 1
            row |= {"position": position, "sequence": query.sequence, "probabilities": p}
            if arg or uncertain:
                if len(self.rows) < MOST_ROWS:
                    self.rows.append(row)
                else:
                    self.left_out += 1
            elif self.total <= ALL_ROWS:
                self.others.append(row)
            if query.contig in self.ends or (query.contig and query.end and arg):
                self.ends[query.contig] = max(self.ends.get(query.contig, 0), query.end or 0)

    @property
    def total(self) -> int:
        """Proteins so far."""
        return self.counts.total()

    def write(self, path: Path | str) -> Path:
        """Write the page, whole or not at all."""
        every = self.total <= ALL_ROWS
        rows = [*self.rows, *self.others] if every else self.rows
        rows = sorted(rows, key=itemgetter("position"))
        references = {} if self.references is None else self.references.set_index("id")["sequence"]
        args, contigs = self.total - self.counts[CLASSES[NONARG]], self._contigs()
        page = _template().render(
            report=self,
            every=every,
            rows=[row | {"alignment": _alignment(row, references)} for row in rows],
            names=dict(zip(CLASSES, DISPLAY_NAMES, strict=True)),
            colours=dict(zip(CLASSES, COLOURS, strict=True)),
            classes=[name for name, _ in self.counts.most_common()],
            args=args,
            most=max([n for name, n in self.counts.items() if name != CLASSES[NONARG]], default=1),
            nonarg=CLASSES[NONARG],
            contigs=[
                (name, end, [_svg(*line) for line in _lines(genes, end)])
                for name, end, genes in contigs
            ],
        )
        return write_text(path, page)

    def _contigs(self) -> list[tuple[str, int, list[dict[str, Any]]]]:
        """The contigs with most ARGs, the last bases of their genes, and the ARGs, in order."""
        genes: dict[str, list[dict[str, Any]]] = {}
        for row in self.rows:
            if row["class"] != CLASSES[NONARG] and row["contig"] in self.ends:
                genes.setdefault(row["contig"], []).append(row)
        fullest = sorted(genes, key=lambda name: -len(genes[name]))[:MOST_CONTIGS]
        return [(name, self.ends[name], genes[name]) for name in genes if name in fullest]


def _alignment(row: dict[str, Any], references: Any) -> str:
    """The best local alignment with the nearest ARG, which is the upper one, as text."""
    if row["nearest_id"] not in references:
        return ""
    target = references[row["nearest_id"]]
    target = target if isinstance(target, str) else target.iloc[0]
    letters = (re.sub("[^ARNDCQEGHILKMFPSTWYVBZX]", "X", s) for s in (target, row["sequence"]))
    return str(_aligner().align(*letters)[0])


@cache
def _aligner() -> PairwiseAligner:
    """Smith and Waterman's alignment with BLAST's matrix and gap costs."""
    return PairwiseAligner(
        mode="local",
        substitution_matrix=substitution_matrices.load("BLOSUM62"),
        open_gap_score=-12,
        extend_gap_score=-1,
    )


def contig_maps(rows: pd.DataFrame, most: int = MOST_CONTIGS) -> Figure:
    """ARGs along contigs, as the page draws them: a panel per `LINE` bases that have one.

    ``rows`` are those of all genes (`rows.COLUMNS` and `rows.PLACE`). Drawn are the ``most``
    contigs with most ARGs, each to the end of its last gene.
    """
    args = rows[rows["class"] != CLASSES[NONARG]]
    ends = rows.groupby("contig", sort=False)["end"].max()
    fullest = args["contig"].value_counts().head(most).index
    lines = [
        (name, line)
        for name in ends.index.intersection(fullest, sort=False)
        for line in _lines(args[args["contig"] == name].to_dict("records"), int(ends[name]))
    ]
    figure = FigureCanvasAgg(Figure(figsize=(10, 1), layout="constrained")).figure
    panels = figure.subplots(max(1, len(lines)), squeeze=False)[:, 0]
    with mpl.rc_context({"text.parse_math": False}):
        for axes, (name, line) in zip(panels, lines, strict=False):
            _draw(axes, *line, ink="black", paper="white")
            end = f"drawn to the end of its last gene, base {line[2]:,}"
            axes.set_title(f"{name}, {end}", loc="left", fontsize=9)
        panels[-1].set_xlabel("position (bases)", fontsize=9)
    heights = [0.6 + 0.3 * axes.get_ylim()[1] for axes in panels]
    panels[0].get_gridspec().set_height_ratios(heights)
    drawn = {gene["class"] for _, (genes, *_) in lines for gene in genes}
    marks = [
        Patch(color=colour, label=title)
        for name, colour, title in zip(CLASSES, COLOURS, DISPLAY_NAMES, strict=True)
        if name in drawn
    ]
    figure.legend(handles=marks, loc="outside lower center", ncols=5, frameon=False, fontsize=9)
    figure.set_size_inches(10, sum(heights) + 0.5)
    return figure


Line = tuple[list[dict[str, Any]], int, int]  # genes, first base before them, end of the contig


def _lines(genes: list[dict[str, Any]], length: int) -> list[Line]:
    """The genes of a contig of this length, by stretch of `LINE` bases that has one."""
    starts = sorted({(gene["start"] - 1) // LINE * LINE for gene in genes})
    return [
        ([g for g in genes if 0 <= g["start"] - 1 - start < LINE], start, length)
        for start in starts
    ]


def _svg(genes: list[dict[str, Any]], start: int, length: int) -> str:
    """A line as SVG in the colours of the page."""
    # Names are no formulas, texts stay texts, and the same drawing has the same bytes.
    style: Any = {"text.parse_math": False, "svg.fonttype": "none", "svg.hashsalt": "report"}
    with mpl.rc_context(style):
        figure = FigureCanvasAgg(Figure(figsize=(10, 0.5))).figure
        axes = figure.subplots()
        _draw(axes, genes, start, length, INK, PAPER)
        figure.set_size_inches(10, 0.5 + 0.3 * axes.get_ylim()[1])  # as its labels ask
        svg, none = io.StringIO(), dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(svg, format="svg", transparent=True, bbox_inches="tight", metadata=none)
    text = svg.getvalue()[svg.getvalue().index("<svg") :].replace(PAPER, "var(--page)")
    return text.replace(INK, "currentColor").replace("#000000", "currentColor")


def _draw(
    axes: Axes, genes: list[dict[str, Any]], start: int, length: int, ink: str, paper: str
) -> None:
    """``genes`` on a line from base ``start`` on, of a contig of this length.

    Arrows of uncertain ones are empty.
    """
    from dna_features_viewer import GraphicFeature, GraphicRecord  # here: it takes a second

    width = min(LINE, length)
    features = []
    for gene in genes:
        colour, sure = COLOURS[CLASSES.index(gene["class"])], gene["uncertain"] == "no"
        arrow = GraphicFeature(
            start=gene["start"] - 1,
            end=max(gene["end"], gene["start"] + width // 150),  # to be seen at all
            strand=1 if gene["strand"] == "+" else -1,
            label=short_name(gene["nearest_gene"]) or gene["class"],
            color=colour if sure else paper,
            fontdict={"color": ink, "fontsize": 9},
            linecolor=ink if sure else colour,
            linewidth=0.5 if sure else 1,
            box_color=paper,
            box_linewidth=0,
            label_link_color=ink,
        )
        features.append(arrow)
    record = GraphicRecord(min(LINE, length - start), features=features, first_index=start)
    record.plot(ax=axes, ruler_color=ink, x_lim=(start, start + width))
    axes.xaxis.set_major_formatter("{x:,.0f}")


@cache
def _template() -> jinja2.Template:
    text = Path(__file__).with_name("report.html").read_text(encoding="utf-8")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    environment.filters["zip"] = zip
    return environment.from_string(text)
