"""Taylor: how much the loss would change, to first order, if the channel were zero.

    score(c) = - mean over samples of |sum over positions of a_c dL/da_c|

Molchanov et al., Pruning Convolutional Neural Networks for Resource Efficient Inference, 2017
(arXiv 1611.06440); L is the cross-entropy of the sample's class. The activation a_c is taken where
the channel is consumed, at what each consuming kernel reads, and the derivative there is along
that way alone: where several kernels read a channel (a residual stage, a dense block), their
changes are summed, none is counted twice, and the sum is the first-order change under removal. It
is that of a factor on the channel at its value 1 (Molchanov et al. 2019, arXiv 1906.10771),
which is how it is computed. All scores are changes of one loss, so layers compare as they are.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras

from hsi.compress.calls import CallGraph, walk
from hsi.compress.criteria import ChannelScores
from hsi.compress.criteria.kernels import weight_kernels
from hsi.compress.criteria.probes import Batches, compiled, samples_of
from hsi.compress.graph import ChannelMap, Group, map_channels
from hsi.compress.layers import rule_for
from hsi.errors import ModelError
from hsi.models.precision import single_precision

CLASSES = tf.TensorSpec([None], tf.int32)

Factor = Callable[[int, Any], Any]
"""(tensor key, tensor) -> the tensor as a consuming kernel is to read it."""


def score(
    model: keras.Model, batches: Batches, groups: Sequence[Group], *, seed: int = 0
) -> ChannelScores:
    """Minus the mean first-order change of the loss per channel, in one pass over the samples.

    Args:
        batches: (inputs, classes), classes as indices of the model's outputs.
        groups: of this model (`channel_groups`), convolutional or dense.

    Raises:
        ModelError: no samples, classes that the model does not have, a model that does not answer
            with one vector of class scores, or that channels cannot be followed through.
    """
    if not groups:
        return ChannelScores({})
    model = single_precision(model)  # slopes in half precision vanish
    channels = map_channels(model)
    changes = compiled(_changes(channels, groups), model.inputs, CLASSES)
    total, count = np.zeros(sum(group.channels for group in groups)), 0
    for inputs, classes in samples_of(batches, criterion="taylor"):
        total += changes(*inputs, _checked(channels.graph, inputs, classes)).numpy()
        count += len(classes)
    ends = np.cumsum([group.channels for group in groups])[:-1]
    parts = zip(groups, np.split(-total / count, ends), strict=True)
    return ChannelScores({group.name: values for group, values in parts})


def weight_scores(model: keras.Model, batches: Batches, *, seed: int = 0) -> dict[str, np.ndarray]:
    """Minus |w dL/dw| of every weight, by layer name, in one pass over the samples.

    L is the mean loss of a batch; the magnitudes are averaged over the batches, each counted by
    its samples, so they depend on the batch size. Raises as `score`.
    """
    model = single_precision(model)
    graph, kernels = walk(model), weight_kernels(model)
    variables = list(kernels.values())
    losses = _losses(graph)

    def step(*args: Any) -> Any:
        *inputs, classes = args
        with tf.GradientTape() as tape:
            tape.watch(variables)
            loss = tf.reduce_mean(losses(classes, _run(graph, inputs, lambda key, x: x)))
        slopes = tape.gradient(loss, variables, unconnected_gradients="zero")
        return [tf.abs(w * slope) for w, slope in zip(variables, slopes, strict=True)]

    changes = compiled(step, model.inputs, CLASSES)
    totals = [np.zeros(w.shape, np.float32) for w in variables]
    count = 0
    for inputs, classes in samples_of(batches, criterion="taylor"):
        found = changes(*inputs, _checked(graph, inputs, classes))
        for total, values in zip(totals, found, strict=True):
            total += len(classes) * values.numpy()
        count += len(classes)
    return {name: -total / count for name, total in zip(kernels, totals, strict=True)}


def _changes(channels: ChannelMap, groups: Sequence[Group]) -> Callable[..., Any]:
    """A step (*inputs, classes) -> the sum over samples of |change|, channels of all groups."""
    losses = _losses(channels.graph)
    members = np.concatenate([channels.members[group.name] for group in groups])
    # Every channel has a factor of its own; all that cannot go share one more, the last.
    column = np.full(1 + max(int(ids.max()) for ids in channels.ids.values()), len(members))
    column[members] = np.arange(len(members))

    def step(*args: Any) -> Any:
        *inputs, classes = args
        factors = tf.ones([tf.size(classes), len(members) + 1])
        with tf.GradientTape() as tape:
            tape.watch(factors)

            def read(key: int, tensor: Any) -> Any:
                columns = column[channels.ids[key]]
                if (columns == len(members)).all():
                    return tensor
                factor = tf.gather(factors, columns, axis=1)
                between = [1] * (len(tensor.shape) - 2)
                return tensor * tf.reshape(factor, [-1, *between, len(columns)])

            loss = tf.reduce_sum(losses(classes, _run(channels.graph, inputs, read)))
        changes = tf.convert_to_tensor(tape.gradient(loss, factors))[:, :-1]
        return tf.reduce_sum(tf.cast(tf.abs(changes), tf.float64), axis=0)

    return step


def _run(graph: CallGraph, inputs: Sequence[Any], read: Factor) -> Any:
    """The network's output in inference, with what its kernels read passed through `read`."""
    tensors = {key: tensor for (_, key), tensor in zip(graph.inputs, inputs, strict=True)}
    for call in graph.calls:
        args = [tensors[key] for key in call.inputs]
        if rule_for(call.layer).kind(call.layer):
            args = [read(key, tensor) for key, tensor in zip(call.inputs, args, strict=True)]
        modes = "training" in inspect.signature(call.layer.call).parameters
        kwargs = {**({"training": False} if modes else {}), **call.kwargs}
        tensors[call.outputs[0]] = call.layer(args if call.listed else args[0], **kwargs)
    return tensors[graph.outputs[0]]


