"""Labels as polygons: GeoJSON, Shapefile and GeoPackage, read by pyogrio, laid by rasterio.

A pixel belongs to the polygon that holds its centre. Pixels that polygons of different classes
hold have no label.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hsi.errors import DataError
from hsi.georeference import Georeference
from hsi.readers.classes import numbered
from hsi.readers.extras import geo_package
from hsi.readers.windowed import first_words

SHAPEFILE, SQLITE = b"\x00\x00\x27\x0a", b"SQLite format 3\0"
CLASS_FIELDS = ("class", "classid", "class_id", "label", "classname", "class_name", "category")
"""Fields that are taken where none is named, the first one first."""
NAME_FIELDS = ("name", "class_name", "classname")
"""Fields that name numbers."""
TAKEN = ("Polygon", "MultiPolygon", "Point", "MultiPoint")


def is_vector(path: Path, head: bytes) -> bool:
    """Whether a file that begins with these bytes holds polygons in a format that is read."""
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    return head.startswith((SHAPEFILE, SQLITE)) or (
        text.startswith(b"{") and path.suffix.lower() != ".hdr"
    )


def other_crs(path: Path, name: str, scene: Georeference, tool: str, output: str) -> str:
    """The text of the error that labels lie in another reference system than the scene."""
    target = f"EPSG:{scene.epsg}" if scene.epsg else "SCENE_CRS.wkt"
    files = f"{output} {path}" if tool == "ogr2ogr" else f"{path} {output}"
    return (
        f"{path}: in {name}, the scene in {scene.name}; reproject it: "
        f"{tool} -t_srs {target} {files}"
    )


def read(
    path: Path,
    field: str | None,
    rows: int,
    cols: int,
    georeference: Georeference | None,
    *,
    say: Callable[[str], None] = print,
) -> tuple[np.ndarray, dict[int, str]]:
    """The labels, (rows, cols) int32, and names of classes.

    Args:
        field: of the classes, numbers or names; None takes one that is called so.
        georeference: of the scene.

    Raises:
        DataError: no georeference, another reference system than the scene's, no such field, no
            polygon in the scene, or a package of the extra `geo` is missing.
    """
    if georeference is None:
        raise DataError(
            f"{path}: polygons need a scene with a georeference, and this has none; give its "
            "labels as a raster or a table of pixels."
        )
    for name in ("pyogrio", "shapely", "rasterio"):
        geo_package(name, wanted_by=f"{path}: reading polygons")
    meta, shapes, table = _open(path)
    own = Georeference(str(meta["crs"] or ""), georeference.transform)
    if not own.same_crs(georeference):
        raise DataError(other_crs(path, own.name, georeference, "ogr2ogr", "labels.gpkg"))
    if not own.crs or not georeference.crs:
        whose = "the scene" if own.crs else "the file"
        say(f"{path.name}: {whose} names no reference system; taken to be one with the other's.")
    name = _field(path, field, table)
    naming = _first(NAME_FIELDS, [other for other in table if other != name])
    classes, named = numbered(
        list(table[name]),
        where=f"{path}:{name}",
        names=None if naming is None else list(table[naming]),
        say=say,
    )
    if field is None:
        say(f"{path.name}: {name!r} taken as the field of classes.")
    shapes, classes = _inside(path, shapes, classes, rows, cols, georeference, say)
    return _laid(path, shapes, classes, rows, cols, georeference, say), named


def _open(path: Path) -> tuple[dict[str, Any], np.ndarray, dict[str, np.ndarray]]:
    """What the layer says of itself, its shapes, and its fields by name."""
    import pyogrio
    import shapely

    try:
        layers = [str(name) for name, _ in pyogrio.list_layers(path)]
        if len(layers) > 1:
            raise DataError(
                f"{path}: several layers ({', '.join(layers)}); expected one: "
                f"ogr2ogr one.gpkg {path} {layers[0]}"
            )
        meta, _, geometry, columns = pyogrio.raw.read(path)
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError) as error:
        raise DataError(f"{path}: no readable polygons ({first_words(error)}).") from error
    except (ValueError, RuntimeError) as error:
        raise DataError(f"{path}: truncated or corrupt ({first_words(error)}).") from error
    shapes = shapely.from_wkb([] if geometry is None else geometry)
    given = np.array([shape is not None and not shape.is_empty for shape in shapes], bool)
    strange = {shape.geom_type for shape in shapes[given]} - {*TAKEN}
    if strange or not given.any():
        raise DataError(
            f"{path}: holds {', '.join(sorted(strange)) or 'nothing'}; expected polygons or points."
        )
    table = dict(zip(meta["fields"], columns, strict=True))
    return meta, shapes[given], {name: values[given] for name, values in table.items()}


def _field(path: Path, field: str | None, table: dict[str, np.ndarray]) -> str:
    known = ", ".join(table) or "none"
    if field is not None:
        if field not in table:
            raise DataError(f"{path}: no field {field!r}; the file has {known}.")
        return field
    found = _first(CLASS_FIELDS, list(table))
    if found is None and len(table) == 1:
        found = next(iter(table))
    if found is None:
        raise DataError(
            f"{path}: which field has the classes? The file has {known}; name it as {path}:FIELD."
        )
    return found


def _first(wanted: Sequence[str], fields: Sequence[str]) -> str | None:
    """The field that is called as the first of the wanted names that there are, in any case."""
    by_name = {name.lower(): name for name in reversed(fields)}
    return next((by_name[name] for name in wanted if name in by_name), None)


def _inside(
    path: Path,
    shapes: np.ndarray,
    classes: np.ndarray,
    rows: int,
    cols: int,
    georeference: Georeference,
    say: Callable[[str], None],
) -> tuple[np.ndarray, np.ndarray]:
    """The shapes that touch the scene; the others are said."""
    import shapely

    corners = [georeference.xy(r, c) for r, c in ((0, 0), (0, cols), (rows, cols), (rows, 0))]
    scene = shapely.Polygon(corners)
    touching = shapely.intersects(shapes, scene)
    if not touching.any():
        extents = (
            " to ".join(f"{bounds[i]:.10g}, {bounds[i + 1]:.10g}" for i in (0, 2))
            for bounds in (shapely.total_bounds(shapes), scene.bounds)
        )
        theirs, ours = extents
        raise DataError(
            f"{path}: none of {len(shapes)} polygons lies in the scene: they reach from {theirs}, "
            f"the scene from {ours} in {georeference.name}."
        )
    if not touching.all():
        say(
            f"{path.name}: {np.count_nonzero(~touching)} of {len(shapes)} polygons lie outside the "
            "scene."
        )
    return shapes[touching], classes[touching]


def _laid(
    path: Path,
    shapes: np.ndarray,
    classes: np.ndarray,
    rows: int,
    cols: int,
    georeference: Georeference,
    say: Callable[[str], None],
) -> np.ndarray:
    labels = np.zeros((rows, cols), np.int32)
    claimed_twice = np.zeros((rows, cols), bool)
    for number in np.unique(classes[classes > 0]).tolist():
        held = _pixels(list(shapes[classes == number]), rows, cols, georeference)
        claimed_twice |= held & (labels > 0)
        labels[held] = number
    labels[claimed_twice] = 0
    if claimed_twice.any():
        say(
            f"{path.name}: {np.count_nonzero(claimed_twice)} pixels lie in polygons of several "
            "classes; they have no label."
        )
    if not labels.any():
        raise DataError(
            f"{path}: no pixel's centre lies in a polygon of a class above 0; are the polygons "
            "smaller than the pixels?"
        )
    return labels


def _pixels(shapes: Sequence[Any], rows: int, cols: int, georeference: Georeference) -> np.ndarray:
    """The pixels of these shapes, (rows, cols) bool."""
    import rasterio
    from rasterio.features import rasterize

    transform = rasterio.Affine(*georeference.transform)
    return rasterize(
        ((shape, 1) for shape in shapes), out_shape=(rows, cols), transform=transform, dtype="uint8"
    ).astype(bool)
