"""The stage of a baseline: fitted by scikit-learn, tested and put on record like a network.

It loads no TensorFlow. Nothing can be pruned, quantized or explained of a baseline, and settings
that ask for it are refused before anything is written.
"""

from __future__ import annotations

import time
from dataclasses import fields

from hsi.errors import SettingsError
from hsi.models import BASELINES
from hsi.pipeline.choices import students_of
from hsi.pipeline.job import Job
from hsi.pipeline.variants import record_variant
from hsi.settings import COMPRESSION, Settings

FITTED = "trained_model.npz"

_OF_NETWORKS = ("weights", "pretrain", "strategy", "start_from", *COMPRESSION)


def check_baselines(settings: Settings) -> Settings:
    """Return the settings if they ask nothing of a baseline that only a network can do.

    Raises:
        SettingsError: one of its options, or a baseline as a student.
    """
    students = [s.network for s in students_of(settings) if s.network in BASELINES]
    if students:
        raise SettingsError(
            f"distill: {students[0]} is a baseline of scikit-learn, which learns from no teacher; "
            "expected networks."
        )
    if settings.model not in BASELINES:
        return settings
    defaults = {field.name: field.default for field in fields(settings)}
    given = [name for name in _OF_NETWORKS if getattr(settings, name) != defaults[name]]
    if given:
        raise SettingsError(
            f"{', '.join(given)}: expected with a network; {settings.model} is a baseline of "
            "scikit-learn, which is fitted and tested and no more."
        )
    return settings


def fit_baseline(job: Job) -> None:
    """Fit the baseline to the training samples and save it, unless that is done."""
    job.reference = job.run.path(FITTED)
    if job.run.variant(FITTED):
        return
    from hsi.baselines import fit, save

    part, name = job.samples.part("train"), job.network.name
    job.say(f"Fitting {name} to {len(part.pixels)} {job.samples.unit}s.")
    inputs = job.samples.patches.gather(part.pixels)
    start = time.perf_counter()
    baseline, facts = fit(name, inputs, part.classes, total=job.classes, seed=job.settings.seed)
    seconds = time.perf_counter() - start
    if facts.get("folds") == 0:
        chosen = ", ".join(f"{key} {value}" for key, value in facts.items() if key != "folds")
        job.say(f"Too few training samples to choose settings by; {name} has {chosen}.")
    save(baseline, job.reference)
    row = {
        "parameters": baseline.parameters,
        "macs": baseline.macs,
        "sparsity": 100 * baseline.zeros,
    }
    record_variant(job, FITTED, variant="trained", row=row, fitted=facts, training_seconds=seconds)
