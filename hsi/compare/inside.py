"""What variants look at and hold inside, put together for a comparison.

The parts themselves are in `explanations`, `faithfulness`, `representations` and `features`. This
loads TensorFlow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hsi.compare.explained import (
    ZERO_OF_BANDS,
    Explained,
    common_space,
    explained_samples,
    like_the_first,
)
from hsi.compare.explanations import (
    CENTRE,
    DEFAULT_METHODS,
    ExplanationComparison,
    compare_explanations,
)
from hsi.compare.faithfulness import Faithfulness, faithfulness
from hsi.compare.features import FeatureSimilarity, compare_features
from hsi.compare.inside_tables import (
    Table,
    explanation_table,
    faithfulness_table,
    representation_table,
)
from hsi.compare.means import Mean
from hsi.compare.representations import Representations, compare_representations
from hsi.compare.subjects import Common, Subject, open_subjects
from hsi.deploy.variant import Variant, sizes_text
from hsi.errors import ModelError, SettingsError
from hsi.samples import Samples

EXPLAINED = 64
"""Samples whose attributions are compared, drawn at random; of fewer all."""

REPRESENTED = 1024
"""Samples whose representations are compared."""

Say = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class Inside:
    """What the others look at and hold, as seen from the first.

    Attributes:
        explanations: of each other, without a row of one that shares no space with the first;
            empty where not asked for.
        faithfulness: by method, of each variant, the first included.
        representations: of each other.
        features: of each other, those layers that have one name.
        notes: one line for each thing that the reader must know.
    """

    explanations: tuple[ExplanationComparison, ...] = ()
    faithfulness: Mapping[str, tuple[Faithfulness, ...]] | None = None
    representations: tuple[Representations, ...] = ()
    features: tuple[tuple[FeatureSimilarity, ...], ...] = ()
    notes: tuple[str, ...] = ()

    def columns(self, count: int) -> list[dict[str, Any]]:
        """More columns for each of `count` variants, the first's first."""
        rows: list[dict[str, Any]] = [{} for _ in range(count)]
        for place, found in enumerate(self.explanations, start=1):
            for row in found.similarities:
                name = f"{row.method}_{row.measure}"
                rows[place].update(_mean_columns(name, row.value))
                for floor in ("floor_retrained", "floor_random"):
                    mean = getattr(row, floor)
                    rows[place][f"{name}_{floor}"] = None if mean is None else mean.value
            _put_attention(rows[0], rows[place], found)
        for method, variants in (self.faithfulness or {}).items():
            for place, each in enumerate(variants):
                for curve in each.curves:
                    name = f"{method}_{curve.kind}_{curve.along}"
                    rows[place].update(_mean_columns(name, curve.area))
                    rows[place].update(_mean_columns(f"{name}_gain", curve.gain))
        return rows

    def record(self) -> dict[str, Any]:
        """As JSON has it."""
        curves = self.faithfulness or {}
        return {
            "explanations": [found.record() for found in self.explanations],
            "faithfulness": [each.record() for found in curves.values() for each in found],
            "representations": [found.record() for found in self.representations],
            "features": [[each.record() for each in found] for found in self.features],
        }

    def tables(self) -> list[Table]:
        """What is worth a table on a terminal."""
        found = [explanation_table(each) for each in self.explanations if each.similarities]
        found += [faithfulness_table(m, each) for m, each in (self.faithfulness or {}).items()]
        for place, each in enumerate(self.representations):
            features = self.features[place] if self.features else ()
            found.append(representation_table(each, features))
        return found


def look_inside(
    subjects: Sequence[Subject],
    variants: Sequence[Variant],
    common: Common,
    what: Sequence[str],
    *,
    methods: Sequence[str] = (),
    retrained: Subject | None = None,
    seed: int = 0,
    say: Say = lambda line: None,
) -> Inside:
    """Compare explanations, faithfulness and representations, whichever `what` names.

    Args:
        subjects, variants: the first is the reference.
        common: the samples that all answer.
        methods: of attribution; none takes the default ones.
        retrained: the first's network trained from another seed.
        seed: of every draw.
        say: told what is going on.

    Raises:
        SettingsError: a method that does not attribute, or too few samples.
        ModelError: networks that do not show what they hold.
    """
    methods = tuple(methods) or DEFAULT_METHODS
    notes: list[str] = []
    chosen = common.drawn(EXPLAINED, seed=seed)
    blocks = None if common.blocks is None else common.blocks[chosen]
    keys = common.keys[chosen]
    explanations: tuple[ExplanationComparison, ...] = ()
    curves: dict[str, tuple[Faithfulness, ...]] = {}
    if {"explanations", "faithfulness"} & {*what}:
        other = retrained if "explanations" in what else None
        networks, floor = _side_by_side(subjects, variants, other, common, keys, notes, seed=seed)
        if "explanations" in what:
            say(f"Explaining {len(keys)} samples by {', '.join(methods)}.")
            bands = _bands(subjects[0].samples, networks[0])
            explanations = _explanations(
                networks, floor, notes, methods=methods, blocks=blocks, seed=seed, **bands
            )
            notes += [note for found in explanations for note in found.notes]
        if "faithfulness" in what:
            say(f"Deleting and inserting by {', '.join(methods)}.")
            curves = _faithfulness(networks, methods, blocks, seed, notes)
    pages: list[Representations] = []
    features: list[tuple[FeatureSimilarity, ...]] = []
    if "representations" in what:
        say("Comparing representations, all layers against all layers.")
        some = common.keys[common.drawn(REPRESENTED, seed=seed)]
        for subject, variant in zip(subjects[1:], variants[1:], strict=True):
            pair = variants[0], variant, subjects[0].source.gather(some)
            other_inputs = subject.source.gather(some)
            names = subjects[0].name, subject.name
            pages.append(
                compare_representations(*pair, second_inputs=other_inputs, names=names, seed=seed)
            )
            features.append(_features(pair, other_inputs, seed, subject, notes))
    return Inside(explanations, curves, tuple(pages), tuple(features), tuple(notes))


