"""Networks cut behind their affine beginning, and convolutions as products: exact or not done."""

from __future__ import annotations

import numpy as np
import pytest

from hsi import explain

CLASSES = 3
METHODS = {
    "integrated_gradient": {"points": 5, "tolerance": 1e9},
    "smoothgrad": {"samples": 5},
    "vargrad": {"samples": 4},
}


@pytest.fixture(scope="module")
def keras():
    import tf_keras

    return tf_keras


@pytest.fixture
def double(keras):
    """Networks in float64, where exact means 1e-10 and no rounding puts a ReLU across zero."""
    keras.backend.set_floatx("float64")
    yield
    keras.backend.set_floatx("float32")


def with_random_weights(model, seed=3):
    rng = np.random.default_rng(seed)
    model.set_weights(
        [
            rng.normal(scale=0.2, size=w.shape) if w.ndim > 1 else rng.uniform(0.1, 0.6, w.shape)
            for w in model.get_weights()
        ]
    )
    return model


def samples(shape, n=5, dtype="float64", seed=0):
    return np.random.default_rng(seed).normal(size=(n, *shape)).astype(dtype)


def cao(keras):
    from hsi.models import cao

    return cao.build((5, 5, 4), CLASSES)


def cao_pooled(keras):
    from hsi.models import cao_pooled

    return cao_pooled.build((7, 7, 4), CLASSES)


def like_vgg(keras):
    """The layers of `vgg`, fewer of them: convolutions without bias, batch norm, ReLU, pooling."""
    x = inputs = keras.Input((6, 6, 3))
    for filters in (4, 5):
        x = keras.layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)
        x = keras.layers.ReLU()(keras.layers.BatchNormalization()(x))
        x = keras.layers.MaxPooling2D()(x)
    x = keras.layers.Dropout(0.5)(keras.layers.Flatten()(x))
    return keras.Model(inputs, keras.layers.Dense(CLASSES, activation="softmax")(x))


def plain(keras):
    x = inputs = keras.Input((4, 4, 3))
    x = keras.layers.Conv2D(6, 3, strides=2, padding="same", activation="relu")(x)
    x = keras.layers.Dense(5, activation="tanh")(keras.layers.Flatten()(x))
    return keras.Model(inputs, keras.layers.Dense(CLASSES, activation="softmax")(x))


def nested(keras):
    inner = plain(keras)
    outside = keras.Input((4, 4, 3))
    middle = keras.Model(outside, inner(keras.layers.ZeroPadding2D(0)(outside)))
    return keras.Sequential([keras.Input((4, 4, 3)), keras.layers.Rescaling(0.5), middle])


def norm_first(keras):
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((4, 4, 3)),
            layers.BatchNormalization(),
            layers.AveragePooling2D(2, strides=1),
            layers.Conv2D(6, 2, padding="same"),
            layers.Activation("relu"),
            layers.Flatten(),
            layers.Dense(CLASSES),
        ]
    )


def dense_first(keras):
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((3, 3, 4)),
            layers.Flatten(),
            layers.Dense(9, activation="elu"),
            layers.Dense(CLASSES, activation="softmax"),
        ]
    )


def volumes(keras):
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((4, 4, 6)),
            layers.Reshape((4, 4, 6, 1)),
            layers.Conv3D(3, (2, 2, 3), activation="relu"),
            layers.Conv3D(3, (3, 3, 4), activation="relu"),
            layers.Flatten(),
            layers.Dense(CLASSES, activation="softmax"),
        ]
    )


def all_linear(keras):
    """Affine up to its logits."""
    layers = keras.layers
    return keras.Sequential(
        [keras.Input((3, 3, 2)), layers.Conv2D(4, 2), layers.Flatten(), layers.Dense(CLASSES)]
    )


NETWORKS = (cao, cao_pooled, like_vgg, nested, norm_first, dense_first, volumes, all_linear)


def uncut(model):
    """The same score as a callable, of which no beginning is known."""
    from hsi.explain.logit_view import logit_model
    from hsi.explain.score import Score

    view = logit_model(model)
    shape = tuple(model.input_shape[1:])
    return Score(
        lambda x: view(x, training=False), input_shape=shape, dtype=view.inputs[0].dtype.name
    )


