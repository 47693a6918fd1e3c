import inspect

import numpy as np
import plot_examples as examples
import pytest
from matplotlib.figure import Figure
from PIL import Image

from arg_utils.experiments.outcomes import fit_random
from arg_utils.labels import DISPLAY_NAMES
from arg_utils.metrics.calibration import table_error
from arg_utils.metrics.scores import confusion, per_class_table
from arg_utils.reporting import figures_data, figures_scores
from arg_utils.reporting.style import DPI, save_figure


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
    drawn = {
        name
        for module in (figures_data, figures_scores)
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if function.__module__ == module.__name__
        and inspect.signature(function).return_annotation is Figure
        and not name.startswith("_")
    }
    assert drawn == {name.partition(" ")[0] for name in examples.FIGURES}


@pytest.mark.parametrize("name", examples.FIGURES)
def test_axes_are_labelled_and_nothing_is_cut_off(figures, name):
    fig = figures[name]
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
    assert widths(train) == pytest.approx(expected)
    assert texts(train) == [f"{count:,}" for count in expected]
    names = ticks(train.get_yticklabels())
    assert names[0] == "not an ARG"
    assert sorted(names) == sorted(DISPLAY_NAMES)
    assert widths(val)[names.index("rifampin")] == pytest.approx(2)
    assert train.get_xscale() == "log"


def test_caps_cut_the_counts_and_tell_the_imbalance(figures):
    first, *_, last = figures["cap_effect"].axes
    assert (min(widths(first)), max(widths(first))) == pytest.approx((28, 50))
    assert "imbalance 2 : 1" in first.get_title()
    assert widths(last) == pytest.approx(sorted(examples.COUNTS, reverse=True))
    assert "imbalance 274 : 1" in last.get_title()


def test_lengths_show_the_window_and_the_share_beyond():
    lengths, labels = [100, 200, 300, 2000], [0, 0, 0, 11]
    axis = figures_data.lengths_by_class(lengths, labels).axes[0]
    names = ticks(axis.get_yticklabels())
    shares = dict(zip(names, texts(axis), strict=True))
    assert (shares["aminoglycoside"], shares["beta-lactam"]) == ("0.0%", "100.0%")
    assert names[:2] == ["beta-lactam", "aminoglycoside"]  # longest on top
    assert any(np.array_equal(line.get_xdata(), [1022, 1022]) for line in axis.lines)


def test_frequencies_count_only_the_20_amino_acids():
    table = figures_data.amino_acid_frequencies(["AAAX", "CC"], [0, 14])
    assert table.loc["aminoglycoside", "A"] == pytest.approx(4 / 23)
    assert table.loc["not an ARG", "C"] == pytest.approx(3 / 22)
    np.testing.assert_allclose(table.sum(axis=1), 1)


def test_composition_is_the_log_ratio_to_nonarg(figures):
    axis = figures["composition"].axes[0]
    shares = examples.FREQUENCIES
    drawn = np.asarray(axis.collections[0].get_array()).reshape(14, 20)
    expected = np.log2(shares.iloc[3]["K"] / shares.iloc[14]["K"])
    assert drawn[3, list(shares.columns).index("K")] == pytest.approx(expected)
    assert "not an ARG" not in ticks(axis.get_yticklabels())
    low, high = axis.collections[0].get_clim()
    assert low == -high


def test_identity_shares_add_up_to_all_proteins():
    fig = figures_data.nearest_identity({"random": [0.97, 1.0, 0.5], "homology": [np.nan, 0.2]})
    for axis in fig.axes:
        assert sum(bar.get_height() for bar in axis.patches) == pytest.approx(100)
    assert texts(fig.axes[1]) == ["50%"]
    assert "3 test proteins, median hit 97 %" in fig.axes[0].get_title()


def test_learning_curves_mark_stages_best_epoch_and_reference(figures):
    score, loss = figures["learning_curves"].axes
    f1 = examples.HISTORY["val_macro_f1"]
    assert score.lines[0].get_ydata() == pytest.approx(f1)
    assert score.lines[1].get_xdata() == [f1.idxmax() + 1]
    assert score.lines[2].get_ydata() == [0.93, 0.93]
    assert texts(score) == ["rate 1e-3", "rate 1e-4", "rate 1e-5"]
    assert loss.lines[0].get_ydata() == pytest.approx(examples.HISTORY["train_loss"])
    assert len(score.patches) == 2  # stages 1 and 3 are shaded


