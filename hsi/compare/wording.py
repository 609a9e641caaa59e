"""Numbers of a table in words: which are known, and how they are written."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

Row = Mapping[str, Any]

LEVEL = 0.05
"""P from which on two accuracies are not told apart."""


def p_text(p: float) -> str:
    """ "p = .41", "p < .001"."""
    if p < 0.001:
        return "p < .001"
    digits = 2 if p >= 0.1 else 3
    if p < LEVEL <= round(p, digits):  # the level is not seen where it is not reached
        digits = 5
    text = f"{p:.{digits}f}"
    return f"p = {text.removeprefix('0') if p < 0.995 else '1'}"


def known(row: Row, *names: str) -> bool:
    """Whether a row has numbers in all of these columns."""
    return all(number(row.get(name)) is not None for name in names)


def number(value: Any) -> float | None:
    """A cell as a number; None where it is empty, no number or not finite."""
    if value is None or value == "" or isinstance(value, bool):
        return None
    try:
        found = float(value)
    except (TypeError, ValueError):
        return None
    return found if math.isfinite(found) else None


def percent(value: Any) -> str:
    """ "60 %"."""
    return f"{float(value):g} %"


def oa_text(row: Row) -> str:
    """The OA of a row, "98.90 %"."""
    return f"{float(row['oa']):.2f} %"


def signed(value: float) -> str:
    """ "−0.10", "+1.20"."""
    return f"{value:+.2f}".replace("-", "−")


def counted(value: Any) -> str:
    """ "once", "4 times"."""
    return "once" if int(value) == 1 else f"{int(value)} times"


def ratio(row: Row, first: Row, column: str) -> float | None:
    """How many times a row's value goes into the reference's; None where one is not known."""
    if not known(row, column) or not known(first, column) or float(row[column]) <= 0:
        return None
    return float(first[column]) / float(row[column])


def times(factor: float, more: str, less: str) -> str:
    """ "2.4 times smaller", or the other way round."""
    return f"{factor:.3g} times {more}" if factor > 1 else f"{1 / factor:.3g} times {less}"
