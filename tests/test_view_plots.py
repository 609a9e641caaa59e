"""Figures of the views: what is drawn is compared with the arrays, by axes and not by pixels."""

from __future__ import annotations

import subprocess
import sys
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.colors import to_hex

from hsi.errors import SettingsError
from hsi.explain.spectra import mean_spectrum, pixel_magnitudes, pixel_sums
from hsi.plots import SYNTHETIC_NOTE, save_figure
from hsi.plots.band_axis import band_axis
from hsi.plots.colors import check_colormap, robust_limit, zero_of
from hsi.plots.filters import filter_sheet
from hsi.plots.graph_layout import layout
from hsi.plots.misclassified import misclassified_patches, misclassified_photographs
from hsi.plots.model_graph import GraphNode, model_graph
from hsi.plots.photographs import overlays
from hsi.plots.pixels import pixels_by_bands
from hsi.plots.sanity import sanity_page
from hsi.plots.scene_attribution import scene_attribution
from hsi.plots.spectra import attribution_spectra
from hsi.plots.tiles import attribution_tiles
from hsi.plots.words import plain, shortened, wrapped

RNG = np.random.default_rng(0)
GAPPED = np.setdiff1d(np.arange(1, 21), [7, 8, 15])  # 17 bands
MAPS = RNG.normal(size=(4, 3, 3, len(GAPPED)))
NAMES = {1: "Corn", 2: "Oats", 7: "Woods"}
ODD = "a $x_1$ <b> & $"
"""A name that is read as a formula, or as markup, where nobody takes care."""


def words(figure):
    """All text of a figure, line breaks as spaces, `$` as it will be drawn."""
    texts = (t.get_text() for t in figure.findobj(lambda o: hasattr(o, "get_text")))
    return " | ".join(texts).replace("\n", " ").replace(r"\$", "$")


def axes_named(figure, start):
    return [a for a in figure.axes if a.get_label().startswith(start)]


# Words and colours


def test_dollars_are_characters_and_names_are_cut_in_the_middle():
    from matplotlib.cbook import is_math_text

    assert is_math_text("a $x$ b")
    assert not is_math_text(plain("a $x$ b"))
    assert wrapped("one two three", 1.0, size=12.5).split("\n") == ["one two", "three"]
    for count in (8, 9, 30):
        cut = shortened("conv5_block32_2_conv", count)
        assert len(cut) <= count
        assert cut[0] + cut[-1] == "cv"


def test_unknown_colour_maps_are_refused_with_close_names():
    assert check_colormap("RdBu_r") == "RdBu_r"
    with pytest.raises(SettingsError, match="RdBu"):
        check_colormap("rdbuu")
    with pytest.raises(SettingsError, match="gray"):
        check_colormap("gary")
    with pytest.raises(SettingsError, match="coolwarm"):
        check_colormap("qqqqqqqqqq")
    with pytest.raises(SettingsError, match="Unknown colour map"):
        attribution_tiles(MAPS, {"g": MAPS}, signed_map="no such")


def test_what_zero_looks_like_is_said():
    assert zero_of("RdBu_r") == ""
    assert zero_of("gray") == "Mid-grey is zero, white is positive, black negative."
    assert zero_of("gray_r") == "Mid-grey is zero, black is positive, white negative."
    assert "not neutral" in zero_of("viridis")


def test_robust_limits_leave_outliers_out_but_never_are_zero():
    values = np.concatenate([np.linspace(-1, 1, 1001), [1e6, np.nan]])
    assert 0.9 < robust_limit([values]) <= 1
    assert robust_limit([np.zeros(5)]) == 1
    sparse = np.zeros(1000)
    sparse[0] = -3
    assert robust_limit([sparse]) == 3


# The axis of bands


def test_the_axis_breaks_where_numbers_are_missing():
    axis = band_axis(len(GAPPED), bands=GAPPED)
    assert axis.label == "band"
    x, y = axis.broken(10.0 * GAPPED)
    gaps = np.isnan(y)
    np.testing.assert_array_equal(x[~gaps], GAPPED)
    np.testing.assert_array_equal(y[~gaps], 10.0 * GAPPED)
    assert [(x[i - 1], x[i + 1]) for i in np.flatnonzero(gaps)] == [(6, 9), (14, 16)]
    assert axis.gaps == [(6.5, 8.5), (14.5, 15.5)]
    assert axis.limits == (0.5, 20.5)


