"""A whole scene in one pass: scores and attributions against those of patches cut one by one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras
from tf_keras import layers

from hsi import bands, explain, predict
from hsi.compress.cost import macs
from hsi.deploy.variant import Variant
from hsi.errors import ModelError
from hsi.explain import strips
from hsi.explain.prepared import through
from hsi.explain.score import score_of
from hsi.explain.strips import StripAttributor
from hsi.models import NETWORKS
from hsi.patches import Patches
from hsi.predict import class_map, compiled, scene_scores
from hsi.samples import open_samples
from hsi.settings import Settings
from hsi.sliding import network as slider
from hsi.sliding.network import fully_convolutional
from hsi.views.opened import Opened
from hsi.views.request import Request
from hsi.views.subject import SceneSubject
from hsi.views.whole_scene import CHECKED, scene_maps

CHANNELS, CLASSES = 4, 3


def cao(x):
    x = layers.Conv2D(6, 3, activation="relu")(x)
    x = layers.Conv2D(5, 3, activation="relu")(x)
    return layers.Dense(4)(layers.Flatten()(x))


def map_laid_flat(x):
    x = layers.Conv2D(6, 3, padding="valid")(x)
    x = layers.BatchNormalization()(x)
    x = layers.PReLU(shared_axes=(1, 2))(x)
    return layers.BatchNormalization()(layers.Flatten()(x))


def pooled_with_rest(x):
    """9 -> 8 -> 4 -> 3 -> 1: what the pooling leaves over is cut off, and windows lie apart."""
    x = layers.Conv2D(6, 2, activation="relu")(x)
    x = layers.MaxPooling2D(2)(x)
    x = layers.Conv2D(5, 2)(x)
    x = layers.ReLU()(x)
    return layers.Flatten()(layers.AveragePooling2D(2)(x))


def pooled_twice(x):
    """9 -> 7 -> 3 -> 2 -> 1, values two and four apart."""
    x = layers.Conv2D(6, 3, activation="relu")(x)
    x = layers.AveragePooling2D(2)(x)
    x = layers.Conv2D(5, 2, activation="relu")(x)
    x = layers.MaxPooling2D(2)(x)
    return layers.Flatten()(layers.Conv2D(4, 1, padding="same", activation="relu")(x))


def strided(x):
    """9 -> 4 with a row left over, that nobody may see."""
    x = layers.Conv2D(6, 2, strides=2, activation="relu")(x)
    x = layers.SeparableConv2D(5, 2)(x)
    return layers.BatchNormalization()(layers.GlobalMaxPooling2D()(x))


def branches(x):
    wide = layers.Conv2D(4, 3, dilation_rate=2, activation="relu")(x)
    deep = layers.Conv2D(4, 5, activation="tanh")(x)
    through = layers.Cropping2D(((2, 2), (1, 3)))(x)
    x = layers.Concatenate()([layers.Add()([wide, deep]), through])
    x = layers.DepthwiseConv2D(3, strides=2)(x)
    return layers.GlobalAveragePooling2D()(x)


def weighed_channels(x):
    """Every patch weighs its channels by its own mean, so from there on it has its own window."""
    x = layers.Conv2D(6, 3, activation="relu")(x)
    mean = layers.GlobalAveragePooling2D(keepdims=True)(x)
    x = layers.Multiply()([x, layers.Dense(6, activation="sigmoid")(mean)])
    return layers.GlobalMaxPooling2D()(layers.Conv2D(5, 3)(x))


def nested(x):
    inner = keras.Sequential(
        [keras.Input((7, 7, 6)), layers.Conv2D(5, 2), layers.ReLU(), layers.MaxPooling2D(2)]
    )
    x = inner(layers.Conv2D(6, 3)(x))
    return layers.Flatten()(layers.Reshape((1, 45))(x))


def padded_inside(x):
    x = layers.Conv2D(6, 3, activation="relu")(x)
    x = layers.Conv2D(5, 3, padding="same", activation="relu")(x)
    return layers.Flatten()(layers.MaxPooling2D(2, padding="same")(x))


def pooled_padded(x):
    """9 -> 7 -> 4 -> 2 -> 1: the last windows of the pools lie half on padding."""
    x = layers.Conv2D(6, 3, activation="relu")(x)
    x = layers.MaxPooling2D(2, padding="same")(x)
    x = layers.Conv2D(5, 3, activation="relu")(x)
    x = layers.AveragePooling2D(2, padding="same")(x)
    return layers.Dense(4, activation="relu")(layers.Flatten()(x))


def pools_padded_on_both_sides(x):
    """Padding before the first position as well, and steps that are uneven at the ends."""
    x = layers.Conv2D(6, 2, activation="relu")(x)
    x = layers.MaxPooling2D(3, strides=2, padding="same")(x)
    x = layers.BatchNormalization()(x)
    x = layers.AveragePooling2D(3, strides=1, padding="same")(x)
    x = layers.Cropping2D(((1, 0), (0, 1)))(x)
    x = layers.Conv2D(5, 2, activation="tanh")(x)
    return layers.GlobalMaxPooling2D()(x)


def forms_side_by_side(x):
    """Layers that take no map of several forms, and those that merge two."""
    x = layers.Conv2D(6, 3, activation="relu")(x)
    x = layers.MaxPooling2D(2, padding="same")(x)
    x = layers.Concatenate()([layers.Dense(3)(x), layers.Add()([x, layers.ReLU()(x)])])
    return layers.Flatten()(layers.DepthwiseConv2D(2)(x))


def dense_to_dense(x):
    """Linear layers behind a flat map: one product where that is less work, two where it is not."""
    x = layers.Flatten()(layers.Conv2D(6, 3, activation="relu")(x))
    x = layers.Dense(7, use_bias=False)(layers.Dropout(0.5)(x))
    x = layers.Dense(300)(layers.Dense(5)(x))
    return layers.Dense(4, activation="relu")(x)


def functions(x):
    x = layers.Conv2D(6, 3)(x)
    return layers.Flatten()(tf.nn.relu(x) + x)


def cube(x, depth=12):
    """(n, 9, 9, depth, 1)"""
    x = layers.Dense(depth)(layers.Conv2D(5, 1)(x))
    return layers.Reshape((*x.shape[1:], 1))(x)


def volumes(x):
    """9 -> 7 -> 3 -> 2, depth 12 -> 5 -> 2: windows two apart, steps along the depth."""
    x = layers.Conv3D(3, (3, 3, 4), strides=(1, 1, 2), activation="relu")(cube(x))
    x = layers.MaxPooling3D((2, 2, 1))(layers.SpatialDropout3D(0.5)(x))
    x = layers.BatchNormalization()(layers.ZeroPadding3D((0, 0, 1))(x))
    x = layers.Conv3D(4, (2, 2, 3), strides=(1, 1, 3))(x)
    return layers.Dense(5)(layers.Flatten()(x))


def volumes_to_maps(x):
    """The spectral axis becomes channels, as in HybridSN."""
    x = layers.Conv3D(3, (3, 2, 3), activation="relu")(cube(x))
    x = layers.PReLU(shared_axes=(1, 2, 3))(x)
    x = layers.Reshape((x.shape[1], -1, x.shape[3] * x.shape[4]))(x)
    return layers.Flatten()(layers.Conv2D(4, 3)(x))


def volumes_pooled(x):
    """Pools of both kinds with padding, and steps of a convolution over the image."""
    x = layers.Conv3D(3, (2, 2, 3), strides=(2, 1, 1), activation="relu")(cube(x))
    x = layers.MaxPooling3D((1, 2, 3), strides=(1, 1, 2), padding="same")(x)
    x = layers.AveragePooling3D((2, 2, 2), strides=(1, 2, 2), padding="same")(x)
    x = layers.Cropping3D(((1, 0), (0, 1), (1, 0)))(x)
    return layers.GlobalAveragePooling3D()(x)


def volumes_in_branches(x):
    """Spectral kernels, padded along the depth alone, side by side; dilated ones."""
    x = cube(x)
    found = [layers.Conv3D(2, (1, 1, taps), padding="same")(x) for taps in (1, 3, 5)]
    x = layers.ReLU()(layers.Add()(found))
    x = layers.Concatenate(axis=3)([x, layers.Softmax(axis=3)(x)])
    x = layers.Conv3D(3, (3, 2, 3), dilation_rate=(2, 1, 2))(x)
    return layers.GlobalMaxPooling3D()(layers.LayerNormalization(axis=(3, 4))(x))


def volumes_cut(x):
    """From the padded convolution on every patch has its own window."""
    x = layers.Conv3D(3, (3, 3, 4), activation="relu")(cube(x))
    x = layers.Conv3D(2, 3, padding="same")(x)
    return layers.Flatten()(layers.Conv3D(2, (2, 2, 3))(x))


def volumes_laid_across(x):
    """A reshaping that puts columns into the depth, and pools that make several forms."""
    x = layers.MaxPooling3D(2, padding="same")(layers.Conv3D(3, (3, 3, 4))(cube(x)))
    x = layers.Conv3D(2, (2, 2, 1))(x)
    return layers.Flatten()(layers.Conv2D(3, 2)(layers.Reshape((3, 15, 2))(x)))


BODIES = (
    cao, map_laid_flat, pooled_with_rest, pooled_twice, strided, branches, weighed_channels, nested,
    padded_inside, pooled_padded, pools_padded_on_both_sides, forms_side_by_side, dense_to_dense,
    functions, volumes, volumes_to_maps, volumes_pooled, volumes_in_branches, volumes_cut,
    volumes_laid_across,
)  # fmt: skip


def network(body, side=9, *, seed=0, free=False, activation="softmax"):
    """A network with all of its weights drawn, so that no statistic or bias is 0 or 1."""
    inputs = keras.Input((None, None, CHANNELS) if free else (side, side, CHANNELS))
    outputs = layers.Dense(CLASSES, activation=activation)(body(inputs))
    return drawn(keras.Model(inputs, outputs), seed)


def drawn(model, seed=0):
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        positive = "variance" in weight.name
        value = rng.uniform(0.5, 2, weight.shape) if positive else rng.normal(0, 0.4, weight.shape)
        weight.assign(value)
    return model


def images_of(count=2, rows=13, cols=15, seed=1):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, rows, cols, CHANNELS)).astype(np.float32)


def at_every_window(model, images, side):
    """(n, rows, cols, classes) by definition: a window, cut, after the other."""
    rows, cols = (size - side + 1 for size in images.shape[1:3])
    cut = [
        image[i : i + side, j : j + side]
        for image in images
        for i in range(rows)
        for j in range(cols)
    ]
    return model(np.stack(cut), training=False).numpy().reshape(len(images), rows, cols, -1)


def scene_patches(side=5, rows=12, cols=10, seed=2):
    cube = np.random.default_rng(seed).normal(size=(rows, cols, CHANNELS))
    return Patches(cube.astype(np.float32), side)


# Scores


@pytest.mark.parametrize("body", BODIES, ids=lambda body: body.__name__)
def test_every_window_of_an_image_gets_the_answer_to_its_patch(body):
    model, images = network(body), images_of()
    expected = at_every_window(model, images, 9)
    found = fully_convolutional(model, 9)(images).numpy()
    assert expected.std(axis=(0, 1, 2)).max() > 0.01  # answers that would tell places apart
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("side", [5, 7])
def test_a_network_of_free_sizes_is_slid_over_patches_of_any_size(side):
    def body(x):
        return layers.GlobalAveragePooling2D()(layers.Conv2D(5, 3, activation="relu")(x))

    model, images = network(body, free=True), images_of()
    found = fully_convolutional(model, side)(images).numpy()
    np.testing.assert_allclose(found, at_every_window(model, images, side), atol=1e-5)


def test_it_says_from_which_layer_on_patches_have_windows_of_their_own():
    cuts = ((cao, None), (map_laid_flat, 5), (padded_inside, 2), (pooled_padded, None))
    cuts += ((volumes, None), (volumes_to_maps, None), (volumes_pooled, None), (volumes_cut, 5))
    for body, layer in (*cuts, (pooled_twice, None), (branches, None)):
        model = network(body)
        expected = "" if layer is None else model.layers[layer].name
        assert fully_convolutional(model, 9).cut == expected


def test_the_networks_of_the_table_slide_as_far_as_they_are_not_padded():
    shape = (9, 9, CHANNELS)
    assert fully_convolutional(NETWORKS["cao"].build((5, 5, CHANNELS), 3, seed=0), 5).cut == ""
    pooled = drawn(NETWORKS["cao_pooled"].build(shape, 3, seed=0))
    slid, images = fully_convolutional(pooled, 9), images_of(1, 11, 10)
    assert slid.cut == ""
    np.testing.assert_allclose(slid(images), at_every_window(pooled, images, 9), atol=1e-5)
    with pytest.raises(ModelError, match=r"block1_conv1 needs the borders of each patch"):
        fully_convolutional(NETWORKS["vgg"].build(shape, 3, seed=0), 9)


def test_the_work_of_a_pass_is_counted():
    """Of cao by hand; of pools with padding each tap once for each form that it reads."""
    slid = fully_convolutional(NETWORKS["cao"].build((9, 9, CHANNELS), 3, seed=0), 9)
    folded = 5 * 5 * 200 * 3  # the three dense layers are one linear map
    assert slid.macs == 9 * CHANNELS * 300 + 9 * 300 * 200 + folded
    deep = fully_convolutional(network(volumes), 9)
    first = CHANNELS * 5 + 5 * 12 + 3 * 3 * 4 * 3 * 5
    assert deep.macs == first + 2 * 2 * 3 * 3 * 4 * 2 + 2 * 2 * 2 * 4 * CLASSES
    pooled = fully_convolutional(network(pooled_padded), 9)
    dense = 5 * 4 + 4 * CLASSES
    assert pooled.macs == 9 * CHANNELS * 6 + 16 * 6 * 5 + dense


def test_networks_that_cannot_be_slid_are_refused_with_a_reason():
    def padded(x):
        return layers.Flatten()(layers.Conv2D(5, 3, padding="same")(x))

    def flat(x):
        return layers.Dense(5)(layers.Flatten()(x))

    for body in (padded, flat):
        with pytest.raises(ModelError, match=r"needs the borders of each patch"):
            fully_convolutional(network(body), 9)
    with pytest.raises(ModelError, match=r"patches of 9 x 9 pixels"):
        fully_convolutional(network(cao), 7)
    with pytest.raises(ModelError, match="no graph"):
        fully_convolutional(keras.Sequential([layers.Conv2D(5, 3)]), 7)


def everywhere(forward, patches):
    everything = forward(patches.gather(np.arange(patches.rows * patches.cols)))
    return everything.reshape(patches.rows, patches.cols, -1)


@pytest.mark.parametrize(
    ("name", "side", "cut"),
    [("hybridsn", 25, ""), ("chen", 27, ""), ("he", 7, ""), ("hamida", 5, ""),
     ("ssrn", 7, "spatial_1_conv_1")],
)  # fmt: skip
def test_the_networks_of_volumes_slide(name, side, cut):
    model = drawn(NETWORKS[name].build((side, side, CHANNELS), 3, seed=0))
    slid, images = fully_convolutional(model, side), images_of(1, side + 2, side + 1)
    assert slid.cut == cut
    expected = at_every_window(model, images, side)
    np.testing.assert_allclose(slid(images), expected, atol=1e-5)


def test_single_pixels_are_asked_in_one_pass_where_that_is_less_work(monkeypatch):
    passes, plain = [], slider.FullyConvolutional.__call__

    def watch(self, images):
        passes.append(1)
        return plain(self, images)

    monkeypatch.setattr(slider.FullyConvolutional, "__call__", watch)
    patches, few, all_ = scene_patches(), np.array([3, 119, 3, 60]), np.arange(120)
    forward, cut = compiled(network(cao, 5)), compiled(network(padded_inside, 5))
    expected = everywhere(forward, patches).reshape(120, -1).argmax(axis=1)
    work = macs(forward.network)
    for much, some, known, passed in (
        (1, all_, work, True), (1, few, work, False), (1, all_, 0, False),
        (1 + 120 * work, all_, work, False),
    ):  # fmt: skip
        monkeypatch.setattr(predict, "MUCH", much)
        passes.clear()
        found = predict.classes_at(forward, patches, some, macs=known)
        np.testing.assert_array_equal(found, expected[some])
        assert bool(passes) == passed
    monkeypatch.setattr(predict, "MUCH", 1)
    for other in (lambda batch: forward(batch), cut):
        passes.clear()
        predict.classes_at(other, patches, all_, macs=10**9)
        assert not passes


@pytest.mark.parametrize("pixels", [1 << 14, 40, 7])
def test_scores_of_a_scene_do_not_depend_on_its_strips(monkeypatch, pixels):
    monkeypatch.setattr(predict, "STRIP_PIXELS", pixels)
    forward, patches, said = compiled(network(cao, 5)), scene_patches(), []
    found = np.full((12, 10, CLASSES), np.nan)
    for strip, scores in scene_scores(forward, patches, say=said.append):
        assert np.isnan(found[strip.place]).all()
        found[strip.place] = scores
    np.testing.assert_allclose(found, everywhere(forward, patches), atol=1e-5)
    assert len(said) == 1
    assert "one fully convolutional pass" in said[0]


def test_the_class_map_is_that_of_the_patches_in_both_ways():
    model, patches = network(cao, 5), scene_patches()
    forward = compiled(model)
    expected = everywhere(forward, patches).argmax(axis=-1)
    said = []
    for way in (forward, lambda batch: forward(batch)):
        found = class_map(way, patches, say=said.append)
        np.testing.assert_array_equal(found, expected)
        assert found.dtype == np.int32
    assert "one fully convolutional pass" in said[0]
    assert "1024 patches: the file shows no layers" in said[1]


def test_no_array_grows_with_the_scene(monkeypatch):
    monkeypatch.setattr(predict, "STRIP_PIXELS", 200)
    model, seen = network(cao, 5), []
    plain = slider.FullyConvolutional.__call__

    def watch(self, images):
        seen.append(np.asarray(images).size)
        return plain(self, images)

    monkeypatch.setattr(slider.FullyConvolutional, "__call__", watch)
    largest = []
    for rows, cols in ((20, 20), (90, 20), (20, 300)):
        seen.clear()
        class_map(compiled(model), scene_patches(rows=rows, cols=cols))
        largest.append(max(seen))
    assert largest[0] == largest[1]
    assert largest[2] <= 1.5 * largest[0]  # squares have more margin than whole rows


def test_a_layer_that_takes_much_memory_makes_the_strips_smaller(monkeypatch):
    patches, forward = scene_patches(), compiled(network(cao, 5))
    whole = list(scene_scores(forward, patches))
    monkeypatch.setattr(predict, "STRIP_BYTES", 4 * fully_convolutional(forward.network, 5).values)
    single = list(scene_scores(forward, patches))
    assert (len(whole), len(single)) == (1, 120)


def whole(forward, patches, said):
    found = np.full((patches.rows, patches.cols, CLASSES), np.nan)
    for strip, values in scene_scores(forward, patches, say=said.append):
        found[strip.place] = values
    return found


@pytest.mark.parametrize("late", [False, True])
def test_a_pass_that_gives_other_scores_is_found_out_and_not_used(monkeypatch, late):
    patches, said, calls = scene_patches(), [], []
    forward, plain = compiled(network(cao, 5)), slider.FullyConvolutional.__call__

    def wrong(self, images):
        calls.append(1)
        return plain(self, images) * (1.0 if late and len(calls) == 1 else 1.01)

    monkeypatch.setattr(predict, "STRIP_PIXELS", 60)
    monkeypatch.setattr(slider.FullyConvolutional, "__call__", wrong)
    found = whole(forward, patches, said)
    np.testing.assert_allclose(found, everywhere(forward, patches), atol=1e-5)
    assert f"gave other scores from row {6 if late else 0} on" in said[0]
    assert len(calls) == (2 if late else 1)


def test_scores_that_are_wrong_at_the_borders_alone_are_found_out(monkeypatch):
    forward, patches, said = compiled(network(cao, 5)), scene_patches(), []
    padded = Patches.around

    def with_black_borders(self, strip):
        found = padded(self, strip).copy()
        found[:, :2] = 0
        return found

    monkeypatch.setattr(Patches, "around", with_black_borders)
    found = class_map(forward, patches, say=said.append)
    np.testing.assert_array_equal(found, everywhere(forward, patches).argmax(axis=-1))
    assert "gave other scores from row 0 on" in said[0]


# Attributions

OPTIONS = {
    "gradient": {},
    "input_times_gradient": {},
    "smoothgrad": {"samples": 6, "noise": 0.2, "ranges": np.arange(1.0, 5.0)},
    "integrated_gradient": {"points": 8, "tolerance": 10.0},
}


def of_all_pixels(method, score, patches, options, **common):
    """Maps and classes of all pixels of a scene in strips."""
    work = StripAttributor(method, score, patches.shape, options, **common)
    maps = np.full((patches.rows * patches.cols, *patches.shape), np.nan, np.float32)
    classes = np.full(len(maps), -1)
    for strip in patches.strips(50):
        pixels = patches.pixels(strip)
        for some, result in work(patches.around(strip)):
            assert np.isnan(maps[pixels[some]]).all()
            maps[pixels[some]], classes[pixels[some]] = result.maps, result.classes
    return maps, classes


def by_patches(method, score, patches, options, **common):
    everything = patches.gather(np.arange(patches.rows * patches.cols))
    return explain.attribute(method, score, everything, **options, **common)


def assert_alike(found, expected):
    """Where a ReLU stands at zero up to rounding a map may differ; that is one in many."""
    largest = np.abs(expected.maps).max(axis=(1, 2, 3), keepdims=True)
    away = np.abs(found[0] - expected.maps) / np.maximum(largest, 1e-30)
    assert (away.max(axis=(1, 2, 3)) < 1e-4).mean() > 0.98
    np.testing.assert_array_equal(found[1], expected.classes)


@pytest.mark.parametrize("method", OPTIONS)
def test_maps_of_a_strip_are_those_of_its_patches(method):
    score, patches = score_of(network(cao, 5)), scene_patches()
    options, common = OPTIONS[method], {"batch_size": 16, "seed": 3}
    found = of_all_pixels(method, score, patches, options, **common)
    assert_alike(found, by_patches(method, score, patches, options, **common))
    assert np.isfinite(found[0]).all()
    assert len(np.unique(found[1])) > 1


def test_pixels_whose_integral_asks_for_more_points_get_them_from_any_baseline():
    score, patches = score_of(network(cao, 5)), scene_patches()
    baseline = np.random.default_rng(4).normal(size=patches.shape)
    options = {"baseline": baseline, "points": 2, "tolerance": 0.001, "most_points": 64}
    expected = by_patches("integrated_gradient", score, patches, options)
    assert any("points were raised" in note for note in expected.notes)
    assert_alike(of_all_pixels("integrated_gradient", score, patches, options), expected)


def test_components_in_front_are_passed_through():
    rng = np.random.default_rng(0)
    cube = rng.gamma(2.0, 100.0, (12, 10, 7))
    train = rng.random((12, 10)) < 0.7
    preparation = bands.fit(cube, train, band_selection="PCA", components=CHANNELS)
    score = through(network(cao, 5), preparation)
    unreduced = bands.fit(cube, train)
    patches = Patches(bands.apply(unreduced, cube), 5)
    found = of_all_pixels("gradient", score, patches, {})
    assert found[0].shape == (120, 5, 5, 7)
    assert_alike(found, by_patches("gradient", score, patches, {}))


def test_what_cannot_be_shared_is_refused_with_a_reason():
    shape, score = (5, 5, CHANNELS), score_of(network(cao, 5))

    def refused(match, method="gradient", of=score, **options):
        with pytest.raises(ModelError, match=match):
            StripAttributor(method, of, shape, options)

    def padded(x):
        return layers.Flatten()(layers.Conv2D(5, 3, padding="same", activation="relu")(x))

    def with_stride(x):
        return layers.Flatten()(layers.Conv2D(5, 3, strides=2, activation="relu")(x))

    def dense_first(x):
        return layers.Dense(5, activation="relu")(layers.Flatten()(x))

    def branched(x):
        return layers.Flatten()(layers.Add()([x, layers.ReLU()(x)]))

    refused("guided_backprop needs each patch on its own", "guided_backprop")
    refused("another one for each patch", "integrated_gradient", baseline="blurred")
    refused("some patches", "smoothgrad")
    refused("sees the borders", of=score_of(network(padded, 5)))
    refused("no convolution with stride 1", of=score_of(network(with_stride, 5)))
    refused("no convolution with stride 1", of=score_of(network(dense_first, 5)))
    refused("does not begin with an affine layer", of=score_of(network(branched, 5)))
    refused("does not begin with an affine layer", of=score_of(lambda x: x[:, 0, 0]))


# The view


@pytest.fixture(scope="module")
def subject(tmp_path_factory):
    """A scene of its own, ready for networks; nothing is trained."""
    folder = tmp_path_factory.mktemp("scene")
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(1, 4), [6, 5, 6])[None].repeat(16, axis=0)
    np.save(folder / "cube.npy", rng.gamma(2.0, 100.0, (16, 17, CHANNELS)))
    np.save(folder / "labels.npy", labels)
    settings = Settings(
        "cao",
        dataset=str(folder / "cube.npy"),
        labels=str(folder / "labels.npy"),
        split="random",
        train_fraction=0.3,
    )
    samples = open_samples(settings.check(), patch_size=5, say=lambda line: None)
    return SceneSubject(None, samples, "standard")


def opened_of(model, subject):
    variant = Variant(
        Path("model.h5"), input_shape=(5, 5, CHANNELS), classes=CLASSES, forward=compiled(model),
        network=model,
    )  # fmt: skip
    return Opened(variant, subject, "bands")


def view_of(method, model, subject):
    request = Request(("model.h5",), method, views=("scene",)).check()
    return scene_maps(opened_of(model, subject), request)


def assert_view(maps, method, model, subject):
    expected = by_patches(method, model, subject.patches, {})
    saliency = np.abs(expected.maps)
    np.testing.assert_allclose(maps.magnitude.ravel(), saliency.mean(axis=(1, 2, 3)), rtol=1e-3)
    np.testing.assert_array_equal(maps.peak.ravel(), saliency.sum(axis=(1, 2)).argmax(axis=1))
    np.testing.assert_array_equal(maps.predicted.ravel(), expected.classes)


@pytest.mark.parametrize("method", ["gradient", "input_times_gradient"])
def test_the_view_is_what_patches_say_and_cuts_them_for_the_proof_alone(
    method, subject, monkeypatch
):
    model, cut, gather = network(cao, 5), [], Patches.gather

    def watched(self, pixels):
        cut.append(len(pixels))
        return gather(self, pixels)

    with monkeypatch.context() as patched:
        patched.setattr(Patches, "gather", watched)
        maps = view_of(method, model, subject)
    assert "share the affine beginning" in maps.way
    assert sum(cut) <= CHECKED + 1
    assert_view(maps, method, model, subject)


def test_a_view_of_another_method_or_network_goes_patch_by_patch(subject):
    def padded(x):
        return layers.Flatten()(layers.Conv2D(5, 3, padding="same", activation="relu")(x))

    for method, model in (
        ("guided_backprop", network(cao, 5)),
        ("gradient", network(padded, 5)),
    ):
        maps = view_of(method, model, subject)
        assert maps.way.startswith("patch by patch (")
        assert_view(maps, method, model, subject)


def test_shared_maps_that_differ_are_found_out_and_not_shown(subject, monkeypatch):
    model, plain = network(cao, 5), strips._front

    def shifted(score, split, images):
        found = plain(score, split, images)
        return found if images.shape[1] <= 7 else np.roll(found, 1, axis=2)

    monkeypatch.setattr(strips, "_front", shifted)
    maps = view_of("gradient", model, subject)
    assert "maps of shared work differed from row 0 on" in maps.way
    assert_view(maps, "gradient", model, subject)
