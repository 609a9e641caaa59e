"""Channel surgery: the smaller network equals the original with those channels masked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras
from ai_edge_litert.interpreter import Interpreter

from hsi.compare.cost import cost_of
from hsi.compress.cost import known_macs, macs, parameters
from hsi.compress.graph import channel_groups
from hsi.compress.masking import mask_channels
from hsi.compress.schedule import choose_channels, rank_channels
from hsi.compress.surgery import flattened, remove_channels
from hsi.errors import ModelError
from hsi.models.mou import build as mou

L = keras.layers


def cao(bands: int = 200, classes: int = 9, *, filters: tuple[int, int] = (300, 200)) -> Any:
    return keras.Sequential(
        [
            L.Input((5, 5, bands)),
            L.Conv2D(filters[0], 3, activation="relu", name="conv_1"),
            L.Conv2D(filters[1], 3, activation="relu", name="conv_2"),
            L.Flatten(),
            L.Dense(200, name="dense_1"),
            L.Dense(100, name="dense_2"),
            L.Dense(classes, activation="softmax", name="scores"),
        ]
    )


def randomise(model: Any, rng: np.random.Generator) -> Any:
    """Biases, batch norm statistics and all the rest that starts trivial, made non-trivial."""

    def value(weight: Any) -> np.ndarray:
        shape = tuple(weight.shape)
        if "variance" in weight.name or "gamma" in weight.name:
            return rng.uniform(0.5, 1.5, shape)
        if len(shape) > 1:
            return rng.normal(0, 1.4 / np.sqrt(np.prod(shape[:-1])), shape)
        return rng.normal(0, 0.5, shape)

    model.set_weights([value(weight) for weight in model.weights])
    return model


def samples(model: Any, rng: np.random.Generator, count: int = 5) -> Any:
    arrays = [rng.normal(size=(count, *t.shape[1:])).astype(np.float32) for t in model.inputs]
    return arrays if len(arrays) > 1 else arrays[0]


def gap(one: Any, other: Any, x: Any) -> float:
    """Largest difference of two models' outputs, relative to the largest output."""
    a, b = one(x, training=False).numpy(), other(x, training=False).numpy()
    assert a.shape == b.shape
    return float(np.abs(a - b).max() / np.abs(b).max())


def random_removal(model: Any, rng: np.random.Generator, share: float) -> dict[str, Any]:
    groups = channel_groups(model)
    scores = {group.name: rng.random(group.channels) for group in groups}
    total = sum(group.channels for group in groups)
    return choose_channels(scores, groups, max(1, round(share * total)))[0]


def check(model: Any, rng: np.random.Generator, *, share: float = 0.4) -> Any:
    """Remove random channels; the result must equal the masked model and be really smaller."""
    randomise(model, rng)
    before = [weight.copy() for weight in model.get_weights()]
    removal, x = random_removal(model, rng, share), samples(model, rng)
    smaller, masked = remove_channels(model, removal), mask_channels(model, removal)
    assert gap(smaller, masked, x) < 1e-5
    assert gap(masked, model, x) > 1e-3, "nothing was masked: the comparison shows nothing"
    assert parameters(smaller) < parameters(model) == parameters(masked)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    sizes = {group.name: group.channels for group in channel_groups(model)}
    for group in channel_groups(smaller):
        assert group.channels == sizes[group.name] - len(removal.get(group.name, ()))
    return smaller


