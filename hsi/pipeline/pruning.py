"""The pruning stage: every goal a model, each planned, carried out, fine-tuned and saved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from hsi.pipeline.choices import Goal, Pruning, goals_of, shared_epochs
from hsi.pipeline.job import TRAINED, Job
from hsi.pipeline.planning import (
    absolute,
    channel_plan,
    channels_wanted,
    chosen,
    prunable,
    weight_plan,
)
from hsi.pipeline.training import fine_tune
from hsi.pipeline.variants import record_keras

if TYPE_CHECKING:
    import tf_keras as keras

    from hsi.compress.plan.channels import ChannelPlan

PLANS = "plans"


@dataclass(frozen=True)
class Step:
    """One pruned model to be made.

    Attributes:
        epochs: of its fine-tuning; None means the usual number.
        start: file of the network that it is made of.
        turn: fine-tunings of the same way that come before its own.
    """

    job: Job
    choice: Pruning
    goal: Goal
    epochs: int | None
    start: str
    turn: int = 0

    @property
    def file(self) -> str:
        return pruned_name(self.goal.name)


def prune_models(job: Job) -> None:
    """Make every pruned model that the settings ask for; finished ones are kept."""
    choice, goals = chosen(job.settings), goals_of(job.settings)
    iterative = choice.schedule == "iterative"
    shares = shared_epochs(job.settings, len(goals) if iterative else 1)
    start = TRAINED
    for place, goal in enumerate(goals):
        epochs = shares[place] if iterative else shares[0]
        step = Step(job, choice, goal, epochs, TRAINED)
        if iterative:
            step = replace(step, start=start, turn=place)
        if not job.run.variant(step.file) and not _prune(step):
            return
        start = step.file


def plan_models(job: Job) -> None:
    """Print and save what would go of the trained network for every goal, and prune nothing."""
    from hsi.models.files import load_model

    choice = chosen(job.settings)
    model = load_model(job.run.path(TRAINED))
    plan_of = channel_plan if choice.of_channels else weight_plan
    for goal in goals_of(job.settings):
        plan = plan_of(job, choice, goal, model)
        plan.save(_plan_path(job, goal))
        more = {"compensated": not job.settings.no_compensation} if choice.of_channels else {}
        job.say(plan.text(model, **more))
        job.say(f"Plan: {_plan_path(job, goal)}; change it, and carry it out with --plan.")


def pruned_name(goal: str) -> str:
    """The file of a pruned model: trained_pruned_model_<percent>.h5."""
    return f"trained_pruned_model_{goal}.h5"


def _prune(step: Step) -> bool:
    """Make one pruned model; False where nothing more can go."""
    layerwise = step.choice.schedule == "layerwise"
    if not step.choice.of_channels:
        (_weights_by_layer if layerwise else _weights)(step)
        return True
    if step.goal.plan:
        _planned_channels(step)
        return True
    return (_channels_by_layer if layerwise else _channels)(step)


def _planned_channels(step: Step) -> None:
    """Those of a plan: it may take what `prunable` would leave, so all groups count."""
    from hsi.compress.graph import channel_groups
    from hsi.models.files import load_model

    model = load_model(step.job.run.path(TRAINED))
    plan = channel_plan(step.job, step.choice, step.goal, model)
    total = sum(group.channels for group in channel_groups(model))
    smaller = _without(step, plan, model)
    history = _tuned(step, smaller, step.epochs)
    _finish(step, smaller, history, plan.removed, total)


def _channels(step: Step) -> bool:
    from hsi.models.files import load_model

    job = step.job
    original = load_model(job.run.path(TRAINED))
    model = original if step.start == TRAINED else load_model(job.run.path(step.start))
    total = _channels_of(job, original)
    gone = total - _channels_of(job, model)
    goal = step.goal
    if goal.target and step.start != TRAINED:
        goal = replace(goal, target=absolute(job, goal.target, original))
    plan = channel_plan(job, step.choice, goal, model, gone=gone, total=total)
    if not _can_go(step, plan, gone, total):
        return False
    smaller = _without(step, plan, model)
    history = _tuned(step, smaller, step.epochs)
    _finish(step, smaller, history, gone + plan.removed, total)
    return True


def _can_go(step: Step, plan: ChannelPlan, gone: int, total: int) -> bool:
    """Say where less goes than the goal is called; False where nothing can, though it should."""
    job, goal, least = step.job, step.goal, step.job.settings.min_channels
    if goal.percent is None:
        if not plan.removed and step.start != TRAINED:
            job.say(f"{goal.name}: nothing goes, {step.start} keeps to it already.")
        return True
    wanted = channels_wanted(goal.percent, total) - gone
    if not plan.removed and wanted > 0:
        job.say(
            f"Nothing more can be removed at {goal.name} %: every layer is down to its last "
            f"{'channel' if least == 1 else 'channels'} ({gone} of {total} channels are gone)."
        )
        return False
    if plan.removed < wanted:
        job.say(
            f"{goal.name} %: {plan.removed} of {wanted} channels could be removed; every layer "
            f"keeps {'one' if least == 1 else least}."
        )
    return True


def _channels_by_layer(step: Step) -> bool:
    """The plan for the trained network says how many go of each group; which, each turn says."""
    from hsi.compress.graph import channel_groups
    from hsi.compress.plan.channels import Choices, plan_channels
    from hsi.compress.schedule import choose_channels
    from hsi.models.files import load_model
    from hsi.pipeline.planning import channel_scores

    job = step.job
    settings = job.settings
    choose = partial(
        choose_channels, round_to=settings.round_to, min_channels=settings.min_channels
    )
    model = load_model(job.run.path(TRAINED))
    total = _channels_of(job, model)
    whole = channel_plan(job, step.choice, step.goal, model)
    if not _can_go(step, whole, 0, total):
        return False
    whole.save(_plan_path(job, step.goal))
    shares = shared_epochs(settings, len(whole.removal))
    history: dict[str, Any] = {}
    turns = zip(whole.removal.items(), shares, strict=True)
    for turn, ((name, planned), epochs) in enumerate(turns):
        (group,) = (g for g in channel_groups(model) if g.name == name)
        scores = channel_scores(job, step.choice, model, [group])
        removal, _ = choose(scores.scores, [group], len(planned))
        plan = plan_channels(model, removal, choices=Choices(**step.choice.columns()))
        model = _without(step, plan, model, save=False)
        history[name] = _tuned(replace(step, turn=turn), model, epochs, layer=name)
    _finish(step, model, history, total - _channels_of(job, model), total)
    return True


def _weights(step: Step) -> None:
    from hsi.compress.magnitude import prune_weights
    from hsi.models.files import load_model

    model = load_model(step.job.run.path(step.start))
    plan = weight_plan(step.job, step.choice, step.goal, model)
    plan.save(_plan_path(step.job, step.goal))
    history: dict[str, Any] = {}

    def tune(model: keras.Model, callbacks: Sequence[keras.callbacks.Callback]) -> None:
        history.update(_tuned(step, model, step.epochs, callbacks=callbacks))

    _finish_weights(step, prune_weights(model, plan.masks or {}, fine_tune=tune), history)


def _weights_by_layer(step: Step) -> None:
    """Kernel after kernel, in the order of the network; zeros of earlier ones are held."""
    from hsi.compress.magnitude import prune_weights
    from hsi.models.files import load_model

    model = load_model(step.job.run.path(TRAINED))
    whole = weight_plan(step.job, step.choice, step.goal, model)
    whole.save(_plan_path(step.job, step.goal))
    layers = [name for name, share in whole.sparsity.items() if share > 0]
    shares = shared_epochs(step.job.settings, len(layers))
    masks: dict[str, np.ndarray] = {}
    history: dict[str, Any] = {}
    for turn, (name, epochs) in enumerate(zip(layers, shares, strict=True)):
        goal = replace(step.goal, percent=100 * whole.sparsity[name])
        choice = replace(step.choice, scope="layer")
        plan = weight_plan(step.job, choice, goal, model, [name])
        masks |= plan.masks or {}
        this = replace(step, turn=turn)

        def tune(
            model: keras.Model,
            callbacks: Sequence[keras.callbacks.Callback],
            name: str = name,
            epochs: int | None = epochs,
            this: Step = this,
        ) -> None:
            history[name] = _tuned(this, model, epochs, layer=name, callbacks=callbacks)

        model = prune_weights(model, masks, fine_tune=tune)
    _finish_weights(step, model, history)


def _without(
    step: Step, plan: ChannelPlan, model: keras.Model, *, save: bool = True
) -> keras.Model:
    """The network without the plan's channels; what they emitted on average stays in biases."""
    from hsi.compress.compensation import emitted_means

    if save:
        plan.save(_plan_path(step.job, step.goal))
        for note in plan.notes:
            step.job.say(f"Note: {note}")
    means = None
    if not step.job.settings.no_compensation and plan.removed:
        means = emitted_means(model, plan.removal, step.job.training_batches())
    return plan.apply(model, means=means)


