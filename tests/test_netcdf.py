"""NetCDF 4 and HDF5 of sensors: files of the layout of EMIT L2A and PRISMA L2D, made here.

No product of either sensor is at hand: these are small files with the same groups, names, axes and
attributes, and nothing else is claimed of the readers.
"""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import rasterio
import rasterio.shutil

from hsi.errors import DataError
from hsi.georeference import WGS84, Georeference, utm_wkt
from hsi.readers import read_array
from hsi.readers.labels import read_labels
from hsi.readers.netcdf import ROWS_AT_ONCE
from hsi.readers.raster import Raster, open_raster

FILL = -9999.0


def opened(spec: Path | str, said: list[str] | None = None) -> Raster:
    return open_raster(str(spec), say=(said if said is not None else []).append)


def refusal(spec: Path | str) -> str:
    with pytest.raises(DataError) as caught:
        opened(spec)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# EMIT

LINES, SAMPLES, BANDS = 2 * ROWS_AT_ONCE + 5, 6, 8
GOOD = np.array([1, 1, 0, 0, 1, 1, 1, 0], np.float32)
EMIT_CENTRES = np.linspace(381, 2493, BANDS).astype(np.float32)
MAP = Georeference(WGS84, (5e-4, 0.0, -118.5, 0.0, -5e-4, 34.5))


def emit_cube() -> np.ndarray:
    cube = np.random.default_rng(0).random((LINES, SAMPLES, BANDS)).astype(np.float32)
    cube[3, 2] = FILL
    return cube


def lookup() -> tuple[np.ndarray, np.ndarray]:
    """Line and sample, from 1, of each pixel of a map that is turned against the swath."""
    down = np.zeros((LINES + 4, SAMPLES + 9), np.int32)
    across = np.zeros_like(down)
    for row in range(down.shape[0]):
        for col in range(down.shape[1]):
            line, sample = row - 2 + (col - 4) // 3, col - 4
            if 0 <= line < LINES and 0 <= sample < SAMPLES:
                down[row, col], across[row, col] = line + 1, sample + 1
    return down, across


@pytest.fixture
def emit(tmp_path: Path) -> Path:
    path = tmp_path / "EMIT_L2A_RFL.nc"
    with h5py.File(path, "w") as file:
        variable = file.create_dataset("reflectance", data=emit_cube(), chunks=(8, 6, 8))
        variable.attrs["_FillValue"] = np.array([FILL], np.float32)
        for name, size, axis in (("downtrack", LINES, 0), ("crosstrack", SAMPLES, 1),
                                 ("bands", BANDS, 2)):  # fmt: skip
            scale = file.create_dataset(name, data=np.zeros(size, np.float32))
            scale.make_scale(name)
            variable.dims[axis].attach_scale(scale)
        group = file.create_group("sensor_band_parameters")
        group["wavelengths"] = EMIT_CENTRES
        group["wavelengths"].attrs["units"] = "nm"
        group["fwhm"] = np.full(BANDS, 8.5, np.float32)
        group["good_wavelengths"] = GOOD
        group = file.create_group("location")
        group["glt_y"], group["glt_x"] = lookup()
        for name in ("lon", "lat", "elev"):
            group[name] = np.zeros((LINES, SAMPLES))
        file.attrs["spatial_ref"] = WGS84
        a, b, c, d, e, f = MAP.transform
        file.attrs["geotransform"] = np.array([c, a, b, f, d, e])
        file.attrs["instrument"] = "EMIT"
    return path


def test_emit_as_sensed(emit: Path) -> None:
    said: list[str] = []
    read = opened(emit, said)
    assert read.shape == (LINES, SAMPLES, BANDS)
    np.testing.assert_array_equal(read.whole(), emit_cube())
    np.testing.assert_allclose(read.wavelengths, EMIT_CENTRES)
    assert read.bad_bands == tuple((np.flatnonzero(GOOD == 0) + 1).tolist())
    assert read.no_data == FILL
    assert read.sensor == "EMIT"
    assert np.argwhere(~read.has_data(read.whole())).tolist() == [[3, 2]]
    assert read.georeference is None  # the map of the file is that of its lookup table
    assert any(f"{emit}:ortho" in line for line in said)
    np.testing.assert_array_equal(read.read(slice(5, 9), slice(1, 3)), emit_cube()[5:9, 1:3])


