"""Small maps brought to the size of the input, one axis after the other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hsi.errors import ModelError
from hsi.explain.attribution import Per
from hsi.explain.layered import Window


def linear_matrix(size: int, wanted: int) -> np.ndarray:
    """(wanted, size) weights of linear interpolation between the centres of cells.

    The same as bilinear resizing in TensorFlow (half-pixel centres, edges repeated).

    Example:
        >>> linear_matrix(2, 4).tolist()
        [[1.0, 0.0], [0.75, 0.25], [0.25, 0.75], [0.0, 1.0]]
    """
    centres = np.clip((np.arange(wanted) + 0.5) * size / wanted - 0.5, 0, size - 1)
    low = np.minimum(centres.astype(int), max(size - 2, 0))
    high = np.minimum(low + 1, size - 1)
    matrix = np.zeros((wanted, size))
    rows = np.arange(wanted)
    np.add.at(matrix, (rows, low), 1 - (centres - low))
    np.add.at(matrix, (rows, high), centres - low)
    return matrix


def window_matrices(window: Window, sizes: Sequence[int]) -> list[np.ndarray]:
    """For each axis (input size, map size): 1 where the input's value is seen from the map's.

    Applied along every axis this is the transposed convolution with a kernel of ones.
    """
    found = []
    for axis, size in enumerate(sizes):
        start = np.arange(size) * window.strides[axis] - window.before[axis]
        places = np.arange(window.sizes[axis])[:, None]
        found.append(
            ((places >= start) & (places < start + window.kernel[axis])).astype(np.float64)
        )
    return found


def along_axes(maps: np.ndarray, matrices: Sequence[np.ndarray]) -> np.ndarray:
    """Apply one matrix to each axis after the first of `maps`."""
    for axis, matrix in enumerate(matrices, start=1):
        maps = np.moveaxis(np.tensordot(maps, matrix, axes=(axis, 1)), -1, axis)
    return maps


def resized(maps: np.ndarray, sizes: Sequence[int]) -> np.ndarray:
    """Maps (n, ...) interpolated to (n, *sizes)."""
    pairs = zip(maps.shape[1:], sizes, strict=True)
    return along_axes(maps, [linear_matrix(have, want) for have, want in pairs])


def to_input(maps: np.ndarray, shape: tuple[int, ...]) -> tuple[np.ndarray, Per]:
    """Maps of a layer in the shape of the input, and what they tell apart there.

    Args:
        maps: (n, a, b) over pixels, (n, a, b, c) over pixels and channels, or (n, c) over channels
            of an input of a single pixel.
        shape: (rows, cols, channels) of a sample.

    Raises:
        ModelError: the axes of the map cannot be those of the input.
    """
    rank = maps.ndim - 1
    if len(shape) == 3 and rank == 3:
        return resized(maps, shape), "value"
    if len(shape) == 3 and rank == 2:
        wide = resized(maps, shape[:2])[..., None]
        return np.broadcast_to(wide, (*wide.shape[:-1], shape[2])), "pixel"
    if rank == 1 and int(np.prod(shape[:-1])) == 1:
        wide = resized(maps, shape[-1:])
        return wide.reshape(len(maps), *shape), "channel"
    raise ModelError(
        f"A map of {' x '.join(map(str, maps.shape[1:]))} cannot be laid over an input of "
        f"{' x '.join(map(str, shape))}; choose another layer."
    )
