"""Which questions are asked, on which side what stands, and in which order: all from one seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite

import numpy as np

from hsi.errors import SettingsError, check_seed, one_of
from hsi.survey.key import PREFERENCE, RECOGNITION, Question

KINDS = (RECOGNITION, PREFERENCE)
"""In the order in which they are asked: who has seen the original recognises more."""

OVERLAY, OCCLUSION = "overlay", "occlusion"
PICTURES = (OVERLAY, OCCLUSION)
"""How an explanation is shown where two are compared."""

REST, TOP = "rest", "top"
COVERED = (REST, TOP)
"""What is covered: all but the most important pixels, or these alone."""


@dataclass(frozen=True)
class Choices:
    """What `survey make` was asked for.

    Attributes:
        variants: names or files of variants of the run; empty for trained and the most pruned.
        method: of the explanation, a name in `hsi.explain.METHODS`.
        images: how many.
        kinds: of questions, of `KINDS`; empty for both, and for scenes preference alone.
        picture: one of `PICTURES`, for preferences.
        percent: of the pixels that count as the most important, more than 0 and below 100.
        covered: one of `COVERED`.
        most_choices: classes to choose from, at most.
        base_url: where the sheets will lie for a crowd platform; "" for their names alone.
        seed: of the images, sides and orders.
    """

    variants: tuple[str, ...] = ()
    method: str = "gradcam"
    images: int = 20
    kinds: tuple[str, ...] = ()
    picture: str = OVERLAY
    percent: float = 10.0
    covered: str = REST
    most_choices: int = 10
    base_url: str = ""
    seed: int = 0

    def check(self) -> Choices:
        """Return the choices if each is in its range.

        Raises:
            SettingsError: one that is not.
        """
        for kind in self.kinds:
            one_of(kind, KINDS, what="kind of question")
        one_of(self.picture, PICTURES, what="picture")
        one_of(self.covered, COVERED, what="part to cover")
        check_seed(self.seed)
        for name, value in (("images", self.images), ("choices", self.most_choices)):
            if value < 2:
                raise SettingsError(f"{name}: expected 2 or more, got {value}.")
        if not (isfinite(self.percent) and 0 < self.percent < 100):
            raise SettingsError(f"percent: expected above 0 and below 100, got {self.percent:g}.")
        if len(self.variants) == 1 or len(set(self.variants)) < len(self.variants):
            raise SettingsError(
                f"variants: expected two or more different ones, got {', '.join(self.variants)}."
            )
        return self


def questions_of(
    images: Sequence[str],
    classes: Sequence[int],
    variants: Sequence[str],
    class_names: Mapping[int, str],
    choices: Choices,
) -> tuple[tuple[Question, ...], tuple[tuple[str, ...], ...]]:
    """Every question, and the forms: lists of questions for one rater each.

    Preferences are asked between the first variant and each other. On every form an image is to be
    recognised once only, under one variant, and the variants take turns from image to image and
    from form to form (a Latin square): who has recognised an image would recognise it again.

    Args:
        images: (n,) a name for each image, no two the same.
        classes: (n,) published numbers.
        variants: names.
        class_names: published number -> name.
        choices: kinds, number of classes to choose from, and the seed.

    Returns:
        The questions in the order of their numbers, which tells nothing; and a form a variant, or
        one form where nothing is to be recognised.
    """
    rng = np.random.default_rng(choices.seed)
    planned: list[tuple[str, int, tuple[str, ...], tuple[int, ...]]] = []
    if PREFERENCE in choices.kinds:
        for other in variants[1:]:
            swapped = rng.permutation(np.arange(len(images)) % 2).astype(bool)
            pairs = [(other, variants[0]) if swap else (variants[0], other) for swap in swapped]
            planned += [(PREFERENCE, place, pair, ()) for place, pair in enumerate(pairs)]
    if RECOGNITION in choices.kinds:
        for place, number in enumerate(classes):
            offered = _offered(number, class_names, choices.most_choices, rng)
            planned += [(RECOGNITION, place, (variant,), offered) for variant in variants]
    digits = max(3, len(str(len(planned))))
    names = [f"q{turn + 1:0{digits}d}" for turn in rng.permutation(len(planned))]
    questions = [
        Question(name, kind, images[place], int(classes[place]), shown, offered)
        for name, (kind, place, shown, offered) in zip(names, planned, strict=True)
    ]
    forms = _forms(questions, images, variants, rng)
    return tuple(sorted(questions, key=lambda question: question.id)), forms


def _offered(
    number: int, class_names: Mapping[int, str], most: int, rng: np.random.Generator
) -> tuple[int, ...]:
    """Classes to choose from: all, or the right one and others drawn at random."""
    others = [other for other in class_names if other != number]
    drawn = rng.permutation(others)[: most - 1]
    return tuple(sorted({int(number), *(int(other) for other in drawn)}))


def _forms(
    questions: Sequence[Question],
    images: Sequence[str],
    variants: Sequence[str],
    rng: np.random.Generator,
) -> tuple[tuple[str, ...], ...]:
    turn = {image: int(start) for image, start in zip(
        images, rng.permutation(len(images)), strict=True
    )}  # fmt: skip
    known = {(q.image, q.variants[0]): q.id for q in questions if q.kind == RECOGNITION}
    preferred = [q.id for q in questions if q.kind == PREFERENCE]
    forms = []
    for form in range(len(variants) if known else 1):
        first = [
            known[image, variants[(turn[image] + form) % len(variants)]]
            for image in images
            if known
        ]
        forms.append((*map(str, rng.permutation(first)), *map(str, rng.permutation(preferred))))
    return tuple(forms)
