"""The report: what is on the page without a browser, and what the page does in one."""

from __future__ import annotations

import base64
import csv
import hashlib
import itertools
import json
import re
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from test_generate import make_scene, one_line_error

from hsi.cli import main
from hsi.cli.generate import parse
from hsi.metrics import mcnemar
from hsi.parts import Part
from hsi.report.packed import Block, pack, to_bytes, unpack
from hsi.report.page import SCRIPTS
from hsi.report.scene import BEYOND, NO_DATA
from hsi.report.sentences import sentences
from hsi.report.table import COLUMNS
from hsi.report.tiles import tiles
from hsi.report.variants import variant_facts
from hsi.results import COLUMNS as CSV_COLUMNS
from hsi.results import read_rows
from hsi.settings import QUANTIZATIONS

HOSTILE = "<script>window.hurt=1</script>"
"""The name of a class, in a scene of the user's own."""
HOLE = np.s_[:3, 15:]
"""Its pixels without data."""
FACTS = "data ignore value = -9999\nwavelength units = nm\n"
TO_THE_MIDDLE = "arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})"


class Page(HTMLParser):
    """A page taken apart: its tags, its scripts by id, and its texts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.scripts: dict[str, str] = {}
        self.texts: list[str] = []
        self.cells: list[str] = []
        self._script: str | None = None
        self._open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.tags.append((tag, given))
        self._script = given.get("id", f"run {len(self.scripts)}") if tag == "script" else None
        if tag == "td":
            self.cells.append("")
        self._open.append(tag)

    def handle_data(self, data: str) -> None:
        if self._script is not None:
            self.scripts[self._script] = self.scripts.get(self._script, "") + data
        elif data.strip():
            self.texts.append(data)
            if self._open and self._open[-1] == "td":
                self.cells[-1] += data

    def handle_endtag(self, tag: str) -> None:
        self._script = None
        while self._open and self._open.pop() != tag:
            pass

    def data(self) -> dict[str, Any]:
        return json.loads(self.scripts["data"])

    def array(self, name: str) -> np.ndarray:
        facts = self.data()["blocks"][name]
        text = self.scripts[f"block-{name}"]
        return unpack(Block(name, text, facts["kind"], tuple(facts["shape"]), facts["differences"]))


def write_envi(folder: Path) -> tuple[Path, Path]:
    """The small scene as ENVI files, with a hole, whose first class has a hostile name."""
    cube, labels = make_scene(rows=20, cols=18)
    cube[HOLE] = -9999
    labels = np.searchsorted([0, 4, 7, 9], labels).astype(np.uint8)
    names = ", ".join(["none", HOSTILE, "soil & rock", 'grass "wet"'])
    waves = ", ".join(str(500 + 40 * band) for band in range(cube.shape[2]))
    for name, array, more in (
        ("field", cube, f"{FACTS}wavelength = {{{waves}}}\n"),
        ("truth", labels[..., None], f"classes = 4\nclass names = {{{names}}}\n"),
    ):
        rows, cols, bands = array.shape
        kind = {"int16": 2, "uint8": 1}[array.dtype.name]
        (folder / f"{name}.hdr").write_text(
            f"ENVI\nsamples = {cols}\nlines = {rows}\nbands = {bands}\nheader offset = 0\n"
            f"data type = {kind}\ninterleave = bip\nbyte order = 0\n{more}"
        )
        array.tofile(folder / f"{name}.img")
    return folder / "field.hdr", folder / "truth.hdr"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of three tiny models; untimed, so that latencies are missing."""
    from hsi.pipeline import generate

    home = tmp_path_factory.mktemp("report")
    scene, labels = write_envi(home)
    words = (
        f"cao --dataset {scene} --labels {labels} --split random --train_fraction 0.3 --epochs 1"
    )
    more = "--prune --prune_increment 90 --prune_end 90 --prune_epochs 0 --quantize --output"
    settings = parse([*words.split(), *more.split(), str(home / "run")])
    run = generate(settings, say=lambda line: None, finishing=False)
    run.save(state="done", figures=[])
    return run.folder


