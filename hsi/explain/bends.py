"""Points on a way that are close together where the score bends.

Along a straight way the score F of a network of ReLUs is piecewise linear, and its slope, which
integrated gradients sum, jumps at the joints. On an interval from a to b with its middle at m the
midpoint rule is exact where F is straight, and where F bends it is off by about

    | F(a) + F(b) - 2 F(m) |

so the intervals with the largest of these are halved, again and again. That takes answers of the
network alone; its gradient is needed once for each interval, when they have been found.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

SHORTEST = 1e-6
"""Intervals are not halved below this share of the way: single precision tells no more places."""

FIRST = 32
"""Intervals to begin with, so that bends in the same interval are not missed."""


def midpoint_rule(
    values: Callable[[np.ndarray], np.ndarray], most: int, *, enough: float
) -> tuple[np.ndarray, np.ndarray]:
    """Places in (0, 1) and weights that sum to 1, of the midpoint rule on uneven intervals.

    Args:
        values: places (n,) in [0, 1] -> F there (n,).
        most: intervals at most.
        enough: sum of what the intervals are off by, at which no more of them are needed.
    """
    ends = np.linspace(0, 1, min(FIRST, most) + 1)
    left, right = ends[:-1], ends[1:]
    at_ends = values(ends).astype(np.float64)
    below, above = at_ends[:-1], at_ends[1:]
    middle = (left + right) / 2
    between = values(middle).astype(np.float64)
    while True:
        off = np.where(right - left > SHORTEST, np.abs(below + above - 2 * between), 0)
        halved = np.flatnonzero((off > 0) & (off >= off.mean() / 2))
        halved = halved[np.argsort(-off[halved], kind="stable")][: most - len(off)]
        if off.sum() <= enough or not len(halved):
            return middle, right - left
        kept = np.setdiff1d(np.arange(len(off)), halved)
        a, m, b = left[halved], middle[halved], right[halved]
        new = np.concatenate([(a + m) / 2, (m + b) / 2])
        left = np.concatenate([left[kept], a, m])
        right = np.concatenate([right[kept], m, b])
        below = np.concatenate([below[kept], below[halved], between[halved]])
        above = np.concatenate([above[kept], between[halved], above[halved]])
        between = np.concatenate([between[kept], values(new).astype(np.float64)])
        middle = np.concatenate([middle[kept], new])
