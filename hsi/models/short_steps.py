"""3-D convolutions that this TensorFlow computes wrongly, found before their numbers are believed.

TensorFlow 2.21 with oneDNN answers garbage for some convolutions of one input channel whose step
along an axis leaves one value there (about a tenth of such shapes). What is right comes from the
same kernel moved by single steps, of which every so many are taken.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf
import tf_keras as keras

from hsi.errors import ModelError

FAR = 1e-3
"""Share of the largest value; rounding is a thousandth of that, garbage is of any size."""


def refuse_wrong_steps(model: keras.Model) -> None:
    """Try every 3-D convolution that may be wrong on random numbers.

    Raises:
        ModelError: it is; the layer is named.
    """
    for layer in model._flatten_layers(include_self=False):
        if isinstance(layer, keras.layers.Conv3D) and _suspect(layer) and _is_wrong(layer):
            raise ModelError(
                f"layer {layer.name}: TensorFlow {tf.__version__} computes this convolution "
                "wrongly here (one input channel, a step that leaves one value along an axis); set "
                "TF_ENABLE_ONEDNN_OPTS=0, or make that step 1."
            )


def _suspect(layer: keras.layers.Conv3D) -> bool:
    channels_last = layer.data_format == "channels_last" and type(layer) is keras.layers.Conv3D
    if not channels_last or len(layer._inbound_nodes) < 1:
        return False
    shape, after = layer.get_input_shape_at(0), layer.get_output_shape_at(0)
    if None in shape[1:] or shape[-1] != 1 or set(layer.dilation_rate) != {1}:
        return False
    return any(n == 1 < step for n, step in zip(after[1:4], layer.strides, strict=True))


def _is_wrong(layer: keras.layers.Conv3D) -> bool:
    shape = layer.get_input_shape_at(0)[1:]
    x = tf.constant(np.random.default_rng(0).normal(size=(8, *shape)).astype(np.float32))
    wide = x
    if layer.padding == "same":
        pads = []
        for size, taps, step in zip(shape, layer.kernel_size, layer.strides, strict=False):
            total = max((-(-size // step) - 1) * step + taps - size, 0)
            pads.append([total // 2, total - total // 2])
        wide = tf.pad(x, [[0, 0], *pads, [0, 0]])
    down, right, deep = layer.strides
    found = tf.nn.conv3d(x, layer.kernel, (1, *layer.strides, 1), layer.padding.upper()).numpy()
    single = tf.nn.conv3d(wide, layer.kernel, (1, 1, 1, 1, 1), "VALID")
    wanted = single[:, ::down, ::right, ::deep].numpy()
    largest = float(np.abs(wanted).max()) or 1.0
    return not np.abs(found - wanted).max() <= FAR * largest
