"""A study of bit widths: what a model of a run would answer in so many bits, by simulation."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from hsi.compress.widths import BitWidths, Overflow
from hsi.deploy.variant import TFLITE
from hsi.errors import ModelError, OutputError, SettingsError, check_seed
from hsi.parts import AnySamples
from hsi.pipeline.job import on_counts, samples_of
from hsi.quiet import start_tensorflow
from hsi.results import write_rows
from hsi.runs import open_run

if TYPE_CHECKING:
    from hsi.compress.bitwidth import SweepRow

SWEPT: dict[str, tuple[int, ...]] = {
    "activation": (2, 3, 4, 5, 6, 8, 12, 16),
    "weight": (2, 3, 4, 5, 6, 8, 12, 16),
    "accumulator": (8, 10, 12, 14, 16, 20, 24, 32),
}
"""Quantity -> bits that are tried while the others stay as in an int8 file."""
SAMPLES = 1000
COLUMNS = (
    "quantity", "activation", "weight", "accumulator", "overflow", "accuracy", "agreement",
    "overflowed", "samples",
)  # fmt: skip
"""Of the table: accuracy, agreement with the float network and overflowed sums in percent."""
COMBINED = "combined"
"""`quantity` of rows in which the user set all three."""

Say = Callable[[str], None]
Row = dict[str, Any]


@dataclass(frozen=True)
class BitStudy:
    """What a study found.

    Attributes:
        rows: one a setting, with the columns of `COLUMNS`; the first is 8/8/32, as an int8 file.
        accuracy: of the float network on the same samples, percent.
        table, figure: the files written.
    """

    rows: list[Row]
    accuracy: float
    table: Path
    figure: Path


def study_bits(
    file: Path,
    *,
    bits: Mapping[str, Sequence[int]] = SWEPT,
    combined: Sequence[str] = (),
    overflow: str = "saturate",
    most: int = SAMPLES,
    seed: int = 0,
    say: Say = print,
) -> BitStudy:
    """Try bit widths on test samples of the run in whose folder a Keras model lies.

    Ranges of activations come from training samples.

    Args:
        file: `.h5` model.
        bits: quantity of `SWEPT` -> bits to try, each with the others at 8, 8 and 32.
        combined: further settings, ACTIVATION/WEIGHT/ACCUMULATOR, such as 8/4/16.
        overflow: what a sum does that leaves its accumulator: "saturate" or "wrap".
        most: test samples at most, drawn evenly at random.
        seed: of the draw.

    Raises:
        OutputError: the run's `figures` cannot be written; found before anything is computed.
        UserError: no run, no Keras model, bits that are not offered, or changed data.
    """
    settings = _settings(bits, [_triple(text) for text in combined], overflow)
    if most < 1:
        raise SettingsError(f"samples: expected 1 or more, got {most}.")
    check_seed(seed)
    if file.suffix == TFLITE:
        raise ModelError(
            f"{file}: its bits are fixed; expected the Keras model (.h5) that it was made of."
        )
    if not file.is_file():
        raise ModelError(f"{file}: no such model file.")
    run = open_run(file.parent)
    samples = samples_of(run, say=say)
    folder = _writable(run.path("figures"))
    taken = on_counts(samples) if run.takes_counts(file.name) else samples
    start_tensorflow()
    found, accuracy, count = _swept(file, taken, [s for _, s in settings], most, seed)
    rows = [_row(quantity, row, count) for (quantity, _), row in zip(settings, found, strict=True)]
    table, figure = folder / f"bits_{file.stem}.csv", folder / f"bits_{file.stem}.png"
    write_rows(table, rows, COLUMNS)
    _draw(figure, rows, accuracy, taken, title=f"{file.stem} on {taken.name}", overflow=overflow)
    return BitStudy(rows, accuracy, table, figure)


def _writable(folder: Path) -> Path:
    """The folder, made where it was missing, once a file could be put into it."""
    try:
        folder.mkdir(exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OutputError(
            f"{folder}: cannot be written: {error.strerror}; bits are written into the run, copy "
            "it to a folder of your own."
        ) from error
    return folder


def _settings(
    bits: Mapping[str, Sequence[int]], combined: Sequence[tuple[int, int, int]], overflow: str
) -> list[tuple[str, BitWidths]]:
    base = BitWidths(overflow=cast("Overflow", overflow))  # refuses any other
    changed: list[tuple[str, Row]] = [("int8", {})]
    for quantity, values in bits.items():
        changed += [(quantity, {quantity: value}) for value in sorted(set(values))]
    changed += [(COMBINED, dict(zip(SWEPT, widths, strict=True))) for widths in combined]
    return [(quantity, replace(base, **widths)) for quantity, widths in changed]


def _triple(text: str) -> tuple[int, int, int]:
    try:
        activation, weight, accumulator = (int(part) for part in text.split("/"))
    except ValueError:
        raise SettingsError(
            f"combined: expected ACTIVATION/WEIGHT/ACCUMULATOR bits, such as 8/4/16, got {text!r}."
        ) from None
    return activation, weight, accumulator


def _swept(
    file: Path, samples: AnySamples, settings: Sequence[BitWidths], most: int, seed: int
) -> tuple[list[SweepRow], float, int]:
    """The rows, the float network's accuracy in percent, and of how many samples."""
    from hsi.compress.bitwidth import sweep
    from hsi.models.files import load_model
    from hsi.predict import compiled, scores

    model = load_model(file)
    test = samples.part("test")
    chosen = np.random.default_rng(seed).permutation(len(test.pixels))[:most]
    inputs, classes = samples.patches.gather(test.pixels[chosen]), test.classes[chosen]
    found = sweep(model, inputs, classes, settings, calibration=samples.calibration(seed=seed))
    answers = scores(compiled(model), samples.patches, test.pixels[chosen]).argmax(axis=1)
    right = answers == classes
    return found, 100 * float(right.mean()), len(chosen)


def _row(quantity: str, found: SweepRow, samples: int) -> Row:
    bits = asdict(found.bits)
    return {
        "quantity": quantity,
        **{name: bits[name] for name in (*SWEPT, "overflow")},
        "accuracy": found.accuracy,
        "agreement": found.agreement,
        "overflowed": 100 * found.overflowed,
        "samples": samples,
    }


def _draw(
    path: Path, rows: Sequence[Row], accuracy: float, samples: AnySamples, *, title: str,
    overflow: str,
) -> None:  # fmt: skip
    from hsi.plots import save_figure
    from hsi.plots.bits import bits_figure

    lines = {
        quantity: [(row[quantity], row["accuracy"]) for row in rows if row["quantity"] == quantity]
        for quantity in SWEPT
    }
    said = "stop at their limit" if overflow == "saturate" else "wrap around"
    figure = bits_figure(
        lines,
        accuracy,
        others=[(_text(row), row["accuracy"]) for row in rows if row["quantity"] == COMBINED],
        title=title,
        note=f"Each quantity alone, the others as in an int8 file (8/8/32); sums that overflow "
        f"{said}; {rows[0]['samples']} test {samples.unit}s. {samples.note}.",
        synthetic=samples.synthetic,
    )
    save_figure(figure, path)


def _text(row: Row) -> str:
    return "/".join(str(row[name]) for name in SWEPT)