def test_wavelengths_are_the_axis_only_if_all_are_known():
    waves = 400.0 + 10 * GAPPED
    assert band_axis(17, bands=GAPPED, wavelengths=waves).label == "wavelength (nm)"
    waves[3] = np.nan
    axis = band_axis(17, bands=GAPPED, wavelengths=waves)
    assert axis.label == "band"
    np.testing.assert_array_equal(axis.positions, GAPPED)
    assert band_axis(5, unit="component").label == "component"
    with pytest.raises(SettingsError, match="17 wavelengths"):
        band_axis(17, wavelengths=[1.0])


def test_spectrometers_that_overlap_are_put_in_order_without_a_gap():
    waves = np.concatenate([np.linspace(400, 700, 31), np.linspace(695, 1000, 31)])
    axis = band_axis(62, wavelengths=waves)
    assert (np.diff(axis.positions) >= 0).all()
    assert axis.starts == (0,)
    np.testing.assert_array_equal(waves[axis.order], axis.positions)


def test_a_wide_jump_of_wavelengths_is_a_gap_though_nobody_says_so():
    waves = np.concatenate([np.linspace(400, 1300, 40), np.linspace(1500, 2400, 40)])
    assert band_axis(80, wavelengths=waves).starts == (0, 40)


# Statistics of spectra


def test_means_and_intervals_are_those_of_the_definition():
    from scipy.stats import bootstrap, ttest_1samp

    sums = pixel_sums(MAPS)
    slow = [[sum(MAPS[n, r, c, b] for r in range(3) for c in range(3)) for b in range(17)]
            for n in range(4)]  # fmt: skip
    np.testing.assert_allclose(sums, slow)
    np.testing.assert_allclose(pixel_magnitudes(-MAPS), np.abs(MAPS).sum(axis=(1, 2)) / 9)
    found = mean_spectrum(sums, confidence=0.9)
    expected = ttest_1samp(sums, 0).confidence_interval(0.9)
    np.testing.assert_allclose([found.low, found.high], [expected.low, expected.high])
    np.testing.assert_allclose(found.mean, np.mean(sums, axis=0))
    many = RNG.normal(size=(400, 1))
    wide = mean_spectrum(many)
    other = bootstrap((many[:, 0],), np.mean, rng=np.random.default_rng(1)).confidence_interval
    np.testing.assert_allclose([wide.low[0], wide.high[0]], other, atol=0.01)


def test_one_spectrum_has_no_interval():
    found = mean_spectrum(np.ones((1, 3)))
    assert np.isnan([found.low, found.high, found.sd]).all()
    for wrong in (np.ones(3), np.ones((0, 3))):
        with pytest.raises(SettingsError, match="samples"):
            mean_spectrum(wrong)
    with pytest.raises(SettingsError, match="between 0 and 1"):
        mean_spectrum(np.ones((2, 3)), confidence=95)


# Attribution per wavelength


def spectra_figure(**options):
    maps = {"trained": MAPS, ODD: 2 * MAPS}
    classes = np.array([1, 7, 7, 7])
    return attribution_spectra(
        100 + MAPS[:, 1, 1], maps, classes, {**NAMES, 7: ODD}, bands=GAPPED, **options
    )


def test_a_panel_for_each_class_with_samples_and_a_broken_line_for_each_variant():
    figure = spectra_figure(captions={ODD: "similarity .93"}, spectrum_label="radiance")
    panels = [a for a in figure.axes if "sample" in a.get_title(loc="left")]
    titles = [a.get_title(loc="left").replace(r"\$", "$") for a in panels]
    assert titles == ["1  Corn   (1 sample, no interval)", f"7  {ODD}   (3 samples)"]
    for panel, rows in zip(panels, ([0], [1, 2, 3]), strict=True):
        lines = {line.get_label(): line for line in panel.lines}
        for label, factor in (("trained", 1), (ODD, 2)):
            y = np.asarray(lines[label].get_ydata())
            gaps = np.isnan(y)
            assert gaps.sum() == 2
            expected = factor * MAPS[rows].sum(axis=(1, 2)).mean(axis=0)
            np.testing.assert_allclose(y[~gaps], expected)
        styles = {(lines[n].get_color(), lines[n].get_linestyle()) for n in ("trained", ODD)}
        assert len(styles) == 2
    text = words(figure)
    for part in ("similarity .93", "95 % interval", "radiance", "Hatched", "sum over the patch"):
        assert part in text


