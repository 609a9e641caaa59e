"""Making surveys: sheets, keys that raters do not see, and the questionnaire in a browser."""

from __future__ import annotations

import csv
import json
import re
import shutil
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from survey_raters import NAMES, VARIANTS, make_key, make_pictures

from hsi.cli import main
from hsi.composite import FALSE_COLOUR, composite
from hsi.errors import SettingsError
from hsi.files import write_text
from hsi.plots.survey import overlay
from hsi.survey.analyse import analyse_survey
from hsi.survey.crowd import write_crowd
from hsi.survey.design import Choices
from hsi.survey.key import PREFERENCE, RECOGNITION, read_key, write_key
from hsi.survey.pictures import chosen_variants, importance, looks
from hsi.survey.questionnaire import questionnaire
from hsi.survey.sheets import COVER, SIDE, covered, enlarged, framed, most_important, sheet_of

# Sheets


def literal_top(values: np.ndarray, count: int) -> set[tuple[int, int]]:
    places = [tuple(map(int, place)) for place in np.argwhere(values > 0)]
    return set(sorted(places, key=lambda place: -values[place])[:count])


def test_the_most_important_pixels_are_those_of_the_definition():
    rng = np.random.default_rng(0)
    maps = rng.uniform(0, 1, (4, 9, 7))
    maps[2] *= rng.uniform(size=(9, 7)) < 0.05  # fewer than ten percent are not zero
    maps[3] = 0
    for percent, count in ((10, 6), (50, 32), (0.1, 1)):
        found = most_important(maps, percent)
        for values, mask in zip(maps, found, strict=True):
            assert {tuple(map(int, p)) for p in np.argwhere(mask)} == literal_top(values, count)


def test_importance_is_the_size_of_a_value_whatever_its_sign():
    maps = np.array([[[[-3.0, 1.0], [np.nan, 2.0]]]])
    assert importance(maps).tolist() == [[[2.0, 1.0]]]


@pytest.mark.parametrize("cover", ["rest", "top"])
def test_covered_pixels_are_covered_and_the_others_shown(cover: str):
    pictures = make_pictures(side=10)
    choices = Choices(covered=cover, percent=20)
    key = make_key(percent=20, covered=cover)
    for question in key.of_kind(RECOGNITION)[:6]:
        place = pictures.names.index(question.image)
        shown = np.asarray(sheet_of(question, pictures, choices))
        start = (shown.shape[1] - SIDE) // 2
        panel = shown[-SIDE - start : -start, start:-start]
        top = most_important(pictures.maps[question.variants[0]][[place]], 20)[0]
        hidden = ~top if cover == "rest" else top
        step = SIDE // 10
        cells = panel.reshape(10, step, 10, step, 3).swapaxes(1, 2)
        assert ((cells == COVER).all(axis=(2, 3, 4)) == hidden).all()


def test_the_sides_of_a_sheet_are_those_of_the_key():
    pictures, choices = make_pictures(), Choices()
    for question in make_key().of_kind(PREFERENCE)[:8]:
        place = pictures.names.index(question.image)
        whole = np.asarray(sheet_of(question, pictures, choices))
        left = [14 + i * (SIDE + 14) for i in range(3)]
        shown = [whole[34 : 34 + SIDE, at : at + SIDE] for at in left]
        picture = pictures.pictures[place]
        assert (shown[0] == enlarged(picture, smooth=True)).all()
        for panel, variant in zip(shown[1:], question.variants, strict=True):
            wanted = overlay(picture, pictures.maps[variant][place])
            assert (panel == enlarged(wanted, smooth=True)).all()


def test_an_overlay_has_the_scale_of_its_own_map():
    rng = np.random.default_rng(0)
    picture, values = rng.uniform(0, 1, (6, 6, 3)), rng.uniform(0, 1, (6, 6))
    np.testing.assert_allclose(overlay(picture, values), overlay(picture, 1000 * values))
    dead = overlay(picture, np.zeros((6, 6)))
    assert np.ptp(dead, axis=-1).max() < 1e-9  # the pale photograph alone


