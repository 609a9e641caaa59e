"""A table as a paper prints it, before it is written in any language."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hsi.evaluate.protocol import Protocol

Line = Mapping[str, Any]
"""Of a network, split and amount, as of `hsi.evaluate.seeds.averages`."""

NOTHING = "n/a"
HIGHEST = ("oa", "aa", "kappa", "f1", "oa_common")
"""Columns whose highest mean is printed bold."""
COLUMNS: dict[str, tuple[str, int]] = {
    "oa": ("OA %", 2),
    "aa": ("AA %", 2),
    "kappa": ("kappa", 3),
    "f1": ("F1 %", 2),
    "oa_common": ("OA common %", 2),
    "leakage": ("leakage %", 1),
}
"""Of each split -> heading and decimals."""
AS_BEST = "as best"


@dataclass(frozen=True)
class Entry:
    """One cell of the table.

    Attributes:
        text: a mean, or words.
        deviation: "1.23" or "n/a"; "" prints none.
        best: whether it is printed bold.
    """

    text: str
    deviation: str = ""
    best: bool = False


@dataclass(frozen=True)
class PaperTable:
    """Rows under headings under groups.

    Attributes:
        groups: (title, how many columns) from the left; "" is no group.
        heads: a heading for each column.
        rows: the first entry of each names the network.
        caption: the protocol.
        notes: below the table.
        label: by which a text refers to it.
    """

    groups: tuple[tuple[str, int], ...]
    heads: tuple[str, ...]
    rows: tuple[tuple[Entry, ...], ...]
    caption: str
    notes: tuple[str, ...]
    label: str


def paper_table(
    protocol: Protocol,
    lines: Sequence[Line],
    likeness: Mapping[tuple[str, str, float], tuple[int, int] | None],
    *,
    caption: str,
    notes: Sequence[str],
    label: str,
) -> PaperTable:
    """The table of the chosen amount: a row a network, its splits side by side.

    Args:
        lines: as of `hsi.evaluate.seeds.averages`; of other amounts too, which are left out.
        likeness: as of `hsi.evaluate.pairs.like_the_best`.
    """
    shown = {(x["network"], x["split"]): x for x in lines if x["amount"] == protocol.chosen}
    splits = [split for split in protocol.splits if any(key[1] == split for key in shown)]
    judged = {split: _judged(protocol, shown, split) for split in splits}
    best = {split: _best(judged[split]) for split in splits}
    several = len(protocol.networks) > 1
    columns = {split: _columns(shown, split) for split in splits}
    rows = []
    for name in protocol.networks:
        known = [shown[name, split] for split in splits if (name, split) in shown]
        row = [Entry(name), *_size(known)]
        for split in splits:
            line = shown.get((name, split))
            marks = best[split] if line in judged[split] else {}
            row += [_entry(line, column, marks) for column in columns[split]]
            if several:
                row.append(_alike(line, likeness))
        rows.append((*row, *_times(known)))
    after = [AS_BEST] if several else []
    heads = ["network", "patch", "parameters", "MACs"]
    groups = [("", len(heads))]
    for split in splits:
        named = [*(COLUMNS[column][0] for column in columns[split]), *after]
        heads += named
        groups.append((split, len(named)))
    groups.append(("seconds", 2))
    return PaperTable(
        tuple(groups), (*heads, "training", "map"), tuple(rows), caption, tuple(notes), label
    )


def _columns(shown: Mapping[tuple[str, str], Line], split: str) -> list[str]:
    """Without OA on common pixels, where all networks test on the same ones anyway."""
    lines = [line for (_, name), line in shown.items() if name == split]
    apart = any(line["tests_apart"] for line in lines)
    return [column for column in COLUMNS if column != "oa_common" or apart]


def _judged(protocol: Protocol, shown: Mapping[tuple[str, str], Line], split: str) -> list[Line]:
    """The lines that can be the best: those that have all seeds, or all lines where none has.

    Of one line alone none is the best.
    """
    lines = [line for (_, name), line in shown.items() if name == split]
    if len(lines) < 2:
        return []
    return [line for line in lines if len(line["seeds"]) == protocol.seeds] or lines


def _best(lines: Sequence[Line]) -> dict[str, str]:
    """The highest mean of each column as it is printed."""
    found = {}
    for column in HIGHEST:
        values = [line[column] for line in lines if line[column] is not None]
        if values:
            found[column] = f"{max(values):.{COLUMNS[column][1]}f}"
    return found


def _entry(line: Line | None, column: str, best: Mapping[str, str]) -> Entry:
    if line is None or line[column] is None:
        return Entry(NOTHING)
    digits = COLUMNS[column][1]
    text = f"{line[column]:.{digits}f}"
    spread = line[f"{column}_sd"]
    return Entry(
        text,
        NOTHING if spread is None else f"{spread:.{digits}f}",
        best=text == best.get(column),
    )


def _alike(
    line: Line | None, likeness: Mapping[tuple[str, str, float], tuple[int, int] | None]
) -> Entry:
    if line is None:
        return Entry(NOTHING)
    found = likeness[line["network"], line["split"], line["amount"]]
    if found is None:
        return Entry("best")
    return Entry(f"{found[0]} of {found[1]}" if found[1] else NOTHING)


def _size(lines: Sequence[Line]) -> list[Entry]:
    """Patch, parameters and MACs; a baseline has other numbers with other training pixels."""
    if not lines:
        return [Entry(NOTHING)] * 3
    counts = [_mean(lines, name) for name in ("parameters", "macs")]
    return [Entry(str(lines[0]["patch_size"])), *(Entry(amount_text(count)) for count in counts)]


def _times(lines: Sequence[Line]) -> tuple[Entry, Entry]:
    training, drawing = (_mean(lines, name) for name in ("training_seconds", "map_seconds"))
    return Entry(seconds_text(training)), Entry(seconds_text(drawing))


def _mean(lines: Sequence[Line], name: str) -> float | None:
    """Over all cells of a row."""
    known = [(line[name], len(line["seeds"])) for line in lines if line[name] is not None]
    total = sum(count for _, count in known)
    return sum(value * count for value, count in known) / total if total else None


def amount_text(count: float | None) -> str:
    """Three digits of a number.

    Example:
        >>> amount_text(1234567.0), amount_text(820.0), amount_text(None)
        ('1.23 M', '820', 'n/a')
    """
    if count is None:
        return NOTHING
    for factor, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= factor:
            return f"{_three(count / factor)} {name}"
    return f"{count:.0f}"


def seconds_text(seconds: float | None) -> str:
    """Three digits of a time in seconds, no finer than milliseconds.

    Example:
        >>> seconds_text(12.345), seconds_text(0.0123)
        ('12.3', '0.012')
    """
    return NOTHING if seconds is None else f"{seconds:.3f}" if seconds < 1 else _three(seconds)


def _three(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
