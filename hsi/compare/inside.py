"""What variants look at and hold inside, put together for a comparison.

The parts themselves are in `explanations`, `faithfulness`, `representations` and `features`. This
loads TensorFlow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hsi.compare.explained import Explained, explained_samples
from hsi.compare.explanations import (
    CENTRE,
    DEFAULT_METHODS,
    ExplanationComparison,
    compare_explanations,
)
from hsi.compare.faithfulness import Faithfulness, faithfulness
from hsi.compare.features import FeatureSimilarity, compare_features
from hsi.compare.means import Mean
from hsi.compare.representations import Representations, compare_representations
from hsi.compare.subjects import Common, Subject, open_subjects
from hsi.deploy.variant import Variant
from hsi.errors import ModelError, SettingsError
from hsi.samples import Samples

EXPLAINED = 64
"""Samples whose attributions are compared, drawn at random; of fewer all."""

REPRESENTED = 1024
"""Samples whose representations are compared."""

Say = Callable[[str], None]
Table = tuple[str, tuple[str, ...], list[list[str]]]
"""Title, names of the columns, cells."""


@dataclass(frozen=True, eq=False)
class Inside:
    """What the others look at and hold, as seen from the first.

    Attributes:
        explanations: of each other; empty where not asked for.
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
        found = [_explanation_table(each) for each in self.explanations]
        found += [_faithfulness_table(m, each) for m, each in (self.faithfulness or {}).items()]
        for place, each in enumerate(self.representations):
            features = self.features[place] if self.features else ()
            found.append(_representation_table(each, features))
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
        networks = _explained(subjects, variants, keys)
        if "explanations" in what:
            say(f"Explaining {len(keys)} samples by {', '.join(methods)}.")
            other = _opened(retrained, common, keys) if retrained else None
            first = subjects[0].samples
            bands = _bands(first, networks[0])
            explanations = compare_explanations(
                networks[0], networks[1:], methods=methods, retrained=other, blocks=blocks,
                seed=seed, **bands,
            )  # fmt: skip
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


def _explained(
    subjects: Sequence[Subject], variants: Sequence[Variant], keys: np.ndarray
) -> list[Explained]:
    return [
        explained_samples(v, s.source, keys, samples=s.samples, name=s.name)
        for s, v in zip(subjects, variants, strict=True)
    ]


def _opened(subject: Subject, common: Common, keys: np.ndarray) -> Explained:
    (variant,) = open_subjects([subject], common)
    return _explained([subject], [variant], keys)[0]


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
                faithfulness(network, method, blocks=blocks, seed=seed) for network in networks
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


def _text(mean: Mean | None, unit: str = "") -> str:
    """ "0.83 (0.79 to 0.87)"."""
    if mean is None or not np.isfinite(mean.value):
        return ""
    digits = 0 if unit == "nm" else 3
    low, high = (f"{value:.{digits}f}" for value in (mean.low, mean.high))
    interval = f" ({low} to {high})" if np.isfinite([mean.low, mean.high]).all() else ""
    return f"{mean.value:.{digits}f}{interval}{f' {unit}' if unit else ''}".replace("-", "−")


def _explanation_table(found: ExplanationComparison) -> Table:
    lines = [
        [row.method, row.measure, _text(row.value, row.unit),
         _text(row.floor_retrained, row.unit), _text(row.floor_random, row.unit)]
        for row in found.similarities
    ]  # fmt: skip
    columns = ("method", "measure", found.second, "floor: retrained", "floor: random weights")
    return f"explanations of {found.second} against {found.first}", columns, lines


def _faithfulness_table(method: str, found: Sequence[Faithfulness]) -> Table:
    lines = [
        [
            each.name,
            f"{curve.kind} of {curve.along}",
            _text(curve.area),
            _text(curve.area_random),
            _text(curve.gain),
        ]
        for each in found
        for curve in each.curves
    ]
    columns = ("variant", "curve", "area", "floor: random order", "gain over it")
    return f"faithfulness of {method} (small areas of deletion, large of insertion)", columns, lines


def _representation_table(found: Representations, features: Sequence[FeatureSimilarity]) -> Table:
    """The layer of each that is most alike; CKA of all with all is in JSON and the figures."""
    kept = {each.first_layer: each for each in features}
    lines = []
    for i, layer in enumerate(found.first_layers):
        row = found.cka[i]
        if not np.isfinite(row).any():
            lines.append([layer, "", "", "", ""])
            continue
        best = int(np.nanargmax(row))
        same = row[found.second_layers.index(layer)] if layer in found.second_layers else np.nan
        feature = kept.get(layer)
        lines.append(
            [
                layer,
                "" if np.isnan(same) else f"{same:.3f}",
                f"{found.second_layers[best]} {row[best]:.3f}",
                "" if feature is None else f"{feature.best_of_first:.3f}",
                "" if feature is None else f"{feature.linear_of_first:.3f}",
            ]
        )
    columns = (
        "layer", "CKA with the same", "most alike", "features found again", "features, linear R2",
    )  # fmt: skip
    return f"representations of {found.first} in {found.second}", columns, lines
