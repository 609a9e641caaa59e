"""Cubes written and read again, and by GDAL: the same values, wavelengths and georeference."""

from __future__ import annotations

import math
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio

from hsi.errors import DataError, OutputError, SettingsError
from hsi.georeference import WGS84, Georeference, from_envi, to_envi, utm_wkt
from hsi.readers.raster import Raster, open_raster
from hsi.writers.cubes import CUBE_FORMATS, write_envi, write_geotiff, write_netcdf

ROWS, COLS, BANDS = 7, 5, 4
UTM = Georeference(utm_wkt(33, north=True), (30.0, 0.0, 399960.0, 0.0, -30.0, 4.2e6))
TURNED = Georeference(utm_wkt(10, north=False), (26.0, -15.0, 399960.0, -15.0, -26.0, 8e6))
UP = Georeference(UTM.crs, (30.0, 0.0, 399960.0, 0.0, 30.0, 4.2e6))
DEGREES = Georeference(WGS84, (2.5e-4, 0.0, 15.25, 0.0, -2.5e-4, 42.5))
CENTRES = np.array([450.0, 550.25, 651.5, 850.0])

Write = Callable[..., list[Path]]
WAYS: dict[str, tuple[str, Write, dict[str, str]]] = {
    **{f"envi {i}": ("a.hdr", write_envi, {"interleave": i}) for i in ("bsq", "bil", "bip")},
    **{f"tiff {i}": ("a.tif", write_geotiff, {"interleave": i}) for i in ("bsq", "bip")},
    "netcdf": ("a.nc", write_netcdf, {}),
}


def some_cube(dtype: str = "int16") -> np.ndarray:
    return np.random.default_rng(0).integers(0, 3000, (ROWS, COLS, BANDS)).astype(dtype)


def opened(path: Path) -> Raster:
    return open_raster(str(path), say=lambda _: None)


@pytest.mark.parametrize("grid", [UTM, TURNED, UP, DEGREES], ids=["utm", "turned", "up", "degrees"])
@pytest.mark.parametrize("dtype", ["int16", "uint16", "float32"])
@pytest.mark.parametrize("way", WAYS)
def test_written_and_read_equal(tmp_path: Path, way: str, dtype: str, grid: Georeference) -> None:
    name, write, options = WAYS[way]
    cube = some_cube(dtype)
    written = write(
        tmp_path / name, cube, wavelengths=CENTRES, georeference=grid, bad_bands=(2,), no_data=7,
        band_names=["a", "b", "c", "d"], **options,
    )  # fmt: skip
    read = opened(written[0])
    assert read.shape == cube.shape
    assert read.dtype.newbyteorder("=") == cube.dtype
    np.testing.assert_array_equal(read.whole(), cube)
    np.testing.assert_array_equal(read.wavelengths, CENTRES)
    assert (read.bad_bands, read.no_data) == ((2,), 7)
    assert read.georeference is not None
    np.testing.assert_allclose(read.georeference.transform, grid.transform, rtol=1e-12)
    assert read.georeference.same_grid(grid, rows=ROWS, cols=COLS)
    assert read.georeference.epsg == grid.epsg
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("way", WAYS)
def test_a_window_is_the_part_of_the_whole_and_contiguous(tmp_path: Path, way: str) -> None:
    name, write, options = WAYS[way]
    cube = some_cube()
    read = opened(write(tmp_path / name, cube, **options)[0])
    for rows, cols in ((slice(2, 5), slice(1, 3)), (slice(6, 7), slice(0, 5))):
        window = read.read(rows, cols)
        np.testing.assert_array_equal(window, cube[rows, cols])
        assert window.flags.c_contiguous
        assert window.flags.writeable
    for wrong in (slice(0, ROWS + 1), slice(3, 3), slice(-1, 3), slice(0, 4, 2)):
        with pytest.raises(IndexError):
            read.read(wrong, slice(0, 1))


