"""Scenes whose files are placed by hand: unmixing scenes of RS-Lab, and Houston 2013."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
import scipy.io

from hsi.catalog import CATALOG, download, open_scene
from hsi.errors import DataError

ROWS, COLS, BANDS, MATERIALS = 6, 4, 5, 3


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HSI_DATASETS", str(tmp_path))
    monkeypatch.delenv("HSI_OFFLINE", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def shrink(monkeypatch: pytest.MonkeyPatch, name: str, **facts: object) -> None:
    """An entry of the catalogue with a scene of a few pixels in its place."""
    small = replace(
        CATALOG[name], shape=(ROWS, COLS, BANDS), centres=tuple(np.linspace(400, 900, BANDS)),
        removed_bands=(), **facts,
    )  # fmt: skip
    monkeypatch.setitem(CATALOG, name, small)


def spectra() -> np.ndarray:
    """(bands, materials), no two alike."""
    return np.random.default_rng(0).random((BANDS, MATERIALS)) + np.eye(BANDS, MATERIALS)


def abundances() -> np.ndarray:
    """(rows, cols, materials), one of them above a half in each pixel."""
    random = np.random.default_rng(1)
    found = random.dirichlet(np.ones(MATERIALS), (ROWS, COLS)) / 2
    np.put_along_axis(found, random.integers(0, MATERIALS, (ROWS, COLS, 1)), 0.6, axis=2)
    return found


def columns(image: np.ndarray) -> np.ndarray:
    """(rows, cols, n) -> (n, pixels), pixels column by column: a literal walk."""
    rows, cols, count = image.shape
    out = np.empty((count, rows * cols))
    for row in range(rows):
        for col in range(cols):
            out[:, col * rows + row] = image[row, col]
    return out


@pytest.mark.parametrize("name", ["samson", "jasper_ridge", "urban"])
def test_labels_are_the_largest_abundance(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    shrink(monkeypatch, name)
    cube = abundances() @ spectra().T
    share = abundances()
    share[2, 3] = 0  # nothing there
    info = CATALOG[name]
    scipy.io.savemat(folder / info.cube.name, {info.cube_key: columns(cube), "nRow": ROWS})
    scipy.io.savemat(folder / info.labels.name, {"A": columns(share), "M": spectra()})
    said: list[str] = []
    scene = open_scene(name, say=said.append)
    np.testing.assert_allclose(scene.cube, cube)
    expected = share.argmax(axis=2) + 1
    expected[2, 3] = 0
    np.testing.assert_array_equal(scene.labels, expected)
    assert scene.class_names[1] == info.classes[1]
    assert any("largest published abundance" in line for line in said)


@pytest.mark.parametrize("all_bands", [False, True])
def test_cuprites_labels_are_found_with_its_spectra(
    folder: Path, monkeypatch: pytest.MonkeyPatch, all_bands: bool
) -> None:
    """Its truth has the spectra of minerals, of all bands of the sensor."""
    shrink(monkeypatch, "cuprite")
    cube = abundances() @ spectra().T
    known, kept = spectra(), np.array([1, 2, 4, 5, 7])
    truth = {"M": known}
    if all_bands:
        known = np.full((8, MATERIALS), 9.0)
        known[kept - 1] = spectra()
        truth = {"M": known, "slctBnds": kept[None]}
    scipy.io.savemat(folder / "CupriteS1_R188.mat", {"Y": columns(cube)})
    scipy.io.savemat(folder / "groundTruth_Cuprite_nEnd12.mat", truth)
    said: list[str] = []
    scene = open_scene("cuprite", say=said.append)
    np.testing.assert_array_equal(scene.labels, abundances().argmax(axis=2) + 1)
    assert any("non-negative least squares" in line for line in said)


def test_matrices_of_another_size_are_one_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shrink(monkeypatch, "samson")
    scipy.io.savemat(folder / "samson_1.mat", {"V": np.ones((BANDS, 7))})
    scipy.io.savemat(folder / "end3.mat", {"A": np.ones((MATERIALS, 24))})
    with pytest.raises(DataError, match=r"5 x 7; expected bands x 24 pixels"):
        open_scene("samson", say=lambda _: None)
    scipy.io.savemat(folder / "samson_1.mat", {"V": np.ones((BANDS, 24))})
    (folder / "sha256.json").unlink()
    scipy.io.savemat(folder / "end3.mat", {"A": np.ones((MATERIALS, 7))})
    with pytest.raises(DataError, match=r"3 x 7; expected materials x 24"):
        open_scene("samson", say=lambda _: None)


@pytest.mark.parametrize(
    "name", ["samson", "jasper_ridge", "urban", "cuprite", "houston_2013", "Houston 2013"]
)
def test_what_is_missing_is_named_with_page_and_folder(folder: Path, name: str) -> None:
    """Nothing is downloaded: neither by opening nor by name."""
    plain = name.lower().replace(" ", "_")
    info = CATALOG[plain]
    for call in (lambda: open_scene(name, say=print), lambda: download(name, say=print)):
        with pytest.raises(DataError) as caught:
            call()
        text = str(caught.value)
        for part in (info.cube.name, info.labels.name, info.cube.page, str(folder / plain)):
            assert part in text
        assert "\n" not in text


# Houston 2013


ROIS = (("grass_healthy", [(1, 1), (2, 1)]), ("grass_stressed", [(4, 6)]))


def roi_text(regions: tuple = ROIS, size: tuple[int, int] = (COLS, ROWS)) -> str:
    lines = [
        "; ENVI Output of ROIs (4.8) [Wed Mar 6 12:00:00 2013]",
        f"; Number of ROIs: {len(regions)}",
        f"; File Dimension: {size[0]} x {size[1]}",
        ";",
    ]
    for name, points in regions:
        lines += [f"; ROI name: {name}", "; ROI rgb value: {0, 205, 0}",
                  f"; ROI npts: {len(points)}"]  # fmt: skip
    for _, points in regions:
        lines.append(";   ID    X    Y   MapX   MapY   B1")
        lines += [f"  {i}  {x}  {y}  271.5  3289.1  12" for i, (x, y) in enumerate(points, 1)]
        lines.append("")
    return "\n".join(lines)


@pytest.fixture
def houston(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shrink(monkeypatch, "houston_2013")
    cube = np.arange(ROWS * COLS * BANDS, dtype=np.uint16).reshape(ROWS, COLS, BANDS)
    own = folder / "houston_2013"
    own.mkdir()
    transform = rasterio.Affine(2.5, 0, 271460, 0, -2.5, 3290891)
    with rasterio.open(
        own / "2013_IEEE_GRSS_DF_Contest_CASI.tif", "w", driver="GTiff", height=ROWS, width=COLS,
        count=BANDS, dtype="uint16", crs="EPSG:32615", transform=transform,
    ) as file:  # fmt: skip
        file.write(cube.transpose(2, 0, 1))
    (own / "2013_IEEE_GRSS_DF_Contest_Samples_TR.txt").write_text(roi_text())
    return own


def test_houston_with_training_and_test_pixels(houston: Path) -> None:
    said: list[str] = []
    scene = open_scene("houston_2013", say=said.append)
    expected = np.zeros((ROWS, COLS), int)
    expected[0, 0] = expected[0, 1] = 1
    expected[5, 3] = 2
    np.testing.assert_array_equal(scene.labels, expected)
    assert any("Samples_VA.txt is not at hand" in line for line in said)
    assert scene.georeference is not None
    assert scene.georeference.epsg == 32615
    more = (("grass_healthy", [(3, 3)]), ("grass_stressed", [(1, 1), (2, 5)]))
    (houston / "2013_IEEE_GRSS_DF_Contest_Samples_VA.txt").write_text(roi_text(more))
    both = open_scene("houston_2013", say=lambda _: None)
    expected[2, 2], expected[4, 1] = 1, 2  # pixel 1, 1 stays as the training map has it
    np.testing.assert_array_equal(both.labels, expected)
    assert both.sha256 != scene.sha256


def test_regions_of_another_image_and_a_cut_text(houston: Path) -> None:
    path = houston / "2013_IEEE_GRSS_DF_Contest_Samples_TR.txt"
    record = houston / "sha256.json"
    for text, said in ((roi_text(size=(9, 9)), "image of 9 x 9"),
                       (roi_text()[:-60], "cut off"),
                       (roi_text((("a", [(5, 1)]),)), "points outside")):  # fmt: skip
        path.write_text(text)
        record.unlink(missing_ok=True)
        with pytest.raises(DataError, match=said):
            open_scene("houston_2013", say=lambda _: None)
