"""CKA against a literal definition, of arrays and of networks; features; what is held meanwhile."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc

import numpy as np
import pytest

from hsi.compare.batches import LEAST, paired_batches, rows_for
from hsi.compare.features import Moments, compare_features, observations
from hsi.compare.representations import (
    Alignment,
    Representations,
    compare_representations,
    gram,
)
from hsi.errors import ModelError, SettingsError

SHAPE = (5, 5, 6)
CLASSES = 3


def layers(n: int, *, seed: int, offset: float = 0.0) -> list[np.ndarray]:
    """Activations of three layers of different shapes that have something in common."""
    rng = np.random.default_rng(seed)
    hidden = rng.normal(size=(n, 4))
    found = []
    for shape in ((3, 3, 5), (7,), (2, 11)):
        mixed = hidden @ rng.normal(size=(4, int(np.prod(shape))))
        mixed += rng.normal(size=mixed.shape)
        found.append((np.maximum(mixed, 0) + offset).reshape(n, *shape).astype(np.float32))
    return found


def literal_hsic(x: np.ndarray, y: np.ndarray) -> float:
    """HSIC_1 as Song et al. (2012) write it, entry by entry."""
    n = len(x)
    x, y = x.reshape(n, -1).astype(float), y.reshape(n, -1).astype(float)
    k, m = np.zeros((n, n)), np.zeros((n, n))
    for i in range(n):
        for j in range(n):
            if i != j:
                k[i, j], m[i, j] = np.dot(x[i], x[j]), np.dot(y[i], y[j])
    ones = np.ones(n)
    inner = np.trace(k @ m) + (ones @ k @ ones) * (ones @ m @ ones) / ((n - 1) * (n - 2))
    return float(inner - 2 / (n - 2) * (ones @ k @ m @ ones)) / (n * (n - 3))


def literal_cka(batches: list[tuple[list[np.ndarray], list[np.ndarray]]]) -> np.ndarray:
    """Minibatch CKA as Nguyen et al. (2021) write it, pair by pair."""
    first, second = batches[0]
    found = np.empty((len(first), len(second)))
    for i in range(len(first)):
        for j in range(len(second)):
            cross, own, its = (
                sum(pairs) / len(batches)
                for pairs in zip(
                    *(
                        (
                            literal_hsic(a[i], b[j]),
                            literal_hsic(a[i], a[i]),
                            literal_hsic(b[j], b[j]),
                        )
                        for a, b in batches
                    ),
                    strict=True,
                )
            )
            found[i, j] = cross / np.sqrt(own * its)
    return found


def aligned(batches) -> Alignment:
    found = Alignment()
    for batch in batches:
        found.add(*batch)
    return found


@pytest.mark.parametrize("offset", [0.0, 300.0])
def test_cka_is_that_of_the_papers(offset):
    """Also of features far from zero, where single precision alone would lose digits."""
    batches = [
        (layers(n, seed=1 + n, offset=offset), layers(n, seed=50 + n)[:2]) for n in (12, 12, 17)
    ]
    batches = [(a, [*b, a[0] * 2 + 1]) for a, b in batches]
    found = aligned(batches)
    np.testing.assert_allclose(found.between(), literal_cka(batches), atol=1e-4)
    np.testing.assert_allclose(found.within(), literal_cka([(a, a) for a, _ in batches]), atol=1e-4)
    np.testing.assert_allclose(
        found.within_second(), literal_cka([(b, b) for _, b in batches]), atol=1e-4
    )
    assert (found.samples, found.batches) == (41, 3)


def test_wide_layers_are_centred_piece_by_piece(monkeypatch):
    (values, *_) = layers(9, seed=3)
    whole = gram(values)
    monkeypatch.setattr("hsi.compare.representations.AT_ONCE", 9 * 4)
    np.testing.assert_allclose(gram(values), whole, atol=1e-4)


def test_what_does_not_change_cka_and_what_does():
    rng = np.random.default_rng(4)
    x = rng.normal(size=(40, 8)).astype(np.float32)
    turn = np.linalg.qr(rng.normal(size=(8, 8)))[0]
    unrelated = rng.normal(size=(40, 8))
    stretched = x * np.array([20, 1, 1, 1, 1, 1, 1, 1])
    (row,) = aligned([([x], [x, 3 * x @ turn + 5, unrelated, stretched])]).between()
    np.testing.assert_allclose(row[:2], 1, atol=1e-6)
    assert abs(row[2]) < 0.2
    assert row[3] < 0.8


def test_cka_does_not_depend_on_how_large_batches_are():
    """Up to chance: HSIC_1 is unbiased, where the biased one falls with the batch."""
    a, b = (values[:1] for values in (layers(1200, seed=5), layers(1200, seed=5)))
    b = [b[0].reshape(1200, -1)[:, :6] + np.random.default_rng(1).normal(size=(1200, 6))]
    found = [
        aligned([([a[0][i : i + n]], [b[0][i : i + n]]) for i in range(0, 1200, n)]).between()[0, 0]
        for n in (8, 60, 400)
    ]
    assert np.ptp(found) < 0.03
    assert 0.2 < found[0] < 0.95


def test_a_constant_layer_has_no_cka():
    a = layers(10, seed=6)
    a[1] = np.full_like(a[1], 0.7) * (1 + np.float32(1e-7) * np.sign(a[1] - 0.5))
    a[2] = np.zeros_like(a[2])
    found = aligned([(a, ())]).within()
    assert np.isnan(found[1:]).all()
    assert np.isnan(found[:, 1:]).all()
    assert found[0, 0] == pytest.approx(1)


def test_what_is_held_does_not_grow_with_the_samples():
    def peak(count: int) -> int:
        tracemalloc.start()
        found = Alignment()
        for number in range(count):
            found.add(layers(32, seed=number), layers(32, seed=number + 1))
        held = [v for v in vars(found).values() if isinstance(v, np.ndarray)]
        assert sum(v.size for v in held) == 6 * 6 + 6 * 32 * 32  # pairs of layers, Gram matrices
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    peak(2)  # what the first call makes once
    one_batch = sum(layer.nbytes for seed in (0, 1) for layer in layers(32, seed=seed))
    # Two threads have two layers at once at some times and one at others, and leave garbage until
    # it is collected. Were a Gram matrix of each batch kept, it would be 15 batches more.
    assert peak(40) - peak(4) < 3 * one_batch


@pytest.mark.parametrize(
    ("n", "size", "wanted"), [(10, 4, [5, 5]), (5, 4, [5]), (12, 5, [4, 4, 4])]
)
def test_batches_are_even_and_hold_every_sample_once(n, size, wanted):
    inputs = np.arange(n)[:, None]
    batches = list(paired_batches(inputs, -inputs, batch_size=size, seed=1))
    assert [len(a) for a, _ in batches] == wanted
    assert all(np.array_equal(a, -b) for a, b in batches)
    every = np.concatenate([a for a, _ in batches]).ravel()
    np.testing.assert_array_equal(np.sort(every), np.arange(n))
    assert not np.array_equal(every, np.arange(n))


@pytest.mark.parametrize(
    ("job", "text"),
    [
        (lambda: Alignment().matrix(), "at least one batch"),
        (lambda: Alignment().add(layers(3, seed=0)), "at least 4 samples"),
        (lambda: Alignment().add(layers(5, seed=0), layers(6, seed=0)), "got 5, 6"),
        (lambda: aligned([(layers(5, seed=0), ()), (layers(5, seed=0)[:2], ())]), "got 2 and 0"),
        (lambda: list(paired_batches(np.zeros((3, 2)), None, batch_size=8)), "got 3 in"),
        (lambda: list(paired_batches(np.zeros((9, 2)), None, batch_size=3)), "batches of 3"),
        (lambda: list(paired_batches(np.zeros((9, 2)), np.zeros((8, 2)), batch_size=9)), "got 8"),
        (lambda: list(paired_batches([np.zeros(4)], [], batch_size=9)), "as many batches"),
    ],
)
def test_bad_arguments_are_one_line(job, text):
    with pytest.raises(SettingsError, match=text) as caught:
        job()
    assert "\n" not in str(caught.value)


def test_cka_of_arrays_loads_no_tensorflow():
    code = (
        "import sys, numpy as np; from hsi.compare.representations import Alignment;"
        "a = Alignment(); a.add([np.eye(5)], [np.eye(5)]); a.matrix();"
        "assert 'tensorflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# Networks


def network(keras, *, filters: int, seed: int):
    """Two convolutions and a dense layer, biases drawn too."""
    stack = keras.layers
    model = keras.Sequential(
        [
            keras.Input(SHAPE),
            stack.Conv2D(filters, 3, activation="relu", name="conv_1"),
            stack.Conv2D(4, 3, activation="relu", name="conv_2"),
            stack.Flatten(name="flatten"),
            stack.Dense(CLASSES, activation="softmax", name="scores"),
        ]
    )
    rng = np.random.default_rng(seed)
    model.set_weights([rng.normal(0, 0.4, w.shape) for w in model.get_weights()])
    return model


@pytest.fixture(scope="module")
def networks():
    import tf_keras as keras

    return network(keras, filters=5, seed=1), network(keras, filters=3, seed=2)


def samples(n: int) -> np.ndarray:
    return np.random.default_rng(7).normal(size=(n, *SHAPE)).astype(np.float32)


def answers(model, inputs):
    """What the three layers with weights answer, layer after layer."""
    found = []
    for layer in model.layers:
        inputs = layer(inputs).numpy()
        if layer.weights:
            found.append(inputs)
    return found


def test_all_layers_of_two_networks(networks):
    first, second = networks
    inputs = samples(23)
    found = compare_representations(first, second, inputs, batch_size=8, seed=3)
    batches = [
        (answers(first, a), answers(second, b))
        for a, b in paired_batches(inputs, None, batch_size=8, seed=3)
    ]
    np.testing.assert_allclose(found.cka, literal_cka(batches), atol=1e-4)
    assert found.first_layers == found.second_layers == ("conv_1", "conv_2", "scores")
    assert (found.samples, found.batches) == (23, 3)
    record = found.record()
    assert record["cka"][0][1] == pytest.approx(found.cka[0, 1])


def test_one_network_alone_and_from_batches(networks):
    first, _ = networks
    inputs = samples(16)
    alone = compare_representations(first, None, [inputs[:8], inputs[8:]])
    both = compare_representations(first, first, iter([inputs[:8], inputs[8:]]))
    np.testing.assert_allclose(alone.cka, both.cka, atol=1e-6)
    np.testing.assert_allclose(np.diag(alone.cka), 1, atol=1e-9)
    assert alone.second_layers == alone.first_layers


def test_networks_with_inputs_of_their_own(networks):
    first, _ = networks
    inputs = samples(12)
    found = compare_representations(
        first, first, inputs, second_inputs=np.roll(inputs, 1, axis=-1), first_layers=["scores"]
    )
    assert found.cka.shape == (1, 3)
    assert found.cka.max() < 0.9


def test_large_layers_go_in_small_batches(networks, monkeypatch):
    """So many rows that the values of both networks' layers are held at once."""
    first, second = networks
    values = sum(a[0].size for model in networks for a in answers(model, samples(1)))
    for held, wanted in ((2**26, 256), (100 * values, 100), (values, 8)):
        monkeypatch.setattr("hsi.compare.batches.HELD", held)
        assert rows_for(first, second, samples(4), None) == wanted


