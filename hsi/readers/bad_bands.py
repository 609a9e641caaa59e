"""Bands to leave out: those that a file marks as bad, and those in which water vapour absorbs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hsi.errors import SettingsError
from hsi.readers.choose import range_text

BAD, WATER, NONE = "bad", "water", "none"
WORDS = (BAD, WATER, NONE)
"""What `--drop_bands` takes beside numbers; without any of these, `bad` and `water` hold."""

ABSORBED = ((1340.0, 1445.0), (1790.0, 1960.0))
"""nm; the atmosphere lets next to nothing through (Gao and Goetz 1990)."""
ENDS = (380.0, 2480.0)
"""nm; before and behind, the detectors of silicon and of InGaAs or HgCdTe see little but noise."""


def water_bands(wavelengths: np.ndarray) -> tuple[int, ...]:
    """1-based numbers of the bands in which water vapour absorbs, and of those at the ends.

    Only up to 3000 nm: behind it lie thermal sensors, whose windows are others.
    """
    absorbed = (wavelengths < ENDS[0]) | ((wavelengths > ENDS[1]) & (wavelengths < 3000))
    for first, last in ABSORBED:
        absorbed |= (wavelengths >= first) & (wavelengths <= last)
    return tuple(int(band) + 1 for band in np.flatnonzero(absorbed))


def bands_to_drop(
    chosen: Sequence[int | str],
    *,
    bands: int,
    bad: Sequence[int] = (),
    wavelengths: np.ndarray | None = None,
    exact: bool = True,
) -> tuple[tuple[int, ...], str]:
    """The 1-based numbers of the bands that are left out, and a line that says which and why.

    Args:
        chosen: numbers and words of `WORDS`, as `--drop_bands` gives them; without a word, bad
            bands and those of water vapour are left out beside the numbers.
        bands: how many the cube has.
        bad: numbers of the bands that the file marks as bad.
        wavelengths: (bands,) nm, or None where they are unknown.
        exact: False where they are approximate, or the scene is known to be without such bands;
            then `water` must be named.

    Raises:
        SettingsError: a word that is not known, or `none` beside another.
    """
    words = {word for word in chosen if isinstance(word, str)}
    for word in words - {*WORDS}:
        raise SettingsError(
            f"drop_bands: expected numbers, ranges and {', '.join(WORDS)}, got {word!r}."
        )
    if NONE in words and len(words) > 1:
        raise SettingsError("drop_bands: expected none, or bad and water, not both.")
    words = words or ({BAD, WATER} if exact else {BAD})
    numbers = {number for number in chosen if isinstance(number, int)}
    marked = {*bad} if BAD in words else set()
    absorbed = {*water_bands(wavelengths)} if wavelengths is not None and WATER in words else set()
    found = {"marked bad by the file": marked, "in water absorption or at its ends": absorbed}
    parts = [
        f"{len(group)} {why} ({range_text(sorted(group))})" for why, group in found.items() if group
    ]
    dropped = tuple(sorted(numbers | marked | absorbed))
    said = f"Left out of {bands} bands: {' and '.join(parts)}; --drop_bands none keeps them."
    return dropped, said if parts else ""
