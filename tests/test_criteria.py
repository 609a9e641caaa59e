"""Pruning criteria against their definitions, written out slowly, on networks of a few channels."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from hsi.compress.criteria import CRITERIA, criterion, normalised, weight_criterion
from hsi.compress.graph import channel_groups, map_channels
from hsi.compress.schedule import choose_channels
from hsi.compress.weights import choose_weights
from hsi.errors import ModelError, SettingsError

L = keras.layers
CLASSES = 3
FREE = [name for name, row in CRITERIA.items() if not row.needs_data]
LOOKING = [name for name, row in CRITERIA.items() if row.needs_data]
WEIGHTS = [name for name, row in CRITERIA.items() if row.scores_weights]


def randomise(model: Any, seed: int = 0) -> Any:
    """The same weights in every run; those that start as zeros or ones non-trivial."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        if len(weight.shape) > 1:
            weight.assign(rng.normal(0, 1.4 / np.sqrt(np.prod(weight.shape[:-1])), weight.shape))
        elif "variance" in weight.name:
            weight.assign(rng.uniform(0.5, 1.5, weight.shape))
        else:
            weight.assign(rng.uniform(-1, 1, weight.shape))
    return model


def residual() -> Any:
    """Two layers that make one group of four channels, one with a batch norm; a dense tail."""
    inputs = L.Input((7, 7, 3))
    stem = L.Conv2D(4, 3, activation="relu", name="stem")(inputs)
    branch = L.BatchNormalization(name="norm")(L.Conv2D(4, 1, name="branch")(stem))
    added = L.ReLU(name="added")(L.Add()([stem, branch]))
    late = L.Conv2D(5, 2, activation="relu", name="late")(L.MaxPooling2D(2)(added))
    hidden = L.Dense(6, activation="tanh", name="hidden")(L.Flatten(name="flat")(late))
    return randomise(keras.Model(inputs, L.Dense(CLASSES, activation="softmax")(hidden)))


def normed(activation: str | None = None) -> Any:
    """Batch norm before and behind activations, a dense block, a batch norm behind flatten."""
    inputs = L.Input((6, 6, 2))
    x = L.BatchNormalization(name="bn_1")(L.Conv2D(4, 3, use_bias=False, name="one")(inputs))
    x = L.Activation("relu")(x)
    grown = L.Conv2D(2, 1, activation="relu", name="grown")(x)
    x = L.Concatenate()([x, grown])
    x = L.ReLU(name="both")(L.BatchNormalization(name="bn_2")(x))
    x = L.BatchNormalization(name="bn_3")(L.Flatten()(L.Conv2D(3, 3, name="two")(x)))
    return randomise(keras.Model(inputs, L.Dense(CLASSES, activation=activation)(x)), 1)


def odd_kernels() -> Any:
    """Kernels with their outputs on other axes, and a layer that makes a part of a group."""
    inputs = L.Input((6, 6, 2))
    turned = L.Conv2DTranspose(4, 2, activation="relu", name="turned")(inputs)
    split = L.SeparableConv2D(3, 2, depth_multiplier=2, padding="same", name="split")(turned)
    part = L.Conv2D(1, 1, name="part")(turned)
    summed = L.Add()([L.Concatenate()([split, part]), L.Conv2D(4, 1, name="whole")(turned)])
    deep = L.DepthwiseConv2D(2, activation="relu", name="deep")(summed)
    return randomise(keras.Model(inputs, L.Dense(CLASSES)(L.GlobalMaxPooling2D()(deep))), 2)


NETWORKS = {"residual": residual, "normed": normed, "odd_kernels": odd_kernels}


def samples(model: Any, count: int = 15) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(7)
    x = rng.normal(size=(count, *model.input_shape[1:])).astype(np.float32)
    return x, rng.integers(0, CLASSES, count)


def batches(x: np.ndarray, y: np.ndarray, size: int) -> Iterable[Any]:
    return ((x[i : i + size], y[i : i + size]) for i in range(0, len(x), size))


def scored(name: str, model: Any, *, size: int = 15, seed: int = 0) -> dict[str, np.ndarray]:
    stream = batches(*samples(model), size) if CRITERIA[name].needs_data else ()
    return dict(criterion(name)(model, stream, channel_groups(model), seed=seed).scores)


def kernel(model: Any, layer: str) -> np.ndarray:
    return model.get_layer(layer).get_weights()[0].astype(float)


