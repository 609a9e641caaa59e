"""Labels from polygons and from tables of pixels, laid onto the scene's grid."""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import pytest
import shapely

from hsi.errors import DataError
from hsi.georeference import WGS84, Georeference, utm_wkt
from hsi.readers import Reading
from hsi.readers.labels import read_labels

ROWS, COLS = 8, 10
GRID = Georeference(utm_wkt(33, north=True), (30.0, 0.0, 400000.0, 0.0, -30.0, 4.2e6))
TURNED = Georeference(GRID.crs, (26.0, -15.0, 400000.0, -15.0, -26.0, 4.2e6))

Corners = Sequence[tuple[float, float]]

FIELD = ((0.2, 0.2), (0.2, 3.8), (2.8, 3.8), (2.8, 0.2))
"""Corners of a polygon as (row, col): rows 0 to 2, columns 0 to 3."""
WEDGE = ((4.0, 4.0), (4.0, 9.5), (7.9, 4.0))
AWAY = ((50.0, 50.0), (50.0, 60.0), (60.0, 60.0))


def polygon(corners: Corners, grid: Georeference = GRID) -> shapely.Polygon:
    return shapely.Polygon([grid.xy(*corner) for corner in corners])


def write(
    path: Path,
    shapes: Sequence[Any],
    *,
    crs: str = "EPSG:32633",
    kind: str = "Polygon",
    **fields: Sequence[Any],
) -> Path:
    """A file of polygons as other programs write it, by GDAL."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pyogrio.raw.write(
            path,
            geometry=shapely.to_wkb(np.array(shapes, object)),
            field_data=[np.array(values) for values in fields.values()],
            fields=list(fields),
            crs=crs,
            geometry_type=kind,
        )
    return path


def labels(
    spec: Path | str,
    grid: Georeference | None = GRID,
    said: list[str] | None = None,
) -> Reading:
    say = (said if said is not None else []).append
    return read_labels(str(spec), shape=(ROWS, COLS, 3), georeference=grid, say=say)


def refusal(spec: Path | str, grid: Georeference | None = GRID) -> str:
    with pytest.raises(DataError) as caught:
        labels(spec, grid)
    text = str(caught.value)
    assert "\n" not in text
    assert str(spec).partition(":")[0] in text
    return text


def centres_inside(shape: shapely.Polygon, grid: Georeference) -> np.ndarray:
    """The pixels whose centre a polygon holds: one question for each pixel."""
    found = np.zeros((ROWS, COLS), bool)
    for row in range(ROWS):
        for col in range(COLS):
            found[row, col] = shape.contains(shapely.Point(grid.xy(row + 0.5, col + 0.5)))
    return found


# Polygons


@pytest.mark.parametrize("grid", [GRID, TURNED], ids=["north up", "turned"])
@pytest.mark.parametrize("name", ["a.geojson", "a.shp", "a.gpkg"])
def test_a_pixel_belongs_to_the_polygon_that_holds_its_centre(
    tmp_path: Path, name: str, grid: Georeference
) -> None:
    shapes = [polygon(FIELD, grid), polygon(WEDGE, grid)]
    path = write(tmp_path / name, shapes, kind_no=[7, 2])
    found = labels(f"{path}:kind_no", grid)
    expected = np.zeros((ROWS, COLS), int)
    for shape, number in zip(shapes, (7, 2), strict=True):
        expected[centres_inside(shape, grid)] = number
    np.testing.assert_array_equal(found.array, expected)
    assert set(np.unique(expected)) == {0, 2, 7}
    assert found.array.dtype == np.int32
    assert path in found.files


def test_a_shapefile_is_all_of_its_files(tmp_path: Path) -> None:
    path = write(tmp_path / "a.shp", [polygon(FIELD)], klass=[1])
    assert {file.suffix for file in labels(f"{path}:klass").files} == {
        ".shp", ".dbf", ".shx", ".prj",
    }  # fmt: skip


def test_names_are_numbered_in_alphabetical_order(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.gpkg", [polygon(FIELD), polygon(WEDGE)], id=[11, 12], label=["oats", "corn"]
    )
    said: list[str] = []
    found = labels(path, said=said)
    assert found.class_names == {1: "corn", 2: "oats"}
    assert found.array[0, 0] == 2
    assert found.array[4, 4] == 1
    assert any("'label' taken as the field of classes" in line for line in said)


def test_names_that_python_takes_for_numbers_are_names(tmp_path: Path) -> None:
    """float("1_1") is 11."""
    names = ["1_1", "11", "1_2"]
    path = table(
        tmp_path / "a.csv",
        "row,col,class\n" + "".join(f"{row},0,{name}\n" for row, name in enumerate(names)),
    )
    found = labels(path, None)
    assert found.class_names == {1: "11", 2: "1_1", 3: "1_2"}
    assert found.array[:3, 0].tolist() == [2, 1, 3]
    drawn = write(tmp_path / "a.gpkg", [polygon(FIELD), polygon(WEDGE)], code=["1_1", "11"])
    assert labels(f"{drawn}:code").class_names == {1: "11", 2: "1_1"}


@pytest.mark.parametrize("number", ["7", "+7", "7.", "7.0", "70e-1", ".7e1"])
def test_a_number_may_be_written_in_several_ways(tmp_path: Path, number: str) -> None:
    found = labels(table(tmp_path / "a.csv", f"row,col,class\n{number},1,{number}\n"), None)
    assert found.array[7, 1] == 7
    assert found.class_names == {}


def test_numbers_keep_and_take_names_from_beside_them(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.gpkg",
        [polygon(FIELD), polygon(WEDGE)],
        class_id=[5, 9],
        name=["oats", "corn"],
    )
    found = labels(path)
    assert found.class_names == {5: "oats", 9: "corn"}
    assert set(np.unique(found.array)) == {0, 5, 9}


def test_pixels_of_two_classes_have_none_and_it_is_said(tmp_path: Path) -> None:
    over = ((1.2, 1.2), (1.2, 5.8), (3.8, 5.8), (3.8, 1.2))
    both = centres_inside(polygon(FIELD), GRID) & centres_inside(polygon(over), GRID)
    said: list[str] = []
    path = write(tmp_path / "a.gpkg", [polygon(FIELD), polygon(over)], klass=[1, 2])
    found = labels(f"{path}:klass", said=said)
    assert not found.array[both].any()
    assert (found.array > 0).sum() > 0
    assert any(line.startswith(f"a.gpkg: {both.sum()} pixels") for line in said)
    same = write(tmp_path / "b.gpkg", [polygon(FIELD), polygon(over)], klass=[1, 1])
    assert labels(f"{same}:klass").array[both].all()


def test_polygons_outside_are_said_and_all_outside_is_an_error(tmp_path: Path) -> None:
    said: list[str] = []
    path = write(tmp_path / "a.gpkg", [polygon(FIELD), polygon(AWAY)], klass=[1, 2])
    found = labels(path, said=said)
    assert set(np.unique(found.array)) == {0, 1}
    assert any("1 of 2 polygons lie outside the scene" in line for line in said)
    path = write(tmp_path / "b.gpkg", [polygon(AWAY)], klass=[1])
    text = refusal(path)
    assert "none of 1 polygons lies in the scene" in text
    assert "400000" in text


def test_another_reference_system_is_named_with_the_way_out(tmp_path: Path) -> None:
    path = write(tmp_path / "a.geojson", [polygon(FIELD)], crs="EPSG:32632", klass=[1])
    text = refusal(path)
    for part in ("32632", "WGS 84 / UTM zone 33N (EPSG:32633)",
                 f"ogr2ogr -t_srs EPSG:32633 labels.gpkg {path}"):  # fmt: skip
        assert part in text, text


def test_geojson_without_a_crs_is_in_degrees(tmp_path: Path) -> None:
    """RFC 7946: always WGS 84."""
    grid = Georeference(WGS84, (1e-3, 0.0, 15.0, 0.0, -1e-3, 42.0))
    ring = [list(grid.xy(*corner)) for corner in (*FIELD, FIELD[0])]
    feature = {
        "type": "Feature", "properties": {"class": 3},
        "geometry": {"type": "Polygon", "coordinates": [ring]},
    }  # fmt: skip
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    np.testing.assert_array_equal(
        labels(path, grid).array, 3 * centres_inside(polygon(FIELD, grid), grid)
    )
    assert "EPSG:4326" in refusal(path)


def test_polygons_need_a_scene_with_a_georeference(tmp_path: Path) -> None:
    path = write(tmp_path / "a.gpkg", [polygon(FIELD)], klass=[1])
    assert "need a scene with a georeference" in refusal(path, None)


def test_a_scene_that_names_no_reference_system_is_taken_to_be_in_that_of_the_polygons(
    tmp_path: Path,
) -> None:
    path = write(tmp_path / "a.gpkg", [polygon(FIELD)], klass=[1])
    said: list[str] = []
    found = labels(path, Georeference("", GRID.transform), said)
    np.testing.assert_array_equal(found.array, centres_inside(polygon(FIELD), GRID))
    assert any("the scene names no reference system" in line for line in said)


def test_fields_that_are_not_there_or_not_clear(tmp_path: Path) -> None:
    path = write(tmp_path / "a.gpkg", [polygon(FIELD)], area=[1.5], code=[3])
    assert "no field 'klass'; the file has area, code" in refusal(f"{path}:klass")
    assert f"name it as {path}:FIELD" in refusal(path)
    assert "1.5 is no class" in refusal(f"{path}:area")


def test_files_that_hold_no_polygons(tmp_path: Path) -> None:
    lines = [shapely.LineString([GRID.xy(0, 0), GRID.xy(3, 3)])]
    path = write(tmp_path / "a.gpkg", lines, kind="LineString", klass=[1])
    assert "LineString; expected polygons" in refusal(path)
    (tmp_path / "b.geojson").write_text('{"type": "FeatureColl')
    assert "b.geojson: " in refusal(tmp_path / "b.geojson")
    whole = write(tmp_path / "c.shp", [polygon(FIELD)], klass=[1]).read_bytes()
    (tmp_path / "c.shx").unlink()
    (tmp_path / "c.shp").write_bytes(whole[:40])
    refusal(tmp_path / "c.shp")


def test_without_the_extra_the_error_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.gpkg", [polygon(FIELD)], klass=[1])
    monkeypatch.setitem(sys.modules, "pyogrio", None)
    assert "reading polygons needs the package pyogrio: pip install 'hsi[geo]'" in refusal(path)


# Tables of pixels


def table(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_rows_and_columns_from_0(tmp_path: Path, mark: str) -> None:
    text = 'Row,Col,Class,Name\n0,0,4,corn\n7,9,2,"oats"\n3,5,4,corn\n'.replace(",", mark)
    found = labels(table(tmp_path / "a.csv", text), None)
    expected = np.zeros((ROWS, COLS), int)
    expected[0, 0] = expected[3, 5] = 4
    expected[7, 9] = 2
    np.testing.assert_array_equal(found.array, expected)
    assert found.class_names == {2: "oats", 4: "corn"}


def test_coordinates_of_the_scene_and_names_as_classes(tmp_path: Path) -> None:
    places = [(0, 0), (7, 9), (2, 3)]
    lines = [
        "{},{},{}".format(*GRID.xy(row + 0.5, col + 0.5), name)
        for (row, col), name in zip(places, ("oats", "corn", "oats"), strict=True)
    ]
    path = table(tmp_path / "a.csv", "\n".join(["x,y,crop", *lines]))
    found = labels(f"{path}:crop")
    assert found.class_names == {1: "corn", 2: "oats"}
    assert {place: int(found.array[place]) for place in places} == {(0, 0): 2, (7, 9): 1, (2, 3): 2}
    assert np.count_nonzero(found.array) == 3
    assert "georeference" in refusal(f"{path}:crop", None)


def test_pixels_outside_are_said_and_all_outside_is_an_error(tmp_path: Path) -> None:
    said: list[str] = []
    path = table(tmp_path / "a.csv", "row,col,class\n1,1,1\n8,0,1\n-1,0,1\n")
    assert np.count_nonzero(labels(path, None, said).array) == 1
    assert any("2 of 3 pixels lie outside" in line for line in said)
    path = table(tmp_path / "b.csv", "row,col,class\n8,0,1\n")
    assert "none of 1 pixels lies in the scene of 8 x 10" in refusal(path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("row,col,kind\n1,1,1\n", "expected columns row, col (or x, y) and class"),
        ("row,col,class\n", "no pixels"),
        ("row,col,class\n1,1\n", "line 2: expected 3 entries, got 2"),
        ("row,col,class\n1,one,1\n", "line 2: col 'one' is no number"),
        ("row,col,class\n1,1,1\n1,0_1,1\n", "line 3: col '0_1' is no number"),
        ("row,col,class\n1e999,1,1\n", "line 2: row '1e999' is no number"),
        ("row,col,class\n1,1,1\n1.5,1,1\n", "line 3: row 1.5 is no whole number"),
        ("row,col,class\n1,1,1\n1,1,2\n", "pixel 1,1 (row,col from 0) has class 1 and class 2"),
        ("row,col,class\n1,1,-2\n", "-2 is no class"),
        ("row,col,class\n1,1,\n", "1 entries are empty"),
        ("row,col,class\n1,1,3000000000\n", "3000000000 is no class"),
        ("row,col,class\n1,1,4294967297\n2,1,1\n", "4294967297 is no class"),
        ("row,col,class,class\n1,1,1,1\n", "2 columns 'class'; keep one"),
        (
            "row,col,label,class_id\n1,1,1,1\n",
            "and class, separated by commas; got row",
        ),
        ("\ufeff", "no pixels"),
    ],
)
def test_tables_that_cannot_be_meant(tmp_path: Path, text: str, said: str) -> None:
    assert said in refusal(table(tmp_path / "a.csv", text), None)


@pytest.mark.parametrize(
    ("header", "line", "column"),
    [
        ("row,col,class,label", "3,4,2,maize", ""),
        ("row,col,class,class_id", "3,4,2,9", ""),
        ("line,row,col,class", "7,3,4,2", ""),
        ("line,sample,label,,", "3,4,2,,", ""),
        ("row,col,Crop", "3,4,2", ":Crop"),
        ("row,col,label", "3,4,2", ":Label"),
        ("row,col,class,label", "3,4,9,2", ":label"),
        ("row,col,label,class_id", "3,4,9,2", ":class_id"),
    ],
)
def test_columns_that_may_mean_the_same(
    tmp_path: Path, header: str, line: str, column: str
) -> None:
    path = table(tmp_path / "a.csv", f"{header}\n{line}\n")
    found = labels(f"{path}{column}", None)
    assert np.argwhere(found.array).tolist() == [[3, 4]]
    assert found.array[3, 4] == 2


def test_a_field_that_is_longer_than_any(tmp_path: Path) -> None:
    path = table(tmp_path / "a.csv", f"row,col,class\n1,1,{'a' * 140_000}\n")
    assert "no table of pixels" in refusal(path, None)


def test_a_column_that_is_not_there_is_no_other(tmp_path: Path) -> None:
    path = table(tmp_path / "a.csv", "row,col,class\n3,4,2\n")
    assert "and label, separated" in refusal(f"{path}:label", None)


def test_several_names_of_a_class_are_those_of_something_else(tmp_path: Path) -> None:
    path = table(tmp_path / "a.csv", "row,col,class,name\n1,1,1,plot A\n2,1,1,plot B\n3,1,2,c\n")
    said: list[str] = []
    assert labels(path, None, said).class_names == {}
    assert any("class 1 is called 'plot A' and 'plot B'" in line for line in said)


@pytest.mark.parametrize("field", ["name", "NAME"])
def test_polygons_without_a_name_leave_the_name_of_the_others(tmp_path: Path, field: str) -> None:
    names = np.array(["wheat", None, None], object)
    shapes = [polygon(FIELD), polygon(WEDGE), polygon(WEDGE)]
    path = write(tmp_path / "a.gpkg", shapes, klass=[1, 1, 2], **{field: names})
    assert labels(f"{path}:klass").class_names == {1: "wheat"}
    path = write(tmp_path / "b.gpkg", shapes, klass=[1, 1, 3_000_000_000], **{field: names})
    assert "3000000000 is no class" in refusal(f"{path}:klass")


def test_a_number_of_20_digits_in_a_text_of_regions(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text(f"; ENVI Output of ROIs (4.8)\n; ROI name: a\n; ROI npts: 1\n 1 {'9' * 20} 1\n")
    assert "expected ID, X and Y as whole numbers" in refusal(path)


def test_xml_is_no_page_of_the_web(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    path.write_text('<?xml version="1.0"?>\n<RegionsOfInterest version="1.1" />\n')
    text = refusal(path)
    assert "HTML" not in text
    assert "XML, which is not read here" in text
    assert f"ogr2ogr labels.gpkg {path}" in text
    path.write_text('<?xml version="1.0"?>\n<!DOCTYPE html><html></html>\n')
    assert "an HTML page" in refusal(path)


def test_a_raster_is_still_read_as_one(tmp_path: Path) -> None:
    truth = np.arange(ROWS * COLS).reshape(ROWS, COLS) % 4
    np.save(tmp_path / "gt.npy", truth)
    np.testing.assert_array_equal(labels(tmp_path / "gt.npy").array, truth)
