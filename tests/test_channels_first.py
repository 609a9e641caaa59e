"""Layers that keep their channels first are explained and counted as if they had them last."""

from __future__ import annotations

import re

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from hsi.compare.explained import Explained
from hsi.compare.faithfulness import faithfulness
from hsi.compress.cost import known_macs
from hsi.deploy.lite.layers import lite_score
from hsi.errors import ModelError
from hsi.explain import attribute
from hsi.explain.activation_map import activations
from hsi.explain.channel_axis import channel_axes, moved, restored
from hsi.explain.class_image import images
from hsi.explain.keras_layers import KerasLayers

L = keras.layers
SHAPE = (8, 7, 5)
FIRST, LAST = "channels_first", "channels_last"


def network(order):
    """Convolutions with a step and padding, a batch norm, a branch in a nested model, a pool."""
    axis = 1 if order == FIRST else -1
    inside = keras.Input((6, 8, 7) if order == FIRST else (8, 7, 6))
    x = L.Conv2D(6, 3, padding="same", data_format=order, activation="relu", name="c2")(inside)
    x = L.BatchNormalization(axis=axis, name="norm")(x)
    block = keras.Model(inside, L.Add(name="add")([L.ReLU(name="relu")(x), inside]), name="block")
    inputs = keras.Input(SHAPE)
    x = L.Permute((3, 1, 2), name="turn")(inputs) if order == FIRST else inputs
    x = L.Conv2D(6, 3, padding="same", data_format=order, name="c1")(x)
    x = block(L.ELU(name="elu")(x))
    x = L.Concatenate(axis=axis, name="both")([x, L.Rescaling(0.5, name="half")(x)])
    x = L.Conv2D(4, 2, strides=2, data_format=order, name="c3")(x)
    x = L.SpatialDropout2D(0.5, data_format=order, name="drop")(L.LeakyReLU(name="leaky")(x))
    x = L.Permute((2, 3, 1), name="back")(x) if order == FIRST else x
    x = L.Dense(4, activation="relu", name="dense")(L.Flatten(name="line")(x))
    return keras.Model(inputs, L.Dense(3, activation="softmax", name="scores")(x))


@pytest.fixture(scope="module")
def twins():
    """The network with channels first and with channels last, on the same weights."""
    found = tuple(map(network, (FIRST, LAST)))
    rng = np.random.default_rng(0)
    weights = [rng.uniform(-0.3, 0.5, w.shape) for w in found[0].get_weights()]
    for model in found:
        model.set_weights([np.abs(w) if w.shape == (6,) else w for w in weights])
    return found


def batch(n=3):
    return np.random.default_rng(1).normal(size=(n, *SHAPE)).astype(np.float32)


MAPS = [
    ("gradcam", {}),
    ("gradcam", {"layer": "block/norm", "positive": False}),
    ("gradcam_plus_plus", {}),
    ("guided_gradcam", {"layer": "c1"}),
    ("visual_backprop", {}),
    ("layer_attention", {"layer": "block/c2"}),
    ("layer_attention", {"layer": "c3", "channel": 3}),
]


@pytest.mark.parametrize(("method", "options"), MAPS)
def test_maps_are_those_of_the_twin(method, options, twins):
    found, expected = (attribute(method, m, batch(), classes=1, **options) for m in twins)
    assert np.ptp(expected.maps) > 0
    np.testing.assert_allclose(found.maps, expected.maps, rtol=1e-3, atol=1e-5)
    assert found.notes == expected.notes


