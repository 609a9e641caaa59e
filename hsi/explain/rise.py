"""RISE: how much the score rises, on average, where a random mask lets a pixel be seen.

    map at a pixel = mean of logit_c over masked copies, weighed by the mask there
                     - mean of logit_c over all masked copies

Masks are coarse random grids, enlarged and shifted; a masked pixel fades into the baseline. The
paper leaves the second mean out, which shifts all of a map; with logits, which have no natural
zero, the difference is what can be read. Nothing but answers is needed: any black box will do.

The masks depend on the seed and on the size of a sample alone, so every sample, batch size and
variant of a network sees the same ones.

Source: Petsiuk, Das, Saenko, "RISE: Randomized Input Sampling for Explanation of Black-box Models",
2018.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hsi.errors import SettingsError
from hsi.explain.attribution import Attribution, in_chunks, make_attribution, rows_at_once
from hsi.explain.baselines import Baseline, baseline_of
from hsi.explain.keras_layers import check_places
from hsi.explain.resize import resized
from hsi.explain.score import Score, chosen_classes, score_of


def attribute(
    model: Any,
    inputs: np.ndarray,
    *,
    classes: int | np.ndarray | None = None,
    batch_size: int | None = None,
    seed: int = 0,
    masks: int = 1000,
    cells: int = 7,
    seen: float = 0.5,
    baseline: Baseline = "zero",
) -> Attribution:
    """Rises of the logit where a pixel is seen, in units of the logit; the same in all channels.

    Args:
        model: a `tf_keras` model, a callable to logits (n, k), or a `Score` around a black box.
        inputs: (n, rows, cols, channels) samples as the network takes them.
        classes: class index 0..k-1, one for all or (n,); None explains the predicted class.
        batch_size: most rows (masked copies) at once; see `hsi.explain.attribution.rows_at_once`.
        seed: of the masks.
        masks: how many.
        cells: of the coarse grid along each side, at most the pixels there.
        seen: probability that a cell is seen.
        baseline: see `hsi.explain.baselines.baseline_of`.

    Raises:
        SettingsError: no samples, a class out of range, or masks that cannot be.
        ModelError: samples that do not fit the network, or do not have their channels last.
    """
    if masks < 2 or cells < 1 or not 0 < seen < 1:
        raise SettingsError(
            f"Expected at least 2 masks, 1 cell, and a share seen between 0 and 1, "
            f"got {masks}, {cells} and {seen}."
        )
    score = score_of(model)
    inputs = score.prepare(inputs)
    if inputs.ndim != 4:
        raise SettingsError(
            f"Expected samples of rows x cols x channels to mask, got shape {inputs.shape}."
        )
    check_places(score)
    batch_size = rows_at_once(inputs.shape[1:], batch_size)
    explained, scores = chosen_classes(score, inputs, classes, batch_size=batch_size)
    empty = baseline_of(inputs, baseline)
    drawn = Masks(inputs.shape[1:3], masks, cells=cells, seen=seen, seed=seed)
    answers = _answers(score, inputs, empty, explained, drawn, batch_size=batch_size)
    maps = _seen_minus_all(answers, drawn, batch_size=batch_size)
    return make_attribution(
        np.broadcast_to(maps[..., None], inputs.shape),
        explained,
        scores,
        method="rise",
        notes=(*score.notes, f"{masks} masks of {drawn.grid[0]} x {drawn.grid[1]} cells"),
        quantity="contribution",
        per="pixel",
    )


def _answers(
    score: Score,
    inputs: np.ndarray,
    empty: np.ndarray,
    classes: np.ndarray,
    drawn: Masks,
    *,
    batch_size: int,
) -> np.ndarray:
    """(samples, masks) logits of the masked copies; every chunk of rows is of one sample."""
    answers = np.zeros((len(inputs), drawn.count))
    for i, klass in enumerate(classes):

        def masked(numbers: np.ndarray, i: int = i) -> np.ndarray:
            mask = drawn.take(numbers)[..., None].astype(inputs.dtype)
            return mask * inputs[i] + (1 - mask) * empty[i]

        logits = in_chunks(drawn.count, masked, score.logits, batch_size=batch_size)
        answers[i] = logits[:, klass]
    return answers


def _seen_minus_all(answers: np.ndarray, drawn: Masks, *, batch_size: int) -> np.ndarray:
    """(samples, rows, cols): the mean answer weighed by each pixel's mask, less the mean answer."""
    away = answers - answers.mean(axis=1, keepdims=True)
    total, weight = np.zeros((len(answers), *drawn.sizes)), np.zeros(drawn.sizes)
    for start in range(0, drawn.count, batch_size):
        numbers = np.arange(start, min(start + batch_size, drawn.count))
        mask = drawn.take(numbers)
        total += np.tensordot(away[:, numbers], mask, axes=1)
        weight += mask.sum(axis=0)
    return np.divide(total, weight, out=np.zeros_like(total), where=weight > 0)


class Masks:
    """Smooth random masks of 0..1, made from their small grids when they are wanted.

    Args:
        sizes: rows and cols of a sample.
        count: how many masks.
        cells: along each side.
        seen: probability that a cell is seen.
        seed: of the grids and shifts.
    """

    def __init__(
        self, sizes: tuple[int, ...], count: int, *, cells: int, seen: float, seed: int
    ) -> None:
        rng = np.random.default_rng(seed)
        self.sizes, self.count = sizes, count
        self.grid = tuple(min(cells, size) for size in sizes)
        self._cell = tuple(-(-size // n) for size, n in zip(sizes, self.grid, strict=True))
        self._seen = rng.random((count, *self.grid)) < seen
        self._shift = np.stack([rng.integers(0, cell, count) for cell in self._cell], axis=1)

    def take(self, numbers: np.ndarray) -> np.ndarray:
        """(len(numbers), rows, cols) float64."""
        large = tuple((n + 1) * cell for n, cell in zip(self.grid, self._cell, strict=True))
        wide = resized(self._seen[numbers].astype(np.float64), large)
        rows = self._shift[numbers, :1] + np.arange(self.sizes[0])
        cols = self._shift[numbers, 1:] + np.arange(self.sizes[1])
        return wide[np.arange(len(numbers))[:, None, None], rows[:, :, None], cols[:, None, :]]
