"""What scores a channel: one file a criterion, one call signature.

    score(model, batches, groups) -> ChannelScores

`CRITERIA` is the registry: to add a criterion, write its file and add its line.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module

import numpy as np

from hsi.errors import one_of

CRITERIA: dict[str, str] = {
    "apoz": "hsi.compress.criteria.apoz",
}
"""Name -> module with the function `score`."""


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
    module = CRITERIA[one_of(name, CRITERIA, what="criterion")]
    score: Callable[..., ChannelScores] = import_module(module).score
    return score
