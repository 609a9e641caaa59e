"""Attribution methods against slow literal code, closed forms, and what must hold for all."""

from __future__ import annotations

import numpy as np
import pytest

from hsi import explain
from hsi.errors import ModelError, SettingsError

SHAPE = (4, 4, 3)
CLASSES = 3
ATTRIBUTIONS = [name for name, method in explain.METHODS.items() if method.kind == "attribution"]
FEW = {"rise": {"masks": 30}, "smoothgrad": {"samples": 7}}
"""Options that keep a method short."""


@pytest.fixture(scope="module")
def keras():
    import tf_keras

    return tf_keras


@pytest.fixture(scope="module")
def model(keras):
    """One network for tests that leave its weights alone, so that little is compiled."""
    return network(keras)


@pytest.fixture(scope="module")
def inside(keras):
    """The same network in models in models."""
    return nested(keras)


def patches(n=5, seed=0, shape=SHAPE):
    return np.random.default_rng(seed).normal(size=(n, *shape)).astype(np.float32)


def attribute(name, model, x, **options):
    return explain.attribute(name, model, x, **{**FEW.get(name, {}), **options})


# A network twice: in Keras, and in NumPy with a backward pass written out by hand


def weights(seed=3):
    rng = np.random.default_rng(seed)
    shapes = [(2, 2, 3, 5), (5,), (2, 2, 5, 4), (4,), (16, 6), (6,), (6, CLASSES), (CLASSES,)]
    return [rng.normal(scale=0.5, size=shape).astype(np.float32) for shape in shapes]


def network(keras, form="fused", head="softmax", start=None):
    """Two convolutions (maps of 3 x 3 and 2 x 2) and two dense layers, ReLUs in that form."""
    import tensorflow as tf

    layers = keras.layers
    after = {
        "fused": lambda t: t,
        "activation": lambda t: layers.Activation("relu")(t),
        "layer": lambda t: layers.ReLU()(t),
        "operation": lambda t: tf.nn.relu(t),
    }[form]
    fused = "relu" if form == "fused" else None
    x = inputs = keras.Input(SHAPE if start is None else start)
    x = after(layers.Conv2D(5, 2, activation=fused, name="conv_1")(x))
    x = after(layers.Conv2D(4, 2, activation=fused, name="conv_2")(x))
    x = after(layers.Dense(6, activation=fused, name="dense")(layers.Flatten(name="flatten")(x)))
    model = keras.Model(inputs, layers.Dense(CLASSES, activation=head, name="out")(x))
    model.set_weights(weights())
    return model


def nested(keras, form="fused"):
    """The network in a model in a sequential model."""
    inner = network(keras, form)
    outside = keras.Input(SHAPE)
    middle = keras.Model(outside, inner(outside), name="middle")
    return keras.Sequential([keras.Input(SHAPE), middle])


def convolve(x, kernel, bias):
    size, rows, cols = kernel.shape[0], x.shape[0] - 1, x.shape[1] - 1
    out = np.zeros((rows, cols, kernel.shape[3]))
    for r in range(rows):
        for c in range(cols):
            window = x[r : r + size, c : c + size]
            out[r, c] = np.einsum("ijk,ijkl->l", window, kernel) + bias
    return out


def convolve_back(upstream, kernel, shape):
    size, out = kernel.shape[0], np.zeros(shape)
    for r in range(upstream.shape[0]):
        for c in range(upstream.shape[1]):
            out[r : r + size, c : c + size] += np.einsum("l,ijkl->ijk", upstream[r, c], kernel)
    return out


RULES = {
    "gradient": lambda x, r: r * (x > 0),
    "guided_backprop": lambda x, r: r * (x > 0) * (r > 0),
    "deconvnet": lambda x, r: r * (r > 0),
}


class ByHand:
    """The network on one sample: `before` holds what goes into each ReLU."""

    def __init__(self, x):
        self.w = [w.astype(np.float64) for w in weights()]
        self.x = x.astype(np.float64)
        a = convolve(self.x, self.w[0], self.w[1])
        b = convolve(np.maximum(a, 0), self.w[2], self.w[3])
        c = np.maximum(b, 0).ravel() @ self.w[4] + self.w[5]
        self.before = [a, b, c]
        self.logits = np.maximum(c, 0) @ self.w[6] + self.w[7]

    def back(self, upstream, rule, *, layer, until=0):
        """From the output of ReLU `layer` (0, 1, 2) to that of ReLU `until` - 1; 0 is the input."""
        for at in range(layer, until - 1, -1):
            upstream = RULES[rule](self.before[at], upstream)
            if at == 2:
                upstream = (self.w[4] @ upstream).reshape(self.before[1].shape)
            elif at == 1:
                upstream = convolve_back(upstream, self.w[2], self.before[0].shape)
            else:
                upstream = convolve_back(upstream, self.w[0], self.x.shape)
        return upstream

    def gradient(self, klass, rule="gradient", until=0):
        return self.back(self.w[6][:, klass], rule, layer=2, until=until)


def linear(keras, bias=False):
    """logit = W' x (+ b)."""
    model = keras.Sequential(
        [keras.Input(SHAPE), keras.layers.Flatten(), keras.layers.Dense(CLASSES, use_bias=bias)]
    )
    rng = np.random.default_rng(4)
    model.set_weights([rng.normal(size=w.shape) for w in model.get_weights()])
    return model, model.get_weights()[0].T.reshape(CLASSES, *SHAPE)


# Gradients of noisy copies


