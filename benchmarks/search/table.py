"""What a search found, as text."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from search.choice import FAMILIES

Found = Mapping[str, Any]


def lines_of(result: Mapping[str, Any]) -> Iterator[str]:
    """Every choice of every cell, the medians of each split, the ladder."""
    yield (
        f"{'split':8}{'seed':>4} {'family':20}{'chosen':15}{'bytes':>9}{'bytes x':>9}{'b1 x':>7}"
        f"{'b256 x':>8}{'valid.':>8}{'trained':>9}{'OA':>7}{'diff.':>7}{'p':>9}  {'holds':6} file"
    )
    for cell in result["cells"]:
        for choice in cell["choices"]:
            yield _choice_line(cell, choice)
    yield ""
    yield f"{'split':8}{'family':20}{'':22}{'median':>9}{'lowest':>9}{'goal':>7}{'hold':>8}"
    for row in result["summary"]:
        yield (
            f"{row['split']:8}{row['family']:20}{row['ratio']:22}{row['median']:9.1f}"
            f"{row['lowest']:9.1f}{row['goal']:7g}{row['hold']:>5} of {row['cells']}"
        )
    yield ""
    yield (
        f"{'split':8}{'step':28}{'bytes':>10}{'bytes x':>9}{'b1 us':>9}{'b1 x':>8}{'b256 x':>8}"
        f"{'OA':>8}{'diff.':>7}{'cells':>7}"
    )
    for row in result["ladder"]:
        yield (
            f"{row['split']:8}{row['step']:28}{row['bytes']:10.0f}{row['bytes_ratio']:9.1f}"
            f"{1000 * row['milliseconds_batch_1']:9.2f}{row['latency_ratio_batch_1']:8.1f}"
            f"{row['latency_ratio_batch_256']:8.1f}{row['oa']:8.2f}{row['difference']:+7.2f}"
            f"{row['cells']:7}"
        )


def summary_of(cells: Sequence[Found]) -> list[dict[str, Any]]:
    """Median and lowest of every ratio over the seeds of a split, and how many choices hold."""
    rows = []
    for split in dict.fromkeys(cell["split"] for cell in cells):
        for family in FAMILIES:
            for ratio, what, batch, goal in (
                ("bytes_ratio", "smallest", None, family.bytes_goal),
                ("latency_ratio_batch_1", "fastest", 1, family.latency_goal),
                ("latency_ratio_batch_256", "fastest", 256, family.latency_goal),
            ):
                chosen = [
                    choice
                    for cell in cells
                    if cell["split"] == split
                    for choice in cell["choices"]
                    if (choice["family"], choice["what"], choice["batch"])
                    == (family.name, what, batch)
                ]
                values = [choice[ratio] for choice in chosen]
                rows.append(
                    {
                        "split": split,
                        "family": family.name,
                        "ratio": ratio,
                        "median": statistics.median(values),
                        "lowest": min(values),
                        "goal": goal,
                        "cells": len(chosen),
                        "hold": sum(choice["holds"] for choice in chosen),
                        "values": values,
                    }
                )
    return rows


def ladder_rows(cells: Sequence[Found]) -> list[dict[str, Any]]:
    """Median of every figure of every step over the seeds of a split."""
    rows = []
    for split in dict.fromkeys(cell["split"] for cell in cells):
        mine = [cell["ladder"] for cell in cells if cell["split"] == split]
        for step in dict.fromkeys(step for ladder in mine for step in ladder):
            found = [ladder[step] for ladder in mine if step in ladder]
            numbers = [n for n, value in found[0].items() if isinstance(value, (int, float))]
            rows.append(
                {
                    "split": split,
                    "step": step,
                    "cells": len(found),
                    **{name: statistics.median(row[name] for row in found) for name in numbers},
                }
            )
    return rows


def _choice_line(cell: Found, choice: Found) -> str:
    batch = f", batch {choice['batch']}" if choice["batch"] else ""
    return (
        f"{cell['split']:8}{cell['seed']:4} {choice['family']:20}"
        f"{choice['what'][:7] + batch:15}{choice['bytes']:9}{choice['bytes_ratio']:9.1f}"
        f"{choice['latency_ratio_batch_1']:7.1f}{choice['latency_ratio_batch_256']:8.1f}"
        f"{choice['validation_oa'] - choice['trained_validation_oa']:+8.2f}"
        f"{choice['trained_oa']:9.2f}{choice['oa']:7.2f}{choice['difference']:+7.2f}"
        f"{choice['mcnemar_p']:9.2g}  {'yes' if choice['holds'] else 'NO':6} {choice['name']}"
    )


def means_of(rows: Sequence[Found]) -> list[dict[str, Any]]:
    """Mean, and half of the 95 % Student interval, over the seeds of every file of a split.

    `<column>_half` is the half-width; None of a single seed, or where a seed lacks the number.
    """
    apart = ("split", "kind", "mode", "name")
    groups: dict[tuple[Any, ...], list[Found]] = {}
    for row in rows:
        groups.setdefault(tuple(row[key] for key in apart), []).append(row)
    found = []
    for place, group in groups.items():
        line: dict[str, Any] = {**dict(zip(apart, place, strict=True)), "runs": len(group)}
        for column in (name for name in group[0] if name not in (*apart, "seed")):
            values = [row[column] for row in group]
            line[column] = line[f"{column}_half"] = None
            if None not in values:
                line[column], line[f"{column}_half"] = _mean(values)
        found.append(line)
    return found


def _mean(values: Sequence[float]) -> tuple[float, float | None]:
    from scipy.stats import t

    mean, count = statistics.mean(values), len(values)
    if count == 1:
        return mean, None
    error = statistics.stdev(values) / count**0.5
    return mean, float(t.ppf(0.975, count - 1)) * error
