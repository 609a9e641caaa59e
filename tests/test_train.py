"""Training: reproducible, stops when it should, keeps the best weights, and learns."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from functools import cache

import numpy as np
import pytest
import tf_keras as keras
from narrow import narrow
from tf_keras import layers

from hsi.errors import SettingsError
from hsi.models import FIELD, NETWORKS, network
from hsi.patches import Patches
from hsi.predict import class_map, compiled, scores
from hsi.samples import Part
from hsi.train import PatchBatches, train

OF_PATCHES = tuple(n for n, chosen in NETWORKS.items() if not chosen.image_size and n not in FIELD)
"""The networks of patches alone; those for images have `test_image_networks.py`."""


@pytest.fixture(scope="module")
def toy() -> tuple[Patches, Part, Part]:
    """A scene of three stripes whose bands tell them apart, with noise; 240 and 60 pixels."""
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], 8)[None].repeat(24, axis=0)
    cube = rng.normal(size=(3, 4))[labels] + 0.3 * rng.normal(size=(24, 24, 4))
    pixels = rng.permutation(576)
    parts = [Part(p, labels.ravel()[p]) for p in (pixels[:240], pixels[240:300])]
    return Patches(cube, 3), parts[0], parts[1]


def small_model(seed: int = 0, *, classes: int = 3) -> keras.Model:
    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [
            keras.Input((3, 3, 4)),
            layers.Conv2D(8, 3, activation="relu"),
            layers.Flatten(),
            layers.Dropout(0.2),
            layers.Dense(classes, activation="softmax"),
        ]
    )


NOBODY = Part(np.array([], int), np.array([], int))


def loss_of(model: keras.Model, patches: Patches, part: Part) -> float:
    """Mean of -log of the probability of the true class."""
    found = scores(compiled(model), patches, part.pixels).astype(float)
    return float(-np.log(found[np.arange(len(found)), part.classes]).mean())


def same_weights(a: keras.Model, b: keras.Model) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(a.get_weights(), b.get_weights(), strict=True))


# Batches


def test_an_epoch_sees_every_sample_once_with_its_class(toy):
    patches, part, _ = toy
    fed = PatchBatches(patches, part, batch_size=50, seed=0, shuffle=True)
    assert len(fed) == 5
    orders = []
    for _ in range(2):
        inputs, classes = (np.concatenate(x) for x in zip(*(fed[i] for i in range(5)), strict=True))
        assert len(inputs) == 240
        known = {
            patch.tobytes(): c
            for patch, c in zip(patches.gather(part.pixels), part.classes, strict=True)
        }
        assert len(known) == 240
        found = [patch.tobytes() for patch in inputs]
        assert sorted(found) == sorted(known)
        assert [known[patch] for patch in found] == classes.tolist()
        orders.append(found)
        fed.on_epoch_end()
    assert orders[0] != orders[1]


def test_what_keras_is_fed_is_every_sample_once_an_epoch(toy, monkeypatch):
    """Keras prefetches in a thread of its own; an epoch's shuffle must not reach into another."""
    patches, part, _ = toy
    seen: list[np.ndarray] = []
    gather = patches.gather
    monkeypatch.setattr(patches, "gather", lambda pixels: (seen.append(pixels), gather(pixels))[1])
    train(small_model(), patches, part, NOBODY, epochs=4, batch_size=50)
    flat = np.concatenate(seen)
    flat = flat[len(flat) - 4 * 240 :]  # Keras peeks at the first batch
    for epoch in range(4):
        assert sorted(flat[epoch * 240 : (epoch + 1) * 240]) == sorted(part.pixels)


# Learning


def test_training_learns_a_separable_scene(toy):
    patches, part, validation = toy
    model = small_model()
    before = loss_of(model, patches, part)
    told = []
    history = train(
        model,
        patches,
        part,
        validation,
        epochs=30,
        batch_size=32,
        learning_rate=1e-2,
        progress=lambda epoch, logs: told.append((epoch, logs["loss"])),
    )
    assert loss_of(model, patches, part) < 0.2 * before
    assert history.losses[-1] < history.losses[0]
    right = scores(compiled(model), patches, validation.pixels).argmax(axis=1) == validation.classes
    assert right.mean() > 0.9
    assert told == [(i + 1, loss) for i, loss in enumerate(history.losses)]


def test_the_reported_losses_and_accuracies_are_those_of_the_model(toy):
    patches, part, validation = toy
    model = small_model()
    history = train(model, patches, part, validation, epochs=1, batch_size=32)
    assert history.validation_losses[0] == pytest.approx(
        loss_of(model, patches, validation), rel=1e-4
    )
    right = scores(compiled(model), patches, validation.pixels).argmax(axis=1) == validation.classes
    assert history.validation_accuracies[0] == pytest.approx(right.mean(), abs=1e-6)


def test_no_validation_runs_every_epoch(toy):
    patches, part, _ = toy
    history = train(small_model(), patches, part, NOBODY, epochs=6, learning_rate=0.5, patience=1)
    assert len(history.losses) == len(history.accuracies) == 6
    assert history.validation_losses == history.validation_accuracies == ()
    assert history.best_epoch == 6


def test_a_step_is_traced_once(toy, monkeypatch):
    """Deep networks take long to trace: what a step needs is there before the first."""
    patches, part, validation = toy
    traced, step = [], keras.Model.train_step
    monkeypatch.setattr(
        keras.Model, "train_step", lambda self, data: traced.append(1) or step(self, data)
    )
    train(small_model(), patches, part, validation, epochs=2, batch_size=32)
    assert len(traced) == 1