def test_patches_keep_their_pixels():
    picture = np.random.default_rng(0).uniform(0, 1, (5, 5, 3))
    large = covered(picture, np.zeros((5, 5), bool), smooth=False)
    assert len(np.unique(large.reshape(-1, 3), axis=0)) == 25


def test_a_frame_stands_around_a_patch_and_covers_nothing_of_it():
    ground = np.full((320, 320, 3), 127, np.uint8)
    changed = (framed(ground, 5 / 20) != ground).any(axis=-1)
    assert changed.sum() == 4 * 81 + 4 * 83  # two lines around 80 x 80 pixels
    assert not changed[120:200, 120:200].any()
    assert changed[118:202, 118:202].sum() == changed.sum()


# Which variants


def run_of(*rows: dict) -> SimpleNamespace:
    variants = {row["file"]: {"row": row} for row in rows}
    return SimpleNamespace(record={"variants": variants}, folder=Path("run"))


def test_the_trained_and_the_most_pruned_variant_are_compared():
    row = {"criterion": "l1", "parameters": 100, "sparsity": 90}
    run = run_of(
        {"variant": "svm", "file": "svm.npz"},
        {"variant": "trained", "file": "trained_model.h5", "parameters": 100},
        {**row, "variant": "pruned_20", "file": "b.h5", "parameters": 80, "sparsity": 0},
        {**row, "variant": "pruned_90", "file": "c.h5"},
        {**row, "variant": "pruned_90_int8", "file": "c.tflite"},
        {"variant": "int8", "file": "a.tflite", "parameters": 5},
    )
    assert chosen_variants(run, ()) == {"trained": "trained_model.h5", "pruned_90": "c.h5"}
    assert chosen_variants(run, ("int8", "b.h5")) == {"int8": "a.tflite", "pruned_20": "b.h5"}
    with pytest.raises(SettingsError, match="--variants"):
        chosen_variants(run_of({"variant": "trained", "file": "trained_model.h5"}), ())


# Patches of a scene


def scene_subject(folder: Path):
    from hsi.samples import open_samples
    from hsi.settings import Settings
    from hsi.views.subject import SceneSubject

    rng = np.random.default_rng(0)
    np.save(folder / "cube.npy", rng.integers(0, 900, (20, 22, 6)).astype(np.uint16))
    np.save(folder / "labels.npy", rng.integers(1, 3, (20, 22)))
    settings = Settings(
        "cao", dataset=str(folder / "cube.npy"), labels=str(folder / "labels.npy"), split="random"
    )
    samples = open_samples(settings, patch_size=5, say=lambda line: None)
    return SceneSubject(None, samples, settings.scaling)


def test_a_patch_is_the_middle_of_its_original_in_false_colour(tmp_path: Path):
    subject = scene_subject(tmp_path)
    colours = composite(subject.scene, FALSE_COLOUR)
    cube = np.asarray(subject.scene.cube, float)
    for channel, band in enumerate((5, 2, 0)):  # no wavelengths: last, middle, first
        low, high = np.percentile(cube[..., band], [2, 98])
        wanted = np.clip((cube[..., band] - low) / (high - low), 0, 1)
        np.testing.assert_allclose(colours[..., channel], wanted, atol=1e-6)
    keys = np.array([0, 10 * 22 + 11, 20 * 22 - 1])
    patches, originals = looks(subject, keys)
    assert patches.shape == (3, 5, 5, 3)
    assert originals.shape == (3, 19, 19, 3)  # no wider than the scene
    assert (originals[:, 7:12, 7:12] == patches).all()
    assert (patches[1] == colours[8:13, 9:14]).all()


def test_around_a_patch_is_the_scene_and_nothing_where_it_ends(tmp_path: Path):
    subject = scene_subject(tmp_path)
    colours = composite(subject.scene, FALSE_COLOUR)
    keys = np.array([0, 3 * 22 + 20, 10 * 22 + 11, 20 * 22 - 1])
    _, originals = looks(subject, keys)
    for key, original in zip(keys, originals, strict=True):
        row, col = divmod(int(key), 22)
        for down, across in np.ndindex(19, 19):
            at = row + down - 9, col + across - 9
            if 0 <= at[0] < 20 and 0 <= at[1] < 22:
                assert (original[down, across] == colours[at]).all()
            elif max(abs(down - 9), abs(across - 9)) > 2:  # the patch itself is the network's
                np.testing.assert_allclose(original[down, across], 0.85)


