"""A study: many runs over a grid of settings, one table and the curves at the end.

    cells       a TOML file -> the cells of its grid
    running     each cell a run folder; here, or by the workers of a Dask cluster
    tables      all rows of all cells, and their means over seeds

A finished cell is never repeated, a killed one is taken up where it stopped, and cells that train
the same network train it once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hsi.errors import DataError
from hsi.runs import open_run
from hsi.settings import Settings
from hsi.study.cells import Study
from hsi.study.running import CELLS, is_finished, run_cells
from hsi.study.tables import MEANS, averages, chance_of, columns_of, study_rows, write_tables


@dataclass(frozen=True)
class Outcome:
    """What a study found.

    Attributes:
        table, summary: its files, every row and the means over seeds.
        figures: its curves.
        lines: the means over seeds, as `averages` gives them.
        runs: folders of the cells that are finished.
        failed: folder -> error of the cells that could not be run.
    """

    table: Path
    summary: Path
    figures: tuple[Path, ...]
    lines: Sequence[dict[str, Any]]
    runs: tuple[Path, ...]
    failed: dict[str, str]


def run_study(
    study: Study,
    settings: Sequence[Settings],
    folder: Path,
    *,
    workers: int = 1,
    scheduler: str | None = None,
    say: Callable[[str], None] = print,
) -> Outcome:
    """Run every cell that is not finished, then write the tables and the curves of all that are.

    Args:
        study: as read.
        settings: of each of its cells, checked.
        folder: of the study; made where it is not there.
        workers, scheduler: see `hsi.study.running.run_cells`.

    Raises:
        DataError: no cell could be run.
        SettingsError: no cluster.
    """
    placed = [
        replace(cell_settings, output=str(folder / CELLS / cell.name))
        for cell, cell_settings in zip(study.cells, settings, strict=True)
    ]
    failed = run_cells(folder, placed, workers=workers, scheduler=scheduler, say=say)
    done = [
        (cell, Path(run.output or ""))
        for cell, run in zip(study.cells, placed, strict=True)
        if is_finished(run)
    ]
    if not done:
        raise DataError(f"study {study.name}: no cell could be run: {next(iter(failed.values()))}")
    rows = study_rows([cell for cell, _ in done], [path for _, path in done], study.keys)
    table, summary = write_tables(folder, rows, study.keys)
    lines = averages(rows, study.keys)
    records = [open_run(path).record for _, path in done]
    if any(record["data"]["synthetic"] for record in records):
        say("Cells on the embedded synthetic scene: not real data.")
    figures = _draw(study, lines, folder, records)
    return Outcome(table, summary, figures, lines, tuple(path for _, path in done), failed)


def _draw(
    study: Study,
    lines: Sequence[dict[str, Any]],
    folder: Path,
    records: Sequence[dict[str, Any]],
) -> tuple[Path, ...]:
    from hsi.plots import save_figure
    from hsi.plots.study import rate_curves, study_curves

    figures = {"curves": study_curves}
    if any(record["settings"]["compression_rates"] for record in records):
        figures["rates"] = rate_curves
    keys = columns_of(study.keys, MEANS)
    facts: dict[str, Any] = {
        "title": study.name,
        "chance": chance_of(records),
        "synthetic": any(record["data"]["synthetic"] for record in records),
    }
    return tuple(
        save_figure(draw(lines, keys, **facts), folder / f"{name}.png")
        for name, draw in figures.items()
    )
