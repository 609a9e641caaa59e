"""Plans for the goals of a job: scores on training samples, then what would go."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypeVar

from hsi.compress.criteria import CRITERIA, ChannelScores, criterion, normalised, weight_criterion
from hsi.compress.graph import Group, channel_groups
from hsi.compress.plan.budget import MEASURED, Target, plan_for
from hsi.compress.plan.channels import ChannelPlan, Choices, plan_channels
from hsi.compress.plan.files import read_plan
from hsi.compress.plan.weights import WeightPlan, plan_weights
from hsi.compress.schedule import choose_channels
from hsi.errors import SettingsError, one_of
from hsi.pipeline.choices import CHANNEL, ONE_SHOT, Goal, Pruning, pruning_of
from hsi.pipeline.job import Job
from hsi.settings import Settings

if TYPE_CHECKING:
    import numpy as np
    import tf_keras as keras

Plan = TypeVar("Plan", ChannelPlan, WeightPlan)


def chosen(settings: Settings) -> Pruning:
    """How a job prunes: as its settings say, or as the plan that they carry out was made.

    Raises:
        DataError, SettingsError: as `read_plan`; or a choice that is not the plan's.
    """
    if not settings.plan:
        return pruning_of(settings)
    plan = read_plan(Path(settings.plan))
    of_channels = isinstance(plan, ChannelPlan)
    granularity = CHANNEL if of_channels else plan.choices.granularity
    criterion = plan.choices.criterion or settings.criterion or ("" if of_channels else "l1")
    found = Pruning(criterion, granularity, plan.choices.scope, ONE_SHOT)
    for name, value in found.columns().items():
        given = getattr(settings, name)
        if given not in (None, value):
            raise SettingsError(
                f"plan {settings.plan}: is of {name} {value}, got {given}; omit --{name}."
            )
    return found


def prunable(job: Job, model: keras.Model) -> list[Group]:
    """The groups that may lose channels: of convolutions, of dense layers too where asked for.

    Percentages and targets of channels count these alone, for any criterion and schedule.

    Raises:
        SettingsError: a layer to keep that is not there, or no group at all.
    """
    groups = [
        group for group in channel_groups(model) if job.settings.prune_dense or group.convolutional
    ]
    known = [maker.layer for group in groups for maker in group.producers]
    kept = {one_of(name, known, what="layer to keep") for name in job.settings.keep}
    found = [group for group in groups if not any(p.layer in kept for p in group.producers)]
    if not found:
        raise SettingsError(
            "There is nothing to prune: expected a convolution whose channels can go; try "
            "--prune_dense, or fewer layers to keep."
        )
    return found


def channels_wanted(percent: float, total: int) -> int:
    """How many of `total` channels are gone at this percentage, rounded down.

    Counted from the whole network and not in steps, whose rounding would add up.
    """
    return int(percent / 100 * total + 1e-9)


def channel_scores(
    job: Job, choice: Pruning, model: keras.Model, groups: Sequence[Group]
) -> ChannelScores:
    """Scores of these groups on training samples, on one scale where layers are compared."""
    found = criterion(choice.criterion)(
        model, job.training_batches(), groups, seed=job.settings.seed
    )
    if choice.scope == "global" and not CRITERIA[choice.criterion].comparable:
        return replace(found, scores=normalised(found.scores))
    return found


def weight_scores(job: Job, choice: Pruning, model: keras.Model) -> dict[str, np.ndarray]:
    """Scores of every kernel; weights that are zero already come first.

    They stay as they are for scope `global`: a ranking of raw magnitudes over the network is what
    global magnitude pruning means (Han et al. 2015; Blalock et al. 2020). Only the scores of
    channels, norms of many weights, are levelled (`channel_scores`).
    """
    from hsi.compress.weights import kernel_layers

    found = weight_criterion(choice.criterion)(
        model, job.training_batches(), seed=job.settings.seed
    )
    layers = kernel_layers(model)
    for name, values in found.items():
        zero = layers[name].kernel.numpy() == 0
        if zero.any():
            values[zero] = values.max() + 1
    return found


def channel_plan(
    job: Job,
    choice: Pruning,
    goal: Goal,
    model: keras.Model,
    *,
    gone: int = 0,
    total: int | None = None,
) -> ChannelPlan:
    """What would go of a network's channels.

    Args:
        model: the trained network, or one that has lost channels already.
        gone: how many of the trained network's channels it has lost.
        total: channels of the trained network; None counts those of `model`.

    Raises:
        SettingsError: a target that cannot be reached, or a layer to keep that is not there.
    """
    if goal.plan:
        return _replayed(goal, ChannelPlan)
    settings, groups = job.settings, prunable(job, model)
    scores = channel_scores(job, choice, model, groups)
    options: dict[str, Any] = {
        "scope": choice.scope,
        "round_to": settings.round_to,
        "min_channels": settings.min_channels,
    }
    if goal.target:
        return plan_for(
            model,
            scores.scores,
            goal.target,
            keep=settings.keep,
            dense=settings.prune_dense,
            compensated=not settings.no_compensation,
            measure=_measure(job, goal.target),
            criterion=choice.criterion,
            schedule=choice.schedule,
            notes=(*scores.notes, *_measured_file(settings, goal.target)),
            **options,
        )
    total = total or sum(group.channels for group in groups)
    wanted = channels_wanted(goal.percent or 0, total)
    removal, _ = choose_channels(scores.scores, groups, wanted - gone, **options)
    choices = Choices(**choice.columns(), target=f"{goal.name} % of the channels")
    return plan_channels(model, removal, choices=choices, notes=scores.notes)


def weight_plan(
    job: Job, choice: Pruning, goal: Goal, model: keras.Model, layers: Iterable[str] | None = None
) -> WeightPlan:
    """What share of each kernel would become zero.

    Args:
        layers: the only ones to be looked at; None looks at all.
    """
    scores = weight_scores(job, choice, model)
    if goal.plan:
        return _replayed(goal, WeightPlan).with_scores(model, scores)
    if layers is not None:
        scores = {name: scores[name] for name in layers}
    fixed = ":" in choice.granularity
    return plan_weights(
        model,
        scores,
        None if fixed else (goal.percent or 0) / 100,
        granularity=choice.granularity,
        scope=choice.scope,
        keep=job.settings.keep if layers is None else (),
        criterion=choice.criterion,
        schedule=choice.schedule,
        target=f"{goal.name} % of the weights",
    )


def absolute(job: Job, target: Target, original: keras.Model) -> Target:
    """The target as an amount: a share counts against the trained network, not the last step."""
    if not target.relative:
        return target
    from hsi.compress.cost import macs, parameters

    if target.quantity in MEASURED:
        measure = _measure(job, target)
        before = measure(original) if measure else 0.0
    elif target.quantity == "channels":
        before = float(sum(group.channels for group in prunable(job, original)))
    else:
        before = float({"parameters": parameters, "macs": macs}[target.quantity](original))
    return replace(target, amount=target.limit(before), relative=False)


def measured_mode(settings: Settings) -> str:
    """The quantization of the `.tflite` file that bytes and latency are measured on.

    The run writes that file, see `hsi.pipeline.quantizing`.
    """
    return settings.quantization[0] if settings.quantize_pruned_models else "float32"


def _measured_file(settings: Settings, target: Target) -> tuple[str, ...]:
    if target.quantity not in MEASURED:
        return ()
    return (
        f"{target.quantity}: of the {measured_mode(settings)} .tflite file, which a run with this "
        "target writes beside the .h5 file.",
    )


def _replayed(goal: Goal, kind: type[Plan]) -> Plan:
    plan = read_plan(Path(goal.plan or ""))
    assert isinstance(plan, kind)  # as `chosen` says
    return plan


def _measure(job: Job, target: Target) -> Callable[[keras.Model], float] | None:
    """What a network weighs, or takes, as the file that this job would deploy."""
    if target.quantity not in MEASURED:
        return None
    from hsi.compress.quantize import quantize
    from hsi.deploy.latency import time_files

    calibration = job.samples.calibration(seed=job.settings.seed)
    mode = measured_mode(job.settings)

    def measure(model: keras.Model) -> float:
        content = quantize(model, mode, calibration=calibration)
        if target.quantity == "bytes":
            return float(len(content))
        with TemporaryDirectory() as folder:
            path = Path(folder) / "planned.tflite"
            path.write_bytes(content)
            (timed,) = time_files([str(path)], batches=(1,), threads=job.settings.threads)
        return timed.milliseconds

    return measure
