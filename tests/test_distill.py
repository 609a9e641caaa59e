"""Distillation: the loss by definition, and a student that learns what its teacher knows."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras
from tf_keras import layers

from hsi.compress.distill import Distillation
from hsi.deploy import variant
from hsi.errors import ModelError, SettingsError
from hsi.models.files import save_model
from hsi.parts import Part
from hsi.patches import Patches, turned
from hsi.pipeline import generate
from hsi.pipeline.job import Job
from hsi.settings import Settings
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


def by_hand(objective: Distillation, targets: np.ndarray, logits: tf.Tensor) -> tf.Tensor:
    """The loss by definition, on logits."""
    soft, hot = (tf.nn.log_softmax(x / objective.temperature) for x in (targets[:, 1:], logits))
    apart = tf.reduce_sum(tf.exp(soft) * (soft - hot), axis=1)
    wrong = tf.nn.sparse_softmax_cross_entropy_with_logits(targets[:, 0].astype(int), logits)
    return objective.share * objective.temperature**2 * apart + (1 - objective.share) * wrong


def flattened(logits: tf.Tensor) -> tf.Tensor:
    """The softmax of a map of one position, as a convolution may end in."""
    return tf.reshape(tf.nn.softmax(logits[:, None, None]), (-1, logits.shape[1]))


@pytest.mark.parametrize("end", [tf.nn.softmax, flattened])
@pytest.mark.parametrize("share", [0.0, 0.9, 1.0])
def test_a_student_that_is_sure_and_wrong_has_a_gradient(share, end):
    """In a compiled step, as training is; float32 has no probability over a gap above 103."""
    gaps = np.array([3, 20, 40, 150, 1e4], np.float32)
    objective = Distillation(lambda x: np.tile([0.01, 0.98, 0.01], (len(x), 1)), 4.0, share)
    targets = objective.targets(np.zeros((5, 1)), np.ones(5, int)).astype(np.float32)

    @tf.function
    def found(logits: tf.Tensor) -> tuple[tf.Tensor, ...]:
        scores = end(logits)
        losses = objective.loss(tf.constant(targets), scores)
        expected = by_hand(objective, targets, logits)
        right = objective.accuracy(tf.constant(targets), scores)
        gradients = (tf.gradients(x, logits)[0] for x in (losses, expected))
        return losses, expected, *gradients, right

    logits = np.stack([gaps, np.zeros(5), np.zeros(5)], axis=1).astype(np.float32)
    losses, expected, slopes, slopes_expected, right = (x.numpy() for x in found(logits))
    np.testing.assert_allclose(losses, expected, rtol=1e-5)
    np.testing.assert_allclose(slopes, slopes_expected, rtol=1e-5, atol=1e-6)
    assert (slopes[:, 1] < -0.9).all()  # towards the class
    assert not right.any()


def test_keras_hands_over_what_the_loss_needs():
    """Cross-entropy alone is Keras's own, also where no probability is left."""
    inputs = np.array([[300.0, 0, 0], [0, 300, 0], [0, 2, 1]], np.float32)
    objective = Distillation(lambda x: np.full((len(x), 3), 1 / 3), share=0.0)
    targets = objective.targets(inputs, np.array([1, 1, 1]))
    student = keras.Sequential([keras.Input((3,)), keras.layers.Softmax()])
    losses = []
    for loss, wanted in ((objective.loss, targets), ("sparse_categorical_crossentropy", [1] * 3)):
        student.compile(loss=loss)
        losses.append(student.test_on_batch(inputs, np.array(wanted)))
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    assert losses[0] > 100


def ending(kind: str) -> keras.Model:
    """A network of one input (1, 1, 3) that ends in some way."""
    inputs = keras.Input((1, 1, 3))
    x = keras.layers.Flatten()(inputs)
    if kind == "pooled":
        x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(3, 1)(inputs))
    elif kind == "added":
        x = keras.layers.Add()([keras.layers.Dense(3)(x), x])
    else:
        x = keras.layers.Dense(3, activation=kind)(x)
    return keras.Model(inputs, x)


