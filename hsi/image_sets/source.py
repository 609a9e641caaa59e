"""Images as a network takes them, decoded when asked for: the counterpart of a scene's patches."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np

from hsi.image_sets.listing import Arrays, Images
from hsi.image_sets.scaling import ImageScaling

CACHE = 1_000_000_000
"""Bytes up to which decoded images are kept; of larger sets each batch is decoded anew."""
BATCH = 256


class ImageSource:
    """Prepared images by number.

    Args:
        images: of one set.
        size: side of the prepared images, in pixels; others are resized and cut in the middle.
        scaling: applied to each batch; None leaves the values 0..255.
        cache: bytes of decoded images to keep at most; all of them or none.
    """

    def __init__(
        self,
        images: Images,
        size: int,
        *,
        scaling: ImageScaling | None = None,
        cache: int = CACHE,
    ) -> None:
        self.images, self.size = images, size
        self.scaling = scaling or ImageScaling("none")
        shape = (len(images), *self.shape)
        ready = isinstance(images, Arrays) and images.array.shape == shape
        keep = not ready and np.prod(shape, dtype=np.int64) <= cache
        self._kept = np.empty(shape, np.uint8) if keep else None
        self._have = np.zeros(len(images), bool)

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape of one image: (rows, cols, channels)."""
        return self.size, self.size, self.images.channels

    def __len__(self) -> int:
        return len(self.images)

    def gather(self, numbers: np.ndarray) -> np.ndarray:
        """Prepared images.

        Args:
            numbers: (n,) of images, from 0.

        Returns:
            (n, rows, cols, channels) float32, a new array.

        Raises:
            DataError: a file that is damaged or gone.
            IndexError: a number that no image has.
        """
        return self.scaling.apply(self.decoded(numbers))

    def decoded(self, numbers: np.ndarray) -> np.ndarray:
        """The same before scaling: (n, rows, cols, channels) uint8."""
        numbers = np.asarray(numbers, np.int64)
        if len(numbers) and not 0 <= numbers.min() <= numbers.max() < len(self.images):
            raise IndexError(f"image numbers outside 0..{len(self.images) - 1}")
        if self._kept is None:
            return self.images.decode(numbers, self.size)
        missing = np.unique(numbers[~self._have[numbers]])
        for batch in runs(missing):
            self._kept[batch] = self.images.decode(batch, self.size)
            self._have[batch] = True
        return self._kept[numbers]

    def digests(self, numbers: np.ndarray) -> list[bytes]:
        """A hash of each image's decoded pixels, in bounded memory."""
        return [
            hashlib.blake2b(image.tobytes(), digest_size=16).digest()
            for batch in runs(numbers)
            for image in self.decoded(batch)
        ]


def runs(numbers: np.ndarray) -> Iterator[np.ndarray]:
    """Consecutive runs of at most 256 numbers."""
    for start in range(0, len(numbers), BATCH):
        yield numbers[start : start + BATCH]
