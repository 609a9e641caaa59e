"""Labels as a table of pixels: `row`, `col` and `class`, or `x`, `y` and `class`; CSV."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from hsi.errors import DataError
from hsi.georeference import Georeference
from hsi.readers.classes import lay, number_of, numbered

DELIMITERS = ",;\t"
PLACES = (("row", "col"), ("x", "y"))
"""Columns that say where a pixel is: from 0, or in the units of the scene's reference system."""
OTHERS = {"column": "col", "line": "row", "sample": "col", "label": "class", "class_id": "class",
          "class name": "name", "class_name": "name"}  # fmt: skip
"""What columns may be called besides, where only one of a table means that."""


def is_table(path: Path, head: bytes) -> bool:
    """Whether a file begins with the names of the columns of such a table."""
    if bytes(1) in head or path.suffix.lower() == ".hdr":
        return False
    first = head.lstrip(b"\xef\xbb\xbf").decode("utf-8", "replace").partition("\n")[0]
    names = set(_meanings(_names(first)))
    return path.suffix.lower() == ".csv" or any(names >= {*place} for place in PLACES)


def read(
    path: Path,
    column: str | None,
    rows: int,
    cols: int,
    georeference: Georeference | None,
    *,
    say: Callable[[str], None] = print,
) -> tuple[np.ndarray, dict[int, str]]:
    """The labels, (rows, cols) int32, and names of classes.

    Args:
        column: of the classes, in capitals or not; None takes `class`. A column `name` names the
            numbers then.

    Raises:
        DataError: columns that are missing, entries that are no pixels, or none in the scene.
    """
    columns = _columns(path)
    table = {meant: columns[name] for meant, name in _meanings([*columns]).items()}
    place = next((names for names in PLACES if {*names} <= {*table}), None)
    wanted = (column or "class").strip().lower()
    known = ", ".join(columns)
    if place is None or wanted not in table:
        expected = f"row, col (or x, y) and {column or 'class'}"
        raise DataError(f"{path}: expected columns {expected}, separated by commas; got {known}.")
    down, across = _pixels(path, table, place, georeference)
    classes, names = numbered(
        table[wanted],
        where=f"{path}:{wanted}",
        names=table.get("name" if column is None else ""),
        say=say,
    )
    inside = (down >= 0) & (down < rows) & (across >= 0) & (across < cols)
    if not inside.any():
        raise DataError(
            f"{path}: none of {len(inside)} pixels lies in the scene of {rows} x {cols}; rows and "
            "columns count from 0."
        )
    if not inside.all():
        say(f"{path.name}: {np.count_nonzero(~inside)} of {len(inside)} pixels lie outside.")
    labels = np.zeros((rows, cols), np.int32)
    lay(labels, down[inside], across[inside], classes[inside], path=path)
    return labels, names


def _names(line: str) -> list[str]:
    """Names of columns, lower-case, as the file has them."""
    return [word.strip().strip('"').lower() for word in line.split(_delimiter(line))]


def _meanings(names: Sequence[str]) -> dict[str, str]:
    """Each column by its own name, and by the one of `OTHERS` that it alone can mean."""
    meant = [OTHERS[name] for name in names if name in OTHERS]
    found = {name: name for name in names}
    for name in names:
        meaning = OTHERS.get(name, name)
        if meaning not in names and meant.count(meaning) == 1:
            found[meaning] = name
    return found


def _delimiter(line: str) -> str:
    return max(DELIMITERS, key=line.count)


def _columns(path: Path) -> dict[str, list[str]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as text ({type(error).__name__}).") from error
    lines = text.splitlines() or [""]
    names = _names(lines[0])
    if twice := [name for name in names if name and names.count(name) > 1]:
        raise DataError(f"{path}: {twice.count(twice[0])} columns {twice[0]!r}; keep one of them.")
    found: dict[str, list[str]] = {name: [] for name in names}
    for number, words in enumerate(_rows(path, lines), start=2):
        if not words:
            continue
        if len(words) != len(names):
            raise DataError(
                f"{path}: line {number}: expected {len(names)} entries, got {len(words)}."
            )
        for name, word in zip(names, words, strict=True):
            found[name].append(word.strip())
    if not any(found.values()):
        raise DataError(f"{path}: no pixels; expected a line for each below the names of columns.")
    return found


def _rows(path: Path, lines: Sequence[str]) -> Iterator[list[str]]:
    """The words of each line below the first one."""
    try:
        yield from csv.reader(lines[1:], delimiter=_delimiter(lines[0]))
    except csv.Error as error:
        raise DataError(
            f"{path}: no table of pixels, or a quote is never closed ({error})."
        ) from error


def _pixels(
    path: Path,
    table: dict[str, list[str]],
    place: Sequence[str],
    georeference: Georeference | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns from 0, (n,) int both."""
    first, second = (_numbers(path, name, table[name]) for name in place)
    if place[0] == "row":
        for name, values in zip(place, (first, second), strict=True):
            if (broken := np.flatnonzero(values != np.rint(values))).size:
                raise DataError(
                    f"{path}: line {broken[0] + 2}: {name} {values[broken[0]]:g} is no whole "
                    "number; rows and columns count from 0."
                )
        return first.astype(np.int64), second.astype(np.int64)
    if georeference is None:
        raise DataError(
            f"{path}: x and y need the georeference of the scene, which it has not; give row, col."
        )
    down, across = georeference.row_col(first, second)  # type: ignore[arg-type]
    return np.floor(down).astype(np.int64), np.floor(across).astype(np.int64)


def _numbers(path: Path, name: str, words: Sequence[str]) -> np.ndarray:
    found = [number_of(word) for word in words]
    if None in found:
        place = found.index(None)
        raise DataError(f"{path}: line {place + 2}: {name} {words[place]!r} is no number.")
    return np.array(found, float)
