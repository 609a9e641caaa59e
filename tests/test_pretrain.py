"""The start without labels: the loss as published, views that keep their sample, what is learnt."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tf_keras as keras
from tf_keras import layers

from hsi import bands
from hsi.errors import DataError, ModelError, SettingsError
from hsi.image_sets.augment import augmentation
from hsi.image_sets.opening import open_image_set
from hsi.patches import Patches
from hsi.pipeline import generate
from hsi.pipeline.pretraining import looked_at
from hsi.pretrain import simclr
from hsi.pretrain.contrast import found, nt_xent
from hsi.pretrain.features import feature_model
from hsi.pretrain.keys import away_from_test
from hsi.pretrain.views import black_of, image_views, patch_views
from hsi.settings import Settings
from hsi.split import Split

CHANNELS = 12


@pytest.fixture(scope="module")
def patches() -> Patches:
    """A scene of fields of nine pixels, each with a spectrum of its own, and noise."""
    rng = np.random.default_rng(0)
    fields = rng.normal(size=(8, 8, CHANNELS)).repeat(3, axis=0).repeat(3, axis=1)
    return Patches(fields + 0.1 * rng.normal(size=fields.shape), 3)


def small_model(seed: int = 0) -> keras.Model:
    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [
            keras.Input((3, 3, CHANNELS)),
            layers.Conv2D(16, 3, activation="relu"),
            layers.BatchNormalization(),
            layers.Flatten(),
            layers.Dropout(0.1),
            layers.Dense(16),
            layers.Dense(4, activation="softmax"),
        ]
    )


def started(patches: Patches, *, seed: int = 0, epochs: int = 2, **options):
    model = small_model()
    history = simclr(
        model, patches, np.arange(576), augment=patch_views(), seed=seed,
        **{"epochs": epochs, "batch_size": 64, **options},
    )  # fmt: skip
    return model, history


# The loss


def literal(first: np.ndarray, second: np.ndarray, temperature: float) -> tuple[float, float]:
    """Equation 1 of the paper in loops, and how often the partner is the nearest."""
    views = [*first.astype(float), *second.astype(float)]
    count = len(first)

    def cosine(i: int, j: int) -> float:
        lengths = math.sqrt(views[i] @ views[i]) * math.sqrt(views[j] @ views[j])
        return float(views[i] @ views[j]) / lengths

    losses, hits = [], []
    for i in range(2 * count):
        j = i + count if i < count else i - count
        others = [k for k in range(2 * count) if k != i]
        below = sum(math.exp(cosine(i, k) / temperature) for k in others)
        losses.append(-math.log(math.exp(cosine(i, j) / temperature) / below))
        hits.append(max(others, key=lambda k: cosine(i, k)) == j)
    return float(np.mean(losses)), float(np.mean(hits))


@pytest.mark.parametrize("count", [2, 3, 9])
@pytest.mark.parametrize("temperature", [0.1, 0.5, 2.0])
def test_the_loss_is_the_published_one(count, temperature):
    rng = np.random.default_rng(count)
    first = rng.normal(size=(count, 5)).astype(np.float32)
    second = (first + rng.normal(size=(count, 5))).astype(np.float32)
    loss, share = literal(first, second, temperature)
    assert float(nt_xent(first, second, temperature=temperature)) == pytest.approx(
        loss, rel=1e-5, abs=1e-6
    )
    assert float(found(first, second)) == pytest.approx(share)


def test_the_loss_of_features_that_are_all_one_is_that_of_chance():
    same = np.ones((8, 3), np.float32)
    assert float(nt_xent(same, same, temperature=0.5)) == pytest.approx(math.log(15), rel=1e-6)


# Views


@pytest.mark.parametrize("shape", [(6, 5, 5, CHANNELS), (6, 3, 3, 2), (6, 1, 1, 4)])
def test_views_of_patches_keep_shape_type_and_batch(shape):
    batch = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    before = batch.copy()
    view = patch_views()(batch, np.random.default_rng(1))
    assert (view.shape, view.dtype) == (shape, np.float32)
    np.testing.assert_array_equal(batch, before)
    assert not np.array_equal(view, batch)
    np.testing.assert_array_equal(view, patch_views()(batch, np.random.default_rng(1)))
    assert not np.array_equal(view, patch_views()(batch, np.random.default_rng(2)))


def test_the_centre_of_a_patch_stays_the_centre():
    batch = np.random.default_rng(0).normal(size=(40, 5, 5, 3)).astype(np.float32)
    view = patch_views(brightness=0, noise=0, dropped=0)(batch, np.random.default_rng(1))
    np.testing.assert_array_equal(view[:, 2, 2], batch[:, 2, 2])
    assert not np.array_equal(view, batch)
    for one, of in zip(view, batch, strict=True):  # and nothing is there that was not
        assert {p.tobytes() for p in one.reshape(-1, 3)} <= {p.tobytes() for p in of.reshape(-1, 3)}


def test_dropped_channels_lie_side_by_side_and_have_their_mean():
    batch = np.random.default_rng(0).normal(size=(200, 1, 1, 10)).astype(np.float32)
    view = patch_views(brightness=0, noise=0, dropped=0.3)(batch, np.random.default_rng(1))
    changed = (view != batch)[:, 0, 0]
    lengths = changed.sum(axis=1)
    assert set(lengths) == {0, 1, 2, 3}
    for row in changed[lengths > 0]:
        assert np.ptp(np.flatnonzero(row)) == row.sum() - 1
    means = np.broadcast_to(batch.mean(axis=(0, 1, 2)), (200, 10))
    np.testing.assert_array_equal(view[:, 0, 0][changed], means[changed])


@pytest.mark.parametrize("reducer", [None, "PCA"])
def test_brightness_is_that_of_the_light_before_preparation(reducer):
    """A view of a prepared pixel is the prepared pixel under more or less light."""
    rng = np.random.default_rng(0)
    cube = rng.uniform(1000, 5000, (6, 6, 8))
    preparation = bands.fit(
        cube, np.ones((6, 6), bool), band_selection=reducer, components=3 if reducer else None
    )
    batch = bands.apply(preparation, cube).reshape(36, 1, 1, -1)
    black = black_of(preparation)
    view = patch_views(black=black, brightness=0.05, noise=0, dropped=0)(
        batch, np.random.default_rng(1)
    )
    light = ((view - black) / (batch - black))[:, 0, 0]
    factors = np.median(light, axis=1)
    assert 0.94 < factors.min() < factors.max() < 1.06
    assert factors.std() > 0.01
    lit = bands.apply(preparation, cube * factors.reshape(6, 6, 1)).reshape(36, 1, 1, -1)
    np.testing.assert_allclose(view, lit, atol=1e-4)


def test_noise_is_as_strong_as_asked_for():
    batch = np.zeros((4000, 1, 1, 2), np.float32)
    batch[..., 0], batch[..., 1] = np.random.default_rng(0).normal(size=(2, 4000, 1, 1))
    batch[..., 1] *= 10
    view = patch_views(brightness=0, noise=0.2, dropped=0)(batch, np.random.default_rng(1))
    assert (view - batch).std(axis=(0, 1, 2)) == pytest.approx([0.2, 2], rel=0.1)


def test_views_of_images_keep_shape_type_and_batch():
    batch = np.random.default_rng(0).normal(size=(6, 12, 10, 3)).astype(np.float32)
    before = batch.copy()
    views = image_views(moved=augmentation(flips="horizontal", shift=1))
    view = views(batch, np.random.default_rng(1))
    assert (view.shape, view.dtype) == (batch.shape, np.float32)
    np.testing.assert_array_equal(batch, before)
    np.testing.assert_array_equal(view, views(batch, np.random.default_rng(1)))
    assert not np.array_equal(view, views(batch, np.random.default_rng(2)))


def test_a_window_of_a_ramp_is_a_ramp_within_it():
    """Linear interpolation keeps what is linear: the window's place and size can be read off."""
    ramp = np.broadcast_to(np.arange(16.0)[:, None] + 100 * np.arange(16.0), (50, 16, 16))
    batch = np.ascontiguousarray(ramp[..., None], np.float32)
    views = image_views(moved=None, least=0.25, brightness=0, contrast=0)
    view = views(batch, np.random.default_rng(0))[..., 0]
    rows, cols = np.diff(view, axis=1)[:, 4:12], np.diff(view, axis=2)[:, :, 4:12] / 100
    for steps in (rows, cols):
        each = steps.reshape(50, -1)
        assert np.ptp(each, axis=1).max() < 1e-3
        assert 0.4 < each.min() < each.max() < 1 + 1e-3
    area = rows.mean(axis=(1, 2)) * cols.mean(axis=(1, 2))
    assert 0.2 < area.min() < 0.4
    assert batch.min() <= view.min() <= view.max() <= batch.max()
    whole = image_views(moved=None, least=1, brightness=0, contrast=0)
    assert whole(batch, np.random.default_rng(0)).shape == batch.shape


