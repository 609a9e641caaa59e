"""What ENVI headers say beside the size: scales, bad bands, colours; and windows of others."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io

from hsi.errors import DataError
from hsi.readers.raster import Raster, open_raster
from hsi.writers.cubes import write_envi, write_geotiff, write_netcdf

ROWS, COLS, BANDS = 6, 5, 4


def some_cube(dtype: str = "int16") -> np.ndarray:
    return np.random.default_rng(0).integers(1, 3000, (ROWS, COLS, BANDS)).astype(dtype)


def opened(path: Path | str, said: list[str] | None = None) -> Raster:
    return open_raster(str(path), say=(said if said is not None else []).append)


def with_fields(folder: Path, cube: np.ndarray, **fields: object) -> Path:
    header, _ = write_envi(folder / "scene.hdr", cube)
    lines = (f"{name.replace('_', ' ')} = {value}\n" for name, value in fields.items())
    header.write_text(header.read_text() + "".join(lines))
    return header


@pytest.mark.parametrize(
    ("fields", "gain", "offset"),
    [
        ({"reflectance_scale_factor": 10000}, 1e-4, 0),
        ({"data_gain_values": "{0.5, 1, 2, 4}"}, [0.5, 1, 2, 4], 0),
        ({"data_offset_values": "{1, 0, -1, 5}"}, 1, [1, 0, -1, 5]),
        (
            {"data_gain_values": "{2, 2, 2, 2}", "data_offset_values": "{1, 1, 1, 1}",
             "reflectance_scale_factor": 100},
            0.02, 0.01,
        ),
    ],
)  # fmt: skip
def test_scale_factors_are_applied_and_said(
    tmp_path: Path, fields: dict[str, object], gain: object, offset: object
) -> None:
    said: list[str] = []
    read = opened(with_fields(tmp_path, some_cube(), **fields), said)
    expected = some_cube() * np.asarray(gain, float) + np.asarray(offset, float)
    assert read.dtype == np.float32
    np.testing.assert_allclose(read.whole(), expected, rtol=1e-6)
    np.testing.assert_allclose(read.read(slice(1, 3), slice(2, 4)), expected[1:3, 2:4], rtol=1e-6)
    assert said == ["scene.hdr: the scale factors of its header are applied."]


def test_factors_that_change_nothing_leave_the_memory_map(tmp_path: Path) -> None:
    said: list[str] = []
    header = with_fields(
        tmp_path, some_cube(), reflectance_scale_factor=1, data_gain_values="{1, 1, 1, 1}"
    )
    read = opened(header, said)
    assert isinstance(read.array, np.memmap)
    assert read.dtype == np.int16
    assert said == []


def test_the_ignore_value_is_one_of_stored_values(tmp_path: Path) -> None:
    cube = some_cube()
    cube[1, 2] = -9999
    header = with_fields(tmp_path, cube, data_ignore_value=-9999, reflectance_scale_factor=10000)
    read = opened(header)
    values = read.whole()
    assert np.isnan(values[1, 2]).all()
    assert np.isnan(values).sum() == BANDS
    assert np.argwhere(~read.has_data(values)).tolist() == [[1, 2]]


def test_an_ignore_value_that_the_type_cannot_hold_is_none(tmp_path: Path) -> None:
    read = opened(with_fields(tmp_path, some_cube("uint16"), data_ignore_value=-9999))
    assert read.no_data is None
    assert opened(with_fields(tmp_path, some_cube(), data_ignore_value="-9999.0")).no_data == -9999


def test_bad_bands_default_bands_and_colours(tmp_path: Path) -> None:
    header = with_fields(
        tmp_path, some_cube()[:, :, :3], bbl="{1, 0, 1}", default_bands="{3, 2, 1}",
        class_lookup="{0, 0, 0, 255, 0, 1, 2, 3, 4}", class_names="{none, Corn, Oats}",
    )  # fmt: skip
    read = opened(header)
    assert read.bad_bands == (2,)
    assert read.default_bands == (3, 2, 1)
    assert read.class_colors == {1: (255, 0, 1), 2: (2, 3, 4)}
    assert read.class_names == {1: "Corn", 2: "Oats"}
    assert opened(with_fields(tmp_path, some_cube(), default_bands="{9, 2, 1}")).default_bands == ()


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"reflectance_scale_factor": 0}, "above 0"),
        ({"reflectance_scale_factor": "many"}, "'many'"),
        ({"data_gain_values": "{1, 2}"}, "4 numbers in the header field 'data gain values'"),
        ({"bbl": "{1, x, 1, 1}"}, "numbers in the header field 'bbl'"),
        ({"data_ignore_value": "none"}, "'data ignore value'"),
        ({"map_info": "{UTM, 1, 1, east, 0, 30, 30}"}, "map info: expected numbers"),
        ({"map_info": "{UTM, 1, 1, 0, 0, 0, 30}"}, "span a grid"),
        (
            {"map_info": "{UTM, 1, 1, 0, 0, 9, 9, 33, North, WGS-84, units=Yards}"},
            "expected units Meters, .* Feet of UTM, got 'Yards'",
        ),
        (
            {"map_info": "{Geographic Lat/Lon, 1, 1, 0, 0, 9, 9, WGS-84, Units = Radians}"},
            "expected units Degrees, Minutes, Seconds of Geographic Lat/Lon, got 'Radians'",
        ),
    ],
)
def test_fields_that_cannot_be_meant(tmp_path: Path, fields: dict[str, object], said: str) -> None:
    with pytest.raises(DataError, match=said) as caught:
        opened(with_fields(tmp_path, some_cube(), **fields))
    assert "\n" not in str(caught.value)
    assert "scene.hdr" in str(caught.value)


# Windows of files with keys


def save_npy(folder: Path, cube: np.ndarray) -> Path:
    np.save(folder / "a.npy", cube)
    return folder / "a.npy"


def save_npz(folder: Path, cube: np.ndarray) -> Path:
    np.savez(folder / "a.npz", cube=cube)
    return folder / "a.npz"


def save_mat(folder: Path, cube: np.ndarray) -> Path:
    scipy.io.savemat(folder / "a.mat", {"cube": cube})
    return folder / "a.mat"


def save_v73(folder: Path, cube: np.ndarray) -> Path:
    """Axes reversed, as MATLAB writes them."""
    path = folder / "b.mat"
    with h5py.File(path, "w", userblock_size=512) as file:
        item = file.create_dataset("cube", data=np.ascontiguousarray(cube.T))
        item.attrs["MATLAB_class"] = np.bytes_(str(cube.dtype))
    header = b"MATLAB 7.3 MAT-file, Platform: GLNXA64, Created on: Mon Jan  1 00:00:00 2024"
    with open(path, "r+b") as stream:
        stream.write(header.ljust(116) + bytes(8) + b"\x00\x02IM")
    return path


def save_h5(folder: Path, cube: np.ndarray) -> Path:
    with h5py.File(folder / "a.h5", "w") as file:
        file["group/cube"] = cube
    return folder / "a.h5"


@pytest.mark.parametrize("save", [save_npy, save_npz, save_mat, save_v73, save_h5])
@pytest.mark.parametrize("shape", [(ROWS, COLS, BANDS), (5, 5, 5)])
def test_a_window_is_a_part_of_the_whole(
    tmp_path: Path, save: Callable[[Path, np.ndarray], Path], shape: tuple[int, int, int]
) -> None:
    cube = np.random.default_rng(1).integers(0, 999, shape).astype(np.int16)
    read = opened(save(tmp_path, cube))
    assert read.shape == shape
    assert read.key == ("" if save is save_npy else "group/cube" if save is save_h5 else "cube")
    np.testing.assert_array_equal(read.whole(), cube)
    window = read.read(slice(1, 4), slice(2, 5))
    np.testing.assert_array_equal(window, cube[1:4, 2:5])
    assert window.flags.c_contiguous


def as_envi(interleave: str) -> Callable[[Path, np.ndarray], Path]:
    return lambda folder, cube: write_envi(folder / "a.hdr", cube, interleave=interleave)[0]


@pytest.mark.parametrize(
    "save",
    [
        *(as_envi(interleave) for interleave in ("bsq", "bil", "bip")), save_npy, save_v73, save_h5,
        lambda folder, cube: write_geotiff(folder / "a.tif", cube)[0],
        lambda folder, cube: write_netcdf(folder / "a.nc", cube)[0],
    ],
    ids=["bsq", "bil", "bip", "npy", "v73", "h5", "tif", "nc"],
)  # fmt: skip
def test_a_window_takes_the_memory_of_a_window(
    tmp_path: Path, save: Callable[[Path, np.ndarray], Path]
) -> None:
    cube = np.zeros((512, 64, 32), np.float32)
    read = opened(save(tmp_path, cube))
    size = 16 * 64 * 32 * 4
    tracemalloc.start()
    try:
        read.read(slice(240, 256), slice(0, 64))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 * size + (1 << 19) < cube.nbytes / 2


@pytest.mark.parametrize("offsets", ["{0, 0, 0, 0}", "{0, 5, 0, 0}"])
def test_a_bad_band_does_not_count_where_0_is_no_data(tmp_path: Path, offsets: str) -> None:
    cube = some_cube()
    cube[1, 2], cube[1, 2, 3] = 0, 7
    cube[2, 2, :3] = 0, 9, 0  # dark, but with data
    header = with_fields(
        tmp_path, cube, data_ignore_value=0, reflectance_scale_factor=100,
        data_offset_values=offsets, bbl="{1, 1, 1, 0}",
    )  # fmt: skip
    read = opened(header)
    good = read.whole()[:, :, :3]
    assert np.argwhere(~read.has_data(good)).tolist() == [[1, 2]]
    np.testing.assert_allclose(good[2, 2, [0, 2]], 0)
    assert np.isnan(read.no_data) == (offsets != "{0, 0, 0, 0}")


@pytest.mark.parametrize("zone", ["\u00b2\u00b3", "x"])
def test_a_zone_that_is_no_number_names_no_system(tmp_path: Path, zone: str) -> None:
    place = f"{{UTM, 1, 1, 400000, 4200000, 30, 30, {zone}, North, WGS-84}}"
    georeference = opened(with_fields(tmp_path, some_cube(), map_info=place)).georeference
    assert georeference is not None
    assert georeference.crs == ""
