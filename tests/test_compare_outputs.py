"""Outputs of two classifiers compared: every number against its definition, written out slowly."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.special
import scipy.stats
import sklearn.metrics

from hsi.compare.outputs import CENTRED, LOGITS, SCORES, compare_outputs, form_of
from hsi.errors import SettingsError
from hsi.metrics import wilson_interval

CLASSES = 4


def two_classifiers(count: int = 150, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Logits of two classifiers that are mostly right, and the truth."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(CLASSES, size=count)
    clean = 2.5 * np.eye(CLASSES)[truth]
    first = clean + rng.normal(size=clean.shape)
    return first, first + 0.8 * rng.normal(size=clean.shape), truth


def shares(logits: np.ndarray) -> np.ndarray:
    return scipy.special.softmax(logits, axis=1)


# Agreement and divergence


def test_agreement_counts_the_samples_of_one_class():
    first, second, _ = two_classifiers()
    found = compare_outputs(first, second)
    parting = [i for i in range(len(first)) if np.argmax(first[i]) != np.argmax(second[i])]
    assert parting
    assert found.parting.tolist() == parting
    assert found.agreement == pytest.approx(1 - len(parting) / len(first), abs=1e-15)
    low, high = wilson_interval(len(first) - len(parting), len(first))
    assert (found.agreement_low, found.agreement_high) == (low, high)
    assert found.against is None


@pytest.mark.parametrize("forms", ["logits", "probabilities"])
def test_the_divergence_by_its_sum(forms):
    first, second, _ = two_classifiers(40)
    total = 0.0
    for one, other in zip(shares(first), shares(second), strict=True):
        total += sum(p * math.log(p / q) for p, q in zip(one, other, strict=True))
    given = (first, second) if forms == "logits" else (shares(first), shares(second))
    found = compare_outputs(*given)
    assert found.kl == pytest.approx(total / 40, rel=1e-9)
    expected = scipy.stats.entropy(shares(first), shares(second), axis=1).mean()
    assert found.kl == pytest.approx(expected, rel=1e-9)
    low, high = found.kl_block
    assert low < found.kl < high


def test_the_divergence_is_from_the_first_and_zero_to_itself():
    first, second, _ = two_classifiers()
    there, back = compare_outputs(first, second).kl, compare_outputs(second, first).kl
    assert there != pytest.approx(back, rel=1e-6)
    same = compare_outputs(first, first.copy())
    assert (same.kl, same.difference_max, same.agreement) == (0, 0, 1)
    assert len(same.parting) == 0


def test_a_share_of_zero_counts_as_the_floor():
    first, second = np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]])
    found = compare_outputs(first, second, floor=1 / 512)
    p = np.array([1.0, 1 / 512]) / (1 + 1 / 512)
    assert found.kl == pytest.approx((p * np.log(p / p[::-1])).sum(), rel=1e-9)
    assert found.difference_max == pytest.approx(math.log(512), rel=1e-9)
    assert np.isfinite(compare_outputs(first, second).kl)


# Differences


def test_differences_of_logits_are_those_of_the_values():
    first, second, _ = two_classifiers()
    found = compare_outputs(first, second)
    apart = [abs(b - a) for a, b in zip(first.ravel(), second.ravel(), strict=True)]
    assert found.scale == LOGITS
    assert found.difference_max == pytest.approx(max(apart), rel=1e-12)
    assert found.difference_mean == pytest.approx(sum(apart) / len(apart), rel=1e-12)


def test_probabilities_tell_of_logits_what_a_constant_leaves():
    """log softmax is the logits less a number a sample: centred, both are the same."""
    first, second, _ = two_classifiers()
    apart = (second - second.mean(axis=1, keepdims=True)) - (
        first - first.mean(axis=1, keepdims=True)
    )
    for given in ((shares(first), shares(second)), (first, shares(second))):
        found = compare_outputs(*given)
        assert found.scale == CENTRED
        assert found.difference_max == pytest.approx(np.abs(apart).max(), rel=1e-9)
        assert found.difference_mean == pytest.approx(np.abs(apart).mean(), rel=1e-9)


def test_which_outputs_are_probabilities():
    logits, _, _ = two_classifiers()
    assert form_of(logits) == "logits"
    assert form_of(shares(logits).astype(np.float32)) == "probabilities"
    assert form_of(np.round(shares(logits) * 256) / 256) == "probabilities"
    assert form_of(np.abs(logits)) == "logits"
    assert form_of(1 / (1 + np.exp(-logits))) == "logits"  # sigmoids do not sum up to 1


def test_sigmoids_are_scores_and_no_logits():
    first, second, _ = two_classifiers()
    found = compare_outputs(scipy.special.expit(first), scipy.special.expit(second))
    assert found.scale == SCORES
    apart = np.abs(scipy.special.expit(second) - scipy.special.expit(first))
    assert found.difference_max == pytest.approx(apart.max(), rel=1e-12)


def test_a_form_that_is_said_is_not_guessed():
    values = np.array([[0.25, 0.75], [0.5, 0.5]])
    found = compare_outputs(values, values[::-1], forms=("logits", "logits"))
    assert found.scale == LOGITS
    assert found.difference_max == 0.25


# Accuracy


def test_mcnemar_is_the_sum_of_binomial_terms():
    first, second, truth = two_classifiers(seed=3)
    against = compare_outputs(first, second, truth).against
    right = [
        [np.argmax(row) == t for row, t in zip(s, truth, strict=True)] for s in (first, second)
    ]
    only_first = sum(a and not b for a, b in zip(*right, strict=True))
    only_second = sum(b and not a for a, b in zip(*right, strict=True))
    assert (against.only_first, against.only_second) == (only_first, only_second)
    n, few = only_first + only_second, min(only_first, only_second)
    tail = sum(math.comb(n, k) for k in range(few + 1)) / 2**n
    assert against.mcnemar_p == pytest.approx(min(1.0, 2 * tail), rel=1e-9)
    assert against.mcnemar_p == pytest.approx(scipy.stats.binomtest(only_first, n).pvalue)
    assert only_first + only_second > 5


def test_accuracies_are_those_of_scikit_learn():
    first, second, truth = two_classifiers()
    against = compare_outputs(first, second, truth).against
    for scores, judged in ((first, against.first), (second, against.second)):
        predicted, found = scores.argmax(axis=1), judged.accuracy
        assert found.oa == pytest.approx(sklearn.metrics.accuracy_score(truth, predicted))
        assert found.kappa == pytest.approx(sklearn.metrics.cohen_kappa_score(truth, predicted))
        recalls = sklearn.metrics.recall_score(truth, predicted, average=None)
        np.testing.assert_allclose(found.recall, recalls, rtol=1e-12)
        for k in range(CLASSES):
            of_class = truth == k
            ends = wilson_interval(int((predicted[of_class] == k).sum()), int(of_class.sum()))
            assert (judged.recall_low[k], judged.recall_high[k]) == pytest.approx(ends)
    expected = against.second.accuracy.oa - against.first.accuracy.oa
    assert against.difference == pytest.approx(expected, abs=1e-15)


def test_intervals_of_redrawn_blocks_against_a_slow_loop():
    """Blocks are drawn, their samples listed one by one, and scikit-learn judges them."""
    first, second, truth = two_classifiers(60)
    truth[truth == 3] = 0  # a class that the truth lacks counts nowhere
    blocks = np.random.default_rng(5).integers(9, size=60) * 7
    found = compare_outputs(first, second, truth, blocks=blocks, seed=11, draws=80).against
    members = [np.flatnonzero(blocks == name) for name in np.unique(blocks)]
    rng = np.random.default_rng(11)
    rows = []
    for _ in range(80):
        drawn = rng.integers(len(members), size=len(members))
        samples = np.concatenate([members[k] for k in drawn])
        row = []
        for scores in (first, second):
            predicted, its = scores.argmax(axis=1)[samples], truth[samples]
            recalls = [np.mean(predicted[its == k] == k) for k in np.unique(its)]
            kappa = sklearn.metrics.cohen_kappa_score(its, predicted)
            row += [np.mean(predicted == its), np.mean(recalls), kappa]
        rows.append(row)
    ends = np.quantile(np.array(rows), [0.025, 0.975], axis=0)
    for place, judged in enumerate((found.first, found.second)):
        kinds = (judged.oa_block, judged.aa_block, judged.kappa_block)
        np.testing.assert_allclose(kinds, ends[:, 3 * place : 3 * place + 3].T, rtol=1e-9)
    apart = np.array(rows)[:, 3] - np.array(rows)[:, 0]
    np.testing.assert_allclose(found.difference_block, np.quantile(apart, [0.025, 0.975]))


def test_blocks_of_like_samples_widen_the_interval():
    """Every sample eight times over is no more evidence than once."""
    first, second, truth = two_classifiers(40)
    several = [np.repeat(values, 8, axis=0) for values in (first, second, truth)]
    once = compare_outputs(first, second, truth).against
    blocked = compare_outputs(*several, blocks=np.repeat(np.arange(40), 8)).against
    alone = compare_outputs(*several).against
    np.testing.assert_allclose(blocked.difference_block, once.difference_block, atol=1e-12)
    assert np.ptp(alone.difference_block) < 0.6 * np.ptp(blocked.difference_block)


def test_one_block_has_no_interval():
    first, second, truth = two_classifiers(20)
    found = compare_outputs(first, second, truth, blocks=np.zeros(20, int))
    assert found.blocks == 1
    for low, high in (found.kl_block, found.against.difference_block, found.against.first.aa_block):
        assert math.isnan(low)
        assert math.isnan(high)


def test_the_same_seed_draws_the_same():
    first, second, truth = two_classifiers(50)
    ends = [
        compare_outputs(first, second, truth, seed=seed).against.difference_block
        for seed in (1, 1, 2)
    ]
    assert ends[0] == ends[1] != ends[2]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda a, b, t: (a, b[:, :3], t), "same samples and classes"),
        (lambda a, b, t: (a[:5], b, t), "same samples and classes"),
        (lambda a, b, t: (a[:0], b[:0], None), "same samples and classes"),
        (lambda a, b, t: (a, np.where(b > 2, np.nan, b), t), "finite"),
        (lambda a, b, t: (a, b, t[:-1]), "truth: expected a value for each"),
        (lambda a, b, t: (a, b, t + 1), "class indices 0 to 3"),
    ],
)
def test_arrays_that_do_not_agree_are_refused(change, said):
    with pytest.raises(SettingsError, match=said):
        compare_outputs(*change(*two_classifiers()))