def test_square_and_variance_forms_as_the_papers_write_them(keras):
    from hsi.explain.noise import noise_draws

    x, model = patches(3), network(keras)
    options = {"samples": 9, "noise": 0.3, "seed": 8, "batch_size": 8}
    squared = explain.attribute("smoothgrad_squared", model, x, **options)
    variance = explain.attribute("vargrad", model, x, **options)
    deviation = 0.3 * np.ptp(x, axis=(0, 1, 2))
    for i in range(len(x)):
        klass = int(ByHand(x[i]).logits.argmax())
        noisy = [x[i] + draw * deviation for draw in noise_draws(SHAPE, 9, seed=8)]
        each = np.stack([ByHand(point).gradient(klass) for point in noisy])
        np.testing.assert_allclose(squared.maps[i], (each**2).mean(0), rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(variance.maps[i], each.var(0), rtol=1e-4, atol=1e-6)
    assert squared.quantity == variance.quantity == "squared gradient"
    assert (squared.maps >= 0).all()
    assert (variance.maps >= 0).all()


def test_a_linear_network_has_no_variance_and_that_is_said(keras):
    model, kernel = linear(keras, bias=True)
    found = explain.attribute("vargrad", model, patches(2), classes=1)
    assert found.dead.all()
    assert "map of sample 2 is all zero (dead)" in found.notes
    squared = explain.attribute("smoothgrad_squared", model, patches(2), classes=1)
    np.testing.assert_allclose(squared.maps[0], kernel[1] ** 2, rtol=1e-5)


def test_input_times_gradient_of_a_network_without_biases_sums_to_the_logit(keras):
    model = network(keras)
    model.set_weights([w * (w.ndim > 1) for w in model.get_weights()])
    found = explain.attribute("input_times_gradient", model, patches())
    np.testing.assert_allclose(found.maps.sum(axis=(1, 2, 3)), found.scores, rtol=1e-4)
    assert found.quantity == "contribution"


# Integrated gradients


@pytest.mark.parametrize("baseline", ["zero", "mean", "blurred", "number", "array"])
def test_integrated_gradients_of_a_linear_network_in_closed_form(keras, baseline):
    from scipy.ndimage import gaussian_filter

    (model, kernel), x = linear(keras, bias=True), patches()
    start = {
        "zero": np.zeros_like(x),
        "mean": np.broadcast_to(x.mean(axis=(0, 1, 2)), x.shape),
        "blurred": np.stack([gaussian_filter(s, (1, 1, 0), mode="nearest") for s in x]),
        "number": np.full_like(x, 0.5),
        "array": np.broadcast_to(patches(1, seed=9)[0], x.shape),
    }[baseline]
    given = {"number": 0.5, "array": patches(1, seed=9)[0]}.get(baseline, baseline)
    found = explain.attribute("integrated_gradient", model, x, classes=2, baseline=given, points=1)
    np.testing.assert_allclose(found.maps, (x - start) * kernel[2], rtol=1e-4, atol=1e-5)
    assert found.completeness_error.max() < 1e-4
    assert found.notes == ()


def test_integrated_gradients_point_by_point(model):
    x, start = patches(2), patches(1, seed=5)[0]
    found = explain.attribute(
        "integrated_gradient", model, x, baseline=start, points=6, most_points=6,
        batch_size=4,
    )  # fmt: skip
    places, shares = np.polynomial.legendre.leggauss(6)
    for i in range(len(x)):
        logits = ByHand(x[i]).logits
        klass = int(logits.argmax())
        total = np.zeros(SHAPE)
        for place, share in zip(places, shares, strict=True):
            point = start + (place + 1) / 2 * (x[i] - start)
            total += share / 2 * ByHand(point).gradient(klass)
        expected = (x[i] - start) * total
        np.testing.assert_allclose(found.maps[i], expected, rtol=1e-4, atol=1e-5)
        difference = logits[klass] - ByHand(start).logits[klass]
        error = abs(expected.sum() - difference) / abs(difference)
        assert found.completeness_error[i] == pytest.approx(error, rel=1e-2, abs=1e-5)


def test_points_are_raised_until_the_map_is_complete(model):
    x = patches(8)
    found = explain.attribute("integrated_gradient", model, x, points=2)
    assert (found.completeness_error <= 0.01).all()
    difference = found.scores - model_logits(model, 0 * x)[np.arange(8), found.classes]
    gap = np.abs(found.maps.sum(axis=(1, 2, 3)) - difference)
    assert (gap <= 0.0101 * np.abs(difference)).all()
    assert "points were raised from 2" in found.notes[0]
    short = explain.attribute("integrated_gradient", model, x, points=2, most_points=2)
    worst = int(short.completeness_error.argmax())
    assert short.completeness_error[worst] > 0.01
    assert any(f"completeness error of sample {worst + 1} is" in n for n in short.notes)
    # a sample's points do not hang on its company
    alone = explain.attribute("integrated_gradient", model, x[worst:][:1], points=2)
    np.testing.assert_allclose(alone.maps[0], found.maps[worst], rtol=1e-4, atol=1e-6)


def test_points_are_raised_no_more_where_that_does_not_help(keras):
    """A rounded score with straight-through gradients, as an integer network has it."""
    import tensorflow as tf

    from hsi.explain.score import Score

    linear_, kernel = linear(keras)

    def rounded(x):
        y = linear_(x)
        return y + tf.stop_gradient(tf.floor(y) - y)

    score, x = Score(rounded, input_shape=SHAPE), patches(4)
    found = explain.attribute("integrated_gradient", score, x, classes=1, points=4)
    np.testing.assert_allclose(found.maps, x * kernel[1], rtol=1e-4, atol=1e-5)
    assert (found.completeness_error > 0.01).any()
    assert any("at 16 points, and more of them would not lower it" in n for n in found.notes)


def model_logits(model, x):
    from hsi.explain.logit_view import logit_model

    return logit_model(model)(x).numpy()


def test_a_sample_that_is_its_own_baseline_is_said(model):
    x = patches(2)
    found = explain.attribute("integrated_gradient", model, x, baseline=x[1])
    assert "sample 2 is its own baseline: there is nothing to share out" in found.notes
    assert found.dead.tolist() == [False, True]
    assert found.completeness_error[1] == 0


@pytest.mark.parametrize(
    "options",
    [{"points": 0}, {"tolerance": 0}, {"baseline": "black"}, {"baseline": np.zeros(2)},
     {"points": 600}, {"baseline": np.full(3, np.nan)}],
)  # fmt: skip
def test_integrated_gradients_refuse_what_cannot_be(model, options):
    with pytest.raises(SettingsError):
        explain.attribute("integrated_gradient", model, patches(1), **options)


# ReLUs replaced


@pytest.mark.parametrize("method", ["guided_backprop", "deconvnet"])
@pytest.mark.parametrize(
    ("form", "build"),
    [("fused", network), ("activation", network), ("layer", network), ("operation", network),
     ("fused", nested), ("layer", nested)],
)  # fmt: skip
def test_every_form_of_relu_is_replaced(keras, method, form, build):
    x, model = patches(3), build(keras, form)
    found = explain.attribute(method, model, x)
    for i in range(len(x)):
        expected = ByHand(x[i]).gradient(found.classes[i], rule=method)
        np.testing.assert_allclose(found.maps[i], expected, rtol=1e-4, atol=1e-5)
    assert found.notes[0] == "3 ReLUs replaced"
    plain = explain.attribute("gradient", model, x).maps
    assert np.corrcoef(plain.ravel(), found.maps.ravel())[0, 1] < 0.95
    expected = np.stack([ByHand(s).gradient(k) for s, k in zip(x, found.classes, strict=True)])
    np.testing.assert_allclose(plain, expected, rtol=1e-4, atol=1e-5)  # the oracle itself holds


def test_the_model_does_not_notice(keras):
    model, x = network(keras, "activation"), patches(2)
    before, config = model(x).numpy(), model.get_config()
    nodes = [len(layer.inbound_nodes) for layer in model.layers]
    for name in ("guided_backprop", "gradcam", "visual_backprop", "layer_attention"):
        explain.attribute(name, model, x)
    assert model.get_config() == config
    assert [len(layer.inbound_nodes) for layer in model.layers] == nodes
    np.testing.assert_array_equal(model(x), before)
    assert model.get_layer("conv_1").output.shape == (None, 3, 3, 5)
    plain = explain.attribute("gradient", model, x).maps[0]
    np.testing.assert_allclose(plain, ByHand(x[0]).gradient(before[0].argmax()), atol=1e-4)


def test_guided_maps_follow_the_weights_of_the_model(keras):
    model, x = network(keras), patches(2)
    first = explain.attribute("guided_backprop", model, x, classes=0).maps
    model.get_layer("out").kernel.assign(2 * model.get_layer("out").kernel)
    second = explain.attribute("guided_backprop", model, x, classes=0).maps
    np.testing.assert_allclose(second, 2 * first, rtol=1e-5)


def test_without_a_relu_it_is_the_gradient_and_says_so(keras):
    inputs = keras.Input(SHAPE)
    x = keras.layers.Conv2D(4, 2, activation="tanh")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Flatten()(x)))
    found = explain.attribute("guided_backprop", model, patches(2))
    assert "no ReLU was found to be replaced" in found.notes[0]
    plain = explain.attribute("gradient", model, patches(2)).maps
    np.testing.assert_allclose(found.maps, plain, rtol=1e-5)


