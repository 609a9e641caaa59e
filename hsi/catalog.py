"""Opening a scene by name or from files: finding, checking and downloading what it is made of.

What is known of the public scenes, and where their files are, stands in `hsi.public_scenes`.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from hsi.download import BASE_URL, RemoteFile
from hsi.errors import DataError, DownloadError, OutputError, SettingsError, one_of
from hsi.public_scenes import CATALOG, CLASS_SETS, CatalogScene
from hsi.public_scenes.files import (
    RECORD,
    find,
    folders,
    is_offline,
    on_disk,
    provide,
    writable_folder,
)
from hsi.readers import Reading, check_fit, read_array, read_file, unmixing
from hsi.readers.labels import read_labels
from hsi.scene import Scene

__all__ = [
    "CATALOG", "CLASS_SETS", "DEFAULT", "RECORD", "SYNTHETIC", "CatalogScene", "download", "find",
    "folders", "is_offline", "looks_like_path", "on_disk", "open_scene", "scene_name",
    "writable_folder",
]  # fmt: skip

Say = Callable[[str], None]

SYNTHETIC = "synthetic"
DEFAULT = "indian_pines"


def scene_name(text: str) -> str | None:
    """The catalogue's name for what a user wrote ("Salinas-A", "PaviaU"), or None."""
    plain = re.sub(r"[-_ ]", "", text).lower()
    names = (*CATALOG, SYNTHETIC)
    return next((name for name in names if name.replace("_", "") == plain), None)


def download(
    name: str, *, raw: bool = False, base: str | None = None, say: Say = print
) -> list[Path]:
    """Fetch what is missing of a scene into the first folder that can be written.

    Raises:
        DataError: a file that is there is not the published one.
        DownloadError, OutputError: see `hsi.download.fetch`.
        SettingsError: no such scene.
    """
    scene = CATALOG[one_of(scene_name(name) or name, CATALOG, what="public scene")]
    files = (_cube_file(scene, raw), scene.labels)
    return [provide(scene, file, base=base, say=say) for file in files]


def open_scene(
    dataset: str | None,
    *,
    labels: str | None = None,
    like: str | None = None,
    raw: bool = False,
    say: Say = print,
) -> Scene:
    """Open a scene by name or from files.

    Args:
        dataset: a name of the catalogue, "synthetic", `FILE` or `FILE:KEY`; None for Indian Pines
            where it is at hand or can be downloaded and its hash holds, else the embedded scene.
        labels: of a raster `FILE` or `FILE:KEY`, of polygons `FILE:FIELD`, of a table of pixels
            `FILE`; see `hsi.readers.labels`. Needed where the cube's file has none.
        like: a name of the catalogue whose wavelengths, removed bands, sensor and class names
            hold for the file as well; what the file itself says comes first.
        raw: the published file with every band, where there is one.
        say: called with one line for each thing worth knowing, the replacement first.

    Raises:
        DataError, DownloadError, OutputError: the data is not there or cannot be used.
        SettingsError: an unknown name, or options that contradict each other.
    """
    if dataset is None:
        if labels or like or raw:
            raise SettingsError("--labels, --like and raw need a data set; name it with --dataset.")
        return _default_scene(say)
    name = scene_name(dataset)
    if name is None and looks_like_path(dataset):
        return _scene_of_files(dataset, labels, like, raw, say)
    name = one_of(name or dataset, (*CATALOG, SYNTHETIC), what="data set (and no such file)")
    if like:
        raise SettingsError(f"--like describes files of your own; {name} is described already.")
    if name == SYNTHETIC:
        if labels or raw:
            raise SettingsError("The embedded scene has its own labels and no raw file.")
        return _synthetic()
    return _catalog_scene(CATALOG[name], labels, raw, say)


def _default_scene(say: Say) -> Scene:
    """Indian Pines or the embedded scene; the reason is the first line said."""
    said: list[str] = []
    reason = "HSI_OFFLINE is set"
    if not is_offline():
        try:
            scene = _catalog_scene(CATALOG[DEFAULT], None, False, said.append)
        except (DataError, DownloadError, OutputError) as error:
            reason = f"Indian Pines is not at hand: {error}"
        else:
            for line in said:
                say(line)
            return scene
    say(f"Embedded synthetic scene, not real data, since {reason}")
    return _synthetic()


def _synthetic() -> Scene:
    from hsi.synthetic import synthetic_scene

    return synthetic_scene(seed=0)


def looks_like_path(text: str) -> bool:
    """Whether a data set is named by a file, there or not."""
    return Path(text).exists() or any(mark in text for mark in (".", ":", "/", os.sep))


def _cube_file(scene: CatalogScene, raw: bool) -> RemoteFile:
    if not raw:
        return scene.cube
    if scene.raw is None:
        raise SettingsError(f"{scene.name}: no raw file is published; leave the option out.")
    return scene.raw


def _catalog_scene(info: CatalogScene, labels: str | None, raw: bool, say: Say) -> Scene:
    file, key = _cube_file(info, raw), info.raw_key if raw else info.cube_key
    path = provide(info, file, say=say)
    truth = provide(info, info.labels, say=say)
    cube = _published_cube(info, path, key, say)
    published = _published_labels(info, truth, cube.array, say)
    check_fit(cube.array.shape, published.array.shape, str(published.path))
    if not raw and cube.array.shape != info.shape:
        raise DataError(
            f"{path}: expected {info.shape} (rows, cols, bands), got {cube.array.shape}."
        )
    wavelengths, removed = _bands_of(info, cube.array.shape[2])
    scene = Scene(
        name=info.name + ("_raw" if raw else ""),
        cube=cube.array,
        labels=published.array,
        class_names=info.classes,
        wavelengths=wavelengths,
        removed_bands=removed,
        sensor=info.sensor,
        source=f"{info.citation}; {file.url(BASE_URL)}",
        sha256=_hash_of(cube, published),
        wavelengths_approximate=wavelengths is not None,
        georeference=cube.georeference,
        no_data_value=cube.no_data,
    )
    if info.note:
        say(f"{info.name}: {info.note}.")
    if labels is None:
        return scene
    given = read_labels(labels, shape=cube.array.shape, georeference=scene.georeference, say=say)
    return _with_labels(scene, cube, given, say)


