"""Explanations through the preparation: against `bands.apply`, `nnls`, and the chain rule."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import nnls

from hsi import bands, explain
from hsi.errors import ModelError, SettingsError

BANDS, SIDE, CLASSES = 14, 4, 3
COMPONENTS = {"PCA": 4, "NMF": 6}
FEW = {
    "rise": {"masks": 20},
    "smoothgrad": {"samples": 4},
    "smoothgrad_squared": {"samples": 4},
    "vargrad": {"samples": 4},
    "integrated_gradient": {"points": 8, "most_points": 8},
}
ATTRIBUTIONS = [name for name, method in explain.METHODS.items() if method.kind == "attribution"]
reducers = pytest.mark.parametrize("reducer", ["PCA", "NMF"])


def scene(seed: int = 0) -> np.ndarray:
    """(12, 10, bands) counts: few smooth spectra a pixel, so that many NMF weights are zero."""
    rng = np.random.default_rng(seed)
    at = np.linspace(0, 1, BANDS)
    spectra = np.stack([np.exp(-((at - c) ** 2) / 0.02) for c in np.linspace(0, 1, 7)])
    shares = rng.dirichlet(np.full(7, 0.3), size=(12, 10))
    return np.round(4000 * shares @ spectra + rng.normal(scale=15, size=(12, 10, BANDS)) + 900)


def fitted(reducer: str, scaling: str = "standard") -> bands.Preparation:
    cube = scene()
    way = {} if reducer == "none" else {"band_selection": reducer}
    return bands.fit(
        cube, np.ones(cube.shape[:2], bool), scaling=scaling, components=COMPONENTS.get(reducer),
        **way,
    )  # fmt: skip


@pytest.fixture(scope="module")
def preparations() -> dict[str, bands.Preparation]:
    return {reducer: fitted(reducer) for reducer in ("none", "PCA", "NMF")}


@pytest.fixture(scope="module")
def models():
    """A small network a reducer, of inputs of its components."""
    return {reducer: network(count) for reducer, count in {**COMPONENTS, "none": BANDS}.items()}


def network(channels: int, seed: int = 3):
    import tf_keras as keras

    rng = np.random.default_rng(seed)
    layers = [
        keras.layers.Conv2D(5, 2, activation="relu", name="conv_1"),
        keras.layers.Conv2D(4, 2, activation="relu", name="conv_2"),
        keras.layers.Flatten(),
        keras.layers.Dense(CLASSES, activation="softmax"),
    ]
    model = keras.Sequential([keras.Input((SIDE, SIDE, channels)), *layers])
    model.set_weights([rng.normal(scale=0.5, size=w.shape) for w in model.get_weights()])
    return model


def patches(cube: np.ndarray, n: int = 3) -> np.ndarray:
    """(n, side, side, bands) cut out of a cube."""
    return np.stack([cube[i : i + SIDE, 2 * i : 2 * i + SIDE] for i in range(n)])


def applied(preparation: bands.Preparation, samples: np.ndarray) -> np.ndarray:
    """`bands.apply` on samples (n, rows, cols, bands)."""
    return np.stack([bands.apply(preparation, sample) for sample in samples])


def samples_of(preparation: bands.Preparation, n: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """The same samples in bands and in components."""
    counts = patches(scene(), n)
    return applied(replace(preparation, reducer="none"), counts), applied(preparation, counts)


def unmixed(preparation: bands.Preparation) -> np.ndarray:
    """(bands,) the scaled spectrum whose components are all zero, of PCA and NMF."""
    axes, offset = preparation.components, preparation.out_offset
    if preparation.reducer == "NMF":
        return offset @ axes
    return preparation.mean + np.linalg.lstsq(axes, offset, rcond=None)[0]


def looking_at_its_input(shape: tuple[int, ...]):
    """A score whose logits are the network's input itself."""
    import tensorflow as tf

    from hsi.explain.score import Score

    return Score(lambda x: tf.reshape(x, [-1, int(np.prod(shape))]), input_shape=shape)


