"""Accuracy, intervals and McNemar against their definitions and against other libraries."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn.metrics as reference
from scipy.stats import binom, binomtest

from hsi.metrics import accuracy, confusion_matrix, cross_entropy, mcnemar, wilson_interval


def random_labels(seed: int, *, classes: int = 7, count: int = 400) -> tuple:
    rng = np.random.default_rng(seed)
    truth = rng.integers(classes, size=count)
    predicted = np.where(rng.random(count) < 0.6, truth, rng.integers(classes, size=count))
    return truth, predicted


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", [np.int64, np.int32, np.uint8])
def test_accuracies_are_those_of_scikit_learn(seed, kind):
    truth, predicted = (values.astype(kind) for values in random_labels(seed))
    found = accuracy(truth, predicted, 7)
    assert found.oa == pytest.approx(reference.accuracy_score(truth, predicted), abs=1e-12)
    assert found.aa == pytest.approx(reference.balanced_accuracy_score(truth, predicted), abs=1e-12)
    assert found.kappa == pytest.approx(reference.cohen_kappa_score(truth, predicted), abs=1e-12)
    np.testing.assert_array_equal(
        found.confusion, reference.confusion_matrix(truth, predicted, labels=range(7))
    )


def test_accuracies_by_their_literal_definitions():
    truth, predicted = random_labels(9)
    counts = np.zeros((7, 7), int)
    for t, p in zip(truth, predicted, strict=True):
        counts[t, p] += 1
    found = accuracy(truth, predicted, 7)
    np.testing.assert_array_equal(found.confusion, counts)
    recalls = [counts[c, c] / counts[c].sum() for c in range(7)]
    np.testing.assert_allclose(found.recall, recalls, rtol=1e-12)
    agree = sum(counts[c, c] for c in range(7)) / 400
    chance = sum(counts[c].sum() / 400 * counts[:, c].sum() / 400 for c in range(7))
    assert found.oa == pytest.approx(agree, abs=1e-12)
    assert found.aa == pytest.approx(sum(recalls) / 7, abs=1e-12)
    assert found.kappa == pytest.approx((agree - chance) / (1 - chance), abs=1e-12)


def test_a_class_that_the_truth_lacks_has_no_recall_and_no_part_in_aa():
    truth, predicted = np.array([0, 0, 1, 1, 3, 3]), np.array([0, 2, 1, 1, 3, 0])
    found = accuracy(truth, predicted, 5)
    np.testing.assert_array_equal(np.isnan(found.recall), [False, False, True, False, True])
    assert found.aa == pytest.approx((0.5 + 1 + 0.5) / 3)
    assert found.confusion.shape == (5, 5)
    assert found.confusion.sum() == 6
    assert found.confusion[0, 2] == 1


def test_one_class_everywhere_has_no_kappa_to_speak_of():
    found = accuracy(np.zeros(5, int), np.zeros(5, int), 3)
    assert (found.oa, found.aa, found.kappa) == (1.0, 1.0, 0.0)


def test_all_wrong_is_kappa_below_zero():
    found = accuracy(np.array([0, 1]), np.array([1, 0]), 2)
    assert (found.oa, found.kappa) == (0.0, -1.0)


def test_the_confusion_of_large_class_numbers_does_not_overflow_its_type():
    truth = np.array([250, 254, 0], np.uint8)
    matrix = confusion_matrix(truth, truth, 255)
    assert np.flatnonzero(np.diag(matrix)).tolist() == [0, 250, 254]
    assert matrix.sum() == 3


@pytest.mark.parametrize(
    ("right", "trials"), [(0, 1), (1, 1), (0, 50), (50, 50), (7, 9), (90, 100)]
)
def test_the_wilson_interval_solves_its_own_equation(right, trials):
    """Its ends are the proportions p at which |share - p| = z sqrt(p (1 - p) / n)."""
    low, high = wilson_interval(right, trials)
    share = right / trials
    assert 0 <= low <= share <= high <= 1
    for end in (low, high):
        expected = 1.959964 * np.sqrt(end * (1 - end) / trials)
        assert abs(share - end) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("right", "trials"), [(3, 10), (95, 100), (9901, 10000)])
def test_the_wilson_interval_is_that_of_scipy(right, trials):
    expected = binomtest(right, trials).proportion_ci(0.95, method="wilson")
    assert wilson_interval(right, trials) == pytest.approx(tuple(expected), abs=1e-6)


def test_the_accuracy_lies_in_its_interval():
    found = accuracy(*random_labels(3), 7)
    assert (found.oa_low, found.oa_high) == wilson_interval(round(found.oa * 400), 400)
    assert found.oa_low < found.oa < found.oa_high


@pytest.mark.parametrize("seed", range(5))
def test_mcnemar_is_the_two_sided_sign_test_on_the_discordant_samples(seed):
    rng = np.random.default_rng(seed)
    a, b = rng.random(60) < 0.8, rng.random(60) < 0.6
    only_a = sum(1 for x, y in zip(a, b, strict=True) if x and not y)
    only_b = sum(1 for x, y in zip(a, b, strict=True) if y and not x)
    tail = binom.cdf(min(only_a, only_b), only_a + only_b, 0.5)
    assert mcnemar(a, b) == pytest.approx(min(1.0, 2 * tail), abs=1e-12)
    assert mcnemar(a, b) == mcnemar(b, a)


def test_mcnemar_of_equal_answers_is_one_and_of_a_clear_difference_small():
    right = np.array([True] * 30 + [False] * 10)
    assert mcnemar(right, right) == 1.0
    assert mcnemar(np.ones(40, bool), right) == pytest.approx(2 * 0.5**10)


def test_cross_entropy_is_what_it_is_defined_to_be_down_to_the_step_of_an_int8_file():
    probabilities = np.array([[0.5, 0.5, 0.0], [0.1, 0.2, 0.7], [1.0, 0.0, 0.0]], np.float32)
    wanted = -(np.log(0.5) + np.log(0.7) + np.log(1 / 256)) / 3
    assert cross_entropy(probabilities, np.array([0, 2, 1])) == pytest.approx(wanted, rel=1e-6)
    assert cross_entropy(np.eye(3), np.arange(3)) == 0
