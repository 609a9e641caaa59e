"""Baselines: the same classes as scikit-learn gives, from arrays alone; and what is refused."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import SGDClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC

from hsi.baselines import MODULES, fit, load, save
from hsi.baselines.support_vectors import GRID
from hsi.deploy.variant import load_variant
from hsi.errors import DataError, ModelError, SettingsError
from hsi.models import BASELINES
from hsi.pipeline import generate
from hsi.scene import Scene
from hsi.settings import Settings

TOTAL = 5
"""Classes of the samples, of which 0 and 3 have none."""


def samples(count: int, known: tuple[int, ...], *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Overlapping clouds: (count, 1, 1, 6) and their classes."""
    rng = np.random.default_rng(seed)
    classes = np.array(known)[np.arange(count) % len(known)]
    centres = np.random.default_rng(9).normal(size=(TOTAL, 6))
    inputs = centres[classes] + rng.normal(size=(count, 6))
    return inputs.astype(np.float32)[:, None, None], classes


def reference(name: str, facts: dict) -> object:
    """The classifier that scikit-learn makes of what was chosen."""
    if name.startswith("svm"):
        return SVC(C=facts["C"], gamma=facts["gamma"])
    if name == "knn":
        return KNeighborsClassifier(facts["n_neighbors"])
    if name == "sgd":
        return SGDClassifier(average=10, random_state=4)
    return RandomForestClassifier(facts["trees"], random_state=4)


@pytest.mark.parametrize("known", [(1, 2, 4), (1, 4)], ids=["three", "two"])
@pytest.mark.parametrize("name", MODULES)
def test_a_saved_baseline_gives_the_classes_of_scikit_learn(name, known, tmp_path):
    inputs, classes = samples(90, known, seed=0)
    others, _ = samples(300, known, seed=1)
    fitted, facts = fit(name, inputs, classes, total=TOTAL, seed=4)
    save(fitted, tmp_path / "b.npz")
    opened = load_variant(tmp_path / "b.npz")
    assert (opened.input_shape, opened.classes) == ((1, 1, 6), TOTAL)
    scores = opened.predict(others, batch_size=64)
    assert scores.shape == (300, TOTAL)
    wanted = reference(name, facts).fit(inputs[:, 0, 0], classes).predict(others[:, 0, 0])
    np.testing.assert_array_equal(scores.argmax(axis=1), wanted)
    assert len(set(wanted)) == len(known)  # else the comparison says little


def test_every_row_of_the_table_has_its_module_and_the_other_way_round():
    assert list(MODULES) == list(BASELINES)


def test_a_search_takes_one_of_the_grid_and_says_which():
    inputs, classes = samples(60, (1, 2), seed=0)
    _, facts = fit("svm_grid", inputs, classes, total=TOTAL, seed=0)
    assert facts["C"] in GRID["C"]
    assert facts["gamma"] in GRID["gamma"]
    assert 0.5 < facts["validated"] <= 1
    lonely = np.append(classes, 4), np.concatenate([inputs, inputs[:1] + 9])
    _, facts = fit("knn", lonely[1], lonely[0], total=TOTAL, seed=0)
    assert facts["folds"] == 2


@pytest.mark.parametrize("counts", [(1, 1), (1, 1, 1), (20, 1)])
@pytest.mark.parametrize("name", ["knn", "svm_grid"])
def test_too_few_samples_to_search_by(name, counts):
    """Two folds would train on one class, or could not be made."""
    inputs, _ = samples(sum(counts), (1, 2), seed=0)
    classes = np.repeat(np.arange(len(counts)), counts)
    fitted, facts = fit(name, inputs, classes, total=TOTAL, seed=0)
    plain = {"n_neighbors": 1} if name == "knn" else {"C": 1.0, "gamma": "scale"}
    assert facts == {**plain, "folds": 0}
    wanted = reference(name, facts).fit(inputs[:, 0, 0], classes).predict(inputs[:, 0, 0])
    np.testing.assert_array_equal(fitted(inputs).argmax(axis=1), wanted)


def test_costs_are_those_of_the_arrays():
    inputs, classes = samples(40, (1, 2, 4), seed=0)
    knn, _ = fit("knn", inputs, classes, total=TOTAL, seed=0)
    assert (knn.macs, knn.parameters) == (40 * 6, 40 * 6 + 40 + 1)
    sgd, _ = fit("sgd", inputs, classes, total=TOTAL, seed=0)
    assert (sgd.macs, sgd.parameters) == (3 * 6, 3 * 6 + 3)


