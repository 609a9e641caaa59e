"""The files of public scenes: where they lie, whether they are the right ones, and fetching them.

Where files are looked for: in `$HSI_DATASETS` first, then in `datasets/` of the current folder (the
commands are run in the project's folder); in each, directly or in a folder of the scene's name.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path

from hsi.download import RemoteFile, fetch, hash_error
from hsi.errors import DataError, OutputError
from hsi.files import sha256_of, write_json
from hsi.public_scenes.entry import CatalogScene
from hsi.readers import read_file

Say = Callable[[str], None]

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


def is_offline() -> bool:
    """Whether HSI_OFFLINE forbids the network."""
    return os.environ.get("HSI_OFFLINE", "") not in ("", "0")


def provide(
    scene: CatalogScene, file: RemoteFile, *, base: str | None = None, say: Say = print
) -> Path:
    """The checked file, from a folder or the network.

    Raises:
        DataError: it is not there and cannot be fetched, or is not the published one.
        DownloadError, OutputError: see `hsi.download.fetch`.
    """
    path = find(scene, file)
    if path is None:
        searched = " and ".join(map(str, folders()))
        if file.page:
            wanted = " and ".join(f.name for f in scene.files if find(scene, f) is None)
            raise DataError(
                f"{scene.name}: {wanted or file.name} not in {searched}; get it from {file.page} "
                f"and put it into {folders()[0] / scene.name}."
            )
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
    if scene.layout == "unmixing" or file.page:
        return  # what reads these files checks their sizes
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