def test_layers_and_what_they_answer_are_those_of_the_twin(twins):
    first, last = ({i.name: i for i in KerasLayers(m).describe(SHAPE)} for m in twins)
    assert {name: first[name] for name in last} == last
    answers = (activations(m, batch(), layers=list(last)) for m in twins)
    for found, expected in zip(*answers, strict=True):
        np.testing.assert_allclose(found.array, expected.array, rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(found.dead, expected.dead)
    (turned,) = activations(twins[0], batch(), layers=["turn"])
    np.testing.assert_array_equal(turned.array, batch())


def test_sizes_that_are_known_with_the_samples_only():
    inputs = keras.Input((None, None, 5))
    x = L.Conv2D(4, 3, data_format=FIRST, name="conv")(L.Permute((3, 1, 2))(inputs))
    x = L.GlobalAveragePooling2D(data_format=FIRST)(x)
    infos = {i.name: i for i in KerasLayers(keras.Model(inputs, L.Dense(2)(x))).describe(SHAPE)}
    assert infos["conv"].shape == (6, 5, 4)


def test_the_axis_is_followed_through_the_network():
    inputs = keras.Input((4, 6, 6, 3))
    x = L.Permute((1, 4, 2, 3), name="turned")(inputs)
    x = L.TimeDistributed(L.Conv2D(5, 3, data_format=FIRST), name="steps")(x)
    x = L.Activation("relu", name="active")(tf.nn.elu(x) * 0.5)
    x = L.Reshape((20, 4, 4), name="stacked")(x)
    x = L.MaxPooling2D(2, data_format=FIRST, name="pool")(x)
    scaled = L.Multiply(name="scaled")(
        [L.Reshape((20, 1, 1), name="gate")(L.GlobalAveragePooling2D(data_format=FIRST)(x)), x]
    )
    volume = L.Reshape((2, 10, 2, 2), name="cube")(scaled)
    volume = L.Conv3D(3, 2, padding="same", data_format=FIRST, name="deep")(volume)
    line = L.Conv1D(3, 1, data_format=FIRST, name="line")(L.Reshape((3, 40), name="flat")(volume))
    last = tf.transpose(L.UpSampling2D(2, data_format=FIRST, name="up")(scaled), (0, 2, 3, 1))
    dense = L.Dense(2, name="units")(scaled)
    found = channel_axes(keras.Model(inputs, [line, last, dense]))
    functions = {name: axis for name, axis in found.axes.items() if name.startswith("tf.")}
    assert list(functions.values()) == [2, 2]
    assert {name: axis for name, axis in found.axes.items() if name not in functions} == {
        "turned": 2, "steps": 2, "active": 2, "pool": 1, "scaled": 1, "deep": 1, "line": 1, "up": 1,
    }  # fmt: skip
    assert not found.against


def test_shapes_there_and_back():
    assert moved((5, 8, 7), 1) == (8, 7, 5)
    assert moved((4, 5, 8, None), 2) == (4, 8, None, 5)
    for axis in (None, 1, 2, 3):
        assert restored(moved((2, 3, 4), axis), axis) == (2, 3, 4)


def test_an_input_with_channels_first_has_no_maps_over_rows_and_columns():
    inputs = keras.Input((5, 8, 7))
    x = L.Conv2D(4, 3, data_format=FIRST, name="conv")(L.Rescaling(2.0)(inputs))
    model = keras.Model(inputs, L.Dense(2)(L.Flatten()(x)))
    samples = np.ones((1, 5, 8, 7), np.float32)
    for method in ("gradcam", "gradcam_plus_plus", "guided_gradcam", "visual_backprop"):
        with pytest.raises(
            ModelError, match=r"layer conv reads channels x rows .* Permute"
        ) as error:
            attribute(method, model, samples)
        assert "\n" not in str(error.value)
    assert attribute("layer_attention", model, samples).maps.shape == samples.shape
    assert activations(model, samples, layers=["conv"])[0].array.shape == (1, 6, 5, 4)


def turned(order, dims):
    """A network that turns its input before all else, and its twin that takes channels last."""

    def body(inputs, x):
        x = L.Conv2D(6, 3, padding="same", activation="relu", name="c1")(x)
        x = L.Dense(3, activation="softmax")(L.Flatten()(L.Conv2D(4, 3, name="c2")(x)))
        return keras.Model(inputs, x)

    keras.utils.set_random_seed(1)
    inputs = keras.Input(tuple(SHAPE[axis - 1] for axis in order))
    first = body(inputs, L.Permute(dims, name="turn")(L.Rescaling(2.0)(inputs)))
    inputs = keras.Input(SHAPE)
    last = body(inputs, L.Rescaling(2.0)(inputs))
    last.set_weights(first.get_weights())
    return first, last


PLACED = [
    ("gradcam", {}),
    ("gradcam_plus_plus", {"layer": "c1"}),
    ("guided_gradcam", {}),
    ("visual_backprop", {}),
    ("occlusion", {}),
    ("spectral_occlusion", {}),
    ("rise", {"masks": 20}),
    ("smoothgrad", {"samples": 2}),
    ("smoothgrad_squared", {"samples": 2}),
    ("vargrad", {"samples": 2}),
    ("integrated_gradient", {"baseline": "mean"}),
]
"""Methods that must know which axes of a sample are its pixels."""


@pytest.mark.parametrize(
    ("order", "dims", "words"),
    [
        ((3, 1, 2), (2, 3, 1), "channels x rows x cols"),
        ((1, 3, 2),) * 2 + ("rows x channels x cols",),
    ],
)
def test_an_input_that_is_turned_before_its_convolutions_is_refused(order, dims, words):
    first, last = turned(order, dims)
    samples = np.transpose(batch(), (0, *order))
    refusal = rf"layer c1 reads {words}: .*Permute\({re.escape(str(order))}\)"
    for method, options in PLACED:
        with pytest.raises(ModelError, match=refusal) as error:
            attribute(method, first, samples, classes=1, **options)
        assert "\n" not in str(error.value)
    with pytest.raises(ModelError, match=refusal):
        images(first, classes=1, steps=1)
    with pytest.raises(ModelError, match=refusal):
        faithfulness(Explained("first", first, samples), "gradient")
    ranges = np.ptp(samples, axis=(0, 1, 2))
    for method, options in (
        ("gradient", {}), ("integrated_gradient", {}), ("smoothgrad", {"ranges": ranges}),
    ):  # fmt: skip
        found = attribute(method, first, samples, classes=1, **options).maps
        if method != "smoothgrad":  # whose noise is drawn for the shape
            expected = attribute(method, last, batch(), classes=1).maps
            expected = np.transpose(expected, (0, *order))
            np.testing.assert_allclose(found, expected, atol=1e-3 * np.abs(expected).max())


def test_what_the_refusal_says_gives_the_maps_of_the_twin():
    first, last = turned((3, 1, 2), (2, 3, 1))
    ahead = keras.Sequential([keras.Input(SHAPE), L.Permute((3, 1, 2)), first])
    for method, options in PLACED:
        if method in ("gradcam", "visual_backprop", "occlusion", "smoothgrad"):
            maps = (attribute(method, m, batch(), classes=1, **options).maps for m in (ahead, last))
            found, expected = maps
            np.testing.assert_allclose(found, expected, atol=1e-3 * np.abs(expected).max())


def test_files_that_turn_their_input_are_refused_too(tmp_path):
    for model, refused in zip(turned((3, 1, 2), (2, 3, 1)), (True, False), strict=True):
        path = tmp_path / f"{refused}.tflite"
        path.write_bytes(tf.lite.TFLiteConverter.from_keras_model(model).convert())
        score = lite_score(path)
        samples = np.zeros((1, *score.input_shape), np.float32)
        if refused:
            for method in ("gradcam", "occlusion"):
                with pytest.raises(ModelError, match="layer c1 reads channels x rows x cols"):
                    attribute(method, score, samples)
        else:
            assert attribute("gradcam", score, samples).maps.shape == samples.shape


def test_a_network_that_takes_the_last_axis_too_is_not_refused():
    """A branch along bands and one along places."""
    inputs = keras.Input(SHAPE)
    along = L.Conv2D(2, 3, name="along")(L.Permute((3, 1, 2))(inputs))
    across = L.Conv2D(2, 3, name="across")(inputs)
    units = L.Concatenate()([L.Flatten()(x) for x in (along, across)])
    found = channel_axes(keras.Model(inputs, L.Dense(2)(units)))
    assert found.taken == {"along": (2, 3), "across": (3, 3)}
    assert found.against is None
    spectra = keras.Input((20, 1))
    found = channel_axes(keras.Model(spectra, L.Conv1D(2, 3, name="conv")(spectra)))
    assert found.taken == {"conv": (2, 2)}


COUNTED = [
    (lambda **k: L.Conv1D(5, 3, **k), 1),
    (lambda **k: L.Conv2D(5, (3, 2), strides=2, **k), 2),
    (lambda **k: L.Conv3D(5, 2, padding="same", **k), 3),
    (lambda **k: L.DepthwiseConv1D(2, depth_multiplier=2, **k), 1),
    (lambda **k: L.DepthwiseConv2D(3, depth_multiplier=2, **k), 2),
    (lambda **k: L.SeparableConv1D(5, 3, **k), 1),
    (lambda **k: L.SeparableConv2D(5, 3, **k), 2),
    (lambda **k: L.Conv1DTranspose(5, 3, strides=2, **k), 1),
    (lambda **k: L.Conv2DTranspose(5, 3, strides=2, **k), 2),
    (lambda **k: L.Conv3DTranspose(5, 3, strides=2, **k), 3),
    (lambda **k: L.LocallyConnected2D(5, 3, implementation=2, **k), 2),
    (lambda **k: L.ConvLSTM2D(5, 3, **k), 3),
    (lambda **k: L.ConvLSTM2D(5, 3, return_sequences=True, **k), 3),
    (lambda **k: L.TimeDistributed(L.Conv2D(5, 3, **k)), 3),
]


@pytest.mark.parametrize(("make", "rank"), COUNTED)
def test_multiply_accumulates_are_those_of_the_twin(make, rank):
    sizes, counts = (8, 7, 6)[:rank], []
    stepped = type(make()) in (L.ConvLSTM2D, L.TimeDistributed)  # whose first axis is time
    for order in (FIRST, LAST):
        if order == LAST:
            shape = (*sizes, 3)
        else:
            shape = (sizes[0], 3, *sizes[1:]) if stepped else (3, *sizes)
        inputs = keras.Input(shape)
        counts.append(known_macs(keras.Model(inputs, make(data_format=order)(inputs))))
    assert counts[0] == counts[1] > 0
