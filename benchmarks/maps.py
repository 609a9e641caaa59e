"""How fast a whole scene is mapped: one pass, batches of patches, and DeepHyperX's way.

    python benchmarks/maps.py [--rounds 5] [--networks cao_9]

The embedded scene (145 x 145 x 200) through `cao` at patch 5 and 9 and `cao_pooled` at patch 9,
the same weights for all. Ours and the loop of DeepHyperX in PyTorch (an environment of its own,
made by the first run) are processes that stay; in every round each contestant makes the whole map
once, from the prepared cube in memory to the class of every pixel, and the machine multiplies two
matrices as large as those of the first convolution, by NumPy or TensorFlow, whichever is faster.
All maps must be the same at every pixel.

A table is printed and everything written to `benchmarks/results/maps.json`. Ratios are the time of
the other way over that of our pass; `<network>_gemm_share` is the rate of the pass (multiply-adds
that it has to do at every pixel, margins not counted, over its time) over that of the matrices.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "peers"))

from environments import NotInstalled, python_of  # noqa: E402
from map_networks import NETWORKS  # noqa: E402
from map_ours import GEMM  # noqa: E402
from workers import Failed, Worker  # noqa: E402

RESULTS = HERE / "results" / "maps.json"
PASS, PATCHES, PEER, PRODUCT = "pass", "patches", "deephyperx", "gemm"


def measure(name: str, pythons: dict[str, Path], rounds: int) -> dict[str, Any]:
    """Rounds of all contestants in turn, in an order that changes."""
    found: dict[str, Any] = {"seconds": {}, "left_out": {}}
    with tempfile.TemporaryDirectory() as text:
        folder, workers = Path(text), {}
        try:
            ours = workers["map_ours"] = Worker("map_ours", pythons["map_ours"], folder, name)
            found |= ours.facts
            asks = {what: (ours, {"what": what}) for what in (PASS, PATCHES, PRODUCT)}
            if "map_on_torch" in pythons:
                try:
                    peer = Worker("map_on_torch", pythons["map_on_torch"], folder, name)
                except Failed as error:
                    found["left_out"][PEER] = str(error)
                else:
                    workers["map_on_torch"] = peer
                    found |= peer.facts
                    asks[PEER] = (peer, {})
            for what in (PASS, PRODUCT):  # once before it counts; the others take too long for it
                asks[what][0].ask(**asks[what][1])
            for number in range(rounds):
                names = list(asks)
                for what in names[number % len(names) :] + names[: number % len(names)]:
                    worker, request = asks[what]
                    seconds = worker.ask(**request)["seconds"]
                    found["seconds"].setdefault(what, []).append(seconds)
        finally:
            for worker in workers.values():
                worker.end()
        maps = {
            what: np.load(folder / f"{name}_{what}.npy", allow_pickle=False)
            for what in asks
            if what != PRODUCT
        }
    found["pixels"] = int(maps[PASS].size)
    found["classes_that_occur"] = len(np.unique(maps[PASS]))
    found["other_class_at"] = {
        what: int(np.count_nonzero(other != maps[PASS])) for what, other in maps.items()
    }
    return found


def figures(name: str, found: dict[str, Any]) -> dict[str, float]:
    """Medians and ratios."""
    medians = {what: statistics.median(values) for what, values in found["seconds"].items()}
    result = {f"{name}_{what}_seconds": value for what, value in medians.items()}
    for what in (PATCHES, PEER):
        if what in medians:
            result[f"{name}_{what}_ratio"] = medians[what] / medians[PASS]
            result[f"{name}_{what}_other_class_pixels"] = found["other_class_at"][what]
    product = float(np.prod(GEMM)) / medians[PRODUCT]
    rate = found["macs"] * found["pixels"] / medians[PASS]
    result |= {
        f"{name}_pass_gmacs_per_second": rate / 1e9,
        f"{name}_gemm_gmacs_per_second": product / 1e9,
        f"{name}_gemm_share": rate / product,
        f"{name}_multiply_adds_per_pixel": found["macs"],
    }
    return result


def main() -> None:
    """Measure, print the table, write the JSON."""
    from hsi.runs import machine, versions

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--environments", type=Path, default=HERE / ".environments")
    parser.add_argument("--output", type=Path, default=RESULTS)
    asked = parser.parse_args()
    pythons, missing = {"map_ours": Path(sys.executable)}, {}
    try:
        pythons["map_on_torch"] = python_of("captum", asked.environments)
    except NotInstalled as reason:
        missing[PEER] = str(reason)
        print(f"PyTorch is left out, it does not install: {reason}", flush=True)
    networks, everything = {}, {}
    for name in asked.networks:
        networks[name] = measure(name, pythons, asked.rounds)
        found = figures(name, networks[name])
        everything |= found
        for what, value in found.items():
            print(f"{what:44} {value:14,.3f}".removesuffix(".000"), flush=True)
        result = {
            "machine": machine(), "versions": versions(), "left_out": missing, "gemm": GEMM,
            "figures": everything, "networks": networks,
        }  # fmt: skip
        asked.output.parent.mkdir(exist_ok=True)
        asked.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(f"Written: {asked.output}")


if __name__ == "__main__":
    main()