# Which pixels


def test_no_patch_that_is_looked_at_holds_a_test_pixel():
    rng = np.random.default_rng(0)
    test = np.zeros((15, 11), bool)
    test[rng.integers(15, size=6), rng.integers(11, size=6)] = True
    empty = np.zeros_like(test)
    keys = away_from_test(Split(empty, empty, test, "given", 0, 5))
    held = Patches(test[..., None].astype(np.float32), 5).gather(np.arange(test.size))
    expected = np.flatnonzero(held.sum(axis=(1, 2, 3)) == 0)
    np.testing.assert_array_equal(keys, expected)
    assert 0 < len(keys) < test.size


def test_images_left_out_of_training_are_looked_at_and_no_others():
    whole, less = (
        open_image_set("digits", train_fraction=share, say=lambda line: None) for share in (1, 0.1)
    )
    keys, _ = looked_at(less)
    assert len(keys) > 5 * len(less.part("train").pixels)
    np.testing.assert_array_equal(keys, whole.part("train").pixels)
    for part in ("validation", "test"):
        assert not np.isin(less.part(part).pixels, keys).any()


# Learning


def test_the_loss_falls_and_the_last_layer_stays_as_it_was(patches):
    told = []
    model, history = started(
        patches, epochs=8, progress=lambda epoch, logs: told.append((epoch, logs["loss"]))
    )
    assert history.losses[-1] < 0.9 * history.losses[0]
    assert history.accuracies[-1] > history.accuracies[0] + 0.1
    assert told == [(i + 1, loss) for i, loss in enumerate(history.losses)]
    assert history.best_epoch == len(history.losses) == 8
    fresh = small_model()
    for layer, before in zip(model.layers, fresh.layers, strict=True):
        pairs = list(zip(layer.get_weights(), before.get_weights(), strict=True))
        same = [np.array_equal(a, b) for a, b in pairs]
        assert all(same) if layer is model.layers[-1] else not any(same), layer.name


