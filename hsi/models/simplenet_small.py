"""The small SimpleNet of 0.31 million parameters (Hasanpour et al. 2016, arXiv 1608.06037)."""

from __future__ import annotations

import tf_keras as keras

from hsi.models import simplenet
from hsi.models.simplenet import POOL, Layout

LAYOUT: Layout = (
    (64, 3), (32, 3), (32, 3), (32, 3), (POOL, 2),
    (32, 3), (32, 3), (64, 3), (POOL, 2),
    (64, 3), (64, 3), (POOL, 2),
    (128, 3), (256, 1), (64, 1), (POOL, 2),
    (64, 3),
)  # fmt: skip


def build(input_shape: tuple[int, int, int], classes: int, *, width: float = 1.0) -> keras.Model:
    """(n, rows, cols, channels) -> (n, classes) softmax; `width` scales all channels."""
    return simplenet.build(input_shape, classes, width=width, layout=LAYOUT, name="simplenet_small")
