"""results.csv: one row a variant, in columns that other tools may rely on."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hsi.errors import DataError
from hsi.files import write_text

COLUMNS = (
    "variant", "file", "criterion", "granularity", "scope", "schedule", "target", "sparsity",
    "parameters", "macs", "bytes", "bytes_gzip", "oa", "aa", "kappa", "oa_low", "oa_high",
    "mcnemar_p", "latency_ms", "latency_low", "latency_high", "batch", "threads", "seed", "split",
    "leakage",
)  # fmt: skip
"""Accuracies, sparsity, target and leakage in percent, kappa up to 1, latency in ms a call, sizes
in bytes, `file` relative to the run folder."""

LATENCY_COLUMNS = (
    "file", "batch", "threads", "milliseconds", "low", "high", "milliseconds_per_sample", "rounds",
)  # fmt: skip
"""latency.csv: a row for each file and batch size."""

Row = Mapping[str, Any]


def write_rows(path: Path, rows: Sequence[Row], columns: Sequence[str] = COLUMNS) -> None:
    """Write rows atomically; a missing value is an empty cell."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_cell(row.get(column)) for column in columns] for row in rows)
    write_text(path, text.getvalue())


def read_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a results file, as text.

    Raises:
        DataError: no such file, or other columns.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            if tuple(reader.fieldnames or ()) != COLUMNS:
                raise DataError(f"{path}: expected the columns {', '.join(COLUMNS)}.")
            return list(reader)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}.") from error


def _cell(value: Any) -> str:
    """Six digits of a fraction; all of a count, which may be the mean of several."""
    if value is None:
        return ""
    if not isinstance(value, float):
        return str(value)
    return f"{value:.0f}" if value.is_integer() or abs(value) >= 1e6 else f"{value:.6g}"
