"""Scenes of unmixing: a matrix of (bands, pixels), and abundances or spectra instead of labels.

In their MATLAB files the pixels stand column by column.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hsi.errors import DataError
from hsi.nonnegative import non_negative_weights
from hsi.readers import matlab
from hsi.readers.choose import check_key, shape_text
from hsi.readers.kinds import keyed_reader, read_head

ABUNDANCES = "A"
"""The name of a matrix of (materials, pixels); any other holds the spectra of materials."""
KEPT_BANDS = "slctBnds"
"""Numbers, from 1, of the sensor's bands in the cube, in files of spectra with all bands."""


def read_cube(path: Path, key: str, size: tuple[int, int]) -> np.ndarray:
    """The cube, (rows, cols, bands), of a matrix (bands, rows * cols).

    Raises:
        DataError: no such matrix, or one of another number of pixels.
    """
    matrix = _matrix(path, key)
    if matrix.shape[1] != size[0] * size[1]:
        raise DataError(
            f"{path}:{key}: {shape_text(matrix.shape)}; expected bands x {size[0] * size[1]} "
            f"pixels, {size[0]} x {size[1]}."
        )
    cube = matrix.T.reshape((*size, len(matrix)), order="F")
    return np.ascontiguousarray(cube)


def read_labels(path: Path, key: str, cube: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """The material of the largest abundance in each pixel, from 1; 0 where all are 0.

    Args:
        path, key: abundances (materials, pixels) under "A", else spectra (bands, materials).
        cube: (rows, cols, bands), whose abundances are found where the file has spectra.
        kept: 1-based numbers, in the sensor's list, of the cube's bands; used where spectra have
            all bands and the file does not say which are kept.

    Returns:
        (rows, cols) int32.

    Raises:
        DataError: matrices that do not fit the scene.
    """
    rows, cols, bands = cube.shape
    matrix = _matrix(path, key)
    if key == ABUNDANCES:
        if matrix.shape[1] != rows * cols:
            raise DataError(
                f"{path}:{key}: {shape_text(matrix.shape)}; expected materials x {rows * cols} "
                "pixels."
            )
        return largest(matrix).reshape((rows, cols), order="F")
    if len(matrix) != bands:
        numbers = _kept(path, kept)
        if len(numbers) != bands or numbers.max() > len(matrix):
            raise DataError(
                f"{path}:{key}: spectra of {len(matrix)} bands do not fit a cube of {bands}."
            )
        matrix = matrix[numbers - 1]
    spectra = np.asarray(cube, np.float64).reshape(-1, bands)
    weights, _ = non_negative_weights(spectra, np.ascontiguousarray(matrix.T, np.float64))
    return largest(weights.T).reshape(rows, cols)


def largest(abundances: np.ndarray) -> np.ndarray:
    """(materials, pixels) -> (pixels,) int32, the number from 1 of the largest; 0 where all are 0.

    Example:
        >>> largest(np.array([[0.2, 0.0], [0.8, 0.0]])).tolist()
        [2, 0]
    """
    found = abundances.argmax(axis=0) + 1
    return np.where(abundances.max(axis=0) > 0, found, 0).astype(np.int32)


def _matrix(path: Path, key: str) -> np.ndarray:
    head = read_head(path)
    reader = keyed_reader(path, head)
    found = reader.contents(path, head)
    check_key(path, found, key, "cube")
    if len(found[key][0]) != 2:
        raise DataError(f"{path}:{key}: {shape_text(found[key][0])}; expected a matrix.")
    return np.asarray(reader.load(path, key, head))


def _kept(path: Path, kept: np.ndarray) -> np.ndarray:
    head = read_head(path)
    if KEPT_BANDS not in matlab.contents(path, head):
        return kept
    return np.ravel(matlab.load(path, KEPT_BANDS, head)).astype(int)