def test_emit_on_its_map_is_a_slow_walk_through_the_lookup_table(emit: Path) -> None:
    down, across = lookup()
    expected = np.full((*down.shape, BANDS), FILL, np.float32)
    for place in np.argwhere(down > 0):
        line, sample = down[tuple(place)] - 1, across[tuple(place)] - 1
        expected[tuple(place)] = emit_cube()[line, sample]
    read = opened(f"{emit}:ortho")
    assert read.shape == expected.shape
    np.testing.assert_array_equal(read.whole(), expected)
    assert read.georeference == MAP
    for rows, cols in ((slice(0, 3), slice(0, 4)), (slice(40, 120), slice(3, 9))):
        np.testing.assert_array_equal(read.read(rows, cols), expected[rows, cols])
    holds = read.has_data(read.whole())
    assert not holds[down == 0].any()
    assert np.count_nonzero(holds) == np.count_nonzero(down) - 1


def test_emit_whose_reflectance_is_already_on_a_map(emit: Path) -> None:
    """As NASA's own notebooks write it: no lookup table any more, the map holds."""
    with h5py.File(emit, "a") as file:
        del file["location"]
    read = opened(emit)
    assert read.georeference == MAP


def test_emit_with_wavelengths_in_a_wrong_unit(emit: Path) -> None:
    with h5py.File(emit, "a") as file:
        file["sensor_band_parameters/wavelengths"].attrs["units"] = "um"
    assert "381 to 2493 in 'um'" in refusal(emit)


def test_a_cut_file_is_one_line(emit: Path, tmp_path: Path) -> None:
    whole = emit.read_bytes()
    cut = tmp_path / "cut.nc"
    for share in (0.1, 0.5, 0.95):
        cut.write_bytes(whole[: int(share * len(whole))])
        assert "truncated or corrupt" in refusal(cut)


def test_a_variable_that_is_not_there_lists_those_that_are(emit: Path) -> None:
    text = refusal(f"{emit}:radiance")
    assert "'radiance'" in text
    assert f"reflectance ({LINES} x {SAMPLES} x {BANDS} float32)" in text


@pytest.mark.parametrize(
    ("dtype", "attributes", "fill"),
    [("f4", {}, -9999), ("f4", {"missing_value": -1.0}, -1), ("u2", {}, 65535),
     ("f4", {"_FillValue": -5.0, "missing_value": -1.0}, -5)],
)  # fmt: skip
def test_the_map_of_emit_holds_no_data_off_the_swath(
    emit: Path, dtype: str, attributes: dict[str, float], fill: float
) -> None:
    with h5py.File(emit, "a") as file:
        del file["reflectance"]
        item = file.create_dataset("reflectance", data=np.ones((LINES, SAMPLES, BANDS), dtype))
        item.attrs.update({name: item.dtype.type(value) for name, value in attributes.items()})
    read = opened(f"{emit}:ortho")
    assert read.no_data == fill
    values, inside = read.whole(), lookup()[0] > 0
    assert (values[~inside] == fill).all()
    np.testing.assert_array_equal(read.has_data(values), inside)


def test_what_emit_sensed_in_two_axes_is_not_on_the_map_either(emit: Path) -> None:
    with h5py.File(emit, "a") as file:
        file["truth"] = np.ones((LINES, SAMPLES), np.uint8)
    grid = opened(f"{emit}:ortho").georeference
    spec, shape = f"{emit}:truth", (LINES, SAMPLES)
    assert read_array(spec, kind="labels", say=lambda _: None).georeference is None
    elsewhere = Georeference(WGS84, (1.0, 0.0, 7.0, 0.0, -1.0, 7.0))
    for scene in (grid, elsewhere):  # it can be compared with neither
        found = read_labels(spec, shape=shape, georeference=scene, say=lambda _: None)
        assert found.array.all()


