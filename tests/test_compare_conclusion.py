"""Sentences of a comparison: each says what the numbers say, and nothing else."""

from __future__ import annotations

import pytest

from hsi.compare.conclusion import conclusions
from hsi.compare.limits import failures, limits_from
from hsi.compare.wording import p_text
from hsi.errors import SettingsError

TRAINED = {"variant": "trained", "oa": 99.0, "bytes": 1000, "latency_ms": 2.0, "latency_low": 1.9,
           "latency_high": 2.1, "batch": 1}  # fmt: skip


def series(*steps: tuple[float, float, float], **more: object) -> list[dict]:
    """The reference, and a variant for each (target, OA, p)."""
    common = {"criterion": "apoz", "granularity": "channel", **more}
    return [TRAINED] + [
        {"variant": f"pruned_{t:g}", "target": t, "oa": oa, "mcnemar_p": p, "bytes": 10 * (100 - t),
         **common}
        for t, oa, p in steps
    ]  # fmt: skip


def test_up_to_where_a_series_keeps_its_accuracy():
    said = conclusions(series((60, 98.9, 0.41), (20, 99.1, 0.8), (80, 95.0, 1e-5)))
    assert said[0] == (
        "Up to 60 % of the channels (apoz) the accuracy is not distinguishable from that of "
        "trained (p = .41); at 80 % it is lower (OA 95.00 % instead of 99.00 %, p < .001)."
    )
    assert said[-1].startswith("At 60 % of the channels (apoz), the most that keeps the accuracy, ")
    assert "2.5 times smaller" in said[-1]


def test_a_series_that_keeps_it_throughout_says_that_no_more_was_tried():
    said = conclusions(series((20, 98.9, 0.5), (40, 98.8, 0.06)))
    assert "Up to 40 % of the channels (apoz), the most that was tried" in said[0]
    assert "p = .060" in said[0]


def test_a_series_that_loses_it_at_once_and_comes_back_is_told_so():
    said = conclusions(series((20, 98.0, 0.003), (40, 99.0, 1.0), (60, 97.0, 0.01)))
    assert said[0] == (
        "Already at 20 % of the channels (apoz) the accuracy is lower than that of trained (OA "
        "98.00 % instead of 99.00 %, p = .003); at 40 % it is not distinguishable again."
    )


def test_later_steps_that_turn_the_other_way_are_not_passed_over():
    said = conclusions(series((20, 98.0, 0.003), (40, 99.0, 1.0), (60, 99.6, 0.01)))
    assert said[0].endswith("; at 40 % it is not distinguishable again; at 60 % it is higher.")


def test_better_is_higher_and_blocks_are_heard():
    more = {"oa_difference_low": -0.1, "oa_difference_high": 1.2}
    (said, *_) = conclusions(series((20, 99.5, 0.01), (40, 99.6, 0.001), **more))
    assert "the accuracy is higher" in said
    assert "though within −0.10 to +1.20 points where whole blocks of the scene are redrawn" in said


def test_files_of_another_number_format_are_a_series_of_their_own():
    rows = series((20, 98.9, 0.5), (40, 90.0, 0.001))
    rows += [{**row, "variant": f"quantized_{row['variant']}_int8"} for row in rows[1:]]
    said = conclusions(rows)
    assert sum("accuracy is not distinguishable" in s for s in said) == 2
    assert any("channels (apoz, int8)" in s for s in said)


def accuracies(rows: list[dict]) -> list[str]:
    """The sentences on accuracy."""
    return [said for said in conclusions(rows) if "accuracy is" in said or "accuracy of" in said]


def test_series_of_other_units_are_told_apart():
    """A later one used to take the place of the one before it."""
    steps = (20, 98.9, 0.5), (40, 90.0, 0.001)
    units = "4x4", "2:4", "weight"
    rows = [TRAINED, *(row for unit in units for row in series(*steps, granularity=unit)[1:])]
    said = accuracies(rows)
    for name, sentence in zip(("network (apoz, 4x4)", "network (apoz, 2:4)", "weights (apoz)"),
                              said, strict=True):  # fmt: skip
        assert sentence.startswith(f"Up to 20 % of the {name} the accuracy is not")


@pytest.mark.parametrize("named", ["variant", "file"])
def test_variants_of_other_folders_are_no_steps_of_one_series(named):
    def of(folder: str, *steps: tuple[float, float, float]) -> list[dict]:
        return [{**row, named: f"{folder}/{row['variant']}"} for row in series(*steps)[1:]]

    one, two = of("a", (40, 98.9, 0.5)), of("b", (60, 65.0, 1e-9))
    said = accuracies([TRAINED, *one, *two])
    assert [text.split(" of ")[0] for text in said] == ["The accuracy"] * 2
    more = [*one, *of("a", (60, 98.8, 0.4)), *two, *of("b", (80, 60.0, 1e-9))]
    first, second = accuracies([TRAINED, *more])
    assert first.startswith("Up to 60 % of the channels (apoz, a), the most that was tried")
    assert second.startswith("Already at 60 % of the channels (apoz, b)")


@pytest.mark.parametrize(
    ("folders", "names"), [(("x/a", "y/b"), ("a", "b")), (("x/a", "y/a"), ("x/a", "y/a"))]
)
def test_folders_are_named_as_short_as_sets_them_apart(folders, names):
    rows = [
        {**row, "file": f"{folder}/{row['variant']}.h5"}
        for folder in folders
        for row in series((20, 98.9, 0.5), (40, 98.9, 0.5))[1:]
    ]
    said = accuracies([TRAINED, *rows])
    assert [f"(apoz, {name})" in text for name, text in zip(names, said, strict=True)] == [True] * 2


