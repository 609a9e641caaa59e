"""Activations of the layers of a network: what every feature map answers to a sample."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tf_keras as keras

from hsi.errors import ModelError
from hsi.explain.attribution import in_batches
from hsi.explain.score import Score

_ACTIVATION_LAYERS = (
    keras.layers.Activation,
    keras.layers.ReLU,
    keras.layers.LeakyReLU,
    keras.layers.ELU,
    keras.layers.Softmax,
)


@dataclass(frozen=True, eq=False)
class LayerActivations:
    """What one layer answers.

    Attributes:
        layer: its name; "outer/inner" for a layer of a model nested in the model.
        array: (n, rows, cols, channels), (n, units), or whatever shape the layer gives.
        kind: the layer's type, for example "Conv2D".
    """

    layer: str
    array: np.ndarray
    kind: str = ""

    @property
    def dead(self) -> np.ndarray:
        """(channels,) bool: zero at every position of every sample given."""
        return ~np.any(self.array, axis=tuple(range(self.array.ndim - 1)))


def activations(
    model: keras.Model,
    inputs: np.ndarray,
    *,
    layers: Sequence[str] | None = None,
    batch_size: int = 64,
) -> list[LayerActivations]:
    """Outputs of layers for each sample, in the order of the network.

    Args:
        model: a functional or sequential `tf_keras` model with one input.
        inputs: (n, rows, cols, channels) samples as the network takes them.
        layers: names, in the order wanted; None takes every layer that has weights or is an
            activation. A layer that is applied twice is "name" and "name#2".
        batch_size: most rows at once.

    Raises:
        ModelError: a layer that the network has not (the closest names are listed), a model
            whose layers cannot be reached, or samples that do not fit it.
        SettingsError: no samples.
    """
    if not model.outputs or len(model.inputs) != 1:
        raise ModelError(
            f"Expected a functional or sequential model with one input, "
            f"got {type(model).__name__} {model.name!r}, whose layers cannot be reached."
        )
    known = dict(_named_outputs(model))
    if layers is None:
        layers = [name for name, (layer, _) in known.items() if _is_shown(layer)]
    names = [_known_layer(name, known) for name in layers]
    if not names:
        raise ModelError(
            f"Expected layers with weights or activations in {model.name!r}, got none."
        )
    view = keras.Model(model.inputs, [known[name][1] for name in names])
    score = Score(
        view,
        input_shape=tuple(model.inputs[0].shape[1:]),
        dtype=model.inputs[0].dtype.name,
    )
    step = score.compiled("activations", lambda s: lambda x: _as_list(s(x)))
    arrays = in_batches(step, score.prepare(inputs), batch_size=batch_size)
    return [
        LayerActivations(name, np.asarray(array), type(known[name][0]).__name__)
        for name, array in zip(names, arrays, strict=True)
    ]


def layer_names(model: keras.Model) -> list[str]:
    """Every name that `activations` takes, in the order of the network."""
    return [name for name, _ in _named_outputs(model)]


def _named_outputs(model: keras.Model) -> Iterator[tuple[str, tuple[Any, Any]]]:
    """(name, (layer, symbolic output)) of each layer, nested models opened, input layers left out.

    The nodes are those of this model alone: a layer may be part of other graphs too, and then its
    `output` is ambiguous.
    """
    seen: dict[str, int] = {}
    by_depth = model._nodes_by_depth
    for depth in sorted(by_depth, reverse=True):
        for node in by_depth[depth]:
            layer, output = node.layer, node.outputs
            if node.is_input or isinstance(output, list | tuple | dict):
                continue
            seen[layer.name] = seen.get(layer.name, 0) + 1
            times = seen[layer.name]
            name = layer.name if times == 1 else f"{layer.name}#{times}"
            if isinstance(layer, keras.Model) and len(node.keras_inputs) == 1:
                inner = list(_named_outputs(layer))
                opened = keras.Model(layer.inputs, [tensor for _, (_, tensor) in inner])
                for (inner_name, (part, _)), tensor in zip(
                    inner, _as_list(opened(node.keras_inputs[0])), strict=True
                ):
                    yield f"{name}/{inner_name}", (part, tensor)
            else:
                yield name, (layer, output)


def _is_shown(layer: Any) -> bool:
    return bool(layer.weights) or isinstance(layer, _ACTIVATION_LAYERS)


def _as_list(outputs: Any) -> list[Any]:
    return list(outputs) if isinstance(outputs, list | tuple) else [outputs]


def _known_layer(name: str, known: dict[str, Any]) -> str:
    if name in known:
        return name
    close = difflib.get_close_matches(name, known, n=5, cutoff=0.3) or list(known)[:8]
    raise ModelError(
        f"The network has no layer {name!r}; the closest names are {', '.join(close)}."
    )