# NetCDF of others


def netcdf(path: Path, axes: tuple[str, ...], cube: np.ndarray, **attributes: object) -> Path:
    """A variable `data` with named axes, as xarray writes them."""
    with h5py.File(path, "w") as file:
        file.attrs["_NCProperties"] = b"version=2,h5netcdf=1.8"
        item = file.create_dataset("data", data=cube)
        for place, name in enumerate(axes):
            values = np.arange(cube.shape[place], dtype=float)
            file[name] = values * 2 + 100 if name in ("x", "lon") else 500 - values
            if name == "wavelength":
                file[name][:] = 0.4 + 0.1 * values
                file[name].attrs["units"] = "micrometers"
            file[name].make_scale(name)
            item.dims[place].attach_scale(file[name])
        for name, value in attributes.items():
            item.attrs[name] = value
    return path


@pytest.mark.parametrize(
    "axes",
    [("y", "x", "wavelength"), ("wavelength", "y", "x"), ("wavelength", "lat", "lon"),
     ("x", "y", "wavelength")],
)  # fmt: skip
def test_axes_are_known_by_their_names(tmp_path: Path, axes: tuple[str, ...]) -> None:
    truth = np.random.default_rng(1).integers(0, 99, (4, 4, 4)).astype(np.int16)
    places = {"y": 0, "lat": 0, "x": 1, "lon": 1, "wavelength": 2}
    stored = truth.transpose([places[name] for name in axes])
    read = opened(netcdf(tmp_path / "a.nc", axes, stored))
    np.testing.assert_array_equal(read.whole(), truth)
    np.testing.assert_array_equal(read.read(slice(1, 3), slice(2, 4)), truth[1:3, 2:4])
    np.testing.assert_allclose(read.wavelengths, [400, 500, 600, 700])
    assert read.georeference is not None
    assert read.georeference.transform == (2.0, 0.0, 99.0, 0.0, -1.0, 500.5)


@pytest.mark.parametrize(
    "axes",
    [("p", "height", "width"), ("p", "number_of_lines", "pixels_per_line"),
     ("p", "nrows", "ncols"), ("wavelength", "down", "across"), ("n_bands", "down", "across"),
     ("channel", "x", "down"),
     ("down", "spectral_dim", "across"), ("down", "y", "channels"), ("height", "lat", "lon"),
     ("sample", "y", "x")],
)  # fmt: skip
def test_a_cube_is_known_by_its_bands_or_by_less_common_names(
    tmp_path: Path, axes: tuple[str, ...]
) -> None:
    order = {
        ("channel", "x", "down"): (2, 1, 0), ("down", "spectral_dim", "across"): (0, 2, 1),
        ("down", "y", "channels"): (1, 0, 2),
    }.get(axes, (1, 2, 0))  # fmt: skip
    stored = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    said: list[str] = []
    read = opened(netcdf(tmp_path / "a.nc", axes, stored), said)
    np.testing.assert_array_equal(read.whole(), stored.transpose(order))
    assert not any("not known by name" in line for line in said)


@pytest.mark.parametrize(
    "attributes", [{"units": "nm"}, {"standard_name": "sensor_band_wavelength"}]
)
def test_an_axis_of_bands_is_known_by_its_coordinates(
    tmp_path: Path, attributes: dict[str, str]
) -> None:
    stored = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    path = netcdf(tmp_path / "a.nc", ("p", "q", "r"), stored)
    with h5py.File(path, "a") as file:
        file["q"].attrs["units"] = "m"  # a length, but none of light
        file["p"].attrs.update(attributes)
    np.testing.assert_array_equal(opened(path).whole(), stored.transpose(1, 2, 0))


def test_the_order_of_unknown_axes_is_said(tmp_path: Path) -> None:
    stored = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    said: list[str] = []
    read = opened(netcdf(tmp_path / "a.nc", ("p", "q", "r"), stored), said)
    np.testing.assert_array_equal(read.whole(), stored)
    assert (
        "a.nc: axes of 'data' not known by name (p, q, r); taken as stored: 3 rows, 4 columns, "
        "5 bands."
    ) in said


