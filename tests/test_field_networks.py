"""The networks of the hyperspectral field: their parameters, their shapes, and that they learn."""

from __future__ import annotations

from functools import cache
from math import ceil

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras
from tf_keras import layers

from hsi.compress.graph import channel_groups
from hsi.compress.masking import mask_channels
from hsi.compress.planar import in_planes
from hsi.compress.quantize.converter import convert
from hsi.compress.surgery import remove_channels
from hsi.compress.unrolled import rolled_layers, unrolled
from hsi.deploy.differentiable.flatbuffer import parse
from hsi.deploy.lite.layers import lite_score
from hsi.errors import SettingsError
from hsi.explain import attribute
from hsi.explain.logit_view import logit_model
from hsi.models import BASELINES, FIELD, NETWORKS, network
from hsi.models.layouts import volume
from hsi.models.mixersenet import build as mixersenet_of
from hsi.models.optimizers import ADAM, OPTIMIZERS, Optimizer
from hsi.models.santara import groups_of
from hsi.patches import Patches
from hsi.samples import Part
from hsi.train import train

CHANNELS, CLASSES = 30, 5
SMALLER = {"sharma": 57}
"""Sides of patches where the network's own would be slow."""


@cache
def side_of(name: str) -> int:
    return SMALLER.get(name, FIELD[name].patch_size)


@pytest.fixture(scope="module", params=FIELD)
def built(request) -> tuple[str, keras.Model]:
    """Each network once, at its own patch and few channels."""
    name, size = request.param, side_of(request.param)
    return name, network(name).build((size, size, CHANNELS), CLASSES, seed=1)


# Parameters, by hand: (taps x channels in + bias) x channels out, layer by layer


def line(taps: int, channels: int, filters: int) -> int:
    return (taps * channels + 1) * filters


def hu(bands: int, n: int) -> int:
    kernel = bands // 9
    pooled = ceil((bands - kernel + 1) / ceil(kernel / 5))
    return line(kernel, 1, 20) + line(1, 20 * pooled, 100) + line(1, 100, n)


def hamida(bands: int, n: int) -> int:
    depth = bands - 2
    depth = (depth + 2 - 3) // 2 + 1  # a pool, one zero on either side
    depth = (depth + 2 - 3) // 2 + 1
    depth = (depth + 2 - 2) // 2 + 1
    convolutions = line(27, 1, 20) + line(3, 20, 20) + line(27, 20, 35) + line(3, 35, 35)
    return convolutions + line(3, 35, 35) + line(2, 35, 35) + line(depth, 35, n)


def lee(bands: int, n: int) -> int:
    first = line(9, bands, 128) + line(1, bands, 128)
    return first + line(1, 256, 128) + 6 * line(1, 128, 128) + line(1, 128, n)


def chen(bands: int, n: int) -> int:
    taps, depth, total, channels = [], bands, 0, 1
    for _ in range(3):
        taps.append(min(32, depth))
        total += line(16 * taps[-1], channels, 32)
        depth, channels = depth - taps[-1] + 1, 32
    return total + line(depth, 32, n)  # 27 pixels: 24, 12, 9, 4, 1


def li(bands: int, n: int) -> int:
    depth = (bands + 2 - 6) + 2 - 2
    return line(63, 1, 16) + line(27, 16, 32) + line(depth, 32, n)


def he(bands: int, n: int) -> int:
    depth = (bands - 11) // 3 + 1
    scales = sum(line(taps, 16, 16) for taps in (1, 3, 5, 11))
    last = 4 * 4 * (depth - 2)  # 7 pixels: 5, 4
    return line(99, 1, 16) + 2 * scales + line(12, 16, 16) + line(last, 16, n)


def luo(bands: int, n: int) -> int:
    steps = (bands - 24) // 9 + 1
    rows = steps - min(3, steps) + 1
    image = line(3 * min(3, steps), 1, 64)
    return line(216, 1, 90) + image + line(rows * 88, 64, 1024) + line(1, 1024, n)


def sharma(bands: int, n: int) -> int:
    convolutions = line(36, bands, 96) + 4 * 96 + line(9, 96, 256) + 4 * 256 + line(9, 256, 512)
    return convolutions + line(1, 512, 1024) + line(1, 1024, n)  # one position is left


def liu(bands: int, n: int) -> int:
    return line(9, bands, 80) + 4 * 80 + line(9, 80, n)  # 9 pixels: 7, 3


