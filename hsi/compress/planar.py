"""3-D convolutions and pools as 2-D ones: an equal network whose every operator can be quantized.

TensorFlow Lite computes 3-D convolutions in float, whatever the file calls itself, and has no 3-D
pools. A 3-D convolution is a sum of 2-D ones over its taps in depth: the taps' shifted inputs are
put behind each other as channels, so that one 2-D convolution, applied to each depth by itself,
sums over them in one accumulator. A 3-D pool is a 2-D pool in each plane and then one along the
depth. Only layers of Keras are used, so the result saves, loads and converts like any model.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tf_keras as keras

from hsi.compress.calls import Call, copy_layer, replay, walk
from hsi.errors import ModelError

layers = keras.layers

CONVOLUTIONS = (layers.Conv3D,)
POOLS = (layers.MaxPooling3D, layers.AveragePooling3D)
_FLAT_POOLS = {
    layers.MaxPooling3D: layers.MaxPooling2D,
    layers.AveragePooling3D: layers.AveragePooling2D,
}
Step = Callable[[Any], Any]


def solid_layers(
    model: keras.Model, *, kinds: tuple[type, ...] = (*CONVOLUTIONS, *POOLS)
) -> list[str]:
    """The 3-D layers of a model that `in_planes` writes anew, as "name (type)".

    Nested models are looked into; a model that is no graph of layers shows its direct ones only.
    """
    return [
        f"{layer.name} ({type(layer).__name__})"
        for layer in model._flatten_layers(include_self=False)
        if type(layer) in kinds
    ]


def in_planes(
    model: keras.Model, *, kinds: tuple[type, ...] = (*CONVOLUTIONS, *POOLS)
) -> keras.Model:
    """A new model of 2-D layers with the same output (to float rounding) and the same weights.

    Args:
        model: functional or sequential, with a known input shape; it is not changed. Nested models
            are opened.
        kinds: of layers to write anew: any of `CONVOLUTIONS` and `POOLS`.

    Raises:
        ModelError: the model is no graph of layers; a 3-D layer has channels first, groups or a
            depth that is not fixed.
    """
    graph = walk(model)
    steps: dict[str, Step] = {}
    loads: list[tuple[keras.layers.Layer, list[np.ndarray]]] = []
    for call in graph.calls:
        if call.name in steps:
            if type(call.layer) in kinds:
                _check_same_depth(call, [c for c in graph.calls if c.name == call.name])
            continue
        if type(call.layer) not in kinds:
            layer = copy_layer(call.layer, call.name)
            loads.append((layer, call.layer.get_weights()))
            steps[call.name] = layer
        elif type(call.layer) in POOLS:
            steps[call.name] = _pool(call)
        else:
            steps[call.name], layer = _convolution(call)
            loads.append((layer, _flat_weights(call.layer)))
    flat = replay(graph, steps)
    for layer, weights in loads:
        layer.set_weights(weights)
    return flat


def _check_same_depth(call: Call, calls: list[Call]) -> None:
    depths = {c.input_shapes[0][0] for c in calls}
    if len(depths) > 1:
        raise ModelError(
            f"layer {call.name!r}: expected the same depth at every use to write it as 2-D layers, "
            f"got {', '.join(map(str, sorted(depths, key=str)))}."
        )


def _convolution(call: Call) -> tuple[Step, keras.layers.Layer]:
    """What replaces a Conv3D, and its layer with the weights."""
    layer, depth = call.layer, _depth(call)
    if layer.groups != 1:
        raise ModelError(
            f"layer {call.name!r}: expected a Conv3D without groups to write it as 2-D layers, "
            f"got {layer.groups}."
        )
    taps, stride, dilation = layer.kernel_size[0], layer.strides[0], layer.dilation_rate[0]
    before, after, outputs = _padding(depth, taps, stride, dilation, layer.padding)
    if outputs < 1:
        raise ModelError(
            f"layer {call.name!r}: its {taps} taps do not fit into a depth of {depth}."
        )
    flat = _flat_convolution(layer, call.name)
    apply = layers.TimeDistributed(flat, name=call.name)
    pad = layers.ZeroPadding3D(((before, after), 0, 0), name=f"{call.name}_pad")
    padded = depth + before + after
    span = (outputs - 1) * stride + 1
    cuts = [
        layers.Cropping3D(((t, padded - t - span), 0, 0), name=f"{call.name}_tap_{t}")
        for t in range(0, taps * dilation, dilation)
    ]
    every = _every(stride, call.name)
    join = layers.Concatenate(name=f"{call.name}_taps")

    def step(x: Any) -> Any:
        x = pad(x) if before or after else x
        shifted = [every(cut(x) if padded != span else x) for cut in cuts]
        return apply(join(shifted) if len(shifted) > 1 else shifted[0])

    return step, apply


def _flat_convolution(layer: keras.layers.Layer, name: str) -> keras.layers.Layer:
    """The Conv2D of a Conv3D's planes, its weights to be set."""
    config = layer.get_config()
    for setting in ("kernel_size", "strides", "dilation_rate"):
        config[setting] = config[setting][1:]
    config.update(name=f"{name}_planes", activation=layer.activation)
    config.pop("batch_input_shape", None)
    return layers.Conv2D.from_config(config)