def _published_cube(info: CatalogScene, path: Path, key: str, say: Say) -> Reading:
    if info.layout == "image":
        return read_file(path, key or None, kind="cube", say=say)
    cube = unmixing.read_cube(path, key, info.shape[:2])
    return Reading(array=cube, path=path, key=key, files=(path,))


def _published_labels(info: CatalogScene, path: Path, cube: np.ndarray, say: Say) -> Reading:
    """The labels, with those of a second file where that is at hand."""
    if info.layout == "unmixing":
        kept = np.setdiff1d(np.arange(1, len(info.centres) + 1), info.removed_bands)
        labels = unmixing.read_labels(path, info.labels_key, cube, kept)
        return Reading(array=labels, path=path, key=info.labels_key, files=(path,))
    if info.labels_key:
        return read_file(path, info.labels_key, kind="labels", say=say)
    found = read_labels(str(path), shape=cube.shape, say=say)
    more = None if info.more_labels is None else find(info, info.more_labels)
    if info.more_labels is not None and more is None:
        say(f"{info.name}: {info.more_labels.name} is not at hand; {path.name} alone is taken.")
    if more is None:
        return found
    second = read_labels(str(more), shape=cube.shape, say=say)
    if second.class_names != found.class_names:
        raise DataError(f"{more}: expected the classes of {path.name}, in the same order.")
    both = np.where(found.array > 0, found.array, second.array)
    return replace(found, array=both, files=(*found.files, *second.files))


def _with_labels(scene: Scene, cube: Reading, given: Reading, say: Say) -> Scene:
    """The scene under another label map; its names hold only if the numbers mean the same."""
    both = (given.array > 0) & (scene.labels > 0)
    agrees = bool(both.any() and (given.array[both] == scene.labels[both]).all())
    if not agrees:
        say(f"{given.path.name}: numbers classes differently from {scene.name}: no names taken.")
    return replace(
        scene,
        labels=given.array,
        class_names=scene.class_names if agrees else given.class_names,
        source=f"{scene.source}; labels {given.path}",
        sha256=_hash_of(cube, given),
    )


def _bands_of(info: CatalogScene, bands: int) -> tuple[np.ndarray | None, tuple[int, ...]]:
    """Wavelengths and removed bands of a cube of this scene with so many bands."""
    if bands == info.shape[2]:
        return info.wavelengths, info.removed_bands
    return (np.array(info.centres) if bands == len(info.centres) else None), ()


def _scene_of_files(
    dataset: str, labels: str | None, like: str | None, raw: bool, say: Say
) -> Scene:
    """A user's own scene."""
    if raw:
        raise SettingsError(f"{dataset}: only scenes of the catalogue have a raw file.")
    info = CATALOG[one_of(scene_name(like) or like, CATALOG, what="public scene")] if like else None
    cube = read_array(dataset, kind="cube", say=say)
    shape = cube.array.shape
    given = (
        _labels_beside(cube, say)
        if labels is None
        else read_labels(labels, shape=shape, georeference=cube.georeference, say=say)
    )
    names, sensor, wavelengths = given.class_names, cube.sensor, cube.wavelengths
    removed: tuple[int, ...] = ()
    approximate = False
    if info is not None:
        if shape[2] not in (info.shape[2], len(info.centres)):
            raise DataError(
                f"{cube.path}: {shape[2]} bands, but {info.name} has {info.shape[2]}; "
                "choose another scene for --like or leave it out."
            )
        known, removed = _bands_of(info, shape[2])
        approximate = wavelengths is None and known is not None
        wavelengths = known if wavelengths is None else wavelengths
        names, sensor = names or info.classes, sensor or info.sensor
    if wavelengths is None:
        say(f"{cube.path.name}: no wavelengths; bands are known by their numbers alone.")
    return Scene(
        name=re.sub(r"[^A-Za-z0-9_.-]+", "_", cube.path.stem),
        cube=cube.array,
        labels=given.array,
        class_names=names,
        wavelengths=wavelengths,
        removed_bands=removed,
        sensor=sensor,
        source=dataset,
        sha256=_hash_of(cube, given),
        wavelengths_approximate=approximate,
        georeference=cube.georeference,
        bad_bands=cube.bad_bands,
        no_data_value=cube.no_data,
    )


def _labels_beside(cube: Reading, say: Say) -> Reading:
    """The label map in the cube's own file."""
    way_out = "name the label map with --labels FILE or FILE:KEY"
    if not cube.key:
        raise DataError(f"{cube.path}: holds the cube alone; {way_out}.")
    try:
        return read_file(cube.path, None, kind="labels", shape=cube.array.shape, say=say)
    except DataError as error:
        raise DataError(f"{str(error).rstrip('.')}; {way_out}.") from error


def _hash_of(*readings: Reading) -> str:
    """sha256 over the contents of the files one after the other, each once."""
    digest = hashlib.sha256()
    for path in dict.fromkeys(path for reading in readings for path in reading.files):
        with open(path, "rb") as stream:
            while chunk := stream.read(1 << 20):
                digest.update(chunk)
    return digest.hexdigest()