class Graph:
    """A random graph of known layers, in 1, 2 or 3 dimensions."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.rank = {3: 1, 4: 3}.get(seed % 5, 2)
        self.size = {1: 12, 2: 10, 3: 6}[self.rank]

    def layer(self, name: str) -> Any:
        return getattr(L, f"{name}{self.rank}D")

    def conv(self, x: Any, filters: int = 0, **options: Any) -> Any:
        filters = filters or int(self.rng.integers(2, 9))
        bias = bool(self.rng.random() < 0.7)
        return self.layer("Conv")(filters, 3, padding="same", use_bias=bias, **options)(x)

    def activation(self, x: Any) -> Any:
        kind = self.rng.choice(["relu", "sigmoid", "tanh", "relu6", "leaky", "prelu", "elu"])
        shared = list(range(1, self.rank + 1))
        named = {"leaky": L.LeakyReLU(), "prelu": L.PReLU(shared_axes=shared), "elu": L.ELU()}
        return named[kind](x) if kind in named else L.Activation(str(kind))(x)

    def block(self, x: Any) -> Any:
        names = ["plain", "normed", "residual", "merge", "dense", "squeeze", "space", "transposed"]
        names += ["depthwise", "separable"] * (self.rank < 3) + ["grouped"] * (self.rank == 2)
        return getattr(self, str(self.rng.choice(names)))(x)

    def plain(self, x: Any) -> Any:
        return self.conv(x, activation=str(self.rng.choice(["relu", "sigmoid", "linear"])))

    def normed(self, x: Any) -> Any:
        x = L.BatchNormalization(scale=bool(self.rng.random() < 0.7))(self.conv(x))
        return L.Dropout(0.3)(self.activation(x))

    def residual(self, x: Any) -> Any:
        branch = self.normed(x)
        branch = self.conv(branch, x.shape[-1])
        return self.activation(L.Add()([x, L.BatchNormalization()(branch)]))

    def merge(self, x: Any) -> Any:
        kind = self.rng.choice(["Subtract", "Multiply", "Average", "Maximum", "Minimum"])
        filters = int(self.rng.integers(2, 9))
        return getattr(L, str(kind))()(
            [self.conv(x, filters), self.activation(self.conv(x, filters))]
        )

    def dense(self, x: Any) -> Any:
        """A dense block: the input and what was made of it side by side, twice."""
        for _ in range(2):
            x = L.Concatenate()([x, self.conv(self.activation(L.BatchNormalization()(x)))])
        return self.activation(L.BatchNormalization()(x))

    def squeeze(self, x: Any) -> Any:
        """Squeeze and excitation."""
        x = self.conv(x, activation="relu")
        s = L.Dense(4, activation="relu")(self.layer("GlobalAveragePooling")()(x))
        s = L.Dense(x.shape[-1], activation="sigmoid")(s)
        return L.Multiply()([x, L.Reshape((1,) * self.rank + (x.shape[-1],))(s)])

    def depthwise(self, x: Any) -> Any:
        multiplier = int(self.rng.integers(1, 4))
        x = self.layer("DepthwiseConv")(3, padding="same", depth_multiplier=multiplier)(x)
        return self.activation(L.BatchNormalization()(x))

    def separable(self, x: Any) -> Any:
        x = self.layer("SeparableConv")(5, 3, padding="same", depth_multiplier=2)(x)
        return self.activation(x)

    def transposed(self, x: Any) -> Any:
        return self.activation(getattr(L, f"Conv{self.rank}DTranspose")(4, 2)(x))

    def grouped(self, x: Any) -> Any:
        x = self.conv(x, 6)
        groups = int(self.rng.choice([2, 6]))
        return L.Conv2D(12, 3, padding="same", groups=groups, activation="relu")(x)

    def space(self, x: Any) -> Any:
        x = self.layer("ZeroPadding")(1)(x)
        x = self.layer("MaxPooling")(2, padding="same")(x)
        x = self.layer("UpSampling")(2)(self.layer("AveragePooling")(2)(x))
        return self.layer("Cropping")(1)(self.layer("ZeroPadding")(1)(x))

    def head(self, x: Any) -> Any:
        kind = self.rng.integers(4)
        if kind == 0:
            x = self.layer(str(self.rng.choice(["GlobalAveragePooling", "GlobalMaxPooling"])))()(x)
        elif kind == 1:
            x = L.Reshape((-1, x.shape[-1]))(x)
            x = L.Flatten()(self.activation(L.Conv1D(4, 1)(x)))
        elif kind == 2:
            x = L.BatchNormalization()(L.Reshape((int(np.prod(x.shape[1:])),))(x))
        else:
            x = L.Flatten()(x)
        x = L.Dense(7, activation="tanh")(x)
        return L.Dense(4, name="logits")(x)

    def model(self) -> Any:
        inputs = L.Input((*[self.size] * self.rank, 3))
        x = self.conv(inputs, activation="relu")
        for _ in range(int(self.rng.integers(2, 6))):
            x = self.block(x)
        return keras.Model(inputs, self.head(x))


@pytest.mark.parametrize(
    "seed", [*range(10), *(pytest.param(s, marks=pytest.mark.slow) for s in range(10, 60))]
)
def test_smaller_equals_masked_on_random_graphs(seed: int) -> None:
    graph = Graph(seed)
    check(graph.model(), graph.rng, share=float(graph.rng.uniform(0.2, 0.7)))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["MobileNetV2", "DenseNet121", "ResNet50V2"])
def test_smaller_equals_masked_on_published_networks(name: str) -> None:
    options: dict[str, Any] = {"alpha": 0.35} if name == "MobileNetV2" else {}
    model = getattr(keras.applications, name)(
        input_shape=(32, 32, 3), weights=None, classes=5, classifier_activation=None, **options
    )
    smaller = check(model, np.random.default_rng(0))
    assert macs(smaller) < 0.6 * macs(model)


def test_flatten_by_hand() -> None:
    """Channel c of a (rows, cols, C) map is at c + C * k; the kernels are cut here by index."""
    rng = np.random.default_rng(0)
    model = randomise(
        keras.Sequential(
            [
                L.Input((4, 5, 2)),
                L.Conv2D(6, 2, activation="relu", name="a"),
                L.Flatten(),
                L.Dense(3, name="b"),
            ]
        ),
        rng,
    )
    kept = [0, 2, 5]
    smaller = remove_channels(model, {"a": [1, 3, 4]})
    kernel, bias, dense, offset = model.get_weights()
    expected = [
        kernel[..., kept],
        bias[kept],
        np.stack([dense[c + 6 * k] for k in range(3 * 4) for c in kept]),
        offset,
    ]
    for got, want in zip(smaller.get_weights(), expected, strict=True):
        np.testing.assert_array_equal(got, want)


def test_mask_and_surgery_by_numpy() -> None:
    """Conv, batch norm, sigmoid (not zero at zero), pool, flatten, dense: the tail in numpy."""
    rng = np.random.default_rng(1)
    inputs = L.Input((6, 6, 3))
    x = L.BatchNormalization()(L.Conv2D(5, 3, name="conv")(inputs))
    pooled = L.MaxPooling2D(2)(L.Activation("sigmoid")(x))
    model = keras.Model(inputs, L.Dense(4)(L.Flatten()(pooled)))
    randomise(model, rng)
    x = samples(model, rng)
    middle = keras.Model(inputs, pooled)(x).numpy()
    middle[..., [0, 3]] = 0
    kernel, bias = model.layers[-1].get_weights()
    expected = middle.reshape(len(x), -1) @ kernel + bias
    for made in (mask_channels, remove_channels):
        np.testing.assert_allclose(made(model, {"conv": [0, 3]})(x), expected, atol=1e-5)


def test_cao_groups_and_costs() -> None:
    model = cao()
    assert parameters(model) == 1_141_709
    expected = 9 * 9 * 200 * 300 + 9 * 300 * 200 + 200 * 200 + 200 * 100 + 100 * 9
    assert macs(model) == expected
    groups = channel_groups(model)
    assert [(g.name, g.channels, g.kind) for g in groups] == [
        ("conv_1", 300, "convolution"),
        ("conv_2", 200, "convolution"),
        ("dense_1", 200, "dense"),
        ("dense_2", 100, "dense"),
    ]
    assert [g.consumers for g in groups] == [("conv_2",), ("dense_1",), ("dense_2",), ("scores",)]
    smaller = remove_channels(model, {"conv_1": range(100), "conv_2": range(50)})
    kernels = 9 * 200 * 200 + 9 * 200 * 150 + 150 * 200 + 200 * 100 + 100 * 9
    assert parameters(smaller) == kernels + 200 + 150 + 200 + 100 + 9
    assert [layer.name for layer in smaller.layers[1:]] == [layer.name for layer in model.layers]


def test_macs_of_other_layers() -> None:
    inputs = L.Input((8, 8, 4))
    x = L.DepthwiseConv2D(3, padding="same", depth_multiplier=2)(inputs)
    x = L.SeparableConv2D(6, 3, padding="same", strides=2)(x)
    x = L.Conv2D(6, 3, padding="same", groups=2)(x)
    x = L.Conv2DTranspose(5, 2, strides=2)(L.BatchNormalization()(x))
    expected = 64 * 9 * 8 + 16 * (9 * 8 + 8 * 6) + 16 * 9 * 3 * 6 + 16 * 4 * 6 * 5
    assert macs(keras.Model(inputs, x)) == expected


def inside(shape: tuple[int, ...], *layers: Any) -> Any:
    return keras.Sequential([L.Input(shape), *layers])


def attending(shape: tuple[int, ...], other: tuple[int, ...] | None = None, **options: Any) -> Any:
    x = L.Input(shape)
    y = L.Input(other) if other else x
    return keras.Model([x, y] if other else x, L.MultiHeadAttention(3, 4, **options)(x, y))


def mapped() -> Any:
    return inside((6, 6, 3), L.Conv2D(2, 3), L.Flatten(), L.Dense(3))


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: inside((7, 3), L.GRU(5)), 7 * 3 * (3 * 5 + 5 * 5)),
        (lambda: inside((7, 3), L.LSTM(5, return_sequences=True)), 7 * 4 * (3 * 5 + 5 * 5)),
        (lambda: inside((7, 3), L.SimpleRNN(5)), 7 * (3 * 5 + 5 * 5)),
        (lambda: inside((7, 3), L.Bidirectional(L.LSTM(5))), 2 * 7 * 4 * (3 * 5 + 5 * 5)),
        (
            lambda: inside((7, 3), L.RNN([L.GRUCell(5), L.LSTMCell(4)])),
            7 * (3 * (3 * 5 + 5 * 5) + 4 * (5 * 4 + 4 * 4)),
        ),
        (
            lambda: inside((4, 6, 6, 3), L.ConvLSTM2D(5, 3)),
            4 * (4 * 4) * (3 * 3 * 3 * 20 + 3 * 3 * 5 * 20),
        ),
        (
            lambda: inside(
                (4, 6, 6, 3),
                L.TimeDistributed(L.Conv2D(2, 3)),
                L.TimeDistributed(L.Flatten()),
                L.LSTM(4),
            ),
            4 * 16 * 27 * 2 + 4 * 4 * (32 * 4 + 4 * 4),
        ),
        (lambda: inside((4, 6, 6, 3), L.TimeDistributed(mapped())), 4 * (16 * 27 * 2 + 32 * 3)),
        (lambda: inside((9, 4), L.LocallyConnected1D(3, 2, strides=2)), 4 * 2 * 4 * 3),
        (lambda: inside((5, 6), L.EinsumDense("abc,cde->abde", (None, 3, 4))), 5 * 6 * 3 * 4),
        (lambda: inside((5, 6), L.EinsumDense("...x,xy->...y", 4)), 5 * 6 * 4),
        (lambda: attending((5, 6)), 4 * 5 * 6 * 12 + 3 * 5 * 5 * (4 + 4)),
        (
            lambda: attending((5, 6), (8, 6), value_dim=2),
            5 * 6 * 12 + 8 * 6 * 12 + 8 * 6 * 6 + 5 * 6 * 6 + 3 * 5 * 8 * (4 + 2),
        ),
        (
            lambda: attending((2, 5, 6), attention_axes=2),
            4 * 10 * 6 * 12 + 3 * 2 * 5 * 5 * (4 + 4),
        ),
        (lambda: inside((5,), L.Embedding(9, 3), L.PReLU(), L.Dense(2)), 5 * 3 * 2),
    ],
)
def test_macs_of_layers_that_repeat_or_hold_others(make: Any, expected: int) -> None:
    model = make()
    assert macs(model) == known_macs(model) == expected


def test_macs_of_mou_are_a_literal_loop() -> None:
    """Three gates read a band and the 64 units before it, step by step; then the scores."""
    bands, units, classes = 20, 64, 9
    count = 0
    for _ in range(bands):
        for _gate in range(3):
            count += 1 * units  # the band
            count += units * units  # the units
    count += bands * units * classes
    model = mou((1, 1, bands), classes)
    assert macs(model) == known_macs(model) == count


class Unheard(keras.layers.Layer):
    def build(self, shape: Any) -> None:
        self.kernel = self.add_weight("kernel", (shape[-1], 4))

    def call(self, x: Any) -> Any:
        return x @ self.kernel


@pytest.mark.parametrize("wrapped", [False, True])
def test_macs_of_a_layer_of_unknown_kind_are_not_known(wrapped: bool, tmp_path: Path) -> None:
    model = inside((5, 3), L.TimeDistributed(Unheard()) if wrapped else Unheard(), L.Dense(2))
    assert known_macs(model) is None
    assert macs(model) == 5 * 4 * 2, "what is known"
    file = tmp_path / "model.h5"
    file.write_bytes(b"")
    assert cost_of(file, network=model).macs is None


def test_added_convolutions_are_one_group() -> None:
    inputs = L.Input((8, 8, 3))
    x = L.Conv2D(4, 1, name="a")(inputs)
    y = L.Concatenate()([L.Conv2D(3, 1, name="b")(inputs), L.Conv2D(1, 1, name="c")(inputs)])
    model = keras.Model(inputs, L.Dense(2)(L.GlobalMaxPooling2D()(L.Add()([x, y]))))
    (group,) = channel_groups(model)
    assert {p.layer: p.channels for p in group.producers} == {
        "a": (0, 1, 2, 3),
        "b": (0, 1, 2),
        "c": (3,),
    }
    with pytest.raises(ModelError, match="all 1 channels of 'c' would go"):
        remove_channels(model, {group.name: [3]})
    removal, shortfall = choose_channels({group.name: np.array([0, 1, 2, 3])}, [group], 4)
    assert (removal, shortfall) == ({group.name: (1, 2)}, 2)
    check(model, np.random.default_rng(0))


def test_shared_layers_keep_the_same_channels() -> None:
    rng = np.random.default_rng(2)
    inputs = L.Input((6, 6, 3))
    shared, normed, relu = L.Conv2D(5, 3, name="shared"), L.BatchNormalization(), L.ReLU()
    first = relu(L.Conv2D(4, 1, name="first")(inputs))
    second = relu(L.Conv2D(4, 1, name="second")(inputs))
    joined = L.Concatenate()([normed(shared(first)), normed(shared(second))])
    model = keras.Model(inputs, L.Dense(2)(L.Flatten()(joined)))
    assert [len(g.producers) for g in channel_groups(model)] == [2, 1]
    check(model, rng)


@pytest.mark.parametrize("target", [(-1, 6), (16, -1), (16, 6)])
def test_a_reshape_called_twice(target: tuple[int, int]) -> None:
    """With a fixed last axis both calls keep the same channels; with -1 each has its own."""
    inputs = L.Input((6, 6, 3))
    reshape = L.Reshape(target)
    made = [reshape(L.Conv2D(6, 3, activation="relu", name=name)(inputs)) for name in "ab"]
    x = L.Concatenate()([L.Conv1D(4, 3, name=f"after_{k}")(y) for k, y in enumerate(made)])
    model = keras.Model(inputs, L.Dense(2)(L.Flatten()(x)))
    own = target[-1] == -1
    one, *other = [g for g in channel_groups(model) if not g.name.startswith("after")]
    assert (len(one.producers), len(other)) == ((1, 1) if own else (2, 0))
    check(model, np.random.default_rng(0))
    removal = {one.name: [0, 2], **{group.name: [1] for group in other}}
    rng = np.random.default_rng(1)
    smaller, masked = remove_channels(model, removal), mask_channels(model, removal)
    assert gap(smaller, masked, samples(model, rng)) < 1e-5


def test_nested_models_are_opened() -> None:
    rng = np.random.default_rng(3)
    inner_in = L.Input((8, 8, 4))
    x = L.BatchNormalization(name="norm")(L.Conv2D(6, 3, name="conv")(inner_in))
    inner = keras.Model(inner_in, L.ReLU()(x), name="inner")
    chain = keras.Sequential([L.Input((6, 6, 6)), L.Conv2D(5, 3, name="conv_b")], name="chain")
    inputs = L.Input((8, 8, 3))
    x = inner(L.Conv2D(4, 1, name="conv")(inputs), training=False)
    model = keras.Model(inputs, L.Dense(2)(L.Flatten()(chain(x))))
    assert [g.name for g in channel_groups(model)] == ["conv", "inner_conv", "conv_b"]
    smaller = check(model, rng)
    flat = flattened(model)
    assert channel_groups(flat) == channel_groups(model)
    assert gap(flat, model, samples(model, rng)) < 1e-6
    # The inner model was frozen in inference mode: so is its batch norm in the copy.
    x = samples(model, rng)
    np.testing.assert_array_equal(smaller(x, training=True), smaller(x, training=False))


def running_sum(x: Any) -> Any:
    """An activation of a user's own, across channels."""
    return tf.cumsum(x, -1)


