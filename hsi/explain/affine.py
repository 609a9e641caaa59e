"""Networks cut behind their affine beginning, so that a path through them costs less.

Up to the first activation a network is affine, a(x) = L x + b, and the score is s(x) = r(a(x)).
Along a path x0 + t (x - x0), and under noise x + e, therefore

    a(x0 + t (x - x0)) = a(x0) + t (a(x) - a(x0))        a(x + e) = a(x) + L e
    sum over k of  w_k * ds/dx (x_k)  =  L' * sum over k of  w_k * dr/da (a_k)

so the beginning goes forward once for a sample, once for noise that all samples share, and back
once for a map; only the rest is computed at every point. That is exact. For a network on spectra
the beginning is most of the work (nine tenths of `cao`); on photographs it is next to nothing, and
then nothing is cut: see `WORTH`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any, Protocol, runtime_checkable

import numpy as np
import tensorflow as tf
import tf_keras as keras

from hsi.explain.keras_layers import KerasLayers
from hsi.explain.score import Score
from hsi.explain.walk import all_nodes, named_nodes, opens, run

WORTH = 0.1
"""Share of the multiply-accumulates that the beginning must have for the network to be cut."""

TOLERANCE = 1e-4
"""Most that a map of the cut network may differ from the plain one, as a share of its largest
value."""

Function = Callable[[tf.Tensor], tf.Tensor]

_WEIGHTED = (
    keras.layers.Dense,
    keras.layers.EinsumDense,
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.Conv3D,
    keras.layers.DepthwiseConv1D,
    keras.layers.DepthwiseConv2D,
    keras.layers.SeparableConv1D,
    keras.layers.SeparableConv2D,
)
"""Affine but for an activation at their end."""

_PASSING = (
    keras.layers.Activation,
    keras.layers.AveragePooling1D,
    keras.layers.AveragePooling2D,
    keras.layers.AveragePooling3D,
    keras.layers.BatchNormalization,
    keras.layers.Cropping1D,
    keras.layers.Cropping2D,
    keras.layers.Cropping3D,
    keras.layers.Dropout,
    keras.layers.Flatten,
    keras.layers.GlobalAveragePooling1D,
    keras.layers.GlobalAveragePooling2D,
    keras.layers.GlobalAveragePooling3D,
    keras.layers.Permute,
    keras.layers.Rescaling,
    keras.layers.Reshape,
    keras.layers.SpatialDropout1D,
    keras.layers.SpatialDropout2D,
    keras.layers.SpatialDropout3D,
    keras.layers.ZeroPadding1D,
    keras.layers.ZeroPadding2D,
    keras.layers.ZeroPadding3D,
)
"""Affine in inference mode; an `Activation` only where it does nothing."""


@dataclass(frozen=True, eq=False)
class Split:
    """A score in two parts: score(x) = rest(front(x)).

    Attributes:
        front: (n, ...) samples -> (n, ...), affine.
        rest: what comes out of `front` -> logits (n, classes).
        share: of the multiply-accumulates that are in `front`.
        note: why the network is not cut although it could be; "" where nothing must be said.
    """

    front: Function
    rest: Function
    share: float = 0.0
    note: str = ""

    @property
    def cut(self) -> bool:
        """Whether there is anything in front."""
        return self.front is not _same

    def linear(self, shifts: tf.Tensor) -> tf.Tensor:
        """What `front` makes of shifts of its input (n, ...): a(x + e) - a(x)."""
        return self.front(shifts) - self.front(tf.zeros_like(shifts[:1]))

    def back(self, samples: tf.Tensor, slopes: tf.Tensor) -> tf.Tensor:
        """Slopes at what comes out of `front` -> slopes at its input, in the shape of `samples`."""
        with tf.GradientTape() as tape:
            tape.watch(samples)
            ends = self.front(samples)
        return tape.gradient(ends, samples, output_gradients=slopes, unconnected_gradients="zero")


@runtime_checkable
class Splits(Protocol):
    """A network of another form than Keras that knows where its affine beginning ends."""

    def affine_split(self, sample_shape: tuple[int, ...]) -> Split | None:
        """The cut, None where the network does not begin so."""


def _same(x: tf.Tensor) -> tf.Tensor:
    return x


def split_of(network: Any, sample_shape: tuple[int, ...]) -> Split | None:
    """A network in two parts, weights shared; None where it does not begin with an affine layer.

    Args:
        network: of a `Score`, or the `Layered` form of one.
        sample_shape: of its inputs.
    """
    if isinstance(network, KerasLayers):
        network = network.model
    if isinstance(network, keras.Model):
        graph = getattr(network, "_is_graph_network", False)
        return _keras_split(network, sample_shape) if graph else None
    return network.affine_split(sample_shape) if isinstance(network, Splits) else None


def behind(steps: Function, network: Any, sample_shape: tuple[int, ...]) -> Split | None:
    """The split of a network with affine steps in front of it, which become a part of its front.

    Args:
        steps: inputs (n, ...) -> those of the network; affine.
        network: as for `split_of`.
        sample_shape: of the network's inputs.
    """
    split = split_of(network, sample_shape)
    return split and replace(split, front=lambda x: split.front(steps(x)))


def chosen_split(
    score: Score,
    method: str,
    inputs: np.ndarray,
    trial: Callable[[Split, tf.Tensor], tf.Tensor],
) -> Split:
    """How a method goes through the network: cut where that pays and is right, else whole.

    Decided once for a score, a method and a shape of samples.

    Args:
        method: what goes through the network; methods of one name share the choice.
        inputs: (n, ...) samples, of which the first three are tried.
        trial: the method with a split on one sample (1, ...), one row at a time, as its map.
    """
    sample_shape = inputs.shape[1:]

    def choose() -> Split:
        whole = Split(_same, score)
        found = score.kept(f"split {sample_shape}", lambda: split_of(score.network, sample_shape))
        if found is None or found.share < WORTH:
            return whole
        ways = (found, replace(whole, rest=score.plainly))
        tried = [tf.constant(inputs[i : i + 1]) for i in range(min(3, len(inputs)))]
        if _agree(*([trial(split, sample) for sample in tried] for split in ways)):
            return found
        return replace(
            whole,
            note="every point goes through the whole network: cut behind its affine beginning it "
            "gave other maps",
        )

    return score.kept(f"split of {method} {sample_shape}", choose)


def step_name(method: str, split: Split) -> str:
    """The name of a compiled step that goes through the network in this way."""
    return method if split.cut else f"{method}, whole network"


def _agree(cut: Sequence[tf.Tensor], plain: Sequence[tf.Tensor]) -> bool:
    """Whether most of the samples have the same maps.

    Most, and not all: where rounding puts what goes into a ReLU on the other side of zero, a single
    sample may differ, and neither of its maps is wrong.
    """
    alike = []
    for a, b in zip(cut, plain, strict=True):
        largest = np.nanmax(np.abs(b), initial=0)
        alike.append(np.allclose(a, b, rtol=0, atol=TOLERANCE * largest, equal_nan=True))
    return float(np.mean(alike)) >= 0.5


def _keras_split(model: keras.Model, sample_shape: tuple[int, ...]) -> Split | None:
    chain, _ = _affine_chain(model)
    if not chain:
        return None
    names, last = [name for name, _ in chain], chain[-1]

    def front(inputs: tf.Tensor) -> tf.Tensor:
        x = tf.cast(inputs, model.inputs[0].dtype)
        for name, layer in chain:
            call = _without_activation(layer) if name == last[0] else layer
            x = call(x, training=False) if layer._expects_training_arg else call(x)
        return x

    def rest(values: tf.Tensor) -> tf.Tensor:
        ends = _ending(last[1]) or _same

        def stand_in(name: str, layer: Any) -> Callable[..., Any]:
            if name == last[0]:
                return lambda *_, **__: ends(values)
            return (lambda x, **_: x) if name in names else layer

        # What goes through the beginning stands for nothing.
        return run(model, tf.zeros([]), stand_in=stand_in)

    return Split(front, rest, _share(model, set(names), sample_shape))


def _affine_chain(model: keras.Model, prefix: str = "") -> tuple[list[tuple[str, Any]], bool]:
    """Names and layers from the input to the first activation or branch, nested models opened.

    The last of them may have an activation of its own. Also whether the chain is the whole model.
    """
    readers: dict[int, list[tuple[str, Any]]] = {}
    for name, node in named_nodes(model):
        for tensor in [] if node.is_input else node.keras_inputs:
            readers.setdefault(id(tensor), []).append((name, node))
    chain: list[tuple[str, Any]] = []
    tensor = model.inputs[0]
    while len(reading := readers.get(id(tensor), [])) == 1:
        name, node = reading[0]
        if opens(node):
            inner, whole = _affine_chain(node.layer, f"{prefix}{name}/")
            chain += inner
            if not whole:
                return chain, False
        elif _is_affine(node):
            chain.append((prefix + name, node.layer))
            if _ending(node.layer):
                return chain, False
        else:
            return chain, False
        tensor = node.outputs
    return chain, tensor is model.outputs[0]


def _is_affine(node: Any) -> bool:
    """Whether a node is an affine layer of its only input, but for an activation at its end."""
    layer = node.layer
    if len(node.keras_inputs) != 1 or not layer.built:
        return False
    if type(layer) is keras.layers.Activation:
        return _ending(layer) is None
    return type(layer) in _WEIGHTED + _PASSING


def _ending(layer: Any) -> Function | None:
    """The activation of a layer; None where it is linear."""
    function = getattr(layer, "activation", None)
    return None if function is keras.activations.linear else function


def _without_activation(layer: Any) -> Any:
    """A shallow copy on the same weights."""
    twin = copy.copy(layer)
    if _ending(layer):
        vars(twin)["activation"] = keras.activations.linear  # past Keras, which would track it
    return twin


def _share(model: keras.Model, names: set[str], sample_shape: tuple[int, ...]) -> float:
    """Of the multiply-accumulates: each weight of a kernel is used once for every position."""
    shapes = {info.name: info.shape for info in KerasLayers(model).describe(sample_shape)}
    counts = {
        name: prod(int(size) for size in shapes[name][:-1] if size is not None)
        * sum(prod(w.shape) for w in node.layer.weights if len(w.shape) > 1)
        for name, node in all_nodes(model)
    }
    return sum(counts[name] for name in names) / max(sum(counts.values()), 1)
