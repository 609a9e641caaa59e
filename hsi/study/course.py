"""How a variant of a run came about: how much was to go, and what fine-tuning it cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Variants = Mapping[str, Mapping[str, Any]]
"""File -> entry of `run.json`: its row, and where it has them its history and its parent."""


def fine_tuned(variants: Variants, file: str) -> int:
    """Epochs of fine-tuning on the way from the trained network to this file.

    Of an iterative schedule those of the steps before count too, of a quantized or folded file
    those of its parent; the training itself does not.
    """
    entry = variants[file]
    row = entry["row"]
    if row["variant"] == "trained":
        return 0
    own = _epochs(entry.get("history"))
    parent = str(entry.get("parent") or "")
    if parent in variants:
        return own + fine_tuned(variants, parent)
    if row.get("schedule") != "iterative":
        return own
    steps = list(variants)
    earlier = [
        variants[step]
        for step in steps[: steps.index(file)]
        if variants[step]["row"].get("schedule") == "iterative" and not variants[step].get("parent")
    ]
    return own + sum(_epochs(step.get("history")) for step in earlier)


def on_the_way(row: Mapping[str, Any], epochs: int, total: int | None) -> bool:
    """Whether this is a step of an iterative schedule that has had a part of `total` only.

    Such a network cannot be compared with one that has had all of `--epochs_total`.
    """
    return row.get("schedule") == "iterative" and total is not None and epochs < total


def rate_of(variants: Variants, file: str) -> float | None:
    """The compression rate that was asked for: of so many channels, or weights, one stays.

    1 for the trained network; None where a budget or a plan said how much goes, and for networks
    that were made by other means than pruning.
    """
    parent = str(variants[file].get("parent") or "")
    if parent in variants:
        return rate_of(variants, parent)
    row = variants[file]["row"]
    if row["variant"] == "trained":
        return 1.0
    target = row.get("target")
    if not isinstance(target, int | float) or not 0 <= target < 100:
        return None
    return 100 / (100 - target)


def _epochs(history: Any) -> int:
    """Of one fine-tuning, or of one a layer; 0 of none."""
    if not history:
        return 0
    if "losses" in history:
        return len(history["losses"])
    return sum(_epochs(part) for part in history.values())
