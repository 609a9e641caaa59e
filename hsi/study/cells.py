"""The cells of a study: every combination of the values that its file lists."""

from __future__ import annotations

import hashlib
import itertools
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hsi.errors import SettingsError, one_of
from hsi.settings import OPTIONS

SECTIONS = ("name", "settings", "grid", "cells")
RESERVED = (
    "output",
    "resume",
    "start_from",
    "show_images",
    "quantize_folder",
    "strategy",
    "no_report",
)
"""Settings that a study sets for its cells itself."""
LONGEST_NAME = 100


@dataclass(frozen=True)
class Cell:
    """One run of a study.

    Attributes:
        name: of its folder, made of what sets it apart.
        apart: the grid's settings with this cell's values, as the file has them.
        values: all its settings, by their names on the command line.
    """

    name: str
    apart: Mapping[str, Any]
    values: Mapping[str, Any]


@dataclass(frozen=True)
class Study:
    """A study file, read.

    Attributes:
        name: of the study and its folder.
        keys: the settings that the cells differ in, in the order of the file.
        cells: in the order of the grid, the last key running fastest.
    """

    name: str
    keys: tuple[str, ...]
    cells: tuple[Cell, ...]


def read_study(path: Path) -> Study:
    """Read a study file.

        name = "criteria"                # optional; else the name of the file
        [settings]                       # of every cell, as generate_model.py spells them
        model = "cao"
        prune = true
        [grid]                           # every combination of these
        criterion = ["apoz", "l1"]
        seed = [0, 1, 2]
        [[cells]]                        # optional: the grid is run for each of these
        dataset = "salinas_a"

    Raises:
        SettingsError: no such file, no TOML, an unknown key (the closest is offered), an empty
            list, or two cells that are one and the same.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"study {path}: cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise SettingsError(f"study {path}: expected TOML: {error}.") from error
    for key in content:
        one_of(key, SECTIONS, what=f"key in {path}")
    settings, grid, rows = _sections(content, path)
    for name in (*settings, *grid, *(name for row in rows for name in row)):
        known = [option for option in OPTIONS if option not in RESERVED]
        one_of(name, known, what=f"setting in {path}")
    keys = tuple(dict.fromkeys([*(name for row in rows for name in row), *grid]))
    cells = []
    for row in rows or [{}]:
        for combination in itertools.product(*grid.values()):
            apart = {**row, **dict(zip(grid, combination, strict=True))}
            cells.append(Cell(cell_name(apart), apart, {**settings, **apart}))
    names = [cell.name for cell in cells]
    for name in names:
        if names.count(name) > 1:
            raise SettingsError(
                f"study {path}: the cell {name} is there {names.count(name)} times."
            )
    return Study(str(content.get("name", path.stem)), keys, tuple(cells))


def cell_name(apart: Mapping[str, Any]) -> str:
    """A folder's name for a cell: criterion-l1_seed-0; long ones end in a hash instead."""
    text = "_".join(f"{key}-{_word(value)}" for key, value in apart.items()) or "only"
    if len(text) <= LONGEST_NAME:
        return text
    digest = hashlib.sha256(repr(sorted(apart.items())).encode()).hexdigest()[:8]
    return f"{text[: LONGEST_NAME - 9]}-{digest}"


def _word(value: Any) -> str:
    parts = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    return re.sub(r"[^A-Za-z0-9.,%]+", "-", ",".join(map(str, parts))).rstrip("-.") or "none"


def _sections(
    content: Mapping[str, Any], path: Path
) -> tuple[dict[str, Any], dict[str, list[Any]], list[dict[str, Any]]]:
    settings, grid, rows = (content.get(name, {}) for name in SECTIONS[1:])
    rows = rows or []
    if not isinstance(settings, dict) or not isinstance(grid, dict):
        raise SettingsError(f"study {path}: expected [settings] and [grid] to be tables.")
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise SettingsError(f"study {path}: expected [[cells]] to be a list of tables.")
    for name, values in grid.items():
        if not isinstance(values, list) or not values:
            raise SettingsError(
                f"study {path}: grid.{name}: expected a list of one value or more, got {values!r}."
            )
        if name in settings:
            raise SettingsError(f"study {path}: {name} stands both in [settings] and in [grid].")
    return settings, grid, rows
