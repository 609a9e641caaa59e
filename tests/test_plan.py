"""Plans: masked equals removed, budgets are met and no channel more goes, files come back."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tf_keras as keras
from test_surgery import Graph, cao, gap, randomise, samples

from hsi.compress.compensation import emitted_means, stand_in_means
from hsi.compress.cost import macs, parameters
from hsi.compress.graph import channel_groups
from hsi.compress.plan.budget import Target, parse_target, plan_for
from hsi.compress.plan.channels import ChannelPlan, Choices, plan_channels
from hsi.compress.plan.files import read_plan
from hsi.compress.plan.weights import WeightPlan, plan_weights
from hsi.compress.schedule import choose_channels, removal_order
from hsi.compress.surgery import remove_channels
from hsi.errors import DataError, ModelError, OutputError, SettingsError, UserError
from hsi.models import FIELD, NETWORKS, network
from hsi.models.files import save_model
from hsi.pipeline import planning, pruning
from hsi.pipeline.choices import Goal, Pruning, goals_of
from hsi.pipeline.planning import absolute, channel_plan, weight_plan
from hsi.settings import Settings

L = keras.layers


def scores_of(model: Any, rng: np.random.Generator) -> dict[str, np.ndarray]:
    return {group.name: rng.random(group.channels) for group in channel_groups(model)}


def convolved(x: Any, filters: int, size: int = 3, **options: Any) -> Any:
    x = L.Conv2D(filters, size, padding="same", use_bias=False, **options)(x)
    return L.ReLU()(L.BatchNormalization()(x))


def vgg_like() -> Any:
    inputs = x = L.Input((8, 8, 3))
    for filters in (6, 9):
        x = L.MaxPooling2D()(convolved(convolved(x, filters), filters))
    x = L.Dense(11, activation="relu", name="hidden")(L.Flatten()(x))
    return keras.Model(inputs, L.Dense(4, activation="softmax", name="scores")(x))


def densenet_like() -> Any:
    inputs = L.Input((8, 8, 3))
    x = convolved(inputs, 8)
    for _ in range(2):
        for _ in range(3):
            new = L.Conv2D(4, 3, padding="same")(
                convolved(L.ReLU()(L.BatchNormalization()(x)), 6, 1)
            )
            x = L.Concatenate()([x, new])
        x = L.AveragePooling2D()(convolved(x, x.shape[-1] // 2, 1))
    return keras.Model(inputs, L.Dense(4, name="scores")(L.GlobalAveragePooling2D()(x)))


def mobilenet_like() -> Any:
    inputs = L.Input((8, 8, 3))
    x = convolved(inputs, 8, strides=2)
    for _ in range(2):
        wide = convolved(x, 16, 1)
        wide = L.DepthwiseConv2D(3, padding="same", use_bias=False)(wide)
        wide = L.ReLU(6.0)(L.BatchNormalization()(wide))
        narrow = L.BatchNormalization()(L.Conv2D(8, 1, use_bias=False)(wide))
        x = L.Add()([x, narrow])
    x = L.GlobalAveragePooling2D()(convolved(x, 20, 1))
    return keras.Model(inputs, L.Dense(4, name="scores")(x))


LIKE = {"vgg": vgg_like, "densenet": densenet_like, "mobilenet": mobilenet_like}


@pytest.fixture(scope="module")
def small() -> Any:
    """Groups of 12 and 7 channels, and of 5 in a dense layer."""
    model = keras.Sequential(
        [
            L.Input((5, 5, 4)),
            L.Conv2D(12, 3, activation="relu", name="conv_1"),
            L.Conv2D(7, 3, activation="relu", name="conv_2"),
            L.Flatten(name="flat"),
            L.Dense(5, name="hidden"),
            L.Dense(3, activation="softmax", name="scores"),
        ]
    )
    return randomise(model, np.random.default_rng(0))


def check_plan(plan: ChannelPlan, model: Any, rng: np.random.Generator) -> None:
    """Masked equals removed, and the table is what the removed network costs."""
    x = samples(model, rng, 2)
    smaller = plan.apply(model)
    assert gap(smaller, plan.mask(model), x) < 1e-5
    table = plan.table(model)
    assert (table.parameters, table.parameters_left) == (parameters(model), parameters(smaller))
    assert (table.macs, table.macs_left) == (macs(model), macs(smaller))
    assert (table.bytes, table.bytes_left) == (4 * parameters(model), 4 * parameters(smaller))
    named = {layer.name: layer for layer in smaller.layers}
    for row in table.rows:
        layer = named[row.layer]
        shape = layer.get_output_at(0).shape
        assert (row.channels_left, row.parameters_left) == (shape[-1], layer.count_params())
        assert row.channels_left <= row.channels


# Masked equals removed


@pytest.mark.parametrize(
    "seed", [*range(4), *(pytest.param(s, marks=pytest.mark.slow) for s in range(4, 16))]
)
def test_mask_equals_apply_on_random_graphs(seed: int) -> None:
    graph = Graph(seed)
    model = randomise(graph.model(), graph.rng)
    scope, dense = ("global", "layer")[seed % 2], bool(seed % 3)
    quantity = ("parameters", "macs", "channels")[seed % 3]
    options = {"scope": scope, "dense": dense, "round_to": 1 + seed % 4}
    plan = plan_for(model, scores_of(model, graph.rng), f"{quantity}=80%", **options)
    assert plan.removed
    check_plan(plan, model, graph.rng)


@pytest.mark.parametrize("name", LIKE)
def test_mask_equals_apply_on_networks_like_the_zoo(name: str) -> None:
    rng = np.random.default_rng(1)
    model = randomise(LIKE[name](), rng)
    plan = plan_for(model, scores_of(model, rng), "macs=50%")
    check_plan(plan, model, rng)
    assert gap(plan.mask(model), model, samples(model, rng)) > 1e-3


@pytest.mark.parametrize(
    "name",
    [
        n if n == "cao" else pytest.param(n, marks=pytest.mark.slow)
        for n in NETWORKS
        if n not in FIELD  # see test_field_networks.py
    ],
)
def test_mask_equals_apply_on_every_network(name: str) -> None:
    rng = np.random.default_rng(2)
    found = network(name)
    options = {"width": 0.25} if found.has_width else {}
    model = found.build((found.patch_size, found.patch_size, 6), 3, seed=0, **options)
    randomise(model, rng)
    check_plan(plan_for(model, scores_of(model, rng), "parameters=40%"), model, rng)


def test_mask_equals_apply_with_compensation() -> None:
    rng = np.random.default_rng(3)
    inputs = L.Input((6, 6, 3))
    x = L.Conv2D(6, 3, activation="sigmoid", name="a")(inputs)
    x = L.Conv2D(5, 3, use_bias=False, activation="relu", name="b")(x)  # it gets a bias
    model = randomise(keras.Model(inputs, L.Dense(3)(L.Flatten()(x))), rng)
    gone = [0, 1, 4]
    kernel, bias = model.get_layer("a").get_weights()
    kernel[..., gone] = 0  # these emit a constant that is not zero
    model.get_layer("a").set_weights([kernel, bias])
    plan = plan_channels(model, {"a": gone})
    x = samples(model, rng, 20)
    means = emitted_means(model, plan.removal, [(x, np.zeros(20, int))])
    smaller = plan.apply(model, means=means)
    assert gap(smaller, plan.mask(model, means=means), x) < 1e-5
    assert gap(smaller, model, x) < 1e-5
    assert gap(plan.apply(model), model, x) > 1e-2


# The order


def by_hand(scores: Any, groups: Any, *, min_channels: int) -> list[tuple[str, int]]:
    """Global order, literally: again and again the highest score of a group that has enough."""
    left = {group.name: list(range(group.channels)) for group in groups}
    order = []
    while True:
        able = [n for n, channels in left.items() if len(channels) > min_channels]
        if not able:
            return order
        best = max(((n, k) for n in able for k in left[n]), key=lambda nk: scores[nk[0]][nk[1]])
        left[best[0]].remove(best[1])
        order.append(best)


@pytest.mark.parametrize("least", [1, 3, 7])
def test_the_global_order_takes_the_highest_scores(small: Any, least: int) -> None:
    groups = channel_groups(small)
    scores = scores_of(small, np.random.default_rng(4))
    order = removal_order(scores, groups, min_channels=least)
    expected = by_hand(scores, groups, min_channels=least)
    assert [(name, *channels) for name, channels in order.packs] == expected
    for count in (1, 5, len(expected)):
        removal, missing = choose_channels(scores, groups, count, min_channels=least)
        assert missing == 0
        assert {(n, k) for n, gone in removal.items() for k in gone} == set(expected[:count])
    assert choose_channels(scores, groups, 99, min_channels=least)[1] == 99 - len(expected)


def test_the_layer_scope_takes_the_same_share_of_each_group(small: Any) -> None:
    groups = channel_groups(small)
    scores = scores_of(small, np.random.default_rng(5))
    total = sum(group.channels for group in groups)
    for count in range(1, total - len(groups)):
        removal, _ = choose_channels(scores, groups, count, scope="layer")
        for group in groups:
            gone = removal.get(group.name, ())
            assert abs(len(gone) - count / total * group.channels) <= 1
            stays = np.delete(scores[group.name], list(gone))
            assert not gone or scores[group.name][list(gone)].min() > stays.max()


@pytest.mark.parametrize("scope", ["global", "layer"])
@pytest.mark.parametrize("least", [1, 5])
def test_what_is_left_is_a_multiple(scope: str, least: int) -> None:
    model = cao(4, filters=(37, 16))  # with 200 and 100 in the dense layers
    groups = channel_groups(model)
    scores = scores_of(model, np.random.default_rng(6))
    for round_to in (8, 16, 32):
        order = removal_order(scores, groups, scope=scope, round_to=round_to, min_channels=least)
        for packs in range(order.required, len(order.packs) + 1, 5):
            removal = order.removal(packs)
            for group in groups:
                left = group.channels - len(removal.get(group.name, ()))
                assert left >= max(round_to, least) or left == group.channels
                assert left % round_to == 0 or group.channels < round_to
        left = {g.name: g.channels - len(order.removal(10**6).get(g.name, ())) for g in groups}
        assert set(left.values()) <= {round_to, 16}  # the group of 16 is small beside 32
    none = removal_order(scores, groups, round_to=32, min_channels=99).removal(99)
    assert [len(none.get(g.name, ())) for g in groups] == [0, 0, 72, 0]


def test_rounding_takes_a_pack_when_its_last_channel_is_due() -> None:
    groups = channel_groups(cao(4, filters=(5, 4)))[:2]
    scores = {"conv_1": np.array([9, 1, 6, 5, 2.0]), "conv_2": np.array([7, 4, 8, 3.0])}
    order = removal_order(scores, groups, round_to=2)
    assert order.required == 1
    assert order.packs == (("conv_1", (0,)), ("conv_2", (2, 0)), ("conv_1", (2, 3)))
    assert choose_channels(scores, groups, 0, round_to=2) == ({"conv_1": (0,)}, 0)
    assert choose_channels(scores, groups, 2, round_to=2)[0] == {"conv_1": (0,), "conv_2": (0, 2)}


def test_wrong_choices_are_refused(small: Any) -> None:
    groups, scores = channel_groups(small), scores_of(small, np.random.default_rng(0))
    for options, message in (
        ({"scope": "globl"}, "Unknown scope 'globl'.*Did you mean 'global'"),
        ({"round_to": 0}, "round_to: expected 1 or more, got 0"),
        ({"min_channels": 0}, "min_channels: expected 1 or more, got 0"),
    ):
        with pytest.raises(SettingsError, match=message):
            removal_order(scores, groups, **options)


@pytest.mark.parametrize("scope", ["global", "layer"])
@pytest.mark.parametrize("sizes", [(16, 16), (12, 20), (20, 13), (30, 8)])
def test_every_layer_of_a_group_is_left_a_multiple(sizes: tuple[int, int], scope: str) -> None:
    """a and b beside one another, c added to both: the group's multiple says nothing of a and b."""
    inputs = L.Input((4, 4, 3))
    a, b = (L.Conv2D(n, 1, name=name)(inputs) for n, name in zip(sizes, "ab", strict=True))
    joined = L.Add()([L.Concatenate()([a, b]), L.Conv2D(sum(sizes), 1, name="c")(inputs)])
    model = keras.Model(inputs, L.Dense(2, name="d")(L.Flatten()(joined)))
    (group,) = channel_groups(model)
    for seed in range(3):
        scores = scores_of(model, np.random.default_rng(seed))
        order = removal_order(scores, [group], scope=scope, round_to=8)
        assert order.required == sum(size % 8 > 0 for size in sizes)
        for packs in range(order.required, len(order.packs) + 1):
            gone = set(order.removal(packs).get("a", ()))
            left = {p.layer: len(set(p.channels) - gone) for p in group.producers}
            assert all(count and count % 8 == 0 for count in left.values()), left
            other = scores_of(model, np.random.default_rng(seed + 9))  # later, as layerwise asks
            again, missing = choose_channels(other, [group], len(gone), round_to=8)
            assert (len(again.get("a", ())), missing) == (len(gone), 0)
        assert left == {"a": 8, "b": 8, "c": 16}


