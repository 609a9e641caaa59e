"""All rows of a study's cells, and what they say over seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hsi.results import COLUMNS, Row, write_rows
from hsi.runs import open_run
from hsi.study.cells import Cell

SEED = "seed"
AVERAGED = (
    "sparsity", "parameters", "macs", "bytes", "bytes_gzip", "oa", "aa", "kappa", "latency_ms",
    "leakage", "left",
)  # fmt: skip
"""Columns whose mean over seeds, and its 95 % interval, are taken."""
LEFT = "left"
"""Percent of the trained model's parameters that this variant keeps and that are not zero."""


def study_rows(cells: Sequence[Cell], folders: Sequence[Path], keys: Sequence[str]) -> list[Row]:
    """A row for every variant of every finished cell: its cell, the keys, the results, `left`."""
    rows: list[Row] = []
    for cell, folder in zip(cells, folders, strict=True):
        record = open_run(folder).record
        variants = [entry["row"] for entry in record["variants"].values()]
        whole = next((r["parameters"] for r in variants if r["variant"] == "trained"), None)
        apart = {key: _text(cell.apart.get(key)) for key in keys}
        for row in variants:
            rows.append({**row, "cell": cell.name, **apart, LEFT: _left(row, whole)})
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
        for column in AVERAGED:
            values = [float(row[column]) for row in group if row.get(column) is not None]
            line[column], line[f"{column}_half"] = _mean(values)
        found.append(line)
    return found


def write_tables(folder: Path, rows: Sequence[Row], keys: Sequence[str]) -> tuple[Path, Path]:
    """Write study.csv (every row) and summary.csv (means over seeds)."""
    every, summary = folder / "study.csv", folder / "summary.csv"
    extra = [key for key in keys if key not in COLUMNS]
    write_rows(every, rows, ("cell", *extra, *COLUMNS, LEFT))
    columns = [key for key in keys if key != SEED] + ["variant", "runs"]
    columns += [name for column in AVERAGED for name in (column, f"{column}_half")]
    write_rows(summary, averages(rows, keys), columns)
    return every, summary


def _left(row: Row, whole: int | None) -> float | None:
    if not whole or row.get("parameters") is None:
        return None
    return 100 * row["parameters"] / whole * (1 - (row.get("sparsity") or 0) / 100)


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