def test_the_class_mean_has_an_axis_of_its_own_with_the_same_gaps():
    figure = spectra_figure()
    (line,) = [
        line for a in figure.axes for line in a.lines if line.get_label() == "mean spectrum"
    ][1:]
    y = np.asarray(line.get_ydata())
    np.testing.assert_allclose(y[~np.isnan(y)], 100 + MAPS[1:, 1, 1].mean(axis=0))
    assert np.isnan(y).sum() == 2
    assert len(figure.axes) == 4  # two classes


def test_magnitudes_shared_scales_and_dead_variants():
    maps = {"trained": MAPS, "dead": 0 * MAPS}
    figure = attribution_spectra(
        MAPS[:, 1, 1], maps, np.array([1, 1, 2, 2]), NAMES, reduce="magnitude", shared_scale=True
    )
    panels = [a for a in figure.axes if "sample" in a.get_title(loc="left")]
    assert len({p.get_ylim() for p in panels}) == 1
    assert "dead: zero everywhere (dead)" in words(figure)
    assert "mean magnitude" in words(figure)


def test_spectra_of_other_shapes_are_refused():
    with pytest.raises(SettingsError, match="maps of 'g' for 4 samples of 17"):
        attribution_spectra(MAPS[:, 1, 1], {"g": MAPS[:2]}, np.ones(4), NAMES)
    with pytest.raises(SettingsError, match="4 classes"):
        attribution_spectra(MAPS[:, 1, 1], {"g": MAPS}, np.ones(3), NAMES)
    with pytest.raises(SettingsError, match="at least one sample"):
        attribution_spectra(MAPS[:, 1, 1], {"g": MAPS}, np.full(4, 99), NAMES)


# Tiles of several variants


def test_variants_stand_below_the_input_once_with_their_captions():
    rows = {"trained": MAPS[:2], "pruned": 3 * MAPS[:2]}
    figure = attribution_tiles(
        MAPS[:2],
        rows,
        bands=GAPPED,
        from_band=1,
        to_band=3,
        step_band=1,
        shared_scale=True,
        signed_map="gray",
        captions={"pruned": [f"similarity .93 {ODD}", "similarity .86"]},
    )
    inputs, trained, pruned = (axes_named(figure, f"{n}: ") for n in ("input", "trained", "pruned"))
    assert [len(tiles) for tiles in (inputs, trained, pruned)] == [6, 6, 6]
    for half in (slice(3), slice(3, 6)):
        limits = {t.images[0].get_clim() for t in (*trained[half], *pruned[half])}
        assert len(limits) == 1
        low, high = limits.pop()
        assert low == -high
    image = pruned[0].images[0]
    assert to_hex(image.cmap(image.norm(0.0))) == "#808080"
    text = words(figure)
    assert f"similarity .93 {ODD}" in text
    assert "similarity .86" in text
    assert "Mid-grey is zero" in text


def test_captions_belong_to_rows_and_samples():
    with pytest.raises(SettingsError, match="expected one of g"):
        attribution_tiles(MAPS, {"g": MAPS}, captions={"h": [""] * 4})
    with pytest.raises(SettingsError, match="4 captions"):
        attribution_tiles(MAPS, {"g": MAPS}, captions={"g": [""]})


# Pixels by bands


def test_a_heat_map_shows_every_pixel_of_every_band_and_nothing_in_the_gaps():
    maps = {"trained": MAPS[0], ODD: -4 * MAPS[0], "dead": 0 * MAPS[0]}
    figure = pixels_by_bands(
        maps, sample_input=MAPS[1], bands=GAPPED, captions={ODD: "similarity .5"}
    )
    panels = [a for a in figure.axes if len(a.collections) >= 3]
    assert len(panels) == 4
    largest = 4 * np.abs(MAPS[0]).max()
    for panel, values in zip(panels, (MAPS[1], *maps.values()), strict=True):
        meshes = [c for c in panel.collections if c.get_array() is not None]
        drawn = np.concatenate([np.asarray(m.get_array()) for m in meshes], axis=1)
        np.testing.assert_array_equal(drawn, values.reshape(9, -1))
        edges = [m.get_coordinates()[0, [0, -1], 0].tolist() for m in meshes]
        assert edges == [[0.5, 6.5], [8.5, 14.5], [15.5, 20.5]]
        if panel is not panels[0]:
            assert {m.get_clim() for m in meshes} == {(-largest, largest)}
    (centre,) = [line for line in panels[1].lines if line.get_label() == "centre"]
    assert centre.get_ydata()[0] == 4
    names = [t.get_text() for t in panels[1].get_yticklabels(minor=True)]
    assert names == ["−1", "0", "+1"] * 3
    text = words(figure)
    for part in ("row −1", "similarity .5", "dead   DEAD: all zero", "Hatched", ODD):
        assert part in text


