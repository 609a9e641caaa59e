"""Deletion and insertion against a literal definition, on networks whose answer is known."""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest

from hsi.compare.explained import Explained
from hsi.compare.faithfulness import (
    counts_of,
    faithfulness,
    places_of,
    strength_of,
    told_apart,
)
from hsi.errors import SettingsError
from hsi.explain.attribution import make_attribution

SHAPE = (3, 4, 6)
CLASSES = 3


def inputs(n: int = 5, *, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, *SHAPE)).astype(np.float32)


def weights() -> np.ndarray:
    """Of a linear network: (values, classes), some places and bands far stronger than others."""
    rng = np.random.default_rng(1)
    size = np.geomspace(0.02, 1, 12).reshape(3, 4)[rng.permutation(3)]
    size = size[..., None] * np.geomspace(0.05, 1, 6)[rng.permutation(6)]
    return (size[..., None] * rng.normal(1, 0.2, (*SHAPE, CLASSES))).reshape(-1, CLASSES)


def softmax(logits: np.ndarray) -> np.ndarray:
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shares / shares.sum(axis=1, keepdims=True)


@pytest.fixture(scope="module")
def linear():
    """A network of one dense layer, and its contributions as a map."""
    import tf_keras as keras

    model = keras.Sequential(
        [
            keras.Input(SHAPE),
            keras.layers.Flatten(),
            keras.layers.Dense(CLASSES, activation="softmax", use_bias=False, name="scores"),
        ]
    )
    model.set_weights([weights()])
    return Explained("linear", model, inputs(), model)


