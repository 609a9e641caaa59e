"""What cells run on, and which pixels train and test: what must agree for them to be compared.

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
from hsi.runs import open_run

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


def stored_data(cell: EvaluationCell) -> str:
    """The hash of the data of a finished cell, from its run folder."""
    return str(open_run(Path(cell.settings.output or "")).record["data"]["sha256"])


def check_same_data(cells: Iterable[EvaluationCell], *, now: str | None = None) -> None:
    """Whether finished cells ran on the same data, and on that which others are about to.

    Args:
        now: hash of the data as it is.

    Raises:
        DataError: they did not.
    """
    by_hash: dict[str, EvaluationCell] = {}
    for cell in cells:
        by_hash.setdefault(stored_data(cell), cell)
    if len(by_hash) > 1:
        first, other = list(by_hash.values())[:2]
        raise DataError(
            f"cells {first.name} and {other.name}: ran on data that is not the same; delete the "
            f"folders of one kind, such as {other.settings.output}, or choose a new --output."
        )
    if by_hash and now is not None and now not in by_hash:
        (known, cell), *_ = by_hash.items()
        raise DataError(
            f"{cell.settings.dataset}: expected the data that cell {cell.name} ran on (sha256 "
            f"{known[:12]}), got other data ({now[:12]}); bring back the former, or choose a new "
            "--output."
        )


def place_of(cell: EvaluationCell) -> Place:
    """Cells of one place have the same division; those of given maps have it from every seed."""
    patch = cell.settings.patch_size or cell.settings.network.patch_size
    return cell.split, cell.amount, cell.seed, patch


def check_comparable(found: Iterable[tuple[EvaluationCell, Division]]) -> None:
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