def test_maps_of_several_samples_are_refused_as_one():
    with pytest.raises(SettingsError, match="one sample"):
        pixels_by_bands({"g": MAPS})
    with pytest.raises(SettingsError, match="'input' has"):
        pixels_by_bands({"g": MAPS[0]}, sample_input=MAPS[0, :2])


# The whole scene


def test_all_variants_of_a_scene_share_both_scales():
    labels = np.array([[0, 1, 1], [2, 2, 0]])
    weak = RNG.random((2, 3)) + 0.1
    strong = {"trained": weak, "pruned": 10 * weak}
    strong["pruned"][0, 0] = 0
    waves = {"trained": np.full((2, 3), 500.0), "pruned": np.full((2, 3), 900.0)}
    figure = scene_attribution(
        strong, waves, labels, {1: "Corn", 2: ODD}, predicted={"pruned": labels},
        captions={"pruned": "similarity .7"},
    )  # fmt: skip
    pictures = [a for a in figure.axes if a.images]
    assert len(pictures) == 6
    magnitudes, places = pictures[0::3], pictures[1::3]
    assert len({a.images[0].get_clim() for a in magnitudes}) == 1
    assert {a.images[0].get_clim() for a in places} == {(500.0, 900.0)}
    drawn = magnitudes[1].images[0].get_array()
    assert drawn.mask.tolist() == [[True, False, False], [False] * 3]
    np.testing.assert_allclose(drawn.compressed(), strong["pruned"].ravel()[1:])
    assert places[1].images[0].get_array().mask[0, 0]
    limit = np.percentile([*weak.ravel(), *strong["pruned"].ravel()], 99)
    assert magnitudes[0].images[0].get_clim() == (0, pytest.approx(limit))
    text = words(figure)
    for part in ("99th percentile", "nm", "100.0 % of labelled", "ground truth", "similarity .7",
                 "Grey: no attribution", ODD):  # fmt: skip
        assert part in text


def test_borders_of_the_ground_truth_are_drawn_where_labels_differ():
    labels = np.array([[1, 1, 2], [1, 1, 2]])
    one = np.ones((2, 3))
    figure = scene_attribution({"t": one}, {"t": one}, labels, {1: "a", 2: "b"})
    axes = next(a for a in figure.axes if a.images)
    segments = [s.tolist() for c in axes.collections for s in c.get_segments()]
    assert sorted(segments) == [[[1.5, -0.5], [1.5, 0.5]], [[1.5, 0.5], [1.5, 1.5]]]


def test_variants_of_a_scene_must_agree():
    one = np.ones((2, 3))
    with pytest.raises(SettingsError, match="strongest"):
        scene_attribution({"a": one}, {"b": one}, one, {})
    with pytest.raises(SettingsError, match="size of the scene"):
        scene_attribution({"a": one}, {"a": one[:1]}, one, {})


# Photographs


def test_maps_lie_over_pale_photographs_and_are_the_more_transparent_the_weaker():
    photographs = RNG.random((2, 8, 9, 3))
    signed = RNG.normal(size=(2, 8, 9, 3))
    figure = overlays(
        photographs,
        {"trained": signed, "pruned": 0.5 * signed},
        sample_titles=[f"{ODD} 3.2", "b"],
        captions={"pruned": ["similarity .8", ""]},
    )
    for place in range(2):
        shown = axes_named(figure, f"photograph {place + 1}")[0].images[0].get_array()
        np.testing.assert_allclose(shown, photographs[place])
    limits = set()
    for axes in axes_named(figure, "trained") + axes_named(figure, "pruned"):
        under, over = axes.images
        limits.add(over.get_clim())
        values = np.asarray(over.get_array())
        strength = np.asarray(over.get_alpha())
        order = np.argsort(np.abs(values).ravel())
        assert (np.diff(strength.ravel()[order]) >= 0).all()
        assert np.asarray(under.get_array()).min() > 0.4
    assert len(limits) == 1
    low, high = limits.pop()
    assert low == -high
    np.testing.assert_allclose(
        axes_named(figure, "trained: 2")[0].images[1].get_array(), signed[1].sum(axis=-1)
    )
    text = words(figure)
    for part in (f"{ODD} 3.2", "similarity .8", "99.5th percentile", "transparent"):
        assert part in text