@pytest.mark.parametrize("grid", [UTM, TURNED, UP, DEGREES], ids=["utm", "turned", "up", "degrees"])
@pytest.mark.parametrize("way", WAYS)
def test_gdal_reads_the_same(tmp_path: Path, way: str, grid: Georeference) -> None:
    """An independent reader: values, reference system, grid and, of GDAL, band metadata."""
    name, write, options = WAYS[way]
    files = write(tmp_path / name, some_cube(), wavelengths=CENTRES, georeference=grid, **options)
    expected = some_cube()
    if name == "a.nc" and grid is UP:  # GDAL turns NetCDF so that north is up
        expected = expected[::-1]
        top = grid.xy(ROWS, 0)[1]
        grid = Georeference(grid.crs, (30.0, 0.0, grid.transform[2], 0.0, -30.0, top))
    with rasterio.open(files[-1]) as file:
        np.testing.assert_array_equal(file.read().transpose(1, 2, 0), expected)
        assert file.crs.to_epsg() == grid.epsg
        np.testing.assert_allclose(tuple(file.transform)[:6], grid.transform, rtol=1e-12)
        if name != "a.nc":
            assert [float(file.tags(i)["wavelength"]) for i in file.indexes] == CENTRES.tolist()


@pytest.mark.parametrize("way", WAYS)
def test_without_wavelengths_and_map(tmp_path: Path, way: str) -> None:
    name, write, options = WAYS[way]
    read = opened(write(tmp_path / name, some_cube(), **options)[0])
    assert read.wavelengths is None
    assert read.georeference is None
    assert read.no_data is None
    assert read.bad_bands == ()


