"""The quantization stage."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hsi.errors import DataError
from hsi.files import atomic_path
from hsi.pipeline.job import TRAINED, Job
from hsi.pipeline.variants import record_variant
from hsi.runs import Run, open_run

INHERITED = (
    "criterion", "granularity", "scope", "schedule", "target", "sparsity", "parameters", "macs",
)  # fmt: skip
"""Columns that a quantized file has from the model it was made of."""


def quantize_models(job: Job) -> None:
    """Quantize the models of this run that its settings want quantized."""
    files = [file for file in job.run.record["variants"] if file.endswith(".h5")]
    wanted = [
        file
        for file in files
        if (job.settings.quantize and file == TRAINED)
        or (job.settings.quantize_pruned_models and file != TRAINED)
    ]
    _quantize(job, job.run, wanted)


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

    calibration = job.samples.calibration(seed=job.settings.seed)
    for file, mode, name in todo:
        content = quantize(load_model(source.path(file)), mode, calibration=calibration)
        with atomic_path(job.run.path(name)) as temporary:
            temporary.write_bytes(content)
        parent = source.record["variants"][file]["row"]
        kind = "quantized" if parent["variant"] == "trained" else f"quantized_{parent['variant']}"
        row = {column: parent.get(column) for column in INHERITED}
        record_variant(job, name, variant=f"{kind}_{mode}", row=row, parent=file, mode=mode)


def quantized_name(file: str, mode: str) -> str:
    """trained_pruned_model_20.h5, int8 -> quantized_pruned_model_20_int8.tflite."""
    stem = Path(file).stem
    return f"{'quantized' + stem.removeprefix('trained')}_{mode}.tflite"
