"""Figures show what their titles say: the values in the axes are compared, not pixels."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from hsi.errors import OutputError, SettingsError
from hsi.plots import SYNTHETIC_NOTE, new_figure, save_figure
from hsi.plots.activations import activation_figure
from hsi.plots.colors import CLASS_COLORS, UNLABELLED, class_color, class_image, signed_norm
from hsi.plots.compression import compression_figure, compression_points
from hsi.plots.confusion import confusion_matrix_figure
from hsi.plots.maps import class_maps
from hsi.plots.tiles import attribution_tiles, choose_bands
from hsi.scene import NO_DATA


def pictures(figure):
    """Every axes with one picture in it: (axes, its values)."""
    return [(a, np.asarray(a.images[0].get_array())) for a in figure.axes if a.images]


def words(figure):
    """All text of a figure, drawn once so that ticks are there."""
    figure.canvas.draw()
    return " | ".join(t.get_text() for t in figure.findobj(lambda o: hasattr(o, "get_text")))


def encoded_maps(samples, numbers, factor):
    """Maps whose every value tells sample and band number."""
    maps = np.empty((samples, 3, 3, len(numbers)), np.float32)
    for sample in range(samples):
        maps[sample] = factor * (np.asarray(numbers) + 1000 * sample)
    return maps


# Tiles


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"from_band": 30, "to_band": 90, "step_band": 10}, [30, 40, 50, 60, 70, 80, 90]),
        ({"from_band": 95, "to_band": 120, "step_band": 5}, [95, 100, 110, 115, 120]),
        ({"from_band": 20, "to_band": 40, "step_band": 1}, list(range(20, 41))),
        ({"from_band": 7, "to_band": 7, "step_band": 3}, [7]),
    ],
    ids=["the reference's", "105 is removed", "two lines", "one band"],
)
def test_a_tile_shows_the_band_that_its_title_names(options, expected):
    numbers = np.setdiff1d(np.arange(1, 151), np.arange(104, 109))
    wavelengths = 400.0 + 2 * numbers
    gradient = encoded_maps(2, numbers, -1)
    figure = attribution_tiles(
        encoded_maps(2, numbers, 1),
        {"gradient": gradient, "SmoothGrad": 3 * gradient},
        bands=numbers,
        wavelengths=wavelengths,
        **options,
    )
    shown = {}
    for axes, values in pictures(figure):
        label, name = axes.get_label().split(": ")
        number = int(name.split()[1])
        assert axes.get_title().split()[:2] == ["band", str(number)]
        assert name == f"band {number} · {400 + 2 * number} nm"
        if label == "input":
            assert axes.get_title().endswith(f"{400 + 2 * number} nm")
        sample = shown.setdefault((label, number), 0)
        factor = {"input": 1, "gradient": -1, "SmoothGrad": -3}[label]
        np.testing.assert_array_equal(values, np.full((3, 3), factor * (number + 1000 * sample)))
        shown[label, number] += 1
    wanted = {(row, n): 2 for row in ("input", "gradient", "SmoothGrad") for n in expected}
    assert shown == wanted


def test_the_spread_of_the_tiles_is_that_of_the_attributions():
    """No rescaling of single tiles: one scale a row, symmetric, reaching the largest value."""
    rng = np.random.default_rng(0)
    maps = rng.normal(size=(1, 5, 5, 6)) * 10.0 ** -np.array([3, 1, 0, 4, 2, 5])
    figure = attribution_tiles(np.ones_like(maps), {"gradient": maps}, step_band=1)
    tiles = [a for a, _ in pictures(figure) if a.get_label().startswith("gradient")]
    limits = {a.images[0].get_clim() for a in tiles}
    assert limits == {(-np.abs(maps).max(), np.abs(maps).max())}
    spread = [np.ptp(a.images[0].norm(v)) for a, v in pictures(figure) if a in tiles]
    expected = np.ptp(maps[0], axis=(0, 1)) / (2 * np.abs(maps).max())
    np.testing.assert_allclose(spread, expected, rtol=1e-6)


def test_variants_can_share_one_scale():
    maps = encoded_maps(1, range(1, 5), 1)
    rows = {"trained": maps, "pruned 80 %": 7 * maps}
    figure = attribution_tiles(np.ones_like(maps), rows, shared_scale=True)
    limits = {a.images[0].get_clim() for a, _ in pictures(figure) if "input" not in a.get_label()}
    assert limits == {(-28.0, 28.0)}


def test_a_dead_row_is_called_dead_and_stays_at_zero():
    maps = encoded_maps(1, range(1, 5), 1)
    figure = attribution_tiles(np.ones_like(maps), {"gradient": 0 * maps, "SmoothGrad": maps})
    text = words(figure)
    assert "gradient DEAD:" in text
    assert text.count("zero") == 4 + 1  # each tile, and the row
    dead = [a for a, _ in pictures(figure) if "DEAD" in a.get_label()]
    assert len(dead) == 4
    assert all(a.images[0].norm(0.0) == 0.5 for a in dead)
    assert not any(
        "DEAD" in a.get_label() for a, _ in pictures(figure) if "Smooth" in a.get_label()
    )


def test_a_map_that_is_the_same_in_every_band_is_one_tile():
    maps = encoded_maps(1, range(1, 6), 1)
    places = np.arange(9.0).reshape(1, 3, 3, 1) * np.ones(5)
    figure = attribution_tiles(np.ones_like(maps), {"where": places, "which": maps})
    tiles = [(a.get_label(), values) for a, values in pictures(figure)]
    (where,) = [(label, values) for label, values in tiles if label.startswith("where")]
    assert where[0] == "where: every band"
    np.testing.assert_array_equal(where[1], places[0, ..., 0])
    assert sum(label.startswith("which") for label, _ in tiles) == 5


def test_zero_in_the_shown_bands_is_not_dead():
    maps = encoded_maps(1, range(1, 11), 1)
    maps[..., :5] = 0
    figure = attribution_tiles(np.ones_like(maps), {"gradient": maps}, from_band=1, to_band=5)
    assert "DEAD" not in words(figure)
    assert any("zero in the tiles shown" in a.get_label() for a in figure.axes)


def test_components_are_called_components():
    maps = encoded_maps(1, range(1, 4), 1)
    text = words(attribution_tiles(maps, {"gradient": maps}, unit="component"))
    assert "component 3" in text
    assert "band" not in text
    assert "nm" not in text


def test_titles_scales_and_notes_are_there():
    maps = encoded_maps(2, range(1, 4), 1)
    figure = attribution_tiles(
        maps,
        {"gradient": maps},
        title="trained_model.h5",
        sample_titles=["class 2 Corn", "class 6 Grass"],
        note="seed 0",
        synthetic=True,
    )
    text = words(figure)
    for part in ("trained_model.h5", "class 2 Corn", "class 6 Grass", "seed 0", SYNTHETIC_NOTE):
        assert part in text
    assert text.replace("\n", " ").count("d logit / d standardised input") == 2


def test_chosen_bands_say_what_is_missing_and_what_was_left_out():
    numbers = np.setdiff1d(np.arange(1, 221), np.arange(104, 109))
    chosen, said = choose_bands(numbers, from_band=100, to_band=110, step_band=2)
    assert numbers[chosen].tolist() == [100, 102, 110]
    assert said == "Not in the data: band 104, 106, 108."
    chosen, said = choose_bands(numbers, from_band=1, to_band=100, step_band=1, most=30)
    assert numbers[chosen].tolist() == list(range(1, 101, 4))
    assert "1 in 4 of the 100 bands" in said
    chosen, said = choose_bands(numbers, from_band=None, to_band=None, step_band=None)
    assert (len(chosen), chosen[0], chosen[-1], said) == (12, 0, len(numbers) - 1, "")


@pytest.mark.parametrize(
    ("first", "last", "step", "expected"),
    [
        (0, 10, 1, "between 1 and 220"),
        (1, 221, 1, "between 1 and 220"),
        (50, 40, 1, "between 1 and 220"),
        (1, 10, 0, "step of at least 1"),
        (104, 108, 2, "No band left to show"),
        (104, 108, None, "No band left to show"),
    ],
)
def test_bands_out_of_range_are_refused(first, last, step, expected):
    numbers = np.setdiff1d(np.arange(1, 221), np.arange(104, 109))
    with pytest.raises(SettingsError, match=expected):
        choose_bands(numbers, from_band=first, to_band=last, step_band=step)


def test_maps_of_another_shape_are_refused():
    maps = encoded_maps(2, range(1, 4), 1)
    with pytest.raises(SettingsError, match="shape of the inputs"):
        attribution_tiles(maps, {"gradient": maps[:1]})
    with pytest.raises(SettingsError, match="3 wavelengths"):
        attribution_tiles(maps, {"gradient": maps}, wavelengths=[400.0])


# Activations


def test_the_most_active_channels_are_drawn_under_their_numbers():
    maps = np.zeros((4, 4, 300))
    active = np.random.default_rng(0).permutation(300)[:80]
    maps[..., active] = 1 + active
    figure = activation_figure("conv", maps, title="trained_model.h5")
    drawn = {int(a.get_title()): values for a, values in pictures(figure)}
    strongest = np.sort(np.sort(active)[-64:])
    assert list(drawn) == (strongest + 1).tolist()
    for number, values in drawn.items():
        np.testing.assert_array_equal(values, maps[..., number - 1])
    title = figure.get_suptitle()
    assert "trained_model.h5" in title
    assert "64 of 300 channels" in title
    assert "220 of 300 dead" in title


def test_dead_channels_are_marked():
    maps = np.ones((2, 3, 6))
    maps[..., [1, 4]] = 0
    figure = activation_figure("conv", maps)
    marked = [a.get_title() for a, _ in pictures(figure) if a.texts]
    assert marked == ["2", "5"]
    assert {a.images[0].get_clim() for a, _ in pictures(figure)} == {(0.0, 1.0)}


def test_units_and_maps_of_one_pixel_are_bars():
    values = np.array([1.0, -2.0, 0.0])
    for array in (values, values[None, None]):
        figure = activation_figure("dense", array)
        (axes,) = figure.axes
        np.testing.assert_array_equal([b.get_height() for b in axes.patches], values)
        assert "1 of them zero" in figure.get_suptitle()
    named = activation_figure("out", values, unit_names=["Corn", "Oats", "Woods"])
    assert "Oats" in words(named)


def test_maps_with_depth_and_strips_are_drawn():
    deep = np.arange(2 * 3 * 4 * 5, dtype=float).reshape(2, 3, 4, 5)
    assert len(pictures(activation_figure("conv3d", deep))) == 20
    strip = np.arange(12.0).reshape(6, 2)
    drawn = pictures(activation_figure("conv1d", strip))
    np.testing.assert_array_equal(drawn[1][1][:, 0], strip[:, 1])


def test_activations_of_many_samples_are_refused():
    with pytest.raises(SettingsError, match="one sample"):
        activation_figure("conv", np.zeros((1, 2, 3, 4, 5)))


# Maps


def test_a_class_has_one_colour_in_map_and_legend():
    truth = np.array([[0, 1, 2], [10, 11, 0]])
    predicted = np.array([[1, 1, 2], [10, 2, 11]])
    names = {1: "Alfalfa", 2: "Corn-notill", 10: "Soybean-notill", 11: "Soybean-mintill"}
    figure = class_maps(truth, predicted, names, title="Indian Pines")
    assert [a.get_title() for a in figure.axes] == ["ground truth", "predicted"]
    for axes, labels in zip(figure.axes, (truth, predicted), strict=True):
        picture = axes.images[0].get_array()
        for row, column in np.ndindex(labels.shape):
            expected = np.round(255 * np.array(to_rgb(class_color(labels[row, column]))))
            np.testing.assert_array_equal(picture[row, column], expected)
    (legend,) = figure.legends
    entries = {
        t.get_text(): h.get_facecolor()[:3]
        for t, h in zip(legend.get_texts(), legend.get_patches(), strict=True)
    }
    assert entries.pop("unlabelled") == to_rgb(UNLABELLED)
    assert entries == {f"{n}  {name}": to_rgb(class_color(n)) for n, name in names.items()}


def test_pixels_without_data_are_told_from_unlabelled_ones():
    truth, predicted = np.array([[0, 1, NO_DATA]]), np.array([[1, 1, NO_DATA]])
    figure = class_maps(truth, predicted, {1: "Corn"}, masks={"training": truth == 1})
    drawn = [axes.images[0].get_array()[0] for axes in figure.axes]
    white = [255, 255, 255]
    assert [picture.tolist()[2] for picture in drawn] == [white, white, white]
    assert white not in [color for picture in drawn for color in picture.tolist()[:2]]
    said = [text.get_text() for text in figure.legends[-1].get_texts()]
    assert said == ["1  Corn", "unlabelled", "no data"]


def test_masks_have_a_panel_and_a_legend_of_their_own():
    truth = np.array([[0, 1], [1, 1]])
    masks = {"training": truth == 0, "test": truth == 1}
    figure = class_maps(truth, {"trained": truth, "int8": truth}, {1: "Corn"}, masks=masks)
    assert [a.get_title() for a in figure.axes] == ["ground truth", "trained", "int8", "split"]
    assert [t.get_text() for t in figure.legends[0].get_texts()] == ["training", "test"]
    with pytest.raises(SettingsError, match="'int8'"):
        class_maps(truth, {"int8": truth[:1]}, {1: "Corn"})


def test_the_panel_of_the_split_tells_all_parts_and_what_is_in_none():
    from hsi.pipeline.figures import parts_of
    from hsi.split import Split

    place = np.array([[0, 1, 1, 2], [3, 3, 3, 0]])
    split = Split(place == 1, place == 2, place == 3, "random", seed=0, patch_size=1)
    figure = class_maps(place * 0 + 1, place * 0 + 1, {1: "Corn"}, masks=parts_of(split))
    colours = {
        entry.get_label(): tuple(np.round(255 * np.array(to_rgb(entry.get_facecolor()))))
        for entry in figure.legends[0].get_patches()
    }
    assert list(colours) == ["training", "validation", "test", "in no part"]
    wanted = ["in no part", "training", "validation", "test"]
    drawn = pictures(figure)[-1][1]
    for at in np.ndindex(place.shape):
        assert tuple(drawn[at]) == colours[wanted[place[at]]]
    assert list(parts_of(Split(place == 1, place == 9, place == 3, "given", 0, 1))) == [
        "training", "test",
    ]  # fmt: skip


def test_the_colours_differ_and_go_on():
    assert len(set(CLASS_COLORS)) == 24
    many = [class_color(n) for n in range(100)]
    assert len(set(many)) == 100
    assert many[0] == UNLABELLED
    custom = class_image(np.array([[3, 0]]), {3: "#000000"})
    np.testing.assert_array_equal(custom[0, 0], [0, 0, 0])


def test_signed_scales_are_symmetric_and_ignore_what_is_not_finite():
    norm = signed_norm([np.array([1.0, -3.0, np.nan]), np.array([np.inf])])
    assert (norm.vmin, norm.vmax) == (-3.0, 3.0)
    assert signed_norm([np.zeros(3)])(0.0) == 0.5


# Confusion


def test_the_accuracies_in_the_title_are_those_of_the_matrix():
    from sklearn.metrics import accuracy_score, balanced_accuracy_score, cohen_kappa_score

    rng = np.random.default_rng(0)
    truth = rng.integers(0, 4, 300)
    predicted = np.where(rng.random(300) < 0.7, truth, rng.integers(0, 4, 300))
    matrix = np.zeros((4, 4), int)
    np.add.at(matrix, (truth, predicted), 1)
    names = {2: "Corn-notill", 6: "Grass-trees", 10: "Soybean-notill", 11: "Soybean-mintill"}
    figure = confusion_matrix_figure(matrix, names)
    title = figure.get_suptitle()
    assert f"OA {100 * accuracy_score(truth, predicted):.2f} %" in title
    assert f"AA {100 * balanced_accuracy_score(truth, predicted):.2f} %" in title
    assert f"kappa {cohen_kappa_score(truth, predicted):.3f}" in title
    axes = figure.axes[0]
    shares = np.asarray(axes.images[0].get_array())
    np.testing.assert_allclose(shares.sum(axis=1), 100)
    cells = {t.get_position(): int(t.get_text()) for t in axes.texts}
    assert cells == {(c, r): n for (r, c), n in np.ndenumerate(matrix) if n}
    assert "Grass-trees  6" in words(figure)


def test_a_class_without_pixels_is_said():
    matrix = np.diag([5, 0, 3])
    figure = confusion_matrix_figure(matrix, ["a", "b", "c"])
    assert "no pixel" in words(figure)
    assert "AA 100.00 %" in figure.get_suptitle()
    with pytest.raises(SettingsError, match="2 classes"):
        confusion_matrix_figure(matrix, ["a", "b"])


# Compression

ROWS = [
    {"variant": "trained", "file": "trained_model.h5", "parameters": "1000", "bytes": "4000",
     "oa": "98.0", "oa_low": "97.0", "oa_high": "99.0"},
    {"variant": "pruned", "file": "trained_pruned_model_20.h5", "target": "20",
     "granularity": "channel", "criterion": "apoz", "parameters": "600", "bytes": "2400",
     "oa": "97.5", "oa_low": "", "oa_high": ""},
    {"variant": "quantized_pruned", "file": "quantized_pruned_model_20_int8.tflite",
     "target": "20", "granularity": "channel", "criterion": "apoz", "parameters": "",
     "bytes": "700", "oa": "97.0"},
    {"variant": "quantized", "file": "quantized_model_dynamic.tflite", "bytes": "1100",
     "oa": 97.9},
    {"variant": "quantized", "file": "quantized_model_int16x8.tflite", "oa": ""},
]  # fmt: skip


def test_points_are_what_the_rows_say():
    points, missing = compression_points(ROWS)
    assert missing == 1
    assert [(p.series, p.oa, p.removed, p.size) for p in points] == [
        ("trained", 98.0, 0.0, 4000.0),
        ("pruned", 97.5, 40.0, 2400.0),
        ("quantized pruned int8", 97.0, 40.0, 700.0),
        ("quantized dynamic", 97.9, 0.0, 1100.0),
    ]
    assert (points[0].oa_low, points[1].oa_low) == (97.0, None)


def test_zeros_count_as_removed_for_magnitude_pruning_alone():
    base = {"variant": "trained", "parameters": 1000, "oa": 98}
    zeros = {"variant": "pruned 75", "parameters": 1000, "sparsity": 75, "target": 75, "oa": 97}
    for granularity in ("weight", "2:4", "4x4"):
        points, _ = compression_points([base, {**zeros, "granularity": granularity}])
        assert points[1].removed == 75
    points, _ = compression_points([base, {**zeros, "granularity": "4x4", "parameters": 500}])
    assert points[1].removed == 100 - 50 * 0.25
    points, _ = compression_points([base, {**zeros, "granularity": "channel"}])
    assert points[1].removed == 0


def test_criteria_are_told_apart_where_there_are_several():
    second = {**ROWS[1], "criterion": "l1"}
    series = {p.series for p in compression_points([*ROWS, second])[0]}
    assert {"pruned (apoz)", "pruned (l1)", "trained"} <= series


def test_what_was_made_of_the_network_and_its_quantization_name_the_series():
    names = {
        "trained": "trained", "trained_folded": "trained folded", "pruned_2of4": "pruned",
        "distilled_compact-0.5": "distilled", "low_rank_energy-0.9": "low rank",
        "separable": "separable", "clustered_16": "clustered",
        "quantized_float32": "quantized float32", "quantized_int16x8": "quantized int16x8",
        "quantized_low_rank_energy-0.9_int8": "quantized low rank int8",
        "quantized_pruned_20_folded_int8": "quantized pruned folded int8",
    }  # fmt: skip
    rows = [{"variant": name, "oa": 90, "parameters": 10, "bytes": 10} for name in names]
    points, _ = compression_points(rows)
    assert [p.series for p in points] == list(names.values())
    drawn = compression_figure(rows).axes[0].containers
    looks = {(bars.lines[0].get_marker(), bars.lines[0].get_color()) for bars in drawn}
    assert len(looks) == len(names)


def test_seeds_are_told_apart_from_nought_on():
    rows = [{"variant": "trained", "oa": 90, "seed": seed} for seed in (0, 1)]
    assert [p.series for p in compression_points(rows)[0]] == [
        "trained (seed 0)",
        "trained (seed 1)",
    ]


def test_a_network_larger_than_the_trained_one_is_in_the_picture():
    rows = [{"variant": "trained", "oa": 90, "parameters": 10}]
    rows.append({"variant": "trained_counts", "oa": 90, "parameters": 30})
    left, _ = compression_figure(rows).axes
    assert compression_points(rows)[0][1].removed == -200
    assert left.get_xlim()[0] < -200


def test_the_figure_draws_every_point_and_counts_the_rest():
    figure = compression_figure(ROWS, title="cao")
    left, right = figure.axes
    for axes, column in ((left, "removed"), (right, "size")):
        drawn = {
            (float(x), float(y))
            for bars in axes.containers
            for x, y in zip(*bars.lines[0].get_data(), strict=True)
        }
        points = compression_points(ROWS)[0]
        assert drawn == {(getattr(p, column), p.oa) for p in points}
    assert right.get_xscale() == "log"
    text = words(figure)
    assert "1 of 5 variants without OA" in text
    assert "95 % interval" in text


def test_nothing_to_draw_is_said():
    assert words(compression_figure([])).count("no values") == 2


# Every figure


@pytest.mark.parametrize(
    "draw",
    [
        lambda **o: attribution_tiles(np.ones((1, 3, 3, 2)), {"g": np.ones((1, 3, 3, 2))}, **o),
        lambda **o: activation_figure("conv", np.ones((3, 3, 2)), **o),
        lambda **o: class_maps(np.ones((4, 4), int), np.ones((4, 4), int), {1: "a"}, **o),
        lambda **o: confusion_matrix_figure(np.eye(2, dtype=int), ["a", "b"], **o),
        lambda **o: compression_figure(ROWS, **o),
    ],
    ids=["tiles", "activations", "maps", "confusion", "compression"],
)
def test_every_figure_says_when_its_data_is_generated(draw):
    assert SYNTHETIC_NOTE in words(draw(synthetic=True))
    assert SYNTHETIC_NOTE not in words(draw())
    assert "seed 7" in words(draw(note="seed 7"))


@pytest.mark.parametrize(
    ("form", "start"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")]
)
def test_saved_files_are_whole_and_repeat(tmp_path, form, start):
    contents = []
    for name in ("a", "b"):
        path = save_figure(compression_figure(ROWS), tmp_path / "new" / f"{name}.{form}")
        contents.append(path.read_bytes())
    assert contents[0].startswith(start)
    assert contents[0] == contents[1]
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == [f"a.{form}", f"b.{form}"]


def test_a_figure_that_cannot_be_written_is_one_line(tmp_path):
    figure = new_figure(2, 2)
    with pytest.raises(SettingsError, match="png, svg, pdf"):
        save_figure(figure, tmp_path / "a.bmp")
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="Cannot write the figure") as caught:
        save_figure(figure, tmp_path / "file" / "a.png")
    assert "\n" not in str(caught.value)


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = save_figure(new_figure(2, 2), tmp_path / "a.png")
    before = path.read_bytes()
    figure = new_figure(3, 3)

    def full_disk(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(figure, "savefig", full_disk)
    with pytest.raises(OutputError, match="No space left"):
        save_figure(figure, path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


def test_plots_need_neither_pyplot_nor_tensorflow():
    code = (
        "import sys\n"
        "import hsi.plots.tiles, hsi.plots.activations, hsi.plots.maps\n"
        "import hsi.plots.confusion, hsi.plots.compression\n"
        "assert not {'matplotlib.pyplot', 'tensorflow'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
