"""Post-training quantization: a Keras model to a `.tflite` file, by TensorFlow's own converter."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import tensorflow as tf
import tf_keras as keras

from hsi.errors import ModelError, one_of
from hsi.quiet import quiet
from hsi.settings import QUANTIZATIONS

CALIBRATED = ("int8", "int16x8")


def quantize(model: keras.Model, mode: str, *, calibration: np.ndarray) -> bytes:
    """Convert a model to a TensorFlow Lite flatbuffer.

    Args:
        model: any tf_keras model that the converter takes.
        mode: a name in `hsi.settings.QUANTIZATIONS`.
        calibration: (n, rows, cols, channels) float32 *training* samples from which the ranges of
            activations are taken (int8 and int16x8 only).

    Returns:
        The bytes of the `.tflite` file; its input and output are float32 in every mode.

    Raises:
        SettingsError: unknown mode.
        ModelError: the converter refuses the model.
    """
    one_of(mode, QUANTIZATIONS, what="quantization")
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if mode != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if mode == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if mode in CALIBRATED:
        if not len(calibration):
            raise ModelError(f"quantization {mode}: expected training samples to calibrate with.")
        converter.representative_dataset = lambda: _one_by_one(calibration)
        converter.target_spec.supported_ops = [
            tf.lite.OpsSet.TFLITE_BUILTINS_INT8
            if mode == "int8"
            else tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
        ]
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