def test_a_group_with_a_layer_that_cannot_be_rounded_stays_whole() -> None:
    inputs = L.Input((4, 4, 3))
    a, b = (L.Conv2D(n, 1, name=name)(inputs) for n, name in ((4, "a"), (28, "b")))
    joined = L.Add()([L.Concatenate()([a, b]), L.Conv2D(32, 1, name="c")(inputs)])
    model = keras.Model(inputs, L.Dense(2, name="d")(L.Flatten()(joined)))
    scores = scores_of(model, np.random.default_rng(0))
    groups = channel_groups(model)
    assert removal_order(scores, groups, round_to=8).packs == ()
    assert len(removal_order(scores, groups, round_to=4).packs) == 6  # of b alone
    assert len(removal_order(scores, groups).packs) == 30


# What a job plans


def job_of(model: Any, **settings: Any) -> Any:
    """As much of a job as its plans ask for."""
    usual = {
        "prune_dense": False, "keep": (), "round_to": 1, "min_channels": 1, "seed": 0,
        "no_compensation": False, "quantize_pruned_models": False, "quantization": ("int8",),
    }  # fmt: skip
    x = samples(model, np.random.default_rng(0), 20)
    batches = [(x, np.arange(20) % 3)]
    return SimpleNamespace(
        settings=SimpleNamespace(**{**usual, **settings}), training_batches=lambda: batches
    )