def smooth(preparation: bands.Preparation):
    """A score without kinks, in float64."""
    import tensorflow as tf

    from hsi.explain.score import Score

    size = SIDE * SIDE * preparation.channels
    matrix = np.random.default_rng(2).normal(size=(size, CLASSES))
    return Score(lambda x: tf.tanh(tf.reshape(x, [-1, size])) @ matrix, dtype="float64")


def through(*args, **options):
    from hsi.explain import prepared

    return prepared.through(*args, **options)


# The steps are those of `bands.apply`


@pytest.mark.parametrize("scaling", ["standard", "minmax", "none"])
@pytest.mark.parametrize("reducer", ["none", "PCA", "NMF"])
def test_the_steps_are_those_that_prepare_a_cube(reducer, scaling):
    preparation = fitted(reducer, scaling)
    counts = patches(scene(1))
    counts[0, 0, 0] *= 30  # clipped, but for scaling "none"
    counts[1, 1, 1] = -5000
    expected = applied(preparation, counts)
    score = looking_at_its_input(expected.shape[1:])
    spread = expected.std()
    found = through(score, preparation, space="counts").logits(counts.astype(np.float32))
    np.testing.assert_allclose(found, expected.reshape(len(found), -1), atol=1e-5 * spread)
    in_bands = applied(replace(preparation, reducer="none"), counts)
    found = through(score, preparation).logits(in_bands)
    np.testing.assert_allclose(found, expected.reshape(len(found), -1), atol=1e-5 * spread)


@pytest.mark.parametrize("scaling", ["standard", "none"])
def test_small_differences_of_large_counts_survive_single_precision(scaling):
    """The offset and the mean are far larger than the spread, and no float32 themselves."""
    pca, far = fitted("PCA", scaling), 6e6 + 1 / 3
    pca = replace(pca, low=pca.low + far, high=pca.high + far)
    moved = {"standard": "offset", "none": "mean"}[scaling]
    pca = replace(pca, **{moved: getattr(pca, moved) + far})
    counts = patches(scene()) + 6e6
    expected = applied(pca, counts)
    found = through(looking_at_its_input(expected.shape[1:]), pca, space="counts").logits(
        counts.astype(np.float32)
    )
    spread = expected.std()
    np.testing.assert_allclose(found, expected.reshape(len(found), -1), atol=1e-5 * spread)


def test_where_there_is_nothing_to_go_through_the_score_is_the_same(models, preparations):
    from hsi.explain.score import score_of

    assert through(models["PCA"], preparations["PCA"], space="components") is score_of(
        models["PCA"]
    )
    assert through(models["none"], preparations["none"]) is score_of(models["none"])
    assert through(models["none"], preparations["none"], space="counts") is not score_of(
        models["none"]
    )


def test_what_does_not_fit_is_refused(models, preparations):
    with pytest.raises(SettingsError, match="space"):
        through(models["PCA"], preparations["PCA"], space="components of NMF")
    with pytest.raises(ModelError, match=r"the 4 channels .* it takes 6"):
        through(models["NMF"], preparations["PCA"])
    score = through(models["NMF"], preparations["NMF"])
    assert score.input_shape == (SIDE, SIDE, BANDS)
    with pytest.raises(ModelError, match=f"4 x 4 x {BANDS}"):
        explain.attribute("gradient", score, np.zeros((1, SIDE, SIDE, 6), np.float32))


# Non-negative fits


