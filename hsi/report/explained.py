"""Attributions of every variant on the same samples, and how far they are from the first's.

Every variant is explained for the class that the first one predicts: maps of different classes
would differ for that alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hsi.compare.attributions import MEASURES, spectral_centre
from hsi.compare.explained import ZERO_OF_BANDS
from hsi.compare.means import mean_of
from hsi.errors import ModelError, SettingsError
from hsi.explain.attribution import Attribution
from hsi.parts import Part
from hsi.progress import progress
from hsi.views.attributed import Attributed
from hsi.views.draw import LABELS, UNITS
from hsi.views.opened import Opened
from hsi.views.request import Request

QUARTERS = (25, 50, 75)
COMPLETE = 0.05
"""Completeness error of integrated gradients above which their points are doubled: on a drawn line
one of 1 %, the default elsewhere, looks the same and takes three times as long."""


@dataclass(frozen=True, eq=False)
class Explained:
    """What one method says of all variants.

    Attributes:
        method: its name.
        maps: a variant each, (samples, ...) float32 of what `reduce` made of the maps; None where
            the variant could not be explained.
        reasons: a variant each, why not; "" where it could.
        quantity: of the values; see `hsi.explain.attribution.Quantity`.
        unit: of the values, in words.
        centres: a variant each, (samples,) nm of the centre of attention; empty where wavelengths
            are unknown.
    """

    method: str
    maps: tuple[np.ndarray | None, ...]
    reasons: tuple[str, ...]
    quantity: str
    unit: str
    centres: tuple[np.ndarray | None, ...] = ()

    @property
    def label(self) -> str:
        """The method as it is written."""
        return LABELS.get(self.method, self.method)

    def likeness(self, measure: str) -> list[dict[str, float] | None]:
        """How alike each variant's maps are to the first's: median and quarters over samples."""
        first = self.maps[0]
        return [
            None if maps is None or first is None else _quarters(MEASURES[measure](first, maps))
            for maps in self.maps
        ]


def explain_variants(
    opened: Sequence[Opened],
    method: str,
    keys: np.ndarray,
    classes: np.ndarray,
    *,
    reduce: Callable[[np.ndarray], np.ndarray],
    per_band: bool,
    waves: np.ndarray | None = None,
    seed: int,
) -> Explained:
    """Attributions of the logits of `classes` by one method.

    Args:
        opened: the variants.
        method: an attribution method.
        keys: (n,) of the samples.
        classes: (n,) class index that is explained at each.
        reduce: (n, rows, cols, channels) maps -> what is kept of them.
        per_band: whether the method has to tell channels apart.
        waves: (channels,) nm, where they are known.
        seed: of whatever is random in the method; the same for every variant.

    Raises:
        SettingsError: the method tells pixels apart where bands are wanted.
    """
    inputs = opened[0].subject.shown(keys)
    maps: list[np.ndarray | None] = []
    reasons: list[str] = []
    centres: list[np.ndarray | None] = []
    result: Attribution | None = None
    tolerance = COMPLETE if method == "integrated_gradient" else None
    with progress(method, len(opened)) as advance:
        for place, item in enumerate(opened):
            request = Request((str(item.path),), method, seed=seed, tolerance=tolerance)
            try:
                result = Attributed(item, request)(method, inputs, classes)
            except ModelError as error:
                maps.append(None)
                centres.append(None)
                reasons.append(str(error))
            else:
                if per_band and result.per == "pixel":
                    raise SettingsError(
                        f"methods: {method} tells pixels apart and no bands; expected one that "
                        "has a value for each, such as gradient or integrated_gradient."
                    )
                maps.append(reduce(result.maps).astype(np.float32))
                centres.append(None if waves is None else spectral_centre(result.maps, waves))
                reasons.append("")
            advance(place + 1, item.label)
    quantity = result.quantity if result else "relevance"
    word = next((v.own.word for v, m in zip(opened, maps, strict=True) if m is not None), "score")
    words = {"score": word, "input": opened[0].subject.input_words}
    unit = UNITS[quantity].format(**words)
    if result and ZERO_OF_BANDS in result.notes:
        unit += f"; {ZERO_OF_BANDS}"
    known = () if waves is None else tuple(centres)
    return Explained(method, tuple(maps), tuple(reasons), quantity, unit, known)


def say_reasons(
    found: Sequence[Explained], opened: Sequence[Opened], *, say: Callable[[str], None]
) -> None:
    """Tell which variants are not explained, and why; each reason once."""
    for place, variant in enumerate(opened):
        for reason in dict.fromkeys(item.reasons[place] for item in found if item.reasons[place]):
            say(f"Note: {variant.label} is not explained: {reason}")


def spread_over_classes(part: Part, classes: int, *, count: int, seed: int) -> np.ndarray:
    """Places (n,) in a part of at most `count` samples, the classes taking turns."""
    order = np.random.default_rng(seed).permutation(len(part.pixels))
    turn = np.zeros(len(order), int)
    for index in range(classes):
        own = part.classes[order] == index
        turn[own] = np.arange(np.count_nonzero(own))
    return np.sort(order[np.argsort(turn, kind="stable")[:count]])


def parting(predicted: np.ndarray, *, count: int) -> np.ndarray:
    """Places of at most `count` samples on which variants part, those of most dissenters first.

    Args:
        predicted: (variants, n) class indices; compared with the first row.
    """
    dissent = (predicted != predicted[0]).sum(axis=0)
    order = np.argsort(-dissent, kind="stable")
    return order[: min(count, np.count_nonzero(dissent))]


def _quarters(values: np.ndarray) -> dict[str, float] | None:
    known = values[np.isfinite(values)]
    if not known.size:
        return None
    low, median, high = (float(v) for v in np.percentile(known, QUARTERS))
    return {"low": low, "median": median, "high": high, "known": int(known.size)}


def method_facts(found: Explained, measure: str) -> dict[str, Any]:
    """What the page must know of a method, beside its maps."""
    return {
        "name": found.method,
        "label": found.label,
        "unit": found.unit,
        "quantity": found.quantity,
        "reasons": list(found.reasons),
        "measure": measure,
        "likeness": found.likeness(measure),
        "shift": [row.get("attention_shift_nm") for row in attention(found, seed=0)],
    }


def attention(
    found: Explained, *, blocks: np.ndarray | None = None, seed: int
) -> list[dict[str, float]]:
    """Where in the spectrum each variant looks: the columns of `hsi.compare.conclusion`, in nm.

    Args:
        found: by one method.
        blocks: (samples,) that intervals redraw, as `hsi.compare.means.mean_of` does.
        seed: of the draws.
    """
    if not found.centres or found.centres[0] is None:
        return [{} for _ in found.maps]
    first = found.centres[0]
    rows: list[dict[str, float]] = []
    for centres in found.centres:
        if centres is None:
            rows.append({})
            continue
        shift, distance = (
            mean_of(values, blocks=blocks, seed=seed)
            for values in (centres - first, np.abs(centres - first))
        )
        columns = {
            "attention_nm": mean_of(centres, seed=seed).value,
            "attention_shift_nm": shift.value,
            "attention_shift_nm_low": shift.low,
            "attention_shift_nm_high": shift.high,
            "attention_distance_nm": distance.value,
            "attention_distance_nm_low": distance.low,
        }
        rows.append({name: value for name, value in columns.items() if np.isfinite(value)})
    return rows
