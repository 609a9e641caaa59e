"""The few numbers on top of the page, computed from the rows of results.csv.

A variant counts as "within the noise" when McNemar's test cannot tell it from the first row, and as
faster when the intervals of both latencies lie apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hsi.compare.conclusion import LEVEL, as_fast, p_text
from hsi.report.table import number

Row = Mapping[str, str]


@dataclass(frozen=True)
class Tile:
    """A number with what it is.

    Attributes:
        label: what is counted.
        value: the number, with its unit.
        note: which variant, and how sure.
        variant: its place in the rows.
    """

    label: str
    value: str
    note: str
    variant: int


def tiles(rows: Sequence[Row]) -> list[Tile]:
    """Accuracy of the first row, and the smallest and the fastest file within its noise."""
    first = rows[0]
    oa, low, high = (number(first[name]) for name in ("oa", "oa_low", "oa_high"))
    found = []
    if oa is not None:
        interval = "" if low is None or high is None else f", 95 % {low:.1f} to {high:.1f}"
        found.append(Tile("overall accuracy", f"{oa:.1f} %", f"{first['variant']}{interval}", 0))
    same = [place for place, row in enumerate(rows) if place and _within_noise(row)]
    faster = [place for place in same if not as_fast(rows[place], first)]
    found += _least(rows, same, "bytes", "smallest within the noise", "smaller")
    found += _least(rows, faster, "latency_ms", "fastest within the noise", "faster")
    sizes = [(number(row["bytes"]), place) for place, row in enumerate(rows)]
    known = [(size, place) for size, place in sizes if size is not None]
    if len(known) > 1:
        size, place = min(known)
        row = rows[place]
        lost = number(row["oa"])
        value = f"{size / 1000:,.0f} kB"
        note = row["variant"] if lost is None else f"{row['variant']}, OA {lost:.1f} %"
        found.append(Tile("smallest file of all", value, note, place))
    return found


def _least(rows: Sequence[Row], same: Sequence[int], column: str, label: str, word: str
) -> list[Tile]:  # fmt: skip
    whole = number(rows[0][column])
    known = [(value, place) for place in same if (value := number(rows[place][column]))]
    if not whole or not known:
        return []
    value, place = min(known)
    if value >= whole:
        return []
    p = number(rows[place]["mcnemar_p"])
    note = (
        rows[place]["variant"]
        if p is None
        else f"{rows[place]['variant']}, {p_text(p)}".replace("= ", "=\u00a0")
    )
    return [Tile(label, f"{whole / value:.1f} × {word}", note, place)]


def _within_noise(row: Row) -> bool:
    p = number(row["mcnemar_p"])
    return p is not None and p >= LEVEL