@pytest.mark.parametrize("kind", ["linear", "pooled", "added", "softmax"])
def test_a_teacher_may_end_in_logits(kind):
    network = ending(kind)
    teacher = variant.Variant(
        Path("teacher.h5"), input_shape=(1, 1, 3), classes=3, network=network,
        forward=lambda x: network(x).numpy(),
    )  # fmt: skip
    inputs = RNG.normal(size=(9, 1, 1, 3)).astype(np.float32)
    answers = teacher(inputs)
    taught = Distillation(teacher).targets(inputs, np.zeros(9, int))[:, 1:]
    expected = answers if kind == "softmax" else softmax(answers)
    np.testing.assert_allclose(np.exp(taught), expected, rtol=1e-5)


def test_a_teacher_of_logits_may_be_sure():
    teacher = variant.Variant(
        Path("teacher.h5"), input_shape=(1, 1, 3), classes=3, network=ending("linear"),
        forward=lambda x: np.array([[90, 0, 0]], np.float32),
    )  # fmt: skip
    taught = Distillation(teacher).targets(np.zeros((1, 1, 1, 3)), np.zeros(1, int))
    np.testing.assert_allclose(taught, [[0, 0, -90, -90]], atol=1e-5)


@pytest.mark.parametrize(
    "answers",
    [[[-1.6, 0.4, 2.2]], [[0.9, 0.8, 0.1]], [[0.2, 0.3, 0.5], [0, 0, 0]], [[np.nan, 0.5, 0.5]]],
    ids=["logits", "sigmoids", "nothing", "no number"],
)
def test_other_scores_teach_nothing(answers):
    objective = Distillation(lambda x: np.array(answers, np.float32))
    with pytest.raises(ModelError, match=r"^teacher: expected class probabilities.*softmax\.$"):
        objective.targets(np.zeros((len(answers), 1)), np.zeros(len(answers), int))


@pytest.mark.parametrize("classes", [2, 16, 200])
def test_probabilities_in_eight_bits_teach(classes):
    rounded = np.round(256 * softmax(RNG.normal(0, 3, (50, classes)))).clip(0, 255) / 256
    taught = Distillation(lambda x: rounded).targets(np.zeros((50, 1)), np.zeros(50, int))
    assert np.isfinite(taught).all()


@pytest.mark.parametrize(
    ("shape", "classes", "words"),
    [
        ((5, 5, 30), 4, "takes 5 x 5 x 30, but farm gives 7 x 7 x 30"),
        ((7, 7), 4, "takes 7 x 7, but"),
        ((7, 7, 30), 6, "tells 6 classes apart, farm has 4"),
        ((7, 7, 30), 4, None),
        ((None, None, 30), 4, None),
    ],
)
def test_a_teacher_takes_the_samples_and_knows_their_classes(shape, classes, words, monkeypatch):
    teacher = variant.Variant(
        Path("other.h5"), input_shape=shape, classes=classes, forward=lambda x: x
    )
    monkeypatch.setattr(variant, "load_variant", lambda path, threads: teacher)
    samples = SimpleNamespace(name="farm", classes=4, patches=SimpleNamespace(shape=(7, 7, 30)))
    settings = Settings("cao", teacher="other.h5")
    job = Job(None, settings, samples, None, print, Path())  # type: ignore[arg-type]
    if words is None:
        assert job.teaching().teacher is teacher
        return
    with pytest.raises(ModelError, match=f"teacher other.h5: {words}"):
        job.teaching()


@pytest.mark.slow
def test_a_teacher_of_another_input_is_refused_before_anything_is_trained(tmp_path):
    """Training may take hours; the teacher was asked only when fine-tuning began."""
    model = small_teacher(side=3, bands=7, classes=2)
    save_model(model, tmp_path / "other.h5")
    said = []
    settings = Settings(
        "cao", dataset="synthetic", prune=True, teacher=str(tmp_path / "other.h5"), epochs=1,
        output=str(tmp_path / "run"),
    )  # fmt: skip
    with pytest.raises(ModelError, match=r"teacher .*other\.h5: takes 3 x 3 x 7, but"):
        generate(settings, say=said.append)
    assert not any("epoch" in line for line in said)
    assert not list((tmp_path / "run").glob("*.h5"))


def small_teacher(*, side, bands, classes):
    return keras.Sequential(
        [
            keras.Input((side, side, bands)),
            layers.Flatten(),
            layers.Dense(classes, activation="softmax"),
        ]
    )


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
