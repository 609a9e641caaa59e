"""Compensation: removal is exact where channels emit constants, and right on average elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tf_keras as keras

from hsi.compress.calls import walk
from hsi.compress.compensation import compensate, emitted_means, stand_in_means
from hsi.compress.cost import parameters
from hsi.compress.criteria.kernels import producing_kernel
from hsi.compress.graph import channel_groups
from hsi.compress.masking import mask_channels
from hsi.compress.surgery import remove_channels
from hsi.errors import ModelError

L = keras.layers


def randomise(model: Any, seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        if len(weight.shape) == 1:
            low = 0.5 if "variance" in weight.name or "gamma" in weight.name else -1.0
            weight.assign(rng.uniform(low, 1.5, weight.shape))
        else:
            fan = np.prod(weight.shape[:-1])
            weight.assign(rng.normal(0, 1.4 / np.sqrt(fan), weight.shape))
    return model


def inputs_of(model: Any, count: int = 11) -> np.ndarray:
    rng = np.random.default_rng(5)
    return rng.normal(size=(count, *model.input_shape[1:])).astype(np.float32)


def batches(x: np.ndarray, size: int = 4) -> list[tuple[np.ndarray, np.ndarray]]:
    return [(x[i : i + size], np.zeros(len(x[i : i + size]), int)) for i in range(0, len(x), size)]


def silence(model: Any, removal: dict[str, list[int]]) -> None:
    """Zero all weights that make these channels: each then emits what bias and batch norm give."""
    layers = {call.name: call.layer for call in walk(model).calls}
    for group in channel_groups(model):
        for producer in group.producers:
            kernel, axis = producing_kernel(layers[producer.layer])
            values = np.moveaxis(kernel.numpy(), axis, -1)
            values[..., np.isin(producer.channels, removal.get(group.name, []))] = 0
            kernel.assign(np.moveaxis(values, -1, axis))


def gap(one: Any, other: Any, x: np.ndarray) -> float:
    a, b = (model(x, training=False).numpy() for model in (one, other))
    return float(np.abs(a - b).max() / np.abs(b).max())


def chain() -> tuple[Any, dict[str, list[int]]]:
    """Bias and ReLU; batch norm and ReLU; a convolution with a bias; sigmoid of zero; dense."""
    inputs = L.Input((9, 9, 3))
    x = L.Conv2D(5, 3, activation="relu", name="fused")(inputs)
    x = L.BatchNormalization()(L.Conv2D(5, 2, dilation_rate=2, name="normed")(x))
    x = L.MaxPooling2D(2)(L.Activation("sigmoid")(x))
    x = L.Conv2D(4, 2, name="linear")(x)
    x = L.Dense(6, activation="tanh", name="hidden")(L.Flatten()(L.ReLU()(x)))
    removal = {"fused": [0, 2], "normed": [1, 4], "linear": [3], "hidden": [0, 5]}
    return keras.Model(inputs, L.Dense(3, activation="softmax")(x)), removal


def branches() -> tuple[Any, dict[str, list[int]]]:
    """A residual sum, a dense block, a depthwise convolution; 1 x 1 and valid kernels read."""
    inputs = L.Input((8, 8, 3))
    stem = L.Conv2D(4, 3, padding="same", activation="relu", name="stem")(inputs)
    branch = L.BatchNormalization()(L.Conv2D(4, 1, use_bias=False, name="branch")(stem))
    x = L.ReLU()(L.Add()([stem, branch]))
    x = L.Concatenate()([x, L.Conv2D(3, 1, activation="relu", name="grown")(x)])
    x = L.DepthwiseConv2D(3, depth_multiplier=2)(L.BatchNormalization()(x))
    x = L.Conv2D(5, 3, strides=2, activation="relu", name="last")(x)
    removal = {"stem": [0, 3], "grown": [1], "last": [2]}
    return keras.Model(inputs, L.Dense(3)(L.GlobalAveragePooling2D()(x))), removal


def kinds() -> tuple[Any, dict[str, list[int]]]:
    """Consumers of other kinds, and one that is called twice."""
    inputs = L.Input((7, 7, 2))
    x = L.Conv2D(4, 1, activation="relu", name="a")(inputs)
    x = L.SeparableConv2D(4, 2, depth_multiplier=2, activation="relu", name="b")(x)
    x = L.Conv2DTranspose(4, 1, activation="relu", name="c")(x)
    x = L.Dense(3, activation="relu", name="d")(x)
    shared = L.Conv2D(3, 2, activation="relu", name="e")
    x = L.Reshape((-1, 3))(L.Add()([shared(x), shared(L.UpSampling2D(1)(x))]))
    x = L.Conv1D(4, 2, activation="relu", name="f")(x)
    x = L.Reshape((24, 1, 1, 4))(x)
    x = L.Conv3D(3, 1, activation="relu", name="g")(x)
    removal = {"a": [1], "b": [0, 3], "c": [2], "d": [1], "e": [0], "f": [0, 1], "g": [2]}
    return keras.Model(inputs, L.Dense(2)(L.Flatten()(x))), removal


def nested() -> tuple[Any, dict[str, list[int]]]:
    inner, removal = chain()
    inputs = L.Input((9, 9, 3))
    x = L.Conv2D(3, 1, activation="relu", name="first")(inputs)
    return keras.Model(inputs, L.Dense(2)(inner(x))), {"first": [1], **removal}


@pytest.mark.parametrize("build", [chain, branches, kinds, nested])
def test_removal_of_constant_channels_is_exact(build: Callable[[], Any]) -> None:
    model, removal = build()
    randomise(model)
    silence(model, removal)
    x = inputs_of(model)
    before = model.get_weights()
    ready = compensate(model, removal, emitted_means(model, removal, batches(x)))
    smaller = remove_channels(ready, removal)
    assert gap(remove_channels(model, removal), model, x) > 1e-3, "nothing had to be compensated"
    assert gap(smaller, model, x) < 1e-5
    assert gap(mask_channels(ready, removal), model, x) < 1e-5
    other = np.random.default_rng(9).normal(size=x.shape).astype(np.float32)
    assert gap(smaller, model, other) < 1e-5, "constant for all samples, not those looked at alone"
    assert channel_groups(ready) == channel_groups(model)
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def without_bias(follow: Callable[[Any], Any]) -> Any:
    inputs = L.Input((6, 6, 2))
    x = L.BatchNormalization(name="own")(L.Conv2D(4, 1, use_bias=False, name="a")(inputs))
    x = L.Activation("sigmoid")(x)
    return randomise(keras.Model(inputs, follow(L.Conv2D(3, 2, use_bias=False, name="b")(x))))


def test_the_batch_norm_behind_takes_the_constant_of_a_layer_without_bias() -> None:
    model = without_bias(lambda x: L.ReLU()(L.BatchNormalization(name="behind")(x)))
    removal = {"a": [0, 3]}
    silence(model, removal)
    x = inputs_of(model)
    ready = compensate(model, removal, emitted_means(model, removal, batches(x)))
    assert parameters(ready) == parameters(model)
    assert gap(remove_channels(model, removal), model, x) > 1e-3
    assert gap(remove_channels(ready, removal), model, x) < 1e-5
    changed = [
        weight.name
        for weight, old in zip(ready.weights, model.get_weights(), strict=True)
        if not np.array_equal(weight.numpy(), old)
    ]
    assert changed == ["behind/moving_mean:0"]


@pytest.mark.parametrize(
    "follow",
    [
        L.ReLU(),
        lambda x: L.BatchNormalization()(L.Activation("tanh")(x)),
        lambda x: L.Add()([L.BatchNormalization()(x), x]),
        lambda x: [L.BatchNormalization()(x), x],
        lambda x: (lambda norm: norm(L.ReLU()(norm(x))))(L.BatchNormalization()),
    ],
    ids=["none", "behind an activation", "read twice", "an output too", "called twice"],
)
def test_a_layer_gets_a_bias_where_no_batch_norm_can_take_it(follow: Callable[[Any], Any]) -> None:
    model, removal = without_bias(follow), {"a": [0, 3]}
    silence(model, removal)
    x = inputs_of(model)
    ready = compensate(model, removal, emitted_means(model, removal, batches(x)))
    assert parameters(ready) == parameters(model) + 3
    assert np.abs(ready.get_layer("b").bias.numpy()).min() > 1e-3
    smaller = remove_channels(ready, removal)
    outputs, expected = (m(x, training=False) for m in (smaller, model))
    if not isinstance(outputs, list):
        outputs, expected = [outputs], [expected]
    for a, b in zip(outputs, expected, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


READERS: dict[str, tuple[int, Callable[[], Any]]] = {
    "valid": (2, lambda: L.Conv2D(3, 3)),
    "same": (2, lambda: L.Conv2D(3, 3, padding="same")),
    "same with strides": (2, lambda: L.Conv2D(3, 3, padding="same", strides=2)),
    "same dilated": (2, lambda: L.Conv2D(3, 3, padding="same", dilation_rate=2)),
    "padded": (2, lambda: keras.Sequential([L.ZeroPadding2D(1), L.Conv2D(3, 3)])),
    "separable": (2, lambda: L.SeparableConv2D(3, 3, padding="same", depth_multiplier=2)),
    "transposed": (2, lambda: L.Conv2DTranspose(3, 3, strides=2)),
    "transposed, same": (2, lambda: L.Conv2DTranspose(3, 3, strides=2, padding="same")),
    "dense": (2, lambda: L.Dense(3)),
    "causal": (1, lambda: L.Conv1D(3, 3, padding="causal")),
    "3-D": (3, lambda: L.Conv3D(3, 3, padding="same")),
}


@pytest.mark.parametrize("reader", READERS)
def test_any_channel_leaves_the_mean_of_its_consumer_as_it_was(reader: str) -> None:
    """Of all constants the mean has the least squared error; whatever the kernel and padding."""
    rank, layer = READERS[reader]
    inputs = L.Input((5,) * rank + (2,))
    x = getattr(L, f"Conv{rank}D")(4, 1, activation="relu", name="a")(inputs)
    model = randomise(keras.Model(inputs, layer()(x)))
    x, removal = inputs_of(model), {"a": [1, 2]}
    ready = compensate(model, removal, emitted_means(model, ["a"], batches(x)))
    outputs = {
        name: m(x, training=False).numpy().reshape(-1, 3)
        for name, m in {
            "full": model,
            "plain": remove_channels(model, removal),
            "compensated": remove_channels(ready, removal),
        }.items()
    }
    full = outputs["full"]
    assert np.abs(outputs["plain"].mean(axis=0) - full.mean(axis=0)).max() > 1e-2
    np.testing.assert_allclose(outputs["compensated"].mean(axis=0), full.mean(axis=0), atol=1e-5)
    errors = {name: np.square(values - full).sum(axis=0) for name, values in outputs.items()}
    assert (errors["compensated"] < errors["plain"]).all()


def test_the_border_under_padding_same() -> None:
    """A constant channel: exact on average over the map, off where the border differs from it."""
    inputs = L.Input((2, 2, 2))
    x = L.Conv2D(4, 1, activation="relu", name="a")(inputs)
    model = randomise(keras.Model(inputs, L.Conv2D(3, 3, padding="same", name="b")(x)))
    removal = {"a": [0]}
    silence(model, removal)
    model.get_layer("a").bias.assign([1.0, 0.5, -0.5, 0.2])
    x = inputs_of(model)
    kernel = model.get_layer("b").get_weights()[0].astype(float)
    met = np.zeros((2, 2, 3))  # what the constant 1 gives at each position
    for row, col in np.ndindex(2, 2):
        for i, j in np.ndindex(3, 3):
            if 0 <= row + i - 1 < 2 and 0 <= col + j - 1 < 2:
                met[row, col] += kernel[i, j, 0]
    ready = compensate(model, removal, emitted_means(model, removal, batches(x)))
    outputs, expected = (m(x).numpy() for m in (remove_channels(ready, removal), model))
    off = np.broadcast_to(met.mean(axis=(0, 1)) - met, outputs.shape)
    np.testing.assert_allclose(outputs - expected, off, atol=1e-5)
    every_tap = kernel[:, :, 0].sum(axis=(0, 1)) - met
    assert (np.square(off[0]).sum(axis=(0, 1)) < np.square(every_tap).sum(axis=(0, 1))).all()


def test_means_are_what_each_tap_reads() -> None:
    inputs = L.Input((5, 4, 2))
    first = L.Conv2D(3, 1, activation="relu", name="a")(inputs)
    second = L.Conv2D(2, 3, strides=2, padding="same", name="b", activation="sigmoid")(first)
    model = randomise(keras.Model(inputs, L.Dense(2, name="d")(L.Flatten(name="flat")(second))))
    x = inputs_of(model)
    maps = keras.Model(inputs, first)(x).numpy().astype(float)
    padded = np.pad(maps, ((0, 0), (1, 1), (0, 1), (0, 0)))  # 5 rows: both sides, 4 columns: after
    expected = np.zeros((3, 3, 3))
    for i, j in np.ndindex(3, 3):
        read = [padded[:, 2 * row + i, 2 * col + j] for row in range(3) for col in range(2)]
        expected[i, j] = np.mean(read, axis=(0, 1))
    flat = keras.Model(inputs, model.get_layer("flat").output)(x).numpy().mean(axis=0)
    for size in (1, 4, len(x)):
        means = emitted_means(model, channel_groups(model), iter(batches(x, size)))
        assert list(means) == ["b", "d"]
        np.testing.assert_allclose(means["b"], expected, rtol=1e-5)
        np.testing.assert_allclose(means["d"], flat, rtol=1e-5)
    stand_in = stand_in_means(model)
    assert {n: ones.shape for n, ones in stand_in.items() if n != "a"} == {
        n: found.shape for n, found in means.items()
    }
    assert list(emitted_means(model, ["b"], batches(x))) == ["d"]
    assert emitted_means(model, [], []) == {}


def test_constants_keep_their_digits_over_many_positions() -> None:
    inputs = L.Input((64, 64, 2))
    x = L.Conv2D(3, 1, activation="relu", name="a")(inputs)
    model = keras.Model(inputs, L.GlobalMaxPooling2D()(L.Conv2D(2, 3, name="b")(x)))
    model.get_layer("a").set_weights([np.zeros((1, 1, 2, 3)), np.array([0.1, 0.7, 3.3])])
    means = emitted_means(model, ["a"], batches(np.ones((80, 64, 64, 2), np.float32), 80))
    np.testing.assert_allclose(means["b"], np.broadcast_to([0.1, 0.7, 3.3], (3, 3, 3)), rtol=2e-6)


def test_what_cannot_be_compensated_is_said() -> None:
    model, removal = chain()
    means = emitted_means(model, removal, batches(inputs_of(model)))
    with pytest.raises(ModelError, match=r"'normed': expected .* \(2, 2, 5\) taps reads, got none"):
        compensate(model, removal, {k: v for k, v in means.items() if k != "normed"})
    smaller = remove_channels(model, {"fused": [0]})
    with pytest.raises(ModelError, match=r"'normed'.*\(2, 2, 4\) taps reads, got \(2, 2, 5\)"):
        compensate(smaller, {"fused": [1]}, means)
    with pytest.raises(ModelError, match="'other': expected one of fused"):
        compensate(model, {"other": [0]}, means)
    with pytest.raises(ModelError, match="all 5 channels of 'fused' would go"):
        compensate(model, {"fused": range(5)}, means)
    with pytest.raises(ModelError, match=r"Compensation needs samples.*at least one batch"):
        emitted_means(model, removal, [])
    x = inputs_of(model)
    assert gap(compensate(model, {}, {}), model, x) == 0