@pytest.mark.parametrize("fill", [np.int16(-1), np.uint16(65535)])
@pytest.mark.parametrize("order", ["<", ">"])
def test_unsigned_values_that_are_stored_as_signed(
    tmp_path: Path, order: str, fill: np.generic
) -> None:
    truth = np.arange(60).reshape(4, 5, 3) * 1000
    truth[1, 2] = 65535
    stored = truth.astype(f"{order}u2").view(f"{order}i2")
    path = netcdf(tmp_path / "a.nc", ("y", "x", "band"), stored, _Unsigned="true", _FillValue=fill)
    read = opened(path)
    assert (read.dtype.kind, read.no_data) == ("u", 65535)
    np.testing.assert_array_equal(read.whole(), truth)
    np.testing.assert_array_equal(read.read(slice(1, 3), slice(2, 4)), truth[1:3, 2:4])
    assert np.argwhere(~read.has_data(read.whole())).tolist() == [[1, 2]]
    with h5py.File(path, "a") as file:
        file["data"].attrs["scale_factor"] = 1e-4
    expected = truth * 1e-4
    expected[1, 2] = np.nan
    np.testing.assert_allclose(opened(path).whole(), expected, rtol=1e-6)


def test_unsigned_values_of_emit_on_its_map(emit: Path) -> None:
    with h5py.File(emit, "a") as file:
        del file["reflectance"]
        stored = np.full((LINES, SAMPLES, BANDS), 40000, np.uint16).view(np.int16)
        item = file.create_dataset("reflectance", data=stored)
        item.attrs.update({"_Unsigned": "true", "_FillValue": np.int16(-1)})
    values = opened(f"{emit}:ortho").whole()
    inside = lookup()[0] > 0
    assert (values[inside] == 40000).all()
    assert (values[~inside] == 65535).all()


@pytest.mark.parametrize("factor", [{}, {"scale_factor": 0.5}])
@pytest.mark.parametrize(
    ("attributes", "no_data"),
    [({"_FillValue": -5, "missing_value": -7}, -5), ({"_FillValue": -7, "missing_value": -5}, -7),
     ({"missing_value": np.array([-5, -7])}, -5),
     ({"_FillValue": 0, "missing_value": [-5, -7]}, -5),
     ({"_FillValue": -9e9, "missing_value": [-7, -5]}, -7)],
)  # fmt: skip
def test_every_value_of_no_data_is_masked(
    tmp_path: Path, attributes: dict[str, object], no_data: int, factor: dict[str, float]
) -> None:
    stored = np.arange(60, dtype=np.int16).reshape(4, 5, 3) + 1
    stored[0, 1], stored[2, 3, 0], stored[3, 3], stored[3, 4, 1] = -5, -7, 0, 0
    read = opened(netcdf(tmp_path / "a.nc", ("y", "x", "band"), stored, **attributes, **factor))
    without = [[0, 1], [2, 3]]
    if attributes.get("_FillValue") == 0:  # in every band; in one of them it is a dark pixel
        without.append([3, 3])
    assert np.isnan(read.no_data) if factor else read.no_data == no_data
    assert np.argwhere(~read.has_data(read.whole())).tolist() == without
    window = read.read(slice(2, 4), slice(3, 5))
    assert np.argwhere(~read.has_data(window)).tolist() == [[r - 2, c - 3] for r, c in without[1:]]


@pytest.mark.parametrize("text", ["none", ""])
def test_a_text_is_no_value_of_no_data(tmp_path: Path, text: str) -> None:
    cube = np.ones((4, 5, 3), np.float32)
    assert opened(netcdf(tmp_path / "a.nc", ("y", "x", "band"), cube, missing_value=text)
                  ).no_data is None  # fmt: skip