def ways(score):
    """Names of the compiled steps without those of single passes."""
    return {name for name in score._compiled if name.startswith(tuple(METHODS))}


@pytest.mark.parametrize("build", NETWORKS)
def test_the_cut_network_has_the_maps_of_the_whole_one(keras, double, monkeypatch, build):
    from hsi.explain import affine
    from hsi.explain.score import score_of

    monkeypatch.setattr(affine, "WORTH", 0.0)
    model = with_random_weights(build(keras))
    x = samples(model.input_shape[1:])
    for method in ("integrated_gradient", "smoothgrad"):
        found = explain.attribute(method, model, x, **METHODS[method])
        wanted = explain.attribute(method, uncut(model), x, **METHODS[method])
        largest = np.abs(wanted.maps).max()
        assert largest > 0
        np.testing.assert_allclose(found.maps, wanted.maps, rtol=0, atol=3e-7 * largest)
        np.testing.assert_allclose(found.scores, wanted.scores, rtol=1e-6)
        np.testing.assert_array_equal(found.classes, wanted.classes)
        assert found.notes == tuple(score_of(model).notes)
    assert ways(score_of(model)) == {"integrated_gradient", "smoothgrad"}


def test_squares_and_variances_of_the_cut_network(keras, double):
    from hsi.explain.moments import gradient_moments
    from hsi.explain.score import score_of

    model = with_random_weights(cao(keras))
    options = {"classes": None, "batch_size": 8, "seed": 0, "noise": 0.15, "ranges": None}
    x = samples((5, 5, 4))
    found = gradient_moments(model, x, samples=7, **options)
    wanted = gradient_moments(uncut(model), x, samples=7, **options)
    np.testing.assert_allclose(found.mean, wanted.mean, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found.variance, wanted.variance, rtol=1e-6, atol=1e-15)
    assert "gradient_moments" in score_of(model)._compiled


@pytest.mark.parametrize("method", METHODS)
def test_single_precision_and_batches(keras, method):
    from hsi.explain.score import score_of

    model = with_random_weights(cao(keras))
    x = samples((5, 5, 4), n=9, dtype="float32")
    wanted = explain.attribute(method, uncut(model), x, **METHODS[method]).maps
    for batch_size in (1, 7, 500):
        found = explain.attribute(method, model, x, batch_size=batch_size, **METHODS[method]).maps
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())
    assert not any("whole" in name for name in score_of(model)._compiled)


@pytest.mark.parametrize("baseline", ["mean", "blurred"])
def test_baselines_one_for_all_and_one_each(keras, double, baseline):
    model = with_random_weights(cao(keras))
    x = samples((5, 5, 4))
    options = {"points": 6, "tolerance": 1e9, "baseline": baseline}
    found = explain.attribute("integrated_gradient", model, x, **options)
    wanted = explain.attribute("integrated_gradient", uncut(model), x, **options)
    largest = np.abs(wanted.maps).max()
    np.testing.assert_allclose(found.maps, wanted.maps, rtol=0, atol=3e-7 * largest)
    np.testing.assert_allclose(found.completeness_error, wanted.completeness_error, rtol=1e-6)


def test_doubling_the_points_traces_nothing_anew(keras):
    from hsi.explain.score import score_of

    model = with_random_weights(cao(keras))
    x = samples((5, 5, 4), n=4, dtype="float32")
    explain.attribute(
        "integrated_gradient", model, x, batch_size=4, points=1, tolerance=1e-9, most_points=9
    )
    for points in (3, 40):
        explain.attribute(
            "integrated_gradient", model, x, batch_size=4, points=points, tolerance=1e9
        )
    step = score_of(model).compiled("integrated_gradient", None)
    assert step.experimental_get_tracing_count() <= 3  # of 4, 2 and 1 samples


# Where it is not done


def starts_with_relu(keras):
    return keras.Sequential(
        [
            keras.Input((3, 3, 2)),
            keras.layers.ReLU(),
            keras.layers.Flatten(),
            keras.layers.Dense(CLASSES),
        ]
    )


