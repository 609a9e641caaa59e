"""What an evaluation says: F1, means over seeds, tests of pairs, the table and its escaping."""

from __future__ import annotations

import io
import itertools
import re
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import sklearn.metrics as reference
from rich.console import Console
from scipy.stats import binom

from hsi.cli.evaluate import print_table
from hsi.errors import DataError, SettingsError
from hsi.evaluate.caption import caption
from hsi.evaluate.files import notes
from hsi.evaluate.pairs import like_the_best, pair_tests
from hsi.evaluate.paper import NOTHING, Entry, PaperTable, amount_text, paper_table, seconds_text
from hsi.evaluate.protocol import GIVEN, Protocol, cells_of, protocol_of
from hsi.evaluate.results import Answers, Result
from hsi.evaluate.seeds import averages, mean_and_deviation, with_common
from hsi.evaluate.testable import untestable
from hsi.evaluate.writers import latex, latex_escaped, markdown, markdown_escaped
from hsi.metrics import accuracy, confusion_matrix, f1_scores, macro_f1, mcnemar
from hsi.scene import Scene
from hsi.settings import Settings

CLASSES = 4


@pytest.mark.parametrize("seed", range(3))
def test_f1_is_that_of_scikit_learn_and_of_its_definition(seed):
    rng = np.random.default_rng(seed)
    truth = rng.integers(5, size=200)
    predicted = np.where(rng.random(200) < 0.6, truth, rng.integers(5, size=200))
    counts = confusion_matrix(truth, predicted, 5)
    wanted = reference.f1_score(truth, predicted, average=None)
    np.testing.assert_allclose(f1_scores(counts), wanted, rtol=1e-12)
    assert macro_f1(counts) == pytest.approx(reference.f1_score(truth, predicted, average="macro"))
    for index in range(5):
        both = sum(t == p == index for t, p in zip(truth, predicted, strict=True))
        precision = both / sum(p == index for p in predicted)
        recall = both / sum(t == index for t in truth)
        literal = 2 * precision * recall / (precision + recall)
        assert f1_scores(counts)[index] == pytest.approx(literal)


def test_a_class_without_test_pixels_has_no_f1_and_no_part_in_its_mean():
    truth, predicted = np.array([0, 0, 1, 1]), np.array([0, 2, 1, 1])
    found = f1_scores(confusion_matrix(truth, predicted, 4))
    np.testing.assert_array_equal(np.isnan(found), [False, False, True, True])
    wanted = reference.f1_score(truth, predicted, labels=[0, 1], average="macro")
    assert macro_f1(confusion_matrix(truth, predicted, 4)) == pytest.approx(wanted)


def test_a_class_that_is_never_right_has_f1_zero():
    assert f1_scores(np.array([[0, 3], [2, 0]])).tolist() == [0, 0]


def test_accuracy_of_nothing_is_an_error_for_the_user():
    with pytest.raises(DataError, match="expected test samples, got none"):
        accuracy(np.array([], int), np.array([], int), 3)


def test_one_value_has_no_deviation():
    assert mean_and_deviation([3.0, None, 5.0]) == (4.0, pytest.approx(2**0.5))
    assert mean_and_deviation([3.0]) == (3.0, None)
    assert mean_and_deviation([None]) == (None, None)