@pytest.mark.parametrize("place", ["swath/fields", "swath", "swath/fields/sensor_band_parameters"])
def test_wavelengths_are_found_from_the_group_of_the_cube_on_upwards(
    tmp_path: Path, place: str
) -> None:
    path = tmp_path / "a.nc"
    with h5py.File(path, "w") as file:
        file.attrs["_NCProperties"] = b"version=2,h5netcdf=1.8"
        file["swath/fields/refl"] = np.ones((4, 5, 3), np.float32)
        file[f"{place}/wavelengths"] = [450.0, 550.0, 650.0]
        file[f"{place}/wavelengths"].attrs["units"] = "nm"
        file[f"{place}/good_bands"] = [1, 0, 1]
        file["wavelengths"] = [800.0, 900.0, 1000.0]  # of another cube, further away
        # An axis without coordinates is an array of zeros in the file.
        file["swath/fields/wavelength"] = np.zeros(3, np.float32)
        file["swath/fields/wavelength"].make_scale(
            "This is a netCDF dimension but not a netCDF variable.         3"
        )
    read = opened(path)
    np.testing.assert_array_equal(read.wavelengths, [450, 550, 650])
    assert read.bad_bands == (2,)


def test_packed_values_are_unpacked_and_fills_become_nan(tmp_path: Path) -> None:
    packed = np.arange(48, dtype=np.int16).reshape(4, 4, 3)
    packed[1, 2] = -1
    packed[0, 0, 0] = -1
    path = netcdf(
        tmp_path / "a.nc", ("y", "x", "band"), packed, scale_factor=0.5, add_offset=10.0,
        _FillValue=np.int16(-1),
    )  # fmt: skip
    said: list[str] = []
    read = opened(path, said)
    values = read.whole()
    assert values.dtype == np.float32
    assert np.isnan(values[1, 2]).all()
    assert np.isnan(values).sum() == 4
    np.testing.assert_allclose(values[0, 0], [np.nan, 10.5, 11.0])
    assert np.isnan(read.no_data)
    assert any("scale factors" in line for line in said)


@pytest.mark.parametrize(
    "attributes",
    [{"scale_factor": 1.0}, {"add_offset": 0}, {"scale_factor": np.ones(3), "add_offset": 0.0}],
)
def test_factors_that_change_nothing_leave_whole_numbers(
    tmp_path: Path, attributes: dict[str, object]
) -> None:
    large = np.full((4, 4, 3), 2**24 + 1, np.int32)
    path = netcdf(tmp_path / "a.nc", ("y", "x", "band"), large, _FillValue=-1, **attributes)
    read = opened(path)
    assert (read.dtype, read.no_data) == (np.int32, -1)
    np.testing.assert_array_equal(read.whole(), large)


@pytest.mark.parametrize("name", ["scale_factor", "add_offset"])
def test_factors_of_each_band(tmp_path: Path, name: str) -> None:
    stored, given = np.full((4, 4, 3), 10, np.int16), np.array([1.0, 0.5, 2.0])
    path = netcdf(tmp_path / "a.nc", ("y", "x", "band"), stored, **{name: given})
    expected = stored * given if name == "scale_factor" else stored + given
    np.testing.assert_allclose(opened(path).whole(), expected)
    for wrong, said in ((given[:2], "got 2 numbers"), ("half", "got 'half'")):
        with h5py.File(path, "a") as file:
            file["data"].attrs[name] = wrong
        text = refusal(path)
        assert f"a.nc:data: expected {name} as one number or 3, one per band, {said}" in text


def test_a_label_map_with_its_legend(tmp_path: Path) -> None:
    labels = np.array([[0, 1, 2], [2, 2, 9]], np.uint8)
    path = netcdf(
        tmp_path / "a.nc", ("y", "x"), labels, flag_values=np.array([1, 2, 9], np.uint8),
        flag_meanings="corn_notill oats woods", _FillValue=np.uint8(0),
    )  # fmt: skip
    found = read_array(str(path), kind="labels", say=lambda _: None)
    np.testing.assert_array_equal(found.array, labels)
    assert found.class_names == {1: "corn notill", 2: "oats", 9: "woods"}


