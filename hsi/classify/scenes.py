"""The scene that is mapped: a file opened for reading by windows, or a scene of the catalogue."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from hsi.catalog import CATALOG, SYNTHETIC, Say, looks_like_path, open_scene, scene_name
from hsi.errors import one_of
from hsi.readers.kinds import split_spec
from hsi.readers.raster import Raster, open_raster
from hsi.readers.windowed import of_array


@dataclass(frozen=True, eq=False)
class MappedScene:
    """A scene to be mapped; labels it needs none.

    Attributes:
        name: short, for the names of files.
        spec: as `open_mapped` takes it, with an absolute path.
        raster: its pixels.
        synthetic: whether it is generated.
    """

    name: str
    spec: str
    raster: Raster
    synthetic: bool = False


def open_mapped(spec: str, *, say: Say = print) -> MappedScene:
    """A scene by its name in the catalogue, "synthetic", `FILE` or `FILE:KEY`.

    Raises:
        DataError, DownloadError: it is not there or cannot be used.
        SettingsError: no such name.
    """
    name = scene_name(spec)
    if name is None and looks_like_path(spec):
        raster = open_raster(spec, say=say)
        plain = re.sub(r"[^A-Za-z0-9_.-]+", "_", raster.path.stem)
        return MappedScene(plain, _absolute(spec), raster)
    name = one_of(name or spec, (*CATALOG, SYNTHETIC), what="scene (and no such file)")
    scene = open_scene(name, say=say)
    raster = Raster(
        path=Path(name),
        files=(),
        rows=scene.rows,
        cols=scene.cols,
        bands=scene.bands,
        dtype=scene.cube.dtype,
        window=of_array(scene.cube),
        wavelengths=None if scene.wavelengths_approximate else scene.wavelengths,
        georeference=scene.georeference,
        no_data=scene.no_data_value,
        bad_bands=scene.bad_bands,
        array=scene.cube,
    )
    return MappedScene(name, name, raster, scene.synthetic)


def _absolute(spec: str) -> str:
    """`FILE` or `FILE:KEY` with an absolute path, its links kept: what lies beside the file under
    its name (a header, the data) need not lie beside what the link leads to."""
    path, key = split_spec(spec)
    return f"{path.absolute()}:{key}" if key else f"{path.absolute()}"