def result(network: str, split: str, seed: int, pixels: Any, *, right: float = 0.7) -> Result:
    """A finished cell with answers drawn at random; the truth depends on the pixel alone."""
    pixels = np.asarray(pixels)
    truth = pixels % CLASSES
    rng = np.random.default_rng([len(network), ord(network[0]), seed, len(split)])
    drawn = rng.integers(CLASSES, size=len(pixels))
    predicted = np.where(rng.random(len(pixels)) < right, truth, drawn)
    cell = SimpleNamespace(name=f"{network}-{split}-{seed}", network=network, split=split)
    cell.amount, cell.seed = 0.1, seed
    row = {"parameters": 1234567, "macs": 820}
    split_record = {"patch_size": 5, "gap": 2, "leakage": 0.25, "training": 40, "validation": 4}
    record = {
        "classes": [{"index": i, "number": i + 1, "name": str(i)} for i in range(CLASSES)],
        "split": {**split_record, "test": len(pixels), "notes": []},
        "variants": {"trained_model.h5": {"row": row, "history": {"losses": [1.0, 0.5]}}},
        "evaluation": {
            "training_by_class": [10] * CLASSES,
            "test_by_class": np.bincount(truth, minlength=CLASSES).tolist(),
            "map_seconds": 0.5 + seed,
            "map_way": "",
            "map_differs": 0,
        },
        "machine": {"processor": "Zeta", "cores": 2},
        "versions": {"hsi": "1", "tensorflow": "2", "scikit-learn": "3"},
    }
    return Result(cell, record, Answers(pixels, truth, predicted))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def results() -> list[Result]:
    """Three networks on two splits from three seeds; on blocks they test on other pixels."""
    found = []
    names = ("good", "fair", "poor")
    for network, split, seed in itertools.product(names, ("random", "blocks"), range(3)):
        start = 30 * names.index(network) if split == "blocks" else 0
        right = {"good": 0.95, "fair": 0.9, "poor": 0.3}[network]
        found.append(result(network, split, seed, np.arange(start, 200), right=right))
    return found


def protocol(**changes: Any) -> Protocol:
    values: dict[str, Any] = {
        "networks": ("good", "fair", "poor"), "splits": ("random", "blocks"), "seeds": 3,
        "amounts": (0.1,), "per_class": False, "chosen": 0.1, "shared": {}, "maps": {},
    }  # fmt: skip
    return Protocol(**{**values, **changes})


def test_means_and_deviations_are_those_of_their_definition(results):
    cells = with_common(results)
    lines = averages(cells)
    assert len(lines) == 6
    for line in lines:
        mine = [c for c in cells if (c["network"], c["split"]) == (line["network"], line["split"])]
        assert line["seeds"] == [0, 1, 2]
        for name in ("oa", "aa", "kappa", "f1", "oa_common"):
            values = [cell[name] for cell in mine]
            mean = sum(values) / 3
            spread = (sum((value - mean) ** 2 for value in values) / 2) ** 0.5
            assert line[name] == pytest.approx(mean)
            assert line[f"{name}_sd"] == pytest.approx(spread)
        assert line["training_seconds"] is None


def test_a_cell_in_which_the_machine_slept_makes_no_time(results):
    cells = with_common(results)
    cells[0]["map_seconds"] = 2340.0
    first = averages(cells)[0]
    assert first["map_seconds"] == 2.5  # of .5, 1.5, 2.5 the first is now the longest


def test_the_numbers_of_a_cell_are_those_of_scikit_learn(results):
    for item in results[:3]:
        facts, answers = item.facts(), item.answers
        pair = (answers.truth, answers.predicted)
        assert facts["oa"] == pytest.approx(100 * reference.accuracy_score(*pair))
        assert facts["aa"] == pytest.approx(100 * reference.balanced_accuracy_score(*pair))
        assert facts["kappa"] == pytest.approx(reference.cohen_kappa_score(*pair))
        assert facts["f1"] == pytest.approx(100 * reference.f1_score(*pair, average="macro"))
        recalls = 100 * reference.recall_score(*pair, average=None)
        assert facts["recall"] == pytest.approx(recalls.tolist())
        assert (facts["leakage"], facts["epochs"]) == (25, 2)


def test_oa_on_common_pixels_counts_those_that_test_in_all_networks(results):
    for facts in with_common(results):
        group = [r for r in results if r.draw == (facts["split"], 0.1, facts["seed"])]
        shared = set.intersection(*(set(r.answers.pixels.tolist()) for r in group))
        mine = next(r for r in group if r.cell.network == facts["network"]).answers
        triples = zip(mine.pixels.tolist(), mine.truth, mine.predicted, strict=True)
        right = [t == p for pixel, t, p in triples if pixel in shared]
        assert facts["test_common"] == len(shared) == (140 if facts["split"] == "blocks" else 200)
        assert facts["oa_common"] == pytest.approx(100 * sum(right) / len(right))


