"""Similarity of attributions against SciPy, scikit-learn and slow literal definitions."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from scipy.spatial import distance
from scipy.stats import pearsonr, spearmanr

from hsi.compare.attributions import MEASURES, similarity, top_k_overlap
from hsi.errors import SettingsError

SHAPE = (3, 3, 8)


def maps(n: int = 6, *, seed: int = 0, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, *shape)).astype(np.float32)


def with_ties(n: int = 6, *, seed: int = 0) -> np.ndarray:
    """Few different values, zeros of both kinds among them."""
    return np.random.default_rng(seed).integers(-2, 3, (n, *SHAPE)).astype(np.float32)


PAIRS = {
    "random": (maps(seed=1), maps(seed=2)),
    "alike": (maps(seed=3), maps(seed=3) + 0.3 * maps(seed=4)),
    "ties": (with_ties(seed=5), with_ties(seed=6)),
    "scales far apart": (maps(seed=7) * np.float32(1e-30), maps(seed=8) * np.float32(1e30)),
    "heavy tails": (maps(seed=9) ** 9, maps(seed=9) ** 7 + maps(seed=10)),
}

ORACLES = {
    "spearman": lambda a, b: spearmanr(a, b).statistic,
    "spearman_magnitude": lambda a, b: spearmanr(abs(a), abs(b)).statistic,
    "pearson": lambda a, b: pearsonr(a, b).statistic,
    "cosine": lambda a, b: 1 - distance.cosine(a, b),
}


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("name", ORACLES)
def test_measures_are_those_of_scipy(name, pair):
    first, second = PAIRS[pair]
    found = MEASURES[name](first, second)
    wanted = [
        ORACLES[name](a.ravel().astype(float), b.ravel().astype(float))
        for a, b in zip(first, second, strict=True)
    ]
    assert found.shape == (len(first),)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("percent", [1, 5, 10, 40, 100])
def test_overlap_without_ties_is_that_of_the_two_sets(percent):
    first, second = maps(seed=11), maps(seed=11) + maps(seed=12)
    count = max(1, round(percent / 100 * first[0].size))
    for a, b, found in zip(
        first, second, top_k_overlap(first, second, percent=percent), strict=True
    ):
        sets = [set(np.argsort(-abs(m.ravel()))[:count]) for m in (a, b)]
        assert found == pytest.approx(len(sets[0] & sets[1]) / count)


def test_values_that_tie_share_the_last_places():
    first = np.array([[5.0, 1, 1, 0]])  # takes value 0, half of 1 and half of 2
    second = np.array([[1.0, 5, 1, 0]])  # takes value 1, half of 0 and half of 2
    assert top_k_overlap(first, second, percent=50)[0] == pytest.approx((0.5 + 0.5 + 0.5) / 2)
    blocks = np.zeros((1, 10))
    blocks[:, :5] = 1  # a map per pixel: the same in all its channels
    assert top_k_overlap(blocks, blocks, percent=10)[0] == pytest.approx(1)


def test_zeros_are_never_among_the_largest():
    """Two spots in different places have nothing in common, however many zeros they share."""
    first, second = np.zeros((2, 1, 100))
    first[0, :2], second[0, 5:7] = 3, 4
    assert top_k_overlap(first, second, percent=20)[0] == 0
    assert top_k_overlap(first, first, percent=20)[0] == 1
    dense = maps(1, shape=(100,)) + 10
    assert top_k_overlap(first, dense, percent=20)[0] <= 2 / 20


@pytest.mark.parametrize("name", MEASURES)
def test_a_map_is_like_itself_and_the_measure_is_symmetric(name):
    first, second = PAIRS["alike"]
    np.testing.assert_allclose(MEASURES[name](first, first), 1, atol=1e-12)
    np.testing.assert_allclose(
        MEASURES[name](first, second), MEASURES[name](second, first), atol=1e-12
    )


@pytest.mark.parametrize(
    ("name", "opposite"),
    [("spearman", -1), ("pearson", -1), ("cosine", -1), ("spearman_magnitude", 1)]
    + [("top_k_overlap", 1)],
)
def test_a_map_and_its_opposite(name, opposite):
    np.testing.assert_allclose(MEASURES[name](maps(), -2 * maps()), opposite, atol=1e-12)


@pytest.mark.parametrize("name", MEASURES)
@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("what", ["dead", "constant", "rounding", "nan", "infinite"])
def test_a_map_of_nothing_has_no_similarity(name, what, both):
    """And leaves that of the other samples as it is."""
    first, second = maps(), maps(seed=2)
    wanted = MEASURES[name](first, second)
    nothing = {
        "dead": np.zeros(SHAPE),
        "constant": np.full(SHAPE, 0.3),
        "rounding": np.float32(0.3) * (1 + 1e-7 * np.sign(maps(1)[0])),
        "nan": np.where(np.arange(8) == 3, np.nan, maps(1)[0]),
        "infinite": np.where(np.arange(8) == 3, np.inf, maps(1)[0]),
    }[what]
    first[2] = nothing
    if both:
        second[2] = nothing
    with np.errstate(all="raise"):
        found = MEASURES[name](first, second)
        turned = MEASURES[name](second, first)
    assert np.isnan(found[2])
    assert np.isnan(turned[2])
    rest = np.arange(len(first)) != 2
    np.testing.assert_allclose(found[rest], wanted[rest], atol=1e-12)


def test_magnitudes_that_are_constant_have_no_ranks():
    signs = np.sign(maps())
    assert np.isnan(MEASURES["spearman_magnitude"](signs, maps(seed=2))).all()
    assert np.isfinite(MEASURES["spearman"](signs, maps(seed=2))).all()


def test_similarity_is_the_table():
    first, second = PAIRS["alike"]
    found = similarity(first, second)
    assert list(found) == list(MEASURES)
    for name, values in found.items():
        np.testing.assert_array_equal(values, MEASURES[name](first, second))
    assert list(similarity(first, second, measures=["cosine"])) == ["cosine"]


@pytest.mark.parametrize(
    ("job", "text"),
    [
        (lambda: similarity(maps(), maps(), measures=["spearmann"]), "'spearman'"),
        (lambda: similarity(maps(5), maps(6)), r"\(5, 3, 3, 8\) and \(6, 3, 3, 8\)"),
        (lambda: top_k_overlap(maps(), maps(), percent=0), "got 0"),
        (lambda: top_k_overlap(maps(), maps(), percent=101), "got 101"),
    ],
)
def test_bad_arguments_are_one_line(job, text):
    with pytest.raises(SettingsError, match=text) as caught:
        job()
    assert "\n" not in str(caught.value)


def test_comparing_loads_no_tensorflow():
    code = (
        "import sys, numpy as np; from hsi.compare.attributions import similarity;"
        "similarity(np.eye(3), np.eye(3)); assert 'tensorflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
