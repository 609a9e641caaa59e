"""How long files take: one thread, all files in turn, round after round."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

BATCHES = (1, 256)
ROUND_SECONDS = 0.02
"""A file is called again and again for about so long in each round."""

Rounds = dict[str, list[float]]
"""File -> milliseconds a call (a call is one batch), one value a round."""


def time_rounds(
    folder: Path, files: Sequence[str], *, batch: int, rounds: int, seed: int = 0
) -> Rounds:
    """Time `.tflite` files against each other, on one thread; in every round in another order.

    Inputs are in place and outputs stay where they are: what is timed is `invoke`.
    """
    from hsi.deploy.tflite import TFLiteModel

    rng = np.random.default_rng(seed)
    models = [TFLiteModel(folder / file, threads=1) for file in files]
    for model in models:
        shape = (batch, *model.input_shape)
        model.set_input(rng.standard_normal(shape).astype(np.float32))
    repeats = [_repeats(model.invoke) for model in models]
    taken: Rounds = {file: [] for file in files}
    for _ in range(rounds):
        for place in rng.permutation(len(files)):
            invoke, repeat = models[place].invoke, repeats[place]
            invoke()  # the round before may have thrown its weights out of the cache
            start = time.perf_counter()
            for _ in range(repeat):
                invoke()
            taken[files[place]].append(1000 * (time.perf_counter() - start) / repeat)
    return taken


def medians(taken: Rounds) -> dict[str, float]:
    """File -> median over rounds, in ms a call."""
    return {file: statistics.median(values) for file, values in taken.items()}


def _repeats(invoke: object) -> int:
    """Warm up, then how many calls fill a round."""
    assert callable(invoke)
    for _ in range(3):
        invoke()
    start = time.perf_counter()
    invoke()
    return max(1, round(ROUND_SECONDS / max(time.perf_counter() - start, 1e-6)))