@pytest.mark.parametrize("form", ["name", "function", "layer", "operation"])
def test_relu6_stops_what_is_beyond_its_limit(keras, form):
    """One unit a value: y = relu6(4 x), so guided the slope is 4 v where 0 < 4 x < 6 and v > 0."""
    import tensorflow as tf

    layers = keras.layers
    scaled = layers.Rescaling(4.0)
    inputs = keras.Input(SHAPE)
    y = {
        "name": lambda t: layers.Activation("relu6")(t),
        "function": lambda t: layers.Activation(tf.nn.relu6)(t),
        "layer": lambda t: layers.ReLU(6.0)(t),
        "operation": lambda t: tf.nn.relu6(t),
    }[form](scaled(inputs))
    model = keras.Model(inputs, layers.Dense(2, use_bias=False)(layers.Flatten()(y)))
    x, v = patches(4), model.get_weights()[0][:, 1].reshape(SHAPE)
    found = explain.attribute("guided_backprop", model, x, classes=1)
    assert found.notes[0] == "1 ReLU replaced"
    inside = (x > 0) & (4 * x < 6)
    assert (4 * x > 6).any()
    np.testing.assert_allclose(found.maps, 4 * v * inside * (v > 0), atol=1e-6)


def test_a_leaky_relu_keeps_its_own_gradient(keras):
    inputs = keras.Input(SHAPE)
    x = keras.layers.ReLU(negative_slope=0.2)(inputs)
    x = keras.layers.LeakyReLU(0.1)(x)
    model = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Flatten()(x)))
    assert "no ReLU" in explain.attribute("guided_backprop", model, patches(1)).notes[0]


def test_a_relu_out_of_reach_is_said(keras):
    class Hidden(keras.layers.Layer):
        def __init__(self):
            super().__init__(name="hidden")
            self.part = keras.layers.Dense(3, activation="relu")

        def call(self, inputs):
            return self.part(inputs)

    inputs = keras.Input(SHAPE)
    x = keras.layers.TimeDistributed(keras.layers.Dense(3, activation="relu"))(Hidden()(inputs))
    model = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Flatten()(x)))
    found = explain.attribute("guided_backprop", model, patches(1))
    assert found.notes[0] == "1 ReLU replaced"  # that in the wrapper
    assert "inside of hidden could not be replaced" in found.notes[1]


@pytest.mark.parametrize("method", ["guided_backprop", "gradcam", "visual_backprop"])
def test_a_callable_shows_no_layers(keras, method):
    model = network(keras)
    with pytest.raises(ModelError, match="looks into the layers") as caught:
        explain.attribute(method, lambda x: model(x), patches(1))
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_other_forms_of_a_network_show_their_layers_through_the_protocol(model):
    """What a differentiable `.tflite` will hand over: logits when called, and `Layered`."""
    from hsi.explain.keras_layers import KerasLayers
    from hsi.explain.logit_view import logit_model
    from hsi.explain.score import Score

    class Form:
        unreplaced, against_input = (), None

        def __init__(self, inner):
            self.inner, self.relus, self.describe = inner, inner.relus, inner.describe
            self.forward = inner.forward

        def __call__(self, inputs):
            return self.forward(inputs)[0]

        def with_relu(self, relu):
            return Form(self.inner.with_relu(relu))

    score, x = Score(Form(KerasLayers(logit_model(model))), input_shape=SHAPE), patches(3)
    for method in LOOKING_INSIDE:
        expected = attribute(method, model, x)
        found = attribute(method, score, x)
        np.testing.assert_allclose(found.maps, expected.maps, rtol=1e-4, atol=1e-6)
        assert found.notes == expected.notes