def test_where_the_attention_moves_to():
    rows = series((20, 99.0, 1.0), (40, 99.0, 1.0), (60, 99.0, 1.0))
    rows[0] = {**rows[0], "attention_nm": 700.0}
    for row, nm, far in zip(rows[1:], (710, 1200, 1250), (30, 520, 560), strict=True):
        row.update(attention_nm=nm, attention_distance_nm=far, attention_distance_nm_low=far - 20,
                   attention_floor_nm=50.0)  # fmt: skip
    (moves,) = [s for s in conclusions(rows) if "attention" in s]
    assert moves.startswith(
        "From 40 % of the channels (apoz) on the attention moves from 700 nm to 1200 nm (520 nm "
        "apart sample by sample, 50 nm with another seed alone); at 60 % it is at 1250 nm (560 nm"
    )
    for row in rows[1:]:
        row["attention_floor_nm"] = 600.0
    (stays,) = [s for s in conclusions(rows) if "attention" in s]
    assert (
        "Up to 60 % of the channels (apoz) the attention moves no more than another seed moves it"
        in stays
    )


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({}, "does not move measurably: 720 nm, before 700 nm"),
        ({"shift_nm_low": 5, "shift_nm_high": 30}, "moves from 700 nm to 720 nm"),
        ({"shift_nm_low": -5, "shift_nm_high": 30}, "does not move measurably"),
        ({"distance_nm": 40, "distance_nm_low": 35, "floor_nm": 30}, "moves from 700 nm to 720 nm"),
        ({"distance_nm": 40, "distance_nm_low": 25, "floor_nm": 30}, "no more than another seed"),
        (
            {"distance_nm": 40, "floor_nm": 30, "shift_nm_low": -5, "shift_nm_high": 30},
            "differs from sample to sample, its mean does not",
        ),
    ],
)
def test_attention_moves_where_chance_and_its_interval_do_not_say_otherwise(facts, said):
    row = {"variant": "b", "attention_nm": 720, **{f"attention_{k}": v for k, v in facts.items()}}
    (sentence,) = conclusions([{"variant": "a", "attention_nm": 700}, row])
    assert sentence.startswith(f"The attention of b {said}") or said in sentence


def test_a_pair_is_told_in_whole():
    other = {"variant": "int8", "oa": 98.9, "mcnemar_p": 0.5, "agreement": 0.99, "samples": 1000,
             "parting": 10, "unit": "pixel", "only_first": 6, "only_second": 1, "bytes": 250,
             "latency_ms": 0.5, "latency_low": 0.4, "latency_high": 0.6, "batch": 1, "layers": 5,
             "layer_steps": 1.25, "layer_worst": "dense_1"}  # fmt: skip
    assert conclusions([TRAINED, other]) == [
        "The accuracy of int8 is not distinguishable from that of trained (OA 98.90 % and 99.00 %, "
        "p = .50).",
        "int8 and trained part on 10 of 1,000 pixels; there trained alone is right 6 times, int8 "
        "alone once.",
        "int8 against trained: its file is 4 times smaller, and a call at batch 1 is 4 times "
        "faster (0.5 instead of 2 ms).",
        "int8 and trained have 5 layers in common, which differ by at most 1.25 quantization steps "
        "(the farthest: dense_1).",
    ]
    slow = {**other, "latency_low": 0.4, "latency_high": 1.95}
    assert "takes as long, as far as the intervals tell" in conclusions([TRAINED, slow])[2]


def test_what_is_not_known_is_not_spoken_of():
    assert conclusions([TRAINED]) == []
    assert conclusions([TRAINED, {"variant": "b"}]) == []
    texts = {"variant": "b", "oa": "", "mcnemar_p": None, "bytes": float("nan"), "target": "x"}
    assert conclusions([{"variant": "a"}, texts]) == []


@pytest.mark.parametrize(
    ("p", "text"),
    [(0.41, "p = .41"), (0.0031, "p = .003"), (0.0004, "p < .001"), (1.0, "p = 1"),
     (0.0496, "p = .04960"), (0.0503, "p = .050"), (0.1, "p = .10")],
)  # fmt: skip
def test_p_as_it_is_written(p, text):
    assert p_text(p) == text


# Limits


def test_limits_are_read_one_by_one_and_in_lists():
    found = limits_from(["agreement=0.99,oa=95", "kappa = 0.9"])
    assert found == {"agreement": 0.99, "oa": 95.0, "kappa": 0.9}
    assert limits_from(["gradient_spearman=0.5"]) == {"gradient_spearman": 0.5}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("agreement", "NAME=VALUE"),
        ("agreement=much", "expected a number"),
        ("agreement=nan", "expected a number"),
        ("agreement=99", "share of 0 to 1"),
        ("oa=0.95", "did you mean 95"),
        ("agrement=0.9", "Did you mean 'agreement'"),
    ],
)
def test_limits_that_cannot_be_meant_are_refused(text, said):
    with pytest.raises(SettingsError, match=said):
        limits_from([text])


def test_what_is_below_its_limit_is_named():
    rows = [{"variant": "a"}, {"variant": "b", "agreement": 0.98, "oa": 95.0},
            {"variant": "c", "agreement": 0.99, "oa": 94.99}]  # fmt: skip
    assert failures(rows, {"agreement": 0.99, "oa": 95.0}) == [
        "b: agreement 0.98 is below 0.99",
        "c: oa 94.99 is below 95",
    ]
    with pytest.raises(SettingsError, match="kappa of b is not known"):
        failures(rows, {"kappa": 0.5})
