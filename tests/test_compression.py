"""The choices of compression: what combines, what is refused, and what a run makes of them."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from test_generate import make_scene, one_line_error

from hsi.cli.generate import main, parse
from hsi.compress.criteria import CRITERIA
from hsi.compress.plan.channels import Choices
from hsi.compress.plan.weights import WeightPlan
from hsi.errors import SettingsError
from hsi.pipeline import generate
from hsi.pipeline.choices import (
    goals_of,
    low_rank_rule,
    pruning_of,
    shared_epochs,
    students_of,
)
from hsi.pipeline.quantizing import _wanted


def choose(*arguments: str):
    return parse(["cao", "--prune", *arguments])


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], ("apoz", "channel", "global", "iterative")),
        (["--prune_method", "magnitude"], ("l1", "weight", "layer", "one_shot")),
        (["--compression_rates", "2"], ("l1", "weight", "layer", "one_shot")),
        (["--granularity", "2:4"], ("l1", "2:4", "layer", "one_shot")),
        (["--criterion", "fpgm", "--schedule", "layerwise"], ("fpgm", "channel", "global",
                                                              "layerwise")),
        (["--compression_rates", "2", "--granularity", "channel"], ("apoz", "channel", "global",
                                                                    "iterative")),
        (["--granularity", "4x4", "--criterion", "random", "--scope", "global"],
         ("random", "4x4", "global", "one_shot")),
    ],
)  # fmt: skip
def test_a_choice_takes_the_place_of_the_methods(arguments, expected):
    choice = pruning_of(choose(*arguments))
    assert (choice.criterion, choice.granularity, choice.scope, choice.schedule) == expected


BUDGETED = "trained_pruned_model_bytes-100k.h5"
OTHER = "trained_pruned_model_macs-30%.h5"
FOLDED = "trained_pruned_model_bytes-100k_folded.h5"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], [(BUDGETED, "float32")]),
        (["--quantize"], [("trained_model.h5", "dynamic"), ("trained_model.h5", "int8"),
                          (BUDGETED, "float32")]),
        (["--quantize_pruned_models"], [(BUDGETED, "dynamic"), (BUDGETED, "int8"),
                                        (OTHER, "dynamic"), (OTHER, "int8")]),
        (["--fold"], [(BUDGETED, "float32")]),
        (["--quantize_pruned_models", "--fold"],
         [(BUDGETED, "dynamic"), (OTHER, "dynamic"), (OTHER, "int8"), (FOLDED, "dynamic"),
          (FOLDED, "int8")]),
    ],
)  # fmt: skip
def test_the_file_that_a_budget_was_measured_on_is_written(arguments, expected):
    quantizes = any(word.startswith("--quantize") for word in arguments)
    modes = ["--quantization", "dynamic,int8"] if quantizes else []
    asked = choose("--target", "bytes=100k,macs=30%", *modes, *arguments)
    files = ["trained_model.h5", BUDGETED, OTHER, "quantized_model_int8.tflite"]
    assert _wanted(asked, files + [FOLDED] * ("--fold" in arguments)) == expected


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["--prune_increment", "20", "--prune_end", "60"], ["20", "40", "60"]),
        (["--compression_rates", "8"], ["87.5"]),  # the rate alone, not half of everything
        (["--compression_rates", "8,2,64"], ["50", "87.5", "98.4"]),
        (["--compression_rates", "1000,3000,5000"], ["99.9", "99.97", "99.98"]),
        (["--granularity", "2:4"], ["2of4"]),
        (["--target", "parameters=25%,bytes=100k"], ["parameters-25%", "bytes-100k"]),
        # An iterative schedule goes from each to the next, and nothing comes back.
        (["--target", "macs=10%,macs=60%,macs=30%"], ["macs-60%", "macs-30%", "macs-10%"]),
    ],
)
def test_goals(arguments, names):
    assert [goal.name for goal in goals_of(choose(*arguments))] == names


@pytest.mark.parametrize(("total", "count"), [(10, 4), (3, 5), (12, 4)])
def test_schedules_cost_the_same(total, count):
    assert shared_epochs(choose("--epochs_total", str(total)), 0) == []
    shares = shared_epochs(choose("--epochs_total", str(total)), count)
    assert sum(shares) == total
    assert max(shares) - min(shares) <= 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--prune", "--criterion", "l3"], ["l3", "l1"]),
        (["--criterion", "l1"], ["criterion", "--prune"]),
        (["--quantization", "int8"], ["quantization", "--quantize"]),
        (["--prune", "--granularity", "3:2"], ["3:2"]),
        (["--prune", "--granularity", "wieght"], ["wieght", "weight"]),
        (["--prune", "--granularity", "weight", "--criterion", "fpgm"], ["fpgm", "l1"]),
        (["--prune", "--granularity", "weight", "--target", "macs=30%"], ["target", "channel"]),
        (["--prune", "--granularity", "2:4", "--round_to", "8"], ["round_to", "channel"]),
        (["--prune", "--target", "params=30%"], ["params", "parameters"]),
        (["--prune", "--target", "parameters=130%"], ["130", "100 %"]),
        (["--prune", "--target", "macs=30%", "--compression_rates", "4"], ["one of them"]),
        (["--prune", "--target", "macs=30%,macs=30%"], ["one name"]),
        (["--prune", "--granularity", "2:4", "--compression_rates", "8"], ["2:4", "one of them"]),
        (["--prune", "--granularity", "2:4", "--prune_end", "80"], ["prune_end", "2:4"]),
        (
            ["--prune", "--compression_rates", "8", "--prune_end", "80"],
            ["prune_end", "compression_rates"],
        ),
        (["--prune", "--plan", "x.json", "--keep", "conv_1"], ["keep", "plan"]),
        (["--prune", "--plan", "x.json", "--round_to", "8"], ["round_to", "plan"]),
        (["--prune", "--plan", "x.json", "--schedule", "iterative"], ["plan", "at once"]),
        (["--round_to", "8"], ["round_to", "--prune"]),
        (["--min_channels", "2"], ["min_channels", "--prune"]),
        (["--prune_dense"], ["prune_dense", "--prune"]),
        (["--no_compensation"], ["no_compensation", "--prune"]),
        (["--prune", "--epochs_total", "9", "--until_convergence"], ["one of them"]),
        (["--prune", "--min_channels", "0"], ["min_channels", "1 or more"]),
        (["--prune", "--compression_rates", "0.5"], ["above 1"]),
        (["--distill", "compacted"], ["compacted", "compact"]),
        (["--distill", "compact:none"], ["WIDTH"]),
        (["--distill", "cao:0.5"], ["one width"]),
        (["--low_rank", "energie=0.9"], ["energie", "energy"]),
        (["--low_rank", "energy=90"], ["energy=90", "up to 1"]),
        (["--clusters", "1"], ["clusters", "2 or more"]),
        (["--temperature", "0"], ["temperature"]),
        (["--teacher", "nobody.h5"], ["nobody.h5", "trained"]),
        (["--teacher_share", "2"], ["0 to 1"]),
    ],
)
def test_what_does_not_combine_is_one_line(arguments, words, capsys):
    try:
        code = main(["cao", *arguments])
    except SystemExit as error:
        code = int(error.code or 0)
    line = one_line_error(capsys, code)
    assert all(word in line for word in words), line


def test_settings_are_checked_without_tensorflow():
    asked = "cao --prune --compression_rates 2 --distill compact --low_rank macs=30% --fold"
    code = (
        "import sys; from hsi.cli.generate import parse; parse(sys.argv[1:]); "
        "sys.exit('tensorflow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code, *asked.split()], check=False).returncode == 0


def test_students_and_ranks_are_read():
    students = students_of(parse(["cao", "--distill", "compact,compact:0.5"]))
    assert [(s.name, s.network, s.width) for s in students] == [
        ("compact", "compact", 1.0), ("compact-0.5", "compact", 0.5),
    ]  # fmt: skip
    assert low_rank_rule("macs=30%") == low_rank_rule("macs=0.3")
    with pytest.raises(SettingsError):
        low_rank_rule("ratio=0")


def test_every_criterion_of_the_table_can_be_asked_for():
    for name in CRITERIA:
        assert pruning_of(choose("--criterion", name)).criterion == name


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Arguments for a small network on a small scene, trained once."""
    folder = tmp_path_factory.mktemp("field")
    cube, labels = make_scene()
    scipy.io.savemat(folder / "field.mat", {"cube": cube, "labels": labels})
    data = ["compact", "--dataset", f"{folder}/field.mat:cube", "--labels",
            f"{folder}/field.mat:labels", "--epochs", "8", "--prune_epochs", "2",
            "--no_report"]  # fmt: skip
    assert main([*data, "--output", str(folder / "trained")]) == 0
    return [*data, "--start_from", str(folder / "trained")]


