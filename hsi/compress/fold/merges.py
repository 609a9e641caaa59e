"""Which neighbouring layers of a network are one layer, and what either form costs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
import tf_keras as keras

from hsi.compress.calls import Call, Shape, copy_layer
from hsi.compress.cost import COUNTS
from hsi.compress.fold.draft import Draft, Layer, filled, made
from hsi.compress.fold.kernels import (
    IDENTITIES,
    KERNELS,
    TRANSPOSED,
    Weights,
    channel_map,
    ending,
    followed,
    identity,
    in_training,
    kernel_layer,
    linear,
    preceded,
)

L = keras.layers

AFFINE = (
    *KERNELS, *IDENTITIES, L.BatchNormalization, L.Rescaling, L.Flatten, L.Reshape, L.Permute,
    L.AveragePooling1D, L.AveragePooling2D, L.AveragePooling3D, L.GlobalAveragePooling1D,
    L.GlobalAveragePooling2D, L.GlobalAveragePooling3D, L.ZeroPadding1D, L.ZeroPadding2D,
    L.ZeroPadding3D, L.Cropping1D, L.Cropping2D, L.Cropping3D, L.UpSampling1D, L.UpSampling2D,
    L.UpSampling3D,
)  # fmt: skip
"""Layers that are affine in inference, but for an activation of their own."""


Edit = tuple[Sequence[Call], Sequence[Layer]]
"""Calls, a chain, and the built layers that come in their place."""


class Cost(NamedTuple):
    """Parameters, and multiply-accumulates for one sample (an unknown size counts as 1)."""

    parameters: int
    macs: int

    def plus(self, other: Cost) -> Cost:
        return Cost(self.parameters + other.parameters, self.macs + other.macs)


@dataclass(frozen=True)
class Merge:
    """Layers that can become one.

    Attributes:
        names: of the layers, in their order.
        before, after: what the layers and the one layer cost.
        edits: what to exchange in the draft, made when it is asked for.
    """

    names: tuple[str, ...]
    before: Cost
    after: Cost
    edits: Callable[[], list[Edit]]

    @property
    def pays(self) -> bool:
        """Whether neither parameters nor multiply-accumulates grow."""
        return all(a <= b for a, b in zip(self.after, self.before, strict=True))

    @property
    def saving(self) -> tuple[int, int]:
        """Multiply-accumulates, which decide, and parameters that go."""
        before, after = self.before, self.after
        return before.macs - after.macs, before.parameters - after.parameters

    def apply(self, draft: Draft) -> None:
        for old, new in self.edits():
            draft.exchange(old, new)


def cost(call: Call) -> Cost:
    """What a call costs, unknown sizes counted as 1."""
    count = COUNTS.get(type(call.layer))
    fixed = replace(
        call, input_shapes=_fixed(call.input_shapes), output_shapes=_fixed(call.output_shapes)
    )
    held = sum(prod(weights.shape) for weights in call.layer.weights)  # also of one not built yet
    return Cost(held, count(fixed) if count else 0)


def merges(draft: Draft) -> Iterator[Merge]:
    """Every pair of a kernel layer and a map of channels beside it that is one layer, exactly."""
    for call in draft.calls:
        found = follower(draft, call)
        if found and (merge := _map_after(call, *found) or _map_before(call, *found)):
            yield merge


def map_merge(draft: Draft, call: Call) -> Merge | None:
    """A call that is a map of channels, with the kernel layer that alone reads it, as one."""
    found = follower(draft, call)
    return _map_before(call, *found) if found else None


def follower(draft: Draft, call: Call) -> tuple[list[Call], Call] | None:
    """The call that alone reads this linear one's output, and the identities between them."""
    if not linear(call.layer) or not draft.once(call):
        return None
    between: list[Call] = []
    after = draft.reader(call)
    while after and identity(after):
        between.append(after)
        after = draft.reader(after)
    return (between, after) if after and draft.once(after) else None


def _map_after(call: Call, between: list[Call], after: Call) -> Merge | None:
    """A kernel layer, then a map of channels."""
    if not kernel_layer(call) or (then := channel_map(after)) is None:
        return None
    if (weights := followed(call.layer, then)) is None:
        return None
    size = "units" if type(call.layer) is L.Dense else "filters"
    changes = {} if then.diagonal else {size: len(then.constant)}
    return _as_one(call, between, after, call, weights, changes)


def _map_before(call: Call, between: list[Call], after: Call) -> Merge | None:
    """A map of channels, then a kernel layer."""
    if not kernel_layer(after) or (first := channel_map(call)) is None:
        return None
    if (weights := preceded(after.layer, first)) is None:
        return None
    return _as_one(call, between, after, after, weights, {})


