"""scikit-learn's digits: 1797 of 8 x 8 grey, in the package itself."""

from __future__ import annotations

import hashlib

import numpy as np

from hsi.image_sets.facts import ImageSet
from hsi.image_sets.listing import Arrays, Listing


def read(info: ImageSet) -> Listing:
    """The digits, not divided; their 17 grey levels stretched to 0..255."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = np.round(bunch.images * (255 / 16)).astype(np.uint8)[..., None]
    classes = bunch.target.astype(np.int64)
    sha256 = hashlib.sha256(images.tobytes() + classes.astype("<i8").tobytes()).hexdigest()
    keys = tuple(map(str, info.classes))
    parts = np.full(len(images), "", "<U10")
    return Listing(Arrays(images), classes, parts, info.classes, keys, sha256)