@pytest.mark.parametrize("epochs", [1, 3])
def test_finetuning_starts_at_epoch_0_without_a_loss(epochs):
    history = examples.FINETUNING[:epochs]
    fig = figures_scores.finetuning_curve(history)
    fig.draw_without_rendering()
    score, loss = fig.axes
    assert score.lines[0].get_xdata().tolist() == history["epoch"].tolist()
    np.testing.assert_array_equal(score.lines[0].get_ydata(), history["val_macro_f1"])
    np.testing.assert_array_equal(loss.lines[0].get_ydata(), history["train_loss"])


def test_a_class_without_proteins_leaves_every_figure_whole():
    """No rifampin in the data, none true, none predicted."""
    others = examples.LABELS != 10
    labels, predicted = examples.LABELS[others], examples.LABELS[others][::-1]
    counts, matrix = np.bincount(labels, minlength=15), confusion(labels, predicted)
    frequencies = figures_data.amino_acid_frequencies(["ACD", "KLM"], [0, 14])
    drawn = {
        "counts": figures_data.class_counts({"train": counts, "val": counts * 0}),
        "caps": figures_data.cap_effect(counts),
        "lengths": figures_data.lengths_by_class(examples.LENGTHS[others], labels),
        "composition": figures_data.composition(frequencies),
        "matrix": figures_scores.confusion_matrix(matrix),
        "normalised": figures_scores.confusion_matrix(matrix, normalised=True),
        "f1": figures_scores.per_class_f1(per_class_table(labels, predicted)),
        "balance": figures_data.class_balance(predicted, labels),
        "map": figures_data.embedding_map(examples.POINTS[others], labels),
    }
    for fig in drawn.values():
        fig.draw_without_rendering()
    axis = drawn["matrix"].axes[0]
    assert ticks(axis.get_yticklabels())[10] == "rifampin (0)"
    assert len(texts(axis)) == np.count_nonzero(matrix)
    assert ticks(drawn["lengths"].axes[0].get_yticklabels())[-1] == "rifampin"
    assert texts(drawn["lengths"].axes[0])[-1] == "0.0%"
    assert texts(drawn["counts"].axes[0])[-1] == "0"


def test_confusion_matrix_writes_every_count(figures):
    counts = confusion(examples.LABELS, examples.PREDICTED)
    axis = figures["confusion_matrix counts"].axes[0]
    assert ticks(axis.get_xticklabels()) == list(DISPLAY_NAMES)
    assert ticks(axis.get_yticklabels())[0] == f"aminoglycoside ({counts[0].sum()})"
    assert texts(axis) == [f"{count:,}" for count in counts[counts > 0]]
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("predicted class", "true class (proteins)")


def test_normalised_confusion_is_per_cent_of_the_row():
    counts = np.zeros((15, 15), dtype=int)
    counts[0, :3] = 1, 2, 997
    axis = figures_scores.confusion_matrix(counts, normalised=True).axes[0]
    assert texts(axis) == ["<1", "<1", "100"]


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
    assert ticks(axis.get_yticklabels()) == [examples.METHODS[i] for i in (4, 3, 2, 1, 0)]
    random, homology = axis.lines
    by_row = dict(zip(np.round(homology.get_ydata()), homology.get_xdata(), strict=True))
    assert by_row[0] == 0.47
    assert sorted(random.get_xdata()) == [0.977, 0.985, 0.987, 0.993, 0.995]
    assert len(axis.collections) == 2  # intervals


def test_methods_without_intervals():
    rows = [{k: row[k] for k in ("split", "title", "macro_f1")} for row in examples.RESULTS]
    axis = figures_scores.methods_comparison(rows).axes[0]
    assert len(axis.collections) == 0
    assert len(axis.texts) == len(rows)


