"""Knowledge distillation: a student learns the teacher's scores beside the true classes.

    loss = share * T^2 * KL(teacher_T || student_T) + (1 - share) * cross-entropy(classes, student)

with scores softened by the temperature T: p_T = softmax(logits / T). The factor T^2 keeps the
gradient of the first term of one size whatever T is. Source: Hinton, Vinyals, Dean, "Distilling
the knowledge in a neural network", 2015 (arXiv 1503.02531).

A softmax's logits are its logarithms up to a constant that a softmax takes away again; so a
teacher of probabilities is used as it is, and a `.tflite` file can teach as well as a Keras model.
Of a student the logits themselves are taken: where it is sure and wrong, the probability of the
true class underflows, and through its logarithm no gradient would come back.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import tensorflow as tf

from hsi.errors import ModelError, SettingsError
from hsi.models.adopted import ending
from hsi.predict import Forward

TEMPERATURE = 4.0
SHARE = 0.9
"""Of the teacher's term; the rest are the true classes."""
LEAST = 1e-12
"""A teacher's probability below is taken for this: its logarithm must stay finite."""
LEAST_LEARNT = 1e-30
"""The same of a student whose logits are not seen: one over it must stay finite in float32."""

_SAME_VALUES = ("Reshape", "Squeeze", "Identity")
"""Operators behind a softmax that leave its values and their order."""


@dataclass(frozen=True, eq=False)
class Distillation:
    """What a student is trained for, in the place of cross-entropy alone; see `hsi.train.train`.

    Attributes:
        teacher: inputs (n, ...) -> class probabilities (n, classes): any variant; one with a
            `network` of Keras layers may end in logits.
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

    @cached_property
    def _of_logits(self) -> bool:
        network = getattr(self.teacher, "network", None)
        return bool(getattr(network, "_is_graph_network", False)) and ending(network) == "linear"

    def targets(self, inputs: np.ndarray, classes: np.ndarray) -> np.ndarray:
        """What `loss` is given: (n, 1 + classes), the class index and the teacher's log scores.

        Raises:
            ModelError: the teacher answers neither probabilities nor the logits of a Keras model.
        """
        answers = self.teacher(inputs)
        if self._of_logits:
            taught = tf.nn.log_softmax(answers).numpy()
        else:
            _check_probabilities(answers, getattr(self.teacher, "path", "teacher"))
            taught = np.log(np.maximum(answers, LEAST))
        return np.concatenate([classes[:, None].astype(np.float32), taught], axis=1)

    def loss(self, targets: tf.Tensor, probabilities: tf.Tensor) -> tf.Tensor:
        """(n, 1 + classes) targets, (n, classes) of the student's softmax -> (n,) losses."""
        classes, taught = tf.cast(targets[:, 0], tf.int32), targets[:, 1:]
        learnt = _log(probabilities)
        soft, hot = (tf.nn.log_softmax(x / self.temperature) for x in (taught, learnt))
        apart = tf.reduce_sum(tf.exp(soft) * (soft - hot), axis=-1)
        wrong = -tf.gather(learnt, classes, axis=1, batch_dims=1)
        return self.share * self.temperature**2 * apart + (1 - self.share) * wrong

    def accuracy(self, targets: tf.Tensor, probabilities: tf.Tensor) -> tf.Tensor:
        """(n,) 1 where the student finds the true class."""
        found = tf.argmax(probabilities, axis=-1, output_type=tf.int32)
        return tf.cast(found == tf.cast(targets[:, 0], tf.int32), tf.float32)


def _log(probabilities: tf.Tensor) -> tf.Tensor:
    """The logarithms of a student's probabilities, both (n, classes).

    In a compiled step, as all training is, they are computed from what the softmax was applied to,
    as Keras's own cross-entropy does; elsewhere, and behind layers that mix probabilities, from
    the probabilities.
    """
    if tf.is_symbolic_tensor(probabilities):
        made = probabilities.op
        while made.type in _SAME_VALUES:
            made = made.inputs[0].op
        if made.type == "Softmax":
            exact = tf.nn.log_softmax(made.inputs[0])
            return tf.reshape(exact, tf.shape(probabilities))
    return tf.math.log(tf.maximum(probabilities, LEAST_LEARNT))


def _check_probabilities(answers: np.ndarray, name: object) -> None:
    """Refuse a teacher whose answers (n, classes) are none.

    Integers round each of them, so that the sum of many is only about 1.
    """
    sums = answers.sum(axis=1)
    most = 1e-3 + answers.shape[1] / 256
    if not (np.all(answers >= 0) and np.all(np.abs(sums - 1) <= most)):
        raise ModelError(
            f"{name}: expected class probabilities of a teacher, which sum to 1, got scores from "
            f"{answers.min():.3g} to {answers.max():.3g} that sum to {sums.min():.3g} to "
            f"{sums.max():.3g}; give one that ends in a softmax."
        )
