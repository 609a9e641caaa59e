"""Views: samples changed at random in what must not matter, on prepared batches.

Each function returns an `Augment`: a batch (n, rows, cols, channels) and the generator of its
chances -> another batch like it, of the same samples in the same order.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hsi import bands
from hsi.parts import Augment
from hsi.patches import turned


def patch_views(
    *,
    black: np.ndarray | None = None,
    brightness: float = 0.03,
    noise: float = 0.1,
    dropped: float = 0.2,
) -> Augment:
    """Patches turned, cut, lit, noisy, and without some neighbouring channels.

    Args:
        black: (channels,) what a pixel without any light is prepared to, see `black_of`; None
            takes 0. Light that is `f` times as strong moves a prepared value v to
            black + f (v - black), where the preparation is affine.
        brightness: at most, as a share of the light: f is in 1 - brightness .. 1 + brightness.
        noise: standard deviation, as a share of each channel's in the batch.
        dropped: share of the channels, at most, that lie side by side and are set to their mean
            in the batch.
    """

    def view(batch: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        mean, deviation = (f(batch, axis=(0, 1, 2)) for f in (np.mean, np.std))
        result = _cut(turned(batch, rng), rng)
        light = 1 + brightness * rng.uniform(-1, 1, (len(batch), 1, 1, 1)).astype(np.float32)
        dark = np.float32(0) if black is None else black
        result = dark + light * (result - dark)
        result += noise * deviation * rng.standard_normal(batch.shape, dtype=np.float32)
        hidden = _run(len(batch), batch.shape[3], dropped, rng)[:, None, None, :]
        return np.where(hidden, mean, result).astype(np.float32)

    return view


def black_of(preparation: bands.Preparation) -> np.ndarray:
    """(channels,) what a preparation makes of no light at all, its clipping left out."""
    open_ended = replace(
        preparation,
        low=np.full(preparation.bands, -np.inf),
        high=np.full(preparation.bands, np.inf),
    )
    return bands.apply(open_ended, np.zeros((1, 1, preparation.bands)))[0, 0]


def image_views(
    *,
    moved: Augment | None,
    least: float = 0.3,
    brightness: float = 0.4,
    contrast: float = 0.4,
) -> Augment:
    """Images mirrored and moved as in training, and besides cut out, enlarged, and lit.

    Args:
        moved: what training does to images, see `hsi.image_sets.augment`; comes first.
        least: share of the image's area, at least, that a window shows; its sides are as 3:4 to
            4:3 (Szegedy et al. 2015).
        brightness: at most, in standard deviations of the batch.
        contrast: at most: deviations from the image's mean are multiplied by 1 - contrast ..
            1 + contrast.
    """

    def view(batch: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        result = _enlarged(moved(batch, rng) if moved else batch, least, rng)
        each = (len(batch), 1, 1, 1)
        lighter = brightness * batch.std() * rng.uniform(-1, 1, each)
        stronger = 1 + contrast * rng.uniform(-1, 1, each)
        mean = result.mean(axis=(1, 2, 3), keepdims=True)
        return (mean + lighter + stronger * (result - mean)).astype(np.float32)

    return view


def _cut(batch: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A rectangle around each centre stays; what lies outside is its nearest edge."""
    count, side = batch.shape[:2]
    half = side // 2
    first = rng.integers(0, half + 1, (2, count, 1))
    last = rng.integers(half, side, (2, count, 1))
    rows, cols = np.clip(np.arange(side), first, last)
    return batch[np.arange(count)[:, None, None], rows[:, :, None], cols[:, None, :]]


def _run(count: int, channels: int, share: float, rng: np.random.Generator) -> np.ndarray:
    """(count, channels) bool: channels side by side, at most this share of them and not all."""
    most = min(round(share * channels), channels - 1)
    lengths = rng.integers(0, most + 1, count)
    starts = rng.integers(0, channels - lengths + 1)
    places = np.arange(channels)
    return (places >= starts[:, None]) & (places < (starts + lengths)[:, None])


def _enlarged(batch: np.ndarray, least: float, rng: np.random.Generator) -> np.ndarray:
    """A window of each image in the size of the image, by linear interpolation."""
    count, rows, cols = batch.shape[:3]
    area = rng.uniform(least, 1, count)
    ratio = np.exp(rng.uniform(-1, 1, count) * np.log(4 / 3))
    for axis, (side, share) in enumerate(
        ((rows, np.sqrt(area * ratio)), (cols, np.sqrt(area / ratio))), start=1
    ):
        share = np.minimum(share, 1)
        start = rng.uniform(0, 1, count) * (1 - share) * side
        centres = (np.arange(side) + 0.5) / side  # of the pixels that come out, 0..1
        batch = _along(batch, start[:, None] + centres * share[:, None] * side - 0.5, axis)
    return batch


def _along(batch: np.ndarray, places: np.ndarray, axis: int) -> np.ndarray:
    """Values at (n, wanted) places along axis 1 or 2, between the pixels' centres."""
    places = np.clip(places, 0, batch.shape[axis] - 1)
    low = places.astype(int)
    high = np.minimum(low + 1, batch.shape[axis] - 1)
    shape = (len(batch), -1, 1, 1) if axis == 1 else (len(batch), 1, -1, 1)
    share = (places - low).reshape(shape).astype(np.float32)
    below, above = (np.take_along_axis(batch, i.reshape(shape), axis) for i in (low, high))
    return below + share * (above - below)
