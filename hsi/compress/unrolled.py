"""Recurrent layers written out step by step: an equal network that TensorFlow Lite can take.

A loop over steps of a batch of any size has no form there; the same cells one after the other have.
The file grows by a dozen operators a step, and a spectrum of 200 bands has 200 steps: converting
it takes minutes.
"""

from __future__ import annotations

import tf_keras as keras

from hsi.compress.calls import copy_layer, replay, walk

RECURRENT = (keras.layers.GRU, keras.layers.LSTM, keras.layers.SimpleRNN)


def rolled_layers(model: keras.Model) -> list[str]:
    """The recurrent layers of a model that loop, as "name (type)"; nested models opened."""
    return [
        f"{layer.name} ({type(layer).__name__})"
        for layer in model._flatten_layers(include_self=False)
        if type(layer) in RECURRENT and not layer.unroll
    ]


def unrolled(model: keras.Model) -> keras.Model:
    """A new model with the same weights and the same output, without loops; nested models opened.

    Raises:
        ModelError: the model is no graph of layers.
    """
    graph = walk(model)
    originals = {call.name: call.layer for call in graph.calls}
    layers = {
        name: copy_layer(layer, name, {"unroll": True} if type(layer) in RECURRENT else None)
        for name, layer in originals.items()
    }
    flat = replay(graph, layers)
    for name, layer in originals.items():
        layers[name].set_weights(layer.get_weights())
    return flat
