"""Explanations against their definitions: closed forms, finite differences, slow literal code."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref

import numpy as np
import pytest

from hsi import explain
from hsi.errors import ModelError, SettingsError
from hsi.explain.attribution import in_batches, make_attribution, rows_at_once

SHAPE = (3, 3, 4)
CLASSES = 3


@pytest.fixture(scope="module")
def keras():
    import tf_keras

    return tf_keras


def with_random_weights(model, seed=3):
    rng = np.random.default_rng(seed)
    model.set_weights([rng.normal(scale=0.4, size=w.shape) for w in model.get_weights()])
    return model


def small_network(keras, *, head="fused", dtype=None, activation="relu"):
    """Convolution, flatten, dense head on 3 x 3 x 4, with weights large enough to matter."""
    layers = keras.layers
    x = inputs = keras.Input(SHAPE, dtype=dtype)
    x = layers.Conv2D(5, 2, activation=activation, name="conv", dtype=dtype)(x)
    x = layers.Flatten(name="flatten", dtype=dtype)(x)
    x = layers.Dense(6, name="dense", activation=activation, dtype=dtype)(x)
    if head == "fused":
        x = layers.Dense(CLASSES, activation="softmax", name="out", dtype=dtype)(x)
    else:
        x = layers.Dense(CLASSES, name="out", dtype=dtype)(x)
        x = {
            "activation": lambda t: layers.Activation("softmax", dtype=dtype)(t),
            "layer": lambda t: layers.Softmax(dtype=dtype)(t),
            "linear": lambda t: t,
        }[head](x)
    return with_random_weights(keras.Model(inputs, x))


def nested_network(keras):
    """The small network inside another model, inside another one."""
    inner = small_network(keras)
    middle_in = keras.Input(SHAPE)
    middle = keras.Model(middle_in, inner(middle_in), name="middle")
    outer_in = keras.Input(SHAPE)
    scaled = keras.layers.Rescaling(1.5, name="scale")(outer_in)
    return keras.Model(outer_in, middle(scaled)), inner


def sequential_network(keras):
    inner = small_network(keras)
    return keras.Sequential([keras.Input(SHAPE), keras.layers.Rescaling(0.5), inner])


def convolution_head_network(keras):
    """A softmax over the channels of a 1 x 1 map, flattened afterwards."""
    layers = keras.layers
    x = inputs = keras.Input(SHAPE)
    x = layers.Conv2D(5, 3, activation="relu")(x)
    x = layers.Conv2D(CLASSES, 1, activation="softmax")(x)
    return with_random_weights(keras.Model(inputs, layers.Flatten()(x)))


def patches(n=9, seed=0, shape=SHAPE):
    return np.random.default_rng(seed).normal(size=(n, *shape)).astype(np.float32)


def softmax(x):
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


# The table


def test_reading_the_table_loads_no_tensorflow():
    code = "import sys, hsi.explain as e; list(e.METHODS); assert 'tensorflow' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_method_of_the_table_is_there():
    for name, method in explain.METHODS.items():
        entry = {"attribution": "attribute", "activations": "activations", "image": "images"}
        own = {"filters": "filters", "model_graph": "graph", "misclassified": "misclassified"}
        wanted = own[name] if method.kind == "model" else entry[method.kind]
        assert callable(getattr(explain.load(name), wanted)), name


def test_unknown_method_names_the_closest():
    with pytest.raises(SettingsError, match="gradient"):
        explain.load("gradent")
    with pytest.raises(SettingsError, match="attributes no score"):
        explain.attribute("activation_map", None, patches())


def test_options_are_those_of_the_method():
    assert explain.options_of("gradient") == {}
    assert explain.options_of("smoothgrad") == {"samples": 50, "noise": 0.15, "ranges": None}


def test_unknown_option_is_refused(keras):
    with pytest.raises(SettingsError, match="samples"):
        explain.attribute("smoothgrad", small_network(keras), patches(), sample=3)


# The score


@pytest.mark.parametrize("head", ["fused", "activation", "layer"])
def test_softmax_of_the_logits_is_the_output(keras, head):
    from hsi.explain.logit_view import logit_model

    model, x = small_network(keras, head=head), patches()
    logits = logit_model(model)(x).numpy()
    np.testing.assert_allclose(softmax(logits), model(x), atol=1e-6)
    assert np.abs(logits.sum(axis=1) - 1).max() > 1e-2  # no probabilities


@pytest.mark.parametrize(
    "build",
    [lambda k: nested_network(k)[0], sequential_network, convolution_head_network],
    ids=["nested", "sequential", "convolution head"],
)
def test_softmax_of_the_logits_of_other_graphs(keras, build):
    from hsi.explain.logit_view import logit_model
    from hsi.explain.score import score_of

    model, x = build(keras), patches()
    logits = logit_model(model)(x).numpy()
    np.testing.assert_allclose(softmax(logits), model(x), atol=1e-6)
    assert np.abs(logits.sum(axis=1) - 1).max() > 1e-2
    assert score_of(model).notes == ()


def test_sigmoid_is_looked_through(keras):
    from hsi.explain.logit_view import logit_model

    model = keras.Sequential(
        [keras.Input(SHAPE), keras.layers.Flatten(), keras.layers.Dense(2, activation="sigmoid")]
    )
    x = patches()
    np.testing.assert_allclose(1 / (1 + np.exp(-logit_model(model)(x))), model(x), atol=1e-6)


def test_the_view_shares_weights_and_leaves_the_model(keras):
    from hsi.explain.logit_view import logit_model

    model, x = small_network(keras), patches()
    before, config = model(x).numpy(), model.get_config()
    view = logit_model(model)
    assert {id(w) for w in view.weights} == {id(w) for w in model.weights}
    assert model.get_config() == config
    assert [w.name for w in model.weights] == [w.name for w in model.trainable_weights]
    np.testing.assert_array_equal(model(x), before)
    assert model.get_layer("dense").output is model.get_layer("out").input
    model.get_layer("out").kernel.assign(model.get_layer("out").kernel * 2)
    np.testing.assert_allclose(softmax(view(x).numpy()), model(x), atol=1e-6)


def test_an_output_without_softmax_is_taken_and_a_squashed_one_is_noted(keras):
    from hsi.explain.logit_view import logit_model
    from hsi.explain.score import score_of

    x = patches()
    linear = small_network(keras, head="linear")
    np.testing.assert_array_equal(logit_model(linear)(x), linear(x))
    assert score_of(linear).notes == ()
    inputs = keras.Input(SHAPE)
    odd = keras.Model(
        inputs, keras.layers.Dense(2, activation="tanh")(keras.layers.Flatten()(inputs))
    )
    result = explain.attribute("gradient", odd, x)
    assert "output is explained itself" in result.notes[0]
    np.testing.assert_allclose(result.scores, odd(x).numpy().max(axis=1), rtol=1e-6)


def test_a_subclassed_model_and_a_callable_are_explained_as_they_are(keras):
    inner = small_network(keras, head="linear")

    class Wrapped(keras.Model):
        def __init__(self):
            super().__init__()
            self.inner = inner

        def call(self, inputs):
            return self.inner(inputs)

    x = patches()
    expected = explain.attribute("gradient", inner, x)
    wrapped = explain.attribute("gradient", Wrapped(), x)
    called = explain.attribute("gradient", lambda t: inner(t), x)
    np.testing.assert_allclose(wrapped.maps, expected.maps, atol=1e-6)
    np.testing.assert_allclose(called.maps, expected.maps, atol=1e-6)
    assert "output is explained itself" in wrapped.notes[0]


def test_several_outputs_are_refused(keras):
    inputs = keras.Input(SHAPE)
    flat = keras.layers.Flatten()(inputs)
    model = keras.Model(inputs, [keras.layers.Dense(2)(flat), keras.layers.Dense(3)(flat)])
    with pytest.raises(ModelError, match="one input and one output"):
        explain.attribute("gradient", model, patches())


def test_a_forgotten_model_is_freed(keras):
    model = small_network(keras)
    explain.attribute("gradient", model, patches(2))
    gone = weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None


def test_one_trace_for_every_batch_of_a_model(keras):
    from hsi.explain.score import score_of

    model = small_network(keras)
    for n in (10, 8, 9, 3, 10):
        explain.attribute("gradient", model, patches(n), batch_size=4)
        explain.attribute("smoothgrad", model, patches(n), batch_size=4, samples=3)
    score = score_of(model)
    for name in ("gradient", "smoothgrad"):
        assert score.compiled(name, None).experimental_get_tracing_count() == 1, name


# Gradient


def linear_network(keras):
    model = keras.Sequential(
        [keras.Input(SHAPE), keras.layers.Flatten(), keras.layers.Dense(CLASSES, name="out")]
    )
    return model, model.get_layer("out").kernel.numpy()


def test_gradient_of_a_linear_network_is_its_weights(keras):
    model, kernel = linear_network(keras)
    x = patches()
    result = explain.attribute("gradient", model, x, classes=1)
    np.testing.assert_allclose(
        result.maps, np.broadcast_to(kernel[:, 1].reshape(SHAPE), x.shape), atol=1e-7
    )
    np.testing.assert_allclose(result.scores, model(x).numpy()[:, 1], rtol=1e-5)
    assert result.maps.dtype == np.float32
    assert result.method == "gradient"


def test_gradient_of_a_relu_network_in_closed_form(keras):
    """logit = V' relu(W' x + b), so its gradient is W diag(W' x + b > 0) V."""
    rng = np.random.default_rng(1)
    size = int(np.prod(SHAPE))
    w, b = rng.normal(size=(size, 7)).astype("f4"), rng.normal(size=7).astype("f4")
    v = rng.normal(size=(7, CLASSES)).astype("f4")
    model = keras.Sequential(
        [
            keras.Input(SHAPE),
            keras.layers.Flatten(),
            keras.layers.Dense(7, activation="relu"),
            keras.layers.Dense(CLASSES, activation="softmax", use_bias=False),
        ]
    )
    model.set_weights([w, b, v])
    x = patches()
    active = (x.reshape(len(x), -1) @ w + b) > 0
    assert 0 < active.mean() < 1
    result = explain.attribute("gradient", model, x, classes=2)
    expected = (active * v[:, 2]) @ w.T
    np.testing.assert_allclose(result.maps.reshape(len(x), -1), expected, rtol=1e-4, atol=1e-5)


def test_gradient_against_finite_differences_in_float64(keras):
    from hsi.explain.logit_view import logit_model

    model = small_network(keras, dtype="float64", activation="tanh")
    x = patches(2).astype(np.float64)
    view, step = logit_model(model), 1e-5
    result = explain.attribute("gradient", model, x)
    rows = np.arange(len(x))
    expected = np.zeros_like(x)
    for index in np.ndindex(*SHAPE):
        up, down = x.copy(), x.copy()
        up[(slice(None), *index)] += step
        down[(slice(None), *index)] -= step
        difference = (view(up).numpy() - view(down).numpy()) / (2 * step)
        expected[(slice(None), *index)] = difference[rows, result.classes]
    np.testing.assert_allclose(result.maps, expected, rtol=1e-5, atol=1e-7)


def test_the_predicted_class_is_the_default(keras):
    model, x = small_network(keras), patches()
    predicted = model(x).numpy().argmax(axis=1)
    assert len(set(predicted)) > 1
    by_default = explain.attribute("gradient", model, x)
    named = explain.attribute("gradient", model, x, classes=predicted)
    np.testing.assert_array_equal(by_default.classes, predicted)
    np.testing.assert_array_equal(by_default.maps, named.maps)
    np.testing.assert_array_equal(by_default.scores, named.scores)


def test_a_saturated_softmax_loses_no_map(keras):
    import tensorflow as tf

    model, x = small_network(keras), patches(40) * 350
    with tf.GradientTape() as tape:
        points = tf.constant(x)
        tape.watch(points)
        best = tf.reduce_max(model(points), axis=1)
    of_softmax = tape.gradient(best, points).numpy().reshape(len(x), -1)
    assert np.mean(~of_softmax.any(axis=1)) > 0.5  # what others show as black squares
    for name in ("gradient", "smoothgrad"):
        result = explain.attribute(name, model, x)
        assert not result.dead.any()
        assert result.notes == ()


def test_a_dead_map_is_said(keras):
    model, x = small_network(keras), patches(4)
    conv = model.get_layer("conv")
    conv.kernel.assign(conv.kernel * 0)
    result = explain.attribute("gradient", model, x)
    assert result.dead.all()
    assert "map of sample 3 is all zero (dead)" in result.notes


def test_values_that_are_not_finite_are_said():
    maps = np.ones((2, 1, 1, 1))
    maps[1] = np.nan
    result = make_attribution(maps, np.zeros(2), np.zeros(2), method="any")
    assert result.notes == ("map of sample 2 holds values that are not finite",)


# Batches, order, input


@pytest.mark.parametrize("method", ["gradient", "smoothgrad"])
@pytest.mark.parametrize("batch_size", [1, 7])
def test_the_batch_size_changes_nothing(keras, method, batch_size):
    model, x = small_network(keras), patches(10)
    whole = explain.attribute(method, model, x, batch_size=1000)
    parts = explain.attribute(method, model, x, batch_size=batch_size)
    np.testing.assert_allclose(parts.maps, whole.maps, atol=1e-6)
    np.testing.assert_allclose(parts.scores, whole.scores, atol=1e-5)
    np.testing.assert_array_equal(parts.classes, whole.classes)


@pytest.mark.parametrize("method", ["gradient", "smoothgrad"])
def test_the_order_of_samples_changes_nothing(keras, method):
    model, x = small_network(keras), patches(10)
    order = np.random.default_rng(5).permutation(len(x))
    straight = explain.attribute(method, model, x)
    shuffled = explain.attribute(method, model, x[order])
    np.testing.assert_allclose(shuffled.maps, straight.maps[order], atol=1e-6)
    np.testing.assert_array_equal(shuffled.classes, straight.classes[order])


@pytest.mark.parametrize("method", ["gradient", "smoothgrad"])
def test_nested_models_have_the_maps_of_flat_ones(keras, method):
    """The outer models scale the input, so by the chain rule their maps are scaled likewise."""
    x = patches()
    outer, inner = nested_network(keras)
    flat = explain.attribute(method, inner, x * np.float32(1.5))
    nested = explain.attribute(method, outer, x)
    np.testing.assert_array_equal(nested.classes, flat.classes)
    np.testing.assert_allclose(nested.maps, 1.5 * flat.maps, atol=1e-5)


def test_batches_are_all_of_one_size():
    sizes = []

    def step(rows):
        sizes.append(len(rows))
        return [rows * 2]

    rows = np.arange(10)
    (doubled,) = in_batches(step, rows, batch_size=4)
    np.testing.assert_array_equal(doubled, rows * 2)
    assert sizes == [4, 4, 4]


def test_rows_at_once_are_as_many_as_hold_two_million_values():
    """A power of two: none that holds more, none that could be doubled, at most 256."""
    for shape in ((5, 5, 200), (9, 9, 20), (224, 224, 3), (2000, 2000, 3), (32, 32, 3), (1,)):
        rows, values = rows_at_once(shape, None), int(np.prod(shape))
        assert rows == 1 or rows * values <= 2**21
        assert rows == 256 or 2 * rows * values > 2**21
        assert rows in {2**k for k in range(9)}
        assert rows_at_once(shape, 7) == 7
    sizes = []
    (maxima,) = in_batches(
        lambda x: [sizes.append(len(x)) or x[:, 0, 0]], np.zeros((5, 1000, 1000)), batch_size=None
    )
    assert sizes == [2, 2, 2]
    assert maxima.shape == (5,)
    with pytest.raises(SettingsError, match="at least 1"):
        rows_at_once((2,), 0)


@pytest.mark.parametrize("method", ["gradient", "smoothgrad"])
@pytest.mark.parametrize(
    ("inputs", "options", "error", "words"),
    [
        (patches(0), {}, SettingsError, "at least one sample"),
        (patches(2, shape=(3, 3, 5)), {}, ModelError, "3 x 3 x 4.*3 x 3 x 5"),
        (patches(2, shape=(3, 3)), {}, ModelError, "3 x 3 x 4"),
        (patches(2), {"classes": 3}, SettingsError, "0 to 2"),
        (patches(2), {"classes": -1}, SettingsError, "from 0"),
        (patches(2), {"classes": np.array([0, 1, 2])}, SettingsError, "one for each of the 2"),
        (patches(2), {"classes": np.array([0.0, 1.0])}, SettingsError, "integers"),
        (patches(2), {"batch_size": 0}, SettingsError, "batch size"),
    ],
)
def test_bad_input_is_one_line(keras, method, inputs, options, error, words):
    with pytest.raises(error, match=words) as caught:
        explain.attribute(method, small_network(keras), inputs, **options)
    assert "\n" not in str(caught.value)


# SmoothGrad


def test_smoothgrad_as_the_paper_writes_it(keras):
    """One noisy copy at a time, eagerly, straight from the formula."""
    import tensorflow as tf

    from hsi.explain.logit_view import logit_model
    from hsi.explain.noise import noise_draws

    model, x = small_network(keras), patches(4)
    view = logit_model(model)
    result = explain.attribute("smoothgrad", model, x, samples=11, noise=0.3, seed=8, batch_size=8)
    deviation = 0.3 * (x.max(axis=(0, 1, 2)) - x.min(axis=(0, 1, 2)))
    for i in range(len(x)):
        chosen = int(view(x[i : i + 1]).numpy().argmax())
        assert result.classes[i] == chosen
        total = np.zeros(SHAPE)
        for draw in noise_draws(SHAPE, 11, seed=8):
            point = tf.constant((x[i] + draw * deviation)[None])
            with tf.GradientTape() as tape:
                tape.watch(point)
                value = view(point)[0, chosen]
            total += tape.gradient(value, point).numpy()[0]
        np.testing.assert_allclose(result.maps[i], total / 11, rtol=1e-4, atol=1e-6)


def test_smoothgrad_without_noise_is_the_gradient(keras):
    model, x = small_network(keras), patches()
    np.testing.assert_allclose(
        explain.attribute("smoothgrad", model, x, noise=0, samples=3).maps,
        explain.attribute("gradient", model, x).maps,
        atol=1e-6,
    )


def test_smoothgrad_keeps_signs(keras):
    """Of a linear network every noisy gradient is the weight itself, sign included."""
    model, kernel = linear_network(keras)
    maps = explain.attribute("smoothgrad", model, patches(2), classes=0).maps
    np.testing.assert_allclose(maps[1], kernel[:, 0].reshape(SHAPE), atol=1e-6)


def test_smoothgrad_repeats_with_its_seed(keras):
    model, x = small_network(keras), patches(3)
    first, again, other = (
        explain.attribute("smoothgrad", model, x, seed=s).maps for s in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-4


def test_given_ranges_make_a_sample_independent_of_its_company(keras):
    model, x = small_network(keras), patches(6)
    ranges = np.ptp(x, axis=(0, 1, 2))
    together = explain.attribute("smoothgrad", model, x).maps
    alone = explain.attribute("smoothgrad", model, x[2:3], ranges=ranges).maps
    np.testing.assert_allclose(alone[0], together[2], atol=1e-6)
    with pytest.raises(SettingsError, match="4 ranges"):
        explain.attribute("smoothgrad", model, x, ranges=ranges[:2])
    with pytest.raises(SettingsError, match="noisy copy"):
        explain.attribute("smoothgrad", model, x, samples=0)


# Activations


def test_activations_are_what_the_layers_answer(keras):
    model, x = small_network(keras), patches(5)
    found = {a.layer: a for a in explain.load("activation_map").activations(model, x)}
    assert list(found) == ["conv", "dense", "out"]
    conv = model.get_layer("conv")(x).numpy()
    np.testing.assert_allclose(found["conv"].array, conv, atol=1e-6)
    dense = model.get_layer("dense")(conv.reshape(len(x), -1)).numpy()
    np.testing.assert_allclose(found["dense"].array, dense, atol=1e-6)
    np.testing.assert_allclose(found["out"].array, model(x), atol=1e-6)
    assert found["conv"].kind == "Conv2D"


def test_activations_do_not_depend_on_the_batch(keras):
    module = explain.load("activation_map")
    model, x = small_network(keras), patches(5)
    whole = module.activations(model, x)
    parts = module.activations(model, x, batch_size=2)
    for a, b in zip(whole, parts, strict=True):
        np.testing.assert_allclose(a.array, b.array, atol=1e-6)


def test_layers_of_nested_models_by_their_path(keras):
    module = explain.load("activation_map")
    outer, inner = nested_network(keras)
    x = patches(3)
    names = module.layer_names(outer)
    path = f"middle/{inner.name}/conv"
    assert path in names
    (found,) = module.activations(outer, x, layers=[path])
    np.testing.assert_allclose(found.array, inner.get_layer("conv")(x * 1.5), atol=1e-6)
    (last,) = module.activations(outer, x, layers=[f"middle/{inner.name}/out"])
    np.testing.assert_allclose(last.array, outer(x), atol=1e-6)
    np.testing.assert_allclose(outer(x), inner(x * 1.5), atol=1e-6)


def test_a_layer_applied_twice_has_two_names(keras):
    module = explain.load("activation_map")
    inputs = keras.Input((4,))
    twice = keras.layers.Dense(4, name="twice")
    model = keras.Model(inputs, twice(twice(inputs)))
    x = patches(2, shape=(4,))
    first, second = module.activations(model, x)
    assert (first.layer, second.layer) == ("twice", "twice#2")
    np.testing.assert_allclose(second.array, model(x), atol=1e-6)
    np.testing.assert_allclose(first.array, x @ twice.kernel.numpy(), atol=1e-6)


def test_dead_channels_are_found(keras):
    model = small_network(keras)
    conv = model.get_layer("conv")
    kernel, bias = conv.get_weights()
    kernel[..., 2], bias[2] = 0, -1
    conv.set_weights([kernel, bias])
    module = explain.load("activation_map")
    (found,) = module.activations(model, patches(20), layers=["conv"])
    np.testing.assert_array_equal(np.flatnonzero(found.dead), [2])


def test_an_unknown_layer_lists_the_closest(keras):
    module = explain.load("activation_map")
    with pytest.raises(ModelError, match=r"no layer 'convv'.*conv"):
        module.activations(small_network(keras), patches(1), layers=["convv"])