def rows(folder: Path) -> dict[str, dict[str, str]]:
    with (folder / "results.csv").open(newline="", encoding="utf-8") as file:
        return {row["variant"]: row for row in csv.DictReader(file)}


@pytest.mark.slow
def test_everything_beside_pruning_in_one_run(scene, tmp_path):
    out = tmp_path / "run"
    asked = ["--distill", "compact:0.5", "--distill_epochs", "3", "--low_rank", "ratio=0.5",
             "--clusters", "4", "--fold", "--teacher", "trained", "--quantization_aware",
             "--quantize", "--quantize_pruned_models", "--quantization", "int8"]  # fmt: skip
    assert main([*scene, *asked, "--output", str(out)]) == 0
    found = rows(out)
    assert {
        "trained",
        "trained_folded",
        "distilled_compact-0.5",
        "low_rank_ratio-0.5",
        "clustered_4",
        "quantized_aware_int8",
        "quantized_trained_folded_int8",
    } <= set(found)
    # A folded network is the same function by fewer layers, and only it is quantized.
    for column in ("oa", "aa", "kappa"):
        assert found["trained_folded"][column] == found["trained"][column]
    assert int(found["trained_folded"]["parameters"]) < int(found["trained"]["parameters"])
    assert "quantized_int8" not in found
    assert int(found["clustered_4"]["bytes_gzip"]) < int(found["trained"]["bytes_gzip"])
    assert int(found["low_rank_ratio-0.5"]["macs"]) < int(found["trained"]["macs"])

    before = {p.name: p.stat().st_mtime_ns for p in out.glob("*.tflite")}
    (out / "quantized_aware_model_int8.tflite").unlink()
    assert main([*scene, *asked, "--output", str(out), "--resume"]) == 0
    after = {p.name: p.stat().st_mtime_ns for p in out.glob("*.tflite")}
    assert before.keys() == after.keys()
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"quantized_aware_model_int8.tflite"}


