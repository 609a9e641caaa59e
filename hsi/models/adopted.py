"""A user's own model, checked: can it be trained, pruned and quantized like one of ours?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import tf_keras as keras

from hsi.errors import ModelError
from hsi.models.files import load_model, too_few_classes
from hsi.models.precision import precision_note

Say = Callable[[str], None]

SOFTMAX = "scores_softmax"


@dataclass(frozen=True)
class Adopted:
    """A model that came from a file.

    Attributes:
        model: ends in a softmax of (n, classes).
        input_shape: (rows, cols, channels).
        classes: how many scores.
        had_logits: whether the softmax was appended; the most likely class is the same.
    """

    model: keras.Model
    input_shape: tuple[int, int, int]
    classes: int
    had_logits: bool


def adopt(path: str | Path, *, trust: bool = False, say: Say = print) -> Adopted:
    """Open a classifier of a user: `.h5` or `.keras` of `tf_keras` or Keras 3, or a SavedModel.

    Args:
        path: the file or folder.
        trust: see `hsi.models.files.load_model`.
        say: told if a softmax was appended, or if the model was of another type than float32.

    Raises:
        ModelError: cannot be opened, is no graph of layers, or is no classifier of one image.
    """
    model = load_model(path, trust=trust)
    if not isinstance(model, keras.Model) or not getattr(model, "_is_graph_network", False):
        raise ModelError(
            f"{path}: expected a functional or sequential model, whose layers can be changed; got "
            f"{type(model).__name__}."
        )
    note = precision_note(model)
    shape, classes = _input_shape(model, path), _classes(model, path)
    end = ending(model)
    if end not in ("softmax", "linear"):
        raise ModelError(
            f"{path}: expected class scores from a softmax, or logits; the last layer ends with "
            f"{end}."
        )
    if end == "linear":
        outputs = keras.layers.Softmax(name=_free_name(model))(model.output)
        model = keras.Model(model.input, outputs, name=model.name)
        say(f"{path}: ends in logits; a softmax is appended, the most likely class is the same.")
    if note:
        say(f"Note: {path}: {note}.")
    return Adopted(model, shape, classes, end == "linear")


def _input_shape(model: keras.Model, path: str | Path) -> tuple[int, int, int]:
    if len(model.inputs) != 1:
        raise ModelError(f"{path}: expected one input, got {len(model.inputs)}.")
    shape = tuple(model.inputs[0].shape)[1:]
    if len(shape) != 3 or None in shape:
        raise ModelError(
            f"{path}: expected an input of (rows, cols, channels) in whole numbers, got {shape}."
        )
    return tuple(int(n) for n in shape)  # type: ignore[return-value]


def _classes(model: keras.Model, path: str | Path) -> int:
    if len(model.outputs) != 1:
        raise ModelError(f"{path}: expected one output, got {len(model.outputs)}.")
    shape = tuple(model.outputs[0].shape)
    if len(shape) != 2 or shape[1] is None or shape[1] < 2:
        raise too_few_classes(path, shape)
    return int(shape[1])


def ending(model: keras.Model) -> str:
    """What the scores come from: the activation of the layer that makes them.

    Layers that reshape, average over positions or do nothing at rest are passed.
    """
    tensor = model.outputs[0]
    while True:
        layer = tensor._keras_history.layer
        if isinstance(layer, keras.Model):
            return ending(layer)
        if isinstance(layer, keras.layers.Softmax):
            return "softmax" if layer.axis in (-1, 1) else f"a softmax along axis {layer.axis}"
        if hasattr(layer, "activation"):
            return getattr(layer.activation, "__name__", type(layer.activation).__name__)
        if isinstance(layer, _PASSING):
            tensor = layer.get_input_at(tensor._keras_history.node_index)
            continue
        return "linear" if isinstance(layer, _LINEAR) else type(layer).__name__


_PASSING = (
    keras.layers.Dropout, keras.layers.Flatten, keras.layers.Reshape,
    keras.layers.GlobalAveragePooling2D,
)  # fmt: skip
_LINEAR = (
    keras.layers.BatchNormalization, keras.layers.Add, keras.layers.Rescaling,
)  # fmt: skip
"""Layers whose outputs can be any number: logits."""


def _free_name(model: keras.Model) -> str:
    taken = {layer.name for layer in model.layers}
    return next(n for n in (SOFTMAX, *(f"{SOFTMAX}_{i}" for i in range(len(taken) + 1)))
                if n not in taken)  # fmt: skip
