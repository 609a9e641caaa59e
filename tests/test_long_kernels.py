"""Convolutions by Fourier transforms: against the sums that define them, and in training."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras
from tf_keras import layers

from hsi.models import network
from hsi.models.files import load_model, save_model
from hsi.models.long_kernels import AT_ONCE, by_fourier, convolve, pays
from hsi.parts import Part
from hsi.train import train

CLOSE = 1e-5
"""Of the largest value."""


def far(found, wanted):
    """The largest difference, as a share of the largest value."""
    found, wanted = np.asarray(found), np.asarray(wanted)
    assert found.shape == wanted.shape
    return np.abs(found - wanted).max() / np.abs(wanted).max()


def some(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def literal(inputs, kernel, upstream):
    """Outputs and both gradients by the sums, tap after tap, in float64."""
    inputs, kernel = inputs.astype(float), kernel.astype(float)
    size = [whole - taps + 1 for whole, taps in zip(inputs.shape[1:4], kernel.shape, strict=False)]
    outputs = np.zeros((len(inputs), *size, kernel.shape[-1]))
    to_inputs, to_kernel = np.zeros_like(inputs), np.zeros_like(kernel)
    for tap in np.ndindex(*kernel.shape[:3]):
        place = (slice(None), *(slice(t, t + s) for t, s in zip(tap, size, strict=True)))
        outputs += inputs[place] @ kernel[tap]
        to_inputs[place] += upstream @ kernel[tap].T
        to_kernel[tap] = np.einsum("nijkc,nijkf->cf", inputs[place], upstream)
    return outputs, to_inputs, to_kernel


def differentiated(function, inputs, kernel, upstream):
    inputs, kernel = tf.constant(inputs), tf.constant(kernel)
    with tf.GradientTape() as tape:
        tape.watch([inputs, kernel])
        outputs = function(inputs, kernel)
    return outputs, *tape.gradient(outputs, [inputs, kernel], upstream)


@pytest.mark.parametrize(
    ("shape", "kernel"),
    [
        ((2, 5, 6, 40, 3), (4, 3, 32, 3, 2)),
        ((1, 3, 3, 17, 1), (1, 1, 16, 1, 1)),
        ((2 * AT_ONCE + 1, 3, 4, 20, 2), (2, 3, 16, 2, 2)),
        ((3, 4, 4, 23, 2), (4, 4, 23, 2, 5)),  # one value is left
        ((2, 2, 7, 53, 4), (2, 5, 1, 4, 3)),  # bands in prime number
    ],
)
def test_outputs_and_gradients_are_those_of_the_sums(shape, kernel):
    inputs, weights = some(*shape), some(*kernel, seed=1)
    size = [whole - taps + 1 for whole, taps in zip(shape[1:4], kernel, strict=False)]
    upstream = some(shape[0], *size, kernel[-1], seed=2)
    wanted = literal(inputs, weights, upstream)
    for found, value in zip(
        differentiated(convolve, inputs, weights, upstream), wanted, strict=True
    ):
        assert far(found, value) < CLOSE


def test_a_batch_of_any_size_can_be_traced():
    weights = tf.constant(some(2, 2, 16, 8, 8, seed=1))

    @tf.function(input_signature=[tf.TensorSpec((None, 3, 3, 20, 8))])
    def gradient(inputs):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = convolve(inputs, weights)
        return outputs, tape.gradient(outputs, inputs)

    for count in (1, AT_ONCE, AT_ONCE + 1):
        outputs, found = gradient(some(count, 3, 3, 20, 8))
        wanted = tf.nn.conv3d(some(count, 3, 3, 20, 8), weights, (1,) * 5, "VALID")
        assert far(outputs, wanted) < CLOSE
        assert found.shape == (count, 3, 3, 20, 8)


# Which layers


def convolution(kernel=(2, 2, 16), *, side=20, bands=60, channels=8, filters=16, **options):
    layer = layers.Conv3D(filters, kernel, **options)
    layer(keras.Input((side, side, bands, channels)))
    return layer


def test_long_kernels_with_much_to_multiply_are_computed_by_transforms():
    assert pays(convolution())


@pytest.mark.parametrize(
    "options",
    [
        {"kernel": (2, 2, 15)},
        {"bands": 30},  # 15 are left
        {"side": None},
        {"bands": None},
        {"side": 5},
        {"channels": 1, "filters": 64},
        {"filters": 4, "side": 40},
        {"strides": (1, 1, 2)},
        {"dilation_rate": (1, 1, 2)},
        {"padding": "same"},
        {"groups": 2},
    ],
)
def test_other_layers_stay_with_tensorflow(options):
    assert not pays(convolution(**options))


def test_layers_whose_shapes_are_unknown_stay_with_tensorflow():
    shared = convolution()
    shared(keras.Input((9, 9, 60, 8)))
    assert not pays(shared)
    assert not pays(layers.Conv3D(16, (2, 2, 16)))


def test_a_subclass_may_compute_something_else():
    class Other(layers.Conv3D):
        pass

    layer = Other(16, (2, 2, 16))
    layer(keras.Input((20, 20, 60, 8)))
    assert not pays(layer)


def test_the_networks_that_gain():
    """Of the field's, `chen` alone; its first layer has one channel, but many values."""
    gaining = set()
    for name in ("chen", "hamida", "he", "hybridsn", "li", "ssrn", "luo"):
        chosen = network(name)
        model = chosen.build((chosen.patch_size, chosen.patch_size, 103), 4, seed=0)
        gaining |= {
            (name, layer.name) for layer in model._flatten_layers(include_self=False) if pays(layer)
        }
    assert gaining == {("chen", "conv_2")}


