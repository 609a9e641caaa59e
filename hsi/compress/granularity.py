"""In what units weights go: one by one, n of every m, or blocks; arrays only, no network.

    weight    each weight by itself
    n:m       of every m weights that follow each other along the input axis of a kernel, at the
              same tap and output, the n most valuable stay (2:4). Where the inputs are no multiple
              of m, the last, smaller part keeps n too, as if filled up with zeros
    RxC       blocks on the view (taps * inputs, outputs) of a kernel, R rows by C columns (4x4,
              1x4); a block's score is the mean of its weights' scores, blocks at the edge are
              smaller and count like any other

Scores here are arrays (..., inputs, outputs), higher means remove first; masks are True where a
weight stays. Equal scores go in the order of the kernel.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hsi.compress.schedule import SCOPES
from hsi.errors import ModelError, SettingsError, one_of


@dataclass(frozen=True)
class Granularity:
    """A unit of weights: of `kind` "weight", "n:m" or "block", with its two numbers."""

    name: str
    kind: str
    size: tuple[int, int] = (1, 1)


def parse_granularity(text: str) -> Granularity:
    """Read `weight`, `2:4` or `4x4`.

    Raises:
        SettingsError: anything else.
    """
    if text == "weight":
        return Granularity(text, "weight")
    found = re.fullmatch(r"([0-9]{1,9})([:x])([0-9]{1,9})", text)
    if not found:
        raise SettingsError(
            f"granularity: expected weight, N:M (for example 2:4) or ROWSxCOLUMNS (for example "
            f"4x4), got {text!r}."
        )
    first, second = int(found[1]), int(found[3])
    if found[2] == ":" and not 0 < first < second:
        raise SettingsError(
            f"granularity {text}: expected fewer weights to stay than there are, and at least "
            "one, for example 2:4."
        )
    if not first or not second:
        raise SettingsError(f"granularity {text}: expected blocks of 1x1 or more, got {text!r}.")
    return Granularity(text, "n:m" if found[2] == ":" else "block", (first, second))


def choose_masks(
    scores: Mapping[str, np.ndarray],
    sparsity: float | Mapping[str, float] | None,
    *,
    granularity: Granularity,
    scope: str = "layer",
) -> dict[str, np.ndarray]:
    """Masks of these kernels: True where a weight stays.

    Args:
        scores: layer -> (..., inputs, outputs), or any shape for single weights.
        sparsity: the share of units that go, 0..1 (1 excluded); for each layer its own with a
            mapping. None for n:m, which has one of its own.
        scope: `layer`: of each kernel `round((1 - sparsity) * units)` stay; `global`: so many of
            all units together. In either case at least one in each kernel.

    Raises:
        ModelError: scores that are not finite.
        SettingsError: a sparsity out of range, or one that leaves some kernel empty.
    """
    one_of(scope, SCOPES, what="scope")
    for name, values in scores.items():
        if not np.isfinite(values).all():
            raise ModelError(
                f"{name}: expected finite scores, got {np.count_nonzero(~np.isfinite(values))} "
                "that are not; check the network's outputs for NaN."
            )
    if granularity.kind == "n:m":
        if sparsity is not None:
            n, m = granularity.size
            raise SettingsError(
                f"granularity {granularity.name}: it leaves {n} of every {m} weights; expected no "
                f"other sparsity, got {sparsity}."
            )
        return {name: _n_of_m(values, *granularity.size) for name, values in scores.items()}
    units = {name: _units(values, granularity) for name, values in scores.items()}
    if isinstance(sparsity, Mapping):
        stays = {name: _stays(values, _share(sparsity[name])) for name, values in units.items()}
    elif sparsity is None:
        raise SettingsError(
            f"granularity {granularity.name}: expected the sparsity to reach, from 0 to below 1."
        )
    elif scope == "layer":
        stays = {name: _stays(values, _share(sparsity)) for name, values in units.items()}
    else:
        stays = _together(units, _share(sparsity))
    return {name: _spread(stays[name], scores[name].shape, granularity) for name in scores}


def share_gone(mask: np.ndarray, granularity: Granularity) -> float:
    """The share of a kernel's units that go, from its mask (..., inputs, outputs)."""
    if granularity.kind == "block":
        rows, columns = granularity.size
        mask = mask.reshape(_rows(mask.shape), -1)[::rows, ::columns]
    return float(np.count_nonzero(~mask) / mask.size)