def test_oa_on_common_pixels_is_of_seeds_that_all_networks_have():
    """A network that lacks a seed would leave other, nearer pixels to the others there."""
    found = [result("good", "blocks", seed, np.arange(100)) for seed in (0, 1)]
    found.append(result("wide", "blocks", 0, np.arange(50, 100)))
    cells = with_common(found)
    assert [cell["test_common"] for cell in cells] == [50, None, 50]
    assert cells[1]["oa_common"] is None
    lines = {line["network"]: line for line in averages(cells)}
    assert lines["good"]["oa_common"] == cells[0]["oa_common"]
    assert lines["good"]["oa_common_sd"] is None
    assert "over the seeds that all of them have" in said(cells, splits=("blocks",))


def test_a_missing_seed_alone_makes_no_column_of_common_pixels():
    found = [result("good", "random", seed, np.arange(100)) for seed in (0, 1)]
    cells = with_common([*found, result("fair", "random", 0, np.arange(100))])
    lines = averages(cells)
    table = paper_table(
        protocol(), lines, dict.fromkeys(itertools.product(("good", "fair"), ["random"], [0.1])),
        caption="", notes=(), label="x",
    )  # fmt: skip
    assert "OA common %" not in table.heads


def test_caption_and_column_of_common_pixels_go_together():
    """Also where all networks are right everywhere, on pixels that differ."""
    found = [result("good", "blocks", seed, np.arange(100), right=1.0) for seed in (0, 1)]
    found += [result("wide", "blocks", seed, np.arange(50, 100), right=1.0) for seed in (0, 1)]
    cells = with_common(found)
    lines, wanted = averages(cells), protocol(networks=("good", "wide"), seeds=2)
    likeness = like_the_best(lines, pair_tests(found), seeds=2)
    table = paper_table(wanted, lines, likeness, caption="", notes=(), label="x")
    assert "OA common %" in table.heads
    assert "OA common: on those" in said(cells, splits=("blocks",))
    assert "over the seeds" not in said(cells, splits=("blocks",))


def said(cells: list[dict[str, Any]], **changes: Any) -> str:
    """The caption of cells of a protocol."""
    record = {
        "data": {"shape": [9, 9, 3], "synthetic": False, "name": "x", "sha256": "0" * 64},
        "classes": [{}] * CLASSES,
        "settings": vars(Settings("hu", dataset="synthetic").check()),
    }
    return caption(protocol(**changes), cells, record)


def cell_of(split: str, *, drawn: list[int], labelled: list[int] | None) -> dict[str, Any]:
    """A cell that trains on all but one of its drawn pixels of each class."""
    (facts,) = with_common([result("good", split, 0, np.arange(40))])
    training = [count - 1 for count in drawn]
    counts = {"training": sum(training), "validation": len(drawn), "training_by_class": training}
    known = drawn if labelled else None
    return {**facts, **counts, "drawn_by_class": known, "labelled_by_class": labelled}


def test_the_caption_says_what_blocks_draw_and_not_what_was_asked_for():
    cell = cell_of("blocks", drawn=[20, 10, 30, 40], labelled=[100, 100, 200, 100])
    text = said([cell])
    assert (
        "whole blocks are drawn, as near to 10 % of each class as they allow (10.0 to 40.0 % of a "
        "class, 20.0 % of all), of which 96 pixels train (9 to 39 of a class) and 4 validate"
    ) in text
    assert "10 % of each class are drawn" not in text
    older = said([cell_of("blocks", drawn=[20, 10, 30, 40], labelled=None)])
    assert "as near to 10 % of each class as they allow, of which" in older
    few = said([cell], per_class=True, amounts=(25,), chosen=25)
    assert "as near to 25 pixels of each class as they allow (10 to 40 of a class)" in few


