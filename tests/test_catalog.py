"""The catalogue's facts, and opening scenes by name and from files."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.io

from hsi import catalog
from hsi.catalog import CATALOG, CLASS_SETS, folders, open_scene, scene_name
from hsi.cli import datasets as verb
from hsi.download import RemoteFile, git_blob_id, hash_error
from hsi.errors import DataError, DownloadError, OutputError, SettingsError, UserError

SALINAS_A_COUNTS = {1: 391, 10: 1343, 11: 616, 12: 1525, 13: 674, 14: 799}
NOWHERE = "http://127.0.0.1:9"  # the discard port: refused at once


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project folder as current folder, no settings from outside, no network."""
    for name in ("HSI_DATASETS", "HSI_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HSI_MIRROR", NOWHERE)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    project = tmp_path / "project"
    project.mkdir()
    monkeypatch.chdir(project)
    return project


def some_cube(shape: tuple[int, int, int] = (6, 5, 4)) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 3000, shape).astype(np.int16)


def some_labels(shape: tuple[int, int] = (6, 5)) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 4, shape).astype(np.uint8)


@pytest.fixture
def small_ksc(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The entry `ksc` shrunk to 6 x 5 x 4, its files in a folder of their own."""
    folder = tmp_path / "data" / "ksc"
    folder.mkdir(parents=True)
    scipy.io.savemat(folder / "KSC.mat", {"KSC": some_cube()})
    scipy.io.savemat(folder / "KSC_gt.mat", {"KSC_gt": some_labels()})
    labels = RemoteFile("/a/a6/KSC_gt.mat", git_blob=git_blob_id(folder / "KSC_gt.mat"))
    small = replace(CATALOG["ksc"], shape=(6, 5, 4), labels=labels)
    monkeypatch.setitem(CATALOG, "ksc", small)
    monkeypatch.setenv("HSI_DATASETS", str(tmp_path / "data"))
    return folder


def quiet(dataset: str | None, **options: object) -> catalog.Scene:
    return open_scene(dataset, say=lambda _: None, **options)  # type: ignore[arg-type]


def refusal(dataset: str | None, error: type[UserError] = DataError, **options: object) -> str:
    with pytest.raises(error) as caught:
        quiet(dataset, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Facts


UPV = {name: scene for name, scene in CATALOG.items() if not scene.cube.page}
"""The scenes that can be downloaded."""


def all_files() -> list[RemoteFile]:
    return [f for s in UPV.values() for f in (s.cube, s.labels, s.raw) if f is not None]


def test_a_path_begins_with_the_md5_of_its_name() -> None:
    """The publisher's wiki files an upload under the beginning of the md5 of its name."""
    assert len(all_files()) == 17
    for file in all_files():
        digest = hashlib.md5(file.name.encode(), usedforsecurity=False).hexdigest()
        assert file.path == f"/{digest[0]}/{digest[:2]}/{file.name}"


def test_facts_agree_with_one_another() -> None:
    sizes = {"indian_pines": 16, "salinas": 16, "salinas_a": 6, "pavia_u": 9, "pavia_c": 9,
             "ksc": 13, "botswana": 14, "samson": 3, "jasper_ridge": 4, "urban": 4, "cuprite": 12,
             "houston_2013": 15}  # fmt: skip
    assert {name: len(scene.classes) for name, scene in CATALOG.items()} == sizes
    for name, scene in CATALOG.items():
        assert scene.name == name
        assert len(set(scene.classes.values())) == len(scene.classes)
        assert all(len(f.sha256) in (0, 64) and len(f.git_blob) in (0, 40) for f in scene.files)
        assert scene.labels.sha256 or scene.labels.page
        if scene.centres:
            assert len(scene.centres) == scene.shape[2] + len(scene.removed_bands)
            assert scene.wavelengths is not None
            assert len(scene.wavelengths) == scene.shape[2]
            assert (np.diff(scene.wavelengths) > 0).all()
            assert 350 < scene.wavelengths[0] < scene.wavelengths[-1] <= 2500
    assert [n for n, s in CATALOG.items() if not s.centres] == ["ksc"]


def test_removed_bands_lie_where_water_vapour_absorbs() -> None:
    """Around 1380 and 1880 nm; linear AVIRIS centres may be some tens of nm off."""
    for name in ("indian_pines", "salinas", "salinas_a"):
        scene = CATALOG[name]
        *water, last = (scene.centres[band - 1] for band in scene.removed_bands)
        assert last == 2500
        assert all(1340 < nm < 1480 or 1790 < nm < 1990 for nm in water)
    for centre in (1380, 1880):
        assert np.abs(CATALOG["botswana"].wavelengths - centre).min() > 10


def test_hyperion_centres_are_the_published_ones() -> None:
    """Band centres of USGS, nm: 8 and 57 of one spectrometer, 77 and 224 of the other."""
    centres = CATALOG["botswana"].centres
    assert len(centres) == 242
    for band, published in ((8, 426.82), (57, 925.41), (77, 912.45), (224, 2395.50)):
        assert abs(centres[band - 1] - published) < 0.1


def test_cao9_are_the_nine_largest_classes(datasets: Path) -> None:
    labels = scipy.io.loadmat(datasets / "ground_truth/Indian_pines_gt.mat")["indian_pines_gt"]
    values, counts = np.unique(labels[labels > 0], return_counts=True)
    assert CLASS_SETS["cao9"] == tuple(sorted(values[np.argsort(-counts)][:9].tolist()))


@pytest.mark.parametrize("name", ["indian_pines", "pavia_u", "salinas", "ksc", "botswana"])
def test_the_real_label_maps_are_those_of_the_catalogue(datasets: Path, name: str) -> None:
    scene = CATALOG[name]
    path = datasets / "ground_truth" / scene.labels.name
    assert hash_error(path, scene.labels) == ""
    labels = scipy.io.loadmat(path)[scene.labels_key]
    assert labels.shape == scene.shape[:2]
    assert set(np.unique(labels)) == {0, *scene.classes}


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Salinas-A", "salinas_a"), ("salinasA", "salinas_a"), ("INDIAN_PINES", "indian_pines"),
        ("indian pines", "indian_pines"), ("PaviaU", "pavia_u"), ("Synthetic", "synthetic"),
        ("salinas", "salinas"), ("salinas_b", None),
    ],
)  # fmt: skip
def test_names_are_taken_as_people_write_them(text: str, name: str | None) -> None:
    assert scene_name(text) == name