@pytest.mark.slow
def test_a_plan_is_printed_changed_and_carried_out(scene, tmp_path, capsys):
    planned, pruned = tmp_path / "planned", tmp_path / "pruned"
    asked = ["--prune", "--criterion", "l1", "--target", "parameters=60%"]
    assert main([*scene, *asked, "--plan_only", "--output", str(planned)]) == 0
    out = capsys.readouterr().out
    assert "channels go" in out
    path = planned / "plans" / "parameters-60%.json"
    assert not list(planned.glob("trained_pruned*"))
    plan = json.loads(path.read_text(encoding="utf-8"))
    name = next(iter(plan["remove"]))
    plan["remove"] = {name: plan["remove"][name][:2]}
    path.write_text(json.dumps(plan), encoding="utf-8")
    assert main([*scene, "--prune", "--plan", str(path), "--output", str(pruned)]) == 0
    record = json.loads((pruned / "run.json").read_text(encoding="utf-8"))
    entry = record["variants"]["trained_pruned_model_plan-parameters-60%.h5"]
    assert entry["channels_removed"] == 2
    # The row says how the plan was made, not how this run would have made one.
    row = rows(pruned)["pruned_plan-parameters-60%"]
    assert [row[choice] for choice in ("criterion", "granularity", "scope", "schedule")] == [
        "l1", "channel", "global", "one_shot",
    ]  # fmt: skip

    plan["remove"] = {name: [0, 10_000]}
    path.write_text(json.dumps(plan), encoding="utf-8")
    capsys.readouterr()
    assert main([*scene, "--prune", "--plan", str(path), "--output", str(tmp_path / "x")]) == 2
    assert "10000" in capsys.readouterr().err


@pytest.mark.slow
def test_a_plan_that_cannot_be_carried_out_is_said_before_training(
    scene, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr("hsi.pipeline.training.train_model", lambda job: pytest.fail("trained"))
    path = tmp_path / "plan.json"
    choices = Choices("l1", "weight", "layer")
    WeightPlan({"dense": 0.5}, {"dense": 10}, choices, network=("dense",)).save(path)
    for output, words, said in (
        ("a", [str(tmp_path / "none.json")], "none.json: cannot be read"),
        ("b", [str(path), "--criterion", "taylor"], "is of criterion l1, got taylor"),
    ):
        asked = ["--prune", "--plan", *words, "--output", str(tmp_path / output)]
        assert said in one_line_error(capsys, main([*scene[:-2], *asked]))


@pytest.mark.slow
@pytest.mark.parametrize("schedule", ["one_shot", "iterative", "layerwise"])
@pytest.mark.parametrize("granularity", ["channel", "weight"])
def test_every_schedule_reaches_its_goals_at_the_same_cost(scene, tmp_path, schedule, granularity):
    out = tmp_path / "run"
    asked = ["--prune", "--criterion", "l1", "--granularity", granularity, "--schedule", schedule,
             "--prune_increment", "25", "--prune_end", "50", "--epochs_total", "4"]  # fmt: skip
    # Without timing and figures, which are not what is asked here.
    generate(parse([*scene, *asked, "--output", str(out)]), finishing=False)
    record = json.loads((out / "run.json").read_text(encoding="utf-8"))
    found = rows(out)
    assert set(found) == {"trained", "pruned_25", "pruned_50"}
    for percent in (25, 50):
        entry = record["variants"][f"trained_pruned_model_{percent}.h5"]
        if granularity == "channel":
            share = entry["channels_removed"] / entry["channels"]
            assert share == pytest.approx(percent / 100, abs=1 / 16)
        else:
            zeros = list(entry["kernel_sparsity"].values())
            assert np.allclose(zeros, percent / 100, atol=0.02)
        row = found[f"pruned_{percent}"]
        assert (row["schedule"], row["granularity"]) == (schedule, granularity)
        epochs = _epochs(entry["history"])
        share = 2 if schedule == "iterative" else 4
        assert epochs == share


def _epochs(history: dict) -> int:
    """Of one fine-tuning, or of one a layer."""
    if "losses" in history:
        return len(history["losses"])
    return sum(_epochs(part) for part in history.values() if part)