def _share(sparsity: float) -> float:
    if not 0 <= sparsity < 1:
        raise SettingsError(f"sparsity: expected from 0 to below 1, got {sparsity:g}.")
    return sparsity


def _stays(units: np.ndarray, sparsity: float) -> np.ndarray:
    """Which units stay: `round((1 - sparsity) * size)`, at least one, of the lowest scores."""
    kept = max(1, round((1 - sparsity) * units.size))
    stays = np.ones(units.size, bool)
    stays[np.argsort(-units, kind="stable")[: units.size - kept]] = False
    return stays


def _together(units: Mapping[str, np.ndarray], sparsity: float) -> dict[str, np.ndarray]:
    """`_stays` over all kernels at once; the last unit of each stays."""
    total = sum(values.size for values in units.values())
    gone = total - round((1 - sparsity) * total)
    if gone > total - len(units):
        most = (total - len(units)) / max(total, 1)
        raise SettingsError(
            f"sparsity {sparsity:g}: cannot be reached; at most {int(1e4 * most) / 1e4:g} can go: "
            "every layer keeps one."
        )
    ranks = {name: np.argsort(-values, kind="stable") for name, values in units.items()}
    free = [values[ranks[name][:-1]] for name, values in units.items()]
    order = np.argsort(-np.concatenate([np.empty(0), *free]), kind="stable")
    goes = np.zeros(total - len(units), bool)
    goes[order[:gone]] = True
    stays, start = {}, 0
    for name, values in units.items():
        own = goes[start : start + values.size - 1]
        start += values.size - 1
        stays[name] = np.ones(values.size, bool)
        stays[name][ranks[name][:-1][own]] = False
    return stays


def _n_of_m(scores: np.ndarray, n: int, m: int) -> np.ndarray:
    """True at the n lowest scores of every m along the last axis but one."""
    moved = np.swapaxes(scores, -1, -2)
    inputs = moved.shape[-1]
    padding = [(0, 0)] * (moved.ndim - 1) + [(0, -inputs % m)]
    parts = np.pad(moved, padding, constant_values=np.inf).reshape(*moved.shape[:-1], -1, m)
    stays = np.zeros(parts.shape, bool)
    best = np.argsort(-parts, axis=-1, kind="stable")[..., m - n :]
    np.put_along_axis(stays, best, True, axis=-1)
    flat = stays.reshape(*moved.shape[:-1], -1)[..., :inputs]
    return np.ascontiguousarray(np.swapaxes(flat, -1, -2))


def _units(scores: np.ndarray, granularity: Granularity) -> np.ndarray:
    """The scores of a kernel's units, one after the other."""
    scores = np.asarray(scores, float)
    if granularity.kind == "weight":
        return scores.ravel()
    view = scores.reshape(_rows(scores.shape), -1)
    rows, columns = (
        _edges(size, step) for size, step in zip(view.shape, granularity.size, strict=True)
    )
    sums = np.add.reduceat(np.add.reduceat(view, rows, axis=0), columns, axis=1)
    counts = np.outer(*(
        np.diff([*edges, size]) for edges, size in zip((rows, columns), view.shape, strict=True)
    ))  # fmt: skip
    return (sums / counts).ravel()


def _spread(stays: np.ndarray, shape: tuple[int, ...], granularity: Granularity) -> np.ndarray:
    """The mask of a kernel from those of its units."""
    if granularity.kind == "weight":
        return stays.reshape(shape)
    rows, columns = granularity.size
    size = _rows(shape), shape[-1]
    blocks = stays.reshape(len(_edges(size[0], rows)), -1)
    view = np.repeat(np.repeat(blocks, rows, axis=0), columns, axis=1)[: size[0], : size[1]]
    return np.ascontiguousarray(view).reshape(shape)


def _rows(shape: tuple[int, ...]) -> int:
    """Rows of the view (taps * inputs, outputs)."""
    return int(np.prod(shape[:-1]))


def _edges(size: int, step: int) -> np.ndarray:
    """Where blocks start."""
    return np.arange(0, size, step)
