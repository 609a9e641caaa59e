"""Methods of band reduction in front of a network: the chain rule, and folding into its kernel."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from hsi import bands, explain
from hsi.bands import nonlinear
from hsi.errors import ModelError

BANDS, SIDE, CLASSES, COUNT = 10, 3, 3, 4
CURVED = ["kernel_pca", "autoencoder"]
STRAIGHT = [name for name, method in bands.REDUCERS.items() if method.kind == "affine"]
SOME = ["lda", "factor_analysis", "select_backward", *CURVED]
curved = pytest.mark.parametrize("name", CURVED)
straight = pytest.mark.parametrize("name", STRAIGHT)


def scene() -> tuple[np.ndarray, np.ndarray]:
    """(11, 10, bands) counts, and labels of five classes."""
    rng = np.random.default_rng(0)
    labels = rng.integers(1, 6, (11, 10))
    levels = rng.uniform(300, 3000, (5, BANDS))
    light = rng.uniform(0.7, 1.3, (11, 10, 1))
    return np.round(light * levels[labels - 1] + rng.normal(scale=40, size=(11, 10, BANDS))), labels


CUBE, LABELS = scene()


def fit(name: str, scaling: str = "standard") -> bands.Preparation:
    everywhere = np.ones(LABELS.shape, bool)
    return bands.fit(
        CUBE, everywhere, scaling=scaling, band_selection=name, components=COUNT, labels=LABELS
    )


@pytest.fixture(scope="module", autouse=True)
def _few_steps():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nonlinear, "STEPS", 30)
        yield


@pytest.fixture(scope="module")
def preparations(_few_steps) -> dict[str, bands.Preparation]:
    return {name: fit(name) for name in {*STRAIGHT, *CURVED}}


@pytest.fixture(scope="module")
def model():
    """A small network of COUNT channels."""
    import tf_keras as keras

    rng = np.random.default_rng(3)
    layers = [
        keras.layers.Conv2D(5, 2, activation="relu", name="conv"),
        keras.layers.Flatten(),
        keras.layers.Dense(CLASSES, activation="softmax"),
    ]
    found = keras.Sequential([keras.Input((SIDE, SIDE, COUNT)), *layers])
    found.set_weights([rng.normal(scale=0.5, size=w.shape) for w in found.get_weights()])
    return found


def patches(cube: np.ndarray = CUBE, n: int = 3) -> np.ndarray:
    return np.stack([cube[2 * i : 2 * i + SIDE, i : i + SIDE] for i in range(n)])


def applied(preparation: bands.Preparation, samples: np.ndarray) -> np.ndarray:
    return np.stack([bands.apply(preparation, sample) for sample in samples])


def in_bands(preparation: bands.Preparation, samples: np.ndarray) -> np.ndarray:
    return applied(replace(preparation, reducer="none"), samples)


def smooth(preparation: bands.Preparation):
    """A score without kinks, in float64."""
    import tensorflow as tf

    from hsi.explain.score import Score

    size = SIDE * SIDE * preparation.channels
    matrix = np.random.default_rng(2).normal(size=(size, CLASSES))
    return Score(lambda x: tf.tanh(tf.reshape(x, [-1, size])) @ matrix, dtype="float64")


def through(*args: Any, **options: Any) -> Any:
    from hsi.explain import prepared

    return prepared.through(*args, **options)


# The chain rule


@pytest.mark.parametrize("name", [*SOME, "sparse_pca", "ica"])
@pytest.mark.parametrize("scaling", ["standard", "none"])
def test_the_steps_are_those_that_prepare_a_cube(name: str, scaling: str) -> None:
    import tensorflow as tf

    from hsi.explain.score import Score

    preparation = fit(name, scaling)
    counts = patches()
    counts[0, 0, 0] *= 30  # clipped, but for scaling "none"
    expected = applied(preparation, counts)
    look = Score(
        lambda x: tf.reshape(x, [-1, int(np.prod(expected.shape[1:]))]),
        input_shape=expected.shape[1:],
    )
    found = through(look, preparation, space="counts").logits(counts.astype(np.float32))
    np.testing.assert_allclose(
        found, expected.reshape(len(found), -1), atol=3e-5 * np.abs(expected).max()
    )


@pytest.mark.parametrize("name", SOME)
def test_gradients_are_finite_differences(preparations: Any, name: str) -> None:
    preparation = preparations[name]
    score = through(smooth(preparation), preparation)
    x = in_bands(preparation, patches(n=1)).astype(np.float64)
    maps = explain.attribute("gradient", score, x, classes=1).maps[0]
    h = 1e-5
    for at in np.ndindex(2, 1, BANDS):
        step = np.zeros_like(x)
        step[(0, *at)] = h
        slope = (score.logits(x + step) - score.logits(x - step))[0, 1] / (2 * h)
        np.testing.assert_allclose(maps[at], slope, rtol=1e-5, atol=1e-7)
    assert np.abs(maps).max() > 1e-3


@straight
def test_affine_methods_take_gradients_back_by_their_matrix(
    preparations: Any, model: Any, name: str
) -> None:
    preparation = preparations[name]
    found = explain.attribute(
        "gradient", through(model, preparation), in_bands(preparation, patches())
    )
    inner = explain.attribute("gradient", model, applied(preparation, patches()))
    expected = (inner.maps / preparation.out_scale) @ preparation.components
    np.testing.assert_allclose(found.maps, expected, atol=1e-5 * np.abs(expected).max())
    if preparation.selects:
        others = np.setdiff1d(np.arange(BANDS), preparation.chosen)
        assert not found.maps[..., others].any()
        assert found.maps[..., preparation.chosen].any()


@pytest.mark.parametrize("name", ["ica", "select_orthogonal", *CURVED])
def test_integrated_gradients_are_complete_in_bands(preparations: Any, name: str) -> None:
    preparation = preparations[name]
    score = through(smooth(preparation), preparation)
    x = in_bands(preparation, patches()).astype(np.float64)
    found = explain.attribute("integrated_gradient", score, x, baseline=np.zeros(BANDS), classes=1)
    ends = score.logits(x)[:, 1] - score.logits(np.zeros_like(x))[:, 1]
    np.testing.assert_allclose(found.maps.sum(axis=(1, 2, 3)), ends, atol=0.01 * np.abs(ends).max())


# Folding


@straight
def test_every_affine_method_folds_into_the_first_kernel(
    preparations: Any, model: Any, name: str
) -> None:
    from hsi.compress.fold import fold_preparation, proven_equal

    preparation = preparations[name]
    counts = patches().astype(np.float32)
    counts[0, 1, 1] = 30000  # clipped
    for into in ("kernel", "layer"):
        folded = fold_preparation(model, preparation, into=into)
        assert folded.input_shape == (None, SIDE, SIDE, BANDS)
        assert proven_equal(model, folded, counts, preparation=preparation) < 2e-5
        difference = folded(counts).numpy() - model(applied(preparation, counts)).numpy()
        assert np.abs(difference).max() < 1e-4


@curved
def test_what_is_not_affine_is_refused_in_one_line(
    preparations: Any, model: Any, name: str
) -> None:
    from hsi.compress.fold import fold_preparation

    with pytest.raises(ModelError, match=f"{name} cannot be folded") as caught:
        fold_preparation(model, preparations[name])
    assert "\n" not in str(caught.value)


# The autoencoder


def test_the_autoencoder_rebuilds_and_its_file_is_plain_arrays(tmp_path: Any) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nonlinear, "STEPS", 400)
        found = fit("autoencoder")
    assert found.summary()["relative_reconstruction_error"] < 0.3  # 1 is the mean spectrum
    # As much as of the principal components can be rebuilt linearly, nearly.
    weights = bands.apply(found, CUBE).reshape(-1, COUNT).astype(float)
    scaled = in_bands(found, CUBE[None])[0].reshape(-1, BANDS)
    weights -= weights.mean(axis=0)
    left = scaled - weights @ np.linalg.lstsq(weights, scaled, rcond=None)[0]
    assert (left**2).sum() / (scaled**2).sum() < 0.1
    bands.save(found, tmp_path / "a.npz")
    loaded = bands.load(tmp_path / "a.npz")
    np.testing.assert_array_equal(bands.apply(loaded, CUBE), bands.apply(found, CUBE))
    with np.load(tmp_path / "a.npz", allow_pickle=False) as arrays:
        assert {arrays[name].dtype.kind for name in arrays.files} <= {"f", "U"}


def test_the_autoencoder_depends_on_the_seed_and_the_training_pixels_alone() -> None:
    train = np.ones(LABELS.shape, bool)
    train[3:5] = False
    other = CUBE.copy()
    other[~train] = 7
    way: dict[str, Any] = {"band_selection": "autoencoder", "components": 2}
    first, again = (bands.fit(cube, train, **way) for cube in (CUBE, other))
    for name in ("inner", "inner_bias", "components", "out_offset"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
    reseeded = bands.fit(CUBE, train, seed=1, **way)
    assert not np.array_equal(first.components, reseeded.components)


def test_the_autoencoder_takes_nothing_from_the_generators_of_training() -> None:
    import tensorflow as tf
    import tf_keras as keras

    def drawn(between: bool) -> np.ndarray:
        keras.utils.set_random_seed(5)
        if between:
            fit("autoencoder")
        layer = keras.layers.Dense(4)
        layer.build((None, 3))
        return np.concatenate([layer.get_weights()[0].ravel(), tf.random.normal([5]).numpy()])

    np.testing.assert_array_equal(drawn(True), drawn(False))
