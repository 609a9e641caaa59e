"""Zeros: chosen as the loops below choose them, and still there after training."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tf_keras as keras

from hsi.compress import magnitude
from hsi.compress.criteria.l1 import weight_scores
from hsi.compress.granularity import choose_masks, parse_granularity
from hsi.compress.magnitude import HOLDERS, prune_weights, sparsity_of
from hsi.compress.weights import KeepZeros, apply_masks, choose_weights, kernel_layers, shares_gone
from hsi.errors import ModelError, SettingsError

L = keras.layers

SHAPES = {
    "line": (3, 7, 6),
    "plane": (3, 2, 5, 8),
    "space": (2, 2, 3, 6, 5),
    "dense": (13, 9),
    "single": (1, 1),
}


@pytest.fixture
def scores() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {name: rng.normal(size=shape) for name, shape in SHAPES.items()}


def lowest(values: list[float], count: int) -> set[int]:
    """Which `count` of some scores are the lowest: those that stay."""
    return set(sorted(range(len(values)), key=lambda k: values[k])[:count])


# Choosing


@pytest.mark.parametrize("sparsity", [0, 0.3, 0.5, 0.9, 1 - 1 / 64])
def test_single_weights_of_each_layer(scores: Any, sparsity: float) -> None:
    masks = choose_masks(scores, sparsity, granularity=parse_granularity("weight"))
    for name, values in scores.items():
        kept = max(1, round((1 - sparsity) * values.size))
        stays = lowest(values.ravel().tolist(), kept)
        assert masks[name].shape == values.shape
        assert set(np.flatnonzero(masks[name]).tolist()) == stays


@pytest.mark.parametrize("sparsity", [0, 0.3, 0.9, 0.98])
def test_single_weights_of_all_layers_together(scores: Any, sparsity: float) -> None:
    scores["dense"] += 5  # it loses more than its share: all but one weight at the end
    masks = choose_masks(scores, sparsity, granularity=parse_granularity("weight"), scope="global")
    total = sum(values.size for values in scores.values())
    left = {name: list(range(values.size)) for name, values in scores.items()}
    for _ in range(total - round((1 - sparsity) * total)):
        candidates = [(n, k) for n, ks in left.items() if len(ks) > 1 for k in ks]
        name, k = max(candidates, key=lambda nk: scores[nk[0]].flat[nk[1]])
        left[name].remove(k)
    assert {n: np.flatnonzero(m).tolist() for n, m in masks.items()} == left
    assert sum(int(m.sum()) for m in masks.values()) == round((1 - sparsity) * total)
    if sparsity >= 0.9:
        assert len(left["dense"]) == 1


@pytest.mark.parametrize(("n", "m"), [(2, 4), (1, 4), (1, 2), (3, 8)])
def test_n_of_every_m_along_the_inputs(scores: Any, n: int, m: int) -> None:
    masks = choose_masks(scores, None, granularity=parse_granularity(f"{n}:{m}"))
    for name, values in scores.items():
        inputs = values.shape[-2]
        for place in np.ndindex(*values.shape[:-2], values.shape[-1]):
            *tap, output = place
            for start in range(0, inputs, m):
                part = range(start, min(start + m, inputs))
                stays = lowest([float(values[(*tap, i, output)]) for i in part], n)
                found = {k for k, i in enumerate(part) if masks[name][(*tap, i, output)]}
                assert found == stays
                assert len(found) == min(n, len(part))


@pytest.mark.parametrize("block", [(4, 4), (1, 4), (3, 2), (50, 50)])
@pytest.mark.parametrize("scope", ["layer", "global"])
def test_blocks_of_the_view_taps_times_inputs_by_outputs(
    scores: Any, block: tuple[int, int], scope: str
) -> None:
    granularity = parse_granularity("{}x{}".format(*block))
    blocks: dict[tuple[str, int, int], list[tuple[int, ...]]] = {}
    for name, values in scores.items():
        inputs = values.shape[-2]
        for *tap, i, o in np.ndindex(*values.shape):
            row = int(np.ravel_multi_index((*tap, i), (*values.shape[:-2], inputs)))
            blocks.setdefault((name, row // block[0], o // block[1]), []).append((*tap, i, o))
    means = {key: np.mean([scores[key[0]][p] for p in places]) for key, places in blocks.items()}
    per_layer = {name: [key for key in blocks if key[0] == name] for name in scores}
    sparsity = 0.0 if block == (50, 50) else 0.4
    masks = choose_masks(scores, sparsity, granularity=granularity, scope=scope)
    stays: set[tuple[str, int, int]] = set()
    if scope == "layer":
        for keys in per_layer.values():
            ordered = sorted(keys, key=lambda key: means[key])
            stays.update(ordered[: max(1, round(0.6 * len(keys)))] if sparsity else keys)
    else:
        protected = {min(keys, key=lambda key: means[key]) for keys in per_layer.values()}
        free = sorted(set(blocks) - protected, key=lambda key: means[key])
        stays = protected | set(free[: round((1 - sparsity) * len(blocks)) - len(protected)])
    for key, places in blocks.items():
        assert {bool(masks[key[0]][p]) for p in places} == {key in stays}


def test_a_sparsity_for_each_layer(scores: Any) -> None:
    shares = {"line": 0.25, "plane": 0.5, "space": 0, "dense": 0.75, "single": 0}
    masks = choose_masks(scores, shares, granularity=parse_granularity("weight"))
    for name, share in shares.items():
        assert masks[name].sum() == round((1 - share) * scores[name].size)


def test_equal_scores_go_in_the_order_of_the_kernel() -> None:
    same = {"a": np.zeros((2, 4, 1)), "b": np.zeros((2, 2))}
    for name, expected in (("weight", [0, 0, 0, 1, 1, 1, 1, 1]), ("2:4", [0, 0, 1, 1] * 2)):
        sparsity = 0.4 if name == "weight" else None
        mask = choose_masks(same, sparsity, granularity=parse_granularity(name))["a"]
        assert mask.ravel().astype(int).tolist() == expected
    masks = choose_masks(same, 0.25, granularity=parse_granularity("weight"), scope="global")
    assert masks["a"].sum() == 5
    assert masks["b"].all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("weights", "expected weight, N:M .* got 'weights'"),
        ("4:2", "granularity 4:2: expected fewer"),
        ("0:4", "granularity 0:4: expected fewer"),
        ("4:4", "granularity 4:4: expected fewer"),
        ("0x4", "granularity 0x4: expected blocks"),
        ("4x", "expected weight"),
        ("-1x4", "expected weight"),
        ("channel", "expected weight"),
    ],
)
def test_unknown_units_are_refused(text: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        parse_granularity(text)


@pytest.mark.parametrize(
    ("sparsity", "name", "scope", "message"),
    [
        (1, "weight", "layer", "from 0 to below 1, got 1"),
        (-0.1, "weight", "global", "from 0 to below 1, got -0.1"),
        (float("nan"), "weight", "layer", "from 0 to below 1, got nan"),
        ({"a": 1.5, "b": 0}, "weight", "layer", "from 0 to below 1, got 1.5"),
        (None, "weight", "layer", "expected the sparsity to reach"),
        (0.5, "2:4", "layer", "leaves 2 of every 4 weights; expected no other sparsity, got 0.5"),
        (0.9, "weight", "global", "0.9: cannot be reached; at most 0.8333 can go"),
        (0.5, "weight", "globl", "Did you mean 'global'"),
    ],
)
def test_a_sparsity_that_cannot_be_is_refused(
    sparsity: Any, name: str, scope: str, message: str
) -> None:
    values = {"a": np.zeros((2, 4)), "b": np.zeros((2, 2))}
    with pytest.raises(SettingsError, match=message):
        choose_masks(values, sparsity, granularity=parse_granularity(name), scope=scope)
    with pytest.raises(ModelError, match="a: expected finite scores, got 1 that are not"):
        choose_masks({"a": np.array([[0, np.nan]])}, 0, granularity=parse_granularity("weight"))


# On a network


def wrapped_kinds() -> Any:
    """Every kind of layer that TF-MOT's wrapper takes, and some that keep their weights."""
    keras.utils.set_random_seed(0)
    inputs = L.Input((4, 4, 4, 2))
    x = L.Conv3D(4, 2, activation="relu", name="space")(inputs)
    x = L.Reshape((9, 3, 4))(x)
    x = L.BatchNormalization()(L.Conv2DTranspose(5, 2, name="up")(x))
    x = L.Conv2D(6, 2, strides=2, activation="relu", name="plane")(x)
    x = L.DepthwiseConv2D(2, name="depthwise")(x)
    x = L.Conv1D(5, 2, name="line")(L.Reshape((-1, 6))(x))
    return keras.Model(inputs, L.Dense(3, activation="softmax", name="scores")(L.Flatten()(x)))


