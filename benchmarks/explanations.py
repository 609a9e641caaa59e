"""How fast explanations are, beside a hand-written function and the libraries that give them.

    python benchmarks/explanations.py [--quick] [--photographs 16]

Same networks, weights, inputs and scores for all, in one run. Every contestant works in a process
of its own, every library in an environment of its own (`benchmarks/.environments`, made by the
first run, about 9 GB); they take turns, round by round. A table is printed and everything written
to `benchmarks/results/explanations.json`. Ratios are ours against the other way named, above 1
where ours is better.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "peers"))

from common import NETWORKS, NOISE, PATHS  # noqa: E402
from environments import NotInstalled, python_of  # noqa: E402
from workers import Failed, Worker  # noqa: E402

RESULTS = HERE / "results" / "explanations.json"
METHODS = ("gradient", "smoothgrad", "integrated_gradient", "gradcam", "guided_backprop")
OURS, HAND = "ours", "hand_written"
PEERS = {
    "on_xplique": "xplique",
    "on_tf_keras_vis": "tf_keras_vis",
    "on_saliency": "saliency",
    "on_captum": "captum",
}
"""Module of each peer, and the list of packages that it needs."""

SETTINGS = ("default", "tuned")
CANDIDATES = {"cao": (32, 128, 512), "vgg16": (1, 4, 8)}
"""Rows at once among which tuning chooses."""

CHECKED = {"cao": 8, "vgg16": 2}
"""Samples whose maps are held against the reference; of paths through VGG16, half of them."""


@dataclass(frozen=True)
class Size:
    """How much work there is.

    Attributes:
        samples: of each network.
        walked: how many of them SmoothGrad and integrated gradients explain.
        copies: noisy copies, or points of a path.
        most_rounds: warm calls of a method that takes less than two seconds.
    """

    samples: dict[str, int]
    walked: dict[str, int]
    copies: int
    most_rounds: int


@dataclass
class Row:
    """One contestant's times for one method, at one setting."""

    network: str
    method: str
    contestant: str
    setting: str
    rows_at_once: int | None = None
    first_seconds: float | None = None
    seconds: list[float] = field(default_factory=list)
    peak_mb: float = 0.0
    difference: float | None = None
    correlation: float | None = None
    remark: str = ""
    failed: str = ""

    @property
    def median(self) -> float | None:
        """Of the warm calls; of a call so long that it was made once, that one."""
        return statistics.median(self.seconds) if self.seconds else self.first_seconds


def rounds_for(seconds: float, setting: str, most: int) -> int:
    """Warm calls after a first one that took so long; long ones are not repeated as often."""
    wanted = next((n for limit, n in ((2, 5), (4, 3), (10, 2)) if seconds < limit), 1)
    return min(most, wanted if setting == "tuned" else (wanted if seconds < 4 else wanted - 1))


# What is explained


def write_inputs(folder: Path, size: Size) -> dict[str, str]:
    """The file of each network; returns where the inputs come from."""
    cao, photographs = cao_inputs(size.samples["cao"]), photograph_inputs(size.samples["vgg16"])
    for name, inputs in (("cao", cao), ("vgg16", photographs[0])):
        rng = np.random.default_rng(0)
        spread = float(np.ptp(inputs, axis=(0, 1, 2)).mean())
        draws = rng.standard_normal((size.copies, *inputs.shape[1:]), dtype=np.float32)
        np.savez(
            folder / f"{name}.npz",
            inputs=inputs,
            classes=np.random.default_rng(1).integers(
                NETWORKS[name].classes, size=len(inputs), dtype=np.int32
            ),
            draws=(draws * np.float32(NOISE * spread)).astype(np.float32),
            spread=spread,
            walked=size.walked[name],
        )
    return {"cao": "patches of the embedded scene", "vgg16": photographs[1]}


def cao_inputs(n: int) -> np.ndarray:
    """(n, 5, 5, 200) standardised patches of the embedded scene."""
    from hsi.bands import apply, fit
    from hsi.patches import Patches
    from hsi.split import make_split
    from hsi.synthetic import synthetic_scene

    scene = synthetic_scene(seed=0)
    split = make_split(scene, method="random", patch_size=5)
    patches = Patches(apply(fit(scene.cube, split.train), scene.cube), 5)
    labelled = np.flatnonzero(scene.labels)
    chosen = np.random.default_rng(0).choice(labelled, n, replace=False)
    return np.ascontiguousarray(patches.gather(chosen), np.float32)


