"""What the finished cells found, read back from their folders."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from hsi.errors import DataError
from hsi.evaluate.division import check_comparable, check_same_data, stored_division
from hsi.evaluate.protocol import EvaluationCell
from hsi.evaluate.running import MEASURED, PREDICTIONS
from hsi.metrics import accuracy, f1_scores, macro_f1
from hsi.runs import open_run

Record = dict[str, Any]


@dataclass(frozen=True)
class Answers:
    """What a network answered at its test pixels.

    Attributes:
        pixels: (n,) flat numbers of pixels of the scene, ascending.
        truth, predicted: (n,) class indices.
    """

    pixels: np.ndarray
    truth: np.ndarray
    predicted: np.ndarray

    @property
    def right(self) -> np.ndarray:
        """(n,) bool."""
        found: np.ndarray = self.truth == self.predicted
        return found

    def at(self, pixels: np.ndarray) -> Answers:
        """Those at some of its pixels, in ascending order."""
        chosen = np.isin(self.pixels, pixels)
        return Answers(self.pixels[chosen], self.truth[chosen], self.predicted[chosen])


@dataclass(frozen=True)
class Result:
    """A finished cell.

    Attributes:
        cell: what was run.
        record: its `run.json`.
        answers: at the test pixels.
    """

    cell: EvaluationCell
    record: Record
    answers: Answers

    @property
    def draw(self) -> tuple[str, float, int]:
        """Split, amount and seed: cells of one draw can be compared pixel by pixel."""
        return self.cell.split, self.cell.amount, self.cell.seed

    @property
    def classes(self) -> int:
        return len(self.record["classes"])

    def facts(self) -> dict[str, Any]:
        """Its numbers as plain values: accuracies and leakage in percent, kappa up to 1.

        Of `recall` and `f1_by_class` None stands for a class without test pixels; `epochs` is None
        for a baseline, `training_seconds`, `drawn_by_class` (training and validation) and
        `labelled_by_class` for a run that has no such record.
        """
        cell, split, measured = self.cell, self.record["split"], self.record[MEASURED]
        entry = next(iter(self.record["variants"].values()))
        found = accuracy(self.answers.truth, self.answers.predicted, self.classes)
        history = entry.get("history")
        return {
            "cell": cell.name,
            "network": cell.network,
            "split": cell.split,
            "amount": cell.amount,
            "seed": cell.seed,
            "patch_size": split["patch_size"],
            "gap": split["gap"],
            "leakage": 100 * split["leakage"],
            "training": split["training"],
            "validation": split["validation"],
            "test": split["test"],
            "oa": 100 * found.oa,
            "aa": 100 * found.aa,
            "kappa": found.kappa,
            "f1": 100 * macro_f1(found.confusion),
            "recall": _percents(found.recall),
            "f1_by_class": _percents(f1_scores(found.confusion)),
            "training_by_class": measured["training_by_class"],
            "test_by_class": measured["test_by_class"],
            "drawn_by_class": _drawn(measured),
            "labelled_by_class": measured.get("labelled_by_class"),
            "parameters": entry["row"]["parameters"],
            "macs": entry["row"]["macs"],
            "epochs": len(history["losses"]) if history else None,
            "training_seconds": entry.get("training_seconds"),
            "map_seconds": measured["map_seconds"],
            "map_way": measured["map_way"],
            "map_differs": measured["map_differs"],
            "notes": split["notes"],
            "machine": _machine(self.record),
        }


def read_results(cells: Iterable[EvaluationCell]) -> list[Result]:
    """The results of finished cells.

    Raises:
        DataError: cells on data or on a division of the pixels that is not the same, or a damaged
            file.
    """
    cells = list(cells)
    check_same_data(cells)
    results = [_read(cell) for cell in cells]
    check_comparable((result.cell, stored_division(result.cell)) for result in results)
    return results


def common_pixels(results: Sequence[Result]) -> np.ndarray:
    """Pixels that test in all of these, (n,) ascending."""
    return reduce(np.intersect1d, (result.answers.pixels for result in results))


def _read(cell: EvaluationCell) -> Result:
    run = open_run(Path(cell.settings.output or ""))
    path = run.path(PREDICTIONS)
    try:
        with np.load(path, allow_pickle=False) as stored:
            answers = Answers(stored["pixels"], stored["truth"], stored["predicted"])
    except (OSError, ValueError, EOFError, KeyError, BadZipFile) as error:
        raise DataError(f"{path}: damaged; delete {run.folder} and go on with --resume.") from error
    return Result(cell, run.record, answers)


def _machine(record: Record) -> str:
    machine, versions = record["machine"], record["versions"]
    return (
        f"{machine['processor']}, {machine['cores']} cores; hsi {versions['hsi']}, "
        f"TensorFlow {versions['tensorflow']}, scikit-learn {versions['scikit-learn']}"
    )


def _drawn(measured: Record) -> list[int] | None:
    if "validation_by_class" not in measured:
        return None
    both = zip(measured["training_by_class"], measured["validation_by_class"], strict=True)
    return [train + validation for train, validation in both]


def _percents(shares: np.ndarray) -> list[float | None]:
    return [None if np.isnan(share) else 100 * float(share) for share in shares]
