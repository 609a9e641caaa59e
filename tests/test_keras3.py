"""Models of Keras 3: rebuilt in tf_keras from a file or live, they compute the same."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shutil
import zipfile

import h5py
import keras as keras_3
import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras
from keras import layers as l3
from keras import ops

from hsi.errors import ModelError
from hsi.explain import attribute
from hsi.explain.score import score_of
from hsi.models.files import load_model, read_config
from hsi.models.keras3 import from_keras3, is_keras3


def shuffled(model, seed=0):
    """The model with random weights, statistics of batch norm included: none has its default."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        value = rng.normal(scale=0.4, size=weight.shape)
        if "var" in weight.name:
            value = np.abs(value) + 0.5
        elif "count" in weight.name:
            value = np.array(7)
        weight.assign(value.astype(weight.dtype))
    for layer in model.layers:
        if isinstance(layer, l3.Normalization):
            layer.finalize_state()
    return model


def batch(model, n=3, seed=1):
    shape = [size or 8 for size in model.input_shape[1:]]
    return np.random.default_rng(seed).normal(size=(n, *shape)).astype(np.float32)


def assert_same(found, model, inputs):
    """Equal outputs, within 1e-5 of the largest."""
    expected = np.asarray(model(inputs, training=False))
    assert isinstance(found, keras.Model)
    got = found(inputs, training=False).numpy()
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    assert np.ptp(expected) > 0


def like_cao():
    return keras_3.Sequential(
        [
            keras_3.Input((5, 5, 6)),
            l3.Conv2D(8, 3, activation="relu", kernel_regularizer="l2", name="first"),
            l3.Conv2D(6, 3, activation="relu", bias_constraint=keras_3.constraints.MaxNorm(3)),
            l3.Flatten(),
            l3.Dense(7),
            l3.Dropout(0.3, seed=4),
            l3.Dense(4, activation="softmax"),
        ],
        name="like_cao",
    )


def like_vgg():
    model = keras_3.Sequential([keras_3.Input((8, 8, 3))])
    for filters in (4, 6):
        for _ in range(2):
            model.add(l3.Conv2D(filters, 3, padding="same", use_bias=False))
            model.add(l3.BatchNormalization(epsilon=1e-2))
            model.add(l3.ReLU())
        model.add(l3.MaxPooling2D())
    model.layers[1].trainable = False  # its weights stand elsewhere in an .h5 file
    for layer in (l3.GlobalAveragePooling2D(), l3.Dense(3), l3.Softmax()):
        model.add(layer)
    return model


def residual():
    inputs = keras_3.Input((6, 6, 3), name="patch")
    x = l3.Conv2D(4, 3, padding="same", name="stem")(inputs)
    y = l3.LeakyReLU(negative_slope=0.1)(x)
    y = l3.Conv2D(4, 3, padding="same", name="again")(y)
    x = l3.Add()([x, y])
    x = l3.Concatenate()([x, l3.AveragePooling2D(2, 1, padding="same")(y), inputs])
    x = ops.relu(x * 2.0 - 0.1) + ops.mean(x, axis=(1, 2), keepdims=True)
    x = l3.Flatten()(x[:, 1:, ::2])
    return keras_3.Model(inputs, l3.Dense(3, activation="softmax")(x))


def nested():
    """Two branches of one shape in a model in a model, one layer and one model used twice."""
    inside = keras_3.Input((4, 4, 3))
    left = l3.Conv2D(3, 3, padding="same", name="left")(inside)
    right = l3.Conv2D(3, 3, padding="same", name="right")(inside)
    frozen = l3.Conv2D(3, 3, padding="same", name="frozen", trainable=False)
    joined = l3.Multiply()([l3.BatchNormalization()(left), frozen(right)])
    block = keras_3.Model(inside, joined, name="block")
    outer = keras_3.Sequential([keras_3.Input((4, 4, 3)), block, l3.PReLU()], name="outer")
    inputs = keras_3.Input((4, 4, 3))
    shared = l3.Conv2D(3, 1, name="shared")
    x = outer(shared(outer(shared(inputs))))
    x = l3.Dense(3, name="scores")(l3.GlobalMaxPooling2D()(x))
    return keras_3.Model(inputs, l3.Activation("softmax")(x))


