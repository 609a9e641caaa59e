"""GeoTIFF as other programs write it: wavelengths, no-data, scales, legends, label maps."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from hsi.errors import DataError
from hsi.georeference import Georeference, utm_wkt
from hsi.readers import read_array
from hsi.readers.labels import read_labels
from hsi.readers.raster import Raster, open_raster
from hsi.writers.class_maps import write_class_map
from hsi.writers.cubes import write_envi
from hsi.writers.legends import Legend

ROWS, COLS, BANDS = 6, 5, 3
GRID = Georeference(utm_wkt(33, north=True), (30.0, 0.0, 399960.0, 0.0, -30.0, 4.2e6))


def some_cube(dtype: str = "int16") -> np.ndarray:
    return np.random.default_rng(0).integers(1, 3000, (ROWS, COLS, BANDS)).astype(dtype)


def some_labels() -> np.ndarray:
    labels = np.random.default_rng(1).integers(0, 4, (ROWS, COLS)).astype(np.uint8)
    labels[0, :4] = [0, 1, 2, 3]
    return labels


def write(path: Path, cube: np.ndarray, **options: Any) -> Any:
    """A GeoTIFF that is still open for writing, to be given its metadata."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        file = rasterio.open(
            path, "w", driver="GTiff", height=cube.shape[0], width=cube.shape[1],
            count=cube.shape[2], dtype=cube.dtype.name, **options,
        )  # fmt: skip
        file.write(np.ascontiguousarray(cube.transpose(2, 0, 1)))
    return file


def opened(path: Path, said: list[str] | None = None) -> Raster:
    return open_raster(str(path), say=(said if said is not None else []).append)


def refusal(path: Path | str, **options: Any) -> str:
    with pytest.raises(DataError) as caught:
        read_array(str(path), kind=options.pop("kind", "cube"), say=lambda _: None, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def tag_bands(file: Any) -> None:
    for band, value in enumerate((450.5, 550, 650), start=1):
        file.update_tags(band, wavelength=str(value), wavelength_units="Nanometers")


def tag_file(file: Any) -> None:
    file.update_tags(wavelength="{0.4505, 0.55, 0.65}", wavelength_units="Micrometers")


def name_bands(file: Any) -> None:
    for band, value in enumerate((0.4505, 0.55, 0.65), start=1):
        file.set_band_description(band, f"Band {band} ({value} Micrometers)")


def tag_imagery(file: Any) -> None:
    for band, value in enumerate((0.4505, 0.55, 0.65), start=1):
        file.update_tags(band, ns="IMAGERY", CENTRAL_WAVELENGTH_UM=str(value))


@pytest.mark.parametrize("tag", [tag_bands, tag_file, name_bands, tag_imagery])
def test_wavelengths_where_programs_put_them(tmp_path: Path, tag: Any) -> None:
    with write(tmp_path / "a.tif", some_cube()) as file:
        tag(file)
    np.testing.assert_allclose(opened(tmp_path / "a.tif").wavelengths, [450.5, 550, 650])


def test_wavelengths_in_the_envi_header_beside_it(tmp_path: Path) -> None:
    """As the data of Houston 2013 come: a TIFF with a header that ENVI wrote."""
    write(tmp_path / "a.tif", some_cube()).close()
    (tmp_path / "a.hdr").write_text(
        f"ENVI\nsamples = {COLS}\nlines = {ROWS}\nbands = 3\nheader offset = 0\nfile type = TIFF\n"
        "data type = 2\ninterleave = bsq\nbyte order = 0\nwavelength units = Nanometers\n"
        "wavelength = {450.5, 550, 650}\nbbl = {1, 0, 1}\n"
    )
    said: list[str] = []
    read = opened(tmp_path / "a.tif", said)
    np.testing.assert_array_equal(read.whole(), some_cube())
    np.testing.assert_allclose(read.wavelengths, [450.5, 550, 650])
    assert read.bad_bands == (2,)
    assert any("header beside it" in line for line in said)
    assert f"name {tmp_path / 'a.tif'} instead" in refusal(tmp_path / "a.hdr")


def test_names_without_units_are_no_wavelengths(tmp_path: Path) -> None:
    with write(tmp_path / "a.tif", some_cube()) as file:
        for band in (1, 2, 3):
            file.set_band_description(band, f"Band {band}")
    assert opened(tmp_path / "a.tif").wavelengths is None


def test_a_unit_that_cannot_be_right_is_an_error(tmp_path: Path) -> None:
    with write(tmp_path / "a.tif", some_cube()) as file:
        for band in (1, 2, 3):
            file.update_tags(band, wavelength=str(400 + band), wavelength_units="Micrometers")
    text = refusal(tmp_path / "a.tif")
    assert "'Micrometers'" in text
    assert "401 to 403" in text


@pytest.mark.parametrize(("dtype", "no_data"), [("int16", -32768), ("float32", np.nan)])
def test_pixels_without_data(tmp_path: Path, dtype: str, no_data: float) -> None:
    cube = some_cube(dtype)
    cube[1, 2] = no_data
    cube[4, 0, 1] = no_data  # in one band only, which is enough
    write(tmp_path / "a.tif", cube, nodata=no_data).close()
    read = opened(tmp_path / "a.tif")
    np.testing.assert_array_equal(read.no_data, no_data)
    assert np.argwhere(~read.has_data(read.whole())).tolist() == [[1, 2], [4, 0]]


def write_masked(
    path: Path, cube: np.ndarray, mask: np.ndarray, *, inside: bool = True, **options: Any
) -> None:
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=inside),
        write(path, cube, **options) as file,
    ):
        file.write_mask(mask)