def test_numbers_of_rows_and_columns_are_no_map(tmp_path: Path) -> None:
    path = tmp_path / "a.nc"
    with h5py.File(path, "w") as file:
        item = file.create_dataset("data", data=np.zeros((3, 4, 2), np.float32))
        for place, name in enumerate(("y", "x", "band")):
            file[name] = np.arange(item.shape[place])
            file[name].make_scale(name)
            item.dims[place].attach_scale(file[name])
    assert opened(path).georeference is None


# The map of others

UTM = utm_wkt(33, north=True)
NORTH_UP = (30.0, 0.0, 500000.0, 0.0, -30.0, 5000000.0)
SOUTH_UP = (30.0, 0.0, 500000.0, 0.0, 30.0, 4999820.0)
EAST, SOUTH = 500015 + 30.0 * np.arange(5), 4999985 - 30.0 * np.arange(6)


def mapped(
    path: Path,
    down: np.ndarray,
    across: np.ndarray,
    geotransform: str | None = "500000 30 0 5000000 0 -30",
    *,
    group: str = "/",
    mapping: str = "crs",
) -> Path:
    """A variable `data` with coordinates y and x and a grid mapping, all of them in one group."""
    with h5py.File(path, "w") as file:
        holder = file.require_group(group)
        item = holder.create_dataset("data", data=np.zeros((len(down), len(across)), np.uint8))
        for place, (name, values) in enumerate((("y", down), ("x", across))):
            holder[name] = values
            holder[name].make_scale(name)
            item.dims[place].attach_scale(holder[name])
        item.attrs["grid_mapping"] = mapping
        holder.create_dataset("crs", data=np.int32(0)).attrs["crs_wkt"] = UTM
        if geotransform is not None:
            holder["crs"].attrs["GeoTransform"] = geotransform
    return path


def grid_of(spec: Path | str) -> Georeference | None:
    return read_array(str(spec), kind="labels", say=lambda _: None).georeference


@pytest.mark.parametrize(
    ("down", "across", "expected"),
    [
        (SOUTH, EAST, NORTH_UP),
        (SOUTH[::-1], EAST, SOUTH_UP),
        (SOUTH, EAST[::-1], (-30.0, 0.0, 500150.0, 0.0, -30.0, 5000000.0)),
        (SOUTH[:1:-1], EAST[1:], (30.0, 0.0, 500030.0, 0.0, 30.0, 4999820.0)),
        (SOUTH[1:], EAST[:4], (30.0, 0.0, 500000.0, 0.0, -30.0, 4999970.0)),
        (SOUTH[::-1] / 1000, EAST / 1000, SOUTH_UP),
        (SOUTH[::-1] + np.array([0, 9, 0, 0, -9, 0]), EAST, SOUTH_UP),
        (np.arange(6), np.arange(5), NORTH_UP),
        (np.arange(1, 7), np.arange(1, 6), NORTH_UP),
        (np.zeros(6), np.zeros(5), NORTH_UP),
        (np.full(6, np.nan), EAST, NORTH_UP),
        (SOUTH[::-1], EAST[:1], SOUTH_UP),
    ],
    ids=["agree", "rows from the south", "columns from the east", "a part from the south",
         "a part", "kilometres", "too coarse", "numbers", "numbers from 1", "none", "no numbers",
         "one column"],
)  # fmt: skip
def test_coordinates_hold_where_the_geotransform_disagrees(
    tmp_path: Path, down: np.ndarray, across: np.ndarray, expected: tuple[float, ...]
) -> None:
    path = mapped(tmp_path / "a.nc", down, across)
    assert grid_of(f"{path}:data") == Georeference(UTM, expected)


def test_packed_coordinates_are_unpacked(tmp_path: Path) -> None:
    path = mapped(tmp_path / "a.nc", np.arange(6, dtype=np.int16), EAST)
    with h5py.File(path, "a") as file:
        file["y"].attrs.update({"scale_factor": 30.0, "add_offset": SOUTH[-1]})
    assert grid_of(path) == Georeference(UTM, SOUTH_UP)