# Layers


def residual(keras, size=(8, 8, 3)):
    """Convolutions with batch norm, an addition, a concatenation, poolings; for any size."""
    layers = keras.layers
    x = inputs = keras.Input(size)
    for i in range(2):
        y = layers.Conv2D(4, 3, padding="same", name=f"conv_{i}")(x)
        y = layers.ReLU(name=f"relu_{i}")(layers.BatchNormalization(name=f"norm_{i}")(y))
        x = layers.Add(name=f"add_{i}")([x, y]) if i else y
        x = layers.MaxPooling2D(name=f"pool_{i}")(x)
    y = layers.Conv2D(4, 3, padding="same", strides=1, name="last")(x)
    x = layers.Concatenate(name="joined")([x, y])
    x = layers.ReLU(name="relu_end")(layers.BatchNormalization(name="norm_end")(x))
    x = layers.GlobalAveragePooling2D(name="pooled")(x)
    x = layers.Dense(CLASSES, activation="softmax", name="out")(
        layers.Reshape((-1,), name="flat")(x)
    )
    return keras.Model(inputs, x, name="residual")


def view_of(model):
    from hsi.explain.keras_layers import layered_of
    from hsi.explain.score import score_of

    return layered_of(score_of(model), method="test")


@pytest.mark.parametrize("build", [network, nested, residual])
def test_layers_and_their_maps_are_those_of_the_model(keras, build):
    activation_map = explain.load("activation_map")
    model = build(keras)
    shape = model.input_shape[1:]
    x, view = patches(3, shape=shape), view_of(model)
    infos = view.describe(shape)
    names = [info.name for info in infos]
    known = activation_map.layer_names(model)
    assert names == known  # but the last one answers logits
    logits, maps = view.forward(x, names[:-1])
    np.testing.assert_allclose(logits, model_logits(model, x), rtol=1e-5, atol=1e-6)
    for layer, values in zip(
        activation_map.activations(model, x, layers=known[:-1]), maps, strict=True
    ):
        np.testing.assert_allclose(values, layer.array, rtol=1e-5, atol=1e-6)
    assert [info.shape for info in infos][:-1] == [tuple(m.shape[1:]) for m in maps]


def test_sizes_left_free_by_the_graph_are_found(keras):
    fixed, free = (residual(keras, size) for size in [(8, 8, 3), (None, None, 3)])
    assert view_of(free).describe((8, 8, 3)) == view_of(fixed).describe((8, 8, 3))
    outside = keras.Input((8, 8, 3))
    wrapped = keras.Model(outside, free(outside))
    shapes = [info.shape for info in view_of(wrapped).describe((8, 8, 3))]
    assert shapes == [info.shape for info in view_of(fixed).describe((8, 8, 3))]


def test_a_convolution_is_followed_to_its_activation_and_its_merge(keras):
    infos = {info.name: info for info in view_of(residual(keras)).describe((8, 8, 3))}
    assert infos["conv_0"].activated == infos["conv_0"].merged == "relu_0"
    assert (infos["conv_1"].activated, infos["conv_1"].merged) == ("relu_1", "add_1")
    assert (infos["last"].activated, infos["last"].merged) == ("last", "relu_end")
    assert infos["last"].window.sizes == (2, 2)


# Class activation maps


def bilinear(maps, rows, cols):
    import tensorflow as tf

    return tf.image.resize(maps[..., None], (rows, cols)).numpy()[..., 0]


@pytest.mark.parametrize("layer", [None, "conv_1"])
@pytest.mark.parametrize("plus", [False, True], ids=["gradcam", "gradcam_plus_plus"])
def test_class_activation_maps_by_hand(model, layer, plus):
    x, at = patches(4), 1 if layer is None else 0
    name = "gradcam_plus_plus" if plus else "gradcam"
    for positive in (True, False):
        found = explain.attribute(name, model, x, layer=layer, positive=positive)
        for i in range(len(x)):
            hand = ByHand(x[i])
            features = np.maximum(hand.before[at], 0)
            g = hand.gradient(found.classes[i], until=at + 1)
            cam = np.zeros(features.shape[:2])
            for k in range(features.shape[2]):
                weight = g[..., k].mean()
                if plus:
                    weight, total = 0.0, features[..., k].sum()
                    for value in g[..., k].ravel():
                        below = 2 * value**2 + total * value**3
                        weight += (value**2 / below if below else 0.0) * max(value, 0.0)
                cam += weight * features[..., k]
            expected = bilinear(np.maximum(cam, 0)[None] if positive else cam[None], 4, 4)[0]
            np.testing.assert_allclose(
                found.maps[i], np.repeat(expected[..., None], 3, -1), rtol=1e-4, atol=1e-5
            )
    assert found.per == "pixel"
    assert found.quantity == "relevance"


def test_gradcam_of_a_nested_model_is_that_of_the_flat_one(keras):
    x = patches(3)
    flat = explain.attribute("gradcam", network(keras), x)
    inside = explain.attribute("gradcam", nested(keras), x)
    np.testing.assert_allclose(inside.maps, flat.maps, atol=1e-6)
    assert not flat.dead.all()
    assert "layer conv_2" in flat.notes[0]
    assert "/conv_2" in inside.notes[0]


