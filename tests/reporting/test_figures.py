"""Every figure: labelled, whole, and of the numbers it was given."""

import inspect
from functools import cache

import matplotlib.pyplot as plt
import numpy as np
import plot_examples as examples
import pytest
from matplotlib.figure import Figure
from PIL import Image

from arg_utils.experiments.outcomes import fit_random
from arg_utils.labels import DISPLAY_NAMES
from arg_utils.methods import METHODS
from arg_utils.metrics.calibration import table_error
from arg_utils.metrics.scores import confusion, per_class_table
from arg_utils.reporting import eda, figures, maps, motifs, style


def ticks(labels):
    return [label.get_text() for label in labels]


def texts(axis):
    return [text.get_text() for text in axis.texts]


def widths(axis):
    return [bar.get_width() for bar in axis.patches]


@cache
def drawn(name):
    return examples.FIGURES[name]()


def test_every_figure_has_an_example():
    public = {
        name
        for module in (eda, figures, maps, motifs)
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if function.__module__ == module.__name__
        and inspect.signature(function).return_annotation is Figure
    }
    assert public == {name.partition(" ")[0] for name in examples.FIGURES}


@pytest.mark.parametrize("name", examples.FIGURES)
def test_axes_are_labelled_and_nothing_is_cut_off(name):
    fig = drawn(name)
    fig.draw_without_rendering()
    assert any(axis.get_xlabel() for axis in fig.axes)
    named = {label for axis in fig.axes for label in ticks(axis.get_yticklabels())}
    assert any(axis.get_ylabel() for axis in fig.axes) or named & {
        *DISPLAY_NAMES,
        *examples.METHODS,
    }
    box, page = fig.get_tightbbox(), fig.bbox_inches
    assert min(box.x0, box.y0) > -0.02
    assert box.x1 < page.x1 + 0.02
    assert box.y1 < page.y1 + 0.02
    assert plt.get_fignums() == []  # none stays open in pyplot