def in_three_dimensions():
    inputs = keras_3.Input((5, 5, 8, 1))
    x = l3.Conv3D(3, (3, 3, 4), activation="elu")(inputs)
    x = l3.MaxPooling3D((1, 1, 2))(l3.Conv3D(4, (2, 2, 1), strides=(1, 1, 2))(x))
    x = l3.SpatialDropout3D(0.2)(x)
    return keras_3.Model(inputs, l3.Dense(3)(l3.GlobalAveragePooling3D()(x)))


def like_mobilenet():
    inputs = keras_3.Input((8, 8, 3))
    x = l3.Rescaling(1 / 3.0, offset=-0.2)(inputs)
    x = l3.ZeroPadding2D(((0, 1), (0, 1)))(x)
    x = l3.Conv2D(4, 3, strides=2, activation="hard_silu")(x)
    x = l3.DepthwiseConv2D(3, padding="same", depth_multiplier=2, use_bias=False)(x)
    x = l3.ReLU(6.0)(l3.BatchNormalization(momentum=0.9)(x))
    squeezed = l3.GlobalAveragePooling2D(keepdims=True)(x)
    x = x * l3.Activation("hard_sigmoid")(l3.Conv2D(8, 1)(squeezed))
    x = l3.SeparableConv2D(5, 3, padding="same", activation=l3.LeakyReLU(0.2))(x)
    return keras_3.Model(inputs, l3.Dense(3, activation="softmax")(l3.Flatten()(x)))


MODELS = [like_cao, like_vgg, residual, nested, in_three_dimensions, like_mobilenet]


@pytest.mark.parametrize("make", MODELS)
def test_a_model_computes_the_same_from_either_file_and_live(make, tmp_path):
    model = shuffled(make())
    inputs = batch(model)
    assert_same(from_keras3(model), model, inputs)
    for ending in ("h5", "keras"):
        path = tmp_path / f"model.{ending}"
        model.save(path)
        opened = load_model(path)
        assert_same(opened, model, inputs)
        assert opened.count_params() == model.count_params()
        assert opened.name == model.name


def test_a_sequential_model_stays_one_with_its_names_and_settings():
    found = from_keras3(like_cao())
    assert isinstance(found, keras.Sequential)
    assert found.layers[0].name == "first"
    first, second = found.layers[:2]
    assert first.kernel_regularizer.l2 == pytest.approx(0.01)
    assert second.bias_constraint.max_value == 3
    assert type(first.kernel_initializer).__name__ == "GlorotUniform"
    assert not from_keras3(like_vgg()).layers[1].trainable


