"""Distillation: the loss by definition, and a student that learns what its teacher knows."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from hsi.compress.distill import Distillation
from hsi.errors import SettingsError
from hsi.parts import Part
from hsi.patches import Patches, turned
from hsi.train import train

RNG = np.random.default_rng(0)


def softmax(logits: np.ndarray) -> np.ndarray:
    e = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


@pytest.mark.parametrize(("temperature", "share"), [(1.0, 1.0), (4.0, 0.9), (0.5, 0.3), (7.0, 0.0)])
def test_the_loss_is_that_of_hinton_2015(temperature, share):
    taught, learnt = RNG.normal(0, 3, (2, 6, 5))
    classes = RNG.integers(0, 5, 6)
    distillation = Distillation(lambda x: softmax(taught), temperature, share)
    targets = distillation.targets(np.zeros((6, 1)), classes)
    found = distillation.loss(tf.constant(targets), tf.constant(softmax(learnt)))
    for n in range(6):
        soft, hot = (softmax(v[n] / temperature) for v in (taught, learnt))
        apart = sum(p * np.log(p / q) for p, q in zip(soft, hot, strict=True))
        wrong = -np.log(softmax(learnt[n])[classes[n]])
        expected = share * temperature**2 * apart + (1 - share) * wrong
        assert float(found[n]) == pytest.approx(expected, rel=1e-5, abs=1e-6)
    right = distillation.accuracy(tf.constant(targets), tf.constant(softmax(learnt)))
    assert right.numpy().tolist() == (learnt.argmax(1) == classes).astype(float).tolist()


def test_the_temperature_leaves_the_size_of_the_gradient():
    """T^2 keeps it: for large T the gradient of the teacher's term no longer depends on T."""
    taught, learnt = RNG.normal(0, 1, (2, 8, 5))
    sizes = []
    for temperature in (50.0, 100.0):
        distillation = Distillation(lambda x: softmax(taught), temperature, 1.0)
        targets = tf.constant(distillation.targets(np.zeros((8, 1)), np.zeros(8, int)))
        logits = tf.Variable(learnt)
        with tf.GradientTape() as tape:
            value = tf.reduce_sum(distillation.loss(targets, tf.nn.softmax(logits)))
        sizes.append(float(tf.norm(tape.gradient(value, logits))))
    assert sizes[0] == pytest.approx(sizes[1], rel=0.02)


def test_a_certain_teacher_leaves_a_finite_loss():
    certain = np.eye(3)[[0, 1, 2, 0]]
    distillation = Distillation(lambda x: certain)
    targets = distillation.targets(np.zeros((4, 1)), np.array([0, 1, 2, 0]))
    logits = tf.Variable(np.log(np.full((4, 3), 1 / 3)))
    with tf.GradientTape() as tape:
        value = distillation.loss(tf.constant(targets), tf.nn.softmax(logits))
    assert np.isfinite(value.numpy()).all()
    assert np.isfinite(tape.gradient(value, logits).numpy()).all()


@pytest.mark.parametrize("options", [{"temperature": 0.0}, {"share": 1.5}, {"share": -0.1}])
def test_settings_out_of_range_are_refused(options):
    with pytest.raises(SettingsError, match="expected"):
        Distillation(lambda x: x, **options)


def test_patches_turn_about_their_centre():
    batch = RNG.normal(size=(64, 3, 3, 2)).astype(np.float32)
    moved = turned(batch, np.random.default_rng(1))
    forms = set()
    for before, after in zip(batch, moved, strict=True):
        every = [np.rot90(m, k) for k in range(4) for m in (before, before.transpose(1, 0, 2))]
        found = [k for k, form in enumerate(every) if np.array_equal(form, after)]
        assert len(found) == 1
        forms.add(found[0])
    assert len(forms) == 8


def test_a_student_learns_the_teachers_scores_where_labels_say_nothing():
    """The labels are random; only the teacher tells the two halves of the spectrum apart."""
    cube = RNG.normal(size=(24, 24, 6)).astype(np.float32)
    patches = Patches(cube, 1)
    pixels = np.arange(24 * 24)
    labels = RNG.integers(0, 2, len(pixels))

    def teacher(x: np.ndarray) -> np.ndarray:
        gap = 3 * (x[:, 0, 0, :3].sum(1) - x[:, 0, 0, 3:].sum(1))
        return softmax(np.stack([gap, -gap], axis=1))

    keras.utils.set_random_seed(0)
    student = keras.Sequential(
        [
            keras.Input((1, 1, 6)),
            keras.layers.Flatten(),
            keras.layers.Dense(2, activation="softmax"),
        ]
    )
    part = Part(pixels[:400], labels[:400])
    history = train(
        student, patches, part, Part(pixels[:0], labels[:0]), epochs=15, batch_size=32,
        learning_rate=0.05, objective=Distillation(teacher, 2.0, 0.95),
    )  # fmt: skip
    rest = patches.gather(pixels[400:])
    agreement = np.mean(student(rest).numpy().argmax(1) == teacher(rest).argmax(1))
    assert agreement > 0.97
    assert history.losses[-1] < 0.3 * history.losses[0]
