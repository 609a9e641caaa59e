"""The table that a crowd platform takes: a row a question, as Mechanical Turk's batches have it.

    survey      name of the survey; must come back with each answer
    question    id of the question; must come back with each answer
    image_url   address of its sheet
    prompt      what is asked
    choices     what can be answered, as a JSON list of words

Each kind of question has a table of its own, since a batch has one layout.
"""

from __future__ import annotations

import json
from pathlib import Path

from hsi.results import write_rows
from hsi.survey.design import KINDS
from hsi.survey.key import NONE, PREFERENCE, RECOGNITION, SIDES, Key, Question

COLUMNS = ("survey", "question", "image_url", "prompt", "choices")


def write_crowd(key: Key, folder: Path, *, base_url: str) -> list[Path]:
    """Write a table for each kind of question that there is: `crowd_<kind>.csv`.

    Args:
        base_url: folder where the sheets can be fetched; "" leaves their names alone.
    """
    base = f"{base_url.rstrip('/')}/" if base_url else ""
    written = []
    for kind in KINDS:
        questions = key.of_kind(kind)
        if questions:
            path = folder / f"crowd_{kind}.csv"
            rows = [
                {
                    "survey": key.survey,
                    "question": question.id,
                    "image_url": f"{base}{question.sheet}",
                    "prompt": prompt(key, question),
                    "choices": json.dumps(_words(key, question), ensure_ascii=False),
                }
                for question in questions
            ]
            write_rows(path, rows, COLUMNS)
            written.append(path)
    return written


def _words(key: Key, question: Question) -> list[str]:
    if question.kind == PREFERENCE:
        return list(SIDES)
    return [*(key.class_names[number] for number in question.choices), NONE]


def prompt(key: Key, question: Question) -> str:
    """What is asked, in words that tell nothing of networks and variants."""
    percent = f"{key.facts.get('percent', 10):g} %"
    seen = f"only the {percent} that a computer found most important can be seen"
    if key.facts.get("covered") == "top":
        seen = f"the {percent} that a computer found most important are covered"
    if question.kind == RECOGNITION:
        return f"A part of the picture is covered: {seen}. What do you recognise?"
    name = key.class_names[question.klass]
    if key.facts.get("picture") == "overlay":
        return (
            f"The picture shows: {name}. The colours show where a computer looked for it. "
            "Which of the two is more reasonable?"
        )
    return (
        f"The picture shows: {name}. On the left and on the right {seen}, for that name. "
        "Which of the two is more reasonable?"
    )
