"""An evaluation that is run, by baselines on a small scene: resumed, killed, and refused."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io

from hsi.baselines import load
from hsi.cli import main
from hsi.errors import DataError, SettingsError
from hsi.evaluate import Evaluation, run_evaluation, running
from hsi.evaluate.protocol import Protocol, protocol_of
from hsi.metrics import mcnemar
from hsi.pipeline.job import samples_of
from hsi.runs import open_run
from tests.test_generate import make_scene, one_line_error

TIMES = ("training_seconds", "map_seconds")


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small scene, and a map of training pixels for the split `given`."""
    path = tmp_path_factory.mktemp("scene") / "field.mat"
    cube, labels = make_scene()
    given = np.where(np.random.default_rng(1).random(labels.shape) < 0.2, labels, 0)
    scipy.io.savemat(path, {"cube": cube, "labels": labels, "train": given})
    return path


def asked(scene: Path, **changes: Any) -> Protocol:
    data = {"dataset": f"{scene}:cube", "labels": f"{scene}:labels", "block_size": 5}
    values: dict[str, Any] = {"splits": ("random", "blocks"), "seeds": 2, "shared": data}
    networks = changes.pop("networks", ("svm", "sgd"))
    return protocol_of(networks, **(values | changes))


def run(protocol: Protocol, folder: Path, **options: Any) -> Evaluation:
    return run_evaluation(protocol, folder, say=lambda line: None, **options)


