"""The embedded scene: the same bytes, the right sizes, physics that holds, and its difficulty."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import uniform_filter

from hsi import synthetic
from hsi.errors import SettingsError
from hsi.scene import Scene
from hsi.synthetic import spectra

VEGETATION = (1, 6, 13, 14)
GRAVEL = 16


@pytest.fixture(scope="module")
def scene() -> Scene:
    return synthetic.synthetic_scene(seed=0)


def generator(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed))


def reflectance(counts: np.ndarray, wavelengths: np.ndarray) -> np.ndarray:
    """Counts back to reflectance, relief and haze gradients left in."""
    radiance = (counts - 1000.0) / 500 - spectra.path_radiance(wavelengths)
    sun = spectra.solar_irradiance(wavelengths) * spectra.transmittance(wavelengths)
    return radiance * np.pi / sun


def halves(left: str, right: str) -> synthetic.Land:
    """Two covers that meet in a straight line through the middle of column 72."""
    names = [cover.name for cover in synthetic.COVERS]
    side = synthetic.SIZE * synthetic.FINE
    parcels = np.zeros((side, side), int)
    parcels[:, side // 2 :] = 1
    labels = np.zeros((synthetic.SIZE, synthetic.SIZE), np.uint8)
    return synthetic.Land(parcels, np.array([names.index(left), names.index(right)]), labels)


# The scene as data


def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not(scene: Scene) -> None:
    again = synthetic.synthetic_scene(seed=0)
    other = synthetic.synthetic_scene(seed=1)
    assert again.cube.tobytes() == scene.cube.tobytes()
    assert again.labels.tobytes() == scene.labels.tobytes()
    assert again.sha256 == scene.sha256
    assert other.sha256 != scene.sha256
    assert (other.labels != scene.labels).mean() > 0.2


def test_the_global_random_state_is_neither_read_nor_touched(scene: Scene) -> None:
    np.random.seed(7)  # noqa: NPY002 - the legacy state is the subject
    before = np.random.get_state()[1].copy()  # type: ignore[index]  # noqa: NPY002
    assert synthetic.synthetic_scene(seed=0).sha256 == scene.sha256
    assert np.array_equal(np.random.get_state()[1], before)  # type: ignore[index]  # noqa: NPY002


def test_shape_type_and_what_is_said_of_it(scene: Scene) -> None:
    assert scene.cube.shape == (145, 145, 200)
    assert scene.cube.dtype == np.uint16
    assert scene.labels.dtype == np.uint8
    assert scene.classes == tuple(range(1, 17))
    assert len(set(scene.class_names.values())) == 16
    assert scene.synthetic
    assert "generated" in scene.sensor
    assert "generated" in scene.source
    assert "seed 0" in scene.source
    expected = hashlib.sha256(scene.cube.tobytes() + scene.labels.tobytes()).hexdigest()
    assert scene.sha256 == expected


def test_wavelengths_are_those_of_the_bands_that_were_kept(scene: Scene) -> None:
    assert scene.wavelengths is not None
    expected = 400 + (scene.sensor_bands() - 1) * 2100 / 219
    np.testing.assert_allclose(scene.wavelengths, expected)
    assert scene.removed_bands == (*range(104, 109), *range(150, 164), 220)


def test_counts_lie_where_those_of_the_sensor_lie(scene: Scene) -> None:
    assert 900 <= scene.cube.min() < 1050
    assert 7000 < scene.cube.max() < 12000
    assert (scene.cube.reshape(-1, 200).std(0) > 5).all()  # no band is constant


def test_a_negative_seed_is_a_clear_error() -> None:
    with pytest.raises(SettingsError, match=r"seed of 0 or more, got -1"):
        synthetic.synthetic_scene(seed=-1)


@pytest.mark.parametrize("seed", range(8))
def test_class_sizes_and_fields(seed: int) -> None:
    land = synthetic.lay_out(generator(seed))
    sizes = np.bincount(land.labels.ravel(), minlength=17)
    assert sizes[1:].min() >= 20
    assert sizes[1:].min() < 40
    assert 2000 < sizes[1:].max() < 3000
    assert 0.45 < sizes[0] / land.labels.size < 0.55
    centres = land.parcels[synthetic.FINE // 2 :: synthetic.FINE, 1 :: synthetic.FINE]
    fields = [len(np.unique(centres[land.labels == number])) for number in range(1, 17)]
    assert sum(count >= 2 for count in fields) >= 8
    assert fields[10] >= 4  # the largest class


def test_a_label_says_what_covers_its_pixel() -> None:
    land = synthetic.lay_out(generator(3))
    blocks = land.parcels.reshape(145, synthetic.FINE, 145, synthetic.FINE)
    for row, col in np.argwhere(land.labels > 0)[::97]:
        inside = land.covers[blocks[row, :, col, :]].ravel()
        assert (inside == land.labels[row, col] - 1).mean() > 0.66


# Spectra


W = np.linspace(400, 2500, 2101)


def at(curve: np.ndarray, wavelength: float) -> float:
    return float(np.interp(wavelength, W, curve))


def test_every_reflectance_lies_between_0_and_1() -> None:
    for name, curve in spectra.endmembers(W).items():
        assert curve.shape == W.shape
        assert curve.min() > 0, name
        assert curve.max() < 1, name


def test_leaves_have_a_red_edge_and_soils_have_not() -> None:
    pure = spectra.endmembers(W)
    for plant in ("maize", "bean", "clover", "grass", "tree crowns"):
        assert at(pure[plant], 800) / at(pure[plant], 670) > 5
        steepest = W[np.argmax(np.where((W > 600) & (W < 850), np.gradient(pure[plant]), 0))]
        assert 690 < steepest < 740
        assert at(pure[plant], 550) > at(pure[plant], 670)  # green
    for ground in ("black soil", "pale soil", "eroded soil", "wet soil", "asphalt", "stone"):
        assert 0.9 < at(pure[ground], 800) / at(pure[ground], 670) < 1.5


@pytest.mark.parametrize("centre", [970, 1200, 1450, 1940])
def test_leaf_water_absorbs_where_water_does(centre: int) -> None:
    wet, dry = spectra.leaves(W, water=0.12), spectra.leaves(W, water=0.0)
    assert at(wet, centre) < min(at(wet, centre - 90), at(wet, centre + 90))
    assert at(wet, centre) < at(dry, centre)


def test_absorbers_add_up_as_kubelka_and_munk_say() -> None:
    def q(chlorophyll: float) -> np.ndarray:
        r = spectra.leaves(W, chlorophyll=chlorophyll)
        return (1 - r) ** 2 / (2 * r)

    np.testing.assert_allclose(q(2.0) - q(1.0), q(1.0) - q(0.0), atol=1e-9)


def test_litter_shows_cellulose_and_soil_shows_clay_and_darkens_when_wet() -> None:
    straw = spectra.litter(W, age=0.0)
    assert at(straw, 2100) < 0.5 * (at(straw, 2030) + at(straw, 2200))
    clay, none = spectra.soil(W, clay=1.0), spectra.soil(W, clay=0.0)
    assert at(clay, 2205) < 0.9 * 0.5 * (at(clay, 2140) + at(clay, 2270))
    assert at(none, 2205) > 0.99 * 0.5 * (at(none, 2140) + at(none, 2270))
    wet = spectra.soil(W, moisture=1.0) / spectra.soil(W, moisture=0.0)
    assert wet.max() < 1
    assert at(wet, 1940) < 0.6 * at(wet, 800)


def test_the_sun_shines_with_the_solar_constant() -> None:
    w = np.geomspace(100, 100_000, 20_000)
    watts = np.trapezoid(spectra.solar_irradiance(w), w) * 1e-2  # uW/cm2 -> W/m2
    assert watts == pytest.approx(1361, rel=0.01)


# Mixing, light and noise


def test_a_pixel_gathers_the_fine_grid_by_a_gaussian() -> None:
    fine = generator(1).random((synthetic.SIZE * synthetic.FINE,) * 2)
    row, col = 40, 71
    total = weight_sum = 0.0
    sigma = 0.5 * synthetic.FINE
    middle = synthetic.FINE // 2
    for down in range(-4, 5):
        for right in range(-4, 5):
            weight = np.exp(-(down**2 + right**2) / (2 * sigma**2))
            position = row * synthetic.FINE + middle + down, col * synthetic.FINE + middle + right
            total += weight * fine[position]
            weight_sum += weight
    gathered = synthetic._gather(fine)
    assert gathered.shape == (synthetic.SIZE, synthetic.SIZE)
    assert gathered[row, col] == pytest.approx(total / weight_sum, rel=2e-2)
    np.testing.assert_allclose(synthetic._gather(np.full_like(fine, 0.3)), 0.3)


def test_shares_are_shares() -> None:
    shares = synthetic.mix(synthetic.lay_out(generator(0)), generator(1))
    assert shares.shape == (145, 145, len(spectra.endmembers(W)))
    assert shares.min() >= 0
    np.testing.assert_allclose(shares.sum(2), 1, atol=1e-5)


def test_border_pixels_are_mixtures_of_both_sides() -> None:
    shares = synthetic.mix(halves("Woods", "Wheat"), generator(2))
    spectrum = synthetic.observe(shares, generator(3)).astype(float).mean(0)  # by column
    woods, wheat, border = spectrum[66:70].mean(0), spectrum[75:79].mean(0), spectrum[72]

    def off_the_segment(point: np.ndarray) -> tuple[float, float]:
        """Position along woods -> wheat, 0..1, and distance from it over its length."""
        way = wheat - woods
        along = float((point - woods) @ way / (way @ way))
        return along, float(np.linalg.norm(point - woods - along * way) / np.linalg.norm(way))

    along, away = off_the_segment(border)
    assert 0.2 < along < 0.8
    assert away < 0.04
    gravel = synthetic.observe(
        synthetic.mix(halves("gravel road", "gravel road"), generator(2)), generator(3)
    )
    assert off_the_segment(gravel.astype(float).mean((0, 1)))[1] > 0.2  # the measure can fail


def test_noise_has_the_size_that_is_said_for_every_band() -> None:
    one = np.zeros((145, 145, len(spectra.endmembers(W))), np.float32)
    one[:, :, list(spectra.endmembers(W)).index("pale soil")] = 1
    counts = synthetic.observe(one, generator(4)).astype(float)
    second = counts[:-2] - 2 * counts[1:-1] + counts[2:]  # what is smooth drops out
    found = second.std((0, 1)) / np.sqrt(6)
    w = np.linspace(400, 2500, 220)[synthetic._KEPT]
    np.testing.assert_allclose(found, synthetic.noise_deviation(w), rtol=0.06)


def test_the_scene_keeps_the_red_edge_where_plants_grow(scene: Scene) -> None:
    w = scene.wavelengths
    assert w is not None
    red, infrared = np.abs(w - 670).argmin(), np.abs(w - 800).argmin()
    for number in scene.classes:
        mean = reflectance(scene.cube[scene.labels == number].mean(0), w)
        edge = mean[infrared] / mean[red]
        if number in VEGETATION:
            assert edge > 2.5, scene.class_names[number]
        if number == GRAVEL:
            assert edge < 1.4


def test_fields_of_one_class_differ_by_more_than_their_pixels_do(scene: Scene) -> None:
    """One-way analysis of variance over the fields of the largest class, at 1650 nm."""
    # The land of seed 0 is rebuilt from the first of the scene's streams.
    stream = np.random.SeedSequence(0).spawn(3)[0]
    land = synthetic.lay_out(np.random.Generator(np.random.PCG64(stream)))
    assert np.array_equal(land.labels, scene.labels)
    assert scene.wavelengths is not None
    band = np.abs(scene.wavelengths - 1650).argmin()
    inside = land.labels == 11
    values = scene.cube[:, :, band][inside].astype(float)
    fields = land.parcels[1 :: synthetic.FINE, 1 :: synthetic.FINE][inside]

    def f_ratio(groups: np.ndarray) -> float:
        names = np.unique(groups)
        means = np.array([values[groups == g].mean() for g in names])
        counts = np.array([(groups == g).sum() for g in names])
        between = (counts * (means - values.mean()) ** 2).sum() / (len(names) - 1)
        within = sum(((values[groups == g] - values[groups == g].mean()) ** 2).sum() for g in names)
        return float(between / (within / (len(values) - len(names))))

    assert f_ratio(fields) > 50
    assert f_ratio(generator(0).permutation(fields)) < 5


def test_it_is_like_the_real_scene(scene: Scene, datasets: Path) -> None:
    from scipy.io import loadmat

    file = datasets / "indian_pines_chip" / "Indian_subset.mat"
    if not file.is_file():
        pytest.skip(f"no {file}")
    real = loadmat(file)["Indian_subset"].astype(float).reshape(-1, 200)
    ours = scene.cube.reshape(-1, 200).astype(float)
    assert np.corrcoef(real.mean(0), ours.mean(0))[0, 1] > 0.9
    ratio = (ours.mean(0) - 1000) / (real.mean(0) - 1000)
    assert 0.6 < np.median(ratio) < 1.6
    spread = ours.std(0) / real.std(0)
    assert 0.5 < np.median(spread) < 2


# Difficulty


def svm(
    scene: Scene, train: np.ndarray, test: np.ndarray, *, cube: np.ndarray | None = None
) -> np.ndarray:
    """Predicted labels of the flat positions `test`, by an RBF SVM of single pixels."""
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    pixels = (scene.cube if cube is None else cube).reshape(-1, scene.bands).astype(float)
    scaler = StandardScaler().fit(pixels[train])
    model = SVC(C=100.0).fit(scaler.transform(pixels[train]), scene.labels.ravel()[train])
    return model.predict(scaler.transform(pixels[test]))


def random_split(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    from sklearn.model_selection import train_test_split

    labels = scene.labels.ravel()
    where = np.flatnonzero(labels)
    train, test = train_test_split(where, train_size=0.1, stratify=labels[where], random_state=0)
    return train, test


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_pixel_svm_is_neither_lost_nor_perfect_and_stumbles_over_the_hard_pair(
    seed: int,
) -> None:
    scene = synthetic.synthetic_scene(seed=seed)
    train, test = random_split(scene)
    truth, predicted = scene.labels.ravel()[test], svm(scene, train, test)
    assert 0.75 <= (truth == predicted).mean() <= 0.92
    confusion = np.zeros((17, 17), int)
    np.add.at(confusion, (truth, predicted), 1)
    pairs = np.triu(confusion + confusion.T, 1)
    assert np.unravel_index(pairs.argmax(), pairs.shape) == synthetic.HARD_PAIR
    size = np.bincount(truth, minlength=17)
    rates = pairs / np.maximum(size[:, None] + size[None, :], 1)
    assert np.unravel_index(rates.argmax(), rates.shape) == synthetic.HARD_PAIR


@pytest.mark.slow
def test_other_places_are_harder_and_neighbours_help(scene: Scene) -> None:
    labels = scene.labels.ravel()
    train, test = random_split(scene)
    random_oa = (svm(scene, train, test) == labels[test]).mean()

    smoothed = uniform_filter(scene.cube.astype(float), (3, 3, 1))
    smooth_oa = (svm(scene, train, test, cube=smoothed) == labels[test]).mean()
    assert smooth_oa > random_oa + 0.02

    where = np.flatnonzero(labels)
    block = (where // 145 // 24) * 7 + where % 145 // 24
    accuracies = []
    for seed in range(3):
        rng = generator(seed)
        chosen = np.isin(block, rng.permutation(np.unique(block))[:16])
        near = rng.permutation(where[chosen])[: len(train)]
        far = where[~chosen]
        far = far[np.isin(labels[far], labels[near])]
        accuracies.append((svm(scene, near, far) == labels[far]).mean())
    assert np.mean(accuracies) < random_oa - 0.05
