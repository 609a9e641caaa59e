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
    try:
        with quiet():
            converter = _converter(model)
            _set_mode(converter, mode, calibration)
            return converter.convert()
    except Exception as error:  # the converter raises its own and MLIR's errors, all undocumented
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ModelError(
            f"quantization {mode}: {model.name} cannot be converted: {first}"
        ) from error


def _converter(model: keras.Model) -> tf.lite.TFLiteConverter:
    """For nothing but the model's function and its weights.

    `TFLiteConverter.from_keras_model` has Keras save the model, which traces several functions of
    each layer: two thirds of the whole conversion of DenseNet169. The `.tflite` file is the same,
    but for the note of where it came from.
    """
    specs = [
        tf.TensorSpec(x.shape, x.dtype, name)
        for x, name in zip(model.inputs, model.input_names, strict=True)
    ]

    def answer(*inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        outputs = model(list(inputs) if len(inputs) > 1 else inputs[0], training=False)
        return dict(zip(model.output_names, tf.nest.flatten(outputs), strict=True))

    weights = tf.Module()
    weights.variables_of_the_model = model.weights
    traced = tf.function(answer, input_signature=specs, autograph=False).get_concrete_function()
    return tf.lite.TFLiteConverter.from_concrete_functions([traced], weights)


def _set_mode(converter: tf.lite.TFLiteConverter, mode: str, calibration: np.ndarray) -> None:
    if mode != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if mode == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if mode == "int8":
        converter.representative_dataset = lambda: _one_by_one(calibration)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]


def _one_by_one(samples: np.ndarray) -> Iterator[list[np.ndarray]]:
    for sample in samples:
        yield [sample[None]]