def test_positive_maps_begin_at_zero_and_plain_maps_have_nothing_under_them():
    photographs = np.zeros((8, 8, 8, 3))
    cam, signed = RNG.random((8, 8, 8)), RNG.normal(size=(8, 8, 8))
    figure = overlays(
        photographs, {"CAM": cam, "gradient": signed, "dead": 0 * cam}, overlay=False,
        shared_scale=False, signed_map="gray",
    )  # fmt: skip
    (first,) = axes_named(figure, "CAM: 1")[0].images
    assert first.get_clim()[0] == 0
    (second,) = axes_named(figure, "gradient: 1")[0].images
    assert second.get_clim()[0] == -second.get_clim()[1]
    assert second.cmap.name == "gray"
    text = words(figure)
    assert text.count("DEAD: all zero") == 6
    assert "first 6 of 8 photographs" in text
    assert "transparent" not in text


def test_photographs_out_of_range_and_maps_of_another_size_are_refused():
    with pytest.raises(SettingsError, match="divide 8-bit values"):
        overlays(np.full((1, 4, 4, 3), 255), {})
    with pytest.raises(SettingsError, match="size of the photographs"):
        overlays(np.zeros((1, 4, 4, 3)), {"g": np.zeros((1, 4, 5))})
    with pytest.raises(SettingsError, match="1 texts for 'g'"):
        overlays(np.zeros((1, 4, 4, 3)), {"g": np.zeros((1, 4, 4))}, captions={"g": []})


# Filters


def test_the_filters_with_the_largest_norms_are_drawn_under_their_numbers():
    kernels = RNG.normal(size=(3, 3, 17, 10))
    kernels[..., 4] = 0
    kernels[..., [2, 7]] *= 9
    figure = filter_sheet(kernels, layer=ODD, bands=GAPPED, unit="band", most=2)
    panels = [a for a in figure.axes if a.get_title(loc="left")]
    assert [a.get_title(loc="left") for a in panels] == ["3", "8"]
    for panel, number in zip(panels, (2, 7), strict=True):
        meshes = [c for c in panel.collections if c.get_array() is not None]
        drawn = np.concatenate([np.asarray(m.get_array()) for m in meshes], axis=1)
        np.testing.assert_array_equal(drawn, kernels[..., number].reshape(9, 17))
        largest = np.abs(kernels).max()
        assert {m.get_clim() for m in meshes} == {(-largest, largest)}
    title = figure.get_suptitle().replace("\n", " ").replace(r"\$", "$")
    assert "2 of 10 filters (the largest norms)" in title
    assert "1 of 10 all zero" in title
    assert ODD in title
    assert "Hatched" in words(figure)


def test_kernels_of_three_channels_are_coloured_with_mid_grey_at_zero():
    kernels = np.zeros((2, 2, 3, 3))
    kernels[0, 0, :, 1] = [1, 0, -1]
    figure = filter_sheet(kernels, layer="first")
    pictures = {a.get_title(): np.asarray(a.images[0].get_array()) for a in figure.axes if a.images}
    assert list(pictures) == ["1 zero", "2", "3 zero"]
    np.testing.assert_array_equal(pictures["1 zero"], np.full((2, 2, 3), 0.5))
    np.testing.assert_array_equal(pictures["2"][0, 0], [1, 0.5, 0])
    assert "mid-grey is zero" in words(figure)


@pytest.mark.parametrize(
    ("shape", "panels"),
    [((3, 3, 2, 4), 8), ((3, 3, 1, 4), 4), ((2, 2, 7, 1, 3), 3), ((6, 9), 9), ((3, 6, 2), 2)],
    ids=["two channels", "one channel", "3-D", "dense", "1-D"],
)
def test_kernels_of_every_rank_have_a_picture(shape, panels):
    kernels = RNG.normal(size=shape)
    figure = filter_sheet(kernels, layer="l")
    drawn = [a for a in figure.axes if a.get_label() != "<colorbar>" and a.axison]
    assert len(drawn) == panels
    values = [
        np.asarray(artist.get_array()).ravel()
        for a in drawn
        for artist in (*a.images, *(c for c in a.collections if c.get_array() is not None))
    ]
    np.testing.assert_array_equal(np.sort(np.concatenate(values)), np.sort(kernels.ravel()))


