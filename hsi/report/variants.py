"""The variants of a run as the page tells them apart: how much is gone, and in what form.

Colour says how much was removed, from the whole network (dark on light, light on dark) to the
smallest, in steps of one colour map that people who see colours less can read too; the dash and the
mark say the form. So a variant looks the same in every chart.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from hsi.baselines import ENDING
from hsi.compare.explained import nothing_there
from hsi.compare.series import quantization_of
from hsi.deploy.variant import load_variant
from hsi.pipeline.job import on_counts
from hsi.report.opening import ReportRun
from hsi.report.table import number
from hsi.views.image_set import ImageSetSubject
from hsi.views.opened import Opened
from hsi.views.subject import SceneSubject

NUMBERS = (
    "parameters", "macs", "bytes", "bytes_gzip", "sparsity", "oa", "oa_low", "oa_high", "aa",
    "kappa", "mcnemar_p", "latency_ms", "latency_low", "latency_high", "target",
)  # fmt: skip


def open_all(report: ReportRun) -> list[Opened]:
    """Every variant with its samples, in the order of results.csv.

    Raises:
        ModelError: a file that does not open, or a network of other classes or other samples.
    """
    files = [row["file"] for row in report.rows]
    subjects = _subjects(report, files)
    opened = []
    for file, subject in zip(files, subjects, strict=True):
        variant = load_variant(report.run.path(file), threads=os.cpu_count() or 1)
        subject.check_model(variant.path, variant.input_shape, variant.classes)
        nothing = nothing_there((each.samples for each in subjects), subject.space)
        opened.append(Opened(variant, subject, subject.space, nothing))
    return opened


def _subjects(report: ReportRun, files: Sequence[str]) -> Sequence[SceneSubject | ImageSetSubject]:
    """What each file is made for: where one takes counts, all are explained on counts."""
    subject = report.subject
    counts = [report.run.takes_counts(file) for file in files]
    if isinstance(subject, ImageSetSubject) or not any(counts):
        return [subject] * len(files)
    samples = on_counts(subject.samples)
    raw = SceneSubject(subject.run, samples, "none", "counts")
    prepared = replace(subject, space="counts")
    return [raw if takes else prepared for takes in counts]


def variant_facts(rows: Sequence[Mapping[str, str]]) -> list[dict[str, Any]]:
    """A dict a variant: name, file, series, made, form, percent removed, and its row's numbers.

    Series, what was made of the network, and percent are those of the figure
    `accuracy_compression`.
    """
    from hsi.plots.compression import compression_points

    points, missing = compression_points(rows)
    found = []
    for place, row in enumerate(rows):
        point = points[place] if not missing else None
        numbers = {name: number(row[name]) for name in NUMBERS}
        found.append(
            {
                "name": row["variant"],
                "file": row["file"],
                "series": point.series if point else "",
                "made": point.made if point else "",
                "form": _form(row),
                "removed": point.removed if point else None,
                **numbers,
            }
        )
    return found


def _form(row: Mapping[str, str]) -> str:
    return "scikit-learn" if row["file"].endswith(ENDING) else quantization_of(row) or "Keras"
