"""Training steps of networks whose 3-D kernels span many bands: by transforms and by TensorFlow.

    python benchmarks/long_kernels.py [--network chen] [--bands 204] [--batch_size 16] [--rounds 9]

The same network twice, from the same seed, on the same random patches; steps of the two in turn.
Medians of the seconds of a step and their ratio go to `benchmarks/results/long_kernels.json`. That
both learn the same is tested in `tests/test_long_kernels.py`.
"""

from __future__ import annotations

import argparse
import statistics
import time
from contextlib import nullcontext
from pathlib import Path

import numpy as np

RESULTS = Path(__file__).parent / "results"
CLASSES = 6


def main() -> None:
    """Build, step in turn, write."""
    from hsi.files import write_json
    from hsi.models import network
    from hsi.quiet import start_tensorflow
    from hsi.runs import machine, versions

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", default="chen")
    parser.add_argument("--bands", type=int, default=204)
    parser.add_argument("--batch_size", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=9)
    given = parser.parse_args()
    start_tensorflow()
    import tensorflow as tf
    import tf_keras as keras

    from hsi.models.long_kernels import by_fourier, pays

    tf.config.experimental.enable_op_determinism()
    chosen = network(given.network)
    side = chosen.patch_size
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((given.batch_size, side, side, given.bands)).astype(np.float32)
    classes = rng.integers(0, CLASSES, given.batch_size)
    models, seconds = {}, {}
    for way in ("transforms", "tensorflow"):
        keras.utils.set_random_seed(0)
        model = models[way] = chosen.build(inputs.shape[1:], CLASSES, seed=0)
        model.compile(
            chosen.optimizer.make(chosen.learning_rate), "sparse_categorical_crossentropy"
        )
        with by_fourier(model) if way == "transforms" else nullcontext():
            model.train_on_batch(inputs, classes)  # traced
        seconds[way] = []
    for _ in range(given.rounds):
        for way, model in models.items():
            start = time.perf_counter()
            model.train_on_batch(inputs, classes)
            seconds[way].append(time.perf_counter() - start)
    medians = {way: statistics.median(times) for way, times in seconds.items()}
    found = {
        "machine": machine(),
        "versions": versions(),
        "network": given.network,
        "input": list(inputs.shape),
        "layers": [x.name for x in models["transforms"].layers if pays(x)],
        "step_seconds": medians,
        "fastest_and_slowest": {way: [min(times), max(times)] for way, times in seconds.items()},
        "ratio": medians["tensorflow"] / medians["transforms"],
    }
    RESULTS.mkdir(exist_ok=True)
    write_json(RESULTS / "long_kernels.json", found)
    print(found)


if __name__ == "__main__":
    main()
