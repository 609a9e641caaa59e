"""How fast linear CKA of all layers is, beside torch_cka on the same activations.

    python benchmarks/cka.py [--rounds 7] [--quick]

Two networks of the same layers and other weights, every layer of one against every layer of the
other: `cao` on patches of the embedded scene, VGG16 on random images of 32 x 32. First on stored
activations, then with the passes through the networks, whose weights are the same in Keras and
PyTorch. Both take turns, round by round; torch_cka works in a process and an environment of its
own. A table is printed and everything written to `benchmarks/results/cka.json`. Ratios are ours
against the other, above 1 where ours is better; differences are from a literal HSIC_1 in double
precision.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "peers"))

from common import keras_model, weights_of  # noqa: E402
from environments import NotInstalled, python_of  # noqa: E402
from inputs import cao_inputs  # noqa: E402
from torch_cka_networks import CKA_NETWORKS  # noqa: E402
from workers import Failed, Worker  # noqa: E402

RESULTS = HERE / "results" / "cka.json"
SIZES = {"cao": (2048, 256), "vgg16": (256, 64)}
"""Samples and samples of a batch."""

PEER = "torch_cka"
SEEDS = (0, 1)
CLOSE = 1e-4


def hsic(x: np.ndarray, y: np.ndarray) -> float:
    """HSIC_1 of Song et al. (2012), as it is written there, from Gram matrices."""
    n, ones = len(x), np.ones(len(x))
    inner = np.trace(x @ y) + (ones @ x @ ones) * (ones @ y @ ones) / ((n - 1) * (n - 2))
    return float(inner - 2 / (n - 2) * (ones @ x @ y @ ones)) / (n * (n - 3))


def literal(stored: list[list[np.ndarray]], batch: int) -> np.ndarray:
    """CKA over minibatches, pair by pair, in double precision."""
    products = np.zeros((3, len(stored[0]), len(stored[1])))
    for start in range(0, len(stored[0][0]), batch):
        grams = []
        for layers in stored:
            flat = [v[start : start + batch].reshape(-1, v[0].size).astype(float) for v in layers]
            grams.append([v @ v.T * (1 - np.eye(len(v))) for v in flat])
        for i, k in enumerate(grams[0]):
            for j, m in enumerate(grams[1]):
                products[:, i, j] += hsic(k, m), hsic(k, k), hsic(m, m)
    return products[0] / np.sqrt(products[1] * products[2])


def timed(job: Callable[[], Any], threads: int) -> tuple[dict[str, float], Any]:
    """Seconds of one call at so many threads (0: as it comes), by the two clocks; its result."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(threads or None):
        start, cpu = time.perf_counter(), time.process_time()
        found = job()
        took = {"wall": time.perf_counter() - start, "cpu": time.process_time() - cpu}
    return took, found


def inputs_of(name: str, samples: int) -> np.ndarray:
    if name == "cao":
        return cao_inputs(samples)
    shape = CKA_NETWORKS[name].shape
    return np.random.default_rng(0).normal(0, 50, (samples, *shape)).astype(np.float32)


def prepared(folder: Path, name: str, samples: int) -> tuple[np.ndarray, list[Any], list[Any]]:
    """Inputs, the two networks and their activations, the last stored as files."""
    import tf_keras as keras

    from hsi.explain.activation_map import activations

    network = CKA_NETWORKS[name]
    inputs = inputs_of(name, samples)
    np.save(folder / f"{name}_inputs.npy", inputs)
    models, stored = [], []
    for seed in SEEDS:
        model = keras_model(keras, network)
        model.set_weights([array for pair in weights_of(network, seed) for array in pair])
        layers = activations(model, inputs)
        for i, layer in enumerate(layers):
            np.save(folder / f"{name}_{seed}_{i}.npy", layer.array)
        models.append(model)
        stored.append([
            np.load(folder / f"{name}_{seed}_{i}.npy", mmap_mode="r", allow_pickle=False)
            for i in range(len(layers))
        ])  # fmt: skip
    return inputs, models, stored


def ours(stored: list[list[np.ndarray]], batch: int) -> np.ndarray:
    from hsi.compare.representations import Alignment

    found = Alignment()
    for start in range(0, len(stored[0][0]), batch):
        here = slice(start, start + batch)
        found.add(*([layer[here] for layer in layers] for layers in stored))
    return found.between()


def ours_with_networks(models: list[Any], inputs: np.ndarray, batch: int) -> np.ndarray:
    from hsi.compare.representations import compare_representations

    batches = (inputs[i : i + batch] for i in range(0, len(inputs), batch))
    return compare_representations(*models, batches).cka


