"""Bands marked bad, bands of water vapour and pixels without data: found, said, and in no fit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hsi import bands
from hsi.classify.tiles import Input
from hsi.cli.generate import main, parse
from hsi.cli.options import band_numbers
from hsi.errors import SettingsError
from hsi.georeference import Georeference, utm_wkt
from hsi.patches import Strip
from hsi.readers.bad_bands import bands_to_drop, water_bands
from hsi.readers.choose import range_text
from hsi.samples import Samples, open_samples, open_selected_scene
from hsi.scene import Scene
from hsi.settings import Settings
from hsi.writers.cubes import write_envi

ROWS, COLS, BANDS = 26, 24, 12
CENTRES = np.array([370, 450, 550, 650, 850, 1100, 1339, 1340, 1445, 1446, 1900, 2490.0])
WATER = (1, 8, 9, 11, 12)
"""The first and the last lie at the ends of the detectors."""
GRID = Georeference(utm_wkt(33, north=True), (30.0, 0.0, 400000.0, 0.0, -30.0, 4.2e6))
NO_DATA = -9999


def some_labels() -> np.ndarray:
    return np.repeat(np.repeat(np.arange(1, 5).reshape(2, 2), ROWS // 2, 0), COLS // 2, 1)


def some_cube(dtype: str = "int16") -> np.ndarray:
    means = np.random.default_rng(0).integers(1000, 3000, (5, BANDS))
    noise = np.random.default_rng(1).integers(-50, 50, (ROWS, COLS, BANDS))
    return (means[some_labels()] + noise).astype(dtype)


def write(folder: Path, cube: np.ndarray, **facts: object) -> list[str]:
    """An ENVI scene and its labels; the options that name them."""
    header, _ = write_envi(folder / "scene.hdr", cube, **facts)  # type: ignore[arg-type]
    np.save(folder / "labels.npy", some_labels())
    return ["--dataset", str(header), "--labels", str(folder / "labels.npy")]


def selected(options: list[str]) -> tuple[Scene, list[str]]:
    said: list[str] = []
    return open_selected_scene(parse(["cao", *options]), say=said.append), said


def samples_of(options: list[str], *, patch_size: int = 5) -> Samples:
    settings = replace(parse(["cao", *options]), split="random")
    return open_samples(settings, patch_size=patch_size, say=lambda _: None)


# The words of --drop_bands


def test_water_bands_by_their_definition() -> None:
    assert water_bands(CENTRES) == WATER
    assert water_bands(np.array([8000.0, 9000.0])) == ()  # thermal: other windows
    fine = np.arange(300.0, 2600.0)
    expected = [
        n for n, nm in enumerate(fine, start=1)
        if nm < 380 or 1340 <= nm <= 1445 or 1790 <= nm <= 1960 or nm > 2480
    ]  # fmt: skip
    assert water_bands(fine) == tuple(expected)


def test_ranges_are_written_as_they_are_read() -> None:
    numbers = (1, 2, 3, 7, 9, 10)
    assert range_text(numbers) == "1-3,7,9-10"
    assert band_numbers(range_text(numbers)) == numbers
    assert band_numbers("water,1-3,bad") == ("water", 1, 2, 3, "bad")


@pytest.mark.parametrize(
    ("chosen", "dropped"),
    [
        ((), {3, *WATER}), (("bad", "water"), {3, *WATER}), (("bad",), {3}),
        (("water",), set(WATER)), (("none",), set()), (("none", 5), {5}), ((5,), {5, 3, *WATER}),
        (("bad", 5), {3, 5}),
    ],
)  # fmt: skip
def test_what_is_left_out(chosen: tuple[int | str, ...], dropped: set[int]) -> None:
    found, said = bands_to_drop(chosen, bands=BANDS, bad=(3,), wavelengths=CENTRES)
    assert found == tuple(sorted(dropped))
    assert bool(said) == bool(dropped - {5})
    assert "\n" not in said


def test_approximate_wavelengths_are_no_reason_unless_named() -> None:
    def of(chosen: tuple[int | str, ...]) -> tuple[int, ...]:
        return bands_to_drop(chosen, bands=BANDS, wavelengths=CENTRES, exact=False)[0]

    assert of(()) == ()
    assert of(("water",)) == WATER


def test_words_that_are_none() -> None:
    for wrong, said in (("watr", "Did you mean 'water'"), ("none,bad", "not both")):
        with pytest.raises(SettingsError, match=said):
            bands_to_drop(band_numbers(wrong), bands=BANDS)


# In a scene


def test_bad_and_water_bands_are_left_out_and_said_in_one_line(tmp_path: Path) -> None:
    cube = some_cube()
    cube[:, :, 2] = 0  # what a processor leaves of a bad band
    options = write(tmp_path, cube, wavelengths=CENTRES, bad_bands=(3,), georeference=GRID)
    scene, said = selected(options)
    kept = [n for n in range(1, BANDS + 1) if n not in (3, *WATER)]
    np.testing.assert_array_equal(scene.cube, cube[:, :, [n - 1 for n in kept]])
    np.testing.assert_array_equal(scene.wavelengths, CENTRES[[n - 1 for n in kept]])
    assert scene.sensor_bands().tolist() == kept
    assert scene.bad_bands == ()
    assert scene.georeference is not None
    line = next(line for line in said if "Left out" in line)
    assert "1 marked bad by the file (3)" in line
    assert "5 in water absorption or at its ends (1,8-9,11-12)" in line
    all_bands, quiet = selected([*options, "--drop_bands", "none,3"])
    assert all_bands.bands == BANDS - 1
    assert not any("Left out" in line for line in quiet)


def test_a_file_without_wavelengths_says_so_and_keeps_its_bands(tmp_path: Path) -> None:
    scene, said = selected(write(tmp_path, some_cube()))
    assert scene.bands == BANDS
    assert any("no wavelengths" in line for line in said)


def test_scenes_of_the_catalogue_keep_their_bands(
    datasets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HSI_DATASETS", str(datasets))
    for name, count in (("salinas_a", 204), ("synthetic", 200)):
        scene = open_selected_scene(Settings("cao", dataset=name), say=lambda _: None)
        assert (scene.bands, scene.no_data) == (count, None)


def spoil_whole(cube: np.ndarray) -> None:
    cube[:4] = NO_DATA


def spoil_part(cube: np.ndarray) -> None:
    """In some bands only: the value is no measurement there either."""
    cube[:4, :, 5] = NO_DATA


def spoil_with_nan(cube: np.ndarray) -> None:
    cube[:4] = np.nan


@pytest.mark.parametrize(
    ("spoil", "dtype", "no_data"),
    [
        (spoil_whole, "int16", NO_DATA), (spoil_part, "int16", NO_DATA),
        (spoil_whole, "float32", NO_DATA), (spoil_with_nan, "float32", None),
    ],
)  # fmt: skip
def test_pixels_without_data_are_in_no_split_and_no_fit(
    tmp_path: Path, spoil: Callable[[np.ndarray], None], dtype: str, no_data: float | None
) -> None:
    """The same preparation as of a scene whose same pixels are merely unlabelled."""
    cube = some_cube(dtype)
    spoil(cube)
    options = write(tmp_path, cube, no_data=no_data)
    scene, said = selected(options)
    assert scene.no_data is not None
    assert scene.no_data[:4].all()
    assert not scene.no_data[4:].any()
    assert not scene.labels[:4].any()
    assert any(f"{4 * COLS} of {ROWS * COLS} pixels hold no data" in line for line in said)
    found = samples_of(options)
    for mask in found.division.values():
        assert not mask[:4].any()
    truth = some_labels()
    truth[:4] = 0
    np.save(tmp_path / "labels.npy", truth)
    write_envi(tmp_path / "scene.hdr", some_cube(dtype))
    clean = samples_of(options)
    for name in ("low", "high", "offset", "scale"):
        np.testing.assert_array_equal(
            getattr(found.preparation, name), getattr(clean.preparation, name)
        )
    assert found.clipped == clean.clipped


@pytest.mark.parametrize("dtype", ["float32", "int16"])
def test_patches_hold_the_training_mean_where_there_is_no_data(tmp_path: Path, dtype: str) -> None:
    """Which is 0 after standardisation; nothing else changes."""
    cube = some_cube(dtype)
    cube[:4] = NO_DATA
    found = samples_of(write(tmp_path, cube, no_data=NO_DATA))
    prepared = bands.apply(found.preparation, found.scene.cube)
    assert np.abs(prepared[:4]).max() < 1e-5
    np.testing.assert_array_equal(found.scene.cube[4:], cube[4:])
    patch = found.patches.gather(np.array([5 * COLS + 12]))[0]  # reaches rows 3 to 7
    np.testing.assert_array_equal(patch, prepared[3:8, 10:15])


@pytest.mark.parametrize("words", ["", "--band_selection NMF --components 3", "--scaling minmax"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "float32"])
def test_a_map_is_made_of_the_patches_of_the_training(
    tmp_path: Path, dtype: str, words: str
) -> None:
    """Also beside pixels without data, where what fills them is below 0, or between two counts."""
    cube = np.clip(some_cube() / 20, 1, 255)
    cube[..., 0] = np.random.default_rng(2).integers(1, 60, (ROWS, COLS))  # under NMF from -4
    cube = cube.astype(dtype)
    cube[10:14, 5] = 0
    found = samples_of([*write(tmp_path, cube, no_data=0), *words.split()])
    fitted, every = found.preparation, np.arange(ROWS * COLS)
    assert "NMF" not in words or fitted.offset.min() < 0
    shown = Input((ROWS, COLS), np.arange(BANDS), fitted, 5, fitted.offset, no_data=0)
    patches, valid = shown.patches(cube, Strip(0, 0, ROWS, COLS))
    assert np.argwhere(~valid).tolist() == [[row, 5] for row in range(10, 14)]
    np.testing.assert_allclose(patches.gather(every), found.patches.gather(every), atol=1e-5)
    outside = (cube < fitted.low) | (cube > fitted.high)
    assert found.clipped == np.count_nonzero(outside[valid])


def test_zero_as_no_data_must_fill_every_band(tmp_path: Path) -> None:
    """A count of 0 in one band is a dark pixel."""
    cube = some_cube()
    cube[0, 0] = 0
    cube[9, 9, 4] = 0
    scene, _ = selected(write(tmp_path, cube, no_data=0))
    assert np.argwhere(scene.no_data).tolist() == [[0, 0]]


def test_bands_that_are_left_out_are_not_asked_for_data(tmp_path: Path) -> None:
    cube = some_cube()
    cube[:, :, 2] = NO_DATA
    scene, _ = selected(write(tmp_path, cube, no_data=NO_DATA, bad_bands=(3,)))
    assert scene.no_data is None
    assert scene.bands == BANDS - 1


@pytest.mark.parametrize(
    ("bad", "options"), [((3,), []), ((), ["--drop_bands", "3"])], ids=["bbl", "numbers"]
)
@pytest.mark.parametrize("factor", ["", "reflectance scale factor = 10000\n"])
def test_bands_that_are_left_out_may_hold_anything_where_0_is_no_data(
    tmp_path: Path, factor: str, bad: tuple[int, ...], options: list[str]
) -> None:
    cube = some_cube()
    cube[0, :4], cube[0, :4, 2] = 0, 7
    named = write(tmp_path, cube, no_data=0, bad_bands=bad)
    header = tmp_path / "scene.hdr"
    header.write_text(header.read_text() + factor)
    scene, _ = selected([*named, *options])
    assert np.argwhere(scene.no_data).tolist() == [[0, col] for col in range(4)]
    assert not scene.labels[0, :4].any()


def test_a_digit_that_is_no_number_is_no_class(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no class '\u00b2'"):
        selected([*write(tmp_path, some_cube()), "--classes", "\u00b2"])


def test_given_maps_lose_the_pixels_without_data(tmp_path: Path) -> None:
    cube = some_cube()
    cube[:4] = NO_DATA
    options = write(tmp_path, cube, no_data=NO_DATA)
    halves = np.where(np.arange(COLS) % 2, some_labels(), 0)
    np.save(tmp_path / "train.npy", halves)
    given = ["--split", "given", "--train_labels", str(tmp_path / "train.npy")]
    settings = parse(["cao", *options, *given])
    found = open_samples(settings, patch_size=5, say=lambda _: None)
    for mask in found.division.values():
        assert not mask[:4].any()


# The command line


def refused(capsys: pytest.CaptureFixture[str], folder: Path, options: list[str]) -> str:
    code = main(["cao", "--output", str(folder / "run"), "--epochs", "1", *options])
    lines = capsys.readouterr().err.strip().splitlines()
    assert code == 2
    assert len(lines) == 1, lines
    assert not (folder / "run").exists()
    return lines[0]


def cut_data(folder: Path) -> None:
    data = folder / "scene.img"
    data.write_bytes(data.read_bytes()[:-5])


def change_header(old: str, new: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        header = folder / "scene.hdr"
        assert old in header.read_text()
        header.write_text(header.read_text().replace(old, new))

    return change


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (cut_data, ["describes 14976 bytes", "the file has 14971"]),
        (change_header(f"lines = {ROWS}", "lines = 27"), ["describes 15552", "has 14976"]),
        (change_header("Nanometers", "GHz"), ["'GHz'", "Nanometers"]),
        (change_header("Nanometers", "Micrometers"), ["370 to 2490", "'Micrometers'"]),
        (change_header("bbl = {1,", "bbl = {"), ["12 numbers", "'bbl'", "got 11"]),
        (change_header("wavelength = {", "data gain values = {x, "), ["'data gain values'"]),
    ],
)
def test_headers_that_do_not_fit_end_in_one_line(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    spoil: Callable[[Path], None],
    said: list[str],
) -> None:
    options = write(tmp_path, some_cube(), wavelengths=CENTRES, bad_bands=(3,))
    spoil(tmp_path)
    line = refused(capsys, tmp_path, options)
    for word in said:
        assert word in line, line


def test_labels_that_do_not_belong_to_the_scene_end_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cube = some_cube()
    cube[:] = NO_DATA
    options = write(tmp_path, cube, no_data=NO_DATA, georeference=GRID)
    assert f"{cube[:, :, 0].size} hold no data" in refused(capsys, tmp_path, options)
    ring = [[15.0, 42.0], [15.1, 42.0], [15.1, 42.1], [15.0, 42.0]]
    polygon = {"type": "Polygon", "coordinates": [ring]}
    (tmp_path / "fields.geojson").write_text(
        '{"type": "FeatureCollection", "features": [{"type": "Feature", "properties": '
        f'{{"class": 1}}, "geometry": {polygon!s}}}]}}'.replace("'", '"')
    )
    named = ["--dataset", options[1], "--labels", str(tmp_path / "fields.geojson")]
    line = refused(capsys, tmp_path, named)
    assert "EPSG:4326" in line
    assert "EPSG:32633" in line
    assert "ogr2ogr" in line


def test_a_word_that_is_no_kind_of_band_ends_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = write(tmp_path, some_cube(), wavelengths=CENTRES)
    assert "Did you mean 'water'" in refused(capsys, tmp_path, [*options, "--drop_bands", "watr"])
