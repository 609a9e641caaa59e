"""Compiled functions as someone writes them who needs one method for one network, and knows how."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from common import NETWORKS, Contestant, Job, Network, serve, sliced
from plain_tensorflow import Forward, Relu, forward_of, guided_relu

ROWS = 64
"""Rows at once as written, before anyone looks for a better number."""


class Steps:
    """The compiled steps; each is traced once, for any number of rows."""

    def __init__(self, network: Network) -> None:
        self.layer, self.sizes = network.layer, network.shape[:2]
        self.forward: Forward = forward_of(network)
        rows = tf.TensorSpec((None, *network.shape), tf.float32)
        classes = tf.TensorSpec((None,), tf.int32)
        shares = tf.TensorSpec((None,), tf.float32)
        self.gradient = tf.function(self._gradient, (rows, classes))
        self.guided = tf.function(self._guided, (rows, classes))
        self.gradcam = tf.function(self._gradcam, (rows, classes))
        self.noisy = tf.function(self._noisy, (rows, classes, rows))
        self.path = tf.function(self._path, (rows, classes, shares, shares))

    def _slopes(self, x: tf.Tensor, classes: tf.Tensor, relu: Relu = tf.nn.relu) -> tf.Tensor:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(x)
            logits, _ = self.forward(x, relu)
            score = tf.gather(logits, classes, batch_dims=1)
        return tape.gradient(score, x)

    def _gradient(self, x: tf.Tensor, classes: tf.Tensor) -> tf.Tensor:
        return self._slopes(x, classes)

    def _guided(self, x: tf.Tensor, classes: tf.Tensor) -> tf.Tensor:
        return self._slopes(x, classes, guided_relu)

    def _gradcam(self, x: tf.Tensor, classes: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(x)
            logits, maps = self.forward(x)
            score = tf.gather(logits, classes, batch_dims=1)
        features = maps[self.layer]
        weights = tf.reduce_mean(tape.gradient(score, features), axis=(1, 2), keepdims=True)
        cam = tf.nn.relu(tf.reduce_sum(weights * features, axis=3, keepdims=True))
        return tf.image.resize(cam, self.sizes)

    def _noisy(self, x: tf.Tensor, classes: tf.Tensor, draws: tf.Tensor) -> tf.Tensor:
        """Sums over the draws."""
        copies = tf.shape(draws)[0]
        points = tf.reshape(x[:, None] + draws[None], tf.concat([[-1], tf.shape(x)[1:]], 0))
        slopes = self._slopes(points, tf.repeat(classes, copies))
        return tf.reduce_sum(tf.reshape(slopes, (-1, copies, *x.shape[1:])), axis=1)

    def _path(
        self, x: tf.Tensor, classes: tf.Tensor, places: tf.Tensor, weights: tf.Tensor
    ) -> tf.Tensor:
        """Weighted sums over places on the way from zero."""
        copies = tf.shape(places)[0]
        points = x[:, None] * places[None, :, None, None, None]
        points = tf.reshape(points, tf.concat([[-1], tf.shape(x)[1:]], 0))
        slopes = self._slopes(points, tf.repeat(classes, copies))
        return tf.einsum("ncijk,c->nijk", tf.reshape(slopes, (-1, copies, *x.shape[1:])), weights)


def make(name: str) -> Contestant:
    steps = Steps(NETWORKS[name])
    steps.forward(tf.zeros((1, *NETWORKS[name].shape)))

    def one_pass(step: tf.types.experimental.PolymorphicFunction, job: Job, rows: int | None):
        return sliced(job, rows or ROWS, lambda part: step(part.inputs, part.classes))

    def smoothgrad(job: Job, rows: int | None) -> np.ndarray:
        size = min(job.copies, rows or ROWS)

        def total(part: Job) -> np.ndarray:
            chunks = [job.draws[at : at + size] for at in range(0, job.copies, size)]
            return sum(steps.noisy(part.inputs, part.classes, c).numpy() for c in chunks)

        return sliced(job, max(1, (rows or ROWS) // job.copies), total) / job.copies

    def integrated_gradient(job: Job, rows: int | None) -> np.ndarray:
        places, weights = np.polynomial.legendre.leggauss(job.copies)
        places = ((places + 1) / 2).astype(np.float32)
        weights = (weights / 2).astype(np.float32)
        size = min(job.copies, rows or ROWS)

        def total(part: Job) -> np.ndarray:
            chunks = [slice(at, at + size) for at in range(0, job.copies, size)]
            found = sum(
                steps.path(part.inputs, part.classes, places[c], weights[c]).numpy() for c in chunks
            )
            return found * part.inputs

        return sliced(job, max(1, (rows or ROWS) // job.copies), total)

    return Contestant(
        {
            "gradient": lambda job, rows: one_pass(steps.gradient, job, rows),
            "smoothgrad": smoothgrad,
            "integrated_gradient": integrated_gradient,
            "gradcam": lambda job, rows: one_pass(steps.gradcam, job, rows),
            "guided_backprop": lambda job, rows: one_pass(steps.guided, job, rows),
        },
        ("tensorflow",),
        {},
    )


if __name__ == "__main__":
    serve(make)
