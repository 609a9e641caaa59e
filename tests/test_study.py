"""Studies: the cells of a grid, runs that are never repeated, means over seeds."""

from __future__ import annotations

import csv
import itertools
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import scipy.stats

from hsi.cli import main
from hsi.errors import SettingsError
from hsi.runs import open_run
from hsi.study.cells import LONGEST_NAME, cell_name, read_study
from hsi.study.tables import averages
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
    times = {path: path.stat().st_mtime_ns for path in alone.glob("cells/*/*.h5")}
    shutil.rmtree(alone / "cells" / "prune_method-apoz_seed-0")
    assert main(["study", str(grid), "--output", str(alone)]) == 0
    assert "2 cells, 1 of them finished already." in capsys.readouterr().out
    assert rows_of(alone) == rows
    kept = {path: path.stat().st_mtime_ns for path in alone.glob("cells/*/*.h5")}
    assert {p: t for p, t in kept.items() if "apoz_seed-0" not in str(p)} == {
        p: t for p, t in times.items() if "apoz_seed-0" not in str(p)
    }

    killed = threading.Thread(target=kill_a_worker_of, args=[shared])
    killed.start()
    command = [sys.executable, "-m", "hsi", "study", str(grid), "--output", str(shared)]
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
    assert main(["study", str(path), "--output", str(tmp_path / "out")]) == 2
    out = capsys.readouterr().out
    assert "Not run: " in out
    assert "patch_size: expected at most 24" in out
    assert {row["patch_size"] for row in rows_of(tmp_path / "out")} == {"5"}


def test_a_start_from_another_training_is_refused(grid, tmp_path, capsys):
    from hsi.cli.generate import main as generate

    scene = grid.parent / "field.mat"
    data = ["cao", "--dataset", f"{scene}:cube", "--labels", f"{scene}:labels", "--epochs", "1"]
    assert generate([*data, "--output", str(tmp_path / "a")]) == 0
    capsys.readouterr()
    again = [*data, "--start_from", str(tmp_path / "a"), "--output", str(tmp_path / "b")]
    assert generate([*again, "--seed", "1"]) == 2
    line = capsys.readouterr().err.strip()
    assert "seed = 0" in line
    assert "\n" not in line
