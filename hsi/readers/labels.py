"""Labels for the pixels of a scene: a raster, polygons, or a table of pixels.

The kind is told by the file itself. Polygons and tables are laid onto the scene's grid; of a
raster with a georeference, that is compared with the scene's.
"""

from __future__ import annotations

from pathlib import Path

from hsi.errors import DataError
from hsi.georeference import Georeference
from hsi.readers import Reading, pixel_table, polygons, read_file, roi_text
from hsi.readers.choose import Say
from hsi.readers.kinds import read_head, split_spec


def read_labels(
    spec: str,
    *,
    shape: tuple[int, ...],
    georeference: Georeference | None = None,
    say: Say = print,
) -> Reading:
    """Labels, (rows, cols) int32, 0 where there are none, with class names where known.

    Args:
        spec: a raster as `FILE` or `FILE:KEY`; polygons (GeoJSON, Shapefile, GeoPackage) as
            `FILE` or `FILE:FIELD` with the field of classes; pixels as a table (CSV) of `row`,
            `col` and `class`, or `x`, `y` and `class`, as `FILE` or `FILE:COLUMN`; or the text
            that ENVI exports regions of interest as.
        shape: of the scene, (rows, cols) or (rows, cols, bands).
        georeference: of the scene; polygons need it.
        say: called with one line for each thing worth knowing.

    Raises:
        DataError: the file cannot be used, or does not belong to the scene.
    """
    path, key = split_spec(spec)
    head = read_head(path)
    rows, cols = shape[:2]
    if polygons.is_vector(path, head):
        labels, names = polygons.read(path, key, rows, cols, georeference, say=say)
    elif roi_text.is_roi_text(head):
        if key is not None:
            raise DataError(f"{path}: regions of interest have no fields; leave out {key!r}.")
        labels, names = roi_text.read(path, rows, cols)
    elif pixel_table.is_table(path, head):
        labels, names = pixel_table.read(path, key, rows, cols, georeference, say=say)
    else:
        found = read_file(path, key, kind="labels", shape=shape, say=say)
        _check_grid(path, found.georeference, georeference, rows, cols)
        return found
    return Reading(
        array=labels,
        path=path,
        key=key or "",
        files=_parts(path),
        class_names=names,
        georeference=georeference,
    )


def _check_grid(
    path: Path,
    found: Georeference | None,
    scene: Georeference | None,
    rows: int,
    cols: int,
) -> None:
    if found is None or scene is None:
        return
    if not found.same_crs(scene):
        raise DataError(polygons.other_crs(path, found.name, scene, "gdalwarp", "labels.tif"))
    if not found.same_grid(scene, rows=rows, cols=cols):
        (x, y), (other_x, other_y) = found.xy(0, 0), scene.xy(0, 0)
        raise DataError(
            f"{path}: its pixels lie elsewhere than the scene's: the upper left corner is at "
            f"{x:.10g}, {y:.10g}, the scene's at {other_x:.10g}, {other_y:.10g}, or the pixels are "
            "of another size; cut both to one grid."
        )


def _parts(path: Path) -> tuple[Path, ...]:
    """The file, and of a Shapefile the files beside it that belong to it."""
    if path.suffix.lower() != ".shp":
        return (path,)
    beside = (path.with_suffix(suffix) for suffix in (".dbf", ".shx", ".prj"))
    return (path, *(part for part in beside if part.is_file()))
