"""Which array of a file is meant: the named one, or the only one whose shape and type fit."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from hsi.errors import DataError
from hsi.readers.matlab import Contents
from hsi.scene import MOST_CLASSES

Kind = Literal["cube", "labels"]
Say = Callable[[str], None]

NUMERIC = {
    "double", "single", "float16", "float32", "float64",
    *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)),
}  # fmt: skip
LABEL_TYPES = NUMERIC | {"logical", "bool"}


def choose_key(
    path: Path,
    found: Contents,
    kind: Kind,
    shape: tuple[int, ...] | None,
    load: Callable[[str], np.ndarray],
    say: Say,
) -> str:
    """The key of the one array that can be meant, by shape and type; said where it has a name.

    Raises:
        DataError: no array fits, or several do; what the file holds is listed.
    """
    names = _cubes(found, shape) if kind == "cube" else _label_maps(found, shape, load)
    if len(names) == 1:
        if names[0]:
            say(
                f"{path.name}: {names[0]!r} ({shape_text(found[names[0]][0])}) taken as the {kind}."
            )
        return names[0]
    wanted = "3-D array of numbers" if kind == "cube" else "2-D array of class numbers"
    if names:
        raise DataError(
            f"{path}: several arrays could be the {kind}: {', '.join(names)}; "
            f"name one as {path}:KEY."
        )
    if list(found) == [""]:
        return ""  # a lone array: the checks that follow say what is wrong with it
    pixels = [k for k, (s, t) in found.items() if len(s) == 2 and min(s) > 1 and t in NUMERIC]
    if kind == "cube" and len(pixels) == 1:
        return pixels[0]
    raise DataError(f"{path}: no {wanted} for the {kind}; the file holds {_listing(found)}.")


def _cubes(found: Contents, shape: tuple[int, ...] | None) -> list[str]:
    """3-D arrays of numbers; of several the largest: abundances and masks are thinner."""
    fitting = {k: s for k, (s, t) in found.items() if len(s) == 3 and 0 not in s and t in NUMERIC}
    if shape and any(s[:2] == shape[:2] for s in fitting.values()):
        fitting = {k: s for k, s in fitting.items() if s[:2] == shape[:2]}
    most = max((math.prod(s) for s in fitting.values()), default=0)
    return [k for k, s in fitting.items() if math.prod(s) == most]


def _label_maps(
    found: Contents, shape: tuple[int, ...] | None, load: Callable[[str], np.ndarray]
) -> list[str]:
    """2-D arrays of class numbers that fit; if none fits, all, for the error that follows."""
    flat = {k: flat_shape(s) for k, (s, t) in found.items() if t in LABEL_TYPES}
    # A vector is no label map, but of a scene of one row or column.
    fitting = (shape[:2], shape[1::-1]) if shape else ()
    flat = {k: s for k, s in flat.items() if len(s) == 2 and (min(s) > 1 or s in fitting)}
    names = [k for k, s in flat.items() if not shape or s == shape[:2]]
    names = names or [k for k, s in flat.items() if shape and s == shape[1::-1]] or list(flat)
    return [k for k in names if _looks_like_labels(load(k))] if len(names) > 1 else names


def _looks_like_labels(array: np.ndarray) -> bool:
    if array.dtype.kind not in "uifb" or not np.isfinite(array).all() or array.min() < 0:
        return False
    values = np.unique(array)
    return len(values) <= MOST_CLASSES + 1 and bool((values == np.floor(values)).all())


def check_key(path: Path, found: Contents, key: str, kind: Kind) -> None:
    """Raise a `DataError` where `key` names no array of the file, or none of real numbers."""
    if list(found) == [""] and key:
        raise DataError(f"{path}: a .npy file is one array without keys; leave out {key!r}.")
    if key not in found:
        raise DataError(f"{path}: no array {key!r}; the file holds {_listing(found)}.")
    shape, type_name = found[key]
    if type_name not in (NUMERIC if kind == "cube" else LABEL_TYPES):
        raise DataError(
            f"{path}: {key or 'the array'} is of type {type_name}; expected real numbers."
        )
    if 0 in shape:
        raise DataError(f"{path}: {key or 'the array'} is empty, of {shape_text(shape)}.")


def _listing(found: Contents) -> str:
    """Names, shapes and types of everything in the file, on one line."""
    if not found:
        return "nothing"
    return ", ".join(f"{k or 'array'} ({shape_text(s)} {t})" for k, (s, t) in found.items())


def flat_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of a label map without a third axis of length 1."""
    if len(shape) == 3 and 1 in (shape[0], shape[2]):
        return shape[:2] if shape[2] == 1 else shape[1:]
    return shape


def shape_text(shape: tuple[int, ...]) -> str:
    """For example "145 x 145 x 200"."""
    return " x ".join(map(str, shape))


def range_text(numbers: Sequence[int]) -> str:
    """For example "1,104-108" of ascending whole numbers."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)
