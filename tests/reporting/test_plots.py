import re

import numpy as np
import pandas as pd
import plot_examples as examples
import pytest
from matplotlib.figure import Figure
from PIL import Image

from arg_utils.labels import DISPLAY_NAMES
from arg_utils.metrics.calibration import table_error
from arg_utils.metrics.scores import confusion, per_class_table
from arg_utils.reporting import plots
from arg_utils.reporting.plot_style import DPI


def ticks(labels):
    return [label.get_text() for label in labels]


def texts(axis):
    return [text.get_text() for text in axis.texts]


def widths(axis):
    return [bar.get_width() for bar in axis.patches]


@pytest.fixture(scope="module")
def figures():
    return {name: draw() for name, draw in examples.FIGURES.items()}


def test_every_figure_has_an_example():
    drawn = set(plots.__all__) - {"SavedFigure", "save_figure", "amino_acid_frequencies"}
    examples_of = {re.sub("confusion_.*", "confusion_matrix", name) for name in examples.FIGURES}
    assert drawn == examples_of


@pytest.mark.parametrize("name", examples.FIGURES)
def test_axes_are_labelled_and_nothing_is_cut_off(figures, name):
    fig = figures[name]
    assert isinstance(fig, Figure)
    fig.draw_without_rendering()
    assert any(axis.get_xlabel() for axis in fig.axes)
    by_class = {label for axis in fig.axes for label in ticks(axis.get_yticklabels())}
    named = any(axis.get_ylabel() for axis in fig.axes)
    assert named or DISPLAY_NAMES[0] in by_class or examples.METHODS[0] in by_class
    drawn, page = fig.get_tightbbox(), fig.bbox_inches
    assert min(drawn.x0, drawn.y0) > -0.02
    assert drawn.x1 < page.x1 + 0.02
    assert drawn.y1 < page.y1 + 0.02


def test_no_figure_stays_open_in_pyplot(figures):
    import matplotlib.pyplot as plt

    assert plt.get_fignums() == []