@pytest.mark.parametrize("way", WAYS)
def test_a_memory_map_larger_than_a_piece(
    tmp_path: Path, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pieces that do not divide the cube: nothing is lost or doubled at their seams."""
    from hsi.writers import cubes

    name, write, options = WAYS[way]
    monkeypatch.setattr(cubes, "PIECE_BYTES", 3 * COLS * BANDS * 2)
    np.save(tmp_path / "cube.npy", some_cube())
    cube = np.load(tmp_path / "cube.npy", mmap_mode="r", allow_pickle=False)
    written = write(tmp_path / name, cube, **options)
    np.testing.assert_array_equal(opened(written[0]).whole(), some_cube())


def test_an_envi_file_is_byte_for_byte_what_its_header_says(tmp_path: Path) -> None:
    cube = some_cube("float32")
    for interleave, order in (("bsq", (2, 0, 1)), ("bil", (0, 2, 1)), ("bip", (0, 1, 2))):
        _, data = write_envi(tmp_path / "a.hdr", cube, interleave=interleave)
        assert data.read_bytes() == cube.transpose(order).astype("<f4").tobytes()


@pytest.mark.parametrize("ending", CUBE_FORMATS)
def test_what_cannot_be_written_leaves_nothing(tmp_path: Path, ending: str) -> None:
    write = CUBE_FORMATS[ending]
    with pytest.raises(SettingsError, match="4 wavelengths, one per band, got 3"):
        write(tmp_path / f"a{ending}", some_cube(), wavelengths=CENTRES[:3])
    with pytest.raises(SettingsError, match="real numbers"):
        write(tmp_path / f"a{ending}", some_cube()[0])
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        write(tmp_path / "file" / f"a{ending}", some_cube())


@pytest.mark.parametrize("write", [write_netcdf, write_geotiff])
@pytest.mark.parametrize(
    ("dtype", "no_data"),
    [("uint16", -9999), ("int16", math.nan), ("uint8", 0.5), ("float32", 1e300)],
)
def test_no_data_that_the_type_cannot_hold_is_refused(
    tmp_path: Path, write: Write, dtype: str, no_data: float
) -> None:
    with pytest.raises(SettingsError, match=f"in values of {dtype}, which cannot be that"):
        write(tmp_path / "a.tif", some_cube(dtype), no_data=no_data)
    assert not list(tmp_path.iterdir())
    write(tmp_path / "a.tif", some_cube("float32"), no_data=math.nan)


def test_a_type_or_reference_system_that_a_geotiff_has_not(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="GeoTIFF has no float16"):
        write_geotiff(tmp_path / "a.tif", some_cube("float16"))
    broken = Georeference('PROJCS["half', UTM.transform)
    with pytest.raises(DataError, match="GDAL cannot read the reference system"):
        write_geotiff(tmp_path / "a.tif", some_cube(), georeference=broken)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "steps", [(-30.0, 0.0, 0.0, -30.0), (-30.0, 0.0, 0.0, 30.0), (30.0, 9.0, 0.0, -30.0)]
)
def test_envi_cannot_say_every_grid(tmp_path: Path, steps: tuple[float, ...]) -> None:
    a, b, d, e = steps
    mirrored = Georeference(UTM.crs, (a, b, 0.0, d, e, 0.0))
    with pytest.raises(DataError, match="mirrored, sheared"):
        write_envi(tmp_path / "a.hdr", some_cube(), georeference=mirrored)
    assert not list(tmp_path.iterdir())
    assert opened(
        write_geotiff(tmp_path / "a.tif", some_cube(), georeference=mirrored)[0]
    ).georeference.same_grid(mirrored)  # type: ignore[union-attr]


# The georeference


def test_places_of_pixels_there_and_back() -> None:
    for grid in (UTM, TURNED, UP, DEGREES):
        for place in ((0.0, 0.0), (3.5, 1.25), (-2.0, 9.0)):
            np.testing.assert_allclose(grid.row_col(*grid.xy(*place)), place, atol=1e-9)
        part = grid.window(3, 2)
        np.testing.assert_allclose(part.xy(1.5, 0.5), grid.xy(4.5, 2.5))


def test_one_system_in_several_spellings() -> None:
    esri = (
        'PROJCS["WGS_1984_UTM_Zone_33N",GEOGCS["GCS_WGS_1984",DATUM["D_WGS_1984",SPHEROID['
        '"WGS_1984",6378137.0,298.257223563]],PRIMEM["Greenwich",0.0],UNIT["Degree",'
        '0.0174532925199433]],PROJECTION["Transverse_Mercator"],PARAMETER["False_Easting",'
        '500000.0],PARAMETER["False_Northing",0.0],PARAMETER["Central_Meridian",15.0],PARAMETER['
        '"Scale_Factor",0.9996],PARAMETER["Latitude_Of_Origin",0.0],UNIT["Meter",1.0]]'
    )
    spellings = ["EPSG:32633", rasterio.CRS.from_epsg(32633).to_wkt(), esri, UTM.crs, ""]
    grids = [Georeference(crs, UTM.transform) for crs in spellings]
    assert all(one.same_crs(other) for one in grids for other in grids)
    for crs in (utm_wkt(34, north=True), utm_wkt(33, north=False), WGS84, "EPSG:25833"):
        other = Georeference(crs, UTM.transform)
        assert [grid.same_crs(other) for grid in grids] == [False] * 4 + [True]


def test_utm_zones_are_those_of_proj() -> None:
    for zone, north in ((1, True), (33, True), (60, False)):
        number = (32600 if north else 32700) + zone
        known = rasterio.CRS.from_wkt(utm_wkt(zone, north=north))
        assert known.to_epsg() == number
        assert known == rasterio.CRS.from_epsg(number)
    assert rasterio.CRS.from_wkt(WGS84) == rasterio.CRS.from_epsg(4326)


def test_the_name_has_its_number() -> None:
    assert UTM.name == "WGS 84 / UTM zone 33N (EPSG:32633)"
    assert Georeference("EPSG:25833", UTM.transform).name == "EPSG:25833"
    assert Georeference("", UTM.transform).name == "an unknown reference system"


@pytest.mark.parametrize("rotation", [0.0, 12.5, -40.0, 180.0])
def test_map_info_is_read_as_gdal_reads_it(tmp_path: Path, rotation: float) -> None:
    write_envi(tmp_path / "a.hdr", some_cube())
    info = f"{{UTM, 1, 1, 399960, 4200000, 30, 25, 33, North, WGS-84, rotation={rotation}}}"
    with (tmp_path / "a.hdr").open("a") as header:
        header.write(f"map info = {info}\n")
    found = opened(tmp_path / "a.hdr").georeference
    with rasterio.open(tmp_path / "a.img") as file:
        assert found is not None
        np.testing.assert_allclose(found.transform, tuple(file.transform)[:6], atol=1e-9)
        assert file.crs.to_epsg() == found.epsg == 32633


def map_info(folder: Path, info: str, crs: str = "") -> Georeference | None:
    """The georeference of a header with this map; the image beside it is a.img."""
    header = write_envi(folder / "a.hdr", some_cube())[0]
    more = f"coordinate system string = {{{crs}}}\n" if crs else ""
    header.write_text(f"{header.read_text()}map info = {{{info}}}\n{more}")
    return opened(header).georeference


@pytest.mark.parametrize(
    ("info", "number"),
    [
        ("Geographic Lat/Lon, 1, 1, 36000, 180000, 1, 2, WGS-84, units=Seconds", 4326),
        ("Geographic Lat/Lon, 1, 1, 600, 3000, 1, 2, WGS-84, units=Minutes", 4326),
        ("Geographic Lat/Lon, 3, 2, -110, 50, 1, 2, North America 1983, units=Degrees", 4269),
        ("UTM, 1, 1, 400, 4200, 0.03, 0.02, 33, South, WGS-84, units=Km", 32733),
        ("UTM, 2, 1, 4e5, 4.2e6, 30, 20, 33, North, WGS-84, units=Feet", 32633),
        ("UTM, 1, 1, 4e5, 4.2e6, 30, 20, 11, North, North America 1983, units=Meters", 26911),
        ("UTM, 1, 1, 400, 4200, 0.03, 0.02, 11, North, North America 1927, units=Km", 26711),
    ],
)
@pytest.mark.parametrize("with_string", [False, True])
def test_units_and_datums_of_map_info_are_those_of_gdal(
    tmp_path: Path, info: str, number: int, with_string: bool
) -> None:
    crs = rasterio.CRS.from_epsg(number).to_wkt() if with_string else ""
    found = map_info(tmp_path, info, crs)
    with rasterio.open(tmp_path / "a.img") as file:
        # GDAL keeps kilometres and feet, and makes them the unit of the reference system.
        size = 1.0 if file.crs.is_geographic else file.crs.linear_units_factor[1]
        assert found is not None
        expected = np.multiply(tuple(file.transform)[:6], size)
    np.testing.assert_allclose(found.transform, expected, rtol=1e-9, atol=1e-9)
    assert rasterio.CRS.from_user_input(found.crs).to_epsg() == number


def test_a_reference_system_in_feet_keeps_its_feet(tmp_path: Path) -> None:
    crs = rasterio.CRS.from_epsg(2229).to_wkt()  # California 5, US survey feet
    found = map_info(tmp_path, "State Plane, 1, 1, 6e6, 2e6, 9, 9, 405, units=Feet", crs)
    assert found is not None
    assert found.transform == (9, 0, 6e6, 0, -9, 2e6)
    unknown = map_info(tmp_path, "State Plane, 1, 1, 6e6, 2e6, 9, 9, 405, units=Feet")
    assert unknown is not None
    assert unknown.transform == found.transform


@pytest.mark.parametrize(("zone", "half"), [("11", "South"), ("30", "North"), ("0", "North")])
def test_zones_that_a_datum_of_north_america_has_not(zone: str, half: str) -> None:
    """26930 is no zone, but a state plane of Alabama."""
    words = ["UTM", "1", "1", "4e5", "4e6", "30", "30", zone, half, "North America 1983"]
    grid = from_envi({"map info": words})
    assert grid is not None
    assert grid.crs == ""


def test_map_info_whose_tie_is_not_the_corner() -> None:
    """Pixel 1.5, 1.5 is the centre of the first one; a turn is about the tie point."""
    for turn in (0.0, 30.0):
        words = ["UTM", "1.5", "1.5", "1000", "2000", "10", "10", "33", "North", "WGS-84"]
        grid = from_envi({"map info": [*words, f"rotation={turn}"]})
        assert grid is not None
        np.testing.assert_allclose(grid.xy(0.5, 0.5), (1000, 2000))
        assert math.isclose(math.hypot(*np.subtract(grid.xy(0, 1), grid.xy(0, 0))), 10)


def test_an_arbitrary_map_is_none_and_a_broken_one_an_error() -> None:
    assert from_envi({"map info": ["Arbitrary", *"110011"]}) is None
    assert from_envi({}) is None
    with pytest.raises(DataError, match="expected numbers"):
        from_envi({"map info": ["UTM", *"11x011"]})
    with pytest.raises(DataError, match="span a grid"):
        Georeference("", (1.0, 0.0, 0.0, 1.0, 0.0, 0.0))
    assert "map info" in to_envi(UTM)


def test_no_extra_is_imported_before_it_is_needed(root: Path) -> None:
    code = (
        "import sys, hsi.samples, hsi.readers.labels, hsi.readers.raster, hsi.writers.cubes;"
        "print([m for m in ('rasterio', 'pyogrio', 'shapely', 'h5netcdf') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root
    )
    assert done.stdout.strip() == "[]"


def test_without_the_extra_the_error_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = write_geotiff(tmp_path / "a.tif", some_cube())[0]
    monkeypatch.setitem(sys.modules, "rasterio", None)
    with pytest.raises(DataError, match=r"a GeoTIFF needs the package rasterio: pip install"):
        opened(path)
    monkeypatch.setitem(sys.modules, "h5netcdf", None)
    with pytest.raises(DataError, match="h5netcdf"):
        write_netcdf(tmp_path / "a.nc", some_cube())
