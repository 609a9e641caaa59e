"""A class map while it is made: what is finished lies on the disk, and a stopped job goes on.

Beside the output, under hidden names: the labels so far (`.NAME.labels.npy`), where they are asked
for the scores (`.NAME.scores.npy`), and a journal (`.NAME.journal`). Its first line says what the
map is of, in JSON; every other one is a finished tile and a checksum of the pixels that it was made
of. A line is written when the tile's labels are on the disk, so a killed job loses the tiles that
were being worked on and no others. `.NAME.lock` keeps a second job out while one is at work.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from hsi.classify.tiles import Grid
from hsi.errors import OutputError
from hsi.files import write_text

UNSUPPORTED = (errno.EINVAL, errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
"""What file systems answer that cannot lock a file, or give it its blocks beforehand."""


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
        """Keep a tile, and say so in the journal; `OutputError` where the disk is full."""
        place = self.grid[number].place
        try:
            self.labels[place] = labels
            self.labels.flush()
            if self.scores is not None and scores is not None:
                self.scores[place] = scores
                self.scores.flush()
            with _journal(self._output).open("a", encoding="ascii") as file:
                file.write(f"{number} {sum_}\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise _unwritable(self._output, error) from error
        self.done[number] = sum_

    def discard(self) -> None:
        """Remove what was kept; the map has its name, or begins again."""
        del self.labels, self.scores
        _remove(self._output)


@contextmanager
def alone(output: Path) -> Iterator[None]:
    """Keep other jobs from a map while this one makes it; a job that was killed keeps none out.

    Where files cannot be locked (Windows, some network drives) nobody is kept out.

    Raises:
        OutputError: another job is making it, or the folder cannot be written.
    """
    try:
        lock = _locked(output)
    except OSError as error:
        raise _unwritable(output, error) from error
    try:
        yield
    finally:
        if lock is not None:
            # Before it is let go: who opened it meanwhile sees that it has gone, and makes another.
            _lock(output).unlink(missing_ok=True)
            os.close(lock)


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
    size = (grid.rows, grid.cols)
    try:
        _remove(output)
        output.parent.mkdir(parents=True, exist_ok=True)
        labels = np.lib.format.open_memmap(labels_path, "w+", dtype, size)
        _reserve(labels_path)
        scores = None
        if classes:
            scores = np.lib.format.open_memmap(scores_path, "w+", np.float32, (*size, classes))
            _reserve(scores_path)
        first = {**facts, "height": grid.height, "width": grid.width}
        _journal(output).write_text(json.dumps(first) + "\n", encoding="ascii")
    except OSError as error:
        with suppress(OSError):
            _remove(output)
        raise _unwritable(output, error) from error
    return Unfinished(output, grid, {}, labels, scores)


def hidden_files(output: Path) -> list[Path]:
    """What lies beside an output while it is made."""
    return [_journal(output), _lock(output), *_arrays(output)]


def _earlier(
    output: Path, facts: dict[str, Any], size: tuple[int, int], dtype: np.dtype, classes: int
) -> Unfinished | None:
    """What was begun there of these facts, or None; `OutputError` where the disk is full."""
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
        fragment = lines.pop() if lines else first
        done = {int(number): int(sum_) for number, sum_ in (line.split() for line in lines)}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    if any(not 0 <= number < len(grid) for number in done):
        return None
    if fragment:  # the next line would be joined to it
        write_text(_journal(output), "\n".join([first, *lines]) + "\n")
    return Unfinished(output, grid, done, labels, scores)


def _opened(path: Path, dtype: np.dtype, shape: tuple[int, ...]) -> np.memmap:
    found = np.lib.format.open_memmap(path, "r")  # "r+" lengthens a file that was cut, by zeros
    if found.dtype != dtype or found.shape != shape:
        raise ValueError(f"{path}: of another map")
    return np.lib.format.open_memmap(path, "r+")


def _reserve(path: Path) -> None:
    """Give a file its blocks now: a memory map that finds no room later ends the process.

    Raises:
        OSError: there is no room.
    """
    if not hasattr(os, "posix_fallocate"):  # macOS, Windows
        return
    with path.open("rb+") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
        except OSError as error:
            if error.errno not in UNSUPPORTED:
                raise


def _locked(output: Path) -> int | None:
    """The lock file, open and locked; None where files cannot be locked.

    Raises:
        OutputError: another job has locked it.
        OSError: the folder cannot be written.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        return None
    path = _lock(output)
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(lock), path.stat()):
                return lock
        except FileNotFoundError:
            pass  # the job that had it has ended and removed it
        except (BlockingIOError, PermissionError) as error:
            os.close(lock)
            raise OutputError(
                f"{output}: another job is writing this map; wait for it, or name another file."
            ) from error
        except OSError as error:
            os.close(lock)
            if error.errno not in UNSUPPORTED:
                raise
            path.unlink(missing_ok=True)
            return None
        os.close(lock)


def _remove(output: Path) -> None:
    for path in (_journal(output), *_arrays(output)):
        path.unlink(missing_ok=True)


def _unwritable(output: Path, error: OSError) -> OutputError:
    return OutputError(f"{output}: cannot be written: {error.strerror or error}.")


def _journal(output: Path) -> Path:
    return output.with_name(f".{output.name}.journal")


def _lock(output: Path) -> Path:
    return output.with_name(f".{output.name}.lock")


def _arrays(output: Path) -> tuple[Path, Path]:
    return (
        output.with_name(f".{output.name}.labels.npy"),
        output.with_name(f".{output.name}.scores.npy"),
    )
