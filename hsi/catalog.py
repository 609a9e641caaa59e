"""Opening a scene by name or from files: finding, checking and downloading what it is made of.

What is known of the public scenes stands in `hsi.public_scenes`.

Where files are looked for: in `$HSI_DATASETS` first, then in `datasets/` of the current folder (the
commands are run in the project's folder); in each, directly or in a folder of the scene's name.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from hsi.download import BASE_URL, RemoteFile, fetch, hash_error
from hsi.errors import DataError, DownloadError, OutputError, SettingsError, one_of
from hsi.files import sha256_of, write_json
from hsi.public_scenes import CATALOG, CLASS_SETS, CatalogScene
from hsi.readers import Reading, check_fit, read_array, read_file
from hsi.scene import Scene

__all__ = [
    "CATALOG", "CLASS_SETS", "DEFAULT", "SYNTHETIC", "CatalogScene", "download", "find", "folders",
    "is_offline", "looks_like_path", "on_disk", "open_scene", "scene_name", "writable_folder",
]  # fmt: skip

Say = Callable[[str], None]

SYNTHETIC = "synthetic"
DEFAULT = "indian_pines"
RECORD = "sha256.json"
"""Hashes of files that have no published one, recorded beside them at first use."""


def folders() -> list[Path]:
    """Where files are looked for, in order; a folder need not exist."""
    given = os.environ.get("HSI_DATASETS")
    own = Path.cwd() / "datasets"
    return ([Path(given).expanduser()] if given else []) + [own]


def find(scene: CatalogScene, file: RemoteFile) -> Path | None:
    """The file in the first folder that has it, or None."""
    for folder in folders():
        for path in (folder / file.name, folder / scene.name / file.name):
            if path.is_file():
                return path
    return None


def on_disk(scene: CatalogScene) -> dict[str, Path | None]:
    """Name -> path of the two files of a scene, None where missing; nothing is checked."""
    return {file.name: find(scene, file) for file in scene.files}


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
    return [_provide(scene, file, base=base, say=say) for file in files]


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
        labels: `FILE` or `FILE:KEY` of the label map; needed where the cube's file has none.
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


def is_offline() -> bool:
    """Whether HSI_OFFLINE forbids the network."""
    return os.environ.get("HSI_OFFLINE", "") not in ("", "0")


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
    path = _provide(info, file, say=say)
    cube = read_file(path, key, kind="cube", say=say)
    published = read_file(
        _provide(info, info.labels, say=say), info.labels_key, kind="labels", say=say
    )
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
    )
    if info.note:
        say(f"{info.name}: {info.note}.")
    if labels is None:
        return scene
    given = read_array(labels, kind="labels", shape=cube.array.shape, say=say)
    return _with_labels(scene, cube, given, say)


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
        else read_array(labels, kind="labels", shape=shape, say=say)
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


def _provide(
    scene: CatalogScene, file: RemoteFile, *, base: str | None = None, say: Say = print
) -> Path:
    """The checked file, from a folder or the network."""
    path = find(scene, file)
    if path is None:
        searched = " and ".join(map(str, folders()))
        if is_offline():
            raise DataError(
                f"{scene.name}: {file.name} is not in {searched}, and HSI_OFFLINE forbids the "
                f"download of {file.url(base)}; put it into {folders()[0] / scene.name}."
            )
        check = None if file.has_hash else lambda part: _check_content(scene, file, part)
        path = fetch(
            file, writable_folder(scene.name) / scene.name, base=base, check=check, say=say
        )
    if wrong := hash_error(path, file):
        raise DataError(
            f"{path}: corrupt or not the published file: {wrong}; delete it and download it again "
            f"with `python -m hsi datasets --download {scene.name}`."
        )
    if not file.has_hash:
        _check_record(scene, file, path)
    return path


def writable_folder(owner: str) -> Path:
    """The first data folder that can be written, made or not.

    Args:
        owner: what is to be written, for the text of the error.
    """
    for folder in folders():
        nearest = next(f for f in (folder, *folder.parents) if f.exists())
        if _is_writable(nearest):
            return folder
    raise OutputError(
        f"{owner}: no folder for the download can be written; tried "
        f"{', '.join(map(str, folders()))}; set HSI_DATASETS to one that can."
    )


def _is_writable(folder: Path) -> bool:
    """A folder without any write bit is meant to stay as it is, even for root, who could write."""
    bits = folder.stat().st_mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH)
    return bool(bits) and folder.is_dir() and os.access(folder, os.W_OK)


def _check_content(scene: CatalogScene, file: RemoteFile, path: Path) -> None:
    """What can be known of a file without a published hash: its array has the scene's shape."""
    is_labels = file == scene.labels
    key = scene.labels_key if is_labels else scene.cube_key if file == scene.cube else scene.raw_key
    shape = read_file(path, key, kind="labels" if is_labels else "cube").array.shape
    if shape[:2] != scene.shape[:2] or (file == scene.cube and shape != scene.shape):
        raise DataError(f"{path}: expected {scene.shape} (rows, cols, bands), got {shape}.")


def _check_record(scene: CatalogScene, file: RemoteFile, path: Path) -> None:
    """Compare with the hash of the first use, or record it where the folder can be written."""
    record = path.with_name(RECORD)
    try:
        known = json.loads(record.read_text(encoding="utf-8")) if record.is_file() else {}
        recorded = known.get(path.name)
    except (OSError, ValueError, AttributeError) as error:
        raise DataError(f"{record}: not a record of hashes; delete it.") from error
    got = sha256_of(path)
    if recorded is None:
        _check_content(scene, file, path)
        if _is_writable(path.parent):
            write_json(record, {**known, path.name: got})
    elif recorded != got:
        raise DataError(
            f"{path}: changed since its first use (sha256 {got[:12]}..., was {recorded[:12]}...); "
            f"download it again, or delete {record.name} beside it if the change is meant."
        )
