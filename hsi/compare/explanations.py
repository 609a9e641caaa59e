"""Whether two variants look at the same things: their attributions of the same samples and class.

A similarity says little alone. Beside each stand two floors, of the same measure on the same
samples: the first variant against the same network trained from another seed (what training alone
changes), and against itself with random weights (what the input and the architecture alone give:
Adebayo et al., "Sanity checks for saliency maps", 2018). A variant as far off as the retrained
network has changed no more than chance would; one as far off as the random network looks elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from hsi.compare.attributions import (
    LEAST_SPECTRUM,
    MEASURES,
    SPATIAL,
    SPECTRAL,
    SSIM_WINDOW,
    spectral_centre,
)
from hsi.compare.explained import Explained
from hsi.compare.means import Mean, mean_of
from hsi.errors import ModelError, SettingsError
from hsi.explain import attribute
from hsi.explain.attribution import Attribution

DEFAULT_METHODS = ("gradient", "integrated_gradient", "gradcam")

RETRAINED, RANDOM = "retrained", "random weights"
"""The floors."""

CENTRE = "centre_distance"
"""The measure with a unit: how far apart the spectral centres of mass are."""

Options = Mapping[str, Mapping[str, Any]]
"""Options of methods, by the method's name."""


@dataclass(frozen=True)
class Similarity:
    """One measure of how alike the attributions of two variants are.

    Attributes:
        method: of attribution.
        measure: name in `hsi.compare.attributions`, or "centre_distance".
        value: over the samples.
        floor_retrained: the same of the first variant and its network retrained; None if missing.
        floor_random: the same of the first variant and its network with random weights.
        unit: "nm" or "bands" of a distance; "" of a similarity, which is 1 of equal maps.
    """

    method: str
    measure: str
    value: Mean
    floor_retrained: Mean | None = None
    floor_random: Mean | None = None
    unit: str = ""

    def record(self) -> dict[str, Any]:
        """As JSON has it; None for what is not known."""
        floors = {
            name: mean.record() if mean else None
            for name, mean in (
                ("floor_retrained", self.floor_retrained),
                ("floor_random", self.floor_random),
            )
        }
        named = {"method": self.method, "measure": self.measure, "unit": self.unit}
        return {**named, "value": self.value.record(), **floors}


@dataclass(frozen=True)
class Centre:
    """Where in the spectrum two variants look, by one method.

    Attributes:
        method: of attribution.
        first, second: centre of mass of the magnitudes, mean over the samples.
        shift: second less first, paired.
        unit: "nm" or "bands".
    """

    method: str
    first: Mean
    second: Mean
    shift: Mean
    unit: str

    def record(self) -> dict[str, Any]:
        """As JSON has it; None for what is not known."""
        means = {name: getattr(self, name).record() for name in ("first", "second", "shift")}
        return {"method": self.method, "unit": self.unit, **means}


@dataclass(frozen=True, eq=False)
class ExplanationComparison:
    """The attributions of one variant beside those of another.

    Attributes:
        first, second: names.
        similarities: a row for each method and measure.
        centres: one for each method that tells channels apart.
        classes: (n,) class indices explained.
        notes: one line for each thing that the reader must know; missing floors among them.
    """

    first: str
    second: str
    similarities: tuple[Similarity, ...]
    centres: tuple[Centre, ...]
    classes: np.ndarray
    notes: tuple[str, ...] = ()

    def record(self) -> dict[str, Any]:
        """As JSON has it; None for what is not known."""
        return {
            "first": self.first,
            "second": self.second,
            "samples": len(self.classes),
            "similarities": [row.record() for row in self.similarities],
            "centres": [centre.record() for centre in self.centres],
            "notes": list(self.notes),
        }


def compare_explanations(
    first: Explained,
    others: Sequence[Explained],
    *,
    methods: Sequence[str] = DEFAULT_METHODS,
    classes: int | np.ndarray | None = None,
    retrained: Explained | None = None,
    random: bool = True,
    wavelengths: np.ndarray | None = None,
    band_numbers: np.ndarray | None = None,
    options: Options | None = None,
    blocks: np.ndarray | None = None,
    batch_size: int | None = None,
    seed: int = 0,
) -> tuple[ExplanationComparison, ...]:
    """Compare the attributions of one variant with those of others, on the same samples.

    What the first variant and the floors need is computed once for all others.

    Args:
        first, others: variants with the same n samples, in spaces of the same shape.
        methods: names in `hsi.explain.METHODS` that attribute; one that a variant does not allow
            is left out for it, with a note.
        classes: class index, one for all or (n,), explained on all variants; None takes what the
            first predicts.
        retrained: the first network, trained from another seed; None leaves that floor out.
        random: whether to make the floor of random weights.
        wavelengths: (channels,) nm; None, or one that is not known, measures distances in bands.
        band_numbers: (channels,) of the sensor, for distances in bands; None counts from 1.
        options: of the methods, by name.
        blocks: (n,) block of each sample, for intervals (`hsi.compare.means.mean_of`).
        batch_size: most rows that pass through a network at once.
        seed: of random weights, of whatever is random in a method and of the intervals.

    Returns:
        One comparison for each of the others.

    Raises:
        SettingsError: an unknown method or option, a class out of range, or no or other samples.
        ModelError: samples that do not fit a network.
    """
    from hsi.explain.score import chosen_classes, score_of

    _check_samples(first, [*others, *([retrained] if retrained else [])])
    score = score_of(first.score)
    wanted, _ = chosen_classes(score, score.prepare(first.inputs), classes, batch_size=batch_size)
    floors, missing = _floors(first, retrained, random=random, seed=seed)
    positions, unit = spectral_positions(first.inputs.shape[-1], wavelengths, band_numbers)
    sheets = [_Sheet(other, [*missing, *_scaling_notes(first, other)]) for other in others]

    def explain(network: Explained, method: str) -> Attribution | str:
        """The attribution, or why the variant does not allow it."""
        given = {**network.options_for(method), **(options or {}).get(method, {})}
        try:
            return attribute(
                method, network.score, network.inputs, classes=wanted, batch_size=batch_size,
                seed=seed, **given,
            )  # fmt: skip
        except ModelError as error:
            return f"{method}: left out, {network.name} does not allow it: {error}"

    mean = partial(mean_of, blocks=blocks, seed=seed)
    for method in methods:
        mine = explain(first, method)
        if isinstance(mine, str):
            for sheet in sheets:
                sheet.notes.append(mine)
            continue
        likeness = partial(_likeness, mine, positions=positions, mean=mean)
        beside = {name: likeness(explain(floor, method)) for name, floor in floors.items()}
        for sheet in sheets:
            its = explain(sheet.other, method)
            if isinstance(its, str):
                sheet.notes.append(its)
                continue
            sheet.add(method, likeness(its), beside, unit)
            if _has_spectrum(mine):
                ends = [spectral_centre(found.maps, positions) for found in (mine, its)]
                one, two, shift = (mean(values) for values in (*ends, ends[1] - ends[0]))
                sheet.centres.append(Centre(method, one, two, shift, unit))
    return tuple(
        ExplanationComparison(
            first.name, sheet.other.name, tuple(sheet.rows), tuple(sheet.centres), wanted,
            tuple(dict.fromkeys(sheet.notes)),
        )
        for sheet in sheets
    )  # fmt: skip


