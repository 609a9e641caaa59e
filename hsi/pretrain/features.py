"""A network without its class scores."""

from __future__ import annotations

import tf_keras as keras

from hsi.errors import ModelError

PASSED = (keras.layers.Softmax, keras.layers.Activation, keras.layers.Dropout)
"""Layers between the last dense layer and the scores."""


def feature_model(model: keras.Model) -> keras.Model:
    """Input -> what the last dense layer of a classifier reads, (n, features); the same layers.

    Raises:
        ModelError: there is no such layer at its end.
    """
    tensor = model.outputs[0]
    layer, node, _ = tensor._keras_history
    while isinstance(layer, PASSED):
        tensor = layer.get_input_at(node)
        layer, node, _ = tensor._keras_history
    if not isinstance(layer, keras.layers.Dense) or len(tensor.shape) != 2:
        raise ModelError(
            f"{model.name}: expected a network that ends in a dense layer of class scores, whose "
            f"input is pretrained; it ends in {layer.name} ({type(layer).__name__})."
        )
    return keras.Model(model.input, layer.get_input_at(node))