def branches(keras):
    inputs = keras.Input((3, 3, 2))
    a = keras.layers.Conv2D(3, 2, activation="relu")(inputs)
    b = keras.layers.Conv2D(3, 2)(inputs)
    x = keras.layers.Flatten()(keras.layers.Add()([a, b]))
    return keras.Model(inputs, keras.layers.Dense(CLASSES)(x))


def small_beginning(keras):
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((3, 3, 2)),
            layers.Conv2D(4, 1, activation="relu"),
            layers.Flatten(),
            layers.Dense(200, activation="relu"),
            layers.Dense(CLASSES),
        ]
    )


class Doubling:
    """A subclass of a known layer that is not affine."""

    def __new__(cls, keras):
        class Squared(keras.layers.Conv2D):
            def call(self, inputs):
                return super().call(inputs) ** 2

        return keras.Sequential(
            [
                keras.Input((3, 3, 2)),
                Squared(4, 2),
                keras.layers.Flatten(),
                keras.layers.Dense(CLASSES),
            ]
        )


@pytest.mark.parametrize("build", [starts_with_relu, branches, small_beginning, Doubling])
def test_other_networks_go_whole(keras, double, build):
    from hsi.explain.score import score_of

    model = with_random_weights(build(keras))
    x = samples((3, 3, 2))
    for method in ("integrated_gradient", "smoothgrad"):
        found = explain.attribute(method, model, x, **METHODS[method])
        wanted = explain.attribute(method, uncut(model), x, **METHODS[method])
        largest = np.abs(wanted.maps).max()
        np.testing.assert_allclose(found.maps, wanted.maps, rtol=0, atol=3e-7 * largest)
        assert not any("affine" in note for note in found.notes)
    assert all(name.endswith("whole network") for name in ways(score_of(model)))


def test_an_activation_without_a_name_ends_the_beginning(keras):
    from hsi.explain.affine import split_of

    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((3, 3, 2)),
            layers.Conv2D(4, 2, activation=layers.LeakyReLU(0.1)),
            layers.Flatten(),
            layers.Dense(CLASSES),
        ]
    )
    x = samples((3, 3, 2), dtype="float32")
    split = split_of(model, (3, 3, 2))
    np.testing.assert_allclose(split.rest(split.front(x)), model(x), rtol=1e-5, atol=1e-6)
    assert split.front(x).numpy().min() < -1e-3  # before the activation
    shifts = samples((3, 3, 2), dtype="float32", seed=1)
    moved = split.front(x + shifts) - split.front(x)
    np.testing.assert_allclose(split.linear(shifts), moved, rtol=1e-4, atol=1e-5)


def test_the_share_is_that_of_the_multiplications(keras):
    from hsi.explain.affine import split_of

    first, second, dense = 3 * 3 * 4 * 300 * 9, 3 * 3 * 300 * 200, 200 * 200 + 200 * 100 + 300
    assert split_of(cao(keras), (5, 5, 4)).share == pytest.approx(first / (first + second + dense))
    assert split_of(starts_with_relu(keras), (3, 3, 2)) is None


@pytest.mark.parametrize("method", ["integrated_gradient", "smoothgrad", "vargrad"])
@pytest.mark.parametrize("wrong", ["rounds", "shifts"])
def test_a_wrong_cut_is_found_and_not_taken(keras, monkeypatch, method, wrong):
    import tensorflow as tf

    from hsi.explain import affine
    from hsi.explain.score import score_of

    right = affine.split_of

    def split_of(network, shape):
        split = right(network, shape)
        if split is None:
            return None

        @tf.custom_gradient
        def rounded(a):
            return tf.round(8 * a) / 8, lambda upstream: upstream

        spoil = {"rounds": rounded, "shifts": lambda a: a + 0.05}[wrong]
        return affine.Split(split.front, lambda a: split.rest(spoil(a)), split.share)

    monkeypatch.setattr(affine, "split_of", split_of)
    model = with_random_weights(cao(keras))
    x = samples((5, 5, 4), dtype="float32")
    found = explain.attribute(method, model, x, **METHODS[method])
    wanted = explain.attribute(method, uncut(model), x, **METHODS[method])
    largest = np.abs(wanted.maps).max()
    np.testing.assert_allclose(found.maps, wanted.maps, rtol=0, atol=1e-5 * largest)
    assert any("whole network" in note for note in found.notes)
    assert not set(METHODS) & set(score_of(model)._compiled)