FLAT, FIELD, SPACE = (7, 3), (6, 6, 3), (4, 6, 4, 2)
LAYERS = [
    (FLAT, l3.Conv1D(2, 3, padding="causal", dilation_rate=2)),
    (FLAT, l3.Conv1DTranspose(2, 3, strides=2)),
    (FLAT, l3.SeparableConv1D(2, 3, depth_multiplier=2)),
    (FLAT, l3.DepthwiseConv1D(3, depth_multiplier=2)),
    (FLAT, l3.AveragePooling1D(2)),
    (FLAT, l3.MaxPooling1D(3, 2, padding="same")),
    (FLAT, l3.GlobalAveragePooling1D()),
    (FLAT, l3.GlobalMaxPooling1D()),
    (FLAT, l3.ZeroPadding1D(2)),
    (FLAT, l3.Cropping1D((1, 2))),
    (FLAT, l3.UpSampling1D(2)),
    (FLAT, l3.Permute((2, 1))),
    (FLAT, l3.Reshape((3, -1))),
    (FLAT, l3.LayerNormalization(epsilon=0.1)),
    (FLAT, l3.UnitNormalization()),
    (FLAT, l3.Dense(2, activation="gelu")),
    (FLAT, l3.SpatialDropout1D(0.3)),
    (FIELD, l3.Conv2D(4, 2, groups=1, dilation_rate=2, activation="leaky_relu")),
    (FIELD, l3.Conv2DTranspose(2, 3, strides=2, padding="same", output_padding=1)),
    (FIELD, l3.SeparableConv2D(2, 3, strides=2, depth_multiplier=2, activation="silu")),
    (FIELD, l3.DepthwiseConv2D((2, 3), strides=2, depth_multiplier=3)),
    (FIELD, l3.BatchNormalization(axis=1, scale=False)),
    (FIELD, l3.LayerNormalization(axis=(1, 3), center=False)),
    (FIELD, l3.GroupNormalization(3)),
    (FIELD, l3.Normalization()),
    (FIELD, l3.Normalization(mean=[1.0, 2.0, 3.0], variance=[1.0, 4.0, 2.0], invert=True)),
    (FIELD, l3.AveragePooling2D(3, 2, padding="same")),
    (FIELD, l3.MaxPooling2D((2, 3))),
    (FIELD, l3.GlobalMaxPooling2D(keepdims=True)),
    (FIELD, l3.Cropping2D(((1, 0), (2, 1)))),
    (FIELD, l3.UpSampling2D(2, interpolation="bilinear")),
    (FIELD, l3.Resizing(9, 4)),
    (FIELD, l3.CenterCrop(4, 3)),
    (FIELD, l3.Rescaling([1.0, 2.0, 3.0], offset=[0.1, 0.2, 0.3])),
    (FIELD, l3.RandomFlip(seed=1)),
    (FIELD, l3.RandomRotation(0.2)),
    (FIELD, l3.RandomZoom(0.2)),
    (FIELD, l3.RandomTranslation(0.1, 0.1)),
    (FIELD, l3.RandomContrast(0.2)),
    (FIELD, l3.PReLU(shared_axes=(1, 2))),
    (FIELD, l3.ELU(alpha=0.5)),
    (FIELD, l3.ReLU(max_value=0.8, negative_slope=0.1, threshold=0.05)),
    (FIELD, l3.LeakyReLU()),
    (FIELD, l3.Softmax(axis=1)),
    (FIELD, l3.Activation("hard_sigmoid")),
    (FIELD, l3.Activation("log_sigmoid")),
    (FIELD, l3.Activation("hard_silu")),
    (FIELD, l3.SpatialDropout2D(0.3)),
    (FIELD, l3.GaussianNoise(0.3)),
    (FIELD, l3.GaussianDropout(0.3)),
    (FIELD, l3.ActivityRegularization(l2=0.1)),
    (FIELD, l3.Identity()),
    (SPACE, l3.Conv3DTranspose(2, 2, strides=2)),
    (SPACE, l3.AveragePooling3D(2)),
    (SPACE, l3.GlobalMaxPooling3D()),
    (SPACE, l3.ZeroPadding3D(1)),
    (SPACE, l3.Cropping3D((1, 2, 1))),
    (SPACE, l3.UpSampling3D(2)),
    ((5,), l3.RepeatVector(3)),
]


@pytest.mark.parametrize(("shape", "layer"), LAYERS, ids=lambda x: getattr(x, "name", ""))
def test_each_layer_computes_the_same(shape, layer):
    model = shuffled(keras_3.Sequential([keras_3.Input(shape), layer]))
    assert_same(from_keras3(model), model, batch(model))