def rows(path: Path, *, without: tuple[str, ...] = TIMES) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return [{k: v for k, v in row.items() if k not in without} for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def whole(scene: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an evaluation that nothing disturbed."""
    folder = tmp_path_factory.mktemp("evaluation") / "whole"
    found = run(asked(scene), folder)
    assert not found.missing
    assert all(path.is_file() for path in (*found.written.table, *found.written.others))
    return folder


def test_a_killed_evaluation_goes_on_and_ends_with_the_same_table(
    scene, whole, tmp_path, monkeypatch
):
    """Stopped in the third cell, when it was trained and not measured, and resumed."""
    fitted: list[str] = []
    drawn: list[str] = []
    fit, timed = running.fit_baseline, running.timed_map

    def fit_and_tell(job):
        fitted.append(job.run.folder.name)
        return fit(job)

    def stop_in_the_third(forward, patches):
        drawn.append("")
        if len(drawn) == 3:
            raise KeyboardInterrupt
        return timed(forward, patches)

    monkeypatch.setattr(running, "fit_baseline", fit_and_tell)
    monkeypatch.setattr(running, "timed_map", stop_in_the_third)
    with pytest.raises(KeyboardInterrupt):
        run(asked(scene), tmp_path)
    assert len(fitted) == 3
    trained = tmp_path / "cells" / fitted[-1] / "trained_model.npz"
    before = trained.stat().st_mtime_ns
    run(asked(scene), tmp_path, resume=True)
    assert len(fitted) == 8 + 1  # the third was looked at again, and not fitted again
    assert trained.stat().st_mtime_ns == before
    for name in ("table.csv", "cells.csv", "classes.csv", "mcnemar.csv"):
        assert rows(tmp_path / name) == rows(whole / name), name
    run(asked(scene), tmp_path, resume=True)
    assert len(fitted) == 9  # everything is finished


def test_networks_and_seeds_can_be_added(scene, whole, tmp_path):
    run(asked(scene, networks=("sgd",), seeds=1), tmp_path)
    kept = (tmp_path / "cells.csv").read_text(encoding="utf-8").splitlines()
    run(asked(scene), tmp_path, resume=True)
    later = (tmp_path / "cells.csv").read_text(encoding="utf-8").splitlines()
    assert {line.rpartition(",")[0] for line in kept} <= {line.rpartition(",")[0] for line in later}
    assert rows(tmp_path / "mcnemar.csv") == rows(whole / "mcnemar.csv")


def test_stored_answers_are_those_of_the_model_at_the_test_pixels(whole):
    for folder in sorted((whole / "cells").iterdir()):
        opened = open_run(folder)
        samples = samples_of(opened, say=lambda line: None)
        test = samples.part("test")
        model = load(folder / "trained_model.npz")
        wanted = model(samples.patches.gather(test.pixels)).argmax(axis=1)
        with np.load(folder / "predictions.npz", allow_pickle=False) as stored:
            np.testing.assert_array_equal(stored["pixels"], test.pixels)
            np.testing.assert_array_equal(stored["truth"], test.classes)
            np.testing.assert_array_equal(stored["predicted"], wanted)
        counts = opened.record["evaluation"]["test_by_class"]
        assert counts == [int((test.classes == index).sum()) for index in range(3)]


def test_the_pairs_are_mcnemar_of_the_answers(whole):
    found = rows(whole / "mcnemar.csv")
    assert [(row["split"], row["seed"]) for row in found] == [
        ("random", "0"), ("random", "1"), ("blocks", "0"), ("blocks", "1"),
    ]  # fmt: skip
    for row in found:
        right = []
        for name in ("svm", "sgd"):
            cell = f"model-{name}_split-{row['split']}_train_fraction-0.1_seed-{row['seed']}"
            with np.load(whole / "cells" / cell / "predictions.npz", allow_pickle=False) as kept:
                right.append(kept["truth"] == kept["predicted"])
        assert float(row["p"]) == pytest.approx(mcnemar(*right), rel=1e-5)
        assert row["p_holm"] == row["p"]  # one pair is no family


def test_the_table_says_its_protocol_in_every_form(whole):
    content = json.loads((whole / "evaluation.json").read_text(encoding="utf-8"))
    run_file = json.loads(next((whole / "cells").glob("*/run.json")).read_text(encoding="utf-8"))
    caption = content["caption"]
    for words in (
        "field", run_file["data"]["sha256"][:12], "26 x 24 pixels", "12 bands", "3 classes",
        "10 % of each class are drawn", "blocks of 5 x 5 pixels", "seeds 0 to 1",
        "Bands scaled: standard", "McNemar", "Holm", run_file["machine"]["processor"],
        run_file["versions"]["hsi"],
    ):  # fmt: skip
        assert words in caption, words
    assert caption.split(".")[0] in (whole / "table.md").read_text(encoding="utf-8")
    assert r"\caption{field" in (whole / "table.tex").read_text(encoding="utf-8")
    assert len(content["cells"]) == 8
    assert all(cell["map_seconds"] > 0 for cell in content["cells"])


def test_a_seed_runs_on_every_split_before_the_next_does(scene, tmp_path, monkeypatch):
    """What is interrupted in a network compares its splits on the same seeds."""
    order, run_cells = [], running.run_cells

    def noted(cells, *given, **options):
        order.extend((cell.network, cell.seed, cell.split) for cell in cells)
        return run_cells(cells, *given, **options)

    monkeypatch.setattr(running, "run_cells", noted)
    run(asked(scene), tmp_path / "out")
    splits = ("random", "blocks")
    assert order == [(n, seed, s) for n in ("svm", "sgd") for seed in (0, 1) for s in splits]


def test_a_missing_cell_is_said_and_the_code_is_two(scene, tmp_path, capsys):
    """No cell is begun after no minutes; with one seed there is no deviation."""
    words = ["evaluate", "svm", "--dataset", f"{scene}:cube", "--labels", f"{scene}:labels"]
    words += ["--splits", "random", "--output", str(tmp_path / "out")]
    assert main([*words, "--seeds", "1"]) == 0
    text = (tmp_path / "out" / "table.md").read_text(encoding="utf-8")
    assert "One seed (0): no standard deviation (n/a)" in text
    assert "± n/a" in text
    lines = json.loads((tmp_path / "out" / "evaluation.json").read_text(encoding="utf-8"))["lines"]
    assert lines[0]["oa_sd"] is None
    assert rows(tmp_path / "out" / "table.csv")[0]["oa_sd"] == ""
    capsys.readouterr()
    assert main([*words, "--seeds", "2", "--minutes", "0", "--resume"]) == 2
    said = capsys.readouterr().out
    name = "model-svm_split-random_train_fraction-0.1_seed-1"
    assert f"Missing: {name}: not begun: the time of --minutes was over" in said
    text = (tmp_path / "out" / "table.md").read_text(encoding="utf-8")
    assert "not begun" in text


def test_a_cell_that_failed_keeps_its_reason_until_it_is_tried_again(scene, tmp_path, monkeypatch):
    """With no time left it is not begun anew; that it once failed is what a reader must know."""
    wanted, train = asked(scene, networks=("svm", "sgd"), seeds=1), running.fit_baseline

    def failing(job):
        if job.settings.model == "sgd":
            raise DataError("no luck")
        train(job)

    with monkeypatch.context() as patch:
        patch.setattr(running, "fit_baseline", failing)
        first = run(wanted, tmp_path)
    assert set(first.missing.values()) == {"no luck"}
    again = run(wanted, tmp_path, resume=True, minutes=0)
    assert again.missing == first.missing
    assert not run(wanted, tmp_path, resume=True).missing


def test_given_maps_and_a_learning_curve(scene, tmp_path, figures):
    wanted = asked(
        scene, networks=("sgd",), seeds=1, splits=("random", "given"),
        train_per_class=(4, 12), maps={"train_labels": f"{scene}:train"},
    )  # fmt: skip
    found = run(wanted, tmp_path, drop_models=True)
    curve = figures["learning_curve.png"]
    panels = [axes.get_title() for axes in curve.axes]
    assert panels == ["split random", "split given"]
    line = curve.axes[0].get_lines()[0]
    lines = [row for row in rows(tmp_path / "table.csv") if row["split"] == "random"]
    np.testing.assert_allclose(
        line.get_xdata().astype(float), [float(row["training"]) for row in lines]
    )
    np.testing.assert_allclose(
        line.get_ydata().astype(float), [float(row["oa"]) for row in lines], rtol=1e-5
    )
    assert list(tmp_path.glob("cells/*/trained_model.npz")) == []
    assert len(list(tmp_path.glob("cells/*/predictions.npz"))) == 3
    assert not found.missing
    run(wanted, tmp_path, resume=True)  # what is measured needs no model file
    assert list(tmp_path.glob("cells/*/trained_model.npz")) == []


@pytest.fixture
def maps(scene: Path, tmp_path: Path) -> Path:
    """A file of a training map, as `scene` has it, that can be changed."""
    path = tmp_path / "maps.mat"
    scipy.io.savemat(path, {"train": scipy.io.loadmat(scene)["train"]})
    return path


@pytest.mark.parametrize(
    ("changes", "more"),
    [({"networks": ("sgd", "svm")}, "model-svm_split-given_seed-0"), ({"seeds": 2}, "seed-1")],
)
def test_given_maps_that_changed_are_no_part_of_one_table(scene, maps, tmp_path, changes, more):
    """Neither another network nor another seed may be put beside cells of the former map."""
    way = {"networks": ("sgd",), "seeds": 1, "splits": ("given",)}
    way["maps"] = {"train_labels": f"{maps}:train"}
    folder = tmp_path / "out"
    run(asked(scene, **way), folder)
    former = scipy.io.loadmat(maps)["train"]
    labels = scipy.io.loadmat(scene)["labels"]
    changed = np.where(np.random.default_rng(2).random(labels.shape) < 0.2, labels, 0)
    scipy.io.savemat(maps, {"train": changed})
    with pytest.raises(DataError, match=r"expected the same training pixels, got others") as error:
        run(asked(scene, **way | changes), folder, resume=True)
    assert more in str(error.value)
    assert "\n" not in str(error.value)
    assert len(list((folder / "cells").iterdir())) == 1  # it was found before anything was run
    scipy.io.savemat(maps, {"train": former})
    assert not run(asked(scene, **way | changes), folder, resume=True).missing


def test_a_scene_that_changed_is_refused_before_anything_is_run(scene, tmp_path, monkeypatch):
    stored = {k: v for k, v in scipy.io.loadmat(scene).items() if not k.startswith("__")}
    here = tmp_path / "field.mat"
    scipy.io.savemat(here, stored)
    way = {"seeds": 1, "splits": ("random",)}
    run(asked(here, networks=("sgd",), **way), tmp_path / "out")
    stored["cube"][0, 0, 0] += 1
    scipy.io.savemat(here, stored)
    monkeypatch.setattr(running, "run_cells", lambda *_, **__: pytest.fail("ran"))
    with pytest.raises(DataError, match=r"expected the data that cell model-sgd.* bring back"):
        run(asked(here, **way), tmp_path / "out", resume=True)


def test_models_of_finished_cells_are_dropped_as_well(scene, tmp_path):
    wanted = asked(scene, networks=("sgd",), seeds=1, splits=("random",))
    run(wanted, tmp_path)
    assert len(list(tmp_path.glob("cells/*/*.npz"))) == 4  # a model, its input, split and answers
    before = rows(tmp_path / "cells.csv", without=())
    run(wanted, tmp_path, resume=True, drop_models=True)
    assert not list(tmp_path.glob("cells/*/trained_model.npz"))
    assert len(list(tmp_path.glob("cells/*/*.npz"))) == 3
    assert rows(tmp_path / "cells.csv", without=()) == before


def test_cells_that_were_mixed_before_are_found_when_they_are_read(scene, maps, tmp_path):
    way = {"seeds": 1, "splits": ("given",), "maps": {"train_labels": f"{maps}:train"}}
    run(asked(scene, **way), tmp_path / "out")
    path = next((tmp_path / "out" / "cells").glob("model-svm*")) / "split.npz"
    with np.load(path, allow_pickle=False) as stored:
        masks = {name: stored[name] for name in stored.files}
    masks["test"] = np.roll(masks["test"], 1)
    np.savez_compressed(path, **masks)
    with pytest.raises(DataError, match="expected the same test pixels, got others"):
        run(asked(scene, **way), tmp_path / "out", resume=True)
    path.write_bytes(b"half")
    with pytest.raises(DataError, match=r"split\.npz: damaged"):
        run(asked(scene, **way), tmp_path / "out", resume=True)


def test_the_share_that_blocks_draw_is_on_record_and_said(scene, whole):
    content = json.loads((whole / "evaluation.json").read_text(encoding="utf-8"))
    labels = scipy.io.loadmat(scene)["labels"]
    sizes = np.unique(labels[labels > 0], return_counts=True)[1].tolist()
    shares = []
    for cell in content["cells"]:
        assert cell["labelled_by_class"] == sizes
        assert sum(cell["drawn_by_class"]) == cell["training"] + cell["validation"]
        if cell["split"] == "blocks":
            pairs = zip(cell["drawn_by_class"], sizes, strict=True)
            shares += [100 * drawn / size for drawn, size in pairs]
    assert f"allow ({min(shares):.1f} to {max(shares):.1f} % of a class" in content["caption"]


def test_without_a_cell_of_its_amount_the_table_is_of_another_and_says_so(scene, tmp_path):
    """Time ran out after the smaller amounts: the caption must not say that they are the larger."""
    wanted = asked(scene, networks=("sgd",), seeds=1, splits=("random",), train_per_class=(4, 12))
    first = asked(scene, networks=("sgd",), seeds=1, splits=("random",), train_per_class=(4,))
    run(first, tmp_path)
    found = run(wanted, tmp_path, resume=True, minutes=0)
    assert len(found.missing) == 1
    said = "No cell with 12 pixels of each class is finished: the table is of 4 pixels of each"
    assert found.table.notes[0].startswith(said)
    assert "; 4 pixels of each class are drawn, of which 12 pixels train" in found.table.caption
    (row,) = rows(tmp_path / "table.csv")
    oa = found.table.rows[0][found.table.heads.index("OA %")]
    assert oa.text == f"{float(row['oa']):.2f}"


def test_settings_that_the_first_cell_finds_wrong_do_not_block_the_folder(scene, tmp_path):
    data = {"dataset": f"{scene}:cube", "labels": f"{scene}:labels", "band_selection": "PCA"}
    way = {"networks": ("sgd",), "seeds": 1, "splits": ("random",)}
    with pytest.raises(DataError, match="components: expected 1 to 12 for PCA"):
        run(asked(scene, **way, shared={**data, "components": 50}), tmp_path / "out")
    assert not run(asked(scene, **way, shared={**data, "components": 3}), tmp_path / "out").missing


@pytest.mark.parametrize("minutes", [float("nan"), -1.0])
def test_minutes_that_are_no_time_are_refused(scene, tmp_path, minutes):
    with pytest.raises(SettingsError, match="minutes: expected 0 or more, got"):
        run(asked(scene), tmp_path / "out", minutes=minutes)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (["--minutes", "nan"], ["minutes", "0 or more", "nan"]),
        (["--seeds", "0"], ["seeds", "1 or more"]),
        (["--splits", "random,blocs"], ["blocs", "'blocks'"]),
        (["--splits", "given"], ["--train_labels"]),
        (["--train_fraction", "2"], ["train_fraction", "between 0 and 1"]),
        (["--image_size", "8"], ["image_size"]),
        (["--patch_size", "4"], ["patch_size", "odd"]),
        (["--epoch", "4"], ["--epoch"]),
    ],
)
def test_bad_options_are_one_line_and_write_nothing(scene, tmp_path, capsys, change, words):
    given = ["evaluate", "svm", "--dataset", f"{scene}:cube", "--labels", f"{scene}:labels"]
    try:
        code = main([*given, "--output", str(tmp_path / "out"), *change])
    except SystemExit as error:
        code = int(error.code or 0)
    line = one_line_error(capsys, code)
    assert all(word in line for word in words), line
    assert not (tmp_path / "out").exists()


def test_a_folder_is_not_touched_and_other_settings_are_refused(scene, whole, capsys):
    given = ["evaluate", "svm", "--dataset", f"{scene}:cube", "--output", str(whole)]
    assert "--resume" in one_line_error(capsys, main(given))
    changed = asked(scene)
    changed = protocol_of(
        changed.networks, splits=changed.splits, seeds=2, shared={**changed.shared, "epochs": 3}
    )
    with pytest.raises(SettingsError, match="epochs = 100, now it is 3"):
        run(changed, whole, resume=True)


def test_help_and_bad_arguments_load_no_tensorflow():
    code = (
        "import sys\nfrom hsi.cli import main\n"
        "for words in (['evaluate', '--help'], ['evaluate', 'huu', '--dataset', 'synthetic']):\n"
        "    try:\n        main(words)\n    except SystemExit:\n        pass\n"
        "print(sorted({'tensorflow', 'tf_keras', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().splitlines()[-1] == "[]"
    assert "Did you mean 'hu'" in done.stderr


def test_baselines_load_no_tensorflow(scene, tmp_path):
    words = ["svm", "--dataset", f"{scene}:cube", "--labels", f"{scene}:labels", "--seeds", "1"]
    words += ["--splits", "random", "--output", str(tmp_path / "out")]
    code = (
        f"import sys\nfrom hsi.cli import main\nassert main(['evaluate', *{words}]) == 0\n"
        "print(sorted({'tensorflow', 'tf_keras'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().splitlines()[-1] == "[]"


@pytest.mark.slow
def test_a_network_is_trained_drawn_and_compared_with_a_baseline(scene, tmp_path):
    data = {"dataset": f"{scene}:cube", "labels": f"{scene}:labels", "epochs": 2}
    wanted = asked(scene, networks=("compact", "svm"), seeds=1, splits=("random",), shared=data)
    assert not run(wanted, tmp_path).missing
    content = json.loads((tmp_path / "evaluation.json").read_text("utf-8"))
    assert "at most 2 epochs" in content["caption"]
    network, baseline = content["cells"]
    assert (network["epochs"], baseline["epochs"]) == (2, None)
    assert network["leakage"] > 50 > baseline["leakage"] == 0
    assert "fully convolutional pass" in network["map_way"]
    assert "patches" in baseline["map_way"]
    assert network["map_differs"] == 0
    opened = open_run(tmp_path / "cells" / network["cell"])
    entry = opened.record["variants"]["trained_model.h5"]
    assert network["training_seconds"] == entry.get("training_seconds")
    row = entry["row"]
    for name in ("oa", "aa", "kappa"):
        assert network[name] == pytest.approx(row[name])
    assert rows(tmp_path / "mcnemar.csv")[0]["pixels"] == str(network["test"])
