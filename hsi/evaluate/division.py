"""Which pixels cells train and test on: what must agree for them to be compared.

Settings name the files of given label maps, not what is in them: a map that changed between two
calls of `--resume` would put networks side by side that were tested on other pixels.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from hsi.errors import DataError
from hsi.evaluate.protocol import GIVEN, EvaluationCell
from hsi.pipeline.job import SPLIT

Division = Mapping[str, str]
"""Part ("training" with validation, "test") -> hash of its pixels."""
Place = tuple[str, float, int, int]
"""Split, amount, seed and side of the patches: what the division of the pixels depends on."""


def division_of(masks: Mapping[str, np.ndarray]) -> dict[str, str]:
    """The division by the masks "train", "validation" and "test" of a split, (rows, cols) bool."""
    parts = {"training": masks["train"] | masks["validation"], "test": masks["test"]}
    return {name: sha256(np.packbits(mask).tobytes()).hexdigest() for name, mask in parts.items()}


def stored_division(cell: EvaluationCell) -> Division:
    """That of a cell which was begun, from its run folder.

    Raises:
        DataError: a damaged file.
    """
    path = Path(cell.settings.output or "") / SPLIT
    try:
        with np.load(path, allow_pickle=False) as stored:
            return division_of(stored)
    except (OSError, ValueError, EOFError, KeyError, BadZipFile) as error:
        raise DataError(f"{path}: damaged; delete its folder and go on with --resume.") from error


def place_of(cell: EvaluationCell) -> Place:
    """Cells of one place have the same division; those of given maps have it from every seed."""
    patch = cell.settings.patch_size or cell.settings.network.patch_size
    return cell.split, cell.amount, cell.seed, patch


def check_same_division(found: Iterable[tuple[EvaluationCell, Division]]) -> None:
    """Whether cells have one division that differ in the network alone, or take given maps.

    Raises:
        DataError: two differ.
    """
    first: dict[tuple[Any, ...], tuple[str, str]] = {}
    for cell, division in found:
        for part, value in division.items():
            place = (GIVEN,) if cell.split == GIVEN else place_of(cell)
            other, known = first.setdefault((place, part), (cell.name, value))
            if value != known:
                raise DataError(
                    f"cells {other} and {cell.name}: expected the same {part} pixels, got "
                    "others; labels or label maps were changed in between: bring back the former "
                    "ones, or choose a new --output."
                )
