"""The layers of a `tf_keras` network: their names and shapes, their maps, and other ReLUs in them.

The network is walked node by node (`hsi.explain.walk`), models nested in it opened, so that a map
inside of them and the logits come of one evaluation. A ReLU is replaced in a shallow copy of its
layer, on the same weights.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import tensorflow as tf
import tf_keras as keras

from hsi.errors import ModelError
from hsi.explain.channel_axis import (
    ChannelAxes,
    channel_axes,
    moved,
    own_axis,
    restored,
    through_channels_last,
)
from hsi.explain.layered import Layered, LayerInfo, Relu, Window
from hsi.explain.relus import activation_name, holds_relu, replaceable, twin_of
from hsi.explain.score import Score
from hsi.explain.walk import all_nodes, named_nodes, opens, run

_CONVOLUTIONS = (
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.Conv3D,
    keras.layers.DepthwiseConv2D,
    keras.layers.SeparableConv1D,
    keras.layers.SeparableConv2D,
)
_AFTER = (
    keras.layers.BatchNormalization,
    keras.layers.Activation,
    keras.layers.ReLU,
    keras.layers.LeakyReLU,
    keras.layers.PReLU,
    keras.layers.ELU,
    keras.layers.Dropout,
    keras.layers.SpatialDropout2D,
)
"""Layers that belong to the convolution before them."""

_ACTIVATIONS = (
    keras.layers.Activation,
    keras.layers.ReLU,
    keras.layers.LeakyReLU,
    keras.layers.ELU,
    keras.layers.Softmax,
)
"""Layers that are shown although they have no weights."""

_MERGES = (keras.layers.Add, keras.layers.Concatenate)


class KerasLayers:
    """`hsi.explain.layered.Layered` of a functional or sequential model.

    Args:
        model: answers logits (n, classes).
        relu: stands in for every ReLU; None leaves them.

    Attributes:
        model: that was given.
        relus: ReLUs that are replaced, each time that one is applied.
        unreplaced: names of layers that hold a ReLU where it cannot be reached.
    """

    def __init__(self, model: keras.Model, relu: Relu | None = None) -> None:
        self.model, self._relu = model, relu
        self._twins: dict[int, Callable[..., Any]] = {}
        nodes = [(name, node.layer) for name, node in all_nodes(model)]
        self.relus = sum(replaceable(layer) for _, layer in nodes)
        self.unreplaced = tuple(
            name for name, layer in nodes if not replaceable(layer) and holds_relu(layer)
        )

    def with_relu(self, relu: Relu) -> KerasLayers:
        """The same network with `relu` for every ReLU; weights are shared."""
        return KerasLayers(self.model, relu)

    def forward(
        self, inputs: tf.Tensor, names: Sequence[str] = ()
    ) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """Logits and the outputs of these layers, of one evaluation in inference mode.

        The outputs have their channels last, where the layer has them first too.
        """
        found: dict[str, tf.Tensor] = dict.fromkeys(names)
        last: dict[str, tf.Tensor] = {}

        def stand_in(name: str, layer: Any) -> Callable[..., Any]:
            call, axis = self._callable(name, layer), self._channels.axes.get(name)
            if axis is None or name not in found:
                return call
            return through_channels_last(call, axis, lambda answer: last.update({name: answer}))

        logits = run(self.model, inputs, found, stand_in=stand_in)
        return logits, [last.get(name, found[name]) for name in names]

    def describe(self, sample_shape: tuple[int, ...]) -> list[LayerInfo]:
        """All layers in the order of execution, for samples of this shape; channels last."""
        every, axes = list(all_nodes(self.model)), self._channels.axes
        shapes = {
            name: moved(tuple(node.outputs.shape[1:]), axes.get(name)) for name, node in every
        }
        if any(None in shape for shape in shapes.values()):
            shapes = self._traced_shapes(list(shapes), sample_shape)
        followers = _followers(self.model)
        sources: dict[str, tuple[int | None, ...]] = {}
        stored = {name: restored(shape, axes.get(name)) for name, shape in shapes.items()}
        _sources(self.model, sample_shape, stored, sources)
        infos = []
        for name, node in every:
            layer = node.layer
            convolution = isinstance(layer, _CONVOLUTIONS) and not _is_transposed(layer)
            infos.append(
                LayerInfo(
                    name,
                    type(layer).__name__,
                    shapes[name],
                    convolution,
                    _follow(name, followers, shapes, ()),
                    _follow(name, followers, shapes, _MERGES),
                    _window(layer, sources[name], shapes[name]) if convolution else None,
                    bool(layer.weights) or isinstance(layer, _ACTIVATIONS),
                )
            )
        return infos

    @property
    def against_input(self) -> tuple[str, tuple[int, ...]] | None:
        """See `hsi.explain.channel_axis.ChannelAxes.against`."""
        return self._channels.against

    @cached_property
    def _channels(self) -> ChannelAxes:
        return channel_axes(self.model)

    def _callable(self, _: str, layer: Any) -> Callable[..., Any]:
        """The layer, or what stands in for it."""
        if self._relu is None or not replaceable(layer):
            return layer
        if id(layer) not in self._twins:
            self._twins[id(layer)] = twin_of(layer, self._relu)
        return self._twins[id(layer)]

    def _traced_shapes(
        self, names: list[str], sample_shape: tuple[int, ...]
    ) -> dict[str, tuple[int | None, ...]]:
        """Shapes that the graph leaves free, by tracing it once without computing anything."""
        graph = tf.function(lambda x: self.forward(x, names)[1]).get_concrete_function(
            tf.TensorSpec((None, *sample_shape), self.model.inputs[0].dtype)
        )
        outputs = graph.structured_outputs
        return {name: tuple(t.shape[1:]) for name, t in zip(names, outputs, strict=True)}


def _followers(model: keras.Model, prefix: str = "") -> dict[str, tuple[str, Any]]:
    """Name of each layer whose output has one reader -> name and layer of that reader."""
    named = [(name, node) for name, node in named_nodes(model) if not node.is_input]
    readers: dict[int, list[tuple[str, Any]]] = {}
    for name, node in named:
        for tensor in node.keras_inputs:
            readers.setdefault(id(tensor), []).append((prefix + name, node))
    found = {}
    for name, node in named:
        if opens(node):
            found.update(_followers(node.layer, f"{prefix}{name}/"))
            continue
        reading = readers.get(id(node.outputs), [])
        if len(reading) == 1 and not opens(reading[0][1]):
            found[prefix + name] = (reading[0][0], reading[0][1].layer)
    return found


def _follow(
    name: str,
    followers: dict[str, tuple[str, Any]],
    shapes: dict[str, tuple[int | None, ...]],
    merges: tuple[type, ...],
) -> str:
    """The last layer of the chain that belongs to `name` and keeps the size of its map."""
    while name in followers:
        following, layer = followers[name]
        if not isinstance(layer, (*_AFTER, *merges)) or following not in shapes:
            break
        if shapes[following][:-1] != shapes[name][:-1] or activation_name(layer) == "softmax":
            break
        name = following
    return name


def _sources(
    model: keras.Model,
    shape: tuple[int | None, ...],
    shapes: dict[str, tuple[int | None, ...]],
    found: dict[str, tuple[int | None, ...]],
    prefix: str = "",
) -> tuple[int | None, ...]:
    """Put the shape that each layer reads (its first input) into `found`; returns the output's.

    All shapes as they are stored.
    """
    known = {id(model.inputs[0]): shape}
    for name, node in named_nodes(model):
        if node.is_input or isinstance(node.outputs, list | tuple | dict):
            continue
        source = known.get(id(node.keras_inputs[0]), tuple(node.keras_inputs[0].shape[1:]))
        if opens(node):
            known[id(node.outputs)] = _sources(
                node.layer, source, shapes, found, f"{prefix}{name}/"
            )
        else:
            found[prefix + name] = source
            known[id(node.outputs)] = shapes[prefix + name]
    return known.get(id(model.outputs[0]), ())


def _window(
    layer: Any, source: tuple[int | None, ...], shape: tuple[int | None, ...]
) -> Window | None:
    """What a convolution sees at once; None where sizes are free or the padding is unusual.

    Args:
        source: shape of a sample that it reads, as it is stored.
        shape: of its answer, channels last.
    """
    source = moved(source, own_axis(layer, len(source) + 1))
    if None in source[:-1] or None in shape[:-1] or layer.padding not in ("valid", "same"):
        return None
    kernel = tuple(
        (k - 1) * d + 1 for k, d in zip(layer.kernel_size, layer.dilation_rate, strict=True)
    )
    before = tuple(
        max((n - 1) * s + k - size, 0) // 2 if layer.padding == "same" else 0  # type: ignore[operator]
        for n, s, k, size in zip(shape[:-1], layer.strides, kernel, source[:-1], strict=True)
    )
    return Window(kernel, tuple(layer.strides), before, source[:-1])  # type: ignore[arg-type]


def _is_transposed(layer: Any) -> bool:
    return "Transpose" in type(layer).__name__


def layered_of(score: Score, *, method: str) -> Layered:
    """The layers behind a score.

    Raises:
        ModelError: nothing is known of what the network is made of.
    """
    network = score.network
    if isinstance(network, keras.Model):
        if getattr(network, "_is_graph_network", False):
            return KerasLayers(network)
    elif isinstance(network, Layered):
        return network
    raise ModelError(
        f"{method} looks into the layers of a network, which {type(network).__name__} does not "
        "show; expected a functional or sequential Keras model, or a .tflite file."
    )


def check_places(score: Score) -> None:
    """Refuse a network that takes another axis of its samples for the channels than the last.

    For what must know which axes of a sample are its pixels. Of what shows no layers nothing is
    known, and nothing refused.

    Raises:
        ModelError: it takes channels x rows x cols, for one.
    """
    try:
        against = layered_of(score, method="").against_input
    except ModelError:
        return
    if against:
        name, order = against
        axes = (*("rows", "cols", "planes", "steps")[: len(order) - 1], "channels")
        reads = " x ".join(axes[axis - 1] for axis in order)
        raise ModelError(
            f"Expected a network that takes samples of {' x '.join(axes)}, but its layer {name} "
            f"reads {reads}: begin the network with a Permute({order})."
        )
