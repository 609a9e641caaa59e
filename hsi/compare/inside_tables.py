"""What is inside variants, as tables for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hsi.compare.explanations import ExplanationComparison
from hsi.compare.faithfulness import Faithfulness
from hsi.compare.features import FeatureSimilarity
from hsi.compare.means import Mean
from hsi.compare.representations import Representations

Table = tuple[str, tuple[str, ...], list[list[str]]]
"""Title, names of the columns, cells."""


def explanation_table(found: ExplanationComparison) -> Table:
    lines = [
        [row.method, row.measure, _text(row.value, row.unit),
         _text(row.floor_retrained, row.unit), _text(row.floor_random, row.unit)]
        for row in found.similarities
    ]  # fmt: skip
    columns = ("method", "measure", found.second, "floor: retrained", "floor: random weights")
    return f"explanations of {found.second} against {found.first}", columns, lines


def faithfulness_table(method: str, found: Sequence[Faithfulness]) -> Table:
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


def representation_table(found: Representations, features: Sequence[FeatureSimilarity]) -> Table:
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


def _text(mean: Mean | None, unit: str = "") -> str:
    """ "0.83 (0.79 to 0.87)"."""
    if mean is None or not np.isfinite(mean.value):
        return ""
    digits = 0 if unit == "nm" else 3
    low, high = (f"{value:.{digits}f}" for value in (mean.low, mean.high))
    interval = f" ({low} to {high})" if np.isfinite([mean.low, mean.high]).all() else ""
    return f"{mean.value:.{digits}f}{interval}{f' {unit}' if unit else ''}".replace("-", "−")