def nested() -> Any:
    """Kernels in a model inside the model, and a convolution that TF-MOT does not know."""
    keras.utils.set_random_seed(1)
    inner_in = L.Input((6, 4))
    x = L.Conv1D(6, 2, activation="relu", name="conv")(inner_in)
    inner = keras.Model(inner_in, L.Conv1DTranspose(5, 2, name="up")(x), name="inner")
    inputs = L.Input((6, 4))
    x = L.Flatten()(inner(L.Conv1D(4, 1, name="first")(inputs)))
    return keras.Model(inputs, L.Dense(3, activation="softmax", name="scores")(x))


def tuner(model: Any, *, epochs: int = 3, rate: float = 0.02, seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(40, *model.input_shape[1:])).astype(np.float32)
    y = rng.integers(0, 3, 40)

    def fine_tune(copy: Any, callbacks: Any) -> None:
        keras.utils.set_random_seed(seed)
        copy.compile(keras.optimizers.Adam(rate), keras.losses.SparseCategoricalCrossentropy())
        copy.fit(x, y, batch_size=10, epochs=epochs, shuffle=False, verbose=0, callbacks=callbacks)

    return fine_tune


def random_masks(model: Any, *, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {n: rng.random(k.kernel.shape) < 0.4 for n, k in kernel_layers(model).items()}


def test_kernels_are_those_of_convolutions_and_dense_layers() -> None:
    assert list(kernel_layers(wrapped_kinds())) == ["space", "up", "plane", "line", "scores"]
    assert list(kernel_layers(nested())) == ["first", "conv", "up", "scores"]


def test_masks_of_a_network_follow_its_axes() -> None:
    """Of a transposed convolution (..., outputs, inputs) the inputs are the last axis."""
    model = wrapped_kinds()
    scores = weight_scores(model, ())
    masks = choose_weights(model, scores, None, granularity="2:4", keep=["line"])
    assert set(masks) == {"space", "up", "plane", "scores"}
    for rows, outputs in np.ndindex(4, 5):
        tap = np.unravel_index(rows, (2, 2))
        stays = lowest(scores["up"][(*tap, outputs)].tolist(), 2)
        assert set(np.flatnonzero(masks["up"][(*tap, outputs)]).tolist()) == stays
    shares = shares_gone(model, masks, granularity="2:4")
    assert shares["up"] == 0.5
    assert shares == {name: 1 - mask.mean() for name, mask in masks.items()}
    blocks = choose_weights(model, scores, 0.5, granularity="4x1")
    view = np.swapaxes(blocks["up"], -1, -2).reshape(16, 5)
    assert {int(part.sum()) for part in np.split(view.T.reshape(-1), 20)} == {0, 4}
    assert shares_gone(model, blocks, granularity="4x1")["up"] == 0.5


def test_what_does_not_fit_the_network_is_refused() -> None:
    model = wrapped_kinds()
    scores = weight_scores(model, ())
    for given, options, error, message in (
        ({"line": np.zeros(3)}, {}, ModelError, r"line: expected scores of shape \(2, 6, 5\)"),
        ({"depthwise": np.zeros(3)}, {}, ModelError, "No weights can be pruned in 'depthwise'"),
        (scores, {"keep": ["lines"]}, SettingsError, "layer to keep 'lines'.*mean 'line'"),
        (scores, {"sparsity": {"lines": 0.5}}, SettingsError, "'lines'.*mean 'line'"),
    ):
        with pytest.raises(error, match=message):
            choose_weights(model, given, **{"sparsity": 0.5, **options})
    for use in (apply_masks, KeepZeros):
        with pytest.raises(ModelError, match="No kernel for the mask 'depthwise'"):
            use(model, {"depthwise": np.ones(3, bool)})
        with pytest.raises(ModelError, match=r"line: expected a mask of shape \(2, 6, 5\)"):
            use(model, {"line": np.ones(3, bool)})


@pytest.mark.parametrize("make", [wrapped_kinds, nested])
def test_masks_are_put_on_a_copy(make: Any) -> None:
    model = make()
    before = model.get_weights()
    masks = random_masks(model)
    copy = apply_masks(model, masks)
    for name, layer in kernel_layers(copy).items():
        old = kernel_layers(model)[name]
        np.testing.assert_array_equal(layer.kernel, np.where(masks[name], old.kernel, 0))
        np.testing.assert_array_equal(layer.bias, old.bias)
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert sparsity_of(copy).kernels == {n: float(np.mean(~m)) for n, m in masks.items()}


@pytest.mark.parametrize("make", [wrapped_kinds, nested])
def test_zeros_stay_through_training(make: Any) -> None:
    model = make()
    masks = random_masks(model)
    seen: list[bool] = []

    def zeros(copy: Any) -> bool:
        layers = kernel_layers(copy)
        return all(not layers[name].kernel.numpy()[~mask].any() for name, mask in masks.items())

    def fine_tune(copy: Any, callbacks: Any) -> None:
        watch = keras.callbacks.LambdaCallback(
            on_train_begin=lambda logs: seen.append(zeros(copy)),
            on_train_batch_end=lambda batch, logs: seen.append(zeros(copy)),
        )
        tuner(model)(copy, [*callbacks, watch])

    pruned = prune_weights(model, masks, fine_tune=fine_tune, holder="own")
    assert seen == [True] * 13
    assert zeros(pruned)
    for name, mask in masks.items():
        old, new = kernel_layers(model)[name].kernel, kernel_layers(pruned)[name].kernel
        assert (new.numpy() != old.numpy())[mask].mean() > 0.5, "what is left did not train"
    assert [layer.name for layer in pruned.layers] == [layer.name for layer in model.layers]


def test_the_two_holders_give_one_model() -> None:
    model = wrapped_kinds()
    masks = choose_weights(model, weight_scores(model, ()), None, granularity="2:4")
    one, other = (
        prune_weights(model, masks, fine_tune=tuner(model), holder=holder)
        for holder in ("tfmot", "own")
    )
    for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    for name, mask in masks.items():
        for pruned in (one, other):
            np.testing.assert_array_equal(pruned.get_layer(name).kernel.numpy() != 0, mask)


def test_each_network_gets_the_holder_that_takes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = []

    def fine_tune(copy: Any, callbacks: Any) -> None:
        taken.append(type(callbacks[0]).__name__)

    for make in (wrapped_kinds, nested):
        model = make()
        masks = random_masks(model)
        pruned = prune_weights(model, masks, fine_tune=fine_tune)
        assert sparsity_of(pruned).kernels == {n: float(np.mean(~m)) for n, m in masks.items()}
    assert taken == ["UpdatePruningStep", "KeepZeros"]
    monkeypatch.setattr(magnitude, "MOST_WRAPPED", 4)  # of the five kernels
    model = wrapped_kinds()
    prune_weights(model, random_masks(model), fine_tune=fine_tune)
    assert taken[2:] == ["KeepZeros"]
    with pytest.raises(SettingsError, match="Unknown holder of zeros 'tf'"):
        prune_weights(model, {}, fine_tune=fine_tune, holder="tf")
    assert set(HOLDERS) == {"auto", "tfmot", "own"}


def test_weights_that_training_puts_back_at_its_end_are_zero_again() -> None:
    model = nested()
    masks = random_masks(model)

    def restore(copy: Any, callbacks: Any) -> None:
        copy.set_weights(model.get_weights())

    pruned = prune_weights(model, masks, fine_tune=restore)
    assert sparsity_of(pruned).kernels == {n: float(np.mean(~m)) for n, m in masks.items()}