@pytest.mark.parametrize(
    ("drawn", "words"),
    [
        ([25, 25, 25, 25], "; 25 pixels of each class are drawn, of which 96 pixels train"),
        ([25, 12, 25, 25], "; at most 25 pixels of each class are drawn, of which 83 pixels train"),
    ],
)
def test_the_caption_says_at_most_where_a_class_is_smaller(drawn, words):
    cell = cell_of("random", drawn=drawn, labelled=None)
    assert words in said([cell], per_class=True, amounts=(25,), chosen=25)


def test_the_caption_names_every_machine_that_cells_ran_on():
    cells = with_common([result("good", "random", seed, np.arange(40)) for seed in range(3)])
    one = "Zeta, 2 cores; hsi 1, TensorFlow 2, scikit-learn 3"
    assert one in said(cells)
    assert "do not compare" not in said(cells)
    other = one.replace("Zeta", "Alpha")
    mixed = said([*cells[:2], {**cells[2], "machine": other}])
    assert (
        f"on {one} (2 of 3 cells) or {other} (1 of 3 cells); times of different machines" in mixed
    )


def test_no_common_pixel_is_no_accuracy():
    apart = [result("good", "blocks", 0, [0, 1, 2]), result("fair", "blocks", 0, [3, 4])]
    assert [facts["oa_common"] for facts in with_common(apart)] == [None, None]
    assert [row["p"] for row in pair_tests(apart)] == [None]


def test_pairs_are_mcnemar_on_shared_pixels_with_holm_within_each_seed(results):
    rows = pair_tests(results)
    assert len(rows) == 2 * 3 * 3
    known = {(r.cell.network, *r.draw): r.answers for r in results}
    for row in rows:
        place = (row["split"], row["amount"], row["seed"])
        one, other = known[(row["first"], *place)], known[(row["other"], *place)]
        right = [dict(zip(a.pixels.tolist(), a.right, strict=True)) for a in (one, other)]
        shared = sorted(set(right[0]) & set(right[1]))
        a, b = (np.array([side[pixel] for pixel in shared]) for side in right)
        only = int((a & ~b).sum()), int((~a & b).sum())
        assert (row["pixels"], row["only_first"], row["only_other"]) == (len(shared), *only)
        assert row["p"] == pytest.approx(mcnemar(a, b), abs=1e-12)
        assert row["p"] == pytest.approx(min(1, 2 * binom.cdf(min(only), sum(only), 0.5)))
    for split, seed in itertools.product(("random", "blocks"), range(3)):
        group = [row for row in rows if (row["split"], row["seed"]) == (split, seed)]
        group.sort(key=lambda row: row["p"])
        largest = 0.0
        for place, row in enumerate(group):
            largest = max(largest, min(1.0, (len(group) - place) * row["p"]))
            assert row["p_holm"] == pytest.approx(largest)


def of_right(network: str, seed: int, right: Any) -> Result:
    """A cell on blocks that is right at these pixels of 100, told apart by their numbers."""
    made = result(network, "blocks", seed, np.arange(100))
    truth = made.answers.truth
    wrong = np.where(np.isin(made.answers.pixels, right), truth, (truth + 1) % CLASSES)
    return replace(made, answers=replace(made.answers, predicted=wrong))


def test_a_network_that_is_significantly_better_in_a_seed_is_as_good_as_the_best():
    """Seed 0: other is right on 40 pixels more; seed 1: on 50 less; seed 2: on 2 less."""
    best, other = ([range(30), range(90), range(62)], [range(70), range(40), range(60)])
    found = [of_right("best", seed, list(right)) for seed, right in enumerate(best)]
    found += [of_right("other", seed, list(right)) for seed, right in enumerate(other)]
    for order in (found, found[::-1]):  # the pair is either way round
        pairs = pair_tests(order)
        assert sorted(row["p_holm"] < 0.001 for row in pairs) == [False, True, True]
        alike = like_the_best(averages(with_common(order)), pairs, seeds=3)
        assert alike["best", "blocks", 0.1] is None
        assert alike["other", "blocks", 0.1] == (2, 3)