MERGES = [
    l3.Subtract(),
    l3.Multiply(),
    l3.Average(),
    l3.Maximum(),
    l3.Minimum(),
    l3.Concatenate(axis=1),
]
OPERATIONS = {
    "tensors": lambda x, y: (x + y) * y - x / (ops.abs(y) + 1.0),
    "numbers": lambda x, y: 2.0 - 3.0 * x + y**2 / 4.0 + 1.0 / (ops.square(x) + 1.0),
    "ranks": lambda x, y: x + ops.mean(y, axis=(1, 2), keepdims=False)[:, None, None],
    "nonlinear": lambda x, y: ops.sigmoid(x) + ops.tanh(y) + ops.silu(x) + ops.relu6(y),
    "soft": lambda x, y: ops.softmax(x, axis=1) + ops.leaky_relu(y, 0.3) + ops.elu(x),
    "shape": lambda x, y: ops.reshape(ops.transpose(x, (0, 3, 1, 2)), (-1, 4, 4, 3)) + y,
    "extremes": lambda x, y: ops.maximum(x, y) - ops.minimum(x, 0.1) + ops.max(y, axis=1)[:, None],
    "join": lambda x, y: ops.concatenate([x, ops.expand_dims(y[:, 0], 1)], axis=1),
    "roots": lambda x, y: ops.sqrt(ops.exp(x)) + ops.log(ops.sum(y**2, axis=-1, keepdims=True)),
}


@pytest.mark.parametrize("join", [*MERGES, *OPERATIONS.values()])
def test_each_way_to_join_tensors_computes_the_same(join):
    inputs = keras_3.Input((4, 4, 3))
    x, y = l3.Conv2D(3, 1)(inputs), l3.Conv2D(3, 1)(inputs)
    made = join([x, y]) if isinstance(join, l3.Layer) else join(x, y)
    model = shuffled(keras_3.Model(inputs, made))
    assert_same(from_keras3(model), model, batch(model))


# Explanations of live models


def test_the_gradient_is_that_of_tf_keras_and_of_keras_3_itself():
    model = shuffled(nested())
    inputs = batch(model, n=5)
    found = attribute("gradient", model, inputs, batch_size=2)
    logits = keras_3.Model(model.inputs, model.get_layer("scores").output)
    with tf.GradientTape() as tape:
        watched = tf.constant(inputs)
        tape.watch(watched)
        scores = tf.reduce_max(logits(watched), axis=1)
    expected = tape.gradient(scores, watched).numpy()
    bound = 1e-5 * np.abs(expected).max()
    np.testing.assert_allclose(found.maps, expected, rtol=0, atol=bound)
    twin = attribute("gradient", from_keras3(model), inputs)
    np.testing.assert_allclose(found.maps, twin.maps, rtol=0, atol=bound)
    np.testing.assert_allclose(found.scores, scores, rtol=1e-5)
    assert not found.notes
    assert score_of(model) is score_of(model)


def test_a_live_model_is_compiled_once_and_followed_as_it_learns():
    model = shuffled(like_cao())
    inputs = batch(model)
    first = attribute("gradient", model, inputs)
    score = score_of(model)
    model.layers[0].kernel.assign(model.layers[0].kernel * 0.5)
    second = attribute("gradient", model, inputs)
    assert score_of(model) is score
    np.testing.assert_array_equal(
        second.maps, attribute("gradient", from_keras3(model), inputs).maps
    )
    assert np.abs(first.maps - second.maps).max() > 1e-3


def test_a_live_model_that_is_changed_is_rebuilt():
    model = keras_3.Sequential([keras_3.Input((4,)), l3.Normalization(), l3.Dense(3)])
    shuffled(model)
    inputs = batch(model)
    before = attribute("gradient", model, inputs).maps
    model.layers[0].adapt(10 * inputs)
    normalized = attribute("gradient", model, inputs).maps
    np.testing.assert_array_equal(
        normalized, attribute("gradient", from_keras3(model), inputs).maps
    )
    assert np.abs(before - normalized).max() > 1e-3
    model.add(l3.Rescaling(3.0))
    np.testing.assert_allclose(attribute("gradient", model, inputs).maps, 3 * normalized, rtol=1e-5)


def test_methods_that_need_layers_work_on_a_live_model():
    model = shuffled(like_cao())
    found = attribute("gradcam", model, batch(model), layer="first")
    assert found.maps.shape[:3] == (3, 5, 5)


class Doubled(l3.Layer):
    def call(self, x):
        return 2.0 * x


