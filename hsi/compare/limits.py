"""Limits that numbers must not fall below, for use in a build."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hsi.compare.attributions import MEASURES, SPATIAL, SPECTRAL
from hsi.errors import SettingsError, one_of
from hsi.explain import METHODS

PERCENT = ("oa", "oa_low", "aa", "aa_low")
"""Columns in percent, as in results.csv."""

LIMITED = (
    "agreement", "agreement_low", *PERCENT, "kappa", "kappa_low", "mcnemar_p", "oa_difference",
    "oa_difference_low",
)  # fmt: skip
"""Columns of which more is better; of explanations `<method>_<measure>` as well."""


def limits_from(texts: Iterable[str]) -> dict[str, float]:
    """ "agreement=0.99" -> {"agreement": 0.99}; several, also separated by commas.

    Raises:
        SettingsError: an unknown column, no number, or a share where percent are meant.
    """
    found: dict[str, float] = {}
    for part in (word.strip() for text in texts for word in text.split(",")):
        name, equals, value = (word.strip() for word in part.partition("="))
        if not equals or not name:
            raise SettingsError(
                f"fail_under: expected NAME=VALUE such as agreement=0.99, got {part!r}."
            )
        one_of(name, (*LIMITED, *_of_explanations(name)), what="fail_under")
        try:
            limit = float(value)
        except ValueError:
            limit = math.nan
        if not math.isfinite(limit):
            raise SettingsError(f"fail_under: {name}: expected a number, got {value!r}.")
        if name in PERCENT and 0 < limit <= 1:
            raise SettingsError(
                f"fail_under: {name} is in percent, as in results.csv; got {limit:g}, did you "
                f"mean {100 * limit:g}?"
            )
        if name.startswith("agreement") and not 0 <= limit <= 1:
            raise SettingsError(f"fail_under: {name} is a share of 0 to 1, got {limit:g}.")
        found[name] = limit
    return found


def failures(rows: Sequence[Mapping[str, Any]], limits: Mapping[str, float]) -> list[str]:
    """What lies below its limit, in words: of every row but the first, which is the reference.

    Raises:
        SettingsError: a limit on what is not known of a variant.
    """
    found = []
    for row in rows[1:]:
        for name, limit in limits.items():
            value = row.get(name)
            if value is None or not math.isfinite(value):
                raise SettingsError(
                    f"fail_under: {name} of {row['variant']} is not known; accuracies need the "
                    "truth, and explanations --what explanations."
                )
            if value < limit:
                found.append(f"{row['variant']}: {name} {value:.6g} is below {limit:g}")
    return found


def _of_explanations(name: str) -> list[str]:
    """Every column of the method that a name begins with; those of all are too many to list."""
    measures = (*MEASURES, *SPATIAL, *SPECTRAL)
    started = [method for method in METHODS if name.startswith(f"{method}_")]
    return [f"{method}_{measure}" for method in started for measure in measures]