@pytest.mark.parametrize("room", [40, 80, 200])
def test_a_narrow_terminal_gets_every_number(results, room, monkeypatch):
    lines = averages(with_common(results))
    likeness = like_the_best(lines, pair_tests(results), seeds=3)
    table = paper_table(protocol(), lines, likeness, caption="c", notes=(), label="x")
    screen = io.StringIO()
    narrow = Console(file=screen, width=room, force_terminal=True, color_system=None)
    monkeypatch.setattr("rich.console.Console", lambda **options: narrow)
    print_table(table)
    said = screen.getvalue()
    assert max(map(len, said.splitlines())) <= room
    assert "…" not in said
    for row in table.rows:
        for entry in row:
            assert said.count(entry.text) >= sum(entry.text in other.text for other in row)
            assert not entry.deviation or f"± {entry.deviation} " in said


def test_networks_like_the_best_are_those_that_no_test_tells_apart(results):
    lines, pairs = averages(with_common(results)), pair_tests(results)
    found = like_the_best(lines, pairs, seeds=3)
    assert found["good", "random", 0.1] is None
    assert found["poor", "random", 0.1] == (0, 3)
    pair = ("good", "fair", "random")
    p = [r["p_holm"] for r in pairs if (r["first"], r["other"], r["split"]) == pair]
    assert found["fair", "random", 0.1] == (sum(value >= 0.05 for value in p), 3)


def test_the_best_has_all_seeds(results):
    """A network that was lucky in the one seed that it has is not the yardstick."""
    lucky = [result("lucky", "random", 0, np.arange(200), right=1.0), *results]
    lines = averages(with_common(lucky))
    assert max(lines, key=lambda line: line["oa"])["network"] == "lucky"
    assert like_the_best(lines, pair_tests(lucky), seeds=3)["good", "random", 0.1] is None
    table = paper_table(
        protocol(networks=("lucky", "good", "fair", "poor")), lines,
        like_the_best(lines, pair_tests(lucky), seeds=3), caption="", notes=(), label="x",
    )  # fmt: skip
    assert not any(entry.best for entry in table.rows[0][:9])


def test_a_network_without_all_seeds_is_not_bold_on_a_tie():
    """Both are right everywhere, one of them in one seed only."""
    found = [result("good", "random", seed, np.arange(200), right=1.0) for seed in range(2)]
    found += [result("fair", "random", seed, np.arange(200), right=0.5) for seed in range(2)]
    found.append(result("lucky", "random", 0, np.arange(200), right=1.0))
    lines = averages(with_common(found))
    table = paper_table(
        protocol(networks=("lucky", "good", "fair"), seeds=2), lines,
        like_the_best(lines, pair_tests(found), seeds=2), caption="", notes=(), label="x",
    )  # fmt: skip
    place = table.heads.index("OA %")
    assert [row[place].text for row in table.rows[:2]] == ["100.00", "100.00"]
    assert [row[place].best for row in table.rows] == [False, True, False]


@pytest.fixture(scope="module")
def table(results) -> PaperTable:
    lines = averages(with_common(results))
    likeness = like_the_best(lines, pair_tests(results), seeds=3)
    return paper_table(
        protocol(), lines, likeness, caption="A & B_1, 5 %", notes=["50 %"], label="tab:x"
    )


def test_every_row_has_a_cell_for_each_heading(table):
    assert sum(span for _, span in table.groups) == len(table.heads)
    assert {len(row) for row in table.rows} == {len(table.heads)}
    assert [row[0].text for row in table.rows] == ["good", "fair", "poor"]
    heads = {title: 0 for title, _ in table.groups}
    assert list(heads) == ["", "random", "blocks", "seconds"]


