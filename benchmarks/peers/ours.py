"""This project, called as its users call it: on a `tf_keras` model with a softmax."""

from __future__ import annotations

from typing import Any

import numpy as np
import tf_keras as keras
from common import NETWORKS, NOISE, Contestant, Job, keras_model, serve

from hsi.explain import attribute


def make(name: str) -> Contestant:
    network = NETWORKS[name]
    model = keras_model(keras, network, head="softmax")

    def maps(method: str, job: Job, rows: int | None, **options: Any) -> np.ndarray:
        given = {} if rows is None else {"batch_size": rows}
        return attribute(
            method, model, job.inputs, classes=job.classes, seed=0, **given, **options
        ).maps

    def smoothgrad(job: Job, rows: int | None) -> np.ndarray:
        ranges = np.full(network.shape[-1], job.spread, np.float32)
        return maps("smoothgrad", job, rows, samples=job.copies, noise=NOISE, ranges=ranges)

    def integrated_gradient(job: Job, rows: int | None) -> np.ndarray:
        return maps("integrated_gradient", job, rows, points=job.copies, most_points=job.copies)

    return Contestant(
        {
            "gradient": lambda job, rows: maps("gradient", job, rows),
            "smoothgrad": smoothgrad,
            "integrated_gradient": integrated_gradient,
            "gradcam": lambda job, rows: maps("gradcam", job, rows, layer=network.layer),
            "guided_backprop": lambda job, rows: maps("guided_backprop", job, rows),
        },
        ("tensorflow", "tf-keras"),
        {"integrated_gradient": "points are not raised"},
    )


if __name__ == "__main__":
    serve(make)
