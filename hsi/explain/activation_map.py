"""Activations of the layers of a network: what every feature map answers to a sample."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from hsi.errors import ModelError
from hsi.explain.attribution import in_batches
from hsi.explain.keras_layers import layered_of
from hsi.explain.layered import Layered, find_layer
from hsi.explain.score import answers_of


@dataclass(frozen=True, eq=False)
class LayerActivations:
    """What one layer answers.

    Attributes:
        layer: its name, as it was asked for; "outer/inner" for a layer of a model nested in the
            model.
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
    model: Any,
    inputs: np.ndarray,
    *,
    layers: Sequence[str] | None = None,
    batch_size: int | None = None,
) -> list[LayerActivations]:
    """Outputs of layers for each sample, in the order of the network.

    The last layer is shown as the model answers it, softmax included.

    Args:
        model: a functional or sequential `tf_keras` model with one input, or a `Score` of what is
            `Layered`.
        inputs: (n, rows, cols, channels) samples as the network takes them.
        layers: names, in the order wanted; None takes every layer that has weights or is an
            activation. A layer that is applied twice is "name" and "name#2".
        batch_size: most rows at once; see `hsi.explain.attribution.rows_at_once`.

    Raises:
        ModelError: a layer that the network has not (the closest names are listed), a model
            whose layers cannot be reached, or samples that do not fit it.
        SettingsError: no samples.
    """
    score = answers_of(model)
    network = layered_of(score, method="activation_map")
    inputs = score.prepare(inputs)
    infos = network.describe(inputs.shape[1:])
    asked = [info.name for info in infos if info.shown] if layers is None else list(layers)
    if not asked:
        raise ModelError("Expected a network with weights or activations, this one has none.")
    found = [find_layer(infos, name) for name in asked]
    names = [info.name for info in found]
    step = score.compiled(f"activations of {names}", lambda _: _forward_step(network, names))
    arrays = in_batches(step, inputs, batch_size=batch_size)
    return [
        LayerActivations(name, np.asarray(array), info.kind)
        for name, info, array in zip(asked, found, arrays, strict=True)
    ]


def layer_names(model: Any, sample_shape: tuple[int, ...] | None = None) -> list[str]:
    """Every name that `activations` takes, in the order of the network.

    Args:
        sample_shape: of a sample, where the network leaves it free.

    Raises:
        ModelError: a model whose layers cannot be reached.
    """
    score = answers_of(model)
    network = layered_of(score, method="activation_map")
    shape: Any = sample_shape or score.input_shape
    return [info.name for info in network.describe(shape)]


def _forward_step(network: Layered, names: list[str]) -> Callable[[tf.Tensor], list[tf.Tensor]]:
    return lambda inputs: network.forward(inputs, names)[1]
