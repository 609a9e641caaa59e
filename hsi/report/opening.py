"""A run that can be reported on: finished, its files what they were, its samples there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hsi.errors import DataError
from hsi.image_sets import ImageSamples
from hsi.parts import AnySamples
from hsi.pipeline.job import data_run, samples_of
from hsi.results import read_rows
from hsi.runs import Run, open_run
from hsi.samples import Samples
from hsi.views.image_set import ImageSetSubject
from hsi.views.subject import SceneSubject

RESULTS = "results.csv"


@dataclass(frozen=True)
class ReportRun:
    """A finished run with its results and its samples.

    Attributes:
        run: the folder and its record.
        rows: of results.csv, as text; the first is what the others are compared with.
        samples: of the run.
        subject: the same as attributions are shown on: in the sensor's bands.
    """

    run: Run
    rows: tuple[dict[str, str], ...]
    samples: AnySamples
    subject: SceneSubject | ImageSetSubject


def open_report_run(folder: Path, *, say: Callable[[str], None]) -> ReportRun:
    """Open a run and check that it is whole; loads no TensorFlow.

    Raises:
        DataError: no run, a damaged or unfinished one, one without models, whose models are gone
            or others than those that were tested, or whose data has changed.
    """
    run = open_run(folder)
    if run.record.get("state") != "done":
        raise DataError(
            f"{folder}: this run is not finished; go on with it by generate_model.py --resume, "
            "then ask for its report."
        )
    if not run.record["variants"]:
        raise DataError(f"{folder}: expected a run with a model or more, it has none.")
    gone = [file for file in run.record["variants"] if run.variant(file) is None]
    if gone:
        raise DataError(
            f"{folder}: {', '.join(gone)}: missing, or not the file that was tested; "
            "repeat the run."
        )
    rows = tuple(read_rows(run.path(RESULTS)))
    if [row["file"] for row in rows] != list(run.record["variants"]):
        raise DataError(f"{run.path(RESULTS)}: expected a row for each model of run.json.")
    samples = samples_of(run, say=say)
    subject: SceneSubject | ImageSetSubject
    if isinstance(samples, ImageSamples):
        subject = ImageSetSubject(run, samples)
    else:
        assert isinstance(samples, Samples)
        subject = SceneSubject(run, samples, data_run(run).settings.scaling, "bands")
    return ReportRun(run, rows, samples, subject)