def literal(
    given: np.ndarray, order: np.ndarray, along: str, kind: str, label: int, nothing: float
):
    """Probabilities and area of one sample, unit by unit."""
    start, end = (given, np.full_like(given, nothing)), None
    start, end = start if kind == "deletion" else start[::-1]
    now, curve = start.copy(), []
    for unit in [None, *order]:
        if unit is not None and along == "pixels":
            now[unit // 4, unit % 4] = end[unit // 4, unit % 4]
        elif unit is not None:
            now[:, :, unit] = end[:, :, unit]
        curve.append(softmax(now.reshape(1, -1).astype(float) @ weights())[0, label])
    area = sum((a + b) / 2 / (len(curve) - 1) for a, b in pairwise(curve))
    return np.array(curve), area


@pytest.mark.parametrize("along", ["pixels", "bands"])
@pytest.mark.parametrize("kind", ["deletion", "insertion"])
@pytest.mark.parametrize("nothing", [0.0, 0.5])
def test_curves_are_their_definition(linear, along, kind, nothing):
    found = faithfulness(linear, "gradient", baseline=nothing, steps=50, batch_size=3, classes=1)
    curve = found.curve(kind, along)
    strength = np.abs(weights()[:, 1].reshape(SHAPE))
    strength = strength.sum(axis=2).ravel() if along == "pixels" else strength.sum(axis=(0, 1))
    order = np.argsort(-strength)
    areas = []
    for given, mine in zip(inputs(), curve.probabilities, strict=True):
        wanted, area = literal(given, order, along, kind, 1, nothing)
        np.testing.assert_allclose(mine, wanted, atol=1e-5)
        areas.append(area)
    assert curve.area.value == pytest.approx(np.mean(areas), abs=1e-5)
    assert curve.fractions[-1] == 1


def test_random_orders_are_the_floor(linear):
    """Their ends are the same inputs, and an order that knows the network does better."""
    bright = Explained("bright", linear.score, np.abs(inputs(40, seed=2)))
    classes = np.full(40, 2)
    found = faithfulness(
        bright, "input_times_gradient", classes=classes, rank="signed", random_orders=3
    )
    for curve in found.curves:
        ends = curve.random[:, [0, -1]], curve.probabilities[:, [0, -1]]
        np.testing.assert_allclose(*ends, atol=1e-6)
        better = curve.area_random.value - curve.area.value
        better = better if curve.kind == "deletion" else -better
        assert curve.gain.value == pytest.approx(better)
    again = faithfulness(
        bright, "input_times_gradient", classes=classes, rank="signed", random_orders=3
    )
    assert again.record() == found.record()


def test_the_true_order_is_better_than_chance_and_its_opposite_worse():
    """Of a network that hears one class alone: every value speaks for it."""
    import tf_keras as keras

    model = keras.Sequential(
        [keras.Input(SHAPE), keras.layers.Flatten(), keras.layers.Dense(2, use_bias=False)]
    )
    strong = np.abs(weights()[:, :1])
    model.set_weights([np.concatenate([strong, 0 * strong], axis=1)])
    given = np.abs(inputs(20, seed=3))
    network = Explained("one", model, given)
    true = faithfulness(network, "input_times_gradient", classes=0)
    turned = make_attribution(
        -given * strong.reshape(SHAPE), np.zeros(20), np.zeros(20), method="turned"
    )
    opposite = faithfulness(network, "turned", attribution=turned, rank="signed")
    for curve, other in zip(true.curves, opposite.curves, strict=True):
        assert curve.gain.low > 0
        assert other.gain.high < 0


def test_what_is_in_the_order_and_what_ties():
    strength = np.array([[0.5, 2.0, 1.0], [0.0, 0.0, 0.0]])
    places = places_of(strength, seed=0)
    np.testing.assert_array_equal(places[0], [2, 0, 1])
    assert sorted(places[1]) == [0, 1, 2]
    firsts = [places_of(np.zeros((1, 3)), seed=s)[0].argmin() for s in range(40)]
    assert set(firsts) == {0, 1, 2}
    maps = np.array([[[[1.0, -4], [2, 0]]]])
    np.testing.assert_array_equal(strength_of(maps, "pixels", "saliency"), [[5, 2]])
    np.testing.assert_array_equal(strength_of(maps, "bands", "signed"), [[3, -4]])


@pytest.mark.parametrize(("units", "steps"), [(25, 4), (200, 25), (6, 50), (3, 1), (50176, 25)])
def test_points_are_the_same_from_both_ends(units, steps):
    counts = counts_of(units, steps)
    assert (counts[0], counts[-1]) == (0, units)
    np.testing.assert_array_equal(units - counts[::-1], counts)
    assert min(units, steps) + 1 <= len(counts) <= 2 * steps + 1


@pytest.mark.parametrize(
    ("per", "shape", "wanted"),
    [
        ("value", (3, 4, 6), ("pixels", "bands")),
        ("pixel", (3, 4, 6), ("pixels",)),
        ("channel", (3, 4, 6), ("bands",)),
        ("value", (1, 1, 6), ("bands",)),
        ("value", (8, 8, 3), ("pixels",)),
        ("pixel", (1, 1, 6), ()),
    ],
)
def test_maps_order_what_they_tell_apart(per, shape, wanted):
    found = make_attribution(np.ones((1, *shape)), [0], [0], method="any", per=per)
    assert told_apart(found) == wanted


def test_a_dead_map_is_a_random_order_and_said(linear):
    dead = make_attribution(np.zeros((5, *SHAPE)), np.ones(5), np.zeros(5), method="dead")
    found = faithfulness(linear, "dead", attribution=dead)
    assert found.notes == ("5 maps are dead: their order is random",)


def test_outputs_that_are_probabilities_already_are_taken_as_they_are():
    from hsi.compare.faithfulness import probabilities_of
    from hsi.explain.score import OUTPUT_ITSELF, Score

    shares = softmax(np.random.default_rng(4).normal(size=(6, 3)))
    black_box = Score(lambda x: shares[: len(x)], notes=[OUTPUT_ITSELF], black_box=True)
    np.testing.assert_allclose(probabilities_of(black_box)(np.zeros((6, 2))), shares)
    logits = Score(lambda x: shares[: len(x)] * 9, black_box=True)
    np.testing.assert_allclose(probabilities_of(logits)(np.zeros((6, 2))), softmax(shares * 9))


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"rank": "size"}, "Unknown rank"),
        ({"steps": 0}, "at least 1 step"),
        ({"random_orders": 0}, "1 random order"),
        ({"baseline": "grey"}, "Unknown baseline"),
        (
            {"attribution": make_attribution(np.ones((2, *SHAPE)), [0, 0], [0, 0], method="other")},
            r"got \(2, 3, 4, 6\)",
        ),
    ],
)
def test_bad_arguments_are_one_line(linear, options, text):
    with pytest.raises(SettingsError, match=text) as caught:
        faithfulness(linear, "gradient", **options)
    assert "\n" not in str(caught.value)


def test_the_figure_has_a_panel_a_curve_and_a_line_a_variant(linear, tmp_path):
    from hsi.plots import save_figure
    from hsi.plots.faithfulness import faithfulness_page

    found = faithfulness(linear, "gradient")
    page = faithfulness_page([found, found], title="two $ones$", synthetic=True)
    assert save_figure(page, tmp_path / "page.png").exists()
    assert len(page.axes) == 4
    assert [len(axes.lines) for axes in page.axes] == [4] * 4  # a curve and its floor each
    np.testing.assert_allclose(
        page.axes[0].lines[0].get_ydata(), found.curves[0].probabilities.mean(axis=0)
    )
    with pytest.raises(SettingsError, match="none"):
        faithfulness_page([SimpleNamespace(curve=lambda *_: None)])
