"""The figures of a run: confusion matrices, class maps, accuracy against compression."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from hsi.pipeline.job import TRAINED, Job, on_counts
from hsi.predict import class_map
from hsi.samples import Samples
from hsi.split import Split

FOLDER = "figures"


def draw_figures(job: Job) -> list[Path]:
    """Draw everything that the run has the numbers for; returns the files."""
    from hsi.plots import save_figure
    from hsi.plots.compression import compression_figure

    drawn = []
    for file in shown_variants(job):
        name = job.run.record["variants"][file]["row"]["variant"]
        drawn.append(save_figure(_confusion(job, file), _path(job, f"confusion_{name}.png")))
    if isinstance(job.samples, Samples):
        drawn.append(save_figure(_maps(job, job.samples), _path(job, "class_maps.png")))
    rows = [entry["row"] for entry in job.run.record["variants"].values()]
    if len(rows) > 1:
        figure = compression_figure(rows, title=_title(job), **_note(job))
        drawn.append(save_figure(figure, _path(job, "accuracy_compression.png")))
    return drawn


def shown_variants(job: Job) -> list[str]:
    """The variants with a map and a confusion matrix of their own: the first and the smallest."""
    variants = job.run.record["variants"]
    first = TRAINED if TRAINED in variants else next(iter(variants))
    smallest = min(variants, key=lambda file: variants[file]["row"]["bytes"])
    return list(dict.fromkeys((first, smallest)))


def _confusion(job: Job, file: str) -> Any:
    from hsi.plots.confusion import confusion_matrix_figure

    entry = job.run.record["variants"][file]
    row = entry["row"]
    return confusion_matrix_figure(
        np.asarray(entry["confusion"]),
        job.samples.class_names,
        oa=row["oa"] / 100,
        aa=row["aa"] / 100,
        kappa=row["kappa"],
        title=f"{_title(job)}, {row['variant']}",
        unit=job.samples.unit,
        **_note(job),
    )


def _maps(job: Job, samples: Samples) -> Any:
    from hsi.deploy.variant import load_variant
    from hsi.plots.maps import class_maps

    scene = samples.scene
    numbers = np.asarray(scene.classes)
    maps = {}
    for file in shown_variants(job):
        forward = load_variant(job.run.path(file), threads=os.cpu_count() or 1)
        row = job.run.record["variants"][file]["row"]
        title = f"{row['variant']}, OA {row['oa']:.1f} %"
        taken = on_counts(samples) if job.run.takes_counts(file) else samples
        maps[title] = scene.marked(numbers[class_map(forward, taken.patches)])
    truth, masks = scene.marked(scene.labels), parts_of(samples.split)
    return class_maps(truth, maps, scene.class_names, title=_title(job), masks=masks, **_note(job))


def parts_of(split: Split) -> dict[str, np.ndarray]:
    """What each pixel is taken for, in words: the masks of the parts that have pixels."""
    words = {"training": split.train, "validation": split.validation, "test": split.test}
    return {name: mask for name, mask in words.items() if mask.any()}


def _title(job: Job) -> str:
    return f"{job.network.name} on {job.samples.name}"


def _note(job: Job) -> dict[str, Any]:
    """What every figure says: the split with its leakage, and where the data is synthetic."""
    return {"note": job.samples.note, "synthetic": job.samples.synthetic}


def _path(job: Job, name: str) -> Path:
    return job.run.path(FOLDER) / name
