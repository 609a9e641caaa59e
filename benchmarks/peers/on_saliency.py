"""saliency (PAIR), from an environment of its own.

It takes one sample and a function that calls the model. As its examples have it that function is
not compiled; as tuned it is, and integrated gradients take `rows` points at once.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any
from unittest import mock

import keras
import numpy as np
import saliency.core as saliency
import tensorflow as tf
from common import NETWORKS, SCALED, Contestant, Draws, Job, keras_model, serve

INPUT = saliency.INPUT_OUTPUT_GRADIENTS
VALUES, GRADIENTS = saliency.CONVOLUTION_LAYER_VALUES, saliency.CONVOLUTION_OUTPUT_GRADIENTS


def same_noise(draws: np.ndarray) -> AbstractContextManager[Callable[..., np.ndarray]]:
    held = Draws(draws)

    def normal(mean: float, deviation: float, shape: tuple[int, ...]) -> np.ndarray:
        return held.next(1)[0]

    return mock.patch("numpy.random.normal", normal)


def make(name: str) -> Contestant:
    network = NETWORKS[name]
    model = keras_model(keras, network)
    both = keras.Model(model.inputs, [model.get_layer(network.layer).output, model.output])

    def input_slopes(x: tf.Tensor, klass: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(x)
            score = tf.gather(model(x), klass, axis=1)
        return tape.gradient(score, x)

    def layer_slopes(x: tf.Tensor, klass: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(x)
            values, logits = both(x)
            score = tf.gather(logits, klass, axis=1)
        return values, tape.gradient(score, values)

    def caller(inputs: Callable[..., Any], layer: Callable[..., Any]) -> Callable[..., Any]:
        def call(x: np.ndarray, call_model_args: Any = None, expected_keys: Any = None) -> Any:
            x, klass = tf.convert_to_tensor(x, tf.float32), tf.constant(call_model_args)
            if expected_keys == [INPUT]:
                return {INPUT: inputs(x, klass)}
            values, slopes = layer(x, klass)
            return {VALUES: values, GRADIENTS: slopes}

        return call

    shapes = (tf.TensorSpec((None, *network.shape), tf.float32), tf.TensorSpec((), tf.int32))
    as_shown = caller(input_slopes, layer_slopes)
    compiled = caller(tf.function(input_slopes, shapes), tf.function(layer_slopes, shapes))

    def each(explain: Callable[..., np.ndarray], job: Job, rows: int | None) -> np.ndarray:
        call = as_shown if rows is None else compiled
        pairs = zip(job.inputs, job.classes.tolist(), strict=True)
        return np.stack([explain(x, call, klass) for x, klass in pairs])

    def smoothgrad(job: Job, rows: int | None) -> np.ndarray:
        options = {"nsamples": job.copies, "stdev_spread": job.share(), "magnitude": False}
        smoothed = saliency.GradientSaliency().GetSmoothedMask
        return each(lambda *given: smoothed(*given, **options), job, rows)

    def integrated_gradient(job: Job, rows: int | None) -> np.ndarray:
        options = {"x_steps": job.copies, "batch_size": rows or 1}
        along = saliency.IntegratedGradients().GetMask
        return each(lambda *given: along(*given, **options), job, rows)

    def gradcam(job: Job, rows: int | None) -> np.ndarray:
        cam = saliency.GradCam().GetMask
        return each(lambda *given: cam(*given, three_dims=False)[..., None], job, rows)

    return Contestant(
        {
            "gradient": lambda job, rows: each(saliency.GradientSaliency().GetMask, job, rows),
            "smoothgrad": smoothgrad,
            "integrated_gradient": integrated_gradient,
            "gradcam": gradcam,
        },
        ("saliency", "tensorflow", "keras"),
        {
            "smoothgrad": "noise given; its own is a share of the range of each sample",
            "integrated_gradient": "mean of the points, both ends among them",
            "gradcam": f"{SCALED}, enlarged by scikit-image",
        },
        same_noise,
    )


if __name__ == "__main__":
    serve(make)