@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize(
    ("dtype", "declared", "no_data"),
    [("int16", None, 0), ("int16", -5, -5), ("float32", None, np.nan), ("float32", -5, -5)],
)
def test_pixels_that_a_mask_leaves_out_hold_no_data(
    tmp_path: Path, dtype: str, declared: float | None, no_data: float, inside: bool
) -> None:
    """A mask in the file, or as GDAL writes it without being told, beside it."""
    mask = np.full((ROWS, COLS), 255, np.uint8)
    mask[:2] = 0
    write_masked(tmp_path / "a.tif", some_cube(dtype), mask, inside=inside, nodata=declared)
    said: list[str] = []
    read = opened(tmp_path / "a.tif", said)
    assert any("its mask leaves out" in line for line in said)
    np.testing.assert_array_equal(read.no_data, no_data)
    np.testing.assert_array_equal(read.has_data(read.whole()), mask > 0)
    part = read.read(slice(1, 4), slice(2, 5))
    np.testing.assert_array_equal(read.has_data(part), mask[1:4, 2:5] > 0)
    np.testing.assert_array_equal(part[1:], some_cube(dtype)[2:4, 2:5])


@pytest.mark.parametrize("offset", [0.0, 5.0])
@pytest.mark.parametrize("dtype", ["int16", "float32"])
def test_a_mask_and_scales_together(tmp_path: Path, dtype: str, offset: float) -> None:
    mask = np.full((ROWS, COLS), 255, np.uint8)
    mask[3, 1] = 0
    place = rasterio.Affine(*GRID.transform)
    write_masked(tmp_path / "a.tif", some_cube(dtype), mask, transform=place)
    with rasterio.open(tmp_path / "a.tif", "r+") as file:
        file.scales, file.offsets = (0.5,) * BANDS, (offset,) * BANDS
    read = opened(tmp_path / "a.tif")
    values, inside = read.whole(), mask > 0
    np.testing.assert_array_equal(read.has_data(values), inside)
    np.testing.assert_allclose(values[inside], some_cube()[inside] * 0.5 + offset)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_labels_that_a_mask_leaves_out_are_none(tmp_path: Path, dtype: str) -> None:
    mask = np.full((ROWS, COLS), 255, np.uint8)
    mask[0] = 0
    write_masked(tmp_path / "a.tif", some_labels()[:, :, None].astype(dtype), mask)
    found = read_array(str(tmp_path / "a.tif"), kind="labels", say=lambda _: None)
    np.testing.assert_array_equal(found.array, np.where(mask, some_labels(), 0))