# Networks of other forms


def test_other_forms_say_where_they_are_cut_and_pass_it_once(keras):
    """Behind PCA, say: the front goes forward for samples and baseline, whatever the points."""
    import tensorflow as tf

    from hsi.explain.affine import behind
    from hsi.explain.logit_view import logit_model
    from hsi.explain.score import Score

    view, rows = logit_model(with_random_weights(cao(keras))), []
    matrix = samples((7, 4), n=1, dtype="float32")[0]

    def steps(x):
        tf.py_function(lambda n: rows.append(int(n)), [tf.shape(x)[0]], [])
        return tf.tensordot(x, matrix, 1) - 0.3

    class Form:
        def __call__(self, x):
            return view(steps(x), training=False)

        def affine_split(self, sample_shape):
            assert sample_shape == (5, 5, 7)
            return behind(steps, view, (5, 5, 4))

    def passed(score, points):
        rows.clear()
        options = {"points": points, "tolerance": 1e9, "batch_size": 4}
        maps = explain.attribute("integrated_gradient", score, x, **options).maps
        return maps, sum(rows)

    x = samples((5, 5, 7), n=8, dtype="float32")
    cut, whole = Score(Form(), input_shape=(5, 5, 7)), Score(Form().__call__, input_shape=(5, 5, 7))
    passed(cut, 3)  # compares
    for points in (5, 20):
        maps, count = passed(cut, points)
        wanted, whole_count = passed(whole, points)
        np.testing.assert_allclose(maps, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())
        assert count <= 2 * (
            8 + 1
        )  # forward, with the baseline for each batch, and on the way back
        assert whole_count >= 8 * points


def recording(keras, rows):
    """`cao` as a form of its own that notes how many rows go into each part of it."""
    import tensorflow as tf

    from hsi.explain.affine import Split, split_of
    from hsi.explain.logit_view import logit_model
    from hsi.explain.score import Score

    view = logit_model(with_random_weights(cao(keras)))
    split = split_of(view, (5, 5, 4))

    def noted(part):
        def call(x):
            tf.py_function(lambda n: rows.append(int(n)), [tf.shape(x)[0]], [])
            return part(x)

        return call

    class Form:
        def __init__(self):
            self.call = noted(lambda x: view(x, training=False))

        def __call__(self, x):
            return self.call(x)

        def affine_split(self, sample_shape):
            return Split(noted(split.front), noted(split.rest), split.share)

    return Score(Form(), input_shape=(5, 5, 4))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("n", "batch_size"), [(3, 7), (9, 4), (2, 1)])
def test_no_more_rows_than_the_batch_size_at_once(keras, monkeypatch, method, n, batch_size):
    """Neither go into the network nor are held between its parts, however many copies there are."""
    from hsi.explain.score import Score

    rows, held, compiled = [], [], Score.compiled

    def watched(self, name, build):
        step = compiled(self, name, build)

        def call(*args):
            found = step(*args)
            tensors = [*args, *(found if isinstance(found, list | tuple) else [found])]
            held.extend(t.shape[0] for t in tensors if len(getattr(t, "shape", ())) > 1)
            return found

        return call

    monkeypatch.setattr(Score, "compiled", watched)
    many = {"points": 19, "tolerance": 1e9} if "integrated" in method else {"samples": 19}
    x = samples((5, 5, 4), n=n, dtype="float32")
    score = recording(keras, rows)
    found = explain.attribute(method, score, x, batch_size=batch_size, **many)
    assert 1 <= max(rows) <= batch_size
    assert 1 <= max(held) <= batch_size
    if "integrated" in method:  # and doubled, and put where the score bends
        rows.clear()
        held.clear()
        raised = {"points": 4, "most_points": 40, "tolerance": 1e-12}
        explain.attribute(method, score, x, batch_size=batch_size, **raised)
        assert 1 <= max(rows) <= batch_size
        assert 1 <= max(held) <= batch_size
    monkeypatch.undo()
    wanted = explain.attribute(method, uncut(with_random_weights(cao(keras))), x, **many)
    np.testing.assert_allclose(found.maps, wanted.maps, atol=1e-5 * np.abs(wanted.maps).max())