def test_common_pixels_are_a_column_only_where_networks_test_on_other_ones(table):
    titles = [title for title, span in table.groups for _ in range(span)]
    named = list(zip(titles, table.heads, strict=True))
    assert ("blocks", "OA common %") in named
    assert ("random", "OA common %") not in named


def test_bold_is_the_highest_mean_of_a_column(table):
    for place, head in enumerate(table.heads):
        column = [row[place] for row in table.rows]
        if head.split()[0] in ("OA", "AA", "kappa", "F1"):
            highest = max(float(entry.text) for entry in column)
            assert [e.best for e in column] == [float(e.text) == highest for e in column]
        else:
            assert not any(entry.best for entry in column)


def test_the_latex_table_is_regular(table):
    text = latex(table)
    inside = text.partition(r"\midrule")[2].partition(r"\bottomrule")[0].strip().splitlines()
    assert len(inside) == 3
    for line in inside:
        assert line.endswith(r"\\")
        assert len(re.findall(r"(?<!\\)&", line)) == len(table.heads) - 1
    assert text.count(r"\textbf{") == sum(entry.best for row in table.rows for entry in row)
    assert r"\caption{A \& B\_1, 5 \%}" in text
    spans = [int(span) for span in re.findall(r"\\multicolumn\{(\d+)\}", text)]
    assert sum(spans) == len(table.heads) == len(re.findall(r"\{(l?r+)\}", text)[0])
    rules = re.findall(r"\\cmidrule\(lr\)\{(\d+)-(\d+)\}", text)
    assert [int(b) - int(a) + 1 for a, b in rules] == spans[1:]
    begun, ended = (re.findall(rf"\\{word}\{{(\w+\*?)\}}", text) for word in ("begin", "end"))
    assert begun == ended[::-1]
    assert len(re.findall(r"(?<!\\)\{", text)) == len(re.findall(r"(?<!\\)\}", text))


def test_the_markdown_table_is_regular(table):
    lines = [line for line in markdown(table).splitlines() if line.startswith("|")]
    counts = {len(re.findall(r"(?<!\\)\|", line)) for line in lines}
    assert counts == {len(table.heads) + 1}
    assert len(lines) == 2 + 3


SPECIAL = "\\{}&%$#_~^<>|±\n"
_BACK = {
    r"\textbackslash{}": "\\", r"\textasciitilde{}": "~", r"\textasciicircum{}": "^",
    r"\textless{}": "<", r"\textgreater{}": ">", r"\textbar{}": "|", r"$\pm$": "±",
    r"\{": "{", r"\}": "}", r"\&": "&", r"\%": "%", r"\$": "$", r"\#": "#", r"\_": "_",
}  # fmt: skip


@pytest.mark.parametrize("seed", range(3))
def test_latex_reads_escaped_text_letter_by_letter(seed):
    rng = np.random.default_rng(seed)
    text = "".join(rng.choice(list(SPECIAL.strip("\n") + "aB1 .,-é"), 80))
    tokens = re.compile("|".join(map(re.escape, _BACK)) + r"|[^\\{}&%$#_~^<>|±]")
    escaped = latex_escaped(text)
    assert "".join(tokens.findall(escaped)) == escaped  # nothing that LaTeX would read as a command
    assert "".join(_BACK.get(token, token) for token in tokens.findall(escaped)) == text


def test_a_line_end_does_not_end_a_line_of_a_table():
    assert latex_escaped("a\nb") == markdown_escaped("a\nb") == "a b"
    assert markdown_escaped("a|b_c*") == r"a\|b\_c\*"


def test_one_seed_says_that_it_has_no_deviation(results):
    one = [item for item in results if item.cell.seed == 0]
    lines = averages(with_common(one))
    likeness = like_the_best(lines, pair_tests(one), seeds=1)
    found = paper_table(protocol(seeds=1), lines, likeness, caption="", notes=(), label="x")
    oa = found.rows[0][found.heads.index("OA %")]
    assert oa.deviation == NOTHING
    assert rf"\textbf{{{oa.text}}} $\pm$ n/a" in latex(found)
    assert f"**{oa.text}** ± n/a" in markdown(found)


