"""Post-training quantization: a Keras model to a `.tflite` file.

Most modes are TensorFlow's own converter's. It has no int4, and its int16x8 shares the bias of
layers whose biases are equal, with one scale for all of them, which is wrong; these two modes are
ai-edge-quantizer's, from the converter's float32 file. int8 is the converter's, since it knows
more operators: ai-edge-quantizer gives the same accuracy (9 classes, `cao`: .9060 both) and leaves
dilated convolutions and minima in float.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tf_keras as keras

from hsi.compress import planar, unrolled
from hsi.compress.quantize.biases import check_bias_scales
from hsi.compress.quantize.converter import convert
from hsi.compress.quantize.edge import EDGE, quantize_file
from hsi.errors import ModelError, one_of
from hsi.models.precision import single_precision
from hsi.settings import QUANTIZATIONS

__all__ = ["CALIBRATED", "quantize", "quantize_file"]

CALIBRATED = ("int8", "int16x8")
_FLOAT = ("float32", "float16")


def quantize(
    model: keras.Model,
    mode: str,
    *,
    calibration: np.ndarray,
    say: Callable[[str], None] | None = None,
) -> bytes:
    """Convert a model to a TensorFlow Lite flatbuffer.

    A 3-D pooling layer has no operator there, and a 3-D convolution none for integers: they are
    first written as 2-D ones, exactly (`hsi.compress.planar`); a recurrent layer as the steps of
    its loop (`hsi.compress.unrolled`).

    Args:
        model: any tf_keras model that the converter takes.
        mode: a name in `hsi.settings.QUANTIZATIONS`.
        calibration: (n, ...) float32 *training* samples from which the ranges of activations are
            taken (int8 and int16x8 only).
        say: called with one line if layers were rewritten.

    Returns:
        The bytes of the `.tflite` file; its input and output are float32 in every mode.

    Raises:
        SettingsError: unknown mode.
        ModelError: the converter refuses the model, or makes another network of it.
    """
    one_of(mode, QUANTIZATIONS, what="quantization")
    if mode in CALIBRATED and not len(calibration):
        raise ModelError(f"quantization {mode}: expected training samples to calibrate with.")
    model = _without_loops(_in_planes(single_precision(model), mode, say), mode, say)
    if mode in EDGE:
        return quantize_file(
            convert(model, "float32", calibration=calibration), mode, calibration=calibration
        )
    content = convert(model, mode, calibration=calibration)
    check_bias_scales(content, what=f"quantization {mode}: {model.name}")
    return content


def _in_planes(model: keras.Model, mode: str, say: Callable[[str], None] | None) -> keras.Model:
    """The model without the 3-D layers that the mode cannot take."""
    kinds = planar.POOLS if mode in _FLOAT else (*planar.POOLS, *planar.CONVOLUTIONS)
    solid = planar.solid_layers(model, kinds=kinds)
    if not solid:
        return model
    if say is not None:
        say(
            f"quantization {mode}: {', '.join(solid)} written as 2-D layers (equal output): "
            "TensorFlow Lite has no such 3-D layers."
        )
    return planar.in_planes(model, kinds=kinds)


def _without_loops(model: keras.Model, mode: str, say: Callable[[str], None] | None) -> keras.Model:
    """The model with its recurrent layers step by step, which the converter takes."""
    rolled = unrolled.rolled_layers(model)
    if not rolled:
        return model
    if say is not None:
        say(
            f"quantization {mode}: {', '.join(rolled)} written out step by step (equal output): "
            "TensorFlow Lite has no such loops. This can take minutes."
        )
    return unrolled.unrolled(model)
