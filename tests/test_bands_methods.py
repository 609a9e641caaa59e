"""Band reduction and selection: each method against scikit-learn, or against its definition."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from hsi import bands
from hsi.bands import linear, nonlinear, preparation, ranked, stepwise, training
from hsi.errors import DataError, SettingsError
from hsi.settings import Settings

BANDS, COUNT = 12, 3
NUMPY_ONLY = [name for name in bands.REDUCERS if name != "autoencoder"]
SELECTIONS = [name for name in NUMPY_ONLY if bands.is_selection(name)]
AFFINE = [name for name in NUMPY_ONLY if bands.REDUCERS[name].kind == "affine"]
every = pytest.mark.parametrize("name", NUMPY_ONLY)
selections = pytest.mark.parametrize("name", SELECTIONS)


@pytest.fixture(scope="module", autouse=True)
def _quick():
    """Fewer trees and iterations than a run takes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranked, "TREES", 20)
        patch.setattr(linear, "SPARSE_ITERATIONS", 40)
        yield


def scene(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A cube of counts, its labels (4 classes) and training pixels; bands of unlike spread."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(1, 5, size=(15, 14))
    at = np.linspace(0, 1, BANDS)
    spectra = np.stack([np.exp(-((at - c) ** 2) / 0.05) for c in (0.1, 0.4, 0.6, 0.95)])
    light = rng.uniform(0.6, 1.4, (15, 14, 1))
    cube = 900 * light * spectra[labels - 1] + rng.normal(scale=80, size=(15, 14, BANDS)) + 2000
    cube *= rng.uniform(0.3, 3, BANDS)
    return np.round(cube), labels, rng.random(labels.shape) < 0.6


CUBE, LABELS, TRAIN = scene()


@cache
def fitted(name: str, scaling: str = "standard", seed: int = 0) -> bands.Preparation:
    return bands.fit(
        CUBE, TRAIN, scaling=scaling, band_selection=name, components=COUNT, labels=LABELS,
        seed=seed,
    )  # fmt: skip


@cache
def scaled(scaling: str = "standard") -> np.ndarray:
    """(rows, cols, bands) as the methods see them, in double precision."""
    plain = bands.fit(CUBE, TRAIN, scaling=scaling)
    return (np.clip(CUBE, plain.low, plain.high) - plain.offset) / plain.scale


def same(a: bands.Preparation, b: bands.Preparation) -> bool:
    return all(
        np.array_equal(np.asarray(getattr(a, f.name)), np.asarray(getattr(b, f.name)))
        for f in fields(a)
    )


def components(name: str, scaling: str) -> np.ndarray:
    """What `bands.apply` gives, before the components were centred and divided."""
    found = fitted(name, scaling)
    return bands.apply(found, CUBE) * found.out_scale + found.out_offset


# Reductions are those of scikit-learn


def estimators() -> dict[str, Callable[[np.ndarray], Any]]:
    from sklearn import cluster, decomposition, discriminant_analysis

    return {
        "PCA": lambda x: decomposition.PCA(COUNT, svd_solver="full"),
        "incremental_pca": lambda x: decomposition.IncrementalPCA(COUNT),
        "sparse_pca": lambda x: decomposition.MiniBatchSparsePCA(
            COUNT, max_iter=40, random_state=0
        ),
        "kernel_pca": lambda x: decomposition.KernelPCA(
            COUNT, kernel="rbf", gamma=1 / (BANDS * x.var(axis=0).mean())
        ),
        "svd": lambda x: decomposition.TruncatedSVD(COUNT, n_iter=10, random_state=0),
        "ica": lambda x: decomposition.FastICA(COUNT, max_iter=500, random_state=0),
        "factor_analysis": lambda x: decomposition.FactorAnalysis(COUNT, random_state=0),
        "lda": lambda x: discriminant_analysis.LinearDiscriminantAnalysis(
            solver="eigen", shrinkage="auto", n_components=COUNT
        ),
        "feature_agglomeration": lambda x: cluster.FeatureAgglomeration(COUNT),
    }


@pytest.mark.parametrize("scaling", bands.SCALINGS)
@pytest.mark.parametrize("name", estimators())
def test_components_are_those_of_scikit_learn(name: str, scaling: str) -> None:
    spectra = scaled(scaling)
    model = estimators()[name](spectra[TRAIN]).fit(spectra[TRAIN], LABELS[TRAIN])
    expected = model.transform(spectra.reshape(-1, BANDS)).reshape(*CUBE.shape[:2], COUNT)
    found = components(name, scaling)
    if name == "feature_agglomeration":  # ours are in the order of their first bands
        expected = expected[..., list(dict.fromkeys(model.labels_))]
    elif name in ("PCA", "kernel_pca"):
        expected = expected * np.sign((found * expected).sum(axis=(0, 1)))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


def test_nmf_takes_its_place_in_the_table() -> None:
    assert (fitted("NMF").components >= 0).all()
    assert fitted("NMF").kind == "non_negative"


def test_singular_vectors_of_standardised_bands_are_principal_components() -> None:
    found, expected = components("svd", "standard"), components("PCA", "standard")
    sign = np.sign((found * expected).sum(axis=(0, 1)))
    np.testing.assert_allclose(found * sign, expected, atol=1e-3)


# Selections


def kept_bands(name: str, scaling: str = "standard") -> list[int]:
    return [int(band) for band in fitted(name, scaling).chosen]


def literal_variance(x: np.ndarray, y: np.ndarray) -> list[float]:
    plain = bands.fit(CUBE, TRAIN)
    return list(np.clip(CUBE[TRAIN], plain.low, plain.high).var(axis=0))


def literal_mvpca(x: np.ndarray, y: np.ndarray) -> list[float]:
    values, vectors = np.linalg.eig(np.cov(x.T))
    first = np.argsort(-values)[:COUNT]
    return [sum(values[k] * vectors[band, k] ** 2 for k in first) for band in range(BANDS)]


def literal_mutual_information(x: np.ndarray, y: np.ndarray) -> Any:
    from sklearn.feature_selection import mutual_info_classif

    return mutual_info_classif(x, y, random_state=0)


def literal_forest(x: np.ndarray, y: np.ndarray) -> Any:
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(ranked.TREES, random_state=0).fit(x, y).feature_importances_


def literal_logistic(x: np.ndarray, y: np.ndarray) -> Any:
    """By another solver: what is minimised is |w|_1 + C * the sum of log losses."""
    from scipy.optimize import minimize

    for power in np.arange(-3, 4.1, 0.5):
        weights = np.zeros((4, BANDS))
        for row, number in enumerate(range(1, 5)):
            sign = np.where(y == number, 1.0, -1.0)

            def cost(v: np.ndarray, sign: np.ndarray = sign, c: float = 10.0**power) -> float:
                up, down = v[:BANDS], v[BANDS : 2 * BANDS]
                margin = sign * (x @ (up - down) + v[2 * BANDS] - v[2 * BANDS + 1])
                return float(v.sum() + c * np.logaddexp(0, -margin).sum())

            found = minimize(cost, np.zeros(2 * BANDS + 2), bounds=[(0, None)] * (2 * BANDS + 2))
            weights[row] = found.x[:BANDS] - found.x[BANDS : 2 * BANDS]
        marks = np.linalg.norm(weights, axis=0)
        if (marks > 1e-3).sum() >= COUNT:
            return marks
    raise AssertionError("no penalty was weak enough")


@pytest.mark.parametrize(
    ("name", "marks_of"),
    [
        ("select_variance", literal_variance),
        ("select_mvpca", literal_mvpca),
        ("select_mutual_information", literal_mutual_information),
        ("select_random_forest", literal_forest),
        ("select_logistic_l1", literal_logistic),
    ],
)
def test_bands_of_the_highest_marks_are_kept(name: str, marks_of: Any) -> None:
    marks = np.asarray(marks_of(scaled()[TRAIN], LABELS[TRAIN]))
    assert kept_bands(name) == sorted(sorted(range(BANDS), key=lambda b: -marks[b])[:COUNT])


def literal_scatters() -> tuple[np.ndarray, np.ndarray]:
    """Covariance within classes, shrunk as scikit-learn does it, and that and the means'."""
    from sklearn.covariance import LedoitWolf

    x, y = scaled()[TRAIN], LABELS[TRAIN]
    inside, between = x.copy(), np.zeros((BANDS, BANDS))
    for number in np.unique(y):
        mean = x[y == number].mean(axis=0)
        inside[y == number] -= mean
        away = mean - x.mean(axis=0)
        between += (y == number).mean() * np.outer(away, away)
    within = LedoitWolf(assume_centered=True).fit(inside).covariance_
    return within, within + between


def test_scatters_are_covariances_within_classes_and_of_their_means() -> None:
    pixels = training.Training(scaled()[TRAIN], np.ones(BANDS), LABELS[TRAIN])
    for found, expected in zip(stepwise.scatters(pixels), literal_scatters(), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-8)


def wilks(chosen: list[int]) -> float:
    """det W / det T of these bands."""
    block = np.ix_(chosen, chosen)
    within, total = (np.linalg.det(matrix[block]) for matrix in literal_scatters())
    return float(within / total)


def test_forward_selection_takes_the_best_band_next() -> None:
    chosen: list[int] = []
    for _ in range(COUNT):
        rest = [band for band in range(BANDS) if band not in chosen]
        chosen.append(min(rest, key=lambda band: wilks([*chosen, band])))
    assert kept_bands("select_forward") == sorted(chosen)


def test_backward_selection_drops_the_least_band_next() -> None:
    chosen = list(range(BANDS))
    while len(chosen) > COUNT:
        chosen.remove(min(chosen, key=lambda band: wilks([b for b in chosen if b != band])))
    assert kept_bands("select_backward") == chosen


@pytest.mark.parametrize("scaling", bands.SCALINGS)
def test_orthogonal_projection_takes_the_band_that_is_rebuilt_least(scaling: str) -> None:
    x = scaled(scaling)[TRAIN]
    x = x - x.mean(axis=0)

    def left(band: int, chosen: list[int]) -> float:
        others = x[:, chosen]
        return float(np.sum((x[:, band] - others @ np.linalg.pinv(others) @ x[:, band]) ** 2))

    pairs = [(i, j) for i in range(BANDS) for j in range(i)]
    chosen = list(max(pairs, key=lambda p: left(p[0], [p[1]]) * np.sum(x[:, p[1]] ** 2)))
    while len(chosen) < COUNT:
        rest = [band for band in range(BANDS) if band not in chosen]
        chosen.append(max(rest, key=lambda band: left(band, chosen)))
    assert kept_bands("select_orthogonal", scaling) == sorted(chosen)


@selections
@pytest.mark.parametrize("count", [1, 2, BANDS])
def test_a_selection_keeps_as_many_bands_as_were_asked_for(name: str, count: int) -> None:
    found = bands.fit(CUBE, TRAIN, band_selection=name, components=count, labels=LABELS)
    assert len(set(found.chosen)) == count
    assert (np.diff(found.chosen) > 0).all()  # in the order of the sensor


@selections
@pytest.mark.parametrize("scaling", bands.SCALINGS)
def test_the_channels_of_a_selection_are_scaled_bands(name: str, scaling: str) -> None:
    found = fitted(name, scaling)
    expected = (scaled(scaling)[..., found.chosen] - found.out_offset) / found.out_scale
    np.testing.assert_allclose(bands.apply(found, CUBE), expected, rtol=1e-5, atol=1e-5)
    if scaling != "none":
        plain = bands.apply(bands.fit(CUBE, TRAIN, scaling=scaling), CUBE)
        np.testing.assert_allclose(
            bands.apply(found, CUBE), plain[..., found.chosen], rtol=1e-5, atol=1e-5
        )


def test_a_run_says_which_bands_it_keeps() -> None:
    found = fitted("select_variance")
    numbers, waves = np.arange(BANDS) + 5, np.linspace(400, 2500, BANDS)
    facts = bands.facts(found, numbers, waves)
    assert [kept["band"] for kept in facts["chosen_bands"]] == list(found.chosen + 5)
    np.testing.assert_allclose(
        [kept["wavelength_nm"] for kept in facts["chosen_bands"]], waves[found.chosen]
    )
    first = found.chosen[0]
    assert f"{first + 5} ({waves[first]:.0f} nm)" in bands.describe(found, numbers, waves)[1]
    unknown = bands.facts(found, numbers, None)["chosen_bands"]
    assert {kept["wavelength_nm"] for kept in unknown} == {None}
    assert "nm" not in bands.describe(found, numbers, None)[1]
    assert bands.describe(bands.fit(CUBE, TRAIN), numbers, waves) == ()
    assert "chosen_bands" not in bands.facts(fitted("ica"), numbers, waves)


# What holds for all


@every
def test_the_same_seed_gives_the_same_numbers(name: str) -> None:
    again = bands.fit(CUBE, TRAIN, band_selection=name, components=COUNT, labels=LABELS)
    assert same(again, fitted(name))


@every
def test_pixels_that_do_not_train_and_their_classes_change_nothing(name: str) -> None:
    rng = np.random.default_rng(1)
    cube, labels = CUBE.copy(), LABELS.copy()
    cube[~TRAIN] = rng.integers(-9000, 9000, size=cube[~TRAIN].shape)
    labels[~TRAIN] = rng.integers(0, 9, size=labels[~TRAIN].shape)
    found = bands.fit(cube, TRAIN, band_selection=name, components=COUNT, labels=labels)
    assert same(found, fitted(name))
    if bands.REDUCERS[name].supervised:
        labels[TRAIN] = rng.permutation(labels[TRAIN])
        other = bands.fit(cube, TRAIN, band_selection=name, components=COUNT, labels=labels)
        assert not same(other, found)


@every
def test_a_saved_method_is_the_same_one(name: str, tmp_path: Any) -> None:
    bands.save(fitted(name), tmp_path / "a.npz")
    loaded = bands.load(tmp_path / "a.npz")
    assert same(loaded, fitted(name))
    assert loaded.summary() == fitted(name).summary()
    np.testing.assert_array_equal(bands.apply(loaded, CUBE), bands.apply(fitted(name), CUBE))


@every
def test_pixels_are_prepared_alone_as_together(name: str, monkeypatch: Any) -> None:
    whole = bands.apply(fitted(name), CUBE)
    monkeypatch.setattr(preparation, "PIXELS_AT_ONCE", 40)
    monkeypatch.setattr(preparation, "FEATURES_AT_ONCE", 700)
    np.testing.assert_allclose(bands.apply(fitted(name), CUBE), whole, rtol=1e-4, atol=1e-5)


@every
def test_the_share_of_rebuilt_variance_is_that_of_least_squares(name: str) -> None:
    from sklearn.linear_model import LinearRegression
    from sklearn.metrics import r2_score

    summary = fitted(name, "minmax").summary()
    if "relative_reconstruction_error" in summary:
        return
    given, wanted = bands.apply(fitted(name, "minmax"), CUBE)[TRAIN], scaled("minmax")[TRAIN]
    rebuilt = LinearRegression().fit(given, wanted).predict(given)
    expected = r2_score(wanted, rebuilt, multioutput="variance_weighted")
    known = summary.get("rebuilt_variance", summary.get("explained_variance"))
    assert known == pytest.approx(expected, abs=1e-5)
    assert 0.1 < known < 1


@every
def test_constant_bands_and_few_pixels_give_numbers(name: str) -> None:
    cube = CUBE.copy()
    cube[..., [2, 7]] = 5
    few = np.zeros_like(TRAIN)
    few[0, :8] = True
    for train, count in ((TRAIN, 3), (few, 2), (few, 8)):
        way = {"band_selection": name, "components": count, "labels": LABELS}
        if (name, count) in (("lda", 8), ("ica", 8)):
            with pytest.raises(SettingsError, match="at most"):
                bands.fit(cube, train, **way)
        else:
            assert np.isfinite(bands.apply(bands.fit(cube, train, **way), cube)).all()


@every
def test_training_pixels_that_are_all_alike_are_refused(name: str) -> None:
    """Nothing varies: shares of variance would be 0 / 0, and go into run.json as NaN."""
    way = {"band_selection": name, "components": 1, "labels": LABELS}
    with pytest.raises(SettingsError, match=rf"{name}: expected training pixels that differ"):
        bands.fit(np.where(TRAIN[..., None], 700.0, CUBE), TRAIN, **way)


@pytest.mark.parametrize("name", [None, *NUMPY_ONLY])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_training_pixels_that_are_no_numbers_are_refused(name: str | None, value: float) -> None:
    cube = CUBE.copy()
    row, col = np.argwhere(TRAIN)[3]
    cube[row, col, 5] = value
    way = {"components": 2, "labels": LABELS} if name else {}
    with pytest.raises(DataError, match=rf"1 of {TRAIN.sum()} training pixels hold NaN"):
        bands.fit(cube, TRAIN, band_selection=name, **way)
    other = CUBE.copy()
    other[tuple(np.argwhere(~TRAIN)[3])] = value  # which is never looked at
    assert same(bands.fit(other, TRAIN), bands.fit(CUBE, TRAIN))


def test_methods_of_many_passes_see_some_of_the_pixels_and_say_so(monkeypatch: Any) -> None:
    monkeypatch.setattr(nonlinear, "LANDMARKS", 20)
    monkeypatch.setattr(linear, "SPARSE_PIXELS", 30)
    monkeypatch.setattr(ranked, "MOST_PIXELS", 40)
    total = np.count_nonzero(TRAIN)
    for name, used in (("kernel_pca", 20), ("sparse_pca", 30), ("select_random_forest", 40)):
        found = bands.fit(CUBE, TRAIN, band_selection=name, components=3, labels=LABELS)
        assert any(f"{used} of the {total} training pixels" in note for note in found.notes)
    assert bands.fit(CUBE, TRAIN, band_selection="kernel_pca", components=3).inner.shape[0] == 20


def test_pixels_are_drawn_evenly_with_their_classes() -> None:
    numbers = np.arange(50)
    some = training.Training(numbers[:, None] * 1.0, np.ones(1), numbers).drawn(20, 3)
    np.testing.assert_array_equal(some.scaled[:, 0], some.classes)
    assert len(set(some.classes)) == 20
    assert (np.diff(some.classes) > 0).all()


def test_a_rare_class_is_among_the_pixels_that_are_drawn() -> None:
    numbers = np.arange(50)
    for rare in range(50):  # wherever the draw would have left it
        classes = (numbers == rare).astype(int)
        some = training.Training(numbers[:, None] * 1.0, np.ones(1), classes).drawn(20, 3)
        assert rare in some.scaled
        assert len(set(some.scaled[:, 0])) == 20
    plain = np.sort(np.random.default_rng(3).permutation(50)[:20])
    alike = training.Training(numbers[:, None] * 1.0, np.ones(1), numbers % 2).drawn(20, 3)
    np.testing.assert_array_equal(alike.scaled[:, 0], plain)  # both classes were drawn anyway


@pytest.mark.parametrize("name", [name for name in SELECTIONS if bands.REDUCERS[name].supervised])
def test_bands_are_not_chosen_by_a_class_that_was_not_drawn(name: str, monkeypatch: Any) -> None:
    """One pixel of the second class, among those that a plain draw of 40 leaves out."""
    monkeypatch.setattr(ranked, "MOST_PIXELS", 40)
    spectra = np.random.default_rng(0).normal(size=(1, 90, BANDS))
    labels = np.ones((1, 90), int)
    last = np.random.default_rng(0).permutation(90)[-1]
    labels[0, last] = 2
    spectra[0, last, 7] = 9
    way = {"band_selection": name, "components": 1, "labels": labels}
    if name == "select_mutual_information":  # knows a class by the neighbours of its pixels
        with pytest.raises(SettingsError, match="two classes of two training pixels"):
            bands.fit(spectra, labels > 0, **way)
    else:
        assert bands.fit(spectra, labels > 0, **way).chosen.tolist() == [7]


# Files


def test_files_of_earlier_versions_load(tmp_path: Any) -> None:
    bands.save(fitted("PCA"), tmp_path / "new.npz")
    with np.load(tmp_path / "new.npz") as arrays:
        old = {name: arrays[name] for name in arrays.files if not name.startswith("inner")}
    np.savez(tmp_path / "old.npz", **old)
    assert same(bands.load(tmp_path / "old.npz"), fitted("PCA"))


@pytest.mark.parametrize("missing", ["inner", "inner_bias", "mean", "components"])
def test_arrays_that_do_not_belong_together_are_refused(missing: str, tmp_path: Any) -> None:
    whole = fitted("kernel_pca")
    bands.save(replace(whole, **{missing: getattr(whole, missing)[:0]}), tmp_path / "cut.npz")
    with pytest.raises(DataError, match=r"cut\.npz"):
        bands.load(tmp_path / "cut.npz")


# Names and refusals


def test_names_are_taken_in_any_case() -> None:
    assert bands.reducer_name("pca") == "PCA"
    assert bands.reducer_name("Select_MVPCA") == "select_mvpca"
    assert Settings("cao", band_selection="nmf", components=3).check().band_selection == "NMF"
    assert Settings("cao", band_selection="NONE").check().band_selection is None
    found = bands.fit(CUBE, TRAIN, band_selection="pca", components=COUNT)
    assert same(found, fitted("PCA"))


def test_close_names_are_offered() -> None:
    with pytest.raises(SettingsError, match="Did you mean 'select_variance'"):
        Settings("cao", band_selection="selekt_variance", components=3).check()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"band_selection": "lda", "components": 4}, "at most 3 for lda .* 4 classes .* got 4"),
        ({"band_selection": "ica", "components": 13}, "expected 1 to 12 for ica"),
        ({"band_selection": "lda", "components": 2, "labels": None}, "classes .* got none"),
        (
            {"band_selection": "select_forward", "components": 2, "labels": LABELS * 0 + 7},
            "two classes or more",
        ),
    ],
)
def test_what_cannot_be_fitted_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        bands.fit(CUBE, TRAIN, **{"labels": LABELS, **options})


@pytest.mark.parametrize("offset", [0, 1e6])
@pytest.mark.parametrize("scaling", ["standard", "none"])
def test_ica_takes_no_more_components_than_the_training_pixels_vary_in(
    scaling: str, offset: float
) -> None:
    """Beyond their rank, pixels that do not train would get values of 1e15."""
    few = np.zeros_like(TRAIN)
    few[3, :9] = True
    way: dict[str, Any] = {"band_selection": "ica", "scaling": scaling}
    cube = CUBE + offset
    with pytest.raises(SettingsError, match=r"at most 8 for ica .* 9 training pixels .* got 9"):
        bands.fit(cube, few, components=9, **way)
    assert np.abs(bands.apply(bands.fit(cube, few, components=8, **way), cube)).max() < 1e6


@pytest.mark.parametrize("name", ["NMF", "kernel_pca", "autoencoder"])
def test_folding_what_is_not_affine_is_refused_with_the_settings(name: str) -> None:
    way: dict[str, Any] = {"components": 3, "fold_preparation": True}
    with pytest.raises(SettingsError, match=f"{name} cannot be folded"):
        Settings("cao", band_selection=name, **way).check()
    for other in AFFINE:
        Settings("cao", band_selection=other, **way).check()
