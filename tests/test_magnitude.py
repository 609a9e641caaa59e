"""Magnitude pruning against its definition: the smallest weights of the start, zero to the end."""

from __future__ import annotations

import numpy as np
import pytest
import tf_keras as keras
from narrow import narrow
from tf_keras import layers

from hsi.compress.magnitude import prune_magnitude, sparsity_of
from hsi.errors import SettingsError
from hsi.models import FIELD, NETWORKS, network
from hsi.patches import Patches
from hsi.pipeline.choices import check_compression
from hsi.samples import Part
from hsi.settings import Settings
from hsi.train import train

OF_PATCHES = tuple(n for n, chosen in NETWORKS.items() if not chosen.image_size and n not in FIELD)
"""The networks of patches alone; those for images have `test_image_networks.py`."""


def without_zeros(model: keras.Model) -> keras.Model:
    """The model with biases that are not zero, so that a masked one would show."""
    rng = np.random.default_rng(0)
    model.set_weights(
        [np.where(w == 0, rng.uniform(0.01, 0.1, w.shape), w) for w in model.get_weights()]
    )
    return model


def chain() -> keras.Model:
    """A convolution, batch norm, a depthwise convolution and two dense layers."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((5, 5, 6)),
            layers.Conv2D(8, 3, name="conv"),
            layers.BatchNormalization(name="norm"),
            layers.ReLU(),
            layers.DepthwiseConv2D(2, name="depthwise"),
            layers.Flatten(),
            layers.Dense(10, use_bias=False, name="dense"),
            layers.Dropout(0.1),
            layers.Dense(4, activation="softmax", name="scores"),
        ]
    )
    return without_zeros(model)


def residual() -> keras.Model:
    keras.utils.set_random_seed(1)
    inputs = keras.Input((5, 5, 6))
    x = layers.Conv2D(8, 3, padding="same", name="conv_1")(inputs)
    y = layers.Activation("relu")(layers.BatchNormalization()(x))
    y = layers.Conv2D(8, 3, padding="same", name="conv_2")(y)
    x = layers.GlobalAveragePooling2D()(layers.Add()([x, y]))
    outputs = layers.Dense(4, activation="softmax", name="scores")(x)
    return without_zeros(keras.Model(inputs, outputs))


@pytest.fixture(scope="module")
def samples() -> tuple[Patches, Part, Part]:
    rng = np.random.default_rng(0)
    labels = np.kron(np.arange(4).reshape(2, 2), np.ones((12, 12), int))
    cube = rng.normal(size=(4, 6))[labels] + 0.5 * rng.normal(size=(24, 24, 6))
    pixels = rng.permutation(576)
    parts = [Part(p, labels.ravel()[p]) for p in (pixels[:200], pixels[200:240])]
    return Patches(cube, 5), *parts


def tuner(samples, *, epochs: int = 3, rate: float = 1e-2):
    """Real fine-tuning, with early stopping and restored weights."""
    patches, part, validation = samples

    def fine_tune(model, callbacks):
        train(
            model,
            patches,
            part,
            validation,
            epochs=epochs,
            batch_size=32,
            learning_rate=rate,
            callbacks=callbacks,
        )

    return fine_tune


def start_zeros(kernel: np.ndarray, sparsity: float) -> np.ndarray:
    """The positions of the smallest magnitudes, all but round((1 - sparsity) * size) of them."""
    order = np.argsort(np.abs(kernel).ravel(), kind="stable")
    zeros = np.zeros(kernel.size, bool)
    zeros[order[: kernel.size - max(1, round((1 - sparsity) * kernel.size))]] = True
    return zeros.reshape(kernel.shape)


@pytest.mark.parametrize("make", [chain, residual])
@pytest.mark.parametrize(
    "sparsity", [0.5, *(pytest.param(s, marks=pytest.mark.slow) for s in (0, 0.3, 0.9, 1 - 1 / 64))]
)
def test_the_smallest_weights_of_the_start_are_zero_and_stay_so(samples, make, sparsity):
    model = make()
    before = [w.copy() for w in model.get_weights()]
    pruned = prune_magnitude(model, sparsity, fine_tune=tuner(samples))
    found = sparsity_of(pruned).kernels
    assert set(found) == {n for n in ("conv", "conv_1", "conv_2", "dense", "scores") if n in found}
    assert len(found) == 3
    for name, share in found.items():
        old = model.get_layer(name).get_weights()
        new = pruned.get_layer(name).get_weights()
        zeros = start_zeros(old[0], sparsity)
        np.testing.assert_array_equal(new[0] == 0, zeros)
        assert share == zeros.mean()
        assert zeros.sum() >= np.floor(sparsity * zeros.size) or zeros.size == zeros.sum() + 1
        assert all((bias != 0).all() for bias in new[1:]), "a bias was masked"
        if sparsity <= 0.5:  # beyond it, what is left may not reach the output at all
            assert (new[0] != old[0])[~zeros].mean() > 0.5, "what is left did not train"
            assert all((a != b).any() for a, b in zip(old[1:], new[1:], strict=True))
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)  # the model that came in is as it was


@pytest.mark.slow
def test_what_is_no_convolution_or_dense_kernel_is_not_pruned(samples):
    pruned = prune_magnitude(chain(), 0.9, fine_tune=tuner(samples))
    for name in ("norm", "depthwise"):
        assert all((w != 0).all() for w in pruned.get_layer(name).get_weights())


@pytest.mark.parametrize("make", [chain, residual])
def test_no_wrapper_is_left_and_the_architecture_is_the_same(samples, make):
    model = make()
    pruned = prune_magnitude(model, 0.5, fine_tune=tuner(samples, epochs=1))
    assert [type(x) for x in pruned.layers] == [type(x) for x in model.layers]
    assert [x.name for x in pruned.layers] == [x.name for x in model.layers]
    assert [w.shape for w in pruned.get_weights()] == [w.shape for w in model.get_weights()]
    assert pruned.count_params() == model.count_params()


@pytest.mark.parametrize("make", [chain, residual])
def test_without_fine_tuning_everything_but_the_zeros_is_the_start(make):
    model = make()
    pruned = prune_magnitude(model, 0.7, fine_tune=lambda *_: None)
    for layer in model.layers:
        for i, (old, new) in enumerate(
            zip(layer.get_weights(), pruned.get_layer(layer.name).get_weights(), strict=True)
        ):
            kernel = i == 0 and isinstance(layer, layers.Dense | layers.Conv2D)
            kernel &= not isinstance(layer, layers.DepthwiseConv2D)
            expected = np.where(start_zeros(old, 0.7), 0, old) if kernel else old
            np.testing.assert_array_equal(new, expected)


def test_weights_of_one_magnitude_are_pruned_to_the_exact_number(samples):
    model = chain()
    kernel, *bias = model.get_layer("scores").get_weights()
    model.get_layer("scores").set_weights([0.25 * np.sign(kernel), *bias])
    pruned = prune_magnitude(model, 0.6, fine_tune=tuner(samples, epochs=1))
    zeros = pruned.get_layer("scores").get_weights()[0] == 0
    assert zeros.sum() == zeros.size - round(0.4 * zeros.size)


@pytest.mark.slow
def test_the_mask_holds_over_many_steps_of_a_large_rate(samples):
    model = chain()
    pruned = prune_magnitude(model, 0.8, fine_tune=tuner(samples, epochs=12, rate=0.1))
    for name in ("conv", "dense", "scores"):
        zeros = start_zeros(model.get_layer(name).get_weights()[0], 0.8)
        np.testing.assert_array_equal(pruned.get_layer(name).get_weights()[0] == 0, zeros)


@pytest.mark.slow
def test_pruning_again_further_keeps_the_zeros(samples):
    once = prune_magnitude(chain(), 0.5, fine_tune=tuner(samples, epochs=1))
    twice = prune_magnitude(once, 0.75, fine_tune=tuner(samples, epochs=1))
    for name, share in sparsity_of(twice).kernels.items():
        first, second = (m.get_layer(name).get_weights()[0] == 0 for m in (once, twice))
        assert (second | ~first).all()
        assert share == pytest.approx(0.75, abs=0.02)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_pruned_weights(samples):
    results = [prune_magnitude(chain(), 0.5, fine_tune=tuner(samples)) for _ in range(2)]
    for a, b in zip(*(m.get_weights() for m in results), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
@pytest.mark.parametrize("name", OF_PATCHES)
@pytest.mark.parametrize("sparsity", [0.5, 1 - 1 / 64])
def test_every_network_holds_its_sparsity(name, sparsity):
    rng = np.random.default_rng(0)
    size = network(name).patch_size
    patches = Patches(rng.normal(size=(20, 20, 10)), size)
    part = Part(rng.permutation(400)[:64], rng.integers(3, size=64))
    model = narrow(name, patches.shape, 3, seed=0)
    fine_tune = tuner((patches, part, Part(part.pixels[:0], part.classes[:0])), epochs=2, rate=1e-3)
    pruned = prune_magnitude(model, sparsity, fine_tune=fine_tune)
    kernels = sparsity_of(pruned).kernels
    assert len(kernels) == sum(isinstance(x, layers.Conv2D | layers.Dense) for x in model.layers)
    for layer, share in kernels.items():
        size = model.get_layer(layer).get_weights()[0].size
        assert share == 1 - round((1 - sparsity) * size) / size


# Counting


def test_sparsity_counts_zeros_of_kernels_and_of_everything():
    model = chain()
    model.get_layer("conv").set_weights([np.zeros((3, 3, 6, 8)), np.ones(8)])
    found = sparsity_of(model)
    assert found.kernels == {"conv": 1.0, "dense": 0.0, "scores": 0.0}
    weights = model.get_weights()
    zeros = sum(int((w == 0).sum()) for w in weights)
    assert zeros == 3 * 3 * 6 * 8
    assert found.overall == zeros / sum(w.size for w in weights)


@pytest.mark.parametrize(("rate", "kept"), [(2, 0.5), (4, 0.25), (8, 0.125), (64, 1 / 64)])
def test_a_compression_rate_keeps_one_in_so_many(rate: float, kept: float) -> None:
    """The reference system ignored a lone rate of 8 and pruned 50 %."""
    settings = Settings("cao", prune=True, compression_rates=(rate,)).check()
    assert settings.prune_targets == (100 * (1 - kept),)


@pytest.mark.parametrize("rate", [0.5, 0, -2, float("nan")])
def test_a_rate_below_one_is_refused(rate: float) -> None:
    with pytest.raises(SettingsError, match="compression_rates"):
        check_compression(Settings("cao", prune=True, compression_rates=(rate,)))
