"""`generate_model.py`: what a user can hand over, and whole runs on a small scene."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.io

from hsi import runs
from hsi.cli.generate import main, parse
from hsi.data_paths import absolute, absolute_spec
from hsi.errors import DataError, OutputError, SettingsError
from hsi.pipeline.job import Job, data_run, open_earlier_job, open_job, samples_of
from hsi.results import COLUMNS
from hsi.runs import Run, is_of, open_run

TIMINGS = {"latency_ms", "latency_low", "latency_high"}


def make_scene(rows: int = 26, cols: int = 24, bands: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """A cube and labels of three striped classes, 4, 7 and 9, that a network can tell apart."""
    rng = np.random.default_rng(0)
    index = np.add.outer(np.arange(rows), np.arange(cols)) // 6 % 3
    spectra = rng.uniform(1000, 3000, (3, bands))
    cube = spectra[index] + rng.normal(0, 250, (rows, cols, bands))
    labels = np.array([4, 7, 9])[index]
    labels[rng.random(labels.shape) < 0.2] = 0
    return cube.astype(np.int16), labels.astype(np.uint8)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small scene as a .mat file with `cube` and `labels`."""
    path = tmp_path_factory.mktemp("scene") / "field.mat"
    cube, labels = make_scene()
    scipy.io.savemat(path, {"cube": cube, "labels": labels})
    return path


def write_mat(folder: Path, change: Callable[[np.ndarray, np.ndarray], object]) -> Path:
    """A scene file whose float cube and labels `change` has spoilt."""
    cube, labels = make_scene()
    cube, labels = cube.astype(np.float32), labels.astype(np.int32)
    spoilt = change(cube, labels)
    if isinstance(spoilt, tuple):
        cube, labels = spoilt
    path = folder / "spoilt.mat"
    scipy.io.savemat(path, {"cube": cube, "labels": labels})
    return path


def one_line_error(capsys: pytest.CaptureFixture[str], code: int) -> str:
    """The one line on standard error of a command that ended with exit code 2."""
    lines = capsys.readouterr().err.strip().splitlines()
    assert code == 2
    assert len(lines) == 1, lines
    assert lines[0].startswith("error: ")
    return lines[0]


def refuse(capsys: pytest.CaptureFixture[str], folder: Path, *arguments: str) -> str:
    """Run the command with bad input: its one line; nothing may be written."""
    output = folder / "run"
    code = main(["cao", "--output", str(output), "--epochs", "1", *arguments])
    line = one_line_error(capsys, code)
    assert not output.exists()
    return line


def set_nan(cube: np.ndarray, labels: np.ndarray) -> None:
    cube[3, 4, 2] = np.nan


def set_infinite(cube: np.ndarray, labels: np.ndarray) -> None:
    cube[:, :, 5] = np.inf


def set_constant(cube: np.ndarray, labels: np.ndarray) -> None:
    cube[:, :, 7] = 11


def set_one_pixel(cube: np.ndarray, labels: np.ndarray) -> None:
    labels[0, 0] = 15


def set_300_classes(cube: np.ndarray, labels: np.ndarray) -> None:
    labels.ravel()[:300] = np.arange(1, 301)