def test_class_balance_compares_shares():
    axis = figures_data.class_balance([0, 0, 0, 1], [0, 1, 1, 1]).axes[0]
    training, predicted = axis.lines
    assert ticks(axis.get_yticklabels())[0] == "MLS"
    assert training.get_xdata()[:2].tolist() == [75, 25]
    assert predicted.get_xdata()[:2].tolist() == [25, 75]
    assert np.isnan(predicted.get_xdata()[5])


def test_reliability_and_risk_show_their_tables(figures):
    fig = figures["reliability_diagram"]
    error = table_error(examples.RELIABILITY["random split"])
    assert f"{error:.3f}" in fig.legends[0].get_texts()[1].get_text()
    bars = fig.axes[1].patches
    assert sum(bar.get_height() for bar in bars) == examples.N + (examples.N + 1) // 2
    axis = figures["risk_coverage_curve"].axes[0]
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
    assert ticks(figures["embedding_map"].legends[0].get_texts()) == list(DISPLAY_NAMES)


def test_projected_groups_stay_apart():
    rng = np.random.default_rng(0)
    features = np.concatenate([rng.normal(0, 1, (20, 8)), rng.normal(9, 1, (20, 8))])
    points = figures_data.project(features)
    one, other = points[:20], points[20:]
    gap = np.linalg.norm(one.mean(axis=0) - other.mean(axis=0))
    assert gap > 2 * max(one.std(), other.std())
    np.testing.assert_array_equal(figures_data.project(features), points)


@pytest.mark.usefixtures("settings")
def test_embeddings_before_and_after_are_of_the_same_proteins(work):
    fit_random(work, "lora_blocks")
    labels, points = figures_data.embeddings_before_and_after(work, "lora_blocks", cap=3)
    assert np.bincount(labels).max() == 3
    assert points["before"].shape == points["after"].shape == (len(labels), 2)


@pytest.mark.parametrize(
    "draw",
    [
        lambda: figures_data.class_counts({"train": [1, 2]}),
        lambda: figures_data.lengths_by_class([1, 2], [0]),
        lambda: figures_data.embedding_map(np.zeros((2, 2)), [0]),
        lambda: figures_data.class_balance([15], [0]),
        lambda: figures_data.amino_acid_frequencies(["AC"], [0, 1]),
        lambda: figures_scores.confusion_matrix(np.zeros((14, 14))),
    ],
)
def test_wrong_shapes_are_refused(draw):
    with pytest.raises(ValueError, match=r"shape|has \d|holds|15x15"):
        draw()


def test_save_figure_is_a_small_palette_png_of_the_same_bytes(tmp_path, monkeypatch):
    """And no data are looked for: where it goes is said."""
    monkeypatch.setenv("ARG_DATA", str(tmp_path / "no such folder"))
    fig, same = (examples.FIGURES["confusion_matrix counts"]() for _ in range(2))
    saved = save_figure(fig, "matrix", tmp_path / "new")
    assert saved.path == tmp_path / "new" / "matrix.png"
    image = Image.open(saved.path)
    assert (image.format, image.mode) == ("PNG", "P")
    assert image.width == pytest.approx(fig.get_figwidth() * DPI, abs=2)
    assert saved.path.stat().st_size < 80_000
    assert saved._repr_png_() == saved.path.read_bytes()
    assert repr(saved) == "figure matrix.png"
    again = save_figure(same, "again", tmp_path)
    assert again.path.read_bytes() == saved.path.read_bytes()


def test_the_ends_of_a_colour_scale_survive_the_palette(tmp_path, figures):
    """Few pixels are as dark as the ends: they must keep their hue."""
    saved = save_figure(figures["composition"], "composition", tmp_path)
    fig, image = figures["composition"], Image.open(saved.path).convert("RGB")
    scale = fig.axes[-1].get_window_extent()
    x = int((scale.x0 + scale.x1) / 2)
    top, bottom = (image.getpixel((x, int(image.height - y))) for y in (scale.y1 - 4, scale.y0 + 4))
    assert top[0] > 1.5 * top[2], "brown, not grey"
    assert bottom[2] > 1.5 * bottom[1], "purple, not grey"
