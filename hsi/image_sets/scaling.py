"""From grey values 0..255 to what a network takes: a fitted standardisation, or a known one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from hsi.errors import DataError, SettingsError, one_of
from hsi.images import PREPROCESSINGS, preprocess

STANDARD = "standard"
SCALINGS = (STANDARD, *PREPROCESSINGS)
OF_COLOURS = ("caffe", "torch")
"""Those that hold three numbers for red, green and blue."""
FIELDS = ("how", "mean", "deviation")


@dataclass(frozen=True)
class ImageScaling:
    """How decoded images are scaled; it travels with the model.

    Attributes:
        how: "standard" (mean 0, deviation 1 per colour channel over the training images) or a
            name of `hsi.images.PREPROCESSINGS`.
        mean, deviation: per colour channel, of 0..255; empty where nothing was fitted.
    """

    how: str
    mean: tuple[float, ...] = ()
    deviation: tuple[float, ...] = ()

    def apply(self, images: np.ndarray) -> np.ndarray:
        """(n, rows, cols, channels) uint8 -> float32, a new array."""
        if self.how != STANDARD:
            return preprocess(images, self.how)
        scaled = images.astype(np.float32)
        scaled -= np.asarray(self.mean, np.float32)
        scaled /= np.asarray(self.deviation, np.float32)
        return scaled


def check_scaling(how: str, channels: int) -> None:
    """Refuse an unknown scaling, or one of colours for grey images (`SettingsError`)."""
    one_of(how, SCALINGS, what="preprocess")
    if how in OF_COLOURS and channels != 3:
        raise SettingsError(f"preprocess {how}: is of three colour channels, the images are grey.")


def fit_scaling(batches: Iterable[np.ndarray]) -> ImageScaling:
    """Mean and deviation per channel over batches of (n, rows, cols, channels) uint8.

    Sums of whole numbers: exact, and the same in any order. A constant channel is divided by 1.
    """
    count, total, squares = 0, np.zeros(1), np.zeros(1)
    for batch in batches:
        values = batch.reshape(-1, batch.shape[-1]).astype(np.int64)
        count += len(values)
        total = total + values.sum(axis=0)
        squares = squares + (values**2).sum(axis=0)
    if not count:
        raise DataError("No training image to fit the scaling on.")
    mean = total / count
    deviation = np.sqrt(np.maximum(squares / count - mean**2, 0))
    deviation[deviation < 1e-3] = 1.0
    return ImageScaling(STANDARD, tuple(mean.tolist()), tuple(deviation.tolist()))


def save_scaling(scaling: ImageScaling, path: Path) -> None:
    """Write it as an uncompressed .npz (deterministic bytes, no pickle)."""
    with path.open("wb") as file:
        np.savez(
            file,
            how=np.asarray(scaling.how, np.str_),
            mean=np.asarray(scaling.mean, np.float64),
            deviation=np.asarray(scaling.deviation, np.float64),
        )


def load_scaling(path: Path) -> ImageScaling:
    """Read what `save_scaling` wrote.

    Raises:
        DataError: the file is missing, damaged or something else.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError, EOFError, KeyError, BadZipFile) as error:
        raise DataError(f"{path}: expected the scaling of images, it is damaged.") from error
    if not _is_scaling(found):
        raise DataError(f"{path}: expected the scaling of images, got something else.")
    how, mean, deviation = (found[name] for name in FIELDS)
    return ImageScaling(str(how), tuple(mean.tolist()), tuple(deviation.tolist()))


def _is_scaling(found: dict[str, np.ndarray]) -> bool:
    if set(found) != set(FIELDS):
        return False
    how, mean, deviation = (found[name] for name in FIELDS)
    if how.shape != () or how.dtype.kind != "U" or str(how) not in SCALINGS:
        return False
    channels = (1, 3) if str(how) == STANDARD else (0,)
    if any(v.dtype != np.float64 or v.ndim != 1 or len(v) not in channels for v in found.values()
           if v is not how):  # fmt: skip
        return False
    return bool(
        len(mean) == len(deviation)
        and np.isfinite(mean).all()
        and np.isfinite(deviation).all()
        and (deviation > 0).all()
    )
