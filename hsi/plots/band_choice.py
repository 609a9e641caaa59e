"""Which bands a figure shows, out of those that were asked for."""

from __future__ import annotations

import numpy as np

from hsi.errors import SettingsError

MOST_COLUMNS = 12
"""Tiles side by side; more bands go on in another line."""


def choose_bands(
    numbers: np.ndarray,
    *,
    from_band: int | None,
    to_band: int | None,
    step_band: int | None,
    unit: str = "band",
    most: int = MOST_COLUMNS,
) -> tuple[np.ndarray, str]:
    """Channels (0-based) whose numbers were asked for, and what must be said about the choice.

    Args:
        numbers: (channels,) number of each channel, ascending; may have gaps (removed bands).
        from_band, to_band, step_band: numbers, ends included; None means first, last, and as many
            as fit in one line.
        most: show at most so many.

    Raises:
        SettingsError: numbers outside the data's, a step below 1, or nothing left to show.
    """
    low, high = int(numbers.min()), int(numbers.max())
    first = low if from_band is None else from_band
    last = high if to_band is None else to_band
    if not low <= first <= last <= high:
        raise SettingsError(
            f"Expected {unit}s between {low} and {high}, the first not above the last; "
            f"got {first} to {last}."
        )
    if step_band is not None and step_band < 1:
        raise SettingsError(f"Expected a step of at least 1 {unit}, got {step_band}.")
    within = np.flatnonzero((numbers >= first) & (numbers <= last))
    if step_band is None:
        even = np.linspace(0, len(within) - 1, min(len(within), MOST_COLUMNS, most))
        chosen, missing = within[np.round(even).astype(int)] if len(within) else within, []
    else:
        wanted = np.arange(first, last + 1, step_band)
        chosen = within[np.isin(numbers[within], wanted)]
        missing = [int(n) for n in np.setdiff1d(wanted, numbers)]
    if not len(chosen):
        raise SettingsError(
            f"No {unit} left to show: {first} to {last} in steps of {step_band or 1} are not in "
            f"the data (removed); it has {len(numbers)} {unit}s from {low} to {high}."
        )
    said = f"Not in the data: {unit} {', '.join(map(str, missing))}." if missing else ""
    if len(chosen) > most:
        every = -(-len(chosen) // most)
        said = f"{said} Shown is 1 in {every} of the {len(chosen)} {unit}s asked for.".strip()
        chosen = chosen[::every]
    return chosen, said