def boulch(bands: int, n: int) -> int:
    total, channels = 0, 1
    while bands > 1:
        filters = 32 if channels == 1 else 16
        total += line(3, channels, filters) + 4 * filters
        channels, bands = filters, bands // 2
    return total + line(3, channels, 3) + line(1, 3, n)


def mou(bands: int, n: int) -> int:
    gates = 3 * (64 * (1 + 64) + 2 * 64)  # two biases, as cuDNN has them
    return gates + 4 * 64 * bands + line(bands, 64, n)


def santara(bands: int, n: int) -> int:
    groups, size = groups_of(bands)
    spectral = line(27, 1, 20) + line(3, 20, 20) + line(3, 20, 10) + line(5, 10, 5)
    reads = groups * (size - 10)
    return line(1, bands, groups * size) + spectral + line(reads, 5, 100) + line(1, 100, n)


def hybridsn(bands: int, n: int) -> int:
    solid = line(63, 1, 8) + line(45, 8, 16) + line(27, 16, 32)
    flat = line(9, (bands - 12) * 32, 64)
    return solid + flat + line(17 * 17, 64, 256) + line(1, 256, 128) + line(1, 128, n)


def nn(bands: int, n: int) -> int:
    return line(1, bands, 2048) + line(1, 2048, 4096) + line(1, 4096, 2048) + line(1, 2048, n)


def ssrn(bands: int, n: int) -> int:
    depth = (bands - 7) // 2 + 1
    spectral = line(7, 1, 24) + 4 * line(7, 24, 24) + line(depth, 24, 128)
    spatial = line(9, 128, 24) + 4 * line(9, 24, 24)
    return spectral + spatial + 4 * (10 * 24 + 128) + line(1, 24, n)


def mixersenet(bands: int, n: int) -> int:
    mixer = sum(line(size**2, 1, 64) for size in (3, 5, 7)) + line(1, 64, 64) + 4 * 64
    excite = line(1, 64, 8) + line(1, 8, 64)
    return line(1, bands, 64) + 4 * 64 + 5 * mixer + excite + line(1, 64, n)


BY_HAND = {
    f.__name__: f
    for f in (
        hu, hamida, lee, chen, li, he, luo, sharma, liu, boulch, mou, santara, hybridsn, nn, ssrn,
        mixersenet,
    )
}  # fmt: skip


def test_every_network_has_the_parameters_that_its_definition_sums_to(built):
    name, model = built
    assert model.count_params() == BY_HAND[name](CHANNELS, CLASSES)


@pytest.mark.parametrize(
    ("name", "shape", "classes", "published"),
    [
        ("hu", (1, 1, 220), 8, 81_408),  # Hu et al. 2015, Indian Pines
        ("hybridsn", (25, 25, 30), 16, 5_122_176),  # Roy et al. 2020, Indian Pines
        ("ssrn", (7, 7, 200), 16, 364_168),  # Zhong et al. 2018, Indian Pines; trainable ones
        ("mixersenet", (9, 9, 15), 18, 53_146),  # Alkhatib et al. 2025
    ],
)
def test_published_numbers_of_parameters_are_met(name, shape, classes, published):
    model = network(name).build(shape, classes, seed=0)
    weights = model.trainable_weights if name == "ssrn" else model.weights
    assert sum(int(np.prod(w.shape)) for w in weights) == published
    assert BY_HAND[name](shape[2], classes) == model.count_params()


def test_the_sums_grow_with_the_bands_as_the_layers_do():
    """At 200 bands, where no kernel is cut short, against layers of the same sizes."""
    for name in ("he", "li", "hamida", "liu", "boulch", "santara", "lee"):
        size = side_of(name)
        model = network(name).build((size, size, 200), 9, seed=0)
        assert model.count_params() == BY_HAND[name](200, 9), name


# Shapes and weights


def test_it_answers_in_probabilities_and_only_the_patch_decides(built):
    _, model = built
    inputs = np.random.default_rng(0).normal(size=(3, *model.input_shape[1:])).astype(np.float32)
    found = model(inputs, training=False).numpy()
    assert found.shape == (3, CLASSES)
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-5)
    alone = model(inputs[1:2], training=False).numpy()
    np.testing.assert_allclose(alone[0], found[1], rtol=1e-4, atol=1e-6)


