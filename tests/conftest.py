"""What several tests share: where the real data lies, and a quiet TensorFlow."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
gc.disable()  # nothing of what is imported for thousands of tests is ever garbage

ROOT = Path(__file__).resolve().parent.parent


def pytest_collection_finish() -> None:
    """From here on there is garbage, but not among all that is there already."""
    gc.enable()
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def few_rounds() -> None:
    """Files are timed in fewer rounds than users get: no test looks at a time."""
    from hsi.deploy import latency

    latency.ROUNDS = 3


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's folder."""
    return ROOT


@pytest.fixture(scope="session")
def datasets() -> Path:
    """The folder of real data, or a skip that says where it was looked for."""
    folder = Path(os.environ.get("HSI_DATASETS") or ROOT.parent / "shared" / "datasets")
    if not folder.is_dir():
        pytest.skip(f"no real data: {folder} does not exist (set HSI_DATASETS)")
    return folder


@pytest.fixture
def figures(monkeypatch):
    """The figures that are saved, by file name; they are saved as well."""
    from hsi import plots

    kept, save = {}, plots.save_figure

    def keep(figure, path, **options):
        kept[Path(path).name] = figure
        return save(figure, path, **options)

    monkeypatch.setattr(plots, "save_figure", keep)
    return kept
