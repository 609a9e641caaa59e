"""Low-rank factorisation and separable replacement: products of smaller kernels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tf_keras as keras
from ai_edge_litert.interpreter import Interpreter
from test_surgery import Graph, cao, gap, randomise, samples

from hsi.compress.cost import macs, parameters
from hsi.compress.graph import channel_groups
from hsi.compress.lowrank import Budget, Energy, Ratio, factorise, kernels
from hsi.compress.lowrank.methods import METHODS
from hsi.compress.lowrank.ranks import energies, energy_rank, highest_energy
from hsi.compress.quantize import quantize
from hsi.compress.separable import rebuilt, separable_kernels, separate
from hsi.errors import ModelError, SettingsError
from hsi.models.files import load_model, save_model

L = keras.layers


def model_of(inputs: Any, outputs: Any, seed: int = 0) -> Any:
    return randomise(keras.Model(inputs, outputs), np.random.default_rng(seed))


def small_cao(seed: int = 0) -> Any:
    return randomise(cao(30, filters=(24, 20)), np.random.default_rng(seed))


def check_table(replaced: Any, model: Any) -> None:
    """The table's sums are those of the networks as they are built."""
    for count, of in ((parameters, "parameters"), (macs, "macs")):
        saved = sum(getattr(r.before, of) - getattr(r.after, of) for r in replaced.table)
        assert count(model) - count(replaced.model) == saved
    for row in replaced.table:
        assert (row.after == row.before) == (row.ranks == ()) == (row.method == "")
        assert row.after.macs < row.before.macs or not row.ranks
        assert row.error < 1


def test_svd_is_the_truncated_svd() -> None:
    matrix = np.random.default_rng(0).normal(size=(7, 12))
    left, values, right = np.linalg.svd(matrix)
    np.testing.assert_allclose(kernels.spectrum(matrix), values)
    for one, rank in ((matrix, 3), (matrix.T, 5), (matrix, 7)):
        a, b = kernels.svd(one, rank)
        best = sum(values[i] * np.outer(left[:, i], right[i]) for i in range(rank))
        np.testing.assert_allclose(a @ b, best if one is matrix else best.T, atol=1e-10)
        np.testing.assert_allclose(np.linalg.norm(a, axis=0), np.linalg.norm(b, axis=1))


def test_energy_by_the_definition() -> None:
    spectrum = np.array([4.0, 2.0, 2.0, 1.0, 0.0])  # energies 16, 20, 24, 25, 25 of 25
    np.testing.assert_allclose(energies(spectrum) * 25, [16, 20, 24, 25, 25])
    for share, rank in ((0.01, 1), (0.64, 1), (0.65, 2), (0.8, 2), (0.95, 3), (0.961, 4), (1, 4)):
        assert energy_rank(spectrum, share) == rank
    assert energy_rank(np.zeros(3), 1) == 1
    # 1 - energy is the squared relative error of what the singular values rebuild.
    matrix = np.random.default_rng(1).normal(size=(6, 9))
    a, b = kernels.svd(matrix, 4)
    error = np.linalg.norm(matrix - a @ b) / np.linalg.norm(matrix)
    assert 1 - energies(kernels.spectrum(matrix))[3] == pytest.approx(error**2)


def test_tucker_by_its_sums_and_against_hosvd() -> None:
    rng = np.random.default_rng(0)
    kernel = rng.normal(size=(3, 2, 6, 7))
    into, core, out = kernels.tucker2(kernel, (4, 3))
    np.testing.assert_allclose(into.T @ into, np.eye(4), atol=1e-12)
    np.testing.assert_allclose(out @ out.T, np.eye(3), atol=1e-12)
    slow = np.zeros_like(kernel)
    for i, j, s, t, r, q in np.ndindex(3, 2, 6, 7, 4, 3):
        slow[i, j, s, t] += into[s, r] * core[i, j, r, q] * out[q, t]
    np.testing.assert_allclose(METHODS["tucker2"].rebuilt([into, core, out]), slow, atol=1e-12)

    def error(steps: int) -> float:
        made = kernels.tucker2(kernel, (4, 3), steps=steps)
        return float(np.linalg.norm(METHODS["tucker2"].rebuilt(made) - kernel))

    first = np.linalg.svd(kernel.transpose(2, 0, 1, 3).reshape(6, -1))[0][:, :4]
    last = np.linalg.svd(kernel.transpose(3, 0, 1, 2).reshape(7, -1))[0][:, :3]
    hosvd = first @ (first.T @ kernel @ last) @ last.T
    assert error(0) == pytest.approx(float(np.linalg.norm(hosvd - kernel)))
    assert error(10) <= error(3) < error(1) < error(0)
    # The ranks of the singular values, and a kernel of such ranks is rebuilt exactly.
    of_ranks = rng.normal(size=(6, 2)) @ rng.normal(size=(3, 2, 2, 3)) @ rng.normal(size=(3, 7))
    ranks = tuple(energy_rank(s, 1) for s in METHODS["tucker2"].spectra(of_ranks))
    assert ranks == (2, 3)
    made = METHODS["tucker2"].kernels(of_ranks, ranks)
    np.testing.assert_allclose(METHODS["tucker2"].rebuilt(made), of_ranks, atol=1e-6)