def one_position(keras):
    layers = keras.layers
    x = inputs = keras.Input(SHAPE)
    x = layers.Conv2D(6, 4, activation="relu", name="whole")(x)
    x = layers.Conv2D(6, 1, activation="relu", name="again")(x)
    return keras.Model(inputs, layers.Dense(CLASSES)(layers.Flatten()(x)))


@pytest.mark.parametrize("method", ["gradcam", "gradcam_plus_plus", "guided_gradcam"])
def test_a_map_of_one_position_is_said(keras, method):
    found = explain.attribute(method, one_position(keras), patches(2))
    assert any("every convolution's map is 1 x 1" in note for note in found.notes)
    named = explain.attribute(method, one_position(keras), patches(2), layer="whole")
    assert any("the map of layer whole is 1 x 1" in note for note in named.notes)


def test_the_last_map_larger_than_one_position_is_taken(keras):
    layers = keras.layers
    x = inputs = keras.Input(SHAPE)
    x = layers.Conv2D(6, 2, activation="relu", name="large")(x)
    x = layers.Conv2D(6, 3, activation="relu", name="small")(x)
    model = keras.Model(inputs, layers.Dense(CLASSES)(layers.Flatten()(x)))
    assert "layer large" in explain.attribute("gradcam", model, patches(2)).notes[0]


def test_layers_that_cannot_be_weighed_are_refused(keras, model):
    with pytest.raises(ModelError, match=r"no layer 'conv_3'.*conv_2"):
        explain.attribute("gradcam", model, patches(1), layer="conv_3")
    with pytest.raises(ModelError, match=r"'dense' \(Dense\) has units.*conv_2"):
        explain.attribute("gradcam", model, patches(1), layer="dense")
    with pytest.raises(ModelError, match="has none"):
        explain.attribute("gradcam", linear(keras)[0], patches(1))


def test_a_3d_convolution_has_a_map_of_bands_too(keras):
    keras.utils.set_random_seed(1)  # some weights leave every map dead
    layers = keras.layers
    x = inputs = keras.Input((5, 5, 8))
    x = layers.Conv3D(4, 3, activation="relu")(layers.Reshape((5, 5, 8, 1))(x))
    model = keras.Model(inputs, layers.Dense(CLASSES)(layers.Flatten()(x)))
    x = patches(2, shape=(5, 5, 8))
    for name in ("gradcam", "visual_backprop"):
        found = explain.attribute(name, model, x)
        assert found.per == "value"
        assert np.ptp(found.maps[~found.dead], axis=-1).max() > 0
    assert view_of(model).describe((5, 5, 8))[1].shape == (3, 3, 6, 4)


def test_a_1d_convolution_has_a_map_of_bands(keras):
    layers = keras.layers
    inputs = keras.Input((1, 1, 12))
    x = layers.Conv1D(4, 3, activation="relu")(layers.Reshape((12, 1))(inputs))
    model = keras.Model(inputs, layers.Dense(CLASSES)(layers.Flatten()(x)))
    found = explain.attribute("gradcam", model, patches(2, shape=(1, 1, 12)))
    assert found.maps.shape == (2, 1, 1, 12)
    assert found.per == "channel"


def test_guided_gradcam_is_the_product(model):
    x = patches(3)
    product = (
        explain.attribute("gradcam", model, x).maps
        * explain.attribute("guided_backprop", model, x).maps
    )
    found = explain.attribute("guided_gradcam", model, x)
    np.testing.assert_allclose(found.maps, product, atol=1e-6)
    assert "3 ReLUs replaced" in found.notes


# VisualBackProp


def test_visual_backprop_as_the_paper_draws_it(model):
    """Averages, spread by a transposed convolution of ones, and multiplied."""
    import tensorflow as tf

    x = patches(3)
    found = explain.attribute("visual_backprop", model, x)

    def spread(mask, size):
        ones = tf.ones((2, 2, 1, 1), tf.float64)
        return tf.nn.conv2d_transpose(
            mask[None, ..., None], ones, (1, size, size, 1), 1, "VALID"
        ).numpy()[0, ..., 0]

    for i in range(len(x)):
        first, second = (np.maximum(b, 0).mean(-1) for b in ByHand(x[i]).before[:2])
        mask = spread(spread(second, 3) * first, 4)
        expected = np.repeat((mask / mask.max())[..., None], 3, -1)
        np.testing.assert_allclose(found.maps[i], expected, rtol=1e-4, atol=1e-6)
    other = explain.attribute("visual_backprop", model, x, classes=0)
    np.testing.assert_array_equal(other.maps, found.maps)
    assert "hangs on no class" in found.notes[0]


def test_visual_backprop_through_padding_strides_and_pooling(keras):
    """The spread of a strided, padded convolution is its transposed convolution of ones."""
    import tensorflow as tf

    from hsi.explain.resize import along_axes, window_matrices

    for size, kernel, stride in [(8, 3, 2), (7, 3, 2), (6, 5, 1), (9, 2, 3)]:
        for padding in ("same", "valid"):
            inputs = keras.Input((size, size, 1))
            conv = keras.layers.Conv2D(1, kernel, stride, padding, name="conv")
            flat = keras.layers.Flatten()(conv(inputs))
            model = keras.Model(inputs, keras.layers.Dense(2)(flat))
            (info,) = (i for i in view_of(model).describe((size, size, 1)) if i.convolution)
            mask = np.random.default_rng(0).random((1, *info.sizes))
            expected = tf.nn.conv2d_transpose(
                mask[..., None], tf.ones((kernel, kernel, 1, 1), tf.float64),
                (1, size, size, 1), stride, padding.upper(),
            )[..., 0]  # fmt: skip
            found = along_axes(mask, window_matrices(info.window, info.sizes))
            np.testing.assert_allclose(found, expected, rtol=1e-6)
    found = explain.attribute("visual_backprop", residual(keras), patches(2, shape=(8, 8, 3)))
    assert found.maps.shape == (2, 8, 8, 3)
    np.testing.assert_allclose(np.abs(found.maps).max(axis=(1, 2, 3)), 1, rtol=1e-6)


