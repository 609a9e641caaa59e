"""All rows of a study's cells, and what they say over seeds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hsi.results import COLUMNS, Row, write_rows
from hsi.runs import Run, open_run
from hsi.study.cells import Cell
from hsi.study.course import fine_tuned, on_the_way, rate_of

SEED = "seed"
AVERAGED = (
    "sparsity", "parameters", "macs", "bytes", "bytes_gzip", "oa", "aa", "kappa", "latency_ms",
    "leakage", "left", "rate", "epochs",
)  # fmt: skip
"""Columns whose mean over seeds, and its 95 % interval, are taken."""
LEFT, RATE, EPOCHS = "left", "rate", "epochs"
"""Percent of the trained parameters that this variant keeps and that are not zero; one of how many
channels, or weights, was to stay; epochs of fine-tuning on the way from the trained network."""
ON_THE_WAY = "on_the_way"
"""Key of lines, no column: see `hsi.study.course.on_the_way`."""


def study_rows(cells: Sequence[Cell], folders: Sequence[Path], keys: Sequence[str]) -> list[Row]:
    """A row for every variant of every finished cell.

    In it the cell, the keys, the results, and `LEFT`, `RATE`, `EPOCHS` and `ON_THE_WAY`.
    """
    rows: list[Row] = []
    for cell, folder in zip(cells, folders, strict=True):
        run = open_run(folder)
        apart = {key: _text(cell.apart.get(key)) for key in keys}
        rows += [{**row, "cell": cell.name, **apart} for row in _rows_of(run)]
    return rows


def _rows_of(run: Run) -> list[dict[str, Any]]:
    variants = run.record["variants"]
    trained = [e["row"] for e in variants.values() if e["row"]["variant"] == "trained"]
    whole = trained[0]["parameters"] if trained else None
    rows = []
    for file, entry in variants.items():
        row, epochs = entry["row"], fine_tuned(variants, file)
        rows.append(
            {
                **row,
                LEFT: _left(row, whole),
                RATE: rate_of(variants, file),
                EPOCHS: epochs,
                ON_THE_WAY: on_the_way(row, epochs, run.settings.epochs_total),
            }
        )
    return rows


def averages(rows: Sequence[Row], keys: Sequence[str]) -> list[dict[str, Any]]:
    """Mean, and half of the 95 % Student interval, over the seeds of each combination and variant.

    A combination of one seed has no interval. `<column>_half` is the half-width.
    """
    apart = [key for key in keys if key != SEED]
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault((*(row.get(key) for key in apart), row["variant"]), []).append(row)
    found = []
    for place, group in groups.items():
        line: dict[str, Any] = dict(zip([*apart, "variant"], place, strict=True))
        line["runs"] = len(group)
        line[ON_THE_WAY] = any(row.get(ON_THE_WAY) for row in group)
        for column in AVERAGED:
            values = [float(row[column]) for row in group if row.get(column) is not None]
            line[column], line[f"{column}_half"] = _mean(values)
        found.append(line)
    return found


def write_tables(folder: Path, rows: Sequence[Row], keys: Sequence[str]) -> tuple[Path, Path]:
    """Write study.csv (every row) and summary.csv (means over seeds)."""
    every, summary = folder / "study.csv", folder / "summary.csv"
    extra = [key for key in keys if key not in COLUMNS]
    write_rows(every, rows, ("cell", *extra, *COLUMNS, LEFT, RATE, EPOCHS))
    columns = [key for key in keys if key != SEED] + ["variant", "runs"]
    columns += [name for column in AVERAGED for name in (column, f"{column}_half")]
    write_rows(summary, averages(rows, keys), columns)
    return every, summary


def _left(row: Mapping[str, Any], whole: int | None) -> float | None:
    if not whole or row.get("parameters") is None:
        return None
    left: float = 100 * row["parameters"] / whole * (1 - (row.get("sparsity") or 0) / 100)
    return left


def _mean(values: Sequence[float]) -> tuple[float | None, float | None]:
    if not values:
        return None, None
    if len(values) == 1:
        return values[0], None
    from scipy.stats import t

    error = float(np.std(values, ddof=1)) / math.sqrt(len(values))
    return float(np.mean(values)), float(t.ppf(0.975, len(values) - 1)) * error


def _text(value: Any) -> Any:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ",".join(map(str, value))
    return value


def chance_of(records: Sequence[Mapping[str, Any]]) -> float | None:
    """OA of one answer for all test samples, the best such answer, in percent.

    Args:
        records: of runs, as in `run.json`.

    Returns:
        The mean over runs; None where they differ by over a point, as several data sets do.
    """
    found = []
    for record in records:
        entry = next(iter(record["variants"].values()))
        classes = np.asarray(entry["confusion"]).sum(axis=1)
        found.append(100 * float(classes.max()) / float(classes.sum()))
    return float(np.mean(found)) if found and max(found) - min(found) <= 1 else None
