"""Channel pruning as surgery: a smaller network, not a network with zeros in it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import tf_keras as keras

from hsi.compress.calls import Call, copy_layer, replay
from hsi.compress.graph import Removal, map_channels, removed_ids
from hsi.compress.layers import rule_for
from hsi.compress.space import Kept


def remove_channels(model: keras.Model, removal: Removal) -> keras.Model:
    """A new functional model without these channels: kernels, biases and batch norms are cut.

    Its output equals that of the original with the same channels zeroed where they are consumed
    (`hsi.compress.masking.mask_channels`). Layer names stay; the model is not compiled, and the
    given one is left as it is.

    Args:
        removal: group name (see `channel_groups`) -> indices of the channels that go.

    Raises:
        ModelError: an unknown group, channel or layer type, or a layer would lose all channels.
    """
    channels = map_channels(model)
    gone = removed_ids(channels, removal)
    kept = {key: ~np.isin(ids, gone) for key, ids in channels.ids.items()}
    layers: dict[str, keras.layers.Layer] = {}
    calls: dict[str, Call] = {}
    for call in channels.graph.calls:
        if call.name not in calls:
            calls[call.name] = call
            layers[call.name] = _resized(call, kept)
    smaller = replay(channels.graph, layers)
    for name, call in calls.items():
        layers[name].set_weights(rule_for(call.layer).weights(call.layer, _kept(call, kept)))
    return smaller


def flattened(model: keras.Model) -> keras.Model:
    """The same network as one graph: the model itself, or a copy with its nested models opened."""
    if any(isinstance(layer, keras.Model) for layer in model.layers):
        return remove_channels(model, {})
    return model


def _kept(call: Call, kept: Mapping[int, np.ndarray]) -> Kept:
    return Kept(tuple(kept[key] for key in call.inputs), kept[call.outputs[0]])


def _resized(call: Call, kept: Mapping[int, np.ndarray]) -> keras.layers.Layer:
    masks = _kept(call, kept)
    if all(mask.all() for mask in (*masks.inputs, masks.output)):
        return copy_layer(call.layer, call.name)
    return copy_layer(call.layer, call.name, rule_for(call.layer).changes(call.layer, masks))
