"""What a survey's answers say: tables, JSON and figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from hsi.errors import DataError, check_seed
from hsi.files import write_json
from hsi.results import write_rows
from hsi.survey import preferences, recognition
from hsi.survey.answers import Answers, read_answers
from hsi.survey.key import KEY_FILE, Key, read_key
from hsi.survey.preferences import Preferences, preferences_of
from hsi.survey.recognition import Recognition, recognition_of

METHODS = {
    "intervals": "95 %, two-way clustered by image and by rater (Cameron, Gelbach, Miller 2011), "
    "quantiles of Student's t with the smaller number of clusters less one",
    "test": "Cochran's Q over images, recognised being more than half of the answers (Cochran "
    "1950); pairs by McNemar's exact test, adjusted after Holm (1979)",
    "alpha": "Krippendorff's, nominal, with a bootstrap interval over images (Krippendorff 2011)",
}


@dataclass(frozen=True)
class Analysis:
    """A survey with its answers.

    Attributes:
        key: of the survey.
        answers: that count.
        preferences, recognition: what they say; None where that was not asked or answered.
    """

    key: Key
    answers: Answers
    preferences: Preferences | None
    recognition: Recognition | None

    def record(self) -> dict[str, Any]:
        """Everything, as plain values for JSON; what is not known is None."""
        answers = self.answers
        facts = ("run", "data", "synthetic", "method", "picture", "percent", "covered", "seed")
        found: dict[str, Any] = {
            "survey": self.key.survey,
            **{name: self.key.facts.get(name) for name in facts},
            "variants": list(self.key.variants),
            "answers": len(answers.given),
            "missing": answers.missing,
            "rejected": answers.rejected,
            "raters": answers.raters,
            "methods": METHODS,
        }
        if self.preferences:
            found["preferences"] = list(self.preferences.rows)
            found["left_share_of_decided"] = asdict(self.preferences.left)
        if self.recognition:
            test = self.recognition.test
            found["recognition"] = {
                "variants": list(self.recognition.rows),
                "cochran_q": asdict(test) if test else None,
                "pairs": list(self.recognition.pairs),
            }
        plain: dict[str, Any] = _plain(found)
        return plain


def analyse_survey(
    paths: Sequence[Path], *, key_file: Path | None = None, seed: int = 0
) -> tuple[Analysis, Path]:
    """Read answers and analyse them.

    Args:
        paths: files of answers.
        key_file: of the survey; None looks beside the first file and in the folder above it.
        seed: of the intervals of alpha and of the permutation test.

    Returns:
        The analysis, and the key file that was used.

    Raises:
        DataError: no key file, or whatever is wrong with it or the answers.
        SettingsError: a seed that is none.
    """
    check_seed(seed)
    where = key_file or _find_key(paths[0])
    key = read_key(where)
    answers = read_answers(paths, key)
    return (
        Analysis(
            key,
            answers,
            preferences_of(key, answers.given, seed=seed),
            recognition_of(key, answers.given, seed=seed),
        ),
        where,
    )


def write_analysis(analysis: Analysis, folder: Path) -> list[Path]:
    """Write JSON, tables and figures; returns the files."""
    from hsi.plots import save_figure
    from hsi.plots.survey import preference_figure, recognition_figure

    written = [folder / "analysis.json"]
    write_json(written[0], analysis.record())
    facts = analysis.key.facts
    said: dict[str, Any] = {
        "note": f"{analysis.answers.raters} raters, survey {analysis.key.survey}, "
        f"{facts.get('method')}. {facts.get('note', '')}".strip(),
        "synthetic": bool(facts.get("synthetic")),
    }
    if analysis.preferences:
        rows = _plain(analysis.preferences.rows)
        written.append(folder / "preferences.csv")
        write_rows(written[-1], rows, preferences.COLUMNS)
        title = f"Which explanation is more reasonable? {facts.get('data')}"
        drawn = preference_figure(analysis.preferences.rows, title=title, **said)
        written.append(save_figure(drawn, folder / "preferences.png"))
    if analysis.recognition:
        written.append(folder / "recognition.csv")
        write_rows(written[-1], _plain(analysis.recognition.rows), recognition.COLUMNS)
        title = f"What is recognised? {facts.get('data')}"
        drawn = recognition_figure(analysis.recognition.rows, title=title, **said)
        written.append(save_figure(drawn, folder / "recognition.png"))
    return written


def _find_key(answers: Path) -> Path:
    for folder in (answers.parent, answers.parent.parent):
        if (folder / KEY_FILE).is_file():
            return folder / KEY_FILE
    raise DataError(
        f"{answers}: no {KEY_FILE} beside it or in the folder above; name that of the survey with "
        "--key."
    )


def _plain(value: Any) -> Any:
    """The same without NaN, which JSON does not know."""
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, float) and not isfinite(value):
        return None
    return value
