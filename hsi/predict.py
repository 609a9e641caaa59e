"""Class scores of many samples, in batches, from anything that maps a batch to scores."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from hsi.patches import Patches

if TYPE_CHECKING:
    import tf_keras as keras

Forward = Callable[[np.ndarray], np.ndarray]
"""A batch of inputs (n, rows, cols, channels) float32 -> scores (n, classes)."""


def compiled(model: keras.Model) -> Forward:
    """One compiled inference function of a Keras model, reused for every batch size."""
    import tensorflow as tf

    shape = [None, *model.input_shape[1:]]

    @tf.function(input_signature=[tf.TensorSpec(shape, tf.float32)])
    def forward(batch: tf.Tensor) -> tf.Tensor:
        return model(batch, training=False)

    return lambda batch: forward(batch).numpy()


def scores(
    forward: Forward, patches: Patches, pixels: np.ndarray, *, batch_size: int = 256
) -> np.ndarray:
    """Scores of the patches around pixels: (n,) flat pixel numbers -> (n, classes) float32."""
    parts = [forward(patches.gather(batch)) for batch in batches(pixels, batch_size)]
    return np.concatenate(parts).astype(np.float32, copy=False)


def class_map(forward: Forward, patches: Patches, *, batch_size: int = 1024) -> np.ndarray:
    """The most likely class index of every pixel, borders included: (rows, cols) int32."""
    parts = [
        forward(patches.gather(batch)).argmax(axis=1)
        for batch in batches(np.arange(patches.rows * patches.cols), batch_size)
    ]
    return np.concatenate(parts).reshape(patches.rows, patches.cols).astype(np.int32)


def batches(pixels: np.ndarray, batch_size: int) -> Iterator[np.ndarray]:
    """Consecutive runs of at most `batch_size` pixels."""
    for start in range(0, len(pixels), batch_size):
        yield pixels[start : start + batch_size]