@pytest.mark.parametrize("goal", [Goal("60", 60), Goal("c", target=parse_target("channels=40%"))])
def test_apoz_takes_channels_of_dense_layers_where_they_are_pruned(small: Any, goal: Goal) -> None:
    choice = Pruning("apoz", "channel", "layer", "one_shot")
    plan = channel_plan(job_of(small, prune_dense=True), choice, goal, small)
    gone = {name: len(channels) for name, channels in plan.removal.items()}
    assert sum(gone.values()) == pytest.approx(14, abs=1)
    for name, channels in {"conv_1": 12, "conv_2": 7, "hidden": 5}.items():
        assert abs(gone[name] - 0.6 * channels) <= 1
    plan = channel_plan(job_of(small), choice, goal, small)
    assert plan.removal.keys() == {"conv_1", "conv_2"}


def test_kept_layers_count_in_no_step_of_a_schedule(small: Any) -> None:
    job, choice = job_of(small, keep=("conv_2",)), Pruning("l1", "channel", "global", "iterative")
    goals = [Goal(share, target=parse_target(f"channels={share}%")) for share in ("75", "50")]
    first = channel_plan(job, choice, goals[0], small)
    target = absolute(job, goals[1].target, small)
    second = channel_plan(job, choice, replace(goals[1], target=target), first.apply(small))
    once = channel_plan(job, choice, goals[1], small)
    by_percent = channel_plan(job, choice, Goal("50", 50), small)
    assert first.removed + second.removed == once.removed == by_percent.removed == 6
    with pytest.raises(SettingsError, match=r"nothing to prune: .* try --prune_dense"):
        channel_plan(job_of(small, keep=("conv_1", "conv_2")), choice, goals[0], small)


