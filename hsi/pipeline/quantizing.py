"""The quantization stage."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hsi.compress.plan.budget import MEASURED
from hsi.deploy.differentiable.flatbuffer import parse
from hsi.deploy.differentiable.kinds import kind_of
from hsi.deploy.islands import float_islands, float_summary, float_weights
from hsi.errors import DataError
from hsi.files import atomic_path
from hsi.pipeline.choices import goals_of
from hsi.pipeline.job import TRAINED, Job, counts_name, folded_name
from hsi.pipeline.planning import measured_mode
from hsi.pipeline.pruning import pruned_name
from hsi.pipeline.training import fine_tune
from hsi.pipeline.variants import record_variant
from hsi.results import Row
from hsi.runs import COUNTS, Run, open_run
from hsi.settings import Settings

if TYPE_CHECKING:
    import tf_keras as keras

_FIRST = (TRAINED, folded_name(TRAINED))
_OWN = (*_FIRST, *map(counts_name, _FIRST))
"""The trained network in all its forms."""
AWARE = "quantized_aware_model_int8.tflite"
"""Of the trained network, trained on with int8 rounding."""
SMALL_KERNELS = "TensorFlow leaves kernels of fewer than 1,024 elements in float"
"""Of the dynamic mode."""
WORTH_A_LINE = 1.0
"""Points of OA."""
INHERITED = (
    "criterion", "granularity", "scope", "schedule", "target", "sparsity", "parameters", "macs",
)  # fmt: skip
"""Columns that a quantized file has from the model it was made of."""


def quantize_models(job: Job) -> None:
    """Quantize the models of this run that its settings want quantized."""
    _quantize(job, job.run, _wanted(job.settings, list(job.run.record["variants"])))
    if job.settings.quantization_aware:
        _train_aware(job)


def quantize_earlier_models(job: Job) -> None:
    """Quantize every Keras model of the earlier run that the job's reference belongs to."""
    earlier = open_run(job.reference.parent)
    files = [file for file in earlier.record["variants"] if file.endswith(".h5")]
    if not files:
        raise DataError(f"{earlier.folder}: holds no finished Keras model to quantize.")
    _quantize(job, earlier, [(f, mode) for f in files for mode in job.settings.quantization])


def _wanted(settings: Settings, files: Sequence[str]) -> list[tuple[str, str]]:
    """(file, mode) of what is to be quantized among these files of a run.

    Where a model has a folded form, that is quantized: the same function by fewer layers. A model
    that was pruned to a budget of bytes or latency always is, in the mode that was measured, or
    the run would hold no file that keeps to the budget.
    """
    goals = goals_of(settings) if settings.prune else []
    targets = {pruned_name(goal.name): goal.target for goal in goals if goal.target}
    wanted = []
    for file in (f for f in files if f.endswith(".h5")):
        asked = settings.quantize if file in _OWN else settings.quantize_pruned_models
        modes = settings.quantization if asked and folded_name(file) not in files else ()
        target = targets.get(file)
        if target and target.quantity in MEASURED and measured_mode(settings) not in modes:
            modes = (measured_mode(settings), *modes)
        wanted += [(file, mode) for mode in modes]
    return wanted


def _quantize(job: Job, source: Run, wanted: Sequence[tuple[str, str]]) -> None:
    todo = [
        (file, mode, quantized_name(file, mode))
        for file, mode in wanted
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
    facts |= _in_float(job, name, content, mode)
    row = {column: parent.get(column) for column in INHERITED}
    record_variant(job, name, variant=variant, row=row, parent=parent_file, mode=mode, **facts)


def _in_float(job: Job, name: str, content: bytes, mode: str) -> dict[str, list[str]]:
    """What of a quantized file is not quantized, for the record; said where there is any."""
    islands = float_islands(content)
    if islands:
        job.say(f"Note: {name}: {float_summary(content)}.")
        return {"float_islands": [f"{island.kind} {island.layer}" for island in islands]}
    if mode != "dynamic":
        return {}
    if kind_of(parse(content)) == "float32":
        job.say(f"Note: {name} is a float32 file, nothing in it is quantized: {SMALL_KERNELS}.")
        return {"float_kernels": ["all"]}
    left = float_weights(content)
    if left:
        job.say(f"Note: {name}: {float_summary(content)}: {SMALL_KERNELS}.")
    return {"float_kernels": [f"{kernel.kind} {kernel.layer}" for kernel in left]} if left else {}


def quantized_name(file: str, mode: str) -> str:
    """trained_pruned_model_20.h5, int8 -> quantized_pruned_model_20_int8.tflite."""
    stem = Path(file).stem
    kept = stem.removeprefix("trained") if stem.startswith("trained") else f"_{stem}"
    return f"quantized{kept}_{mode}.tflite"
