"""How fast files run: like with like, in a process of its own.

All files see the same batch, the same number of threads and the same moments: after a warm-up,
rounds go through the files in turn, so that a slow moment of the machine hits all of them. A round
repeats a call until it has lasted long enough for the clock. Reported is the median over rounds
with its 95 % order-statistics interval, in milliseconds per call (a call is one batch).

TensorFlow fixes its thread count when it starts: hence the process of its own, which is started
by `time_files`; `python -m hsi.deploy.latency` is its other end.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from hsi.baselines import ENDING
from hsi.errors import ModelError

ROUNDS = 21
ROUND_SECONDS = 0.02


@dataclass(frozen=True)
class Latency:
    """The latency of one file at one batch size.

    Attributes:
        file: as it was given.
        batch, threads: samples a call, threads of the run time.
        milliseconds: median over rounds, per call.
        low, high: 95 % interval of that median, from order statistics.
        rounds: how many rounds stand behind it.
    """

    file: str
    batch: int
    threads: int
    milliseconds: float
    low: float
    high: float
    rounds: int


def time_files(
    files: Sequence[str | Path],
    *,
    batches: Sequence[int] = (1, 256),
    threads: int = 1,
    rounds: int | None = None,
) -> list[Latency]:
    """Time model files (`.h5`, `.keras`, `.tflite`, `.npz` of baselines) against each other.

    Args:
        rounds: by default `ROUNDS`.

    Returns:
        One latency for every file and batch size: all files at the first size, in their order,
        then all at the next.

    Raises:
        ModelError: a file cannot be opened or run.
    """
    request = {
        "files": [str(Path(f).resolve()) for f in files],
        "batches": list(batches),
        "threads": threads,
        "rounds": rounds or ROUNDS,
    }
    limited = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS")
    limits = dict.fromkeys(limited, str(threads))
    done = subprocess.run(
        [sys.executable, "-m", "hsi.deploy.latency"],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        env={**os.environ, **limits, "TF_NUM_INTEROP_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"},
        check=False,
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise ModelError(f"Timing failed: {last}")
    answer = json.loads(done.stdout.splitlines()[-1])
    names = [str(f) for f in files] * len(batches)
    return [Latency(**{**item, "file": name}) for item, name in zip(answer, names, strict=True)]


def median_interval(values: np.ndarray) -> tuple[float, float, float]:
    """Median of (n,) values and its 95 % interval by order statistics (binomial, conservative)."""
    from scipy.stats import binom

    ordered = np.sort(values)
    count = len(ordered)
    lower = max(0, int(binom.ppf(0.025, count, 0.5)) - 1)
    return float(np.median(ordered)), float(ordered[lower]), float(ordered[count - 1 - lower])


def _measure(files: list[str], batch: int, threads: int, rounds: int) -> list[Latency]:
    calls = [_call(file, batch, threads) for file in files]
    repeats = [_repeats(call) for call in calls]
    times = np.empty((rounds, len(calls)))
    for row in times:
        for index, (call, repeat) in enumerate(zip(calls, repeats, strict=True)):
            start = time.perf_counter()
            for _ in range(repeat):
                call()
            row[index] = (time.perf_counter() - start) / repeat * 1000
    return [
        Latency(file, batch, threads, *median_interval(column), rounds)
        for file, column in zip(files, times.T, strict=True)
    ]


def _repeats(call: Callable[[], object]) -> int:
    """Warm up, then how many calls fill a round."""
    for _ in range(3):
        call()
    start = time.perf_counter()
    call()
    return max(1, round(ROUND_SECONDS / max(time.perf_counter() - start, 1e-6)))


def _call(file: str, batch: int, threads: int) -> Callable[[], object]:
    """A call that runs one batch: inputs are in place, outputs stay where they are."""
    rng = np.random.default_rng(0)
    if file.endswith(".tflite"):
        from hsi.deploy.tflite import TFLiteModel

        lite = TFLiteModel(file, threads=threads)
        lite.set_input(rng.standard_normal((batch, *lite.input_shape)).astype(np.float32))
        return lite.invoke
    if file.endswith(ENDING):
        from hsi.baselines import load

        fitted = load(Path(file))
        samples = rng.standard_normal((batch, *fitted.shape)).astype(np.float32)
        return lambda: fitted(samples)
    import tensorflow as tf

    from hsi.models.files import load_model

    model = load_model(file)
    inputs = tf.constant(rng.standard_normal((batch, *model.input_shape[1:])), tf.float32)
    function = tf.function(lambda x: model(x, training=False)).get_concrete_function(inputs)
    return lambda: function(inputs)


def _main() -> None:
    request = json.loads(sys.stdin.read())
    if any(not file.endswith((".tflite", ENDING)) for file in request["files"]):
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(request["threads"])
        tf.config.threading.set_inter_op_parallelism_threads(1)
    answer = [
        asdict(item)
        for batch in request["batches"]
        for item in _measure(request["files"], batch, request["threads"], request["rounds"])
    ]
    print(json.dumps(answer))


if __name__ == "__main__":
    try:
        _main()
    except ModelError as error:
        sys.exit(str(error))
