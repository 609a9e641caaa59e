"""Networks made of the trained one by other means than pruning: students, factors, clusters.

Each is trained on as a pruned network is (`fine_tune`), or as the teacher's student, and saved
beside the others. Folded forms of every Keras model of the run come last.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hsi.compress.forms import EightForms, as_they_are, in_every_form
from hsi.errors import ModelError, SettingsError
from hsi.models import Network
from hsi.models.optimizers import ADAM
from hsi.pipeline.choices import Student, low_rank_rule, students_of
from hsi.pipeline.job import TRAINED, Job, counts_name, folded_name, is_folded
from hsi.pipeline.training import Shown, fine_tune, fit_model, shown_as_usual
from hsi.pipeline.variants import record_keras
from hsi.runs import COUNTS
from hsi.samples import Samples

if TYPE_CHECKING:
    import tf_keras as keras

    from hsi.compress.lowrank import Replaced

FORMS_AT_ONCE = 256
"""Forms of patches that a student is shown in a step."""

Made = tuple["keras.Model", dict[str, Any]]
"""A network and what is to be recorded of it."""


def derive_models(job: Job) -> None:
    """Make every network that the settings ask for besides the pruned ones; finished ones stay."""
    settings = job.settings
    students = {f"distilled_{student.name}": student for student in students_of(settings)}
    if any(not job.run.variant(f"{name}.h5") for name in students):
        teacher = _students_teacher(job)
        for name, student in students.items():
            _make(job, name, partial(_student, job, student, teacher))
    for text in settings.low_rank:
        _make(job, f"low_rank_{text.replace('=', '-')}", partial(_low_rank, job, text))
    if settings.separable:
        _make(job, "separable", partial(_separable, job))
    for clusters in settings.clusters:
        _make(job, f"clustered_{clusters}", partial(_clustered, job, clusters))
    for file in _prepared_files(job) if settings.fold else ():
        if not is_folded(file):
            _fold(job, file)
    for file in _prepared_files(job) if settings.fold_preparation else ():
        if folded_name(file) not in job.run.record["variants"]:
            _fold_preparation(job, file)


def _make(job: Job, name: str, make: Callable[[], Made]) -> None:
    file = f"{name}.h5"
    if job.run.variant(file):
        return
    from hsi.models.files import save_model

    model, facts = make()
    save_model(model, job.run.path(file))
    record_keras(job, file, model, variant=name, **facts)


def _students_teacher(job: Job) -> Path | None:
    """The model file of `--distill_from`; None where the teacher of the settings is meant."""
    if job.settings.distill_from != "best":
        return job.reference if job.settings.distill_from else None
    from hsi.deploy.variant import load_variant
    from hsi.metrics import cross_entropy
    from hsi.predict import scores

    part, losses = job.samples.part("validation"), {}
    for path in (job.reference, *map(job.run.path, _pruned_files(job))):
        forward = load_variant(path, threads=os.cpu_count() or 1)
        found = scores(forward, job.samples.patches, part.pixels)
        losses[path] = cross_entropy(found, part.classes)
    best = min(losses, key=lambda path: losses[path])
    job.say(
        f"Students learn from {best.name}: validation loss {losses[best]:.4f} "
        f"({job.reference.name}: {losses[job.reference]:.4f})."
    )
    return best


def _pruned_files(job: Job) -> list[str]:
    variants = job.run.record["variants"]
    return [
        file
        for file in _prepared_files(job)
        if not is_folded(file) and variants[file]["row"]["variant"].startswith("pruned_")
    ]


def _student(job: Job, student: Student, teacher: Path | None) -> Made:
    from hsi.models import network
    from hsi.models.components import begin_with_components

    chosen = network(student.network)
    model = chosen.build(
        job.samples.patches.shape, job.classes, seed=job.settings.seed, width=student.width
    )
    begun = begin_with_components(model, _spectra(job))
    if begun:
        job.say(f"{student.name}: begins with {begun} principal components of training samples.")
    history = fit_model(
        job,
        model,
        epochs=job.settings.distill_epochs,
        learning_rate=job.settings.learning_rate or _rate_of_student(chosen),
        title=f"Teaching {student.name}",
        objective=job.teaching(teacher),
        shown=_shown_to_students(job),
        cosine=True,
    )
    facts = {"history": history, "row": {"schedule": "distilled"}}
    return model, facts | ({"teacher": teacher.name} if teacher else {})


def _rate_of_student(network: Network) -> float:
    """Students learn by Adam; the rate of a network that has another optimiser is none for it."""
    return network.learning_rate if network.optimizer == ADAM else Network.learning_rate


def _spectra(job: Job) -> np.ndarray:
    """(n, channels) of the centres of training samples, prepared."""
    row, col = (side // 2 for side in job.samples.patches.shape[:2])
    return np.concatenate([inputs[:, row, col] for inputs, _ in job.training_batches()])


def _shown_to_students(job: Job) -> Shown:
    """Patches in all of their forms, the same in every epoch; images moved at random."""
    usual = shown_as_usual(job)
    if job.samples.unit != "pixel":
        return replace(usual, augment=job.samples.moves)
    return Shown(
        EightForms(usual.source),
        in_every_form(usual.training),
        as_they_are(usual.validation),
        augment=None,
        batch_size=job.settings.batch_size or FORMS_AT_ONCE,
    )


def _low_rank(job: Job, text: str) -> Made:
    from hsi.compress.lowrank import factorise

    method = job.settings.low_rank_method
    replaced = factorise(_trained(job), rank=low_rank_rule(text), method=method)
    return _replaced(job, replaced, f"Low rank {text}")


def _separable(job: Job) -> Made:
    from hsi.compress.separable import separate

    return _replaced(job, separate(_trained(job)), "Separable")


def _replaced(job: Job, replaced: Replaced, title: str) -> Made:
    changed = [row for row in replaced.table if row.method]
    if not changed:
        raise SettingsError(
            f"{title}: no layer would be cheaper; the network stays as it is. Omit the option."
        )
    for row in changed:
        ranks = " x ".join(map(str, row.ranks))
        job.say(
            f"  {row.layer}: {row.method}, rank {ranks}; {row.before.macs:,} to {row.after.macs:,} "
            f"multiply-accumulates, kernel off by {row.error:.1%}."
        )
    history = fine_tune(job, replaced.model, title=title)
    table = [
        {"layer": row.layer, "method": row.method, "ranks": list(row.ranks), "error": row.error}
        for row in replaced.table
    ]
    return replaced.model, {"history": history, "factors": table}


def _clustered(job: Job, clusters: int) -> Made:
    from hsi.compress.aware import cluster_weights

    history: dict[str, Any] = {}

    def tune(model: keras.Model, callbacks: Sequence[keras.callbacks.Callback]) -> None:
        title = f"{clusters} clusters"
        history.update(fine_tune(job, model, title=title, callbacks=callbacks))

    model = cluster_weights(_trained(job), clusters, fine_tune=tune)
    return model, {"history": history, "clusters": clusters}


def _fold(job: Job, file: str) -> None:
    """The same function by fewer layers, where there are fewer: proven before it is saved."""
    name = folded_name(file)
    if job.run.variant(name):
        return
    from hsi.compress.cost import parameters
    from hsi.compress.fold import fold_batch_norm, fold_linear, proven_equal
    from hsi.models.files import load_model, save_model

    model = load_model(job.run.path(file))
    folded = fold_linear(fold_batch_norm(model))
    if parameters(folded) == parameters(model):
        return
    gap = proven_equal(model, folded, job.samples.calibration(seed=job.settings.seed))
    before, after = parameters(model), parameters(folded)
    job.say(
        f"Folded {file}: {before:,} to {after:,} parameters, logits equal to {gap:.1g} of their "
        "range."
    )
    save_model(folded, job.run.path(name))
    _record_form(job, name, folded, of=file, form="folded", largest_difference=gap)


def _fold_preparation(job: Job, file: str) -> None:
    """The same network with clipping, scaling and PCA in it, where its first layers allow that.

    It takes the sensor's counts, is proven equal on training samples before it is saved, and its
    record says what it takes: nothing else tells such a file from the others.
    """
    name = counts_name(file)
    if job.run.variant(name):
        return
    from hsi.compress.fold import fold_preparation, proven_equal
    from hsi.models.files import load_model, save_model

    assert isinstance(job.samples, Samples)  # images are refused with the settings
    preparation, model = job.samples.preparation, load_model(job.run.path(file))
    counts = job.taken(counts=True).calibration(seed=job.settings.seed)
    try:
        folded = fold_preparation(model, preparation)
        gap = proven_equal(model, folded, counts, preparation=preparation)
    except ModelError as error:  # of this network; the others of the run go on
        job.say(f"Note: {file}: its preparation stays outside. {error}")
        return
    job.say(
        f"Folded the preparation into {file}: takes {preparation.bands} raw bands, logits equal to "
        f"{gap:.1g} of their range."
    )
    save_model(folded, job.run.path(name))
    _record_form(job, name, folded, of=file, form="counts", largest_difference=gap, input=COUNTS)


def _record_form(
    job: Job, name: str, model: keras.Model, *, of: str, form: str, **facts: Any
) -> None:
    """Put another form of a variant on record."""
    parent = job.run.record["variants"][of]["row"]
    columns = ("criterion", "granularity", "scope", "schedule", "target")
    row = {column: parent.get(column) for column in columns}
    record_keras(
        job, name, model, variant=f"{parent['variant']}_{form}", row=row, parent=of, **facts
    )


def _prepared_files(job: Job) -> list[str]:
    """The Keras models of the run that take prepared samples."""
    run = job.run
    return [f for f in run.record["variants"] if f.endswith(".h5") and not run.takes_counts(f)]


def _trained(job: Job) -> keras.Model:
    from hsi.models.files import load_model

    return load_model(job.run.path(TRAINED))
