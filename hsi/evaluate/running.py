"""A cell is run by the stages of `generate_model.py`; then its map is timed and its answers kept.

What was found stands in the `run.json` of the cell's folder, the answers at the test pixels beside
it: networks can then be compared pixel by pixel without being asked again.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr
from dataclasses import replace
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from hsi.baselines import fit
from hsi.errors import DataError, UserError
from hsi.evaluate.protocol import EvaluationCell
from hsi.files import atomic_path, sha256_of
from hsi.metrics import confusion_matrix
from hsi.models import BASELINES
from hsi.patches import Patches
from hsi.pipeline.fitting import fit_baseline
from hsi.pipeline.job import Job, open_job
from hsi.pipeline.training import train_model
from hsi.predict import Forward, Way, class_map, way_of
from hsi.progress import progress
from hsi.quiet import forget_models, start_tensorflow
from hsi.runs import find_to_resume, open_run
from hsi.samples import Samples

CELLS, LOGS = "cells", "logs"
PREDICTIONS = "predictions.npz"
MEASURED = "evaluation"
"""In `run.json`: what `_measure` found."""

SHORT = 3.0
"""Seconds: a first map within them is drawn `ROUNDS` times more, and those are counted."""
ROUNDS = 3
ERROR = "error: "
"""How the last line of a log begins whose cell failed."""
NOT_BEGUN = "not begun: the time of --minutes was over"

Say = Callable[[str], None]


def placed(cells: Sequence[EvaluationCell], folder: Path) -> list[EvaluationCell]:
    """The cells with their run folders.

    Raises:
        SettingsError: a folder is there of other settings; the first difference is named.
    """
    found = []
    for cell in cells:
        output = str(folder / CELLS / cell.name)
        settings = replace(cell.settings, output=output, resume=True)
        find_to_resume(settings)
        found.append(replace(cell, settings=settings))
    return found


def is_finished(cell: EvaluationCell) -> bool:
    """Whether the cell is run and measured; its model file may be gone."""
    try:
        run = open_run(Path(cell.settings.output or ""))
    except UserError:
        return False
    path, known = run.path(PREDICTIONS), run.record.get(MEASURED, {}).get("sha256")
    return known is not None and path.is_file() and sha256_of(path) == known


def run_cells(
    cells: Sequence[EvaluationCell],
    folder: Path,
    *,
    minutes: float | None = None,
    drop_models: bool = False,
    say: Say = print,
) -> dict[str, str]:
    """Run the cells in their order; what each says goes to `logs/`.

    Args:
        cells: placed, none of them finished.
        minutes: after which no further cell is begun.
        drop_models: delete the model file of each cell once its answers are kept.

    Returns:
        Name -> reason, of the cells that were not finished.
    """
    failed: dict[str, str] = {}
    start = time.monotonic()
    if not cells:
        return failed
    with progress("Cells", len(cells)) as advance:
        for count, cell in enumerate(cells, start=1):
            advance(count - 1, cell.name)
            if minutes is not None and time.monotonic() - start >= 60 * minutes:
                failed[cell.name] = _last_error(cell, folder / LOGS) or NOT_BEGUN
                continue
            error = _run(cell, folder / LOGS, drop_models=drop_models)
            if error:
                failed[cell.name] = error
            say(f"[{count}/{len(cells)}] {cell.name}: {error or 'done'}")
    return failed


def _log(cell: EvaluationCell, logs: Path) -> Path:
    return logs / f"{cell.name}.txt"


def _last_error(cell: EvaluationCell, logs: Path) -> str:
    """Why the cell failed when it was last tried, or ""."""
    path = _log(cell, logs)
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return lines[-1].removeprefix(ERROR) if lines and lines[-1].startswith(ERROR) else ""


def _run(cell: EvaluationCell, logs: Path, *, drop_models: bool) -> str:
    """Run one cell, or go on with it; the one line of a user's error, or ""."""
    logs.mkdir(parents=True, exist_ok=True)
    path = _log(cell, logs)
    with path.open("a", encoding="utf-8", buffering=1) as log, redirect_stderr(log):
        try:
            _train_and_measure(cell, lambda line: print(line, file=log), drop_models=drop_models)
        except UserError as error:
            print(f"{ERROR}{error}", file=log)
            return str(error)
        finally:
            forget_models()
    return ""