def test_the_same_seed_gives_the_same_weights_and_another_others():
    for name in ("hu", "hamida", "mou"):  # one for each kind of initialiser of ours
        size = FIELD[name].smallest_patch
        one, again, other = (
            network(name).build((size, size, 4), 3, seed=seed).get_weights() for seed in (1, 1, 2)
        )
        assert all(np.array_equal(a, b) for a, b in zip(one, again, strict=True)), name
        assert any(not np.array_equal(a, b) for a, b in zip(one, other, strict=True)), name


def test_the_smallest_patch_and_a_single_channel_still_make_a_network():
    for name, row in FIELD.items():
        size = row.smallest_patch
        if name in ("nn", "luo", "ssrn", "mixersenet"):  # seconds to fill, or to put together
            continue
        assert row.build((size, size, 1), 3, seed=0).output_shape == (None, 3), name
        if size > 1:
            with pytest.raises(SettingsError, match=f"{name}: expected a patch_size of {size} or"):
                row.build((size - 1, size - 1, 1), 3, seed=0)


@pytest.mark.parametrize("name", ["hu", "boulch", "mou"])
def test_networks_of_spectra_look_at_the_centre_of_a_patch_alone(name):
    wide = network(name).build((5, 5, 12), 3, seed=0)
    inputs = np.random.default_rng(0).normal(size=(2, 5, 5, 12)).astype(np.float32)
    inputs[1] = 7 * inputs[0] + 1
    inputs[1, 2, 2] = inputs[0, 2, 2]
    first, second = wide(inputs).numpy()
    np.testing.assert_array_equal(first, second)


def test_a_dilated_convolution_is_the_same_network_on_every_group_of_bands():
    """BASS-Net by its definition: groups of bands one after the other, weights shared."""
    model = network("santara").build((3, 3, 24), 4, seed=3)
    groups, size = groups_of(24)
    inputs = np.random.default_rng(0).normal(size=(2, 3, 3, 24)).astype(np.float32)
    first = model.get_layer("conv_0")(inputs).numpy().reshape(2, 9, size, groups)
    found = []
    for group in range(groups):
        x = np.moveaxis(first[..., group], 1, 2)  # (n, bands of the group, pixels)
        for number in range(1, 5):
            kernel, bias = model.get_layer(f"conv_{number}").get_weights()
            taps = np.moveaxis(kernel, 0, 1).reshape(kernel.shape[1], -1, kernel.shape[-1])
            length = x.shape[1] - len(taps) + 1
            x = sum(x[:, t : t + length] @ tap for t, tap in enumerate(taps)) + bias
            x = np.maximum(x, 0)
        found.append(x)
    view = keras.Model(model.input, model.get_layer("conv_4").output)
    shared = view(inputs).numpy()[:, 0].reshape(2, -1, groups, 5)
    np.testing.assert_allclose(np.moveaxis(shared, 2, 0), found, rtol=1e-4, atol=1e-6)


# Training


def test_one_step_with_its_own_optimiser_makes_the_loss_fall(built):
    name, model = built
    row, rng = FIELD[name], np.random.default_rng(0)
    inputs = rng.normal(size=(8, *model.input_shape[1:])).astype(np.float32)
    classes = np.arange(8) % CLASSES
    dropouts = [layer for layer in model.layers if isinstance(layer, layers.Dropout)]
    rates = [layer.rate for layer in dropouts]
    for layer in dropouts:  # the same function before and after the step
        layer.rate = 0.0
    loss = keras.losses.SparseCategoricalCrossentropy()
    # A rate at which the first-order change is what counts; adaptive ones begin with small steps.
    slower = 1000 if row.optimizer.name == "sgd" else 10
    optimizer = row.optimizer.make(row.learning_rate / slower)
    with tf.GradientTape() as tape:
        before = loss(classes, model(inputs, training=True))
    slopes = tape.gradient(before, model.trainable_variables)
    optimizer.apply_gradients(zip(slopes, model.trainable_variables, strict=True))
    after = loss(classes, model(inputs, training=True))
    for layer, rate in zip(dropouts, rates, strict=True):
        layer.rate = rate
    assert float(after) < float(before)
    assert all(np.abs(slope).max() > 0 for slope in slopes[-2:])


