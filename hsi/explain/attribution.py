"""What an attribution method returns, and how it walks over the samples in batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Literal

import numpy as np

from hsi.errors import SettingsError

Quantity = Literal["gradient", "squared gradient", "contribution", "relevance"]
"""What a value of a map is: logit per unit of input (so the chain rule carries it back through
whatever prepared the input), the square of that, a share of the logit itself, or a number without
unit whose size can be compared within its map alone."""

Per = Literal["value", "pixel", "channel"]
"""What a map tells apart: every input value; pixels (the same in all channels); channels."""


@dataclass(frozen=True, eq=False)
class Attribution:
    """Signed maps of what a class score depends on, and what they are worth.

    Attributes:
        maps: (n, rows, cols, channels) signed float32, one map a sample, in the units that
            `quantity` says.
        classes: (n,) int class indices 0..k-1 whose score is explained.
        scores: (n,) float32 logits of these classes.
        method: name of the method.
        completeness_error: (n,) |sum of the map - score difference| relative to the difference,
            for methods that promise completeness; None for the others.
        notes: one line for each thing that the reader of a picture must know.
        quantity: what a value of a map is; see `Quantity`.
        per: what a map tells apart; see `Per`.
    """

    maps: np.ndarray
    classes: np.ndarray
    scores: np.ndarray
    method: str
    completeness_error: np.ndarray | None = None
    notes: tuple[str, ...] = ()
    quantity: Quantity = "gradient"
    per: Per = "value"

    @property
    def dead(self) -> np.ndarray:
        """(n,) bool: the map of the sample is zero everywhere."""
        return ~np.any(self.maps, axis=tuple(range(1, self.maps.ndim)))


def make_attribution(
    maps: np.ndarray,
    classes: np.ndarray,
    scores: np.ndarray,
    *,
    method: str,
    completeness_error: np.ndarray | None = None,
    notes: Sequence[str] = (),
    quantity: Quantity = "gradient",
    per: Per = "value",
) -> Attribution:
    """An `Attribution` whose notes also say which maps are dead or not finite.

    Samples are counted from 1 in the notes.
    """
    maps = np.asarray(maps, np.float32)
    flat = maps.reshape(len(maps), -1)
    dead = [f"map of sample {i + 1} is all zero (dead)" for i in np.flatnonzero(~flat.any(axis=1))]
    broken = [
        f"map of sample {i + 1} holds values that are not finite"
        for i in np.flatnonzero(~np.isfinite(flat).all(axis=1))
    ]
    return Attribution(
        maps,
        np.asarray(classes, np.int64),
        np.asarray(scores, np.float32),
        method,
        completeness_error,
        (*notes, *dead, *broken),
        quantity,
        per,
    )


AT_ONCE = 2**21
"""Input values that go through a network at once where no number of rows is given."""

MOST_ROWS = 256
"""Rows that this gives at most; more of them are no faster."""


def rows_at_once(shape: tuple[int, ...], batch_size: int | None) -> int:
    """`batch_size`; where it is None as many rows as hold `AT_ONCE` values, a power of two.

    Small samples go in large batches, which is faster, and large ones in small batches, which keeps
    the memory bounded.

    Args:
        shape: of a sample.
        batch_size: as the caller has it.

    Raises:
        SettingsError: `batch_size` below 1.

    Example:
        >>> rows_at_once((5, 5, 200), None), rows_at_once((224, 224, 3), None)
        (256, 8)
    """
    if batch_size is None:
        fitting = max(1, AT_ONCE // max(prod(shape), 1))
        return min(MOST_ROWS, 1 << (fitting.bit_length() - 1))
    if batch_size < 1:
        raise SettingsError(f"Expected a batch size of at least 1, got {batch_size}.")
    return batch_size


def batch_rows(n: int, batch_size: int) -> int:
    """Rows of every batch: `batch_size`, or for fewer samples the next power of two.

    A compiled function is traced once per shape, so the sizes that can occur are kept few.

    Example:
        >>> batch_rows(100, 64), batch_rows(64, 64), batch_rows(5, 64), batch_rows(5, 6)
        (64, 64, 8, 6)
    """
    return min(batch_size, 1 << max(n - 1, 0).bit_length())


def in_batches(
    step: Callable[..., Sequence[np.ndarray]],
    *arrays: np.ndarray,
    batch_size: int | None,
) -> tuple[np.ndarray, ...]:
    """Apply `step` to batches of rows, all of one size, and join what it returns.

    The last batch is filled up by repeating its last row, and what comes of the repeated rows is
    cut off, so a compiled `step` sees one shape only.

    Args:
        step: takes one batch of each array and returns arrays with as many rows.
        arrays: each with the same number n >= 1 of rows.
        batch_size: most rows at once; None: see `rows_at_once`, of the first array.
    """
    n = len(arrays[0])
    rows = batch_rows(n, rows_at_once(arrays[0].shape[1:], batch_size))
    parts = []
    for start in range(0, n, rows):
        batch = [a[start : start + rows] for a in arrays]
        filled = len(batch[0])
        if filled < rows:
            batch = [np.concatenate([a, np.repeat(a[-1:], rows - filled, axis=0)]) for a in batch]
        parts.append([np.asarray(r)[:filled] for r in step(*batch)])
    return tuple(np.concatenate(column) for column in zip(*parts, strict=True))


def in_chunks(
    n: int,
    make: Callable[[np.ndarray], np.ndarray],
    step: Callable[[np.ndarray], np.ndarray],
    *,
    batch_size: int,
) -> np.ndarray:
    """Apply `step` to rows that are only made when their turn comes, all chunks of one size.

    Args:
        n: how many rows there are in all.
        make: row numbers -> those rows.
        step: rows -> an array with as many rows.
        batch_size: most rows at once.
    """
    rows = batch_rows(n, batch_size)
    parts = []
    for start in range(0, n, rows):
        numbers = np.minimum(np.arange(start, start + rows), n - 1)
        parts.append(np.asarray(step(make(numbers)))[: n - start])
    return np.concatenate(parts)