def test_one_class_alone_and_files_of_others_are_refused_on_one_line(tmp_path):
    inputs, _ = samples(10, (1,), seed=0)
    wanted = "sgd: expected training samples of two classes or more.*--split given.*--train_labels"
    with pytest.raises(DataError, match=wanted):
        fit("sgd", inputs, np.ones(10, int), total=TOTAL, seed=0)
    with pytest.raises(ModelError, match="no such model file"):
        load(tmp_path / "absent.npz")
    np.savez(tmp_path / "other.npz", values=np.zeros(3))
    (tmp_path / "text.npz").write_text("no arrays")
    np.savez(tmp_path / "pickled.npz", baseline=np.array([{}], object))
    for name in ("other", "text", "pickled"):
        with pytest.raises(ModelError, match="expected a baseline of hsi") as caught:
            load(tmp_path / f"{name}.npz")
        assert "\n" not in str(caught.value)
    fitted, _ = fit("sgd", *samples(30, (1, 2), seed=0), total=TOTAL, seed=0)
    object.__setattr__(fitted, "arrays", {"normals": np.zeros((2, 7)), "offsets": np.zeros(2)})
    save(fitted, tmp_path / "wrong.npz")
    with pytest.raises(ModelError, match="its arrays do not fit each other"):
        load(tmp_path / "wrong.npz")


def test_a_baseline_shows_no_gradient_and_no_layers(tmp_path):
    fitted, _ = fit("sgd", *samples(30, (1, 2), seed=0), total=TOTAL, seed=0)
    save(fitted, tmp_path / "b.npz")
    with pytest.raises(ModelError, match="has no gradient and no layers; expected a network"):
        _ = load_variant(tmp_path / "b.npz").score


# A whole run


@pytest.fixture
def small_scene(monkeypatch):
    """24 x 24 pixels in four squares of their own spectrum, under the name of the embedded one."""
    rng = np.random.default_rng(0)
    labels = np.kron(np.array([[1, 2], [3, 4]]), np.ones((12, 12), int)).astype(np.uint8)
    spectra = rng.normal(size=(5, 8)) * 100
    cube = (1000 + spectra[labels] + rng.normal(size=(24, 24, 8)) * 60).astype(np.float32)
    scene = Scene(
        name="squares", cube=cube, labels=labels, class_names={n: f"c{n}" for n in range(1, 5)},
        source="made here", sha256="0" * 64, synthetic=True,
    )  # fmt: skip
    monkeypatch.setattr("hsi.samples.open_scene", lambda *_, **__: scene)
    return scene


def test_a_run_of_a_baseline_has_its_row_and_goes_on_where_it_stopped(small_scene, tmp_path):
    settings = Settings(
        "random_forest", dataset="synthetic", split="random", train_fraction=0.3,
        output=str(tmp_path / "run"),
    )  # fmt: skip
    run = generate(settings, say=lambda line: None, finishing=False)
    (row,) = csv.DictReader((run.folder / "results.csv").open())
    assert (row["variant"], row["file"], row["split"]) == ("trained", "trained_model.npz", "random")
    assert float(row["oa"]) > 60
    assert int(row["bytes"]) == (run.folder / "trained_model.npz").stat().st_size
    assert run.record["variants"]["trained_model.npz"]["fitted"] == {"trees": 200}
    said: list[str] = []
    resumed = Settings(**{**vars(settings), "resume": True})
    generate(resumed, say=said.append, finishing=False)
    assert not [line for line in said if line.startswith("Fitting")]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"prune": True}, "prune"),
        ({"quantize": True}, "quantize"),
        ({"distill": ("compact",)}, "distill"),
        ({"weights": "imagenet"}, "weights"),
        ({"fold": True}, "fold"),
    ],
)
def test_what_only_networks_can_is_refused_before_anything_is_written(options, named, tmp_path):
    settings = Settings("svm", dataset="synthetic", output=str(tmp_path / "run"), **options)
    with pytest.raises(SettingsError, match=f"^{named}: expected with a network; svm is a base"):
        generate(settings, say=lambda line: None)
    assert not (tmp_path / "run").exists()


def test_a_baseline_is_nobodys_student(tmp_path):
    settings = Settings("cao", dataset="synthetic", distill=("knn",), output=str(tmp_path / "run"))
    with pytest.raises(SettingsError, match="distill: knn is a baseline"):
        generate(settings, say=lambda line: None)
