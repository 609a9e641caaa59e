"""The definitions as they are written down: one sample, one point, one pass at a time, uncompiled.

Slow, and what every answer is held against. `cao` in double precision.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from common import NETWORKS, Contestant, Job, serve
from plain_tensorflow import Relu, forward_of, guided_relu


def make(name: str) -> Contestant:
    network = NETWORKS[name]
    dtype = "float64" if name == "cao" else "float32"
    forward = forward_of(network, dtype)

    def slope(x: np.ndarray, klass: int, relu: Relu = tf.nn.relu) -> np.ndarray:
        point = tf.constant(x[None], dtype)
        with tf.GradientTape() as tape:
            tape.watch(point)
            score = forward(point, relu)[0][0, klass]
        return tape.gradient(score, point)[0].numpy()

    def gradcam(x: np.ndarray, klass: int) -> np.ndarray:
        point = tf.constant(x[None], dtype)
        with tf.GradientTape() as tape:
            tape.watch(point)
            logits, maps = forward(point)
            score = logits[0, klass]
        features = maps[network.layer]
        slopes = tape.gradient(score, features)[0].numpy()
        cam = sum(
            slopes[..., k].mean() * features[0, ..., k].numpy() for k in range(slopes.shape[-1])
        )
        small = tf.constant(np.maximum(cam, 0)[..., None])
        wide = tf.image.resize(small, network.shape[:2]).numpy()
        return np.broadcast_to(wide, network.shape)

    def smoothgrad(x: np.ndarray, klass: int, draws: np.ndarray) -> np.ndarray:
        total = np.zeros(x.shape)
        for draw in draws:
            total += slope(x + draw, klass)
        return total / len(draws)

    def integrated_gradient(x: np.ndarray, klass: int, job: Job) -> np.ndarray:
        total = np.zeros(x.shape)
        for place, weight in zip(*np.polynomial.legendre.leggauss(job.copies), strict=True):
            total += weight / 2 * slope(x * (place + 1) / 2, klass)
        return x * total

    def each(job: Job, maps) -> np.ndarray:
        return np.stack([maps(x, k) for x, k in zip(job.inputs, job.classes, strict=True)])

    return Contestant(
        {
            "gradient": lambda job, rows: each(job.first(rows), slope),
            "smoothgrad": lambda job, rows: each(
                job.first(rows), lambda x, k: smoothgrad(x, k, job.draws)
            ),
            "integrated_gradient": lambda job, rows: each(
                job.first(rows), lambda x, k: integrated_gradient(x, k, job)
            ),
            "gradcam": lambda job, rows: each(job.first(rows), gradcam),
            "guided_backprop": lambda job, rows: each(
                job.first(rows), lambda x, k: slope(x, k, guided_relu)
            ),
        },
        ("tensorflow",),
        {},
    )


if __name__ == "__main__":
    serve(make)
