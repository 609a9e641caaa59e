"""The rows of results.csv on the page: the text of the file, and what a person reads."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hsi.compare import conclusion

Row = Mapping[str, str]


@dataclass(frozen=True)
class Cell:
    """A cell of the table.

    Attributes:
        raw: as results.csv has it.
        shown: as a person reads it.
        more: smaller print beside it, such as an interval.
    """

    raw: str
    shown: str
    more: str = ""


@dataclass(frozen=True)
class Column:
    """A column of the table.

    Attributes:
        name: in results.csv.
        title: on the page.
        help: what it is, in a sentence.
    """

    name: str
    title: str
    help: str


COLUMNS = (
    Column("parameters", "parameters", "Weights and biases of the network."),
    Column("macs", "MACs", "Multiplications and additions for one sample."),
    Column("sparsity", "zeros %", "Share of the weights that are zero."),
    Column("bytes", "kB", "Size of the file."),
    Column("bytes_gzip", "kB gzip", "Size of the file after gzip."),
    Column("oa", "OA %", "Overall accuracy on the test samples, with its 95 % Wilson interval."),
    Column("aa", "AA %", "Mean recall of the classes."),
    Column("kappa", "kappa", "Cohen's kappa, up to 1."),
    Column("mcnemar_p", "p", "McNemar's exact test against the first row, on the same samples."),
    Column("latency_ms", "ms", "Median time of one call, with its 95 % interval."),
)


def number(text: Any) -> float | None:
    """The value of a cell; None where it is empty or no finite number."""
    try:
        value = float(text)
    except (TypeError, ValueError):
        return None
    return value if math.isfinite(value) else None


def cell(row: Row, column: str) -> Cell:
    """One cell; an empty one is shown as a dash."""
    value = number(row[column])
    if value is None:
        return Cell(row[column], "–")
    interval = {"oa": ("oa_low", "oa_high"), "latency_ms": ("latency_low", "latency_high")}
    more = ""
    if column in interval:
        low, high = (number(row[end]) for end in interval[column])
        if low is not None and high is not None:
            digits = 1 if column == "oa" else 3
            more = f"{low:.{digits}f} – {high:.{digits}f}"
    return Cell(row[column], _FORMATS[column](value), more)


def cells(rows: Sequence[Row]) -> list[list[Cell]]:
    """Every shown cell, row after row."""
    return [[cell(row, column.name) for column in COLUMNS] for row in rows]


def p_text(p: float) -> str:
    """A probability as the sentences write it, without the "p =".

    Example:
        >>> p_text(0.41), p_text(0.00002)
        ('.41', '< .001')
    """
    return conclusion.p_text(p).removeprefix("p ").removeprefix("= ")


def _thousands(value: float) -> str:
    return f"{round(value):,}".replace(",", "\u2009")


def _kilobytes(value: float) -> str:
    return f"{value / 1000:,.1f}".replace(",", "\u2009")


_FORMATS: dict[str, Any] = {
    "parameters": _thousands,
    "macs": _thousands,
    "sparsity": lambda value: f"{value:.1f}",
    "bytes": _kilobytes,
    "bytes_gzip": _kilobytes,
    "oa": lambda value: f"{value:.2f}",
    "aa": lambda value: f"{value:.2f}",
    "kappa": lambda value: f"{value:.3f}",
    "mcnemar_p": p_text,
    "latency_ms": lambda value: f"{value:.3f}",
}
