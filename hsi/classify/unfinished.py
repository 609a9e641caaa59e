"""A class map while it is made: what is finished lies on the disk, and a stopped job goes on.

Beside the output, under hidden names: the labels so far (`.NAME.labels.npy`), where they are asked
for the scores (`.NAME.scores.npy`), and a journal (`.NAME.journal`). Its first line says what the
map is of, in JSON; every other one is a finished tile and a checksum of the pixels that it was made
of. A line is written when the tile's labels are on the disk, so a killed job loses the tiles that
were being worked on and no others.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from hsi.classify.tiles import Grid
from hsi.errors import OutputError
from hsi.patches import Strip


class Unfinished:
    """A map of which some tiles are there; made by `begin`.

    Attributes:
        grid: the tiles.
        done: number of a finished tile -> checksum of its raw pixels.
        labels: (rows, cols) published numbers, a memory map.
        scores: (rows, cols, classes) float32, a memory map, or None.
    """

    def __init__(
        self,
        output: Path,
        grid: Grid,
        done: dict[int, int],
        labels: np.memmap,
        scores: np.memmap | None,
    ) -> None:
        self._output, self.grid, self.done = output, grid, done
        self.labels, self.scores = labels, scores

    def store(self, number: int, labels: np.ndarray, scores: np.ndarray | None, sum_: int) -> None:
        """Keep a tile, and say so in the journal."""
        place = self.grid[number].place
        self.labels[place] = labels
        self.labels.flush()
        if self.scores is not None and scores is not None:
            self.scores[place] = scores
            self.scores.flush()
        with _journal(self._output).open("a", encoding="ascii") as file:
            file.write(f"{number} {sum_}\n")
            file.flush()
            os.fsync(file.fileno())
        self.done[number] = sum_

    def tile(self, number: int) -> Strip:
        return self.grid[number]

    def discard(self) -> None:
        """Remove what was kept; the map has its name, or begins again."""
        del self.labels, self.scores
        for path in (_journal(self._output), *_arrays(self._output)):
            with suppress(FileNotFoundError):
                path.unlink()


def begin(
    output: Path,
    facts: dict[str, Any],
    grid: Grid,
    *,
    dtype: np.dtype,
    classes: int = 0,
    resume: bool = True,
) -> Unfinished:
    """Go on with the map that was begun there of the same scene and model, or begin one.

    Args:
        output: the file that the map will be.
        facts: what it is of, as plain values; a map of other facts begins again.
        grid: for a new one; one that was begun keeps its own.
        dtype: of the labels.
        classes: of the scores that are kept; 0 where none are.
        resume: False begins again.

    Raises:
        OutputError: the folder cannot be written, or there is no room.
    """
    found = _earlier(output, facts, (grid.rows, grid.cols), dtype, classes) if resume else None
    if found is not None:
        return found
    labels_path, scores_path = _arrays(output)
    for path in (_journal(output), labels_path, scores_path):
        with suppress(FileNotFoundError):
            path.unlink()
    size = (grid.rows, grid.cols)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        labels = np.lib.format.open_memmap(labels_path, "w+", dtype, size)
        scores = None
        if classes:
            scores = np.lib.format.open_memmap(scores_path, "w+", np.float32, (*size, classes))
        first = {**facts, "height": grid.height, "width": grid.width}
        _journal(output).write_text(json.dumps(first) + "\n", encoding="ascii")
    except OSError as error:
        raise OutputError(f"{output}: cannot be written: {error.strerror or error}.") from error
    return Unfinished(output, grid, {}, labels, scores)


def _earlier(
    output: Path, facts: dict[str, Any], size: tuple[int, int], dtype: np.dtype, classes: int
) -> Unfinished | None:
    """What was begun there of these facts, or None."""
    try:
        first, *lines = _journal(output).read_text(encoding="ascii").split("\n")
        said = json.loads(first)
        grid = Grid(*size, int(said.pop("height")), int(said.pop("width")))
        if said != json.loads(json.dumps(facts)):
            return None
        labels_path, scores_path = _arrays(output)
        labels = _opened(labels_path, dtype, size)
        scores = _opened(scores_path, np.dtype(np.float32), (*size, classes)) if classes else None
        # The last line may have been cut off in the middle: without its end it counts not.
        done = {int(number): int(sum_) for number, sum_ in (line.split() for line in lines[:-1])}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    if any(not 0 <= number < len(grid) for number in done):
        return None
    return Unfinished(output, grid, done, labels, scores)


def _opened(path: Path, dtype: np.dtype, shape: tuple[int, ...]) -> np.memmap:
    found = np.lib.format.open_memmap(path, "r+")
    if found.dtype != dtype or found.shape != shape:
        raise ValueError(f"{path}: of another map")
    return found


def _journal(output: Path) -> Path:
    return output.with_name(f".{output.name}.journal")


def _arrays(output: Path) -> tuple[Path, Path]:
    return (
        output.with_name(f".{output.name}.labels.npy"),
        output.with_name(f".{output.name}.scores.npy"),
    )
