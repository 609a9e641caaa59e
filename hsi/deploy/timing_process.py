"""The process in which files are timed: its numbers of threads are fixed when it starts.

`python -m hsi.deploy.timing_process THREADS` reads a request a line and answers each with a line
of JSON, until its input ends. TensorFlow, whose start takes seconds, is loaded by the first request
that needs it and is there for the next ones; what a request opened is forgotten before the next.
`hsi.deploy.latency` is the other end.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from hsi.baselines import ENDING
from hsi.errors import ModelError
from hsi.quiet import forget_models

ROUND_SECONDS = 0.02


def timed(
    files: Sequence[str], batches: Sequence[int], threads: int, rounds: int, trust: bool = False
) -> list[list[list[float]]]:
    """Milliseconds per call: a list a batch size, in it a list a file, in it a number a round.

    Raises:
        ModelError: a file cannot be opened or run.
    """
    return [
        _in_turn([_call(file, batch, threads, trust=trust) for file in files], rounds).T.tolist()
        for batch in batches
    ]


def _in_turn(calls: Sequence[Callable[[], object]], rounds: int) -> np.ndarray:
    """(rounds, calls) milliseconds; a round goes through the calls in turn."""
    repeats = [_repeats(call) for call in calls]
    times = np.empty((rounds, len(calls)))
    for row in times:
        for index, (call, repeat) in enumerate(zip(calls, repeats, strict=True)):
            start = time.perf_counter()
            for _ in range(repeat):
                call()
            row[index] = (time.perf_counter() - start) / repeat * 1000
    return times


def _repeats(call: Callable[[], object]) -> int:
    """Warm up, then how many calls fill a round."""
    for _ in range(3):
        call()
    start = time.perf_counter()
    call()
    return max(1, round(ROUND_SECONDS / max(time.perf_counter() - start, 1e-6)))


def _call(file: str, batch: int, threads: int, *, trust: bool) -> Callable[[], object]:
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
    _start_tensorflow(threads)
    import tensorflow as tf

    from hsi.models.files import load_model

    model = load_model(file, trust=trust)
    inputs = tf.constant(rng.standard_normal((batch, *model.input_shape[1:])), tf.float32)
    function = tf.function(lambda x: model(x, training=False)).get_concrete_function(inputs)
    return lambda: function(inputs)


@cache
def _start_tensorflow(threads: int) -> None:
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)


def _answer(request: dict[str, Any], threads: int) -> dict[str, Any]:
    try:
        return {"milliseconds": timed(**request, threads=threads)}
    except ModelError as error:
        return {"error": str(error)}
    finally:
        forget_models()


def main(threads: int) -> None:
    """Answer until the input ends; whatever libraries print goes to standard error."""
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as answers:
        os.dup2(2, 1)
        for line in sys.stdin:
            print(json.dumps(_answer(json.loads(line), threads)), file=answers, flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
