"""What people recognise in a picture of which a part is covered, under several variants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from hsi.metrics import holm, mcnemar
from hsi.survey.agreement import alpha_interval, nominal_alpha
from hsi.survey.answers import Answer
from hsi.survey.clusters import difference_of, mean_of
from hsi.survey.key import RECOGNITION, Key
from hsi.survey.paired import CochranQ, cochran_q

COLUMNS = (
    "variant", "class", "class_name", "votes", "recognised", "share", "share_low", "share_high",
    "images", "raters", "chance", "alpha", "alpha_low", "alpha_high",
)  # fmt: skip
"""Of recognition.csv; `class` is empty in the row of all classes, the only one with an alpha."""


@dataclass(frozen=True)
class Votes:
    """Answers to recognition questions as arrays, all (n,).

    Attributes:
        right: bool, whether the class was recognised.
        variants: index into the variants of the key.
        images, raters: of each answer.
    """

    right: np.ndarray
    variants: np.ndarray
    images: np.ndarray
    raters: np.ndarray


@dataclass(frozen=True)
class Recognition:
    """Everything about the questions of this kind.

    Attributes:
        rows: a dict a variant, and a variant and class: see `COLUMNS`.
        test: Cochran's Q over the images with answers under every variant; None with fewer than
            two of them.
        table: (images, variants) bool, what it was computed on.
        pairs: a dict a pair of variants: McNemar's exact p, the same adjusted, and the difference
            of the shares of answers with its interval.
    """

    rows: tuple[dict[str, Any], ...]
    test: CochranQ | None
    table: np.ndarray
    pairs: tuple[dict[str, Any], ...]


def recognised_table(votes: Votes, variants: int) -> np.ndarray:
    """(images, variants) bool: whether more than half of the answers name the class.

    One value an image and variant, since answers on one picture are not independent. Images
    without an answer under every variant are left out.
    """
    _, image = np.unique(votes.images, return_inverse=True)
    cell = image * variants + votes.variants
    size = (int(image.max(initial=-1)) + 1) * variants
    count = np.bincount(cell, minlength=size).reshape(-1, variants)
    right = np.bincount(cell, weights=votes.right, minlength=size).reshape(-1, variants)
    return (2 * right > count)[(count > 0).all(axis=1)]


def recognition_of(key: Key, answers: Sequence[Answer], *, seed: int = 0) -> Recognition | None:
    """The analysis of all answers of this kind; None where there are none."""
    mine = [answer for answer in answers if answer.question.kind == RECOGNITION]
    if not mine:
        return None
    votes = Votes(
        np.array([answer.value == str(answer.question.klass) for answer in mine]),
        np.array([key.variants.index(answer.question.variants[0]) for answer in mine]),
        np.array([answer.question.image for answer in mine]),
        np.array([answer.rater for answer in mine]),
    )
    table = recognised_table(votes, len(key.variants))
    test = cochran_q(table, seed=seed) if len(table) > 1 else None
    return Recognition(_rows(key, mine, seed), test, table, _pairs(key, votes, table))


def _rows(key: Key, answers: Sequence[Answer], seed: int) -> tuple[dict[str, Any], ...]:
    rows = []
    for variant in key.variants:
        seen = [answer for answer in answers if answer.question.variants[0] == variant]
        for klass in (None, *sorted({answer.question.klass for answer in seen})):
            chosen = [a for a in seen if klass in (None, a.question.klass)]
            if chosen:
                rows.append(_row(key, variant, klass, chosen, seed))
    return tuple(rows)


def _row(
    key: Key, variant: str, klass: int | None, answers: Sequence[Answer], seed: int
) -> dict[str, Any]:
    right = np.array([answer.value == str(answer.question.klass) for answer in answers])
    images = np.array([answer.question.image for answer in answers])
    raters = np.array([answer.rater for answer in answers])
    named = np.array([answer.value for answer in answers])
    share = mean_of(right, images, raters, within=(0, 1))
    alpha = low = high = float("nan")
    if klass is None:  # within a class nearly all name the same, and chance explains it
        alpha = nominal_alpha(named, images)
        low, high = alpha_interval(named, images, images, seed=seed)
    return {
        "variant": variant,
        "class": klass,
        "class_name": None if klass is None else key.class_names[klass],
        "votes": len(answers),
        "recognised": int(right.sum()),
        "share": share.value,
        "share_low": share.low,
        "share_high": share.high,
        "images": len(np.unique(images)),
        "raters": len(np.unique(raters)),
        "chance": float(np.mean([1 / len(answer.question.choices) for answer in answers])),
        "alpha": alpha,
        "alpha_low": low,
        "alpha_high": high,
    }


def _pairs(key: Key, votes: Votes, table: np.ndarray) -> tuple[dict[str, Any], ...]:
    pairs = list(combinations(range(len(key.variants)), 2))
    p_values = np.array([mcnemar(table[:, one], table[:, two]) for one, two in pairs])
    rows = []
    for (one, two), p, adjusted in zip(pairs, p_values, holm(p_values), strict=True):
        of_both = np.isin(votes.variants, (one, two))
        found = difference_of(
            votes.right[of_both],
            votes.variants[of_both] == two,
            votes.images[of_both],
            votes.raters[of_both],
        )
        rows.append(
            {
                "first": key.variants[one],
                "other": key.variants[two],
                "images": len(table),
                "only_first": int((table[:, one] & ~table[:, two]).sum()),
                "only_other": int((~table[:, one] & table[:, two]).sum()),
                "p": float(p),
                "p_holm": float(adjusted),
                "difference": found.value,
                "difference_low": found.low,
                "difference_high": found.high,
            }
        )
    return tuple(rows)