def _channels_of(job: Job, model: keras.Model) -> int:
    return sum(group.channels for group in prunable(job, model))


def _tuned(
    step: Step,
    model: keras.Model,
    epochs: int | None,
    *,
    layer: str = "",
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> dict[str, Any]:
    title = f"Fine-tuning {step.goal.name}" + (f", {layer}" if layer else "")
    job = part_of_one_training(step.job, step.turn)
    return fine_tune(job, model, title=title, epochs=epochs, callbacks=callbacks)


def part_of_one_training(job: Job, turn: int) -> Job:
    """The job of one of the fine-tunings that share `--epochs_total`; without that, as it is.

    Together they are one training of so many epochs: each draws its own order of the samples and
    its own augmentation, since with one seed all would begin with the same, and a schedule of many
    short turns would learn from fewer different images than one of a single long turn. And none
    ends early, or the schedules would not cost the same.
    """
    settings = job.settings
    if settings.epochs_total is None:
        return job
    seed = settings.seed
    if turn:
        seed = int(np.random.SeedSequence([seed, turn]).generate_state(1)[0])
    return replace(job, settings=replace(settings, seed=seed, patience=settings.epochs_total))


def _finish(
    step: Step, model: keras.Model, history: dict[str, Any], removed: int, total: int
) -> None:
    facts = {"channels": total, "channels_removed": removed}
    row = _save_and_record(step, model, history, facts)
    before = step.job.run.record["variants"][TRAINED]["row"]["parameters"]
    step.job.say(
        f"  {removed} of {total} channels ({removed / total:.1%}) and "
        f"{1 - row['parameters'] / before:.1%} of the parameters are gone."
    )


def _finish_weights(step: Step, model: keras.Model, history: dict[str, Any]) -> None:
    _save_and_record(step, model, history, {})
    kernels = step.job.run.record["variants"][step.file]["kernel_sparsity"]
    zeros = ", ".join(f"{name} {share:.1%}" for name, share in kernels.items())
    step.job.say(f"  Zeros per kernel: {zeros}.")


def _save_and_record(
    step: Step, model: keras.Model, history: dict[str, Any], facts: dict[str, Any]
) -> dict[str, Any]:
    from hsi.models.files import save_model

    job, goal = step.job, step.goal
    save_model(model, job.run.path(step.file))
    row = {**step.choice.columns(), "target": goal.column}
    plan = str(_plan_path(job, goal).relative_to(job.run.folder))
    record_keras(
        job, step.file, model, variant=f"pruned_{goal.name}", row=row, history=history,
        plan=plan, **facts,
    )  # fmt: skip
    found: dict[str, Any] = job.run.record["variants"][step.file]["row"]
    return found


def _plan_path(job: Job, goal: Goal) -> Any:
    return job.run.path(PLANS) / f"{goal.name}.json"