# Folders


def test_folders_in_their_order(
    alone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert folders() == [alone / "datasets"]
    monkeypatch.setenv("HSI_DATASETS", str(tmp_path))
    assert folders() == [tmp_path, alone / "datasets"]


def test_files_are_found_in_either_folder_and_layout(small_ksc: Path, alone: Path) -> None:
    (alone / "datasets").mkdir()
    (small_ksc / "KSC_gt.mat").rename(alone / "datasets" / "KSC_gt.mat")
    scene = quiet("KSC")
    assert (scene.cube == some_cube()).all()
    assert (scene.labels == some_labels()).all()
    assert scene.class_names[1] == "Scrub"


def test_downloads_go_where_one_can_write(
    small_ksc: Path, alone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder without write bits is left alone, also by root, who could write there."""
    data = small_ksc.parent
    assert catalog.writable_folder("ksc") == data
    data.chmod(0o555)
    try:
        assert catalog.writable_folder("ksc") == alone / "datasets"
        alone.chmod(0o555)
        with pytest.raises(OutputError, match="no folder for the download"):
            catalog.writable_folder("ksc")
    finally:
        data.chmod(0o755)
        alone.chmod(0o755)


# Scenes of the catalogue


def test_salinas_a_as_it_is_published(datasets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HSI_DATASETS", str(datasets))
    said: list[str] = []
    scene = open_scene("salinas_a", say=said.append)
    assert said == []
    assert scene.cube.shape == (83, 86, 204)
    assert (scene.cube.min(), scene.cube.max()) == (-9, 8373)
    assert {c: int((scene.labels == c).sum()) for c in scene.classes} == SALINAS_A_COUNTS
    assert scene.class_names[10] == "Corn senesced green weeds"
    assert scene.wavelengths_approximate
    assert not scene.synthetic
    assert "https://www.ehu.eus/" in scene.source  # the publisher, whatever the mirror
    contents = [(datasets / "salinas_a" / f.name).read_bytes() for f in CATALOG["salinas_a"].files]
    assert scene.sha256 == hashlib.sha256(b"".join(contents)).hexdigest()
    numbers = np.setdiff1d(scene.sensor_bands(), [0])
    assert (len(numbers), numbers[-1]) == (204, 223)


def test_a_corrupt_file_is_refused_and_not_replaced(
    datasets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SalinasA_corrected.mat", "SalinasA_gt.mat"):
        content = (datasets / "salinas_a" / name).read_bytes()
        (tmp_path / name).write_bytes(content[:-1] if "corr" in name else content)
    monkeypatch.setenv("HSI_DATASETS", str(tmp_path))
    text = refusal("salinas_a")
    assert str(tmp_path / "SalinasA_corrected.mat") in text
    assert "--download salinas_a" in text


def test_a_missing_scene_names_file_url_and_folder(
    alone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for error, offline in ((DownloadError, ""), (DataError, "1")):
        monkeypatch.setenv("HSI_OFFLINE", offline)
        text = refusal("pavia_u", error)
        assert "PaviaU.mat" in text
        assert f"{NOWHERE}/e/ee/PaviaU.mat" in text
        assert str(alone / "datasets" / "pavia_u") in text
    assert not (alone / "datasets" / "pavia_u").exists()


def test_an_unknown_name_gets_the_closest() -> None:
    assert "Did you mean 'salinas'" in refusal("salinass", SettingsError)
    assert "synthetic" in refusal("salinass", SettingsError)


def test_a_hash_is_recorded_at_first_use_and_held_later(small_ksc: Path) -> None:
    quiet("ksc")
    record = small_ksc / catalog.RECORD
    digest = hashlib.sha256((small_ksc / "KSC.mat").read_bytes()).hexdigest()
    assert json.loads(record.read_text()) == {"KSC.mat": digest}
    quiet("ksc")
    scipy.io.savemat(small_ksc / "KSC.mat", {"KSC": some_cube() + 1})
    assert "changed since its first use" in refusal("ksc")
    record.write_text("[]")
    assert "not a record" in refusal("ksc")
    record.unlink()
    assert (quiet("ksc").cube == some_cube() + 1).all()


def test_nothing_is_recorded_in_a_folder_without_write_bits(small_ksc: Path) -> None:
    small_ksc.chmod(0o555)
    try:
        quiet("ksc")
        assert not (small_ksc / catalog.RECORD).exists()
    finally:
        small_ksc.chmod(0o755)


def test_a_file_of_another_shape_is_not_the_scene(small_ksc: Path) -> None:
    scipy.io.savemat(small_ksc / "KSC.mat", {"KSC": some_cube((6, 5, 3))})
    assert "expected (6, 5, 4)" in refusal("ksc")
    assert not (small_ksc / catalog.RECORD).exists()


def test_the_raw_file_has_every_band(small_ksc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "no raw file" in refusal("ksc", SettingsError, raw=True)
    scipy.io.savemat(small_ksc / "all.mat", {"all": some_cube((6, 5, 7))})
    full = replace(
        CATALOG["ksc"], raw=RemoteFile("/0/00/all.mat"), raw_key="all",
        centres=tuple(np.linspace(400, 1000, 7)), removed_bands=(2, 3, 7),
    )  # fmt: skip
    monkeypatch.setitem(CATALOG, "ksc", full)
    raw, corrected = quiet("ksc", raw=True), quiet("ksc")
    assert (raw.bands, raw.removed_bands) == (7, ())
    assert (corrected.bands, corrected.removed_bands) == (4, (2, 3, 7))
    np.testing.assert_allclose(corrected.wavelengths, [400, 700, 800, 900])
    np.testing.assert_array_equal(
        raw.wavelengths[corrected.sensor_bands() - 1], corrected.wavelengths
    )


def test_other_labels_keep_names_only_if_numbers_mean_the_same(
    small_ksc: Path, tmp_path: Path
) -> None:
    subset = some_labels()
    subset[:3] = 0
    np.save(tmp_path / "train.npy", subset)
    scene = quiet("ksc", labels=str(tmp_path / "train.npy"))
    assert (scene.labels == subset).all()
    assert scene.class_names[1] == "Scrub"
    np.save(tmp_path / "other.npy", (some_labels() + 1) % 4)
    said: list[str] = []
    other = open_scene("ksc", labels=str(tmp_path / "other.npy"), say=said.append)
    assert "Scrub" not in other.class_names.values()
    assert any("numbers classes differently" in line for line in said)


# The default


def test_offline_the_default_is_the_embedded_scene_and_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HSI_OFFLINE", "1")
    said: list[str] = []
    scene = open_scene(None, say=said.append)
    assert scene.synthetic
    assert "synthetic" in said[0].lower()
    assert "HSI_OFFLINE" in said[0]
    assert (quiet("synthetic").cube == scene.cube).all()


def test_without_a_network_the_first_line_gives_the_reason(alone: Path) -> None:
    said: list[str] = []
    assert open_scene(None, say=said.append).synthetic
    assert "synthetic" in said[0].lower()
    assert "refused" in said[0]
    assert not list(alone.rglob("*.mat*"))


def test_the_default_is_indian_pines_where_its_hash_holds(
    small_ksc: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the shrunken scene in its place, since the real cube is not at hand."""
    monkeypatch.setattr(catalog, "DEFAULT", "ksc")
    assert quiet(None).name == "ksc"
    scipy.io.savemat(small_ksc / "KSC_gt.mat", {"KSC_gt": some_labels() * 0})
    said: list[str] = []
    assert open_scene(None, say=said.append).synthetic
    assert "not the published file" in said[0]


# Files of one's own


def test_the_chip_with_and_without_keys(datasets: Path) -> None:
    file = datasets / "indian_pines_chip" / "Indian_subset.mat"
    named = quiet(f"{file}:Indian_subset", labels=f"{file}:Indian_subset_gt")
    said: list[str] = []
    chosen = open_scene(str(file), say=said.append)
    assert "'Indian_subset' (70 x 70 x 200)" in said[0]
    assert "'Indian_subset_gt' (70 x 70)" in said[1]
    for scene in (named, chosen):
        assert (scene.cube.min(), scene.cube.max()) == (955, 8494)
        counts = {c: int((scene.labels == c).sum()) for c in scene.classes}
        assert counts == {2: 1005, 6: 358, 10: 732, 11: 1474}
        assert scene.wavelengths is None
        assert scene.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    like = quiet(str(file), like="Indian-Pines")
    assert like.class_names == {
        2: "Corn-notill", 6: "Grass-trees", 10: "Soybean-notill", 11: "Soybean-mintill",
    }  # fmt: skip
    assert len(like.wavelengths) == 200
    assert like.sensor == "AVIRIS"
    assert like.wavelengths_approximate
    assert "200 bands, but salinas has 204" in refusal(str(file), like="salinas")


def test_like_gives_way_to_what_the_file_says(tmp_path: Path) -> None:
    measured = np.linspace(410, 2450, 200)
    np.savez(tmp_path / "a.npz", cube=some_cube((6, 5, 200)), gt=some_labels(), wavelength=measured)
    scene = quiet(str(tmp_path / "a.npz"), like="indian_pines")
    np.testing.assert_array_equal(scene.wavelengths, measured)
    assert not scene.wavelengths_approximate


def test_a_cube_alone_asks_for_labels(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", some_cube())
    scipy.io.savemat(tmp_path / "a.mat", {"x": some_cube()})
    np.save(tmp_path / "gt.npy", some_labels())
    for name in ("a.npy", "a.mat"):
        assert "--labels" in refusal(str(tmp_path / name))
        scene = quiet(str(tmp_path / name), labels=str(tmp_path / "gt.npy"))
        assert (scene.labels == some_labels()).all()
        assert scene.source == str(tmp_path / name)


def test_the_name_of_a_file_becomes_a_folder_name(tmp_path: Path) -> None:
    np.savez(tmp_path / "my scene (2).npz", x=some_cube(), gt=some_labels())
    assert quiet(str(tmp_path / "my scene (2).npz")).name == "my_scene_2_"


def test_transposed_and_bands_first_are_named(tmp_path: Path) -> None:
    np.save(tmp_path / "gt.npy", some_labels())
    for axes, said in (((1, 0, 2), "transposed"), ((2, 0, 1), "bands come first"),
                       ((2, 1, 0), "axes are reversed")):  # fmt: skip
        np.save(tmp_path / "a.npy", some_cube().transpose(axes))
        assert said in refusal(str(tmp_path / "a.npy"), labels=str(tmp_path / "gt.npy"))


def test_options_that_contradict_each_other(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=some_cube(), gt=some_labels())
    own = str(tmp_path / "a.npz")
    contradictions: list[tuple[str | None, dict]] = [
        (None, {"labels": "x"}), ("salinas", {"like": "ksc"}), ("synthetic", {"labels": "x"}),
        (own, {"raw": True}), (own, {"like": "kcs"}),
    ]  # fmt: skip
    for dataset, options in contradictions:
        refusal(dataset, SettingsError, **options)
    assert "no such file" in refusal("somewhere/x.mat")


# The command


def run(*words: str) -> int:
    parser = argparse.ArgumentParser()
    verb.add_arguments(parser)
    return verb.run(parser.parse_args(words))


def test_the_list_says_what_is_on_disk(
    small_ksc: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert run() == 0
    lines = capsys.readouterr().out.splitlines()
    for name in (*CATALOG, "synthetic"):
        line = next(line for line in lines if line.startswith(name + " "))
        assert ("missing" in line) == (name not in ("ksc", "synthetic"))
    assert str(small_ksc) in next(line for line in lines if line.startswith("ksc"))
    (small_ksc / "KSC.mat").unlink()
    run()
    assert "missing KSC.mat" in capsys.readouterr().out


def test_the_list_as_json(small_ksc: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--json") == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert list(rows) == [*CATALOG, "synthetic"]
    assert rows["ksc"]["on_disk"]
    assert rows["ksc"]["files"]["KSC.mat"] == str(small_ksc / "KSC.mat")
    assert not rows["salinas"]["on_disk"]
    assert rows["salinas"]["class_names"]["16"] == "Vinyard vertical trellis"


def test_a_download_by_name(small_ksc: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--download", "KSC") == 0  # both files are there: nothing is fetched
    assert capsys.readouterr().out.splitlines() == [
        str(small_ksc / "KSC.mat"), str(small_ksc / "KSC_gt.mat"),
    ]  # fmt: skip
    with pytest.raises(SettingsError, match="Did you mean 'ksc'"):
        run("--download", "ksk")
    with pytest.raises(DownloadError, match="refused"):
        run("--download", "botswana")


def test_the_list_loads_no_tensorflow(root: Path) -> None:
    code = (
        "import argparse, sys; from hsi.cli import datasets as d; p = argparse.ArgumentParser();"
        "d.add_arguments(p); d.run(p.parse_args([]));"
        "slow = ('tensorflow', 'tf_keras', 'matplotlib', 'requests');"
        "print([m for m in slow if m in sys.modules])"
    )
    environment = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"
