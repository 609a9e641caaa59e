"""Class numbers out of what tables and polygons call classes: numbers or names."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from hsi.errors import DataError
from hsi.scene import MOST_CLASSES

LARGEST = int(np.iinfo(np.int32).max)
"""The largest class number that a label map holds."""
NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
"""What is a number in a table; `float` takes more: "1_1" would be 11."""


def numbered(
    values: Sequence[object],
    *,
    where: str,
    names: Sequence[object] | None = None,
    say: Callable[[str], None] = print,
) -> tuple[np.ndarray, dict[int, str]]:
    """Class numbers, and the names of those that have one.

    Numbers stay as they are; names are numbered from 1 in alphabetical order. "1_1" is a name.

    Args:
        values: what the file has for each pixel or polygon.
        where: the file and field, for the text of errors.
        names: a name for each value, where the file has them apart from numbers; of plots and
            the like, with several names in one class, none is taken, which is said.
        say: called with one line for each thing worth knowing.

    Returns:
        (n,) int32 and number -> name.

    Raises:
        DataError: an empty value, a number that is none of a class, or too many classes.
    """
    texts = ["" if value is None else str(value).strip() for value in values]
    if empty := [place for place, text in enumerate(texts) if text in ("", "nan", "None")]:
        raise DataError(f"{where}: {len(empty)} entries are empty; expected a class in each.")
    numbers = _numbers(texts)
    if numbers is None:
        known = sorted(set(texts))
        found = {name: number for number, name in enumerate(known, start=1)}
        result, named = np.array([found[t] for t in texts], np.int32), dict(enumerate(known, 1))
    else:
        wrong = (numbers < 0) | (numbers > LARGEST) | (numbers != np.rint(numbers))
        if wrong.any():
            raise DataError(
                f"{where}: {numbers[wrong][0]:.12g} is no class; expected whole numbers from 1 to "
                f"{LARGEST}."
            )
        result = numbers.astype(np.int32)
        named = _names_of(result, names, where, say) if names is not None else {}
    if len(np.unique(result)) > MOST_CLASSES:
        raise DataError(
            f"{where}: {len(np.unique(result))} different values; expected at most {MOST_CLASSES} "
            "classes: is this the field of classes?"
        )
    return result, named


def number_of(text: str) -> float | None:
    """The finite number that a text without blanks around it is, or None."""
    value = float(text) if NUMBER.fullmatch(text) else math.inf
    return value if math.isfinite(value) else None


def _numbers(texts: Sequence[str]) -> np.ndarray | None:
    found = [number_of(text) for text in texts]
    return None if None in found else np.array(found, float)


def _names_of(
    numbers: np.ndarray, names: Sequence[object], where: str, say: Callable[[str], None]
) -> dict[int, str]:
    found: dict[int, str] = {}
    for number, name in zip(numbers.tolist(), names, strict=True):
        text = "" if name is None or name != name else str(name).strip()  # NaN is not itself
        if number and text and found.setdefault(number, text) != text:
            say(
                f"{where}: class {number} is called {found[number]!r} and {text!r}; no names of "
                "classes taken."
            )
            return {}
    return found


def lay(
    labels: np.ndarray,
    rows: np.ndarray,
    cols: np.ndarray,
    classes: np.ndarray,
    *,
    path: Path,
) -> None:
    """Write classes into pixels of a label map, in place.

    Raises:
        DataError: a pixel that has two classes.
    """
    for row, col, number in zip(rows.tolist(), cols.tolist(), classes.tolist(), strict=True):
        if labels[row, col] not in (0, number):
            raise DataError(
                f"{path}: pixel {row},{col} (row,col from 0) has class {labels[row, col]} and "
                f"class {number}; leave one of them out."
            )
        labels[row, col] = number
