"""What settings name by a path: absolute for the record, and found again after a move.

A value is a word that stands for itself (a data set's name, `imagenet`), `FILE`, `FILE:KEY` or
`folder:PATH`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from hsi.catalog import scene_name
from hsi.image_sets import FOLDER, image_set_name

DATA = ("dataset", "labels")
"""Settings that name data, in the record among its facts."""
MAPS = ("train_labels", "test_labels")
"""Settings that name the maps of a given split."""
FILES = ("model_file", "weights", "teacher", "plan", "quantize_folder")
"""Further settings that name a file or folder which a later command reads again."""
WORDS = {"weights": ("none", "imagenet"), "teacher": ("trained",)}
"""Setting -> values that are no files; as `hsi.pipeline` has them."""


def is_word(name: str, value: str) -> bool:
    """Whether the value of a setting stands for itself, even where a file is called the same."""
    if name == "dataset":
        is_set = image_set_name(value) is not None and not value.startswith(FOLDER)
        return is_set or scene_name(value) is not None
    return value in WORDS.get(name, ())


def absolute(name: str, value: str | None) -> str | None:
    """The value of a setting with an absolute path; words, and what is not there, as they are."""
    if value is None or is_word(name, value):
        return value
    prefix, file, key = _parts(value)
    return f"{prefix}{Path(file).resolve()}{key}" if prefix or Path(file).exists() else value


def absolute_spec(spec: str | None) -> str | None:
    """A data set's name as it is; a file or folder with its absolute path, for later commands."""
    return absolute("dataset", spec)


def first_there(places: Iterable[str], *, otherwise: str) -> str:
    """The first path of which there is a file or folder."""
    return next((place for place in places if Path(_parts(place)[1]).exists()), otherwise)


def moved(value: str, before: str, now: Path) -> str:
    """An absolute path after it and a folder were moved together, from `before` to `now`."""
    prefix, path = _without_prefix(value)
    if not os.path.isabs(path):
        return value
    return f"{prefix}{os.path.normpath(now.resolve() / os.path.relpath(path, before))}"


def seen_from(folder: Path, value: str) -> str:
    """A path that was given in another working directory."""
    prefix, path = _without_prefix(value)
    return f"{prefix}{folder / path}"


def _without_prefix(value: str) -> tuple[str, str]:
    return (FOLDER, value.removeprefix(FOLDER)) if value.startswith(FOLDER) else ("", value)


def _parts(value: str) -> tuple[str, str, str]:
    """`folder:` or nothing, the path, and the key with its colon; a path may have colons itself."""
    prefix, path = _without_prefix(value)
    if prefix:
        return prefix, str(Path(path).expanduser()), ""
    file, colon, key = path.rpartition(":")
    return ("", path, "") if not file or Path(path).exists() else ("", file, colon + key)
