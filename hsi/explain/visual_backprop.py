"""VisualBackProp: where the feature maps of all convolutions are active at once.

Every convolution's map is averaged over its channels; from the last to the first, the running mask
is spread over what its convolution sees (a transposed convolution with a kernel of ones), brought
to the size of the average before it, and multiplied with that average.

Only activations are looked at: no gradient, and no class. The map is the same whatever class is
asked for, so it shows what the network notices, not why it decides. Values are scaled to a maximum
of 1 for each sample; a dead map stays zero.

Source: Bojarski et al., "VisualBackProp: efficient visualization of CNNs for autonomous driving",
2016.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from hsi.errors import ModelError
from hsi.explain.attribution import Attribution, in_batches, make_attribution
from hsi.explain.keras_layers import check_places, layered_of
from hsi.explain.layered import Layered, LayerInfo
from hsi.explain.resize import along_axes, resized, to_input, window_matrices
from hsi.explain.score import PREDICTED, as_classes, check_classes, score_of


def attribute(
    model: Any,
    inputs: np.ndarray,
    *,
    classes: int | np.ndarray | None = None,
    batch_size: int | None = None,
    seed: int = 0,
) -> Attribution:
    """Masks of 0..1 over the pixels, the same in all channels.

    Args:
        model: a functional or sequential `tf_keras` model, or what is `Layered`.
        inputs: (n, rows, cols, channels) samples as the network takes them.
        classes: only says whose score is reported beside the map.
        batch_size: most rows at once; see `hsi.explain.attribution.rows_at_once`.
        seed: not used, there is nothing random here; part of the common signature.

    Raises:
        SettingsError: no samples, or a class out of range.
        ModelError: a network without convolutions or that does not show its layers, or samples
            that do not fit it or do not have their channels last.
    """
    score = score_of(model)
    inputs = score.prepare(inputs)
    wanted = as_classes(classes, len(inputs))
    network = layered_of(score, method="visual_backprop")
    check_places(score)
    stack = [info for info in network.describe(inputs.shape[1:]) if info.convolution]
    if not stack:
        raise ModelError("visual_backprop multiplies maps of convolutions, this network has none.")
    names = list(dict.fromkeys(info.activated for info in stack))
    step = score.compiled("visual_backprop", lambda _: _average_step(network, names))
    logits, *averages = in_batches(step, inputs, batch_size=batch_size)
    check_classes(wanted, logits.shape[1])
    explained = np.where(wanted == PREDICTED, logits.argmax(axis=1), wanted)
    found = dict(zip(names, averages, strict=True))
    mask = backward(stack, [found[info.activated] for info in stack])
    wide, per = to_input(mask, inputs.shape[1:])
    notes = ["the map hangs on no class: it shows where all convolutions are active"]
    if all(info.flat for info in stack):
        notes.append("every convolution's map is 1 x 1: no places are told apart")
    return make_attribution(
        _scaled(wide),
        explained,
        np.take_along_axis(logits, explained[:, None], axis=1)[:, 0],
        method="visual_backprop",
        notes=(*score.notes, *notes),
        quantity="relevance",
        per=per,
    )


def backward(stack: Sequence[LayerInfo], averages: Sequence[np.ndarray]) -> np.ndarray:
    """The mask at the first convolution's input, (n, ...), from averages (n, ...) of the maps.

    Each factor is scaled to a maximum of 1, which a product of many needs to stay a number.
    """
    mask = _scaled(averages[-1])
    for place in range(len(stack) - 1, -1, -1):
        info = stack[place]
        if info.window is not None and len(info.window.sizes) == mask.ndim - 1:
            mask = along_axes(mask, window_matrices(info.window, mask.shape[1:]))
        if place:
            before = _scaled(averages[place - 1])
            mask = _scaled(_fitted(mask, before.shape[1:]) * before)
    return mask


def _fitted(mask: np.ndarray, sizes: tuple[int, ...]) -> np.ndarray:
    """The mask at another size; axes that only one of both has are averaged or repeated."""
    while mask.ndim - 1 > len(sizes):
        mask = mask.mean(axis=-1)
    while mask.ndim - 1 < len(sizes):
        mask = mask[..., None]
    return resized(mask, sizes)


def _scaled(maps: np.ndarray) -> np.ndarray:
    """Every sample to a largest magnitude of 1; zero stays zero."""
    maps = np.asarray(maps, np.float64)
    largest = np.abs(maps).max(axis=tuple(range(1, maps.ndim)), keepdims=True)
    return np.divide(maps, largest, out=np.zeros_like(maps), where=largest > 0)


def _average_step(network: Layered, names: list[str]) -> Callable[..., list[tf.Tensor]]:
    def step(inputs: tf.Tensor) -> list[tf.Tensor]:
        logits, maps = network.forward(inputs, names)
        return [logits, *(tf.reduce_mean(m, axis=-1) for m in maps)]

    return step