@pytest.mark.parametrize(("have", "want"), [(2, 4), (3, 7), (5, 2), (1, 3), (4, 4)])
def test_resizing_is_bilinear(have, want):
    from hsi.explain.resize import resized

    maps = np.random.default_rng(0).random((2, have, have)).astype(np.float32)
    np.testing.assert_allclose(resized(maps, (want, want)), bilinear(maps, want, want), rtol=1e-5)


# Layer attention


@pytest.mark.parametrize(("layer", "at"), [("conv_1", 0), ("conv_2", 1), ("dense", 2)])
def test_layer_attention_by_hand(model, layer, at):
    x = patches(3)
    found = explain.attribute("layer_attention", model, x, layer=layer, channel=2)
    for i in range(len(x)):
        hand = ByHand(x[i])
        upstream = np.zeros(hand.before[at].shape)
        upstream[..., 2] = 1 / hand.before[at][..., 2].size
        expected = hand.back(upstream, "guided_backprop", layer=at)
        np.testing.assert_allclose(found.maps[i], expected, rtol=1e-4, atol=1e-6)
    assert found.notes[1].endswith(f"the mean of channel 2 of layer {layer}")


def test_layer_attention_takes_the_strongest_channel(model):
    x = patches(3)
    found = explain.attribute("layer_attention", model, x)
    strongest = [int(np.maximum(ByHand(s).before[1], 0).mean((0, 1)).argmax()) for s in x]
    assert len(set(strongest)) > 1
    for i, channel in enumerate(strongest):
        named = explain.attribute("layer_attention", model, x[i : i + 1], channel=channel)
        np.testing.assert_allclose(named.maps[0], found.maps[i], atol=1e-6)
    assert f"({', '.join(map(str, strongest))})" in found.notes[-1]
    with pytest.raises(SettingsError, match="from 0 to 3"):
        explain.attribute("layer_attention", model, x, channel=4)
    with pytest.raises(ModelError, match="no layer"):
        explain.attribute("layer_attention", model, x, layer="none")


# Black boxes


def black_box():
    """A network that only NumPy knows."""
    from hsi.explain.score import Score

    return Score(
        lambda x: np.stack([ByHand(s).logits for s in x]), input_shape=SHAPE, black_box=True
    )