def photograph_inputs(n: int) -> tuple[np.ndarray, str]:
    """(n, 224, 224, 3) in the range that VGG16 was trained on, and what they are."""
    folder = Path(os.environ.get("HSI_DATASETS", "datasets")) / "imagenette2" / "val"
    by_class = [sorted(c.glob("*.JPEG")) for c in sorted(folder.glob("n*"))]
    files = [files[i] for i in range(n) for files in by_class if i < len(files)][:n]
    if len(files) == n:
        pixels = np.stack([photograph(file) for file in files])
        what = "photographs of Imagenette"
    else:
        pixels = np.random.default_rng(0).uniform(0, 255, (n, 224, 224, 3))
        what = "random images: HSI_DATASETS has no imagenette2/val"
    return (pixels[..., ::-1] - [103.939, 116.779, 123.68]).astype(np.float32), what


def photograph(file: Path) -> np.ndarray:
    """Its middle square as (224, 224, 3)."""
    from PIL import Image

    with Image.open(file) as image:
        image = image.convert("RGB")
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        square = image.crop((left, top, left + side, top + side)).resize((224, 224))
    return np.asarray(square, np.float64)


# How near an answer is


def held_against(maps: np.ndarray, reference: np.ndarray, remark: str) -> tuple[float, float]:
    """The largest difference, relative to the largest value of the sample, and the mean rank
    correlation, over all samples."""
    from scipy.stats import spearmanr

    if remark == "magnitudes":
        reference = np.abs(reference)
    pairs = list(zip(np.broadcast_to(maps, reference.shape), reference, strict=True))
    largest = [np.abs(b).max() for _, b in pairs]
    differences = [
        np.abs(a - b).max() / size for (a, b), size in zip(pairs, largest, strict=True) if size
    ]
    ranks = [
        spearmanr(a, b, axis=None).statistic for a, b in pairs if np.ptp(a) and np.ptp(b)
    ]  # fmt: skip
    return max(differences, default=np.nan), float(np.mean(ranks)) if ranks else np.nan


# The run


