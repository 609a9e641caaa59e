"""Files that take the sensor's counts: made, tested, quantized and looked at as what they are."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from looking import look
from numpy.lib.stride_tricks import sliding_window_view
from test_generate import make_scene, one_line_error

from hsi.cli import main as verbs
from hsi.cli.generate import main
from hsi.deploy.variant import load_variant
from hsi.errors import DataError, OutputError, SettingsError
from hsi.explain.spectra import pixel_sums
from hsi.pipeline import bits, generate
from hsi.pipeline.bits import COLUMNS, study_bits
from hsi.pipeline.job import on_counts, samples_of
from hsi.plots.filters import filter_sheet
from hsi.report.explained import explain_variants
from hsi.report.opening import ReportRun
from hsi.report.variants import open_all
from hsi.results import read_rows
from hsi.runs import Run, open_run, takes_counts
from hsi.settings import Settings
from hsi.views.subject import SceneSubject

PREPARED, COUNTS = "trained_model.h5", "trained_model_counts.h5"
FILES = (COUNTS, "quantized_model_counts_float32.tflite", "quantized_model_counts_int8.tflite")


def network_file(folder: Path) -> Path:
    """A small untrained network of 3 x 3 patches of 4 components."""
    import tf_keras as keras

    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [
            keras.Input((3, 3, 4)),
            keras.layers.Conv2D(6, 3, activation="relu", name="conv"),
            keras.layers.Flatten(name="flat"),
            keras.layers.Dense(3, activation="softmax", name="scores"),
        ]
    )
    model.save(folder / "own.h5")
    return folder / "own.h5"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run with PCA whose networks also exist with their preparation in them."""
    folder = tmp_path_factory.mktemp("counts")
    cube, labels = make_scene()
    np.save(folder / "cube.npy", cube)
    np.save(folder / "labels.npy", labels)
    settings = Settings(
        "own", model_file=str(network_file(folder)), dataset=str(folder / "cube.npy"),
        labels=str(folder / "labels.npy"), split="random", train_fraction=0.4,
        band_selection="PCA", components=4, epochs=30, learning_rate=0.01,
        fold_preparation=True, quantize=True, quantization=("float32", "int8"),
        output=str(folder / "run"),
    )  # fmt: skip
    return generate(settings, say=lambda line: None, finishing=False)


def raw_patches(run: Run) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """3 x 3 patches of counts and of prepared values around test pixels, and their classes."""
    samples: Any = samples_of(run, say=lambda line: None)
    cube, _ = make_scene()
    padded = np.pad(cube, ((1, 1), (1, 1), (0, 0)), mode="symmetric").astype(np.float32)
    every = np.moveaxis(sliding_window_view(padded, (3, 3), axis=(0, 1)), 2, -1)
    test = samples.part("test")
    counts = every.reshape(-1, 3, 3, cube.shape[2])[test.pixels]
    return counts, samples.patches.gather(test.pixels), test.classes


def test_rows_of_files_of_counts_are_their_predictions_on_counts(run: Run) -> None:
    counts, prepared, classes = raw_patches(run)
    rows = {row["file"]: row for row in read_rows(run.path("results.csv"))}
    oracle = load_variant(run.path(PREPARED)).predict(prepared)
    assert (oracle.argmax(axis=1) == classes).mean() > 0.6  # else nothing below says anything
    for file in FILES:
        assert run.takes_counts(file)
        assert takes_counts(run.path(file))
        variant = load_variant(run.path(file))
        assert variant.input_shape == (3, 3, counts.shape[-1])
        scores = variant.predict(counts)
        if "int8" not in file:
            assert np.allclose(scores, oracle, atol=1e-4)
        right = 100 * (scores.argmax(axis=1) == classes).mean()
        assert float(rows[file]["oa"]) == pytest.approx(right, abs=1e-3)
        assert rows[file]["leakage"] == rows[PREPARED]["leakage"]
    assert not run.takes_counts(PREPARED)
    assert int(rows[COUNTS]["parameters"]) > int(rows[PREPARED]["parameters"])
    assert run.record["variants"][COUNTS]["largest_difference"] < 1e-4


def test_counts_are_the_scene_as_it_is(run: Run) -> None:
    counts, _, _ = raw_patches(run)
    samples = on_counts(samples_of(run, say=lambda line: None))
    assert np.array_equal(samples.patches.gather(samples.part("test").pixels), counts)
    with pytest.raises(DataError, match="no counts"):
        on_counts(object.__new__(type("Images", (), {"name": "digits"})))