def test_a_turned_geotransform_holds_against_coordinates(tmp_path: Path) -> None:
    path = mapped(tmp_path / "a.nc", SOUTH[::-1], EAST, "500000 26 -15 5000000 -15 -26")
    expected = Georeference(UTM, (26.0, -15.0, 500000.0, -15.0, -26.0, 5000000.0))
    assert grid_of(path) == expected


def test_what_gdal_writes_from_south_to_north_lies_where_gdal_has_it(tmp_path: Path) -> None:
    truth = np.arange(30, dtype=np.int16).reshape(6, 5)
    with rasterio.open(
        tmp_path / "a.tif", "w", driver="GTiff", height=6, width=5, count=1, dtype="int16",
        crs="EPSG:32633", transform=rasterio.Affine(*NORTH_UP),
    ) as file:  # fmt: skip
        file.write(truth, 1)
    rasterio.shutil.copy(tmp_path / "a.tif", tmp_path / "a.nc", driver="netCDF", FORMAT="NC4")
    spec = f"{tmp_path / 'a.nc'}:Band1"
    read = read_array(spec, kind="labels", say=lambda _: None)
    assert read.georeference is not None
    assert read.georeference.epsg == 32633
    north_up = Georeference(UTM, NORTH_UP)
    for row, col in np.ndindex(truth.shape):
        place = read.georeference.row_col(*north_up.xy(row + 0.5, col + 0.5))
        assert read.array[int(place[0]), int(place[1])] == truth[row, col]
    with pytest.raises(DataError, match="lie elsewhere"):
        read_labels(spec, shape=(6, 5), georeference=north_up, say=lambda _: None)


@pytest.mark.parametrize("geotransform", [None, "500000 30 0 5000000 0 -30"])
@pytest.mark.parametrize("group", ["/", "swath/fields"])
@pytest.mark.parametrize("mapping", ["crs", "crs: x y", "other: lat lon crs: y x", "/{group}/crs"])
def test_the_grid_mapping_is_found_in_its_group_and_by_its_axes(
    tmp_path: Path, mapping: str, group: str, geotransform: str | None
) -> None:
    path = tmp_path / "a.nc"
    mapped(path, SOUTH, EAST, geotransform, group=group, mapping=mapping.format(group=group))
    assert grid_of(path) == Georeference(UTM, NORTH_UP)


def test_the_grid_mapping_may_stand_above_the_group(tmp_path: Path) -> None:
    path = mapped(tmp_path / "a.nc", SOUTH, EAST, group="swath/fields")
    with h5py.File(path, "a") as file:
        file.move("swath/fields/crs", "crs")
    assert grid_of(path) == Georeference(UTM, NORTH_UP)


# PRISMA

P_ROWS, P_COLS = 5, 4
VNIR = np.array([0, 0, 980.0, 700.0, 450.0, 402.0])  # descending; 0 for bands that are not there
SWIR = np.array([2490.0, 1800.0, 1000.0, 950.0, 0])
LIMITS = {"Vnir": (0.01, 0.81), "Swir": (0.0, 0.5)}


@pytest.fixture
def prisma(tmp_path: Path) -> Path:
    path = tmp_path / "PRS_L2D_STD.he5"
    random = np.random.default_rng(2)
    with h5py.File(path, "w") as file:
        fields = file.create_group("HDFEOS/SWATHS/PRS_L2D_HCO/Data Fields")
        for name, centres in (("Vnir", VNIR), ("Swir", SWIR)):
            cube = random.integers(1, 65536, (P_ROWS, len(centres), P_COLS)).astype(np.uint16)
            cube[0, :, 0] = 0
            fields[f"{name.upper()}_Cube"] = cube
            fields[f"{name.upper()}_PIXEL_L2_ERR_MATRIX"] = np.zeros(cube.shape, np.uint8)
            file.attrs[f"List_Cw_{name}"] = centres.astype(np.float32)
            file.attrs[f"List_Cw_{name}_Flags"] = (centres > 0).astype(np.uint8)
            for end, limit in zip(("Min", "Max"), LIMITS[name], strict=True):
                file.attrs[f"L2Scale{name}{end}"] = np.float32(limit)
        file.attrs["Epsg_Code"] = np.int32(32633)
        file.attrs["Product_ULcorner_easting"] = np.float32(400000.0)
        file.attrs["Product_ULcorner_northing"] = np.float32(4200000.0)
        file.attrs["Product_LRcorner_easting"] = np.float32(400000.0 + 30 * (P_COLS - 1))
        file.attrs["Product_LRcorner_northing"] = np.float32(4200000.0 - 30 * (P_ROWS - 1))
    return path