@dataclass
class Run:
    """What all contestants share in one run."""

    folder: Path
    size: Size
    pythons: dict[str, Path]
    versions: dict[str, dict[str, str]]
    missing: dict[str, str]

    def start(self, network: str) -> dict[str, Worker]:
        """The contestants that start; the others are put into `missing` with the reason."""
        workers = {}
        for name, python in self.pythons.items():
            try:
                workers[name] = Worker(name, python, self.folder, network)
                self.versions[name] = workers[name].facts["versions"]
            except Failed as error:
                self.missing[f"{name} on {network}"] = str(error)
        return workers

    def network(self, network: str) -> list[Row]:
        """Every method with every contestant."""
        references = self.references(network)
        workers = self.start(network)
        rows: list[Row] = []
        tuned: dict[str, int] = {}
        try:
            for method in METHODS:
                rows += self.method(network, method, workers, references[method], tuned)
        finally:
            for worker in workers.values():
                worker.end()
        return rows

    def references(self, network: str) -> dict[str, np.ndarray]:
        """Slow maps of the first samples, by method."""
        worker = Worker("reference", Path(sys.executable), self.folder, network)
        found = {}
        try:
            for method in METHODS:
                count = self.checked(network, method)
                path = self.folder / "reference.npy"
                worker.ask(method=method, rows=count, save=str(path), checked=count)
                found[method] = np.load(path, allow_pickle=False)
        finally:
            worker.end()
        return found

    def checked(self, network: str, method: str) -> int:
        share = 2 if network == "vgg16" and method in PATHS else 1
        walked = self.size.walked if method in PATHS else self.size.samples
        return min(max(1, CHECKED[network] // share), walked[network])

    def method(
        self,
        network: str,
        method: str,
        workers: dict[str, Worker],
        reference: np.ndarray,
        tuned: dict[str, int],
    ) -> list[Row]:
        """One method: tuned, called for the first time, then in rounds that take turns."""
        rows = []
        for name, worker in workers.items():
            for setting in SETTINGS:
                row = Row(network, method, name, setting)
                row.remark = worker.facts["remarks"].get(method, "")
                if method in worker.facts["methods"]:
                    rows.append(row)
                elif setting == SETTINGS[0]:
                    row.failed = "has no such method"
                    rows.append(row)
        live = [row for row in rows if not row.failed]
        for row in live:
            self.first_call(row, workers[row.contestant], reference, tuned)
        live = [row for row in live if not row.failed]
        for number in range(self.size.most_rounds):
            for row in live[number % len(live) :] + live[: number % len(live)]:
                enough = rounds_for(row.first_seconds or 0, row.setting, self.size.most_rounds)
                if number < enough and not row.failed:
                    self.call(row, workers[row.contestant])
        for row in rows:
            print(line_of(row), flush=True)
        return rows

    def first_call(
        self, row: Row, worker: Worker, reference: np.ndarray, tuned: dict[str, int]
    ) -> None:
        """The call that compiles, whose maps are compared; at "tuned", the choice before it."""
        network, method = row.network, row.method
        try:
            if row.setting == "tuned":
                row.rows_at_once = self.choice(network, method, worker, tuned)
            path = self.folder / f"{row.contestant}.npy"
            count = self.checked(network, method)
            answer = worker.ask(
                method=method, rows=row.rows_at_once, save=str(path), checked=count
            )  # fmt: skip
            row.first_seconds, row.peak_mb = answer["seconds"], answer["peak_mb"]
            maps = np.load(path, allow_pickle=False)
            row.difference, row.correlation = held_against(maps, reference, row.remark)
        except Failed as error:
            row.failed = str(error)

    def choice(self, network: str, method: str, worker: Worker, tuned: dict[str, int]) -> int:
        """Rows at once; through VGG16, whose passes take long, chosen on the gradient for all."""
        if network == "vgg16" and worker.name in tuned:
            return tuned[worker.name]
        samples = 64 if method in PATHS else self.size.samples[network]
        answer = worker.ask(
            method=method,
            candidates=CANDIDATES[network],
            samples=min(samples, max(CANDIDATES[network]), self.size.samples[network]),
            rows=None,
        )
        tuned[worker.name] = answer["rows"]
        return answer["rows"]

    def call(self, row: Row, worker: Worker) -> None:
        try:
            answer = worker.ask(method=row.method, rows=row.rows_at_once)
        except Failed as error:
            row.failed = str(error)
            return
        row.seconds.append(answer["seconds"])
        row.peak_mb = max(row.peak_mb if len(row.seconds) > 1 else 0, answer["peak_mb"])


# What comes of it

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
    return (
        f"{name}{row.setting:9}{rows:>5}{1000 * row.first_seconds:10.0f}{1000 * row.median:10.0f}"
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
                if (row.network, row.method) == (network, method) and not row.failed:
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


def written(rows: list[Row]) -> list[dict[str, Any]]:
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
    parser.add_argument("--patches", type=int, default=256)
    parser.add_argument("--photographs", type=int, default=16)
    parser.add_argument(
        "--walked", type=int, default=1, help="photographs for SmoothGrad and integrated gradients"
    )
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    everyone = [OURS, HAND, *PEERS]
    parser.add_argument("--contestants", nargs="+", choices=everyone, default=everyone)
    parser.add_argument("--environments", type=Path, default=HERE / ".environments")
    parser.add_argument("--output", type=Path, help=f"default: {RESULTS}")
    return parser.parse_args()


def main() -> None:
    """Measure, print the table, write the JSON."""
    from hsi.runs import machine, versions

    asked = arguments()
    size = Size(
        {"cao": asked.patches, "vgg16": asked.photographs},
        {"cao": asked.patches, "vgg16": asked.walked},
        50,
        asked.rounds,
    )
    if asked.quick:
        size = Size({"cao": 32, "vgg16": 2}, {"cao": 32, "vgg16": 1}, 6, 1)
    pythons, missing = environments(asked.environments, asked.contestants)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        inputs = write_inputs(Path(folder), size)
        run = Run(Path(folder), size, pythons, {}, missing)
        print(HEADER, flush=True)
        for network in asked.networks:
            rows += run.network(network)
    figures = ratios(rows)
    for name, value in figures.items():
        print(f"{name:44} {value if isinstance(value, str) else format(value, '.2f')}")
    for name, reason in missing.items():
        print(f"left out: {name}: {reason}")
    path = asked.output or (None if asked.quick else RESULTS)
    if path:
        result = {
            "machine": machine(),
            "versions": versions(),
            "contestants": run.versions,
            "left_out": missing,
            "inputs": inputs,
            "size": vars(size),
            "figures": figures,
            "rows": written(rows),
        }
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
        print(f"Written: {path}")


if __name__ == "__main__":
    main()
