"""Timing: what comes back, never how long it took."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tf_keras as keras
from scipy.stats import binom
from tf_keras import layers

from hsi.compare.cost import cost_of
from hsi.compress.quantize import quantize
from hsi.deploy import latency
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


@pytest.mark.slow
def test_a_file_that_holds_code_is_opened_where_it_is_trusted(tmp_path):
    path = tmp_path / "doubled.h5"
    inputs = keras.Input((3,))
    keras.Model(inputs, layers.Lambda(lambda x: x * 2)(inputs)).save(path)
    with pytest.raises(ModelError, match="is a Lambda"):
        time_files([path], batches=(1,), rounds=1)
    assert time_files([path], batches=(1,), rounds=1, trust=True)
    assert cost_of(path, trust=True).parameters == 0


def test_timing_a_tflite_file_loads_no_tensorflow(files):
    code = (
        "import sys; from hsi.deploy.timing_process import timed;"
        f"timed([{str(files / 'model.tflite')!r}], [1], 1, 1);"
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


# The process


@pytest.fixture
def fresh(monkeypatch):
    """No timing process is running; those that a test starts are ended after it."""
    started: dict = {}
    monkeypatch.setattr(latency, "_running", started)
    yield started
    for process in started.values():
        process.kill()


def number(process):
    return process._process.pid


def test_the_process_stays_for_the_next_files_and_there_is_one_for_each_number_of_threads(
    files, fresh
):
    for _ in range(2):
        time_files([files / "model.tflite"], batches=(1,), rounds=1)
        (process,) = fresh.values()
        assert process.is_alive
    first = number(process)
    time_files([files / "model.tflite"], batches=(1,), rounds=1, threads=2)
    assert len({number(one) for one in fresh.values()}) == 2
    assert first in {number(one) for one in fresh.values()}


def test_a_file_that_cannot_be_timed_leaves_the_process_as_it_was(files, fresh):
    with pytest.raises(ModelError):
        time_files([files / "absent.tflite"], batches=(1,), rounds=1)
    (before,) = fresh.values()
    assert len(time_files([files / "model.tflite"], batches=(1,), rounds=2)) == 1
    (after,) = fresh.values()
    assert number(before) == number(after)


def test_a_file_written_anew_is_timed_anew(files, fresh, tmp_path):
    """The process keeps nothing of a file: what is damaged meanwhile is refused."""
    path = tmp_path / "model.tflite"
    path.write_bytes((files / "model.tflite").read_bytes())
    assert time_files([path], batches=(1,), rounds=1)
    path.write_bytes(b"damaged")
    with pytest.raises(ModelError, match=r"model\.tflite"):
        time_files([path], batches=(1,), rounds=1)


def test_a_process_that_was_killed_is_started_again(files, fresh):
    time_files([files / "model.tflite"], batches=(1,), rounds=1)
    (process,) = fresh.values()
    process.kill()
    assert time_files([files / "model.tflite"], batches=(1,), rounds=1)
    (other,) = fresh.values()
    assert number(other) != number(process)


def test_a_process_that_ends_while_it_is_asked_is_a_model_error(files, fresh):
    """Its last line is the reason: here what it was asked is no request."""
    time_files([files / "model.tflite"], batches=(1,), rounds=1)
    (process,) = fresh.values()
    with pytest.raises(ModelError, match="Timing failed: TypeError"):
        process.ask(no_such="argument")
    assert not process.is_alive


def test_an_interrupted_question_ends_the_process(files, fresh, monkeypatch):
    """Else the next question would be answered with what this one asked for."""
    time_files([files / "model.tflite"], batches=(1,), rounds=1)
    (process,) = fresh.values()

    class Interrupted:
        def readline(self):
            raise KeyboardInterrupt

    monkeypatch.setattr(process._process, "stdout", Interrupted())
    with pytest.raises(KeyboardInterrupt):
        time_files([files / "model.tflite"], batches=(1,), rounds=1)
    assert not process.is_alive


def test_threads_that_ask_at_once_get_their_own_answers(files, fresh):
    with ThreadPoolExecutor(4) as pool:
        found = list(
            pool.map(
                lambda count: time_files(
                    [files / "model.tflite"] * count, batches=(1,), rounds=count
                ),
                range(1, 9),
            )
        )
    assert [[item.rounds for item in one] for one in found] == [[n] * n for n in range(1, 9)]
    assert len(fresh) == 1


def test_the_process_ends_with_the_one_that_started_it(files):
    code = (
        "from hsi.deploy import latency;"
        f"latency.time_files([{str(files / 'model.tflite')!r}], batches=(1,), rounds=1);"
        "(process,) = latency._running.values(); print(process._process.pid)"
    )
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    with pytest.raises(ProcessLookupError):
        os.kill(int(said.stdout), 0)


def test_a_process_that_cannot_start_is_a_model_error(files, fresh, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(ModelError, match="Timing failed: it ended with code 1"):
        time_files([files / "model.tflite"], rounds=1)