def test_noise_is_passed_once_for_many_samples(keras):
    """As long as it fits into a batch: then only samples and noise go through the front."""
    rows, x = [], samples((5, 5, 4), n=40, dtype="float32")
    score = recording(keras, rows)
    counts = []
    for n in (8, 40):
        options = {"samples": 6, "batch_size": 8}
        explain.attribute("smoothgrad", score, x[:n], **options)  # compares and compiles
        rows.clear()
        explain.attribute("smoothgrad", score, x[:n], **options)
        counts.append(sum(rows))
    # Front and rest of each sample, the rest of each copy, the front again on the way back.
    assert counts[1] - counts[0] == (40 - 8) * (1 + 1 + 6 + 1)


def test_noise_in_groups_is_the_noise_in_one(keras):
    from hsi.explain.affine import Split, _same
    from hsi.explain.noise import noise_draws, noise_of
    from hsi.explain.score import score_of

    x = samples((5, 5, 4), dtype="float32")
    drawn = noise_of(x, seed=3, samples=7, noise=0.2, ranges=None)
    wanted = np.random.default_rng(3).standard_normal((7, 5, 5, 4), dtype=np.float32)
    np.testing.assert_array_equal(list(noise_draws((5, 5, 4), 7, seed=3)), wanted)
    score = score_of(cao(keras))
    groups = list(drawn.groups(score, Split(_same, score), x, batch_size=3))
    found = np.concatenate([g.shifts[: g.count] for g in groups])
    np.testing.assert_array_equal(found, wanted * (0.2 * np.ptp(x, axis=(0, 1, 2))))
    assert [len(g.shifts) for g in groups] == [3, 3, 3]
    assert sum(g.weights[: g.count].sum() for g in groups) == pytest.approx(1)


# Convolutions as products


def convolutions(keras):
    layers = keras.layers
    return [
        (layers.Conv2D(5, 3, activation="relu"), (3, 3, 4)),
        (layers.Conv2D(5, 3, padding="same", use_bias=False), (1, 1, 4)),
        (layers.Conv2D(5, (4, 3), padding="same", strides=2), (2, 1, 4)),
        (layers.Conv2D(5, (2, 5), padding="same", strides=(1, 9)), (1, 4, 3)),
        (layers.Conv2D(5, 2, strides=3), (3, 4, 4)),
        (layers.Conv2D(5, 1), (1, 1, 4)),
        (layers.Conv1D(5, 6, activation="tanh"), (6, 2)),
        (layers.Conv3D(5, (2, 3, 4), padding="same", strides=4), (2, 3, 4, 2)),
    ]


def test_a_convolution_of_one_position_is_a_product(keras, double):
    import tensorflow as tf

    from hsi.explain.one_position import is_one_position, quickest

    for layer, shape in convolutions(keras):
        x = tf.constant(samples(shape, n=3))
        wanted = layer(x)
        with_random_weights(layer)
        product = quickest(layer, x)
        assert product is not layer, shape
        assert is_one_position(layer, (None, *shape))
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(x)
            wanted, found = layer(x), product(x)
        assert found.shape == wanted.shape
        np.testing.assert_allclose(found, wanted, rtol=1e-10, atol=1e-12)
        slopes = [tape.gradient(y, x) for y in (found, wanted)]
        np.testing.assert_allclose(*slopes, rtol=1e-10, atol=1e-12)