def test_a_network_without_a_cell_stands_in_the_table(results):
    some = [item for item in results if item.cell.network != "fair"]
    lines = averages(with_common(some))
    likeness = like_the_best(lines, pair_tests(some), seeds=3)
    found = paper_table(protocol(), lines, likeness, caption="", notes=(), label="x")
    assert found.rows[1] == (Entry("fair"), *[Entry(NOTHING)] * (len(found.heads) - 1))


def test_notes_name_their_cells_once():
    cell = {"network": "hu", "split": "blocks", "amount": 0.1}
    cell["notes"] = ["Class 3 has no test pixels."]
    cells = [{**cell, "seed": seed, "map_differs": 0} for seed in range(9)]
    other = {**cells[0], "network": "nn", "notes": []}
    wanted = asked(splits=("blocks",))
    names = [cell.name for cell in cells_of(wanted)]
    missing = dict.fromkeys((names[0], names[1], names[3]), "too slow.")
    found = notes(wanted, [*cells, other], missing)
    first = ", ".join(f"hu blocks seed {seed}" for seed in range(6))
    assert found == [
        f"Class 3 has no test pixels: {first} and 3 more.",
        "Missing: too slow: every cell of hu, svm blocks seed 1.",
    ]
    assert notes(wanted, cells, {}) == ["Class 3 has no test pixels: every cell of split blocks."]


@pytest.mark.parametrize(
    ("amounts", "words"),
    [
        ({"train_fractions": (0.01, 0.05)}, "5 % of each class"),
        ({"train_per_class": (4, 12)}, "12 pixels of each class"),
    ],
)
def test_notes_name_the_amount_where_there_are_several(amounts, words):
    wanted = asked(splits=("random", GIVEN), maps={"train_labels": "x.mat"}, **amounts)
    planned = cells_of(wanted)
    found = notes(wanted, [], {planned[2].name: "too slow", planned[5].name: "no pixels"})
    assert found == [
        f"Missing: too slow: hu random seed 0 ({words}).",
        "Missing: no pixels: hu given seed 1.",
    ]
    some, rest = (
        {"network": "hu", "split": "random", "amount": wanted.chosen, "seed": seed, "notes": said}
        | {"map_differs": 0}
        for seed, said in enumerate((["Odd."], []))
    )
    assert notes(wanted, [some, rest], {}) == [f"Odd: hu random seed 0 ({words})."]


def test_amounts_have_three_digits():
    assert [amount_text(v) for v in (0, 999, 1000, 12345, 104e6)] == [
        "0", "999", "1.00 k", "12.3 k", "104 M",
    ]  # fmt: skip
    assert [seconds_text(v) for v in (None, 0.01234, 4.567, 123.4)] == [
        NOTHING, "0.012", "4.57", "123",
    ]  # fmt: skip


def asked(**changes: Any) -> Protocol:
    values: dict[str, Any] = {
        "networks": ["hu", "svm"], "splits": ("random", "blocks"), "seeds": 2,
        "shared": {"dataset": "synthetic"},
    }  # fmt: skip
    values |= changes
    return protocol_of(values.pop("networks"), **values)


def test_cells_are_every_combination():
    found = cells_of(asked(train_fractions=(0.1, 0.02), train_fraction=0.05))
    wanted = itertools.product(("hu", "svm"), ("random", "blocks"), (0.02, 0.05, 0.1), (0, 1))
    assert [(c.network, c.split, c.amount, c.seed) for c in found] == list(wanted)
    assert len({cell.name for cell in found}) == len(found)
    for cell in found:
        settings = cell.settings
        assert settings.model == cell.network
        assert (settings.split, settings.seed) == (cell.split, cell.seed)
        assert settings.train_fraction == cell.amount


