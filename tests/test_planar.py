"""3-D layers written as 2-D ones: the same output, and files of integers only."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras
from tf_keras import layers

from hsi.compress.planar import CONVOLUTIONS, POOLS, in_planes, solid_layers
from hsi.compress.quantize import quantize
from hsi.compress.unrolled import unrolled
from hsi.deploy.islands import float_islands
from hsi.deploy.tflite import TFLiteModel
from hsi.errors import ModelError
from hsi.models.files import load_model, save_model

CUBE = (7, 6, 8, 2)


def assert_equal_in_planes(model: keras.Model) -> keras.Model:
    samples = np.random.default_rng(0).normal(size=(3, *model.input_shape[1:])).astype(np.float32)
    flat = in_planes(model)
    assert not solid_layers(flat)
    expected = model(samples).numpy()
    assert np.ptp(expected) > 0.1
    np.testing.assert_allclose(flat(samples).numpy(), expected, atol=1e-5)
    return flat


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 3},
        {"kernel_size": (1, 2, 3)},
        {"kernel_size": (4, 2, 1), "activation": "relu"},
        {"kernel_size": (7, 1, 2), "use_bias": False},
        {"kernel_size": (2, 3, 3), "strides": (2, 1, 2)},
        {"kernel_size": (3, 2, 2), "strides": (3, 2, 1)},
        {"kernel_size": (1, 1, 1), "strides": (4, 1, 1)},
        {"kernel_size": (3, 2, 2), "dilation_rate": (2, 1, 1)},
        {"kernel_size": (2, 2, 2), "dilation_rate": (3, 2, 2)},
    ],
    ids=str,
)
def test_convolutions_are_equal(options, padding):
    keras.utils.set_random_seed(0)
    layer = layers.Conv3D(3, padding=padding, bias_initializer="normal", **options)
    assert_equal_in_planes(keras.Sequential([keras.Input(CUBE), layer]))


@pytest.mark.parametrize("depth", [1, 2, 5, 8])
def test_any_depth_is_equal(depth):
    keras.utils.set_random_seed(0)
    layer = layers.Conv3D(3, (3, 2, 2), strides=(2, 1, 1), padding="same")
    assert_equal_in_planes(keras.Sequential([keras.Input((depth, 4, 4, 1)), layer]))


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("kind", POOLS)
@pytest.mark.parametrize(
    ("size", "strides"), [((2, 2, 2), None), ((3, 2, 1), (1, 2, 3)), ((1, 3, 2), (2, 1, 1))]
)
def test_pools_are_equal(kind, size, strides, padding):
    pool = kind(size, strides, padding)
    # negative values too: zeros put around a largest value must not count
    shift = layers.Rescaling(1.0, offset=-3.0)
    assert_equal_in_planes(keras.Sequential([keras.Input(CUBE), shift, pool]))


@pytest.fixture(scope="module")
def network() -> keras.Model:
    """Everything at once: a nested model, a layer used twice, an addition, batch norm."""
    keras.utils.set_random_seed(0)
    twice = layers.Conv3D(2, 3, padding="same", activation="tanh", name="twice")
    inner = keras.Sequential(
        [keras.Input(CUBE), layers.Conv3D(2, 3, padding="same"), layers.BatchNormalization()],
        name="inner",
    )
    inputs = keras.Input(CUBE)
    x = layers.Add()([inner(inputs), twice(twice(inputs))])
    x = layers.MaxPooling3D((2, 1, 2), name="pool")(x)
    x = layers.Conv3D(4, (2, 3, 3), strides=(2, 1, 1), activation="relu", name="last")(x)
    x = layers.Flatten()(x)
    model = keras.Model(inputs, layers.Dense(3, activation="softmax")(x), name="solid")
    norm = inner.layers[-1]
    norm.set_weights([w + 0.1 * k for k, w in enumerate(norm.get_weights(), 1)])
    return model


def test_a_network_is_equal_and_left_as_it_was(network):
    before = [w.copy() for w in network.get_weights()]
    flat = assert_equal_in_planes(network)
    for was, now in zip(before, network.get_weights(), strict=True):
        np.testing.assert_array_equal(was, now)
    assert flat.count_params() == network.count_params()
    assert {"twice", "last", "pool"} <= {layer.name for layer in flat.layers}


def test_the_layers_in_question_are_named(network):
    assert set(solid_layers(network, kinds=POOLS)) == {"pool (MaxPooling3D)"}
    assert "twice (Conv3D)" in solid_layers(network, kinds=CONVOLUTIONS)
    assert len(solid_layers(network)) == 4


def leaky(x):
    """A tensor and a number by place, the tensor not always first."""
    return 1.0 - tf.nn.leaky_relu(layers.Conv3D(2, 2, name="solid")(x), 0.6)


def added(x):
    return x + layers.Conv3D(2, 3, padding="same", name="solid")(x)


def attended(x):
    x = layers.Reshape((2, 12))(layers.Conv3D(2, (6, 6, 3), name="solid")(x))
    return layers.MultiHeadAttention(2, 3)(x, 2 * x)


def with_state(x):
    x = layers.Reshape((2, 12))(layers.Conv3D(2, (6, 6, 3), name="solid")(x))
    steps, state = layers.GRU(3, return_sequences=True, return_state=True)(x)
    return layers.Concatenate()([layers.Flatten()(steps), state])


def frozen(x):
    """A nested model in a mode that is given by place."""
    inner_in = keras.Input(CUBE)
    norm = layers.BatchNormalization(name="norm")(layers.Conv3D(2, 2, name="solid")(inner_in))
    return keras.Model(inner_in, norm, name="inner")(x, True)


@pytest.mark.parametrize("loaded", [False, True], ids=["in memory", "from a file"])
@pytest.mark.parametrize("build", [leaky, added, attended, with_state, frozen])
def test_all_arguments_of_a_call_are_passed_on(build, loaded, tmp_path):
    keras.utils.set_random_seed(0)
    inputs = keras.Input(CUBE)
    model = keras.Model(inputs, build(inputs))
    if loaded:
        save_model(model, tmp_path / "model.h5")
        model = load_model(tmp_path / "model.h5")
    assert_equal_in_planes(model)
    samples = np.random.default_rng(0).normal(size=(2, *CUBE)).astype(np.float32)
    np.testing.assert_allclose(unrolled(model)(samples), model(samples), atol=1e-5)


def test_the_result_saves_and_loads(network, tmp_path):
    flat = in_planes(network)
    samples = np.random.default_rng(1).normal(size=(2, *CUBE)).astype(np.float32)
    save_model(flat, tmp_path / "flat.h5")
    loaded = load_model(tmp_path / "flat.h5")
    np.testing.assert_allclose(loaded(samples), network(samples), atol=1e-5)


@pytest.mark.parametrize("mode", ["float32", "int8", "int16x8"])
def test_files_hold_the_network_and_no_float_islands(network, mode, tmp_path):
    samples = np.random.default_rng(2).normal(size=(24, *CUBE)).astype(np.float32)
    said: list[str] = []
    content = quantize(network, mode, calibration=samples, say=said.append)
    assert len(said) == 1
    assert "pool (MaxPooling3D)" in said[0]
    assert ("last (Conv3D)" in said[0]) == (mode != "float32")
    assert float_islands(content) == []
    path = tmp_path / "model.tflite"
    path.write_bytes(content)
    lite = TFLiteModel(path)
    expected = network(samples).numpy()
    near = {"float32": 1e-5, "int8": 0.1, "int16x8": 0.05}[mode]
    np.testing.assert_allclose(lite(samples), expected, atol=near)
    np.testing.assert_allclose(lite(samples[:5]), lite(samples)[:5], atol=1e-6)


def test_nothing_is_said_where_nothing_is_rewritten():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(2)])
    said: list[str] = []
    quantize(model, "dynamic", calibration=np.zeros((0,)), say=said.append)
    assert said == []


def test_what_cannot_be_rewritten_is_refused():
    def text_of(inputs, layer) -> str:
        with pytest.raises(ModelError) as caught:
            in_planes(keras.Model(inputs, layer(inputs)))
        assert "\n" not in str(caught.value)
        return str(caught.value)

    grouped = layers.Conv3D(4, 2, groups=2, name="grouped")
    assert "'grouped': expected a Conv3D without groups" in text_of(keras.Input(CUBE), grouped)
    free = layers.Conv3D(4, 2, name="free")
    assert "'free': expected a fixed depth" in text_of(keras.Input((None, 6, 8, 2)), free)
    first = layers.MaxPooling3D(2, data_format="channels_first", name="first")
    assert "'first': expected channels last" in text_of(keras.Input(CUBE), first)
