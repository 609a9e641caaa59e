"""The pruning stages: channels by APoZ, or weights by magnitude."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hsi.pipeline.job import TRAINED, Job
from hsi.pipeline.training import fine_tune
from hsi.pipeline.variants import record_keras
from hsi.settings import Settings, percent_name

if TYPE_CHECKING:
    import tf_keras as keras

    from hsi.compress.graph import Group


CHOICES: dict[str, dict[str, str]] = {
    "apoz": {
        "criterion": "apoz",
        "granularity": "channel",
        "scope": "global",
        "schedule": "iterative",
    },
    "magnitude": {
        "criterion": "magnitude",
        "granularity": "weight",
        "scope": "layer",
        "schedule": "one_shot",
    },
}
"""What each pruning method is in the terms of results.csv."""


def prune_models(job: Job) -> None:
    """Make every pruned model that the settings ask for; finished ones are kept."""
    if job.settings.pruning == "magnitude":
        _prune_weights(job)
    else:
        _prune_channels(job)


def pruned_name(target: float) -> str:
    """The file of a pruned model: trained_pruned_model_<percent>.h5."""
    return f"trained_pruned_model_{percent_name(target)}.h5"


def channels_wanted(settings: Settings, total: int) -> dict[float, int]:
    """Target percent -> channels gone by then: the same floor(increment %) at every step."""
    first, step = (int(p / 100 * total + 1e-9) for p in (
        settings.prune_start or settings.prune_increment, settings.prune_increment
    ))  # fmt: skip
    return {t: first + k * step for k, t in enumerate(settings.prune_targets)}


def _prune_channels(job: Job) -> None:
    """APoZ channel pruning: rank over the whole network, remove, fine-tune, save; step by step."""
    from hsi.compress.graph import channel_groups
    from hsi.models.files import load_model

    file = TRAINED
    groups = _convolutional(channel_groups(load_model(job.run.path(TRAINED))))
    total = sum(group.channels for group in groups)
    before = job.run.record["variants"][TRAINED]["row"]["parameters"]
    for target, wanted in channels_wanted(job.settings, total).items():
        name = pruned_name(target)
        if not job.run.variant(name):
            model = load_model(job.run.path(file))
            groups = _convolutional(channel_groups(model))
            gone = total - sum(group.channels for group in groups)
            smaller, taken = _without_channels(job, model, groups, wanted - gone)
            if not taken:
                job.say(
                    f"Nothing more can be removed at {percent_name(target)} %: every layer is down "
                    f"to its last channel ({gone} of {total} channels are gone)."
                )
                return
            if taken < wanted - gone:
                job.say(
                    f"{percent_name(target)} %: {taken} of {wanted - gone} channels could be "
                    f"removed; every layer keeps one."
                )
            history = fine_tune(job, smaller, target=target)
            facts = {"channels": total, "channels_removed": gone + taken}
            _save_and_record(job, smaller, target, history, facts)
            row = job.run.record["variants"][name]["row"]
            job.say(
                f"  {gone + taken} of {total} channels ({(gone + taken) / total:.1%}) and "
                f"{1 - row['parameters'] / before:.1%} of the parameters are gone."
            )
        file = name


def _without_channels(
    job: Job, model: keras.Model, groups: list[Group], count: int
) -> tuple[keras.Model, int]:
    """The network without its `count` least active channels, and how many went."""
    from hsi.compress.criteria import criterion
    from hsi.compress.schedule import choose_channels
    from hsi.compress.surgery import remove_channels

    found = criterion("apoz")(model, job.training_batches(), groups)
    for note in found.notes:
        job.say(f"Note: {note}")
    removal, _ = choose_channels(found.scores, groups, count)
    taken = sum(len(channels) for channels in removal.values())
    return (remove_channels(model, removal) if taken else model), taken


def _prune_weights(job: Job) -> None:
    """Magnitude pruning: each target from the trained model, in one shot, then fine-tuned."""
    for target in job.settings.prune_targets:
        if not job.run.variant(pruned_name(target)):
            _prune_weights_to(job, target)


def _prune_weights_to(job: Job, target: float) -> None:
    from hsi.compress.magnitude import prune_magnitude
    from hsi.models.files import load_model

    history: dict[str, Any] = {}

    def tune(model: keras.Model, callbacks: Sequence[keras.callbacks.Callback]) -> None:
        history.update(fine_tune(job, model, target=target, callbacks=callbacks))

    trained = load_model(job.run.path(TRAINED))
    pruned = prune_magnitude(trained, target / 100, fine_tune=tune)
    _save_and_record(job, pruned, target, history, {})
    kernels = job.run.record["variants"][pruned_name(target)]["kernel_sparsity"]
    zeros = ", ".join(f"{name} {share:.1%}" for name, share in kernels.items())
    job.say(f"  Zeros per kernel: {zeros}.")


def _save_and_record(
    job: Job, model: keras.Model, target: float, history: dict[str, Any], facts: dict[str, Any]
) -> None:
    from hsi.models.files import save_model

    file, variant = pruned_name(target), f"pruned_{percent_name(target)}"
    save_model(model, job.run.path(file))
    row = {**CHOICES[job.settings.pruning], "target": target}
    record_keras(job, file, model, variant=variant, row=row, history=history, **facts)


def _convolutional(groups: list[Group]) -> list[Group]:
    return [group for group in groups if group.convolutional]
