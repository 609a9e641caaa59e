"""Studies: the cells of a grid, runs that are never repeated, means over seeds."""

from __future__ import annotations

import csv
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import scipy.stats

from hsi.cli import main
from hsi.errors import SettingsError
from hsi.pipeline.job import Job
from hsi.pipeline.pruning import part_of_one_training
from hsi.runs import open_run
from hsi.settings import Settings
from hsi.study.cells import LONGEST_NAME, Cell, cell_name, read_study
from hsi.study.course import fine_tuned, rate_of
from hsi.study.running import run_cells
from hsi.study.tables import averages, chance_of, study_rows, write_tables
from tests.test_generate import make_scene, one_line_error

GRID = """
[settings]
model = "cao"
dataset = "{scene}:cube"
labels = "{scene}:labels"
epochs = 2
prune = true
prune_increment = 40
prune_end = 40
prune_epochs = 1
[grid]
prune_method = ["apoz", "magnitude"]
seed = [0]
"""


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of two cells on a small scene."""
    folder = tmp_path_factory.mktemp("study")
    cube, labels = make_scene()
    scipy.io.savemat(folder / "field.mat", {"cube": cube, "labels": labels})
    (folder / "grid.toml").write_text(GRID.format(scene=folder / "field.mat"), encoding="utf-8")
    return folder / "grid.toml"


def write(folder: Path, text: str) -> Path:
    path = folder / "study.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_cells_are_every_combination(tmp_path):
    text = 'name = "x"\n[settings]\nmodel = "cao"\n[grid]\nseed = [0, 1, 2]\nsplit = ["random"]\n'
    text += '[[cells]]\ndataset = "salinas_a"\n[[cells]]\ndataset = "synthetic"\n'
    study = read_study(write(tmp_path, text))
    expected = list(itertools.product(["salinas_a", "synthetic"], [0, 1, 2], ["random"]))
    found = [tuple(cell.apart[k] for k in ("dataset", "seed", "split")) for cell in study.cells]
    assert found == expected
    assert all(cell.values == {"model": "cao", **cell.apart} for cell in study.cells)
    assert study.keys == ("dataset", "seed", "split")
    assert len({cell.name for cell in study.cells}) == 6


def test_names_of_cells_are_names_of_files():
    assert cell_name({"criterion": "l1", "seed": 0}) == "criterion-l1_seed-0"
    assert cell_name({"target": ["macs=30%"]}) == "target-macs-30%"
    assert "/" not in cell_name({"dataset": "/data/a b.mat:cube"})
    long = [{"dataset": "x" * 300, "seed": seed} for seed in (0, 1)]
    names = [cell_name(apart) for apart in long]
    assert len(set(names)) == 2
    assert max(map(len, names)) == LONGEST_NAME


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[setings]\nmodel = 'cao'", ["setings", "'settings'"]),
        ("[grid]\ncriterio = ['l1']\n[settings]\nmodel='cao'", ["criterio"]),
        ("[grid]\nseed = 3", ["grid.seed", "list", "3"]),
        ("[grid]\nseed = []", ["grid.seed", "one value or more"]),
        ("[settings]\nseed = 1\n[grid]\nseed = [1]", ["seed", "both"]),
        ("[grid]\nseed = [1, 1]", ["seed-1", "2 times"]),
        ("[settings]\noutput = 'x'", ["output"]),
        ("[settings", ["expected TOML"]),
        ("cells = 3", ["[[cells]]"]),
    ],
)
def test_a_wrong_file_is_one_line(tmp_path, text, words):
    with pytest.raises(SettingsError) as caught:
        read_study(write(tmp_path, text))
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("seed = [0]", "seed = [0, -1]"), ["cell", "seed--1", "0 or more"]),
        (('model = "cao"', "patience = 3"), ["cell", "expected a model"]),
        (('"magnitude"]', '"magnitud"]'), ["magnitud"]),
    ],
)
def test_a_wrong_cell_is_found_before_anything_runs(grid, tmp_path, capsys, change, words):
    path = write(tmp_path, grid.read_text(encoding="utf-8").replace(*change))
    try:
        code = main(["study", str(path), "--output", str(tmp_path / "out")])
    except SystemExit as error:
        code = int(error.code or 0)
    line = one_line_error(capsys, code)
    assert all(word in line for word in words), line
    assert not (tmp_path / "out").exists()


def test_means_and_intervals_over_seeds():
    rng = np.random.default_rng(0)
    rows = [
        {"method": m, "seed": s, "variant": v, "oa": float(rng.uniform(50, 100)), "bytes": 10}
        for m, s, v in itertools.product("ab", range(4), ("trained", "pruned_20"))
    ]
    rows.append({"method": "c", "seed": 0, "variant": "trained", "oa": 80.0, "bytes": None})
    for line in averages(rows, ["method", "seed"]):
        values = [
            r["oa"]
            for r in rows
            if (r["method"], r["variant"]) == (line["method"], line["variant"])
        ]
        assert line["runs"] == len(values)
        assert line["oa"] == pytest.approx(sum(values) / len(values))
        if len(values) == 1:
            assert line["oa_half"] is None
            assert line["bytes"] is None
        else:
            low, high = scipy.stats.t.interval(
                0.95, len(values) - 1, np.mean(values), scipy.stats.sem(values)
            )
            assert line["oa_half"] == pytest.approx((high - low) / 2)


def test_curves_of_the_synthetic_scene_say_so():
    from hsi.plots import SYNTHETIC_NOTE
    from hsi.plots.study import study_curves

    line = {"variant": "trained", "runs": 1, "oa": 50.0, "oa_half": None, "left": 100.0, "bytes": 9}
    for synthetic in (True, False):
        figure = study_curves([line], [], synthetic=synthetic)
        said = " ".join(figure.get_supxlabel().split())
        assert (" ".join(SYNTHETIC_NOTE.split()) in said) is synthetic


def one_run(schedule: str, epochs: Sequence[Any]) -> dict[str, Any]:
    """Variants as run.json has them: trained, pruned by 50 and 75 %, and the last one in int8.

    Args:
        epochs: of each fine-tuning, or of each layer's.
    """
    chosen = {"criterion": "l1", "schedule": schedule}
    found: dict[str, Any] = {
        "trained.h5": {"row": {"variant": "trained"}, "history": {"losses": [1.0] * 9}}
    }
    for percent, of in zip((50.0, 75.0), epochs, strict=True):
        layers = {f"conv_{k}": {"losses": [1.0] * n} if n else {} for k, n in enumerate(of)}
        history = {"losses": [1.0] * of[0]} if len(of) == 1 else layers
        row = {"variant": f"pruned_{percent:g}", **chosen, "target": percent}
        found[f"{percent:g}.h5"] = {"row": row, "history": history}
    int8 = {"row": {**row, "variant": "quantized_pruned_75_int8"}, "parent": "75.h5"}
    found |= {"75_int8.tflite": int8, "low.h5": {"row": {"variant": "low_rank"}, "history": {}}}
    for known in found.values():
        known["row"] |= {"oa": 60.0, "parameters": 10, "file": ""}
        known["confusion"] = [[5, 1], [4, 0]]
    return found


@pytest.mark.parametrize(
    ("schedule", "epochs", "expected"),
    [
        ("one_shot", [[6], [6]], [0, 6, 6, 6, 0]),
        ("iterative", [[4], [2]], [0, 4, 6, 6, 0]),  # the way to a step leads over those before
        ("layerwise", [[3, 3, 0], [2, 2, 2]], [0, 6, 6, 6, 0]),
    ],
)
def test_what_a_variant_has_cost(tmp_path, schedule, epochs, expected):
    variants = one_run(schedule, epochs)
    assert [fine_tuned(variants, file) for file in variants] == expected
    assert [rate_of(variants, file) for file in variants] == [1, 2, 4, 4, None]

    settings = {"model": "cao", "epochs_total": 6}
    record = {"settings": settings, "variants": variants}
    (tmp_path / "run.json").write_text(json.dumps(record), encoding="utf-8")
    rows = study_rows([Cell("a", {"seed": 0}, {})], [tmp_path], ["seed"])
    assert [row["epochs"] for row in rows] == expected
    partly = {row["variant"] for row in rows if row["on_the_way"]}
    assert partly == ({"pruned_50"} if schedule == "iterative" else set())
    assert chance_of([record]) == pytest.approx(60)  # six of ten test samples are of one class


def test_settings_of_a_grid_and_results_of_the_same_name_both_have_a_column(tmp_path):
    text = '[grid]\nepochs = [50, 100]\n[[cells]]\nmodel = "cao"\n[[cells]]\ncriterion = "apoz"\n'
    study = read_study(write(tmp_path, text))
    folders = [tmp_path / cell.name for cell in study.cells]
    for folder in folders:
        folder.mkdir()
        record = {"settings": {"model": "cao"}, "variants": one_run("one_shot", [[6], [7]])}
        (folder / "run.json").write_text(json.dumps(record), encoding="utf-8")
    table, summary = write_tables(
        tmp_path, study_rows(study.cells, folders, study.keys), study.keys
    )
    for path, key in ((table, "set_criterion"), (summary, "criterion")):
        header, *rows = csv.reader(path.read_text(encoding="utf-8").splitlines())
        assert len(set(header)) == len(header)
        lines = [dict(zip(header, row, strict=True)) for row in rows]
        assert [line[key] for line in lines] == 10 * [""] + 10 * ["apoz"]
        assert [line["set_epochs"] for line in lines] == 2 * (5 * ["50"] + 5 * ["100"])
        assert [line["epochs"] for line in lines] == 4 * ["0", "6", "7", "7", "0"]
        if path == table:
            assert [line["criterion"] for line in lines] == 4 * ["", "l1", "l1", "l1", ""]


def test_the_summary_says_which_steps_are_on_the_way(tmp_path):
    rows = [
        {"seed": seed, "variant": variant, "oa": 90.0, "on_the_way": variant == "pruned_50"}
        for seed in (0, 1)
        for variant in ("trained", "pruned_50")
    ]
    _, summary = write_tables(tmp_path, rows, ["seed"])
    lines = list(csv.DictReader(summary.read_text(encoding="utf-8").splitlines()))
    assert [line["on_the_way"] for line in lines] == ["0", "1"]


def test_fine_tunings_that_share_their_epochs_are_one_training():
    settings = Settings("cao", prune=True, epochs_total=30, seed=7, patience=2)
    job = Job(None, settings, None, None, print, Path())  # type: ignore[arg-type]
    parts = [part_of_one_training(job, turn).settings for turn in range(4)]
    assert len({part.seed for part in parts}) == 4  # each draws its own order and augmentation
    assert parts[0].seed == 7
    assert parts == [part_of_one_training(job, turn).settings for turn in range(4)]
    assert all(part.patience >= 30 for part in parts)  # or a long one would end early
    alone = Job(None, replace(settings, epochs_total=None), *[None] * 2, print, Path())  # type: ignore[arg-type]
    assert part_of_one_training(alone, 3) is alone


def test_curves_against_the_rate():
    from hsi.plots.study import rate_curves

    lines = [
        {"set_epochs": epochs, "variant": f"pruned_{rate}", "runs": 3, "oa": 90 - 10 * k,
         "oa_half": 95.0 * (k == 2), "rate": rate, "on_the_way": rate == 3}
        for epochs in (50, 100)
        for k, rate in enumerate((1.0, 2.0, 4.0, 3.0))
    ]  # fmt: skip
    figure = rate_curves(lines, ["set_epochs"], chance=10.0)
    (axes,) = figure.axes
    handles, labels = axes.get_legend_handles_labels()
    assert labels == ["epochs 50", "epochs 100"]
    for handle in handles:
        along, oa = handle.lines[0].get_data()
        assert np.log2(np.array(along, float)) == pytest.approx(
            [2, 1, 0], abs=0.1
        )  # the step on the way is not
        assert list(oa) == [70, 80, 90]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["1", "2", "4"]
    assert 0 <= axes.get_ylim()[0] < 10.0 < axes.get_ylim()[1] <= 101
    assert "10 %" in figure.get_supxlabel()
    assert "before its last" in figure.get_supxlabel()


def test_sizes_are_of_gzipped_files_where_the_plain_ones_do_not_tell():
    from hsi.plots.study import study_curves

    lines = [
        {"variant": f"pruned_{k}", "runs": 1, "oa": 50.0, "left": 100 / k, "bytes": 1000,
         "bytes_gzip": 900 / k}
        for k in (1, 2)
    ]  # fmt: skip
    for plain, zipped in ((1000, True), (500, False)):
        lines[1]["bytes"] = plain
        axes = study_curves(lines, []).axes[1]
        sizes = axes.get_legend_handles_labels()[0][0].lines[0].get_xdata()
        assert list(sizes) == ([900, 450] if zipped else [1000, 500])
        assert ("gzipped" in axes.get_xlabel()) is zipped


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "study.csv").open(newline="", encoding="utf-8") as file:
        return [
            {k: v for k, v in row.items() if not k.startswith("latency")}
            for row in csv.DictReader(file)
        ]


@pytest.mark.slow
def test_a_study_once_and_again_with_two_workers_and_one_killed(grid, tmp_path, capsys):
    alone, shared = tmp_path / "alone", tmp_path / "shared"
    assert main(["study", str(grid), "--output", str(alone)]) == 0
    rows = rows_of(alone)
    assert len(rows) == 4  # two variants in each of two cells
    assert (alone / "curves.png").stat().st_size > 10_000
    assert len(list((alone / "trainings").iterdir())) == 1  # shared by the two cells
    for cell in (alone / "cells").iterdir():
        run = open_run(cell)
        taken = Path(run.record["variants"]["trained_model.h5"]["taken_from"])
        assert (
            run.path("trained_model.h5").read_bytes() == (taken / "trained_model.h5").read_bytes()
        )

    capsys.readouterr()
    times = {
        path: path.stat().st_mtime_ns
        for name in ("*.h5", "report.html")
        for path in alone.glob(f"cells/*/{name}")
    }
    assert len([path for path in times if path.name == "report.html"]) == 2
    shutil.rmtree(alone / "cells" / "prune_method-apoz_seed-0")
    assert main(["study", str(grid), "--output", str(alone)]) == 0
    assert "2 cells, 1 of them finished already." in capsys.readouterr().out
    assert rows_of(alone) == rows
    kept = {path: path.stat().st_mtime_ns for path in times}
    assert {p: t for p, t in kept.items() if "apoz_seed-0" not in str(p)} == {
        p: t for p, t in times.items() if "apoz_seed-0" not in str(p)
    }

    killed = threading.Thread(target=kill_a_worker_of, args=[shared])
    killed.start()
    command = [sys.executable, "-m", "hsi", "study", str(grid), "--output", str(shared)]
    command.append("--no_cell_reports")
    done = subprocess.run([*command, "--workers", "2"], capture_output=True, text=True, check=False)
    killed.join()
    assert done.returncode == 0, done.stderr
    assert (shared / "killed").is_file(), "no worker was there to be killed"
    assert rows_of(shared) == rows


def kill_a_worker_of(folder: Path) -> None:
    """Kill, once, a process that writes the log of a training."""
    for _ in range(600):
        for log in folder.glob("logs/*.txt"):
            for process in Path("/proc").glob("[0-9]*"):
                if _writes(process, log):
                    os.kill(int(process.name), signal.SIGKILL)
                    (folder / "killed").write_text(process.name)
                    return
        time.sleep(0.1)


def _writes(process: Path, log: Path) -> bool:
    try:
        return any(link.resolve() == log for link in (process / "fd").iterdir())
    except OSError:  # gone, or somebody else's
        return False


@pytest.mark.slow
def test_a_cell_that_cannot_run_leaves_the_others(grid, tmp_path, capsys):
    text = grid.read_text(encoding="utf-8").replace("seed = [0]", "patch_size = [5, 61]")
    text = text.replace('["apoz", "magnitude"]', "[false]").replace("prune_method", "prune")
    path = write(tmp_path, text.replace("prune = true\n", ""))
    output = str(tmp_path / "out")
    assert main(["study", str(path), "--output", output, "--no_cell_reports"]) == 2
    out = capsys.readouterr().out
    assert "Not run: " in out
    assert "patch_size: expected at most 24" in out
    assert {row["patch_size"] for row in rows_of(tmp_path / "out")} == {"5"}


def test_baselines_have_cells_of_their_own(grid, tmp_path):
    """They share no training, and are fitted again by no other cell."""
    scene = f"{grid.parent / 'field.mat'}:cube", f"{grid.parent / 'field.mat'}:labels"
    cell = Settings("knn", dataset=scene[0], labels=scene[1], output=str(tmp_path / "cell"))
    said = []
    assert run_cells(tmp_path, [cell], say=said.append) == {}
    assert run_cells(tmp_path, [cell], say=said.append) == {}
    assert said == [f"1 cells, {done} of them finished already." for done in (0, 1)]
    assert list(open_run(tmp_path / "cell").record["variants"]) == ["trained_model.npz"]


def test_a_start_from_another_training_is_refused(grid, tmp_path, capsys):
    from hsi.cli.generate import main as generate

    scene = shutil.copy(grid.parent / "field.mat", tmp_path)
    data = ["cao", "--dataset", f"{scene}:cube", "--labels", f"{scene}:labels", "--epochs", "1",
            "--no_report"]  # fmt: skip
    assert generate([*data, "--output", str(tmp_path / "a")]) == 0
    capsys.readouterr()
    again = [*data, "--start_from", str(tmp_path / "a"), "--output", str(tmp_path / "b")]
    assert generate([*again, "--seed", "1"]) == 2
    line = capsys.readouterr().err.strip()
    assert "seed = 0" in line
    assert "\n" not in line
    # Nor of the same settings, where another scene lies under the name that they hold by now.
    cube, labels = make_scene()
    scipy.io.savemat(scene, {"cube": cube[::-1], "labels": labels})
    assert generate([*again, "--output", str(tmp_path / "c")]) == 2
    line = capsys.readouterr().err.strip()
    assert "data of this run has changed" in line
    assert "\n" not in line