def test_with_wavelengths_the_nearest_bands_are_red_green_and_blue(tmp_path: Path):
    scene = scene_subject(tmp_path).scene
    known = replace(scene, wavelengths=np.array([500, 555, np.nan, 655, 850, 1200.0]))
    other = replace(scene, cube=np.asarray(scene.cube)[..., [1, 3, 4]])
    assert (composite(known, FALSE_COLOUR) == composite(other, FALSE_COLOUR)).all()


def test_pixels_without_data_do_not_move_the_colours(tmp_path: Path):
    scene = scene_subject(tmp_path).scene
    empty = np.zeros(scene.labels.shape, bool)
    empty[:9] = True
    bright = np.where(empty[..., None], 60000, scene.cube)
    shown = composite(replace(scene, cube=bright, no_data=empty), FALSE_COLOUR)
    rest = replace(scene, cube=scene.cube[9:], labels=scene.labels[9:])
    np.testing.assert_array_equal(shown[9:], composite(rest, FALSE_COLOUR))


# What raters may not see


def pages(key) -> tuple[str, dict]:
    blank = {question.id: b"PNG" for question in key.questions}
    page = questionnaire(key, blank)
    held = re.search(r'<script type="application/json" id="content">(.*?)</script>', page, re.S)
    return page, json.loads(held.group(1))


def test_nothing_that_raters_see_names_a_variant_or_an_image(tmp_path: Path):
    key = make_key()
    page, content = pages(key)
    write_crowd(key, tmp_path, base_url="https://pictures.example/s/")
    told = [page, *(path.read_text() for path in tmp_path.iterdir())]
    for text in told:
        for secret in (*VARIANTS, *(q.image for q in key.questions), "variants", "klass"):
            assert secret not in text
    # Two keys that differ in their sides alone give the same questions.
    swapped = replace(
        key, questions=tuple(replace(q, variants=q.variants[::-1]) for q in key.questions)
    )
    assert pages(swapped)[1]["questions"] == content["questions"]
    # And of another class: what is to be recognised is not told.
    other = replace(key, questions=tuple(replace(q, klass=1 + q.klass % 4) for q in key.questions))
    for question in key.of_kind(RECOGNITION):
        assert pages(other)[1]["questions"][question.id] == content["questions"][question.id]


def test_names_from_data_stay_text_in_the_page():
    page, content = pages(make_key())
    assert "<script>alert(1)" not in page
    question = next(q for q in content["questions"].values() if q["kind"] == RECOGNITION)
    assert [choice["label"] for choice in question["choices"][:4]] == list(NAMES.values())
    assert "http" not in page.replace('http-equiv="', "")


def test_the_platforms_table_has_a_row_a_question(tmp_path: Path):
    key = make_key()
    paths = write_crowd(key, tmp_path, base_url="https://pictures.example/s/")
    assert [path.name for path in paths] == ["crowd_recognition.csv", "crowd_preference.csv"]
    for path, kind in zip(paths, (RECOGNITION, PREFERENCE), strict=True):
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        assert [row["question"] for row in rows] == [q.id for q in key.of_kind(kind)]
        assert {row["survey"] for row in rows} == {key.survey}
        for row in rows:
            assert row["image_url"] == f"https://pictures.example/s/{row['question']}.png"
            assert len(json.loads(row["choices"])) == (3 if kind == PREFERENCE else 5)