def test_class_counts_are_the_data_largest_first(figures):
    train, val, _ = figures["class_counts"].axes
    expected = sorted((examples.COUNTS * 8 // 10).tolist(), reverse=True)
    assert widths(train) == expected
    assert texts(train) == [f"{count:,}" for count in expected]
    names = ticks(train.get_yticklabels())
    assert names[0] == "not an ARG"
    assert sorted(names) == sorted(DISPLAY_NAMES)
    assert widths(val)[names.index("rifampin")] == 2
    assert train.get_xscale() == "log"
    assert train.get_title() == f"train: {sum(expected):,} proteins"


def test_an_empty_class_is_written_as_0():
    counts = np.arange(15)
    axis = plots.class_counts({"train": counts}).axes[0]
    assert texts(axis)[-1] == "0"


def test_caps_cut_the_counts_and_tell_the_imbalance(figures):
    first, *_, last = figures["cap_effect"].axes
    assert max(widths(first)) == 50
    assert min(widths(first)) == 28
    assert "imbalance 2 : 1" in first.get_title()
    assert sorted(widths(last)) == sorted(examples.COUNTS)
    assert "imbalance 274 : 1" in last.get_title()


def test_lengths_show_the_window_and_the_share_beyond():
    lengths, labels = [100, 200, 300, 2000], [0, 0, 0, 11]
    axis = plots.lengths_by_class(lengths, labels).axes[0]
    names = ticks(axis.get_yticklabels())
    shares = dict(zip(names, texts(axis), strict=True))
    assert (shares["aminoglycoside"], shares["beta-lactam"]) == ("0.0%", "100.0%")
    assert names[:2] == ["beta-lactam", "aminoglycoside"]  # longest on top
    lines = [line.get_xdata() for line in axis.lines]
    assert any(np.array_equal(x, [1022, 1022]) for x in lines)
    assert "residues" in axis.get_xlabel()


def test_frequencies_count_only_the_20_amino_acids():
    table = plots.amino_acid_frequencies(["AAAX", "CC"], [0, 14])
    assert table.loc["aminoglycoside", "A"] == pytest.approx(4 / 23)
    assert table.loc["not an ARG", "C"] == pytest.approx(3 / 22)
    np.testing.assert_allclose(table.sum(axis=1), 1)


def test_composition_is_the_log_ratio_to_nonarg(figures):
    axis = figures["composition"].axes[0]
    shares = examples.FREQUENCIES
    drawn = axis.images[0].get_array()
    assert drawn.shape == (14, 20)
    expected = np.log2(shares.iloc[3]["K"] / shares.iloc[14]["K"])
    assert drawn[3, list(shares.columns).index("K")] == pytest.approx(expected)
    assert "not an ARG" not in ticks(axis.get_yticklabels())
    low, high = axis.images[0].get_clim()
    assert low == -high


def test_identity_shares_add_up_to_all_proteins():
    fig = plots.nearest_identity({"random": [0.97, 1.0, 0.5], "homology": [np.nan, 0.2]})
    for axis in fig.axes:
        assert sum(bar.get_height() for bar in axis.patches) == pytest.approx(100)
    assert texts(fig.axes[1]) == ["50%"]
    assert fig.axes[0].get_title() == "random: 3 test proteins, median hit 97 %"


def test_learning_curves_mark_stages_best_epoch_and_reference(figures):
    score, loss = figures["learning_curves"].axes
    f1 = examples.HISTORY["val_macro_f1"]
    assert score.lines[0].get_ydata() == pytest.approx(f1)
    assert score.lines[1].get_xdata() == [f1.idxmax() + 1]
    assert score.lines[2].get_ydata() == [0.93, 0.93]
    assert texts(score) == ["rate 1e-3", "rate 1e-4", "rate 1e-5"]
    assert loss.lines[0].get_ydata() == pytest.approx(examples.HISTORY["train_loss"])
    assert len(score.patches) == 2  # stages 1 and 3 are shaded


def test_finetuning_starts_at_epoch_0_without_a_loss(figures):
    score, loss = figures["finetuning_curve"].axes
    assert score.lines[0].get_xdata().tolist() == [0, 1, 2]
    assert score.lines[0].get_ydata().tolist() == [0.955, 0.967, 0.971]
    assert loss.lines[0].get_xdata().tolist() == [0, 1, 2]
    np.testing.assert_array_equal(loss.lines[0].get_ydata(), [np.nan, 0.41, 0.27])
    for axis in (score, loss):
        assert axis.get_xticks().tolist() == [0, 1, 2]
        assert axis.get_xlim()[0] <= 0
        assert axis.get_xlabel() == "epoch"
    assert "watched" in score.get_ylabel()


def test_an_untrained_finetuning_history_is_drawn():
    fig = plots.finetuning_curve(examples.FINETUNING[:1])
    fig.draw_without_rendering()
    assert fig.axes[0].lines[0].get_ydata().tolist() == [0.955]


def test_a_class_without_proteins_leaves_every_figure_whole():
    """No rifampin in the data, none true, none predicted."""
    kept = examples.LABELS != 10
    labels, found = examples.LABELS[kept], examples.LABELS[kept][::-1]
    counts = np.bincount(labels, minlength=15)
    frequencies = plots.amino_acid_frequencies(["ACD", "KLM"], [0, 14])
    figures = [
        plots.class_counts({"train": counts, "val": counts * 0}),
        plots.cap_effect(counts),
        plots.lengths_by_class(examples.LENGTHS[kept], labels),
        plots.composition(frequencies),
        plots.confusion_matrix(confusion(labels, found)),
        plots.confusion_matrix(confusion(labels, found), normalised=True),
        plots.per_class_f1(per_class_table(labels, found)),
        plots.class_balance(found, labels),
        plots.embedding_map(examples.POINTS[kept], labels),
    ]
    for fig in figures:
        fig.draw_without_rendering()
    matrix, names = figures[4].axes[0], ticks(figures[4].axes[0].get_yticklabels())
    assert names[10] == "rifampin (0)"
    assert len(texts(matrix)) == np.count_nonzero(confusion(labels, found))
    lengths = figures[2].axes[0]
    assert ticks(lengths.get_yticklabels())[-1] == "rifampin"
    assert texts(lengths)[-1] == "0.0%"


def test_confusion_matrix_writes_every_count(figures):
    counts = confusion(examples.LABELS, examples.PREDICTED)
    axis = figures["confusion_counts"].axes[0]
    assert ticks(axis.get_xticklabels()) == list(DISPLAY_NAMES)
    assert ticks(axis.get_yticklabels())[0] == f"aminoglycoside ({counts[0].sum()})"
    assert texts(axis) == [f"{count:,}" for count in counts[counts > 0]]
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("predicted class", "true class (proteins)")


def test_normalised_confusion_is_per_cent_of_the_row():
    counts = np.zeros((15, 15), dtype=int)
    counts[0, :3] = 1, 2, 997
    axis = plots.confusion_matrix(counts, normalised=True).axes[0]
    assert texts(axis) == ["<1", "<1", "100"]
    with pytest.raises(ValueError, match="15x15"):
        plots.confusion_matrix(np.zeros((14, 14)))


def test_per_class_f1_bars_are_the_table(figures):
    table = per_class_table(examples.LABELS, examples.PREDICTED)
    table = table.sort_values("f1", ascending=False)
    axis = figures["per_class_f1"].axes[0]
    assert widths(axis) == pytest.approx(table["f1"].tolist())
    assert ticks(axis.get_yticklabels()) == table["class"].tolist()
    assert texts(axis)[0].endswith(f"n = {table['support'].iloc[0]}")
    assert f"{table['f1'].mean():.3f}" in axis.get_title()


def test_methods_are_ranked_by_their_harder_split(figures):
    axis = figures["methods_comparison"].axes[0]
    names = ticks(axis.get_yticklabels())
    assert names == [examples.METHODS[i] for i in (4, 3, 2, 1, 0)]
    random, homology = axis.lines
    by_row = dict(zip(np.round(homology.get_ydata()), homology.get_xdata(), strict=True))
    assert by_row[0] == 0.47
    assert sorted(random.get_xdata()) == [0.977, 0.985, 0.987, 0.993, 0.995]
    assert len(axis.collections) == 2  # intervals


def test_methods_without_intervals():
    table = examples.RESULTS[["split", "method", "macro_f1"]]
    axis = plots.methods_comparison(table).axes[0]
    assert len(axis.collections) == 0
    assert len(axis.texts) == len(table)


def test_class_balance_compares_shares():
    axis = plots.class_balance([0, 0, 0, 1], [0, 1, 1, 1]).axes[0]
    names = ticks(axis.get_yticklabels())
    training, predicted = axis.lines
    assert names[0] == "MLS"
    assert training.get_xdata()[:2].tolist() == [75, 25]
    assert predicted.get_xdata()[:2].tolist() == [25, 75]
    assert np.isnan(predicted.get_xdata()[5])


def test_reliability_and_risk_show_their_tables(figures):
    lower = figures["reliability_diagram"].axes[1]
    names = [text.get_text() for text in figures["reliability_diagram"].legends[0].get_texts()]
    error = table_error(examples.RELIABILITY["random split"])
    assert names[1] == f"random split: calibration error {error:.3f}"
    assert sum(bar.get_height() for bar in lower.patches) == examples.N + (examples.N + 1) // 2
    axis = figures["risk_coverage_curve"].axes[0]
    assert len(axis.lines) == 2 * len(examples.CURVES)
    risk = examples.CURVES["frozen + linear"]["risk"] * 100
    assert axis.lines[0].get_ydata() == pytest.approx(risk)


def test_identity_bins_name_their_sizes(figures):
    axis = figures["f1_by_identity_bin"].axes[0]
    table = examples.BINS["LoRA"]
    assert axis.lines[1].get_ydata() == pytest.approx(table["macro_f1"])
    first = ticks(axis.get_xticklabels())[0]
    assert first == f"no hit\nn = {table['n'][0]}\n{table['classes'][0]} classes"


def test_embedding_map_tells_15_classes_apart(figures):
    axis = figures["embedding_map"].axes[0]
    looks = set()
    for drawn in axis.collections:
        face = drawn.get_facecolor()
        shape = drawn.get_paths()[0].vertices.round(3).tobytes()
        looks.add((shape, face.tobytes(), drawn.get_edgecolor().tobytes()))
    assert len(looks) == 15
    assert len(axis.collections[0].get_offsets()) == 768  # not an ARG lies underneath
    legend = figures["embedding_map"].legends[0]
    assert ticks(legend.get_texts()) == list(DISPLAY_NAMES)
    assert axis.get_xlabel() == "t-SNE 1"


@pytest.mark.parametrize(
    "draw",
    [
        lambda: plots.class_counts({"train": [1, 2]}),
        lambda: plots.lengths_by_class([1, 2], [0]),
        lambda: plots.embedding_map(np.zeros((2, 2)), [0]),
        lambda: plots.class_balance([15], [0]),
        lambda: plots.amino_acid_frequencies(["AC"], [0, 1]),
    ],
)
def test_wrong_shapes_are_refused(draw):
    with pytest.raises(ValueError, match=r"shape|has \d|holds"):
        draw()


def test_save_figure_is_a_small_palette_png(tmp_path, figures, monkeypatch):
    saved = plots.save_figure(figures["confusion_counts"], "matrix", tmp_path / "made here")
    assert saved.path == tmp_path / "made here" / "matrix.png"
    image = Image.open(saved.path)
    assert image.format == "PNG"
    assert image.mode == "P"
    width = figures["confusion_counts"].get_figwidth()
    assert image.width == pytest.approx(width * DPI, abs=2)
    assert saved.path.stat().st_size < 80_000
    assert saved._repr_png_() == saved.path.read_bytes()
    assert repr(saved) == "figure matrix.png"
    monkeypatch.setenv("ARG_OUTPUT", str(tmp_path / "out"))
    assert plots.save_figure(figures["composition"], "c").path == tmp_path / "out/figures/c.png"


def test_the_ends_of_a_colour_scale_survive_the_palette(tmp_path, figures):
    """Few pixels are as dark as the ends: they must keep their hue."""
    saved = plots.save_figure(figures["composition"], "composition", tmp_path)
    fig, image = figures["composition"], Image.open(saved.path).convert("RGB")
    scale = fig.axes[-1].get_window_extent()
    x = int((scale.x0 + scale.x1) / 2)
    top, bottom = (image.getpixel((x, int(image.height - y))) for y in (scale.y1 - 4, scale.y0 + 4))
    assert top[0] > 1.5 * top[2], "brown, not grey"
    assert bottom[2] > 1.5 * bottom[1], "purple, not grey"


def test_saving_twice_gives_the_same_bytes(tmp_path):
    table = pd.DataFrame(examples.RESULTS)
    first = plots.save_figure(plots.methods_comparison(table), "a", tmp_path)
    second = plots.save_figure(plots.methods_comparison(table), "b", tmp_path)
    assert first.path.read_bytes() == second.path.read_bytes()
