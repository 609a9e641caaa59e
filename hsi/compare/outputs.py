"""Whether two classifiers answer alike, and whether one of them is better.

Neighbouring pixels of a scene are no independent samples. Where blocks are given, intervals come
from redrawing whole blocks (the block bootstrap: Hall 1985, Künsch 1989; percentiles of the redrawn
values, Efron 1979); both classifiers see the same draws, so that the interval of their difference
is a paired one. TensorFlow is not needed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hsi.compare.means import DRAWS, mean_of
from hsi.errors import SettingsError, one_of
from hsi.metrics import Accuracy, accuracy, mcnemar, wilson_interval

FORMS = ("probabilities", "logits")
LOGITS, CENTRED, SCORES = "logits", "log-probabilities, centred", "scores"
"""What the differences are of."""

FLOOR = float(np.finfo(np.float32).tiny)
"""Least probability that counts: the logarithm of 0 has no value."""

_SUM_TOLERANCE = 0.05
"""How far from 1 shares of 8 bits may sum up."""

Interval = tuple[float, float]


@dataclass(frozen=True, eq=False)
class Judged:
    """The accuracies of one classifier with 95 % intervals.

    Attributes:
        accuracy: OA (with its Wilson interval, samples taken as independent), AA, kappa, recall
            and confusion.
        oa_block, aa_block, kappa_block: (low, high) by redrawn blocks; NaN with a single block.
        recall_low, recall_high: (classes,) Wilson interval of each recall, NaN where the truth
            lacks the class.
    """

    accuracy: Accuracy
    oa_block: Interval
    aa_block: Interval
    kappa_block: Interval
    recall_low: np.ndarray
    recall_high: np.ndarray


@dataclass(frozen=True, eq=False)
class Against:
    """Two classifiers against the truth, the second as seen from the first.

    Attributes:
        first, second: the accuracies of each.
        only_first, only_second: samples on which just that one is right.
        mcnemar_p: exact, two-sided; see `hsi.metrics.mcnemar`.
        difference: OA of the second less that of the first, -1..1.
        difference_block: its 95 % interval by redrawn blocks, paired.
    """

    first: Judged
    second: Judged
    only_first: int
    only_second: int
    mcnemar_p: float
    difference: float
    difference_block: Interval


@dataclass(frozen=True, eq=False)
class Outputs:
    """What two classifiers answer to the same samples.

    Attributes:
        samples, blocks: how many; without blocks each sample is one of its own.
        agreement: share of samples with the same class, with its 95 % Wilson interval.
        kl: mean Kullback-Leibler divergence of the second's shares from the first's, nats
            (Kullback and Leibler 1951): sum of p_first * log(p_first / p_second).
        kl_block: its 95 % interval by redrawn blocks.
        difference_max, difference_mean: of the magnitudes of second less first, over samples and
            classes.
        scale: what these are differences of: "logits"; "log-probabilities, centred" (each
            sample's mean taken off: that is what probabilities tell of logits); or "scores", of
            answers from 0 to 1 that do not sum up to 1, such as sigmoids.
        floor: probabilities below it count as it.
        parting: (k,) indices of the samples with different classes, ascending.
        against: the truth, where that is known.
    """

    samples: int
    blocks: int
    agreement: float
    agreement_low: float
    agreement_high: float
    kl: float
    kl_block: Interval
    difference_max: float
    difference_mean: float
    scale: str
    floor: float
    parting: np.ndarray
    against: Against | None = None


def compare_outputs(
    first: np.ndarray,
    second: np.ndarray,
    truth: np.ndarray | None = None,
    *,
    forms: tuple[str | None, str | None] = (None, None),
    blocks: np.ndarray | None = None,
    floor: float = FLOOR,
    seed: int = 0,
    draws: int = DRAWS,
) -> Outputs:
    """Compare what two classifiers answer to the same samples.

    Args:
        first, second: (n, classes) probabilities or logits.
        truth: (n,) class indices.
        forms: "probabilities" or "logits" of each; None finds it out (`form_of`).
        blocks: (n,) a number for each sample, the same for those that are redrawn together.
        floor: least probability that counts; half a step for shares of few bits.
        seed, draws: of the redrawn blocks.

    Raises:
        SettingsError: arrays that do not agree, values that are not finite, an unknown form.

    Example:
        >>> a = np.array([[0.9, 0.1], [0.4, 0.6]])
        >>> found = compare_outputs(a, a[::-1], np.array([0, 1]))
        >>> found.agreement, found.parting, found.against.mcnemar_p
        (0.0, array([0, 1]), 0.5)
    """
    first, second = np.asarray(first), np.asarray(second)
    truth = None if truth is None else np.asarray(truth)
    blocks = np.arange(len(first)) if blocks is None else np.asarray(blocks)
    _check(first, second, truth, blocks)
    kinds = [
        one_of(form, FORMS, what="form") if form else form_of(scores)
        for form, scores in zip(forms, (first, second), strict=True)
    ]
    logs = [_log_shares(s, k, floor) for s, k in zip((first, second), kinds, strict=True)]
    kl = (np.exp(logs[0]) * (logs[0] - logs[1])).sum(axis=1)
    divergence = mean_of(kl, blocks=blocks, seed=seed)
    plain = kinds == [LOGITS, LOGITS]
    apart = np.abs(
        second.astype(np.float64) - first if plain else _centred(logs[1]) - _centred(logs[0])
    )
    classes = first.argmax(axis=1), second.argmax(axis=1)
    same = classes[0] == classes[1]
    low, high = wilson_interval(int(same.sum()), len(same))
    redraw = Redraw(blocks, seed=seed, draws=draws)
    return Outputs(
        samples=len(first),
        blocks=redraw.blocks,
        agreement=float(same.mean()),
        agreement_low=low,
        agreement_high=high,
        kl=divergence.value,
        kl_block=(divergence.low, divergence.high),
        difference_max=float(apart.max()),
        difference_mean=float(apart.mean()),
        scale=_scale(first, second, forms) if plain else CENTRED,
        floor=floor,
        parting=np.flatnonzero(~same),
        against=None if truth is None else _against(*classes, truth, first.shape[1], redraw),
    )


def form_of(scores: np.ndarray) -> str:
    """ "probabilities" where (n, classes) are none below 0 and sum up to 1, else "logits"."""
    sums = scores.sum(axis=1, dtype=np.float64)
    shares = scores.min() >= 0 and np.abs(sums - 1).mean() < _SUM_TOLERANCE
    return "probabilities" if shares else "logits"


def _scale(first: np.ndarray, second: np.ndarray, forms: tuple[str | None, str | None]) -> str:
    """What the values of two classifiers that answer no probabilities are, as far as is known."""
    guessed = (s for s, form in zip((first, second), forms, strict=True) if form is None)
    return SCORES if any(s.min() >= 0 and s.max() <= 1 for s in guessed) else LOGITS


class Redraw:
    """Whole blocks of samples, drawn with replacement as often as there are blocks.

    Args:
        blocks: (n,) the number of each sample's block.
        seed: the same gives the same draws.
        draws: how many.

    Attributes:
        blocks: how many there are.
    """

    def __init__(self, blocks: np.ndarray, *, seed: int, draws: int) -> None:
        known, self._block_of = np.unique(blocks, return_inverse=True)
        self.blocks = len(known)
        self._seed, self._draws = seed, draws

    def sums(self, rows: np.ndarray, columns: np.ndarray, width: int) -> np.ndarray:
        """Counts of columns over redrawn samples.

        Args:
            rows: (m,) a sample's index.
            columns: (m,) in which column it counts once.

        Returns:
            (draws, width) float64.
        """
        from scipy.sparse import csr_array  # slow to import

        place = (self._block_of[rows], columns)
        ones = np.ones(len(rows))
        blocks = csr_array((ones, place), shape=(self.blocks, width)).T.tocsr()
        rng = np.random.default_rng(self._seed)
        found = np.empty((self._draws, width))
        for i in range(self._draws):
            drawn = rng.integers(self.blocks, size=self.blocks)
            found[i] = blocks @ np.bincount(drawn, minlength=self.blocks)
        return found

    def interval(self, values: np.ndarray) -> Interval:
        """2.5 % and 97.5 % of redrawn values; NaN where there is one block only."""
        if self.blocks < 2:
            return float("nan"), float("nan")
        low, high = np.quantile(values, [0.025, 0.975])
        return float(low), float(high)


def _check(
    first: np.ndarray, second: np.ndarray, truth: np.ndarray | None, blocks: np.ndarray
) -> None:
    if first.ndim != 2 or first.shape != second.shape or not first.size:
        raise SettingsError(
            "Expected scores of the same samples and classes, both (samples, classes), got "
            f"{first.shape} and {second.shape}."
        )
    for scores in (first, second):
        bad = np.count_nonzero(~np.isfinite(scores).all(axis=1))
        if bad:
            raise SettingsError(
                f"Expected scores that are finite, those of {bad} of {len(scores)} samples are not."
            )
    for name, given in (("truth", truth), ("blocks", blocks)):
        if given is not None and given.shape != (len(first),):
            raise SettingsError(
                f"{name}: expected a value for each of {len(first)} samples, got shape "
                f"{given.shape}."
            )
    if truth is not None and not 0 <= truth.min() <= truth.max() < first.shape[1]:
        raise SettingsError(
            f"truth: expected class indices 0 to {first.shape[1] - 1}, got {truth.min()} to "
            f"{truth.max()}."
        )


def _log_shares(scores: np.ndarray, form: str, floor: float) -> np.ndarray:
    """(n, classes) logarithms of shares that sum up to 1, float64."""
    scores = scores.astype(np.float64)
    if form == LOGITS:
        logs = scores - scores.max(axis=1, keepdims=True)
        logs -= np.log(np.exp(logs).sum(axis=1, keepdims=True))
        scores = np.exp(logs)
        if scores.min() >= floor:
            return logs
    shares = np.maximum(scores, floor)
    return np.log(shares / shares.sum(axis=1, keepdims=True))


def _centred(logs: np.ndarray) -> np.ndarray:
    return logs - logs.mean(axis=1, keepdims=True)


def _against(
    first: np.ndarray, second: np.ndarray, truth: np.ndarray, classes: int, redraw: Redraw
) -> Against:
    right = first == truth, second == truth
    drawn = _redrawn_accuracies((first, second), truth, classes, redraw)
    judged = [
        _judged(truth, predicted, classes, values, redraw)
        for predicted, values in zip((first, second), drawn, strict=True)
    ]
    return Against(
        first=judged[0],
        second=judged[1],
        only_first=int((right[0] & ~right[1]).sum()),
        only_second=int((right[1] & ~right[0]).sum()),
        mcnemar_p=mcnemar(*right),
        difference=judged[1].accuracy.oa - judged[0].accuracy.oa,
        difference_block=redraw.interval(drawn[1][:, 0] - drawn[0][:, 0]),
    )


def _judged(
    truth: np.ndarray, predicted: np.ndarray, classes: int, drawn: np.ndarray, redraw: Redraw
) -> Judged:
    found = accuracy(truth, predicted, classes)
    right, total = np.diag(found.confusion), found.confusion.sum(axis=1)
    ends = np.array(
        [
            wilson_interval(int(r), int(n)) if n else (np.nan, np.nan)
            for r, n in zip(right, total, strict=True)
        ]
    )
    oa, aa, kappa = (redraw.interval(column) for column in drawn.T)
    return Judged(found, oa, aa, kappa, recall_low=ends[:, 0], recall_high=ends[:, 1])


def _redrawn_accuracies(
    predictions: tuple[np.ndarray, ...], truth: np.ndarray, classes: int, redraw: Redraw
) -> list[np.ndarray]:
    """(draws, 3) OA, AA and kappa of each; every draw is the same for all of them."""
    every = np.arange(len(truth))
    found = []
    for predicted in predictions:
        right = np.flatnonzero(predicted == truth)
        rows = np.concatenate([every, every, right])
        columns = np.concatenate([truth, classes + predicted, 2 * classes + truth[right]])
        counts = redraw.sums(rows, columns, 3 * classes)
        of_class, answered, hits = np.split(counts, 3, axis=1)
        total = of_class.sum(axis=1)
        oa = hits.sum(axis=1) / total
        with np.errstate(invalid="ignore"):
            aa = np.nanmean(np.where(of_class > 0, hits / of_class, np.nan), axis=1)
        chance = (of_class * answered).sum(axis=1) / total**2
        with np.errstate(invalid="ignore", divide="ignore"):
            kappa = np.where(chance < 1, (oa - chance) / (1 - chance), 0.0)
        found.append(np.stack([oa, aa, kappa], axis=1))
    return found
