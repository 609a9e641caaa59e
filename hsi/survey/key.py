"""The key of a survey: which side is which variant. Who answers must never see it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from hsi.errors import DataError
from hsi.files import write_json

KEY_FILE = "key.json"
PREFERENCE, RECOGNITION = "preference", "recognition"
LEFT, RIGHT, EQUAL = "left", "right", "equal"
SIDES = (LEFT, EQUAL, RIGHT)
"""Answers to a preference."""
NONE = "none"
"""Answer of who recognises nothing."""

_FORMAT = 1
_DIGITS = 16


@dataclass(frozen=True)
class Question:
    """One question; raters see its id, its sheet and its choices alone.

    Attributes:
        id: such as "q007"; its number tells nothing.
        kind: "preference" or "recognition".
        image: name of the image or pixel in its data set.
        klass: published number of its class.
        variants: those on the left and on the right; or the one shown.
        choices: published numbers to choose from; empty for a preference.
    """

    id: str
    kind: str
    image: str
    klass: int
    variants: tuple[str, ...]
    choices: tuple[int, ...] = ()

    @property
    def sheet(self) -> str:
        """Name of the picture's file."""
        return f"{self.id}.png"

    @property
    def answers(self) -> tuple[str, ...]:
        """Every answer that can be given, as answer files have it."""
        if self.kind == PREFERENCE:
            return SIDES
        return (*map(str, self.choices), NONE)


@dataclass(frozen=True)
class Key:
    """Everything about a survey that its answers do not say.

    Attributes:
        variants: names, the first is what others are compared with.
        class_names: published number -> name.
        questions: in the order of their ids.
        forms: ids of the questions that one rater is asked, in order.
        facts: run, data, method, seed and the like, as plain values.
    """

    variants: tuple[str, ...]
    class_names: Mapping[int, str]
    questions: tuple[Question, ...]
    forms: tuple[tuple[str, ...], ...]
    facts: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def survey(self) -> str:
        """The survey's name: a hash of everything in its key, which answers carry."""
        text = json.dumps(self._content(), sort_keys=True, ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]

    @cached_property
    def by_id(self) -> dict[str, Question]:
        """The questions by their ids."""
        return {question.id: question for question in self.questions}

    def of_kind(self, kind: str) -> tuple[Question, ...]:
        """The questions of one kind."""
        return tuple(question for question in self.questions if question.kind == kind)

    def record(self) -> dict[str, Any]:
        """What the key file holds."""
        return {"survey": self.survey, **self._content()}

    def _content(self) -> dict[str, Any]:
        return {
            "format": _FORMAT,
            "keep_from_raters": True,
            **self.facts,
            "variants": list(self.variants),
            "classes": [{"number": n, "name": name} for n, name in self.class_names.items()],
            "questions": [_question_record(question) for question in self.questions],
            "forms": [list(form) for form in self.forms],
        }


def _question_record(question: Question) -> dict[str, Any]:
    shown = dict(zip((LEFT, RIGHT), question.variants, strict=False))
    shown = shown if question.kind == PREFERENCE else {"shown": question.variants[0]}
    return {
        "id": question.id,
        "kind": question.kind,
        "image": question.image,
        "class": question.klass,
        "variants": shown,
        "choices": list(question.choices),
    }


def write_key(key: Key, path: Path) -> None:
    """Write the key file."""
    write_json(path, key.record())


def read_key(path: Path) -> Key:
    """Read a key file, and check that nothing in it was changed.

    Raises:
        DataError: missing, no key file, or changed.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such key file; `survey make` wrote it, see --key.") from error
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not the {KEY_FILE} of a survey: cannot be read.") from error
    try:
        key = _key_of(record)
        name = record["survey"]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{path}: not the {KEY_FILE} of a survey, but another file.") from error
    if key.survey != name:
        raise DataError(
            f"{path}: was changed since the survey was made (its content is {key.survey}, it says "
            f"{name}); take the file that `survey make` wrote."
        )
    return key


def _key_of(record: dict[str, Any]) -> Key:
    known = ("survey", "format", "keep_from_raters", "variants", "classes", "questions", "forms")
    if record["format"] != _FORMAT:
        raise ValueError
    questions = tuple(
        Question(
            str(entry["id"]),
            str(entry["kind"]),
            str(entry["image"]),
            int(entry["class"]),
            tuple(map(str, entry["variants"].values())),
            tuple(map(int, entry["choices"])),
        )
        for entry in record["questions"]
    )
    return Key(
        tuple(map(str, record["variants"])),
        {int(entry["number"]): str(entry["name"]) for entry in record["classes"]},
        questions,
        tuple(tuple(map(str, form)) for form in record["forms"]),
        {name: value for name, value in record.items() if name not in known},
    )
