"""Models of half, mixed and double precision: opened in float32, they are used like any other."""

from __future__ import annotations

import json

import keras as keras_3
import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from hsi.cli import main
from hsi.compress.criteria import criterion
from hsi.compress.graph import channel_groups
from hsi.compress.magnitude import prune_magnitude, sparsity_of
from hsi.compress.quantize import quantize
from hsi.deploy.tflite import TFLiteModel
from hsi.errors import ModelError
from hsi.explain import attribute
from hsi.explain.activation_map import activations
from hsi.explain.score import score_of
from hsi.models.adopted import adopt
from hsi.models.files import load_model
from hsi.models.precision import followed_single, in_single, precision_note, single_precision

SHAPE = (6, 6, 2)
STEP = {"mixed_float16": 2**-10, "float16": 2**-10, "mixed_bfloat16": 2**-7, "float64": 2**-23}
"""Distance of numbers next to 1 in the coarser of the model's type and float32."""


def batch(n=6, seed=1):
    return np.random.default_rng(seed).normal(size=(n, *SHAPE)).astype(np.float32)


def shuffled(model, seed=0):
    """The model with random weights, statistics of batch norm included."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        value = rng.normal(scale=0.3, size=weight.shape)
        value = np.abs(value) + 0.5 if "variance" in weight.name else value
        weight.assign(tf.cast(value, weight.dtype))
    return model


def classifier(k, kind, *, last="softmax"):
    """Two convolutions with a batch norm and a dense layer, of that type in either Keras."""
    layers = k.layers
    inputs = k.Input(SHAPE, name="patch")
    x = layers.Conv2D(4, 3, activation="relu", dtype=kind, name="first")(inputs)
    x = layers.Conv2D(4, 3, use_bias=False, dtype=kind, name="second")(x)
    x = layers.BatchNormalization(dtype=kind, name="norm")(x)
    x = layers.Flatten(dtype=kind, name="flat")(layers.ReLU(dtype=kind, name="relu")(x))
    x = layers.Dense(3, dtype=kind, name="scores")(x)
    if last == "softmax":
        x = layers.Activation("softmax", dtype=kind, name="softmax")(x)
    return k.Model(inputs, x, name="small")


def of_many_parts(kind):
    """A model used twice and a layer too, wrappers, cells, operations, what a scaling holds."""
    keras.mixed_precision.set_global_policy(kind)
    try:
        layers = keras.layers
        inside = keras.Input(SHAPE)
        frozen = layers.BatchNormalization(name="frozen")
        x = frozen(layers.SeparableConv2D(2, 3, padding="same")(inside))
        block = keras.Model(inside, layers.Add()([x, inside]), name="block")
        shared = layers.Conv2D(2, 1, activation="tanh", name="shared")
        inputs = keras.Input(SHAPE)
        x = shared(block(shared(block(layers.Normalization(name="scale")(inputs)))))
        x = tf.nn.relu(x) * 0.5 + tf.cast(tf.cast(x, tf.float32), x.dtype)
        x = layers.TimeDistributed(layers.Conv1D(3, 2, activation="elu"))(x)
        x = layers.TimeDistributed(layers.Flatten())(x)
        x = layers.Bidirectional(layers.SimpleRNN(2, return_sequences=True))(x)
        x = layers.RNN([layers.GRUCell(3), layers.SimpleRNNCell(3)])(x)
        outer = keras.Sequential([keras.Input((3,)), layers.Dense(4), layers.ReLU()], name="outer")
        model = keras.Model(inputs, layers.Dense(3, activation="softmax")(outer(x)))
        frozen.trainable = False
    finally:
        keras.mixed_precision.set_global_policy("float32")
    shuffled(model).get_layer("scale").finalize_state()
    return model


def types(model):
    """Floating ones of everything that a model computes with."""
    parts = list(model._flatten_layers(include_self=False))
    tensors = [t for part in (model, *parts) for t in getattr(part, "outputs", None) or ()]
    found = {part.compute_dtype for part in parts} | {t.dtype.name for t in tensors}
    return {name for name in found | {w.dtype.name for w in model.weights} if "float" in name}


OPENED = [
    (of_many_parts, "mixed_float16", "model.h5"),
    (classifier, "mixed_bfloat16", "model.keras"),
    (classifier, "float16", "model.keras"),
    (classifier, "float64", "model.h5"),
]


@pytest.mark.parametrize(("make", "kind", "name"), OPENED)
def test_a_model_of_another_type_is_opened_in_float32(make, kind, name, tmp_path):
    model = shuffled(classifier(keras, kind)) if make is classifier else make(kind)
    expected = model(batch()).numpy().astype(np.float64)
    assert np.ptp(expected) > 0.05
    model.save(tmp_path / name)
    found = load_model(tmp_path / name)
    assert types(found) == {"float32"}
    assert [layer.name for layer in found.layers] == [layer.name for layer in model.layers]
    np.testing.assert_allclose(found(batch()), expected, rtol=0, atol=4 * STEP[kind])
    for mine, other in zip(model.get_weights(), found.get_weights(), strict=True):
        np.testing.assert_array_equal(np.asarray(mine, np.float32), other)
    assert [w.name for w in model.trainable_weights] == [w.name for w in found.trainable_weights]
    assert kind in precision_note(found)
    assert single_precision(found) is found


def test_a_layer_that_stands_in_a_nested_model_too_has_its_weights_in_both():
    layer, inside, inputs = keras.layers.Dense(2, dtype="float16"), keras.Input(2), keras.Input(2)
    x = keras.Model(inside, layer(inside), name="block")(layer(inputs))
    model = shuffled(keras.Model(inputs, keras.layers.Softmax()(x)))
    x = np.random.default_rng(0).normal(size=(5, 2))
    np.testing.assert_allclose(single_precision(model)(x), model(x), rtol=0, atol=2**-9)


def test_a_model_of_float32_is_itself():
    model = classifier(keras, "float32")
    assert single_precision(model) is model
    assert followed_single(model) is model
    assert precision_note(model) == precision_note("no model") == ""


def of_keras_3(kind):
    """With operations between layers, that have no type of their own in a file."""
    layers, inputs = keras_3.layers, keras_3.Input(SHAPE)
    x = layers.Conv2D(4, 3, dtype=kind, name="first")(inputs)
    x = keras_3.ops.relu(x) + x[:, :1] * 0.5
    x = layers.Conv2D(3, 1, dtype=kind)(x) * keras_3.ops.mean(x, axis=(1, 2, 3), keepdims=True)
    x = layers.GlobalAveragePooling2D(dtype=kind)(x)
    return keras_3.Model(inputs, layers.Dense(3, activation="softmax", dtype=kind)(x))


@pytest.mark.parametrize(
    ("kind", "name"),
    [("mixed_float16", "m.keras"), ("bfloat16", "m.keras"), ("bfloat16", "m.h5"),
     ("float64", "m.h5")],
)  # fmt: skip
def test_files_of_keras_3_are_opened_in_float32(kind, name, tmp_path):
    model = of_keras_3(kind)
    model.save(tmp_path / name)
    found = load_model(tmp_path / name)
    expected = np.asarray(keras_3.ops.cast(model(batch()), "float32"))
    assert types(found) == {"float32"}
    np.testing.assert_allclose(found(batch()), expected, rtol=0, atol=8 * STEP.get(kind, 2**-7))
    assert kind in precision_note(found)


def test_a_live_model_of_keras_3_is_explained_in_float32():
    model = of_keras_3("mixed_float16")
    found = attribute("smoothgrad", model, batch(1), classes=1, samples=2)
    assert found.maps.any()
    assert any("mixed_float16" in note for note in found.notes)


# What is done with them


@pytest.fixture(scope="module")
def half():
    return shuffled(classifier(keras, "mixed_float16"))


@pytest.fixture(scope="module")
def opened(half, tmp_path_factory):
    path = tmp_path_factory.mktemp("precision") / "half.h5"
    half.save(path)
    return load_model(path)


def test_a_comparison_says_what_is_computed_in_another_type(half, opened, tmp_path, capsys):
    """Of a file that computes in float32 itself nothing is said."""
    half.save(tmp_path / "half.h5")
    opened.save(tmp_path / "single.h5")
    np.save(tmp_path / "samples.npy", batch(3))
    files = [str(tmp_path / name) for name in ("half.h5", "single.h5")]
    given = ["--inputs", str(tmp_path / "samples.npy"), "--json", str(tmp_path / "found.json")]
    main(["compare", *files, *given, "--what", "outputs"])
    assert "float32" in " ".join(capsys.readouterr().out.split())
    assert json.loads((tmp_path / "found.json").read_text())["notes"] == [
        "half.h5: the network is of mixed_float16; it computes in float32 here, same weights."
    ]


@pytest.mark.parametrize("method", ["smoothgrad", "integrated_gradient"])
def test_methods_explain_the_file_and_the_live_model_alike(method, half, opened):
    found = [attribute(method, model, batch(1), classes=1) for model in (opened, half)]
    np.testing.assert_array_equal(found[0].maps, found[1].maps)
    for one in found:
        assert one.maps.dtype == np.float32
        assert sum("mixed_float16" in note for note in one.notes) == 1
    if method == "integrated_gradient":
        assert found[0].completeness_error.max() < 0.02


def test_a_live_model_is_followed_as_it_learns():
    model = shuffled(classifier(keras, "mixed_float16"))
    first, score = model.get_layer("first"), score_of(model)
    before = score.logits(batch())
    first.set_weights([2 * w for w in first.get_weights()])
    assert score_of(model) is score
    assert not np.allclose(before, score.logits(batch()), atol=0.1)
    (found,) = activations(model, batch(), layers=["softmax"])
    np.testing.assert_allclose(found.array, model(batch()), rtol=0, atol=2**-8)


def test_it_is_scored_and_pruned(half, opened):
    samples = [(batch(12), np.arange(12) % 3)]
    taylor = criterion("taylor")
    found = [taylor(model, samples, channel_groups(model)).scores for model in (opened, half)]
    for name, values in found[0].items():
        assert values.any()
        np.testing.assert_array_equal(found[1][name], values)

    for model in (opened, half):
        pruned = prune_magnitude(model, 0.5, fine_tune=lambda wrapped, _: wrapped(batch()))
        assert sparsity_of(pruned).kernels["second"] == pytest.approx(0.5)


@pytest.mark.parametrize(("mode", "close"), [("float32", 2**-9), ("int8", 0.1)])
def test_it_is_quantized(mode, close, half, opened, tmp_path):
    content = quantize(opened, mode, calibration=batch(20))
    assert len(quantize(half, mode, calibration=batch(20))) == len(content)
    (tmp_path / "m.tflite").write_bytes(content)
    found = TFLiteModel(tmp_path / "m.tflite")(batch())
    np.testing.assert_allclose(found, half(batch()), rtol=0, atol=close)


ADOPTED = [(keras, "m", "softmax"), (keras, "m.h5", "linear"), (keras_3, "m.keras", "softmax")]


@pytest.mark.parametrize(("k", "name", "last"), ADOPTED)
def test_adopting_one_says_so_in_a_line(k, name, last, tmp_path):
    said: list[str] = []
    classifier(k, "mixed_float16", last=last).save(tmp_path / name)
    found = adopt(tmp_path / name, say=said.append)
    assert types(found.model) == {"float32"}
    (line,) = (line for line in said if line.startswith("Note: "))
    assert "mixed_float16" in line
    assert "\n" not in line


# What is no network to rebuild


def test_only_floating_types_of_layers_are_replaced():
    kept = {"dtype": "int32", "name": "float16", "x": [{"dtype": "uint8"}, (1, "float64")]}
    quantized = {"class_name": "QuantizedDTypePolicy", "config": {"name": "int8_from_float16"}}
    assert in_single(kept) == kept
    assert in_single({"dtype": quantized}) == {"dtype": quantized}
    policy = {"class_name": "DTypePolicy", "config": {"name": "mixed_bfloat16"}}
    found = in_single({"config": {"cell": {"dtype": policy}}, "kwargs": {"dtype": tf.float16}})
    assert found == {"config": {"cell": {"dtype": "float32"}}, "kwargs": {"dtype": "float32"}}


class Doubled(keras.layers.Layer):
    """A layer of one's own."""

    def call(self, x):
        return 2 * x


