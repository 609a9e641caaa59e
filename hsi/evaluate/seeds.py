"""Means and standard deviations over seeds; of times medians."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from hsi.evaluate.results import Result, common_pixels
from hsi.metrics import accuracy

Facts = Mapping[str, Any]
"""The numbers of a cell, see `hsi.evaluate.results.Result.facts`."""

AVERAGED = (
    "oa", "aa", "kappa", "f1", "oa_common", "leakage", "training", "test", "parameters", "macs",
    "epochs",
)  # fmt: skip
"""Means over seeds are taken of these; `<name>_sd` is the standard deviation."""

TIMES = ("training_seconds", "map_seconds")
"""Of these medians: one cell in which the machine did something else, or slept, is no time."""


def with_common(results: Sequence[Result]) -> list[dict[str, Any]]:
    """The numbers of every cell, and its OA on the pixels that test in every network.

    Networks of larger patches keep a wider gap to training blocks and so test on fewer pixels,
    which lie farther off: their OA alone cannot be compared. `oa_common` (percent) can; it is None
    where no pixel tests everywhere. `test_common` is their number. Both are None for a seed that
    a network lacks, but has with others: its pixels would be other ones than those of other seeds.
    """
    networks: dict[tuple[str, float], set[str]] = {}
    for result in results:
        networks.setdefault(result.draw[:2], set()).add(result.cell.network)
    draws: dict[tuple[str, float, int], list[Result]] = {}
    for result in results:
        draws.setdefault(result.draw, []).append(result)
    shared = {draw: common_pixels(group) for draw, group in draws.items()}
    found = []
    for result in results:
        pixels = shared[result.draw]
        there = result.answers.at(pixels)
        whole = len(draws[result.draw]) == len(networks[result.draw[:2]])
        value = (
            100 * accuracy(there.truth, there.predicted, result.classes).oa
            if whole and len(pixels)
            else None
        )
        common = {"oa_common": value, "test_common": len(pixels) if whole else None}
        found.append({**result.facts(), **common})
    return found


def tests_apart(cell: Facts) -> bool:
    """Whether a cell tests on pixels on which some other network does not."""
    return cell["test_common"] not in (None, cell["test"])


def averages(cells: Iterable[Facts]) -> list[dict[str, Any]]:
    """A line for each network, split and amount, in the order of the cells.

    A value that is missing in a cell is left out; the standard deviation (n - 1 below) of one
    value is None, which is not 0.
    """
    return [_line(place, group) for place, group in _grouped(cells).items()]


def _grouped(cells: Iterable[Facts]) -> dict[tuple[str, str, float], list[Facts]]:
    """The cells of each network, split and amount: one a seed."""
    groups: dict[tuple[str, str, float], list[Facts]] = {}
    for cell in cells:
        groups.setdefault((cell["network"], cell["split"], cell["amount"]), []).append(cell)
    return groups


def _line(place: tuple[Any, ...], group: Sequence[Facts]) -> dict[str, Any]:
    line: dict[str, Any] = dict(zip(("network", "split", "amount"), place, strict=True))
    line |= {"seeds": [cell["seed"] for cell in group], "patch_size": group[0]["patch_size"]}
    line["gap"] = group[0]["gap"]
    line["tests_apart"] = any(tests_apart(cell) for cell in group)
    for name in AVERAGED:
        line[name], line[f"{name}_sd"] = mean_and_deviation(cell[name] for cell in group)
    for name in TIMES:
        known = [cell[name] for cell in group if cell[name] is not None]
        line[name] = float(np.median(known)) if known else None
    return line


def mean_and_deviation(values: Iterable[float | None]) -> tuple[float | None, float | None]:
    """Mean and sample standard deviation of the values that are there; None without."""
    known = [float(value) for value in values if value is not None]
    if not known:
        return None, None
    spread = float(np.std(known, ddof=1)) if len(known) > 1 else None
    return float(np.mean(known)), spread


def recalls(cells: Sequence[Facts], classes: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Mean recall and F1 of each class, percent, with their deviations and pixels.

    Args:
        classes: `index`, `number` and `name` of each, as in `run.json`.
    """
    rows = []
    for (network, split, amount), group in _grouped(cells).items():
        for known in classes:
            row = {"network": network, "split": split, "amount": amount}
            row |= {"class": known["number"], "name": known["name"]}
            columns = {"recall": "recall", "f1": "f1_by_class"}
            columns |= {"training": "training_by_class", "test": "test_by_class"}
            for name, key in columns.items():
                values = [cell[key][known["index"]] for cell in group]
                row[name], row[f"{name}_sd"] = mean_and_deviation(values)
            rows.append(row)
    return rows