def test_a_live_model_with_a_layer_of_its_own_is_taken_as_it_is():
    inputs = keras_3.Input((4,))
    model = keras_3.Model(inputs, l3.Dense(3)(Doubled(name="mine")(inputs)))
    kernel = model.layers[-1].kernel.numpy()
    found = attribute("gradient", model, batch(model), classes=1)
    np.testing.assert_allclose(found.maps, np.tile(2 * kernel[:, 1], (3, 1)), rtol=1e-5)
    assert any("'mine' of Keras 3 is a Doubled" in note for note in found.notes)


class Subclassed(keras_3.Model):
    def __init__(self):
        super().__init__()
        self.dense = l3.Dense(3)

    def call(self, x):
        return self.dense(x)


def test_a_subclassed_live_model_is_taken_as_it_is():
    model, inputs = Subclassed(), np.ones((2, 4), np.float32)
    found = attribute("gradient", model, inputs, classes=0)
    np.testing.assert_allclose(found.maps, np.tile(model.dense.kernel[:, 0], (2, 1)), rtol=1e-5)
    assert any("got a Subclassed" in note for note in found.notes)
    with pytest.raises(ModelError, match="got a Subclassed"):
        from_keras3(model)


def test_which_models_are_of_keras_3():
    assert is_keras3(like_cao())
    assert not is_keras3(keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]))
    assert not is_keras3(l3.Dense(2))


# Files that cannot be opened


def refusal(path, **options) -> str:
    with pytest.raises(ModelError) as caught:
        load_model(path, **options)
    text = str(caught.value)
    assert str(path) in text
    assert "\n" not in text
    return text


