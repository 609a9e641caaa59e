"""The benchmarks' chip of Indian Pines: the rows and columns that are said, in a readable file."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import scipy.io

from hsi import catalog
from hsi.synthetic import synthetic_scene

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "benchmarks"))

import chip


def test_the_chip_of_the_tables_is_this_part_of_the_scene(datasets):
    whole = scipy.io.loadmat(datasets / "ground_truth" / "Indian_pines_gt.mat")["indian_pines_gt"]
    used = scipy.io.loadmat(datasets / "indian_pines_chip" / "Indian_subset.mat")
    made = chip.cut(np.zeros((*whole.shape, 1)), whole)
    assert np.array_equal(made["Indian_subset_gt"], used["Indian_subset_gt"])


def test_the_chip_is_a_file_that_the_commands_read(tmp_path, monkeypatch):
    scene = synthetic_scene(seed=0)
    found = replace(scene, name="indian_pines")
    output = tmp_path / "new" / "Indian_subset.mat"
    monkeypatch.setattr(catalog, "open_scene", lambda name: found)
    monkeypatch.setattr(sys, "argv", ["chip.py", "--output", str(output)])
    chip.main()
    monkeypatch.undo()
    read = catalog.open_scene(
        f"{output}:Indian_subset", labels=f"{output}:Indian_subset_gt", say=lambda line: None
    )
    assert np.array_equal(read.cube, scene.cube[30:100, 25:95])
    assert np.array_equal(read.labels, scene.labels[30:100, 25:95])