def _flat_weights(layer: keras.layers.Layer) -> list[np.ndarray]:
    """(taps, rows, cols, in, out) -> (rows, cols, taps x in, out); the bias stays."""
    kernel, *bias = layer.get_weights()
    taps, rows, cols, channels, filters = kernel.shape
    moved = kernel.transpose(1, 2, 0, 3, 4)
    return [moved.reshape(rows, cols, taps * channels, filters), *bias]


def _pool(call: Call) -> Step:
    """What replaces a 3-D pool: one in the planes, one along the depth."""
    layer = call.layer
    _depth(call)
    kind, (deep, *plane) = _FLAT_POOLS[type(layer)], layer.pool_size
    stride, *strides = layer.strides
    flat = kind(tuple(plane), tuple(strides), layer.padding, name=f"{call.name}_planes")
    tall = kind((deep, 1), (stride, 1), layer.padding, name=f"{call.name}_deep")
    return _chain(
        layers.TimeDistributed(flat, name=call.name), *_along_depth(tall, f"{call.name}_depth")
    )


def _every(stride: int, name: str) -> Step:
    """Every `stride`-th depth: a pool of one value, which only chooses."""
    if stride == 1:
        return lambda x: x
    choose = layers.MaxPooling2D((1, 1), (stride, 1), name=f"{name}_choose")
    return _chain(*_along_depth(choose, f"{name}_every"))


def _along_depth(layer: keras.layers.Layer, name: str) -> tuple[keras.layers.Layer, ...]:
    """A 2-D layer over (depth, columns), for each row."""
    return (
        layers.Permute((2, 1, 3, 4), name=f"{name}_in"),
        layers.TimeDistributed(layer, name=name),
        layers.Permute((2, 1, 3, 4), name=f"{name}_out"),
    )


def _chain(*steps: Step) -> Step:
    def apply(x: Any) -> Any:
        for step in steps:
            x = step(x)
        return x

    return apply


def _depth(call: Call) -> int:
    if call.layer.data_format != "channels_last":
        raise ModelError(
            f"layer {call.name!r}: expected channels last to write it as 2-D layers, got "
            f"{call.layer.data_format}."
        )
    depth = call.input_shapes[0][0]
    if depth is None:
        raise ModelError(
            f"layer {call.name!r}: expected a fixed depth to write it as 2-D layers; give the "
            "model's input a fixed shape."
        )
    return depth


def _padding(
    depth: int, taps: int, stride: int, dilation: int, padding: str
) -> tuple[int, int, int]:
    """Zeros before and behind the depth, and the depth of the output, as TensorFlow has them."""
    reach = (taps - 1) * dilation + 1
    if padding == "valid":
        return 0, 0, (depth - reach) // stride + 1
    outputs = -(-depth // stride)
    total = max((outputs - 1) * stride + reach - depth, 0)
    return total // 2, total - total // 2, outputs