# From a run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on images of three classes, of networks that were not trained."""
    import tf_keras as keras

    from hsi.models.files import save_model
    from hsi.pipeline.job import open_job
    from hsi.settings import Settings

    folder = tmp_path_factory.mktemp("run")
    rng = np.random.default_rng(0)
    for place, name in enumerate(("cat & dog", "<img src=x onerror=alert(1)>", "plane")):
        (folder / "photos" / name).mkdir(parents=True)
        for number in range(12):
            image = rng.integers(0, 60, (12, 12, 3), np.uint8)
            image[..., place] += 150
            Image.fromarray(image).save(folder / "photos" / name / f"{number}.png")
    settings = Settings(
        "vgg16", dataset=f"folder:{folder / 'photos'}", image_size=12, output=str(folder / "run")
    ).check()
    job = open_job(settings, say=lambda line: None)
    for seed, (name, criterion) in enumerate((("trained", None), ("pruned_50", "l1"))):
        keras.utils.set_random_seed(seed)
        model = keras.Sequential(
            [
                keras.Input(job.samples.patches.shape),
                keras.layers.Conv2D(8, 3, activation="relu", name="first"),
                keras.layers.Conv2D(6, 3, activation="relu", name="second"),
                keras.layers.GlobalAveragePooling2D(),
                keras.layers.Dense(3, activation="softmax", name="answer"),
            ]
        )
        save_model(model, job.run.path(f"{name}.h5"))
        row = {"variant": name, "file": f"{name}.h5", "criterion": criterion, "sparsity": 0,
               "parameters": 100 - 50 * seed}  # fmt: skip
        job.run.add_variant(f"{name}.h5", row)
    return folder / "run"


def test_a_survey_of_a_run(run: Path, tmp_path: Path, capsys) -> None:
    from hsi.image_sets import open_image_set

    out = tmp_path / "survey"
    words = ["survey", "make", str(run), "--images", "3", "--output", str(out), "--seed", "5"]
    assert main(words) == 0
    said = capsys.readouterr().out
    key = read_key(out / "key.json")
    assert key.survey in said
    assert key.variants == ("trained", "pruned_50")
    names = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert names == {
        "key.json", "crowd_recognition.csv", "crowd_preference.csv",
        "for_raters/questionnaire.html",
        *(f"for_raters/sheets/{q.sheet}" for q in key.questions),
    }  # fmt: skip
    page = (out / "for_raters/questionnaire.html").read_text()
    assert "<img src=x" not in page
    for image in key.facts["images"]:
        number = int(image["image"].split()[1])
        assert "(test)" in image["image"]
        assert image["class"] in key.class_names
        assert set(image["predicted"]) == set(key.variants)
        assert number in open_image_set(
            f"folder:{run.parent / 'photos'}", size=12
        ).part("test").pixels  # fmt: skip
    assert main(words) == 2
    assert "exists already" in capsys.readouterr().err


def test_the_seed_alone_decides_every_file(tmp_path: Path, monkeypatch) -> None:
    from hsi.survey import make

    run = SimpleNamespace(
        settings=SimpleNamespace(of_images=True, quantize_folder=None), folder=tmp_path / "run",
        record={"data": {"name": "photos", "sha256": "0"}},
    )  # fmt: skip
    monkeypatch.setattr(make, "open_run", lambda folder: run)
    monkeypatch.setattr(make, "open_pictures", lambda *_, **__: make_pictures(images=2))
    files = []
    for place, seed in enumerate((5, 5, 6)):
        folder = tmp_path / str(place)
        make.make_survey(Path("run"), Choices(seed=seed), output=folder)
        found = sorted(path for path in folder.rglob("*") if path.is_file())
        files.append({path.relative_to(folder): path.read_bytes() for path in found})
    assert files[0] == files[1]
    assert len(files[0]) == 4 + 2 * (2 + 3)
    assert all(files[0][name] != files[2][name] for name in files[0] if name.suffix != ".png")


BAD = {
    "--variants trained": "two or more",
    "--variants trained,pruned_5": "Did you mean 'pruned_50'?",
    "--variants trained,trained.h5": "twice",
    "--method gradcamm": "Did you mean 'gradcam'?",
    "--method filters": "attributes no score",
    "--method spectral_occlusion --images 2": "tells channels apart",
    "--images 1": "2 or more",
    "--percent 100": "below 100",
    "--percent nan": "below 100",
    "--questions preferences": "Did you mean 'preference'?",
    "--picture overlays": "Did you mean 'overlay'?",
    "--cover none": "expected one of rest, top",
    "--choices 1": "2 or more",
}


