"""The networks for images: published sizes, small inputs, widths, and that the rest takes them."""

from __future__ import annotations

import numpy as np
import pytest
import tf_keras as keras
from tf_keras import layers

from hsi.errors import SettingsError
from hsi.models import NETWORKS, densenet, network, vgg
from hsi.models.sizing import scaled, strides

FOR_IMAGES = tuple(name for name, chosen in NETWORKS.items() if chosen.image_size)
QUICK = (
    "vgg11",
    "simplenet_small",
    "densenet",
    pytest.param("mobilenetv2", marks=pytest.mark.slow),
)
"""Those that build in a second or a few."""


def trainable(model: keras.Model) -> int:
    return sum(int(np.prod(w.shape)) for w in model.trainable_weights)


def kernels_and_classifier(model: keras.Model) -> int:
    kinds = (layers.Conv2D, layers.Dense)
    return sum(x.count_params() for x in model.layers if isinstance(x, kinds))


@pytest.fixture(scope="module")
def built():
    """Networks of reduced width at 9 x 9 x 4, each made once."""
    made: dict[str, keras.Model] = {}

    def build(name: str) -> keras.Model:
        if name not in made:
            made[name] = network(name).build((9, 9, 4), 5, seed=0, width=0.25)
        return made[name]

    return build


# Published sizes


def test_simplenet_has_its_published_parameters():
    """5.48 million and 0.31 million for CIFAR-10, as its authors count: without batch norm."""
    assert kernels_and_classifier(network("simplenet").build((32, 32, 3), 10, seed=0)) == 5_484_746
    small = network("simplenet_small").build((32, 32, 3), 10, seed=0)
    assert 305_000 < kernels_and_classifier(small) < 315_000
    convolutions = [x for x in small.layers if isinstance(x, layers.Conv2D)]
    assert len(convolutions) == 13
    assert sum(isinstance(x, layers.MaxPooling2D) for x in small.layers) == 4


def test_densenet_has_its_published_parameters():
    """DenseNet-BC of growth 12 and depth 40, for CIFAR-10."""
    small = network("densenet").build((32, 32, 3), 10, seed=0)
    weighted = [x for x in small.layers if isinstance(x, layers.Conv2D | layers.Dense)]
    assert len(weighted) == 40
    assert trainable(small) == 176_122


@pytest.mark.slow
def test_a_deep_densenet_has_its_published_parameters():
    """Growth 12, depth 100 (table 2 of the paper: 0.8 million)."""
    deep = densenet.build((32, 32, 3), 10, steps=16)
    assert trainable(deep) == 769_162
    assert len([x for x in deep.layers if isinstance(x, layers.Conv2D | layers.Dense)]) == 100


def test_vgg16_is_the_network_of_the_patches():
    """`vgg` and `vgg16` are one network, layer by layer."""
    ours = network("vgg16").build((9, 9, 5), 4, seed=3)
    other = vgg.build((9, 9, 5), 4)
    configs = [[x.get_config() for x in m.layers[1:]] for m in (ours, other)]
    assert configs[0] == configs[1]
    eleven = network("vgg11").build((32, 32, 3), 10, seed=0, width=0.125)
    filters = [x.filters for x in eleven.layers if isinstance(x, layers.Conv2D)]
    assert filters == [8, 16, 32, 32, 64, 64, 64, 64]
    assert eleven.get_layer("flatten").output_shape == (None, 64)


# Small inputs


@pytest.mark.parametrize("size", [1, 2, 5, 6, 8, 9, 28, 32, 64, 95, 96, 97, 224, 1000])
def test_the_halvings_leave_three_pixels_and_no_more_could_be_made(size):
    found = strides(size)
    left = size
    for stride in found:
        left = -(-left // stride)
    assert len(found) == 5
    assert found == tuple(sorted(found))
    assert left >= min(size, 3)
    assert left < 2 * 3 or found == (2,) * 5 or -(-left // 2) < 3


def test_widths_are_rounded_as_those_of_mobilenet():
    from tf_keras.src.applications.mobilenet_v2 import _make_divisible

    for filters in (16, 24, 32, 64, 96, 160, 320, 1280):
        for width in (0.1, 0.35, 0.5, 0.75, 1.0, 1.3, 1.4):
            assert scaled(filters, width) == _make_divisible(filters * width, 8)


@pytest.mark.parametrize("name", QUICK)
@pytest.mark.parametrize("shape", [(1, 1, 3), (28, 20, 1)])
def test_networks_take_patches_and_images_of_any_size(name, shape):
    model = network(name).build(shape, 5, seed=0, width=0.25)
    found = model(np.random.default_rng(0).normal(size=(3, *shape)).astype(np.float32)).numpy()
    assert found.shape == (3, 5)
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-5)
    assert model.layers[-1].name == "scores"
    assert model.name == name


def test_the_same_seed_gives_the_same_weights():
    make = network("simplenet_small").build
    one, again, other = (make((8, 8, 1), 3, seed=s, width=0.25).get_weights() for s in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(one, again, strict=True))
    assert any(not np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_widths_that_cannot_be_are_refused():
    for name, width, expected in (
        ("cao", 0.5, "vgg16"), ("vgg11", 0, "above 0"), ("vgg11", 9, "up to 8"),
    ):  # fmt: skip
        with pytest.raises(SettingsError, match=expected) as caught:
            network(name).build((9, 9, 3), 3, seed=0, width=width)
        assert "\n" not in str(caught.value)


# What the rest does with them


@pytest.mark.parametrize("name", QUICK)
def test_a_file_gives_the_same_scores(name, built, tmp_path):
    from hsi.models.files import load_model, save_model

    model = built(name)
    inputs = np.random.default_rng(0).normal(size=(4, 9, 9, 4)).astype(np.float32)
    save_model(model, tmp_path / "model.h5")
    np.testing.assert_array_equal(load_model(tmp_path / "model.h5")(inputs), model(inputs))


@pytest.mark.parametrize("name", QUICK)
def test_channels_can_be_followed_through_every_network(name, built):
    from hsi.compress.graph import channel_groups

    model = built(name)
    groups = channel_groups(model)
    producers = {p.layer for group in groups for p in group.producers}
    made = {x.name for x in model.layers if type(x) in (layers.Conv2D, layers.Dense)}
    assert producers == made - {"scores"}


@pytest.mark.slow
def test_a_network_learns_the_digits():
    from hsi.image_sets import open_image_set
    from hsi.predict import compiled, scores
    from hsi.train import train

    samples = open_image_set("digits", seed=0)
    model = network("simplenet_small").build(samples.images.shape, samples.classes, seed=0)
    train(
        model, samples.patches, samples.part("train"), samples.part("validation"), epochs=5,
        batch_size=32, augment=samples.augment,
    )  # fmt: skip
    test = samples.part("test")
    found = scores(compiled(model), samples.patches, test.pixels).argmax(axis=1)
    assert (found == test.classes).mean() > 0.9
