"""All rows of a study's cells, and what they say over seeds."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
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
"""Last column of summary.csv, 1 or 0: see `hsi.study.course.on_the_way`."""
RESULTS = ("cell", *COLUMNS, LEFT, RATE, EPOCHS)
"""Columns of study.csv beside those of the keys."""
MEANS = ("variant", "runs", *AVERAGED, *(f"{name}_half" for name in AVERAGED), ON_THE_WAY)
"""Columns of summary.csv beside those of the keys."""
GIVEN = "set_"
"""Before the name of a key whose plain name is a result's: `set_epochs` were asked for in the
training, `epochs` is what fine-tuning took."""


def study_rows(cells: Sequence[Cell], folders: Sequence[Path], keys: Sequence[str]) -> list[Row]:
    """A row for every variant of every finished cell.

    In it the cell, the keys under the names of `columns_of(keys, RESULTS)`, the results, and
    `LEFT`, `RATE`, `EPOCHS` and `ON_THE_WAY`. The seed is that of the results.
    """
    apart = [key for key in keys if key != SEED]
    columns = columns_of(keys, RESULTS)
    rows: list[Row] = []
    for cell, folder in zip(cells, folders, strict=True):
        run = open_run(folder)
        given = [_text(cell.apart.get(key)) for key in apart]
        own = dict(zip(columns, given, strict=True))
        rows += [{**row, "cell": cell.name, **own} for row in _rows_of(run)]
    return rows


def columns_of(keys: Sequence[str], results: Collection[str]) -> list[str]:
    """The columns of all keys but the seed, apart from results of the same name.

    Example:
        >>> columns_of(["epochs", "model", "seed"], MEANS)
        ['set_epochs', 'model']
    """
    return [f"{GIVEN}{key}" if key in results else key for key in keys if key != SEED]


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

    A combination of one seed has no interval. `<column>_half` is the half-width. The keys stand
    under the names of `columns_of(keys, MEANS)`.
    """
    apart, named = columns_of(keys, RESULTS), columns_of(keys, MEANS)
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault((*(row.get(key) for key in apart), row["variant"]), []).append(row)
    found = []
    for place, group in groups.items():
        line: dict[str, Any] = dict(zip([*named, "variant"], place, strict=True))
        line["runs"] = len(group)
        line[ON_THE_WAY] = int(any(row.get(ON_THE_WAY) for row in group))
        for column in AVERAGED:
            values = [float(row[column]) for row in group if row.get(column) is not None]
            line[column], line[f"{column}_half"] = _mean(values)
        found.append(line)
    return found


def write_tables(folder: Path, rows: Sequence[Row], keys: Sequence[str]) -> tuple[Path, Path]:
    """Write study.csv (every row) and summary.csv (means over seeds)."""
    every, summary = folder / "study.csv", folder / "summary.csv"
    write_rows(every, rows, ("cell", *columns_of(keys, RESULTS), *RESULTS[1:]))
    columns = [*columns_of(keys, MEANS), "variant", "runs"]
    columns += [name for column in AVERAGED for name in (column, f"{column}_half")]
    write_rows(summary, averages(rows, keys), (*columns, ON_THE_WAY))
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