@pytest.mark.parametrize(
    ("size", "stride", "channels", "channel_stride"),
    [(1, 1, None, None), (2, 1, None, None), ((2, 3), (2, 1), None, None), (0, None, 2, 1),
     (3, 2, 2, 2)],
)  # fmt: skip
def test_occlusion_window_by_window(model, size, stride, channels, channel_stride):
    x = patches(2)
    found = explain.attribute(
        "occlusion", model, x, size=size, stride=stride, channels=channels,
        channel_stride=channel_stride, baseline=0.3, batch_size=16,
    )  # fmt: skip
    high, wide = (size, size) if isinstance(size, int) else size
    high, wide, deep = high or 4, wide or 4, channels or 3
    down, across = (stride, stride) if not isinstance(stride, tuple) else stride
    corners = [
        sorted({*range(0, whole - part + 1, step or max(1, part // 2)), whole - part})
        for whole, part, step in [(4, high, down), (4, wide, across), (3, deep, channel_stride)]
    ]
    for i in range(len(x)):
        klass, whole = found.classes[i], ByHand(x[i]).logits[found.classes[i]]
        total, count = np.zeros(SHAPE), np.zeros(SHAPE)
        for r in corners[0]:
            for c in corners[1]:
                for b in corners[2]:
                    covered = x[i].copy()
                    covered[r : r + high, c : c + wide, b : b + deep] = 0.3
                    fall = whole - ByHand(covered).logits[klass]
                    total[r : r + high, c : c + wide, b : b + deep] += fall
                    count[r : r + high, c : c + wide, b : b + deep] += 1
        assert count.min() > 0
        np.testing.assert_allclose(found.maps[i], total / count, rtol=1e-4, atol=1e-5)
    expected = "pixel" if channels is None else "channel" if size == 0 else "value"
    assert found.per == expected


def test_occlusion_of_a_linear_network_in_closed_form(keras):
    (model, kernel), x = linear(keras, bias=True), patches()
    spatial = explain.attribute("occlusion", model, x, classes=1)
    np.testing.assert_allclose(
        spatial.maps[..., 0], (x * kernel[1]).sum(axis=-1), rtol=1e-3, atol=1e-5
    )
    spectral = explain.attribute("spectral_occlusion", model, x, classes=1, channels=1)
    np.testing.assert_allclose(
        spectral.maps[:, 0, 0], (x * kernel[1]).sum(axis=(1, 2)), rtol=1e-3, atol=1e-5
    )
    assert (spectral.maps == spectral.maps[:, :1, :1]).all()
    assert spectral.method == "spectral_occlusion"


@pytest.mark.parametrize(
    "options", [{"size": 5}, {"size": 2, "stride": 3}, {"channels": 4}, {"size": -1}]
)
def test_windows_that_do_not_fit_are_refused(model, options):
    with pytest.raises(SettingsError, match="window"):
        explain.attribute("occlusion", model, patches(1), **options)


def test_rise_mask_by_mask(model):
    from hsi.explain.rise import Masks

    x = patches(2)
    found = explain.attribute("rise", model, x, masks=40, cells=2, seed=6, baseline=0.2)
    masks = Masks(SHAPE[:2], 40, cells=2, seen=0.5, seed=6).take(np.arange(40))
    assert masks.min() >= 0
    assert masks.max() <= 1
    for i in range(len(x)):
        answers = [
            ByHand(m[..., None] * x[i] + (1 - m[..., None]) * 0.2).logits[found.classes[i]]
            for m in masks
        ]
        for r, c in np.ndindex(4, 4):
            seen = np.average(answers, weights=masks[:, r, c]) - np.mean(answers)
            np.testing.assert_allclose(found.maps[i, r, c], seen, rtol=1e-3, atol=1e-4)


def test_masks_cover_evenly_and_repeat_with_their_seed():
    from hsi.explain.rise import Masks

    drawn = Masks((30, 21), 3000, cells=7, seen=0.4, seed=1)
    some = drawn.take(np.arange(3000))
    assert some.shape == (3000, 30, 21)
    np.testing.assert_allclose(some.mean(axis=0), 0.4, atol=0.05)
    np.testing.assert_array_equal(drawn.take(np.array([7, 3])), some[[7, 3]])
    again = Masks((30, 21), 3000, cells=7, seen=0.4, seed=1).take(np.array([3]))
    np.testing.assert_array_equal(again[0], some[3])
    other = Masks((30, 21), 3000, cells=7, seen=0.4, seed=2).take(np.array([3]))
    assert np.abs(other[0] - some[3]).max() > 0.1


def test_rise_finds_the_pixel_that_matters(keras):
    """A network that reads one pixel alone: its rise is the largest of all."""
    model, _ = linear(keras)
    kernel = np.zeros((*SHAPE, CLASSES), np.float32)
    kernel[2, 1, :, 0] = 1
    model.set_weights([kernel.reshape(-1, CLASSES)])
    x = np.abs(patches(1))
    found = explain.attribute("rise", model, x, classes=0, masks=400)
    assert np.unravel_index(found.maps[0, ..., 0].argmax(), (4, 4)) == (2, 1)


@pytest.mark.parametrize("method", ["occlusion", "spectral_occlusion", "rise"])
def test_a_black_box_has_the_maps_of_the_network(model, method):
    x = patches(2)
    expected = attribute(method, model, x)
    found = attribute(method, black_box(), x)
    np.testing.assert_allclose(found.maps, expected.maps, rtol=1e-3, atol=1e-4)
    np.testing.assert_array_equal(found.classes, expected.classes)


def test_a_black_box_has_no_gradient():
    with pytest.raises(ModelError, match=r"black box.*occlusion"):
        explain.attribute("gradient", black_box(), patches(1))
    with pytest.raises(SettingsError, match="masks"):
        explain.attribute("rise", black_box(), patches(1), masks=1)


# What must hold for every method


LOOKING_INSIDE = (
    "guided_backprop", "deconvnet", "gradcam", "gradcam_plus_plus", "guided_gradcam",
    "visual_backprop", "layer_attention",
)  # fmt: skip
CUT_OFF = ("gradcam", "gradcam_plus_plus", "guided_gradcam")
"""Methods of which zero is an answer, since what speaks against a class is cut off."""


@pytest.mark.parametrize("method", ATTRIBUTIONS)
def test_the_batch_size_changes_nothing(model, method):
    x = patches(9)
    whole = attribute(method, model, x, batch_size=500)
    size = np.abs(whole.maps).max()
    for batch_size in (1, 7):
        parts = attribute(method, model, x, batch_size=batch_size)
        np.testing.assert_allclose(parts.maps, whole.maps, rtol=1e-4, atol=1e-5 * size)
        np.testing.assert_allclose(parts.scores, whole.scores, rtol=1e-4)
        np.testing.assert_array_equal(parts.classes, whole.classes)


@pytest.mark.parametrize("method", [m for m in ATTRIBUTIONS if m not in LOOKING_INSIDE])
def test_no_more_rows_than_the_batch_size_pass_at_once(model, method):
    from hsi.explain.score import Score, score_of

    sizes, view = [], score_of(model)

    def watched(x):
        if x.shape[0] is not None:  # where it is not known, each pass is counted as it runs
            sizes.append(x.shape[0])
        else:
            import tensorflow as tf

            tf.py_function(lambda n: sizes.append(int(n)), [tf.shape(x)[0]], [])
        return view(x)

    attribute(method, Score(watched, input_shape=SHAPE), patches(9), batch_size=4)
    assert max(sizes) <= 4


@pytest.mark.parametrize("method", [m for m in ATTRIBUTIONS if m not in CUT_OFF])
def test_a_saturated_softmax_loses_no_map(model, method):
    x = patches(3) * 500
    assert model(x).numpy().max(axis=1).min() == 1  # as sure as can be
    found = attribute(method, model, x)
    assert not found.dead.any()
    assert np.isfinite(found.maps).all()


@pytest.mark.parametrize("method", ["gradient", *CUT_OFF, "visual_backprop", "rise", "vargrad"])
def test_a_dead_map_is_said(keras, method):
    model = network(keras)
    values = model.get_weights()
    values[2], values[3] = values[2] * 0, values[3] * 0 - 1
    model.set_weights(values)
    found = attribute(method, model, patches(2))
    assert found.dead.all()
    assert "map of sample 2 is all zero (dead)" in found.notes


@pytest.mark.parametrize("method", ATTRIBUTIONS)
def test_what_a_method_returns(model, method):
    x = patches(3)
    found = attribute(method, model, x)
    assert found.method == method
    assert found.maps.shape == x.shape
    assert found.maps.dtype == np.float32
    logits = np.stack([ByHand(s).logits for s in x])
    np.testing.assert_array_equal(found.classes, logits.argmax(axis=1))
    np.testing.assert_allclose(found.scores, logits.max(axis=1), rtol=1e-4)
    asked = attribute(method, model, x, classes=np.array([2, 0, 1]))
    np.testing.assert_allclose(asked.scores, logits[[0, 1, 2], [2, 0, 1]], rtol=1e-3, atol=1e-5)
    same_in_channels = np.ptp(found.maps, axis=-1).max() == 0
    same_in_pixels = np.ptp(found.maps, axis=(1, 2)).max() == 0
    per = {(True, False): "pixel", (False, True): "channel"}
    assert found.per == per.get((same_in_channels, same_in_pixels), "value")


@pytest.mark.parametrize("method", ATTRIBUTIONS)
@pytest.mark.parametrize(
    ("x", "options", "error"),
    [
        (patches(0), {}, SettingsError),
        (patches(2, shape=(4, 4, 5)), {}, ModelError),
        (patches(2), {"classes": 3}, SettingsError),
        (patches(2), {"batch_size": 0}, SettingsError),
    ],
)
def test_bad_input_is_one_line(model, method, x, options, error):
    with pytest.raises(error) as caught:
        attribute(method, model, x, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize("method", ATTRIBUTIONS)
def test_a_nested_model_has_the_maps_of_the_flat_one(model, inside, method):
    flat, nested_ = (attribute(method, network_, patches(3)) for network_ in (model, inside))
    np.testing.assert_allclose(nested_.maps, flat.maps, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(nested_.classes, flat.classes)


@pytest.mark.slow
def test_steps_are_traced_once(keras):
    from hsi.explain.score import score_of

    model = network(keras)
    for n in (10, 8, 9, 3, 10):
        for method in ATTRIBUTIONS:
            options = {"points": 16, "tolerance": 1.0} if method == "integrated_gradient" else {}
            attribute(method, model, patches(n), batch_size=4, **options)
    counts = {
        name: function.experimental_get_tracing_count()
        for name, function in score_of(model)._compiled.items()
    }
    assert set(counts.values()) == {1}, counts


# Class images


def test_a_class_image_raises_its_logit(model):
    module = explain.load("class_image")
    found = module.images(model, steps=60, rate=0.05)
    assert list(found.classes) == [0, 1, 2]
    assert (found.scores > found.start_scores).all()
    assert (found.scores > found.start_scores + 5).sum() == 2
    assert found.notes == ()
    for image, klass, score in zip(found.images, found.classes, found.scores, strict=True):
        assert ByHand(image).logits[klass] == pytest.approx(score, rel=1e-4)


def test_the_class_image_of_a_linear_network_is_its_weights(keras):
    (model, kernel), module = linear(keras), explain.load("class_image")
    free = {"l2": 0, "total_variation": 0, "steps": 10, "rate": 0.1}
    found = module.images(model, classes=1, **free)
    far = np.sqrt(np.mean(module.images(model, classes=1).images ** 2))
    assert 0.5 < far <= 0.01 * 201 / 2 + 1e-5
    way = kernel[1] / np.sqrt(np.mean(kernel[1] ** 2))
    np.testing.assert_allclose(found.images[0], way * 0.1 * 5.5, rtol=1e-4)  # 1 + .9 + ... + .1


def test_costs_do_what_they_say(model):
    module = explain.load("class_image")
    climb = {"classes": 0, "l2": 0, "total_variation": 0, "steps": 80, "rate": 0.05}
    plain, small, smooth, level = (
        module.images(model, **{**climb, **cost}).images[0]
        for cost in ({}, {"l2": 20}, {"total_variation": 20}, {"spectral_variation": 20})
    )

    def rough(image, axis):
        return np.mean(np.diff(image, axis=axis) ** 2) / np.mean(image**2)

    assert np.mean(small**2) < 0.5 * np.mean(plain**2)
    assert rough(smooth, 0) + rough(smooth, 1) < 0.5 * (rough(plain, 0) + rough(plain, 1))
    assert rough(level, 2) < 0.5 * rough(plain, 2)


def test_starts_seeds_and_batches_of_class_images(model):
    module, x = explain.load("class_image"), patches()
    few = {"steps": 5, "jitter": 1}
    first, again = (module.images(model, start="noise", seed=1, **few).images for _ in range(2))
    np.testing.assert_array_equal(first, again)
    other = module.images(model, start="noise", seed=2, **few).images
    assert np.abs(first - other).max() > 0.01
    parts = module.images(model, start="noise", seed=1, batch_size=1, **few).images
    np.testing.assert_allclose(parts, first, atol=1e-5)
    alone = module.images(model, start="noise", seed=1, classes=2, **few)
    np.testing.assert_allclose(alone.images[0], first[2], atol=1e-5)
    still = {"steps": 1, "rate": 1e-9}
    mean = module.images(model, x, start="mean", classes=0, **still).images[0]
    np.testing.assert_allclose(mean, x.mean(axis=0), atol=1e-6)
    given = module.images(model, start=x[3], classes=0, **still).images[0]
    np.testing.assert_allclose(given, x[3], atol=1e-6)


def test_a_climb_leaves_a_flat_start(keras):
    """At zero every unit of a network without biases is at its kink, where slopes are zero."""
    model = network(keras)
    model.set_weights([w * (w.ndim > 1) for w in model.get_weights()])
    found = explain.load("class_image").images(model)
    assert (found.start_scores == 0).all()
    assert (found.scores > 0).sum() >= 2


def test_a_climb_that_fails_is_said(keras):
    model = network(keras)
    values = model.get_weights()
    values[0], values[1] = values[0] * 0, values[1] * 0 - 1
    model.set_weights(values)
    found = explain.load("class_image").images(model, classes=1, steps=3)
    assert found.notes == ("the climb did not raise the logit of class index 1",)


@pytest.mark.parametrize(
    ("options", "error"),
    [({"classes": 3}, SettingsError), ({"start": "mean"}, SettingsError),
     ({"start": "black"}, SettingsError), ({"start": np.zeros(4)}, SettingsError),
     ({"steps": 0}, SettingsError), ({"l2": -1}, SettingsError)],
)  # fmt: skip
def test_class_images_refuse_what_cannot_be(model, options, error):
    with pytest.raises(error) as caught:
        explain.load("class_image").images(model, **options)
    assert "\n" not in str(caught.value)


def test_class_images_of_a_network_of_any_size_need_inputs(keras):
    module, model = explain.load("class_image"), residual(keras, size=(None, None, 3))
    with pytest.raises(ModelError, match="hand over inputs"):
        module.images(model)
    found = module.images(model, patches(1, shape=(8, 8, 3)), classes=0, steps=2)
    assert found.images.shape == (1, 8, 8, 3)


def test_the_first_classes_of_a_forgotten_model_are_freed(keras):
    import gc
    import weakref

    model = nested(keras)
    for method in ("guided_backprop", "gradcam", "integrated_gradient"):
        attribute(method, model, patches(2))
    gone = weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None
