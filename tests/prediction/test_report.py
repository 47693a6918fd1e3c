"""The page stands alone, names what is in the input, and shows nothing of it as code."""

import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from arg_utils.labels import CLASSES, INDEX, NONARG
from arg_utils.prediction import report
from arg_utils.prediction.engine import predict_files
from arg_utils.prediction.model import Model
from arg_utils.prediction.query import Query
from arg_utils.prediction.reading import ReadingOptions
from arg_utils.prediction.report import Report
from arg_utils.prediction.rows import COLUMNS, PLACE, Scores
from arg_utils.prediction.writing import Context

NASTY = "</td><script>alert('x')</script>$&\""
CONTEXT = Context("hybrid 1", "0.2.0", "open [ab12cd34]", True, (f"{NASTY}.fna",))
REFERENCES = pd.DataFrame({"id": ["AAA1.1"], "sequence": ["MKVLAWHTRRSTVWYL"]})


class Page(HTMLParser):
    """Elements and text of a page; rows by the id that their button shows."""

    def __init__(self, path) -> None:
        super().__init__()
        self.text, self.tags, self.links, self.rows, self._in_row = "", [], [], [], False
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.tags.append(tag)
        self.links += [attributes[name] for name in ("src", "href") if name in attributes]
        self._in_row = tag == "button" and "aria-controls" in attributes

    def handle_data(self, data):
        self.text += data
        if self._in_row:
            self.rows.append(data)
            self._in_row = False


def block(count, known=(), doubtful=(), contig="c", offset=0, **changes):
    """Proteins p0, p1, ...: those ``known`` are ARGs with a hit, those ``doubtful`` uncertain."""
    queries, rows, probabilities = [], [], np.full((count, 15), 0.01)
    for i in range(count):
        is_arg, place = i in known, 900 * (i + offset) + 1
        label = INDEX["tetracycline"] if is_arg else NONARG
        probabilities[i, label] = 0.86
        query = Query(f"p{i + offset}", "MKVLAWHTKKSTVWYU", "x", contig, place, place + 50, "+")
        row = dict.fromkeys(COLUMNS, "") | {
            "id": query.id, "class": CLASSES[label], "probability": 0.86,
            "second_class": CLASSES[0], "second_probability": 0.01,
            "uncertain": "yes" if i in doubtful else "no",
            "nearest_id": "AAA1.1" if is_arg else "", "nearest_gene": "tet(A)" if is_arg else "",
            "nearest_class": "tetracycline" if is_arg else "", "nearest_bits": 40.0,
            "nearest_identity": 0.8 if is_arg else None, "nearest_coverage": 1.0,
            "reference_coverage": 0.9,
            **{name: getattr(query, name) for name in PLACE},
        }  # fmt: skip
        queries.append(query)
        rows.append(row | (changes if is_arg else {}))
    return queries, pd.DataFrame(rows), probabilities


def page(tmp_path, *blocks, references=REFERENCES):
    made = Report(f"Title {NASTY}", CONTEXT, references)
    for one in blocks:
        made.add(*one)
    return Page(made.write(tmp_path / "report.html"))


def test_names_from_the_input_are_text_and_nothing_is_fetched(tmp_path):
    changes = dict.fromkeys(("id", "nearest_gene", "gene_family", "mechanism", "flags"), NASTY)
    seen = page(tmp_path, block(3, known=[1], contig=NASTY, **changes))
    assert seen.tags.count("script") == 1  # the page's own
    assert seen.rows == ["p0", NASTY, "p2"]
    assert seen.text.count(NASTY) >= 7
    assert not seen.links
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert set(re.findall(r"https?://[^/\"]+", text)) <= {"http://www.w3.org"}  # SVG's name
    assert "default-src 'none'" in text


def test_few_proteins_all_have_a_row_of_many_args_and_uncertain_ones(tmp_path):
    seen = page(tmp_path, block(150, known=[3, 7], doubtful=[9]))
    assert seen.rows == [f"p{i}" for i in range(150)]
    assert "All proteins." in seen.text
    seen = page(tmp_path, block(150, [3], [9]), block(150, [0], offset=150))
    assert seen.rows == ["p3", "p9", "p150"]
    assert "surely no ARG is counted above" in seen.text
    assert "300 proteins; 2 predicted" in seen.text


