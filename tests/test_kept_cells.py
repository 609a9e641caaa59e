"""Cells of evaluations in one file: what comes out is what went in, byte by byte."""

from __future__ import annotations

import io
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "benchmarks"))

from kept_cells import pack, unpack


@pytest.fixture
def evaluation(tmp_path):
    """A folder with two finished cells and one that was only begun."""
    rng = np.random.default_rng(0)
    for number in range(3):
        cell = tmp_path / "scene" / "cells" / f"cell-{number}"
        cell.mkdir(parents=True)
        np.savez_compressed(cell / "split.npz", train=rng.random((9, 7)) < 0.2)
        (cell / "run.json").write_text(f'{{"number": {number}}}', encoding="utf-8")
        (cell / "model.h5").write_bytes(b"not kept")
        if number:
            np.savez_compressed(cell / "predictions.npz", predicted=rng.integers(0, 4, 500))
    return tmp_path / "scene"


def files(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.*")}


def test_finished_cells_come_back_as_they_were(evaluation, tmp_path):
    archive = tmp_path / "kept.tar.xz"
    assert pack({"scene": evaluation}, archive) == 2
    assert unpack(archive, {"scene": tmp_path / "other"}) == 2
    wanted = {
        path: content
        for path, content in files(evaluation).items()
        if "cell-0" not in path.parts and path.name != "model.h5"
    }
    assert len(wanted) == 6
    assert files(tmp_path / "other") == wanted


def test_cells_that_are_there_stay_as_they_are(evaluation, tmp_path):
    archive = tmp_path / "kept.tar.xz"
    pack({"scene": evaluation}, archive)
    newer = evaluation / "cells" / "cell-1" / "run.json"
    newer.write_text("{}", encoding="utf-8")
    before = files(evaluation)
    assert unpack(archive, {"scene": evaluation}) == 0
    assert files(evaluation) == before


def test_the_same_cells_make_the_same_file(evaluation, tmp_path):
    for name in ("one", "two"):
        pack({"scene": evaluation}, tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


@pytest.mark.parametrize("name", ["scene/../run.json", "scene/cell/model.h5", "../cell/run.json"])
def test_files_that_are_none_of_a_cell_are_refused(name, tmp_path):
    archive = tmp_path / "kept.tar.xz"
    with tarfile.open(archive, "w:xz") as file:
        entry = tarfile.TarInfo(name)
        entry.size = 2
        file.addfile(entry, io.BytesIO(b"{}"))
    with pytest.raises(ValueError, match="no file of a cell"):
        unpack(archive, {"scene": tmp_path / "scene"})
    assert not (tmp_path / "scene").exists()