def test_the_same_seed_gives_the_same_weights(patches):
    models = []
    for seed in (1, 1, 2):
        models.append(started(patches, seed=seed, epochs=1)[0].get_weights())
        np.random.default_rng().random()
        keras.utils.set_random_seed(99)
    assert all(np.array_equal(a, b) for a, b in zip(models[0], models[1], strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(models[0], models[2], strict=True))


def test_two_views_of_a_sample_come_nearer_to_each_other_than_to_others(patches):
    """On pixels that pretraining has not seen; the fields repeat, so others may be near too."""
    views = patch_views(noise=0.5, dropped=0.4)
    seen, unseen = np.arange(0, 576, 2), np.arange(1, 576, 10)
    model = small_model()
    before = _margins(model, patches, unseen, views)
    simclr(model, patches, seen, augment=views, epochs=15, batch_size=72)
    after = _margins(model, patches, unseen, views)
    error = after.std(ddof=1) / math.sqrt(len(after))
    assert after.mean() > 10 * error
    gain = after - before
    assert gain.mean() > 4 * gain.std(ddof=1) / math.sqrt(len(gain))


def _margins(model: keras.Model, patches: Patches, keys: np.ndarray, views) -> np.ndarray:
    """Cosine of each sample's two views, less the mean cosine to the views of all others."""
    rng = np.random.default_rng(7)
    features = feature_model(model)
    batch = patches.gather(keys)
    first, second = (features(views(batch, rng)).numpy() for _ in range(2))
    first, second = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (first, second))
    cosines = first @ second.T
    others = (cosines.sum(axis=1) - np.diag(cosines)) / (len(keys) - 1)
    return np.diag(cosines) - others


