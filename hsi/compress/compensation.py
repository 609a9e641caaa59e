"""Batch-norm compensation: what a removed channel gave on average goes into its consumers.

    b' = b + sum over taps t and removed channels c of K[t, c] mean(what tap t reads of channel c)

A channel that goes takes its mean effect on the next layer with it. A dead channel still emits a
constant wherever a bias, a batch norm's beta or act(0) comes after its kernel; put into the bias of
the layers that read it, that constant makes removal exact. For any other channel it is the best
that a constant can do: the mean over samples and positions leaves the least squared error in what
the consuming layer computes. Ye et al., Rethinking the Smaller-Norm-Less-Informative Assumption,
2018 (arXiv 1802.00124), absorb constant channels so; the mean over samples is theirs widened.

The mean is taken for each tap of the kernel by itself, over the positions that the tap reads,
zeros of the padding among them. So:

- removal of a constant channel is exact for consumers that see no padding: dense layers, 1 x 1
  convolutions and convolutions with padding `valid`;
- under padding `same` or `causal` (or behind zero padding) such a channel is no constant: near the
  border fewer taps meet it. One bias cannot say that. It is exact then for the mean over the map,
  and each position is off by what the border differs from that mean. On the small maps of deep
  layers hardly a position is away from the border, so the sum over all taps, which would be exact
  there alone, is the worse choice: on a 2 x 2 map it is wrong at every position.

In a transposed convolution with strides the taps fall on some positions only; the mean again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras

from hsi.compress.calls import Call, CallGraph, copy_layer, replay
from hsi.compress.criteria.kernels import producing_kernel
from hsi.compress.criteria.probes import Batches, compiled, readers_of, samples_of, view_of
from hsi.compress.graph import ChannelMap, Group, Removal, map_channels, removed_ids
from hsi.compress.layers import Dense, SeparableConvolution, rule_for
from hsi.compress.surgery import flattened
from hsi.errors import ModelError

Means = Mapping[str, np.ndarray]
"""Consuming layer -> the mean of what each tap of its kernel reads: the kernel's shape without its
output axis, as (rows, cols, in) or (in,); of a separable convolution the pointwise kernel's."""


def emitted_means(
    model: keras.Model, groups: Iterable[Group | str], batches: Batches
) -> dict[str, np.ndarray]:
    """What the consumers of these groups read on average, in one pass over training samples.

    Args:
        groups: groups or their names; a removal will do.
        batches: (inputs, classes); the classes are not looked at.

    Returns:
        Consuming layer -> float64 array, see `Means`. Of a layer that is called more than once,
        the mean over its calls, since one bias serves them all.

    Raises:
        ModelError: no samples, or a model that channels cannot be followed through.
    """
    model = flattened(model)
    channels = map_channels(model)
    wanted = {group if isinstance(group, str) else group.name for group in groups}
    readers = {n for group in channels.groups if group.name in wanted for n in group.consumers}
    calls = [call for call in channels.graph.calls if call.name in readers]
    if not calls:
        return {}
    names = list(dict.fromkeys(call.name for call in calls))
    view = view_of(model, channels.graph, [call.inputs[0] for call in calls])
    sums = compiled(_tap_sums(view, calls, names), view.inputs)
    totals: list[Any] = [0.0] * len(names)
    counts = np.zeros(len(names))
    for inputs, _ in samples_of(batches, criterion="Compensation"):
        found, sizes = sums(*inputs)
        totals = [total + value.numpy() for total, value in zip(totals, found, strict=True)]
        counts += sizes.numpy()
    return {n: total / count for n, total, count in zip(names, totals, counts, strict=True)}


def compensate(model: keras.Model, removal: Removal, means: Means) -> keras.Model:
    """A copy whose consumers already hold what these channels would have given them on average.

    It is made to have the channels removed (or masked) next; as it stands it counts them twice.
    The mean effect goes into the consumer's bias. A consumer without one gives it to the batch
    norm behind it (the moving mean, so that nothing is added to the network), and where none
    follows directly it gets a bias.

    Args:
        removal: group name (see `channel_groups`) -> indices of the channels that will go.
        means: of `emitted_means` on this model, for these groups at least.

    Raises:
        ModelError: an unknown group, channel or layer type, a layer would lose all channels, or
            means that are missing or not of this model.
    """
    channels = map_channels(model)
    gone = removed_ids(channels, removal)
    calls: dict[str, Call] = {}
    for call in channels.graph.calls:
        calls.setdefault(call.name, call)
    shifts = {
        call.name: shift
        for call in calls.values()
        if (shift := _shift(call, channels, gone, means)) is not None
    }
    norms = {name: _norm_behind(channels.graph, calls[name]) for name in shifts}
    grown = without_room(channels.graph).intersection(shifts)
    layers = {
        name: copy_layer(call.layer, name, {"use_bias": True} if name in grown else None)
        for name, call in calls.items()
    }
    copy = replay(channels.graph, layers)
    for name, call in calls.items():
        bias = [np.zeros_like(shifts[name])] if name in grown else []
        layers[name].set_weights([*call.layer.get_weights(), *bias])
    for name, shift in shifts.items():
        norm = norms[name]
        if norm:
            layers[norm].moving_mean.assign_sub(shift)
        else:
            layers[name].bias.assign_add(shift)
    return copy


