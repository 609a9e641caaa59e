"""Networks in other bit widths, against a literal loop over integers."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras
from tf_keras import layers

from hsi.compress.bitwidth import BitWidths, Grid, predict_bits, sweep
from hsi.compress.integer_sums import IntegerLayer
from hsi.compress.quantize import quantize
from hsi.deploy.tflite import TFLiteModel
from hsi.errors import ModelError, SettingsError
from hsi.models.files import load_model, save_model


def add(total: int, product: int, bits: int, overflow: str) -> int:
    """One addition in a register."""
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    total += product
    if overflow == "saturate":
        return min(max(total, low), high)
    while total > high:
        total -= 2**bits
    while total < low:
        total += 2**bits
    return total


def loop(layer, x, levels, start, bits, overflow) -> np.ndarray:
    """A convolution of one (rows, cols, in) image as nested loops over integers."""
    (kr, kc), (sr, sc), (dr, dc) = layer.kernel_size, layer.strides, layer.dilation_rate
    rows, cols, channels = x.shape
    depthwise = isinstance(layer, layers.DepthwiseConv2D)
    if layer.padding == "same":
        out_r, out_c = -(-rows // sr), -(-cols // sc)
        top = max((out_r - 1) * sr + (kr - 1) * dr + 1 - rows, 0) // 2
        left = max((out_c - 1) * sc + (kc - 1) * dc + 1 - cols, 0) // 2
    else:
        top = left = 0
        out_r, out_c = (rows - (kr - 1) * dr - 1) // sr + 1, (cols - (kc - 1) * dc - 1) // sc + 1
    outputs = levels.shape[-1]
    found = np.zeros((out_r, out_c, outputs), np.int64)
    for r, c, o in itertools.product(range(out_r), range(out_c), range(outputs)):
        total = add(0, int(start[o]), bits, overflow)
        own = [o // (outputs // channels)] if depthwise else range(channels)
        for i, j, k in itertools.product(range(kr), range(kc), own):
            a, b = r * sr + i * dr - top, c * sc + j * dc - left
            inside = 0 <= a < rows and 0 <= b < cols
            value = int(x[a, b, k]) if inside else 0
            total = add(total, value * int(levels[i, j, 0 if depthwise else k, o]), bits, overflow)
        found[r, c, o] = total
    return found


@pytest.mark.parametrize("overflow", ["saturate", "wrap"])
@pytest.mark.parametrize("bits", [10, 14, 32])
@pytest.mark.parametrize(
    "layer",
    [
        layers.Conv2D(3, (2, 3), bias_initializer="normal"),
        layers.Conv2D(2, 3, strides=(2, 1), padding="same"),
        layers.Conv2D(2, 2, dilation_rate=(1, 2), padding="same", use_bias=False),
        layers.DepthwiseConv2D(3, depth_multiplier=2, bias_initializer="normal"),
    ],
    ids=["plain", "strided", "dilated", "depthwise"],
)
def test_layers_are_the_literal_loop(layer, bits, overflow):
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    x = rng.integers(-100, 156, size=(2, 5, 6, 4))
    layer(np.zeros(x.shape, np.float32))
    scale = 0.01
    integers = IntegerLayer(layer, bits=8, accumulator=bits, per_channel=True, overflow=overflow)
    kernel, *bias = (w.astype(float) for w in layer.get_weights())
    kernel = kernel.reshape(*integers.weights(scale)[0].shape)
    added = bias[0] if bias else np.zeros(kernel.shape[-1])
    half = 2 ** (bits - 2) - 1  # of the register; a bias that takes more makes the steps larger
    steps = np.maximum(np.abs(kernel).max(axis=(0, 1, 2)) / 127, abs(added) / scale / half)
    found = integers(x, scale) / (scale * steps)
    levels = np.round(kernel / steps).astype(int)
    start = np.round(added / (scale * steps))
    expected = np.stack([loop(layer, image, levels, start, bits, overflow) for image in x])
    np.testing.assert_array_equal(np.round(found).astype(int), expected)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    wide = np.stack([loop(layer, image, levels, start, 48, overflow) for image in x])
    assert integers.sums == expected.size
    assert integers.changed == np.count_nonzero(expected != wide)
    if bits != 14:
        assert (integers.changed > 0) == (bits == 10)


def test_one_scale_a_kernel_is_the_largest_of_its_channels():
    layer = layers.Dense(3)
    layer(np.zeros((1, 2), np.float32))
    layer.set_weights([np.array([[1.0, 10.0, 0.1], [2.0, -5.0, 0.0]]), np.zeros(3)])
    options = {"bits": 4, "accumulator": 32, "overflow": "wrap"}
    apart = IntegerLayer(layer, per_channel=True, **options)
    together = IntegerLayer(layer, per_channel=False, **options)
    levels, scales = apart.weights(1.0)
    np.testing.assert_array_equal(levels, [[4, 7, 7], [7, -4, 0]])
    np.testing.assert_allclose(scales, np.array([2, 10, 0.1]) / 7, rtol=1e-6)
    np.testing.assert_array_equal(together.weights(1.0)[0], [[1, 7, 0], [1, -4, 0]])


@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("size", [1e-4, 1e-9, 1e-30, 0.0])
def test_a_bias_fits_the_accumulator_however_small_the_weights(size, per_channel):
    """As in the converter's file, where 2^30 is the largest bias."""
    layer = layers.Dense(2)
    layer(np.zeros((1, 3), np.float32))
    layer.set_weights([np.array([[1, size], [-2, size], [3, -size]]), np.array([0.5, -1.5])])
    integers = IntegerLayer(
        layer, bits=8, accumulator=32, per_channel=per_channel, overflow="saturate"
    )
    x = np.array([[10, 20, 30], [-127, 127, 5]])
    found = integers(x, 0.03125)
    assert integers.changed == 0
    expected = np.asarray(layer(x * 0.03125))
    np.testing.assert_allclose(found, expected, atol=0.05 + 100 * size)
    levels, (_, step) = integers.weights(0.03125)
    if per_channel and 0 < size < 1e-8:
        assert step == pytest.approx(1.5 / 0.03125 / 2**30)  # 4.47e-8, as the converter writes
        assert not levels[:, 1].any()


