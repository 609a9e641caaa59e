"""Class maps in files: read back by other programs, equal, with legend and georeference."""

from __future__ import annotations

import json
import shutil
import subprocess
from xml.etree import ElementTree as Xml

import numpy as np
import pytest
from PIL import Image

from hsi.errors import DataError, OutputError, SettingsError
from hsi.georeference import Georeference, utm_wkt
from hsi.readers.raster import open_file
from hsi.writers import class_maps
from hsi.writers.class_maps import check_writable, label_type, write_class_map
from hsi.writers.legends import Legend

LEGEND = Legend(
    {1: "Corn", 3: "Grass, mown & {wet}", 200: "Büffel"},
    {0: (1, 2, 3), 1: (230, 159, 0), 3: (86, 180, 233), 200: (0, 158, 115)},
)
PLACE = Georeference(utm_wkt(33, north=True), (30.0, 0.0, 500_010.0, 0.0, -30.0, 5_400_020.0))


@pytest.fixture(scope="module")
def labels():
    """Larger than a block of a GeoTIFF, and than a strip below."""
    return np.random.default_rng(0).choice((0, 1, 3, 200), (300, 270)).astype(np.uint8)


@pytest.fixture
def short_strips(monkeypatch):
    monkeypatch.setattr(class_maps, "STRIP_BYTES", 1000)


def test_a_geotiff_read_by_rasterio(labels, tmp_path, short_strips):
    rasterio = pytest.importorskip("rasterio")
    path = tmp_path / "map.tif"
    assert write_class_map(path, labels, LEGEND, georeference=PLACE) == [
        path, tmp_path / "map.tif.aux.xml", tmp_path / "map.qml",
    ]  # fmt: skip
    with rasterio.open(path) as file:
        np.testing.assert_array_equal(file.read(1), labels)
        assert (file.dtypes, file.nodata, file.crs.to_epsg()) == (("uint8",), 0, 32633)
        assert tuple(file.transform)[:6] == PLACE.transform
        colors = file.colormap(1)
    assert {n: colors[n][:3] for n in LEGEND.colors} == LEGEND.colors
    side = Xml.parse(tmp_path / "map.tif.aux.xml").getroot()
    categories = [item.text for item in side.iter("Category")]
    assert len(categories) == 201
    assert {n: categories[n] for n in LEGEND.names} == LEGEND.names
    rows = [[cell.text for cell in row] for row in side.iter("Row")]
    assert rows[2] == ["3", "Grass, mown & {wet}", "86", "180", "233"]


def test_the_style_of_qgis_holds_the_classes_alone(labels, tmp_path):
    pytest.importorskip("rasterio")
    path, style = tmp_path / "map.tif", tmp_path / "map.qml"
    write_class_map(path, labels, Legend({1: "old"}))
    write_class_map(path, labels, LEGEND)  # in the place of ours
    root = Xml.parse(style).getroot()
    renderer = root.find("pipe/rasterrenderer")
    assert (renderer.get("type"), renderer.get("band")) == ("paletted", "1")
    entries = [(e.get("value"), e.get("label"), e.get("color")) for e in root.iter("paletteEntry")]
    assert entries == [
        ("1", "Corn", "#e69f00"), ("3", "Grass, mown & {wet}", "#56b4e9"),
        ("200", "Büffel", "#009e73"),
    ]  # fmt: skip


@pytest.mark.parametrize("own", ["<qgis version='3.22'><pipe/></qgis>", "no XML"])
def test_a_style_of_the_users_own_stays(labels, tmp_path, own):
    pytest.importorskip("rasterio")
    path, style = tmp_path / "map.tif", tmp_path / "map.qml"
    style.write_text(own)
    assert style not in write_class_map(path, labels, LEGEND)
    assert style.read_text() == own


def test_the_legend_as_gdal_itself_shows_it(labels, tmp_path):
    pytest.importorskip("rasterio")
    if shutil.which("gdalinfo") is None:
        pytest.skip("gdalinfo of GDAL's own tools is not installed")
    write_class_map(tmp_path / "map.tif", labels, LEGEND, georeference=PLACE)
    write_class_map(tmp_path / "map.hdr", labels, LEGEND, georeference=PLACE)
    for name in ("map.tif", "map.img"):
        done = subprocess.run(
            ["gdalinfo", "-json", str(tmp_path / name)], capture_output=True, text=True, check=True
        )
        said = json.loads(done.stdout)
        band = said["bands"][0]
        assert said["geoTransform"] == [500_010.0, 30.0, 0.0, 5_400_020.0, 0.0, -30.0]
        assert 'ID["EPSG",32633]' in said["coordinateSystem"]["wkt"] or name == "map.img"
        assert band["noDataValue"] == 0
        assert band["colorTable"]["entries"][3][:3] == [86, 180, 233]
        assert band["categories"][200] == "Büffel" if "categories" in band else name == "map.img"