def test_a_network_may_call_its_layers_by_keras_own_names(patches):
    keras.backend.clear_session()
    names = ("dense", "dense_1", "sequential", "scores")
    model = keras.Sequential([keras.Input((3, 3, CHANNELS)), layers.Flatten()])
    for name in names:
        model.add(layers.Dense(4, name=name))
    simclr(model, patches, np.arange(8), augment=patch_views(), epochs=1)
    assert tuple(layer.name for layer in model.layers[1:]) == names


def test_memory_is_that_of_a_batch(patches, monkeypatch):
    asked: list[int] = []
    gather = patches.gather
    monkeypatch.setattr(patches, "gather", lambda keys: (asked.append(len(keys)), gather(keys))[1])
    started(patches, epochs=2, batch_size=100)
    assert asked == [100] * 10  # 576 pixels: what is left over waits


def test_what_is_fewer_than_a_batch_is_one(patches):
    history = simclr(
        small_model(), patches, np.arange(5), augment=patch_views(), epochs=1, batch_size=64
    )
    assert history.losses[0] < 2 * math.log(9)


# Wrong input


@pytest.mark.parametrize(
    ("keys", "options", "error", "said"),
    [
        (np.arange(9), {"batch_size": 1}, SettingsError, "batch_size: expected 2 or more"),
        (np.arange(1), {}, DataError, "two samples or more"),
        (np.arange(9), {"temperature": 0.0}, SettingsError, "temperature"),
        (np.arange(9), {"epochs": 0}, SettingsError, "pretrain_epochs"),
    ],
)
def test_what_cannot_be_told_apart_is_one_line(patches, keys, options, error, said):
    with pytest.raises(error, match=said) as caught:
        simclr(small_model(), patches, keys, augment=patch_views(), **options)
    assert "\n" not in str(caught.value)


def test_features_are_what_the_scores_are_made_of(patches):
    """Also where the softmax is a layer of its own."""
    model = small_model()
    body = keras.Model(model.input, model.layers[-2].output)
    apart = keras.Model(body.input, layers.Softmax()(layers.Dense(4)(body.output)))
    batch = patches.gather(np.arange(4))
    expected = body(batch).numpy()
    for network in (model, apart):
        np.testing.assert_allclose(feature_model(network)(batch).numpy(), expected, atol=1e-6)


def test_a_network_without_dense_scores_is_refused():
    inputs = keras.Input((3, 3, 2))
    scores = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 1, activation="softmax")(inputs))
    with pytest.raises(ModelError, match="ends in a dense layer"):
        feature_model(keras.Model(inputs, scores))


# In a run


@pytest.mark.slow
def test_a_run_says_what_its_pretraining_looked_at(tmp_path, monkeypatch):
    def short(model, source, keys, **options):
        """Of 128 of the pixels: the scene has thousands."""
        return simclr(model, source, keys[:128], **options)

    monkeypatch.setattr("hsi.pretrain.simclr", short)
    said: list[str] = []
    settings = Settings(
        model="cao", dataset="synthetic", train_fraction=0.02, epochs=1, pretrain="simclr",
        pretrain_epochs=1, output=str(tmp_path / "run"),
    )  # fmt: skip
    run = generate(settings, say=said.append, finishing=False)
    facts = run.record["variants"]["trained_model.h5"]["pretraining"]
    with np.load(run.path("split.npz")) as masks:
        empty = np.zeros_like(masks["test"])
        keys = away_from_test(Split(empty, empty, masks["test"], "blocks", 0, 5))
    assert facts["samples"] == len(keys)
    assert any(f"{len(keys)} pixels, none of the test" in line for line in said)
    assert len(facts["losses"]) == len(facts["found"]) == 1
    assert run.settings.pretrain == "simclr"


def test_an_unknown_start_is_refused():
    with pytest.raises(SettingsError, match="Did you mean 'simclr'"):
        Settings(model="cao", pretrain="simcrl").check()