def test_a_band_of_transparency_is_a_band(tmp_path: Path) -> None:
    cube = np.concatenate([some_cube("uint8"), np.zeros((ROWS, COLS, 1), np.uint8)], axis=2)
    write(tmp_path / "a.tif", cube, photometric="RGB", alpha="YES").close()
    read = opened(tmp_path / "a.tif")
    np.testing.assert_array_equal(read.whole(), cube)
    assert read.no_data is None


def test_scales_and_offsets_of_bands_are_applied(tmp_path: Path) -> None:
    cube = some_cube()
    cube[1, 2] = -1
    with write(tmp_path / "a.tif", cube, nodata=-1) as file:
        file.scales, file.offsets = (0.1, 1.0, 2.0), (0.0, 5.0, 0.0)
    said: list[str] = []
    read = opened(tmp_path / "a.tif", said)
    expected = cube * np.array([0.1, 1, 2]) + np.array([0, 5, 0])
    expected[1, 2] = np.nan
    np.testing.assert_allclose(read.whole(), expected, rtol=1e-6)
    assert read.dtype == np.float32
    assert len(said) == 1


@pytest.mark.parametrize("options", [{"tiled": True, "blockxsize": 16, "blockysize": 16}, {}])
@pytest.mark.parametrize("share", [0.2, 0.9])
def test_a_file_that_is_cut_is_one_line(
    tmp_path: Path, share: float, options: dict[str, Any]
) -> None:
    """Whether the directory at its end is gone, or a block in the middle."""
    cube = np.random.default_rng(3).integers(0, 9999, (70, 60, 4)).astype(np.int16)
    write(tmp_path / "a.tif", cube, **options).close()
    whole = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "b.tif").write_bytes(whole[: int(share * len(whole))])
    assert "truncated or corrupt" in refusal(tmp_path / "b.tif")


def test_complex_values_and_keys_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.tif", some_cube().astype(np.complex64)).close()
    assert "complex64 values" in refusal(tmp_path / "a.tif")
    assert "leave out 'key'" in refusal(f"{tmp_path / 'a.tif'}:key")


# Label maps


def test_a_class_map_of_ours_is_read_with_its_legend(tmp_path: Path) -> None:
    legend = Legend(
        {1: "Corn, no till", 2: "Oats", 3: "Woods"},
        {1: (250, 10, 20), 2: (0, 128, 0), 3: (1, 2, 3)},
    )
    for name in ("map.tif", "map.hdr"):
        path = write_class_map(tmp_path / name, some_labels(), legend, georeference=GRID)[0]
        read = opened(path)
        assert read.class_colors == legend.colors
        assert read.georeference is not None
        assert read.georeference.same_grid(GRID, rows=ROWS, cols=COLS)
        found = read_labels(str(path), shape=(ROWS, COLS), georeference=GRID, say=lambda _: None)
        np.testing.assert_array_equal(found.array, some_labels())
        assert [found.class_names[n] for n in (2, 3)] == ["Oats", "Woods"]
        assert found.class_names[1].replace(";", ",") == "Corn, no till"


