"""How fast explanations are, beside a hand-written function and the libraries that give them.

    python benchmarks/explanations.py [--quick] [--photographs 16]

Same networks, weights, inputs and scores for all, in one run. Every contestant works in a process
of its own, every library in an environment of its own (`benchmarks/.environments`, made by the
first run, about 9 GB); they take turns, round by round. A table is printed and everything written
to `benchmarks/results/explanations.json`, after each method anew. Ratios are ours against the other
way named, above 1 where ours is better.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "peers"))

from common import METHODS, NETWORKS  # noqa: E402
from environments import NotInstalled, python_of  # noqa: E402
from inputs import write_inputs  # noqa: E402
from turns import Row, Run, Size  # noqa: E402

RESULTS = HERE / "results" / "explanations.json"
OURS, HAND = "ours", "hand_written"
PEERS = {
    "on_xplique": "xplique",
    "on_tf_keras_vis": "tf_keras_vis",
    "on_saliency": "saliency",
    "on_captum": "captum",
}
"""Module of each peer, and the list of packages that it needs."""

HEADER = (
    f"{'network':8}{'method':20}{'contestant':17}{'setting':9}{'rows':>5}{'first ms':>10}"
    f"{'warm ms':>10}{'calls':>6}{'peak MB':>9}{'difference':>12}{'rank corr.':>11}  remark"
)


def line_of(row: Row) -> str:
    """One line of the table."""
    name = f"{row.network:8}{row.method:20}{row.contestant.removeprefix('on_'):17}"
    if row.failed:
        return f"{name}{row.setting:9}{row.failed}"
    rows = "-" if row.rows_at_once is None else row.rows_at_once
    warm = "-" if row.median is None else format(1000 * row.median, ".0f")
    return (
        f"{name}{row.setting:9}{rows:>5}{1000 * row.first_seconds:10.0f}{warm:>10}"
        f"{len(row.seconds):6}{row.peak_mb:9.0f}{row.difference:12.1e}{row.correlation:11.3f}"
        f"  {row.remark}"
    )


def ratios(rows: list[Row]) -> dict[str, Any]:
    """Ours against the fastest peer and the hand-written function, each at its better setting."""
    found: dict[str, Any] = {}
    for network in NETWORKS:
        for method in METHODS:
            best: dict[str, float] = {}
            for row in rows:
                wanted = (row.network, row.method) == (network, method)
                if wanted and not row.failed and row.median is not None:
                    best[row.contestant] = min(best.get(row.contestant, np.inf), row.median)
            peers = {name: best[name] for name in best if name in PEERS}
            if OURS not in best:
                continue
            what = f"{network}_{method}"
            if peers:
                fastest = min(peers, key=peers.__getitem__)
                found[f"{what}_peer_ratio"] = peers[fastest] / best[OURS]
                found[f"{what}_fastest_peer"] = fastest.removeprefix("on_")
            if HAND in best:
                found[f"{what}_hand_written_ratio"] = best[HAND] / best[OURS]
    return found


def as_written(rows: list[Row]) -> list[dict[str, Any]]:
    """The rows as JSON has them."""
    return [{**vars(row), "median_seconds": row.median} for row in rows]


def environments(folder: Path, names: list[str]) -> tuple[dict[str, Path], dict[str, str]]:
    """The interpreter of each contestant, and why others have none."""
    pythons, missing = {}, {}
    for name in (OURS, HAND, *PEERS):
        if name not in names:
            continue
        try:
            known = PEERS.get(name)
            pythons[name] = python_of(known, folder) if known else Path(sys.executable)
        except NotInstalled as reason:
            missing[name] = str(reason)
            print(f"{name} is left out, it does not install: {reason}", flush=True)
    return pythons, missing


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="little work; nothing is written")
    parser.add_argument("--rounds", type=int, default=5, help="most warm calls")
    parser.add_argument("--least", type=int, default=1, help="least warm calls of a tuned method")
    parser.add_argument("--patches", type=int, default=256)
    parser.add_argument("--photographs", type=int, default=16)
    parser.add_argument(
        "--walked", type=int, default=2, help="photographs for SmoothGrad and integrated gradients"
    )
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    everyone = [OURS, HAND, *PEERS]
    parser.add_argument("--contestants", nargs="+", choices=everyone, default=everyone)
    parser.add_argument("--environments", type=Path, default=HERE / ".environments")
    parser.add_argument("--output", type=Path, help=f"default: {RESULTS}")
    return parser.parse_args()


def write(path: Path, run: Run, inputs: dict[str, str], rows: list[Row], *, complete: bool) -> None:
    """What has been measured so far, by atomic rename: an interrupted run keeps it."""
    from hsi.runs import machine, versions

    result = {
        "complete": complete,
        "machine": machine(),
        "versions": versions(),
        "contestants": run.versions,
        "left_out": run.missing,
        "inputs": inputs,
        "size": vars(run.size),
        "figures": ratios(rows),
        "rows": as_written(rows),
    }
    path.parent.mkdir(exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    part.replace(path)


def main() -> None:
    """Measure, print the table, write the JSON after every method."""
    asked = arguments()
    size = Size(
        {"cao": asked.patches, "vgg16": asked.photographs},
        {"cao": asked.patches, "vgg16": asked.walked},
        50,
        asked.rounds,
        asked.least,
    )
    if asked.quick:
        size = Size({"cao": 32, "vgg16": 1}, {"cao": 32, "vgg16": 1}, 4, 1, 1)
    pythons, missing = environments(asked.environments, asked.contestants)
    path = asked.output or (None if asked.quick else RESULTS)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        inputs = write_inputs(Path(folder), size)
        run = Run(Path(folder), size, pythons, {}, missing, tuple(asked.methods))
        print(HEADER, flush=True)
        for network in asked.networks:
            for found in run.network(network):
                rows += found
                print(*map(line_of, found), sep="\n", flush=True)
                if path:
                    write(path, run, inputs, rows, complete=False)
    for name, value in ratios(rows).items():
        print(f"{name:44} {value if isinstance(value, str) else format(value, '.2f')}")
    for name, reason in missing.items():
        print(f"left out: {name}: {reason}")
    if path:
        write(path, run, inputs, rows, complete=True)
        print(f"Written: {path}")


if __name__ == "__main__":
    main()