def test_other_convolutions_are_left_alone(keras):
    import tensorflow as tf

    from hsi.explain.one_position import quickest

    layers = keras.layers
    for layer, shape in [
        (layers.Conv2D(4, 3), (4, 3, 4)),
        (layers.Conv2D(4, 3, padding="same"), (2, 2, 4)),
        (layers.Conv2D(4, 2, groups=2), (2, 2, 4)),
        (layers.Conv2D(4, 2, dilation_rate=2), (3, 3, 4)),
        (layers.DepthwiseConv2D(2), (2, 2, 4)),
        (layers.Conv2DTranspose(4, 1), (1, 1, 4)),
        (layers.Conv1D(4, 3, padding="causal"), (1, 4)),
    ]:
        x = tf.constant(samples(shape, dtype="float32"))
        layer(x)
        assert quickest(layer, x) is layer


def test_a_wrong_product_is_not_taken(keras, monkeypatch):
    import tensorflow as tf

    from hsi.explain import one_position

    right = one_position._product
    monkeypatch.setattr(one_position, "_product", lambda *a: right(*a) * 1.001)
    layer, x = keras.layers.Conv2D(5, 3), tf.constant(samples((3, 3, 4), dtype="float32"))
    layer(x)
    assert one_position.quickest(layer, x) is layer


def test_a_score_with_products_follows_its_model(keras):
    from hsi.explain.score import score_of

    model = with_random_weights(cao(keras))
    x = samples((5, 5, 4), dtype="float32")
    score = score_of(model)
    for seed in (3, 4):
        with_random_weights(model, seed)
        np.testing.assert_allclose(score.logits(x), score.plainly(x), rtol=1e-4, atol=1e-4)
        odds = np.exp(score.logits(x) - score.logits(x).max(axis=1, keepdims=True))
        np.testing.assert_allclose(odds / odds.sum(axis=1, keepdims=True), model(x), atol=1e-5)


# Points where the score bends


def test_the_midpoint_rule_finds_the_bends():
    """Exact where a function is straight: its own joints are all that costs points."""
    from hsi.explain.bends import midpoint_rule

    joints, slopes = np.array([0.1234567, 0.6, 0.60003, 0.97]), np.array([3.0, -40, 7000, -6900, 5])

    def slope(t):
        return slopes[np.searchsorted(joints, t)]

    def values(t):
        t = np.asarray(t)[:, None]
        parts = np.clip(t, [0, *joints], [*joints, 1]) - [0, *joints]
        return (parts * slopes).sum(axis=1)

    whole = values([1.0])[0]
    places, weights = midpoint_rule(values, 150, enough=0.02)
    assert len(places) < 150
    assert weights.sum() == pytest.approx(1)
    assert ((places > 0) & (places < 1)).all()
    assert abs((weights * slope(places)).sum() - whole) <= 0.02
    even = (np.arange(150) + 0.5) / 150
    assert abs(slope(even).mean() - whole) > 0.1  # evenly spread, as many miss the steep piece
    assert len(midpoint_rule(values, 40, enough=0)[0]) == 40
    assert len(midpoint_rule(lambda t: 3 * t, 40, enough=0)[0]) == 32  # straight: none is halved


def test_completeness_where_the_score_rises_in_a_narrow_place(keras):
    """Doubling the points goes past the rise; then they are put where the score bends."""
    model = keras.Sequential(
        [
            keras.Input((2, 2, 1)),
            keras.layers.Flatten(),
            keras.layers.Dense(2, activation="relu"),
            keras.layers.Dense(2),
        ]
    )
    # Along the way to ones the sum is 4 t: both units start within a thousandth, slopes cancel.
    kernel = np.full((4, 2), 500.0)
    model.set_weights(
        [kernel, np.array([-777.0, -778.0]), np.array([[1, 0], [-1, 0]]), np.zeros(2)]
    )
    x = np.ones((1, 2, 2, 1), np.float32)
    score = uncut(model)
    options = {"classes": 0, "batch_size": 16, "most_points": 64}
    found = explain.attribute("integrated_gradient", score, x, **options)
    assert found.completeness_error[0] < 0.01
    np.testing.assert_allclose(found.maps, 0.25, rtol=0.01)  # the rise by 1, shared by four
    assert "the points of sample 1 are close together where the score bends" in found.notes
    coarse = explain.attribute("integrated_gradient", score, x, **options, tolerance=1e9)
    assert coarse.completeness_error[0] > 0.1
