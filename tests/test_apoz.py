"""APoZ against its definition, counted slowly in numpy on the tensors that a person would pick."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tf_keras as keras

from hsi.compress.criteria import CRITERIA, criterion
from hsi.compress.criteria.apoz import SMALL, score
from hsi.compress.graph import channel_groups
from hsi.errors import ModelError, SettingsError

L = keras.layers


def shift_biases(model: Any, seed: int = 0) -> Any:
    """Give biases, betas and moving means values, so that channels differ in how often they die."""
    rng = np.random.default_rng(seed)
    model.set_weights(
        [rng.normal(0, 0.7, w.shape) if w.ndim == 1 else w for w in model.get_weights()]
    )
    for layer in model.layers:
        if isinstance(layer, L.BatchNormalization):
            layer.moving_variance.assign(rng.uniform(0.5, 1.5, layer.moving_variance.shape))
    return model


def zeros_by_hand(model: Any, tensor: Any, x: np.ndarray) -> np.ndarray:
    """Share of zeros per channel, one channel at a time."""
    values = keras.Model(model.inputs, tensor)(x, training=False).numpy()
    return np.array([np.mean(values[..., c] == 0) for c in range(values.shape[-1])])


def batches(x: np.ndarray, size: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """(inputs, classes); APoZ does not look at the classes."""
    return [(x[i : i + size], np.zeros(len(x[i : i + size]), int)) for i in range(0, len(x), size)]


@pytest.fixture
def x() -> np.ndarray:
    return np.random.default_rng(7).normal(size=(23, 9, 9, 3)).astype(np.float32)


def test_fused_relu_and_relu_behind_batch_norm(x: np.ndarray) -> None:
    inputs = L.Input((9, 9, 3))
    fused = L.Conv2D(6, 3, activation="relu", name="fused")(inputs)
    normed = L.BatchNormalization()(L.Conv2D(5, 3, name="normed")(fused))
    relu = L.ReLU()(L.Dropout(0.5)(normed))
    flat = L.Flatten()(L.Conv2D(4, 2, name="flat")(L.MaxPooling2D(2)(relu)))
    late = L.Activation("relu6")(L.BatchNormalization()(flat))
    hidden = L.Dense(8, activation="relu", name="hidden")(late)
    model = shift_biases(keras.Model(inputs, L.Dense(2)(hidden)))
    result = score(model, batches(x, 10), channel_groups(model))
    assert list(result.scores) == ["fused", "normed", "flat", "hidden"]
    assert result.notes == ()
    np.testing.assert_allclose(result.scores["fused"], zeros_by_hand(model, fused, x))
    np.testing.assert_allclose(result.scores["normed"], zeros_by_hand(model, relu, x))
    per_unit = zeros_by_hand(model, late, x)
    expected = [np.mean([per_unit[c + 4 * k] for k in range(len(per_unit) // 4)]) for c in range(4)]
    np.testing.assert_allclose(result.scores["flat"], expected)
    np.testing.assert_allclose(result.scores["hidden"], zeros_by_hand(model, hidden, x))
    without = score(model, batches(x, 10), [g for g in channel_groups(model) if g.convolutional])
    assert list(without.scores) == ["fused", "normed", "flat"]
    for name, values in without.scores.items():
        np.testing.assert_array_equal(values, result.scores[name])
    for values in result.scores.values():
        assert len(np.unique(values)) > 1


def test_a_sum_is_scored_after_it_and_a_dense_block_at_every_reader(x: np.ndarray) -> None:
    inputs = L.Input((9, 9, 3))
    stem = L.Conv2D(4, 3, name="stem")(inputs)
    added = L.ReLU()(L.Add()([stem, L.BatchNormalization()(L.Conv2D(4, 1, name="branch")(stem))]))
    grown = L.Concatenate()([added, L.Conv2D(3, 1, name="grown")(added)])
    one = L.ReLU()(L.BatchNormalization()(grown))
    more = L.Concatenate()([grown, L.Conv2D(2, 1, name="more")(one)])
    two = L.ReLU()(L.BatchNormalization()(more))
    model = keras.Model(inputs, L.Dense(2)(L.GlobalAveragePooling2D()(two)))
    shift_biases(model, 1)
    result = score(model, batches(x, len(x)), channel_groups(model))
    assert list(result.scores) == ["stem", "grown", "more"]
    np.testing.assert_allclose(result.scores["stem"], zeros_by_hand(model, added, x))
    first, second = zeros_by_hand(model, one, x), zeros_by_hand(model, two, x)
    np.testing.assert_allclose(result.scores["grown"], (first[4:7] + second[4:7]) / 2)
    np.testing.assert_allclose(result.scores["more"], second[7:])


def test_batches_of_any_size_are_one_pass_with_one_result(x: np.ndarray) -> None:
    model = shift_biases(
        keras.Sequential(
            [L.Input((9, 9, 3)), L.Conv2D(6, 3, activation="relu"), L.Flatten(), L.Dense(2)]
        )
    )
    groups = channel_groups(model)
    read = []

    def stream(size: int) -> Any:
        for batch in batches(x, size):
            read.append(len(batch[0]))
            yield batch

    whole = score(model, stream(23), groups).scores
    for size in (1, 7, 22):
        read.clear()
        (parts,) = score(model, stream(size), groups).scores.values()
        np.testing.assert_array_equal(parts, *whole.values())
        assert sum(read) == len(x)


@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "swish", "gelu", "linear", "elu"])
def test_without_exact_zeros_small_values_are_counted_and_said(
    x: np.ndarray, activation: str
) -> None:
    inputs = L.Input((9, 9, 3))
    rectified = L.Conv2D(4, 3, activation="relu", name="rectified")(inputs)
    smooth = L.Conv2D(5, 3, activation=activation, name="smooth")(rectified)
    model = keras.Model(inputs, L.Dense(2)(L.Flatten()(smooth)))
    kernel, _ = model.get_layer("smooth").get_weights()
    kernel[..., 2] *= 1e-4
    model.get_layer("smooth").set_weights([kernel, np.zeros(5)])
    result = score(model, batches(x, 15), channel_groups(model))
    values = keras.Model(inputs, smooth)(x).numpy()
    limit = SMALL * np.sqrt(np.mean(np.square(values[:15])))
    expected = [np.mean(np.abs(values[..., c]) <= limit) for c in range(5)]
    np.testing.assert_allclose(result.scores["smooth"], expected, atol=1e-3)
    if activation != "sigmoid":  # at .5 for no input: silent, but never small
        assert result.scores["smooth"].argmax() == 2
    np.testing.assert_allclose(result.scores["rectified"], zeros_by_hand(model, rectified, x))
    (note,) = result.notes
    assert "follows smooth:" in note
    assert "rectified" not in note


def test_channels_of_a_group_without_exact_zeros_are_scored_where_they_are_read(
    x: np.ndarray,
) -> None:
    """Half of a sum is rectified on one of its ways: that half has exact zeros, the other none."""
    inputs = L.Input((9, 9, 3))
    rectified = L.Conv2D(3, 3, activation="relu", name="rectified")(inputs)
    linear = L.Conv2D(2, 3, name="linear")(inputs)
    short = L.Conv2D(5, 3, name="short")(inputs)
    added = L.Add()([L.Concatenate()([rectified, linear]), short])
    model = shift_biases(keras.Model(inputs, L.Dense(2)(L.GlobalAveragePooling2D()(added))))
    pooled = keras.Model(inputs, model.layers[-2].output)(x).numpy()
    (group,) = channel_groups(model)
    (found,) = score(model, batches(x, len(x)), [group]).scores.values()
    limit = SMALL * np.sqrt(np.mean(np.square(pooled)))
    small = np.mean(np.abs(pooled[:, 3:]) <= limit, axis=0)
    np.testing.assert_allclose(found, [*zeros_by_hand(model, rectified, x), *small])
    (means,) = criterion("mean_activation")(model, batches(x, 10), [group]).scores.values()
    first = np.abs(keras.Model(inputs, rectified)(x).numpy()).mean(axis=(0, 1, 2))
    np.testing.assert_allclose(means, [*-first, *-np.abs(pooled[:, 3:]).mean(axis=0)], rtol=1e-5)


def test_nested_model_scores_as_the_flat_one(x: np.ndarray) -> None:
    inner_in = L.Input((9, 9, 3))
    inner_out = L.ReLU()(L.BatchNormalization()(L.Conv2D(6, 3, name="conv")(inner_in)))
    inner = shift_biases(keras.Model(inner_in, inner_out))
    inputs = L.Input((9, 9, 3))
    model = keras.Model(inputs, L.Dense(2)(L.Flatten()(inner(inputs))))
    result = score(model, batches(x, len(x)), channel_groups(model))
    np.testing.assert_allclose(result.scores["conv"], zeros_by_hand(inner, inner_out, x))


def test_the_model_is_left_as_it_was(x: np.ndarray) -> None:
    model = shift_biases(
        keras.Sequential(
            [L.Input((9, 9, 3)), L.Conv2D(6, 3), L.BatchNormalization(), L.ReLU(), L.Flatten()]
            + [L.Dense(2)]
        )
    )
    before = model.get_weights()
    score(model, batches(x, len(x)), channel_groups(model))
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert all(len(layer.inbound_nodes) == 1 for layer in model.layers)


def test_several_inputs(x: np.ndarray) -> None:
    one, two = L.Input((9, 9, 3)), L.Input((9, 9, 3))
    conv = L.Conv2D(4, 3, activation="relu", name="conv")(one)
    joined = L.Concatenate()([L.Flatten()(conv), L.Flatten()(two)])
    model = shift_biases(keras.Model([one, two], L.Dense(2)(joined)))
    result = score(model, [([x, x[::-1]], np.zeros(len(x), int))], channel_groups(model))
    expected = zeros_by_hand(keras.Model(one, conv), conv, x)
    np.testing.assert_allclose(result.scores["conv"], expected)


def test_no_samples_and_no_groups(x: np.ndarray) -> None:
    model = keras.Sequential([L.Input((9,)), L.Dense(2)])
    assert score(model, batches(x[:, :, 0, 0], 23), channel_groups(model)).scores == {}
    model = keras.Sequential([L.Input((9, 9, 3)), L.Conv2D(4, 3), L.Flatten(), L.Dense(2)])
    for none in ([], [(x[:0], np.zeros(0, int))]):
        with pytest.raises(ModelError, match="at least one batch"):
            score(model, none, channel_groups(model))


def test_registry() -> None:
    assert criterion("apoz") is score
    assert set(CRITERIA) >= {"apoz"}
    with pytest.raises(SettingsError, match=r"Unknown criterion 'apos'.*Did you mean 'apoz'"):
        criterion("apos")