def test_category_names_and_tags_name_classes(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    with write(path, some_labels()[:, :, None]) as file:
        file.update_tags(class_names='{"1": "Corn", "3": "Woods"}')
    assert opened(path).class_names == {1: "Corn", 3: "Woods"}
    path.with_name("a.tif.aux.xml").write_text(
        '<PAMDataset><PAMRasterBand band="1"><CategoryNames><Category>none</Category>'
        "<Category>Maize</Category><Category /><Category>Forest</Category></CategoryNames>"
        "</PAMRasterBand></PAMDataset>"
    )
    assert opened(path).class_names == {1: "Maize", 3: "Forest"}
    path.with_name("a.tif.aux.xml").write_text("<PAMDataset>")
    assert "aux.xml: cannot be read" in refusal(path)


def test_no_data_of_a_label_map_is_unlabelled(tmp_path: Path) -> None:
    labels = some_labels()
    labels[0, 0] = 255
    write(tmp_path / "a.tif", labels[:, :, None], nodata=255).close()
    found = read_array(str(tmp_path / "a.tif"), kind="labels", say=lambda _: None)
    np.testing.assert_array_equal(found.array, np.where(labels == 255, 0, labels))


def test_a_label_map_must_lie_on_the_scenes_grid(tmp_path: Path) -> None:
    def labels_on(grid: Georeference) -> str:
        path = tmp_path / "labels.tif"
        transform = rasterio.Affine(*grid.transform)
        write(path, some_labels()[:, :, None], crs=grid.crs, transform=transform).close()
        with pytest.raises(DataError) as caught:
            read_labels(str(path), shape=(ROWS, COLS), georeference=GRID, say=lambda _: None)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    other = labels_on(Georeference(utm_wkt(32, north=True), GRID.transform))
    for part in ("zone 32N (EPSG:32632)", "zone 33N (EPSG:32633)", "gdalwarp -t_srs EPSG:32633"):
        assert part in other
    assert "399990, 4200000" in labels_on(GRID.window(0, 1))


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("B02_10m", "B03_10m", "B04_10m"), None),
        (("soil 5 cm", "soil 10 cm", "soil 30 cm"), None),
        (("res 10m 490 nm", "res 10m 560 nm", "res 20m 665 nm"), [490, 560, 665]),
        (("0.49 um", "0.56 um", "0.665 um"), [490, 560, 665]),
        (("4900 Angstroms", "5600 Angstroms", "6650 Angstroms"), [490, 560, 665]),
    ],
)
def test_only_units_of_light_in_names_of_bands(
    tmp_path: Path, names: tuple[str, ...], expected: list[float] | None
) -> None:
    with write(tmp_path / "a.tif", some_cube()) as file:
        for band, name in enumerate(names, start=1):
            file.set_band_description(band, name)
    found = opened(tmp_path / "a.tif").wavelengths
    assert (found if found is None else found.round(6).tolist()) == expected


def test_labels_beside_a_cube_of_the_same_name(tmp_path: Path) -> None:
    """The header beside them is the cube's: it says nothing of the labels."""
    write_envi(
        tmp_path / "a.hdr", some_cube(), wavelengths=np.array([450.5, 550, 650]), bad_bands=(2,)
    )
    write(tmp_path / "a.tif", some_labels()[:, :, None]).close()
    said: list[str] = []
    found = read_labels(str(tmp_path / "a.tif"), shape=(ROWS, COLS), say=said.append)
    np.testing.assert_array_equal(found.array, some_labels())
    assert said == []
    write(tmp_path / "a.tif", some_cube()[:, :, :2]).close()
    read = opened(tmp_path / "a.tif", said)
    assert read.bad_bands == ()
    assert said == ["a.tif: a.hdr beside it is of another image; not used."]


@pytest.mark.parametrize("cells", ["<F></F>", "", "<F>nan</F>", "<F>1e999</F>"])
def test_a_table_of_classes_without_numbers_is_one_line(tmp_path: Path, cells: str) -> None:
    path = tmp_path / "a.tif"
    write(path, some_labels()[:, :, None]).close()
    path.with_name("a.tif.aux.xml").write_text(
        '<PAMDataset><PAMRasterBand band="1"><GDALRasterAttributeTable><FieldDefn index="0">'
        f'<Usage>5</Usage></FieldDefn><Row index="0">{cells}</Row></GDALRasterAttributeTable>'
        "</PAMRasterBand></PAMDataset>"
    )
    assert "a.tif.aux.xml: expected numbers in its attribute table" in refusal(path)
