"""Contestants that take turns: every method tuned, called for the first time, then in rounds."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from common import MAGNITUDES, METHODS, PATHS, SCALED
from workers import Failed, Worker

SETTINGS = ("default", "tuned")
"""As a library has it, and with the best rows at once; ways through VGG16 go the second way only.
"""

CANDIDATES = {"cao": (32, 128, 512), "vgg16": (1, 4)}
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
        least_rounds: of one that takes longer, tuned.
    """

    samples: dict[str, int]
    walked: dict[str, int]
    copies: int
    most_rounds: int
    least_rounds: int


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
        """Of the warm calls; None where the first took so long that it was the only one."""
        return statistics.median(self.seconds) if self.seconds else None


def rounds_for(seconds: float, setting: str, size: Size) -> int:
    """Warm calls after a first one that took so long: fewer of long ones, and at "default"."""
    wanted = 5 if seconds < 2 else 2 if seconds < 5 else 1
    if setting == "default" and seconds >= 2:
        return min(size.most_rounds, wanted - 1)
    return min(size.most_rounds, max(wanted, size.least_rounds))


def settings_of(network: str, method: str) -> tuple[str, ...]:
    """What is asked for: ways through VGG16 take so long that the better setting must do."""
    return SETTINGS[1:] if network == "vgg16" and method in PATHS else SETTINGS


def held_against(maps: np.ndarray, reference: np.ndarray, remark: str) -> tuple[float, float]:
    """The largest difference, relative to the largest value of the sample, and the mean rank
    correlation, over all samples."""
    from scipy.stats import spearmanr

    if remark.startswith(MAGNITUDES):
        reference = np.abs(reference)
    if remark.startswith(SCALED):
        reference = reference / np.maximum(reference.max(axis=(1, 2, 3), keepdims=True), 1e-30)
    pairs = list(zip(np.broadcast_to(maps, reference.shape), reference, strict=True))
    largest = [np.abs(b).max() for _, b in pairs]
    differences = [
        np.abs(a - b).max() / size for (a, b), size in zip(pairs, largest, strict=True) if size
    ]
    ranked = [(a, b) for a, b in pairs if np.ptp(a) and np.ptp(b)]
    ranks = [spearmanr(a, b, axis=None).statistic for a, b in ranked]
    most = float(max(differences, default=np.nan))
    return most, float(np.mean(ranks)) if ranks else np.nan


@dataclass
class Run:
    """What all contestants share in one run.

    Attributes:
        folder: for files that they exchange.
        size: of the work.
        pythons: interpreter of each contestant.
        versions: packages of each contestant that has started.
        missing: why others are left out.
        methods: that are measured.
    """

    folder: Path
    size: Size
    pythons: dict[str, Path]
    versions: dict[str, dict[str, str]]
    missing: dict[str, str]
    methods: tuple[str, ...] = METHODS

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

    def network(self, network: str) -> Iterator[list[Row]]:
        """The rows of every method with every contestant, method after method."""
        references = self.references(network)
        workers = self.start(network)
        tuned: dict[str, int] = {}
        try:
            for method in self.methods:
                yield self.method(network, method, workers, references[method], tuned)
        finally:
            for worker in workers.values():
                worker.end()

    def references(self, network: str) -> dict[str, np.ndarray]:
        """Slow maps of the first samples, by method."""
        worker = Worker("reference", Path(sys.executable), self.folder, network)
        found = {}
        try:
            for method in self.methods:
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
            for setting in settings_of(network, method):
                row = Row(network, method, name, setting)
                row.remark = worker.facts["remarks"].get(method, "")
                if method in worker.facts["methods"]:
                    rows.append(row)
                elif setting == settings_of(network, method)[0]:
                    row.failed = "has no such method"
                    rows.append(row)
        live = [row for row in rows if not row.failed]
        for row in live:
            self.first_call(row, workers[row.contestant], reference, tuned)
        live = [row for row in live if not row.failed]
        for number in range(self.size.most_rounds):
            for row in live[number % len(live) :] + live[: number % len(live)]:
                enough = rounds_for(row.first_seconds or 0, row.setting, self.size)
                if number < enough and not row.failed:
                    self.call(row, workers[row.contestant])
        return rows

    def first_call(
        self, row: Row, worker: Worker, reference: np.ndarray, tuned: dict[str, int]
    ) -> None:
        """The call that compiles, whose maps are compared; at "tuned", the choice before it."""
        network, method = row.network, row.method
        try:
            if row.setting == "tuned":
                row.rows_at_once = self.choice(network, method, worker, tuned)
            path = self.folder / f"{row.contestant}_{network}_{method}.npy"
            count = self.checked(network, method)
            rows = row.rows_at_once
            answer = worker.ask(method=method, rows=rows, save=str(path), checked=count)
            row.first_seconds, row.peak_mb = answer["seconds"], answer["peak_mb"]
            maps = np.load(path, allow_pickle=False)
            row.difference, row.correlation = held_against(maps, reference, row.remark)
        except (Failed, OSError) as error:  # no file: the call at "default" that makes it failed
            row.failed = str(error)

    def choice(self, network: str, method: str, worker: Worker, tuned: dict[str, int]) -> int:
        """Rows at once; through VGG16, whose passes take long, chosen on the gradient for all."""
        if network == "vgg16" and worker.name in tuned:
            return tuned[worker.name]
        samples = 64 if method in PATHS else self.size.samples[network]
        answer = worker.ask(
            method=method,
            candidates=CANDIDATES[network],
            samples=min(samples, 2 * max(CANDIDATES[network]), self.size.samples[network]),
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