def spectral_positions(
    channels: int, wavelengths: np.ndarray | None, band_numbers: np.ndarray | None = None
) -> tuple[np.ndarray, str]:
    """(channels,) positions along the spectrum, and their unit: "nm" where all are known.

    Raises:
        SettingsError: as many wavelengths or numbers as there are no channels.
    """
    numbers = np.arange(1, channels + 1) if band_numbers is None else np.asarray(band_numbers)
    for what, given in (("wavelengths", wavelengths), ("band numbers", numbers)):
        if given is not None and np.shape(given) != (channels,):
            raise SettingsError(f"Expected {channels} {what}, got {np.size(given)}.")
    if wavelengths is not None and np.isfinite(np.asarray(wavelengths, float)).all():
        return np.asarray(wavelengths, np.float64), "nm"
    return numbers.astype(np.float64), "bands"


class _Sheet:
    """What is found of one of the others, row by row."""

    def __init__(self, other: Explained, notes: list[str]) -> None:
        self.other, self.notes = other, notes
        self.rows: list[Similarity] = []
        self.centres: list[Centre] = []

    def add(
        self,
        method: str,
        found: Mapping[str, Mean],
        floors: Mapping[str, Mapping[str, Mean]],
        unit: str,
    ) -> None:
        for measure, value in found.items():
            retrained, random = (floors.get(name, {}).get(measure) for name in (RETRAINED, RANDOM))
            its_unit = unit if measure == CENTRE else ""
            self.rows.append(Similarity(method, measure, value, retrained, random, its_unit))


def _likeness(
    mine: Attribution,
    its: Attribution | str,
    *,
    positions: np.ndarray,
    mean: Callable[[np.ndarray], Mean],
) -> dict[str, Mean]:
    """Each measure that these maps allow, over the samples; none where there is no attribution."""
    if isinstance(its, str):
        return {}
    measures = dict(MEASURES)
    if mine.per != "channel" and min(mine.maps.shape[1:3]) >= SSIM_WINDOW:
        measures |= SPATIAL
    if _has_spectrum(mine):
        measures |= SPECTRAL
    found = {name: mean(measure(mine.maps, its.maps)) for name, measure in measures.items()}
    if _has_spectrum(mine):
        ends = [spectral_centre(each.maps, positions) for each in (mine, its)]
        found[CENTRE] = mean(np.abs(ends[1] - ends[0]))
    return found


def _has_spectrum(found: Attribution) -> bool:
    return found.per != "pixel" and found.maps.shape[-1] >= LEAST_SPECTRUM


def _floors(
    first: Explained, retrained: Explained | None, *, random: bool, seed: int
) -> tuple[dict[str, Explained], list[str]]:
    """The networks that the first one is held against, and why others are missing."""
    from hsi.compare.sanity import random_network

    floors, notes = {}, []
    if retrained is None:
        notes.append("floor of a retrained network: missing, none was given")
    else:
        floors[RETRAINED] = retrained
    if not random:
        notes.append("floor of random weights: missing, not asked for")
    elif first.network is None:
        notes.append(
            f"floor of random weights: missing, the weights of {first.name} cannot be drawn anew; "
            "put the Keras model that it was made from first"
        )
    else:
        try:
            network, said = random_network(
                first.network, first.inputs, own=first.behind is None, seed=seed
            )
        except ModelError as error:
            return floors, [*notes, f"floor of random weights: missing: {error}"]
        score = network if first.behind is None else first.behind(network)
        floors[RANDOM] = replace(first, name=RANDOM, score=score, network=network)
        notes += said
    return floors, notes


def _check_samples(first: Explained, others: Iterable[Explained]) -> None:
    for other in others:
        if other.inputs.shape != first.inputs.shape:
            raise SettingsError(
                f"{other.name}: expected the same samples in the same space as {first.name}, "
                f"{first.inputs.shape}, got {other.inputs.shape}."
            )


def _scaling_notes(first: Explained, other: Explained) -> list[str]:
    if np.allclose(first.inputs, other.inputs, rtol=1e-4, atol=1e-5):
        return []
    return [
        f"{first.name} and {other.name} scale their bands in different ways: a gradient is per "
        "unit of its own scale"
    ]