def test_uncertain_args_are_counted_apart_and_drawn_empty(tmp_path):
    seen = page(tmp_path, block(30, known=[3, 7], doubtful=[7, 9, 11], contig="c"))
    assert "2 predicted to be antibiotic resistance genes (ARGs), of which 1 uncertain" in seen.text
    assert "and 1 neither uncertain nor flagged; uncertain among the others: 2" in seen.text
    flagged = page(tmp_path, block(30, known=[3, 7], doubtful=[7], flags="accessory"))
    assert "and 0 neither uncertain nor flagged" in flagged.text
    page(tmp_path, block(30, known=[3, 7], doubtful=[7, 9, 11], contig="c"))
    drawing = (tmp_path / "report.html").read_text(encoding="utf-8").split('class="map')[1]
    colour = report.COLOURS[CLASSES.index("tetracycline")]
    assert drawing.count(f"fill: {colour}") == 1
    assert drawing.count(f"stroke: {colour}") == 1


def test_rows_beyond_the_limit_are_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "MOST_ROWS", 3)
    seen = page(tmp_path, block(250, known=range(5)))
    assert seen.rows == ["p0", "p1", "p2"]
    assert "the first 3; 2 more" in seen.text


def test_evidence_of_a_row(tmp_path):
    seen = page(tmp_path, block(2, known=[0]))
    lines = seen.text.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("target "))
    assert [line.split()[-2] for line in lines[start : start + 3]] == [
        "MKVLAWHTRRSTVWY",
        "||||||||..|||||",
        "MKVLAWHTKKSTVWY",
    ]
    assert "none is near" in seen.text
    assert "80.0 % identical over 100 % of this protein and 90 % of the ARG" in seen.text
    without = page(tmp_path, block(2, known=[0]), references=None)
    assert "|||" not in without.text


def test_the_map_shows_contigs_with_args_in_the_same_bytes(tmp_path):
    first = page(tmp_path, block(3, known=[1], contig="one"), block(3, contig="two"))
    content = (tmp_path / "report.html").read_bytes()
    assert "Along the genome" in first.text
    assert "ARGs along one" in content.decode()
    assert "ARGs along two" not in content.decode()
    assert first.text.count("tet(A)") >= 3
    page(tmp_path, block(3, known=[1], contig="one"), block(3, contig="two"))
    assert (tmp_path / "report.html").read_bytes() == content
    proteins = block(3, known=[1], contig=None)
    assert "Along the genome" not in page(tmp_path, proteins).text


def texts(figure):
    """What stands in each panel of a figure: its title, and the names of its genes."""
    return [
        [axes.get_title(loc="left"), *(text.get_text() for text in axes.texts)]
        for axes in figure.axes
    ]


def test_a_picture_of_the_contigs_with_most_args():
    blocks = [block(4, known=known, contig=name) for name, known in
              (("one", [1]), ("two", [0, 2, 3]), ("none", []), ("$x$", [1, 2]))]  # fmt: skip
    rows = pd.concat([frame for _, frame, _ in blocks], ignore_index=True)
    figure = report.contig_maps(rows, most=2)
    figure.draw_without_rendering()
    two, last = texts(figure)
    assert two == ["two, drawn to the end of its last gene, base 2,751", *["tet(A)"] * 3]
    assert last == ["$x$, drawn to the end of its last gene, base 2,751", *["tet(A)"] * 2]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["tetracycline"]


def test_a_long_contig_has_a_panel_per_stretch_with_args(monkeypatch):
    monkeypatch.setattr(report, "LINE", 1000)
    rows = block(5, known=[0, 1, 4])[1]
    assert [len(panel) - 1 for panel in texts(report.contig_maps(rows))] == [2, 1]


def test_a_picture_without_args_is_empty():
    figure = report.contig_maps(block(3)[1])
    figure.draw_without_rendering()
    assert texts(figure) == [[""]]


@pytest.mark.parametrize("count", [0, 1])
def test_hardly_any_proteins(tmp_path, count):
    queries, frame, p = block(1)
    seen = page(tmp_path, (queries[:count], frame[:count], p[:count]))
    assert len(seen.rows) == count


def test_a_prediction_fills_its_page(tmp_path):
    (tmp_path / "p.faa").write_text(">p1\nMKVW\n>p2\nMKVA\n")

    def scorer(sequences, progress):
        progress(len(sequences))
        p = np.full((len(sequences), 15), 0.01)
        p[:, NONARG] = 0.86
        return Scores(p)

    model = Model("m", "d", 0.5, scorer)
    where = tmp_path / "page.html"
    predict_files(model, [str(tmp_path / "p.faa")], ReadingOptions(), where, out=tmp_path / "o")
    assert Page(where).rows == ["p1", "p2"]