def test_a_tflite_file_is_its_keras_network(networks, tmp_path):
    import tensorflow as tf

    from hsi.deploy.variant import load_variant
    from hsi.quiet import quiet

    first, _ = networks
    path = tmp_path / "float.tflite"
    with quiet():
        path.write_bytes(tf.lite.TFLiteConverter.from_keras_model(first).convert())
    file = load_variant(path)
    found = compare_representations(first, file, samples(16))
    assert (found.first, found.second) == ("first", "float.tflite")
    np.testing.assert_allclose(np.diag(found.cka), 1, atol=1e-5)
    features = compare_features(first, file, samples(16), most=5)
    assert [(f.first_layer, f.second_layer) for f in features][:2] == [
        ("conv_1", "conv_1"), ("conv_2", "conv_2"),
    ]  # fmt: skip
    for each in features:
        assert each.best_of_first == pytest.approx(1, abs=1e-4)


# Features of layers whose widths differ


def literal_features(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Best correlation and R^2 of x's features, feature by feature."""
    best, residual, total = [], 0.0, 0.0
    given = np.column_stack([y, np.ones(len(y))])
    for feature in x.T:
        best.append(max(abs(np.corrcoef(feature, other)[0, 1]) for other in y.T))
        left = feature - given @ np.linalg.lstsq(given, feature, rcond=1e-5)[0]
        residual += float(left @ left)
        total += float(np.sum((feature - feature.mean()) ** 2))
    return float(np.mean(best)), 1 - residual / total


def test_feature_similarity_is_its_definition(networks):
    first, second = networks
    inputs = samples(40)
    found = compare_features(first, second, inputs, batch_size=16)
    for each, a, b in zip(found, answers(first, inputs), answers(second, inputs), strict=True):
        a, b = (v.reshape(-1, v.shape[-1]).astype(float) for v in (a, b))
        best, linear = literal_features(a, b)
        assert each.best_of_first == pytest.approx(best, abs=1e-5)
        assert each.linear_of_first == pytest.approx(linear, abs=1e-4)
        best, linear = literal_features(b, a)
        assert each.best_of_second == pytest.approx(best, abs=1e-5)
        assert each.linear_of_second == pytest.approx(linear, abs=1e-4)
        assert (each.first_width, each.second_width) == (a.shape[1], b.shape[1])
        assert each.observations == len(a)


def test_a_part_of_a_layer_is_in_the_whole_and_not_the_other_way_round():
    rng = np.random.default_rng(8)
    whole = rng.normal(size=(500, 6)) + 100
    part = whole[:, :2] * [3, -1] + 7

    moments = Moments()
    for rows in np.array_split(np.arange(500), 7):
        moments.add(part[rows], whole[rows])
    from hsi.compare.features import _similarity

    found = _similarity(("part", "whole"), ((2,), (6,)), moments)
    assert found.best_of_first == pytest.approx(1)
    assert found.linear_of_first == pytest.approx(1)
    assert 0.3 < found.best_of_second < 0.5
    assert found.linear_of_second == pytest.approx(2 / 6, abs=0.06)


def test_dead_features_few_observations_and_wide_layers_are_said():
    from hsi.compare.features import _similarity

    rng = np.random.default_rng(9)
    x = rng.normal(size=(12, 4))
    x[:, 2] = 3
    moments = Moments()
    moments.add(x, rng.normal(size=(12, 40)))
    found = _similarity(("x", "y"), ((4,), (90,)), moments)
    assert found.first_dead == 1
    assert np.isnan(found.linear_of_first)
    assert np.isfinite(found.linear_of_second)
    assert found.record()["linear_of_first"] is None
    assert found.notes == (
        "y: 40 of 90 features, drawn at random",
        "12 observations of up to 40 features: R^2 is likely too high",
    )


def test_maps_of_one_size_count_every_position_others_their_means():
    a, b = np.arange(2 * 3 * 3 * 4.0).reshape(2, 3, 3, 4), np.ones((2, 3, 3, 5))
    assert [v.shape for v in observations(a, b)] == [(18, 4), (18, 5)]
    mean, _ = observations(a, np.ones((2, 2, 2, 5)))
    np.testing.assert_allclose(mean, a.mean(axis=(1, 2)))
    drawn, _ = observations(a, b, most=2, seed=1)
    assert drawn.shape == (18, 2)


def test_networks_without_a_common_layer(networks):
    import tf_keras as keras

    first, _ = networks
    other = keras.Sequential(
        [keras.Input(SHAPE), keras.layers.Flatten(), keras.layers.Dense(2, name="else")]
    )
    with pytest.raises(ModelError, match=r"conv_1, conv_2, scores and else; name the pairs"):
        compare_features(first, other, samples(8))
    (found,) = compare_features(first, other, samples(30), pairs=[("conv_2", "else")])
    assert (found.first_width, found.second_width) == (4, 2)
    assert LEAST == 4


# The figure


def test_heat_maps_have_names_on_both_axes_and_one_scale(tmp_path):
    from hsi.plots import save_figure
    from hsi.plots.cka import CkaMap, cka_page

    values = np.array([[1.0, 0.25, -0.02], [0.25, 1.0, np.nan]])
    page = cka_page(
        [CkaMap(values, ["a$b", "low"], ["x", "y", "z"], "first", "second", "between")] * 2
    )
    assert save_figure(page, tmp_path / "cka.png").exists()
    axes = page.axes[0]
    assert [t.get_text() for t in axes.get_xticklabels()] == ["x", "y", "z"]
    assert axes.images[0].get_clim() == (0, 1)
    assert sorted(t.get_text() for t in axes.texts) == sorted(
        ["1.00", ".25", "−.02", ".25", "1.00"]
    )
    with pytest.raises(SettingsError, match="at least one"):
        cka_page([])
    with pytest.raises(SettingsError, match=r"2 x 2 layers, got shape \(2, 3\)"):
        cka_page([CkaMap(values, ["a", "b"], ["x", "y"])])


def test_pages_of_networks_of_like_names_are_two_files(tmp_path):
    from types import SimpleNamespace

    from hsi.views.compared_figures import draw_comparison

    one = np.ones((1, 1))
    pages = [
        Representations("first", name, ("a",), ("a",), one, one, one, 8, 1)
        for name in ("run/model", "run_model")
    ]
    comparison = SimpleNamespace(
        common=SimpleNamespace(shape=None, note="", name="cube", synthetic=False),
        first=None,
        inside=SimpleNamespace(faithfulness=None, representations=pages),
    )
    written = draw_comparison(comparison, tmp_path, say=lambda line: None)
    assert len({*written}) == 2
    assert {*written} == {*tmp_path.iterdir()}
