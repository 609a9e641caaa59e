"""Reading answers: files of the questionnaire, and tables of a crowd platform."""

from __future__ import annotations

import csv
import difflib
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hsi.errors import DataError
from hsi.survey.key import Key, Question

COLUMNS = ("survey", "rater", "question", "answer", "seconds")
"""Of the questionnaire's files; `seconds` may be missing."""

NEEDED = COLUMNS[:4]

CROWD = "WorkerId"
"""A column that tells a batch of Mechanical Turk by."""

CROWD_NAMES = {
    "survey": ("Input.survey",),
    "rater": (CROWD,),
    "question": ("Input.question",),
    "answer": ("Answer.answer", "Answer.answer.label", "Answer.category.label"),
}
"""What Mechanical Turk calls the columns; of several the first that is there."""

STATUS, REJECTED = "AssignmentStatus", "rejected"


@dataclass(frozen=True)
class Answer:
    """What one rater answered to one question.

    Attributes:
        rater: as the file names them.
        question: of the key.
        value: one of `question.answers`.
    """

    rater: str
    question: Question
    value: str


@dataclass(frozen=True)
class Answers:
    """All answers of a survey.

    Attributes:
        given: in the order of the files.
        missing: rows without an answer, which count not.
        rejected: rows that the platform marks as rejected, which count not.
    """

    given: tuple[Answer, ...]
    missing: int
    rejected: int

    @property
    def raters(self) -> int:
        """How many people answered."""
        return len({answer.rater for answer in self.given})


def read_answers(paths: Sequence[Path], key: Key) -> Answers:
    """Read every file and check each row against the key.

    Raises:
        DataError: a file that is missing, empty or no table; unknown columns; answers of another
            survey; an unknown question or answer; two answers of one rater to one question; no
            answer at all, or those of one rater only.
    """
    given: list[Answer] = []
    seen: dict[tuple[str, str], str] = {}
    missing = rejected = 0
    for path in paths:
        for where, row in _rows(path):
            if row["status"].casefold() == REJECTED:
                rejected += 1
                continue
            question, rater = _question(row, where, key), row["rater"]
            if not rater:
                raise DataError(f"{where}: no rater; expected a name or number of who answered.")
            if (rater, question.id) in seen:
                raise DataError(
                    f"{where}: {rater} answered {question.id} already in "
                    f"{seen[rater, question.id]}; keep one of the two rows."
                )
            seen[rater, question.id] = where
            if row["answer"]:
                given.append(Answer(rater, question, _value(row, question, where, key)))
            else:
                missing += 1
    found = Answers(tuple(given), missing, rejected)
    names = ", ".join(map(str, paths))
    if not given:
        raise DataError(f"{names}: no answer in it; expected a row an answer.")
    if found.raters == 1:
        raise DataError(
            f"{names}: answers of one rater only ({given[0].rater}); how far people differ shows "
            "with two or more: give the files of all raters."
        )
    return found


def _rows(path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Each row with the words for where it stands, its columns under our own names."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: expected a CSV file as UTF-8; it is something else.") from error
    if not text.strip():
        raise DataError(f"{path}: is empty; expected the columns {', '.join(COLUMNS)}.")
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        columns = [name.strip() for name in next(reader)]
        names = _names(path, columns)
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            where = f"{path}, line {reader.line_num}"
            if len(cells) != len(columns):
                raise DataError(
                    f"{where}: expected {len(columns)} columns as in the first line, "
                    f"got {len(cells)}."
                )
            row = dict(zip(columns, (cell.strip() for cell in cells), strict=True))
            known = {ours: row[name] for ours, name in names.items()}
            crowd = CROWD if CROWD in columns else ""
            yield where, {**known, "status": row.get(STATUS, ""), "platform": crowd}
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: expected CSV: {error}.") from error


def _names(path: Path, columns: Sequence[str]) -> dict[str, str]:
    """Our name -> the name in this file, for every column that is needed."""
    doubled = next((name for name in columns if columns.count(name) > 1), None)
    if doubled is not None:
        raise DataError(f"{path}: two columns are called {doubled!r}.")
    if CROWD in columns:
        names = {}
        for ours, known in CROWD_NAMES.items():
            found = next((name for name in known if name in columns), None)
            if found is None:
                raise DataError(_missing_text(path, known[0], columns))
            names[ours] = found
        return names
    for name in columns:
        if name not in COLUMNS:
            raise DataError(
                f"{path}: unknown column {name!r}: expected {', '.join(COLUMNS)} (or a batch of "
                f"Mechanical Turk).{_closest(name, COLUMNS)}"
            )
    for name in NEEDED:
        if name not in columns:
            raise DataError(_missing_text(path, name, columns))
    return {name: name for name in NEEDED}


def _missing_text(path: Path, name: str, columns: Sequence[str]) -> str:
    return f"{path}: no column {name!r}; it has {', '.join(columns[:12])}.{_closest(name, columns)}"


def _closest(name: str, known: Sequence[str]) -> str:
    folded: Mapping[str, str] = {other.casefold(): other for other in known}
    close = difflib.get_close_matches(name.casefold(), folded, n=1)
    return f" Did you mean {folded[close[0]]!r}?" if close else ""


def _question(row: Mapping[str, str], where: str, key: Key) -> Question:
    if row["survey"] != key.survey:
        raise DataError(
            f"{where}: an answer of another survey ({row['survey'] or 'not named'}), the key is "
            f"that of {key.survey}; name the right one with --key."
        )
    question = key.by_id.get(row["question"])
    if question is None:
        raise DataError(
            f"{where}: no question {row['question']!r} in this survey."
            f"{_closest(row['question'], list(key.by_id))}"
        )
    return question


def _value(row: Mapping[str, str], question: Question, where: str, key: Key) -> str:
    """The answer as `Question.answers` has it.

    A class is known by its number and by its name. Where both are numbers, the questionnaire means
    the number, and a platform, which shows names, the name.
    """
    named = {key.class_names[number].casefold(): str(number) for number in question.choices}
    numbered = {known: known for known in question.answers}
    known = {**numbered, **named} if row["platform"] else {**named, **numbered}
    value = known.get(row["answer"].casefold())
    if value is None:
        raise DataError(
            f"{where}: unknown answer {row['answer']!r} to {question.id}: expected one of "
            f"{', '.join(list(known)[:12])}.{_closest(row['answer'], list(known))}"
        )
    return value
