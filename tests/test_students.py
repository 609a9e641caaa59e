"""How students begin and are taught: whitened components, all forms of a patch, a falling rate."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tf_keras as keras

from hsi.compress.distill import Distillation
from hsi.compress.forms import FORMS, EightForms, as_they_are, in_every_form, in_forms
from hsi.models import network
from hsi.models.components import COMPONENTS, begin_with_components, whitening
from hsi.parts import Part
from hsi.patches import Patches
from hsi.train import PatchBatches, train

RNG = np.random.default_rng(0)
NOBODY = Part(np.array([], int), np.array([], int))


@pytest.fixture(scope="module")
def spectra() -> np.ndarray:
    """120 spectra of 20 bands that hang together, far from zero."""
    return RNG.normal(size=(120, 7)) @ RNG.normal(size=(7, 20)) + RNG.normal(size=20) * 5


# Components


def test_whitened_components_are_white_and_the_largest(spectra):
    found = whitening(spectra, 3)
    scores = spectra @ found
    np.testing.assert_allclose(np.cov(scores.T, bias=True), np.eye(3), atol=1e-9)
    # Independently: eigenvectors of the covariance of the largest eigenvalues, over their roots.
    values, vectors = np.linalg.eigh(np.cov(spectra.T, bias=True))
    wanted = vectors[:, ::-1][:, :3] / np.sqrt(values[::-1][:3])
    np.testing.assert_allclose(np.abs(found), np.abs(wanted), rtol=1e-6)
    assert (found[np.abs(found).argmax(axis=0), np.arange(3)] > 0).all()


def test_there_are_no_more_components_than_dimensions(spectra):
    assert whitening(spectra, 16).shape == (20, 7)
    assert whitening(spectra[:3], 16).shape == (20, 2)
    assert whitening(np.ones((5, 20)), 4).shape == (20, 0)


def test_a_student_begins_with_components_of_its_training_spectra(spectra):
    model = network("compact").build((5, 5, 20), 3, seed=0, width=0.5)
    layer = model.get_layer(COMPONENTS)
    before = layer.get_weights()[0]
    assert begin_with_components(model, spectra) == 7  # of 8 maps: the spectra have 7 dimensions
    after = layer.get_weights()[0]
    np.testing.assert_array_equal(after[..., 7:], before[..., 7:])
    maps = layer(np.tile(spectra[:, None, None].astype(np.float32), (1, 5, 5, 1))).numpy()
    scores = maps[:, 2, 2, :7].astype(float)
    np.testing.assert_allclose(np.cov(scores.T, bias=True), np.eye(7), atol=1e-3)


def test_a_network_without_the_layer_stays_as_it_is(spectra):
    model = keras.Sequential([keras.Input((1, 1, 20)), keras.layers.Flatten()])
    assert begin_with_components(model, spectra) == 0


# Forms


def literal_forms(patch: np.ndarray) -> list[bytes]:
    """The eight, by turning and mirroring (side, side, channels)."""
    turns = [np.rot90(patch, k) for k in range(4)]
    return sorted(np.ascontiguousarray(f).tobytes() for t in turns for f in (t, t[:, ::-1]))


def test_every_sample_is_shown_in_all_eight_forms_with_its_class():
    patches = Patches(RNG.normal(size=(6, 7, 3)).astype(np.float32), 5)
    part = Part(np.array([8, 40, 3]), np.array([2, 0, 1]))
    shown, source = in_every_form(part), EightForms(patches)
    assert source.shape == patches.shape
    inputs = source.gather(shown.pixels)
    assert len(inputs) == len(shown.classes) == 3 * FORMS
    for place, patch in enumerate(patches.gather(part.pixels)):
        mine = inputs[place * FORMS : (place + 1) * FORMS]
        assert sorted(form.tobytes() for form in mine) == literal_forms(patch)
        assert set(shown.classes[place * FORMS : (place + 1) * FORMS]) == {part.classes[place]}
    plain = as_they_are(part)
    np.testing.assert_array_equal(source.gather(plain.pixels), patches.gather(part.pixels))
    np.testing.assert_array_equal(plain.classes, part.classes)


def test_forms_leave_the_batch_alone():
    batch = RNG.normal(size=(8, 3, 3, 2))
    kept = batch.copy()
    in_forms(batch, np.arange(8))
    np.testing.assert_array_equal(batch, kept)


# Teaching


@pytest.fixture(scope="module")
def toy() -> tuple[Patches, Part]:
    patches = Patches(RNG.normal(size=(20, 20, 4)).astype(np.float32), 1)
    return patches, Part(RNG.permutation(400)[:300], RNG.integers(0, 2, 300))


def linear() -> keras.Model:
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Flatten(), keras.layers.Dense(2, activation="softmax")]
    return keras.Sequential([keras.Input((1, 1, 4)), *layers])


def test_the_rate_falls_along_a_cosine_to_zero_and_the_last_weights_stay(toy):
    patches, part = toy
    model, rates, weights = linear(), [], []

    def note(batch: int, logs: dict[str, float]) -> None:
        optimizer = model.optimizer  # its iterations count the steps that are done
        rates.append(float(optimizer._learning_rate(optimizer.iterations)))
        weights.append(model.get_weights()[0].copy())

    history = train(
        model, patches, Part(part.pixels[:200], part.classes[:200]),
        Part(part.pixels[200:], part.classes[200:]), epochs=4, batch_size=50, learning_rate=0.5,
        cosine=True, patience=1, callbacks=[keras.callbacks.LambdaCallback(on_batch_end=note)],
    )  # fmt: skip
    wanted = [0.5 * (1 + math.cos(math.pi * step / 16)) / 2 for step in range(1, 17)]
    np.testing.assert_allclose(rates, wanted, atol=1e-6)
    assert rates[-1] == pytest.approx(0, abs=1e-9)
    # The labels are noise, so the validation loss rises: neither patience nor a best epoch counts.
    assert len(history.losses) == len(history.validation_losses) == history.best_epoch == 4
    np.testing.assert_array_equal(model.get_weights()[0], weights[-1])


def test_a_teacher_is_asked_once_about_each_sample(toy):
    patches, part = toy
    asked = []

    def teacher(inputs: np.ndarray) -> np.ndarray:
        asked.append(len(inputs))
        right = 1 / (1 + np.exp(-inputs[:, 0, 0, 0]))
        return np.stack([right, 1 - right], axis=1)

    objective = Distillation(teacher)
    train(linear(), patches, part, NOBODY, epochs=3, batch_size=64, objective=objective)
    assert sum(asked) == 300
    fed = PatchBatches(patches, part, batch_size=64, seed=1, shuffle=True, objective=objective)
    classes = dict(zip(part.pixels, part.classes, strict=True))
    of = {patches.gather(np.array([p])).tobytes(): p for p in part.pixels}
    for inputs, targets in (fed[k] for k in range(len(fed))):
        labels = np.array([classes[of[patch[None].tobytes()]] for patch in inputs])
        np.testing.assert_allclose(targets, objective.targets(inputs, labels), rtol=1e-6)


def test_moved_samples_are_asked_about_as_they_are_shown(toy):
    patches, part = toy
    objective = Distillation(lambda x: np.stack([x[:, 0, 0, 0], 1 - x[:, 0, 0, 0]], axis=1))
    fed = PatchBatches(
        patches, part, batch_size=64, seed=1, shuffle=True, objective=objective,
        augment=lambda batch, rng: rng.random(batch.shape, np.float32),
    )  # fmt: skip
    inputs, targets = fed[0]
    np.testing.assert_allclose(targets[:, 1], np.log(inputs[:, 0, 0, 0]), rtol=1e-5)
