"""Timing: what comes back, never how long it took."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import tf_keras as keras
from scipy.stats import binom
from tf_keras import layers

from hsi.compress.quantize import quantize
from hsi.deploy.latency import median_interval, time_files
from hsi.errors import ModelError
from hsi.models.files import save_model


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A small model as .h5 and as .tflite."""
    folder = tmp_path_factory.mktemp("files")
    model = keras.Sequential(
        [keras.Input((3, 3, 2)), layers.Flatten(), layers.Dense(3, activation="softmax")]
    )
    save_model(model, folder / "model.h5")
    (folder / "model.tflite").write_bytes(quantize(model, "float32", calibration=np.zeros((0,))))
    return folder


# The interval


@pytest.mark.parametrize("count", [1, 2, 3, 5, 10, 21, 100])
def test_the_interval_holds_the_median_and_values_that_were_measured(count):
    values = np.random.default_rng(count).exponential(size=count)
    median, low, high = median_interval(values)
    assert median == np.median(values)
    assert low <= median <= high
    assert {low, high} <= set(values)


@pytest.mark.parametrize("count", [6, 10, 21, 50, 101])
def test_the_interval_covers_the_true_median_19_times_in_20_and_no_rank_less(count):
    """By the definition: P(rank <= binomial < n - rank) with the ranks that were chosen."""
    _, low, high = median_interval(np.arange(count))
    assert low + high == count - 1
    below = int(low) + 1  # as many values lie at or below the lower end
    covered = 1 - 2 * binom.cdf(below - 1, count, 0.5)
    narrower = 1 - 2 * binom.cdf(below, count, 0.5)
    assert covered >= 0.95
    assert narrower < 0.95


def test_one_slow_round_moves_nothing():
    values = np.ones(21)
    values[7] = 1000
    assert median_interval(values) == (1, 1, 1)


# Files


@pytest.mark.slow
def test_every_file_is_timed_at_every_batch_size(files):
    paths = [files / "model.tflite", files / "model.h5"]
    found = time_files(paths, batches=(1, 5), threads=1, rounds=3)
    assert [(item.file, item.batch) for item in found] == [
        (str(path), batch) for batch in (1, 5) for path in paths
    ]
    for item in found:
        assert (item.threads, item.rounds) == (1, 3)
        assert 0 < item.low <= item.milliseconds <= item.high


def test_names_come_back_as_they_were_given(files, monkeypatch):
    monkeypatch.chdir(files)
    given = ["model.tflite", str(files / "model.tflite"), f"../{files.name}/model.tflite"]
    found = time_files(given, batches=(2,), rounds=2)
    assert [item.file for item in found] == given


def test_timing_a_tflite_file_loads_no_tensorflow(files):
    code = (
        "import json, sys, runpy, io;"
        f"sys.stdin = io.StringIO(json.dumps(dict(files=[{str(files / 'model.tflite')!r}],"
        "batches=[1], threads=1, rounds=1)));"
        "runpy.run_module('hsi.deploy.latency', run_name='__main__');"
        "assert 'tensorflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


@pytest.mark.parametrize(
    "name",
    [
        "absent.tflite",
        "cut.tflite",
        pytest.param("absent.h5", marks=pytest.mark.slow),
        pytest.param("cut.h5", marks=pytest.mark.slow),
        pytest.param("text.h5", marks=pytest.mark.slow),
    ],
)
def test_a_file_that_cannot_be_timed_is_a_model_error_that_names_it(files, name):
    path = files / name
    if name.startswith("cut"):
        path.write_bytes((files / f"model{path.suffix}").read_bytes()[:400])
    elif name.startswith("text"):
        path.write_text("no model")
    with pytest.raises(ModelError) as caught:
        time_files([files / "model.tflite", path], batches=(1,), rounds=1)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_process_that_dies_is_a_model_error(files, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(ModelError, match="Timing failed"):
        time_files([files / "model.tflite"], rounds=1)