def value_of(model: Any, layer: str, x: np.ndarray) -> np.ndarray:
    return keras.Model(model.inputs, model.get_layer(layer).output)(x).numpy()


def norms(filters: list[np.ndarray], power: int) -> np.ndarray:
    return np.array([np.sum(np.abs(f) ** power) ** (1 / power) for f in filters])


@pytest.mark.parametrize(("name", "power"), [("l1", 1), ("l2", 2)])
def test_norms_of_what_makes_a_channel(name: str, power: int) -> None:
    model = residual()
    found = scored(name, model)
    stem, branch = kernel(model, "stem"), kernel(model, "branch")
    by_hand = [norms([k[..., c] for c in range(4)], power) for k in (stem, branch)]
    np.testing.assert_allclose(found["stem"], -(by_hand[0] + by_hand[1]) / 2)
    hidden = kernel(model, "hidden")
    np.testing.assert_allclose(found["hidden"], -norms([hidden[:, c] for c in range(6)], power))
    assert list(found) == ["stem", "late", "hidden"]

    model = odd_kernels()
    found = scored(name, model)
    turned, whole = kernel(model, "turned"), kernel(model, "whole")
    split, part = model.get_layer("split").get_weights()[1], kernel(model, "part")
    np.testing.assert_allclose(
        found["turned"], -norms([turned[:, :, c, :] for c in range(4)], power)
    )
    joined = norms([*(split[..., c] for c in range(3)), part[..., 0]], power)
    expected = -(joined + norms([whole[..., c] for c in range(4)], power)) / 2
    np.testing.assert_allclose(found["split"], expected, rtol=1e-6)


def test_fpgm_is_the_sum_of_distances() -> None:
    model = residual()
    sums = []
    for layer in ("stem", "branch"):
        k = kernel(model, layer)
        distances = np.zeros(4)
        for a in range(4):
            for b in range(4):
                distances[a] += np.sqrt(((k[..., a] - k[..., b]) ** 2).sum())
        sums.append(distances)
    found = scored("fpgm", model)
    np.testing.assert_allclose(found["stem"], -(sums[0] + sums[1]) / 2)
    # A copy of another filter goes before a small one that is like no other.
    weights = model.get_layer("hidden").get_weights()
    weights[0][:, 2] = weights[0][:, 4]
    weights[0][:, 1] *= -0.9
    model.get_layer("hidden").set_weights(weights)
    distances = [np.linalg.norm(weights[0] - weights[0][:, [c]], axis=0).sum() for c in range(6)]
    np.testing.assert_allclose(scored("fpgm", model)["hidden"], -np.array(distances), rtol=1e-6)


def test_bn_scale_of_the_first_norm_on_each_way() -> None:
    model = normed()
    gammas = {k: np.abs(model.get_layer(k).gamma.numpy()) for k in ("bn_1", "bn_2", "bn_3")}
    found = scored("bn_scale", model)
    np.testing.assert_allclose(found["one"], -gammas["bn_1"])
    np.testing.assert_allclose(found["grown"], -gammas["bn_2"][4:])
    flat = gammas["bn_3"]  # position k of the map and channel c stand at c + 3 k
    np.testing.assert_allclose(found["two"], [-flat[c::3].mean() for c in range(3)], rtol=1e-6)


def test_bn_scale_asks_for_a_batch_norm() -> None:
    model = residual()
    groups = channel_groups(model)
    with pytest.raises(ModelError, match=r"late, hidden have none: keep them .* criterion l1"):
        criterion("bn_scale")(model, (), groups)
    scores = criterion("bn_scale")(model, (), groups[:1]).scores["stem"]
    np.testing.assert_allclose(scores, -np.abs(model.get_layer("norm").gamma.numpy()))
    bare = [L.Conv2D(3, 1, name="c"), L.BatchNormalization(scale=False), L.Flatten(), L.Dense(2)]
    model = keras.Sequential([L.Input((4, 4, 2)), *bare])
    with pytest.raises(ModelError, match=r"; c has none: keep it whole"):
        criterion("bn_scale")(model, (), channel_groups(model))


