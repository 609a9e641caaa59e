"""A variant: one model file of a run, Keras or `.tflite`, that gives scores."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import TYPE_CHECKING

from hsi.deploy.tflite import TFLiteModel

if TYPE_CHECKING:
    from hsi.predict import Forward


def open_forward(path: str | Path, *, threads: int = 1) -> Forward:
    """Anything that can score a batch, from a `.h5`, `.keras` or `.tflite` file (`ModelError`)."""
    path = Path(path)
    if path.suffix == ".tflite":
        return TFLiteModel(path, threads=threads)
    from hsi.models.files import load_model
    from hsi.predict import compiled

    return compiled(load_model(path))


def sizes(path: str | Path) -> tuple[int, int]:
    """Bytes of a file, and of the file after gzip (level 9, no time stamp)."""
    data = Path(path).read_bytes()
    return len(data), len(gzip.compress(data, compresslevel=9, mtime=0))
