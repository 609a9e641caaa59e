"""Occlusion: how much the score falls when a part of the sample is covered.

    map at a value = mean over the windows w that cover it of  logit_c(x) - logit_c(x without w)

where "without" puts a baseline into the window. The window can be of pixels (spatial), of channels
(spectral) or of both. Nothing but answers is needed, so any black box can be explained; the price
is a pass for each window.

Source: Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", 2014.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np

from hsi.errors import SettingsError
from hsi.explain.attribution import Attribution, Per, in_chunks, make_attribution, rows_at_once
from hsi.explain.baselines import Baseline, baseline_of
from hsi.explain.keras_layers import check_places
from hsi.explain.score import chosen_classes, score_of

Sizes = int | tuple[int, int]


def attribute(
    model: Any,
    inputs: np.ndarray,
    *,
    classes: int | np.ndarray | None = None,
    batch_size: int | None = None,
    seed: int = 0,
    size: Sizes | None = None,
    stride: Sizes | None = None,
    channels: int | None = None,
    channel_stride: int | None = None,
    baseline: Baseline = "zero",
) -> Attribution:
    """Falls of the logit under windows, in units of the logit.

    Args:
        model: a `tf_keras` model, a callable to logits (n, k), or a `Score` around a black box.
        inputs: (n, rows, cols, channels) samples as the network takes them.
        classes: class index 0..k-1, one for all or (n,); None explains the predicted class.
        batch_size: most rows (covered copies) at once; see `hsi.explain.attribution.rows_at_once`.
        seed: not used, there is nothing random here; part of the common signature.
        size: rows and cols of the window, 0 for all; None covers single pixels of a patch, a
            fourteenth of the side of a photograph, or everything where `channels` is given.
        stride: rows and cols from one window to the next; None takes half the window.
        channels: channels that the window covers; None covers all of them.
        channel_stride: channels from one window to the next; None takes half the window.
        baseline: see `hsi.explain.baselines.baseline_of`.

    Raises:
        SettingsError: no samples, a class out of range, or a window that does not fit the sample.
        ModelError: samples that do not fit the network, or do not have their channels last.
    """
    score = score_of(model)
    inputs = score.prepare(inputs)
    if inputs.ndim != 4:
        raise SettingsError(
            f"Expected samples of rows x cols x channels to cover, got shape {inputs.shape}."
        )
    check_places(score)
    shape = inputs.shape[1:]
    window, steps = _window(shape, size, stride, channels, channel_stride)
    boxes = windows(shape, window, steps)
    batch_size = rows_at_once(inputs.shape[1:], batch_size)
    explained, scores = chosen_classes(score, inputs, classes, batch_size=batch_size)
    empty = baseline_of(inputs, baseline)

    def covered(numbers: np.ndarray) -> np.ndarray:
        rows = inputs[numbers // len(boxes)]
        for row, number in zip(rows, numbers, strict=True):
            box = boxes[number % len(boxes)]
            row[box] = empty[number // len(boxes)][box]
        return rows

    logits = in_chunks(len(inputs) * len(boxes), covered, score.logits, batch_size=batch_size)
    logits = logits.reshape(len(inputs), len(boxes), -1)
    falls = scores[:, None] - np.take_along_axis(logits, explained[:, None, None], axis=2)[..., 0]
    maps, count = np.zeros(inputs.shape), np.zeros(shape)
    for place, box in enumerate(boxes):
        maps[(slice(None), *box)] += falls[:, place].reshape(-1, 1, 1, 1)
        count[box] += 1
    covers = " x ".join(map(str, window))
    return make_attribution(
        maps / count,
        explained,
        scores,
        method="occlusion",
        notes=(*score.notes, f"{len(boxes)} windows of {covers} (rows, cols, channels)"),
        quantity="contribution",
        per=_per(window, shape),
    )


def windows(
    shape: tuple[int, ...], size: tuple[int, ...], stride: tuple[int, ...]
) -> list[tuple[slice, ...]]:
    """Boxes of that size over the sample; the last along an axis ends where the axis does.

    Example:
        >>> [box[0] for box in windows((5, 1, 1), (2, 1, 1), (2, 1, 1))]
        [slice(0, 2, None), slice(2, 4, None), slice(3, 5, None)]
    """
    starts = [
        sorted({*range(0, whole - part + 1, step), whole - part})
        for whole, part, step in zip(shape, size, stride, strict=True)
    ]
    return [
        tuple(slice(at, at + part) for at, part in zip(corner, size, strict=True))
        for corner in product(*starts)
    ]


def _per(window: tuple[int, ...], shape: tuple[int, ...]) -> Per:
    """What windows of that size tell apart."""
    if window[2] == shape[2]:
        return "pixel"
    return "channel" if window[:2] == shape[:2] else "value"


def _window(
    shape: tuple[int, ...],
    size: Sizes | None,
    stride: Sizes | None,
    channels: int | None,
    channel_stride: int | None,
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Size and stride of the window along rows, cols and channels."""
    if size is None:
        size = 0 if channels is not None else (max(1, shape[0] // 14), max(1, shape[1] // 14))
    sizes = (size, size) if isinstance(size, int) else tuple(size)
    asked = (*sizes, channels or 0)
    window = tuple(part or whole for part, whole in zip(asked, shape, strict=True))
    given = (stride, stride) if stride is None or isinstance(stride, int) else tuple(stride)
    steps = tuple(
        max(1, part // 2) if step is None else step
        for step, part in zip((*given, channel_stride), window, strict=True)
    )
    fits = all(1 <= part <= whole for part, whole in zip(window, shape, strict=True))
    reaches = all(1 <= step <= part for step, part in zip(steps, window, strict=True))
    if not fits or not reaches:
        raise SettingsError(
            f"Expected a window within {shape} (rows, cols, channels) and strides from 1 to its "
            f"size, got {window} and {steps}."
        )
    return window, steps