def test_inputs_outputs_and_mixed_channels_stay() -> None:
    inputs = L.Input((6, 6, 3))
    x = L.Conv2D(3, 1, name="tied_to_input")(inputs)
    x = L.Conv2D(4, 1, name="softmaxed", activation="softmax")(L.Add()([x, inputs]))
    x = L.LayerNormalization()(L.Conv2D(4, 1, name="normalised")(x))
    x = L.Conv2D(4, 1, name="grouped_in")(x)
    x = L.Conv2D(6, 1, groups=2, name="grouped")(x)
    x = L.Conv2D(5, 1, name="custom", activation=running_sum)(x)
    x = L.Conv2D(5, 1, name="free")(x)
    outputs = [L.Conv2D(2, 1, name="map")(x), L.Dense(3, name="scores")(L.Flatten()(x))]
    model = keras.Model(inputs, outputs)
    assert [g.name for g in channel_groups(model)] == ["free"]
    rng = np.random.default_rng(0)
    x = samples(randomise(model, rng), rng)
    removal = {"free": [0, 2]}
    for a, b in zip(
        remove_channels(model, removal)(x), mask_channels(model, removal)(x), strict=True
    ):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_saved_and_converted(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    model = randomise(cao(20, filters=(30, 20)), rng)
    removal, x = random_removal(model, rng, 0.5), samples(model, rng)
    smaller = remove_channels(model, removal)
    smaller.save(tmp_path / "smaller.h5")
    loaded = keras.models.load_model(tmp_path / "smaller.h5", compile=False)
    assert gap(loaded, mask_channels(model, removal), x) < 1e-5
    again = random_removal(loaded, rng, 0.3)
    assert gap(remove_channels(loaded, again), mask_channels(loaded, again), x) < 1e-5
    converted = tf.lite.TFLiteConverter.from_keras_model(smaller).convert()
    runner = Interpreter(model_content=converted).get_signature_runner()
    (name,) = runner.get_input_details()
    (output,) = runner(**{name: x}).values()
    np.testing.assert_allclose(output, smaller(x), atol=1e-5)


def test_pruned_network_trains() -> None:
    rng = np.random.default_rng(5)
    inputs = L.Input((6, 6, 3))
    x = L.Conv2D(8, 3, name="frozen", trainable=False)(inputs)
    x = L.ReLU()(L.BatchNormalization()(L.Conv2D(8, 3)(x)))
    model = keras.Model(inputs, L.Dense(2)(L.Flatten()(x)))
    smaller = remove_channels(model, random_removal(model, rng, 0.4))
    assert not smaller.get_layer("frozen").trainable
    smaller.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    before = smaller.get_weights()
    smaller.fit(samples(smaller, rng, 8), rng.integers(0, 2, 8), verbose=0)
    changed = [not np.array_equal(a, b) for a, b in zip(before, smaller.get_weights(), strict=True)]
    assert changed[2:] == [True] * len(changed[2:])
    assert parameters(model) > parameters(smaller)


def _refused() -> dict[str, Any]:
    inputs = L.Input((6, 6, 3))
    x = L.Conv2D(4, 3)(inputs)
    flat = L.Dense(2)

    class Mine(L.Conv2D):
        pass

    return {
        r"'op' of type Lambda cannot be pruned through: expected layers of": L.Lambda(
            lambda t: t[..., ::-1], name="op"
        )(x),
        r"of type TFOpLambda cannot be pruned through": x + 1.0,
        r"'mine' of type Mine cannot be pruned": Mine(3, 3, name="mine")(x),
        r"'first' .* channels_first": L.MaxPooling2D(data_format="channels_first", name="first")(x),
        r"'bn' .* axis \[1\], not the last": L.BatchNormalization(axis=1, name="bn")(x),
        r"'turn' .* moves the channel axis": L.Permute((3, 1, 2), name="turn")(x),
        r"'lstm' of type LSTM": flat(L.LSTM(3, name="lstm")(L.Reshape((16, 4))(x))),
    } | {"inputs": inputs}


def test_unknown_layers_are_refused_by_name() -> None:
    cases = _refused()
    inputs = cases.pop("inputs")
    for message, output in cases.items():
        model = keras.Model(inputs, L.Dense(2)(L.Flatten()(output)))
        for use in (channel_groups, lambda m: remove_channels(m, {})):
            with pytest.raises(ModelError, match=message):
                use(model)


def test_models_without_a_graph_and_bad_removals() -> None:
    class Subclassed(keras.Model):
        def call(self, x: Any) -> Any:
            return x

    for model in (Subclassed(), keras.Sequential([L.Dense(3)])):
        with pytest.raises(ModelError, match="known input shape"):
            channel_groups(model)
    model = cao(4, filters=(5, 3))
    for removal, message in (
        ({"conv_9": [0]}, "'conv_9': expected one of conv_1, conv_2, dense_1, dense_2"),
        ({"conv_1": [5]}, "conv_1: expected channels 0 to 4, got 5"),
        ({"conv_1": [-1]}, "conv_1: expected channels 0 to 4, got -1"),
        ({"conv_2": range(3)}, "all 3 channels of 'conv_2' would go; at least one"),
        ({"scores": [0]}, "'scores': expected one of"),
    ):
        for use in (remove_channels, mask_channels):
            with pytest.raises(ModelError, match=message):
                use(model, removal)
    assert gap(remove_channels(model, {}), model, samples(model, np.random.default_rng(0))) == 0


def test_ranking_and_choice() -> None:
    groups = channel_groups(cao(4, filters=(3, 4)))
    scores = {"conv_1": np.array([0.5, 0.9, 0.5]), "conv_2": np.array([0.9, 0.1, 0.5, 1.0])}
    ranked = rank_channels(scores, groups)
    assert ranked == [
        ("conv_2", 3), ("conv_1", 1), ("conv_2", 0), ("conv_1", 0), ("conv_1", 2), ("conv_2", 2),
        ("conv_2", 1),
    ]  # fmt: skip
    assert choose_channels(scores, groups, 3) == ({"conv_1": (1,), "conv_2": (0, 3)}, 0)
    assert choose_channels(scores, groups, 9) == ({"conv_1": (0, 1), "conv_2": (0, 2, 3)}, 4)
    assert choose_channels(scores, groups, 9, min_channels=3) == ({"conv_2": (3,)}, 8)
    assert choose_channels(scores, groups, 0) == ({}, 0)
    with pytest.raises(ModelError, match="conv_1: expected 3 finite scores"):
        rank_channels({"conv_1": np.array([0, np.nan, 1])}, groups)
    with pytest.raises(ModelError, match=r"conv_2: expected 4 finite scores.*\(3,\)"):
        rank_channels({"conv_2": np.zeros(3)}, groups)