def _side_by_side(
    subjects: Sequence[Subject],
    variants: Sequence[Variant],
    retrained: Subject | None,
    common: Common,
    keys: np.ndarray,
    notes: list[str],
    *,
    seed: int,
) -> tuple[list[Explained], Explained | None]:
    """All, and the retrained one, in one space, with one baseline and one noise."""
    everyone, opened = [*subjects], [*variants]
    if retrained is not None:
        everyone.append(retrained)
        opened += open_subjects([retrained], common)
    space = common_space([subject.samples for subject in everyone])
    if space == "counts":
        notes.append(
            f"explanations: {subjects[0].name} and others scale their bands in different ways; "
            "all are explained in the counts of the sensor"
        )
    found = [
        explained_samples(v, s.source, keys, samples=s.samples, name=s.name, space=space, seed=seed)
        for s, v in zip(everyone, opened, strict=True)
    ]
    found = like_the_first(found, [subject.samples for subject in everyone], space)
    if found[0].nothing is not None:
        notes.append(f"explanations: in counts {ZERO_OF_BANDS}")
    return found[: len(subjects)], found[-1] if retrained is not None else None


def _explanations(
    networks: Sequence[Explained],
    retrained: Explained | None,
    notes: list[str],
    **given: Any,
) -> tuple[ExplanationComparison, ...]:
    """Each of the others against the first; what shares no space with it is left out."""
    first, *others = networks
    if retrained is not None and not first.fits(retrained):
        notes.append(_other_inputs(first, retrained))
        retrained = None
    fitting = [other for other in others if first.fits(other)]
    found = iter(
        compare_explanations(first, fitting, retrained=retrained, **given) if fitting else ()
    )
    return tuple(next(found) if first.fits(other) else _left_out(first, other) for other in others)


def _left_out(first: Explained, other: Explained) -> ExplanationComparison:
    note = _other_inputs(first, other)
    return ExplanationComparison(first.name, other.name, (), (), np.empty(0, int), (note,))


def _other_inputs(first: Explained, other: Explained) -> str:
    its, mine = (sizes_text(network.inputs.shape[1:]) for network in (other, first))
    return (
        f"explanations: {other.name} left out: its samples are {its}, those of {first.name} {mine}"
    )


def _bands(samples: Any, network: Explained) -> dict[str, Any]:
    """Where the channels that are explained lie in the spectrum, for a scene."""
    if not isinstance(samples, Samples) or samples.scene.bands != network.inputs.shape[-1]:
        return {}
    return {
        "wavelengths": samples.scene.wavelengths,
        "band_numbers": samples.scene.sensor_bands(),
    }


def _faithfulness(
    networks: Sequence[Explained],
    methods: Sequence[str],
    blocks: np.ndarray | None,
    seed: int,
    notes: list[str],
) -> dict[str, tuple[Faithfulness, ...]]:
    found = {}
    for method in methods:
        try:
            found[method] = tuple(
                faithfulness(
                    network,
                    method,
                    baseline="zero" if network.nothing is None else network.nothing,
                    options=network.options_for(method),
                    blocks=blocks,
                    seed=seed,
                )
                for network in networks
            )
        except (ModelError, SettingsError) as error:
            notes.append(f"faithfulness: {method} left out: {error}")
            continue
        for each in found[method]:
            notes += [f"faithfulness: {each.name}, {method}: {note}" for note in each.notes]
    return found


def _features(
    pair: tuple[Variant, Variant, np.ndarray],
    other_inputs: np.ndarray,
    seed: int,
    subject: Subject,
    notes: list[str],
) -> tuple[FeatureSimilarity, ...]:
    try:
        return tuple(compare_features(*pair, second_inputs=other_inputs, seed=seed))
    except (ModelError, SettingsError) as error:
        notes.append(f"features of {subject.name} left out: {error}")
        return ()


def _mean_columns(name: str, mean: Mean) -> dict[str, float]:
    return {name: mean.value, f"{name}_low": mean.low, f"{name}_high": mean.high}


def _put_attention(first: dict[str, Any], row: dict[str, Any], found: Any) -> None:
    """Where both look, by the first method that tells bands apart in nm."""
    centre = next((c for c in found.centres if c.unit == "nm"), None)
    if centre is None:
        return
    first["attention_nm"], row["attention_nm"] = centre.first.value, centre.second.value
    row["attention_method"] = centre.method
    row.update(_mean_columns("attention_shift_nm", centre.shift))
    for similar in found.similarities:
        if (similar.method, similar.measure) == (centre.method, CENTRE):
            row.update(_mean_columns("attention_distance_nm", similar.value))
            if similar.floor_retrained is not None:
                row["attention_floor_nm"] = similar.floor_retrained.value
