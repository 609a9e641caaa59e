"""Knowledge distillation: a student learns the teacher's scores beside the true classes.

    loss = share * T^2 * KL(teacher_T || student_T) + (1 - share) * cross-entropy(classes, student)

with scores softened by the temperature T: p_T = softmax(logits / T). The factor T^2 keeps the
gradient of the first term of one size whatever T is. Source: Hinton, Vinyals, Dean, "Distilling
the knowledge in a neural network", 2015 (arXiv 1503.02531).

A softmax's logits are its logarithms up to a constant that a softmax takes away again; so teacher
and student are used as they are, and a `.tflite` file can teach as well as a Keras model.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from hsi.errors import SettingsError
from hsi.predict import Forward

TEMPERATURE = 4.0
SHARE = 0.9
"""Of the teacher's term; the rest are the true classes."""
LEAST = 1e-12
"""A probability below is taken for this: its logarithm must stay finite."""


@dataclass(frozen=True, eq=False)
class Distillation:
    """What a student is trained for, in the place of cross-entropy alone; see `hsi.train.train`.

    Attributes:
        teacher: inputs (n, ...) -> class probabilities (n, classes): any variant.
        temperature: above 0; the larger, the more the teacher's small scores count.
        share: 0..1, of the teacher's term.
    """

    teacher: Forward
    temperature: float = TEMPERATURE
    share: float = SHARE

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise SettingsError(f"temperature: expected above 0, got {self.temperature:g}.")
        if not 0 <= self.share <= 1:
            raise SettingsError(f"share of the teacher: expected 0 to 1, got {self.share:g}.")

    def targets(self, inputs: np.ndarray, classes: np.ndarray) -> np.ndarray:
        """What `loss` is given: (n, 1 + classes), the class index and the teacher's log scores."""
        taught = np.log(np.maximum(self.teacher(inputs), LEAST))
        return np.concatenate([classes[:, None].astype(np.float32), taught], axis=1)

    def loss(self, targets: tf.Tensor, probabilities: tf.Tensor) -> tf.Tensor:
        """(n, 1 + classes) targets, (n, classes) of the student -> (n,) losses."""
        classes, taught = tf.cast(targets[:, 0], tf.int32), targets[:, 1:]
        learnt = tf.math.log(tf.maximum(probabilities, LEAST))
        soft, hot = (tf.nn.log_softmax(x / self.temperature) for x in (taught, learnt))
        apart = tf.reduce_sum(tf.exp(soft) * (soft - hot), axis=-1)
        wrong = -tf.gather(learnt, classes, axis=1, batch_dims=1)
        return self.share * self.temperature**2 * apart + (1 - self.share) * wrong

    def accuracy(self, targets: tf.Tensor, probabilities: tf.Tensor) -> tf.Tensor:
        """(n,) 1 where the student finds the true class."""
        found = tf.argmax(probabilities, axis=-1, output_type=tf.int32)
        return tf.cast(found == tf.cast(targets[:, 0], tf.int32), tf.float32)