def test_spatial_is_a_sum_of_columns_times_rows() -> None:
    kernel = np.random.default_rng(0).normal(size=(3, 5, 4, 6))
    down, across = kernels.spatial(kernel, 7)
    assert (down.shape, across.shape) == ((3, 1, 4, 7), (1, 5, 7, 6))
    slow = np.zeros_like(kernel)
    for i, j, s, t, r in np.ndindex(3, 5, 4, 6, 7):
        slow[i, j, s, t] += down[i, 0, s, r] * across[0, j, r, t]
    np.testing.assert_allclose(METHODS["spatial"].rebuilt([down, across]), slow, atol=1e-12)
    left, values, right = np.linalg.svd(kernel.transpose(0, 2, 1, 3).reshape(12, 30))
    best = (left[:, :7] * values[:7]) @ right[:7]
    np.testing.assert_allclose(slow.transpose(0, 2, 1, 3).reshape(12, 30), best, atol=1e-10)


def low_rank(kernel: np.ndarray, method: str) -> np.ndarray:
    """A kernel of rank 2 (in each sense of the method), random."""
    rng = np.random.default_rng(kernel.size)
    *taps, into, out = kernel.shape
    if all(tap == 1 for tap in taps):
        return rng.normal(size=(*taps, into, 2)) @ rng.normal(size=(2, out))
    if method == "spatial":
        rows, cols = taps
        pair = rng.normal(size=(rows, into, 2)), rng.normal(size=(cols, 2, out))
        return np.einsum("isr,jrt->ijst", *pair)
    return rng.normal(size=(into, 2)) @ rng.normal(size=(*taps, 2, 2)) @ rng.normal(size=(2, out))


@pytest.mark.parametrize(
    ("method", "rank"), [("tucker2", 1), ("tucker2", 2), ("tucker2", 3), ("spatial", 2)]
)
def test_all_of_the_energy_is_the_same_network(method: str, rank: int) -> None:
    """Kernels that are of low rank are rebuilt exactly, strides, dilation and padding included."""
    conv, pool = getattr(L, f"Conv{rank}D"), getattr(L, f"GlobalAveragePooling{rank}D")
    inputs = L.Input((*[9] * rank, 8))
    x = conv(12, 3, padding="same", strides=2, activation="relu")(inputs)
    x = conv(10, 3, padding="same", dilation_rate=2, use_bias=False, activation="tanh")(x)
    x = conv(12, 1, strides=2, padding="same")(x)
    if rank == 2:
        x = conv(11, (3, 2), padding="valid", activation="relu")(conv(12, (1, 3))(inputs))
    x = L.Dense(9, activation="relu")(x)  # on the channels of a map
    model = model_of(inputs, L.Dense(8, activation="softmax")(L.Dense(20)(pool()(x))))
    for layer in model.layers:
        if layer.weights:
            kernel, *bias = layer.get_weights()
            made = low_rank(kernel, method)
            layer.set_weights([made * np.linalg.norm(kernel) / np.linalg.norm(made), *bias])
    replaced = factorise(model, rank=Energy(1.0), method=method)
    check_table(replaced, model)
    assert sum(row.ranks != () for row in replaced.table) >= 5
    assert gap(replaced.model, model, samples(model, np.random.default_rng(0))) < 1e-5
    assert max(row.error for row in replaced.table) < 1e-6


def test_a_full_rank_changes_nothing() -> None:
    model = small_cao()
    for rule in (Energy(1.0), Ratio(1.0), Budget(1.0)):
        replaced = factorise(model, rank=rule)
        x = samples(model, np.random.default_rng(0))
        if isinstance(rule, Budget):
            assert parameters(replaced.model) <= parameters(model)
        assert gap(replaced.model, model, x) < 1e-5
        check_table(replaced, model)


