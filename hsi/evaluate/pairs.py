"""Which networks differ: McNemar's exact test of every pair, on the pixels that test in both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from hsi.evaluate.results import Result
from hsi.metrics import holm, mcnemar

LEVEL = 0.05
TEST = (
    "McNemar's exact two-sided test of each pair of networks on the pixels that test in both, for "
    "each seed alone; p values are corrected after Holm (1979) over the pairs of a split, an "
    "amount and a seed"
)
COLUMNS = (
    "split", "amount", "seed", "first", "other", "pixels", "only_first", "only_other", "p",
    "p_holm",
)  # fmt: skip
"""Of mcnemar.csv: `only_first` pixels that the first network alone classifies rightly."""

Row = dict[str, Any]


def pair_tests(results: Sequence[Result]) -> list[Row]:
    """A row for each pair of networks, split, amount and seed; see `COLUMNS`.

    Where no pixel tests in both, `p` and `p_holm` are None and the pair is no test.
    """
    draws: dict[tuple[str, float, int], list[Result]] = {}
    for result in results:
        draws.setdefault(result.draw, []).append(result)
    rows: list[Row] = []
    for group in draws.values():
        found = [_test(one, other) for one, other in combinations(group, 2)]
        tested = [row for row in found if row["p"] is not None]
        for row, adjusted in zip(tested, holm(np.array([r["p"] for r in tested])), strict=True):
            row["p_holm"] = float(adjusted)
        rows += found
    return rows


def _test(one: Result, other: Result) -> Row:
    both = np.intersect1d(one.answers.pixels, other.answers.pixels)
    first, second = one.answers.at(both).right, other.answers.at(both).right
    split, amount, seed = one.draw
    return {
        "split": split,
        "amount": amount,
        "seed": seed,
        "first": one.cell.network,
        "other": other.cell.network,
        "pixels": len(both),
        "only_first": int(np.sum(first & ~second)),
        "only_other": int(np.sum(second & ~first)),
        "p": mcnemar(first, second) if len(both) else None,
        "p_holm": None,
    }


def like_the_best(
    lines: Sequence[Mapping[str, Any]], pairs: Sequence[Row], *, seeds: int
) -> dict[tuple[str, str, float], tuple[int, int] | None]:
    """In how many seeds a network is not significantly worse than the one of the highest mean OA.

    Returns:
        (network, split, amount) -> (seeds where p_holm >= 0.05 or the network alone is right on
        more pixels than the best alone, seeds tested); None for the best itself, which is looked
        for among the networks that have all seeds, where there are any.
    """
    found: dict[tuple[str, str, float], tuple[int, int] | None] = {}
    for split, amount in dict.fromkeys((line["split"], line["amount"]) for line in lines):
        group = [x for x in lines if (x["split"], x["amount"]) == (split, amount)]
        whole = [line for line in group if len(line["seeds"]) == seeds] or group
        best = max(whole, key=lambda line: line["oa"])["network"]
        for line in group:
            name = line["network"]
            tested = [
                row for row in pairs
                if (row["split"], row["amount"]) == (split, amount)
                and {row["first"], row["other"]} == {name, best}
                and row["p_holm"] is not None
            ]  # fmt: skip
            as_good = sum(row["p_holm"] >= LEVEL or _ahead(row, name) for row in tested)
            found[name, split, amount] = None if name == best else (as_good, len(tested))
    return found


def _ahead(row: Row, name: str) -> bool:
    """Whether this network of a pair is right alone on more pixels than the other."""
    more = row["only_first"] - row["only_other"]
    return bool(more > 0 if row["first"] == name else more < 0)
