"""The questionnaire: one HTML file that works from disk, without any network.

Pictures, style and script stand in it. Its content security policy lets no address be fetched and
no script run but the one whose hash it names, so nothing that comes from data can be run.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from importlib import resources

from hsi.survey.crowd import prompt
from hsi.survey.key import EQUAL, LEFT, NONE, PREFERENCE, RIGHT, Key, Question

LABELS = {LEFT: "left", EQUAL: "equally reasonable", RIGHT: "right"}
NOTHING = "I recognise nothing"


def questionnaire(key: Key, sheets: Mapping[str, bytes]) -> str:
    """The text of the file.

    Args:
        key: of the survey; of it only ids, kinds, choices and orders are written.
        sheets: question id -> PNG.
    """
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, keep_trailing_newline=True
    )
    environment.policies["json.dumps_kwargs"] = {"sort_keys": False}
    script = _source("questionnaire.js")
    return environment.from_string(_source("questionnaire.html")).render(
        survey=key.survey,
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        style=_source("questionnaire.css"),
        synthetic=bool(key.facts.get("synthetic")),
        content={
            "survey": key.survey,
            "forms": [list(form) for form in key.forms],
            "questions": {
                question.id: _shown(key, question, sheets[question.id])
                for question in key.questions
            },
        },
    )


def _shown(key: Key, question: Question, sheet: bytes) -> dict[str, object]:
    """What a rater may know of a question."""
    if question.kind == PREFERENCE:
        choices = [{"value": value, "label": label} for value, label in LABELS.items()]
    else:
        choices = [{"value": str(n), "label": key.class_names[n]} for n in question.choices]
        choices.append({"value": NONE, "label": NOTHING})
    return {
        "kind": question.kind,
        "prompt": prompt(key, question),
        "image": f"data:image/png;base64,{base64.b64encode(sheet).decode()}",
        "choices": choices,
    }


def _source(name: str) -> str:
    return (resources.files("hsi.survey") / name).read_text(encoding="utf-8")