def test_factors_at_full_rank_are_the_layer() -> None:
    """Even where they save nothing: the decompositions themselves lose nothing."""
    kernel = np.random.default_rng(0).normal(size=(3, 3, 5, 60))
    for name, ranks in (("tucker2", (5, 45)), ("spatial", (15,))):
        made = METHODS[name].kernels(kernel, ranks)
        assert [m.shape for m in made] == list(METHODS[name].parts(kernel.shape, ranks).shapes)
        np.testing.assert_allclose(METHODS[name].rebuilt(made), kernel, atol=1e-6)


@pytest.mark.parametrize("seed", [1, 3, 4, 7])
def test_random_graphs_keep_working(seed: int) -> None:
    graph = Graph(seed)
    model = randomise(graph.model(), graph.rng)
    replaced = factorise(model, rank=Ratio(0.4))
    check_table(replaced, model)
    assert macs(replaced.model) < macs(model)
    assert np.isfinite(replaced.model(samples(model, graph.rng))).all()
    channel_groups(replaced.model)


def test_cao_by_the_rule() -> None:
    model = small_cao()
    replaced = factorise(model, rank=Energy(0.8))
    check_table(replaced, model)
    by_name = {row.layer: row for row in replaced.table}
    kernel = model.get_layer("dense_1").get_weights()[0].astype(float)
    values = np.linalg.svd(kernel, compute_uv=False)
    wanted = 1 + next(
        r for r in range(20) if (values[: r + 1] ** 2).sum() >= 0.8 * (values**2).sum()
    )
    row = by_name["dense_1"]
    assert (row.method, row.ranks) == ("svd", (wanted,))
    assert row.error == pytest.approx(np.sqrt((values[wanted:] ** 2).sum() / (values**2).sum()))
    assert row.after == (20 * wanted + wanted * 200 + 200, 20 * wanted + wanted * 200)
    first, second = (replaced.model.get_layer(n) for n in ("dense_1_part1", "dense_1"))
    assert (first.use_bias, first.units, second.units) == (False, wanted, 200)
    best = (np.linalg.svd(kernel)[0][:, :wanted] * values[:wanted]) @ np.linalg.svd(kernel)[2][
        :wanted
    ]
    np.testing.assert_allclose(first.get_weights()[0] @ second.get_weights()[0], best, atol=1e-5)
    assert replaced.model.get_layer("scores").activation is keras.activations.softmax
    ratio = {row.layer: row.ranks for row in factorise(model, rank=Ratio(0.25)).table}
    assert ratio["dense_2"] == (25,)
    assert ratio["conv_1"] == (8, 6), "a quarter of 30 and of 24"


@pytest.mark.parametrize("of", ["parameters", "macs"])
@pytest.mark.parametrize("method", ["tucker2", "spatial"])
def test_budgets_are_met_and_used(of: str, method: str) -> None:
    model, count = small_cao(), parameters if of == "parameters" else macs
    kept = []
    for share in (0.9, 0.5, 0.3):
        replaced = factorise(model, rank=Budget(share, of=of), method=method)
        check_table(replaced, model)
        kept.append(count(replaced.model) / count(model))
        assert 0.9 * share < kept[-1] <= share
    with pytest.raises(ModelError, match=r"a budget of \d+\.\d\d% or more of the .*got 1\.00%"):
        factorise(model, rank=Budget(0.01, of=of), method=method)


@pytest.mark.parametrize("share", [0.2, 0.37, 0.8, 1.0])
def test_the_energy_of_a_budget_is_the_highest_that_fits(share: float) -> None:
    rng = np.random.default_rng(0)
    spectra = [np.sort(rng.random(n))[::-1] for n in (4, 9, 6)]

    def cost_at(energy: float) -> int:
        return sum(energy_rank(s, energy) * len(s) for s in spectra)

    found = highest_energy(spectra, cost_at, 133, Budget(share))  # 4 x 4 + 9 x 9 + 6 x 6
    fitting = [e for s in spectra for e in energies(s) if cost_at(e) <= share * 133]
    assert found == max(fitting, default=0.0)


