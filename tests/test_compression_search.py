"""The compression search: chosen on validation pixels, judged on test pixels, counted rightly."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

from search import candidates, choice, table, timing  # noqa: E402
from search.candidates import Candidate  # noqa: E402

from hsi.cli.generate import settings_of  # noqa: E402
from hsi.plots.search import KINDS, search_curves  # noqa: E402
from hsi.study.cells import read_study  # noqa: E402

WHOLE = Candidate("whole", "trained_model", "trained", "float32", False, 4000, 100, 90.0, 0.3, 80.0)


def candidate(network: str, size: int, validation: float, test: float, **more) -> Candidate:
    values = {"mode": "int8", "folded": False, "mcnemar_p": 0.5, "loss": 0.5, **more}
    kind = candidates.kind_of(network)
    mode, folded, p = values["mode"], values["folded"], values["mcnemar_p"]
    file = f"{network}-{mode}-{folded}-{size}"
    return Candidate(
        file, network, kind, mode, folded, size, 1, validation, values["loss"], test, p
    )


def many(seed: int) -> list[Candidate]:
    rng = np.random.default_rng(seed)
    names = ["trained_pruned_model_50", "low_rank_macs-4%", "distilled_compact-0.5"]
    return [WHOLE] + [
        candidate(
            names[int(rng.integers(3))],
            int(rng.integers(5, 4000)),
            float(rng.uniform(87, 91)),
            float(rng.uniform(75, 85)),
        )
        for _ in range(30)
    ]


@pytest.mark.parametrize(
    ("network", "kind"),
    [
        ("trained_model", "trained"),
        ("trained_pruned_model_93.8", "pruned"),
        ("distilled_compact-0.5", "student"),
        ("low_rank_macs-10%", "low rank"),
    ],
)
def test_a_network_is_told_by_its_file(network, kind):
    assert candidates.kind_of(network) == kind


@pytest.mark.parametrize("seed", range(5))
def test_no_other_file_within_the_margin_is_smaller_or_faster(seed):
    files = many(seed)
    rng = np.random.default_rng(seed)
    times = {b: {c.file: float(rng.uniform(1, 9)) for c in files} for b in (1, 256)}
    found = choice.choices_of(files, times)
    assert len(found) >= len(choice.FAMILIES) * 3
    for row in found:
        if row["what"] == "best at the goals":
            continue
        kinds = next(f.kinds for f in choice.FAMILIES if f.name == row["family"])
        good = [c for c in files if c.kind in kinds and c.validation_oa >= 89.0]
        if row["what"] == "smallest":
            assert row["bytes"] == min(c.bytes for c in good)
            assert row["bytes_ratio"] == 4000 / row["bytes"]
        else:
            at = times[row["batch"]]
            assert at[row["file"]] == min(at[c.file] for c in good)
            ratio = row[f"latency_ratio_batch_{row['batch']}"]
            assert ratio == at["whole"] / at[row["file"]]


@pytest.mark.parametrize("seed", range(5))
def test_the_best_at_the_goals_reaches_all_of_them_and_no_better_file_does(seed):
    family = choice.Family("any", (candidates.PRUNED, candidates.STUDENT), 2, 3)
    files = many(seed)
    rng = np.random.default_rng(seed)
    times = {b: {c.file: float(rng.uniform(1, 9)) for c in files} for b in (1, 256)}
    times[256].pop(files[1].file)  # was not timed
    times[1]["whole"] = times[256]["whole"] = 10.0

    def reaches(c: Candidate) -> bool:
        fast = all(c.file in at and at[c.file] <= 10 / 3 for at in times.values())
        return c.kind in family.kinds and c.bytes <= 2000 and fast

    good = [c for c in files if reaches(c)]
    found = choice.reaching(files, family, times)
    assert found is max(good, key=lambda c: c.validation_oa, default=None)
    assert choice.reaching(files, choice.Family("none", family.kinds, 9999, 1), times) is None


def test_files_right_on_as_many_pixels_are_told_apart_by_their_loss_and_then_by_their_bytes():
    surer = candidate("distilled_surer", 30, 90.0, 80.0, loss=0.1)
    smaller = candidate("distilled_smaller", 20, 90.0, 80.0, loss=0.2)
    as_sure = candidate("distilled_as_sure", 40, 90.0, 80.0, loss=0.1)
    better = candidate("distilled_better", 50, 90.5, 70.0, loss=0.9)
    family = choice.Family("any", (candidates.STUDENT,), 2, 2)

    def chosen(*files: Candidate) -> Candidate | None:
        times = {1: {"whole": 9.0, **{c.file: 1.0 for c in files}}}
        return choice.reaching([WHOLE, *files], family, times)

    assert chosen(smaller, as_sure, surer) is surer
    assert chosen(smaller, as_sure) is as_sure
    assert chosen(smaller, as_sure, better) is better


def test_test_pixels_choose_nothing():
    files = many(3)
    times = {1: {c.file: float(c.bytes) for c in files}}
    turned = [WHOLE, *(Candidate(**{**vars(c), "test_oa": 1.0, "mcnemar_p": 0}) for c in files[1:])]
    chosen = [[row["file"] for row in choice.choices_of(some, times)] for some in (files, turned)]
    assert chosen[0] == chosen[1]


@pytest.mark.parametrize(
    ("test", "p", "holds"),
    [(80.0, 1.0, True), (79.0, 0.2, True), (78.9, 0.2, False), (79.5, 0.01, False), (85, 0, True)],
)
def test_a_choice_holds_where_it_is_no_worse_on_test_pixels(test, p, holds):
    row = choice.seen_on_test(candidate("distilled_a", 9, 90.0, test, mcnemar_p=p), WHOLE)
    assert row["holds"] is holds
    assert row["difference"] == pytest.approx(test - 80)
    assert row["significantly_better"] is (test > 80 and p < 0.05)


def test_the_ladder_goes_down_to_the_smallest_of_each_kind_and_skips_what_is_not_there():
    small = candidate("trained_pruned_model_97", 30, 89.5, 80.0, folded=True)
    files = [
        WHOLE,
        candidate("trained_model", 3000, 90.0, 80.0, mode="float32", folded=True),
        candidate("trained_pruned_model_50", 300, 90.0, 80.0, folded=True),
        small,
        candidate("trained_pruned_model_97", 99, 89.5, 80.0, mode="float32"),
        candidate("trained_pruned_model_99", 20, 70.0, 80.0, folded=True),
        candidate("distilled_compact", 8, 89.0, 80.0),
    ]
    steps = choice.ladder_of(files)
    assert list(steps) == [
        "trained, float32", "folded", "pruned", "pruned, folded, int8", "student, int8",
    ]  # fmt: skip
    assert steps["pruned, folded, int8"] is small
    assert steps["pruned"].bytes == 99


def test_summaries_are_medians_and_lowest_values_over_seeds():
    cells = []
    for seed, size in enumerate((40, 20, 80)):
        files = [WHOLE, candidate("distilled_compact", size, 90.0, 79.5 if seed else 70.0)]
        times = {b: {"whole": 10.0, files[1].file: 1.0 + seed} for b in (1, 256)}
        cells.append({"split": "blocks", "seed": seed, "choices": choice.choices_of(files, times)})
    rows = {(r["family"], r["ratio"]): r for r in table.summary_of(cells)}
    row = rows["everything", "bytes_ratio"]
    assert (row["median"], row["lowest"], row["hold"], row["cells"]) == (100, 50, 2, 3)
    assert rows["everything", "latency_ratio_batch_1"]["values"] == [10, 5, 10 / 3]
    assert rows["prune_fold_quantize", "bytes_ratio"]["median"] == 1


def test_means_have_the_student_interval_and_none_where_a_seed_lacks_a_number():
    from scipy.stats import t

    rows = [
        {"split": "a", "kind": "k", "mode": "m", "name": "n", "seed": s, "bytes": b, "ms": ms}
        for s, (b, ms) in enumerate(((1.0, 2.0), (2.0, None), (6.0, 3.0)))
    ]
    (line,) = table.means_of(rows)
    low, high = t.interval(0.95, 2, loc=3.0, scale=np.std([1, 2, 6], ddof=1) / np.sqrt(3))
    assert line["bytes"] == 3.0
    assert line["bytes_half"] == pytest.approx((high - low) / 2)
    assert line["runs"] == 3
    assert line["ms"] is None


def test_every_file_is_called_in_every_round(monkeypatch):
    calls: list[str] = []

    class Fake:
        input_shape = (2,)

        def __init__(self, path, *, threads):
            assert threads == 1
            self.name = path.name

        def set_input(self, batch):
            assert batch.shape == (4, 2)

        def invoke(self):
            calls.append(self.name)

    monkeypatch.setattr("hsi.deploy.tflite.TFLiteModel", Fake)
    monkeypatch.setattr(timing, "ROUND_SECONDS", 0)
    taken = timing.time_rounds(Path(), ["a", "b"], batch=4, rounds=3)
    assert {file: len(values) for file, values in taken.items()} == {"a": 3, "b": 3}
    assert calls.count("a") == calls.count("b") == 4 + 3 * 2  # warming, then one more than timed
    assert timing.medians({"a": [3.0, 1.0, 2.0]}) == {"a": 2.0}


@pytest.mark.parametrize("scene", ["salinas_a", "indian_pines_chip"])
def test_study_files_are_twelve_cells_that_can_be_run(scene):
    study = read_study(BENCHMARKS / "studies" / f"search_{scene}.toml")
    assert study.keys == ("split", "seed")
    assert len(study.cells) == 6
    for cell in study.cells:
        settings = settings_of(cell.values, cell.name)
        assert settings.quantize_pruned_models
        assert settings.validation_fraction >= 0.5  # what is chosen is chosen on these


def test_the_figure_has_a_row_a_split_and_a_line_a_kind_and_mode():
    lines = [
        {
            "split": split, "kind": kind, "mode": "int8", "runs": 3, "bytes": 1000.0 * size,
            "difference": -0.5 * size, "difference_half": 0.2,
            "milliseconds_batch_1": 0.01 * size, "milliseconds_batch_256": None,
        }
        for split in ("random", "blocks") for kind in KINDS for size in (1, 2)
    ]  # fmt: skip
    figure = search_curves([*lines], title="t")
    assert len(figure.axes) == 6
    drawn = [len(axes.containers) for axes in figure.axes]
    assert drawn == [4, 4, 0, 4, 4, 0]
    assert {text.get_text() for text in figure.legends[0].texts} == {f"{k}, int8" for k in KINDS}