def test_optimisers_are_those_of_the_table_with_their_settings():
    rates = {"luo": 0.1, "mou": 1.0, "he": 0.01}
    for name, rate in rates.items():
        made = FIELD[name].optimizer.make(FIELD[name].learning_rate)
        assert float(made.learning_rate.numpy()) == pytest.approx(rate)
    for name, kind in OPTIMIZERS.items():
        assert type(Optimizer(name).make(0.1)).__name__ == kind
    made = FIELD["li"].optimizer.make(0.01)
    assert (made.momentum, made.weight_decay) == (0.9, 5e-4)
    assert str(FIELD["li"].optimizer) == "SGD, momentum 0.9, weight decay 0.0005"
    with pytest.raises(SettingsError, match=r"optimizer 'sdg'.*Did you mean 'sgd'"):
        Optimizer("sdg").make(0.1)
    assert NETWORKS["cao"].optimizer == ADAM


def test_decay_takes_its_share_of_every_weight():
    """Weight w without gradient becomes w (1 - rate x decay)."""
    weight = keras.backend.variable([2.0])
    Optimizer("sgd", weight_decay=0.1).make(0.5).apply_gradients([(0 * weight, weight)])
    np.testing.assert_allclose(weight.numpy(), [2 * (1 - 0.05)], rtol=1e-6)


@pytest.mark.parametrize("slope", [1e-4, 1.0])
def test_adagrad_divides_by_the_root_of_all_squares_so_far(slope):
    """As it is defined, from 0 on, with decay; so the first step of any slope is the rate."""
    weight = keras.backend.variable([1.0])
    made, own = FIELD["he"].optimizer.make(0.01), FIELD["he"].optimizer
    expected, squares = 1.0, 0.0
    for step in range(4):
        slopes = slope * (step + 1)
        made.apply_gradients([(tf.constant([slopes]), weight)])
        squares += slopes**2
        expected = expected * (1 - 0.01 * own.weight_decay) - 0.01 * slopes / squares**0.5
        np.testing.assert_allclose(weight.numpy(), [expected], rtol=1e-5)


def test_training_takes_the_steps_of_the_networks_own_optimiser():
    """One batch, one epoch: w - rate x slope."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((1, 1, 4)), layers.Flatten(), layers.Dense(3, "softmax")])
    patches = Patches(np.random.default_rng(0).normal(size=(3, 4, 4)), 1)
    part = Part(np.arange(12), np.arange(12) % 3)
    nothing = Part(np.arange(0), np.arange(0))
    with tf.GradientTape() as tape:
        found = model(patches.gather(part.pixels))
        loss = keras.losses.SparseCategoricalCrossentropy()(part.classes, found)
    slopes = tape.gradient(loss, model.trainable_variables)
    wanted = [(w - 0.5 * s).numpy() for w, s in zip(model.trainable_variables, slopes, strict=True)]
    sgd = Optimizer("sgd")
    train(model, patches, part, nothing, epochs=1, learning_rate=0.5, optimizer=sgd)
    for weight, value in zip(model.get_weights(), wanted, strict=True):
        np.testing.assert_allclose(weight, value, atol=1e-6)


def test_baselines_are_no_networks():
    with pytest.raises(SettingsError, match="svm: a baseline of scikit-learn, no network"):
        BASELINES["svm"].build((1, 1, 4), 3, seed=0)
    assert not set(BASELINES) & set(NETWORKS)
    with pytest.raises(SettingsError, match="Did you mean 'random_forest'"):
        network("random_forests")


# Pruning


@pytest.mark.parametrize("name", ["he", "hybridsn", "lee", "mixersenet"])
def test_removing_channels_is_masking_them(name):
    """Branches that are added, spectral axes that become channels, factors of attention."""
    row, rng = FIELD[name], np.random.default_rng(0)
    shape = (row.smallest_patch, row.smallest_patch, 14)
    light = name == "mixersenet"
    model = mixersenet_of(shape, 3, depth=1) if light else row.build(shape, 3, seed=0)
    for weight in model.weights:  # biases and batch norms too, where zeros would hide mistakes
        weight.assign(weight + 0.1 * np.abs(rng.normal(size=weight.shape)))
    groups = [group for group in channel_groups(model) if group.convolutional]
    removal = {g.name: rng.permutation(g.channels)[: int(0.4 * g.channels)] for g in groups}
    assert sum(map(len, removal.values())) > 10
    inputs = rng.normal(size=(4, *model.input_shape[1:])).astype(np.float32)
    masked, removed = (
        logit_model(change(model, removal))(inputs, training=False).numpy()
        for change in (mask_channels, remove_channels)
    )
    whole = logit_model(model)(inputs, training=False).numpy()
    size = np.abs(whole).max()
    np.testing.assert_allclose(removed, masked, atol=1e-4 * size)
    assert np.abs(masked - whole).max() > 1e-3 * size  # they mattered


@pytest.mark.parametrize("depth", [3, 5, 6, 7, 8])
def test_a_step_over_a_short_spectrum_gives_the_value_of_the_definition(depth):
    """TensorFlow's own gives garbage where a step leaves one value of one channel."""
    inputs = keras.Input((5, 5, depth, 1))
    model = keras.Model(inputs, volume(inputs, 8, (3, 3, 5), step=3, name="conv"))
    rng = np.random.default_rng(0)
    x = rng.normal(size=(8, 5, 5, depth, 1)).astype(np.float32)
    kernel, bias = model.get_layer("conv").get_weights()
    taps = kernel.shape[2]
    assert taps == min(5, depth)
    windows = np.lib.stride_tricks.sliding_window_view(x[..., 0], (3, 3, taps), axis=(1, 2, 3))
    wanted = np.einsum("nrcdijk,ijko->nrcdo", windows[:, :, :, ::3], kernel[:, :, :, 0]) + bias
    np.testing.assert_allclose(model(x), wanted, atol=1e-4)