@pytest.mark.parametrize("words", BAD)
def test_what_cannot_be_made_is_said_in_one_line(run: Path, tmp_path: Path, capsys, words: str):
    out = tmp_path / "survey"
    assert main(["survey", "make", str(run), "--output", str(out), *words.split()]) == 2
    said = capsys.readouterr().err
    assert BAD[words] in said
    assert said.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_no_run_no_survey(tmp_path: Path, capsys):
    assert main(["survey", "make", str(tmp_path)]) == 2
    assert "no run here" in capsys.readouterr().err


# In a browser


def browser_or_skip(downloads: Path):
    selenium = pytest.importorskip("selenium", reason="the browser test needs selenium")
    assert selenium
    from selenium import webdriver

    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    driver = shutil.which("chromedriver")
    if not (browser and driver):
        pytest.skip("the browser test needs chromium and chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for word in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage",
                 "--window-size=1100,900", "--host-resolver-rules=MAP * ~NOTFOUND",
                 "--force-prefers-reduced-motion"):  # fmt: skip
        options.add_argument(word)
    options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return webdriver.Chrome(options, webdriver.ChromeService(driver))


@pytest.mark.slow
def test_the_questionnaire_is_answered_in_a_browser_and_its_file_analysed(tmp_path: Path):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    browser = browser_or_skip(tmp_path)
    key, pictures = make_key(images=3), make_pictures(images=3)
    write_key(key, tmp_path / "key.json")
    sheets = {}
    for question in key.questions:
        sheet_of(question, pictures, Choices()).save(tmp_path / "sheet.png")
        sheets[question.id] = (tmp_path / "sheet.png").read_bytes()
    write_text(tmp_path / "page.html", questionnaire(key, sheets))

    def find(name):
        return browser.find_element(By.ID, name)

    def press(*keys):
        browser.find_element(By.TAG_NAME, "body").send_keys(*keys)

    def begin(rater, form):
        browser.get("about:blank")
        browser.get(f"{(tmp_path / 'page.html').as_uri()}#{form}")
        find("rater").clear()
        find("rater").send_keys(rater, Keys.ENTER)

    files = []
    try:
        for number, rater in enumerate(("ann", "bob")):
            begin(rater, number + 2)
            total = int(find("count").text.split()[-1])
            assert total == len(key.forms[0])
            press("1")
            press("0")  # recognises nothing
            assert find("count").text.startswith("Question 3 ")
            press(Keys.BACKSPACE)
            chosen = browser.find_element(By.CSS_SELECTOR, '[aria-pressed="true"]')
            assert chosen.get_attribute("data-value") == "none"
            press("2")
            begin(rater, 1)  # the page is left and opened again
            assert find("count").text.startswith("Question 3 ")
            for button in browser.find_elements(By.CSS_SELECTOR, "#choices button"):
                assert "onerror" not in button.get_attribute("innerHTML")
            press("4")
            for _ in range(3, total):
                press((Keys.ARROW_LEFT, Keys.ARROW_RIGHT)[number])
            assert find("end-title").text == "Thank you, that is all"
            find("download").click()
            file = tmp_path / f"answers_{key.survey}_{rater}.csv"
            for _ in range(100):
                if file.exists():
                    break
                time.sleep(0.1)
            files.append(file)
        errors = [line for line in browser.get_log("browser") if line["level"] == "SEVERE"]
        assert not errors
    finally:
        browser.quit()
    analysis, _ = analyse_survey(files)
    assert analysis.answers.raters == 2
    assert len(analysis.answers.given) == 2 * total
    for rater, form in zip(("ann", "bob"), key.forms[1:], strict=True):
        mine = [a.question.id for a in analysis.answers.given if a.rater == rater]
        assert tuple(mine) == form
    by_rater = {(a.rater, a.question.id): a.value for a in analysis.answers.given}
    for question in key.of_kind(PREFERENCE):
        assert by_rater["ann", question.id] == "left"
        assert by_rater["bob", question.id] == "right"
    recognised = [a.value for a in analysis.answers.given if a.question.kind == RECOGNITION]
    assert recognised == ["1", "2", "4"] * 2
    left = analysis.record()["left_share_of_decided"]
    assert left["value"] == pytest.approx(0.5)
