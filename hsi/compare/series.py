"""Variants that were pruned alike and differ in how much: series, and what each is called."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hsi.compare.wording import Row, known
from hsi.settings import QUANTIZATIONS

Series = list[tuple[str, list[Row]]]
"""What a series is called, and its rows by the share that is gone."""

_ALIKE = ("criterion", "granularity", "scope", "schedule")
_OF = {"channel": "channels", "weight": "weights"}

_Key = tuple[str, ...]
"""Criterion, granularity, scope, schedule, number format, folder."""


def series_of(rows: Sequence[Row]) -> tuple[Series, list[Row]]:
    """Series of more than one step; and all other rows.

    Variants of different folders are no series: each folder may hold a network of its own.
    """
    groups: dict[_Key, list[Row]] = {}
    for row in rows:
        if known(row, "target"):
            groups.setdefault(_key(row), []).append(row)
    kept = {
        key: sorted(group, key=lambda row: float(row["target"]))
        for key, group in groups.items()
        if len({float(row["target"]) for row in group}) > 1
    }
    named = [(_name(key, list(kept)), group) for key, group in kept.items()]
    together = {id(row) for group in kept.values() for row in group}
    return named, [row for row in rows if id(row) not in together]


def quantization_of(row: Row) -> str:
    """The quantization mode that the name of a variant, or of its file, ends with; "" of none.

    Example:
        >>> quantization_of({"variant": "quantized_pruned_20_int8"}), quantization_of({})
        ('int8', '')
    """
    names = str(row.get("variant") or ""), Path(row.get("file") or "").stem
    modes = (mode for mode in QUANTIZATIONS for name in names if name.endswith(f"_{mode}"))
    return next(modes, "")


def _key(row: Row) -> _Key:
    alike = (str(row.get(name) or "") for name in _ALIKE)
    folder = Path(row.get("file") or str(row.get("variant", ""))).parent
    return (*alike, quantization_of(row), str(folder))


def _name(key: _Key, keys: Sequence[_Key]) -> str:
    """ "channels (apoz, int8)": what is pruned, and what sets the series apart from others."""
    criterion, granularity, *others, mode, folder = key
    apart = [
        word for i, word in enumerate(others, start=2) if len({other[i] for other in keys}) > 1
    ]
    unit = "" if granularity in _OF else granularity
    where = _folder(folder, {other[-1] for other in keys})
    said = ", ".join(word for word in (criterion, unit, *apart, mode, where) if word)
    what = _OF.get(granularity, "network")
    return f"{what} ({said})" if said else what


def _folder(folder: str, folders: set[str]) -> str:
    """A folder among others, as short as sets it apart; "" where there is one alone."""
    if len(folders) < 2:
        return ""
    names = {Path(each).name for each in folders}
    return Path(folder).name if len(names) == len(folders) else folder
