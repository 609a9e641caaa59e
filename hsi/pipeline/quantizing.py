"""The quantization stage."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hsi.deploy.islands import float_islands, float_summary
from hsi.errors import DataError
from hsi.files import atomic_path
from hsi.pipeline.job import TRAINED, Job, counts_name, folded_name
from hsi.pipeline.training import fine_tune
from hsi.pipeline.variants import record_variant
from hsi.results import Row
from hsi.runs import COUNTS, Run, open_run

if TYPE_CHECKING:
    import tf_keras as keras

_FIRST = (TRAINED, folded_name(TRAINED))
_OWN = (*_FIRST, *map(counts_name, _FIRST))
"""The trained network in all its forms."""
AWARE = "quantized_aware_model_int8.tflite"
"""Of the trained network, trained on with int8 rounding."""
WORTH_A_LINE = 1.0
"""Points of OA."""
INHERITED = (
    "criterion", "granularity", "scope", "schedule", "target", "sparsity", "parameters", "macs",
)  # fmt: skip
"""Columns that a quantized file has from the model it was made of."""


def quantize_models(job: Job) -> None:
    """Quantize the models of this run that its settings want quantized.

    Where a model has a folded form, that is quantized: the same function by fewer layers.
    """
    settings = job.settings
    wanted = []
    for file in (f for f in job.run.record["variants"] if f.endswith(".h5")):
        asked = settings.quantize if file in _OWN else settings.quantize_pruned_models
        if asked and folded_name(file) not in job.run.record["variants"]:
            wanted.append(file)
    _quantize(job, job.run, wanted)
    if settings.quantization_aware:
        _train_aware(job)


def quantize_earlier_models(job: Job) -> None:
    """Quantize every Keras model of the earlier run that the job's reference belongs to."""
    earlier = open_run(job.reference.parent)
    files = [file for file in earlier.record["variants"] if file.endswith(".h5")]
    if not files:
        raise DataError(f"{earlier.folder}: holds no finished Keras model to quantize.")
    _quantize(job, earlier, files)


def _quantize(job: Job, source: Run, files: Sequence[str]) -> None:
    todo = [
        (file, mode, quantized_name(file, mode))
        for file in files
        for mode in job.settings.quantization
        if not job.run.variant(quantized_name(file, mode))
    ]
    if not todo:
        return
    from hsi.compress.quantize import quantize
    from hsi.models.files import load_model

    for file, mode, name in todo:
        counts = source.takes_counts(file)
        calibration = job.taken(counts=counts).calibration(seed=job.settings.seed)
        model = load_model(source.path(file))
        content = quantize(model, mode, calibration=calibration, say=job.say)
        parent = source.record["variants"][file]["row"]
        kind = "quantized" if parent["variant"] == "trained" else f"quantized_{parent['variant']}"
        facts = {"input": COUNTS} if counts else {}
        _record(job, name, content, f"{kind}_{mode}", parent, parent_file=file, mode=mode, **facts)
        if counts:
            _say_what_counts_cost(job, name, parent)


def _say_what_counts_cost(job: Job, name: str, parent: Row) -> None:
    """A line where a quantized file of raw counts is worse than the model it was made of."""
    lost = parent["oa"] - job.run.record["variants"][name]["row"]["oa"]
    if lost > WORTH_A_LINE:
        job.say(
            f"Note: {name} lost {lost:.1f} points of OA: one scale serves the raw counts of all "
            "bands, and the largest set it; int16x8 or dynamic keep them, or quantize the file of "
            "prepared samples."
        )


def _train_aware(job: Job) -> None:
    """The trained network, trained on with int8 rounding, as a `.tflite` file."""
    if job.run.variant(AWARE):
        return
    from hsi.compress.aware import quantization_aware
    from hsi.compress.quantize import quantize
    from hsi.models.files import load_model

    history: dict[str, Any] = {}

    def tune(model: keras.Model, callbacks: Sequence[keras.callbacks.Callback]) -> None:
        title = "Training with int8 rounding"
        history.update(fine_tune(job, model, title=title, callbacks=callbacks))

    wrapped = quantization_aware(load_model(job.run.path(TRAINED)), fine_tune=tune)
    calibration = job.samples.calibration(seed=job.settings.seed)
    content = quantize(wrapped, "int8", calibration=calibration)
    parent = job.run.record["variants"][TRAINED]["row"]
    _record(
        job, AWARE, content, "quantized_aware_int8", parent,
        parent_file=TRAINED, mode="int8", history=history,
    )  # fmt: skip


def _record(
    job: Job,
    name: str,
    content: bytes,
    variant: str,
    parent: Row,
    *,
    parent_file: str,
    mode: str,
    **facts: Any,
) -> None:
    """Write a quantized file, say what in it is not quantized, and put it on record."""
    with atomic_path(job.run.path(name)) as temporary:
        temporary.write_bytes(content)
    islands = float_islands(content)
    if islands:
        job.say(f"Note: {name}: {float_summary(content)}.")
        facts["float_islands"] = [f"{island.kind} {island.layer}" for island in islands]
    row = {column: parent.get(column) for column in INHERITED}
    record_variant(job, name, variant=variant, row=row, parent=parent_file, mode=mode, **facts)


def quantized_name(file: str, mode: str) -> str:
    """trained_pruned_model_20.h5, int8 -> quantized_pruned_model_20_int8.tflite."""
    stem = Path(file).stem
    kept = stem.removeprefix("trained") if stem.startswith("trained") else f"_{stem}"
    return f"quantized{kept}_{mode}.tflite"