@pytest.mark.parametrize(
    ("amounts", "all_of_them", "chosen"),
    [
        ({}, (0.1,), 0.1),
        ({"train_fraction": 0.2}, (0.2,), 0.2),
        ({"train_fractions": (0.3, 0.1)}, (0.1, 0.3), 0.3),
        ({"train_per_class": (20, 5)}, (5, 20), 20),
    ],
)
def test_the_table_is_of_one_amount(amounts, all_of_them, chosen):
    found = asked(**amounts)
    assert (found.amounts, found.chosen) == (all_of_them, chosen)
    assert found.has_curve == (len(all_of_them) > 1)
    for cell in cells_of(found):
        name = "train_per_class" if "train_per_class" in amounts else "train_fraction"
        assert getattr(cell.settings, name) == cell.amount


def test_given_maps_are_run_once_a_seed_and_only_they_know_the_maps():
    maps = {"train_labels": "train.mat", "test_labels": None}
    found = asked(splits=("random", GIVEN), train_fractions=(0.1, 0.2), maps=maps)
    given = [cell for cell in cells_of(found) if cell.split == GIVEN]
    assert [(c.network, c.seed) for c in given] == [("hu", 0), ("hu", 1), ("svm", 0), ("svm", 1)]
    for cell in cells_of(found):
        assert cell.settings.train_labels == ("train.mat" if cell.split == GIVEN else None)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"networks": ["huu"]}, ["huu", "Did you mean 'hu'"]),
        ({"networks": ["hu", "hu"]}, ["hu", "several times"]),
        ({"splits": ("blocs",)}, ["blocs", "'blocks'"]),
        ({"splits": ()}, ["splits", "one or more"]),
        ({"seeds": 0}, ["seeds", "1 or more", "0"]),
        ({"shared": {}}, ["--dataset"]),
        ({"shared": {"dataset": "digits"}}, ["digits", "expected a scene"]),
        ({"splits": (GIVEN,)}, ["--train_labels"]),
        ({"maps": {"train_labels": "x.mat"}}, ["train_labels", "--splits given"]),
        ({"train_per_class": (5,), "train_fraction": 0.1}, ["train_per_class", "alone"]),
        ({"train_fractions": (0.1, -1.0)}, ["above 0", "-1"]),
    ],
)
def test_a_wrong_protocol_is_one_line(changes, words):
    with pytest.raises(SettingsError) as caught:
        asked(**changes)
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


def test_settings_that_no_run_can_have_are_found_before_any_runs():
    with pytest.raises(SettingsError, match="epochs"):
        cells_of(asked(shared={"dataset": "synthetic", "epochs": 0}))
    with pytest.raises(SettingsError, match="patch_size of 25"):
        cells_of(asked(networks=["hu", "chen"], shared={"dataset": "synthetic", "patch_size": 9}))


def test_a_gap_that_takes_every_pixel_is_found_before_anything_runs():
    """Two classes in a corner of 7 x 7 pixels: a gap of 13 leaves nothing, one of 0 does."""
    labels = np.zeros((40, 40), np.int32)
    labels[:7, :4], labels[:7, 4:7] = 1, 2
    scene = Scene("corner", np.zeros((40, 40, 3), np.float32), labels, {1: "a", 2: "b"})
    wanted = asked(networks=["hu", "chen"], shared={"dataset": "synthetic", "block_size": 2})
    found = untestable(wanted, scene, cells_of(wanted), say=lambda line: None)
    names = {name.partition("_seed")[0] for name in found}
    assert names == {"model-chen_split-blocks_train_fraction-0.1"}
    assert all("no test pixels" in r and "gap of 13" in r for r in found.values())
    larger = asked(networks=["sharma"])
    found = untestable(larger, scene, cells_of(larger), say=lambda line: None)
    assert all("65 x 65" in reason and "40 x 40" in reason for reason in found.values())
    assert len(found) == 4
