"""Xplique, from an environment of its own; `rows` is its `batch_size`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any
from unittest import mock

import keras
import numpy as np
import tensorflow as tf
from common import MAGNITUDES, NETWORKS, Contestant, Draws, Job, keras_model, one_hot, serve
from xplique import attributions
from xplique.attributions.gradient_statistics.gradient_statistic import GradientStatistic


def same_noise(draws: np.ndarray) -> AbstractContextManager[Callable[..., tf.Tensor]]:
    held = Draws(draws)

    def perturbed(inputs: tf.Tensor, count: int, noise: float) -> tf.Tensor:
        copies = inputs[:, None] + held.next(count)[None]
        return tf.reshape(copies, (-1, *inputs.shape[1:]))

    return mock.patch.object(GradientStatistic, "_perturb_samples", staticmethod(perturbed))


def make(name: str) -> Contestant:
    network = NETWORKS[name]
    model = keras_model(keras, network)
    explainers: dict[tuple[str, int | None, int], Any] = {}

    def maps(kind: str, job: Job, rows: int | None, **options: Any) -> np.ndarray:
        key = (kind, rows, job.copies)
        if key not in explainers:
            given = {} if rows is None else {"batch_size": rows}
            explainers[key] = getattr(attributions, kind)(model, **given, **options)
        targets = one_hot(job.classes, network.classes)
        return explainers[key].explain(job.inputs, targets).numpy()

    def smoothgrad(job: Job, rows: int | None) -> np.ndarray:
        return maps(
            "SmoothGrad", job, rows, reducer=None, nb_samples=job.copies, noise=job.deviation
        )

    def integrated_gradient(job: Job, rows: int | None) -> np.ndarray:
        return maps("IntegratedGradients", job, rows, reducer=None, steps=job.copies)

    return Contestant(
        {
            "gradient": lambda job, rows: maps("Saliency", job, rows, reducer=None),
            "smoothgrad": smoothgrad,
            "integrated_gradient": integrated_gradient,
            "gradcam": lambda job, rows: maps("GradCAM", job, rows, conv_layer=network.layer),
            "guided_backprop": lambda job, rows: maps("GuidedBackprop", job, rows, reducer=None),
        },
        ("xplique", "tensorflow", "keras"),
        {
            "gradient": MAGNITUDES,
            "smoothgrad": "noise given",
            "integrated_gradient": "trapezoid rule",
            "gradcam": "enlarged by bicubic interpolation",
        },
        same_noise,
    )


if __name__ == "__main__":
    serve(make)