# Stopping


@pytest.mark.parametrize("patience", [1, 3, 50])
def test_the_best_epoch_is_kept_and_patience_ends_training(toy, patience):
    """A rate that is far too high makes the loss rise again."""
    patches, part, validation = toy
    model = small_model()
    history = train(
        model,
        patches,
        part,
        validation,
        epochs=25,
        batch_size=16,
        learning_rate=0.3,
        patience=patience,
    )
    losses = history.validation_losses
    best = int(np.argmin(losses))
    assert history.best_epoch == best + 1
    assert loss_of(model, patches, validation) == pytest.approx(losses[best], rel=1e-3)
    assert len(losses) == min(25, best + 1 + patience)
    for epoch in range(len(losses) - 1):  # and it did not stop too late
        since = epoch - int(np.argmin(losses[: epoch + 1]))
        assert since < patience


def test_the_best_weights_are_restored_where_no_epoch_stopped_it(toy):
    patches, part, validation = toy
    model = small_model()
    history = train(
        model, patches, part, validation, epochs=8, batch_size=16, learning_rate=0.3, patience=100
    )
    assert history.best_epoch < 8
    assert loss_of(model, patches, validation) == pytest.approx(
        min(history.validation_losses), rel=1e-3
    )


class Spoil(keras.callbacks.Callback):
    """Weights that are no numbers from the end of an epoch on."""

    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def on_epoch_begin(self, epoch, logs=None):
        if epoch + 1 == self.epoch:
            self.model.set_weights([np.full_like(w, np.nan) for w in self.model.get_weights()])


def test_training_ends_where_the_loss_is_no_number_with_the_best_weights_so_far(toy):
    patches, part, validation = toy
    model = small_model()
    options = {"batch_size": 16, "callbacks": [Spoil(4)]}
    history = train(model, patches, part, validation, epochs=9, **options)
    assert history.lost_epoch == 4
    assert len(history.losses) == len(history.validation_losses) == 3
    assert np.isfinite(history.losses + history.validation_losses).all()
    assert loss_of(model, patches, validation) == pytest.approx(
        min(history.validation_losses), rel=1e-3
    )
    assert history.best_epoch == 1 + int(np.argmin(history.validation_losses))


@pytest.mark.parametrize(("first", "validated"), [(1, True), (2, False)])
def test_training_without_any_good_epoch_is_refused(toy, first, validated):
    patches, part, validation = toy
    with pytest.raises(
        SettingsError, match=f"no finite number in epoch {first}, at a rate of 0.5 in batches of 16"
    ):
        train(
            small_model(), patches, part, validation if validated else NOBODY,
            epochs=9, batch_size=16, learning_rate=0.5, callbacks=[Spoil(first)],
        )  # fmt: skip


# The same seed


def test_two_runs_in_one_process_give_the_same_weights_bit_for_bit(toy):
    patches, part, validation = toy
    models = []
    for seed in (1, 1, 2):
        model = small_model()
        train(model, patches, part, validation, epochs=3, batch_size=32, seed=seed)
        models.append(model)
        np.random.default_rng().random()
        keras.utils.set_random_seed(99)  # what happens in between must not matter
    assert same_weights(models[0], models[1])
    assert not same_weights(models[0], models[2])


@pytest.mark.slow
@pytest.mark.parametrize("name", OF_PATCHES)
def test_every_network_trains_to_the_same_weights_twice(name):
    assert same_weights(run(name)[0], run.__wrapped__(name)[0])


@cache
def run(name: str) -> tuple[keras.Model, Patches, np.ndarray]:
    """Two epochs of a network on a random scene."""
    rng = np.random.default_rng(0)
    chosen = network(name)
    patches = Patches(rng.normal(size=(20, 20, 6)), chosen.patch_size)
    pixels = rng.permutation(400)
    classes = rng.integers(4, size=400)
    parts = [Part(p, classes[p]) for p in (pixels[:150], pixels[150:180])]
    model = narrow(name, patches.shape, 4, seed=5)
    train(model, patches, *parts, epochs=2, batch_size=32, seed=5)
    return model, patches, pixels


DIGEST = """
import sys
sys.path[:0] = [{tests!r}, {root!r}]
from test_train import digest, run
print(digest(run({name!r})[0]))
"""


def digest(model: keras.Model) -> str:
    return hashlib.sha256(b"".join(w.tobytes() for w in model.get_weights())).hexdigest()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cao", "vgg"])
def test_two_processes_train_to_the_same_weights(name, root):
    code = DIGEST.format(tests=str(root / "tests"), root=str(root), name=name)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root
    )
    assert done.stdout.strip().splitlines()[-1] == digest(run(name)[0])


# The map


@pytest.mark.slow
@pytest.mark.parametrize("name", OF_PATCHES)
def test_the_map_is_the_class_of_every_patch_borders_included(name):
    model, patches, _ = run(name)
    found = class_map(compiled(model), patches, batch_size=150)
    everything = patches.gather(np.arange(400))
    expected = model.predict(everything, verbose=0)
    sure = np.sort(expected, axis=1)[:, -1] - np.sort(expected, axis=1)[:, -2] > 1e-4
    np.testing.assert_array_equal(found.ravel()[sure], expected.argmax(axis=1)[sure])
    assert found.shape == (20, 20)
    assert sure.mean() > 0.9
