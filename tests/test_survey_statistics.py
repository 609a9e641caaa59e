"""Statistics of surveys: intervals of clustered votes, paired tests, agreement."""

from __future__ import annotations

from itertools import permutations, product
from math import comb

import numpy as np
import pytest
from scipy.stats import chi2, norm

from hsi.metrics import holm
from hsi.survey.agreement import alpha_interval, nominal_alpha
from hsi.survey.clusters import difference_of, mean_of, two_way_variance
from hsi.survey.paired import cochran_q
from hsi.survey.preferences import preference
from hsi.survey.recognition import Votes, recognised_table

OBSERVERS = """
1 2 3 3 2 1 4 1 2 . . .
1 2 3 3 2 2 4 1 2 5 . 3
. 3 3 3 2 3 4 2 2 5 1 .
1 2 3 3 2 4 4 1 2 5 1 .
"""
"""Four observers of twelve units, the worked example of Krippendorff (2011), section C."""


def literal_alpha(values: np.ndarray, units: np.ndarray) -> float:
    """Krippendorff 2011: the coincidences of all ordered pairs of answers within units."""
    coincidences: dict[tuple[int, int], float] = {}
    for unit in set(units.tolist()):
        mine = values[units == unit].tolist()
        for one, two in permutations(range(len(mine)), 2):
            pair = (mine[one], mine[two])
            coincidences[pair] = coincidences.get(pair, 0) + 1 / (len(mine) - 1)
    totals: dict[int, float] = {}
    for (one, _), count in coincidences.items():
        totals[one] = totals.get(one, 0) + count
    n = sum(totals.values())
    observed = sum(count for (one, two), count in coincidences.items() if one != two)
    expected = sum(totals[a] * totals[b] for a, b in permutations(totals, 2)) / (n - 1)
    return 1 - observed / expected


def test_alpha_is_that_of_the_published_example():
    rows = [line.split() for line in OBSERVERS.split("\n") if line]
    given = [(int(v), unit) for row in rows for unit, v in enumerate(row) if v != "."]
    values, units = map(np.array, zip(*given, strict=True))
    assert nominal_alpha(values, units) == pytest.approx(0.743, abs=5e-4)


def test_alpha_is_that_of_its_definition():
    rng = np.random.default_rng(0)
    for _ in range(20):
        units = rng.integers(0, 8, 30)
        values = np.where(rng.uniform(size=30) < 0.6, units % 4, rng.integers(0, 4, 30))
        assert nominal_alpha(values, units) == pytest.approx(literal_alpha(values, units))


def test_alpha_knows_agreement_and_knows_when_it_cannot_tell():
    units = np.repeat(np.arange(5), 3)
    assert nominal_alpha(units % 2, units) == pytest.approx(1)
    assert np.isnan(nominal_alpha(np.ones(15), units))  # no other answer to disagree by
    assert np.isnan(nominal_alpha(np.arange(5), np.arange(5)))  # one answer a question
    rng = np.random.default_rng(0)
    many = np.repeat(np.arange(2000), 3)
    assert abs(nominal_alpha(rng.integers(0, 3, 6000), many)) < 0.03  # chance


def test_the_interval_of_alpha_draws_images_and_not_questions():
    rng = np.random.default_rng(1)
    units = np.repeat(np.arange(40), 4)
    values = np.where(rng.uniform(size=160) < 0.7, units % 3, rng.integers(0, 3, 160))
    low, high = alpha_interval(values, units, units, seed=0)
    assert low < nominal_alpha(values, units) < high
    assert (low, high) == alpha_interval(values, units, units, seed=0)
    assert np.isnan(alpha_interval(values, units, np.zeros(160), seed=0)).all()  # one image
    # Three copies of every question tell nothing new of its image.
    copies = [np.tile(part, 3) for part in (values, units)]
    own = copies[1] + 40 * np.repeat(np.arange(3), 160)
    clustered = alpha_interval(copies[0], own, copies[1], seed=0)
    assert np.diff(clustered)[0] == pytest.approx(high - low, abs=0.02)


# Intervals