def test_what_is_no_kernel_is_refused():
    with pytest.raises(SettingsError, match="got shape"):
        filter_sheet(np.zeros(3), layer="bias")
    with pytest.raises(SettingsError, match="at least 1 filter"):
        filter_sheet(np.zeros((1, 1, 3, 1)), layer="l", most=0)


# The graph of a network


def chain(count):
    return {str(i): (str(i - 1),) if i else () for i in range(count)}


DENSE = {"a": (), "b": ("a",), "c": ("a", "b"), "d": ("a", "b", "c"), "e": ("d",)}
RESIDUAL = {"in": (), "x": ("in",), "y": ("x",), "short": ("in",), "add": ("y", "short"),
            "z": ("add",), "out": ("add", "z")}  # fmt: skip
INCEPTION = {"in": (), **{f"{b}{i}": (f"{b}{i - 1}" if i else "in",)
                          for b, n in (("p", 4), ("q", 2), ("r", 1)) for i in range(n)},
             "cat": ("p3", "q1", "r0", "in"), "out": ("cat",)}  # fmt: skip


def random_graph(seed):
    rng = np.random.default_rng(seed)
    return {
        str(i): tuple(str(j) for j in np.unique(rng.integers(0, i, rng.integers(1, 4))))
        if i
        else ()
        for i in range(40)
    }


CROSSING = {**chain(9), "5": ("4", "1"), "7": ("6", "3")}


@pytest.mark.parametrize(
    "inputs",
    [chain(6), DENSE, RESIDUAL, INCEPTION, CROSSING, {"i": (), "j": (), "k": ("i", "j")}]
    + [random_graph(seed) for seed in range(20)],
)
def test_layers_stand_below_what_they_read_and_lines_run_beside_boxes(inputs):
    plan = layout(inputs)
    assert len({(plan.depths[n], plan.lanes[n]) for n in inputs}) == len(inputs)
    boxes = {(plan.depths[n], plan.lanes[n]) for n in inputs}
    pairs = {(s, t) for t, read in inputs.items() for s in read}
    assert {(w.source, w.target) for w in plan.wires} == pairs
    for name, read in inputs.items():
        assert plan.depths[name] == max((plan.depths[s] + 1 for s in read), default=0)
    runs = {}
    for wire in plan.wires:
        for row in range(wire.first, wire.last + 1):
            assert (row, wire.lane) not in boxes
            runs.setdefault((row, wire.lane), set()).add((wire.source, wire.target))
    # Lines lie on each other only where they come from one layer, or go to one.
    for sharing in runs.values():
        assert len({s for s, _ in sharing}) == 1 or len({t for _, t in sharing}) == 1


def nodes_of(inputs, kind="Conv2D"):
    return [GraphNode(n, kind, (5, None, 200), 1234, tuple(read)) for n, read in inputs.items()]


def test_a_box_says_what_the_layer_is_and_an_arrow_runs_for_every_connection():
    inputs = {**RESIDUAL, ODD: ("out",)}
    figure = model_graph(nodes_of(inputs), title=f"{ODD}.h5")
    (axes,) = figure.axes
    boxes = {p.get_label(): p for p in axes.patches if p.get_label() in inputs}
    assert set(boxes) == set(inputs)
    lines = {line.get_label() for line in axes.lines}
    assert lines == {f"{s} -> {t}" for t, read in inputs.items() for s in read}
    text = words(figure)
    assert text.count("Conv2D  5 x any x 200, 1,234 par.") == len(inputs)
    assert text.count(ODD) == 2
    assert "convolution" in text
    assert "columns" not in text


