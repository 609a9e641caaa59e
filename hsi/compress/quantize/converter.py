"""What TensorFlow's converter quantizes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import tensorflow as tf
import tf_keras as keras

from hsi.errors import ModelError
from hsi.quiet import quiet


def convert(model: keras.Model, mode: str, *, calibration: np.ndarray) -> bytes:
    """A `.tflite` file in float32, dynamic, float16 or int8 (`ModelError`)."""
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if mode != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if mode == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if mode == "int8":
        converter.representative_dataset = lambda: _one_by_one(calibration)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    try:
        with quiet():
            return converter.convert()
    except Exception as error:  # the converter raises its own and MLIR's errors, all undocumented
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ModelError(
            f"quantization {mode}: {model.name} cannot be converted: {first}"
        ) from error


def _one_by_one(samples: np.ndarray) -> Iterator[list[np.ndarray]]:
    for sample in samples:
        yield [sample[None]]
