"""How fast files run: like with like, in a process of its own.

All files see the same batch, the same number of threads and the same moments: after a warm-up,
rounds go through the files in turn, so that a slow moment of the machine hits all of them. A round
repeats a call until it has lasted long enough for the clock. Reported is the median over rounds
with its 95 % order-statistics interval, in milliseconds per call (a call is one batch).

TensorFlow fixes its thread count when it starts: hence the process of its own,
`hsi.deploy.timing_process`. It is started by the first call of `time_files` and stays for the next,
which spares studies and evaluations TensorFlow's start in each of their runs.
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hsi.errors import ModelError

ROUNDS = 21
ENDING_SECONDS = 5.0
"""That a process has to end once it answers no more."""


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
    trust: bool = False,
) -> list[Latency]:
    """Time model files (`.h5`, `.keras`, `.tflite`, `.npz` of baselines) against each other.

    Args:
        rounds: by default `ROUNDS`.
        trust: run the code that a model file holds.

    Returns:
        One latency for every file and batch size: all files at the first size, in their order,
        then all at the next.

    Raises:
        ModelError: a file cannot be opened or run.
    """
    rounds = rounds or ROUNDS
    found = _process(threads).ask(
        files=[str(Path(file).resolve()) for file in files],
        batches=list(batches),
        rounds=rounds,
        trust=trust,
    )
    return [
        Latency(str(file), batch, threads, *median_interval(np.asarray(times)), rounds)
        for batch, by_file in zip(batches, found, strict=True)
        for file, times in zip(files, by_file, strict=True)
    ]


def median_interval(values: np.ndarray) -> tuple[float, float, float]:
    """Median of (n,) values and its 95 % interval by order statistics (binomial, conservative)."""
    from scipy.stats import binom

    ordered = np.sort(values)
    count = len(ordered)
    lower = max(0, int(binom.ppf(0.025, count, 0.5)) - 1)
    return float(np.median(ordered)), float(ordered[lower]), float(ordered[count - 1 - lower])


class TimingProcess:
    """A process that times files, and what it wrote to standard error."""

    def __init__(self, threads: int) -> None:
        limited = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS")
        limits = dict.fromkeys(limited, str(threads))
        self._one_at_a_time = threading.Lock()  # the workers of a cluster may be threads
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the process runs
        self._process = subprocess.Popen(
            [sys.executable, "-m", "hsi.deploy.timing_process", str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env={
                **os.environ,
                **limits,
                "TF_NUM_INTEROP_THREADS": "1",
                "TF_CPP_MIN_LOG_LEVEL": "3",
            },
        )

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def ask(self, **request: Any) -> list[list[list[float]]]:
        """Milliseconds by batch size, file and round, see `timing_process.timed`.

        Raises:
            ModelError: a file that cannot be timed, or the process ended.
        """
        assert self._process.stdin
        assert self._process.stdout
        with self._one_at_a_time:
            try:
                print(json.dumps(request), file=self._process.stdin, flush=True)
                line = self._process.stdout.readline()
            except OSError:  # it ended before it read the request
                line = ""
            except BaseException:  # interrupted: the next request would get the answer to this one
                self.kill()
                raise
        if not line:
            raise ModelError(f"Timing failed: {self._last_words()}")
        answer = json.loads(line)
        if "error" in answer:
            raise ModelError(f"Timing failed: {answer['error']}")
        found: list[list[list[float]]] = answer["milliseconds"]
        return found

    def kill(self) -> None:
        """End it at once: it holds nothing that could be lost."""
        self._process.kill()
        self._process.wait()

    def _last_words(self) -> str:
        """Why it ended: its last line, or its exit code."""
        try:
            self._process.wait(ENDING_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"it ended with code {self._process.returncode}"


_running: dict[tuple[int, int], TimingProcess] = {}
"""By the process that started it and its threads: a forked child must not share its parent's."""
_starting = threading.Lock()


def _process(threads: int) -> TimingProcess:
    key = (os.getpid(), threads)
    with _starting:
        if key not in _running or not _running[key].is_alive:
            _running[key] = TimingProcess(threads)
        return _running[key]


@atexit.register
def _close_all() -> None:
    for (owner, _), process in _running.items():
        if owner == os.getpid():
            process.kill()