def some_fits(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Axes (9, 20), and pixels with some weights at zero: copies, faded ones and an empty one."""
    rng = np.random.default_rng(seed)
    axes = rng.gamma(0.5, size=(9, 20))
    pixels = rng.gamma(0.4, size=(30, 9)) @ axes + rng.normal(scale=0.8, size=(30, 20))
    return axes, np.concatenate([pixels, 0.3 * pixels[:10], pixels[5:7], np.zeros((1, 20))])


def test_the_weights_are_those_of_nnls():
    from hsi.explain.reductions import NonNegativeFit

    axes, pixels = some_fits()
    weights, positive = NonNegativeFit(axes).forward(pixels)
    expected = np.stack([nnls(axes.T, pixel)[0] for pixel in pixels])
    assert 1 < positive.sum(axis=1)[:-1].min() < positive.sum(axis=1).max() <= 9
    np.testing.assert_array_equal(positive, expected > 0)
    np.testing.assert_allclose(weights, expected, rtol=1e-6, atol=1e-9)


def test_pixels_of_nearly_one_ray_need_not_have_one_set():
    """Right at the kinks: the set of the first pixel of a ray does not hold for the others."""
    from hsi.explain.reductions import NonNegativeFit, _rays

    axes, pixels = some_fits()
    edges = []
    for number, pixel in enumerate(pixels[:20]):
        first = 1e-6 * (-1) ** number  # whichever side comes first, the other is not as it
        weights = nnls(axes.T, pixel)[0]
        member = int(np.flatnonzero(weights)[0])
        # That weight at zero, and all else as it was: there its axis is neither in nor out.
        edge = pixel - weights[member] * axes[member]
        edges += [edge + step * axes[member] for step in (first, -first, 2 * first)]
    pixels = np.array(edges)
    first, _ = _rays(pixels)
    assert len(first) < len(pixels) / 2  # of some rays there are both sides
    weights, positive = NonNegativeFit(axes).forward(pixels)
    expected = np.stack([nnls(axes.T, pixel)[0] for pixel in pixels])
    np.testing.assert_allclose(weights, expected, atol=1e-8)  # the ridge against parallel axes
    np.testing.assert_array_equal(positive, expected > 1e-8)


def test_slopes_go_back_as_through_least_squares_on_the_set_of_nnls():
    from hsi.explain.reductions import NonNegativeFit

    axes, pixels = some_fits()
    fit = NonNegativeFit(axes)
    upstream = np.random.default_rng(1).normal(size=(len(pixels), len(axes)))
    found = fit.backward(upstream, fit.forward(pixels)[1])
    for pixel, slopes, back in zip(pixels, upstream, found, strict=True):
        members = nnls(axes.T, pixel)[0] > 0
        jacobian = np.linalg.pinv(axes[members].T)  # of the weights in the set
        np.testing.assert_allclose(back, slopes[members] @ jacobian, rtol=1e-6, atol=1e-9)


def test_axes_that_are_parallel_do_not_break_the_way_back():
    from hsi.explain.reductions import NonNegativeFit

    axes, pixels = some_fits()
    fit = NonNegativeFit(np.concatenate([axes, 2 * axes[:3]]))
    weights, positive = fit.forward(pixels)
    back = fit.backward(np.ones_like(weights), positive)
    assert np.isfinite(back).all()
    rebuilt = np.stack([nnls(axes.T, pixel)[0] for pixel in pixels]) @ axes
    np.testing.assert_allclose(weights @ np.concatenate([axes, 2 * axes[:3]]), rebuilt, atol=1e-4)


@reducers
def test_gradients_are_finite_differences(preparations, reducer):
    """In float64, where a step does not move the set of positive weights."""
    preparation = preparations[reducer]
    score = through(smooth(preparation), preparation)
    assert score.dtype == "float64"
    x = samples_of(preparation, 1)[0].astype(np.float64)
    maps = explain.attribute("gradient", score, x, classes=1).maps[0]
    checked, h = 0, 1e-5
    for at in np.ndindex(2, 2, BANDS):
        step = np.zeros_like(x)
        step[(0, *at)] = h
        if reducer == "NMF":
            sets = [nnls(preparation.components.T, (x + s)[0, at[0], at[1]])[0] > 0
                    for s in (-step, 0 * step, step)]  # fmt: skip
            if not (np.array_equal(sets[0], sets[1]) and np.array_equal(sets[1], sets[2])):
                continue
        slope = (score.logits(x + step) - score.logits(x - step))[0, 1] / (2 * h)
        np.testing.assert_allclose(maps[at], slope, rtol=1e-5, atol=1e-6)
        checked += 1
    assert checked > 40


# Methods in bands


def test_gradients_come_back_through_pca_by_the_chain_rule(models, preparations):
    pca = preparations["PCA"]
    in_bands, in_components = samples_of(pca)
    score = through(models["PCA"], pca)
    for method in ("gradient", "guided_backprop", "deconvnet", "layer_attention"):
        found = explain.attribute(method, score, in_bands)
        inner = explain.attribute(method, models["PCA"], in_components)
        expected = (inner.maps / pca.out_scale) @ pca.components
        np.testing.assert_allclose(found.maps, expected, atol=1e-5 * np.abs(expected).max())
        np.testing.assert_array_equal(found.classes, inner.classes)
        np.testing.assert_allclose(found.scores, inner.scores, rtol=1e-4)
        assert found.notes == inner.notes


@reducers
def test_integrated_gradients_are_complete_in_bands(models, preparations, reducer):
    preparation = preparations[reducer]
    x, _ = samples_of(preparation)
    for baseline, error in ((np.zeros(BANDS), 1e-5), (unmixed(preparation), 0.01)):
        score = through(smooth(preparation), preparation)
        found = explain.attribute("integrated_gradient", score, x, baseline=baseline)
        start = np.broadcast_to(baseline, x.shape).astype(x.dtype)
        rows = np.arange(len(x))
        ends = [score.logits(score.prepare(part))[rows, found.classes] for part in (x, start)]
        # From zero the set of positive weights is one all the way; else the way has kinks.
        assert found.completeness_error.max() <= error
        np.testing.assert_allclose(found.maps.sum(axis=(1, 2, 3)), ends[0] - ends[1], rtol=error)
        score = through(models[reducer], preparation)
        found = explain.attribute("integrated_gradient", score, x, classes=1, baseline=baseline)
        ends = [score.logits(part)[:, 1] for part in (x, start)]
        far = 0.02 * np.abs(ends).max()
        np.testing.assert_allclose(found.maps.sum(axis=(1, 2, 3)), ends[0] - ends[1], atol=far)


@reducers
@pytest.mark.parametrize("method", ["gradcam", "gradcam_plus_plus", "visual_backprop"])
def test_maps_of_layers_are_those_of_components(models, preparations, reducer, method):
    in_bands, in_components = samples_of(preparations[reducer])
    found = explain.attribute(method, through(models[reducer], preparations[reducer]), in_bands)
    inner = explain.attribute(method, models[reducer], in_components)
    assert found.maps.shape == in_bands.shape
    assert found.per == "pixel"
    assert not found.dead.all()
    np.testing.assert_allclose(found.maps[..., 0], inner.maps[..., 0], atol=1e-4)


@reducers
def test_covered_pixels_are_those_of_components(models, preparations, reducer):
    """A pixel without components is a pixel of zeros to the network, through both reducers."""
    preparation = preparations[reducer]
    in_bands, in_components = samples_of(preparation)
    score = through(models[reducer], preparation)
    found = explain.attribute("occlusion", score, in_bands, baseline=unmixed(preparation))
    inner = explain.attribute("occlusion", models[reducer], in_components)
    np.testing.assert_allclose(found.maps[..., 0], inner.maps[..., 0], atol=1e-4)
    if reducer == "PCA":  # what is affine keeps mixtures of a sample and its baseline
        found = explain.attribute("rise", score, in_bands, masks=20, baseline=unmixed(preparation))
        inner = explain.attribute("rise", models[reducer], in_components, masks=20)
        np.testing.assert_allclose(found.maps[..., 0], inner.maps[..., 0], atol=1e-4)


@reducers
def test_covered_bands_one_window_after_the_other(models, preparations, reducer):
    preparation = preparations[reducer]
    x, components = samples_of(preparation, 2)
    found = explain.attribute(
        "spectral_occlusion", through(models[reducer], preparation), x, channels=3, channel_stride=3
    )
    # Scaled bands are counts to a preparation that neither clips nor scales.
    still = replace(
        preparation, low=np.full(BANDS, -np.inf), high=np.full(BANDS, np.inf),
        offset=np.zeros(BANDS), scale=np.ones(BANDS),
    )  # fmt: skip
    inner = explain.attribute("gradient", models[reducer], components)
    total, count = np.zeros(x.shape), np.zeros(BANDS)
    for start in [0, 3, 6, 9, 11]:
        covered = x.copy()
        covered[..., start : start + 3] = 0
        scores = explain.attribute(
            "gradient", models[reducer], applied(still, covered), classes=inner.classes
        ).scores
        total[..., start : start + 3] += (inner.scores - scores)[:, None, None, None]
        count[start : start + 3] += 1
    np.testing.assert_allclose(found.maps, total / count, rtol=1e-3, atol=1e-4)


@reducers
@pytest.mark.parametrize("method", ATTRIBUTIONS)
def test_every_method_works_in_bands(models, preparations, reducer, method):
    preparation = preparations[reducer]
    x, components = samples_of(preparation)
    score = through(models[reducer], preparation)
    options = FEW.get(method, {})
    found = explain.attribute(method, score, x, batch_size=4, **options)
    assert found.maps.shape == x.shape
    assert np.isfinite(found.maps).all()
    assert not found.dead.all()
    assert not any("no ReLU" in note for note in found.notes)
    inner = explain.attribute("gradient", models[reducer], components)
    np.testing.assert_array_equal(found.classes, inner.classes)
    np.testing.assert_allclose(found.scores, inner.scores, rtol=1e-4, atol=1e-5)
    for rows in (slice(0, 1), slice(2, 3)):  # fewer samples: other groups of pixels
        if "ranges" not in explain.options_of(method):
            again = explain.attribute(method, score, x[rows], batch_size=64, **options)
            np.testing.assert_allclose(
                again.maps, found.maps[rows], rtol=1e-3, atol=1e-4 * np.abs(found.maps).max()
            )


@reducers
def test_class_images_are_spectra_of_the_sensor(models, preparations, reducer):
    from hsi.explain import class_image

    preparation = preparations[reducer]
    x, _ = samples_of(preparation)
    score = through(models[reducer], preparation)
    found = class_image.images(score, x, start="mean", steps=25, rate=0.05)
    assert found.images.shape == (CLASSES, SIDE, SIDE, BANDS)
    assert (found.scores > found.start_scores).all()


@reducers
def test_counts_have_the_slopes_of_bands_over_the_scale_and_none_where_clipped(
    models, preparations, reducer
):
    preparation = preparations[reducer]
    counts = patches(scene()).astype(np.float32)
    counts[:, 1, 1, 2], counts[:, 2, 3, 5] = 1e6, -1e6
    clipped = (counts < preparation.low) | (counts > preparation.high)
    assert clipped[:, 1, 1, 2].all()
    assert clipped[:, 2, 3, 5].all()
    in_bands = applied(replace(preparation, reducer="none"), counts)
    of_counts = explain.attribute(
        "gradient", through(models[reducer], preparation, space="counts"), counts
    ).maps
    of_bands = explain.attribute("gradient", through(models[reducer], preparation), in_bands).maps
    expected = np.where(clipped, 0, of_bands / preparation.scale)
    assert (of_bands[clipped] != 0).any()
    np.testing.assert_allclose(of_counts, expected, rtol=1e-3, atol=1e-5 * np.abs(expected).max())


def test_without_a_reducer_counts_are_clipped_and_scaled(models, preparations):
    plain = preparations["none"]
    counts = patches(scene())
    counts[0, 0, 0, 0] = 1e6
    found = explain.attribute(
        "gradient", through(models["none"], plain, space="counts"), counts.astype(np.float32)
    ).maps
    inner = explain.attribute("gradient", models["none"], applied(plain, counts)).maps
    assert found[0, 0, 0, 0] == 0 != inner[0, 0, 0, 0]
    inner[0, 0, 0, 0] = 0
    np.testing.assert_allclose(found, inner / plain.scale, rtol=1e-3, atol=1e-7)


# What is known of the network


@reducers
def test_layers_are_those_of_the_network(models, preparations, reducer):
    from hsi.explain.keras_layers import layered_of
    from hsi.explain.layered import Layered

    score = through(models[reducer], preparations[reducer])
    assert isinstance(score.network, Layered)
    view = layered_of(score, method="test")
    from hsi.explain.score import score_of

    inner = layered_of(score_of(models[reducer]), method="test")
    x, components = samples_of(preparations[reducer])
    assert view.describe(x.shape[1:]) == inner.describe(components.shape[1:])
    assert (view.relus, view.unreplaced) == (2, ())
    logits, (maps,) = view.forward(x, ["conv_1"])
    expected, (inner_maps,) = inner.forward(components, ["conv_1"])
    np.testing.assert_allclose(logits, expected, atol=1e-4)
    np.testing.assert_allclose(maps, inner_maps, atol=1e-4)
    with pytest.raises(ModelError, match="conv_1"):
        explain.attribute("gradcam", score, x, layer="conv1")


def test_sizes_left_free_by_the_graph_are_found(preparations):
    import tf_keras as keras

    from hsi.explain.keras_layers import layered_of

    inputs = keras.Input((None, None, COMPONENTS["PCA"]))
    maps = keras.layers.Conv2D(2, 3, name="conv")(inputs)
    model = keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(maps))
    score = through(model, preparations["PCA"])
    assert score.input_shape == (None, None, BANDS)
    infos = layered_of(score, method="test").describe((7, 6, BANDS))
    assert {info.name: info.shape for info in infos}["conv"] == (5, 4, 2)


def test_notes_are_carried_over_and_callables_stay_callables(preparations):
    import tensorflow as tf

    from hsi.explain.score import Score

    inner = Score(lambda x: tf.reduce_sum(x, axis=(1, 2)), notes=["a note"])
    score = through(inner, preparations["NMF"])
    x, _ = samples_of(preparations["NMF"])
    found = explain.attribute("gradient", score, x)
    assert found.notes == ("a note",)
    assert found.maps.any()
    with pytest.raises(ModelError, match="looks into the layers"):
        explain.attribute("gradcam", score, x)


def test_other_forms_of_a_score_go_through_the_same_steps(models, preparations):
    """What the network answers, and a network without its rounding."""
    import tensorflow as tf

    from hsi.explain.score import Score, answers_of, score_of

    pca = preparations["PCA"]
    x, components = samples_of(pca)
    score = through(models["PCA"], pca)
    found, expected = answers_of(score), answers_of(models["PCA"])
    np.testing.assert_allclose(found.logits(x), expected.logits(components), atol=1e-5)
    np.testing.assert_allclose(found.logits(x).sum(axis=1), 1, rtol=1e-5)
    assert score.smooth is None

    inner = score_of(models["PCA"])
    rounding = Score(lambda x: tf.round(inner(x)), smooth=lambda: inner)
    score = through(rounding, pca)
    np.testing.assert_allclose(score.smooth.logits(x), inner.logits(components), atol=1e-4)
    np.testing.assert_array_equal(score.logits(x), np.round(inner.logits(components)))


@reducers
def test_a_black_box_stays_one(models, preparations, reducer):
    from hsi.explain.score import Score, score_of

    seen = []

    def answers(batch: np.ndarray) -> np.ndarray:
        seen.append(batch)
        return score_of(models[reducer]).logits(batch)

    preparation = preparations[reducer]
    box = Score(answers, input_shape=(SIDE, SIDE, COMPONENTS[reducer]), black_box=True)
    score = through(box, preparation)
    x, components = samples_of(preparation)
    found = explain.attribute("occlusion", score, x)
    expected = explain.attribute("occlusion", through(models[reducer], preparation), x)
    np.testing.assert_allclose(found.maps, expected.maps, atol=1e-5)
    assert all(type(b) is np.ndarray and b.dtype == np.float32 for b in seen)
    np.testing.assert_allclose(seen[0][:3], components, atol=1e-4)
    with pytest.raises(ModelError, match="black box"):
        explain.attribute("gradient", score, x)