@pytest.fixture(scope="module", params=["keras", "h5"])
def stored(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("keras3") / f"model.{request.param}"
    shuffled(residual()).save(path)
    return path


def edited(source, path, *, config=None, weights=None):
    """A copy whose configuration, or whose HDF5 file of weights, went through a function."""
    if source.suffix == ".h5":
        shutil.copy(source, path)
        with h5py.File(path, "r+") as file:
            if config:
                file.attrs["model_config"] = json.dumps(
                    config(json.loads(file.attrs["model_config"]))
                )
            if weights:
                weights(file["model_weights"])
        return path
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "config.json" and config:
                content = json.dumps(config(json.loads(content)))
            if name == "model.weights.h5" and weights:
                held = io.BytesIO(content)
                with h5py.File(held, "r+") as file:
                    weights(file)
                content = held.getvalue()
            new.writestr(name, content)
    return path


def first_kernel(file):
    """Group and name of the kernel of the layer "stem"."""
    return (file["layers/conv2d/vars"], "0") if "layers" in file else (file["stem/stem"], "kernel")


def test_a_truncated_file_is_refused(stored, tmp_path):
    data, path = stored.read_bytes(), tmp_path / stored.name
    for end in np.linspace(0, len(data) - 1, 8).astype(int):
        path.write_bytes(data[:end])
        refusal(path)


def test_a_garbled_file_is_refused_or_opened_but_nothing_else(stored, tmp_path):
    data, rng, refused = stored.read_bytes(), np.random.default_rng(0), 0
    path = tmp_path / stored.name
    for _ in range(12):
        damaged = bytearray(data)
        for position in rng.integers(len(data), size=30):
            damaged[position] = rng.integers(256)
        path.write_bytes(damaged)
        with contextlib.suppress(ModelError):
            load_model(path)
            continue
        refused += 1
    assert refused > 2


def test_weights_that_are_missing_or_of_another_shape_are_refused(stored, tmp_path):
    def missing(file):
        group, name = first_kernel(file)
        del group[name]

    def shorter(file):
        group, name = first_kernel(file)
        array = group[name][:2]
        del group[name]
        group[name] = array

    def elsewhere(file):
        group, name = first_kernel(file)
        with h5py.File(tmp_path / "other.h5", "w") as other:
            other["secret"] = group[name][()]
        del group[name]
        group[name] = h5py.ExternalLink(str(tmp_path / "other.h5"), "secret")

    def path(name):
        return tmp_path / f"{name}{stored.suffix}"

    assert "stem" in refusal(edited(stored, path("shorter"), weights=shorter))
    assert re.search(
        "missing|expected weights", refusal(edited(stored, path("a"), weights=missing))
    )
    assert "lies elsewhere" in refusal(edited(stored, path("b"), weights=elsewhere))


def test_an_archive_without_weights_is_refused(tmp_path):
    like_cao().save(tmp_path / "whole.keras")
    with (
        zipfile.ZipFile(tmp_path / "whole.keras") as old,
        zipfile.ZipFile(tmp_path / "bare.keras", "w") as new,
    ):
        for name in ("config.json", "metadata.json"):
            new.writestr(name, old.read(name))
    assert "no model.weights.h5" in refusal(tmp_path / "bare.keras")


def test_an_unknown_layer_activation_or_setting_is_named(tmp_path):
    def saved(name, *inner):
        keras_3.Sequential([keras_3.Input((4, 4)), *inner]).save(tmp_path / name)
        return tmp_path / name

    assert "'a' of Keras 3 is a LSTM" in refusal(saved("a.keras", l3.LSTM(3, name="a")))
    text = refusal(saved("b.h5", l3.Activation("tanh_shrink", name="b")))
    assert "'b'" in text
    assert "'tanh_shrink'" in text
    text = refusal(saved("c.keras", l3.LayerNormalization(rms_scaling=True, name="c")))
    assert "'c' (LayerNormalization) of Keras 3 has rms_scaling=True" in text
    inputs = keras_3.Input((4, 4))
    keras_3.Model(inputs, ops.cumsum(inputs, axis=1)).save(tmp_path / "d.keras")
    assert "the operation Cumsum of Keras 3" in refusal(tmp_path / "d.keras")


def test_a_broken_configuration_is_refused(stored, tmp_path):
    def renamed(config):
        config["config"]["layers"][0]["config"]["name"] = "other"
        config["config"]["layers"][0]["name"] = "other"
        return config

    def foreign(config):
        return {**config, "class_name": "Dense"}

    def cut(config):
        del config["config"]["layers"][2]["config"]
        return config

    for edit, said in (
        (renamed, "nothing makes"),
        (foreign, "got a Dense"),
        (cut, "could not open"),
    ):
        path = edited(stored, tmp_path / f"{edit.__name__}{stored.suffix}", config=edit)
        assert said in refusal(path)


def test_the_input_is_read_from_the_configuration_without_building(stored):
    first = read_config(stored)["config"]["layers"][0]
    assert first["config"]["batch_shape"] == [None, 6, 6, 3]


# Code


def marked_lambda(target):
    """A Lambda layer that leaves a file behind when it runs."""
    return l3.Lambda(
        lambda x, target=str(target): (open(target, "w").close(), x * 2)[1], name="innocent"
    )


@pytest.mark.parametrize("ending", ["keras", "h5"])
@pytest.mark.parametrize("inner", [False, True])
def test_a_lambda_layer_runs_only_where_it_is_trusted(tmp_path, ending, inner):
    target = tmp_path / "ran"
    layers = [keras_3.Input((4,)), marked_lambda(target)]
    part = [keras_3.Sequential(layers, name="part")] if inner else layers[1:]
    model = keras_3.Sequential([keras_3.Input((4,)), l3.Dense(4), *part])
    path = tmp_path / f"hostile.{ending}"
    model.save(path)
    inputs = batch(model)
    expected = np.asarray(model(inputs))
    assert target.exists()  # building it here ran it
    os.remove(target)
    text = refusal(path)
    assert "'innocent' is a Lambda" in text
    assert "--trust" in text
    assert not target.exists()
    found = load_model(path, trust=True)(inputs)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert target.exists()


@keras_3.saving.register_keras_serializable("strange")
class Strange(l3.Layer):
    def call(self, x):
        return x


def test_a_layer_of_a_foreign_module_is_refused_and_with_trust_unknown(tmp_path):
    path = tmp_path / "strange.keras"
    keras_3.Sequential([keras_3.Input((4,)), Strange(name="odd")]).save(path)
    assert "--trust" in refusal(path)
    assert "is a Strange" in refusal(path, trust=True)
