"""A user's own model: of either Keras, with or without its softmax, or none that can be used."""

from __future__ import annotations

import keras as keras_3
import numpy as np
import pytest
import tf_keras as keras

from hsi.compress.graph import channel_groups
from hsi.errors import ModelError
from hsi.models.adopted import adopt

SHAPE = (6, 6, 2)


def classifier(k, ending: str = "softmax"):
    """A small network in either Keras, whose scores end in some way."""
    layers = k.layers
    inputs = k.Input(SHAPE)
    x = layers.Conv2D(4, 3, activation="relu")(inputs)
    if ending == "pooled":
        return k.Model(inputs, layers.GlobalAveragePooling2D()(layers.Conv2D(3, 1)(x)))
    x = layers.Flatten()(x)
    if ending == "softmax":
        x = layers.Dense(3, activation="softmax")(x)
    else:
        x = layers.Dense(3, activation=None if ending in ("layer", "activation") else ending)(x)
    if ending == "layer":
        x = layers.Softmax()(x)
    if ending == "activation":
        x = layers.Activation("softmax")(x)
    return k.Model(inputs, x)


def adopted(model, tmp_path, name: str):
    said: list[str] = []
    model.save(tmp_path / name)
    return adopt(tmp_path / name, say=said.append), said


@pytest.mark.parametrize("kind", ["softmax", "layer", "activation", "linear", "pooled"])
@pytest.mark.parametrize(("k", "name"), [(keras, "m.h5"), (keras, "m.keras"), (keras_3, "m.keras")])
def test_scores_are_probabilities_with_the_classes_of_the_file(kind, k, name, tmp_path):
    model = classifier(k, kind)
    found, said = adopted(model, tmp_path, name)
    inputs = np.random.default_rng(0).normal(size=(50, *SHAPE)).astype(np.float32)
    expected, scores = np.asarray(model(inputs)), found.model(inputs).numpy()
    np.testing.assert_allclose(scores.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_array_equal(scores.argmax(axis=1), expected.argmax(axis=1))
    assert (found.input_shape, found.classes) == (SHAPE, 3)
    assert found.had_logits == (kind in ("linear", "pooled"))
    assert len(said) == found.had_logits
    if found.had_logits:
        powers = np.exp(expected)
        expected = powers / powers.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-6)
    assert channel_groups(found.model)


def refusal(model, tmp_path) -> str:
    path = tmp_path / "model.h5"
    model.save(path)
    with pytest.raises(ModelError) as caught:
        adopt(path)
    text = str(caught.value)
    assert str(path) in text
    assert "\n" not in text
    return text


def test_a_nested_model_ends_as_its_last_layer_does(tmp_path):
    for kind, logits in (("softmax", False), ("linear", True)):
        inputs = keras.Input(SHAPE)
        found, _ = adopted(keras.Model(inputs, classifier(keras, kind)(inputs)), tmp_path, "m.h5")
        assert found.had_logits == logits


def test_models_that_are_no_classifiers_of_one_image_are_one_line(tmp_path):
    layers = keras.layers
    a, b = keras.Input(SHAPE), keras.Input(SHAPE)
    flat = layers.Flatten()
    both = layers.Concatenate()([flat(a), flat(b)])
    scores = layers.Dense(3, activation="softmax")
    free = keras.Input((None, None, 2))
    pooled = layers.GlobalAveragePooling2D()(free)
    for model, expected in (
        (keras.Model([a, b], scores(both)), "one input, got 2"),
        (keras.Model(a, [layers.Dense(2)(flat(a)), layers.Dense(3)(flat(a))]), "one output, got 2"),
        (keras.Model(a, layers.Conv2D(3, 1)(a)), "(n, classes)"),
        (keras.Model(a, layers.Dense(1, activation="sigmoid")(flat(a))), "second one"),
        (classifier(keras, "sigmoid"), "ends with sigmoid"),
        (classifier(keras, "relu"), "ends with relu"),
        (keras.Model(free, layers.Dense(3)(pooled)), "whole numbers"),
        (keras.Sequential([keras.Input((4,)), layers.Dense(3)]), "(rows, cols, channels)"),
        (keras.Model(a, layers.LayerNormalization()(layers.Dense(3)(flat(a)))), "LayerNorm"),
    ):
        assert expected in refusal(model, tmp_path)


def test_a_single_score_names_no_class_in_any_form(tmp_path):
    """Its largest score is always the first, so that all such networks would seem to agree."""
    from hsi.compress.quantize import quantize
    from hsi.deploy.variant import load_variant

    layers = keras.layers
    single = layers.Dense(1, activation="sigmoid")
    model = keras.Sequential([keras.Input(SHAPE), layers.Flatten(), single])
    lite = tmp_path / "model.tflite"
    lite.write_bytes(quantize(model, "float32", calibration=np.zeros((1, *SHAPE), np.float32)))
    said = refusal(model, tmp_path)
    assert "second one" in said
    for path in (tmp_path / "model.h5", lite):
        with pytest.raises(ModelError) as caught:
            load_variant(path)
        assert str(caught.value) == said.replace(str(tmp_path / "model.h5"), str(path))


def test_a_graph_without_layers_is_refused(tmp_path):
    import tensorflow as tf

    class Plain(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((None, *SHAPE), tf.float32)])
        def __call__(self, x):
            return tf.nn.softmax(tf.reduce_mean(x, (1, 2)))

    module = Plain()
    signatures = {"serving_default": module.__call__}
    tf.saved_model.save(module, str(tmp_path / "saved"), signatures)
    with pytest.raises(ModelError, match="functional or sequential"):
        adopt(tmp_path / "saved")
    with pytest.raises(ModelError, match="no such model file"):
        adopt(tmp_path / "none.h5")