def _train_and_measure(cell: EvaluationCell, say: Say, *, drop_models: bool) -> None:
    """In a frame of its own: what it holds is gone when the cell's memory is given back."""
    if cell.network in BASELINES:
        _load_fitting(cell.network)
    job = open_job(cell.settings, say=say)
    if cell.network in BASELINES:
        fit_baseline(job)
    else:
        start_tensorflow()
        train_model(job)
    _measure(job)
    if drop_models:
        drop_model(cell)


def drop_model(cell: EvaluationCell) -> None:
    """Delete the model file of a finished cell; its answers are kept."""
    run = open_run(Path(cell.settings.output or ""))
    for name in run.record["variants"]:
        run.path(name).unlink(missing_ok=True)


@cache
def _load_fitting(name: str) -> None:
    """Fit a few samples, so that loading scikit-learn is not counted as training."""
    inputs = np.arange(8, dtype=np.float32).reshape(8, 1, 1, 1)
    fit(name, inputs, np.arange(8) % 2, total=2, seed=0)


def _measure(job: Job) -> None:
    """Draw the map of the scene with a clock, keep the answers at the test pixels."""
    from hsi.deploy.variant import load_variant

    samples = job.samples
    if not isinstance(samples, Samples):
        raise DataError(f"{samples.name}: expected a scene.")
    forward = load_variant(job.reference, threads=os.cpu_count() or 1)
    found, facts = timed_map(forward, samples.patches)
    test, train = samples.part("test"), samples.part("train")
    labels = samples.scene.class_indices()
    predicted = found.ravel()[test.pixels]
    entry = job.run.record["variants"][job.reference.name]
    counts = confusion_matrix(test.classes, predicted, job.classes)
    differ = int(np.abs(counts - np.asarray(entry["confusion"])).sum())
    if differ:  # the answers to the patches are those that are on record
        predicted = job.predict(job.reference)
    path = job.run.path(PREDICTIONS)
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(
            file,
            pixels=test.pixels.astype(np.int64),
            truth=test.classes.astype(np.int16),
            predicted=predicted.astype(np.int16),
        )
    job.run.save(
        **{
            MEASURED: {
                "sha256": sha256_of(path),
                **facts,
                "map_differs": differ,
                "training_by_class": _counted(train.classes, job.classes),
                "validation_by_class": _counted(samples.part("validation").classes, job.classes),
                "test_by_class": _counted(test.classes, job.classes),
                "labelled_by_class": _counted(labels[labels >= 0], job.classes),
            }
        }
    )


def timed_map(forward: Forward, patches: Patches) -> tuple[np.ndarray, dict[str, Any]]:
    """The map of class indices (rows, cols), and how long it took.

    The first map compiles. Where it is drawn within `SHORT` seconds, the median of `ROUNDS` others
    counts, else the first.
    """
    said: list[str] = []
    way = way_of(forward, patches.patch_size)
    found, first = _clocked(forward, patches, way, said)
    short = first < SHORT
    rounds = [_clocked(forward, patches, way, [])[1] for _ in range(ROUNDS if short else 0)]
    facts = {
        "map_seconds": median(rounds) if rounds else first,
        "map_first_seconds": first,
        "map_rounds": len(rounds) or 1,
        "map_way": " ".join(said),
    }
    return found, facts


def _clocked(
    forward: Forward, patches: Patches, way: Way, said: list[str]
) -> tuple[np.ndarray, float]:
    start = time.perf_counter()
    found = class_map(forward, patches, way=way, say=said.append)
    return found, time.perf_counter() - start


def _counted(classes: np.ndarray, total: int) -> list[int]:
    return [int(count) for count in np.bincount(classes, minlength=total)]