def test_random_depends_on_seed_and_name_alone() -> None:
    model = residual()
    groups = channel_groups(model)
    score = criterion("random")
    first = score(model, (), groups, seed=3).scores
    for order in (groups[::-1], groups[1:]):
        for name, values in score(model, (), order, seed=3).scores.items():
            np.testing.assert_array_equal(values, first[name])
    other = score(model, (), groups, seed=4).scores
    for group in groups:
        assert first[group.name].shape == (group.channels,)
        assert not np.isin(first[group.name], other[group.name]).any()
    assert len(np.unique(np.concatenate([*first.values()]))) == 4 + 5 + 6
    drawn = weight_criterion("random")(model, (), seed=3)
    again, third = (weight_criterion("random")(model, (), seed=s) for s in (3, 4))
    for name, values in drawn.items():
        np.testing.assert_array_equal(values, again[name])
        assert not np.isin(values, third[name]).any()


def test_mean_activation_at_the_activations() -> None:
    model = residual()
    x, _ = samples(model)
    found = scored("mean_activation", model)
    # The stem's own ReLU is the first on its way, the one behind the sum the first on the branch's.
    stem, added = (np.abs(value_of(model, k, x)) for k in ("stem", "added"))
    expected = [-(stem[..., c].mean() + added[..., c].mean()) / 2 for c in range(4)]
    np.testing.assert_allclose(found["stem"], expected, rtol=1e-5)
    hidden = value_of(model, "hidden", x)  # tanh: of either sign
    expected = [-np.mean(np.abs(hidden[:, c])) for c in range(6)]
    np.testing.assert_allclose(found["hidden"], expected, rtol=1e-5)


def taylor_by_hand(model: Any, x: np.ndarray, y: np.ndarray) -> dict[str, np.ndarray]:
    """The residual network called layer by layer, a sample at a time."""
    layer = model.get_layer
    found: dict[str, list[Any]] = {"stem": [], "late": [], "hidden": []}
    for sample, label in zip(x, y, strict=True):
        with tf.GradientTape() as tape:
            stem = layer("stem")(sample[None])
            read_by_branch = tf.identity(stem)
            tape.watch(read_by_branch)
            branch = layer("norm")(layer("branch")(read_by_branch), training=False)
            read_by_late = tf.nn.max_pool2d(tf.nn.relu(stem + branch), 2, 2, "VALID")
            tape.watch(read_by_late)
            read_by_hidden = tf.reshape(layer("late")(read_by_late), (1, -1))
            tape.watch(read_by_hidden)
            read_at_last = layer("hidden")(read_by_hidden)
            tape.watch(read_at_last)
            kernel, bias = model.layers[-1].weights
            loss = -tf.nn.log_softmax(read_at_last @ kernel + bias)[0, label]
        read = [read_by_branch, read_by_late, read_by_hidden, read_at_last]
        changes = [(a * g).numpy()[0] for a, g in zip(read, tape.gradient(loss, read), strict=True)]
        found["stem"].append(changes[0].sum(axis=(0, 1)) + changes[1].sum(axis=(0, 1)))
        found["late"].append(changes[2].reshape(-1, 5).sum(axis=0))
        found["hidden"].append(changes[3])
    return {name: -np.abs(values).mean(axis=0) for name, values in found.items()}


