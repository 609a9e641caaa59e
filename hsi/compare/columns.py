"""What is known of a compared variant, as columns of a table and as JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from hsi.compare.cost import Cost
from hsi.compare.layers import LayerDifferences
from hsi.compare.outputs import Judged, Outputs
from hsi.compare.subjects import Common, Subject


@dataclass(frozen=True, eq=False)
class Compared:
    """One variant, as seen from the first.

    Attributes:
        subject: the variant.
        predicted: (n,) class indices.
        judged: its accuracies; None where the truth is unknown.
        outputs: against the first's; None for the first itself.
        cost: None where it was not asked for.
        layers: against the first's, where they were compared.
    """

    subject: Subject
    predicted: np.ndarray
    judged: Judged | None = None
    outputs: Outputs | None = None
    cost: Cost | None = None
    layers: LayerDifferences | None = None


def columns(compared: Compared, common: Common) -> dict[str, Any]:
    """The columns of one variant: those of results.csv in their units, then those of its own."""
    subject = compared.subject
    row: dict[str, Any] = {"variant": subject.name, "file": str(subject.path)}
    facts = ("criterion", "granularity", "scope", "schedule", "target", "sparsity")
    row.update({name: subject.facts.get(name) for name in (*facts, "parameters", "macs")})
    row.update(_cost_columns(compared.cost))
    if compared.judged is not None:
        row.update(_accuracy_columns(compared.judged))
    row.update(
        split=common.split,
        leakage=common.leakage,
        samples=len(common.keys),
        unit=common.unit,
        part=common.part,
    )
    if compared.outputs is not None:
        row.update(_output_columns(compared.outputs))
    if compared.layers is not None:
        worst = compared.layers.worst
        row.update(
            layers=len(compared.layers.layers),
            layer_worst=worst.layer,
            layer_relative=max(layer.relative for layer in compared.layers.layers),
            layer_steps=worst.largest_steps,
        )
    return row


def _cost_columns(cost: Cost | None) -> dict[str, Any]:
    if cost is None:
        return {}
    found: dict[str, Any] = {"bytes": cost.bytes, "bytes_gzip": cost.bytes_gzip}
    for name in ("parameters", "macs"):
        if (value := getattr(cost, name)) is not None:
            found[name] = value
    if cost.sparsity is not None:
        found["sparsity"] = 100 * cost.sparsity
    for place, item in enumerate(cost.latency):
        more = f"_{item.batch}" if place else ""
        found[f"latency_ms{more}"] = item.milliseconds
        found[f"latency_low{more}"], found[f"latency_high{more}"] = item.low, item.high
        if not place:
            found.update(batch=item.batch, threads=item.threads)
    return found


def _accuracy_columns(judged: Judged) -> dict[str, float]:
    found, percent = judged.accuracy, 100.0
    return {
        "oa": percent * found.oa,
        "oa_low": percent * found.oa_low,
        "oa_high": percent * found.oa_high,
        "oa_block_low": percent * judged.oa_block[0],
        "oa_block_high": percent * judged.oa_block[1],
        "aa": percent * found.aa,
        "aa_low": percent * judged.aa_block[0],
        "aa_high": percent * judged.aa_block[1],
        "kappa": found.kappa,
        "kappa_low": judged.kappa_block[0],
        "kappa_high": judged.kappa_block[1],
    }


def _output_columns(outputs: Outputs) -> dict[str, Any]:
    found: dict[str, Any] = {
        "agreement": outputs.agreement,
        "agreement_low": outputs.agreement_low,
        "agreement_high": outputs.agreement_high,
        "parting": len(outputs.parting),
        "kl": outputs.kl,
        "kl_low": outputs.kl_block[0],
        "kl_high": outputs.kl_block[1],
        "difference_max": outputs.difference_max,
        "difference_mean": outputs.difference_mean,
        "difference_of": outputs.scale,
    }
    if outputs.against is not None:
        against = outputs.against
        found.update(
            mcnemar_p=against.mcnemar_p,
            only_first=against.only_first,
            only_second=against.only_second,
            oa_difference=100 * against.difference,
            oa_difference_low=100 * against.difference_block[0],
            oa_difference_high=100 * against.difference_block[1],
        )
    return found


def details(compared: Compared, common: Common) -> dict[str, Any]:
    """What has no place in a table: recalls, confusion, timings, layers."""
    found: dict[str, Any] = {}
    if compared.judged is not None:
        judged = compared.judged
        found["recall"] = [
            {
                "class": class_number(common, i),
                "name": common.class_names[i] if common.class_names else None,
                "recall": recall,
                "low": judged.recall_low[i],
                "high": judged.recall_high[i],
            }
            for i, recall in enumerate(judged.accuracy.recall)
        ]
        found["confusion"] = judged.accuracy.confusion
    if compared.cost is not None:
        found["latency"] = [vars(item) for item in compared.cost.latency]
    if compared.layers is not None:
        found["layer_differences"] = [
            {
                **vars(layer),
                "relative": layer.relative,
                "largest_steps": layer.largest_steps,
                "mean_steps": layer.mean_steps,
            }
            for layer in compared.layers.layers
        ]
        found["layers_unbiased"] = list(compared.layers.unbiased)
        found["layers_fused"] = dict(compared.layers.fused)
        found["layers_alone"] = list(compared.layers.alone)
    return found


def class_number(common: Common, index: Any) -> int | None:
    """The published number of a class index; the index itself where none is known."""
    if index is None:
        return None
    return common.numbers[int(index)] if common.numbers else int(index)


def pixel(common: Common, index: int) -> dict[str, int]:
    """Row and column of a sample, where it lies in a scene."""
    if common.shape is None:
        return {}
    row, col = divmod(int(common.keys[index]), common.shape[1])
    return {"row": row, "col": col}


def plain(value: Any) -> Any:
    """The same for JSON: no arrays, no NaN."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value
