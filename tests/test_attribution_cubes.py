"""`visualization.py ... --format envi`: the arrays of .npz as cubes with wavelengths and a map."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hsi.cli.visualize import main
from hsi.georeference import Georeference, utm_wkt
from hsi.pipeline.job import TRAINED
from hsi.readers.raster import open_raster
from hsi.settings import Settings
from hsi.writers.cubes import write_envi

ROWS, COLS, BANDS = 20, 18, 9
GRID = Georeference(utm_wkt(33, north=True), (30.0, 0.0, 400000.0, 0.0, -30.0, 4.2e6))
CENTRES = np.array([450, 550, 650, 850, 1100, 1400, 1650, 2100, 2200.0])
KEPT = [0, 1, 2, 3, 4, 6, 7, 8]
"""The band at 1400 nm is left out, where water vapour absorbs."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on a scene with a map, whose model is not trained."""
    from hsi.models.files import save_model
    from hsi.pipeline.job import open_job

    folder = tmp_path_factory.mktemp("envi")
    labels = np.repeat([1, 2, 5], 6)[None].repeat(ROWS, axis=0)
    cube = np.random.default_rng(0).integers(100, 900, (ROWS, COLS, BANDS)).astype(np.int16)
    header, _ = write_envi(folder / "scene.hdr", cube, wavelengths=CENTRES, georeference=GRID)
    np.save(folder / "labels.npy", labels)
    settings = Settings(
        "cao", dataset=str(header), labels=str(folder / "labels.npy"), split="random",
        train_fraction=0.3, output=str(folder / "run"),
    )  # fmt: skip
    job = open_job(settings, say=lambda _: None)
    model = job.network.build(job.samples.patches.shape, job.classes, seed=1)
    save_model(model, job.run.path(TRAINED))
    return folder / "run"


def look(*words: object) -> int:
    return main([str(word) for word in words])


@pytest.mark.slow
def test_a_cube_a_sample_with_wavelengths_and_the_grid_of_its_patch(
    run: Path, tmp_path: Path
) -> None:
    pixels = ("--pixel", "5,6;0,0", "--class", 5, "--smooth_samples", 3, "--output", tmp_path)
    assert look(run / TRAINED, "gradient", *pixels, "--format", "npz") == 0
    assert look(run / TRAINED, "gradient", *pixels, "--format", "envi") == 0
    with np.load(tmp_path / "gradient.npz", allow_pickle=False) as stored:
        expected = stored["attributions"]
        smooth = stored["attributions_smoothgrad"]
    for place, (row, col) in enumerate(((5, 6), (0, 0))):
        for suffix, maps in (("", expected), ("_smoothgrad", smooth)):
            (header,) = tmp_path.glob(f"gradient_*{row}*{col}*class5{suffix}.hdr")
            read = open_raster(str(header), say=print)
            np.testing.assert_allclose(read.whole(), maps[place], rtol=1e-6)
            np.testing.assert_array_equal(read.wavelengths, CENTRES[KEPT])
            assert read.georeference is not None
            assert read.georeference.same_grid(GRID.window(row - 2, col - 2), rows=5, cols=5)
    assert "band 7, band 8, band 9" in header.read_text()  # the sensor's own numbers
    assert "band 6" not in header.read_text()


@pytest.mark.slow
def test_what_is_no_attribution_is_refused(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert look(run / TRAINED, "activation_map", "--format", "envi") == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert "format envi" in lines[0]
