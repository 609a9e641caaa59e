"""Layer attention: what one feature map of one layer looks at.

    map(x) = guided backpropagation of  mean over positions of A_k(x)

with A_k channel k of the layer. Not a class score is explained but a unit of the network, so two
variants of a network can be compared layer by layer.

Source: guided backpropagation of Springenberg et al., "Striving for Simplicity", 2015.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from hsi.errors import SettingsError
from hsi.explain.attribution import Attribution, in_batches, make_attribution
from hsi.explain.layered import Layered, LayerInfo, find_layer
from hsi.explain.modified import guided_relu, replaced
from hsi.explain.score import chosen_classes, score_of

STRONGEST = -1
"""Stands for the channel with the largest mean."""


def attribute(
    model: Any,
    inputs: np.ndarray,
    *,
    classes: int | np.ndarray | None = None,
    batch_size: int | None = None,
    seed: int = 0,
    layer: str | None = None,
    channel: int | None = None,
) -> Attribution:
    """Guided gradients of the mean of a feature map.

    Args:
        model: a functional or sequential `tf_keras` model, or what is `Layered`.
        inputs: (n, rows, cols, channels) samples as the network takes them.
        classes: only says whose score is reported beside the map.
        batch_size: most rows at once; see `hsi.explain.attribution.rows_at_once`.
        seed: not used, there is nothing random here; part of the common signature.
        layer: by name; None takes the last convolution (of a network without any, the layer
            before the last one).
        channel: of the layer, from 0; None takes the one with the largest mean, for each sample.

    Raises:
        SettingsError: no samples, or a class or channel out of range.
        ModelError: no such layer, a network that does not show its layers, or samples that do not
            fit it.
    """
    score = score_of(model)
    inputs = score.prepare(inputs)
    explained, scores = chosen_classes(score, inputs, classes, batch_size=batch_size)
    view, notes = replaced(score, guided_relu, method="layer_attention")
    chosen = _chosen_layer(view.describe(inputs.shape[1:]), layer)
    count = chosen.shape[-1] or 0
    if channel is not None and not 0 <= channel < count:
        raise SettingsError(
            f"Expected a channel of layer {chosen.name} from 0 to {count - 1}, got {channel}."
        )
    asked = np.full(len(inputs), STRONGEST if channel is None else channel, np.int32)
    step = score.compiled(
        f"layer_attention of {chosen.name}", lambda _: _attention_step(view, chosen.name)
    )
    maps, channels = in_batches(step, inputs, asked, batch_size=batch_size)
    return make_attribution(
        maps,
        explained,
        scores,
        method="layer_attention",
        notes=(*score.notes, *notes, _what(chosen, channels, channel)),
    )


def _chosen_layer(infos: list[LayerInfo] | Any, name: str | None) -> LayerInfo:
    if name is not None:
        return find_layer(infos, name)
    convolutions = [info for info in infos if info.convolution]
    return find_layer(infos, convolutions[-1].activated) if convolutions else infos[-2:][0]


def _what(layer: LayerInfo, channels: np.ndarray, asked: int | None) -> str:
    """One line on what the maps are of."""
    if asked is None:
        which = ", ".join(map(str, channels[:8])) + (" ..." if len(channels) > 8 else "")
        which = f"the strongest channel of each sample ({which})"
    else:
        which = f"channel {asked}"
    return f"explained is no class but the mean of {which} of layer {layer.name}"


def _attention_step(
    network: Layered, layer: str
) -> Callable[[tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
    def step(inputs: tf.Tensor, asked: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            _, (features,) = network.forward(inputs, [layer])
            means = tf.reduce_mean(features, axis=list(range(1, features.shape.rank - 1)))
            channel = tf.where(
                asked == STRONGEST, tf.argmax(means, axis=1, output_type=tf.int32), asked
            )
            picked = tf.reduce_sum(
                means * tf.one_hot(channel, tf.shape(means)[1], dtype=means.dtype)
            )
        return tape.gradient(picked, inputs, unconnected_gradients="zero"), channel

    return step