def test_chosen_layers_and_wrong_requests() -> None:
    model = small_cao()
    replaced = factorise(model, rank=Energy(0.5), layers=["conv_2"])
    assert [row.layer for row in replaced.table] == ["conv_2"]
    for rule, options, message in (
        (Energy(0.5), {"layers": ["conv_3"]}, r"Unknown layer 'conv_3'.* Did you mean 'conv_"),
        (Energy(0.5), {"method": "tucker"}, r"Unknown method 'tucker'.* Did you mean 'tucker2'"),
        (Energy(0.0), {}, "energy: expected a share above 0 and up to 1, got 0"),
        (Ratio(1.5), {}, "ratio: expected a share above 0 and up to 1, got 1.5"),
        (Budget(0.5, of="bytes"), {}, "Unknown budget 'bytes': expected one of parameters, macs"),
    ):
        with pytest.raises(SettingsError, match=message):
            factorise(model, rank=rule, **options)
    model.get_layer("conv_1").set_weights([w * np.nan for w in model.layers[0].get_weights()])
    with pytest.raises(ModelError, match="layer 'conv_1': expected finite weights"):
        factorise(model, rank=Energy(0.5))


def test_separable_kernels_are_the_best_of_each_input_channel() -> None:
    kernel = np.random.default_rng(0).normal(size=(3, 3, 4, 6))
    for multiplier in (1, 2, 6):
        depthwise, pointwise = separable_kernels(kernel, multiplier)
        assert depthwise.shape == (3, 3, 4, multiplier)
        made = rebuilt(depthwise, pointwise)
        for s in range(4):
            left, values, right = np.linalg.svd(kernel[:, :, s].reshape(9, 6))
            best = (left[:, :multiplier] * values[:multiplier]) @ right[:multiplier]
            np.testing.assert_allclose(made[:, :, s].reshape(9, 6), best, atol=1e-10)
    np.testing.assert_allclose(made, kernel, atol=1e-10)


def test_separable_layers_take_the_place_of_convolutions() -> None:
    """Where each input channel's taps are one pattern, the network is the same."""
    rng = np.random.default_rng(0)
    inputs = L.Input((9, 9, 4))
    x = L.Conv2D(16, 3, strides=2, padding="same", activation="relu", name="a")(inputs)
    x = L.Conv2D(12, 3, padding="same", dilation_rate=2, use_bias=False, name="b")(x)
    x = L.ReLU()(L.BatchNormalization()(x))
    x = L.Conv2D(6, 1, name="one")(L.Conv2D(12, 3, strides=(1, 2), name="c")(x))
    model = model_of(inputs, L.Dense(3)(L.Flatten()(x)))
    for name in "ab":
        kernel, *bias = model.get_layer(name).get_weights()
        pattern = rng.normal(size=(3, 3, kernel.shape[2], 1))
        model.get_layer(name).set_weights([pattern * kernel[1:2, 1:2], *bias])
    replaced = separate(model)
    check_table(replaced, model)
    assert [(row.layer, row.ranks) for row in replaced.table] == [("a", (1,)), ("b", (1,))]
    assert type(replaced.model.get_layer("b")) is L.SeparableConv2D
    assert gap(replaced.model, model, samples(model, rng)) < 1e-5
    wide = separate(small_cao(), multiplier=9)
    assert all(row.ranks == () for row in wide.table), "as many patterns as taps save nothing"
    with pytest.raises(SettingsError, match="multiplier: expected 1 or more, got 0"):
        separate(model, multiplier=0)
    with pytest.raises(SettingsError, match="Unknown layer 'one': expected one of a, b"):
        separate(model, layers=["one"])


def test_made_networks_are_saved_converted_pruned_and_made_again(tmp_path: Path) -> None:
    model, rng = small_cao(), np.random.default_rng(0)
    x = samples(model, rng)
    once = factorise(model, rank=Energy(0.6)).model
    twice = factorise(once, rank=Ratio(0.5)).model
    assert macs(twice) < macs(once) < macs(model)
    for number, made in enumerate((once, twice, separate(model).model)):
        save_model(made, tmp_path / f"{number}.h5")
        loaded = load_model(tmp_path / f"{number}.h5")
        assert gap(loaded, made, x) < 1e-6
        assert {"conv_1", "conv_2", "dense_1"} <= {g.name for g in channel_groups(loaded)}
        interpreter = Interpreter(model_content=quantize(loaded, "float32", calibration=x))
        runner = interpreter.get_signature_runner()
        (name,) = runner.get_input_details()
        (output,) = runner(**{name: x}).values()
        np.testing.assert_allclose(output, made(x), atol=1e-5)
