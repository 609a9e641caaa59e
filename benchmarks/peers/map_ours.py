"""Our maps: in one pass and in batches of patches; and the machine's own rate of multiplication.

It answers the requests of `benchmarks/maps.py`, one JSON object a line, and first writes the
prepared scene and the network's weights for the others.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from map_networks import CLASSES, NETWORKS

GEMM = (21025, 1800, 300)
"""Pixels, taps times channels, filters: the first convolution of `cao` over the scene."""

BATCH = 1024


def prepared_scene() -> np.ndarray:
    """The embedded scene (145, 145, 200), standardised on all of its pixels."""
    from hsi import bands
    from hsi.catalog import open_scene

    scene = open_scene("synthetic", say=lambda line: None)
    everywhere = np.ones(scene.labels.shape, bool)
    return bands.apply(bands.fit(scene.cube, everywhere), scene.cube)


def build(name: str) -> Any:
    """The network with weights drawn so that many classes occur."""
    from hsi.models import NETWORKS as OURS

    which, side = NETWORKS[name]
    model = OURS[which].build((side, side, 200), CLASSES, seed=0)
    rng = np.random.default_rng(0)
    for weight in model.weights:
        deviation = 0.1 if len(weight.shape) == 1 else np.sqrt(2 / np.prod(weight.shape[:-1]))
        weight.assign(rng.normal(0, deviation, weight.shape))
    return model


def multiplied() -> Callable[[], None]:
    """The product of two matrices by TensorFlow and by NumPy, whichever is faster here."""
    import tensorflow as tf

    rows, inner, cols = GEMM
    rng = np.random.default_rng(0)
    left, right = (rng.standard_normal(s, np.float32) for s in ((rows, inner), (inner, cols)))
    tensors = tf.constant(left), tf.constant(right)
    ways = (lambda: np.matmul(left, right), lambda: tf.matmul(*tensors).numpy())

    def taken(way: Callable[[], Any]) -> float:
        way()
        start = time.perf_counter()
        for _ in range(3):
            way()
        return time.perf_counter() - start

    return min(ways, key=taken)


def main() -> None:
    """Answer the requests on standard input until it ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    from hsi.patches import Patches
    from hsi.predict import Way, class_map, compiled, way_of

    folder, name = Path(sys.argv[1]), sys.argv[2]
    side = NETWORKS[name][1]
    if not (folder / "cube.npy").exists():
        np.save(folder / "cube.npy", prepared_scene())
    cube = np.load(folder / "cube.npy", allow_pickle=False)
    model = build(name)
    np.savez(folder / f"{name}.npz", *[weight.numpy() for weight in model.weights])
    forward, multiply = compiled(model), multiplied()
    ways = {"pass": way_of(forward, side), "patches": Way(None, "asked for")}
    slid = ways["pass"].slid
    facts = {"macs": slid.macs if slid else 0, "cut": slid.cut if slid else "no pass"}
    print(json.dumps(facts), file=answers, flush=True)
    for line in sys.stdin:
        what = json.loads(line)["what"]
        start = time.perf_counter()
        if what == "gemm":
            multiply()
        else:
            found = class_map(forward, Patches(cube, side), way=ways[what], batch_size=BATCH)
        seconds = time.perf_counter() - start
        if what != "gemm":
            np.save(folder / f"{name}_{what}.npy", found)
        print(json.dumps({"seconds": seconds}), file=answers, flush=True)


if __name__ == "__main__":
    main()