def test_prisma_is_both_spectrometers_by_wavelength(prisma: Path) -> None:
    """A literal reading: every band of both cubes, scaled by the limits of its own."""
    bands = []
    with h5py.File(prisma) as file:
        for name, centres in (("Vnir", VNIR), ("Swir", SWIR)):
            stored = file[f"HDFEOS/SWATHS/PRS_L2D_HCO/Data Fields/{name.upper()}_Cube"]
            low, high = LIMITS[name]
            for place, centre in enumerate(centres):
                if centre:
                    bands.append((centre, low + stored[:, place] * (high - low) / 65535))
    bands.sort(key=lambda band: band[0])
    expected = np.stack([values for _, values in bands], axis=2)
    expected[0, 0] = np.nan
    read = opened(prisma)
    assert read.shape == (P_ROWS, P_COLS, 8)
    np.testing.assert_array_equal(read.wavelengths, [centre for centre, _ in bands])
    np.testing.assert_allclose(read.whole(), expected, rtol=1e-5)
    np.testing.assert_allclose(read.read(slice(2, 4), slice(1, 3)), expected[2:4, 1:3], rtol=1e-5)
    assert np.argwhere(~read.has_data(read.whole())).tolist() == [[0, 0]]
    assert (read.sensor, read.bad_bands) == ("PRISMA", ())


@pytest.mark.parametrize("between", [1, 0])
def test_prismas_corners_are_taken_as_what_gives_pixels_of_30_m(prisma: Path, between: int) -> None:
    if not between:
        with h5py.File(prisma, "a") as file:
            file.attrs["Product_LRcorner_easting"] = np.float32(400000.0 + 30 * P_COLS)
            file.attrs["Product_LRcorner_northing"] = np.float32(4200000.0 - 30 * P_ROWS)
    grid = opened(prisma).georeference
    assert grid is not None
    assert grid.epsg == 32633
    half = 15.0 * between
    np.testing.assert_allclose(
        grid.transform, (30, 0, 400000 - half, 0, -30, 4200000 + half), atol=1e-6
    )


def test_prisma_without_its_attributes_says_which(prisma: Path) -> None:
    with h5py.File(prisma, "a") as file:
        del file.attrs["L2ScaleSwirMax"]
    assert "L2ScaleSwir" in refusal(prisma)


def test_another_array_of_a_prisma_file_can_be_named(prisma: Path) -> None:
    read = opened(f"{prisma}:HDFEOS/SWATHS/PRS_L2D_HCO/Data Fields/VNIR_PIXEL_L2_ERR_MATRIX")
    assert read.shape == (P_ROWS, len(VNIR), P_COLS)


@pytest.mark.parametrize("limits", [(0.0, 1.0), (0.0, 65535.0)])
def test_prisma_is_no_label_map_and_none_of_it_is_read(
    prisma: Path, limits: tuple[float, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even where its limits make whole numbers of what is stored."""
    with h5py.File(prisma, "a") as file:
        for name in LIMITS:
            file.attrs[f"L2Scale{name}Min"], file.attrs[f"L2Scale{name}Max"] = limits
    monkeypatch.delattr(Raster, "read")
    with pytest.raises(DataError, match="expected labels of"):
        read_array(str(prisma), kind="labels", say=lambda _: None)