def _losses(graph: CallGraph) -> Callable[[Any, Any], Any]:
    """Cross-entropy per sample of (classes, outputs).

    Keras looks through a final softmax to what goes into it, so sure answers keep their slope.
    """
    logits = not _squashed(graph)
    return lambda classes, outputs: keras.losses.sparse_categorical_crossentropy(
        classes, outputs, from_logits=logits
    )


def _squashed(graph: CallGraph) -> bool:
    """Whether the network answers with probabilities: its last activation is a softmax."""
    makers = {key: call for call in graph.calls for key in call.outputs}
    key = graph.outputs[0]
    while key in makers:
        layer = makers[key].layer
        name = rule_for(layer).activation(layer)
        if name != "linear" or rule_for(layer).kind(layer):
            return name.lower() in ("softmax", "sigmoid")
        key = makers[key].inputs[0]
    return False


def _checked(graph: CallGraph, inputs: Sequence[np.ndarray], classes: np.ndarray) -> np.ndarray:
    """The classes of a batch as (n,) int32; see `score` for what is raised."""
    shapes = [tuple(graph.tensors[key].shape[1:]) for key in graph.outputs]
    if len(shapes) != 1 or len(shapes[0]) != 1 or shapes[0][0] < 2:
        raise ModelError(
            "criterion taylor expects a model that answers with one vector of scores, two classes "
            f"or more; {graph.name!r} answers {', '.join(map(str, shapes))}: choose criterion l1."
        )
    count = shapes[0][0]
    if classes.shape != (len(inputs[0]),) or not np.issubdtype(classes.dtype, np.integer):
        raise ModelError(
            f"criterion taylor expects a class index for each of {len(inputs[0])} samples, got "
            f"{classes.dtype} of shape {classes.shape}."
        )
    if classes.min() < 0 or classes.max() >= count:
        raise ModelError(
            f"criterion taylor expects class indices 0 to {count - 1}, those of {graph.name!r}, "
            f"got {classes.min()} to {classes.max()}: score on samples that it was trained for."
        )
    return classes.astype(np.int32)