def measure(name: str, python: Path, rounds: int, samples: int, batch: int) -> dict[str, Any]:
    """The rounds of one network: on stored activations, and with the networks."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        inputs, models, stored = prepared(folder, name, samples)
        wanted = literal(stored, batch)
        worker = Worker("torch_cka_worker", python, folder, name)
        layers = len(stored[0])

        def peer(*, of_stored: bool, threads: int = 0, double: bool = False) -> Any:
            answer = worker.ask(
                stored=of_stored, layers=layers, batch=batch, threads=threads, double=double
            )
            return answer, np.load(folder / f"{PEER}.npy", allow_pickle=False)

        found: dict[str, Any] = {
            "samples": samples, "batch": batch, "layers": layers,
            "peer_versions": worker.facts["versions"],
        }  # fmt: skip
        try:
            its = peer(of_stored=True, double=True)[1]
            found["golden"] = {
                "torch_cka_in_double_off": float(np.abs(its - wanted).max()),
                "ours_from_torch_cka_in_double": float(np.abs(ours(stored, batch) - its).max()),
            }
            jobs = {
                "stored": lambda: ours(stored, batch),
                "with_networks": lambda: ours_with_networks(models, inputs, batch),
            }
            for what, job in jobs.items():
                found[what] = turns(job, partial(peer, of_stored=what == "stored"), wanted, rounds)
        finally:
            worker.end()
    return found


def turns(
    job: Callable[[], np.ndarray], peer: Callable[..., Any], wanted: np.ndarray, rounds: int
) -> dict[str, Any]:
    """Both in turn, each with the number of threads at which it was faster before."""
    work: dict[str, Callable[[int], Any]] = {
        "ours": partial(timed, job),
        PEER: lambda threads: peer(threads=threads),
    }
    threads = {}
    for who, run in work.items():
        run(0)  # what is compiled and read from disk, compiles and is read
        threads[who] = min((0, 1), key=lambda count: run(count)[0]["wall"])
    times: dict[str, list[dict[str, float]]] = {who: [] for who in work}
    differences = {}
    for _ in range(rounds):
        for who, run in work.items():
            took, values = run(threads[who])
            times[who].append(took)
            differences[who] = float(np.abs(values - wanted).max())
    medians = {
        clock: {who: statistics.median(row[clock] for row in rows) for who, rows in times.items()}
        for clock in ("wall", "cpu")
    }
    return {
        "rounds": times,
        "threads": {who: count or "default" for who, count in threads.items()},
        "medians": medians,
        "speed_ratio": medians["wall"][PEER] / medians["wall"]["ours"],
        "cpu_ratio": medians["cpu"][PEER] / medians["cpu"]["ours"],
        "difference": differences,
        "correct": differences["ours"] < CLOSE,
    }


def line_of(name: str, what: str, row: dict[str, Any]) -> str:
    """One line of the table."""
    medians, apart = row["medians"]["wall"], row["difference"]
    return (
        f"{name:8}{what:15}{1000 * medians['ours']:10.0f}{1000 * medians[PEER]:14.0f}"
        f"{row['speed_ratio']:8.1f}{row['cpu_ratio']:8.1f}{apart['ours']:12.1e}{apart[PEER]:12.1e}"
        f"  {'yes' if row['correct'] else 'NO'}"
    )


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--quick", action="store_true", help="little work; nothing is written")
    parser.add_argument("--networks", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--environments", type=Path, default=HERE / ".environments")
    parser.add_argument("--output", type=Path, default=RESULTS)
    return parser.parse_args()


def main() -> int:
    """Measure, print the table, write the JSON."""
    asked = arguments()
    from hsi.quiet import start_tensorflow
    from hsi.runs import machine, versions

    start_tensorflow()
    try:
        python = python_of(PEER, asked.environments)
    except NotInstalled as reason:
        print(f"{PEER} does not install: {reason}")
        return 1
    print(
        f"{'network':8}{'activations':15}{'ours ms':>10}{'torch_cka ms':>14}{'ratio':>8}{'cpu':>8}"
        f"{'ours off':>12}{'theirs off':>12}  correct"
    )
    result: dict[str, Any] = {"machine": machine(), "versions": versions(), "networks": {}}
    for name in asked.networks:
        samples, batch = SIZES[name] if not asked.quick else (64, 16)
        rounds = 1 if asked.quick else asked.rounds
        try:
            found = measure(name, python, rounds, samples, batch)
        except Failed as reason:
            print(f"{name}: {PEER} failed: {reason}")
            return 1
        result["networks"][name] = found
        off = found["golden"]["ours_from_torch_cka_in_double"]
        print(f"{name}: {off:.1e} from torch_cka in double precision", flush=True)
        for what in ("stored", "with_networks"):
            print(line_of(name, what, found[what]), flush=True)
    result["figures"] = {
        f"{name}_{what}_speed_ratio": found[what]["speed_ratio"]
        for name, found in result["networks"].items()
        for what in ("stored", "with_networks")
    }
    result["speed_ratio"] = min(
        found["stored"]["speed_ratio"] for found in result["networks"].values()
    )
    if not asked.quick:
        asked.output.parent.mkdir(exist_ok=True)
        part = asked.output.with_suffix(".part")
        part.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
        part.replace(asked.output)
        print(f"Written: {asked.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
