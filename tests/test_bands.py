"""Preparation: what is fitted sees training pixels only, and what is applied is what was fitted."""

from __future__ import annotations

import zipfile
from dataclasses import fields, replace

import numpy as np
import pytest
from scipy.io import loadmat
from scipy.optimize import nnls
from sklearn.decomposition import PCA

from hsi import bands
from hsi.bands import nonlinear
from hsi.bands import preparation as preparation_module
from hsi.bands.scaling import component_scale
from hsi.errors import DataError, SettingsError
from hsi.nonnegative import non_negative_weights

WAYS = [
    {"scaling": "standard"},
    {"scaling": "minmax"},
    {"scaling": "none"},
    {"band_selection": "PCA", "components": 4},
    {"band_selection": "PCA", "components": 4, "scaling": "minmax"},
    {"band_selection": "PCA", "components": 4, "scaling": "none"},
    {"band_selection": "NMF", "components": 3},
    {"band_selection": "NMF", "components": 3, "scaling": "none"},
]
ways = pytest.mark.parametrize("way", WAYS, ids=lambda way: "-".join(map(str, way.values())))


def smooth_cube(seed: int = 0, *, rows: int = 20, cols: int = 16, count: int = 12) -> np.ndarray:
    """Mixtures of four smooth spectra with a little noise, as int16 counts; no outliers."""
    rng = np.random.default_rng(seed)
    at = np.linspace(0, 1, count)
    spectra = np.stack([np.exp(-((at - c) ** 2) / 0.1) for c in (0.1, 0.4, 0.6, 0.95)])
    shares = rng.dirichlet(np.ones(4), size=(rows, cols))
    counts = 4000 * shares @ spectra + rng.normal(scale=10, size=(rows, cols, count)) + 500
    return counts.astype(np.int16)


@pytest.fixture
def cube() -> np.ndarray:
    return smooth_cube()


@pytest.fixture
def train(cube) -> np.ndarray:
    return np.random.default_rng(1).random(cube.shape[:2]) < 0.5


def same(a: bands.Preparation, b: bands.Preparation) -> bool:
    return all(
        np.array_equal(np.asarray(getattr(a, f.name)), np.asarray(getattr(b, f.name)))
        for f in fields(a)
    )


# What is fitted


@ways
def test_pixels_that_do_not_train_change_nothing_that_is_fitted(cube, train, way):
    other = cube.copy()
    other[~train] = np.random.default_rng(2).integers(-9000, 9000, size=other[~train].shape)
    first = bands.fit(cube, train, **way)
    assert same(first, bands.fit(other, train, **way))
    other[tuple(np.argwhere(train)[0])] += 500
    assert not same(first, bands.fit(other, train, **way)) or way == {"scaling": "none"}


