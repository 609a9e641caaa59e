"""The `.tflite` files of a cell: what each was made of, its bytes, its accuracies."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

TRAINED, PRUNED, LOW_RANK, STUDENT = "trained", "pruned", "low rank", "student"
KINDS = {
    "trained_model": TRAINED,
    "trained_pruned_model_": PRUNED,
    "low_rank_": LOW_RANK,
    "distilled_": STUDENT,
}
"""Beginning of a Keras file's name -> what it is; the longest that fits counts."""
BASELINE, MADE = ("trained_model", "float32"), "made"
"""Network and mode that others are compared with; folder of files that the study does not make."""


@dataclass(frozen=True)
class Candidate:
    """A `.tflite` file.

    Attributes:
        file: relative to the folder of the study.
        network: stem of the Keras file that it was made of, without `_folded`.
        kind: trained, pruned, low rank or student.
        mode: of quantization.
        folded: whether layers were folded before.
        bytes: of the file.
        parameters: of the network.
        validation_oa, test_oa: percent, of this file.
        validation_loss: its mean cross-entropy on validation pixels, in nats; tells apart files
            that are right on as many of them.
        mcnemar_p: against the baseline, on test pixels; None for the baseline itself.
    """

    file: str
    network: str
    kind: str
    mode: str
    folded: bool
    bytes: int
    parameters: int
    validation_oa: float
    validation_loss: float
    test_oa: float
    mcnemar_p: float | None = None

    @property
    def name(self) -> str:
        """distilled_compact-0.5, int8."""
        return f"{self.network}{', folded' if self.folded else ''}, {self.mode}"

    @property
    def is_baseline(self) -> bool:
        return (self.network, self.mode) == BASELINE and not self.folded


def kind_of(network: str) -> str:
    """What a network is, by the name of its file."""
    fits = [start for start in KINDS if network.startswith(start)]
    return KINDS[max(fits, key=len)] if fits else network


class Cell:
    """A finished run of the study, its validation and test pixels, and its files.

    Args:
        folder: of the study.
        path: of the run, in it.
    """

    def __init__(self, folder: Path, path: Path) -> None:
        from hsi.pipeline.job import samples_of
        from hsi.runs import open_run

        self.folder, self.path = folder, path
        self.run = open_run(path)
        self.samples = samples_of(self.run, say=lambda line: None)
        self._right: np.ndarray | None = None

    def candidates(self) -> Iterator[Candidate]:
        """The baseline first, then every `.tflite` file of the run."""
        yield self.converted(*BASELINE, folded=False)
        for file, entry in self.run.record["variants"].items():
            if file.endswith(".tflite"):
                stem = Path(entry["parent"]).stem
                yield self._measured(
                    self.run.path(file),
                    stem.removesuffix("_folded"),
                    entry["mode"],
                    folded=stem.endswith("_folded"),
                )

    def converted(self, network: str, mode: str, *, folded: bool) -> Candidate:
        """A file that the study does not make, of one of its Keras models; kept once it is made."""
        from hsi.compress.quantize import quantize
        from hsi.files import atomic_path
        from hsi.models.files import load_model

        stem = f"{network}_folded" if folded else network
        path = self.folder / MADE / self.path.name / f"{stem}_{mode}.tflite"
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            samples = self.samples.calibration(seed=self.run.settings.seed)
            content = quantize(load_model(self.run.path(f"{stem}.h5")), mode, calibration=samples)
            with atomic_path(path) as temporary:
                temporary.write_bytes(content)
        return self._measured(path, network, mode, folded=folded)

    def _measured(self, path: Path, network: str, mode: str, *, folded: bool) -> Candidate:
        from hsi.deploy.variant import load_variant
        from hsi.metrics import cross_entropy, mcnemar
        from hsi.predict import scores

        forward = load_variant(path)
        right, loss = {}, {}
        for name in ("validation", "test"):
            part = self.samples.part(name)
            found = scores(forward, self.samples.patches, part.pixels)
            right[name] = found.argmax(axis=1) == part.classes
            loss[name] = cross_entropy(found, part.classes)
        p = None
        if self._right is None:  # the baseline comes first
            self._right = right["test"]
        else:
            p = mcnemar(self._right, right["test"])
        keras_file = f"{network}{'_folded' if folded else ''}.h5"
        return Candidate(
            str(path.relative_to(self.folder)),
            network,
            kind_of(network),
            mode,
            folded,
            path.stat().st_size,
            self.run.record["variants"][keras_file]["row"]["parameters"],
            100 * float(right["validation"].mean()),
            loss["validation"],
            100 * float(right["test"].mean()),
            p,
        )


def facts_of(cell: Cell) -> dict[str, Any]:
    """What sets a cell apart, and how many pixels stand behind its accuracies."""
    settings, split = cell.run.settings, cell.run.record["split"]
    return {
        "split": settings.split,
        "seed": settings.seed,
        "scene": cell.samples.name,
        "synthetic": cell.samples.synthetic,
        "leakage_percent": 100 * split["leakage"],
        **{name: split[name] for name in ("training", "validation", "test")},
    }
