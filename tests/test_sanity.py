"""The sanity page: weights drawn anew from the top down, and what methods make of it."""

from __future__ import annotations

import numpy as np
import pytest

from hsi import explain
from hsi.errors import ModelError, SettingsError

SHAPE = (5, 5, 12)
CLASSES = 4


@pytest.fixture(scope="module")
def keras():
    import tf_keras

    return tf_keras


@pytest.fixture(scope="module")
def sanity():
    from hsi.compare import sanity

    return sanity


@pytest.fixture(scope="module")
def redraw():
    from hsi.compare import redraw

    return redraw


def spectra(n: int, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Patches whose class is the place of a bump in their spectra, under noise."""
    rng = np.random.default_rng(seed)
    classes = rng.integers(CLASSES, size=n)
    bumps = np.exp(-0.5 * ((np.arange(SHAPE[2]) - 3 * classes[:, None] - 1) / 1.5) ** 2)
    return (bumps[:, None, None] + rng.normal(0, 1, (n, *SHAPE))).astype(np.float32), classes


def layers_of_a_network(keras, x, *, norm=False):
    layers = keras.layers
    x = layers.Conv2D(24, 3, name="conv_1", use_bias=not norm)(x)
    if norm:
        x = layers.BatchNormalization(name="norm")(x)
    x = layers.ReLU(name="relu_1")(x)
    x = layers.Conv2D(16, 3, activation="relu", name="conv_2")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(12, name="dense_1")(x)
    return layers.Dense(CLASSES, activation="softmax", name="scores")(x)


def network(keras, *, norm=False, seed=0):
    inputs = keras.Input(SHAPE)
    model = keras.Model(inputs, layers_of_a_network(keras, inputs, norm=norm))
    rng = np.random.default_rng(seed)
    model.set_weights([rng.normal(0.1, 0.3, w.shape) ** 2 + 0.01 for w in model.get_weights()])
    return model


def nested(keras):
    inner_in = keras.Input(SHAPE)
    inner = keras.Model(
        inner_in, keras.layers.Conv2D(6, 3, activation="relu", name="conv")(inner_in), name="inner"
    )
    inputs = keras.Input(SHAPE)
    x = keras.layers.Flatten()(inner(keras.layers.Rescaling(2.0, name="scale")(inputs)))
    return keras.Model(inputs, keras.layers.Dense(CLASSES, activation="softmax", name="out")(x))


@pytest.fixture(scope="module")
def trained(keras):
    keras.utils.set_random_seed(0)
    inputs = keras.Input(SHAPE)
    model = keras.Model(inputs, layers_of_a_network(keras, inputs))
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(*spectra(512, seed=1), epochs=6, batch_size=64, verbose=0)
    assert model.evaluate(*spectra(256, seed=2), verbose=0)[1] > 0.8
    return model


def samples(n=7, seed=3):
    return spectra(n, seed=seed)[0]


# What it is for


def test_guided_backprop_hardly_notices_and_the_gradient_does(sanity, trained):
    """Adebayo 2018; REFERENCE: .49 against -.05 with the upper layers random."""
    pages = {
        name: sanity.cascade(name, trained, samples(16), seed=0)
        for name in ("gradient", "guided_backprop")
    }
    upper = {name: float(np.median(page.signed[2])) for name, page in pages.items()}
    assert pages["gradient"].random[2] == 3
    assert upper["guided_backprop"] > 0.4
    assert upper["gradient"] < 0.2
    assert upper["guided_backprop"] - upper["gradient"] > 0.3
    assert "guided_backprop hardly notices: rank correlation still ." in (
        pages["guided_backprop"].verdict
    )
    assert pages["gradient"].verdict.startswith("gradient notices: rank correlation ")


# What it does


def test_layers_go_from_the_top_down_with_their_batch_norm(sanity, keras):
    page = sanity.cascade("gradient", network(keras, norm=True), samples())
    assert page.layers == ("scores", "dense_1", "conv_2", "conv_1")
    assert page.random == (1, 2, 3, 4)
    assert page.signed.shape == page.magnitude.shape == (4, 7)
    assert page.maps.shape == (5, *SHAPE)


def weights_after(redraw, model, keras, numbers, *, seed):
    """The weights of a fresh copy with the blocks of these numbers (from the top) drawn anew."""
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    for number, block in enumerate(redraw.blocks_of(copy)):
        if number in numbers:
            for variable, value in zip(
                block.variables, redraw.redrawn(block, seed=seed)[0], strict=True
            ):
                variable.assign(value)
    return copy


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("gradient", {}),
        ("guided_backprop", {}),
        ("smoothgrad", {"samples": 4}),
        ("integrated_gradient", {"points": 8, "most_points": 8}),
        ("gradcam", {"layer": "conv_1"}),
    ],
)
def test_weights_set_in_place_give_the_maps_of_a_network_made_with_them(
    sanity, redraw, keras, method, options
):
    """Compiled functions must read the weights and not remember them."""
    model, inputs = network(keras), samples()
    page = sanity.cascade(method, model, inputs, seed=5, batch_size=4, **options)
    for step in (1, 3):
        fresh = weights_after(redraw, model, keras, range(step + 1), seed=5)
        wanted = explain.attribute(
            method, fresh, inputs, classes=page.classes, seed=5, batch_size=4, **options
        )
        scale = abs(wanted.maps[0]).max()
        np.testing.assert_allclose(page.maps[step + 1], wanted.maps[0], atol=1e-5 * scale)
    intact = explain.attribute(method, model, inputs, seed=5, batch_size=4, **options)
    np.testing.assert_allclose(page.maps[0], intact.maps[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(page.classes, intact.classes)


def test_one_layer_at_a_time_leaves_the_others_learnt(sanity, redraw, keras):
    model, inputs = network(keras), samples()
    page = sanity.cascade("gradient", model, inputs, seed=5, independent=True)
    assert page.random == (1, 1, 1, 1)
    for step in range(4):
        fresh = weights_after(redraw, model, keras, [step], seed=5)
        wanted = explain.attribute("gradient", fresh, inputs, classes=page.classes).maps
        np.testing.assert_allclose(page.maps[step + 1], wanted[0], atol=1e-5 * abs(wanted).max())


def test_correlations_are_those_with_the_intact_network(sanity, redraw, keras):
    from scipy.stats import spearmanr

    model, inputs = network(keras), samples()
    page = sanity.cascade("gradient", model, inputs, classes=2, seed=1)
    intact = explain.attribute("gradient", model, inputs, classes=2).maps
    fresh = weights_after(redraw, model, keras, range(3), seed=1)
    broken = explain.attribute("gradient", fresh, inputs, classes=2).maps
    for i, (a, b) in enumerate(zip(intact, broken, strict=True)):
        wanted = spearmanr(a, b, axis=None).statistic
        assert page.signed[2, i] == pytest.approx(wanted, abs=2e-3)
        wanted = spearmanr(abs(a), abs(b), axis=None).statistic
        assert page.magnitude[2, i] == pytest.approx(wanted, abs=2e-3)


def test_the_model_stays_as_it_is(sanity, keras):
    model = network(keras, norm=True)
    before = [w.copy() for w in model.get_weights()]
    for independent in (False, True):
        sanity.cascade("gradient", model, samples(), independent=independent)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_the_seed_decides(sanity, keras):
    model, inputs = network(keras), samples()
    first, again, other = (sanity.cascade("gradient", model, inputs, seed=s) for s in (1, 1, 2))
    np.testing.assert_array_equal(first.maps, again.maps)
    assert abs(first.signed - other.signed).max() > 0.01


def test_one_score_serves_all_steps(sanity, keras, monkeypatch):
    from hsi.explain.score import Score

    made = []
    plain = Score.__init__
    monkeypatch.setattr(
        Score, "__init__", lambda self, *a, **k: (made.append(self), plain(self, *a, **k))[1]
    )
    sanity.cascade("gradient", network(keras), samples())
    assert len(made) <= 2  # the model's own, and that of the copy
    traces = [f.experimental_get_tracing_count() for s in made for f in s._compiled.values()]
    assert sum(traces) == 1


def test_a_view_of_the_copy_is_explained_in_the_place_of_the_copy(sanity, keras):
    """Here one that takes inputs twice as large: its maps are half of those of the copy."""
    from hsi.explain.score import Score

    model, inputs = network(keras), samples()
    plain = sanity.cascade("gradient", model, inputs)
    half = sanity.cascade(
        "gradient",
        model,
        2 * inputs,
        view=lambda copy: Score(lambda x: sanity.score_of(copy)(x / 2), input_shape=SHAPE),
    )
    np.testing.assert_allclose(2 * half.maps, plain.maps, atol=1e-5 * abs(plain.maps).max())
    np.testing.assert_allclose(half.signed, plain.signed, atol=1e-2)


def test_models_nested_in_models(sanity, keras):
    page = sanity.cascade("guided_backprop", nested(keras), samples())
    assert page.layers == ("out", "inner/conv")
    assert not np.array_equal(page.maps[1], page.maps[2])


def test_few_steps_of_a_deep_network(sanity, keras):
    inputs = x = keras.Input((4, 4, 2))
    for i in range(11):
        x = keras.layers.Conv2D(2, 1, name=f"conv_{i}")(x)
    x = keras.layers.Dense(2, name="out")(keras.layers.Flatten()(x))
    model, patches = keras.Model(inputs, x), np.ones((2, 4, 4, 2), np.float32)
    page = sanity.cascade("gradient", model, patches, most_steps=5)
    assert page.random == (1, 2, 3, 8, 12)
    assert page.layers == ("out", "conv_10", "conv_9", "conv_4", "conv_0")
    assert sanity.cascade("gradient", model, patches, most_steps=1).random == (12,)


# Weights drawn anew


def test_new_weights_are_what_training_would_begin_with(redraw, keras):
    layers = keras.layers
    inputs = x = keras.Input((6, 6, 40))
    x = layers.Conv2D(50, 3, kernel_initializer="he_normal", name="conv")(x)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.DepthwiseConv2D(3, depthwise_initializer=keras.initializers.RandomNormal(3, 0.1))(x)
    x = layers.Dense(60, kernel_initializer="glorot_uniform", bias_initializer="ones")(
        layers.Flatten()(x)
    )
    model = keras.Model(inputs, x)
    model.set_weights([np.full(w.shape, 9.0) for w in model.get_weights()])
    dense, depthwise, conv = redraw.blocks_of(model)
    (kernel, bias), _ = redraw.redrawn(dense, seed=0)
    limit = np.sqrt(6 / (200 + 60))
    assert limit * 0.98 < abs(kernel).max() <= limit
    np.testing.assert_array_equal(bias, 1)
    (kernel, bias), _ = redraw.redrawn(depthwise, seed=0)
    assert kernel.mean() == pytest.approx(3, abs=0.02)
    (kernel, bias, *norm), notes = redraw.redrawn(conv, seed=0)
    assert kernel.std() == pytest.approx(np.sqrt(2 / (9 * 40)), rel=0.05)
    first = dict(zip([v.name.split(":")[0] for v in conv.variables[2:]], norm, strict=True))
    for name, value in {"gamma": 1, "beta": 0, "moving_mean": 0, "moving_variance": 1}.items():
        np.testing.assert_array_equal(first[f"norm/{name}"], value)
    assert not notes


def test_a_seed_of_the_initialiser_does_not_bring_back_what_was_learnt_from(redraw, keras):
    """An untrained network with seeded initialisers has exactly the weights of its seeds."""
    start = keras.initializers.GlorotUniform(seed=0)
    model = keras.Sequential(
        [keras.Input((30,)), keras.layers.Dense(20, kernel_initializer=start, name="out")]
    )
    (block,) = redraw.blocks_of(model)
    for seed in (0, 1):
        kernel = redraw.redrawn(block, seed=seed)[0][0]
        learnt = model.get_weights()[0]
        assert abs(np.corrcoef(kernel.ravel(), learnt.ravel())[0, 1]) < 0.2


def test_layers_of_one_shape_do_not_get_the_same_weights(redraw, keras):
    model = keras.Sequential([keras.Input((9,)), *(keras.layers.Dense(9) for _ in range(2))])
    first, second = (redraw.redrawn(block, seed=0)[0][0] for block in redraw.blocks_of(model))
    assert not np.allclose(first, second)


def test_a_kernel_that_no_initialiser_draws_is_shuffled_and_that_is_said(redraw, keras):
    layer = keras.layers.Dense(8, kernel_initializer="zeros", name="out")
    model = keras.Sequential([keras.Input((9,)), layer])
    model.set_weights([np.arange(72.0).reshape(9, 8), np.zeros(8)])
    (block,) = redraw.blocks_of(model)
    (kernel, _), notes = redraw.redrawn(block, seed=0)
    assert sorted(kernel.ravel()) == list(range(72))
    assert not np.array_equal(kernel, model.get_weights()[0])
    assert len(notes) == 1
    assert "shuffled" in notes[0]


def test_a_layer_that_is_applied_twice_is_drawn_once(redraw, keras):
    shared = keras.layers.Dense(5, name="shared")
    inputs = keras.Input((5,))
    model = keras.Model(inputs, keras.layers.Dense(2, name="out")(shared(shared(inputs))))
    assert [block.name for block in redraw.blocks_of(model)] == ["out", "shared"]


# What is said of it


def verdict(sanity, signed, *, random=None, independent=False):
    signed = np.array(signed, float)[:, None] * np.ones(3)
    random = random or range(1, len(signed) + 1)
    names = [f"layer_{i}" for i in range(len(signed))]
    return sanity.verdict(
        "guided_backprop", names, random, signed, signed / 2, independent=independent
    )


def test_verdicts_are_made_from_the_numbers(sanity):
    assert verdict(sanity, [0.6, 0.5, 0.49, 0.3, 0.1]) == (
        "guided_backprop hardly notices: rank correlation still .49 (magnitudes .24) when the 3 "
        "upper layers are random, .10 when all 5 are"
    )
    assert verdict(sanity, [0.6, 0.3, -0.06, 0.3, -0.001]) == (
        "guided_backprop notices: rank correlation -.06 (magnitudes -.03) when the 3 upper layers "
        "are random, .00 when all 5 are"
    )
    assert verdict(sanity, [0.25]) == (
        "guided_backprop notices in part: rank correlation still .25 (magnitudes .12) when the "
        "top layer is random"
    )
    assert "still .80" in verdict(sanity, [0.9, 0.8, 0.1], random=(1, 3, 9))
    assert "all 9 random the map is dead" in verdict(sanity, [0.9, 0.8, np.nan], random=(1, 3, 9))
    assert verdict(sanity, [np.nan, np.nan]).startswith("guided_backprop cannot be judged")
    assert verdict(sanity, [0.1, 0.9, 0.5], independent=True) == (
        "guided_backprop hardly notices: rank correlation between .10 (layer_0) and .90 (layer_1) "
        "with one layer random"
    )


def test_dead_maps_are_counted_and_not_compared(sanity, keras):
    """A bias far below zero before the ReLU of conv_2: the intact network has no map at all."""
    model = network(keras)
    layer = model.get_layer("conv_2")
    layer.set_weights([layer.get_weights()[0], np.full(16, -1e6)])
    page = sanity.cascade("gradient", model, samples())
    assert np.isnan(page.signed).all()
    assert page.verdict.startswith("gradient cannot be judged")
    assert "scores: 7 of 7 maps are dead or constant there and left out" in page.notes
    assert "map of sample 1 is all zero (dead)" in page.notes


def test_what_cannot_be_drawn_anew_is_refused_in_one_line(sanity, keras):
    from hsi.explain.score import Score

    class OnesOwn(keras.Model):
        def call(self, x):
            return x[:, 0, 0, :2]

    cases = [
        (lambda x: x[:, 0, 0], ModelError, "got function"),
        (Score(lambda x: x[:, 0, 0]), ModelError, "got Score"),
        (OnesOwn(), ModelError, "got OnesOwn"),
        (keras.Sequential([keras.Input(SHAPE), keras.layers.Flatten()]), ModelError, "has none"),
    ]
    for model, error, text in cases:
        with pytest.raises(error, match=text) as caught:
            sanity.cascade("gradient", model, samples())
        assert "\n" not in str(caught.value)
    with pytest.raises(SettingsError, match="at least 1 step"):
        sanity.cascade("gradient", network(keras), samples(), most_steps=0)
    with pytest.raises(SettingsError, match="Unknown method"):
        sanity.cascade("gradent", network(keras), samples())


def test_a_live_model_of_keras_3_is_checked_on_its_copy(sanity):
    import keras as keras3

    model = keras3.Sequential(
        [
            keras3.Input(SHAPE),
            keras3.layers.Conv2D(6, 3, activation="relu", name="conv"),
            keras3.layers.Flatten(),
            keras3.layers.Dense(CLASSES, activation="softmax", name="out"),
        ]
    )
    before = [w.copy() for w in model.get_weights()]
    page = sanity.cascade("guided_backprop", model, samples())
    assert page.layers == ("out", "conv")
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
