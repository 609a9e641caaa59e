"""How fast the main job's parts are: patches, training, one APoZ pass; and its peak memory.

    python benchmarks/main_job.py [--rounds 7]

Everything is measured in one run on the embedded scene, in turn, several rounds each; medians and
every round go to `benchmarks/results/main_job.json`. Ratios are ours against the other way named,
above 1 where ours is better.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

RESULTS = Path(__file__).parent / "results" / "main_job.json"
BATCH = 256
SAMPLES = 4096
PATCH = 5

MEMORY = """
import resource, sys
from hsi.settings import Settings
from hsi.samples import open_samples
from hsi.models import network
from hsi.train import train
settings = Settings("cao", dataset="synthetic", split="random")
samples = open_samples(settings, patch_size=9, say=lambda line: None)
model = network("cao").build(samples.patches.shape, len(samples.scene.classes), seed=0)
train(model, samples.patches, samples.part("train"), samples.part("validation"), epochs=2)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def seconds(job: Callable[[], Any]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    job()
    return time.perf_counter() - start


def cut_one_by_one(padded: np.ndarray, pixels: np.ndarray, cols: int, size: int) -> np.ndarray:
    """The peer: every patch sliced on its own from the padded cube, then stacked."""
    return np.stack(
        [padded[p // cols : p // cols + size, p % cols : p % cols + size] for p in pixels]
    )


def measure(rounds: int) -> dict[str, Any]:
    """Every figure of the table, as lists of rounds with their medians."""
    from hsi.bands import apply, fit
    from hsi.compress.criteria import criterion
    from hsi.compress.graph import channel_groups
    from hsi.models import network
    from hsi.patches import Patches
    from hsi.predict import batches, compiled, scores
    from hsi.quiet import start_tensorflow
    from hsi.samples import Part
    from hsi.split import make_split
    from hsi.synthetic import synthetic_scene

    start_tensorflow()
    from hsi.train import train

    scene = synthetic_scene(seed=0)
    split = make_split(scene, method="random", patch_size=PATCH)
    cube = apply(fit(scene.cube, split.train), scene.cube)
    patches = Patches(cube, PATCH)
    half = PATCH // 2
    padded = np.pad(cube, ((half, half), (half, half), (0, 0)), mode="symmetric")
    pixels = np.random.default_rng(0).choice(cube.shape[0] * cube.shape[1], SAMPLES, replace=False)
    labelled = np.flatnonzero(scene.labels)[:SAMPLES]
    part = Part(labelled, scene.class_indices().ravel()[labelled])
    nothing = Part(labelled[:0], part.classes[:0])
    model = network("cao").build(patches.shape, len(scene.classes), seed=0)
    groups = [g for g in channel_groups(model) if g.convolutional]
    forward = compiled(model)
    apoz = criterion("apoz")

    def gather() -> None:
        for batch in batches(pixels, BATCH):
            patches.gather(batch)

    def cut() -> None:
        for batch in batches(pixels, BATCH):
            cut_one_by_one(padded, batch, cube.shape[1], PATCH)

    def evaluate() -> None:
        scores(forward, patches, pixels, batch_size=BATCH)

    def rank() -> None:
        apoz(model, (patches.gather(batch) for batch in batches(pixels, BATCH)), groups)

    epoch_ends: list[float] = []

    def train_two_epochs() -> None:
        train(
            model,
            patches,
            part,
            nothing,
            epochs=2,
            batch_size=128,
            progress=lambda epoch, logs: epoch_ends.append(time.perf_counter()),
        )

    jobs: dict[str, Callable[[], None]] = {
        "gather": gather,
        "cut_one_by_one": cut,
        "evaluate": evaluate,
        "apoz": rank,
    }
    for job in jobs.values():
        job()
    taken: dict[str, list[float]] = {name: [] for name in jobs}
    for _ in range(rounds):
        for name, job in jobs.items():
            taken[name].append(seconds(job))
    taken["train_one_epoch"] = []
    for _ in range(rounds):  # the first epoch holds the compilation, the second is the measure
        train_two_epochs()
        taken["train_one_epoch"].append(epoch_ends[-1] - epoch_ends[-2])
    return {name: {"rounds": values, "median": statistics.median(values)} for name, values in
            taken.items()}  # fmt: skip


def peak_memory(rounds: int) -> dict[str, Any]:
    """Peak memory, in MB, of a whole process that trains on 145 x 145 x 200 with patch 9."""
    values = []
    for _ in range(rounds):
        done = subprocess.run(
            [sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True
        )
        values.append(float(done.stdout.strip().splitlines()[-1]))
    return {"rounds": values, "median": statistics.median(values)}


def main() -> None:
    """Measure, print the table, write the JSON."""
    from hsi.runs import machine, versions

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    taken = measure(rounds)
    memory = peak_memory(3)
    median = {name: value["median"] for name, value in taken.items()}
    figures = {
        "patches_per_second": SAMPLES / median["gather"],
        "training_samples_per_second": SAMPLES / median["train_one_epoch"],
        "evaluated_samples_per_second": SAMPLES / median["evaluate"],
        "apoz_over_evaluation": median["apoz"] / median["evaluate"],
        "peak_memory_mb": memory["median"],
        "gather_ratio": median["cut_one_by_one"] / median["gather"],
    }
    result = {
        "machine": machine(),
        "versions": versions(),
        "batch": BATCH,
        "samples": SAMPLES,
        "patch": [PATCH, PATCH, 200],
        "figures": figures,
        "seconds": taken,
        "memory_mb": memory,
        "peak_memory_of_this_process_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    for name, value in figures.items():
        print(f"{name:32} {value:12.2f}")
    print(f"Written: {RESULTS}")


if __name__ == "__main__":
    main()