def literal_variance(psi: np.ndarray, images: np.ndarray, raters: np.ndarray) -> float:
    """Cameron, Gelbach and Miller (2011): one-way variances, added and the intersection's taken."""

    def one_way(keys: list) -> float:
        sums = {key: sum(p for p, k in zip(psi, keys, strict=True) if k == key) for key in keys}
        count = len(sums)
        return count / (count - 1) * sum(s**2 for s in sums.values()) / len(psi) ** 2

    pairs = list(zip(images.tolist(), raters.tolist(), strict=True))
    parts = one_way(images.tolist()), one_way(raters.tolist()), one_way(pairs)
    return max(parts[0] + parts[1] - parts[2], *parts)


def test_the_variance_is_that_of_its_definition():
    rng = np.random.default_rng(0)
    for _ in range(20):
        images, raters = rng.integers(0, 5, 40), rng.integers(0, 7, 40)
        psi = rng.normal(size=40) + rng.normal(size=5)[images]
        psi -= psi.mean()
        found = two_way_variance(psi, images, np.array([f"r{r}" for r in raters]))
        assert found == pytest.approx(literal_variance(psi, images, raters))


def simulated_votes(
    rng: np.random.Generator, *, shift: float, images: int, raters: int, spread: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Votes -1, 0, +1 of every rater on every image, with leanings of images and of raters."""
    image, rater = (part.ravel() for part in np.indices((images, raters)))
    pull = rng.normal(0, spread, images)[image] + rng.normal(0, spread, raters)[rater]
    strength = shift + pull + rng.normal(size=image.size)
    return np.sign(strength) * (np.abs(strength) > DEAD_ZONE), image, rater


DEAD_ZONE = 0.4


def true_difference(shift: float, spread: float) -> float:
    """Of the shares of votes for each, over all images and raters there could be."""
    whole = np.sqrt(1 + 2 * spread**2)
    return norm.cdf((shift - DEAD_ZONE) / whole) - norm.cdf((-shift - DEAD_ZONE) / whole)


@pytest.mark.parametrize(("shift", "spread"), [(0.0, 0.6), (0.5, 0.6), (0.5, 0.0)])
def test_simulated_preferences_are_recovered_within_their_interval(shift, spread):
    """Coverage near 95 % with clusters and without; with no effect few false findings."""
    rng = np.random.default_rng(7)
    truth, rounds = true_difference(shift, spread), 400
    covered = found = naive = 0
    for _ in range(rounds):
        votes, image, rater = simulated_votes(rng, shift=shift, images=30, raters=20, spread=spread)
        result = mean_of(votes, image, rater, within=(-1, 1), tested=True)
        covered += result.low <= truth <= result.high
        found += result.p < 0.05
        naive += abs(votes.mean() - truth) <= 1.96 * votes.std() / np.sqrt(votes.size)
    assert 0.92 * rounds <= covered <= (0.985 if spread else 1.0) * rounds
    if shift == 0:
        assert found <= 0.08 * rounds
    else:
        assert found >= 0.7 * rounds
    if spread:  # votes taken as independent would not do
        assert naive < 0.7 * rounds


def test_the_interval_of_a_difference_covers_it():
    """Two groups on the same images and raters, whose leanings fall out of the difference."""
    rng = np.random.default_rng(3)
    rounds, covered, found = 300, 0, 0
    shares = norm.cdf(np.array([0.0, 0.7]) / np.sqrt(1 + 2 * 0.8**2))
    for _ in range(rounds):
        image, rater, group = (part.ravel() for part in np.indices((25, 12, 2)))
        pull = rng.normal(0, 0.8, 25)[image] + rng.normal(0, 0.8, 12)[rater]
        right = 0.7 * group + pull + rng.normal(size=image.size) > 0
        result = difference_of(right, group == 1, image, rater)
        covered += result.low <= shares[1] - shares[0] <= result.high
        found += result.p < 0.05
    assert 0.91 * rounds <= covered <= 0.99 * rounds
    assert found > 0.9 * rounds


def test_votes_that_are_all_the_same_have_an_interval_all_the_same():
    image, rater = (part.ravel() for part in np.indices((6, 4)))
    every = mean_of(np.ones(24), image, rater, within=(0, 1))
    assert (every.value, every.high) == (1, 1)
    assert 0.45 < every.low < 0.55  # of four raters, not of 24 votes: Wilson gives 0.51
    neither = mean_of(np.zeros(24), image, rater, within=(-1, 1), tested=True)
    assert neither.low < 0 < neither.high
    assert neither.p == 1
    one_image = mean_of(np.arange(4.0), np.zeros(4), np.arange(4), within=(0, 4))
    assert np.isnan([one_image.low, one_image.high]).all()
    balanced = mean_of(np.array([1, -1, -1, 1]), *map(np.ravel, np.indices((2, 2))), within=(-1, 1))
    assert balanced.low < 0 < balanced.high  # whose clusters cancel


def test_a_preference_counts_what_was_said():
    votes = np.array([-1, -1, 0, 1, 1, 1])
    found = preference(votes, np.array([0, 1, 2, 0, 1, 2]), np.array([0, 0, 0, 1, 1, 1]))
    assert found.votes == (2, 1, 3)
    assert (found.images, found.raters) == (3, 2)
    assert found.difference.value == pytest.approx(1 / 6)
    assert found.decided.value == pytest.approx(3 / 5)


# Paired tests


def test_cochrans_q_of_two_conditions_is_mcnemars():
    rng = np.random.default_rng(0)
    table = rng.uniform(size=(60, 2)) < (0.4, 0.7)
    one, two = (table[:, 0] & ~table[:, 1]).sum(), (~table[:, 0] & table[:, 1]).sum()
    found = cochran_q(table)
    assert found.q == pytest.approx((one - two) ** 2 / (one + two))
    assert found.p == pytest.approx(chi2.sf(found.q, 1))
    assert (found.degrees, found.images, found.informative) == (1, 60, one + two)


def literal_q(table: np.ndarray) -> float:
    """Cochran 1950, with the images that answer alike left in: they change nothing."""
    k = table.shape[1]
    columns, rows, mean = table.sum(axis=0), table.sum(axis=1), table.sum() / k
    return k * (k - 1) * sum((c - mean) ** 2 for c in columns) / sum(r * (k - r) for r in rows)


def test_cochrans_q_and_its_permutation_test_are_those_of_their_definitions():
    rng = np.random.default_rng(5)
    table = rng.uniform(size=(5, 3)) < (0.2, 0.5, 0.8)
    found = cochran_q(table)
    assert found.q == pytest.approx(literal_q(table))
    arrangements = [sorted(set(permutations(row))) for row in table.astype(int).tolist()]
    every = [literal_q(np.array(rows)) for rows in product(*arrangements)]
    exact = np.mean([q >= found.q - 1e-9 for q in every])
    assert len(every) == np.prod([comb(3, int(row.sum())) for row in table])
    assert found.p_permuted == pytest.approx(exact, abs=0.02)
    same = cochran_q(np.ones((4, 3), bool))
    assert (same.q, same.p, same.p_permuted, same.informative) == (0, 1, 1, 0)


def test_cochrans_q_finds_an_effect_and_none_where_there_is_none():
    rng = np.random.default_rng(2)
    null, permuted, effect, rounds = 0, 0, 0, 200
    for _ in range(rounds):
        leaning = rng.normal(0, 1.5, (40, 1))  # images differ, conditions do not
        found = cochran_q(leaning + rng.normal(size=(40, 3)) > 0, draws=199)
        null += found.p < 0.05
        permuted += found.p_permuted < 0.05
        effect += cochran_q(leaning + rng.normal(size=(40, 3)) > (0, 0, 1.2), draws=1).p < 0.05
    assert 0.02 * rounds <= null <= 0.09 * rounds
    assert 0.02 * rounds <= permuted <= 0.09 * rounds
    assert effect > 0.9 * rounds


def test_holms_correction_rejects_what_its_procedure_rejects():
    rng = np.random.default_rng(0)
    for _ in range(50):
        p = rng.uniform(0, 0.2, 5)
        level = rng.uniform(0.01, 0.5)
        rejected = np.zeros(5, bool)
        for step, place in enumerate(np.argsort(p)):
            if p[place] > level / (5 - step):
                break
            rejected[place] = True
        assert (holm(p) <= level).tolist() == rejected.tolist()


def test_an_image_is_recognised_by_more_than_half_of_its_answers():
    votes = Votes(
        right=np.array([1, 1, 0, 1, 0, 0, 1, 1], bool),
        variants=np.array([0, 0, 0, 1, 1, 0, 1, 0]),
        images=np.array(["a", "a", "a", "a", "a", "b", "b", "c"]),
        raters=np.array([1, 2, 3, 1, 2, 1, 1, 1]),
    )
    # a: 2 of 3 and 1 of 2, which is no more than half; b: 0 of 1 and 1 of 1; c: not under both.
    assert recognised_table(votes, 2).tolist() == [[True, False], [False, True]]
