"""Preparations as files: plain arrays in an uncompressed `.npz`."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np

from hsi.bands.preparation import Preparation
from hsi.bands.table import NONE, REDUCERS
from hsi.errors import DataError, one_of

LATER = ("inner", "inner_bias")
"""Arrays that files of earlier versions do not have; what these versions could fit has none."""


def save(preparation: Preparation, path: Path) -> None:
    """Write the arrays as an uncompressed .npz (deterministic bytes, no pickle)."""
    arrays = {f.name: np.asarray(getattr(preparation, f.name)) for f in fields(preparation)}
    arrays["notes"] = np.asarray(preparation.notes, dtype=np.str_)
    with path.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def load(path: Path) -> Preparation:
    """Read what `save` wrote, in this version or an earlier one.

    Raises:
        DataError: the file is missing, damaged or something else.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            names = [f.name for f in fields(Preparation)]
            values = {n: arrays[n] for n in names if n in arrays.files or n not in LATER}
        values["reducer"] = one_of(str(values["reducer"]), (NONE, *REDUCERS), what="reducer")
        values["notes"] = tuple(str(note) for note in values["notes"])
        preparation = Preparation(**values)
        _check(preparation)
        return preparation
    except Exception as error:  # damage comes as anything: BadZipFile, NotImplementedError ...
        raise DataError(
            f"{path}: expected the preparation that was saved beside the model, could not read it "
            f"({type(error).__name__}); run generate_model.py again."
        ) from error


def _check(p: Preparation) -> None:
    """Refuse arrays that do not belong together (`DataError`)."""
    if p.reducer == NONE:
        return
    inner = p.kind in ("kernel", "encoder")
    features = len(p.inner) if inner else p.bands
    bias = {"kernel": (1,), "encoder": (features,)}.get(p.kind, p.inner_bias.shape)
    right = (
        p.components.shape == (len(p.out_offset), features)
        and p.mean.shape == (features,)
        and (not inner or p.inner.shape == (features, p.bands))
        and p.inner_bias.shape == bias
    )
    if not right:
        raise DataError("arrays of other sizes")
