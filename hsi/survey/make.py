"""Making a survey: sheets, questionnaire, tables for a platform and the key, in one new folder.

key.json                which side is which variant: never for raters
crowd_recognition.csv   a row a question, for a crowd platform
crowd_preference.csv
for_raters/questionnaire.html   everything in one file
for_raters/sheets/              a picture a question
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hsi.errors import OutputError
from hsi.files import write_text
from hsi.pipeline.job import data_run
from hsi.runs import Run, open_run
from hsi.survey.crowd import write_crowd
from hsi.survey.design import KINDS, Choices, questions_of
from hsi.survey.key import KEY_FILE, PREFERENCE, Key, write_key
from hsi.survey.pictures import Pictures, open_pictures
from hsi.survey.questionnaire import questionnaire
from hsi.survey.sheets import write_sheets
from hsi.views.subject import synthetic_line

RATERS, SHEETS, PAGE = "for_raters", "sheets", "questionnaire.html"

Say = Callable[[str], None]


@dataclass(frozen=True)
class Survey:
    """A survey that was made.

    Attributes:
        folder: that holds it.
        key: of its questions.
    """

    folder: Path
    key: Key

    @property
    def page(self) -> Path:
        """The questionnaire."""
        return self.folder / RATERS / PAGE


def make_survey(
    folder: Path, choices: Choices, *, output: Path | None = None, say: Say = print
) -> Survey:
    """Make a survey of a run; its folder appears whole or not at all.

    Args:
        folder: of the run.
        choices: what is asked, of what.
        output: a folder that does not exist yet; None for `survey` in the run's folder.
        say: told what is worth a line.

    Raises:
        OutputError: the folder exists or cannot be made.
        UserError: whatever is wrong with the choices or the run.
    """
    choices.check()
    run = open_run(folder)
    target = output or folder / "survey"
    if target.exists():
        raise OutputError(f"{target}: exists already and is not touched; choose another --output.")
    if run.record.get("data", {}).get("synthetic"):
        name = run.record["data"]["name"]
        say(synthetic_line(name))
    choices = replace(choices, kinds=choices.kinds or _kinds(run, say))
    pictures = open_pictures(run, choices, say=say)
    key = _key(run, choices, pictures)
    _write(key, pictures, choices, target)
    return Survey(target, key)


def _kinds(run: Run, say: Say) -> tuple[str, ...]:
    if data_run(run).settings.of_images:
        return KINDS
    say(
        "Note: people cannot name a few pixels of a scene, so nothing is to be recognised; "
        "--questions recognition asks it all the same."
    )
    return (PREFERENCE,)


def _key(run: Run, choices: Choices, pictures: Pictures) -> Key:
    questions, forms = questions_of(
        pictures.names,
        [int(number) for number in pictures.classes],
        list(pictures.maps),
        pictures.class_names,
        choices,
    )
    facts: dict[str, Any] = {
        "run": run.folder.resolve().name,
        "data": run.record["data"]["name"],
        "data_sha256": run.record["data"]["sha256"],
        "synthetic": pictures.synthetic,
        "note": pictures.note,
        "method": choices.method,
        "picture": choices.picture,
        "percent": choices.percent,
        "covered": choices.covered,
        "seed": choices.seed,
        "files": [
            {"variant": name, "file": file, "sha256": digest}
            for name, (file, digest) in pictures.files.items()
        ],
        "images": [
            {
                "image": name,
                "class": int(pictures.classes[place]),
                "predicted": {
                    variant: int(found[place]) for variant, found in pictures.predicted.items()
                },
                "dead": [v for v, maps in pictures.maps.items() if not maps[place].any()],
            }
            for place, name in enumerate(pictures.names)
        ],
    }
    names = {int(number): str(name) for number, name in pictures.class_names.items()}
    return Key(tuple(pictures.maps), names, questions, forms, facts)


def _write(key: Key, pictures: Pictures, choices: Choices, target: Path) -> None:
    """Everything into a folder beside the target, which then takes its name."""
    draft = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        sheets = draft / RATERS / SHEETS
        sheets.mkdir(parents=True)
        write_sheets(key.questions, pictures, choices, sheets)
        images = {q.id: (sheets / q.sheet).read_bytes() for q in key.questions}
        write_text(draft / RATERS / PAGE, questionnaire(key, images))
        write_crowd(key, draft, base_url=choices.base_url)
        write_key(key, draft / KEY_FILE)
        draft.rename(target)
    except OSError as error:
        raise OutputError(f"{target}: cannot be made: {error.strerror or error}.") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
