"""The view of a network that answers logits.

A softmax that is sure of its answer has a gradient of zero, so the picture would be of nothing
(inputs 35 times too large lose 72 % of their maps that way). Explanations therefore look through
a final softmax or sigmoid to the numbers that go into it; this is exact and shares all weights.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tf_keras as keras

from hsi.errors import ModelError

SQUASHING = ("softmax", "sigmoid")
"""Output activations that are looked through."""

OUTPUT_ITSELF = "the output is explained itself: no softmax or sigmoid was found to look through"
"""The note of a score that is no logit."""

_LINEAR_LAYERS = (
    keras.layers.Dense,
    keras.layers.EinsumDense,
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.Conv3D,
)
_PASSING_LAYERS = (keras.layers.Flatten, keras.layers.Reshape, keras.layers.Dropout)


def logit_model(model: keras.Model) -> keras.Model:
    """A view of the model that answers logits; shares every weight and leaves the model as it is.

    A last softmax or sigmoid is looked through, whether it is fused into a dense or convolution
    layer or a layer of its own, also in a model nested in the model. Any other output stays.

    Raises:
        ModelError: several inputs or outputs, or an output of another rank than (n, classes).
    """
    return look_through(model)[0]


def look_through(model: keras.Model) -> tuple[keras.Model, str]:
    """The logit view, and a note where the output itself had to be taken."""
    if not model.outputs:  # a subclassed model
        return model, OUTPUT_ITSELF
    if len(model.inputs) != 1 or len(model.outputs) != 1 or len(model.outputs[0].shape) != 2:
        raise ModelError(
            f"Expected a network with one input and one output of (samples, classes), got "
            f"{len(model.inputs)} inputs and outputs of shape "
            f"{', '.join(str(tuple(o.shape)) for o in model.outputs)}."
        )
    logits = _before_squashing(model.outputs[0])
    if logits is not None:
        return keras.Model(model.inputs, logits, name=f"{model.name}_logits"), ""
    # Not the model itself: the cache of scores would then keep its own key alive.
    note = "" if _is_linear(model.outputs[0]) else OUTPUT_ITSELF
    return keras.Model(model.inputs, model.outputs, name=f"{model.name}_view"), note


def _before_squashing(tensor: Any) -> Any:
    """The symbolic tensor that the final softmax or sigmoid is applied to; None without one."""
    layer, source = _maker(tensor)
    if source is None:
        return None
    if isinstance(layer, keras.Model):
        inner = _before_squashing(layer.outputs[0])
        if inner is None:
            return None
        # The same name, so that its layers are found under the path that they have in the model.
        return keras.Model(layer.inputs, inner, name=layer.name)(source)
    if _squashes(layer, len(source.shape)):
        return source
    if isinstance(layer, _LINEAR_LAYERS) and _activation(layer) in SQUASHING:
        return _linear_twin(layer, source)(source)
    if isinstance(layer, _PASSING_LAYERS) and _one_position(source):
        inner = _before_squashing(source)
        # A copy, since calling the layer itself would give it a second output.
        return None if inner is None else type(layer).from_config(layer.get_config())(inner)
    return None


def _maker(tensor: Any) -> tuple[Any, Any]:
    """The layer that makes a symbolic tensor, and its only input (None for an input layer)."""
    node = tensor.node
    inputs = [] if node.is_input else node.keras_inputs
    return node.layer, inputs[0] if len(inputs) == 1 else None


def _activation(layer: Any) -> str:
    function = getattr(layer, "activation", None)
    return getattr(function, "__name__", "")


def _squashes(layer: Any, rank: int) -> bool:
    """Whether the layer is a softmax over the last of `rank` axes, or a sigmoid, and no more."""
    if isinstance(layer, keras.layers.Softmax):
        return layer.axis in (-1, rank - 1)
    if isinstance(layer, keras.layers.Activation):
        return _activation(layer) in SQUASHING
    return getattr(layer, "symbol", "") in ("nn.softmax", "math.sigmoid", "nn.sigmoid")


def _is_linear(tensor: Any) -> bool:
    """Whether the output comes from a layer without activation: then it is a logit already."""
    layer, source = _maker(tensor)
    if isinstance(layer, keras.Model):
        return _is_linear(layer.outputs[0])
    if isinstance(layer, _PASSING_LAYERS) and source is not None:
        return _is_linear(source)
    return isinstance(layer, _LINEAR_LAYERS) and _activation(layer) == "linear"


def _one_position(tensor: Any) -> bool:
    """Whether a feature map has one position, so that flattening it keeps a softmax a softmax."""
    return all(size == 1 for size in tensor.shape[1:-1])


def _linear_twin(layer: Any, source: Any) -> Any:
    """A layer of the same kind without activation, on the very variables of the given one."""
    twin = type(layer).from_config(
        {**layer.get_config(), "activation": "linear", "name": f"{layer.name}_logit"}
    )
    twin.stands_for = layer.name  # so that a user finds it under the name it has in the model
    twin.build(source.shape)
    for name, value in list(vars(layer).items()):
        if isinstance(value, tf.Variable):
            setattr(twin, name, value)
    if {id(w) for w in twin.weights} != {id(w) for w in layer.weights}:
        raise ModelError(
            f"Expected the weights of layer {layer.name!r} as its attributes, "
            f"{type(layer).__name__} keeps them elsewhere: give the model a softmax of its own."
        )
    return twin