def _as_one(
    call: Call,
    between: list[Call],
    after: Call,
    core: Call,
    weights: Weights,
    changes: dict[str, Any],
) -> Merge:
    """The layer of `core`, which is one of the calls, with the weights of both."""
    arrays = weights.arrays()
    mapping = after if core is call else call
    used = core.input_shapes[0] if type(core.layer) in TRANSPOSED else core.output_shapes[0]
    macs = sum(kernel.size for kernel in weights.kernels) * _positions(used)
    changes = {**changes, "use_bias": weights.bias is not None}

    def edits() -> list[Edit]:
        kernels = type(mapping.layer) in KERNELS
        layer = made(
            core.layer,
            after.name if kernels else core.name,
            call.input_shapes[0],
            arrays,
            changes=changes,
            activation=ending(after.layer),
        )
        if kernels:
            return [([call, *between, after], [layer])]
        # What does nothing in inference stays where it is, for later training.
        return [([core], [layer]), ([mapping], [])]

    cost_after = Cost(sum(array.size for array in arrays), macs)
    return Merge((call.name, after.name), cost(call).plus(cost(after)), cost_after, edits)


def dense_merges(draft: Draft) -> Iterator[Merge]:
    """Chains of affine layers that end in a dense layer on a vector, as one dense layer.

    Of the places where such a chain can start one is given: the cheapest as one layer, where none
    pays the nearest to the dense layer.
    """
    for call in draft.calls:
        if (
            type(call.layer) is not L.Dense
            or len(call.input_shapes[0]) != 1
            or not draft.once(call)
        ):
            continue
        chain = [call]
        found: list[Merge] = []
        while (before := draft.source(chain[0])) and _affine(draft, before):
            chain.insert(0, before)
            if before.layer.weights:
                found.append(_as_dense(tuple(chain)))
        if found:
            paying = [merge for merge in found if merge.pays]
            yield max(paying, key=lambda merge: merge.saving) if paying else found[0]


def _affine(draft: Draft, call: Call) -> bool:
    layer = call.layer
    plain = getattr(layer, "data_format", None) != "channels_first" and not in_training(call)
    known = all(None not in shape for shape in (*call.input_shapes, *call.output_shapes))
    one = len(call.inputs) == 1 and draft.once(call)
    return type(layer) in AFFINE and linear(layer) and plain and known and one


def _as_dense(chain: tuple[Call, ...]) -> Merge:
    last, shape = chain[-1], chain[0].input_shapes[0]
    size, units = _size(shape), last.layer.units

    def edits() -> list[Edit]:
        kernel, bias = _matrix(chain)
        dense = made(
            last.layer,
            last.name,
            (size,),
            [kernel, bias],
            changes={"use_bias": True},
            activation=ending(last.layer),
        )
        flat = [c.name for c in chain if type(c.layer) is L.Flatten] or [f"{last.name}_flatten"]
        layers = [dense] if len(shape) == 1 else [L.Flatten(name=flat[0]), dense]
        return [(chain, layers)]

    before = Cost(0, 0)
    for call in chain:
        before = before.plus(cost(call))
    names = tuple(call.name for call in chain if call.layer.weights)
    return Merge(names, before, Cost((size + 1) * units, size * units), edits)


def _matrix(chain: Sequence[Call]) -> tuple[np.ndarray, np.ndarray]:
    """Kernel (inputs, units) and bias of a chain of affine layers, in float64.

    The layers themselves are run backwards: the slope of unit j is column j of the kernel.
    """
    layers = []
    for call in chain:
        layer = copy_layer(call.layer, call.name, {"dtype": "float64"})
        if call is chain[-1]:
            layer.activation = keras.activations.linear
        layers.append(filled(layer, call.input_shapes[0], call.layer.get_weights()))
    units, shape = chain[-1].layer.units, chain[0].input_shapes[0]
    zeros = tf.zeros((units, *shape), tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(zeros)
        values = zeros
        for layer in layers:
            values = layer(values, **({"training": False} if layer._expects_training_arg else {}))
        picked = tf.reduce_sum(values * tf.eye(units, dtype=tf.float64))
    return tape.gradient(picked, zeros).numpy().reshape(units, -1).T, values[0].numpy()


def _fixed(shapes: tuple[Shape, ...]) -> tuple[Shape, ...]:
    return tuple(tuple(1 if size is None else size for size in shape) for shape in shapes)


def _positions(shape: Shape) -> int:
    return _size(shape[:-1])


def _size(shape: Shape) -> int:
    return prod(size or 1 for size in shape)