@pytest.fixture(scope="module")
def path(folder: Path) -> Path:
    """Its report, written by the command."""
    words = ["report", str(folder), "--samples", "9", "--methods", "gradient"]
    assert main(words) == 0
    return folder / "report.html"


@pytest.fixture(scope="module")
def page(path: Path) -> Page:
    return Page(path.read_text(encoding="utf-8"))


@pytest.mark.slow
def test_the_tables_hold_the_numbers_of_results_csv(page, folder):
    rows = read_rows(folder / "results.csv")
    given = [found for _, found in page.tags if "data-raw" in found]
    raw = [(found["data-column"], found["data-raw"]) for found in given]
    assert raw == [(column.name, row[column.name]) for row in rows for column in COLUMNS]
    with (folder / "results.csv").open(newline="") as file:
        cells = [cell for row in list(csv.reader(file))[1:] for cell in row]
    assert page.cells[-len(cells) :] == cells
    assert [v["oa"] for v in page.data()["variants"]] == [float(row["oa"]) for row in rows]
    assert f"{float(rows[1]['oa']):.2f}" in [text.strip() for text in page.texts]


@pytest.mark.slow
def test_names_from_the_data_are_text(page, path):
    assert HOSTILE not in path.read_text(encoding="utf-8")
    assert HOSTILE in page.texts
    assert page.data()["classes"][0]["name"] == HOSTILE
    blocks = [f"block-{name}" for name in page.data()["blocks"]]
    assert len(page.scripts) == len(SCRIPTS["run.html.j2"]) + 1 + len(blocks)


@pytest.mark.slow
def test_the_page_fetches_nothing_and_runs_only_its_own_scripts(page, path):
    assert path.stat().st_size < 10e6
    targets = [g[name] for _, g in page.tags for name in ("src", "href", "action") if name in g]
    assert all(target.startswith("#") or target == "data:," for target in targets)
    styles = re.findall(r"<style>(.*?)</style>", path.read_text(encoding="utf-8"), re.DOTALL)
    assert len(styles) == 4
    assert not re.search(r"url\(|@import", "".join(styles))
    policy = next(g["content"] for tag, g in page.tags if g.get("http-equiv"))
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    for name, script in page.scripts.items():
        if name.startswith("run "):
            digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
            assert f"'sha256-{digest}'" in policy


@pytest.mark.slow
def test_maps_and_attributions_are_those_of_the_models(page, folder):
    """Against the pipeline's own map, and the gradient asked for directly."""
    from hsi.deploy.variant import load_variant
    from hsi.explain import attribute
    from hsi.pipeline.job import samples_of
    from hsi.predict import class_map
    from hsi.runs import open_run

    data, predicted = page.data(), page.array("predicted")
    samples = samples_of(open_run(folder), say=lambda line: None)
    assert np.array_equal(page.array("truth"), samples.scene.class_indices() + 1)
    keys, classes = np.array(data["explained"]), np.array(data["explainedClass"])
    assert np.isin(keys, samples.part("test").pixels).all()
    assert np.array_equal(classes, predicted[0].ravel()[keys])
    found, scale = page.array("attribution_gradient"), page.array("attribution_gradient_scale")
    for place, variant in enumerate(data["variants"]):
        model = load_variant(folder / variant["file"])
        expected = class_map(model, samples.patches)
        expected[HOLE] = NO_DATA
        assert np.array_equal(predicted[place], expected)
        maps = attribute(
            "gradient", model.score, samples.patches.gather(keys), classes=classes
        ).maps.sum(axis=(1, 2))
        low, step = scale.reshape(len(found), len(keys), 2)[place].T
        shown = low[:, None] + found[place] * step[:, None]
        assert np.abs(shown - maps).max() <= 1e-3 * np.abs(maps).max()
    counts = page.array("spectraScale")
    spectra = counts[:, :1] + page.array("spectra") * counts[:, 1:]
    cube = np.asarray(samples.scene.cube, float).reshape(-1, samples.scene.bands)
    away = np.abs(spectra.T - cube)
    assert np.median(away) <= counts[:, 1].max()
    held = np.ones(predicted.shape[1:], bool)
    held[HOLE] = False
    low, high = np.percentile(cube[held.ravel()], (BEYOND, 100 - BEYOND), axis=0)
    np.testing.assert_allclose(counts[:, 0], low, rtol=1e-5)  # the hole does not stretch the scale
    np.testing.assert_allclose(counts[:, 0] + 65535 * counts[:, 1], high, rtol=1e-5)
    assert (page.array("spectra").reshape(len(low), *held.shape)[:, ~held] == 0).all()
    assert (page.array("sure")[:, ~held] == 0).all()
    likeness = data["methods"][0]["likeness"]
    assert likeness[0]["median"] == pytest.approx(1)
    assert likeness[1]["median"] < 1