def test_a_small_network_loses_the_percentage_that_its_file_is_named_for(small: Any) -> None:
    """Of 19 channels 10 % are one: steps of one each would end at 8 where 80 % are asked."""
    choice = Pruning("l1", "channel", "global", "iterative")
    job, model = job_of(small, prune_start=0, prune_increment=10, compression_rates=()), small
    for goal in goals_of(Settings("cao", prune=True, prune_increment=10, prune_end=80)):
        gone = 19 - sum(g.channels for g in channel_groups(model) if g.convolutional)
        model = channel_plan(job, choice, goal, model, gone=gone, total=19).apply(model)
        left = sum(group.channels for group in channel_groups(model) if group.convolutional)
        assert left == math.ceil(19 * (1 - (goal.percent or 0) / 100) - 1e-9)


def test_a_measured_target_says_of_which_file(small: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("hsi.pipeline.planning._measure", lambda job, target: None)
    monkeypatch.setattr("hsi.pipeline.planning.plan_for", lambda *_, notes, **__: notes)
    choice = Pruning("l1", "channel", "global", "one_shot")
    for settings, mode in (({}, "float32"), ({"quantize_pruned_models": True}, "int8")):
        job = job_of(small, **settings)
        (said,) = channel_plan(job, choice, Goal("b", target=parse_target("bytes=60%")), small)
        assert said.startswith(f"bytes: of the {mode} .tflite file, which a run with this target")
        assert channel_plan(job, choice, Goal("m", target=parse_target("macs=60%")), small) == ()


def test_weights_are_ranked_over_the_network_as_they_are() -> None:
    model = keras.Sequential([L.Input((9,)), L.Dense(8, name="big"), L.Dense(8, name="small")])
    rng = np.random.default_rng(0)
    for name, low in (("big", 10), ("small", 1)):
        layer = model.get_layer(name)
        layer.kernel.assign(rng.uniform(low, 2 * low, layer.kernel.shape))
    choice = Pruning("l1", "weight", "global", "one_shot")
    plan = weight_plan(job_of(model), choice, Goal("40", 40), model)
    assert plan.sparsity["big"] == 0
    assert plan.sparsity["small"] == pytest.approx(0.4 * 136 / 64, abs=0.01)


@pytest.mark.parametrize("granularity", ["2:4", "weight"])
def test_a_plan_is_carried_out_by_the_criterion_that_it_was_made_with(
    granularity: str, small: Any, tmp_path: Path
) -> None:
    """Its masks are made anew, so any other criterion would zero other weights."""
    path, made = tmp_path / "plan.json", Pruning("random", granularity, "layer", "one_shot")
    plan = weight_plan(job_of(small), made, Goal("50", 50), small)
    plan.save(path)
    asked = Settings("cao", prune=True, plan=str(path))
    assert planning.chosen(asked) == made
    found = weight_plan(job_of(small), planning.chosen(asked), Goal("p", plan=str(path)), small)
    for name, mask in (plan.masks or {}).items():
        np.testing.assert_array_equal((found.masks or {})[name], mask)
    assert planning.chosen(replace(asked, criterion="random", granularity=granularity)) == made
    for name, value in (("criterion", "l1"), ("granularity", "channel"), ("scope", "global")):
        with pytest.raises(SettingsError, match=f"{name} .*, got {value}; omit --{name}"):
            planning.chosen(replace(asked, **{name: value}))


@pytest.fixture
def carried_out(small: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Carries out a goal on the small network without fine-tuning.

    Gives the network's channels left by layer, or None where nothing was made, how many of how
    many channels are said to be gone, and the lines said.
    """
    save_model(small, tmp_path / "trained_model.h5")

    def carry_out(choice: Pruning, goal: Goal, **settings: Any) -> Any:
        job, done, said = job_of(small, **settings), [], []
        job.run, job.say = SimpleNamespace(path=lambda name: tmp_path / name), said.append
        monkeypatch.setattr(pruning, "_tuned", lambda *_, **__: {})
        monkeypatch.setattr(pruning, "_finish", lambda *facts: done.append(facts))
        monkeypatch.setattr(pruning, "_finish_weights", lambda *facts: done.append(facts))
        monkeypatch.setattr(pruning, "part_of_one_training", lambda job, turn: job)
        made = pruning._prune(pruning.Step(job, choice, goal, None, "trained_model.h5"))
        assert made == bool(done)
        if not made:
            return None, [], said
        _, model, _, *counts = done[0]
        return {group.name: group.channels for group in channel_groups(model)}, counts, said

    return carry_out


def test_a_plan_of_dense_layers_counts_them(plan: ChannelPlan, carried_out: Any, tmp_path: Path):
    edited = replace(plan, removal={"conv_1": (0,), "hidden": (1, 2, 4)})
    edited.save(tmp_path / "plan.json")
    choice = Pruning("l1", "channel", "global", "one_shot")
    left, counts, _ = carried_out(choice, Goal("p", plan=str(tmp_path / "plan.json")))
    assert left == {"conv_1": 11, "conv_2": 7, "hidden": 2}
    assert counts == [4, 12 + 7 + 5]


@pytest.mark.parametrize("granularity", ["channel", "weight"])
@pytest.mark.parametrize("epochs", [None, 4])
def test_layer_after_layer_can_take_nothing(
    carried_out: Any, granularity: str, epochs: int | None
) -> None:
    choice = Pruning("l1", granularity, "global", "layerwise")
    left, counts, _ = carried_out(choice, Goal("0.01", 0.01), epochs_total=epochs)
    assert left == {"conv_1": 12, "conv_2": 7, "hidden": 5}
    assert counts in ([0, 19], [])


@pytest.mark.parametrize("schedule", ["one_shot", "layerwise"])
def test_what_every_schedule_cannot_reach_is_said(carried_out: Any, schedule: str) -> None:
    choice = Pruning("l1", "channel", "global", schedule)
    options = {"min_channels": 6, "epochs_total": None}
    left, counts, (line,) = carried_out(choice, Goal("80", 80), **options)
    assert left == {"conv_1": 6, "conv_2": 6, "hidden": 5}
    assert counts == [7, 19]
    assert "7 of 15 channels could be removed; every layer keeps 6" in line
    left, _, (line,) = carried_out(choice, Goal("80", 80), **options | {"min_channels": 12})
    assert left is None
    assert "Nothing more can be removed" in line


# Budgets


def bare() -> Any:
    """Layers without bias that nothing behind can take a constant from, and one that has a norm."""
    inputs = L.Input((6, 6, 3))
    x = L.Conv2D(8, 3, use_bias=False, activation="relu", name="a")(inputs)
    y = L.Conv2D(6, 1, use_bias=False, activation="relu", name="b")(x)
    x = L.Concatenate()([x, y])
    x = L.SeparableConv2D(7, 3, use_bias=False, activation="relu", name="s")(x)
    x = L.ReLU()(L.BatchNormalization()(L.Conv2D(5, 2, use_bias=False, name="c")(x)))
    shared = L.Dense(4, use_bias=False, activation="relu", name="e")
    x = L.Flatten()(shared(shared(L.Conv2D(4, 1, use_bias=False, name="t")(x))))
    return keras.Model(inputs, L.Dense(2, use_bias=False, name="scores")(x))


def barest() -> Any:
    inputs = L.Input((1, 1, 2))
    x = L.Conv2D(6, 1, use_bias=False, name="a")(inputs)
    return keras.Model(inputs, L.Dense(9, use_bias=False, name="scores")(L.Flatten()(x)))


@pytest.mark.parametrize(
    ("build", "quantity"), [(bare, "parameters"), (barest, "parameters"), (barest, "bytes")]
)
def test_a_budget_holds_with_the_biases_of_compensation(build: Any, quantity: str) -> None:
    rng = np.random.default_rng(11)
    model = randomise(build(), rng)
    scores = scores_of(model, rng)
    plain = plan_for(model, scores, "parameters=60%")
    limit = plain.table(model).parameters_left  # without biases it would just be met
    target = f"{quantity}={limit}"
    plan = plan_for(model, scores, target, measure=parameters, compensated=True)
    made = plan.apply(model, means=stand_in_means(model))
    assert parameters(made) <= limit
    assert plan.removed > plain.removed
    table = plan.table(model, compensated=True)
    assert table.parameters_left == parameters(made) > plan.table(model).parameters_left
    assert (table.macs_left, table.parameters) == (macs(made), parameters(model))
    assert f"{parameters(made):,}" in plan.text(model, compensated=True)
    for row in table.rows:
        assert row.parameters_left == made.get_layer(row.layer).count_params()


MEASURES = {
    "channels": lambda model: sum(g.channels for g in channel_groups(model) if g.convolutional),
    "parameters": parameters,
    "macs": macs,
    "bytes": lambda model: 100.0 + 4 * parameters(model),
    "latency": lambda model: 1e-5 * macs(model),
}


@pytest.fixture(scope="module", params=["global", "layer"])
def ladder(small: Any, request: Any) -> Any:
    """Scope, scores and the networks without the first 0, 1, 2 ... channels of the order."""
    scores = scores_of(small, np.random.default_rng(7))
    groups = [group for group in channel_groups(small) if group.convolutional]
    order = removal_order(scores, groups, scope=request.param).packs
    models = []
    for count in range(len(order) + 1):
        removal: dict[str, list[int]] = {}
        for name, (channel,) in order[:count]:
            removal.setdefault(name, []).append(channel)
        models.append(remove_channels(small, removal))
    return request.param, scores, order, models


@pytest.mark.parametrize("quantity", MEASURES)
def test_a_budget_is_met_and_a_channel_less_would_miss_it(
    small: Any, ladder: Any, quantity: str
) -> None:
    scope, scores, order, models = ladder
    measure = MEASURES[quantity]
    costs = [measure(model) for model in models]
    for share in (100, 97, 60) if quantity in ("channels", "parameters", "macs") else (60,):
        target = f"{quantity}={share}%"
        plan = plan_for(small, scores, target, scope=scope, measure=measure)
        expected = next(k for k, cost in enumerate(costs) if cost <= share / 100 * costs[0] + 1e-9)
        assert plan.removed == expected
        gone = {(name, channels[0]) for name, channels in order[:expected]}
        assert {(n, k) for n, channels in plan.removal.items() for k in channels} == gone
        assert plan.choices == Choices("", "channel", scope, "one_shot", target)
        assert bool(plan.notes) == (quantity in ("bytes", "latency"))
    unit = "ms" if quantity == "latency" else ""
    middle = costs[len(costs) // 2]
    plan = plan_for(small, scores, f"{quantity}={middle:.17g}{unit}", scope=scope, measure=measure)
    assert plan.removed == len(costs) // 2


def test_a_measured_budget_asks_for_few_networks(small: Any) -> None:
    asked: list[int] = []

    def measure(model: Any) -> float:
        asked.append(parameters(model))
        return float(asked[-1])

    plan = plan_for(small, scores_of(small, np.random.default_rng(8)), "bytes=600", measure=measure)
    assert parameters(plan.apply(small)) <= 600
    assert len(asked) == len(set(asked)) <= 2 + np.ceil(np.log2(17))


def test_dense_layers_go_only_where_asked_and_kept_layers_never(small: Any) -> None:
    scores = scores_of(small, np.random.default_rng(9))
    assert set(plan_for(small, scores, "channels=20%").removal) == {"conv_1", "conv_2"}
    plan = plan_for(small, scores, "channels=20%", dense=True)
    assert set(plan.removal) == {"conv_1", "conv_2", "hidden"}
    plan = plan_for(small, scores, "channels=60%", dense=True, keep=["conv_1", "scores"])
    assert "conv_1" not in plan.removal
    assert plan.removed == 5  # 60 % of the 12 channels that may go, which are 7, stay
    with pytest.raises(SettingsError, match="channels: there are none that may go"):
        plan_for(small, scores, "channels=60%", keep=["conv_1", "conv_2"])
    with pytest.raises(SettingsError, match=r"layer to keep 'conv_3'.*Did you mean 'conv_2'\?"):
        plan_for(small, scores, "channels=60%", keep=["conv_3"])


def test_a_kept_layer_keeps_what_is_added_to_it() -> None:
    rng = np.random.default_rng(10)
    model = mobilenet_like()
    group = max(channel_groups(model), key=lambda g: len(g.producers))
    assert len(group.producers) == 3
    plan = plan_for(model, scores_of(model, rng), "macs=60%", keep=[group.producers[-1].layer])
    assert plan.removed
    assert group.name not in plan.removal


@pytest.mark.parametrize("target", ["parameters=1%", "macs=1", "channels=2%", "bytes=10B"])
@pytest.mark.parametrize("least", [1, 4])
def test_what_cannot_be_reached_names_what_can(small: Any, target: str, least: int) -> None:
    scores = scores_of(small, np.random.default_rng(11))
    options = {"min_channels": least, "measure": MEASURES["bytes"]}
    with pytest.raises(SettingsError) as error:
        plan_for(small, scores, target, **options)
    said = str(error.value)
    quantity = target.partition("=")[0]
    assert "\n" not in said
    assert f"every layer keeps min_channels={least}" in said
    gone = float(re.search(r"at most ([\d.]+) % of the", said)[1])
    measure = MEASURES[quantity]
    fewest = plan_channels(small, {"conv_1": range(12 - least), "conv_2": range(7 - least)}).apply(
        small
    )
    assert gone == pytest.approx(100 * (1 - measure(fewest) / measure(small)), abs=0.1)
    suggested = re.search(r"Expected (\S+) or more", said)[1]
    plan = plan_for(small, scores, suggested, **options)
    assert plan.removed == 12 + 7 - 2 * least
    below = float(re.search(r"([\d.]+)%", suggested)[1]) - 0.2
    with pytest.raises(SettingsError, match="cannot be reached"):
        plan_for(small, scores, f"{quantity}={below}%", **options)


def test_a_budget_that_nothing_can_meet_says_why(small: Any) -> None:
    scores = scores_of(small, np.random.default_rng(0))
    with pytest.raises(SettingsError, match="round_to=4, kept whole: conv_1"):
        plan_for(small, scores, "channels=10%", round_to=4, keep=["conv_1"])
    with pytest.raises(SettingsError, match="bytes: it is measured on the real file"):
        plan_for(small, scores, "bytes=1k")
    with pytest.raises(ModelError, match="conv_1: expected 12 finite scores"):
        plan_for(small, {"conv_1": np.full(12, np.nan)}, "channels=50%")


@pytest.mark.parametrize(
    ("text", "quantity", "amount", "relative"),
    [
        ("channels=60%", "channels", 0.6, True),
        ("channels = 120", "channels", 120, False),
        ("parameters=25.5%", "parameters", 0.255, True),
        ("parameters=200k", "parameters", 200_000, False),
        ("macs=1.2G", "macs", 1.2e9, False),
        ("macs=.5M", "macs", 5e5, False),
        ("bytes=100k", "bytes", 100_000, False),
        ("bytes=100kB", "bytes", 100_000, False),
        ("bytes=100KiB", "bytes", 102_400, False),
        ("bytes=2 MiB", "bytes", 2 * 1024**2, False),
        ("bytes=9000", "bytes", 9000, False),
        ("latency=0.5ms", "latency", 0.5, False),
        ("latency=50us", "latency", 0.05, False),
        ("latency=50µs", "latency", 0.05, False),
        ("latency=10%", "latency", 0.1, True),
    ],
)
def test_targets_are_read(text: str, quantity: str, amount: float, relative: bool) -> None:
    target = parse_target(text)
    assert (target.quantity, target.relative) == (quantity, relative)
    assert target.amount == pytest.approx(amount, rel=1e-12)
    assert parse_target(target.text) == target
    assert target.limit(200) == pytest.approx(amount * 200 if relative else amount)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("60%", "expected QUANTITY=AMOUNT"),
        ("parameter=60%", "quantity of a target 'parameter'.*Did you mean 'parameters'"),
        ("macs=", "expected what may be left as a number"),
        ("macs=-5%", "expected what may be left as a number"),
        ("macs=nan", "expected what may be left as a number"),
        ("macs=1e3", "expected a unit of %, k, K, M, G, or none, got 'e3'"),
        ("macs=0%", "expected to leave more than 0 to 100 %"),
        ("channels=0", "expected to leave more than 0, got"),
        ("channels=101%", "more than 0 to 100 %"),
        ("channels=1k", "expected a unit of %, or none, got 'k'"),
        ("latency=5", "expected a unit of %, us, µs, ms, s, got ''"),
        ("bytes=5kb", "expected a unit of .*got 'kb'"),
        ("bytes=" + "9" * 400, "expected to leave more than 0"),
    ],
)
def test_wrong_targets_are_refused(text: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message) as error:
        parse_target(text)
    assert "\n" not in str(error.value)


def test_a_target_may_be_given_ready_made(small: Any) -> None:
    scores = scores_of(small, np.random.default_rng(0))
    plan = plan_for(small, scores, Target("channels", 10, False, "ten"))
    assert (plan.removed, plan.choices.target) == (9, "ten")


# Reading and writing


@pytest.fixture
def plan(small: Any) -> ChannelPlan:
    choices = Choices("l1", "channel", "global", "iterative", "macs=50%")
    return plan_channels(
        small, {"conv_2": [6, 0], "conv_1": range(3)}, choices=choices, notes=("A note µ.",)
    )


def test_a_plan_prints(plan: ChannelPlan, small: Any) -> None:
    text = plan.text()
    assert "criterion l1, granularity channel, scope global, schedule iterative" in text
    assert "5 of 24 channels go" in text
    assert "conv_1: 3 of 12" in text
    assert text.endswith("Note: A note µ.")
    lines = plan.text(small).splitlines()
    smaller = plan.apply(small)
    (row,) = (line.split() for line in lines if line.startswith("conv_2"))
    layer = smaller.get_layer("conv_2")
    assert row[1:4] == ["Conv2D", "7", "5"]
    assert [int(cell.replace(",", "")) for cell in row[4:6]] == [
        12 * 9 * 7 + 7,
        layer.count_params(),
    ]
    assert [int(cell) for cell in row[6:]] == [12 * 9 * 7, 9 * 9 * 5]
    share = parameters(smaller) / parameters(small)
    assert any(f"left: parameters {share:.1%}" in line for line in lines)


def test_a_plan_comes_back_from_its_file(plan: ChannelPlan, small: Any, tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    plan.save(file)
    again = read_plan(file)
    assert again == plan
    assert again.removal == {"conv_1": (0, 1, 2), "conv_2": (0, 6)}
    assert '    "conv_1": [0, 1, 2],\n' in file.read_text(encoding="utf-8")
    assert [path.name for path in tmp_path.iterdir()] == ["plan.json"]
    empty = plan_channels(small, {})
    empty.save(file)
    assert read_plan(file) == empty
    with pytest.raises(OutputError, match="cannot be written"):
        plan.save(file / "below.json")


def test_an_edited_plan_is_carried_out(plan: ChannelPlan, small: Any, tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    plan.save(file)
    record = json.loads(file.read_text(encoding="utf-8"))
    record["remove"] = {"conv_1": [11, 4], "hidden": [2], "conv_2": []}
    file.write_text(json.dumps(record), encoding="utf-8")
    edited = read_plan(file)
    assert edited.removal == {"conv_1": (4, 11), "hidden": (2,)}
    x = samples(small, np.random.default_rng(0))
    expected = remove_channels(small, {"conv_1": [4, 11], "hidden": [2]})
    assert gap(edited.apply(small), expected, x) == 0
    assert gap(edited.mask(small), expected, x) < 1e-5


def test_a_plan_is_refused_on_another_network(plan: ChannelPlan, small: Any) -> None:
    same = keras.models.clone_model(small)
    assert parameters(plan.apply(same)) < parameters(same)
    inputs = L.Input((5, 5, 4))
    longer = keras.Model(inputs, L.Softmax(name="more")(same(inputs)))
    wider = cao(4, filters=(12, 8))
    for other, message in (
        (wider, r"expected 'conv_2: Conv2D 3x3x12x7 7 -> 1x1x7', got 'conv_2: .* -> 1x1x8'"),
        (longer, "expected 'no further layer', got 'more: Softmax -> 3'"),
        (plan.apply(small), "got 'conv_1: Conv2D 3x3x4x9 9 -> 3x3x9'"),
    ):
        for use in (plan.apply, plan.mask, plan.table, plan.text):
            with pytest.raises(ModelError, match=message) as error:
                use(other)
            assert "\n" not in str(error.value)


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"extra": 1}, "Unknown entry of .*'extra'"),
    ({"critrion": "l1"}, "'critrion'.*Did you mean 'criterion'"),
    ({"plan": "channel"}, "kind of plan in .*'channel'.*Did you mean 'channels'"),
    ({"plan": None}, "an entry 'plan' that says channels or weights"),
    ({"criterion": 3}, "criterion: expected a text, got 3"),
    ({"notes": "one"}, "notes: expected a list of texts"),
    ({"network": [1]}, "network: expected a list of texts"),
    ({"remove": [1]}, "remove: expected an object"),
    ({"remove": {"conv_9": [1]}}, "'conv_9'.*Did you mean 'conv_2'"),
    ({"remove": {"conv_1": [12]}}, "conv_1: expected channels 0 to 11, got 12"),
    ({"remove": {"conv_1": [-1]}}, "conv_1: expected channels 0 to 11, got -1"),
    ({"remove": {"conv_1": [1.0]}}, "conv_1: expected a list of whole numbers"),
    ({"remove": {"conv_1": [True]}}, "conv_1: expected a list of whole numbers"),
    ({"remove": {"conv_1": 3}}, "conv_1: expected a list of whole numbers, got 3"),
    ({"remove": {"conv_1": [3, 3]}}, "conv_1: channel 3 stands there twice"),
    ({"remove": {"conv_1": list(range(12))}}, "all 12 channels would go"),
    ({"channels": {"conv_1": 0}}, "conv_1: expected a whole number above 0, got 0"),
    ({"channels": {"conv_1": float("1e999")}}, "NaN|Infinity|expected"),
]


@pytest.mark.parametrize(("change", "message"), WRONG)
def test_a_wrong_plan_is_refused(
    plan: ChannelPlan, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    file = tmp_path / "plan.json"
    plan.save(file)
    record = json.loads(file.read_text(encoding="utf-8")) | change
    file.write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(UserError, match=message) as error:
        read_plan(file)
    assert "\n" not in str(error.value)


def test_a_file_that_is_no_plan_is_refused(plan: ChannelPlan, tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    plan.save(file)
    text = file.read_text(encoding="utf-8")
    for content, message in (
        (text.replace('"conv_2": [0', '"conv_1": [0'), "'conv_1' twice"),
        (text[:-20], "expected a plan as JSON, got .* in line"),
        (text.replace("[0, 1, 2]", "[1e999]"), "list of whole numbers, got"),
        ("[1, 2]", "expected a plan as a JSON object"),
        ("", "expected a plan as JSON"),
        ("[" * 100_000, "expected a plan as JSON"),
        (
            re.sub(r'  "notes".*', "", text, flags=re.DOTALL).rstrip(",\n") + "}",
            "'notes', got none",
        ),
    ):
        file.write_text(content, encoding="utf-8")
        with pytest.raises(UserError, match=message) as error:
            read_plan(file)
        assert "\n" not in str(error.value)
    file.write_bytes(b"\xff\xfe{}")
    with pytest.raises(DataError, match="UTF-8"):
        read_plan(file)
    with pytest.raises(DataError, match="cannot be read"):
        read_plan(tmp_path / "none.json")
    with pytest.raises(ModelError, match="'conv_9': expected one of"):
        plan_channels(vgg_like(), {"conv_9": [1]})


# Plans of weights


def weight_scores(model: Any, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    layers = ("conv_1", "conv_2", "hidden", "scores")
    return {name: rng.random(model.get_layer(name).kernel.shape) for name in layers}


@pytest.mark.parametrize("granularity", ["weight", "2:4", "1x4", "3x2"])
@pytest.mark.parametrize("scope", ["layer", "global"])
def test_a_plan_of_weights_comes_back_with_the_same_masks(
    small: Any, tmp_path: Path, granularity: str, scope: str
) -> None:
    sparsity = None if granularity == "2:4" else 0.7
    scores = weight_scores(small)
    plan = plan_weights(
        small, scores, sparsity, granularity=granularity, scope=scope, keep=["scores"],
        criterion="random", target="weights=30%",
    )  # fmt: skip
    assert set(plan.sparsity) == {"conv_1", "conv_2", "hidden"}
    plan.save(tmp_path / "plan.json")
    again = read_plan(tmp_path / "plan.json")
    assert isinstance(again, WeightPlan)
    assert again == plan
    with pytest.raises(SettingsError, match="no masks: expected scores"):
        again.apply(small)
    again = again.with_scores(small, scores)
    for name, mask in plan.masks.items():
        np.testing.assert_array_equal(again.masks[name], mask)
    zeroed, masked = again.apply(small), again.mask(small)
    table = again.table(small)
    for a, b in zip(zeroed.get_weights(), masked.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert table.parameters == parameters(small)
    assert table.parameters_left == sum(int(np.count_nonzero(w)) for w in zeroed.get_weights())
    assert (table.macs_left, table.bytes_left) == (macs(small), 4 * parameters(small))
    assert "hidden" in plan.text()
    assert f"{table.parameters_left:,}" in plan.text(small)


def test_an_edited_plan_of_weights_is_carried_out(small: Any, tmp_path: Path) -> None:
    scores = weight_scores(small)
    plan_weights(small, scores, 0.5).save(tmp_path / "plan.json")
    record = json.loads((tmp_path / "plan.json").read_text(encoding="utf-8"))
    record["sparsity"] = {"conv_1": 0.25, "hidden": 0}
    (tmp_path / "plan.json").write_text(json.dumps(record), encoding="utf-8")
    edited = read_plan(tmp_path / "plan.json").with_scores(small, scores)
    kernels = {n: edited.apply(small).get_layer(n).kernel.numpy() for n in scores}
    assert {n: float(np.mean(k == 0)) for n, k in kernels.items()} == {
        "conv_1": 0.25, "conv_2": 0, "hidden": 0, "scores": 0,
    }  # fmt: skip
    with pytest.raises(SettingsError, match="conv_1: expected scores of its weights, got none"):
        edited.with_scores(small, {"hidden": scores["hidden"]})
    with pytest.raises(ModelError, match="plan is for another network"):
        edited.apply(cao(4, filters=(12, 8)))
    for change, message in (
        ({"sparsity": {"conv_1": 1}}, "conv_1: expected a number from 0 to below 1, got 1"),
        ({"sparsity": {"conv_1": "half"}}, "from 0 to below 1"),
        ({"sparsity": {"conv_9": 0.5}}, "'conv_9'.*Did you mean 'conv_2'"),
        ({"granularity": "2:2"}, "granularity 2:2: expected fewer"),
        ({"remove": {}}, "Unknown entry"),
    ):
        (tmp_path / "plan.json").write_text(json.dumps(record | change), encoding="utf-8")
        with pytest.raises(SettingsError, match=message):
            read_plan(tmp_path / "plan.json")


def test_a_pattern_has_a_share_of_its_own(small: Any) -> None:
    scores = weight_scores(small)
    plan = plan_weights(small, scores, None, granularity="2:4")
    assert plan.sparsity["conv_1"] == 0.5
    dense = replace(plan, sparsity={**plan.sparsity, "conv_1": 0.0}).with_scores(small, scores)
    assert set(dense.masks) == {"conv_2", "hidden", "scores"}
    with pytest.raises(SettingsError, match=r"conv_1: granularity 2:4 takes 0\.5 of its weights"):
        replace(plan, sparsity={"conv_1": 0.25}).with_scores(small, scores)
