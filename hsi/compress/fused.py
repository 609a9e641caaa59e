"""Layers put into the one before them where TF-MOT would treat the two wrongly: exact rewriting.

TensorFlow's converter folds a batch norm into the fake-quantized kernel of a dense layer but keeps
the scale that the bias had before: the file is another network. And a ReLU that is a layer of its
own has TF-MOT leave the kernel before it in float while the network trains. As one layer both are
right. A separable convolution it takes apart itself, into layers with names of Keras's choice, and
where the network has those names already it never ends: here they are taken apart before.
"""

from __future__ import annotations

import tensorflow as tf
import tf_keras as keras

from hsi.compress.calls import Call, walk
from hsi.compress.fold.draft import Draft, filled, made
from hsi.compress.fold.kernels import linear
from hsi.compress.fold.merges import Merge, merges
from hsi.compress.planar import in_planes

L = keras.layers

BEFORE_RELU = (L.Conv2D, L.DepthwiseConv2D, L.SeparableConv2D, L.Dense)
"""Layers that take in a ReLU behind them. Exact types: a subclass may do anything."""


def fused(model: keras.Model) -> keras.Model:
    """A new model, equal in inference, without batch norms behind dense layers and ReLUs alone.

    A batch norm is folded into a linear dense layer that nothing else reads and that is called
    once; then a ReLU becomes the activation of such a layer of `BEFORE_RELU`. Others stay, and
    so do names of layers. Separable convolutions that are called once become a depthwise and a
    pointwise one. Nested models are opened.

    Args:
        model: functional or sequential; it is not changed.

    Raises:
        ModelError: the model is no graph of layers, or takes more than tensors from it.
    """
    types = {type(call.layer) for call in walk(model).calls}
    if not types & {L.BatchNormalization, L.ReLU, L.Activation, L.SeparableConv2D}:
        return in_planes(model, kinds=())  # nothing is rewritten: a copy with nested models opened
    draft = Draft(model)
    while merge := _dense_norm(draft):
        merge.apply(draft)
    while pair := _relu_alone(draft):
        _join(draft, *pair)
    for call in [c for c in draft.calls if type(c.layer) is L.SeparableConv2D and draft.once(c)]:
        _split(draft, call)
    return draft.model()


def _dense_norm(draft: Draft) -> Merge | None:
    """A dense layer and a batch norm behind it that can be one layer."""
    kinds = {call.name: type(call.layer) for call in draft.calls}
    wanted = [L.Dense, L.BatchNormalization]
    return next((m for m in merges(draft) if [kinds[name] for name in m.names] == wanted), None)


def _relu_alone(draft: Draft) -> tuple[Call, Call] | None:
    """A linear layer and the ReLU that alone reads it."""
    for call in draft.calls:
        if type(call.layer) in BEFORE_RELU and linear(call.layer) and draft.once(call):
            after = draft.reader(call)
            if after and is_relu(after.layer) and draft.once(after):
                return call, after
    return None


def is_relu(layer: keras.layers.Layer) -> bool:
    """Whether a layer is max(x, 0) and nothing else: no bound, no slope, no threshold."""
    if type(layer) is L.ReLU:
        return layer.max_value is None and not layer.negative_slope and not layer.threshold
    return type(layer) is L.Activation and layer.activation in (keras.activations.relu, tf.nn.relu)


def _join(draft: Draft, call: Call, relu: Call) -> None:
    layer = made(
        call.layer,
        call.name,
        call.input_shapes[0],
        call.layer.get_weights(),
        activation=keras.activations.relu,
    )
    draft.exchange([call], [layer])
    draft.exchange([relu], [])


def _split(draft: Draft, call: Call) -> None:
    config, weights = call.layer.get_config(), call.layer.get_weights()
    shared = {key: config[key] for key in ("data_format", "dtype", "trainable")}
    taps = L.DepthwiseConv2D(
        **{key: value for key, value in config.items() if key in _OF_TAPS},
        **shared,
        use_bias=False,
        name=draft.free(f"{call.name}_depthwise"),
    )
    filled(taps, call.input_shapes[0], weights[:1])
    mix = L.Conv2D(
        config["filters"],
        1,
        **shared,
        activation=call.layer.activation,
        use_bias=config["use_bias"],
        name=call.name,
    )
    filled(mix, tuple(taps.compute_output_shape((None, *call.input_shapes[0]))[1:]), weights[1:])
    draft.exchange([call], [taps, mix])


_OF_TAPS = ("kernel_size", "strides", "padding", "dilation_rate", "depth_multiplier")