def test_class_counts_are_the_data_largest_first():
    train, val = drawn("class_counts").axes
    expected = sorted((examples.COUNTS * 8 // 10).tolist(), reverse=True)
    assert widths(train) == pytest.approx(expected)
    assert texts(train) == [f"{count:,}" for count in expected]
    names = ticks(train.get_yticklabels())
    assert names[0] == "not an ARG"
    assert sorted(names) == sorted(DISPLAY_NAMES)
    assert widths(val)[names.index("rifampin")] == pytest.approx(2)
    assert train.get_xscale() == "log"


def test_caps_cut_the_counts_and_tell_the_imbalance():
    first, *_, last = drawn("class_counts capped").axes
    assert (min(widths(first)), max(widths(first))) == pytest.approx((28, 50))
    assert "imbalance 2 : 1" in first.get_title()
    assert sorted(widths(last)) == pytest.approx(sorted(examples.COUNTS))
    assert "imbalance 274 : 1" in last.get_title()
    only = eda.class_counts({"predicted": examples.COUNTS // examples.COUNTS.max()}, False).axes[0]
    assert only.get_title() == "predicted: 1 protein"


def test_lengths_show_the_window_and_the_share_beyond():
    axis = eda.lengths_by_class([100, 200, 300, 2000], [0, 0, 0, 11]).axes[0]
    names = ticks(axis.get_yticklabels())
    assert names[:2] == ["beta-lactam", "aminoglycoside"]  # longest on top
    assert texts(axis)[:2] == ["2,000   100.0%", "200   0.0%"]
    assert any(np.array_equal(line.get_xdata(), [1022, 1022]) for line in axis.lines)


def test_composition_is_the_log_ratio_to_nonarg():
    axis, shares = drawn("composition").axes[0], examples.FREQUENCIES
    cells = np.asarray(axis.collections[0].get_array()).reshape(14, 20)
    rows = ticks(axis.get_yticklabels())
    expected = np.log2(shares.loc["fosfomycin"] / shares.loc["not an ARG"])
    np.testing.assert_allclose(cells[rows.index("fosfomycin")], expected)
    assert "not an ARG" not in rows
    assert axis.collections[0].get_clim() == (-1.5, 1.5)


def test_frequencies_count_only_the_20_amino_acids():
    table = eda.amino_acid_frequencies(["AAAX", "CC"], [0, 14])
    assert table.loc["aminoglycoside", "A"] == pytest.approx(4 / 23)
    assert table.loc["not an ARG", "C"] == pytest.approx(3 / 22)
    np.testing.assert_allclose(table.sum(axis=1), 1)


def test_identities_are_stacked_shares_of_all_proteins():
    for axis, missing in zip(eda.nearest_identity(examples.IDENTITIES).axes, (0, 1), strict=True):
        bars = axis.patches
        assert sum(bar.get_height() for bar in bars) == pytest.approx(100)
        assert any(bar.get_height() and bar.get_x() < -5 for bar in bars) == bool(missing)
        assert {text.get_text() for text in axis.get_legend().get_texts()} == {
            "ARGs",
            "other proteins",
        }
    random = examples.IDENTITIES[:200]
    near = (random["identity"] >= 0.9).groupby(random["kind"]).mean()
    title = eda.nearest_identity(random).axes[0].get_title()
    assert f"{near['ARGs']:.0%} of ARGs, {near['other proteins']:.0%} of other proteins" in title


def test_learning_curves_mark_stages_best_epoch_and_reference():
    score, loss = drawn("learning_curves").axes
    (zoomed,) = score.child_axes
    f1 = examples.HISTORY["val_macro_f1"]
    assert score.lines[0].get_ydata() == pytest.approx(f1)
    assert score.lines[1].get_xdata() == [f1.idxmax() + 1]
    assert score.lines[2].get_ydata() == [0.93, 0.93]
    assert texts(score) == ["layer, 1e-3", "layer, 1e-4", "LoRA, 1e-3"]
    assert loss.lines[0].get_ydata() == pytest.approx(examples.HISTORY["train_loss"])
    assert len(score.patches) == 2  # stages 1 and 3 are shaded
    assert zoomed.lines[0].get_ydata() == pytest.approx(f1[15:])


def test_a_class_without_proteins_leaves_every_figure_whole():
    """No rifampin in the data, none true, none predicted."""
    others = examples.LABELS != 10
    labels, predicted = examples.LABELS[others], examples.LABELS[others][::-1]
    counts, matrix = np.bincount(labels, minlength=15), confusion(labels, predicted)
    whole = {
        "counts": eda.class_counts({"train": counts, "val": counts}),
        "lengths": eda.lengths_by_class(examples.LENGTHS[others], labels),
        "composition": eda.composition(eda.amino_acid_frequencies(["ACD", "KLM"], [0, 14])),
        "matrix": figures.confusion_matrix(matrix, "title"),
        "normalised": figures.confusion_matrix(matrix, "title", normalised=True),
        "f1": figures.per_class_f1(per_class_table(labels, predicted), "title"),
        "maps": maps.embedding_maps({"one": examples.FEATURES[:40]}, np.arange(40) % 10),
    }
    for fig in whole.values():
        fig.draw_without_rendering()
    axis = whole["matrix"].axes[0]
    assert ticks(axis.get_yticklabels())[10] == "rifampin (0)"
    assert len(texts(axis)) == np.count_nonzero(matrix)
    assert texts(whole["lengths"].axes[0])[-1] == "0   0.0%"
    assert texts(whole["counts"].axes[0])[-1] == "0"


def test_confusion_matrix_names_model_and_split_and_writes_every_count():
    axis, counts = drawn("confusion_matrix counts").axes[0], examples.MATRIX
    assert ticks(axis.get_xticklabels()) == list(DISPLAY_NAMES)
    assert ticks(axis.get_yticklabels())[0] == f"aminoglycoside ({counts[0].sum()})"
    assert texts(axis) == [f"{count:,}" for count in counts[counts > 0]]
    assert axis.get_title() == "model, split"
    counts = np.zeros((15, 15), dtype=int)
    counts[0, :3] = 1, 2, 997
    assert texts(figures.confusion_matrix(counts, "", True).axes[0]) == ["<1", "<1", "100"]


def test_per_class_f1_bars_are_the_table():
    table = per_class_table(examples.LABELS, examples.PREDICTED)
    table, axis = table.sort_values("f1", ascending=False), drawn("per_class_f1").axes[0]
    assert widths(axis) == pytest.approx(table["f1"].tolist())
    assert ticks(axis.get_yticklabels()) == table["class"].tolist()
    assert texts(axis)[0].endswith(f"n = {table['support'].iloc[0]}")
    assert f"{table['f1'].mean():.3f}" in axis.get_title()


def test_methods_are_ranked_where_they_were_measured():
    random, homology = drawn("methods_comparison").axes
    names = [examples.METHODS[i] for i in (4, 0, 2, 3, 1)]
    assert ticks(random.get_yticklabels()) == names
    assert ticks(homology.get_yticklabels()) == [examples.METHODS[i] for i in (4, 3, 2, 1)]
    assert texts(homology) == ["0.470", "0.410", "0.380", "0.330"]
    rows = [{k: row[k] for k in ("split", "title", "macro_f1")} for row in examples.RESULTS]
    assert texts(figures.methods_comparison(rows).axes[0]) == texts(random)  # without intervals


def test_a_method_of_fewer_folds_is_not_ranked():
    homology = [row for row in examples.RESULTS if row["split"] == "homology"]
    rows = [row | {"folds": [0, 1, 2, 3, 4]} for row in homology[1:]]
    (axis,) = figures.methods_comparison([homology[0] | {"folds": [0]}, *rows]).axes
    assert ticks(axis.get_yticklabels()) == [examples.METHODS[i] for i in (4, 3, 2)]
    (axis,) = figures.methods_comparison([row | {"folds": [0]} for row in homology]).axes
    assert len(texts(axis)) == 4


def test_a_method_looks_the_same_in_every_figure():
    """And no two methods look alike."""
    looks = [style.look(method.title) for method in METHODS.values()]
    assert len({(style["color"], style["marker"]) for style in looks}) == len(METHODS)
    hybrid = style.look(examples.HYBRID)["color"]
    for name in ("methods_comparison", "f1_by_identity_bin", "risk_coverage_curve"):
        assert hybrid in {line.get_color() for line in drawn(name).axes[0].lines}


def test_reliability_shows_its_tables_without_bins_of_few():
    fig, table = drawn("reliability_diagram"), examples.RELIABILITY["random split"]
    assert f"{table_error(table):.3f}" in fig.legends[0].get_texts()[1].get_text()
    upper, lower = fig.axes
    assert sum(bar.get_height() for bar in lower.patches) == examples.N + (examples.N + 1) // 2
    enough = table["n"] >= 10
    assert upper.lines[1].get_ydata() == pytest.approx(table["accuracy"][enough])
    assert not enough.all()


def test_risk_is_drawn_with_the_threshold():
    axis, curve = drawn("risk_coverage_curve").axes[0], examples.CURVES[examples.HYBRID]
    assert axis.lines[0].get_ydata() == pytest.approx(
        examples.CURVES[examples.FROZEN]["risk"] * 100
    )
    answered = curve[curve["threshold"] >= 0.5]["coverage"].max() * 100
    (dotted,) = (line for line in axis.lines if line.get_linestyle() == ":")
    assert dotted.get_xdata() == pytest.approx([answered] * 2)
    never = figures.risk_coverage_curve(examples.CURVES, {examples.HYBRID: 2.0}, "a split")
    assert all(line.get_linestyle() != ":" for line in never.axes[0].lines)


def test_bins_of_few_proteins_are_not_drawn_and_accuracies_have_intervals():
    f1, right = drawn("f1_by_identity_bin").axes
    table = examples.BINS[examples.HYBRID]
    enough = table["n"] >= 50
    assert f1.lines[1].get_ydata() == pytest.approx(table["macro_f1"][enough])
    sizes = [f"n = {count:,}" for count in table["n"][enough]]
    assert [name.splitlines()[1] for name in ticks(right.get_xticklabels())] == sizes
    assert f"are not drawn: {table['n'][~enough].sum()} in all" in right.get_xlabel()
    assert not enough.all()
    assert all(line.get_linestyle() == "None" for line in f1.lines)
    for segment, accuracy in zip(
        right.collections[1].get_segments(), table["accuracy"][enough], strict=True
    ):
        low, high = segment[:, 1]
        assert low < accuracy < high


def test_embedding_maps_tell_15_classes_apart():
    before, _ = drawn("embedding_maps").axes
    looks = set()
    for dots in before.collections:
        shape = dots.get_paths()[0].vertices.round(3).tobytes()
        looks.add((shape, dots.get_facecolor().tobytes(), dots.get_edgecolor().tobytes()))
    assert len(looks) == len(before.collections) == len(np.unique(examples.LABELS[examples.FEW]))
    assert before.collections[0].get_label() == "not an ARG"  # lies underneath
    share = maps.neighbour_accuracy(examples.FEATURES, examples.LABELS[examples.FEW])
    assert f"{share:.1%}" in before.get_title()


def test_a_second_map_is_turned_to_match_the_first(monkeypatch):
    monkeypatch.setattr(maps, "project", np.copy)
    points, quarter = examples.FEATURES[:, :2], np.array([[0, 1], [-1, 0]])
    features = {"one": points, "turned": points @ quarter}
    one, turned = maps.embedding_maps(features, examples.LABELS[examples.FEW]).axes
    for dots, same in zip(one.collections, turned.collections, strict=True):
        np.testing.assert_allclose(dots.get_offsets(), same.get_offsets(), atol=1e-9)


def test_neighbours_are_others():
    """Six points of a class together: right; one amid another class: wrong."""
    features = np.array([[0.0], [0.1], [0.2], [0.3], [0.4], [0.5], [0.25]])
    labels = np.array([3, 3, 3, 3, 3, 3, 9])
    assert maps.neighbour_accuracy(features, labels) == pytest.approx(6 / 7)


def test_projected_groups_stay_apart():
    rng = np.random.default_rng(0)
    features = np.concatenate([rng.normal(0, 1, (20, 8)), rng.normal(9, 1, (20, 8))])
    points = maps.project(features)
    one, other = points[:20], points[20:]
    gap = np.linalg.norm(one.mean(axis=0) - other.mean(axis=0))
    assert gap > 2 * max(one.std(), other.std())
    np.testing.assert_array_equal(maps.project(features), points)


@pytest.mark.usefixtures("settings")
def test_embeddings_before_and_after_are_of_the_same_proteins(work):
    fit_random(work, "lora_blocks")
    labels, features = maps.embeddings_before_and_after(work, "lora_blocks", cap=3)
    assert np.bincount(labels).max() == 3
    assert list(features) == ["frozen ESM-2", METHODS["lora_blocks"].title]
    assert all(values.shape == (len(labels), 320) for values in features.values())


@pytest.mark.parametrize(
    "draw",
    [
        lambda: eda.class_counts({"train": [1, 2]}),
        lambda: eda.lengths_by_class([1, 2], [0]),
        lambda: maps.embedding_maps({"one": np.zeros((2, 2))}, [0]),
        lambda: eda.lengths_by_class([100], [15]),
        lambda: eda.amino_acid_frequencies(["AC"], [0, 1]),
        lambda: figures.confusion_matrix(np.zeros((14, 14)), ""),
    ],
)
def test_wrong_shapes_are_refused(draw):
    with pytest.raises(ValueError, match=r"shape|has \d|holds|15x15"):
        draw()


def test_a_saved_figure_is_a_small_png_of_the_same_bytes_without_bands(tmp_path, monkeypatch):
    """And no data are looked for: where it goes is said."""
    monkeypatch.setenv("ARG_DATA", str(tmp_path / "no such folder"))
    fig, same = (examples.FIGURES["composition"]() for _ in range(2))
    shown = figures.save_figure(fig, "matrix", tmp_path / "new")
    path = tmp_path / "new" / "matrix.png"
    image = Image.open(path)
    assert image.format == "PNG"
    assert image.width == pytest.approx(fig.get_figwidth() * figures.DPI, abs=2)
    assert len(image.getcolors(1 << 20)) > 300
    figures.save_figure(examples.FIGURES["class_counts"](), "bars", tmp_path)
    assert (tmp_path / "bars.png").stat().st_size < 60_000
    assert shown.data == path.read_bytes()
    figures.save_figure(same, "again", tmp_path)
    assert (tmp_path / "again.png").read_bytes() == path.read_bytes()
