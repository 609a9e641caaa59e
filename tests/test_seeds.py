"""A seed that a generator of random numbers would not take is one line, before anything begins."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hsi.cli import generate, main, visualize
from hsi.errors import SettingsError, check_seed

COMMANDS = {
    "generate": (generate.main, ["cao", "--dataset", "synthetic"]),
    "visualize": (visualize.main, ["a.h5", "gradient"]),
    "compare": (main, ["compare", "a.h5", "b.h5"]),
    "bits": (main, ["bits", "a.h5"]),
    "report": (main, ["report", "run"]),
    "survey make": (main, ["survey", "make", "run"]),
    "survey analyse": (main, ["survey", "analyse", "answers.csv"]),
}


@pytest.mark.parametrize("seed", [-1, 2**32])
@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_refuses_it_in_one_line(command, seed, tmp_path: Path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    job, words = COMMANDS[command]
    assert job([*words, "--seed", str(seed)]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"seed: expected 0 or more, below 2**32, got {seed}" in said
    assert not any(tmp_path.iterdir())


def test_the_limits_are_those_of_numpys_generator():
    for seed in (0, 2**32 - 1):
        check_seed(seed)
        np.random.RandomState(seed)
    for seed in (-1, 2**32):
        with pytest.raises(SettingsError):
            check_seed(seed)
        with pytest.raises(ValueError, match="between 0 and"):
            np.random.RandomState(seed)
