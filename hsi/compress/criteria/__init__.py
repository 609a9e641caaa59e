"""What scores channels and weights: one file a criterion, one call signature.

    score(model, batches, groups, *, seed=0) -> ChannelScores
    weight_scores(model, batches, *, seed=0) -> {layer name: array of its kernel's shape}

`batches` yields (inputs, classes) of training samples: inputs (n, ...) float32, or a list of such
arrays for a model of several inputs, and classes (n,) integers. It is read once, and only where
the criterion's row says `needs_data`. A higher score goes first, for channels as for weights.

`CRITERIA` is the registry: to add a criterion, write its file and add its row. Importing this
package loads no TensorFlow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module

import numpy as np

from hsi.errors import SettingsError, one_of


@dataclass(frozen=True)
class Criterion:
    """A row of the registry.

    Attributes:
        module: holds the function `score`, and `weight_scores` where `scores_weights`.
        summary: which channels go first, in a few words.
        source: where it comes from.
        needs_data: whether it looks at training samples (else `batches` may be empty).
        needs_classes: whether it looks at their classes too.
        scores_weights: whether it also scores single weights.
        comparable: whether scores of channels of different layers are on one scale as they are;
            the others go through `normalised` before they are ranked over the whole network.
            Scores of single weights are always ranked as they are.
    """

    module: str
    summary: str
    source: str
    needs_data: bool = False
    needs_classes: bool = False
    scores_weights: bool = False
    comparable: bool = False


_HERE = "hsi.compress.criteria"

CRITERIA: dict[str, Criterion] = {
    "apoz": Criterion(
        f"{_HERE}.apoz",
        "most zeros among the activations",
        "Hu et al. 2016, arXiv 1607.03250",
        needs_data=True,
        comparable=True,
    ),
    "l1": Criterion(
        f"{_HERE}.l1",
        "smallest sum of |weight|",
        "Li et al. 2017, arXiv 1608.08710",
        scores_weights=True,
    ),
    "l2": Criterion(
        f"{_HERE}.l2",
        "smallest Euclidean norm of the weights",
        "He et al. 2018, arXiv 1808.06866",
        scores_weights=True,
    ),
    "random": Criterion(
        f"{_HERE}.random",
        "by lot: what any other criterion has to beat",
        "Mittal et al. 2018, arXiv 1801.10447",
        scores_weights=True,
        comparable=True,
    ),
    "mean_activation": Criterion(
        f"{_HERE}.mean_activation",
        "smallest mean |activation|",
        "Molchanov et al. 2017, arXiv 1611.06440",
        needs_data=True,
    ),
    "taylor": Criterion(
        f"{_HERE}.taylor",
        "smallest first-order change of the loss",
        "Molchanov et al. 2017, arXiv 1611.06440",
        needs_data=True,
        needs_classes=True,
        scores_weights=True,
        comparable=True,
    ),
    "fpgm": Criterion(
        f"{_HERE}.fpgm",
        "nearest to the other filters of its layer: they can stand in",
        "He et al. 2019, arXiv 1811.00250",
    ),
    "bn_scale": Criterion(
        f"{_HERE}.bn_scale",
        "smallest |gamma| of the batch norm behind it",
        "Liu et al. 2017, arXiv 1708.06519",
        comparable=True,
    ),
}
"""Name -> row."""


@dataclass(frozen=True)
class ChannelScores:
    """Scores of the channels of each group; higher means remove first.

    Attributes:
        scores: group name -> (channels,) float64.
        notes: what the user should know about them, a sentence each.
    """

    scores: Mapping[str, np.ndarray]
    notes: tuple[str, ...] = ()


def criterion(name: str) -> Callable[..., ChannelScores]:
    """The `score` function of a criterion.

    Raises:
        SettingsError: an unknown name.
    """
    row = CRITERIA[one_of(name, CRITERIA, what="criterion")]
    score: Callable[..., ChannelScores] = import_module(row.module).score
    return score


def check_weight_criterion(name: str) -> Criterion:
    """The row of a criterion that scores single weights; loads no TensorFlow.

    Raises:
        SettingsError: an unknown name, or a criterion that scores whole channels only.
    """
    row = CRITERIA[one_of(name, CRITERIA, what="criterion")]
    if not row.scores_weights:
        *first, last = [other for other, row in CRITERIA.items() if row.scores_weights]
        raise SettingsError(
            f"criterion {name} scores channels; for granularity weight choose "
            f"{', '.join(first)} or {last}."
        )
    return row


def weight_criterion(name: str) -> Callable[..., dict[str, np.ndarray]]:
    """The `weight_scores` function of a criterion; raises as `check_weight_criterion`."""
    module = import_module(check_weight_criterion(name).module)
    scores: Callable[..., dict[str, np.ndarray]] = module.weight_scores
    return scores


def normalised(scores: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Each group's scores (channels,) divided by the mean of their magnitudes.

    For scope `global` under a criterion that is not `comparable`: a norm grows with the number of
    weights behind it, so a ranking of raw norms empties the small layers first. Within a group
    the order stays. A group whose scores are all zero stays as it is.
    """
    means = {name: float(np.mean(np.abs(values))) for name, values in scores.items()}
    return {name: np.asarray(v, float) / (means[name] or 1.0) for name, v in scores.items()}