@pytest.mark.slow
def test_the_class_maps_of_the_run_show_its_hole(folder):
    from hsi.pipeline.figures import _maps
    from hsi.pipeline.job import samples_of
    from hsi.runs import open_run

    run = open_run(folder)
    samples = samples_of(run, say=lambda line: None)
    job = SimpleNamespace(run=run, samples=samples, network=SimpleNamespace(name="cao"))
    figure = _maps(job, samples)
    assert "no data" in [text.get_text() for text in figure.legends[0].get_texts()
                         + figure.legends[1].get_texts()]  # fmt: skip
    *maps, _ = [axes.images[0].get_array() for axes in figure.axes]
    assert len(maps) == 3
    for picture in maps:
        white = (picture == 255).all(axis=-1)
        assert white[HOLE].all()
        assert white.sum() == white[HOLE].size


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a run on images: an untrained network, taken as it is, and its int8 file."""
    import tf_keras as keras

    from hsi.models.files import save_model
    from hsi.pipeline import generate

    home = tmp_path_factory.mktemp("pictures")
    layers = keras.layers
    keras.utils.set_random_seed(0)
    scores = layers.Dense(10, activation="softmax")
    maps = [layers.Conv2D(4, 3, activation="relu") for _ in range(2)]
    tiny = keras.Sequential([layers.Input((8, 8, 1)), *maps, layers.Flatten(), scores])
    save_model(tiny, home / "tiny.h5")
    words = f"--model {home / 'tiny.h5'} --dataset digits --quantize --quantization int8 --output"
    settings = parse([*words.split(), str(home / "run")])
    run = generate(settings, say=lambda line: None, finishing=False)
    run.save(state="done", figures=[])
    words = f"report {run.folder} --samples 4 --methods gradcam"
    assert main(words.split()) == 0
    return run.folder / "report.html"


@pytest.mark.slow
def test_overlays_of_images_are_the_maps_each_on_its_own_scale(pictures):
    from hsi.deploy.variant import load_variant
    from hsi.explain import attribute
    from hsi.pipeline.job import samples_of
    from hsi.runs import open_run

    page = Page(pictures.read_text(encoding="utf-8"))
    data, predicted = page.data(), page.array("predicted")
    samples = samples_of(open_run(pictures.parent), say=lambda line: None)
    keys = np.array([image["key"] for image in data["images"]])
    explained = keys[: data["explained"]]
    assert len(explained) == 4
    inputs = samples.patches.gather(explained)
    overlays = page.array("attribution_gradcam")
    for place, variant in enumerate(data["variants"]):
        model = load_variant(pictures.parent / variant["file"])
        answers = model.predict(samples.patches.gather(keys)).argmax(axis=1)
        assert np.array_equal(predicted[place], answers)
        maps = attribute("gradcam", model.score, inputs, classes=predicted[0][:4].astype(int)).maps
        wanted = maps.mean(axis=-1)
        largest = np.abs(wanted).max(axis=(1, 2), keepdims=True)
        wanted = 127 * wanted / np.where(largest > 0, largest, 1)
        assert np.abs(overlays[place] - wanted).max() <= 0.51
    decoded = samples.images.decoded(keys)[..., 0]
    assert np.abs(page.array("thumbnails")[..., 0].astype(int) - decoded).max() <= 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda run: (run / "run.json").unlink(), "no run.json and no study.csv"),
        (lambda run: (run / "run.json").write_text('{"format": 1, "sett'), "damaged"),
        (lambda run: _set(run, state="running"), "not finished"),
        (lambda run: _set(run, variants={}), "a model or more"),
        (lambda run: _set(run, data=None), "data"),
        (lambda run: (run / "trained_pruned_model_90.h5").unlink(), "trained_pruned_model_90.h5"),
        (lambda run: (run / "trained_model.h5").write_bytes(b"other"), "not the file"),
        (lambda run: (run / "results.csv").unlink(), "results.csv"),
        (lambda run: (run / "split.npz").write_bytes(b"PK"), "split.npz"),
    ],
)
def test_a_run_that_is_not_whole_is_one_line(folder, tmp_path, capsys, spoil, said):
    run = tmp_path / "run"
    shutil.copytree(folder, run)
    (run / "report.html").write_text("of before")
    spoil(run)
    assert said in one_line_error(capsys, main(["report", str(run)]))
    assert (run / "report.html").read_text() == "of before"


def _set(run: Path, **values: Any) -> None:
    record = json.loads((run / "run.json").read_text())
    record.update(values)
    record = {name: value for name, value in record.items() if value is not None}
    (run / "run.json").write_text(json.dumps(record))


def test_wrong_arguments_are_one_line(tmp_path, capsys):
    assert "no such folder" in one_line_error(capsys, main(["report", str(tmp_path / "none")]))
    line = one_line_error(capsys, main(["report", str(tmp_path), "--methods", "gradien"]))
    assert "Did you mean 'gradient'" in line
    assert "1 or more" in one_line_error(capsys, main(["report", str(tmp_path), "--samples", "0"]))
    assert "is a folder" in one_line_error(
        capsys, main(["report", str(tmp_path), "--output", str(tmp_path)])
    )


@pytest.mark.parametrize("kind", ["uint8", "int8", "uint16", "int16", "float32"])
@pytest.mark.parametrize("differences", [False, True])
def test_packed_arrays_come_back(kind, differences):
    values = (np.random.default_rng(0).normal(size=(3, 50)) * 90).astype(kind)
    if differences and kind in ("float32", "int8", "int16"):
        return  # of whole numbers that wrap around
    block = pack("some", values, differences=differences)
    assert np.array_equal(unpack(block), values)
    assert block.facts()["shape"] == [3, 50]


def test_scaled_values_are_within_half_a_step():
    values = np.random.default_rng(0).normal(size=(4, 300)).astype(np.float32)
    values[2] = 7  # no step at all
    for levels in (255, 65535):
        numbers, scale = to_bytes(values, axis=1, levels=levels)
        assert numbers.max() == levels
        away = np.abs(scale[:, :1] + numbers * scale[:, 1:] - values).max(axis=1)
        assert (away <= 0.51 * scale[:, 1] + 1e-6).all()


def row(variant: str, **values: Any) -> dict[str, str]:
    return {**dict.fromkeys(CSV_COLUMNS, ""), "variant": variant, "file": f"{variant}.h5"} | {
        name: str(value) for name, value in values.items()
    }


ROWS = (
    row("trained", parameters=1000, bytes=8000, oa=98, oa_low=97, oa_high=99, latency_ms=2),
    row("pruned_40", parameters=500, bytes=4000, oa=97.9, mcnemar_p=0.41, latency_ms=1, target=40,
        criterion="apoz", granularity="channel"),
    row("pruned_80", parameters=100, bytes=1000, oa=80, mcnemar_p=1e-9, latency_ms=0.5, target=80,
        criterion="apoz", granularity="channel"),
)  # fmt: skip


def test_tiles_take_the_smallest_that_keeps_the_accuracy():
    found = {tile.label: (tile.value, tile.variant) for tile in tiles(ROWS)}
    assert found["overall accuracy"] == ("98.0 %", 0)
    assert found["smallest within the noise"] == ("2.0 × smaller", 1)
    assert found["fastest within the noise"] == ("2.0 × faster", 1)
    assert found["smallest file of all"] == ("1 kB", 2)


@pytest.mark.parametrize(("bounds", "apart"), [((0.4, 1.6), False), ((0.4, 1.4), True)])
def test_a_file_is_faster_only_where_the_intervals_lie_apart(bounds, apart):
    """A number on top of the page must not say more than the sentence beside it."""
    first = {**ROWS[0], "latency_low": "1.5", "latency_high": "9"}
    low, high = map(str, bounds)
    rows = (first, {**ROWS[1], "latency_low": low, "latency_high": high})
    found = {tile.label for tile in tiles(rows)}
    assert ("fastest within the noise" in found) == apart
    assert "smallest within the noise" in found
    said = " ".join(sentences(rows, variant_facts(rows), [{}, {}]))
    assert ("takes as long" in said) != apart


def test_three_sentences_speak_of_accuracy_attention_and_cost():
    moved = {"attention_shift_nm_low": 90.0, "attention_shift_nm_high": 110.0}
    attention = [
        {"attention_nm": 700.0},
        {"attention_nm": 701.0, "attention_shift_nm_low": -1.0, "attention_shift_nm_high": 3.0},
        {"attention_nm": 800.0, **moved},
    ]
    found = sentences(ROWS, variant_facts(ROWS), attention)
    assert len(found) == 3
    assert "Up to 40 %" in found[0]
    assert "p = .41" in found[0]
    assert "700 nm to 800 nm" in found[1]
    assert "2 times smaller" in found[2]
    assert "nothing to compare" in sentences(ROWS[:1], variant_facts(ROWS[:1]), [{}])[0]


def test_a_form_is_the_quantization_of_a_file_and_made_what_the_network_behind_it_is():
    names = ["trained", "separable", *(f"quantized_pruned_40_{mode}" for mode in QUANTIZATIONS)]
    found = variant_facts([row(name, oa=90, parameters=10) for name in names])
    assert [item["form"] for item in found] == ["Keras", "Keras", *QUANTIZATIONS]
    assert [item["made"] for item in found] == ["trained", "separable", *["pruned"] * 6]


def test_a_study_shows_its_means_and_links_its_runs(tmp_path):
    from hsi.study.cells import Cell
    from hsi.study.tables import averages, write_tables

    keys = ("criterion", "seed")
    rows = []
    for criterion in ("apoz", HOSTILE):
        for seed in (0, 1):
            cell = Cell(f"{criterion[:4]} {seed}", {"criterion": criterion, "seed": seed}, {})
            for place, item in enumerate(ROWS):
                oa = 98 - 10 * place + seed
                own = {**item, "cell": cell.name, "seed": seed, "oa": oa}
                own["set_criterion"] = criterion
                numbers = {"bytes": float(item["bytes"]), "left": 50.0, "leakage": 10.0}
                rows.append({name: v for name, v in own.items() if v != ""} | numbers)
    write_tables(tmp_path, rows, keys)
    beside = tmp_path / "cells" / "apoz 0"
    beside.mkdir(parents=True)
    (beside / "report.html").write_text("a page")
    assert main(["report", str(tmp_path)]) == 0
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert HOSTILE not in text
    assert HOSTILE in page.texts
    assert "cells/apoz%200/report.html" in [g.get("href") for _, g in page.tags]
    means = averages(rows, keys)
    shown = [float(given["data-raw"]) for _, given in page.tags if "data-raw" in given]
    assert shown == pytest.approx([line["oa"] for line in means], rel=1e-5)
    assert len(page.data()["lines"]) == len(means)


@pytest.mark.parametrize("on_the_way", [True, False])
def test_a_step_on_the_way_is_neither_drawn_nor_spoken_of(tmp_path, on_the_way):
    from hsi.report.study import study_page
    from hsi.study.tables import write_tables

    keys = ("epochs", "schedule", "seed")
    rows = []
    for seed, (place, item) in itertools.product((0, 1), enumerate(ROWS)):
        own = {name: value for name, value in item.items() if value != ""}
        own |= {"cell": f"seed-{seed}", "set_schedule": "iterative", "seed": seed}
        own |= {"set_epochs": 50, "epochs": 3 * place, "on_the_way": on_the_way and place == 1}
        rows.append(own | {"oa": 90 + seed / 10 - 30 * (place == 2), "bytes": 9 - place})
    write_tables(tmp_path, rows, keys)
    page = Page(study_page(tmp_path, beside=tmp_path))
    drawn = [item["variant"] for item in ROWS if not on_the_way or item["variant"] != "pruned_40"]
    assert [line["variant"] for line in page.data()["lines"]] == drawn
    assert {line["epochs"] for line in page.data()["lines"]} == {"50"}
    assert page.data()["named"] == ["epochs", "schedule"]
    said = "".join(page.texts)
    best = "no variant stays within" if on_the_way else "is pruned_40, 90.0 %"
    assert f"epochs 50, schedule iterative: {'no' if on_the_way else 'the'}" in said
    assert best in said
    assert ("Steps of an iterative schedule" in said) is on_the_way
    assert page.texts.count("on the way") == on_the_way


@pytest.mark.parametrize("elsewhere", [True, False])
def test_p_is_against_the_first_row(elsewhere):
    """Also where the files were tested against a model that is no row."""
    from hsi.report import against

    right = np.random.default_rng(0).random((3, 40)) < np.array([[0.9], [0.5], [0.8]])
    test = Part(np.arange(40), np.ones(40, int))
    samples = SimpleNamespace(part={"test": test}.get, patches=SimpleNamespace(gather=np.asarray))
    opened = [
        SimpleNamespace(
            variant=lambda keys, own=own: np.stack([~own[keys], own[keys]], axis=1),
            subject=SimpleNamespace(samples=samples),
            label="",
        )
        for own in right
    ]
    rows = [row(f"m{k}", oa=90, mcnemar_p=0.9) for k in range(3)]
    run = SimpleNamespace(settings=SimpleNamespace(quantize_folder="earlier"))
    if not elsewhere:
        rows[0]["mcnemar_p"] = ""
        assert against.against_first(rows, []) is rows
        assert against.notes(run, rows) == []
        return
    found = against.against_first(rows, opened)
    p = [mcnemar(right[0], own) for own in right[1:]]
    assert found[0]["mcnemar_p"] == ""
    assert [float(item["mcnemar_p"]) for item in found[1:]] == pytest.approx(p, rel=1e-5)
    assert all(item["mcnemar_p"] == "0.9" for item in rows)  # the page shows results.csv too
    (note,) = against.notes(run, rows)
    assert "m0" in note
    assert "earlier" in note


def test_intervals_of_attention_redraw_blocks_of_the_scene():
    """Pixels of a block that are all alike say no more than one of them."""
    from hsi.compare.means import mean_of
    from hsi.report.explained import Explained, attention

    rng = np.random.default_rng(0)
    shifts, alike = rng.normal(3, 5, 12), 6
    centres = (np.full(12 * alike, 600.0), 600 + np.repeat(shifts, alike))
    found = Explained("gradient", (np.ones(1), np.ones(1)), ("", ""), "", "", centres)
    _, row = attention(found, blocks=np.repeat(np.arange(12), alike), seed=0)
    alone = mean_of(shifts, seed=0)
    assert row["attention_shift_nm_low"] == pytest.approx(alone.low)
    assert row["attention_shift_nm_high"] == pytest.approx(alone.high)
    assert row["attention_distance_nm_low"] == pytest.approx(mean_of(abs(shifts), seed=0).low)


@pytest.mark.slow
def test_the_page_says_which_intervals_attention_has(page):
    data = page.data()
    places = [divmod(key, data["cols"]) for key in data["explained"]]
    count = len({(row // 10, col // 10) for row, col in places})
    said = "".join(page.texts)
    assert f"95 % intervals by redrawing {count} blocks of 10 x 10 pixels of the scene" in said


def test_methods_that_explain_no_variant_have_no_overlays():
    from hsi.report.explained import Explained
    from hsi.report.pictures import explaining, overlay_blocks

    maps = np.arange(-4, 4, dtype=np.float32).reshape(2, 2, 2)
    none = Explained("gradcam", (None, None), ("no", "no"), "relevance", "")
    one = Explained("gradient", (None, maps), ("no", ""), "relevance", "")
    assert overlay_blocks(none) == []
    (block,) = overlay_blocks(one)
    assert block.name == "attribution_gradient"
    overlays = unpack(block)
    assert not overlays[0].any()
    assert overlays[1].tolist() == [[[-127, -95], [-64, -32]], [[0, 42], [85, 127]]]
    assert explaining([none, one]) == [one]
    assert explaining([none]) == [none]  # its reasons are on the page


def test_a_table_that_is_no_study_is_one_line(tmp_path, capsys):
    (tmp_path / "study.csv").write_text("a,b\n1,2\n")
    assert "study.csv: expected rows" in one_line_error(capsys, main(["report", str(tmp_path)]))


def test_a_report_can_be_left_out():
    assert parse(["cao", "--no_report"]).no_report
    assert "no_report" not in parse(["cao"]).of_the_result()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Headless Chromium without a network."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    driver = shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.skip("no browser: chromium and chromedriver are not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    arguments = (
        "headless=new", "no-sandbox", "disable-dev-shm-usage", "window-size=1280,900",
        "host-resolver-rules=MAP * ~NOTFOUND", "disable-background-networking",
        "force-prefers-reduced-motion",  # a page that still glides slips away under the mouse
    )  # fmt: skip
    for argument in arguments:
        options.add_argument(f"--{argument}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    found = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    found.execute_cdp_cmd("Network.enable", {})
    found.execute_cdp_cmd(
        "Network.emulateNetworkConditions",
        {"offline": True, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0},
    )
    yield found
    found.quit()


@pytest.fixture
def opened(browser: Any, path: Path) -> Any:
    return open_page(browser, path)


def open_page(browser: Any, path: Path) -> Any:
    """A page, when all its parts have started."""
    from selenium.webdriver.support.ui import WebDriverWait

    browser.get(path.as_uri())
    WebDriverWait(browser, 60).until(
        lambda b: b.execute_script("return document.documentElement.dataset.ready")
    )
    return browser


def text_of(browser: Any, name: str) -> str:
    return browser.execute_script("return document.getElementById(arguments[0]).textContent", name)


def click_pixel(browser: Any, canvas: str, row: int, col: int) -> None:
    """A click in the middle of a pixel of a map, wherever the page is scrolled to.

    A bar stays at the top of the window and would take the click of a mouse that WebDriver has
    moved to a row below it.
    """
    browser.execute_script(
        """
        const { rows, cols } = report.data, [canvas, row, col] = arguments;
        const box = canvas.getBoundingClientRect();
        canvas.dispatchEvent(new MouseEvent("click", {
          bubbles: true,
          clientX: box.left + (col + .5) / cols * box.width,
          clientY: box.top + (row + .5) / rows * box.height,
        }));
        """,
        browser.find_element("id", canvas), row, col,
    )  # fmt: skip


@pytest.mark.slow
def test_in_a_browser_it_opens_from_disk_without_errors(opened):
    assert opened.get_log("browser") == []
    assert opened.execute_script("return window.hurt") is None
    fetched = "return performance.getEntriesByType('resource').map((entry) => entry.name)"
    assert [name for name in opened.execute_script(fetched) if not name.startswith("data:")] == []
    assert HOSTILE in text_of(opened, "class-legend")
    charts = len(opened.find_elements("css selector", ".uplot canvas"))
    assert charts == 4 + 2 + 1  # against compression; of a pixel; of a class
    width = "return document.documentElement.scrollWidth - window.innerWidth"
    assert opened.execute_script(width) <= 0


@pytest.mark.slow
def test_in_a_browser_a_pixel_is_chosen_by_click_and_keys(opened, page):
    predicted, names = page.array("predicted"), [c["name"] for c in page.data()["classes"]]
    click_pixel(opened, "scene", 3, 5)
    assert "row 3, column 5" in text_of(opened, "pixel-facts")
    cells = opened.find_elements("css selector", "#answers td:nth-child(2)")
    answers = [cell.get_attribute("textContent") for cell in cells]
    assert answers == [names[index] for index in predicted[:, 3, 5]]
    before = text_of(opened, "attribution-said")
    click_pixel(opened, "map-differ", 16, 12)
    assert "row 16, column 12" in text_of(opened, "pixel-facts")
    assert text_of(opened, "attribution-said") != before
    opened.find_element("id", "scene").send_keys("\ue014\ue015")  # right, down
    assert "row 17, column 13" in text_of(opened, "pixel-facts")
    key = page.data()["explained"][0]
    click_pixel(opened, "scene", *divmod(key, page.data()["cols"]))
    assert text_of(opened, "attribution-said").startswith("Of this pixel")


@pytest.mark.slow
def test_in_a_browser_a_pixel_without_data_has_no_answer(opened):
    click_pixel(opened, "scene", 1, 16)
    assert text_of(opened, "pixel-facts") == "row 1, column 16 · no data"
    cells = opened.find_elements("css selector", "#answers td")
    assert {cell.get_attribute("textContent") for cell in cells} == {"–"}
    assert opened.execute_script("return pixels.spectrum(report.choice.pixel)") is None
    assert text_of(opened, "attribution-said").startswith("This pixel holds no data")
    for name in ("class-legend", "differ-legend"):
        assert text_of(opened, name).endswith("no data")
    assert opened.get_log("browser") == []
    drawn = opened.execute_script(
        """
        return ["map-a", "map-b", "map-differ", "scene"].map((name) => [[16, 1], [1, 16]].map(
          ([col, row]) => [...document.getElementById(name).getContext("2d").getImageData(
            col, row, 1, 1).data.subarray(0, 3)].join()));
        """
    )
    empty = {"light": "255,255,255", "dark": "0,0,0"}
    theme = opened.execute_script("return document.documentElement.dataset.theme")
    assert all(hole == empty[theme] != other for hole, other in drawn)
    opened.get_log("browser")  # what it says of this reading of pixels is not the page's


@pytest.mark.slow
def test_in_a_browser_the_line_between_the_maps_moves(opened):
    from selenium.webdriver.common.action_chains import ActionChains

    cut = "return parseFloat(document.getElementById('compare').style.getPropertyValue('--cut'))"
    assert opened.execute_script(cut) == 50
    opened.find_element("id", "slider").send_keys("\ue014" * 4)
    assert opened.execute_script(cut) == 52
    frame = opened.find_element("id", "compare")
    opened.execute_script(TO_THE_MIDDLE, frame)
    drag = ActionChains(opened).move_to_element(frame).click_and_hold()
    drag.move_by_offset(-100, 0).release().perform()
    assert opened.execute_script(cut) < 45


@pytest.mark.slow
def test_in_a_browser_a_variant_is_chosen_everywhere(opened, page):
    names = [variant["name"] for variant in page.data()["variants"]]
    for place in (2, 0, 1):
        opened.execute_script(
            "document.querySelectorAll('#variants .chip')[arguments[0]].click()", place
        )
        assert text_of(opened, "curves-said").startswith(names[place])
        rows = opened.find_elements("css selector", "tr.selected th")
        assert [element.get_attribute("textContent") for element in rows] == [names[place]] * 2
        assert text_of(opened, "tag-right") == (names[place] if place else "ground truth")
    theme = "return document.documentElement.dataset.theme"
    before = opened.execute_script(theme)
    opened.find_element("id", "theme").click()
    assert {before, opened.execute_script(theme)} == {"light", "dark"}
    assert opened.get_log("browser") == []


@pytest.mark.slow
def test_in_a_browser_an_image_is_chosen_from_the_sheet(browser, pictures):
    page = open_page(browser, pictures)
    assert page.get_log("browser") == []
    rows = page.find_elements("css selector", "#sheet .row")
    assert len(rows) == 1 + 2  # the images themselves, and each variant
    assert len(page.find_elements("css selector", "#sheet .image")) == 3 * 4
    before = text_of(page, "explorer-facts")
    page.execute_script("document.querySelectorAll('#sheet .row:last-child .image')[2].click()")
    key = page.execute_script("return report.data.images[2].key")
    assert f"Image {key}," in text_of(page, "explorer-facts")
    assert text_of(page, "explorer-facts") != before
