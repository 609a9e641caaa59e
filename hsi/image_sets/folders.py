"""Images in a folder for each class, with or without folders for parts above them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hsi.errors import DataError
from hsi.image_sets.facts import ImageSet
from hsi.image_sets.listing import Listing, Photographs, check_folder, check_photographs, digest

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp")
PARTS = {
    "train": "train", "training": "train", "val": "validation", "valid": "validation",
    "validation": "validation", "test": "test",
}  # fmt: skip
"""What folders of parts may be called -> the part."""


def read(info: ImageSet, folder: Path) -> Listing:
    """Imagenette: train/<wnid>/ and val/<wnid>/; raises as `read_folder`."""
    names = dict(zip(info.keys, info.classes.values(), strict=True))
    return read_folder(folder, names=names)


def read_folder(folder: Path, *, names: dict[str, str] | None = None) -> Listing:
    """PATH/<class>/ or PATH/train|val|test/<class>/; without test images, val is the test.

    Classes are numbered in the order of their folders' names. What lies among the images and is
    none by its name, or is a folder, is left out, and a note says so.

    Args:
        names: the only folders that may be classes -> their names; None takes all, by their names.

    Raises:
        DataError: no such folder, no training images, an empty class, parts that differ in their
            classes, or a file that is no image.
    """
    check_folder(folder, "a folder with a folder for each class")
    parts = _parts(folder)
    keys = _keys(parts, folder)
    if unknown := sorted(set(keys) - set(names or keys)):
        raise DataError(f"{folder}: {unknown[0]} is none of the classes {', '.join(names or ())}.")
    paths, classes, where, others = [], [], [], []
    for part, place in parts.items():
        for index, key in enumerate(keys):
            found, rest = _images(place / key)
            others += rest
            if not found:
                raise DataError(
                    f"{place / key}: holds no image ({', '.join(SUFFIXES)}); "
                    "fill the folder or remove it."
                )
            paths += found
            classes += [index] * len(found)
            where += [part] * len(found)
    check_photographs(paths)
    numbers = {key: number for number, key in enumerate(names)} if names else {}
    shown = {numbers.get(key, i): (names or {}).get(key, key) for i, key in enumerate(keys)}
    return Listing(
        Photographs(paths), np.array(classes, np.int64), np.array(where, "<U10"),
        shown, tuple(keys), digest(paths, folder), notes=_left_out(others),
    )  # fmt: skip


def _parts(folder: Path) -> dict[str, Path]:
    """Part -> its folder; one part "" where the folder holds the classes themselves."""
    found: dict[str, Path] = {}
    inner = _folders(folder)
    for path in inner:
        part = PARTS.get(path.name.lower())
        if part in found:
            raise DataError(f"{path}: {found[part].name} is the {part} folder already.")
        if part:
            found[part] = path
    if not found:
        return {"": folder}
    if others := [path.name for path in inner if path not in found.values()]:
        raise DataError(
            f"{folder}: holds folders of parts ({', '.join(p.name for p in found.values())}) "
            f"beside {others[0]}; expected either parts or classes."
        )
    if "train" not in found:
        raise DataError(f"{folder}: expected a folder train beside {next(iter(found))}.")
    if "test" not in found and "validation" in found:
        found["test"] = found.pop("validation")
    return found


def _keys(parts: dict[str, Path], folder: Path) -> list[str]:
    first, *others = ({path.name for path in _folders(place)} for place in parts.values())
    if not first:
        raise DataError(f"{folder}: expected a folder for each class, found none.")
    for other in others:
        if difference := sorted(first ^ other):
            raise DataError(
                f"{folder}: expected the same classes in all parts, but {difference[0]} is "
                "missing in one."
            )
    return sorted(first)


def _folders(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))


def _images(folder: Path) -> tuple[list[Path], list[Path]]:
    """The images of a folder, and what else is there; hidden files are not looked at."""
    seen = sorted(p for p in folder.iterdir() if not p.name.startswith("."))
    taken = [p.suffix.lower() in SUFFIXES and p.is_file() for p in seen]
    return (
        [p for p, image in zip(seen, taken, strict=True) if image],
        [p for p, image in zip(seen, taken, strict=True) if not image],
    )


def _left_out(others: list[Path]) -> tuple[str, ...]:
    if not others:
        return ()
    return (
        f"{len(others)} left out, such as {others[0]}: taken are {', '.join(SUFFIXES)} in the "
        "folders of the classes themselves.",
    )