def test_taylor_sample_by_sample() -> None:
    model = residual()
    found, expected = scored("taylor", model), taylor_by_hand(model, *samples(model))
    assert list(found) == list(expected)
    for name, values in found.items():
        np.testing.assert_allclose(values, expected[name], rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("network", ["normed", "odd_kernels"])
def test_taylor_by_the_weights_that_read(network: str) -> None:
    """a dL/da summed over positions is w dL/dw summed over the weights that read a."""
    model = NETWORKS[network]()
    x, y = samples(model)
    channels = map_channels(model)
    reading = [c for c in channels.graph.calls if c.name in consumers(model)]
    # In a separable convolution the depthwise kernel is what reads.
    kernels = [getattr(c.layer, "depthwise_kernel", getattr(c.layer, "kernel", 0)) for c in reading]
    changes = []
    for sample, label in zip(x, y, strict=True):
        with tf.GradientTape() as tape:
            tape.watch(kernels)
            loss = -tf.nn.log_softmax(model(sample[None], training=False))[0, label]
        slopes = tape.gradient(loss, kernels)
        changes.append([(w * g).numpy() for w, g in zip(kernels, slopes, strict=True)])
    found = scored("taylor", model)
    for group in channels.groups:
        for k in range(group.channels):
            total = np.zeros(len(x))
            for position, call in enumerate(reading):
                rows = np.flatnonzero(
                    channels.ids[call.inputs[0]] == channels.members[group.name][k]
                )
                axis = -2  # (..., in, out) and depthwise (..., in, multiplier) alike
                for s in range(len(x)):
                    total[s] += np.take(changes[s][position], rows, axis).sum()
            expected = -np.abs(total).mean()
            np.testing.assert_allclose(found[group.name][k], expected, rtol=1e-3, atol=1e-6)


def consumers(model: Any) -> set[str]:
    return {name for group in channel_groups(model) for name in group.consumers}


def test_taylor_reads_logits_and_probabilities_alike_however_sure() -> None:
    model = normed()
    reshaped = keras.Model(model.inputs, L.Reshape((CLASSES,))(L.Softmax()(model.output)))
    for name, values in scored("taylor", reshaped).items():
        np.testing.assert_allclose(values, scored("taylor", model)[name], rtol=1e-4)
    *weights, last, bias = model.get_weights()
    model.set_weights([*weights, last * 1e5, bias])
    x, _ = samples(model)
    logits = model(x).numpy()
    best, worst = logits.argmax(axis=1), logits.argmin(axis=1)
    flat = value_of(model, "bn_3", x)
    loss = flat * (last * 1e5).T[best] - flat * (last * 1e5).T[worst]  # of a softmax that is sure
    expected = -np.abs([loss[:, c::3].sum(axis=1) for c in range(3)]).mean(axis=1)
    answering = normed("softmax")
    answering.set_weights(model.get_weights())
    assert answering(x).numpy().max(axis=1).min() > 0.999
    with_layer = keras.Model(model.inputs, L.Softmax()(model.output))
    for twin in (model, answering, with_layer):
        found = criterion("taylor")(twin, [(x, worst)], channel_groups(twin)).scores
        np.testing.assert_allclose(found["two"], expected, rtol=1e-4)


@pytest.mark.parametrize("name", LOOKING)
def test_batches_of_any_size_give_the_same_scores_in_one_pass(name: str) -> None:
    model = residual()
    whole = scored(name, model)
    x, y = samples(model)
    for size in (1, 7):
        stream = iter(batches(x, y, size))
        found = criterion(name)(model, stream, channel_groups(model)).scores
        assert next(stream, None) is None
        for group, values in found.items():
            np.testing.assert_allclose(values, whole[group], rtol=1e-4)


@pytest.mark.parametrize("name", CRITERIA)
def test_every_criterion_scores_every_group_and_leaves_the_model_alone(name: str) -> None:
    for build in NETWORKS.values():
        model = build()
        groups = channel_groups(model)
        if name == "bn_scale" and build is not normed:
            continue
        before = model.get_weights()
        found = scored(name, model)
        assert list(found) == [group.name for group in groups]
        for group in groups:
            assert found[group.name].shape == (group.channels,)
            assert found[group.name].dtype == np.float64
        removal, missing = choose_channels(found, groups, 2)
        assert (sum(map(len, removal.values())), missing) == (2, 0)
        for a, b in zip(before, model.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)
        assert all(len(layer.inbound_nodes) == 1 for layer in model.layers)


def test_no_groups_no_scores() -> None:
    model = residual()
    for name in CRITERIA:
        assert criterion(name)(model, (), []).scores == {}


def test_nested_models_and_several_inputs() -> None:
    inner = keras.Sequential([L.Input((6, 6, 3)), L.Conv2D(4, 1, name="c"), L.ReLU()], name="in")
    one, two = L.Input((6, 6, 3)), L.Input((2,))
    flat = L.Dense(5, activation="relu", name="d")(L.Flatten()(inner(one)))
    model = randomise(keras.Model([one, two], L.Dense(CLASSES)(L.Concatenate()([flat, two]))))
    rng = np.random.default_rng(0)
    x = [rng.normal(size=(9, *t.shape[1:])).astype(np.float32) for t in model.inputs]
    y = rng.integers(0, CLASSES, 9)
    for name in ("mean_activation", "taylor", "l1", "fpgm"):
        found = criterion(name)(model, [(x, y)], channel_groups(model)).scores
        assert {k: len(v) for k, v in found.items()} == {"c": 4, "d": 5}
    for name in WEIGHTS:
        scores = weight_criterion(name)(model, [(x, y)])
        assert [v.shape for v in scores.values()] == [(1, 1, 3, 4), (144, 5), (7, 3)]


def test_weight_scores_of_every_kernel_that_is_pruned() -> None:
    model = odd_kernels()
    kernels = {
        "turned": kernel(model, "turned"),
        "part": kernel(model, "part"),
        "whole": kernel(model, "whole"),
        model.layers[-1].name: kernel(model, model.layers[-1].name),
    }
    for name, expected in (("l1", np.abs), ("l2", np.square)):
        found = weight_criterion(name)(model, ())
        assert set(found) == set(kernels) == set(choose_weights(model, found, 0.5))
        for layer, values in kernels.items():
            np.testing.assert_allclose(found[layer], -expected(values), rtol=1e-6)


def test_weight_taylor_batch_by_batch() -> None:
    model = residual()
    x, y = samples(model)
    layers = [layer for layer in model.layers if isinstance(layer, L.Conv2D | L.Dense)]
    layers[0].trainable = False  # a frozen layer can be pruned too
    kernels = [layer.kernel for layer in layers]
    expected = [np.zeros(k.shape) for k in kernels]
    for start, end in ((0, 6), (6, 12), (12, 15)):
        with tf.GradientTape() as tape:
            tape.watch(kernels)
            chances = model(x[start:end], training=False)
            right = tf.gather(chances, y[start:end], batch_dims=1)
            loss = -tf.reduce_mean(tf.math.log(right))
        for total, k, g in zip(expected, kernels, tape.gradient(loss, kernels), strict=True):
            total += (end - start) / 15 * np.abs(k.numpy() * g.numpy())
    found = weight_criterion("taylor")(model, batches(x, y, 6))
    assert list(found) == [layer.name for layer in layers]
    for layer, values in zip(layers, expected, strict=True):
        assert found[layer.name].shape == layer.kernel.shape
        np.testing.assert_allclose(found[layer.name], -values, rtol=1e-3, atol=1e-7)


def test_taylor_says_what_it_needs() -> None:
    model = residual()
    x, y = samples(model)
    groups = channel_groups(model)
    for score in (
        lambda m, b: criterion("taylor")(m, b, groups),
        lambda m, b: weight_criterion("taylor")(m, b),
    ):
        for bad, message in (
            ([(x, y + 1)], r"class indices 0 to 2, those of 'model.*got 1 to 3"),
            ([(x, y - 1)], r"got -1 to 1"),
            ([(x, keras.utils.to_categorical(y))], r"each of 15 samples, got float32 of shape"),
            ([(x, y[:4])], r"shape \(4,\)"),
            ([], "at least one batch"),
        ):
            with pytest.raises(ModelError, match=message):
                score(model, bad)
    two = keras.Model(model.inputs, [model.output, model.get_layer("hidden").output])
    one = keras.Model(model.inputs, L.Dense(1, activation="sigmoid")(model.output))
    for wrong in (two, one):
        with pytest.raises(ModelError, match=r"two classes or more.*choose criterion l1"):
            criterion("taylor")(wrong, [(x, y)], channel_groups(wrong))


def test_registry_says_what_each_needs() -> None:
    assert LOOKING == ["apoz", "mean_activation", "taylor"]
    assert [name for name, row in CRITERIA.items() if row.needs_classes] == ["taylor"]
    assert WEIGHTS == ["l1", "l2", "random", "taylor"]
    assert all(row.summary and row.source for row in CRITERIA.values())
    for name in set(CRITERIA) - set(WEIGHTS):
        with pytest.raises(SettingsError) as error:
            weight_criterion(name)
        assert str(error.value) == (
            f"criterion {name} scores channels; for granularity weight choose l1, l2, random or "
            "taylor."
        )
    with pytest.raises(SettingsError, match=r"'tailor'.*Did you mean 'taylor'"):
        weight_criterion("tailor")


def test_normalised_norms_do_not_empty_the_small_layer() -> None:
    """Two layers of like weights, one with a hundredth of the other's: raw L1 takes it whole."""
    rng = np.random.default_rng(0)
    model = keras.Sequential(
        [L.Input((100,)), L.Dense(8, name="wide"), L.Dense(8, name="narrow"), L.Dense(2)]
    )
    model.set_weights([rng.normal(size=w.shape) for w in model.get_weights()])
    groups, raw = channel_groups(model), scored("l1", model)
    assert choose_channels(raw, groups, 7)[0].keys() == {"narrow"}
    levelled = normalised(raw)
    shares = choose_channels(levelled, groups, 8)[0]
    assert set(shares) == {"wide", "narrow"}
    for name, values in levelled.items():
        assert np.mean(np.abs(values)) == pytest.approx(1)
        np.testing.assert_array_equal(np.argsort(values), np.argsort(raw[name]))
    np.testing.assert_array_equal(normalised({"dead": np.zeros(3)})["dead"], np.zeros(3))
