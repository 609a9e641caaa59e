"""Class images: the input that a class likes best, found by climbing its logit.

    x <- x + rate * g / rms(g),
    g = d/dx [ logit_c(x) - l2 * mean(x^2) - total_variation * TV(x) - spectral_variation * SV(x) ]

TV is the mean squared difference of neighbouring pixels, SV that of neighbouring channels; the rate
falls to zero over the steps. Each step may look at the image shifted by a few pixels (jitter), so
that no detail is tied to one place. Where it is flat all around (of a network without biases at
zero), the step goes in a random direction, the same for every class.

What comes out shows the network's idea of a class, not a real spectrum; compare variants from the
same start and seed.

Source: Erhan, Bengio, Courville, Vincent, "Visualizing Higher-Layer Features of a Deep Network",
2009; total variation and jitter: Mahendran and Vedaldi 2015, Mordvintsev et al. 2015.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from hsi.errors import ModelError, SettingsError, one_of
from hsi.explain.attribution import in_batches
from hsi.explain.keras_layers import check_places
from hsi.explain.score import Score, as_classes, check_classes, score_of

STARTS = ("zero", "mean", "noise")


@dataclass(frozen=True, eq=False)
class ClassImages:
    """Images that the network gives a high score.

    Attributes:
        images: (n, rows, cols, channels) float32, at the scale of the network's input.
        classes: (n,) class index of each.
        scores: (n,) logits of these classes.
        start_scores: (n,) logits of the images that the climb began with.
        notes: one line for each thing that the reader of a picture must know.
    """

    images: np.ndarray
    classes: np.ndarray
    scores: np.ndarray
    start_scores: np.ndarray
    notes: tuple[str, ...] = ()


def images(
    model: Any,
    inputs: np.ndarray | None = None,
    *,
    classes: int | np.ndarray | None = None,
    batch_size: int | None = None,
    seed: int = 0,
    start: str | np.ndarray = "zero",
    steps: int = 200,
    rate: float = 0.01,
    l2: float = 0.1,
    total_variation: float = 0.1,
    spectral_variation: float = 0.0,
    jitter: int | None = None,
) -> ClassImages:
    """One image for each class.

    Args:
        model: a `tf_keras` model, or a differentiable callable to logits (n, k).
        inputs: (m, rows, cols, channels) samples; needed for the start "mean", and where the
            network does not say what shape it takes.
        classes: class indices (n,), or one; None takes every class of the network.
        batch_size: most rows at once; see `hsi.explain.attribution.rows_at_once`.
        seed: of the noise and of the jitter.
        start: "zero", "mean" (of the inputs), "noise" (a tenth of standard normal), or an array
            that broadcasts to (rows, cols, channels).
        steps: of the climb.
        rate: size of the first step, root mean square over the image, in units of the input. The
            climb ends no further than rate * (steps + 1) / 2 from its start: by default about one
            standard deviation of standardised inputs.
        l2, total_variation, spectral_variation: how much each costs, in logits.
        jitter: most pixels of a shift; None takes a thirty-second of the side, so none of a patch.

    Raises:
        SettingsError: a class out of range, a start that cannot be, or negative numbers.
        ModelError: a network that does not say what shape it takes, and no inputs; or whose
            channels are not last.
    """
    costs = (l2, total_variation, spectral_variation)
    if steps < 1 or not rate > 0 or min(costs) < 0 or (jitter or 0) < 0:
        raise SettingsError(
            f"Expected at least 1 step, a rate above 0, and no negative cost or jitter, got "
            f"{steps}, {rate}, {costs} and {jitter}."
        )
    score = score_of(model)
    check_places(score)
    shape = _shape(score, inputs)
    begin = _start(score, shape, start, inputs, seed=seed)
    wanted = _wanted(score, begin, classes)
    rng = np.random.default_rng(seed)
    most = min(shape[:2]) // 32 if jitter is None else jitter
    shifts = rng.integers(-most, most + 1, (steps, 2)).astype(np.int32)
    nudge = rng.standard_normal(shape).astype(score.dtype)
    step = score.compiled("class_image", _climb_step)

    def climb(rows: np.ndarray, aims: np.ndarray) -> list[np.ndarray]:
        image = tf.constant(rows)
        for i in range(steps):
            size = np.asarray(rate * (1 - i / steps), rows.dtype)
            image = step(image, aims, shifts[i], size, np.asarray(costs, rows.dtype), nudge)
        return [image.numpy(), score.logits(rows), score.logits(image.numpy())]

    first = np.repeat(begin[None], len(wanted), axis=0)
    found, before, after = in_batches(climb, first, wanted, batch_size=batch_size)
    rows = np.arange(len(wanted))
    scores, start_scores = after[rows, wanted], before[rows, wanted]
    notes = [
        f"the climb did not raise the logit of class index {wanted[i]}"
        for i in np.flatnonzero(~(scores > start_scores))
    ]
    return ClassImages(
        np.asarray(found, np.float32),
        wanted.astype(np.int64),
        np.asarray(scores, np.float32),
        np.asarray(start_scores, np.float32),
        (*score.notes, *notes),
    )


def _shape(score: Score, inputs: np.ndarray | None) -> tuple[int, ...]:
    """(rows, cols, channels) of an image."""
    shape = np.shape(inputs)[1:] if inputs is not None else score.input_shape
    if len(shape) != 3 or None in shape:
        raise ModelError(
            f"Expected a network that takes rows x cols x channels, it says {shape or 'nothing'}; "
            "hand over inputs of the size wanted."
        )
    return tuple(int(size) for size in shape)  # type: ignore[arg-type]


def _start(
    score: Score,
    shape: tuple[int, ...],
    start: str | np.ndarray,
    inputs: np.ndarray | None,
    *,
    seed: int,
) -> np.ndarray:
    if isinstance(start, str):
        one_of(start, STARTS, what="start")
        if start == "mean" and inputs is None:
            raise SettingsError("start mean: expected inputs to take the mean of, got none.")
        values = {
            "zero": lambda: np.zeros(shape),
            "mean": lambda: np.mean(inputs, axis=0),  # type: ignore[arg-type]
            "noise": lambda: 0.1 * np.random.default_rng([seed, 1]).standard_normal(shape),
        }[start]()
    else:
        try:
            values = np.broadcast_to(np.asarray(start), shape)
        except ValueError:
            raise SettingsError(
                f"Expected a start of shape {shape}, got {np.shape(start)}."
            ) from None
    return score.prepare(np.asarray(values, score.dtype)[None])[0]


def _wanted(score: Score, begin: np.ndarray, classes: int | np.ndarray | None) -> np.ndarray:
    count = score.logits(begin[None]).shape[1]
    if classes is None:
        return np.arange(count, dtype=np.int32)
    wanted = as_classes(np.atleast_1d(classes), np.size(classes))
    check_classes(wanted, count)
    return wanted


def _climb_step(score: Score) -> Callable[..., tf.Tensor]:
    def step(
        images: tf.Tensor,
        wanted: tf.Tensor,
        shift: tf.Tensor,
        rate: tf.Tensor,
        costs: tf.Tensor,
        nudge: tf.Tensor,
    ) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(images)
            logits = score(tf.roll(images, shift, axis=[1, 2]))
            chosen = tf.one_hot(wanted, tf.shape(logits)[1], dtype=logits.dtype)
            aim = tf.reduce_sum(logits * chosen, axis=1)
            rough = _roughness(images, 1) + _roughness(images, 2)
            cost = costs[0] * tf.reduce_mean(images**2, axis=[1, 2, 3])
            cost += costs[1] * rough + costs[2] * _roughness(images, 3)
            total = tf.reduce_sum(aim - cost)
        slope = tape.gradient(total, images, unconnected_gradients="zero")
        size = tf.sqrt(tf.reduce_mean(slope**2, axis=[1, 2, 3], keepdims=True))
        return images + rate * tf.where(size > 0, tf.math.divide_no_nan(slope, size), nudge)

    return step


def _roughness(images: tf.Tensor, axis: int) -> tf.Tensor:
    """Mean squared difference of neighbours along an axis, (n,); 0 where there are none."""
    size = images.shape[axis]
    if size is not None and size < 2:
        return tf.zeros(tf.shape(images)[:1], images.dtype)
    count = tf.shape(images)[axis]
    upper = tf.gather(images, tf.range(1, count), axis=axis)
    lower = tf.gather(images, tf.range(0, count - 1), axis=axis)
    return tf.reduce_mean((upper - lower) ** 2, axis=[1, 2, 3])