def test_deep_networks_are_folded_and_letters_say_where_lines_go_on():
    inputs = {**chain(90), "skip": ("0", "89")}
    figure = model_graph(nodes_of(inputs))
    (axes,) = figure.axes
    lefts = {round(p.get_x(), 3) for p in axes.patches if p.get_label() in inputs}
    columns = len(lefts)
    assert columns > 2
    letters = [t.get_text() for t in axes.texts if len(t.get_text()) == 1 and t.get_text() > "@"]
    # The chain and the line beside it go on from each column to the next; each end is marked.
    assert len(letters) == 2 * 2 * (columns - 1)
    assert {letters.count(letter) for letter in letters} == {2, 2 * (columns - 1)}
    assert f"{columns} columns" in words(figure)
    width, height = figure.get_size_inches()
    assert 0.3 < width / height < 3


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        ({}, "at least one layer"),
        ({"a": ("b",)}, "reads 'b'"),
        ({"a": ("b",), "b": ("a",)}, "loop"),
    ],
)
def test_graphs_that_are_none_are_refused(inputs, expected):
    with pytest.raises(SettingsError, match=expected):
        model_graph(nodes_of(inputs))


def test_graphs_with_twins_or_too_many_layers_are_refused():
    with pytest.raises(SettingsError, match="'0' twice"):
        model_graph(nodes_of(chain(2)) + nodes_of(chain(1)))
    with pytest.raises(SettingsError, match="at most 1500"):
        model_graph(nodes_of(chain(1501)))


# Misclassified samples


def test_a_misclassified_pixel_stands_between_the_spectra_of_its_classes():
    spectra = RNG.random((25, 17))
    means = {n: RNG.random(17) for n in NAMES}
    true, predicted = np.full(25, 1), np.full(25, 7)
    figure = misclassified_patches(
        RNG.random((25, 5, 5, 3)), spectra, means, true, predicted, {**NAMES, 7: ODD},
        scores=np.full(25, 2.5), true_scores=np.full(25, -1.25), bands=GAPPED, total=143,
        places=[f"pixel {i}" for i in range(25)],
    )  # fmt: skip
    panels, pictures = axes_named(figure, "spectrum "), axes_named(figure, "patch ")
    assert len(panels) == len(pictures) == 20
    for place, panel in enumerate(panels):
        for line, values in zip(panel.lines, (means[1], means[7], spectra[place]), strict=True):
            y = np.asarray(line.get_ydata())
            assert np.isnan(y).sum() == 2
            np.testing.assert_array_equal(y[~np.isnan(y)], values)
    text = words(figure)
    for part in ("20 of 143 shown", f"1 Corn → 7 {ODD}", "logit −1.25 → 2.50", "pixel 19"):
        assert part in text
    assert "pixel 20" not in text


def test_misclassified_photographs_have_their_verdict_over_them():
    pictures = RNG.random((3, 4, 6, 3))
    figure = misclassified_photographs(
        pictures, np.array([1, 2, 7]), np.array([2, 7, 1]), NAMES, scores=np.arange(3.0)
    )
    drawn = axes_named(figure, "photograph")
    assert [a.get_title().split("\n") for a in drawn] == [
        ["1 Corn → 2 Oats", "logit 0.00"],
        ["2 Oats → 7 Woods", "logit 1.00"],
        ["7 Woods → 1 Corn", "logit 2.00"],
    ]
    np.testing.assert_array_equal(drawn[2].images[0].get_array(), pictures[2])
    assert "3 of 3 shown" in words(figure)


def test_sheets_of_what_does_not_agree_are_refused():
    pictures, one = np.zeros((2, 4, 4, 3)), np.array([1, 1])
    with pytest.raises(SettingsError, match="name of every class, got none of 5"):
        misclassified_photographs(pictures, one, np.array([1, 5]), NAMES)
    with pytest.raises(SettingsError, match="2 values, one a sample, got 1"):
        misclassified_photographs(pictures, one, one, NAMES, scores=np.zeros(1))
    with pytest.raises(SettingsError, match="at least one picture"):
        misclassified_photographs(pictures[:0], one[:0], one[:0], NAMES)
    with pytest.raises(SettingsError, match="mean spectra of 3"):
        misclassified_patches(pictures, np.zeros((2, 3)), {1: np.zeros(4)}, one, one, NAMES)


# Sanity