def test_an_envi_classification(labels, tmp_path, short_strips):
    path = tmp_path / "map.hdr"
    assert write_class_map(path, labels, LEGEND, georeference=PLACE)[1] == tmp_path / "map.img"
    found = open_file(path, None, kind="labels", say=print)
    np.testing.assert_array_equal(found.whole()[:, :, 0], labels)
    assert found.georeference is not None
    assert found.georeference.same_grid(PLACE, rows=300, cols=270)
    assert found.class_names[3] == "Grass; mown & (wet)"
    assert found.class_names[200] == "Büffel"
    assert {n: found.class_colors[n] for n in LEGEND.names} == {
        n: LEGEND.colors[n] for n in LEGEND.names
    }
    assert "file type = ENVI Classification" in path.read_text(encoding="utf-8")


def test_a_palette_image(labels, tmp_path, short_strips):
    write_class_map(tmp_path / "map.png", labels, LEGEND)
    image = Image.open(tmp_path / "map.png")
    np.testing.assert_array_equal(np.asarray(image), labels)
    colors = np.asarray(image.convert("RGB"))
    for number, color in LEGEND.colors.items():
        assert (colors[labels == number] == color).all()


def test_numbers_above_255(tmp_path):
    legend = Legend({1: "a", 4000: "b"}, {1: (9, 8, 7), 4000: (1, 2, 3)})
    labels = np.array([[0, 1], [4000, 1]], np.uint16)
    write_class_map(tmp_path / "map.png", labels, legend)
    image = Image.open(tmp_path / "map.png")
    assert np.asarray(image).tolist() == [[0, 1], [2, 1]]
    assert np.asarray(image.convert("RGB"))[1, 0].tolist() == [1, 2, 3]
    for name in ("map.hdr", "map.npy", "map.tif"):
        write_class_map(tmp_path / name, labels, legend)
    assert np.load(tmp_path / "map.npy").dtype == label_type(legend) == np.uint16
    for name in ("map.hdr", "map.npy", "map.tif"):
        found = open_file(tmp_path / name, None, kind="labels", say=print).whole()
        np.testing.assert_array_equal(found[:, :, 0], labels)
    with pytest.raises(OutputError, match=r"numbers up to 65535 .* 70000; write \.npy"):
        write_class_map(tmp_path / "map.tif", labels, Legend({70000: "a"}))


def test_what_cannot_be_written_is_refused(labels, tmp_path, monkeypatch):
    with pytest.raises(SettingsError, match=r"ends in one of \.tif, \.tiff, \.hdr, \.npy, \.png"):
        check_writable(tmp_path / "map.gif")
    (tmp_path / "map.tif").mkdir()
    with pytest.raises(OutputError, match="a folder"):
        check_writable(tmp_path / "map.tif")
    (tmp_path / "file").write_text("")
    for name in ("map.hdr", "map.npy", "map.png"):
        with pytest.raises(OutputError, match="cannot be written"):
            write_class_map(tmp_path / "file" / name, labels, LEGEND)
    import builtins

    plain = builtins.__import__

    def without_rasterio(name, *args, **options):
        if name.startswith("rasterio"):
            raise ImportError(name)
        return plain(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", without_rasterio)
    monkeypatch.setattr("importlib.import_module", lambda name: without_rasterio(name))
    with pytest.raises(DataError, match=r"a GeoTIFF needs .* pip install 'hsi\[geo\]'"):
        check_writable(tmp_path / "other.tif")


@pytest.mark.parametrize("name", ["scene.tif", "scene.png", "scene.npy"])
def test_a_map_beside_an_envi_scene_of_its_name(tmp_path, name):
    scene = [tmp_path / "scene.hdr", tmp_path / "scene.img"]
    check_writable(tmp_path / name, keep=scene)
    for over in ("scene.hdr", "scene.HDR"):
        with pytest.raises(OutputError, match="over the scene"):
            check_writable(tmp_path / over, keep=scene)
    with pytest.raises(OutputError, match="over the scene"):
        check_writable(tmp_path / name, keep=[tmp_path / name])


def test_a_reference_system_that_gdal_cannot_read_is_refused_before_the_work(tmp_path):
    broken = Georeference('PROJCS["half', PLACE.transform)
    with pytest.raises(DataError, match=r"map\.tif: GDAL cannot read .*half") as caught:
        check_writable(tmp_path / "map.tif", georeference=broken)
    assert "\n" not in str(caught.value)
    check_writable(tmp_path / "map.hdr", georeference=broken)