class Unknown(Doubled):
    """One that needs what it does not tell."""

    def __init__(self, factor, **kwargs):
        super().__init__(**kwargs)


def test_layers_of_ones_own_are_rebuilt_or_the_model_is_taken_as_it_is():
    for layer in (Doubled(dtype="mixed_float16"), Unknown(3, dtype="mixed_float16")):
        inputs = keras.Input(SHAPE)
        x = keras.layers.Flatten(dtype="mixed_float16")(layer(inputs))
        model = keras.Model(inputs, keras.layers.Dense(3, name="scores")(x))
        kernel = model.get_layer("scores").get_weights()[0]
        found = attribute("gradient", model, batch(2), classes=1)
        expected = 2 * kernel[:, 1].reshape(SHAPE)
        np.testing.assert_allclose(found.maps[0], expected, rtol=2**-9, atol=1e-6)


def test_a_model_that_cannot_be_rebuilt_is_one_line(monkeypatch):
    model = classifier(keras, "mixed_float16")
    monkeypatch.setattr(keras.Model, "from_config", lambda *_, **__: 1 / 0)
    with pytest.raises(ModelError, match=r"^the network of mixed_float16 cannot .*float32\.$"):
        single_precision(model)


def test_code_in_a_file_of_half_precision_is_not_run(tmp_path):
    inputs = keras.Input(SHAPE)
    x = keras.layers.Lambda(lambda x: 2 * x, dtype="mixed_float16")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Flatten()(x)))
    model.save(tmp_path / "model.h5")
    with pytest.raises(ModelError, match="Python code"):
        load_model(tmp_path / "model.h5")
    trusted = load_model(tmp_path / "model.h5", trust=True)
    np.testing.assert_allclose(trusted(batch(2)), model(batch(2)), rtol=1e-5)