def test_grids_hold_zero_and_round_to_the_nearest_level():
    for low, high in ((-3.0, 5.0), (0.5, 2.0), (-4.0, -1.0), (0.0, 0.0)):
        grid = Grid.over(low, high, 3)
        assert grid.snap(np.zeros(1)) == 0
        reals = (np.arange(8) - grid.zero_point) * grid.scale
        values = np.linspace(low - 2, high + 2, 101)
        nearest = np.abs(values[:, None] - reals).min(axis=1)
        np.testing.assert_allclose(np.abs(grid.snap(values) - values), nearest, atol=1e-9)


@pytest.fixture(scope="module")
def network() -> tuple[keras.Model, np.ndarray]:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6, 6, 3))
    x = layers.Conv2D(6, 3, padding="same", use_bias=False)(inputs)
    x = layers.BatchNormalization(gamma_initializer="random_uniform")(x)
    x = layers.ReLU()(x)
    y = layers.DepthwiseConv2D(3, padding="same", activation="relu")(x)
    x = layers.MaxPooling2D()(layers.Add()([x, y]))
    x = layers.Dense(8, activation="relu")(layers.Flatten()(x))
    model = keras.Model(inputs, layers.Dense(3, activation="softmax")(x))
    dense = model.layers[-1]
    dense.set_weights([8 * dense.get_weights()[0], np.array([0.3, -0.2, 0.1])])
    return model, np.random.default_rng(0).normal(size=(60, 6, 6, 3)).astype(np.float32)


def test_wide_registers_give_the_float_network(network):
    model, samples = network
    found = predict_bits(model, samples, BitWidths(16, 16, 48), calibration=samples, batch_size=7)
    np.testing.assert_allclose(found.scores, model(samples), atol=2e-3)
    assert found.overflowed == 0


def operators(x):
    """Operators of TensorFlow: numbers by place, and two tensors."""
    y = layers.Dense(4, name="one")(x)
    return tf.nn.leaky_relu(y, 0.6) + 2.0 * layers.Dense(4, name="two")(y)


