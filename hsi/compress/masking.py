"""The original network with channels zeroed: what the smaller network has to equal."""

from __future__ import annotations

import numpy as np
import tf_keras as keras

from hsi.compress.calls import copy_layer, replay
from hsi.compress.graph import Removal, map_channels, removed_ids
from hsi.compress.layers import rule_for


def mask_channels(model: keras.Model, removal: Removal) -> keras.Model:
    """A new model of the original's shapes in which these channels are zero wherever consumed.

    All weights stay as they are. The channels are multiplied by zero after every layer that
    could give them a value again (convolution, batch norm, activation, sum), so that what reaches
    a consuming kernel is zero, whatever bias, beta or act(0) lies on the way.

    Args:
        removal: group name (see `channel_groups`) -> indices of the channels to zero.

    Raises:
        ModelError: an unknown group, channel or layer type, or a layer would lose all channels.
    """
    channels = map_channels(model)
    gone = removed_ids(channels, removal)
    layers: dict[str, keras.layers.Layer] = {}
    originals: dict[str, keras.layers.Layer] = {}
    masks: dict[int, np.ndarray] = {}
    for call in channels.graph.calls:
        if call.name not in layers:
            layers[call.name] = copy_layer(call.layer, call.name)
            originals[call.name] = call.layer
        (key,) = call.outputs
        zeroed = np.isin(channels.ids[key], gone)
        if zeroed.any() and rule_for(call.layer).emits:
            masks[key] = (~zeroed).astype(np.float32)
    masked = replay(channels.graph, layers, masks=masks)
    for name, layer in originals.items():
        layers[name].set_weights(layer.get_weights())
    return masked