def without_room(graph: CallGraph) -> frozenset[str]:
    """Layers with a kernel, but with no bias and no batch norm directly behind to take a constant.

    Of these `compensate` gives a bias, a parameter for each of its channels, to every one that
    reads a channel that goes: what a network costs after it depends on the removal alone.
    """
    first: dict[str, Call] = {}
    for call in graph.calls:
        if rule_for(call.layer).kind(call.layer):
            first.setdefault(call.name, call)
    return frozenset(
        name
        for name, call in first.items()
        if not call.layer.use_bias and not _norm_behind(graph, call)
    )


def stand_in_means(model: keras.Model) -> Means:
    """Ones in the place of `emitted_means`, for a network of which only the cost is asked."""
    found = {}
    for call in map_channels(model).graph.calls:
        if rule_for(call.layer).kind(call.layer):
            kernel, axis = producing_kernel(call.layer)
            found[call.name] = np.ones(np.delete(kernel.shape, axis))
    return found


def _tap_sums(view: keras.Model, calls: list[Call], names: list[str]) -> Callable[..., Any]:
    """A step (*inputs) -> per layer the sum of what each tap reads, and over how many positions."""
    meters = [_meter(call) for call in calls]

    def step(*inputs: Any) -> Any:
        sums: dict[str, Any] = dict.fromkeys(names, 0)
        sizes: dict[str, Any] = dict.fromkeys(names, 0)
        read = tf.nest.flatten(view(list(inputs), training=False))
        for call, tensor, meter in zip(calls, read, meters, strict=True):
            kernel, axis = producing_kernel(meter)
            # The layer is linear, so the samples are summed first. In float64: naive float32 sums
            # over some 100,000 positions were wrong in the third digit.
            samples = tf.reduce_sum(tf.cast(tensor, tf.float64), axis=0, keepdims=True)
            with tf.GradientTape() as tape:
                tape.watch(kernel)
                # The slope of a linear layer's summed output by a weight is what that weight read.
                output = meter(samples)
                total = tf.reduce_sum(output)
            sums[call.name] += tf.squeeze(tape.gradient(total, kernel), axis)
            sizes[call.name] += tf.size(output, tf.int64) * tf.shape(tensor, tf.int64)[0]
        return list(sums.values()), tf.stack(list(sizes.values()))

    return step


def _meter(call: Call) -> keras.layers.Layer:
    """A layer that reads as the call's does, with a single linear output, in float64."""
    rule = rule_for(call.layer)
    assert isinstance(rule, Dense)  # what makes channels of its own is one of its kin
    changes = {rule.size: 1, "use_bias": False, "dtype": "float64"}
    meter = copy_layer(call.layer, call.name, changes)
    meter.activation = keras.activations.linear
    meter.build((None, *call.input_shapes[0]))
    if isinstance(rule, SeparableConvolution):
        meter.depthwise_kernel.assign(tf.cast(call.layer.depthwise_kernel, tf.float64))
    return meter


def _shift(call: Call, channels: ChannelMap, gone: np.ndarray, means: Means) -> np.ndarray | None:
    """(out,) what the removed channels add to a consumer's outputs on average; None if nothing."""
    rule = rule_for(call.layer)
    if not rule.kind(call.layer):
        return None
    removed = np.isin(channels.ids[call.inputs[0]], gone)
    if not removed.any():
        return None
    if isinstance(rule, SeparableConvolution):
        removed = np.repeat(removed, call.layer.depth_multiplier)
    variable, axis = producing_kernel(call.layer)
    kernel = np.moveaxis(variable.numpy(), axis, -1).astype(float)
    found = means.get(call.name)
    if found is None or found.shape != kernel.shape[:-1]:
        raise ModelError(
            f"layer {call.name!r}: expected the mean of what each of {kernel.shape[:-1]} taps "
            f"reads, got {'none' if found is None else found.shape}; take `emitted_means` of this "
            "model and these groups."
        )
    return np.tensordot(found * removed, kernel, found.ndim).astype(variable.dtype.as_numpy_dtype)


def _norm_behind(graph: CallGraph, call: Call) -> str:
    """The batch norm that alone reads a layer without bias, and reads nothing else; '' if none."""
    if call.layer.use_bias or rule_for(call.layer).activation(call.layer) != "linear":
        return ""
    readers = readers_of(graph).get(call.outputs[0], [])
    if len(readers) != 1 or call.outputs[0] in graph.outputs:
        return ""
    norm = graph.calls[readers[0]]
    once = [other.name for other in graph.calls].count
    is_norm = isinstance(norm.layer, keras.layers.BatchNormalization)
    return norm.name if is_norm and once(call.name) == once(norm.name) == 1 else ""
