"""Packages of the extra `geo`, imported where the work starts."""

from __future__ import annotations

import importlib
from types import ModuleType

from hsi.errors import DataError


def geo_package(name: str, *, wanted_by: str) -> ModuleType:
    """A package or module of the extra `geo`.

    Args:
        name: for example "rasterio" or "rasterio.features".
        wanted_by: what needs it, for the text of the error, such as "scene.tif: a GeoTIFF".

    Raises:
        DataError: it is not installed; one line that says how to.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        package = name.partition(".")[0]
        raise DataError(
            f"{wanted_by} needs the package {package}: pip install 'hsi[geo]'."
        ) from error
