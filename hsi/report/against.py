"""P against the first row, also of runs whose p is against a model that they do not hold.

A run of `--quantize_folder` tests its files against the trained model of the earlier run, which is
no row of its own: the page, which compares everything with its first row, has to test anew.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hsi.metrics import mcnemar
from hsi.predict import classes_at
from hsi.progress import progress
from hsi.runs import Run
from hsi.views.opened import Opened
from hsi.views.photographs import ImageSubject

P = "mcnemar_p"

Rows = Sequence[dict[str, str]]


def against_first(rows: Rows, opened: Sequence[Opened]) -> Rows:
    """The rows of results.csv with `mcnemar_p` against the first of them.

    A first row without a p is what the others were tested against: nothing has to be done.

    Args:
        opened: the variants of the rows.
    """
    if not _tested_elsewhere(rows):
        return rows
    right = []
    with progress("test answers", len(opened)) as advance:
        for done, item in enumerate(opened, start=1):
            right.append(_right(item))
            advance(done, item.label)
    found = ["", *(f"{mcnemar(right[0], own):.6g}" for own in right[1:])]
    return [{**row, P: p} for row, p in zip(rows, found, strict=True)]


def notes(run: Run, rows: Rows) -> list[str]:
    """What the reader must know of p, where results.csv has another one than the page.

    Args:
        rows: of results.csv.
    """
    if not _tested_elsewhere(rows):
        return []
    folder = run.settings.quantize_folder
    whose = f" (the trained one of {folder})" if folder else ""
    return [
        f"p on this page is against {rows[0]['variant']}, the first row; {P} in results.csv is "
        f"against a model that this run does not hold{whose}."
    ]


def _tested_elsewhere(rows: Rows) -> bool:
    return len(rows) > 0 and rows[0][P] != ""


def _right(item: Opened) -> np.ndarray:
    """(test samples,) bool: where the variant is right."""
    assert not isinstance(item.subject, ImageSubject)
    samples = item.subject.samples
    test = samples.part("test")
    predicted = classes_at(item.variant, samples.patches, test.pixels)
    return np.asarray(predicted == test.classes)