def test_a_run_that_goes_on_makes_no_form_of_a_form(run: Run) -> None:
    before = dict(run.record["variants"])
    settings = run.settings
    again = generate(
        Settings(**{**vars(settings), "output": str(run.folder), "resume": True}),
        say=lambda line: None, finishing=False,
    )  # fmt: skip
    assert again.record["variants"] == before


def test_a_file_of_counts_is_explained_on_counts(run: Run, tmp_path: Path) -> None:
    options = ("gradient", "--samples", "2", "--format", "npz", "--output", tmp_path)
    assert look(run.path(COUNTS), *options, "--name", "one") == 0
    with np.load(tmp_path / "one.npz") as arrays:
        alone = {name: arrays[name] for name in arrays.files}
    assert alone["inputs"].max() > 900  # counts, and not deviations
    both = (run.path(PREPARED), run.path(COUNTS), *options, "--space", "counts")
    assert look(*both, "--name", "both") == 0
    with np.load(tmp_path / "both.npz") as arrays:
        first, second = arrays["variant_attributions"]
    assert np.abs(first).max() > 0
    assert np.allclose(first, second, atol=1e-4 * np.abs(first).max())
    assert np.allclose(alone["attributions"], second, atol=1e-4 * np.abs(first).max())


def test_nothing_is_one_spectrum_in_bands_and_in_counts(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Windows that are covered hold the same for the network, whichever space they are shown in."""
    maps = []
    for file, space in ((PREPARED, "bands"), (PREPARED, "counts"), (COUNTS, "counts")):
        name = f"{file[:-3]}_{space}"
        options = ("--samples", "2", "--format", "npz", "--space", space, "--name", name)
        assert look(run.path(file), "spectral_occlusion", *options, "--output", tmp_path) == 0
        said = "nothing there is where scaled bands are zero" in capsys.readouterr().out
        assert said == (space == "counts")
        with np.load(tmp_path / f"{name}.npz") as arrays:
            maps.append(arrays["attributions"])
    for found in maps[1:]:
        np.testing.assert_allclose(found, maps[0], atol=1e-3 * np.abs(maps[0]).max())


def test_a_file_of_counts_on_the_page_changes_no_map_of_the_others(run: Run) -> None:
    samples: Any = samples_of(run, say=lambda line: None)
    part, subject = samples.part("test"), SceneSubject(run, samples, "standard")
    keys, classes = part.pixels[:6], part.classes[:6]

    def explained(files: tuple[str, ...]) -> Any:
        rows = tuple({"file": file} for file in files)
        return explain_variants(
            open_all(ReportRun(run, rows, samples, subject)), "spectral_occlusion", keys, classes,
            reduce=pixel_sums, per_band=True, seed=0,
        )  # fmt: skip

    alone, page = explained((PREPARED,)), explained((PREPARED, COUNTS))
    for maps in page.maps:
        np.testing.assert_allclose(maps, alone.maps[0], atol=1e-3 * np.abs(alone.maps[0]).max())
    assert "nothing there is where scaled bands are zero" in page.unit
    assert "nothing" not in alone.unit


def test_filters_name_the_inputs_that_a_file_takes(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sheet = Mock(wraps=filter_sheet)
    monkeypatch.setattr("hsi.plots.filters.filter_sheet", sheet)

    def named(path: Path) -> dict[str, Any]:
        assert look(path, "filters", "--output", tmp_path / "filters.png") == 0
        return dict(sheet.call_args.kwargs)

    assert named(run.path(PREPARED))["unit"] == "component"
    for file in (COUNTS, "quantized_model_counts_int8.tflite"):
        found = named(run.path(file))
        assert found["unit"] == "band"
        assert list(found["bands"]) == list(range(1, 13))
        assert not found["synthetic"]
    assert "SYNTHETIC" not in capsys.readouterr().out
    kept = [{"band": band, "wavelength_nm": 400.0 + 10 * band} for band in (2, 3, 7, 12)]
    record = run.record | {
        "data": run.record["data"] | {"synthetic": True, "wavelengths_nm": [*range(12)]},
        "preparation": {"band_selection": "MNBS", "components": 4, "chosen_bands": kept},
    }
    (tmp_path / "run.json").write_text(json.dumps(record))
    shutil.copy(run.path(PREPARED), tmp_path)
    found = named(tmp_path / PREPARED)
    assert found["unit"] == "band"
    assert list(found["bands"]) == [2, 3, 7, 12]
    assert list(found["wavelengths"]) == [420, 430, 470, 520]
    assert found["synthetic"]
    assert capsys.readouterr().out.startswith("SYNTHETIC scene")


def test_files_of_other_inputs_are_not_mixed(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = look(run.path(PREPARED), run.path(COUNTS), "gradient", "--output", tmp_path / "x.png")
    line = one_line_error(capsys, int(code or 0))
    assert "another input" in line
    assert "raw bands" in line
    assert "standardised" in line


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--band_selection NMF --components 3", ["NMF", "PCA"]),
        ("--scaling none", ["counts as they are"]),
        ("--quantize_folder somewhere", ["quantize_folder", "fold_preparation"]),
        ("--dataset digits", ["fold_preparation", "images"]),
    ],
)
def test_what_cannot_take_counts_is_refused(
    options: str, words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "run"
    code = main(["cao", "--fold_preparation", "--output", str(output), *options.split()])
    line = one_line_error(capsys, code)
    assert all(word in line for word in words), line
    assert not output.exists()


@pytest.mark.parametrize("name", ["teacher", "model_file"])
def test_files_of_counts_are_no_part_of_prepared_samples(run: Run, name: str) -> None:
    chosen = {name: str(run.path(COUNTS))}
    model = "own" if name == "model_file" else "cao"
    settings = Settings(model, dataset=str(run.folder.parent / "cube.npy"), **chosen)
    with pytest.raises(SettingsError, match="counts"):
        generate(settings, say=lambda line: None)


def test_bits_are_swept_on_the_samples_of_the_run(run: Run) -> None:
    """16 bits everywhere are as good as float; the table holds what was asked for."""
    for file in (PREPARED, COUNTS):
        found = study_bits(
            run.path(file), bits={"activation": (2, 16), "accumulator": (6,)},
            combined=("16/16/48",), most=60, say=lambda line: None,
        )  # fmt: skip
        counts, prepared, classes = raw_patches(run)
        inputs = counts if file == COUNTS else prepared
        chosen = np.random.default_rng(0).permutation(len(classes))[:60]
        scores = load_variant(run.path(file)).predict(inputs[chosen])
        assert found.accuracy == pytest.approx(
            100 * (scores.argmax(axis=1) == classes[chosen]).mean()
        )
        with found.table.open(newline="", encoding="utf-8") as text:
            rows = list(csv.DictReader(text))
        assert tuple(rows[0]) == COLUMNS
        widths = [tuple(int(row[name]) for name in COLUMNS[1:4]) for row in rows]
        assert widths == [(8, 8, 32), (2, 8, 32), (16, 8, 32), (8, 8, 6), (16, 16, 48)]
        assert float(rows[-1]["agreement"]) > 98
        assert float(rows[3]["overflowed"]) > 0 == float(rows[-1]["overflowed"])
        assert found.figure.is_file()


@pytest.mark.parametrize("place", ["figures", "figures/any"])
def test_bits_of_a_run_that_cannot_be_written_are_not_simulated(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No folder can be made, or no file in it; permissions would not hold for root."""
    Run(tmp_path, {}).save(settings=Settings("cao").of_the_result(), variants={})
    (tmp_path / PREPARED).touch()
    if place == "figures":
        (tmp_path / place).touch()
    else:
        refused = OSError(13, "Permission denied")
        monkeypatch.setattr(bits.tempfile, "TemporaryFile", Mock(side_effect=refused))
    monkeypatch.setattr(bits, "samples_of", Mock())
    monkeypatch.setattr(bits, "_swept", Mock(side_effect=AssertionError("simulated")))
    with pytest.raises(OutputError, match=r"figures: cannot be written: .*; .*copy it"):
        study_bits(tmp_path / PREPARED, say=lambda line: None)


@pytest.mark.parametrize(
    ("file", "options", "words"),
    [
        (FILES[1], "", ["tflite", "Keras model"]),
        ("missing.h5", "", ["missing.h5", "no such model"]),
        (PREPARED, "--weights 1,4", ["weight bits", "2 to 16", "1"]),
        (PREPARED, "--combined 8/8", ["ACTIVATION/WEIGHT/ACCUMULATOR"]),
        (PREPARED, "--samples 0", ["samples", "1 or more"]),
    ],
)
def test_wrong_bit_studies_are_refused(
    run: Run, file: str, options: str, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    line = one_line_error(capsys, verbs(["bits", str(run.path(file)), *options.split()]))
    assert all(word in line for word in words), line


def test_the_verb_prints_and_writes(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    lists = ["--activations", "4", "--weights", "4", "--accumulators", "12", "--samples", "20"]
    assert verbs(["bits", str(run.path(PREPARED)), *lists]) == 0
    printed = capsys.readouterr().out
    assert "accumulator" in printed
    assert "bits_trained_model.csv" in printed
    assert open_run(run.folder).path("figures/bits_trained_model.png").is_file()