def test_standardised_training_pixels_have_mean_0_and_deviation_1(cube, train):
    prepared = bands.apply(bands.fit(cube, train), cube)
    assert prepared.dtype == np.float32
    np.testing.assert_allclose(prepared[train].mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(prepared[train].std(axis=0), 1, atol=1e-5)
    spectra = cube[train].astype(float)
    expected = (cube - spectra.mean(axis=0)) / spectra.std(axis=0)
    np.testing.assert_allclose(prepared, expected, atol=1e-5)


def test_minmax_training_pixels_span_0_to_1(cube, train):
    prepared = bands.apply(bands.fit(cube, train, scaling="minmax"), cube)
    np.testing.assert_allclose(prepared[train].min(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(prepared[train].max(axis=0), 1, atol=1e-6)


def test_no_scaling_leaves_raw_counts(cube, train):
    prepared = bands.apply(bands.fit(cube, train, scaling="none"), cube)
    np.testing.assert_array_equal(prepared, cube)


def test_a_cube_without_outliers_is_not_clipped(cube):
    everywhere = np.ones(cube.shape[:2], bool)
    for way in WAYS:
        assert bands.count_clipped(bands.fit(cube, everywhere, **way), cube) == 0


# Outliers


@pytest.mark.parametrize("where", ["training", "test"])
@pytest.mark.parametrize("value", [-30000, 30000])
def test_a_stray_pixel_does_not_set_the_scale(where, value):
    cube = smooth_cube(rows=40)
    train = np.random.default_rng(1).random(cube.shape[:2]) < 0.5
    clean = bands.apply(bands.fit(cube, train), cube)
    pixel = tuple(np.argwhere(train == (where == "training"))[5])
    strayed = cube.copy()
    strayed[pixel] = value
    preparation = bands.fit(strayed, train)
    prepared = bands.apply(preparation, strayed)
    assert np.abs(prepared).max() < 8
    assert bands.count_clipped(preparation, strayed) == cube.shape[2]
    others = np.ones(cube.shape[:2], bool)
    others[pixel] = False
    np.testing.assert_allclose(prepared[others], clean[others], atol=0.5)


def test_a_few_pixels_of_another_value_in_a_flat_band_are_kept(cube, train):
    """They may be all there is of a class."""
    flat = cube.copy()
    flat[:, :, 3] = 700
    rare = np.argwhere(train)[7]
    flat[tuple(rare)][3] = 900
    preparation = bands.fit(flat, train)
    assert bands.count_clipped(preparation, flat) == 0
    prepared = bands.apply(preparation, flat)[:, :, 3]
    assert prepared[tuple(rare)] > 5
    np.testing.assert_allclose(prepared[train].std(), 1, atol=1e-5)


@pytest.fixture(scope="module")
def salinas_a(datasets):
    folder = datasets / "salinas_a"
    if not folder.is_dir():
        pytest.skip(f"no Salinas-A: {folder} does not exist")
    cube = loadmat(folder / "SalinasA_corrected.mat")["salinasA_corrected"]
    return cube, loadmat(folder / "SalinasA_gt.mat")["salinasA_gt"]


@pytest.mark.parametrize("strays_train", [False, True])
@pytest.mark.parametrize("count", [250, 535, 2000])
def test_the_strays_of_salinas_a_do_not_set_the_int8_scale(salinas_a, strays_train, count):
    """Two labelled pixels of it lie up to 84 deviations out; whoever is trained on, they must not
    stretch the input: 255 steps over 16 deviations are a step of a 16th."""
    cube, labels = salinas_a
    spectra = cube[labels > 0].astype(float)
    z = np.abs(spectra - spectra.mean(axis=0)) / spectra.std(axis=0)
    assert (z.max(axis=1) > 30).sum() == 2
    strays = np.flatnonzero(labels.ravel())[z.max(axis=1) > 30]
    for seed in range(3):
        pixels = np.random.default_rng(seed).permutation(np.flatnonzero(labels.ravel()))[:count]
        train = np.zeros(labels.size, bool)
        train[pixels] = True
        train[strays] = strays_train
        preparation = bands.fit(cube, train.reshape(labels.shape))
        prepared = bands.apply(preparation, cube)
        assert np.abs(prepared).max() < 8
        assert np.percentile(np.abs(prepared[labels > 0]), 99) > 2
        clipped = bands.count_clipped(preparation, cube[labels > 0][None])
        assert 0 < clipped < 2e-4 * spectra.size


# Constant bands


@pytest.mark.parametrize("value", [0, 7, 0.1, 1e-3, 12345.678])
@pytest.mark.parametrize("way", [way for way in WAYS if way.get("scaling") != "none"])
def test_a_constant_band_becomes_finite_and_is_told(cube, train, value, way):
    flat = cube.astype(float)
    flat[:, :, 2] = value
    flat[:, :, 9] = -value
    preparation = bands.fit(flat, train, **way)
    prepared = bands.apply(preparation, flat)
    assert np.isfinite(prepared).all()
    said = "Channel 3 of those that go in (one of 2 such) is constant over the training pixels."
    assert said in preparation.notes
    if preparation.reducer == "none":
        np.testing.assert_allclose(prepared[:, :, [2, 9]], 0, atol=1e-9)


def test_a_constant_band_alone_is_told_by_its_place_and_not_as_the_sensors(cube, train):
    """The sensor may have lost bands before; its numbers are not known here."""
    flat = cube.copy()
    flat[:, :, 4] = 7
    said = "Channel 5 of those that go in is constant over the training pixels."
    assert bands.fit(flat, train).notes == (said,)


# PCA


def test_pca_is_that_of_scikit_learn(cube, train):
    preparation = bands.fit(cube, train, band_selection="PCA", components=4)
    scaled = bands.apply(bands.fit(cube, train), cube).astype(float).reshape(-1, cube.shape[2])
    reference = PCA(4, svd_solver="full").fit(scaled[train.ravel()])
    expected = reference.transform(scaled)
    found = bands.apply(preparation, cube).reshape(-1, 4) * preparation.out_scale
    sign = np.sign((found * expected).sum(axis=0))
    np.testing.assert_allclose(found * sign, expected, atol=1e-4)
    summary = preparation.summary()
    np.testing.assert_allclose(
        summary["explained_variance_ratio"], reference.explained_variance_ratio_, rtol=1e-4
    )
    assert summary["explained_variance"] == pytest.approx(sum(summary["explained_variance_ratio"]))
    assert 0.9 < summary["explained_variance"] < 1


def test_all_components_of_pca_lose_nothing(cube, train):
    preparation = bands.fit(cube, train, band_selection="PCA", components=12)
    found = bands.apply(preparation, cube) * preparation.out_scale + preparation.out_offset
    back = found @ preparation.components + preparation.mean
    np.testing.assert_allclose(back, bands.apply(bands.fit(cube, train), cube), atol=1e-4)
    assert preparation.summary()["explained_variance"] == pytest.approx(1)


@pytest.mark.parametrize(
    "way", [way for way in WAYS if way.get("scaling") is None and len(way) == 2]
)
def test_components_are_centred_and_keep_their_relative_spread(cube, train, way):
    preparation = bands.fit(cube, train, **way)
    prepared = bands.apply(preparation, cube)[train]
    np.testing.assert_allclose(prepared.mean(axis=0), 0, atol=1e-5)
    assert prepared.std(axis=0).max() == pytest.approx(1, abs=1e-5)
    assert len(set(preparation.out_scale)) == 1
    raw = replace(
        preparation,
        out_offset=np.zeros_like(preparation.out_offset),
        out_scale=np.ones_like(preparation.out_scale),
    )
    spread = bands.apply(raw, cube)[train].std(axis=0)
    np.testing.assert_allclose(prepared.std(axis=0), spread / spread.max(), atol=1e-5)


def test_without_scaling_the_components_are_not_scaled_either(cube, train):
    way = {"scaling": "none", "components": 3}
    for reducer in ("PCA", "NMF"):
        preparation = bands.fit(cube, train, band_selection=reducer, **way)
        np.testing.assert_array_equal(preparation.out_offset, 0)
        np.testing.assert_array_equal(preparation.out_scale, 1)


# NMF


@pytest.mark.parametrize("shape", [(1, 1, 5), (40, 3, 12), (600, 10, 30), (50, 12, 12)])
def test_non_negative_weights_are_those_of_nnls(shape):
    pixels, components, count = shape
    rng = np.random.default_rng(pixels)
    axes = np.abs(rng.normal(size=(components, count)))
    spectra = rng.normal(size=(pixels, components)) @ axes + 0.3 * rng.normal(size=(pixels, count))
    weights, unsolved = non_negative_weights(spectra, axes)
    assert unsolved == 0
    assert (weights >= 0).all()
    assert components == 1 or (weights == 0).any()
    expected = np.array([nnls(axes.T, spectrum)[0] for spectrum in spectra])
    np.testing.assert_allclose(weights, expected, atol=1e-6)


def test_the_weights_of_a_pixel_do_not_depend_on_the_others():
    rng = np.random.default_rng(0)
    axes = np.abs(rng.normal(size=(6, 20)))
    spectra = np.abs(rng.normal(size=(700, 20))) * 10.0 ** rng.integers(-3, 4, size=(700, 1))
    together, _ = non_negative_weights(spectra, axes)
    for pixel in (0, 350, 511, 512, 699):
        alone, _ = non_negative_weights(spectra[pixel : pixel + 1], axes)
        np.testing.assert_allclose(together[pixel], alone[0], rtol=1e-6, atol=1e-9)


def test_twice_the_same_axis_is_solved_and_zero_axes_are_not_used():
    axes = np.array([[1.0, 2, 3], [1, 2, 3], [0, 0, 0], [3, 0, 1]])
    weights, unsolved = non_negative_weights(np.array([[2.0, 4, 6], [-1, -1, -1]]), axes)
    assert unsolved == 0
    np.testing.assert_allclose(weights @ axes, [[2, 4, 6], [0, 0, 0]], atol=1e-6)
    np.testing.assert_array_equal(weights[:, 2], 0)


@pytest.mark.parametrize("scaling", ["standard", "none"])
def test_nmf_rebuilds_from_non_negative_parts_of_unit_length(cube, train, scaling):
    preparation = bands.fit(cube, train, scaling=scaling, band_selection="NMF", components=4)
    assert (preparation.components >= 0).all()
    np.testing.assert_allclose(np.linalg.norm(preparation.components, axis=1), 1, rtol=1e-9)
    weights = bands.apply(preparation, cube) * preparation.out_scale + preparation.out_offset
    assert weights.min() > -1e-4 * weights.max()
    scaled = np.clip(cube, preparation.low, preparation.high) - preparation.offset
    scaled /= preparation.scale
    assert scaled.min() >= 0
    expected = np.array([nnls(preparation.components.T, x)[0] for x in scaled[train][:40]])
    np.testing.assert_allclose(weights[train][:40], expected, rtol=1e-3, atol=1e-4 * weights.max())
    error = np.linalg.norm(scaled[train] - weights[train] @ preparation.components)
    error /= np.linalg.norm(scaled[train])
    assert preparation.summary()["relative_reconstruction_error"] == pytest.approx(error, rel=1e-2)
    assert error < 0.2


def test_nmf_takes_pixels_that_are_darker_than_all_it_was_fitted_on(cube, train):
    preparation = bands.fit(cube, train, band_selection="NMF", components=3)
    dark = np.full((2, 2, 12), -9000, np.int16)
    assert np.isfinite(bands.apply(preparation, dark)).all()


def test_nmf_that_did_not_converge_says_so(cube, train, monkeypatch):
    monkeypatch.setattr(nonlinear, "NMF_ITERATIONS", 1)
    notes = bands.fit(cube, train, band_selection="NMF", components=3).notes
    assert any("did not converge in 1 iterations" in note for note in notes)


def test_a_component_that_is_nowhere_used_does_not_set_the_scale(cube, train):
    """Spread of the others: 0.01. A dead one's stand-in of 1 would hide it."""
    rng = np.random.default_rng(0)
    weights = np.column_stack([0.01 * rng.normal(size=50), np.zeros(50)])
    _, scale = component_scale(weights, "standard")
    np.testing.assert_allclose(scale, weights[:, 0].std())
    _, scale = component_scale(np.zeros((5, 2)), "standard")
    np.testing.assert_array_equal(scale, 1)


# What is applied


@ways
def test_pieces_of_a_cube_are_prepared_like_the_whole(cube, train, way, monkeypatch):
    preparation = bands.fit(cube, train, **way)
    whole = bands.apply(preparation, cube)
    assert whole.shape == (20, 16, preparation.channels)
    monkeypatch.setattr(preparation_module, "PIXELS_AT_ONCE", 50)
    assert len(list(bands.row_chunks(cube))) == 7
    np.testing.assert_allclose(bands.apply(preparation, cube), whole, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        bands.apply(preparation, cube[3:4, 5:6])[0, 0], whole[3, 5], rtol=1e-5, atol=1e-6
    )
    assert bands.count_clipped(preparation, cube) == np.count_nonzero(
        (cube < preparation.low) | (cube > preparation.high)
    )


@ways
def test_a_read_only_memory_mapped_big_endian_cube_is_prepared_the_same(cube, train, way, tmp_path):
    cube.astype(">i2").tofile(tmp_path / "cube.raw")
    mapped = np.memmap(tmp_path / "cube.raw", ">i2", mode="r", shape=cube.shape)
    preparation = bands.fit(mapped, train, **way)
    assert same(preparation, bands.fit(cube, train, **way))
    found, expected = bands.apply(preparation, mapped), bands.apply(preparation, cube)
    np.testing.assert_array_equal(found, expected)
    assert found.dtype.isnative
    np.testing.assert_array_equal(mapped, cube)


def test_another_band_count_is_refused(cube, train):
    with pytest.raises(DataError, match=r"cube of 12 bands.*got 11"):
        bands.apply(bands.fit(cube, train), cube[:, :, 1:])


# Files


@ways
def test_a_saved_preparation_is_the_same_one(cube, train, way, tmp_path):
    preparation = bands.fit(cube, train, **way)
    bands.save(preparation, tmp_path / "a.npz")
    loaded = bands.load(tmp_path / "a.npz")
    assert same(preparation, loaded)
    assert loaded.summary() == preparation.summary()
    np.testing.assert_array_equal(bands.apply(loaded, cube), bands.apply(preparation, cube))
    bands.save(loaded, tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_a_file_holds_plain_arrays_and_no_pickle(cube, train, tmp_path):
    bands.save(bands.fit(cube, train), tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz", allow_pickle=False) as arrays:
        assert {arrays[name].dtype.kind for name in arrays.files} <= {"f", "U"}


@pytest.fixture
def saved(cube, train, tmp_path):
    path = tmp_path / "preparation.npz"
    bands.save(bands.fit(cube, train, band_selection="PCA", components=3), path)
    return path


def test_a_truncated_file_is_a_data_error_wherever_it_was_cut(saved):
    data = saved.read_bytes()
    for end in [*range(0, len(data), max(1, len(data) // 150)), len(data) - 1]:
        saved.write_bytes(data[:end])
        with pytest.raises(DataError) as caught:
            bands.load(saved)
        assert str(saved) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_damaged_file_is_a_data_error_or_the_same_preparation(saved):
    data, expected = saved.read_bytes(), bands.load(saved)
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(300):
        damaged = bytearray(data)
        damaged[rng.integers(len(data))] ^= 1 << int(rng.integers(8))
        saved.write_bytes(damaged)
        try:
            assert same(bands.load(saved), expected)  # a date or a version in the archive's lists
        except DataError:
            refused += 1
    assert refused > 200


def test_other_files_are_a_data_error(saved, tmp_path):
    np.save(tmp_path / "array.npy", np.zeros(3))
    np.savez(tmp_path / "other.npz", low=np.zeros(3))
    np.savez(
        tmp_path / "pickled.npz", **{f.name: np.array([{}]) for f in fields(bands.Preparation)}
    )
    with np.load(saved) as arrays:
        np.savez(tmp_path / "reducer.npz", **{**arrays, "reducer": np.array("ICA")})
    with zipfile.ZipFile(tmp_path / "zip.npz", "w") as archive:
        archive.writestr("low.npy", "no array")
    (tmp_path / "text.npz").write_text("hello")
    (tmp_path / "empty.npz").write_bytes(b"")
    (tmp_path / "folder.npz").mkdir()
    for path in (*tmp_path.glob("*.np*"), tmp_path / "absent.npz"):
        if path != saved:
            with pytest.raises(DataError, match=path.name):
                bands.load(path)


# Refusals


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scaling": "std"}, "Unknown scaling 'std': expected one of standard, minmax, none"),
        ({"band_selection": "PCB", "components": 2}, "Did you mean 'PCA'"),
        ({"band_selection": "PCA"}, "expected 1 to 12 for PCA"),
        ({"band_selection": "PCA", "components": 13}, "expected 1 to 12 .* got 13"),
        ({"band_selection": "NMF", "components": 0}, "expected 1 to 12 .* got 0"),
        ({"components": 3}, "together with --band_selection"),
    ],
)
def test_settings_that_cannot_be_are_refused(cube, train, options, message):
    with pytest.raises(SettingsError, match=message):
        bands.fit(cube, train, **options)


def test_more_components_than_training_pixels_are_refused(cube):
    few = np.zeros(cube.shape[:2], bool)
    few[0, :5] = True
    with pytest.raises(SettingsError, match=r"expected 1 to 5 .*5 training pixels"):
        bands.fit(cube, few, band_selection="PCA", components=6)


@pytest.mark.parametrize("kind", [np.float64, np.float32, np.uint16])
def test_preparing_a_cube_leaves_it_as_it_was(kind: type) -> None:
    """A float64 cube was once clipped and scaled in place."""
    cube = np.random.default_rng(0).uniform(100, 4000, (9, 8, 5)).astype(kind)
    before = cube.copy()
    train = np.zeros((9, 8), bool)
    train[::2] = True
    bands.apply(bands.fit(cube, train), cube)
    assert np.array_equal(cube, before)
