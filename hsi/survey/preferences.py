"""Which of two explanations people find more reasonable."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hsi.metrics import holm
from hsi.survey.agreement import alpha_interval, nominal_alpha
from hsi.survey.answers import Answer
from hsi.survey.clusters import Estimate, mean_of
from hsi.survey.key import EQUAL, LEFT, PREFERENCE, RIGHT, Key


@dataclass(frozen=True)
class Preference:
    """Votes between two variants.

    Attributes:
        votes: (for the first, for neither, for the other).
        images, raters: how many there are.
        difference: share of votes for the other less share for the first, -1..1.
        decided: share of the other among the votes for one of both, 0..1.
        alpha: Krippendorff's, nominal, over images.
        alpha_low, alpha_high: of its interval.
    """

    votes: tuple[int, int, int]
    images: int
    raters: int
    difference: Estimate
    decided: Estimate
    alpha: float
    alpha_low: float
    alpha_high: float


def preference(
    votes: np.ndarray, images: np.ndarray, raters: np.ndarray, *, seed: int = 0
) -> Preference:
    """What votes between two variants say.

    Args:
        votes: (n,) -1 for the first variant, 0 for neither, +1 for the other.
        images, raters: (n,) of each vote.
        seed: of the interval of alpha.
    """
    votes = np.asarray(votes)
    took_one = votes != 0
    low, high = alpha_interval(votes, images, images, seed=seed)
    return Preference(
        (int((votes < 0).sum()), int((votes == 0).sum()), int((votes > 0).sum())),
        len(np.unique(images)),
        len(np.unique(raters)),
        mean_of(votes, images, raters, within=(-1, 1), tested=True),
        mean_of(votes[took_one] > 0, images[took_one], raters[took_one], within=(0, 1)),
        nominal_alpha(votes, images),
        low,
        high,
    )


@dataclass(frozen=True)
class Preferences:
    """Everything about the questions of this kind.

    Attributes:
        rows: a dict a pair of variants, and a pair and class: see `COLUMNS`.
        left: share of the left side among the votes for a side: near one half, or raters prefer a
            side.
    """

    rows: tuple[dict[str, Any], ...]
    left: Estimate


COLUMNS = (
    "first", "other", "class", "class_name", "votes", "for_first", "for_neither", "for_other",
    "images", "raters", "difference", "difference_low", "difference_high", "p", "p_holm",
    "share_of_decided", "share_low", "share_high", "alpha", "alpha_low", "alpha_high",
)  # fmt: skip
"""Of preferences.csv; `class` is empty in the row of all classes, the only one with `p_holm`: p
adjusted for the number of pairs."""


def preferences_of(key: Key, answers: Sequence[Answer], *, seed: int = 0) -> Preferences | None:
    """The analysis of all answers of this kind; None where there are none."""
    mine = [answer for answer in answers if answer.question.kind == PREFERENCE]
    if not mine:
        return None
    first = key.variants[0]
    rows = []
    for other in key.variants[1:]:
        pair = [answer for answer in mine if other in answer.question.variants]
        classes = sorted({answer.question.klass for answer in pair})
        for klass in (None, *classes):
            chosen = [a for a in pair if klass in (None, a.question.klass)]
            if chosen:
                rows.append(_row(key, first, other, klass, chosen, seed))
    _adjust([row for row in rows if row["class"] is None])
    sided = [answer for answer in mine if answer.value != EQUAL]
    left = mean_of(
        np.array([answer.value == LEFT for answer in sided]),
        np.array([answer.question.image for answer in sided]),
        np.array([answer.rater for answer in sided]),
        within=(0, 1),
    )
    return Preferences(tuple(rows), left)


def _row(
    key: Key, first: str, other: str, klass: int | None, answers: Sequence[Answer], seed: int
) -> dict[str, Any]:
    found = preference(
        np.array([_vote(answer, first) for answer in answers]),
        np.array([answer.question.image for answer in answers]),
        np.array([answer.rater for answer in answers]),
        seed=seed,
    )
    return {
        "first": first,
        "other": other,
        "class": klass,
        "class_name": None if klass is None else key.class_names[klass],
        "votes": len(answers),
        **dict(zip(("for_first", "for_neither", "for_other"), found.votes, strict=True)),
        "images": found.images,
        "raters": found.raters,
        "difference": found.difference.value,
        "difference_low": found.difference.low,
        "difference_high": found.difference.high,
        "p": found.difference.p,
        "p_holm": None,
        "share_of_decided": found.decided.value,
        "share_low": found.decided.low,
        "share_high": found.decided.high,
        "alpha": found.alpha,
        "alpha_low": found.alpha_low,
        "alpha_high": found.alpha_high,
    }


def _adjust(rows: Sequence[dict[str, Any]]) -> None:
    """Put in p adjusted for the number of pairs, where there is a p."""
    tested = [row for row in rows if row["p"] is not None]
    adjusted = holm(np.array([row["p"] for row in tested]))
    for row, p in zip(tested, adjusted, strict=True):
        row["p_holm"] = float(p)


def _vote(answer: Answer, first: str) -> int:
    if answer.value == EQUAL:
        return 0
    side = answer.question.variants[(LEFT, RIGHT).index(answer.value)]
    return -1 if side == first else 1