def transpose_labels(cube: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return cube, labels.T


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (set_nan, ["1 NaN", "band 3", "3,4", "--drop_bands 3"]),
        (set_infinite, ["infinite", "--drop_bands 6"]),
        (set_constant, ["in every pixel", "band 8", "--drop_bands 8"]),
        (set_one_pixel, ["class 15", "one pixel", "--classes"]),
        (set_300_classes, ["300", "label map"]),
        (transpose_labels, ["26", "24", "transpose"]),
    ],
)
def test_spoilt_scenes_are_refused_in_one_line(
    change: Callable, words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_mat(tmp_path, change)
    line = refuse(capsys, tmp_path, "--dataset", f"{path}:cube", "--labels", f"{path}:labels")
    for word in words:
        assert word in line, line


def test_a_band_that_is_named_can_be_dropped(tmp_path: Path) -> None:
    from hsi.samples import open_selected_scene

    path = write_mat(tmp_path, set_constant)
    settings = parse(["cao", "--dataset", f"{path}:cube", "--drop_bands", "8"])
    assert open_selected_scene(settings, say=lambda line: None).bands == 11


def test_missing_and_damaged_files(
    scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = refuse(capsys, tmp_path, "--dataset", str(tmp_path / "no.mat"))
    assert "no.mat" in missing
    cut = tmp_path / "cut.mat"
    cut.write_bytes(scene.read_bytes()[: scene.stat().st_size // 2])
    assert "cut.mat" in refuse(capsys, tmp_path, "--dataset", str(cut))
    key = refuse(capsys, tmp_path, "--dataset", f"{scene}:kube")
    assert "cube" in key
    assert "labels" in key


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--patch_size", "4"], ["odd", "4"]),
        (["--patch_size", "3"], ["cao", "5 or more"]),
        (["--patch_size", "25"], ["24", "26 x 24"]),
        (["--band_selection", "PCA", "--components", "13"], ["1 to 12", "13"]),
        (["--band_selection", "PCA"], ["components"]),
        (["--components", "5"], ["--band_selection"]),
        (["--classes", "4,wheat"], ["wheat", "7"]),
        (["--split", "given"], ["--train_labels"]),
        (["--train_fraction", "2"], ["between 0 and 1"]),
        (["--prune", "--prune_increment", "0"], ["prune_increment"]),
        (["--prune", "--prune_start", "20", "--prune_end", "18"], ["leave no step"]),
        (["--compression_rates", "2,4"], ["--prune"]),
        (["--prune", "--compression_rates", "0.5"], ["above 1"]),
        (["--quantize", "--quantization", "int7"], ["int7", "int8"]),
        (["--drop_bands", "13"], ["13", "1 to 12"]),
        (["--quantize_folder", "nowhere"], ["nowhere"]),
    ],
)
def test_settings_that_cannot_be_met(
    arguments: list[str],
    words: list[str],
    scene: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    line = refuse(capsys, tmp_path, "--dataset", f"{scene}:cube", *arguments)
    for word in words:
        assert word in line, line


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["cao", "--prunee"], ["--prunee", "--prune"]),
        (["cao", "--epochs", "many"], ["--epochs", "many"]),
        ([], ["cao", "vgg"]),
    ],
)
def test_wrong_words_on_the_command_line(
    arguments: list[str], words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    line = one_line_error(capsys, int(str(stopped.value)))
    for word in words:
        assert word in line, line


def test_an_unknown_model_is_answered_with_the_closest(
    capsys: pytest.CaptureFixture[str],
) -> None:
    line = one_line_error(capsys, main(["caoo"]))
    assert "'caoo'" in line
    assert "Did you mean 'cao'?" in line


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["cao", "--patch_size", "4"]])
def test_words_alone_load_no_tensorflow(arguments: list[str], root: Path) -> None:
    code = (
        "import sys\nfrom hsi.cli.generate import main\n"
        f"try:\n    main({arguments})\nexcept SystemExit:\n    pass\n"
        "slow = {'tensorflow', 'tf_keras', 'matplotlib', 'sklearn', 'h5py'} & set(sys.modules)\n"
        "sys.exit(f'loaded {slow}' if slow else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_bad_data_loads_no_tensorflow(scene: Path, tmp_path: Path, root: Path) -> None:
    arguments = ["cao", "--dataset", f"{scene}:kube", "--output", str(tmp_path / "run")]
    code = (
        f"import sys\nfrom hsi.cli.generate import main\nassert main({arguments}) == 2\n"
        "sys.exit('tensorflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


def test_an_output_folder_that_cannot_be_made(
    scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "file"
    file.write_text("not a folder")
    for output in (file, file / "run"):
        code = main(["cao", "--dataset", f"{scene}:cube", "--output", str(output)])
        assert str(output) in one_line_error(capsys, code)
    assert file.read_text() == "not a folder"


def test_an_existing_run_is_never_touched(
    scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = tmp_path / "run" / "kept.txt"
    kept.parent.mkdir()
    kept.write_text("mine")
    code = main(["cao", "--dataset", f"{scene}:cube", "--output", str(kept.parent)])
    assert "--resume" in one_line_error(capsys, code)
    assert [path.name for path in kept.parent.iterdir()] == ["kept.txt"]


def test_options_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "runs.json"
    path.write_text(json.dumps({"seed": 3, "small": {"model": "vgg", "epochs": 4, "prune": True}}))
    settings = parse(["--config", str(path), "--run", "small", "--epochs", "5"])
    assert (settings.model, settings.seed, settings.epochs, settings.prune) == ("vgg", 3, 5, True)
    toml = tmp_path / "one.toml"
    toml.write_text('model = "cao"\nquantization = ["int8", "dynamic"]\nquantize = true\n')
    assert parse(["--config", str(toml)]).quantization == ("int8", "dynamic")
    path.write_text(json.dumps({"model": "cao", "epoks": 4}))
    with pytest.raises(SettingsError, match="epochs"):
        parse(["--config", str(path)])


@pytest.mark.parametrize(
    ("arguments", "targets"),
    [
        (["--prune_increment", "20", "--prune_end", "80"], (20, 40, 60, 80)),
        (["--prune_start", "30", "--prune_increment", "10", "--prune_end", "50"], (30, 40, 50)),
        (["--compression_rates", "64,2,4"], (50, 75, 98.4375)),
        (["--prune_start", "20", "--prune_increment", "8", "--prune_end", "40"], (20, 28, 36)),
        ([], tuple(range(5, 96, 5))),
    ],
)
def test_prune_targets(arguments: list[str], targets: tuple[float, ...]) -> None:
    assert parse(["cao", "--prune", *arguments]).prune_targets == pytest.approx(targets)


def command(scene: Path, output: Path, *more: str) -> list[str]:
    return [
        sys.executable, "generate_model.py", "cao", "--dataset", f"{scene}:cube", "--split",
        "random", "--train_fraction", "0.3", "--epochs", "6", "--prune", "--prune_increment", "40",
        "--prune_end", "80", "--prune_epochs", "2", "--quantize", "--quantize_pruned_models",
        "--quantization", "dynamic,int8", "--no_report", "--output", str(output), *more,
    ]  # fmt: skip


def read_results(folder: Path) -> list[dict[str, str]]:
    with (folder / "results.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def without_timings(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    return [{k: v for k, v in row.items() if k not in TIMINGS} for row in rows]


@pytest.fixture(scope="module")
def finished(scene: Path, root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole run on the small scene, never interrupted."""
    output = tmp_path_factory.mktemp("finished") / "run"
    done = subprocess.run(
        command(scene, output), cwd=root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "leakage" in done.stdout
    (output.parent / "said.txt").write_text(done.stdout)
    return output


@pytest.mark.slow
def test_a_run_leaves_what_the_contract_says(finished: Path) -> None:
    models = ["model", "pruned_model_40", "pruned_model_80"]
    expected = {f"trained_{name}.h5" for name in models} | {
        f"quantized_{name}_{mode}.tflite" for name in models for mode in ("dynamic", "int8")
    }
    files = {path.name for path in finished.iterdir()}
    assert expected <= files
    assert {"run.json", "results.csv", "latency.csv", "figures"} <= files
    assert not [name for name in files if name.endswith(".part") or name.startswith(".")]
    rows = read_results(finished)
    assert tuple(rows[0]) == COLUMNS
    assert {row["file"] for row in rows} == expected
    run = json.loads((finished / "run.json").read_text())
    assert run["state"] == "done"
    assert [c["number"] for c in run["classes"]] == [4, 7, 9]
    for row in rows:
        assert int(row["bytes"]) == (finished / row["file"]).stat().st_size
        assert float(row["oa_low"]) <= float(row["oa"]) <= float(row["oa_high"])
        assert float(row["latency_low"]) <= float(row["latency_ms"]) <= float(row["latency_high"])
        assert (row["batch"], row["threads"], row["split"]) == ("1", "1", "random")
        assert float(row["leakage"]) == pytest.approx(100 * run["split"]["leakage"], rel=1e-5)
    by_name = {row["variant"]: row for row in rows}
    assert by_name["trained"]["mcnemar_p"] == ""
    parameters = [int(by_name[n]["parameters"]) for n in ("trained", "pruned_40", "pruned_80")]
    assert parameters == sorted(parameters, reverse=True)
    latency = list(csv.DictReader((finished / "latency.csv").open(newline="")))
    assert {(row["file"], row["batch"]) for row in latency} == {
        (file, batch) for file in expected for batch in ("1", "256")
    }


@pytest.mark.slow
def test_pruned_files_hold_the_channels_that_are_left(finished: Path) -> None:
    from hsi.models.files import load_model

    for percent, left in ((40, 300), (80, 100)):
        model = load_model(finished / f"trained_pruned_model_{percent}.h5")
        layers = (model.get_layer("conv_1"), model.get_layer("conv_2"))
        assert sum(layer.filters for layer in layers) == left


@pytest.mark.slow
def test_recorded_accuracies_are_those_of_the_files(finished: Path) -> None:
    """Each file, opened anew and asked pixel by pixel, has the accuracy that its row says."""
    from hsi.deploy.variant import load_variant
    from hsi.pipeline.job import samples_of
    from hsi.runs import open_run

    run = open_run(finished)
    samples = samples_of(run, say=lambda line: None)
    test = samples.part("test")
    for row in read_results(finished):
        forward = load_variant(finished / row["file"])
        right = [
            forward(samples.patches.gather(np.array([pixel]))).argmax() == true
            for pixel, true in zip(test.pixels, test.classes, strict=True)
        ]
        assert 100 * np.mean(right) == pytest.approx(float(row["oa"]), abs=1e-3), row["file"]


@pytest.mark.slow
def test_a_killed_run_ends_with_the_same_results(
    finished: Path, scene: Path, root: Path, tmp_path: Path
) -> None:
    """Killed with SIGKILL after each of several new files, a run goes on to the same numbers."""
    output = tmp_path / "run"
    for awaited in (
        "trained_model.h5",
        "trained_pruned_model_40.h5",
        "quantized_model_int8.tflite",
    ):
        running = subprocess.Popen(
            command(scene, output, "--resume"), cwd=root, stdout=subprocess.DEVNULL
        )
        while not (output / awaited).exists() and running.poll() is None:
            time.sleep(0.01)
        assert running.poll() is None, f"ended before {awaited} was there"
        os.kill(running.pid, signal.SIGKILL)
        running.wait()
        (output / f".left.{running.pid}.part.h5").touch()  # as where it was killed while it wrote
    done = subprocess.run(
        command(scene, output, "--resume"), cwd=root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert without_timings(read_results(output)) == without_timings(read_results(finished))
    assert not [path for path in output.iterdir() if path.name.startswith(".")]


@pytest.mark.slow
def test_resume_refuses_other_settings_and_other_data(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (finished / "run.json").read_bytes()
    code = main(["cao", "--output", str(finished), "--resume", "--dataset", "synthetic"])
    assert "dataset" in one_line_error(capsys, code)
    assert (finished / "run.json").read_bytes() == before


@pytest.mark.slow
def test_a_full_disk_is_said_in_one_line(scene: Path, root: Path, tmp_path: Path) -> None:
    """A limit on file size stands in for the disk: it fails in the middle of the same write."""
    output = tmp_path / "run"
    words = command(scene, output)[1:]
    code = (
        "import resource, runpy, sys\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))\n"
        f"sys.argv = {words}\nrunpy.run_path(sys.argv[0], run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert "trained_model.h5" in done.stderr
    assert not (output / "trained_model.h5").exists()
    assert not [path for path in output.iterdir() if path.name.startswith(".")]


@pytest.mark.slow
def test_magnitude_pruning_and_an_earlier_run_quantized(scene: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    words = ["cao", "--no_report"]
    code = main(
        [*words, "--dataset", f"{scene}:cube", "--band_selection", "NMF", "--components", "5",
         "--split", "random",
         "--epochs", "3", "--prune", "--prune_epochs", "1", "--compression_rates", "2,64",
         "--output", str(first)]
    )  # fmt: skip
    assert code == 0
    rows = {row["variant"]: row for row in read_results(first)}
    assert set(rows) == {"trained", "pruned_50", "pruned_98.4"}
    run = json.loads((first / "run.json").read_text())
    for name, share in (("50", 0.5), ("98.4", 63 / 64)):
        entry = run["variants"][f"trained_pruned_model_{name}.h5"]
        assert all(v == pytest.approx(share, abs=0.01) for v in entry["kernel_sparsity"].values())
        assert rows[f"pruned_{name}"]["parameters"] == rows["trained"]["parameters"]
    before = {path: path.stat().st_mtime_ns for path in first.rglob("*")}
    more = ["--quantize_folder", str(first), "--quantization", "float16"]
    assert main([*words, *more, "--output", str(second)]) == 0
    assert {path: path.stat().st_mtime_ns for path in first.rglob("*")} == before
    again = {row["variant"]: row for row in read_results(second)}
    assert set(again) == {f"quantized_{n}float16" for n in ("", "pruned_50_", "pruned_98.4_")}
    for name, row in again.items():
        original = rows[
            name.removeprefix("quantized_").removesuffix("float16").rstrip("_") or "trained"
        ]
        assert float(row["oa"]) == pytest.approx(float(original["oa"]), abs=0.5)
    with np.load(first / "split.npz") as split:  # of the earlier run's settings, not of its own
        found = samples_of(open_run(second), say=print).division["test"]
        np.testing.assert_array_equal(found, split["test"])


@pytest.mark.slow
def test_what_cannot_be_pruned_is_said_and_the_run_goes_on(
    scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "run"
    code = main(
        ["cao", "--dataset", f"{scene}:cube", "--epochs", "1",
         "--prune", "--prune_start", "99.8", "--prune_increment", "0.05", "--prune_end", "99.9",
         "--prune_epochs", "0", "--quantize", "--no_report", "--output", str(output)]
    )  # fmt: skip
    assert code == 0
    said = capsys.readouterr().out
    assert "498 of 499 channels could be removed" in said
    assert "Nothing more can be removed" in said
    variants = [row["variant"] for row in read_results(output)]
    assert variants == ["trained", "pruned_99.8", "quantized_dynamic"]


def test_the_commands_to_try_next_can_be_pasted(tmp_path: Path) -> None:
    """A run's options that are not defaults come back from its next command."""
    import shlex

    from hsi.cli.tables import next_commands

    words = ["cao", "--dataset", "my scene.mat:cube", "--split", "random", "--classes", "4,9"]
    settings = parse(words)
    record = {"settings": settings.of_the_result(), "variants": {"trained_model.h5": {}}}
    command = shlex.split(next_commands(Run(tmp_path / "a run", record))[-1])
    assert command[:2] == ["python", "generate_model.py"]
    assert parse(command[2:]) == parse([*words, "--prune", "--quantize"])


def test_quantized_models_are_looked_at_and_held_against_the_earlier_run_next(
    project: Path,
) -> None:
    import shlex

    from hsi.cli.tables import next_commands

    first = open_job(parse(["cao", *SCENE, "--output", "first"]), say=quiet).run
    first.path("trained_model.h5").write_bytes(b"model")
    first.add_variant("trained_model.h5", {"variant": "trained"})
    run = open_earlier_job(
        parse(["cao", "--quantize_folder", "first", "--output", "b"]), say=quiet
    ).run
    for mode in ("dynamic", "int8"):
        run.path(f"quantized_model_{mode}.tflite").write_bytes(b"model")
        run.add_variant(f"quantized_model_{mode}.tflite", {"variant": f"quantized_{mode}"})
    made = [f"b/quantized_model_{mode}.tflite" for mode in ("dynamic", "int8")]
    *looks, compared = [shlex.split(command) for command in next_commands(run)]
    assert [command[1:3] for command in looks] == [["visualization.py", file] for file in made]
    assert compared[:4] == ["python", "-m", "hsi", "compare"]
    assert [Path(file).resolve() for file in compared[4:]] == [
        (project / file).resolve() for file in ("first/trained_model.h5", made[1])
    ]


# where a run finds its data and files again


def quiet(line: str) -> None:
    pass


def begin(*words: str) -> Job:
    """A run of a baseline: its samples are opened and recorded, nothing is fitted."""
    return open_job(parse(["knn", "--split", "random", *words]), say=quiet)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with the small scene as cube.npy and truth.npy, and two maps of it."""
    folder = tmp_path / "a project"
    folder.mkdir()
    cube, labels = make_scene()
    drawn = np.random.default_rng(0).random(labels.shape) < 0.3
    np.save(folder / "cube.npy", cube)
    np.save(folder / "truth.npy", labels)
    np.save(folder / "train.npy", np.where(drawn, labels, 0))
    np.save(folder / "test.npy", np.where(drawn, 0, labels))
    monkeypatch.chdir(folder)
    return folder


SCENE = ("--dataset", "cube.npy", "--labels", "truth.npy")
GIVEN = (*SCENE, "--split", "given", "--train_labels", "train.npy", "--test_labels", "test.npy")


def as_before(run: Run) -> None:
    """Make a run file what it was before paths were recorded apart."""
    run.record.pop("paths", None)
    run.save()


@pytest.mark.parametrize("name", ["synthetic", "digits", "PaviaU"])
def test_the_name_of_a_data_set_comes_before_a_folder_so_called(name: str, project: Path) -> None:
    (project / name).mkdir()
    assert absolute_spec(name) == name
    assert absolute("labels", name) == str(project / name)  # labels are files
    assert absolute_spec(f"folder:{name}") == f"folder:{project / name}"
    (project / "none").touch()
    assert absolute("weights", "none") == "none"


@pytest.mark.parametrize("recorded", ["digits", "a project/digits"])
def test_a_run_of_a_named_data_set_opens_beside_a_folder_so_called(
    recorded: str, project: Path
) -> None:
    """Older runs recorded the folder, although they were of the data set."""
    (project / "digits").mkdir()
    known = recorded if recorded == "digits" else str(project.parent / recorded)
    record = {"settings": {"dataset": "digits"}, "data": {"dataset": known}}
    assert Run(project / "run", record).where("dataset") == "digits"


def test_a_colon_in_a_path_is_no_key(project: Path) -> None:
    (project / "12:30.npy").touch()
    assert absolute_spec("12:30.npy") == str(project / "12:30.npy")
    assert absolute_spec("cube.npy:a") == f"{project / 'cube.npy'}:a"


@pytest.mark.parametrize("older", [False, True])
def test_a_given_split_is_found_from_every_folder(
    older: bool, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = begin(*GIVEN, "--output", "run")
    if older:
        as_before(job.run)
    monkeypatch.chdir(tmp_path)
    found = samples_of(open_run(project / "run"), say=quiet)
    np.testing.assert_array_equal(found.division["test"], job.samples.division["test"])


@pytest.mark.parametrize("older", [False, True])
def test_the_run_that_was_quantized_is_found_from_every_folder(
    older: bool, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(*SCENE, "--output", "first")
    words = ["knn", "--quantize_folder", "first", "--quantization", "int8", "--output"]
    run = open_earlier_job(parse([*words, "second"]), say=quiet).run
    if older:
        as_before(run)
    monkeypatch.chdir(tmp_path)
    second = open_run(project / "second")
    assert data_run(second).folder == project / "first"
    assert second.settings.quantize_folder == str(project / "first")
    assert samples_of(second, say=quiet).name == "cube"
    (project / "elsewhere").mkdir()
    monkeypatch.chdir(project / "elsewhere")
    project.rename(tmp_path / "renamed")
    assert data_run(open_run(Path("../second"))).folder == tmp_path / "renamed" / "first"


def test_another_run_in_the_place_of_the_quantized_one_is_refused(project: Path) -> None:
    begin(*SCENE, "--output", "first")
    words = ["knn", "--quantize_folder", "first", "--quantization", "int8", "--output", "second"]
    open_earlier_job(parse(words), say=quiet)
    (project / "first").rename(project / "kept")
    begin(*SCENE, "--seed", "1", "--output", "first")
    with pytest.raises(DataError, match="split"):
        samples_of(open_run(Path("second")), say=quiet)


@pytest.mark.parametrize("place", ["project", "above"])
@pytest.mark.parametrize("given", ["relative", "absolute", "older"])
def test_a_project_can_be_renamed(
    given: str, place: str, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = SCENE
    if given == "absolute":
        scene = ("--dataset", str(project / "cube.npy"), "--labels", str(project / "truth.npy"))
    run = begin(*scene, "--output", "run").run
    if given == "older":
        as_before(run)
    new = tmp_path / "renamed"
    project.rename(new)
    monkeypatch.chdir(new if place == "project" else tmp_path)
    output = new / "run"
    assert samples_of(open_run(output), say=quiet).name == "cube"
    again = begin(*scene, "--output", str(output), "--resume").run
    assert again.record["data"]["dataset"] == str(new / "cube.npy")
    assert again.record["paths"] == {"run": str(output)}


def test_data_that_is_gone_is_named_by_the_recorded_path(project: Path) -> None:
    begin(*SCENE, "--output", "run")
    (project / "cube.npy").unlink()
    with pytest.raises(DataError, match=f"^{project / 'cube.npy'}: no such file"):
        samples_of(open_run(Path("run")), say=quiet)
    np.save(project / "cube.npy", make_scene()[0] + 1)
    with pytest.raises(DataError, match="has changed"):
        samples_of(open_run(Path("run")), say=quiet)


def test_a_run_that_goes_on_keeps_its_settings_and_finds_its_files(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As given they are compared with those of the run that training is taken from."""
    (project / "teacher.h5").touch()
    (project / "own.json").touch()
    settings = parse(["cao", *SCENE, "--split", "random", "--output", str(project / "run")])
    files = {"teacher": "teacher.h5", "plan": "own.json", "resume": True}
    settings = replace(settings, **files)
    assert open_job(settings, say=quiet).settings == settings
    monkeypatch.chdir(tmp_path)
    again = open_job(settings, say=quiet).settings
    assert again.training_only() == settings.training_only()
    assert again.teacher == str(project / "teacher.h5")
    assert again.plan == str(project / "own.json")


def test_a_finished_run_is_not_written_again(project: Path) -> None:
    words = (*SCENE, "--output", "run", "--resume")
    run = begin(*words).run
    run.save(state="done")
    as_before(run)
    file = project / "run" / "run.json"
    before = file.read_bytes(), file.stat().st_mtime_ns
    assert begin(*words).run.done
    assert (file.read_bytes(), file.stat().st_mtime_ns) == before


# folders of runs that begin


def test_runs_that_begin_at_one_moment_have_folders_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others make theirs after this one looked, just before it makes its own."""
    monkeypatch.chdir(tmp_path)
    make, theirs = Path.mkdir, []

    def late(path: Path, *args: object, **options: object) -> None:
        if path.parent.name == "outputs" and len(theirs) < 2:
            theirs.append(path.name)
            os.makedirs(path)
        make(path, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Path, "mkdir", late)
    settings = parse(["knn", "--dataset", "synthetic"])
    mine = runs.start(settings, data="synthetic")
    assert theirs == ["knn_synthetic", "knn_synthetic-2"]
    assert mine.folder == Path("outputs/knn_synthetic-3")
    assert runs.start(settings, data="synthetic").folder == Path("outputs/knn_synthetic-4")


def test_a_folder_that_was_asked_for_is_taken_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / ".run.77.part.json").touch()  # a first write that was cut off
    settings = parse(["knn", "--dataset", "synthetic", "--output", str(tmp_path / "empty")])
    assert runs.start(settings, data="synthetic").path("run.json").is_file()
    with pytest.raises(OutputError, match="exists already"):
        runs.start(settings, data="synthetic")
    settings = replace(settings, output=str(tmp_path / "new"))
    make = Path.mkdir

    def late(path: Path, *args: object, **options: object) -> None:
        os.makedirs(path)
        make(path, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Path, "mkdir", late)
    with pytest.raises(OutputError, match="exists already"):
        runs.start(settings, data="synthetic")
    assert list((tmp_path / "new").iterdir()) == []


def test_a_run_of_a_version_with_fewer_options_is_a_run_of_their_defaults(project: Path) -> None:
    """A new option must not make finished runs of a study look like others, to be done again."""
    run = begin(*SCENE, "--output", "run").run
    wanted = run.settings
    before = {k: v for k, v in run.record["settings"].items() if k != "distill_from"}
    run.save(settings=before)
    older = open_run(Path("run"))
    assert is_of(older, wanted.of_the_result())
    assert not is_of(older, replace(wanted, distill_from="best").of_the_result())
    assert begin(*SCENE, "--output", "run", "--resume").run.record["settings"] == before
    with pytest.raises(SettingsError, match="was started with distill_from = None, now it is best"):
        begin(*SCENE, "--output", "run", "--resume", "--distill_from", "best")


def test_a_training_shared_by_cells_is_named_by_what_is_no_default() -> None:
    settings = parse(["cao", *SCENE, "--seed", "3"])
    assert settings.not_by_default() == {
        "model": "cao",
        **{name: getattr(settings, name) for name in ("dataset", "labels", "seed")},
    }
