"""Band centres as files state them, in nm."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from hsi.errors import DataError

NANOMETRES = {
    "nm": 1.0, "nanometers": 1.0, "nanometer": 1.0, "nanometres": 1.0, "nanometre": 1.0,
    "um": 1e3, "µm": 1e3, "μm": 1e3, "micrometers": 1e3, "micrometer": 1e3, "micrometres": 1e3,
    "micrometre": 1e3, "microns": 1e3, "micron": 1e3, "mm": 1e6, "millimeters": 1e6,
    "cm": 1e7, "centimeters": 1e7, "m": 1e9, "meters": 1e9, "angstroms": 0.1, "angstrom": 0.1,
}  # fmt: skip
OF_LIGHT = tuple(unit for unit, factor in NANOMETRES.items() if factor <= 1e3)
"""Units that are looked for in names of bands; metres there ("B02_10m") are the pixel's size."""
UNSTATED = ("", "unknown", "none")
NO_LENGTH = ("index", "unitless")
"""Units with which a header says that its list is no list of wavelengths."""
OPTICAL = (100.0, 100_000.0)
"""nm; ultraviolet to far infrared: outside, the unit is wrong."""


def to_nanometres(values: np.ndarray, unit: str = "") -> np.ndarray | None:
    """Wavelengths in nm from a stated unit; without one, nm if all are above 100, else micrometres.

    None for units that are no length (an index, a frequency).
    """
    unit = unit.strip().lower()
    if unit in UNSTATED:
        return values if values.min() > 100 else values * 1e3
    return values * NANOMETRES[unit] if unit in NANOMETRES else None


def stated_wavelengths(
    path: Path,
    listed: Sequence[object],
    unit: str,
    bands: int,
    *,
    say: Callable[[str], None],
) -> np.ndarray | None:
    """Band centres in nm from a file's list and its unit, or None, said, where it is none.

    Raises:
        DataError: a unit that is no length, or a stated one with which the numbers are no light.
    """
    try:
        values = np.array(listed, dtype=np.float64)
    except ValueError:
        say(f"{path.name}: the wavelengths are not all numbers; taken as unknown.")
        return None
    if len(values) != bands or not np.isfinite(values).all():
        say(f"{path.name}: {len(values)} wavelengths for {bands} bands; taken as unknown.")
        return None
    plain = unit.strip().lower()
    if plain in NO_LENGTH:
        say(f"{path.name}: wavelengths in {unit.strip()!r} are no lengths; taken as unknown.")
        return None
    found = to_nanometres(values, unit)
    if found is None:
        raise DataError(
            f"{path}: wavelengths in {unit.strip()!r}; expected a unit of length, Nanometers or "
            "Micrometers: correct the file's wavelength units."
        )
    if OPTICAL[0] <= found.min() and found.max() <= OPTICAL[1]:
        return found
    if plain in UNSTATED:
        say(f"{path.name}: {_span(values)} are no wavelengths in nm or um; taken as unknown.")
        return None
    raise DataError(
        f"{path}: wavelengths {_span(values)} in {unit.strip()!r}; expected "
        f"{_span(np.array(OPTICAL))} nm: correct the file's wavelength units."
    )


def in_words(texts: Sequence[str | None]) -> tuple[list[float], str] | None:
    """Numbers and unit out of names of bands, such as "Band 3 (0.55 Micrometers)" or "550 nm".

    None unless every name has a number with the same unit of `OF_LIGHT` behind it.
    """
    units = "|".join(sorted(map(re.escape, OF_LIGHT), key=len, reverse=True))
    pattern = re.compile(rf"(\d+(?:\.\d+)?)\s*({units})\b", re.IGNORECASE)
    found = [pattern.search(text or "") for text in texts]
    if not found or not all(found):
        return None
    values = [float(match[1]) for match in found if match]
    names = {match[2].lower() for match in found if match}
    return (values, names.pop()) if len(names) == 1 else None


def _span(values: np.ndarray) -> str:
    return f"{values.min():g} to {values.max():g}"
