"""Attributions of two variants: measures, means with intervals, floors, bands behind a reducer."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from scipy.spatial import distance
from scipy.stats import t as student

from hsi.compare.attributions import (
    MEASURES,
    spectral_centre,
    spectral_cosine,
    ssim,
)
from hsi.compare.means import mean_of, scene_blocks
from hsi.errors import SettingsError

SCIKIT_IMAGE = -0.12418164387112542
SHAPE = (5, 5, 8)
CLASSES = 3
WAVES = np.array([450.0, 470, 500, 700, 710, 1200, 1210, 1300])


def maps(n: int = 4, *, seed: int = 0, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, *shape)).astype(np.float32)


# Measures


def literal_ssim(a: np.ndarray, b: np.ndarray) -> float:
    """Window by window, as Wang et al. (2004) write it, of two maps (rows, cols)."""
    a, b = a / a.max(), b / b.max()
    along = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)
    weights = np.outer(along, along) / along.sum() ** 2
    found = []
    for row in range(a.shape[0] - 10):
        for col in range(a.shape[1] - 10):
            x, y = a[row : row + 11, col : col + 11], b[row : row + 11, col : col + 11]
            mean_x, mean_y = np.sum(weights * x), np.sum(weights * y)
            var_x, var_y = np.sum(weights * (x - mean_x) ** 2), np.sum(weights * (y - mean_y) ** 2)
            both = np.sum(weights * (x - mean_x) * (y - mean_y))
            light = (2 * mean_x * mean_y + 1e-4) / (mean_x**2 + mean_y**2 + 1e-4)
            found.append(light * (2 * both + 9e-4) / (var_x + var_y + 9e-4))
    return float(np.mean(found))


def test_structural_similarity_is_that_of_the_paper():
    first = maps(3, seed=1, shape=(17, 14, 3))
    second = first + maps(3, seed=2, shape=(17, 14, 3)) * np.array([0.1, 1, 5])[:, None, None, None]
    wanted = [
        literal_ssim(np.abs(a).sum(axis=-1), np.abs(b).sum(axis=-1))
        for a, b in zip(first.astype(float), second.astype(float), strict=True)
    ]
    found = ssim(first, second)
    np.testing.assert_allclose(found, wanted, atol=1e-9)
    assert found[0] > found[1] > found[2]
    np.testing.assert_allclose(ssim(first, -4 * first), 1, atol=1e-12)


def test_structural_similarity_is_that_of_scikit_image():
    """`structural_similarity(a, b, gaussian_weights=True, use_sample_covariance=False,
    data_range=1)` of scikit-image 0.26.0 on these maps gave this number."""
    rows, cols = np.mgrid[:16, :20] / 10
    a, b = np.sin(3 * rows) ** 2 + cols, np.cos(2 * cols) ** 2 + rows
    a, b = a / a.max(), b / b.max()
    found = ssim(a[None, :, :, None], b[None, :, :, None])
    assert found[0] == pytest.approx(SCIKIT_IMAGE, abs=1e-7)


def test_maps_without_a_structure_and_small_ones():
    first, second = (maps(3, seed=s, shape=(12, 12, 2)) for s in (3, 4))
    first[0], second[1] = 0, np.nan
    found = ssim(first, second)
    assert np.isnan(found[:2]).all()
    assert np.isfinite(found[2])
    with pytest.raises(SettingsError, match="at least 11 rows and columns"):
        ssim(maps(), maps())


def test_spectra_are_summed_over_the_pixels():
    first, second = maps(seed=5), maps(seed=5) + maps(seed=6)
    wanted = [
        1 - distance.cosine(a.sum(axis=(0, 1)), b.sum(axis=(0, 1)))
        for a, b in zip(first.astype(float), second.astype(float), strict=True)
    ]
    np.testing.assert_allclose(spectral_cosine(first, second), wanted, atol=1e-9)
    second[1] = 0
    assert np.isnan(spectral_cosine(first, second)[1])


def test_centre_of_mass_is_its_definition():
    found = maps(seed=7)
    found[2], found[3, 0, 0, 0] = 0, np.inf
    centres = spectral_centre(found, WAVES)
    for each, centre in zip(found[:2].astype(float), centres, strict=False):
        weights = [np.abs(each[..., i]).sum() for i in range(8)]
        assert centre == pytest.approx(np.average(WAVES, weights=weights))
    assert np.isnan(centres[2:]).all()
    for positions in (WAVES[:7], np.full(8, np.nan)):
        with pytest.raises(SettingsError, match="position"):
            spectral_centre(found, positions)


# Means


def test_blocks_are_squares_of_the_scene_also_at_its_edges():
    pixels = np.arange(7 * 11)
    blocks = scene_blocks(pixels, (7, 11), side=4)
    squares = [(pixel // 11 // 4, pixel % 11 // 4) for pixel in pixels]
    assert len(set(squares)) == len(set(blocks)) == 6
    assert len(set(zip(squares, blocks, strict=True))) == 6


def test_the_interval_is_near_that_of_student():
    values = np.random.default_rng(8).normal(3, 2, 200)
    found = mean_of(values)
    half = student.ppf(0.975, 199) * values.std(ddof=1) / np.sqrt(200)
    assert found.value == pytest.approx(values.mean())
    assert found.low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert found.high == pytest.approx(values.mean() + half, abs=0.1 * half)


def test_copies_in_a_block_tell_nothing_new():
    values = np.random.default_rng(9).normal(size=60)
    single = mean_of(values)
    blocks = np.repeat(np.arange(60), 9)
    copied = mean_of(np.repeat(values, 9), blocks=blocks)
    assert (copied.low, copied.high) == pytest.approx((single.low, single.high))
    loose = mean_of(np.repeat(values, 9))
    assert loose.high - loose.low == pytest.approx((single.high - single.low) / 3, rel=0.15)


def test_what_is_not_known_is_counted_and_left_out():
    found = mean_of(np.array([1.0, np.nan, 3.0, np.inf]))
    assert (found.value, found.count, found.missing) == (2, 2, 2)
    assert mean_of(np.array([np.nan])).record() == {
        "value": None, "low": None, "high": None, "count": 0, "missing": 1,
    }  # fmt: skip
    assert np.isnan(mean_of(np.array([5.0])).low)
    assert np.isnan(mean_of(np.array([5.0, 6.0]), blocks=np.zeros(2)).high)
    with pytest.raises(SettingsError, match="one block for each"):
        mean_of(np.zeros(3), blocks=np.zeros(2))


def test_comparing_loads_tensorflow_where_it_is_needed_only():
    code = (
        "import sys; import hsi.compare.explanations, hsi.compare.faithfulness;"
        "assert 'tensorflow' not in sys.modules and 'tf_keras' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# Variants


def network(*, seed: int, shape: tuple[int, ...] = SHAPE):
    """A small network with lively weights."""
    import tf_keras as keras

    stack = keras.layers
    model = keras.Sequential(
        [
            keras.Input(shape),
            stack.Conv2D(6, 3, activation="relu", name="conv"),
            stack.Flatten(),
            stack.Dense(CLASSES, activation="softmax", name="scores"),
        ]
    )
    rng = np.random.default_rng(seed)
    model.set_weights([rng.normal(0, 0.4, w.shape) for w in model.get_weights()])
    return model


def seen(model, inputs: np.ndarray, name: str):
    from hsi.compare.explained import Explained

    return Explained(name, model, inputs, model)


@pytest.fixture(scope="module")
def variants():
    inputs = maps(6, seed=10)
    names = {"first": 1, "second": 2, "again": 3}
    return {name: seen(network(seed=seed), inputs, name) for name, seed in names.items()}


def compared(variants, **options):
    from hsi.compare.explanations import compare_explanations

    given = {"methods": ["gradient"], "wavelengths": WAVES, **options}
    return compare_explanations(variants["first"], [variants["second"]], **given)


def test_rows_are_the_measures_of_the_attributions(variants):
    from hsi.explain import attribute

    (found,) = compared(variants, retrained=variants["again"])
    classes = variants["first"].network.predict(maps(6, seed=10), verbose=0).argmax(axis=1)
    np.testing.assert_array_equal(found.classes, classes)
    mine, its, again = (
        attribute("gradient", variants[name].network, maps(6, seed=10), classes=classes).maps
        for name in ("first", "second", "again")
    )
    wanted = {
        name: (measure(mine, its), measure(mine, again)) for name, measure in MEASURES.items()
    }
    wanted["spectral_cosine"] = spectral_cosine(mine, its), spectral_cosine(mine, again)
    ends = [spectral_centre(each, WAVES) for each in (mine, its, again)]
    wanted["centre_distance"] = abs(ends[1] - ends[0]), abs(ends[2] - ends[0])
    assert [row.measure for row in found.similarities] == list(wanted)
    for row in found.similarities:
        value, floor = wanted[row.measure]
        assert row.value.value == pytest.approx(value.mean(), abs=1e-6)
        assert row.floor_retrained.value == pytest.approx(floor.mean(), abs=1e-6)
        assert row.unit == ("nm" if row.measure == "centre_distance" else "")
    (centre,) = found.centres
    assert centre.first.value == pytest.approx(ends[0].mean())
    assert centre.shift.value == pytest.approx((ends[1] - ends[0]).mean())
    assert found.record()["similarities"][0]["floor_random"]["count"] == 6


def test_the_random_floor_is_the_first_network_drawn_anew(variants):
    from hsi.compare.sanity import random_network
    from hsi.explain import attribute

    first = variants["first"]
    before = [w.copy() for w in first.network.get_weights()]
    (found,) = compared(variants, seed=5)
    redrawn, _ = random_network(first.network, first.inputs, seed=5)
    for mine, its in zip(before, redrawn.get_weights(), strict=True):
        assert not np.array_equal(mine, its)
    for mine, kept in zip(before, first.network.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, kept)
    pair = [
        attribute("gradient", model, first.inputs, classes=found.classes).maps
        for model in (first.network, redrawn)
    ]
    row = found.similarities[0]
    assert row.floor_random.value == pytest.approx(MEASURES["spearman"](*pair).mean(), abs=1e-6)
    assert row.floor_retrained is None
    assert "floor of a retrained network: missing, none was given" in found.notes


def test_a_variant_is_like_itself(variants):
    from hsi.compare.explanations import compare_explanations

    first = variants["first"]
    methods = ["gradient", "gradcam"]
    found = compare_explanations(first, [first, variants["second"]], methods=methods, random=False)
    assert len(found) == 2
    for row in found[0].similarities:
        assert row.value.value == pytest.approx(0 if row.measure == "centre_distance" else 1)
    assert found[1].similarities[0].value.value < 0.9
    assert list(dict.fromkeys(row.method for row in found[0].similarities)) == methods
    distances = [r.unit for r in found[0].similarities if r.measure == "centre_distance"]
    assert distances == ["bands"]  # none of Grad-CAM, which tells no bands apart
    assert "floor of random weights: missing, not asked for" in found[0].notes


def test_photographs_have_a_structure_and_no_spectrum():
    from hsi.compare.explanations import compare_explanations

    inputs = maps(2, seed=11, shape=(12, 12, 3))
    pair = [seen(network(seed=s, shape=(12, 12, 3)), inputs, str(s)) for s in (1, 2)]
    (found,) = compare_explanations(pair[0], pair[1:], methods=["gradient"], random=False)
    assert [row.measure for row in found.similarities] == [*MEASURES, "ssim"]
    assert found.centres == ()


def test_a_method_that_one_variant_does_not_allow_is_said(variants):
    """A callable has a gradient and no layers, so no Grad-CAM."""
    from hsi.compare.explained import Explained
    from hsi.compare.explanations import compare_explanations

    first = variants["first"]
    bare = Explained("bare", lambda x: first.network(x), first.inputs)
    (found,) = compare_explanations(first, [bare], methods=["gradcam", "gradient"], random=False)
    assert {row.method for row in found.similarities} == {"gradient"}
    assert any(n.startswith("gradcam: left out, bare does not allow it:") for n in found.notes)
    (found,) = compare_explanations(bare, [first], methods=["gradcam", "gradient"])
    assert any("cannot be drawn anew; put the Keras model" in note for note in found.notes)
    assert {row.method for row in found.similarities} == {"gradient"}


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"methods": ["gradiant"]}, "'gradient'"),
        ({"options": {"gradient": {"sample": 3}}}, "option of gradient"),
        ({"classes": 3}, "from 0 to 2"),
        ({"wavelengths": WAVES[:3]}, "Expected 8 wavelengths, got 3"),
        ({"retrained": "smaller"}, r"\(6, 5, 5, 8\), got \(2, 5, 5, 8\)"),
    ],
)
def test_bad_arguments_are_one_line(variants, options, text):
    from dataclasses import replace

    if "retrained" in options:
        options = {"retrained": replace(variants["again"], inputs=maps(2))}
    with pytest.raises(SettingsError, match=text) as caught:
        compared(variants, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("space", ["bands", "counts", "components"])
def test_variants_of_a_scene_are_explained_in_bands(space):
    """Whatever the preparation: the gradient over bands is that over components, carried back."""
    from pathlib import Path

    from hsi import bands
    from hsi.compare.explained import explained_samples
    from hsi.compare.explanations import compare_explanations
    from hsi.deploy.variant import Variant
    from hsi.patches import Patches
    from hsi.samples import Samples
    from hsi.scene import Scene
    from hsi.split import Split, make_split

    rng = np.random.default_rng(12)
    labels = np.tile(np.repeat([1, 2, 3], 4), (12, 1))
    cube = rng.normal(100 * labels[..., None], 30, (12, 12, 8)).round()
    scene = Scene("tiny", cube, labels)
    split: Split = make_split(scene, method="random", patch_size=5, seed=0)
    fitted = bands.fit(cube, split.train, band_selection="PCA", components=4)
    samples = Samples(scene, split, fitted, Patches(bands.apply(fitted, cube), 5))
    pair = []
    for seed in (1, 2):
        model = network(seed=seed, shape=(5, 5, 4))
        variant = Variant(
            Path(f"{seed}.h5"), input_shape=(5, 5, 4), classes=CLASSES, forward=model.predict,
            network=model,
        )  # fmt: skip
        keys = np.array([30, 55, 80, 100])
        pair.append(explained_samples(variant, samples.patches, keys, samples=samples, space=space))
    channels = {"bands": 8, "counts": 8, "components": 4}[space]
    assert pair[0].inputs.shape == (4, 5, 5, channels)
    (found,) = compare_explanations(pair[0], pair[1:], methods=["gradient"], classes=1)
    assert found.similarities[0].floor_random is not None
    own = samples.patches.gather(keys)
    if space == "bands":
        axes = (fitted.components.T / fitted.out_scale).T
        from hsi.explain import attribute

        maps_of = [attribute("gradient", each.network, own, classes=1).maps @ axes for each in pair]
        wanted = MEASURES["spearman"](*maps_of)
        assert found.similarities[0].value.value == pytest.approx(wanted.mean(), abs=1e-3)


@pytest.mark.parametrize(("method", "space"), [("smoothgrad", "bands"), ("vargrad", "counts")])
def test_noise_is_a_share_of_the_ranges_in_training(method, space):
    """Of all training patches, and not of the few samples that are explained."""
    from pathlib import Path

    from hsi.compare.explained import explained_samples
    from hsi.compare.explanations import compare_explanations
    from hsi.deploy.variant import Variant
    from hsi.explain import attribute
    from hsi.patches import Patches

    samples, pair = scaled().samples, []
    cube = np.asarray(samples.scene.cube)
    source = samples.patches if space == "bands" else Patches(cube, 5)
    training = source.gather(np.flatnonzero(samples.split.train)).reshape(-1, 8)
    for seed in (1, 2):
        model = network(seed=seed, shape=(5, 5, 8))
        variant = Variant(
            Path(f"{seed}.h5"), input_shape=(5, 5, 8), classes=CLASSES, forward=model.predict,
            network=model,
        )  # fmt: skip
        keys = np.array([30, 80])
        pair.append(explained_samples(variant, samples.patches, keys, samples=samples, space=space))
    (found,) = compare_explanations(
        pair[0], pair[1:], methods=[method], classes=1, random=False,
        options={method: {"samples": 4}},
    )  # fmt: skip
    maps_of = [
        attribute(
            method, each.score, each.inputs, classes=1, samples=4, ranges=np.ptp(training, axis=0)
        ).maps
        for each in pair
    ]
    for row in found.similarities:
        if row.measure in MEASURES:
            wanted = MEASURES[row.measure](*maps_of).mean()
            assert row.value.value == pytest.approx(wanted, abs=1e-5)


def test_ranges_of_images_are_those_of_some_training_images():
    from hsi.compare.explained import training_ranges

    class Images:
        def calibration(self, *, seed):
            return np.random.default_rng(seed).normal(size=(5, 4, 4, 3))

    found = training_ranges(Images(), None, seed=3)
    some = Images().calibration(seed=3).reshape(-1, 3)
    np.testing.assert_array_equal(found, some.max(axis=0) - some.min(axis=0))


# In which space


def scaled(scaling: str = "standard", *, away: float = 0.0, channels: int = 8):
    """A subject with samples of one scene under a scaling, its offsets moved by so many scales."""
    from dataclasses import replace
    from pathlib import Path

    from hsi import bands
    from hsi.compare.subjects import Subject
    from hsi.patches import Patches
    from hsi.samples import Samples
    from hsi.scene import Scene
    from hsi.split import make_split

    labels = np.tile(np.repeat([1, 2, 3], 4), (12, 1))
    cube = np.random.default_rng(12).normal(100, 30, (12, 12, channels)).round()
    scene = Scene("tiny", cube, labels, wavelengths=WAVES[:channels])
    split = make_split(scene, method="random", patch_size=5, seed=0)
    fitted = bands.fit(cube, split.train, scaling=scaling)
    fitted = replace(fitted, offset=fitted.offset + away * fitted.scale)
    samples = Samples(scene, split, fitted, Patches(bands.apply(fitted, cube), 5))
    name = f"{scaling} {away:g} {channels}"
    return Subject(Path(f"{name}.h5"), name, samples.patches, samples=samples)


@pytest.mark.parametrize(
    ("other", "space"),
    [
        ({}, "bands"),
        ({"away": 0.01}, "bands"),  # of another split
        ({"away": 0.2}, "counts"),
        ({"scaling": "none"}, "counts"),  # a file that takes counts
        ({"scaling": "minmax"}, "counts"),
        ({"scaling": "none", "channels": 6}, "bands"),  # shares no space with the first anyway
    ],
)
def test_other_scalings_have_only_the_counts_in_common(other, space):
    from hsi.compare.explained import common_space

    samples = [subject.samples for subject in (scaled(), scaled(**other))]
    assert common_space(samples) == space
    assert common_space([None, None]) == "bands"


@pytest.fixture
def looked(monkeypatch):
    """Look into subjects without a network: what is explained, and what is then compared."""
    from hsi.compare import inside
    from hsi.compare.explained import Explained
    from hsi.compare.explanations import ExplanationComparison
    from hsi.compare.subjects import Common

    spaces, compared = [], []

    def explained_samples(variant, source, keys, *, samples, name, space, seed):
        spaces.append(space)
        nothing = samples.preparation.offset if space == "counts" else None
        gathered = source.gather(keys)
        return Explained(name, variant, gathered, nothing=nothing, ranges=lambda: name)

    def compare_explanations(first, others, **given):
        compared.append((first, *others, given["retrained"]))
        return [ExplanationComparison(first.name, o.name, (o,), (), np.zeros(3)) for o in others]

    monkeypatch.setattr(inside, "explained_samples", explained_samples)
    monkeypatch.setattr(inside, "compare_explanations", compare_explanations)
    monkeypatch.setattr(inside, "open_subjects", lambda subjects, common: [None] * len(subjects))

    def look(subjects, retrained=None):
        found = inside.look_inside(
            subjects, [None] * len(subjects), Common(np.array([30, 55, 80]), None),
            ["explanations"], retrained=retrained,
        )  # fmt: skip
        return found, spaces, compared

    return look


def test_variants_of_other_scalings_are_explained_in_counts_from_one_baseline(looked):
    subjects = [scaled(), scaled("none"), scaled("minmax")]
    found, spaces, compared = looked(subjects, scaled())
    assert spaces == ["counts"] * 4
    for network in compared[0]:
        np.testing.assert_array_equal(network.nothing, subjects[0].samples.preparation.offset)
        assert list(network.options_for("integrated_gradient")) == ["baseline"]
        assert network.options_for("smoothgrad") == {"ranges": subjects[0].name}
        assert network.options_for("gradient") == {}
    assert "explained in the counts of the sensor" in found.notes[0]
    assert "nothing there is where scaled bands are zero" in found.notes[1]
    found, spaces, compared = looked([scaled(), scaled()])
    assert spaces[4:] == ["bands"] * 2
    assert compared[1][0].nothing is None
    assert compared[1][0].options_for("integrated_gradient") == {}
    assert found.notes == ()


@pytest.mark.parametrize("scaling", ["standard", "minmax"])
@pytest.mark.parametrize("beside", [True, False])
def test_files_of_counts_begin_where_the_scaled_bands_of_their_run_are_zero(
    looked, scaling, beside
):
    """First or alone: what they hold is known from their run."""
    from dataclasses import replace

    from hsi import bands
    from hsi.pipeline.job import on_counts

    subject = scaled(scaling)
    fitted = subject.samples.preparation
    counts = replace(subject, samples=on_counts(subject.samples))
    _, spaces, compared = looked([counts, subject if beside else counts])
    assert spaces == ["counts" if beside else "bands"] * 2
    for network in compared[0][:2]:
        prepared = bands.apply(fitted, network.nothing[None, None])
        np.testing.assert_allclose(prepared, np.zeros_like(prepared), atol=1e-6)


def test_counts_that_no_preparation_scales_begin_at_zero(looked):
    _, _, compared = looked([scaled("none"), scaled("none")])
    assert [network.nothing for network in compared[0][:2]] == [None, None]


def test_what_takes_other_bands_is_left_out_with_a_note(looked):
    """And the others keep their place."""
    narrow, same = scaled(channels=6), scaled(away=0.01)
    found, _, compared = looked([scaled(), narrow, same], scaled(channels=7))
    first, other, floor = compared[0]
    assert (first.name, other.name, floor) == (scaled().name, same.name, None)
    assert [bool(each.similarities) for each in found.explanations] == [False, True]
    assert [each.second for each in found.explanations] == [narrow.name, same.name]
    said = "left out: its samples are 5 x 5 x {}, those of standard 0 8 5 x 5 x 8"
    assert all(note.endswith(said.format(n)) for note, n in zip(found.notes, (7, 6), strict=True))
    found, _, compared = looked([scaled(), narrow])
    assert len(compared) == 1
    assert found.tables() == []
