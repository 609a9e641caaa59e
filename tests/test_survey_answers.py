"""Surveys without networks: their questions, keys, answers, and what comes of them."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from survey_raters import (
    NAMES,
    VARIANTS,
    make_key,
    platform_word,
    read_table,
    voting,
    write_answers,
    write_table,
)

from hsi.cli import main
from hsi.errors import DataError
from hsi.survey.analyse import analyse_survey, write_analysis
from hsi.survey.key import NONE, PREFERENCE, RECOGNITION, read_key, write_key


@pytest.fixture
def key(tmp_path: Path):
    made = make_key()
    write_key(made, tmp_path / "key.json")
    return made


@pytest.fixture
def answers(tmp_path: Path, key) -> Path:
    return write_answers(tmp_path / "answers.csv", key, voting(key, seed=1))


# Questions


def test_every_form_asks_each_image_once_to_be_recognised_and_all_of_them_every_variant():
    key = make_key(images=7)
    assert len(key.forms) == len(VARIANTS)
    images = {question.image for question in key.questions}
    seen = Counter()
    for form in key.forms:
        asked = [key.by_id[name] for name in form]
        shown = [q for q in asked if q.kind == RECOGNITION]
        assert asked[: len(shown)] == shown  # before any original is seen
        assert Counter(q.image for q in shown) == dict.fromkeys(images, 1)
        per_variant = Counter(q.variants[0] for q in shown)
        assert max(per_variant.values()) - min(per_variant.values()) <= 1
        seen.update((q.image, q.variants[0]) for q in shown)
        assert {q.id for q in asked if q.kind == PREFERENCE} == {
            q.id for q in key.of_kind(PREFERENCE)
        }
    assert seen == {(image, variant): 1 for image in images for variant in VARIANTS}


def test_sides_are_shuffled_by_the_seed_and_balanced():
    key = make_key(images=10)
    for other in VARIANTS[1:]:
        pairs = [q.variants for q in key.of_kind(PREFERENCE) if other in q.variants]
        assert Counter(pairs) == {("trained", other): 5, (other, "trained"): 5}
    assert make_key(images=10).record() == key.record()
    assert make_key(images=10, seed=1).record() != key.record()
    kinds = [q.kind for q in key.questions]
    assert kinds != sorted(kinds)  # numbers tell nothing


def test_choices_hold_the_right_class_and_are_the_same_under_every_variant():
    key = make_key(most_choices=3)
    for image in {q.image for q in key.questions}:
        mine = [q for q in key.of_kind(RECOGNITION) if q.image == image]
        assert len({q.choices for q in mine}) == 1
        assert len(mine[0].choices) == 3
        assert mine[0].klass in mine[0].choices
    assert all(set(q.choices) == set(NAMES) for q in make_key().of_kind(RECOGNITION))


def test_a_key_is_read_as_it_was_written_and_refused_when_changed(tmp_path: Path, key):
    assert read_key(tmp_path / "key.json") == key
    record = json.loads((tmp_path / "key.json").read_text())
    pair = next(q for q in record["questions"] if q["kind"] == PREFERENCE)["variants"]
    pair["left"], pair["right"] = pair["right"], pair["left"]
    (tmp_path / "key.json").write_text(json.dumps(record))
    with pytest.raises(DataError, match="was changed"):
        read_key(tmp_path / "key.json")
    for text in ("{}", "[1]", "no json", '{"format": 1, "variants": 3}'):
        (tmp_path / "key.json").write_text(text)
        with pytest.raises(DataError, match=r"not the key\.json"):
            read_key(tmp_path / "key.json")


# Simulated raters, from their files to the table


@pytest.mark.parametrize("effect", [True, False])
def test_what_simulated_raters_mean_is_found(tmp_path: Path, effect: bool):
    key = make_key(images=36)
    write_key(key, tmp_path / "key.json")
    shares = (0.8, 0.75, 0.25) if effect else (0.6, 0.6, 0.6)
    habits = voting(key, preferred=-0.9 if effect else 0.0, recognised=shares, seed=4)
    file = write_answers(tmp_path / "answers.csv", key, habits, raters=30)
    analysis, _ = analyse_survey([file])
    record = analysis.record()
    whole = [row for row in record["preferences"] if row["class"] is None]
    assert [(row["first"], row["other"]) for row in whole] == [
        ("trained", "pruned_50"), ("trained", "pruned_80"),
    ]  # fmt: skip
    for row in whole:
        assert row["votes"] == 36 * 30 == row["for_first"] + row["for_neither"] + row["for_other"]
        assert (row["images"], row["raters"]) == (36, 30)
        if effect:
            assert row["difference_high"] < 0
        else:
            assert row["difference_low"] < 0 < row["difference_high"]
    left = record["left_share_of_decided"]
    assert left["low"] < 0.5 < left["high"]
    test = record["recognition"]["cochran_q"]
    pairs = {(p["first"], p["other"]): p for p in record["recognition"]["pairs"]}
    assert test["images"] == 36
    if effect:
        assert test["p"] < 1e-4
        assert test["p_permuted"] < 1e-3
        assert pairs["trained", "pruned_50"]["p_holm"] > 0.05
        assert pairs["trained", "pruned_80"]["p_holm"] < 0.01
        assert pairs["trained", "pruned_80"]["difference_high"] < 0
    else:
        assert test["p"] > 0.05
        assert all(pair["p_holm"] > 0.05 for pair in pairs.values())


def test_rows_of_classes_add_up_to_those_of_all(answers: Path):
    record = analyse_survey([answers])[0].record()
    for rows, group, counts in (
        (record["preferences"], ("first", "other"), ("votes", "for_first", "for_other", "images")),
        (record["recognition"]["variants"], ("variant",), ("votes", "recognised", "images")),
    ):
        sums: dict = {}
        for row in rows:
            of = tuple(row[name] for name in group)
            mine = np.array([row[name] for name in counts])
            sums[of] = sums.get(of, 0) + (mine if row["class"] is None else -mine)
        assert all(not total.any() for total in sums.values())


def test_a_platforms_table_says_the_same_as_the_questionnaires(tmp_path: Path, key, answers):
    _, rows = read_table(answers)
    columns = ["HITId", "AssignmentStatus", "WorkerId", "Input.survey", "Input.question",
               "Input.image_url", "Answer.category.label"]  # fmt: skip
    table = [
        ["H", "Approved", rater, survey, name, "x", platform_word(key, key.by_id[name], value)]
        for survey, rater, name, value, _ in rows
    ]
    table.append(["H", "Rejected", "bot", key.survey, "q001", "x", "nonsense"])
    table.append(["H", "Submitted", "r99", key.survey, "q001", "x", ""])
    other = write_table(tmp_path / "batch.csv", columns, table)
    ours, theirs = (analyse_survey([path])[0].record() for path in (answers, other))
    assert (theirs.pop("rejected"), theirs.pop("missing")) == (1, 1)
    assert (ours.pop("rejected"), ours.pop("missing")) == (0, 0)
    assert theirs == ours


def test_a_class_whose_name_is_another_classes_number(tmp_path: Path):
    """Digits counted from one: a platform's "2" is the name, the questionnaire's the number."""
    digits = {1: "0", 2: "1", 3: "2", 4: "3"}
    key = replace(make_key(), class_names=digits)
    write_key(key, tmp_path / "key.json")

    def right(question, rater):
        return "equal" if question.kind == PREFERENCE else str(question.klass)

    file = write_answers(tmp_path / "answers.csv", key, right)
    _, rows = read_table(file)
    named = [
        [survey, rater, name, platform_word(key, key.by_id[name], value)]
        for survey, rater, name, value, _ in rows
    ]
    columns = ["Input.survey", "WorkerId", "Input.question", "Answer.answer"]
    batch = write_table(tmp_path / "batch.csv", columns, named)
    for path in (file, batch):
        rows = analyse_survey([path])[0].recognition.rows
        assert all(row["share"] == 1 for row in rows)


def test_everything_is_written_and_printed(tmp_path: Path, answers: Path, capsys, figures):
    assert main(["survey", "analyse", str(answers)]) == 0
    folder = tmp_path / "analysis"
    names = {path.name for path in folder.iterdir()}
    assert names == {"analysis.json", "preferences.csv", "preferences.png", "recognition.csv",
                     "recognition.png"}  # fmt: skip
    record = json.loads((folder / "analysis.json").read_text())
    columns, rows = read_table(folder / "recognition.csv")
    assert len(rows) == len(record["recognition"]["variants"])
    assert rows[0][columns.index("share")] == f"{record['recognition']['variants'][0]['share']:.6g}"
    said = " ".join(capsys.readouterr().out.split())
    assert "Cochran's Q" in said
    assert "<script>alert(1)</script>" in said  # as text, no markup
    labels = [t.get_text() for t in figures["recognition.png"].axes[0].get_yticklabels()]
    assert labels[0] == "all classes"
    assert labels[3].startswith("3 <script>")
    drawn = figures["preferences.png"].axes[0].patches
    bars = [patch.get_width() for patch in drawn[:3]]
    assert sum(bars) == pytest.approx(100)


def test_one_kind_of_question_alone_is_analysed(tmp_path: Path):
    for kind, missing in ((PREFERENCE, "recognition"), (RECOGNITION, "preferences")):
        key = make_key(kinds=(kind,))
        folder = tmp_path / kind
        folder.mkdir()
        write_key(key, folder / "key.json")
        file = write_answers(folder / "answers.csv", key, voting(key, seed=0))
        analysis, _ = analyse_survey([file])
        written = {path.stem for path in write_analysis(analysis, folder / "found")}
        assert missing not in written
        assert missing not in analysis.record()


def test_who_recognises_nothing_is_not_right(tmp_path: Path, key):
    def nothing(question, rater):
        return "equal" if question.kind == PREFERENCE else NONE

    analysis, _ = analyse_survey([write_answers(tmp_path / "answers.csv", key, nothing)])
    assert all(row["recognised"] == 0 for row in analysis.recognition.rows)
    assert analysis.recognition.test.p == 1
    assert analysis.record()["left_share_of_decided"]["value"] is None


# Bad input


def changed(path: Path, change) -> Path:
    columns, rows = read_table(path)
    change(columns, rows)
    return write_table(path, columns, rows)


BAD = {
    "a column that is misspelled": (lambda c, r: c.__setitem__(1, "ratter"), "mean 'rater'"),
    "a column too many": (lambda c, r: c.__setitem__(4, "mood"), "unknown column 'mood'"),
    "a column twice": (lambda c, r: c.__setitem__(4, "rater"), "two columns"),
    "another survey": (lambda c, r: r[3].__setitem__(0, "0" * 16), "another survey"),
    "no rows": (lambda c, r: r.clear(), "no answer"),
    "an answer twice": (lambda c, r: r.append(r[2]), "q\\d+ already in .*line 4; keep one"),
    "a question that is none": (lambda c, r: r[0].__setitem__(2, "q9999"), "no question 'q9999'"),
    "an answer that is none": (
        lambda c, r: [row.__setitem__(3, "lefft") for row in r if row[3] == "left"],
        "mean 'left'",
    ),
    "one rater": (lambda c, r: r.__delitem__(slice(16, None)), "one rater only"),
    "a row cut off": (lambda c, r: r[5].pop(), "line 7: expected 5 columns"),
    "nobody's answer": (lambda c, r: r[0].__setitem__(1, " "), "no rater"),
}


@pytest.mark.parametrize("change", BAD)
def test_bad_answers_are_refused_in_one_line(answers: Path, capsys, change: str):
    wrong, words = BAD[change]
    changed(answers, wrong)
    assert main(["survey", "analyse", str(answers)]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert said.count("\n") == 1
    import re

    assert re.search(words, said), said


@pytest.mark.parametrize(
    ("content", "words"), [(b"", "is empty"), (b"\xff\xfe\x00a", "UTF-8"), (b'a,"b\n', "CSV")]
)
def test_files_that_are_no_tables_are_refused(tmp_path: Path, key, capsys, content, words):
    (tmp_path / "answers.csv").write_bytes(content)
    assert main(["survey", "analyse", str(tmp_path / "answers.csv")]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1


def test_a_platforms_table_without_its_columns_and_a_missing_key(tmp_path: Path, key, capsys):
    file = write_table(tmp_path / "a.csv", ["WorkerId", "Input.surveys", "Answer.answer"], [])
    assert main(["survey", "analyse", str(file)]) == 2
    assert "mean 'Input.surveys'" in capsys.readouterr().err
    lonely = tmp_path / "some" / "where" / "answers.csv"
    lonely.parent.mkdir(parents=True)
    lonely.write_text("survey")
    assert main(["survey", "analyse", str(lonely)]) == 2
    assert "--key" in capsys.readouterr().err
    assert main(["survey", "analyse", str(lonely), "--key", "nowhere.json"]) == 2
    assert "no such key file" in capsys.readouterr().err
