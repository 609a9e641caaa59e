"""How long planning and surgery take, beside a training epoch and beside Torch-Pruning.

    python benchmarks/planning.py [--rounds 5] [--images 400]

VGG16 and DenseNet169 at 224 x 224 and 1000 classes with random weights, those of
`keras.applications` and of torchvision: the same layers and as many weights. Half of the channels
of each layer go, the smallest L1 norms first. Ours and Torch-Pruning (an environment of its own,
made by the first run) are processes that stay; they take turns, round by round. Planning is
everything up to the lists of channels, surgery what makes the smaller network of them;
Torch-Pruning traces the network in the first and scores channels in the second: the sums are
compared, and beside them the seconds of processor time, which other
work on the machine changes less.

An epoch is the median step of so many images on training data in memory, times the number of
steps that `--images` images take. A table is printed and everything written to
`benchmarks/results/planning.json`. Ratios are ours against the other, above 1 where ours is better;
`<network>_epoch_ratio` is a tenth of an epoch over planning and surgery.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "peers"))

from environments import NotInstalled, python_of  # noqa: E402
from workers import Failed, Worker  # noqa: E402

RESULTS = HERE / "results" / "planning.json"
OURS, PEER = "plan_ours", "plan_on_torch_pruning"
NETWORKS = ("vgg16", "densenet169")
SHARE = 0.5
PARTS = ("plan_seconds", "surgery_seconds")


def total(rounds: list[dict[str, Any]]) -> float:
    """The median round: planning and surgery, in seconds."""
    return statistics.median(sum(one[part] for part in PARTS) for one in rounds)


def measure(network: str, pythons: dict[str, Path], asked: argparse.Namespace) -> dict[str, Any]:
    """Rounds of every contestant in turn, then the training steps."""
    found: dict[str, Any] = {"rounds": {}, "versions": {}, "parameters": {}, "left_out": {}}
    with tempfile.TemporaryDirectory() as folder:
        workers: dict[str, Worker] = {}
        try:
            for name, python in pythons.items():
                try:
                    workers[name] = Worker(name, python, Path(folder), network)
                except Failed as error:
                    found["left_out"][name] = str(error)
                    continue
                facts = workers[name].facts
                found["versions"][name] = facts["versions"]
                found["parameters"][name] = facts["parameters"]
                found["rounds"][name] = []
            for number in range(asked.rounds):
                names = list(found["rounds"])
                for name in names[number % len(names) :] + names[: number % len(names)]:
                    found["rounds"][name].append(workers[name].ask(share=SHARE))
            steps = workers[OURS].ask(batch=asked.batch, steps=asked.steps)["seconds"]
        finally:
            for worker in workers.values():
                worker.end()
    count = math.ceil(asked.images / asked.batch)
    found["epoch"] = {
        "images": asked.images, "batch": asked.batch, "steps": count, "step_seconds": steps,
        "seconds": count * statistics.median(steps),
        "how": "median of the measured steps times the number of steps",
    }  # fmt: skip
    return found


def figures(networks: dict[str, Any]) -> dict[str, float]:
    """Medians and ratios."""
    found: dict[str, float] = {}
    for network, result in networks.items():
        for name, rounds in result["rounds"].items():
            key = f"{network}_{'torch_pruning' if name == PEER else 'ours'}"
            found[f"{key}_seconds"] = total(rounds)
            found[f"{key}_parameters_left"] = rounds[-1]["parameters"]
            for part in (*PARTS, "cpu_seconds"):
                found[f"{key}_{part}"] = statistics.median(one[part] for one in rounds)
        ours, epoch = found[f"{network}_ours_seconds"], result["epoch"]["seconds"]
        found[f"{network}_epoch_seconds"] = epoch
        found[f"{network}_share_of_epoch"] = ours / epoch
        found[f"{network}_epoch_ratio"] = epoch / 10 / ours
        if PEER in result["rounds"]:
            peer = found[f"{network}_torch_pruning_seconds"]
            found[f"{network}_torch_pruning_ratio"] = peer / ours
            cpu = (found[f"{network}_{name}_cpu_seconds"] for name in ("torch_pruning", "ours"))
            found[f"{network}_torch_pruning_cpu_ratio"] = next(cpu) / next(cpu)
    return found


def main() -> None:
    """Measure, print the table, write the JSON."""
    from hsi.runs import machine, versions

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=400, help="of an epoch (Imagenette subset)")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=3, help="training steps that are measured")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--environments", type=Path, default=HERE / ".environments")
    parser.add_argument("--output", type=Path, default=RESULTS)
    asked = parser.parse_args()
    pythons, missing = {OURS: Path(sys.executable)}, {}
    try:
        pythons[PEER] = python_of("torch_pruning", asked.environments)
    except NotInstalled as reason:
        missing["torch_pruning"] = str(reason)
        print(f"Torch-Pruning is left out, it does not install: {reason}", flush=True)
    asked.output.parent.mkdir(exist_ok=True)
    networks: dict[str, Any] = {}
    for network in asked.networks:
        networks[network] = measure(network, pythons, asked)
        found = figures(networks)
        for name in (name for name in found if name.startswith(network)):
            print(f"{name:46} {found[name]:,.3f}".removesuffix(".000"), flush=True)
        result = {
            "machine": machine(),
            "versions": versions(),
            "left_out": missing,
            "share": SHARE,
            "figures": found,
            "networks": networks,
        }
        asked.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(f"Written: {asked.output}")


if __name__ == "__main__":
    main()