# Training


class Cubes:
    """Random samples as `train` takes them."""

    def __init__(self, count, side=7, bands=48):
        self.values = some(count, side, side, bands)
        self.shape = self.values.shape[1:]

    def gather(self, pixels):
        return self.values[pixels]


def small():
    keras.utils.set_random_seed(3)
    return keras.Sequential(
        [
            keras.Input((7, 7, 48)),
            layers.Reshape((7, 7, 48, 1)),
            layers.Conv3D(8, (2, 2, 3), activation="relu"),
            layers.Conv3D(8, (2, 2, 16), activation="relu", name="long"),
            layers.GlobalAveragePooling3D(),
            layers.Dense(3, activation="softmax"),
        ]
    )


@pytest.fixture(scope="module")
def both():
    """The model and its history after training with transforms and without."""
    samples, found = Cubes(24), {}
    part = Part(np.arange(24), np.arange(24) % 3)
    for way in ("by transforms", "by sums"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("hsi.models.long_kernels.HEAVY", 0 if way == "by transforms" else 1e12)
            model = small()
            done = train(model, samples, part, Part(part.pixels[:6], part.classes[:6]), epochs=4)
            found[way] = model, done
    return found


def test_training_gives_the_same_network_up_to_rounding(both):
    (model, done), (other, known) = both["by transforms"], both["by sums"]
    np.testing.assert_allclose(done.losses, known.losses, rtol=1e-4)
    np.testing.assert_allclose(done.validation_losses, known.validation_losses, rtol=1e-4)
    for found, wanted in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-4)


def test_the_ways_really_differ(both):
    """Else the test above compares a way with itself."""
    losses = [done.losses for _, done in both.values()]
    assert losses[0] != losses[1]


def test_a_trained_layer_computes_as_its_file_does(both, tmp_path):
    model, _ = both["by transforms"]
    save_model(model, tmp_path / "model.h5")
    inputs = some(3, 7, 7, 48, seed=8)
    known = load_model(tmp_path / "model.h5")
    assert np.array_equal(model.predict(inputs, verbose=0), known.predict(inputs, verbose=0))
    assert "convolution_op" not in vars(model.get_layer("long"))


def test_an_error_on_the_way_leaves_the_layers_as_they_were(monkeypatch):
    monkeypatch.setattr("hsi.models.long_kernels.HEAVY", 0)
    model = small()
    layer = model.get_layer("long")

    def fail():
        with by_fourier(model):
            assert layer.convolution_op is convolve
            raise RuntimeError("on the way")

    with pytest.raises(RuntimeError, match="on the way"):
        fail()
    assert layer.convolution_op is not convolve
    assert "convolution_op" not in vars(layer)