def test_the_page_begins_at_one_and_draws_mean_and_spread_of_each_step():
    signed = np.array([[0.5, 0.1, 0.0], [0.0, np.nan, 0.6], [-0.4, 0.2, 0.2]])
    maps = RNG.normal(size=(4, 5, 5)) * 10.0 ** np.arange(4)[:, None, None]
    maps[3] = 0
    figure = sanity_page(
        [ODD, "dense", "conv"], signed, np.abs(signed), maps, verdict="passes", title="gradient"
    )
    axes = figure.axes[0]
    lines = {line.get_label(): np.asarray(line.get_ydata()) for line in axes.lines}
    np.testing.assert_allclose(lines["signed maps: mean"], [1, 0.2, 0.3, 0.0], atol=1e-12)
    np.testing.assert_allclose(lines["magnitudes: mean"], [1, 0.2, 0.3, 0.8 / 3])
    np.testing.assert_array_equal(lines["_floor"], [0, 0])
    ticks = [t.get_text().replace(r"\$", "$") for t in axes.get_xticklabels()]
    assert ticks == ["trained", ODD, "dense", "conv"]
    tiles = axes_named(figure, "step ")
    assert len(tiles) == 4
    for tile, values in zip(tiles, maps, strict=True):
        np.testing.assert_array_equal(tile.images[0].get_array(), values)
        largest = np.abs(values).max() or 1.0
        assert tile.images[0].get_clim() == (-largest, largest)
    text = words(figure)
    for part in ("gradient passes", "DEAD: all zero", "3 samples", "no likeness"):
        assert part in text


def test_a_long_strip_shows_the_first_and_the_last_map():
    steps = np.zeros((40, 1))
    figure = sanity_page([f"l{i}" for i in range(40)], steps, steps, np.ones((41, 2, 2)))
    shown = [a.get_label() for a in axes_named(figure, "step ")]
    assert len(shown) == 16
    assert (shown[0], shown[-1]) == ("step 0", "step 40")
    assert "16 of 41 steps" in words(figure)
    with pytest.raises(SettingsError, match="41 maps"):
        sanity_page([f"l{i}" for i in range(40)], steps, steps, np.ones((40, 2, 2)))
    with pytest.raises(SettingsError, match="similarities"):
        sanity_page([], steps, steps, np.ones((41, 2, 2)))


# Every figure

ONE = np.ones((2, 3))
FIGURES = {
    "spectra": lambda **o: spectra_figure(**o),
    "pixels": lambda **o: pixels_by_bands({ODD: MAPS[0]}, **o),
    "scene": lambda **o: scene_attribution({ODD: ONE}, {ODD: ONE}, ONE.astype(int), {1: ODD}, **o),
    "photographs": lambda **o: overlays(
        np.ones((1, 4, 4, 3)), {ODD: np.ones((1, 4, 4))}, sample_titles=[ODD], **o
    ),
    "filters": lambda **o: filter_sheet(np.ones((1, 1, 6, 2)), layer=ODD, **o),
    "graph": lambda **o: model_graph(nodes_of({ODD: ()}), **o),
    "patches": lambda **o: misclassified_patches(
        np.ones((1, 3, 3, 3)), np.ones((1, 4)), {}, [1], [2], {1: ODD, 2: ODD}, **o
    ),
    "misclassified": lambda **o: misclassified_photographs(
        np.ones((1, 4, 4, 3)), [1], [2], {1: ODD, 2: ODD}, **o
    ),
    "sanity": lambda **o: sanity_page([ODD], [[0.1]], [[0.2]], np.ones((2, 3, 3)), **o),
    "tiles": lambda **o: attribution_tiles(MAPS[:1], {ODD: MAPS[:1]}, sample_titles=[ODD], **o),
}


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_names_generated_data_and_takes_names_as_they_are(name, tmp_path):
    figure = FIGURES[name](title=ODD, note=f"seed 7 {ODD}", synthetic=True)
    text = words(figure)
    assert SYNTHETIC_NOTE in text
    assert f"seed 7 {ODD}" in text
    assert ODD in figure.get_suptitle().replace("\n", " ").replace(r"\$", "$")
    for said in figure.findobj(lambda o: hasattr(o, "get_parse_math")):
        if "x_1" in said.get_text():
            assert "$" not in said.get_text().replace(r"\$", "")
    path = save_figure(figure, tmp_path / "figure.svg", dpi=40)
    ElementTree.parse(path)  # whole, whatever the names hold


def test_plots_need_neither_pyplot_nor_tensorflow():
    modules = (
        "spectra pixels scene_attribution photographs filters model_graph misclassified sanity"
    )
    code = (
        "import importlib, sys\n"
        f"[importlib.import_module('hsi.plots.' + m) for m in {modules.split()!r}]\n"
        "assert not {'matplotlib.pyplot', 'tensorflow', 'tf_keras'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
