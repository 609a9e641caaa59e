"""Surveys without networks, and raters with known habits who answer them."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np

from hsi.survey.design import KINDS, Choices, questions_of
from hsi.survey.key import EQUAL, LEFT, NONE, PREFERENCE, RIGHT, Key, Question
from hsi.survey.pictures import Pictures

NAMES = {1: "tench", 2: 'dog "Rex", English', 3: "<script>alert(1)</script>", 4: "=1+1 & $2$"}
VARIANTS = ("trained", "pruned_50", "pruned_80")


def make_key(
    *, images: int = 8, variants: tuple[str, ...] = VARIANTS, seed: int = 0, **options
) -> Key:
    names = [f"image {10 * number} (test)" for number in range(images)]
    classes = [1 + number % len(NAMES) for number in range(images)]
    choices = Choices(kinds=options.pop("kinds", KINDS), seed=seed, **options)
    questions, forms = questions_of(names, classes, variants, NAMES, choices)
    facts = {
        "data": "photos", "run": "run", "method": "gradcam", "picture": choices.picture,
        "percent": choices.percent, "covered": choices.covered, "synthetic": False, "seed": seed,
    }  # fmt: skip
    return Key(variants, NAMES, questions, forms, facts)


def make_pictures(*, images: int = 8, side: int = 12, seed: int = 0) -> Pictures:
    """Noise as photographs, and a map a variant that is high in a place of its own."""
    rng = np.random.default_rng(seed)
    pictures = rng.uniform(0, 1, (images, side, side, 3))
    maps = {}
    for place, variant in enumerate(VARIANTS):
        maps[variant] = rng.uniform(0, 0.1, (images, side, side))
        maps[variant][:, 3 * place : 3 * place + 3] += 1
    return Pictures(
        names=tuple(f"image {10 * number} (test)" for number in range(images)),
        classes=np.array([1 + number % len(NAMES) for number in range(images)]),
        pictures=pictures,
        originals=pictures,
        maps=maps,
        predicted={variant: np.ones(images, int) for variant in VARIANTS},
        files={variant: (f"{variant}.h5", "0" * 64) for variant in VARIANTS},
        class_names=NAMES,
        of_scene=False,
        synthetic=False,
        note="",
    )


def voting(
    key: Key, *, preferred: float = 0.0, recognised: tuple[float, ...] = (0.5, 0.5, 0.5), seed: int
) -> Callable[[Question, str], str]:
    """Raters who like the other variant more by `preferred`, and recognise so much of each.

    Every image and every rater has a leaning of its own.
    """
    rng = np.random.default_rng(seed)
    leaning = {name: rng.normal(0, 0.6) for name in sorted({q.image for q in key.questions})}
    taste: dict[str, float] = {}

    def answer(question: Question, rater: str) -> str:
        taste.setdefault(rater, rng.normal(0, 0.6))
        pull = leaning[question.image] + taste[rater]
        if question.kind == PREFERENCE:
            strength = preferred + pull + rng.normal()
            if abs(strength) < 0.4:
                return EQUAL
            liked = (set(question.variants) - {key.variants[0]}).pop()
            wanted = liked if strength > 0 else key.variants[0]
            return LEFT if question.variants[0] == wanted else RIGHT
        share = recognised[key.variants.index(question.variants[0])]
        if rng.uniform() < 1 / (1 + np.exp(-(np.log(share / (1 - share)) + pull))):
            return str(question.klass)
        return str(rng.choice([a for a in question.answers if a != str(question.klass)]))

    return answer


def write_answers(
    path: Path, key: Key, answer: Callable[[Question, str], str], *, raters: int = 6
) -> Path:
    """Every rater answers one form; the forms take turns."""
    rows = []
    for number in range(raters):
        for name in key.forms[number % len(key.forms)]:
            rater = f"r{number}"
            rows.append([key.survey, rater, name, answer(key.by_id[name], rater), "1.5"])
    return write_table(path, ["survey", "rater", "question", "answer", "seconds"], rows)


def write_table(path: Path, columns: list[str], rows: list[list[str]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_ALL)
        writer.writerow(columns)
        writer.writerows(rows)
    return path


def read_table(path: Path) -> tuple[list[str], list[list[str]]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        columns, *rows = csv.reader(file)
    return columns, rows


def platform_word(key: Key, question: Question, value: str) -> str:
    """An answer as a crowd platform shows and returns it: classes by their names."""
    if question.kind == PREFERENCE or value == NONE:
        return value
    return key.class_names[int(value)]