@pytest.mark.parametrize("loaded", [False, True], ids=["in memory", "from a file"])
def test_operators_get_all_their_arguments(loaded, tmp_path):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((5,))
    model = keras.Model(inputs, layers.Dense(3, name="scores")(operators(inputs)))
    if loaded:
        save_model(model, tmp_path / "model.h5")
        model = load_model(tmp_path / "model.h5")
    samples = np.random.default_rng(0).normal(size=(9, 5)).astype(np.float32)
    found = predict_bits(model, samples, BitWidths(16, 16, 48), calibration=samples)
    np.testing.assert_allclose(found.scores, model(samples), atol=2e-3)


def test_operators_that_answer_no_floats_are_refused():
    inputs = keras.Input((5,))
    x = layers.Dense(4)(inputs)
    model = keras.Model(inputs, layers.Dense(3)(tf.where(x > 0, x, 2 * x)))
    with pytest.raises(ModelError, match=r"expected an output of float numbers.*got bool"):
        predict_bits(model, np.ones((2, 5)), BitWidths(), calibration=np.ones((2, 5)))


def test_eight_bits_are_as_near_as_an_int8_file(network, tmp_path):
    model, samples = network
    path = tmp_path / "model.tflite"
    path.write_bytes(quantize(model, "int8", calibration=samples))
    expected = model(samples).numpy()
    file = np.abs(TFLiteModel(path)(samples) - expected).mean()
    found = predict_bits(model, samples, BitWidths(8, 8, 32), calibration=samples)
    assert 0 < np.abs(found.scores - expected).mean() < 2 * file


def test_fewer_bits_are_further_away(network):
    model, samples = network
    expected = model(samples).numpy()
    errors = [
        np.abs(predict_bits(model, samples, bits, calibration=samples).scores - expected).mean()
        for bits in (BitWidths(8, 8), BitWidths(5, 5), BitWidths(3, 3))
    ]
    assert errors == sorted(errors)
    assert errors[2] > 4 * errors[0]


def test_a_sweep_counts_hits_and_agreement(network):
    model, samples = network
    plain = model(samples).numpy().argmax(axis=1)
    classes = np.random.default_rng(1).integers(0, 3, len(samples))
    settings = [BitWidths(16, 16, 48), BitWidths(4, 3, 16), BitWidths(8, 8, 8, overflow="wrap")]
    rows = sweep(model, samples, classes, settings, calibration=samples)
    assert [row.bits for row in rows] == settings
    for row in rows:
        single = predict_bits(model, samples, row.bits, calibration=samples)
        answers = single.scores.argmax(axis=1)
        assert row.accuracy == pytest.approx(100 * np.mean(answers == classes))
        assert row.agreement == pytest.approx(100 * np.mean(answers == plain))
        assert row.overflowed == single.overflowed
    assert rows[0].agreement == 100
    assert rows[2].overflowed > 0.1
    assert rows[2].agreement < 100
    assert str(settings[0]) == "16/16/48"


def test_widths_and_layers_that_are_not_offered_are_refused(network):
    for options, text in (
        ({"activation": 1}, "activation bits: expected 2 to 16, got 1"),
        ({"weight": 32}, "weight bits: expected 2 to 16, got 32"),
        ({"accumulator": 64}, "accumulator bits: expected 4 to 48, got 64"),
        ({"overflow": "wraps"}, "Did you mean 'wrap'"),
    ):
        with pytest.raises(SettingsError, match=text):
            BitWidths(**options)
    model, samples = network
    with pytest.raises(ModelError, match="expected training samples"):
        predict_bits(model, samples, BitWidths(), calibration=samples[:0])
    recurrent = keras.Sequential([keras.Input((5, 3)), layers.LSTM(2, name="memory")])
    with pytest.raises(ModelError, match=r"'memory': expected layers with weights to be .*LSTM"):
        predict_bits(recurrent, np.zeros((1, 5, 3)), BitWidths(), calibration=np.zeros((1, 5, 3)))
