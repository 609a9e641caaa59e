"""Photographs: reading, fitting to a network's size, and scaling as its training did."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from hsi.errors import DataError, SettingsError, one_of
from hsi.readers import numpy_files, split_spec

CAFFE_MEAN = (103.939, 116.779, 123.68)
"""Of ImageNet, blue first: what Keras's VGG and ResNet subtract."""
TORCH_MEAN, TORCH_DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet, red first, of values 0..1: what Keras's DenseNet takes."""

PREPROCESSINGS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "unit": lambda x: x / np.float32(255),
    "none": lambda x: x,
    "tf": lambda x: x / np.float32(127.5) - np.float32(1),
    "caffe": lambda x: x[..., ::-1] - np.asarray(CAFFE_MEAN, np.float32),
    "torch": lambda x: (
        (x / np.float32(255) - np.asarray(TORCH_MEAN, np.float32))
        / np.asarray(TORCH_DEVIATION, np.float32)
    ),
}
"""Name -> (..., 3) float32 of 0..255 to what a network takes; names as Keras has them."""


def read_photograph(path: str | Path) -> np.ndarray:
    """(rows, cols, 3) uint8, upright, of any image file that Pillow reads.

    Raises:
        DataError: missing, truncated, no image, or one of more than 8 bits a pixel of grey: Pillow
            would cut those values off at 255.
    """
    from PIL import Image, ImageOps

    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: no such image file.")
    try:
        with Image.open(path) as image:
            if image.mode.startswith(("I", "F")):
                raise DataError(
                    f"{path}: expected a photograph of values 0..255, got grey values of 16 bits "
                    f"or more (Pillow's mode {image.mode}); save it with 8 bits."
                )
            return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(
            f"{path}: expected a photograph (JPEG, PNG ...); it is truncated or something else."
        ) from error


def fitted(image: np.ndarray, rows: int, cols: int) -> np.ndarray:
    """Resized so that it covers rows x cols, with its proportions, and cut in the middle."""
    from PIL import Image

    factor = max(rows / image.shape[0], cols / image.shape[1])
    size = (max(cols, round(image.shape[1] * factor)), max(rows, round(image.shape[0] * factor)))
    resized = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))
    top, left = (resized.shape[0] - rows) // 2, (resized.shape[1] - cols) // 2
    return resized[top : top + rows, left : left + cols]


def preprocess(images: np.ndarray, how: str) -> np.ndarray:
    """(..., 3) uint8 -> float32 as a network takes them; see `PREPROCESSINGS`.

    Raises:
        SettingsError: no such preprocessing.
    """
    one_of(how, PREPROCESSINGS, what="preprocess")
    return np.ascontiguousarray(PREPROCESSINGS[how](images.astype(np.float32)), np.float32)


def read_samples(spec: str, rank: int) -> np.ndarray:
    """Samples as a network takes them, from `FILE.npy` or `FILE.npz[:KEY]`.

    Args:
        spec: the file; of several arrays the key.
        rank: of a batch of samples; an array of one axis less is one sample.

    Returns:
        (n, ...) float32.

    Raises:
        DataError: missing, damaged, no real numbers, not finite, or of another rank.
        SettingsError: several arrays and no key.
    """
    path, key = split_spec(spec)
    if not path.is_file():
        raise DataError(f"{path}: no such file of samples.")
    with path.open("rb") as file:
        head = file.read(16)
    if not (numpy_files.is_npy(head) or numpy_files.is_zip(head)):
        raise DataError(f"{path}: expected samples as .npy or .npz.")
    found = numpy_files.contents(path, head)
    if key is None:
        if len(found) > 1:
            raise SettingsError(f"{path}: holds {', '.join(found)}; say which, as FILE:KEY.")
        key = next(iter(found))
    if key not in found:
        raise SettingsError(f"{path}: has no array {key!r}; it holds {', '.join(found)}.")
    array = np.asarray(numpy_files.load(path, key, head))
    if array.dtype.kind not in "iuf":
        raise DataError(f"{path}: expected samples of real numbers, got {array.dtype}.")
    array = array[None] if array.ndim == rank - 1 else array
    if array.ndim != rank or not array.size:
        raise DataError(
            f"{path}: expected samples of {rank - 1} axes or a batch of them, got an array of "
            f"shape {array.shape}."
        )
    if not np.isfinite(array).all():
        raise DataError(f"{path}: holds values that are not finite (NaN or infinite).")
    return array.astype(np.float32)