# Volumes in files


def test_grad_cam_of_a_file_lays_the_map_of_a_volume_where_the_keras_model_does(tmp_path):
    """In the file the planes of a volume are samples, of which the last layer has only one."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((4, 5, 8))
    x = layers.Reshape((4, 5, 8, 1))(inputs)
    x = layers.Conv3D(3, (2, 2, 3), activation="relu", name="first")(x)
    x = layers.Conv3D(2, (3, 4, 2), activation="relu", name="last")(x)
    outputs = layers.Dense(3, activation="softmax")(layers.Flatten()(x))
    model = keras.Model(inputs, outputs)
    samples = np.random.default_rng(0).normal(size=(3, 4, 5, 8)).astype(np.float32)
    (tmp_path / "f.tflite").write_bytes(convert(in_planes(model), "float32", calibration=samples))
    score = lite_score(tmp_path / "f.tflite")
    for layer in ("first", "last"):
        wanted = attribute("gradcam", model, samples, classes=1, layer=layer, positive=False)
        found = attribute(
            "gradcam", score, samples, classes=1, layer=f"{layer}/{layer}_planes", positive=False
        )
        assert np.abs(wanted.maps).max() > 1e-3
        np.testing.assert_allclose(found.maps, wanted.maps, atol=1e-5)


@pytest.mark.parametrize("padding", ["valid", "same"])
def test_visual_backprop_of_a_file_spreads_over_planes_as_over_the_volume(padding, tmp_path):
    """Along the rows the file has no kernel: its taps are shifted copies of the map."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((9, 8, 10))
    x = layers.Reshape((9, 8, 10, 1))(inputs)
    x = layers.Conv3D(3, (3, 2, 3), activation="relu", padding=padding)(x)
    x = layers.Conv3D(4, (2, 2, 3), (2, 1, 2), activation="relu", padding=padding)(x)
    x = layers.Conv3D(2, (1, 3, 2), (2, 1, 1), activation="relu", padding=padding)(x)
    x = layers.Conv3D(2, (1, 1, 2), activation="relu", padding=padding)(x)
    model = keras.Model(inputs, layers.Dense(3)(layers.Flatten()(x)))
    for layer in model.layers[2:-2]:
        layer.set_weights([np.abs(layer.get_weights()[0]), layer.get_weights()[1]])
    samples = np.random.default_rng(0).normal(size=(3, 9, 8, 10)).astype(np.float32)
    (tmp_path / "f.tflite").write_bytes(convert(in_planes(model), "float32", calibration=samples))
    wanted = attribute("visual_backprop", model, samples).maps
    found = attribute("visual_backprop", lite_score(tmp_path / "f.tflite"), samples).maps
    assert wanted.max() == 1
    assert np.std(wanted) > 0.05
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_a_recurrent_layer_step_by_step_is_the_same_network():
    model = network("mou").build((1, 1, 6), 3, seed=0)
    assert rolled_layers(model) == ["gru (GRU)"]
    flat = unrolled(model)
    assert rolled_layers(flat) == []
    samples = np.random.default_rng(0).normal(size=(4, 1, 1, 6)).astype(np.float32)
    np.testing.assert_allclose(flat(samples), model(samples), atol=1e-6)
    content = convert(flat, "float32", calibration=samples)
    assert "WHILE" not in {op.kind for op in parse(content).operators}
